"""Units of work: what each is handed, and which of them may run beside others.

**Shared** are two, because each message goes through them: `Ledger.due`, which here only reads, and
`Ledger.record`. Units that are shared may one day run at the same time on several nodes. So what writes in
one is handed a `SharedUnit`: it changes deliveries and attempts only by compare-and-swap, adds to what its
own node counts, and appends events and suppressions. Of the words of refusals the last ones stay.

**Exclusive** is everything else: a function of a `Unit`. Nothing is written meanwhile, on no node, so what it
has read stays true until it ends, and ids that it has made are greater than all that were there.

Both run in the one thread that writes, many in one transaction (see `batch`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from hubd.core.measures import ACCEPTED, CAME_BACK, DAY, MEASURED, OF_STATE, Measure, day_of, hour_of
from hubd.core.model import DeliveryState
from hubd.core.notices import TOLD
from hubd.core.pacing import STEP
from hubd.store.credit_book import CreditBook
from hubd.store.multirow import write_rows
from hubd.store.notice_rows import Happened, write_notices
from hubd.store.steady import Moment
from hubd.store.transaction import Transaction, take

A = TypeVar("A")
T = TypeVar("T")

NODE = 1  #: this daemon, among those that share a store: it is the only one

_COUNTERS = ("total", *(state.value for state in DeliveryState))

#: Moves a campaign's counters by the sum of what one batch did to its deliveries.
MOVE_COUNTERS = """
UPDATE campaign_count SET n_total = n_total + :total, n_pending = n_pending + :pending,
    n_deferred = n_deferred + :deferred, n_sending = n_sending + :sending, n_sent = n_sent + :sent,
    n_delivered = n_delivered + :delivered, n_undelivered = n_undelivered + :undelivered,
    n_failed = n_failed + :failed, n_skipped = n_skipped + :skipped, n_in_doubt = n_in_doubt + :in_doubt,
    updated_at = :now
WHERE campaign_id = :campaign_id AND node = :node"""
#: The first that this node moves.
BEGIN_COUNTERS = """
INSERT INTO campaign_count (campaign_id, node, n_total, n_pending, n_deferred, n_sending, n_sent, n_delivered,
    n_undelivered, n_failed, n_skipped, n_in_doubt, updated_at)
VALUES (:campaign_id, :node, :total, :pending, :deferred, :sending, :sent, :delivered,
    :undelivered, :failed, :skipped, :in_doubt, :now)"""
#: So much more came back for a campaign.
ADD_MEASURES = f"""
UPDATE campaign_count SET {", ".join(f"n_{each} = n_{each} + :{each}" for each in CAME_BACK)}
WHERE campaign_id = :campaign_id AND node = :node"""  # noqa: S608 - no values, only our own words
#: The words of the last refusal.
SET_REFUSAL = "UPDATE campaign SET last_error = ?, updated_at = ? WHERE id = ?"
#: Appends a durable event with the name that its campaign has now.
ADD_EVENT = """
INSERT INTO event (seq, at, type, campaign_id, campaign, data)
VALUES (?, ?, ?, ?, coalesce((SELECT name FROM campaign WHERE id = ?), ''), ?)"""
#: So many events were appended after the first, whose number was taken.
NUMBER_EVENTS = "UPDATE sequence SET newest = ? WHERE name = 'event'"
#: Adds what was granted to the ten seconds in which it was.
SPEND = """
INSERT INTO usage (name, at, node, slots) {rows}
ON CONFLICT (name, at, node) DO UPDATE SET slots = usage.slots + excluded.slots"""
#: Adds to what happened in an hour.
ROLL_UP = """
INSERT INTO rollup (campaign_id, at, measure, node, n) {rows}
ON CONFLICT (campaign_id, at, measure, node) DO UPDATE SET n = rollup.n + excluded.n"""
#: What is older has been summed up by days.
DAILY_UNTIL = "SELECT daily_until FROM rollup_state"
#: The last link of the audit trail ...
LAST_LINK = "SELECT hash FROM audit ORDER BY seq DESC LIMIT 1"
#: ... and the next.
ADD_AUDIT = """
INSERT INTO audit (at, actor, action, campaign_id, delivery_id, data, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"""


#: Whatever is younger is kept by the hour.
_HOURLY = 89 * DAY


class SharedUnit:
    """What shared work is handed: the batch's transaction, and what is counted.

    `db` is for this unit's statements only: no BEGIN, COMMIT or ROLLBACK. `now` is the batch's time on the
    wall clock; `steady` is the same on the clock by which ages are measured.
    """

    __slots__ = (
        *("_credits", "_measured", "_moves", "_noticed", "_numbered", "_refusals", "_spent"),
        *("attempts", "db", "last_seq", "now", "steady"),
    )

    def __init__(self, db: Transaction, moment: Moment) -> None:
        self.db = db
        self.now, self.steady = moment.now, moment.steady
        self.last_seq = 0  #: of the last event written, 0 when there was none
        self.attempts = 0  #: how many were opened
        self._numbered = 0
        self._moves: dict[int, dict[str, int]] = {}
        self._measured: dict[tuple[int, int, Measure], int] = {}
        self._refusals: dict[int, str] = {}
        self._spent: dict[tuple[str, int], int] = {}
        self._credits: CreditBook | None = None
        self._noticed: list[Happened] = []

    @property
    def credits(self) -> CreditBook:
        """What happens to credits."""
        if self._credits is None:
            self._credits = CreditBook(self.db, self.now, self.event)
        return self._credits

    def moved(
        self,
        campaign_id: int,
        source: DeliveryState | None,
        target: DeliveryState | None,
        n: int = 1,
        *,
        at: float | None = None,
        accepted: tuple[float, int] | None = None,
    ) -> None:
        """`n` deliveries went from `source` (None: were made) to `target` (None: were removed).

        The roll-up is moved along; see `core.measures` for the times that it goes by. `at` is the row's
        `updated_at`: the old one when it was `failed` or `undelivered`, else the new one; by default `now`.
        `accepted` says when the provider took it, and the cost to count with that: needed where a delivery
        becomes `sent`, or is no more (see `rollup.acceptance`).
        """
        if source is target or n == 0:
            return
        moves = self._moves.get(campaign_id)
        if moves is None:
            moves = self._moves[campaign_id] = dict.fromkeys(_COUNTERS, 0)
        # A state is a string and finds its counter as it is; asking an enum for its value takes longer.
        moves["total" if source is None else source] += n if source is None else -n
        moves["total" if target is None else target] += -n if target is None else n
        if target in MEASURED or (source in MEASURED and target is not None):
            self._measure_move(campaign_id, source, target, n, at, accepted)

    def measured(self, campaign_id: int, measure: Measure, at: float, n: int = 1) -> None:
        """`n` more of this happened at the time `at`, in seconds since the epoch. (`moved` counts states.)"""
        key = (campaign_id, hour_of(at), measure)
        self._measured[key] = self._measured.get(key, 0) + n

    def _measure_move(
        self,
        campaign_id: int,
        source: DeliveryState | None,
        target: DeliveryState | None,
        n: int,
        at: float | None,
        accepted: tuple[float, int] | None,
    ) -> None:
        if (source in ACCEPTED) is not (target in ACCEPTED):
            assert accepted is not None, "nobody says when the provider took it"
            when, cost = accepted
            sign = 1 if target in ACCEPTED else -1
            self.measured(campaign_id, Measure.SENT, when, sign * n)
            if cost:
                self.measured(campaign_id, Measure.COST, when, sign * n * cost)
        if source in OF_STATE and source is not None:
            assert at is not None, "nobody says since when it was so"
            self.measured(campaign_id, OF_STATE[source], at, -n)
        if target in OF_STATE and target is not None:
            self.measured(campaign_id, OF_STATE[target], self.now if at is None else at, n)

    def refused(self, campaign_id: int, said: str) -> None:
        """A delivery was refused with these words; the campaign shows the last of them."""
        self._refusals[campaign_id] = said

    def event(self, type: str, campaign_id: int | None, data: Mapping[str, object]) -> int:
        """Append a durable event and return its seq. `data` holds no address and no content."""
        if self.last_seq:  # the numbers are this transaction's since the first was taken
            self.last_seq += 1
        else:
            self.last_seq = self._numbered = take(self.db, "event", 1)
        text = json.dumps(data, separators=(",", ":"))
        self.db.execute(ADD_EVENT, (self.last_seq, self.now, type, campaign_id, campaign_id, text))
        if type in TOLD:
            self._noticed.append(Happened(self.last_seq, type, campaign_id, data))
        return self.last_seq

    def spent(self, limits: Sequence[str], at: float, cost: int) -> None:
        """A message used `cost` slots of each of these limits at the time `at`."""
        step = int(at // STEP) * STEP
        for name in limits:
            self._spent[name, step] = self._spent.get((name, step), 0) + cost

    def flush(self) -> None:
        """Write what was gathered: counter moves, one UPDATE per campaign, the roll-up, what limits granted.

        Called before COMMIT; call it earlier when the counters are read in the same unit.
        """
        if self._credits is not None:
            self._credits.flush()
        for campaign_id, moves in self._moves.items():
            if any(moves.values()):
                values = {**moves, "now": self.now, "campaign_id": campaign_id, "node": NODE}
                if self.db.execute(MOVE_COUNTERS, values).rowcount == 0:
                    self.db.execute(BEGIN_COUNTERS, values)
        self._moves.clear()
        if self._measured:
            self._flush_measured()
        for campaign_id, said in self._refusals.items():
            self.db.execute(SET_REFUSAL, (said, self.now, campaign_id))
        self._refusals.clear()
        write_rows(self.db, SPEND, [(*key, NODE, slots) for key, slots in self._spent.items()])
        self._spent.clear()
        for happened in self._noticed:
            write_notices(self.db, self.now, happened, self.event)
        self._noticed.clear()
        if self.last_seq > self._numbered:
            self.db.execute(NUMBER_EVENTS, (self.last_seq,))
            self._numbered = self.last_seq

    def _flush_measured(self) -> None:
        came_back: dict[int, dict[str, int]] = {}
        for (campaign_id, _, measure), n in self._measured.items():
            if measure in CAME_BACK:
                came_back.setdefault(campaign_id, dict.fromkeys(CAME_BACK, 0))[measure] += n
        for campaign_id, counted in came_back.items():
            self.db.execute(ADD_MEASURES, {**counted, "campaign_id": campaign_id, "node": NODE})
        sums = self._measured
        if any(hour < self.now - _HOURLY for _, hour, _ in sums):
            daily_until: int = self.db.execute(DAILY_UNTIL).fetchone()[0]
            sums = {}
            for (campaign_id, hour, measure), n in self._measured.items():
                key = (campaign_id, day_of(hour) if hour < daily_until else hour, measure)
                sums[key] = sums.get(key, 0) + n
        write_rows(self.db, ROLL_UP, [(*key, NODE, n) for key, n in sums.items() if n])
        self._measured = {}


class Unit(SharedUnit):
    """What exclusive work is handed. It also appends to the audit trail, where each link covers the last."""

    __slots__ = ()

    def audit(
        self,
        actor: str,
        action: str,
        *,
        campaign_id: int | None = None,
        delivery_id: int | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Append a link to the audit trail. `data` holds no address, no content and no secret."""
        last = self.db.execute(LAST_LINK).fetchone()
        text = json.dumps(data or {}, separators=(",", ":"), sort_keys=True)
        link = audit_hash(last[0] if last else b"", self.now, actor, action, campaign_id, delivery_id, text)
        self.db.execute(ADD_AUDIT, (self.now, actor, action, campaign_id, delivery_id, text, link))


def audit_hash(before: bytes, *fields: object) -> bytes:
    """The hash of one link of the audit trail, over the link before it and the row's own fields."""
    return hashlib.sha256(before + json.dumps(fields, separators=(",", ":")).encode()).digest()


Work = Callable[[Unit], T]


class SharedWork(msgspec.Struct, Generic[A, T], frozen=True, eq=False):
    """A shared unit of work, which is done at once with those of its kind that are next to it in the batch.

    `together` gets the arguments of all of them, in order, and returns a result for each. If it raises, each
    unit is run alone.
    """

    argument: A
    together: Callable[[SharedUnit, Sequence[A]], Sequence[T]]

    def __call__(self, unit: SharedUnit) -> T:
        """Run it alone."""
        return self.together(unit, [self.argument])[0]
