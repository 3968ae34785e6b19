"""Rates are never exceeded and never starve anybody; windows open when the wall clock says so."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hubd.core.pacing import (
    BURST,
    LUMPS,
    REMEMBERED,
    STEP,
    Pace,
    PaceState,
    Rate,
    Step,
    estimate,
    fitted,
    free_at,
    holding_interval,
    longest_period,
    next_slot,
    parse_pace,
    parse_rate,
    replay,
    thinned,
)
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
    assert parse_pace(["60/minute", "10/s", "5/s"]) == Pace((Rate(60, 60.0), Rate(5, 1.0)))


# --- granting slots ----------------------------------------------------------------------

rates = st.one_of(
    st.builds(Rate, st.integers(1, 60), st.sampled_from([1.0, 2.0, 10.0, 60.0, 3600.0, 86_400.0])),
    st.builds(Rate, st.integers(LUMPS - 2, LUMPS + 40), st.sampled_from([1.0, 60.0, 3600.0])),
)
paces = st.builds(Pace, st.lists(rates, max_size=3).map(tuple))
#: How long the asker waits after its slot before it asks again: mostly not at all.
pauses = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 4000)), max_size=30)


def grant(pace: Pace, n: int, pauses: list[float], costs: list[int] | None = None) -> list[float]:
    """The slots of an asker that waits for each slot, and then for a pause, in turn."""
    state, now, slots = PaceState(), 1_000_000.0, []
    for i in range(n):
        state, when = next_slot(pace, state, now, costs[i % len(costs)] if costs else 1)
        slots.append(when)
        now = when + (pauses[i % len(pauses)] if pauses else 0.0)
    return slots


def assert_never_more_than(rate: Rate, slots: list[float]) -> None:
    """No half open stretch of one period holds more than the amount, wherever it begins."""
    for early, late in zip(slots, slots[rate.amount :], strict=False):
        assert late >= early + rate.period


@settings(max_examples=60, deadline=None)
@given(paces, st.integers(1, 700), pauses)
@example(Pace((Rate(300, 1.0), Rate(301, 60.0))), 700, [])
@example(Pace((Rate(10, 1.0), Rate(30, 60.0), Rate(100, 86_400.0))), 250, [0.01])
def test_in_no_period_are_more_slots_granted_than_the_amount_for_each_of_several_rates(
    pace: Pace, n: int, pauses: list[float]
) -> None:
    slots = grant(pace, n, pauses)
    for rate in pace.rates:
        assert_never_more_than(rate, slots)


@settings(max_examples=60, deadline=None)
@given(rates, st.lists(st.integers(1, 10), min_size=1, max_size=7), st.integers(1, 200), pauses)
def test_a_message_of_several_segments_takes_as_many_slots(
    rate: Rate, costs: list[int], n: int, pauses: list[float]
) -> None:
    costs = [min(cost, rate.amount) for cost in costs]
    messages = grant(Pace((rate,)), n, pauses, costs)
    slots = [when for i, when in enumerate(messages) for _ in range(costs[i % len(costs)])]
    assert_never_more_than(rate, slots)


@settings(max_examples=60, deadline=None)
@given(paces, st.integers(1, 300), pauses)
def test_slots_come_in_order_and_never_before_they_were_asked_for(
    pace: Pace, n: int, pauses: list[float]
) -> None:
    slots = grant(pace, n, pauses)
    assert slots == sorted(slots)
    assert slots[0] == 1_000_000.0


@settings(max_examples=60, deadline=None)
@given(paces, st.integers(1, 300))
def test_nobody_waits_longer_than_the_longest_period(pace: Pace, n: int) -> None:
    slots = grant(pace, n, [])
    longest = max((rate.period for rate in pace.rates), default=0.0)
    assert all(late - early <= longest + 1e-6 for early, late in pairwise(slots))


@settings(max_examples=40, deadline=None)
@given(rates)
def test_a_single_rate_is_used_in_full(rate: Rate) -> None:
    periods = 4
    slots = grant(Pace((rate,)), rate.amount * periods + 1, [])
    assert slots[-1] - slots[0] <= periods * rate.period * (1 + 2 / LUMPS)


@given(paces, st.floats(0, 1e9), st.floats(0, 1e9))
def test_asking_changes_nothing_so_that_it_may_be_asked_ahead(
    pace: Pace, first: float, second: float
) -> None:
    state, _ = next_slot(pace, PaceState(), first)
    assert next_slot(pace, state, second) == next_slot(pace, state, second)


def test_without_a_rate_the_slot_is_now() -> None:
    assert grant(Pace(), 100, []) == [1_000_000.0] * 100


def test_a_clock_that_goes_backwards_neither_frees_slots_nor_blocks_them() -> None:
    pace = parse_pace(["1/s"])
    state, first = next_slot(pace, PaceState(), 100.0)
    state, second = next_slot(pace, state, 50.0)
    assert (first, second) == (100.0, 101.0)


def test_a_slow_rate_is_spread_evenly() -> None:
    slots = grant(parse_pace(["30/minute"]), 4, [])
    assert [slot - slots[0] for slot in slots] == pytest.approx([0, 2, 4, 6])


def test_a_fast_rate_starts_with_a_burst_of_a_tenth_of_a_second() -> None:
    slots = grant(parse_pace(["1000/s"]), 1000, [])
    assert slots.count(slots[0]) == pytest.approx(1000 * BURST, abs=1)


def test_a_late_waker_catches_up() -> None:
    slots = grant(parse_pace(["100/s"]), 201, [0.0, 0.0, 0.0, 0.005])
    assert slots[-1] - slots[0] <= 2.1


def test_a_quota_is_usable_at_once_and_then_empty_for_a_whole_day() -> None:
    slots = grant(parse_pace(["200/day"]), 201, [])
    assert slots[199] == slots[0]
    assert slots[200] == slots[0] + 86_400


def test_a_quota_and_a_rate_hold_together() -> None:
    slots = grant(parse_pace(["10/s", "100/day"]), 101, [])
    assert slots[99] - slots[0] == pytest.approx(9.9, abs=0.2)
    assert slots[100] == slots[0] + 86_400


def test_a_message_that_costs_more_than_the_amount_goes_alone() -> None:
    slots = grant(parse_pace(["2/s"]), 3, [], costs=[5])
    assert [slot - slots[0] for slot in slots] == pytest.approx([0.0, 2.5, 5.0])


def test_a_changed_rate_remembers_what_its_period_has_seen() -> None:
    state = PaceState()
    for _ in range(100):
        state, _ = next_slot(parse_pace(["100/day"]), state, 0.0)
    _, when = next_slot(parse_pace(["90/day", "5/s"]), state, 10.0)
    assert when == 86_400.0
    _, when = next_slot(parse_pace(["150/day"]), state, 10.0)
    assert when == 10.0


def test_the_memory_of_a_large_quota_is_bounded() -> None:
    pace, state, now = parse_pace(["1000000/day"]), PaceState(), 0.0
    for _ in range(5000):
        state, now = next_slot(pace, state, now + 60.0)
    assert len(state.used[0].log) <= 2 * LUMPS + 1


def test_a_wider_burst_lets_late_comers_catch_up_but_keeps_the_hard_promise() -> None:
    pace = Pace((Rate(10, 1.0),), burst=1.0)
    state, slots = PaceState(), []
    for _ in range(30):
        state, when = next_slot(pace, state, 100.0)
        slots.append(when)
    assert slots[9] == 100.0
    assert_never_more_than(Rate(10, 1.0), slots)


def test_the_rate_that_holds_the_next_slot_up_gives_the_interval() -> None:
    pace = parse_pace(["10/s", "100/day"])
    state = fitted(pace, PaceState())
    for now in range(100):
        state, _ = next_slot(pace, state, float(now))
        if now == 50:
            assert holding_interval(pace, state) == 0.1
    assert holding_interval(pace, state) == 864.0
    assert holding_interval(Pace(), PaceState()) == 0.0


# --- across a restart --------------------------------------------------------------------

WALL = 1_800_000_000.0


class Life:
    """Grants across several runs of a daemon. What is recorded outlives it; the monotonic clock does not."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.true = 0.0  #: the time that has really passed
        self.skew = 0.0  #: by how much the wall clock is wrong
        self.steps: dict[int, int] = {}
        self.sent: list[tuple[float, int]] = []
        self.lost = 0  #: granted and not yet recorded
        self.start()

    @property
    def wall(self) -> float:
        return WALL + self.true + self.skew

    def start(self) -> None:
        self.booted = self.true
        steps = [(float(at), slots) for at, slots in sorted(self.steps.items())]
        self.state = replay(self.pace, steps, 0.0, self.wall)

    def send(self, cost: int, delay: float) -> None:
        """Wait for the slot, take it, and record it when the message is opened, `delay` seconds later."""
        self.state, when = next_slot(self.pace, self.state, self.true - self.booted, cost)
        self.true = max(self.true, self.booted + when)
        self.sent.append((self.true, cost))
        self.true += delay
        at = int(self.wall // STEP * STEP)
        self.steps[at] = self.steps.get(at, 0) + cost

    def slots(self) -> list[float]:
        return [at for at, cost in self.sent for _ in range(cost)]


#: A message of so many slots, recorded after a delay; a pause; a pause and a crash.
sends = st.tuples(st.just("send"), st.integers(1, 3), st.sampled_from([0.0, 0.0, 0.001, 0.7, 12.0]))
waits = st.tuples(st.just("wait"), st.just(0), st.floats(0, 30) | st.floats(0, 5000))
crashes = st.tuples(st.just("crash"), st.just(0), st.just(0.0) | st.floats(0, 100))
small_rates = st.builds(Rate, st.integers(1, 6), st.sampled_from([10.0, 30.0, 60.0, 3600.0, 86_400.0]))
small_paces = st.builds(Pace, st.lists(small_rates, min_size=1, max_size=2).map(tuple))
lives = st.lists(st.one_of(sends, sends, sends, waits, crashes), max_size=60)


def live(life: Life, happenings: list[tuple[str, int, float]]) -> None:
    for what, cost, seconds in happenings:
        if what == "send":
            life.send(min([cost, *(rate.amount for rate in life.pace.rates)]), seconds)
            continue
        life.true += seconds
        if what == "crash":
            life.start()


@settings(max_examples=200, deadline=None)
@given(small_paces | paces, lives)
@example(
    Pace((Rate(2, 60.0),)),
    [
        ("wait", 0, 9.5),
        ("send", 2, 0.0),
        ("crash", 0, 0.0),
        ("send", 1, 0.0),
        ("crash", 0, 0.0),
        ("send", 2, 0.0),
    ],
)
def test_no_crash_grants_a_fresh_quota(pace: Pace, happenings: list[tuple[str, int, float]]) -> None:
    life = Life(pace)
    live(life, happenings)
    for rate in pace.rates:
        slots = life.slots()
        for early, late in zip(slots, slots[rate.amount :], strict=False):
            assert late >= early + rate.period - 1e-5  # what a float keeps of today's epoch second


@settings(max_examples=60, deadline=None)
@given(small_paces, lives, lives, st.floats(60, 100_000))
def test_after_the_clock_was_set_back_nothing_is_granted_twice_and_nobody_waits_for_more_than_a_period(
    pace: Pace, before: list[tuple[str, int, float]], after: list[tuple[str, int, float]], back: float
) -> None:
    life = Life(pace)
    live(life, before)
    life.skew -= back
    life.start()
    restarted, sent = life.true, len(life.sent)
    life.send(1, 0.0)
    assert life.sent[sent][0] - restarted <= max((rate.period for rate in pace.rates), default=0.0) + 1e-5
    live(life, after)
    slots = life.slots()
    for rate in pace.rates:
        for early, late in zip(slots, slots[rate.amount :], strict=False):
            assert late >= early + rate.period - 1e-5


@settings(max_examples=40, deadline=None)
@given(small_paces, lives, st.floats(60, 100_000))
def test_after_the_clock_was_set_forward_there_is_no_burst(
    pace: Pace, before: list[tuple[str, int, float]], forward: float
) -> None:
    """Time that seems to have passed cannot be told from time that has; but slots stay spread."""
    life = Life(pace)
    live(life, before)
    life.skew += forward
    life.start()
    began = len(life.sent)
    for _ in range(50):
        life.send(1, 0.0)
    slots = [at for at, _ in life.sent[began:]]
    for rate in pace.rates:
        for early, late in zip(slots, slots[rate.amount :], strict=False):
            assert late >= early + rate.period - 1e-5


def test_a_step_counts_as_granted_when_it_ended_but_never_later_than_now() -> None:
    pace = parse_pace(["5/day"])
    old, fresh, ahead = (WALL - 1000.0, 5), (WALL - 4.0, 5), (WALL + 86_400.0, 5)
    for step, opens in ((old, 50.0 - 990.0 + 86_400), (fresh, 50.0 + 86_400), (ahead, 50.0 + 86_400)):
        assert free_at(pace, replay(pace, [step], 50.0, WALL)) == opens


def test_what_was_spent_is_forgotten_after_its_period_and_spread_rates_go_on_evenly() -> None:
    pace = parse_pace(["30/minute", "1000/day"])
    state = replay(pace, [(WALL - 90_000.0, 900), (WALL - 300.0, 10)], 0.0, WALL)
    assert [used.slots for used in state.used] == [0, 10]
    state = replay(pace, [(WALL - 12.0, 5)], 0.0, WALL)
    state, first = next_slot(pace, state, 0.0)
    _, second = next_slot(pace, state, first)
    assert (first, second) == (0.0, 2.0)


#: Steps of all ages, from a second to a month, as powers of ten.
ages = st.lists(st.tuples(st.floats(0, 6.4), st.integers(1, 50)), max_size=250)


@settings(max_examples=60, deadline=None)
@given(ages, small_paces | paces)
@example([(4.9, 3), (4.9002, 3), (4.9005, 3)], Pace((Rate(5, 86_400.0),)))
def test_thinned_steps_never_count_for_less(powers: list[Step], pace: Pace) -> None:
    now = 1e7
    steps = sorted((now - 10**power, slots) for power, slots in powers)
    few = thinned(steps, now)
    for exact, coarse in zip(
        replay(pace, steps, now, now).used, replay(pace, few, now, now).used, strict=True
    ):
        assert coarse.slots >= exact.slots
    for wanted in (1, 3):
        assert all(
            free_at(one, replay(one, few, now, now), wanted)
            >= free_at(one, replay(one, steps, now, now), wanted) - 1e-6
            for one in (Pace((rate,)) for rate in pace.rates if rate.is_quota and rate.amount >= wanted)
        )


def test_a_month_of_steps_is_kept_in_bounded_memory() -> None:
    steps = [(at * STEP, 7) for at in range(int(REMEMBERED / STEP))]
    now = steps[-1][0] + STEP
    few = thinned(steps, now)
    assert len(few) < 1000
    assert sum(slots for _, slots in few) == sum(slots for _, slots in steps)
    later = thinned(few, now + REMEMBERED / 2)
    assert sum(slots for _, slots in later) < sum(slots for _, slots in few) * 0.55


def test_hundreds_of_thousands_of_steps_make_a_state_of_bounded_size() -> None:
    pace = parse_pace(["50000/day", "100/day"])
    state = replay(pace, [(WALL - 86_000 + at * 10.0, 5) for at in range(8_600)], 0.0, WALL)
    assert all(len(used.log) <= LUMPS + 1 for used in state.used)
    assert all(used.slots == 43_000 for used in state.used)


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
    assert estimate(n, parse_pace(rates)) == pytest.approx(seconds)


@settings(max_examples=40, deadline=None)
@given(rates, st.integers(2, 600))
def test_the_estimate_is_close_to_what_the_grants_take(rate: Rate, n: int) -> None:
    slots = grant(Pace((rate,)), n, [])
    taken = slots[-1] - slots[0]
    assert estimate(n, Pace((rate,))) <= taken + 1e-6
    assert taken <= estimate(n, Pace((rate,))) * (1 + 2 / LUMPS) + BURST + 1e-6


@given(paces, st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_messages_never_take_less_time(pace: Pace, n: int, more: int) -> None:
    assert estimate(n, pace) <= estimate(n + more, pace) + 1e-6
