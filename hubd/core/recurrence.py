"""Campaigns that repeat: when the next occurrence is, and what becomes of those whose time has passed.

A recurrence is a cron expression of five fields (minute, hour, day of month, month, day of week) in a time
zone. Times of day follow Debian's cron, as cronsim does: in the hour that a clock shows twice an occurrence
comes once, the first time; one in the hour that a clock skips comes at the end of the gap. What comes every
few minutes or every hour goes by the time that passes, so it comes in both of the hours and never in the gap.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from itertools import islice
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from hubd.core.intake import time_zone
from hubd.core.start_times import start_time
from hubd.core.times import parse_time
from hubd.errors import BadInput

GRACE = 3600.0  #: seconds by which an occurrence may be late and is started all the same
CATCH_UP = ("skip", "once")
#: The reason of a campaign that repeated and has come to its end.
OVER = "it has no more occurrences"
#: How many characters a name may have, so that there is room for ".2026-12-07-0930-2".
LONGEST_NAME = 44
_BACK = 3 * 3600.0  #: no clock is set back by more; local times before an instant may come after it
MOST_MISSED = 1_000  #: missed occurrences that are counted

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_PLACES = {"first": "#1", "second": "#2", "third": "#3", "fourth": "#4", "last": "L"}
_DAY = "|".join(_DAYS)
_TIME = r"(?:at )?(?P<time>\d{1,2}(?::\d\d)?(?: ?[ap]m)?)"
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))?(?: ?([ap])m)?", re.ASCII)
_INTERVAL = re.compile(r"(?:(\d{1,4}) )?(minute|hour)s?|(hourly)", re.ASCII)
_DAILY = re.compile(rf"(?P<days>daily|days?|weekdays?|weekends?) {_TIME}", re.ASCII)
_WEEKLY = re.compile(rf"(?:weekly )?(?:on )?(?P<days>(?:(?:{_DAY})s?(?: and |, ?| )?)+) ?{_TIME}", re.ASCII)
_MONTHLY = re.compile(
    rf"(?:monthly|months?) (?:on )?(?:the )?(?:(?P<date>\d{{1,2}})(?:st|nd|rd|th)?\.?|(?P<last>last day)"
    rf"|(?P<place>{'|'.join(_PLACES)}) (?P<day>{_DAY})) {_TIME}",
    re.ASCII,
)
_YEARLY = re.compile(
    rf"(?:yearly|years?) (?:on )?(?:the )?(?:(?P<date>\d{{1,2}})(?:st|nd|rd|th)?\.? (?:of )?"
    rf"(?P<month>{'|'.join(_MONTHS)})|(?P<month2>{'|'.join(_MONTHS)}) (?P<date2>\d{{1,2}})(?:st|nd|rd|th)?,?)"
    rf" {_TIME}",
    re.ASCII,
)
_NOT_EVERY = (
    'not a time such as "monday 9:00", "daily 8:00", "weekdays 9:00", "monthly on the 1st 9:00", '
    '"monthly on the last friday 9:00", "yearly on december 24 9:00" or "2 hours"'
)


class Recurrence(msgspec.Struct, frozen=True, kw_only=True):
    """When a campaign repeats."""

    cron: str  #: five fields
    zone: str  #: an IANA name
    text: str  #: as it was written
    until: float | None = None  #: the last instant, in epoch seconds, at which one may be
    catch_up: str = "skip"  #: one of `CATCH_UP`: what to do about those that were missed

    def after(self, instant: float) -> Iterator[float]:
        """The occurrences after an instant, in epoch seconds; they end at `until`."""
        zone = ZoneInfo(self.zone)
        try:
            # Local times repeat, so it begins a little earlier: what is given does not depend on where.
            for each in CronSim(self.cron, dt.datetime.fromtimestamp(instant - _BACK, zone)):
                at = each.timestamp()
                if self.until is not None and at > self.until:
                    return
                if at > instant:
                    yield at
        except (OverflowError, ValueError):  # the calendar ends with the year 9999
            return

    def next(self, instant: float) -> float | None:
        """The first occurrence after an instant, None for none."""
        return next(self.after(instant), None)

    def upcoming(self, instant: float, count: int = 3) -> list[float]:
        """The next few occurrences after an instant."""
        return list(islice(self.after(instant), count))


def recurrence_json(recurrence: Recurrence | None) -> str:
    """A recurrence as JSON, for keeping; "" for none."""
    return "" if recurrence is None else msgspec.json.encode(recurrence).decode()


def recurrence_from_json(text: str) -> Recurrence | None:
    """What `recurrence_json` wrote."""
    return msgspec.json.decode(text, type=Recurrence) if text else None


# --- what is due -----------------------------------------------------------------------------------------


class DueOccurrence(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a series whose time has come."""

    start: float | None = None  #: the occurrence to start now
    missed: int = 0  #: occurrences that are not started, because their time has passed; at most `MOST_MISSED`
    newest: float | None = None  #: the last one whose time has come
    next: float | None = None  #: the occurrence to wait for, None for none


def due(recurrence: Recurrence, planned: float, now: float) -> DueOccurrence:
    """What to do at `now` about a series that waited for the occurrence `planned`.

    Of those whose time has come, the newest is started if it is at most `GRACE` late, or whatever its age
    when missed ones are caught up once. All others are missed.
    """
    if planned > now:
        return DueOccurrence(next=planned)
    newest, count = planned, 1
    after: float | None = None
    for at in recurrence.after(planned):
        if at > now:
            after = at
            break
        newest, count = at, count + 1
        if count == MOST_MISSED:  # months of "every minute": the rest is not counted
            newest = _newest(recurrence, newest, now)
            after = recurrence.next(newest)
            break
    starts = now - newest <= GRACE or recurrence.catch_up == "once"
    return DueOccurrence(start=newest if starts else None, missed=count - starts, newest=newest, next=after)


def _newest(recurrence: Recurrence, known: float, now: float) -> float:
    """The last occurrence until `now`; `known` is one that has passed. It looks at the last day first."""
    for since in (now - 86_400.0, now - 32 * 86_400.0, known):
        found = known
        for at in recurrence.after(max(known, since)):
            if at > now:
                break
            found = at
        if found != known:
            return found
    return known


def occurrence_name(series: str, recurrence: Recurrence, at: float, number: int = 1) -> str:
    """The name of the campaign of an occurrence: "weekly.2026-12-07", by the calendar of its time zone.

    With the time of day where there may be several on a day. `number` tells those apart that would have the
    same name.
    """
    local = dt.datetime.fromtimestamp(at, ZoneInfo(recurrence.zone))
    minute, hour, *_ = recurrence.cron.split()
    day = f"{local:%Y-%m-%d}" if minute.isdigit() and hour.isdigit() else f"{local:%Y-%m-%d-%H%M}"
    return f"{series}.{day}" + (f"-{number}" if number > 1 else "")


# --- reading ---------------------------------------------------------------------------------------------


def cron_of(text: str) -> str:
    """The cron expression of `every` in a campaign file. Raises BadInput for words that have no meaning."""
    words = re.sub(r"\s+", " ", text[:200].strip().lower()).removeprefix("every ")
    if match := _INTERVAL.fullmatch(words):
        return _interval(int(match[1] or 1), match[2] or "hour")
    for pattern, days in ((_DAILY, _of_day), (_WEEKLY, _of_week), (_MONTHLY, _of_month), (_YEARLY, _of_year)):
        if match := pattern.fullmatch(words):
            minute, hour = _clock(match["time"])
            return f"{minute} {hour} {days(match)}"
    raise BadInput(_NOT_EVERY)


def check_cron(text: str) -> str:
    """The cron expression, with single spaces. Raises BadInput for what is none, or never comes."""
    fields = text.upper().split()
    if len(fields) != 5:
        raise BadInput(
            "not five fields: minute, hour, day of the month, month, day of the week, such as 0 9 * * 1"
        )
    expression = " ".join(fields)
    try:
        first = next(CronSim(expression, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)), None)
    except CronSimError as error:
        raise BadInput(f"not a cron expression: {str(error).lower()}") from None
    except (ValueError, OverflowError, RecursionError):
        raise BadInput("not a cron expression") from None
    if first is None:
        raise BadInput("there is no such day")
    return expression


def read_until(text: str, zone: str) -> float:
    """The last instant of a series: the end of a day, or a time. Raises BadInput.

    Only a day can be read without a time zone, which a series always has.
    """
    try:
        day = dt.date.fromisoformat(text.strip())
    except ValueError:
        return parse_time(start_time(text, zone=zone))
    try:
        following = dt.datetime.combine(day + dt.timedelta(1), dt.time(), ZoneInfo(time_zone(zone or "UTC")))
        return following.timestamp() - 1.0
    except (OverflowError, ValueError):
        raise BadInput("there is no such date") from None


def _interval(count: int, unit: str) -> str:
    whole = 60 if unit == "minute" else 24
    if not 1 <= count <= whole or whole % count:
        fits = [n for n in range(1, whole) if whole % n == 0]
        nearest = min(fits, key=lambda n: abs(n - count))
        day = "an hour" if unit == "minute" else "a day"
        better = f"{nearest} {unit}{'s' * (nearest > 1)}"
        raise BadInput(f"{count} {unit}s do not divide {day}, so the times would shift; write {better}")
    if unit == "minute":
        return "0 * * * *" if count == 60 else f"*/{count} * * * *"
    return "0 0 * * *" if count == 24 else f"0 */{count} * * *"


def _clock(text: str) -> tuple[int, int]:
    match = _CLOCK.fullmatch(text)
    assert match is not None, "it was matched before"
    hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
    if half is None and match[2] is None:
        raise BadInput("the time of day needs its minutes, such as 9:00")
    if half is not None:
        if not 1 <= hour <= 12:
            raise BadInput("there is no such time of day")
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 23 or minute > 59:
        raise BadInput("there is no such time of day")
    return minute, hour


def _of_day(match: re.Match[str]) -> str:
    return {"weekday": "* * 1-5", "weekend": "* * 0,6"}.get(match["days"].rstrip("s"), "* * *")


def _of_week(match: re.Match[str]) -> str:
    days = {str(_DAYS.index(day)) for day in re.findall(_DAY, match["days"])}
    return f"* * {','.join(sorted(days))}"


def _of_month(match: re.Match[str]) -> str:
    if match["last"]:
        return "L * *"
    if match["place"]:
        return f"* * {_DAYS.index(match['day'])}{_PLACES[match['place']]}"
    day = int(match["date"])
    if day > 28:
        raise BadInput(f'not every month has a day {day}; write "monthly on the last day {match["time"]}"')
    if not day:
        raise BadInput("there is no such day")
    return f"{day} * *"


def _of_year(match: re.Match[str]) -> str:
    month = _MONTHS.index(match["month"] or match["month2"]) + 1
    day = int(match["date"] or match["date2"])
    try:
        dt.date(2024, month, day)
    except ValueError:
        raise BadInput(f"there is no such day as {_MONTHS[month - 1].title()} {day}") from None
    return f"{day} {month} *"
