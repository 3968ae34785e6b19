"""Running units of work in the writer's thread, many in one transaction, and what else that connection does.

Nothing here knows of tasks. `run_batch` runs the units between one BEGIN and one COMMIT; one that raises is
rolled back alone. An error of the disk leaves no effect of any of them.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hubd.failpoints import reach
from hubd.store.connection import BUSY_TIMEOUT, DISK_ERRORS, TakenOver, is_disk_error, trouble_of
from hubd.store.steady import Moment, write_reading
from hubd.store.unit import NODE, SharedWork, Unit, Work

log = logging.getLogger(__name__)

PROBE_BYTES = 65_536  #: the probe must need more room than the slack of half-filled pages

#: The newest boot on this file.
EPOCH = "SELECT epoch FROM hub"
#: The probe's filler, written in one transaction ...
PROBE = "INSERT INTO probe (filler) VALUES (zeroblob(:bytes))"
#: ... and removed in the next.
UNPROBE = "DELETE FROM probe"
#: So many more attempts were opened: what an older copy of the file does not know. No row is changed when
#: this is no longer the newest boot.
COUNT_OPENED = """
INSERT INTO opened (node, attempts) SELECT ?, ? FROM hub WHERE epoch = ?
ON CONFLICT (node) DO UPDATE SET attempts = opened.attempts + excluded.attempts"""
#: How many attempts were opened, in the row by which a file and its log are known to belong together.
NOTE_OPENED = "UPDATE hub SET opened = (SELECT coalesce(sum(attempts), 0) FROM opened)"


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
    return _apart(works, moment, epoch, db)


def _together(works: Sequence[Work[Any]], moment: Moment, epoch: int, db: sqlite3.Connection) -> Committed:
    """The usual way: no unit fails, so none needs a savepoint."""
    unit = Unit(db, moment)
    db.execute("BEGIN IMMEDIATE")
    try:
        values = _run_all(works, unit)
        unit.flush()
        count_opened(unit.attempts, epoch, db)
        _note_reading(moment, db)
        reach("mid_commit")
        db.execute("COMMIT")
        reach("after_commit")
    except BaseException:
        roll_back(db)
        raise
    return Committed(values=values, errors={}, last_seq=unit.last_seq, changes=db.total_changes)


def _run_all(works: Sequence[Work[Any]], unit: Unit) -> list[Any]:
    values: list[Any] = []
    for _, alike in groupby(works, key=lambda work: work.together if isinstance(work, SharedWork) else None):
        some = list(alike)
        shared = [work for work in some if isinstance(work, SharedWork)]
        if shared:
            values += shared[0].together(unit, [work.argument for work in shared])
        else:
            values += [work(unit) for work in some]
    return values


def _apart(works: Sequence[Work[Any]], moment: Moment, epoch: int, db: sqlite3.Connection) -> Committed:
    """Again, each unit under its own savepoint, so that only those fail which raise."""
    outcome = Committed(values=[None] * len(works), errors={}, last_seq=0, changes=0)
    attempts = 0
    db.execute("BEGIN IMMEDIATE")
    try:
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
                attempts += unit.attempts
            db.execute("RELEASE item")
        count_opened(attempts, epoch, db)
        _note_reading(moment, db)
        db.execute("COMMIT")
    except BaseException:
        roll_back(db)
        raise
    outcome.changes = db.total_changes
    return outcome


def count_opened(attempts: int, epoch: int, db: sqlite3.Connection) -> None:
    """Count them, and raise `TakenOver` unless `epoch` is the newest boot: one statement for both, because
    a message waits for each.
    """
    if not attempts or db.execute(COUNT_OPENED, (NODE, attempts, epoch)).rowcount == 0:
        check_epoch(epoch, db)


def _note_reading(moment: Moment, db: sqlite3.Connection) -> None:
    """Every few seconds, what is good enough when it is a few seconds old."""
    if moment.reading is not None:
        write_reading(db, moment.reading)
        db.execute(NOTE_OPENED)


def check_epoch(epoch: int, db: sqlite3.Connection) -> None:
    """Raise `TakenOver` unless `epoch` is the newest boot on the file.

    The lock file of a running daemon may have been removed, and then another one can start.
    """
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
