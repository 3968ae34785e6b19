"""What the methods `credits.*` answer."""

from __future__ import annotations

from typing import TypedDict

from hubd.wire.credit_views import CreditAccountView
from hubd.wire.results import Done


class AccountsResult(TypedDict):
    """All credit accounts by name."""

    accounts: list[CreditAccountView]


class GrantResult(Done):
    """The account as it is now; in the answer to a dry run, as it would be."""

    account: CreditAccountView


class HoldView(TypedDict):
    """What a campaign holds and has spent of an account; `campaign` is "" for all one-off messages."""

    campaign: str
    held: int
    spent: int


class EntryView(TypedDict):
    """A line of the log of an account: `kind` is granted, taken_back, reserved or released."""

    id: int
    at: str | None
    kind: str
    credits: int
    campaign: str  #: for which they were reserved or released, else ""
    note: str


class HistoryResult(TypedDict):
    """An account, who has how much of it, and a page of its log, newest first."""

    account: CreditAccountView
    campaigns: list[HoldView]
    entries: list[EntryView]
    next: int | None  #: pass it as `before` for the next page; null after the last
