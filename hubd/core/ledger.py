"""The entries of the attempt ledger, as values.

The runner decides which entries to make, the store writes them. One `record` call carries the
entries of one worker in order, so that the close of one message and the open of the next are
one item of the group commit (see `hubd.store.database`). Two of them are made for every message, which is
why they are msgspec structs: a frozen dataclass of so many fields takes ten times as long to make.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hubd.core.model import DeliveryState


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt is about to become irrevocable. Durable before the irrevocable byte leaves.

    The store refuses it (and changes nothing) when the campaign no longer runs, the recipient was
    suppressed meanwhile, the delivery is no longer `pending` or `deferred`, or the disk is nearly
    full; see `Rejection`.
    """

    delivery_id: int
    provider: str
    message_id: str
    content_hash: str
    at: float  #: now; for an email its Date, with which it can be written again just as it was sent
    account: str = ""  #: which account the provider's name stands for now; "" where nobody can be asked
    limits: tuple[str, ...] = ()  #: the names of the limits that this message counts under
    cost: int = 1  #: how many slots of each it takes: the segments of an SMS
    steady: float | None = None  #: `at` on the steady clock, for limits and ages; None: the same


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an open attempt; or, with `opened=False`, of a try that never had to be opened.

    A try that the provider refused before the irrevocable byte needs no open row: nothing could have
    been accepted. It is written as an attempt that is closed from the start.

    `to` is the state the delivery goes to: `sent`, `deferred`, `failed`, `in_doubt`, or `pending`
    when the try does not count (the provider was in trouble, the campaign was paused in between):
    then the attempt's outcome is "withdrawn" and the delivery's `attempts` stays as it was.

    With `opened=False` the store refuses it, as it does an `Open`, when the delivery waits no more.
    """

    delivery_id: int
    to: DeliveryState
    reason: str  #: stable word such as "mailbox_unknown"; "" for sent
    detail: str = ""  #: one sentence for people, without an address
    stage: str = ""
    code: int = 0
    enhanced: str = ""
    vendor: str = ""
    provider_id: str = ""
    provider_reply: str = ""  #: see `core.provider_reply`
    next_at: float | None = None  #: for `deferred`: not before this time
    suppress: str = ""  #: when not "": also suppress the address, with this reason
    refused: str = ""  #: for `pending`: the reason of the refusal that paused the campaign
    opened: bool = True
    provider: str = ""  #: only needed with `opened=False`
    message_id: str = ""
    at: float
    limits: tuple[str, ...] = ()  #: as for `Open`; only with `opened=False`: an open attempt counted already
    cost: int = 1  #: as the attempt's `Open` said
    steady: float | None = None  #: as for `Open`


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """A delivery that was failed or deferred is `pending` again, due at once and as if never tried: its
    refusal turned out not to be about it. Why a failed one had failed is remembered as `refused`.
    """

    delivery_id: int
    at: float


Entry = Open | Close | Requeue


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why an entry was not made. `skipped` means that the delivery is now permanently skipped."""

    why: str  #: "campaign_state", "suppressed", "held", "delivery_state", "no_disk_space", "credits"
    skipped: bool = False
