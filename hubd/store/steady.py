"""The steady clock of this installation (see `hubd.core.steady`), and the reading from which it continues."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from hubd.core.steady import ClockReading, resumed
from hubd.store.transaction import Transaction

#: The newest reading.
READING = "SELECT at, boot, uptime, offset, doubtful_until FROM steady"
#: A newer one.
SET_READING = """
INSERT INTO steady (only, at, boot, uptime, offset, doubtful_until)
VALUES (1, :at, :boot, :uptime, :offset, :doubtful_until)
ON CONFLICT (only) DO UPDATE SET at = excluded.at, boot = excluded.boot, uptime = excluded.uptime,
    offset = excluded.offset, doubtful_until = excluded.doubtful_until"""
#: The end of the newest step (of ten seconds) that an earlier version, which had no readings, recorded.
NEWEST_STEP = "SELECT max(at) + 10 FROM usage"

SAVE_EVERY = 10.0  #: seconds; continuing from an older reading only makes limits hold a little longer

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)  # continues while the machine is suspended


class Moment(NamedTuple):
    """When a batch is written, by both clocks; `reading` is to be written with it."""

    now: float
    steady: float
    reading: ClockReading | None = None


class Clocks(NamedTuple):
    """The readings of the other clocks at one moment."""

    wall: float
    boot: str
    uptime: float


class SteadyClock:
    """Call it for the time in seconds. It shows about the time since the epoch, and is for measuring only."""

    def __init__(self, begun: ClockReading, wall: Callable[[], float]) -> None:
        self._begun = begun
        self._wall = wall
        self._ahead = begun.at - begun.uptime
        self._marked = float("-inf")

    def __call__(self) -> float:
        return _uptime() + self._ahead

    def moment(self) -> Moment:
        """Now; with a reading when the last one is old enough."""
        steady = self()
        if steady - self._marked < SAVE_EVERY:
            return Moment(self._wall(), steady)
        self._marked = steady
        return Moment(self._wall(), steady, self.reading())

    def reading(self) -> ClockReading:
        """The reading to continue from."""
        uptime = _uptime()
        return replace(self._begun, at=uptime + self._ahead, uptime=uptime)


def look(wall: Callable[[], float]) -> Clocks:
    """Read the other clocks."""
    return Clocks(wall(), _boot_id(), _uptime())


def resume(db: Transaction, clocks: Clocks) -> ClockReading:
    """Where the clock begins, by the reading in the database, which is renewed. Inside a transaction."""
    now, boot, uptime = clocks
    row = db.execute(READING).fetchone()
    if row is not None:
        begun = resumed(ClockReading(**dict(row)), wall=now, boot=boot, uptime=uptime)
    else:
        newest = db.execute(NEWEST_STEP).fetchone()[0]
        begun = resumed(None, wall=max(now, newest or now), boot=boot, uptime=uptime)
    write_reading(db, begun)
    return begun


def write_reading(db: Transaction, reading: ClockReading) -> None:
    """Continue from here at the next start."""
    db.execute(SET_READING, asdict(reading))


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
