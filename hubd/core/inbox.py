"""What the inbox holds and how sources are doing, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from hubd.core.inbound import ItemKind
from hubd.core.model import Channel

#: What a person decides about a reply that may be an opt-out in other words.
Decision = Literal["opt_out", "continue"]

#: Which items are listed: "unmatched" are about no message of ours, "waiting" need a decision.
Filter = Literal["reply", "bounce", "complaint", "opt_out", "opt_in", "unmatched", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceRules:
    """When bounces that do not say that the address is wrong suppress it all the same."""

    soft_limit: Annotated[
        int,
        msgspec.Meta(
            description="How many bounces of different messages suppress an address, "
            "unless a message arrives in between; from 2 to 100."
        ),
    ] = 3
    soft_days: Annotated[
        int, msgspec.Meta(description="The number of days within which they must come; from 1 to 365.")
    ] = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What came of one look at a source."""

    new: Mapping[ItemKind, int]  #: what was not known before, by kind; receipts count each time
    left: tuple[str, ...] = ()  #: keys of items that fit no message yet, and were not booked
    unmatched: int = 0
    waiting: bool = False  #: whether messages that wait were cancelled or held
    nobody: tuple[str, ...] = ()  #: keys of opt-outs whose sender can no longer be found


#: In `matched_by`: a token proves that the message was ours, and nothing tells any more to whom it was.
TOKEN_ONLY = "token_only"  # noqa: S105 - not a secret


class InboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that people may want to read."""

    id: int
    source: str
    kind: ItemKind
    at: float
    delivery_id: int | None  #: None: about no message of ours
    campaign: str | None  #: its name; None for no message of ours, and once the campaign is deleted
    matched_by: str
    channel: Channel
    address_key: str  #: whom it is about, or who wrote
    reason: str
    code: int
    enhanced: str
    vendor: str
    words: str
    sender: str
    subject: str
    text: str
    quoted: str
    message_id: str
    decision: str  #: "" for nothing to decide, "waiting", or what was decided
    decided_at: float | None
    answer_id: int | None  #: the message that answers it


MAILBOX_STATES = ("starting", "working", "retrying", "broken")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """How a source is doing."""

    name: str
    state: Literal["starting", "working", "retrying", "broken"]
    reason: str  #: why it is retried or broken, or what is refused while it can be read; "" else
    person: bool  #: whether somebody has to do something about it
    since: float  #: when it entered this state
    read_at: float | None  #: when it was last read successfully
    next_at: float | None  #: when it is read again; None while it is being read
    items: Mapping[ItemKind, int]  #: booked since the daemon started
    unmatched: int  #: of those, about no message of ours
    unreadable: int


LISTENER = "listener"  #: the name of the source that is told things instead of reading them


def in_trouble(name: str, reason: str) -> str:
    """What is wrong with a source, in a sentence without its full stop."""
    if name == LISTENER:
        return f"the listener cannot accept connections: {reason}"
    return f"{name} cannot be read: {reason}"


class SourceCursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far a source was read, and when."""

    name: str
    cursor: str
    read_at: float
