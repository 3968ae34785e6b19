"""When a campaign starts, in the words of people: "tomorrow 9:00", "monday 9:00", "2026-12-01 09:00".

Strict: what could mean two different times is refused, and so is a time that the clock does not show.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from zoneinfo import ZoneInfo

from hubd.core.intake import time_zone
from hubd.core.tables import problem_of
from hubd.core.times import parse_duration, parse_time
from hubd.errors import BadInput

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_START = re.compile(
    rf"(?:(?P<day>\d{{4}}-\d\d-\d\d|today|tomorrow|{'|'.join(_WEEKDAYS)})(?:t|\s+at\s+|\s+))?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?P<fraction>\.\d{1,9})?)?)?"
    r"(?:\s*(?P<half>[ap]m)\b)?(?:\s*(?P<zone>[+-]\d\d:\d\d|[a-z][a-z0-9_+/-]*))?",
    re.ASCII,
)
_NOT_A_START = 'not a time such as "2026-12-01 09:00", "tomorrow 9:00", "monday 9:00" or "9:00"'


def start_time(text: str, *, zone: str = "", now: float | None = None) -> str:
    """The time to start at as RFC 3339, with the offset from UTC that it has in its time zone.

    A date or "today", "tomorrow", "monday" and a time of day; the time of day alone is one of today; and
    "in 2 hours". A weekday is the next one at which that time is still to come. An offset or the name of a
    time zone may follow; else the time is one of `zone`. `now`, in epoch seconds, is what such words count
    from; without it only dates can be read. The result may be in the past.

    Raises BadInput for everything else; also for a time that the clock of the zone skips or shows twice.
    """
    words = text.strip().lower()
    if words.startswith("in ") and now is not None:
        seconds = parse_duration(words.removeprefix("in "))
        return _checked(
            lambda: dt.datetime.fromtimestamp(now + seconds, dt.UTC).isoformat(timespec="seconds")
        )
    match = _START.fullmatch(words)
    if match is None:
        raise BadInput(_NOT_A_START)
    place = _place(match["zone"] or zone)
    clock = _clock(match)
    return _checked(lambda: _on_day(match["day"], clock, place, now).isoformat())


def _checked(made: Callable[[], str]) -> str:
    try:
        found = made()
        dt.datetime.fromtimestamp(parse_time(found), dt.UTC)  # it will be shown in UTC
    except (ValueError, OverflowError, OSError):
        raise BadInput("there is no such date or time") from None
    return found


def _place(zone: str) -> dt.tzinfo:
    """The time zone with this name or offset."""
    if not zone:
        raise BadInput(
            "has no time zone; end it in Z for UTC, in an offset such as +01:00, or in the name of one"
        )
    if zone == "z":
        return dt.UTC
    if zone[0] in "+-":
        try:
            return dt.time.fromisoformat(f"00:00{zone}").tzinfo or dt.UTC
        except ValueError:
            raise BadInput("there is no such offset from UTC") from None
    try:
        return ZoneInfo(time_zone(zone))
    except BadInput as error:
        raise BadInput(f"the text after the time is {problem_of(error)}") from None


def _clock(match: re.Match[str]) -> dt.time:
    hour = int(match["hour"])
    if match["half"] is None and match["minute"] is None:
        raise BadInput("the time of day needs its minutes, such as 9:00")
    if match["half"] is not None:
        if not 1 <= hour <= 12:
            raise BadInput("there is no such time of day")
        hour = hour % 12 + (12 if match["half"] == "pm" else 0)
    fraction = (match["fraction"] or ".0")[1:7].ljust(6, "0")
    try:
        return dt.time(hour, int(match["minute"] or 0), int(match["second"] or 0), int(fraction))
    except ValueError:
        raise BadInput("there is no such time of day") from None


def _on_day(day: str | None, clock: dt.time, place: dt.tzinfo, now: float | None) -> dt.datetime:
    if day is not None and day[0].isdigit():
        return _existing(dt.datetime.combine(dt.date.fromisoformat(day), clock), place)
    if now is None:
        raise BadInput("not a date and time such as 2026-12-01 09:00")
    today = dt.datetime.fromtimestamp(now, place).date()
    if day not in _WEEKDAYS:
        ahead = 1 if day == "tomorrow" else 0
        return _existing(dt.datetime.combine(today + dt.timedelta(ahead), clock), place)
    ahead = (_WEEKDAYS.index(day) - today.weekday()) % 7
    wall = dt.datetime.combine(today + dt.timedelta(ahead), clock)
    if wall.replace(tzinfo=place, fold=1).timestamp() <= now:
        wall += dt.timedelta(7)
    return _existing(wall, place)


def _existing(wall: dt.datetime, place: dt.tzinfo) -> dt.datetime:
    """The one instant at which the clock of the place shows this."""
    first, second = wall.replace(tzinfo=place), wall.replace(tzinfo=place, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first
    shown = first.astimezone(dt.UTC).astimezone(place)
    if shown.replace(tzinfo=None, fold=0) != wall:
        raise BadInput(
            f"the clock in {place} is set forward on {wall:%Y-%m-%d} and skips {wall:%H:%M}; "
            f"write {shown:%H:%M}"
        )
    raise BadInput(
        f"the clock in {place} is set back on {wall:%Y-%m-%d} and shows {wall:%H:%M} twice; "
        f"write {first.isoformat()} or {second.isoformat()}"
    )
