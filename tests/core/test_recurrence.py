"""A campaign that repeats comes at the times that were written, once each, whatever the clocks do."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hubd.core.recurrence import (
    GRACE,
    LONGEST_NAME,
    MOST_MISSED,
    DueOccurrence,
    Recurrence,
    check_cron,
    cron_of,
    due,
    occurrence_name,
    recurrence_from_json,
    recurrence_json,
)
from hubd.core.spec_reading import campaign_name, parse_spec
from hubd.errors import BadInput

#: Two changes of the clock a year in both hemispheres, one by half an hour only, and none.
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo")
DAY = 86_400.0
YEAR = 365 * DAY
#: A Monday, 10:00 in Berlin.
MONDAY = dt.datetime(2026, 11, 30, 9, tzinfo=dt.UTC).timestamp()


def recurring(text: str, zone: str = "Europe/Berlin", **keys: object) -> Recurrence:
    return Recurrence(cron=check_cron(cron_of(text)), zone=zone, text=text, **keys)  # type: ignore[arg-type]


def instant(text: str, zone: str = "Europe/Berlin") -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("monday 09:00", ["2026-12-07T09:00", "2026-12-14T09:00"]),
        ("every Monday at 10:01", ["2026-11-30T10:01", "2026-12-07T10:01"]),
        ("mondays and thursdays 9am", ["2026-12-03T09:00", "2026-12-07T09:00"]),
        ("daily 8:00", ["2026-12-01T08:00", "2026-12-02T08:00"]),
        ("every day 23:59", ["2026-11-30T23:59", "2026-12-01T23:59"]),
        ("weekdays 12 pm", ["2026-11-30T12:00", "2026-12-01T12:00"]),
        ("weekends 10:00", ["2026-12-05T10:00", "2026-12-06T10:00"]),
        ("monthly on the 1st 9:00", ["2026-12-01T09:00", "2027-01-01T09:00"]),
        ("monthly on the last day 9:00", ["2026-12-31T09:00", "2027-01-31T09:00"]),
        ("monthly on the last friday 09:00", ["2026-12-25T09:00", "2027-01-29T09:00"]),
        ("monthly on the second tuesday 9:00", ["2026-12-08T09:00", "2027-01-12T09:00"]),
        ("yearly on december 24 9:00", ["2026-12-24T09:00", "2027-12-24T09:00"]),
        ("yearly on the 29th of february 9:00", ["2028-02-29T09:00", "2032-02-29T09:00"]),
        ("every 2 hours", ["2026-11-30T12:00", "2026-11-30T14:00"]),
        ("hourly", ["2026-11-30T11:00", "2026-11-30T12:00"]),
        ("15 minutes", ["2026-11-30T10:15", "2026-11-30T10:30"]),
    ],
)
def test_what_people_write_comes_when_they_mean_it(text: str, times: list[str]) -> None:
    assert recurring(text).upcoming(MONDAY, 2) == [instant(time) for time in times]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("every second", "not a time such as"),
        ("whenever", "not a time such as"),
        ("7 minutes", "would shift; write 6 minutes"),
        ("0 minutes", "write 1 minute"),
        ("5 hours", "would shift; write 4 hours"),
        ("monday 9", "needs its minutes"),
        ("daily 25:00", "no such time of day"),
        ("daily 13 pm", "no such time of day"),
        ("monthly on the 30th 9:00", "not every month has a day 30"),
        ("yearly on february 30 9:00", "no such day as February 30"),
        ("monday " * 200 + "9:00", "not a time such as"),
    ],
)
def test_what_has_no_meaning_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        cron_of(text)


@pytest.mark.parametrize(
    "text",
    [
        *("0 9 30 2 *", "0 9 31 2,4,6 *", "* * * * * *", "@daily", "0 9 * *", "60 9 * * *", "a b c d e"),
        *("*/0 * * * *", "0 9 * * 8", "", "\N{SUPERSCRIPT TWO} * * * *"),
    ],
)
def test_a_cron_expression_that_is_none_or_never_comes_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        check_cron(text)


@given(st.text(max_size=60))
@example("monday,monday,, 9:00")
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (cron_of, check_cron):
        try:
            assert Recurrence(cron=check_cron(read(text)), zone="UTC", text=text).next(MONDAY) is not None
        except BadInput:
            continue


@pytest.mark.parametrize("zone", ZONES)
@given(minute=st.integers(0, 24 * 60 - 1))
@example(minute=150)
@example(minute=120)
@example(minute=180)
@settings(max_examples=25)
def test_a_time_of_day_comes_once_on_each_day_of_a_year(zone: str, minute: int) -> None:
    text = f"daily {minute // 60}:{minute % 60:02}"
    begin = instant("2027-01-01T00:00", zone) - 60
    found = []
    for at in recurring(text, zone).after(begin):
        if at > begin + YEAR:
            break
        found.append(dt.datetime.fromtimestamp(at, ZoneInfo(zone)))
    assert [each.date() for each in found] == [
        dt.date(2027, 1, 1) + dt.timedelta(n) for n in range(len(found))
    ]
    assert len(found) == 365
    moved = [each for each in found if each.hour * 60 + each.minute != minute]
    assert len(moved) <= 1, "only where the clock skips this time"
    for each in moved:
        before = dt.datetime.fromtimestamp(each.timestamp() - 1, ZoneInfo(zone))
        assert each.utcoffset() != before.utcoffset(), "at the end of the gap"
    assert all(not each.fold for each in found), "the first time of two"


EXPRESSIONS = ("30 2 * * *", "*/20 * * * *", "15 */2 * * *", "0 1-3 * * *", "0 2 * * 0")


@given(
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from(EXPRESSIONS),
    change=st.sampled_from(
        ["2027-03-14", "2027-03-28", "2027-04-04", "2027-10-03", "2027-10-31", "2027-11-07"]
    ),
    minutes=st.lists(st.integers(0, 3 * 24 * 60 * 60), min_size=1, max_size=10),
)
def test_what_comes_next_does_not_depend_on_where_one_looks_from(
    zone: str, cron: str, change: str, minutes: list[int]
) -> None:
    recurrence = Recurrence(cron=cron, zone=zone, text=cron)
    begin = instant(f"{change}T00:00", zone) - DAY
    listed = []
    for at in recurrence.after(begin):
        listed.append(at)
        if at > begin + 4 * DAY:
            break
    assert listed == sorted(set(listed))
    for seconds in minutes:
        here = begin + seconds
        assert recurrence.next(here) == min((at for at in listed if at > here), default=None)


def test_the_hour_that_is_shown_twice_and_the_one_that_is_skipped() -> None:
    autumn, spring = instant("2027-10-30T12:00"), instant("2027-03-27T12:00")
    nightly, often = recurring("daily 2:30"), recurring("30 minutes")
    first = instant("2027-10-31T02:30")
    assert nightly.upcoming(autumn, 2) == [first, instant("2027-11-01T02:30")]
    assert nightly.next(first + 1800) == instant("2027-11-01T02:30"), "also seen from between the two"
    assert nightly.next(spring) == instant("2027-03-28T03:00")
    times = often.upcoming(first - 3600, 6)
    assert [later - at for at, later in pairwise(times)] == [1800.0] * 5


@given(
    st.integers(0, int(40 * DAY)),
    st.sampled_from(["daily 8:00", "15 minutes", "monday 9:00", "monthly on the last day 2:30"]),
    st.sampled_from(["skip", "once"]),
)
def test_of_what_was_missed_the_newest_is_started_if_it_may_be(late: int, text: str, catch_up: str) -> None:
    recurrence = recurring(text, catch_up=catch_up)
    planned = recurrence.next(MONDAY)
    assert planned is not None
    now = planned + late
    passed = [planned]
    for at in recurrence.after(planned):
        if at > now:
            break
        passed.append(at)
    found = due(recurrence, planned, now)
    if now - passed[-1] <= GRACE or catch_up == "once":
        assert found.start == passed[-1]
    else:
        assert found.start is None
    assert found.newest == passed[-1]
    assert found.next == recurrence.next(now)
    assert found.missed == min(len(passed), MOST_MISSED) - (found.start is not None)


def test_before_its_time_nothing_is_due_and_after_the_last_nothing_is_left() -> None:
    recurrence = recurring("daily 8:00", until=instant("2026-12-02T23:59"))
    first, last = recurrence.upcoming(MONDAY)
    assert due(recurrence, first, first - 1) == DueOccurrence(next=first)
    assert due(recurrence, first, first) == DueOccurrence(start=first, newest=first, next=last)
    assert due(recurrence, last, last + 1) == DueOccurrence(start=last, newest=last, next=None)


def test_a_year_of_every_minute_is_passed_over_at_once() -> None:
    recurrence = Recurrence(cron="* * * * *", zone="Europe/Berlin", text="* * * * *")
    found = due(recurrence, MONDAY, MONDAY + YEAR + 30)
    assert (found.start, found.next) == (MONDAY + YEAR, MONDAY + YEAR + 60)


def test_the_names_of_occurrences_are_names_of_campaigns() -> None:
    series = "s" * LONGEST_NAME
    at = instant("2026-12-07T09:30")
    assert occurrence_name("news", recurring("monday 9:30"), at) == "news.2026-12-07"
    assert occurrence_name("news", recurring("30 minutes"), at) == "news.2026-12-07-0930"
    longest = occurrence_name(series, recurring("30 minutes"), at, 2)
    assert campaign_name(longest).endswith(".2026-12-07-0930-2")


FILE = {"name": "news", "channel": "sms", "lists": ["all"], "text": "Hi"}


def test_a_file_that_repeats() -> None:
    schedule = {"every": "monday 9:00", "timezone": "europe/berlin", "until": dt.date(2026, 12, 31)}
    spec = parse_spec({**FILE, "schedule": schedule})
    recurrence = spec.schedule.recurrence
    assert recurrence is not None
    assert recurrence.upcoming(MONDAY, 9)[-1] == instant("2026-12-28T09:00")
    assert recurrence_from_json(recurrence_json(recurrence)) == recurrence
    assert parse_spec({**FILE, "schedule": {}}).schedule.recurrence is None
    assert recurrence_from_json("") is None


@pytest.mark.parametrize(
    ("schedule", "path"),
    [
        ({"every": "monday 9:00"}, "schedule.timezone"),
        ({"every": "monday 9:00", "timezone": "Mars/Base"}, "schedule.timezone"),
        ({"every": "every second", "timezone": "UTC"}, "schedule.every"),
        ({"cron": "0 9 30 2 *", "timezone": "UTC"}, "schedule.cron"),
        ({"cron": "0 9 * * 1", "every": "monday 9:00", "timezone": "UTC"}, "schedule.cron"),
        ({"every": "monday 9:00", "timezone": "UTC", "at": "2026-12-01 09:00"}, "schedule.at"),
        ({"every": "monday 9:00", "timezone": "UTC", "until": "soon"}, "schedule.until"),
        ({"every": "monday 9:00", "timezone": "UTC", "catch_up": "twice"}, "schedule.catch_up"),
        ({"until": "2026-12-31"}, "schedule.until"),
        ({"catch_up": "once"}, "schedule.catch_up"),
    ],
)
def test_a_schedule_that_is_none_is_refused(schedule: dict[str, object], path: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_spec({**FILE, "schedule": schedule})
    assert path in str(caught.value.data)


def test_a_name_leaves_room_for_the_dates() -> None:
    schedule = {"every": "monday 9:00", "timezone": "UTC"}
    assert parse_spec({**FILE, "name": "n" * LONGEST_NAME, "schedule": schedule}).name
    with pytest.raises(BadInput, match="at most 44 characters"):
        parse_spec({**FILE, "name": "n" * (LONGEST_NAME + 1), "schedule": schedule})
