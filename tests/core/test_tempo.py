"""A provider that asks for it is used more slowly, and speed comes back by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.tempo import (
    FIRST_GAP,
    LONGEST_GAP,
    Tempo,
    faster,
    full_speed,
    slower,
    throttle_pause,
)

lanes = st.integers(1, 64)
walks = st.lists(st.sampled_from([slower, faster]), max_size=200)
jitters = st.floats(0, 1, exclude_max=True)


def walked(start: int, walk: list[Callable[[Tempo], Tempo]]) -> Tempo:
    """Where throttles and successes lead to."""
    tempo = full_speed(start)
    for step in walk:
        tempo = step(tempo)
    return tempo


def rate(tempo: Tempo) -> tuple[float, float]:
    """What can be compared: more lanes, then less distance, is faster."""
    return (tempo.width, -tempo.gap)


tempos = st.builds(walked, lanes, walks)


@given(tempos)
def test_a_tempo_is_always_within_its_bounds_and_never_zero(tempo: Tempo) -> None:
    assert 1 <= tempo.lanes_allowed <= tempo.lanes
    assert 1.0 <= tempo.width <= tempo.lanes
    assert tempo.gap == 0.0 or FIRST_GAP <= tempo.gap <= LONGEST_GAP
    assert tempo.gap == 0.0 or tempo.lanes_allowed == 1


@given(tempos)
def test_a_throttle_never_makes_it_faster_and_a_success_never_slower(tempo: Tempo) -> None:
    assert rate(slower(tempo)) <= rate(tempo) <= rate(faster(tempo))


@given(tempos)
def test_a_throttle_halves_and_then_doubles_the_distance(tempo: Tempo) -> None:
    after = slower(tempo)
    if tempo.lanes_allowed > 1:
        assert (after.lanes_allowed, after.gap) == (tempo.lanes_allowed // 2, 0.0)
    else:
        assert after.gap == pytest.approx(min(LONGEST_GAP, max(FIRST_GAP, 2 * tempo.gap)))


@given(tempos)
def test_enough_successes_always_bring_full_speed_back(tempo: Tempo) -> None:
    needed = int(1 / FIRST_GAP / 0.1) + tempo.lanes * (tempo.lanes + 1)
    for _ in range(needed):
        tempo = faster(tempo)
    assert tempo == full_speed(tempo.lanes)
    assert not tempo.slowed


@given(st.integers(2, 64))
def test_about_a_window_of_successes_earns_one_lane(start: int) -> None:
    tempo = slower(full_speed(start))
    allowed = tempo.lanes_allowed
    for n in range(allowed + 1):
        assert tempo.lanes_allowed == allowed or n == allowed
        tempo = faster(tempo)
    assert tempo.lanes_allowed == allowed + 1


@given(lanes, st.integers(1, 100))
def test_throttles_without_a_success_end_at_one_message_in_half_a_minute(start: int, throttles: int) -> None:
    tempo = full_speed(start)
    for _ in range(throttles + 16):
        tempo = slower(tempo)
    assert (tempo.lanes_allowed, tempo.gap) == (1, LONGEST_GAP)


def test_from_the_slowest_it_takes_a_hundred_successes_and_not_an_hour_to_lose_the_distance() -> None:
    tempo, waited, successes = Tempo(lanes=4, width=1.0, gap=LONGEST_GAP), 0.0, 0
    while tempo.gap:
        waited, successes, tempo = waited + tempo.gap, successes + 1, faster(tempo)
    assert successes <= 100
    assert waited < 90


def test_no_lanes_at_all_counts_as_one() -> None:
    assert full_speed(0) == full_speed(1)


def test_pauses_double_from_a_tenth_of_a_second_to_half_a_minute() -> None:
    pauses = [throttle_pause(n, 0.5) for n in range(1, 12)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])


@given(st.integers(), jitters)
def test_a_pause_is_bounded_for_any_number_of_throttles(throttles: int, jitter: float) -> None:
    assert 0.09 <= throttle_pause(throttles, jitter) <= 33.0
