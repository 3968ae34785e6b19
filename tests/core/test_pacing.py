"""Rates are read as they are meant, or refused with an example; an estimate keeps to them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.limiter import PARTS, RateLimiter
from hubd.core.pacing import BURST, REMEMBERED, Rate, estimate, longest_period, parse_rate, parse_rates
from hubd.errors import BadInput

# --- reading rates -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount", "period"),
    [
        ("30/minute", 30, 60),
        ("10/s", 10, 1),
        ("10000/day", 10_000, 86_400),
        ("1/2s", 1, 2),
        ("50/sec", 50, 1),
        ("5 / 10 min", 5, 600),
        (" 100/h ", 100, 3600),
        ("2/3hours", 2, 10_800),
        ("7/D", 7, 86_400),
    ],
)
def test_a_rate_is_an_amount_over_a_time(text: str, amount: int, period: float) -> None:
    assert parse_rate(text) == Rate(amount, period)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "/s",
        "10/",
        "0/s",
        "1/0s",
        "-1/s",
        "1.5/s",
        "10/week",
        "10/s/s",
        "10 per s",
        "１０/s",
        "٣/s",
        "1e3/s",
        "10/s\n10/s",
        "10/\x00s",
        "9999999999/s",
        "nan/s",
        "inf/s",
        "10/month",
        "10/ms",
    ],
)
def test_what_is_not_a_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match="10/s"):
        parse_rate(text)


@given(st.text(max_size=20))
def test_reading_a_rate_never_fails_in_another_way(text: str) -> None:
    try:
        rate = parse_rate(text)
    except BadInput:
        return
    assert rate.amount >= 1
    assert rate.period >= 1


def test_a_rate_may_not_look_back_further_than_is_remembered() -> None:
    assert parse_rate("100/31days").period == REMEMBERED
    with pytest.raises(BadInput, match="31 days"):
        parse_rate("100/32days")


def test_the_longest_period_of_several_rates() -> None:
    assert longest_period(["10/s", "100/2days", "5/h"]) == 2 * 86_400
    assert longest_period([]) == 0.0


def test_of_two_rates_over_the_same_time_the_stricter_holds() -> None:
    assert parse_rates(["60/minute", "10/s", "5/s"]) == (Rate(5, 1.0), Rate(60, 60.0))


# --- estimates ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "rates", "seconds"),
    [
        (0, ["1/s"], 0.0),
        (1, ["1/s"], 0.0),
        (11, ["1/s"], 10.0),
        (61, ["30/minute"], 120.0),
        (1000, [], 0.0),
        (100, ["100/day"], 0.0),
        (101, ["100/day"], 86_400.0),
        (25_000, ["50/s", "10000/day"], 2 * 86_400 + 4_999 / 50 - BURST + 0.02),
        (20_000_000, ["1/s", "10000000/day"], 19_999_999.0),
    ],
)
def test_how_long_a_campaign_takes(n: int, rates: list[str], seconds: float) -> None:
    assert estimate(n, parse_rates(rates)) == pytest.approx(seconds)


texts = st.builds("{}/{}s".format, st.integers(1, 300), st.sampled_from([1, 10, 60, 3600, 86_400]))


@settings(max_examples=40)
@given(texts, st.integers(2, 600))
def test_the_estimate_is_close_to_what_the_grants_take(text: str, n: int) -> None:
    limiter, now = RateLimiter((text,)), 0.0
    for _ in range(n):
        now = limiter.opens_at(now)
        limiter.take(now)
    expected = estimate(n, parse_rates((text,)))
    assert expected - 1e-6 <= now <= expected * (1 + 2 / PARTS) + BURST + 1e-6


@given(st.lists(texts, max_size=3), st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_messages_never_take_less_time(rates: list[str], n: int, more: int) -> None:
    assert estimate(n, parse_rates(rates)) <= estimate(n + more, parse_rates(rates)) + 1e-6
