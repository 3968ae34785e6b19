"""Reports: sums of the roll-up by campaign and by stretch of time, and the last run in words. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from hubd.core.intake import time_zone
from hubd.core.measures import CAME_BACK, DAY, HOUR, Measure, delivery_rate, hour_of, rate_of
from hubd.core.model import Campaign, CampaignState, Counts
from hubd.core.start_times import start_time
from hubd.core.tables import problem_of
from hubd.core.times import parse_duration, parse_time
from hubd.errors import BadInput

By = Literal["hour", "day", "week", "month"]
Sums = Mapping[Measure, int]

MOST_STRETCHES = 10_000  #: in one report


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """From when until when, in seconds since the epoch, whole hours; None for no limit."""

    since: int | None = None
    until: int | None = None  #: exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the roll-up says of one campaign in a period."""

    campaign: Campaign
    sums: Sums = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the roll-up says at one moment."""

    lines: Sequence[Line]
    hours: Sequence[tuple[int, Measure, int]]  #: when an hour (or an old day) began, what, how often
    uncounted: int  #: campaigns of an earlier version whose figures are not complete yet


class _Spec(msgspec.Struct):
    labels: list[str] = []


def labels_of(campaign: Campaign) -> list[str]:
    """The labels that its file gives it."""
    return msgspec.json.decode(campaign.spec, type=_Spec).labels


def rates(sums: Sums) -> tuple[float | None, float | None]:
    """The delivery rate and the opt-out rate; None where nothing can be known."""
    sent, delivered = sums.get(Measure.SENT, 0), sums.get(Measure.DELIVERED, 0)
    undelivered = sums.get(Measure.UNDELIVERED, 0)
    known = bool(delivered or undelivered or any(sums.get(measure, 0) for measure in CAME_BACK))
    delivery = delivery_rate(sent, delivered, undelivered)
    opt_outs = rate_of(sums.get(Measure.OPT_OUTS, 0), sent, known=known)
    return _rounded(delivery), _rounded(opt_outs)


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 6)


def added(lines: Iterable[Line]) -> Counter[Measure]:
    """All of them together."""
    total: Counter[Measure] = Counter()
    for line in lines:
        total.update(line.sums)
    return total


def last_run(campaign: Campaign) -> str | None:
    """How the last run of a campaign ended, or goes, in words; None if there was none."""
    if campaign.started_at is None:
        return None
    counts = campaign.counts
    match campaign.state:
        case CampaignState.COMPLETED:
            return f"completed: {_ended(counts)}"
        case CampaignState.STOPPED:
            return f"stopped: {_accepted(counts):,} of {counts.total:,} sent"
        case CampaignState.PAUSED | CampaignState.FAILED:
            why = f": {campaign.reason}" if campaign.reason else ""
            return f"{campaign.state.value}{why}"
        case _:
            return f"{campaign.state.value}: {_accepted(counts):,} of {counts.total:,} sent"


def _accepted(counts: Counts) -> int:
    return counts.sent + counts.delivered + counts.undelivered


def _ended(counts: Counts) -> str:
    parts = [f"{_accepted(counts):,} sent"]
    others = (
        (counts.undelivered, "undelivered"),
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
        (counts.in_doubt, "in doubt"),
    )
    return ", ".join(parts + [f"{n:,} {word}" for n, word in others if n])


def latest(campaigns: Iterable[Campaign]) -> Campaign | None:
    """The campaign whose run began last."""
    begun = [each for each in campaigns if each.started_at is not None]
    return max(begun, key=lambda each: (each.started_at or 0.0, each.id), default=None)


# --- time ---------------------------------------------------------------------------------------


def place(zone: str) -> dt.tzinfo:
    """The time zone of this name; UTC for "". Raises BadInput for "timezone"."""
    if not zone:
        return dt.UTC
    try:
        return ZoneInfo(time_zone(zone))
    except BadInput as error:
        raise BadInput.at("timezone", problem_of(error)) from None


def read_period(since: str | None, until: str | None, *, zone: str, now: float) -> Period:
    """The period that is meant, extended to whole hours.

    Each is a date ("2026-12-01", "today", "yesterday"), a time as `start_time` reads it, or how long ago
    ("7 days", "24h"). Dates are of `zone`; `until` a date includes that day. Raises BadInput.
    """
    begin = None if since is None else hour_of(_instant(since, "since", zone, now, end=False))
    end = None if until is None else hour_of(_instant(until, "until", zone, now, end=True) - 1e-3) + HOUR
    if begin is not None and end is not None and end <= begin:
        raise BadInput.at("until", "is not after since")
    return Period(since=begin, until=end)


def _instant(text: str, name: str, zone: str, now: float, *, end: bool) -> float:
    words = text.strip().lower()
    there = place(zone)
    today = dt.datetime.fromtimestamp(now, there).date()
    day = {"today": today, "yesterday": today - dt.timedelta(days=1)}.get(words)
    try:
        if day is None and len(words) == len("2026-12-01") and words[4:5] == "-":
            day = dt.date.fromisoformat(words)
        if day is not None:
            found = _midnight(day + dt.timedelta(days=int(end)), there)
        elif words[:1].isdigit() and "-" not in words and ":" not in words:
            found = max(0.0, now - parse_duration(words))
        else:
            found = parse_time(start_time(text, zone=zone or "utc", now=now))
    except (BadInput, ValueError, OverflowError):
        raise BadInput.at(
            name,
            f'is {text!r}; write a date such as "2026-12-01", a time such as "2026-12-01 09:00" or "today", '
            'or how long ago, such as "7 days"',
        ) from None
    if found < 0:
        raise BadInput.at(name, "is before 1970")
    return found


def _midnight(day: dt.date, there: dt.tzinfo) -> float:
    """When a day begins; where the clock skips midnight, the first moment that it shows."""
    return dt.datetime.combine(day, dt.time(), there).timestamp()


def stretch_of(at: int, by: By, there: dt.tzinfo) -> int:
    """When the hour, day, week (from Monday) or month of a time began in a zone; seconds since the epoch.

    Figures are kept by the hour of UTC. So in a zone that is off by half an hour, an hour that lies over the
    end of a day belongs to the day in which it began.
    """
    if by == "hour":
        return at
    day = dt.datetime.fromtimestamp(at, there).date()
    if by == "week":
        day -= dt.timedelta(days=day.weekday())
    elif by == "month":
        day = day.replace(day=1)
    return int(_midnight(day, there))


def _after(start: int, by: By, there: dt.tzinfo) -> int:
    """When the next stretch begins."""
    if by == "hour":
        return start + HOUR
    day = dt.datetime.fromtimestamp(start, there).date()
    if by == "day":
        day += dt.timedelta(days=1)
    elif by == "week":
        day += dt.timedelta(days=7)
    else:
        day = (day.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
    return int(_midnight(day, there))


def series(
    hours: Iterable[tuple[int, Measure, int]], by: By, there: dt.tzinfo, period: Period, *, now: float
) -> list[tuple[int, Sums]]:
    """The sums of each stretch of a period, in order, also of those in which nothing happened.

    Without a beginning it begins with the first hour that has something, without an end it ends with the
    last. Raises BadInput when there are more than `MOST_STRETCHES`.
    """
    found: dict[int, Counter[Measure]] = {}
    for at, measured in groupby(hours, key=itemgetter(0)):
        start = stretch_of(at, by, there)
        if (sums := found.get(start)) is None:
            sums = found[start] = Counter()
        for _, measure, n in measured:
            sums[measure] += n
    begin = min(found, default=None) if period.since is None else stretch_of(period.since, by, there)
    if begin is None:
        return []
    last = max(found, default=begin)
    if period.until is not None:
        last = max(last, stretch_of(min(period.until, hour_of(now) + HOUR) - 1, by, there))
    return [(start, found.get(start, Counter())) for start in _stretches(begin, last, by, there)]


def _stretches(begin: int, last: int, by: By, there: dt.tzinfo) -> Iterator[int]:
    if (last - begin) / (HOUR if by == "hour" else DAY) > MOST_STRETCHES:
        raise BadInput.at(
            "by", f"makes more than {MOST_STRETCHES:,} lines; give a shorter period, or a longer stretch"
        )
    start = begin
    while start <= last:
        yield start
        start = _after(start, by, there)
