"""What is counted where, and the rates that follow: none where nothing can be known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubd.core.lifecycle import DELIVERY
from hubd.core.measures import (
    CAME_BACK,
    DAY,
    HOUR,
    OF_STATE,
    STATES_OF,
    Measure,
    day_of,
    delivery_rate,
    hour_of,
    rate_of,
)

counts = st.integers(0, 1_000_000)


def test_every_measure_is_of_states_or_of_what_came_back() -> None:
    assert {*STATES_OF, *CAME_BACK, Measure.COST} == set(Measure)
    assert not STATES_OF.keys() & set(CAME_BACK)


def test_a_bounce_alone_says_nothing_about_the_others() -> None:
    assert delivery_rate(1_000, 0, 20) is None
    assert delivery_rate(1_000, 980, 20) == 0.98
    assert delivery_rate(20, 0, 20) == 0.0, "all of them bounced"
    assert delivery_rate(0, 0, 0) is None


def test_no_opt_outs_are_a_count_only_where_somebody_reads_them() -> None:
    assert rate_of(0, 100, known=False) is None
    assert rate_of(0, 100, known=True) == 0.0
    assert rate_of(5, 100, known=False) == 0.05
    assert rate_of(0, 0, known=True) is None


@given(counts, counts, counts)
def test_a_rate_is_a_part(delivered: int, undelivered: int, waiting: int) -> None:
    rate = delivery_rate(delivered + undelivered + waiting, delivered, undelivered)
    assert rate is None or 0 <= rate <= 1


@given(st.floats(min_value=0, max_value=4e9))
def test_a_time_is_in_its_hour_and_its_day(at: float) -> None:
    assert hour_of(at) <= at < hour_of(at) + HOUR
    assert day_of(at) <= at < day_of(at) + DAY
    assert day_of(hour_of(at)) == day_of(at)


def test_no_delivery_goes_from_one_counted_state_to_another() -> None:
    """`SharedUnit.moved` takes one time, for the state that it leaves or the one that it enters."""
    for source, row in DELIVERY.items():
        for target in row.values():
            assert source is target or not {source, target} <= OF_STATE.keys()
