"""Send windows: when they open, in every time zone and over every change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.windows import Window, parse_window, window_opens
from hubd.errors import BadInput


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("text", "opens", "closes"),
    [
        ("08:00-21:00", 480, 1260),
        (" 8:00 - 21:30 ", 480, 1290),
        ("22:00-06:00", 1320, 360),
        ("00:00-24:00", 0, 1440),
        ("12:00-00:00", 720, 0),
    ],
)
def test_a_window_is_two_times_of_day(text: str, opens: int, closes: int) -> None:
    assert parse_window(text) == Window(opens, closes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8-21",
        "08:00",
        "08:00-",
        "08:00-25:00",
        "24:00-08:00",
        "08:60-21:00",
        "08:00-24:01",
        "08:00-08:00",
        "08:00-21:00 UTC",
        "０８:00-21:00",
        "08:00–21:00",
        "8am-9pm",
        "-1:00-08:00",
    ],
)
def test_what_is_not_a_window_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_window(text)


@given(st.text(max_size=16))
def test_reading_a_window_never_fails_in_another_way(text: str) -> None:
    try:
        parse_window(text)
    except BadInput:
        return


def test_an_open_window_is_now_and_a_closed_one_its_next_opening() -> None:
    berlin = "Europe/Berlin"
    noon = at("2026-06-01T12:00", berlin)
    assert window_opens("08:00-21:00", berlin, noon) == noon
    evening = at("2026-06-01T21:00", berlin)
    assert window_opens("08:00-21:00", berlin, evening) == at("2026-06-02T08:00", berlin)
    dawn = at("2026-06-01T07:59", berlin)
    assert window_opens("08:00-21:00", berlin, dawn) == at("2026-06-01T08:00", berlin)


def test_the_same_moment_is_open_in_one_zone_and_closed_in_another() -> None:
    now = at("2026-06-01T13:00")
    assert window_opens("08:00-21:00", "America/New_York", now) == now
    assert window_opens("08:00-21:00", "Asia/Tokyo", now) == at("2026-06-02T08:00", "Asia/Tokyo")


def test_a_window_over_midnight() -> None:
    for open_now in ("2026-06-01T23:00", "2026-06-01T05:59", "2026-06-01T22:00"):
        assert window_opens("22:00-06:00", "UTC", at(open_now)) == at(open_now)
    assert window_opens("22:00-06:00", "UTC", at("2026-06-01T06:00")) == at("2026-06-01T22:00")


def test_an_opening_in_the_hour_that_is_skipped_comes_at_the_hours_end() -> None:
    # Berlin, 2026-03-29: 02:00 becomes 03:00.
    now = at("2026-03-29T01:00", "Europe/Berlin")
    assert window_opens("02:30-12:00", "Europe/Berlin", now) == at("2026-03-29T03:00", "Europe/Berlin")


def test_a_window_that_is_skipped_whole_opens_the_day_after() -> None:
    now = at("2026-03-29T01:00", "Europe/Berlin")
    assert window_opens("02:15-02:45", "Europe/Berlin", now) == at("2026-03-30T02:15", "Europe/Berlin")


def test_a_window_in_the_hour_that_is_repeated_opens_twice() -> None:
    # Berlin, 2026-10-25: 03:00 becomes 02:00.
    first = at("2026-10-25T02:15", "Europe/Berlin")
    assert window_opens("02:15-02:30", "Europe/Berlin", first - 60) == first
    assert window_opens("02:15-02:30", "Europe/Berlin", first + 15 * 60) == first + 3600


def test_a_country_that_skips_a_day_still_gets_its_window() -> None:
    # Samoa went from 2011-12-29 straight to 2011-12-31.
    now = at("2011-12-29T22:00", "Pacific/Apia")
    assert window_opens("08:00-21:00", "Pacific/Apia", now) == at("2011-12-31T08:00", "Pacific/Apia")


@pytest.mark.parametrize(
    "zone", [None, "", "Nowhere/Land", "../../etc/passwd", "/etc/passwd", "Europe", "a\0b", "x" * 5000, "Bär"]
)
def test_a_zone_that_is_not_known_counts_as_utc(zone: str | None) -> None:
    now = at("2026-06-01T07:00")
    assert window_opens("08:00-21:00", zone, now) == now + 3600


def test_without_a_zone_of_its_own_the_window_is_in_the_campaigns() -> None:
    now = at("2026-06-01T07:00")
    for zone in (None, "Nowhere/Land"):
        assert window_opens("08:00-21:00", zone, now, "Europe/Berlin") == now  # it is 09:00 there
    assert window_opens("08:00-21:00", "UTC", now, "Europe/Berlin") == now + 3600


def test_no_window_is_always_open() -> None:
    assert window_opens("", "Europe/Berlin", 5.0) == 5.0


zones = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Casablanca",
        "America/St_Johns",
        "Pacific/Apia",
        "America/Santiago",
        "Pacific/Chatham",
        "Atlantic/Azores",
    ]
)
minutes = st.integers(0, 1439)


@st.composite
def moments_near_a_clock_change(draw: st.DrawFn) -> tuple[str, float]:
    """A zone and a moment, mostly within two days of a change of its clock."""
    zone = draw(zones)
    now = draw(st.integers(int(at("2010-01-01")), int(at("2037-01-01"))))
    where = ZoneInfo(zone)
    if draw(st.integers(0, 3)):
        moment = datetime.fromtimestamp(now, UTC)
        for _ in range(400):
            later = moment + timedelta(days=1)
            if moment.astimezone(where).utcoffset() != later.astimezone(where).utcoffset():
                now = int(moment.timestamp()) + draw(st.integers(-86_400, 86_400))
                break
            moment = later
    return zone, float(now)


@settings(max_examples=150)
@given(moments_near_a_clock_change(), minutes, minutes)
def test_a_window_opens_at_the_first_minute_that_is_inside(
    moment: tuple[str, float], opens: int, closes: int
) -> None:
    if opens == closes:
        return
    zone, now = moment
    window = f"{opens // 60:02}:{opens % 60:02}-{closes // 60:02}:{closes % 60:02}"
    found = window_opens(window, zone, now)

    where, hours = ZoneInfo(zone), parse_window(window)
    minute = now
    while not hours.has(datetime.fromtimestamp(minute, where)):
        minute = (minute // 60 + 1) * 60
    assert found == minute
