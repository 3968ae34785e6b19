"""When a recipient may be sent to: a stretch of each day, in the recipient's own time zone.

Pure: the clock is an argument. Times are epoch seconds, time zones IANA names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hubd.errors import BadInput

_WINDOW = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})")
_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of every day, in minutes since local midnight; it may go over midnight."""

    opens: int
    closes: int  #: the first minute that is outside; 1440 is the end of the day

    def has(self, local: datetime) -> bool:
        """Whether the wall clock time of `local` is inside."""
        minute = local.hour * 60 + local.minute
        if self.opens < self.closes:
            return self.opens <= minute < self.closes
        return minute >= self.opens or minute < self.closes


def parse_window(text: str) -> Window:
    """Read "08:00-21:00", or "22:00-06:00" over midnight. Raises `BadInput`."""
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise BadInput.at("window", 'not a window; write it like "08:00-21:00"')
    hour, minute, last_hour, last_minute = (int(part) for part in match.groups())
    opens, closes = hour * 60 + minute, last_hour * 60 + last_minute
    if minute > 59 or last_minute > 59 or opens >= _DAY or closes > _DAY:
        raise BadInput.at(
            "window", "not a time of day; hours go to 23, minutes to 59, and a window may end at 24:00"
        )
    if opens == closes:
        raise BadInput.at("window", 'this window is never open; for the whole day, write "00:00-24:00"')
    return Window(opens, closes)


def window_opens(window: str, zone: str | None, now: float, default: str = "") -> float:
    """`now` when the window is open in that time zone, else the epoch second at which it opens next.

    `zone` is an IANA name such as "Europe/Berlin"; without one, or with one that is not known, the window
    is in the zone `default`, and without that in UTC (`known_zone` tells them apart). An empty window is
    always open. Daylight saving is heeded: a window whose opening falls into the skipped hour opens at the
    hour's end, one in the repeated hour opens twice. Raises `BadInput` for a window that cannot be read.
    """
    if not window.strip():
        return now
    hours, where = _parse_window_once(window), _zone(zone or "") or _zone(default) or UTC
    local = datetime.fromtimestamp(now, where)
    if hours.has(local):
        return now
    openings = [
        at for at in _candidates(hours, where, local.date()) if at > now and _open_at(hours, where, at)
    ]
    return min(openings)


def known_zone(name: str) -> bool:
    """Whether this is the name of a time zone."""
    return _zone(name) is not None


_parse_window_once = lru_cache(maxsize=64)(parse_window)


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo | None:
    # A name is a path below the zone directory: a folder or an odd character is an OSError or ValueError.
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _open_at(hours: Window, where: tzinfo, at: float) -> bool:
    return hours.has(datetime.fromtimestamp(at, where))


@lru_cache(maxsize=4096)
def _candidates(hours: Window, where: tzinfo, day: date) -> tuple[float, ...]:
    """Every instant around `day` at which the window can open: its opening times and the clock changes."""
    found: list[float] = []
    for offset in range(-1, 4):
        midnight = datetime.combine(day + timedelta(days=offset), datetime.min.time(), where)
        opening = midnight.replace(hour=hours.opens // 60, minute=hours.opens % 60)
        found += [opening.timestamp(), opening.replace(fold=1).timestamp()]
        start = midnight.timestamp()
        found += _clock_changes(where, start, start + 90_000.0)
    return tuple(found)


def _clock_changes(where: tzinfo, start: float, end: float) -> list[float]:
    """The instant between `start` and `end` at which the zone's offset changes, to the second."""
    before = _offset(where, start)
    if before == _offset(where, end):
        return []
    low, high = int(start), int(end)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(where, middle) == before else (low, middle)
    return [float(high)]


def _offset(where: tzinfo, at: float) -> timedelta:
    return datetime.fromtimestamp(at, where).utcoffset() or timedelta(0)
