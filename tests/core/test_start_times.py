"""A start in the words of people is the time that the clock on their wall will show, or is refused."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.spec_reading import parse_spec
from hubd.core.start_times import start_time
from hubd.core.times import parse_time
from hubd.errors import BadInput

BERLIN = "Europe/Berlin"
#: A Monday, 10:00 in Berlin.
MONDAY = dt.datetime(2026, 11, 30, 10, tzinfo=ZoneInfo(BERLIN)).timestamp()
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("2026-12-01 09:00", "2026-12-01T09:00:00+01:00"),
        ("2026-12-01T9:00:30", "2026-12-01T09:00:30+01:00"),
        ("2026-12-01 09:00 UTC", "2026-12-01T09:00:00+00:00"),
        ("2026-12-01 09:00Z", "2026-12-01T09:00:00+00:00"),
        ("2026-12-01T09:00:00-05:00", "2026-12-01T09:00:00-05:00"),
        ("2026-07-01 9:00 America/New_York", "2026-07-01T09:00:00-04:00"),
        ("Tomorrow at 9:00", "2026-12-01T09:00:00+01:00"),
        ("tomorrow 9am", "2026-12-01T09:00:00+01:00"),
        ("tomorrow 12:05 am", "2026-12-01T00:05:00+01:00"),
        ("today 23:59", "2026-11-30T23:59:00+01:00"),
        ("12 pm", "2026-11-30T12:00:00+01:00"),
        ("9:00", "2026-11-30T09:00:00+01:00"),  # an hour ago: never silently another day
        ("monday 10:01", "2026-11-30T10:01:00+01:00"),
        ("monday 10:00", "2026-12-07T10:00:00+01:00"),
        ("sunday 9:00", "2026-12-06T09:00:00+01:00"),
        ("tomorrow 3:00 asia/tokyo", "2026-12-01T03:00:00+09:00"),
        ("in 90 minutes", "2026-11-30T10:30:00+00:00"),
    ],
)
def test_a_start_is_written_as_people_say_it(text: str, start: str) -> None:
    assert start_time(text, zone=BERLIN, now=MONDAY) == start


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a time such as"),
        ("tomorrow", "not a time such as"),
        ("2026-12-01", "not a time such as"),
        ("next monday 9:00", "not a time such as"),
        ("01.12.2026 09:00", "not a time such as"),
        ("12/01/2026 09:00", "not a time such as"),
        ("tomorrow 9", "needs its minutes"),
        ("9:00 parsecs", "not a time zone"),
        ("9:00 berlin", "did you mean Europe/Berlin?"),
        ("24:00", "no such time of day"),
        ("9:60", "no such time of day"),
        ("13 pm", "no such time of day"),
        ("0:30 am", "no such time of day"),
        ("2026-02-30 09:00", "no such date"),
        ("2026-12-01 09:00+25:00", "no such offset"),
        ("9999-12-31 23:59 Etc/GMT+12", "no such date"),
        ("in 9 parsecs", "not a duration"),
        ("in 999999999 weeks", "no such date"),
        ("2026-03-29 02:30", "skips 02:30; write 03:30"),
        ("2026-10-25 02:30", "write 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"),
    ],
)
def test_what_means_no_time_or_two_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        start_time(text, zone=BERLIN, now=MONDAY)
    assert problem in str(caught.value)


def test_a_time_needs_a_zone_and_words_need_to_know_what_day_it_is() -> None:
    with pytest.raises(BadInput, match="has no time zone"):
        start_time("2026-12-01 09:00", now=MONDAY)
    with pytest.raises(BadInput, match="not a date and time"):
        start_time("tomorrow 9:00", zone=BERLIN)


def test_a_file_says_the_same_words() -> None:
    raw = {"name": "x", "channel": "sms", "text": "Hi", "schedule": {"at": "tomorrow 9:00"}}
    assert parse_spec(raw, now=MONDAY, zone=BERLIN).schedule.at == "2026-12-01T09:00:00+01:00"
    named = {**raw, "schedule": {"at": dt.time(11), "timezone": "Asia/Tokyo"}}
    assert parse_spec(named, now=MONDAY, zone=BERLIN).schedule.at == "2026-11-30T11:00:00+09:00"
    with pytest.raises(BadInput, match=r"schedule\.at: not a date and time"):
        parse_spec(raw, zone=BERLIN)


def read(text: str, zone: str, now: float | None = None) -> str:
    """The time, or why it is none."""
    try:
        return start_time(text, zone=zone, now=now)
    except BadInput as error:
        return str(error)


nows = st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2090, 1, 1)).map(
    lambda when: when.replace(tzinfo=dt.UTC).timestamp()
)
zones = st.sampled_from(
    [
        BERLIN,
        "UTC",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Africa/Casablanca",
    ]
)
clocks = st.times().map(lambda clock: clock.replace(second=0, microsecond=0))


@given(nows, zones, clocks, st.sampled_from(["", "today ", "tomorrow ", *(f"{day} " for day in WEEKDAYS)]))
def test_the_clock_on_the_wall_shows_what_was_written(
    now: float, zone: str, clock: dt.time, day: str
) -> None:
    text = read(f"{day}{clock:%H:%M}", zone, now)
    if "skips" in text or "twice" in text:
        return
    shown = dt.datetime.fromtimestamp(parse_time(text), ZoneInfo(zone))
    today = dt.datetime.fromtimestamp(now, ZoneInfo(zone)).date()
    assert shown.time() == clock
    if day.strip() in WEEKDAYS:
        assert shown.weekday() == WEEKDAYS.index(day.strip())
        assert parse_time(text) > now
        assert 0 <= (shown.date() - today).days <= 7
    else:
        assert (shown.date() - today).days == (day == "tomorrow ")


@given(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2090, 1, 1)), zones)
def test_a_date_is_the_instant_at_which_the_zone_shows_it_and_no_other(wall: dt.datetime, zone: str) -> None:
    wall = wall.replace(second=0, microsecond=0)
    instants = {
        each.timestamp()
        for each in (wall.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1))
        if each.astimezone(dt.UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) == wall
    }
    found = read(f"{wall:%Y-%m-%d %H:%M}", zone)
    if "skips" in found or "twice" in found:
        assert len(instants) == (2 if "twice" in found else 0)
    else:
        assert {parse_time(found)} == instants


@given(
    st.text(st.sampled_from("0123456789:-+ tapmozZ/mondayinrow"), max_size=30) | st.text(max_size=30),
    nows,
    zones,
)
def test_any_other_text_is_bad_input(text: str, now: float, zone: str) -> None:
    try:
        found = start_time(text, zone=zone, now=now)
    except BadInput:
        return
    parse_time(found)
