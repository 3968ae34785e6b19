"""Group commit: many units of work, one transaction, one thread hop, one fsync.

Tasks queue a unit of work and sleep. The writer task drains what is queued, runs it all inside one
transaction in the connection's own thread, and wakes the sleepers after COMMIT has returned. While one
batch is being written the next one gathers, so batches grow with load and an idle writer adds no delay.

What holds, always:

- nobody is woken before COMMIT returned, and a batch that fails leaves no effect of any of its units;
- a unit that raises (a constraint, an illegal transition) fails alone: the batch is rolled back and run again
  with each unit in its own savepoint;
- units run in the order they were queued; a unit may be run twice, so its only effects are on the database;
- counters change in the transaction that changes the rows they count;
- an error of the disk fails the whole batch and every later unit at once with `StoreUnavailable`, until a
  probe, written every few seconds, succeeds again;
- a queued unit always ends, whatever is cancelled meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import trio

from hubd.bridge import Bridge
from hubd.core.model import DeliveryState
from hubd.errors import StoreUnavailable
from hubd.failpoints import reach
from hubd.store.connection import Connection, is_disk_error, trouble_of

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_BATCH = 256  #: units in one transaction; bounds how long the first one waits for the last
CHECKPOINT_CHANGES = 8_000  #: changed rows between checkpoints: about 2,000 pages of write-ahead log
IDLE_CHECKPOINT = 2.0  #: seconds of quiet after which what is left in the log is checkpointed too
USAGE_STEP = 10  #: seconds; how finely it is remembered when a limit granted something
PROBE_BYTES = 65_536  #: the probe must need more room than the slack of half-filled pages

_COUNTERS = ("total", *(state.value for state in DeliveryState))

#: Moves a campaign's counters by the sum of what one batch did to its deliveries.
MOVE_COUNTERS = """
UPDATE campaign SET n_total = n_total + :total, n_pending = n_pending + :pending,
    n_deferred = n_deferred + :deferred, n_sending = n_sending + :sending, n_sent = n_sent + :sent,
    n_delivered = n_delivered + :delivered, n_undelivered = n_undelivered + :undelivered,
    n_failed = n_failed + :failed, n_skipped = n_skipped + :skipped, n_in_doubt = n_in_doubt + :in_doubt,
    updated_at = :now
WHERE id = :campaign_id"""
#: Appends a durable event with the name that its campaign has now.
ADD_EVENT = """
INSERT INTO event (at, type, campaign_id, campaign, data)
VALUES (?, ?, ?, coalesce((SELECT name FROM campaign WHERE id = ?), ''), ?)"""
#: The probe's filler, written in one transaction ...
PROBE = "INSERT INTO probe (filler) VALUES (zeroblob(:bytes))"
#: ... and removed in the next.
UNPROBE = "DELETE FROM probe"
#: Adds what was granted to the ten seconds in which it was.
SPEND = """
INSERT INTO usage (name, at, slots) VALUES (?, ?, ?)
ON CONFLICT (name, at) DO UPDATE SET slots = slots + excluded.slots"""
#: How many attempts were ever opened: what an older copy of the file does not know.
COUNT_OPENED = "UPDATE hub SET opened = opened + ?"
#: The last link of the audit trail ...
LAST_LINK = "SELECT hash FROM audit ORDER BY seq DESC LIMIT 1"
#: ... and the next.
ADD_AUDIT = """
INSERT INTO audit (at, actor, action, campaign_id, delivery_id, data, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"""


class Unit:
    """What one unit of work is handed: the connection inside the batch's transaction, and the books.

    `db` is for this unit's statements only: no BEGIN, COMMIT or ROLLBACK. `now` is the batch's time.
    """

    __slots__ = ("_moves", "_opened", "_spent", "db", "last_seq", "now")

    def __init__(self, db: sqlite3.Connection, now: float) -> None:
        self.db = db
        self.now = now
        self.last_seq = 0  #: of the last event written, 0 when there was none
        self._moves: dict[int, dict[str, int]] = {}
        self._spent: dict[tuple[str, int], int] = {}
        self._opened = 0

    def moved(
        self, campaign_id: int, source: DeliveryState | None, target: DeliveryState | None, n: int = 1
    ) -> None:
        """`n` deliveries went from `source` (None: were made) to `target` (None: were removed)."""
        if source is target or n == 0:
            return
        moves = self._moves.get(campaign_id)
        if moves is None:
            moves = self._moves[campaign_id] = dict.fromkeys(_COUNTERS, 0)
        # A state is a string and finds its counter as it is; asking an enum for its value takes longer.
        moves["total" if source is None else source] += n if source is None else -n
        moves["total" if target is None else target] += -n if target is None else n

    def event(self, type: str, campaign_id: int | None, data: Mapping[str, object]) -> int:
        """Append a durable event and return its seq. `data` holds no address and no content."""
        values = (self.now, type, campaign_id, campaign_id, json.dumps(data, separators=(",", ":")))
        seq = self.db.execute(ADD_EVENT, values).lastrowid
        assert seq is not None
        self.last_seq = seq
        return seq

    def opened(self) -> None:
        """One more attempt was opened."""
        self._opened += 1

    def spent(self, limits: Sequence[str], at: float, cost: int) -> None:
        """A message used `cost` slots of each of these limits at the time `at`."""
        step = int(at // USAGE_STEP) * USAGE_STEP
        for name in limits:
            self._spent[name, step] = self._spent.get((name, step), 0) + cost

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

    def flush(self) -> None:
        """Write what was gathered: counter moves, one UPDATE per campaign, and what limits granted.

        Called before COMMIT; call it earlier when the counters are read in the same unit.
        """
        for campaign_id, moves in self._moves.items():
            if any(moves.values()):
                self.db.execute(MOVE_COUNTERS, {**moves, "now": self.now, "campaign_id": campaign_id})
        self._moves.clear()
        for (name, step), slots in self._spent.items():
            self.db.execute(SPEND, (name, step, slots))
        self._spent.clear()
        if self._opened:
            self.db.execute(COUNT_OPENED, (self._opened,))
            self._opened = 0


def audit_hash(before: bytes, *fields: object) -> bytes:
    """The hash of one link of the audit trail, over the link before it and the row's own fields."""
    return hashlib.sha256(before + json.dumps(fields, separators=(",", ":")).encode()).digest()


Work = Callable[[Unit], T]


@dataclass(slots=True, eq=False)
class _Item(Generic[T]):
    work: Work[T]
    done: trio.Event = field(default_factory=trio.Event)
    result: T | None = None
    error: Exception | None = None


@dataclass(slots=True)
class _Outcome:
    """What became of a batch that was committed: each unit's value, or the exception that it raised."""

    values: list[Any]
    errors: dict[int, Exception]
    last_seq: int
    changes: int  #: of the connection so far


def run_batch(works: Sequence[Work[Any]], now: float, db: sqlite3.Connection) -> _Outcome:
    """Run all units in one transaction, in the connection's thread. Raises only when none had an effect."""
    try:
        return _together(works, now, db)
    except Exception as error:
        if is_disk_error(error):
            raise
        if len(works) == 1:
            return _Outcome(values=[None], errors={0: error}, last_seq=0, changes=db.total_changes)
    return _apart(works, now, db)


def _together(works: Sequence[Work[Any]], now: float, db: sqlite3.Connection) -> _Outcome:
    """The usual way: no unit fails, so none needs a savepoint."""
    unit = Unit(db, now)
    db.execute("BEGIN IMMEDIATE")
    try:
        values = [work(unit) for work in works]
        unit.flush()
        reach("mid_commit")
        db.execute("COMMIT")
        reach("after_commit")
    except BaseException:
        roll_back(db)
        raise
    return _Outcome(values=values, errors={}, last_seq=unit.last_seq, changes=db.total_changes)


def _apart(works: Sequence[Work[Any]], now: float, db: sqlite3.Connection) -> _Outcome:
    """Again, each unit under its own savepoint, so that only those fail which raise."""
    outcome = _Outcome(values=[None] * len(works), errors={}, last_seq=0, changes=0)
    db.execute("BEGIN IMMEDIATE")
    try:
        for index, work in enumerate(works):
            unit = Unit(db, now)
            db.execute("SAVEPOINT item")
            try:
                outcome.values[index] = work(unit)
                unit.flush()
            except Exception as error:
                # A disk error may have ended the transaction; then nothing of this batch may go on.
                if is_disk_error(error) or not db.in_transaction:
                    raise
                db.execute("ROLLBACK TO item")
                outcome.values[index] = None
                outcome.errors[index] = error
            else:
                outcome.last_seq = unit.last_seq or outcome.last_seq
            db.execute("RELEASE item")
        db.execute("COMMIT")
    except BaseException:
        roll_back(db)
        raise
    outcome.changes = db.total_changes
    return outcome


def roll_back(db: sqlite3.Connection) -> None:
    """End the transaction if SQLite has not ended it already (it does on a full disk)."""
    if db.in_transaction:
        try:
            db.execute("ROLLBACK")
        except sqlite3.Error:
            if db.in_transaction:
                raise


def probe(db: sqlite3.Connection) -> None:
    """Write something, durably, and take it away again. Raises what the disk says."""
    for statement in (PROBE, UNPROBE):
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(statement, {"bytes": PROBE_BYTES})
            db.execute("COMMIT")
        except BaseException:
            roll_back(db)
            raise


def checkpoint(mode: str, db: sqlite3.Connection) -> bool:
    """Copy the write-ahead log into the file; whether all of it was copied."""
    try:
        busy, frames, copied = db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    except sqlite3.Error as error:
        # The log is intact and the next checkpoint tries again; a disk in trouble shows in the next write.
        log.warning("the write-ahead log could not be checkpointed: %s", error)
        return False
    return not busy and frames == copied


class Writer:
    """The only task that changes the database. Started by `open_database`."""

    def __init__(
        self,
        connection: Connection,
        bridge: Bridge,
        *,
        clock: Callable[[], float],
        probe_interval: float,
        head_seq: int,
        max_batch: int = MAX_BATCH,
    ) -> None:
        self.trouble = ""
        self.head_seq = head_seq
        self._connection = connection
        self._bridge = bridge
        self._clock = clock
        self._probe_interval = probe_interval
        self._max_batch = max_batch
        self._queue: deque[_Item[Any]] = deque()
        self._wake = trio.Event()
        self._news = trio.Event()
        self._healthy = trio.Event()
        self._healthy.set()
        self._sticky = False
        self._closing = False
        self._changes = self._checkpointed = 0

    async def submit(self, work: Work[T]) -> T:
        """Queue a unit of work and wait until it is committed. Raises what it raised, or StoreUnavailable."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.trouble or self._closing:
            raise self._unavailable()
        item: _Item[T] = _Item(work)
        self._queue.append(item)
        self._wake.set()
        with trio.CancelScope(shield=True):
            await item.done.wait()
        if item.error is not None:
            try:
                raise item.error
            finally:
                item.error = None  # an exception that holds its own frame is garbage only the collector finds
        return item.result  # type: ignore[return-value]  # a unit without error has its result

    async def wait_events(self, after_seq: int) -> int:
        """Return the newest committed seq as soon as it is greater than `after_seq`."""
        while self.head_seq <= after_seq:
            await self._news.wait()
        return self.head_seq

    async def wait_healthy(self) -> None:
        """Return when writing works (at once if it does now)."""
        await self._healthy.wait()

    def close(self) -> None:
        """No more units are taken; `run` returns when those that are queued have ended."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Write until `close`. Not to be cancelled: the units' waiters are shielded and wait for it."""
        with trio.CancelScope(shield=True):
            try:
                while await self._wait_for_work():
                    await self._write_batch()
            except BaseException:
                self._closing = True
                self._stumble("the writer failed; see the log", sticky=True)
                raise
            finally:
                self._fail_queued()

    async def _wait_for_work(self) -> bool:
        """False when closing and nothing is queued. Probes and checkpoints while there is nothing to do."""
        while not self._queue:
            if self._closing:
                return False
            self._wake = trio.Event()
            with trio.move_on_after(self._patience()) as quiet:
                await self._wake.wait()
            if quiet.cancelled_caught:
                if self.trouble:
                    await self._probe()
                else:
                    await self._checkpoint()
        return True

    def _patience(self) -> float:
        if self.trouble:
            return float("inf") if self._sticky else self._probe_interval
        return IDLE_CHECKPOINT if self._changes != self._checkpointed else float("inf")

    async def _write_batch(self) -> None:
        items = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
        works = [item.work for item in items]
        try:
            outcome = await self._hop(partial(run_batch, works, self._clock()))
        except sqlite3.Error as error:
            text, sticky = trouble_of(error)
            self._stumble(text, sticky=sticky)
            for item in items:
                item.error = self._unavailable()
                item.error.__cause__ = error
                item.done.set()
            self._fail_queued()
            return
        self._changes = outcome.changes
        for index, item in enumerate(items):
            item.result = outcome.values[index]
            item.error = outcome.errors.get(index)
            item.done.set()
        if outcome.last_seq > self.head_seq:
            self.head_seq = outcome.last_seq
            self._news.set()
            self._news = trio.Event()
        if self._changes - self._checkpointed >= CHECKPOINT_CHANGES:
            await self._checkpoint()

    async def _hop(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._bridge.finish(self._connection.unit, work)

    async def _checkpoint(self) -> None:
        # PASSIVE never waits for a reader. What a reader holds back is copied by a later one.
        await self._hop(partial(checkpoint, "PASSIVE"))
        self._checkpointed = self._changes

    async def _probe(self) -> None:
        try:
            await self._hop(probe)
        except sqlite3.Error as error:
            text, sticky = trouble_of(error)
            self._stumble(text, sticky=sticky)
        else:
            log.warning("the database can be written again")
            self.trouble = ""
            self._healthy.set()

    def _stumble(self, text: str, *, sticky: bool) -> None:
        if text != self.trouble:
            log.error("the database cannot be written: %s", text)
        self.trouble = text
        self._sticky = self._sticky or sticky
        if self._healthy.is_set():
            self._healthy = trio.Event()

    def _fail_queued(self) -> None:
        while self._queue:
            item = self._queue.popleft()
            item.error = self._unavailable()
            item.done.set()

    def _unavailable(self) -> StoreUnavailable:
        if not self.trouble:
            return StoreUnavailable("the database is closing", hint="the daemon is stopping")
        hint = "restart the daemon" if self._sticky else "sending goes on by itself when the cause is gone"
        return StoreUnavailable(f"the database cannot be written: {self.trouble}", hint=hint)
