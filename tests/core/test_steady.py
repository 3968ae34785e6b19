"""Promise: the steady clock never goes back or too fast, however the wall clock is set at whatever start."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.limiter import RateLimiter, Step, grants_of
from hubd.core.pacing import STEP, parse_rate
from hubd.core.steady import BELIEVED, ClockReading, resumed

NOW = 1_790_000_000.0
DAY = 86_400.0
HOUR = 3_600.0
CENTURY = 36_525 * DAY


@dataclass
class Machine:
    """A machine whose wall clock can be set, with a daemon that starts again and again."""

    true: float = NOW  #: the real time, which cannot be set
    ahead: float = 0.0  #: of the wall clock
    boots: int = 0
    booted: float = NOW - 5 * DAY
    reading: ClockReading = field(init=False)

    def __post_init__(self) -> None:
        self.reading = resumed(None, wall=self.true, boot="0", uptime=self.true - self.booted)

    def start(self, *, off: float = 0.0, reboot: bool = False) -> None:
        """The daemon ends; it starts again after `off` seconds, or the whole machine does."""
        last = replace(self.reading, at=self.now(), uptime=self.true - self.booted)
        self.true += off
        if reboot:
            self.boots, self.booted = self.boots + 1, self.true
        wall, uptime = self.true + self.ahead, self.true - self.booted
        self.reading = resumed(last, wall=wall, boot=str(self.boots), uptime=uptime)

    def now(self) -> float:
        """The steady clock."""
        return self.reading.at + self.true - self.booted - self.reading.uptime


AWAY = st.sampled_from([-NOW, -CENTURY / 2, -20 * DAY, -DAY, -3 * HOUR, 0.0, 2 * BELIEVED, CENTURY])
EVENT = st.one_of(
    st.tuples(st.just("set"), AWAY),
    st.tuples(st.just("restart"), st.floats(0, 2 * HOUR)),
    st.tuples(st.just("reboot"), st.floats(0, 2 * HOUR)),
    st.tuples(st.just("run"), st.floats(0, 2 * HOUR)),
)


@given(st.lists(EVENT, max_size=30))
@settings(max_examples=300)
def test_the_steady_clock_never_goes_back_and_never_faster_than_time(events: list[tuple[str, float]]) -> None:
    """The clock is wrong by more than the machine is off, and not by a time that may have passed."""
    machine = Machine()
    for what, value in events:
        before, true = machine.now(), machine.true
        match what:
            case "set":
                machine.ahead = value
            case "run":
                machine.true += value
            case _:
                machine.start(off=value, reboot=what == "reboot")
        assert before - 1e-3 <= machine.now() <= before + machine.true - true + 1e-3
        if what == "run" or (what == "restart" and not machine.ahead):
            assert machine.now() == pytest.approx(before + machine.true - true), "and never stands still"


@given(st.lists(EVENT, max_size=30), st.sampled_from(["40/hour", "5/day", "90/hour"]))
@settings(max_examples=100)
def test_no_limit_is_exceeded_and_all_of_it_is_granted_again_after_a_period(
    events: list[tuple[str, float]], rate: str
) -> None:
    limit = parse_rate(rate)
    machine = Machine()
    steps: list[Step] = []  # as they are recorded
    sent: list[float] = []  # by true time

    def send_all() -> int:
        """What a daemon that started just now would let through at once."""
        now = machine.now()
        limiter = RateLimiter((rate,), past=grants_of(steps, now, now))
        count = 0
        while limiter.opens_at(now) <= now:
            limiter.take(now)
            count += 1
            steps.append((now // STEP * STEP, 1))
            sent.append(machine.true)
        return count

    send_all()
    for what, value in events:
        match what:
            case "set":
                machine.ahead = value
            case "run":
                machine.true += value
            case _:
                machine.start(off=value, reboot=what == "reboot")
        send_all()
    for first, last in zip(sent, sent[limit.amount :], strict=False):
        assert last - first >= limit.period - 1e-3
    machine.true += limit.period + 20
    assert send_all() == limit.amount


@pytest.mark.parametrize("reboot", [True, False])
def test_a_clock_that_was_in_the_future_once_holds_nothing_up(reboot: bool) -> None:
    machine = Machine()
    machine.ahead = CENTURY
    machine.start(off=10, reboot=reboot)
    machine.ahead = 0.0
    machine.start(off=10, reboot=reboot)
    before = machine.now()
    machine.start(off=DAY, reboot=reboot)
    assert machine.now() == pytest.approx(before + (0 if reboot else DAY))
    machine.true += BELIEVED
    before = machine.now()
    for _ in range(2):
        machine.start(off=DAY, reboot=reboot)
    assert machine.now() == pytest.approx(before + (1 if reboot else 2) * DAY), "it is believed again"


def test_a_machine_that_always_starts_in_1970_counts_the_time_that_it_runs() -> None:
    machine = Machine()
    for _ in range(5):
        machine.ahead = -machine.true
        machine.start(off=DAY, reboot=True)
        machine.true += HOUR
        machine.start(off=60)
    assert machine.now() == pytest.approx(NOW + 5 * (HOUR + 60))


def test_time_that_passed_while_the_machine_was_suspended_or_off_counts() -> None:
    asleep = ClockReading(at=NOW, boot="a", uptime=500.0)
    assert resumed(asleep, wall=NOW + DAY, boot="a", uptime=600.0).at == NOW + DAY
    assert resumed(asleep, wall=NOW + DAY, boot="b", uptime=10.0).at == NOW + DAY
    assert resumed(None, wall=NOW, boot="a", uptime=1.0).at == NOW


def test_what_cannot_be_believed_counts_as_the_time_that_the_machine_was_up() -> None:
    reading = ClockReading(at=NOW, boot="a", uptime=500.0)
    for wall in (0.0, NOW - HOUR, NOW + CENTURY):
        assert resumed(reading, wall=wall, boot="a", uptime=600.0).at == NOW + 100
        assert resumed(reading, wall=wall, boot="b", uptime=600.0).at == NOW
        assert resumed(reading, wall=wall, boot="", uptime=600.0).at == NOW
