"""Credits in results: accounts, and what a campaign has of its own."""

from __future__ import annotations

from typing import TypedDict


class CreditAccountView(TypedDict):
    """A credit account: what was granted is spent, held for messages that are to be sent, or available."""

    name: str
    granted: int
    held: int
    spent: int
    available: int


class CampaignCredits(TypedDict):
    """The account that pays for a campaign, and what the campaign holds and has spent of it."""

    account: str
    held: int
    spent: int
    available: int  #: in the account


class CreditNeed(TypedDict):
    """What a campaign has to reserve before it starts, beside what it holds."""

    account: str
    needed: int
    held: int
    available: int  #: in the account
    missing: int  #: to start it; 0 if there are enough
