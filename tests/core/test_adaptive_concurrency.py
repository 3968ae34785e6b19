"""A provider that asks for it is used more slowly, and speed comes back by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.adaptive_concurrency import (
    FIRST_GAP,
    LONGEST_GAP,
    AdaptiveConcurrency,
    faster,
    full_speed,
    slower,
    throttle_pause,
)

connections = st.integers(1, 64)
walks = st.lists(st.sampled_from([slower, faster]), max_size=200)
jitters = st.floats(0, 1, exclude_max=True)


def walked(
    start: int, walk: list[Callable[[AdaptiveConcurrency], AdaptiveConcurrency]]
) -> AdaptiveConcurrency:
    """Where throttles and successes lead to."""
    concurrency = full_speed(start)
    for step in walk:
        concurrency = step(concurrency)
    return concurrency


def rate(concurrency: AdaptiveConcurrency) -> tuple[float, float]:
    """What can be compared: more connections, then less distance, is faster."""
    return (concurrency.width, -concurrency.gap)


concurrencies = st.builds(walked, connections, walks)


@given(concurrencies)
def test_a_concurrency_is_always_within_its_bounds_and_never_zero(concurrency: AdaptiveConcurrency) -> None:
    assert 1 <= concurrency.connections_allowed <= concurrency.connections
    assert 1.0 <= concurrency.width <= concurrency.connections
    assert concurrency.gap == 0.0 or FIRST_GAP <= concurrency.gap <= LONGEST_GAP
    assert concurrency.gap == 0.0 or concurrency.connections_allowed == 1


@given(concurrencies)
def test_a_throttle_never_makes_it_faster_and_a_success_never_slower(
    concurrency: AdaptiveConcurrency,
) -> None:
    assert rate(slower(concurrency)) <= rate(concurrency) <= rate(faster(concurrency))


@given(concurrencies)
def test_a_throttle_halves_and_then_doubles_the_distance(concurrency: AdaptiveConcurrency) -> None:
    after = slower(concurrency)
    if concurrency.connections_allowed > 1:
        assert (after.connections_allowed, after.gap) == (concurrency.connections_allowed // 2, 0.0)
    else:
        assert after.gap == pytest.approx(min(LONGEST_GAP, max(FIRST_GAP, 2 * concurrency.gap)))


@given(concurrencies)
def test_enough_successes_always_bring_full_speed_back(concurrency: AdaptiveConcurrency) -> None:
    needed = int(1 / FIRST_GAP / 0.1) + concurrency.connections * (concurrency.connections + 1)
    for _ in range(needed):
        concurrency = faster(concurrency)
    assert concurrency == full_speed(concurrency.connections)
    assert not concurrency.slowed


@given(st.integers(2, 64))
def test_about_a_window_of_successes_earns_one_connection(start: int) -> None:
    concurrency = slower(full_speed(start))
    allowed = concurrency.connections_allowed
    for n in range(allowed + 1):
        assert concurrency.connections_allowed == allowed or n == allowed
        concurrency = faster(concurrency)
    assert concurrency.connections_allowed == allowed + 1


@given(connections, st.integers(1, 100))
def test_throttles_without_a_success_end_at_one_message_in_half_a_minute(start: int, throttles: int) -> None:
    concurrency = full_speed(start)
    for _ in range(throttles + 16):
        concurrency = slower(concurrency)
    assert (concurrency.connections_allowed, concurrency.gap) == (1, LONGEST_GAP)


def test_from_the_slowest_it_takes_a_hundred_successes_and_not_an_hour_to_lose_the_distance() -> None:
    concurrency, waited, successes = AdaptiveConcurrency(connections=4, width=1.0, gap=LONGEST_GAP), 0.0, 0
    while concurrency.gap:
        waited, successes, concurrency = waited + concurrency.gap, successes + 1, faster(concurrency)
    assert successes <= 100
    assert waited < 90


def test_no_connections_at_all_counts_as_one() -> None:
    assert full_speed(0) == full_speed(1)


def test_pauses_double_from_a_tenth_of_a_second_to_half_a_minute() -> None:
    pauses = [throttle_pause(n, 0.5) for n in range(1, 12)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])


@given(st.integers(), jitters)
def test_a_pause_is_bounded_for_any_number_of_throttles(throttles: int, jitter: float) -> None:
    assert 0.09 <= throttle_pause(throttles, jitter) <= 33.0
