"""A warm-up begins small, doubles on time, and never goes backwards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.pacing import Rate
from hubd.core.warmup import DAY, MOST, Warmup, day_quota, parse_doubling, parse_start
from hubd.errors import BadInput

TWO_HUNDRED = Warmup(start=200, double_every=2 * DAY)


@pytest.mark.parametrize(
    ("days", "amount"),
    [(0, 200), (1, 200), (1.99, 200), (2, 400), (3, 400), (4, 800), (10, 6_400), (20, 204_800)],
)
def test_the_quota_doubles_with_every_whole_period_since_the_first_message(days: float, amount: int) -> None:
    assert day_quota(TWO_HUNDRED, days * DAY)[0] == Rate(amount, DAY)


def test_it_stands_at_its_start_until_then_also_when_the_clock_was_set_back() -> None:
    assert day_quota(TWO_HUNDRED, -5 * DAY) == (Rate(200, DAY), 2 * DAY)


def test_it_ends_where_nothing_is_limited_any_more() -> None:
    assert day_quota(TWO_HUNDRED, 100_000 * DAY) == (Rate(MOST, DAY), float("inf"))


warmups = st.builds(Warmup, start=st.integers(1, MOST), double_every=st.floats(3600, 1e9))


@given(warmups, st.floats(-1e9, 1e12), st.floats(0, 1e12))
def test_it_never_shrinks_and_grows_when_it_said(warmup: Warmup, age: float, more: float) -> None:
    now, then = day_quota(warmup, age)
    assert day_quota(warmup, age + more)[0].amount >= now.amount
    assert then > age
    if then != float("inf"):
        assert day_quota(warmup, then * (1 + 1e-12) + 1e-6)[0].amount == min(2 * now.amount, MOST)


@pytest.mark.parametrize(("text", "amount"), [("200/day", 200), ("1/d", 1), (" 50 / 24h ", 50)])
def test_the_start_is_a_number_a_day(text: str, amount: int) -> None:
    assert parse_start(text) == amount


@pytest.mark.parametrize("text", ["", "200", "200/hour", "10/s", "0/day", "200/2days", "many"])
def test_another_start_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="200/day"):
        parse_start(text)


@pytest.mark.parametrize(("text", "seconds"), [("2 days", 2 * DAY), ("1h", 3600), ("1d 12h", 1.5 * DAY)])
def test_the_time_to_double_is_a_duration(text: str, seconds: float) -> None:
    assert parse_doubling(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "59m", "soon", "-1 days", "2 weeks ago"])
def test_another_time_to_double_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="2 days"):
        parse_doubling(text)


@given(st.text(max_size=20))
def test_reading_never_fails_in_another_way(text: str) -> None:
    for parse in (parse_start, parse_doubling):
        try:
            assert parse(text) > 0
        except BadInput:
            continue
