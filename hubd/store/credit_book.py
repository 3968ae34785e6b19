"""What a unit of work does to credits, gathered and written at its end, like the counters.

Every change of an account and of a hold goes through the `CreditBook` of the unit, so what it has read stays
true until it has written. The constraints of the tables say the rest: an account is never overdrawn, and an
attempt has one row, which is spent once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from hubd.core.credits import CreditAccount, low_mark, short_of
from hubd.store.multirow import MOST_ROWS, write_rows
from hubd.store.transaction import Row, Transaction

#: An account.
ACCOUNT = "SELECT name, granted, held, spent, low_at FROM credit_account WHERE name = ?"
#: A new account.
ADD_ACCOUNT = "INSERT INTO credit_account (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
#: A hold.
HOLD = "SELECT id, account, held, at_risk FROM credit_hold WHERE id = ?"
#: Credits move.
MOVE_ACCOUNT = """
UPDATE credit_account SET granted = granted + ?, held = held + ?, spent = spent + ? WHERE name = ?"""
MOVE_HOLD = """
UPDATE credit_hold SET held = held + ?, at_risk = at_risk + ?, spent = spent + ? WHERE id = ?"""
#: What attempts cost that are open now.
ADD_USES = "INSERT INTO credit_use (delivery_id, n, hold_id, credits) {rows}"
#: Attempts that were accepted. By pairs alone SQLite would look at the whole table.
SPEND = """
WITH entry (delivery_id, n) AS ({rows})
UPDATE credit_use SET spent = 1
WHERE spent = 0 AND delivery_id IN (SELECT delivery_id FROM entry) AND (delivery_id, n) IN entry
RETURNING hold_id, credits"""
#: Attempts that were not.
LET_GO = """
WITH entry (delivery_id, n) AS ({rows})
DELETE FROM credit_use
WHERE spent = 0 AND delivery_id IN (SELECT delivery_id FROM entry) AND (delivery_id, n) IN entry
RETURNING hold_id, credits"""
#: A line of the log of an account.
ADD_ENTRY = """
INSERT INTO credit_entry (at, account, kind, credits, hold_id, note) VALUES (?, ?, ?, ?, ?, ?)"""
#: The last line about a hold, if it says that credits were reserved: what is reserved meanwhile counts there.
ADD_TO_ENTRY = """
UPDATE credit_entry SET credits = credits + ?
WHERE kind = 'reserved' AND id = (SELECT max(id) FROM credit_entry WHERE hold_id = ?)"""
#: An account is told to be low once, until it is no longer.
TELL_LOW = """
UPDATE credit_account SET told_low = 1
WHERE name = ? AND told_low = 0 AND granted - held - spent < low_at"""
FORGET_LOW = """
UPDATE credit_account SET told_low = 0
WHERE name = ? AND told_low = 1 AND granted - held - spent >= low_at"""
#: A grant: from when on the account is low, and whether campaigns wait for it.
NOTE_GRANT = """
UPDATE credit_account SET low_at = ?, topped_up = topped_up + EXISTS (
    SELECT 1 FROM campaign WHERE credits = credit_account.name AND state = 'paused' AND reason = 'credits')
WHERE name = ?"""

AddEvent = Callable[[str, int | None, Mapping[str, object]], int]


class Hold(NamedTuple):
    """What is held for a campaign or a one-off message."""

    id: int
    account: str
    held: int
    at_risk: int

    @property
    def free(self) -> int:
        """What may be used for the next attempts."""
        return self.held - self.at_risk


class CreditBook:
    """Get it from `SharedUnit.credits`; `flush` is called with that of the unit."""

    def __init__(self, db: Transaction, now: float, add_event: AddEvent) -> None:
        self._db = db
        self._now = now
        self._add = add_event
        self._free: dict[int, int] = {}  # of holds that were looked at
        self._uses: list[tuple[int, int, int, int]] = []
        self._spent: list[tuple[int, int]] = []
        self._let_go: list[tuple[int, int]] = []
        self._more: dict[tuple[int, str], int] = {}  # reserved for attempts, by hold and account

    # -- attempts ----------------------------------------------------------------------------------

    def open(self, hold_id: int, delivery_id: int, n: int, cost: int) -> bool:
        """Attempt `n` of a delivery begins, and costs so much if it is accepted.

        What its hold lacks is reserved now. False when the account has not so much, and nothing is done then.
        """
        if not self._has(hold_id, cost):
            return False
        self._free[hold_id] -= cost
        self._uses.append((delivery_id, n, hold_id, cost))
        return True

    def _has(self, hold_id: int, cost: int) -> bool:
        if self._free_of(hold_id) >= cost:
            return True
        self.flush()  # what was let go in this unit is free again
        hold = self.hold(hold_id)
        lacks = cost - hold.free
        if lacks > 0:
            account = self.account(hold.account)
            if account.available < lacks:
                return False
            self._move(hold_id, hold.account, held=lacks)
            self._more[hold_id, hold.account] = self._more.get((hold_id, hold.account), 0) + lacks
        self._free[hold_id] = max(hold.free, cost)
        return True

    def _free_of(self, hold_id: int) -> int:
        if hold_id not in self._free:
            if self._uses or self._spent or self._let_go:
                self.flush()
            self._free[hold_id] = self.hold(hold_id).free
        return self._free[hold_id]

    def accepted(self, delivery_id: int, n: int) -> None:
        """Attempt `n` was accepted: what it costs is spent."""
        self._spent.append((delivery_id, n))

    def refused(self, delivery_id: int, n: int) -> None:
        """Attempt `n` was not accepted: what it would have cost stays in the hold, for the next one."""
        self._let_go.append((delivery_id, n))

    # -- holds -------------------------------------------------------------------------------------

    def reserve(self, hold_id: int, credits: int, what: str, *, logged: bool = True) -> None:
        """Hold so many for messages that are to be sent, beside those at risk. Raises `CreditsShort`."""
        self.flush()
        hold = self.hold(hold_id)
        difference = credits - hold.free
        if difference > 0:
            available = self.account(hold.account).available
            if available < difference:
                raise short_of(what, hold.account, difference, available)
        self._change(hold, difference, logged=logged)

    def release(self, hold_id: int, *, logged: bool = True) -> None:
        """Give back what is not at risk."""
        self.flush()
        hold = self.hold(hold_id)
        self._change(hold, -hold.free, logged=logged)

    def _change(self, hold: Hold, difference: int, *, logged: bool) -> None:
        if not difference:
            return
        self._move(hold.id, hold.account, held=difference)
        self._free.pop(hold.id, None)
        if logged:
            kind = "reserved" if difference > 0 else "released"
            self._db.execute(ADD_ENTRY, (self._now, hold.account, kind, abs(difference), hold.id, ""))

    def hold(self, hold_id: int) -> Hold:
        """A hold as it is written."""
        return Hold(*self._db.execute(HOLD, (hold_id,)).fetchone())

    # -- accounts ----------------------------------------------------------------------------------

    def account(self, name: str) -> CreditAccount:
        """An account as it is written; an empty one if there is none."""
        return account_from(self._db.execute(ACCOUNT, (name,)).fetchone(), name)

    def grant(self, account: CreditAccount, credits: int, note: str, low_at: int | None) -> CreditAccount:
        """Grant credits, or take them back; the account after it. `low_at` as in `CreditAccount`."""
        self.flush()
        self._db.execute(ADD_ACCOUNT, (account.name, self._now))
        self._db.execute(MOVE_ACCOUNT, (credits, 0, 0, account.name))
        kind = "granted" if credits > 0 else "taken_back"
        self._db.execute(ADD_ENTRY, (self._now, account.name, kind, abs(credits), None, note))
        after = self.account(account.name)
        mark = low_mark(after) if low_at is None else low_at
        self._db.execute(NOTE_GRANT, (mark, account.name))
        self._watch(account.name)
        return self.account(account.name)

    # -- writing -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what was gathered."""
        if not (self._uses or self._spent or self._let_go or self._more):
            return
        opened: dict[int, int] = defaultdict(int)
        for _, _, hold_id, cost in self._uses:
            opened[hold_id] += cost
        write_rows(self._db, ADD_USES, self._uses)
        for hold_id, cost in opened.items():
            self._db.execute(MOVE_HOLD, (0, cost, 0, hold_id))
        for hold_id, cost in self._changed(SPEND, self._spent).items():
            account: str = self.hold(hold_id).account
            self._db.execute(MOVE_HOLD, (-cost, -cost, cost, hold_id))
            self._db.execute(MOVE_ACCOUNT, (0, -cost, cost, account))
        for hold_id, cost in self._changed(LET_GO, self._let_go).items():
            self._db.execute(MOVE_HOLD, (0, -cost, 0, hold_id))
        for (hold_id, account), credits in self._more.items():
            if not self._db.execute(ADD_TO_ENTRY, (credits, hold_id)).rowcount:
                self._db.execute(ADD_ENTRY, (self._now, account, "reserved", credits, hold_id, ""))
        for gathered in (self._uses, self._spent, self._let_go, self._more, self._free):
            gathered.clear()

    def _changed(self, statement: str, attempts: list[tuple[int, int]]) -> dict[int, int]:
        """Run it for these attempts; the credits by hold of those that were found."""
        changed: dict[int, int] = defaultdict(int)
        for start in range(0, len(attempts), MOST_ROWS):
            some = attempts[start : start + MOST_ROWS]
            text = statement.format(rows=f"VALUES {', '.join(['(?, ?)'] * len(some))}")
            for hold_id, credits in self._db.execute(text, tuple(chain.from_iterable(some))).fetchall():
                changed[hold_id] += credits
        return changed

    def _move(self, hold_id: int, account: str, *, held: int) -> None:
        self._db.execute(MOVE_HOLD, (held, 0, 0, hold_id))
        self._db.execute(MOVE_ACCOUNT, (0, held, 0, account))
        self._watch(account)

    def _watch(self, name: str) -> None:
        """Tell when few credits are left, once."""
        if self._db.execute(TELL_LOW, (name,)).rowcount:
            account = self.account(name)
            data = {"account": name, "available": account.available, "low_at": account.low_at}
            self._add("credits.low", None, data)
        else:
            self._db.execute(FORGET_LOW, (name,))


def account_from(row: Row | None, name: str) -> CreditAccount:
    """A row of `ACCOUNT`; an empty account for None."""
    if row is None:
        return CreditAccount(name=name, granted=0, held=0, spent=0)
    values: Iterable[str] = ("granted", "held", "spent", "low_at")
    return CreditAccount(name=row["name"], **{key: row[key] for key in values})
