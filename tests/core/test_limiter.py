"""Promises of a limit: no period ever sees more than its rate grants, and nobody waits longer than needed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hubd.core.limiter import PARTS, Grant, RateLimiter, Step, grants_of
from hubd.core.pacing import BURST, REMEMBERED, STEP, Rate, parse_rate, parse_rates
from hubd.core.warmup import DAY, Warmup, day_quota
from hubd.errors import BadInput

START = 1_000_000.0
WALL = 1_800_000_000.0
TINY = 1e-5  #: what a float keeps of today's epoch second


def take(limiter: RateLimiter, now: float, cost: int = 1) -> bool:
    """Take so many slots now; whether there were so many."""
    if limiter.opens_at(now, cost) > now:
        return False
    limiter.take(now, cost)
    return True


def taken(limiter: RateLimiter, now: float) -> int:
    """Take single slots until none is left; how many."""
    count = 0
    while take(limiter, now):
        count += 1
    return count


def wait(limiter: RateLimiter, now: float, cost: int = 1) -> float:
    """Wait until so many slots are free, and take them; when that was."""
    while (opens := limiter.opens_at(now, cost)) > now:
        now = opens
    limiter.take(now, cost)
    return now


def grant(rates: list[str], n: int, pauses: list[float], costs: list[int] | None = None) -> list[float]:
    """The slots of a message that waits for each slot, and then for a pause, in turn."""
    limiter, now, slots = RateLimiter(rates), START, []
    for i in range(n):
        slots.append(wait(limiter, now, costs[i % len(costs)] if costs else 1))
        now = slots[-1] + (pauses[i % len(pauses)] if pauses else 0.0)
    return slots


def assert_never_more_than(rate: Rate, slots: list[float], tolerance: float = 0.0) -> None:
    """No half open stretch of one period holds more than the amount, wherever it begins."""
    for early, late in zip(slots, slots[rate.amount :], strict=False):
        assert late >= early + rate.period - tolerance


# --- a rate, or several that hold at once ------------------------------------------------------

few = st.builds("{}/{}s".format, st.integers(1, 60), st.sampled_from([1, 2, 10, 60, 3600, 86_400]))
many = st.builds("{}/{}s".format, st.integers(PARTS - 2, PARTS + 40), st.sampled_from([1, 60, 3600]))
texts = few | many
several = st.lists(texts, max_size=3)
#: How long the asker waits after its slot before it asks again: mostly not at all.
pauses = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 4000)), max_size=30)


@settings(max_examples=60)
@given(several, st.integers(1, 700), pauses)
@example(["300/s", "301/minute"], 700, [])
@example(["10/s", "30/minute", "100/day"], 250, [0.01])
def test_no_period_sees_more_slots_than_its_rate_grants_and_slots_come_in_order(
    rates: list[str], n: int, pauses: list[float]
) -> None:
    slots = grant(rates, n, pauses)
    assert slots[0] == START
    assert slots == sorted(slots)
    for rate in parse_rates(rates):
        assert_never_more_than(rate, slots)


@settings(max_examples=60)
@given(texts, st.lists(st.integers(1, 10), min_size=1, max_size=7), st.integers(1, 200), pauses)
def test_a_message_of_several_segments_takes_as_many_slots(
    text: str, costs: list[int], n: int, pauses: list[float]
) -> None:
    rate = parse_rate(text)
    costs = [min(cost, rate.amount) for cost in costs]
    messages = grant([text], n, pauses, costs)
    assert_never_more_than(rate, [at for i, at in enumerate(messages) for _ in range(costs[i % len(costs)])])


@settings(max_examples=60)
@given(several, st.integers(1, 300))
def test_nobody_waits_longer_than_the_longest_period(rates: list[str], n: int) -> None:
    slots = grant(rates, n, [])
    longest = max((rate.period for rate in parse_rates(rates)), default=0.0)
    assert all(late - early <= longest + 1e-6 for early, late in pairwise(slots))


@settings(max_examples=40)
@given(texts)
def test_a_single_rate_is_used_in_full(text: str) -> None:
    rate, periods = parse_rate(text), 4
    slots = grant([text], rate.amount * periods + 1, [])
    assert slots[-1] - slots[0] <= periods * rate.period * (1 + 2 / PARTS)


@settings(max_examples=60)
@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 3000) | st.just(0.0), st.integers(1, 25)), max_size=60),
)
def test_a_quota_opens_at_the_first_moment_at_which_its_hour_has_room(
    amount: int, messages: list[tuple[float, int]]
) -> None:
    """What a model that looks at every grant of the past says, to the second."""
    limiter, sent, now = RateLimiter((f"{amount}/h",)), list[Grant](), START
    for pause, cost in messages:
        now += pause
        needed = min(cost, amount)
        moments = [now, *sorted(at + 3600.0 for at, _ in sent if at + 3600.0 > now)]
        opens = next(
            moment
            for moment in moments
            if sum(slots for at, slots in sent if at + 3600.0 > moment) + needed <= amount
        )
        assert limiter.opens_at(now, cost) == opens
        now = wait(limiter, opens, needed)
        sent.append((now, needed))


@given(several, st.floats(0, 1e9), st.integers(1, 9))
def test_asking_changes_nothing(rates: list[str], later: float, cost: int) -> None:
    limiter = RateLimiter(rates)
    limiter.take(0.0)
    assert limiter.opens_at(later, cost) == limiter.opens_at(later, cost)
    assert limiter.opens_at(0.0) == limiter.opens_at(0.0)


def test_without_a_rate_the_slot_is_now() -> None:
    assert grant([], 100, []) == [START] * 100


def test_a_slow_rate_is_spread_evenly() -> None:
    slots = grant(["30/minute"], 4, [])
    assert [slot - slots[0] for slot in slots] == pytest.approx([0, 2, 4, 6])


def test_a_fast_rate_starts_with_a_burst_of_a_tenth_of_a_second() -> None:
    slots = grant(["1000/s"], 1000, [])
    assert slots.count(slots[0]) == pytest.approx(1000 * BURST, abs=1)


def test_a_late_waker_catches_up() -> None:
    slots = grant(["100/s"], 201, [0.0, 0.0, 0.0, 0.005])
    assert slots[-1] - slots[0] <= 2.1


def test_a_quota_is_usable_at_once_and_then_empty_for_a_whole_day() -> None:
    slots = grant(["200/day"], 201, [])
    assert slots[199] == slots[0]
    assert slots[200] == slots[0] + DAY


def test_a_quota_and_a_rate_hold_together() -> None:
    slots = grant(["10/s", "100/day"], 101, [])
    assert slots[99] - slots[0] == pytest.approx(9.9, abs=0.2)
    assert slots[100] == slots[0] + DAY


def test_a_message_that_costs_more_than_the_amount_goes_alone() -> None:
    slots = grant(["2/s"], 3, [], costs=[5])
    assert [slot - slots[0] for slot in slots] == pytest.approx([0.0, 2.5, 5.0])
    assert grant(["2/h"], 3, [], costs=[5]) == [START, START + 3600, START + 7200]


def test_a_wider_burst_lets_late_comers_catch_up_but_keeps_the_hard_promise() -> None:
    limiter, slots = RateLimiter(("10/s",), burst=1.0), [START]
    for _ in range(30):
        slots.append(wait(limiter, slots[-1]))
    assert slots[10] == START
    del slots[0]
    assert_never_more_than(Rate(10, 1.0), slots)


def test_the_rate_that_holds_the_next_slot_up_gives_the_interval() -> None:
    limiter = RateLimiter(("10/s", "100/day"))
    for now in range(100):
        assert take(limiter, float(now))
        if now == 50:
            assert limiter.interval == 0.1
    assert limiter.interval == 864.0
    assert RateLimiter().interval == 0.0


# --- memory ------------------------------------------------------------------------------------


def test_the_memory_of_a_large_quota_is_bounded() -> None:
    limiter, now = RateLimiter(("1000000/day",)), 0.0
    for _ in range(5000):
        now = wait(limiter, now + 60.0)
    assert len(limiter.granted) <= PARTS + 1 + (now - DAY) / 3600 + 1


def test_months_of_sending_are_remembered_in_bounded_memory() -> None:
    limiter = RateLimiter()
    for number in range(20_000):
        limiter.take(number * 180.0)
    assert len(limiter.granted) < 1500
    in_a_month = REMEMBERED / 180
    assert sum(slots for _, slots in limiter.granted) == pytest.approx(in_a_month, rel=0.01)


# --- other rates -------------------------------------------------------------------------------


def test_a_change_counts_what_was_granted_before_also_under_a_period_that_is_new() -> None:
    limiter, now = RateLimiter(), 0.0
    for _ in range(100):
        assert take(limiter, now)
        now += 60
    limiter.change(("101/day",))
    assert take(limiter, now)
    assert not take(limiter, now)
    now += 11
    limiter.change(("1000/day", "5/s"))
    assert take(limiter, now)
    limiter.change(("102/day",))
    assert not take(limiter, now)
    limiter.change(())
    assert take(limiter, now)
    limiter.change(("104/day",))
    assert take(limiter, now)
    assert not take(limiter, now)


def test_a_rate_that_cannot_be_read_changes_nothing() -> None:
    limiter = RateLimiter(("1/day",))
    limiter.take(0.0)
    with pytest.raises(BadInput):
        limiter.change(("5/s", "fast"))
    assert limiter.rates == ("1/day",)
    assert not take(limiter, 0.0)


def test_a_changed_limit_stays_spread_and_grants_no_second_burst() -> None:
    limiter = RateLimiter(("1000/s",))
    assert taken(limiter, 0.0) == pytest.approx(100, abs=1)
    limiter.change(("1000/s", "5000/day"))
    assert not take(limiter, 0.0)


# --- across a restart --------------------------------------------------------------------------


@dataclass
class Life:
    """Messages across changes of the rates and several runs of a daemon, and a slow model of what is allowed.

    What is recorded outlives a run, as the seconds of the wall clock; the clock of the limiter does not.
    """

    rates: list[str]
    warmup: Warmup | None = None
    true: float = 0.0  #: the time that has really passed
    skew: float = 0.0  #: by how much the wall clock is wrong
    steps: dict[int, int] = field(default_factory=dict)
    sent: list[Grant] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A run begins; the clock of the limiter begins at 0."""
        self.booted = self.true
        steps: list[Step] = [(float(at), slots) for at, slots in sorted(self.steps.items())]
        self.limiter = RateLimiter(self.rates, past=grants_of(steps, WALL + self.true + self.skew, 0.0))
        self.warm_up(self.warmup)

    def warm_up(self, warmup: Warmup | None) -> None:
        """A warm-up holds from now on; it began with the first message of all."""
        self.warmup = warmup
        self.limiter.warm_up(warmup, self.sent[0][0] - self.booted if self.sent else None)

    def change(self, rates: list[str]) -> None:
        """Other rates hold from now on."""
        self.rates = rates
        self.limiter.change(rates)

    def send(self, cost: int, delay: float) -> None:
        """Wait for the slots, take them, and record them when the message is opened after the delay."""
        rates = parse_rates(self.rates)
        if self.warmup is not None:
            rates = (*rates, Rate(self.warmup.start, DAY))
        cost = min([cost, *(rate.amount for rate in rates)])
        when = wait(self.limiter, self.true - self.booted, cost)
        assert when + self.booted <= self.true + max((r.period for r in rates), default=0.0) + TINY
        self.true = max(self.true, self.booted + when)
        self.sent.append((self.true, cost))
        if self.warmup is not None:
            rates = (*rates[:-1], day_quota(self.warmup, self.true - self.sent[0][0] + TINY)[0])
        for rate in rates:
            since = self.true - rate.period + TINY
            assert sum(slots for at, slots in self.sent if at > since) <= rate.amount
        self.true += delay
        at = int((WALL + self.true + self.skew) // STEP * STEP)
        self.steps[at] = self.steps.get(at, 0) + cost

    def live(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case ("send", cost, delay):
                    self.send(cost, delay)
                case ("wait", seconds):
                    self.true += seconds
                case ("crash", seconds):
                    self.true += seconds
                    self.start()
                case ("change", rates):
                    self.change(rates)
                case ("warm up", warmup):
                    self.warm_up(warmup)
                case ("set back", seconds):
                    self.skew -= seconds


Event = (
    tuple[Literal["send"], int, float]
    | tuple[Literal["wait", "crash"], float]
    | tuple[Literal["change"], list[str]]
    | tuple[Literal["warm up"], Warmup | None]
)

#: A message of so many slots, recorded after a delay; a pause; a pause and a crash; other rates; a warm-up;
#: the wall clock is set back.
sends = st.tuples(st.just("send"), st.integers(1, 3), st.sampled_from([0.0, 0.0, 0.001, 0.7, 12.0]))
waits = st.tuples(st.just("wait"), st.floats(0, 30) | st.floats(0, 5000))
crashes = st.tuples(st.just("crash"), st.just(0.0) | st.floats(0, 100))
small = st.builds("{}/{}s".format, st.integers(1, 6), st.sampled_from([10, 30, 60, 3600, 86_400]))
small_sets = st.lists(small, min_size=1, max_size=2)
changes = st.tuples(st.just("change"), st.lists(small, max_size=2) | several)
doubles = st.builds(Warmup, start=st.integers(1, 5), double_every=st.sampled_from([3600.0, DAY, 2 * DAY]))
warm_ups = st.tuples(st.just("warm up"), st.none() | doubles)
clocks = st.tuples(st.just("set back"), st.floats(0, 100_000))
lives = st.lists(st.one_of(sends, sends, sends, waits, crashes), max_size=60)
changing_lives = st.lists(
    st.one_of(sends, sends, sends, waits, crashes, changes, warm_ups, clocks), max_size=60
)


@settings(max_examples=200)
@given(small_sets | several, changing_lives)
@example(
    ["2/60s"],
    [("wait", 9.5), ("send", 2, 0.0), ("crash", 0.0), ("send", 1, 0.0), ("crash", 0.0), ("send", 2, 0.0)],
)
@example(
    ["5/10s"],
    [("send", 3, 0.7), ("change", ["4/86400s"]), ("send", 1, 0.0), ("wait", 9000.0), ("send", 1, 0.0)],
)
@example([], [*[("send", 3, 0.0), ("wait", 4000.0)] * 20, ("change", ["30/86400s"]), ("send", 3, 0.0)])
def test_no_change_and_no_crash_grants_a_fresh_quota(rates: list[str], events: list[Event]) -> None:
    """In no period that ends while a rate holds is more granted than it allows, whatever held before."""
    Life(rates).live(events)


@settings(max_examples=60)
@given(small_sets, lives, lives, st.floats(60, 100_000))
def test_after_the_clock_was_set_back_nothing_is_granted_twice_and_nobody_waits_for_more_than_a_period(
    rates: list[str], before: list[Event], after: list[Event], back: float
) -> None:
    life = Life(rates)
    life.live(before)
    life.skew -= back
    life.start()
    life.live([("send", 1, 0.0), *after])


@settings(max_examples=40)
@given(small_sets, lives, st.floats(60, 100_000))
def test_after_the_clock_was_set_forward_there_is_no_burst(
    rates: list[str], before: list[Event], forward: float
) -> None:
    """Time that seems to have passed cannot be told from time that has; but slots stay spread."""
    life = Life(rates)
    life.live(before)
    life.skew += forward
    life.start()
    life.sent.clear()
    life.live([("send", 1, 0.0)] * 50)


def test_a_step_counts_as_granted_when_it_ended_but_never_later_than_now() -> None:
    old, fresh, ahead = (WALL - 1000.0, 5), (WALL - 4.0, 5), (WALL + DAY, 5)
    for step, at in ((old, 50.0 - 990.0), (fresh, 50.0), (ahead, 50.0)):
        limiter = RateLimiter(("5/day",), past=grants_of([step], WALL, 50.0))
        assert limiter.opens_at(50.0) == at + DAY


def test_what_was_granted_is_forgotten_after_its_period_and_spread_rates_go_on_evenly() -> None:
    past = grants_of([(WALL - 90_000.0, 900), (WALL - 300.0, 10)], WALL, 0.0)
    assert taken(RateLimiter(("1000/day",), past=past), 0.0) == 990
    assert taken(RateLimiter(("30/minute",), past=past), 0.0) == 1
    limiter = RateLimiter(("30/minute", "1000/day"), past=grants_of([(WALL - 12.0, 5)], WALL, 0.0))
    assert (wait(limiter, 0.0), wait(limiter, 0.0)) == (0.0, 2.0)


def test_a_month_of_steps_is_kept_in_bounded_memory_and_counts_for_no_less() -> None:
    steps = [(at * 60.0, 7) for at in range(int(REMEMBERED / 60))]
    now = steps[-1][0] + STEP
    past = grants_of(steps, now, now)
    limiter = RateLimiter(past=past)
    assert len(limiter.granted) < 1500
    assert sum(slots for _, slots in limiter.granted) == 7 * len(steps)
    for days in (1, 3, 30):
        limiter.change((f"1/{days}d",))
        exact = sum(slots for at, slots in past if at > now - days * DAY)
        assert exact <= sum(slots for at, slots in limiter.granted if at > now - days * DAY) <= exact + 7 * 60


@pytest.mark.parametrize("seed", range(4))
def test_a_rate_that_comes_later_finds_no_less_than_was_granted(seed: int) -> None:
    """Joined to steps of ten seconds and of hours, nothing counts for less than it would exactly."""
    rng = random.Random(seed)
    past = sorted((-(10 ** rng.uniform(0, 6.4)), rng.randint(1, 50)) for _ in range(250))
    for rate in ("50/day", "300/day", "30/minute", "200/3days", "700/30days"):
        exact, later = RateLimiter((rate,), past=past), RateLimiter(past=past)
        later.change((rate,))
        for cost in (1, 3, 30):
            assert later.opens_at(0.0, cost) >= exact.opens_at(0.0, cost) - 1e-6


# --- warm-up -----------------------------------------------------------------------------------


def test_a_warm_up_begins_with_the_first_message_and_doubles() -> None:
    limiter = RateLimiter(("1000/day",))
    limiter.warm_up(Warmup(start=2, double_every=2 * DAY))
    days = [taken(limiter, (30 + day) * DAY) for day in range(24)]
    assert days == [2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512, *[1000] * 6]


def test_a_growing_quota_is_the_time_at_which_to_ask_again() -> None:
    limiter = RateLimiter()
    limiter.warm_up(Warmup(start=1, double_every=7200.0))
    assert take(limiter, 5.0)
    assert limiter.opens_at(10.0) == 5.0 + 7200.0
    assert take(limiter, 5.0 + 7200.0)


def test_a_warm_up_can_be_given_and_taken_away_live() -> None:
    limiter = RateLimiter()
    assert take(limiter, 0.0)
    limiter.warm_up(Warmup(start=1, double_every=DAY), 0.0)
    assert not take(limiter, 1.0)
    limiter.change(("5/s",))
    assert not take(limiter, 1.0)
    limiter.warm_up(None)
    assert take(limiter, 1.0)
    assert limiter.opens_at(1.0) == pytest.approx(1.2)


def test_a_warm_up_that_is_known_to_have_begun_long_ago_has_grown() -> None:
    limiter = RateLimiter()
    limiter.warm_up(Warmup(start=2, double_every=DAY), -3.5 * DAY)
    assert taken(limiter, 0.0) == 16
