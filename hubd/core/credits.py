"""Credits: what messages cost, how much is reserved for them, and what to say when there are too few. Pure.

An account is shared by campaigns and one-off messages. What has been granted to it is available, held for
messages that are still to be sent, or spent. An email costs one credit, an SMS one for each segment.
"""

from __future__ import annotations

import msgspec

from hubd.errors import BadInput, Conflict, CreditsShort

MOST = 10**12  #: credits of one account; more is a mistake

#: The reason of a campaign that is paused until there are more credits.
PAUSED = "credits"


class CreditAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account: what is not held or spent is available."""

    name: str
    granted: int
    held: int
    spent: int
    low_at: int = 0  #: when fewer are available, that is told once

    @property
    def available(self) -> int:
        """What may still be reserved."""
        return self.granted - self.held - self.spent

    @property
    def low(self) -> bool:
        """Whether that is less than `low_at`."""
        return self.available < self.low_at


class CreditHold(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign holds and has spent of its account. `campaign` is its name."""

    campaign: str
    held: int
    spent: int
    at_risk: int = 0  #: of what is held, for messages that are being sent or in doubt


class CreditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an account's log: credits were granted or taken back, reserved for a campaign or released."""

    id: int
    at: float
    kind: str
    credits: int
    campaign: str
    note: str


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What the messages that are left to send cost, in credits."""

    messages: int
    total: int
    most: int = 1  #: for one of them


def needed(cost: Cost, left: int | None) -> int:
    """How many credits a run needs that is to send at most `left` messages; None for all of them.

    Which of them a run with a limit reaches is not known before, so each may be the dearest.
    """
    if left is None or left >= cost.messages:
        return cost.total
    return min(cost.total, left * cost.most)


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign has to hold before it starts, beside what is at risk."""

    account: CreditAccount
    hold: CreditHold
    needed: int

    @property
    def missing(self) -> int:
        """How many credits are lacking; 0 if there are enough."""
        return max(0, self.needed - (self.hold.held - self.hold.at_risk) - self.account.available)


def check_grant(account: CreditAccount, credits: int) -> None:
    """Raise BadInput for an amount that cannot be granted, and Conflict ("credits_in_use") for one that
    cannot be taken back, because it is held or spent.
    """
    if credits == 0:
        raise BadInput.at("credits", "must not be 0")
    if account.granted + credits > MOST:
        raise BadInput.at("credits", f"an account has at most {MOST:,} credits")
    if credits < 0 and -credits > account.available:
        raise Conflict(
            f"only {account.available:,} of {account.granted:,} credits can be taken back: "
            f"{account.held:,} are held for messages and {account.spent:,} are spent",
            code="credits_in_use",
            hint="stop the campaigns that hold credits first",
            data={"available": account.available, "held": account.held, "spent": account.spent},
        )


def low_mark(account: CreditAccount) -> int:
    """Below how many available credits an account is low, if nobody says it: a tenth of what it has now."""
    return max(0, account.granted - account.spent) // 10


def short_of(what: str, account: str, wanted: int, available: int) -> CreditsShort:
    """The error for `what`, which needs more credits than are available."""
    missing = wanted - available
    return CreditsShort(
        f"{what} needs {_count(wanted)}, and the account {account} has {available:,} available: "
        f"{missing:,} {'is' if missing == 1 else 'are'} missing",
        hint=f"to add them: hubctl credits grant {account} {missing}",
        data={"account": account, "needed": wanted, "available": available, "missing": missing},
    )


def _count(n: int) -> str:
    return "1 credit" if n == 1 else f"{n:,} credits"
