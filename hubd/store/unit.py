"""Units of work in the connection's thread: what each is handed, and how many of them share a transaction.

Nothing here knows of tasks. `run_batch` runs the units between one BEGIN and one COMMIT; one that raises is
rolled back alone. An error of the disk leaves no effect of any of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar

from hubd.core.model import DeliveryState
from hubd.core.pacing import STEP
from hubd.failpoints import reach
from hubd.store.connection import BUSY_TIMEOUT, DISK_ERRORS, TakenOver, is_disk_error, trouble_of
from hubd.store.multirow import write_rows
from hubd.store.steady import Moment, write_reading

log = logging.getLogger(__name__)
A = TypeVar("A")
T = TypeVar("T")

PROBE_BYTES = 65_536  #: the probe must need more room than the slack of half-filled pages

_COUNTERS = ("total", *(state.value for state in DeliveryState))

#: The newest boot on this file.
EPOCH = "SELECT epoch FROM hub"
#: Moves a campaign's counters by the sum of what one batch did to its deliveries.
MOVE_COUNTERS = """
UPDATE campaign SET n_total = n_total + :total, n_pending = n_pending + :pending,
    n_deferred = n_deferred + :deferred, n_sending = n_sending + :sending, n_sent = n_sent + :sent,
    n_delivered = n_delivered + :delivered, n_undelivered = n_undelivered + :undelivered,
    n_failed = n_failed + :failed, n_skipped = n_skipped + :skipped, n_in_doubt = n_in_doubt + :in_doubt,
    last_error = coalesce(:refusal, last_error), updated_at = :now
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
INSERT INTO usage (name, at, slots) {rows}
ON CONFLICT (name, at) DO UPDATE SET slots = slots + excluded.slots"""
#: How many attempts were ever opened: what an older copy of the file does not know.
COUNT_OPENED = "UPDATE hub SET opened = opened + ?"
#: The last link of the audit trail ...
LAST_LINK = "SELECT hash FROM audit ORDER BY seq DESC LIMIT 1"
#: ... and the next.
ADD_AUDIT = """
INSERT INTO audit (at, actor, action, campaign_id, delivery_id, data, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"""


class Unit:
    """What one unit of work is handed: the connection inside the batch's transaction, and the counters.

    `db` is for this unit's statements only: no BEGIN, COMMIT or ROLLBACK. `now` is the batch's time on the
    wall clock; `steady` is the same on the clock by which ages are measured.
    """

    __slots__ = ("_moves", "_opened", "_refusals", "_spent", "db", "last_seq", "now", "steady")

    def __init__(self, db: sqlite3.Connection, moment: Moment) -> None:
        self.db = db
        self.now, self.steady = moment.now, moment.steady
        self.last_seq = 0  #: of the last event written, 0 when there was none
        self._moves: dict[int, dict[str, int]] = {}
        self._refusals: dict[int, str] = {}
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

    def refused(self, campaign_id: int, said: str) -> None:
        """A delivery was refused with these words; the campaign shows the last of them."""
        self._refusals[campaign_id] = said
        self._moves.setdefault(campaign_id, dict.fromkeys(_COUNTERS, 0))

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
        step = int(at // STEP) * STEP
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
            refusal = self._refusals.get(campaign_id)
            if any(moves.values()) or refusal is not None:
                values = {**moves, "refusal": refusal, "now": self.now, "campaign_id": campaign_id}
                self.db.execute(MOVE_COUNTERS, values)
        self._moves.clear()
        self._refusals.clear()
        write_rows(self.db, SPEND, [(*key, slots) for key, slots in self._spent.items()])
        self._spent.clear()
        if self._opened:
            self.db.execute(COUNT_OPENED, (self._opened,))
            self._opened = 0


def audit_hash(before: bytes, *fields: object) -> bytes:
    """The hash of one link of the audit trail, over the link before it and the row's own fields."""
    return hashlib.sha256(before + json.dumps(fields, separators=(",", ":")).encode()).digest()


Work = Callable[[Unit], T]


@dataclass(frozen=True, slots=True)
class Joint(Generic[A, T]):
    """A unit of work that is done at once with those of its kind that are next to it in the batch.

    `together` gets the arguments of all of them, in order, and returns a result for each. If it raises, each
    unit is run alone.
    """

    argument: A
    together: Callable[[Unit, Sequence[A]], Sequence[T]]

    def __call__(self, unit: Unit) -> T:
        """Run it alone."""
        return self.together(unit, [self.argument])[0]


@dataclass(slots=True)
class Committed:
    """What became of a batch that was committed: each unit's value, or the exception that it raised."""

    values: list[Any]
    errors: dict[int, Exception]
    last_seq: int
    changes: int  #: of the connection so far


def run_batch(works: Sequence[Work[Any]], moment: Moment, epoch: int, db: sqlite3.Connection) -> Committed:
    """Run all units in one transaction, in the connection's thread. Raises only when none had an effect.

    `epoch` is this boot's: raises `TakenOver` when another process has begun a newer one.
    """
    try:
        return _together(works, moment, epoch, db)
    except Exception as error:
        if is_disk_error(error):
            raise
        if len(works) == 1:
            return Committed(values=[None], errors={0: error}, last_seq=0, changes=db.total_changes)
    return _apart(works, moment, epoch, db)


def _together(works: Sequence[Work[Any]], moment: Moment, epoch: int, db: sqlite3.Connection) -> Committed:
    """The usual way: no unit fails, so none needs a savepoint."""
    unit = Unit(db, moment)
    db.execute("BEGIN IMMEDIATE")
    try:
        _check_epoch(epoch, db)
        values = _run_all(works, unit)
        unit.flush()
        if moment.reading is not None:
            write_reading(db, moment.reading)
        reach("mid_commit")
        db.execute("COMMIT")
        reach("after_commit")
    except BaseException:
        roll_back(db)
        raise
    return Committed(values=values, errors={}, last_seq=unit.last_seq, changes=db.total_changes)


def _run_all(works: Sequence[Work[Any]], unit: Unit) -> list[Any]:
    values: list[Any] = []
    for _, alike in groupby(works, key=lambda work: work.together if isinstance(work, Joint) else None):
        some = list(alike)
        joint = [work for work in some if isinstance(work, Joint)]
        if joint:
            values += joint[0].together(unit, [work.argument for work in joint])
        else:
            values += [work(unit) for work in some]
    return values


def _apart(works: Sequence[Work[Any]], moment: Moment, epoch: int, db: sqlite3.Connection) -> Committed:
    """Again, each unit under its own savepoint, so that only those fail which raise."""
    outcome = Committed(values=[None] * len(works), errors={}, last_seq=0, changes=0)
    db.execute("BEGIN IMMEDIATE")
    try:
        _check_epoch(epoch, db)
        for index, work in enumerate(works):
            unit = Unit(db, moment)
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
        if moment.reading is not None:
            write_reading(db, moment.reading)
        db.execute("COMMIT")
    except BaseException:
        roll_back(db)
        raise
    outcome.changes = db.total_changes
    return outcome


def _check_epoch(epoch: int, db: sqlite3.Connection) -> None:
    """The lock file of a running daemon may have been removed, and then another one can start."""
    if db.execute(EPOCH).fetchone()[0] != epoch:
        raise TakenOver("another hubd is using the database")


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


def checkpoint(mode: str, db: sqlite3.Connection, level: int = logging.WARNING) -> bool:
    """Copy the write-ahead log into the file; whether all of it was copied.

    Raises `sqlite3.Error` only when it is beyond waiting for, such as a failed fsync.
    """
    try:
        return copy_log(mode, db)
    except DISK_ERRORS as error:
        if trouble_of(error)[1]:
            raise
        # The log is intact and the next checkpoint tries again; a disk in trouble shows in the next write.
        log.log(level, "the write-ahead log could not be checkpointed: %s", trouble_of(error)[0])
        return False


def copy_log(mode: str, db: sqlite3.Connection) -> bool:
    """As `checkpoint`, and raises whatever SQLite says."""
    busy, frames, copied = db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return not busy and bool(frames == copied)


def empty_log(db: sqlite3.Connection, level: int = logging.WARNING) -> bool:
    """Copy the log into the file and cut it off, if no reader is in the way now. Raises as `checkpoint`."""
    db.execute("PRAGMA busy_timeout = 0")  # a reader may take long, and all that write would wait with us
    try:
        return checkpoint("TRUNCATE", db, level)
    finally:
        db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}")
