"""A clock for durations: limits, ages, how long to keep trying.

The wall clock can be wrong: a machine without a battery starts in 1970, a time server may be wrong, people
set clocks. So durations are measured on a clock that only goes forward: while the daemon runs it follows the
time since the machine started, whatever the wall clock does.

Across a restart of the daemon the machine itself knows how much time passed. When the machine was started
again, only the wall clock can tell, and it is believed when it is ahead of the steady clock by at most
`BELIEVED`. The same is believed while the machine was up, too: one that was taken from a snapshot looks like
that. A wall clock that is behind, or further ahead, says nothing: the time that the machine was off is
unknown then and does not count, and when the wall clock is set right again, that is not taken for time that
passed. So a limit may hold longer than its period, by the time that the machine was off. It holds shorter
only when the wall clock was set forward by less than `BELIEVED` between two starts, and only once by what it
was set forward.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds that the wall clock may be ahead and is believed. No limit has a longer period, so what was granted
#: before has expired when so much time has passed.
BELIEVED = 31 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """A reading from which the steady clock continues."""

    at: float  #: what it showed, in seconds
    boot: str  #: the boot of the machine at that time; "" if unknown
    uptime: float  #: seconds since that start
    offset: float = 0.0  #: how far the wall clock is ahead when it is right
    doubtful_until: float = 0.0  #: no wall clock is believed before the steady clock shows this


def resumed(reading: ClockReading | None, *, wall: float, boot: str, uptime: float) -> ClockReading:
    """Where the steady clock continues at a start of the daemon, given the other clocks' readings.

    `reading` is the newest one of earlier runs; without one the steady clock begins with the wall clock.
    """
    if reading is None:
        return ClockReading(at=wall, boot=boot, uptime=uptime)
    same_boot = bool(boot) and boot == reading.boot
    at = reading.at + (max(0.0, uptime - reading.uptime) if same_boot else 0.0)
    offset, doubtful_until = reading.offset, reading.doubtful_until
    if at < doubtful_until:
        if not same_boot:
            doubtful_until = at + BELIEVED
    elif doubtful_until:
        offset, doubtful_until = wall - at, 0.0
    elif at <= wall - offset <= at + BELIEVED:
        at = wall - offset
    elif not same_boot:
        doubtful_until = at + BELIEVED
    return ClockReading(at=at, boot=boot, uptime=uptime, offset=offset, doubtful_until=doubtful_until)
