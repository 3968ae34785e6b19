"""The data of events about credits."""

from __future__ import annotations

from typing import TypedDict


class CreditsGranted(TypedDict):
    """`credits` were granted to the account, or taken back if the number is negative; what it has now."""

    account: str
    credits: int
    granted: int
    held: int
    spent: int
    available: int


class CreditsLow(TypedDict):
    """Fewer credits are available than `low_at`."""

    account: str
    available: int
    low_at: int
