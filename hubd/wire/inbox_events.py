"""The data of events about what came back, and about mailboxes."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class CameBack(TypedDict):
    """Something came back: the number of the `item` in the inbox, and of the delivery, null for none."""

    campaign: NotRequired[str]
    item: int
    delivery_id: int | None


class BounceTold(TypedDict):
    """A bounce: why, the server's code (0 for none), and the state that the delivery has now."""

    campaign: str
    item: int
    delivery_id: int
    reason: str
    code: int
    state: str


class ReplyTold(TypedDict):
    """A reply; `held`: nothing more is sent to the person until somebody decides."""

    campaign: NotRequired[str]
    item: int
    delivery_id: int | None
    held: bool


class ReplyDecided(TypedDict):
    """What a person decided about a reply: "opt_out" or "continue"."""

    campaign: NotRequired[str]
    item: int
    delivery_id: int | None
    decision: str


class MailboxTold(TypedDict):
    """A source of what comes back, such as "mailbox bounces"; `person`: whether somebody has to act."""

    source: str
    reason: str
    person: bool


class MailboxRefused(TypedDict):
    """A source that can be read (`readable` is 1), and refuses something else, such as moving mails."""

    source: str
    reason: str
    person: bool
    readable: int
