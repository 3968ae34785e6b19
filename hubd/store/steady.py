"""The steady clock of this installation (see `hubd.core.steady`), and the mark from which it continues."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from hubd.core.steady import Mark, resumed

#: The newest mark.
MARK = "SELECT at, boot, uptime, offset, doubtful_until FROM steady"
#: A newer one.
SET_MARK = """
INSERT INTO steady (only, at, boot, uptime, offset, doubtful_until)
VALUES (1, :at, :boot, :uptime, :offset, :doubtful_until)
ON CONFLICT (only) DO UPDATE SET at = excluded.at, boot = excluded.boot, uptime = excluded.uptime,
    offset = excluded.offset, doubtful_until = excluded.doubtful_until"""
#: The end of the newest step (of ten seconds) that an earlier version, which had no marks, recorded.
NEWEST_STEP = "SELECT max(at) + 10 FROM usage"

MARK_EVERY = 10.0  #: seconds; continuing from an older mark only makes limits hold a little longer

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)  # goes on while the machine is suspended


class Moment(NamedTuple):
    """When a batch is written, by both clocks; `mark` is to be written with it."""

    now: float
    steady: float
    mark: Mark | None = None


class Clocks(NamedTuple):
    """The readings of the other clocks at one moment."""

    wall: float
    boot: str
    uptime: float


class SteadyClock:
    """Call it for the time in seconds. It shows about the time since the epoch, and is for measuring only."""

    def __init__(self, begun: Mark, wall: Callable[[], float]) -> None:
        self._begun = begun
        self._wall = wall
        self._ahead = begun.at - begun.uptime
        self._marked = float("-inf")

    def __call__(self) -> float:
        return _uptime() + self._ahead

    def moment(self) -> Moment:
        """Now; with a mark when the last one is old enough."""
        steady = self()
        if steady - self._marked < MARK_EVERY:
            return Moment(self._wall(), steady)
        self._marked = steady
        return Moment(self._wall(), steady, self.mark())

    def mark(self) -> Mark:
        """The mark to continue from."""
        uptime = _uptime()
        return replace(self._begun, at=uptime + self._ahead, uptime=uptime)


def look(wall: Callable[[], float]) -> Clocks:
    """Read the other clocks."""
    return Clocks(wall(), _boot_id(), _uptime())


def resume(db: sqlite3.Connection, clocks: Clocks) -> Mark:
    """Where the clock begins, by the mark in the database, which is renewed. Inside a transaction."""
    now, boot, uptime = clocks
    row = db.execute(MARK).fetchone()
    if row is not None:
        begun = resumed(Mark(**dict(row)), wall=now, boot=boot, uptime=uptime)
    else:
        newest = db.execute(NEWEST_STEP).fetchone()[0]
        begun = resumed(None, wall=max(now, newest or now), boot=boot, uptime=uptime)
    write_mark(db, begun)
    return begun


def write_mark(db: sqlite3.Connection, mark: Mark) -> None:
    """Continue from here at the next start."""
    db.execute(SET_MARK, asdict(mark))


def _boot_id() -> str:
    """As the kernel has it, or as the service's unit gives it where that part of /proc is hidden."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        given = os.environ.get("HUBD_BOOT_ID", "")
    try:
        return str(uuid.UUID(given))
    except ValueError:
        return ""


def _uptime() -> float:
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
