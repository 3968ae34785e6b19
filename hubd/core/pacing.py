"""When the next message may go: rate limits, several at once.

A rate such as "30/minute" is two promises. The hard one: in no stretch of time as long as the period (half
open, wherever it begins) are more slots granted than the amount. The soft one, for periods below an hour: the
slots are spread evenly, with a burst of at most a tenth of a second's worth, so that a worker that wakes a
moment late does not lose its turn. Longer periods are quotas: usable at once, and then empty.

The hard promise is kept by a log of what was granted, the soft one by the generic cell rate algorithm
(ITU-T I.371), whose whole state is the time at which the next slot is due in theory. The log of a large
amount is kept in up to 256 lumps that count as granted when their last slot was: a promise kept a little too
well (by less than half a percent of the period), in bounded memory.

What was granted is also remembered in steps of ten seconds, in the database across a restart. A state made
from them (`replay`) keeps the hard promise too: each step counts as granted at its latest moment.

All of it is pure: state in, state out, and the clock is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hubd.errors import BadInput

#: From this period on (seconds) a rate is a quota: its slots are not spread over the period.
QUOTA_PERIOD = 3600.0
#: How many seconds' worth of slots may come at once.
BURST = 0.1
#: Into how many lumps the log of one period is divided, at least.
LUMPS = 256
#: How finely (seconds) it is remembered when something was granted ...
STEP = 10.0
#: ... and for how long: no rate has a longer period.
REMEMBERED = 31 * 86_400.0
#: Remembered steps are joined while that moves none of them by more than this share of its age.
_BLUR = 1 / 64

_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
_RATE = re.compile(r"([0-9]{1,9})\s*/\s*([0-9]{0,6})\s*([a-z]+)", re.IGNORECASE)
_RATE_HELP = 'write a rate like "10/s", "30/minute", "10000/day" or "1/2s"'

Step = tuple[float, int]  #: (when its ten seconds began, how many slots were granted in them)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` slots in any stretch of `period` seconds."""

    amount: int
    period: float
    #: Seconds from one slot to the next when they are spread evenly.
    interval: float = field(init=False, repr=False, compare=False)
    #: Usable at once, rather than spread over the period.
    is_quota: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", self.period / self.amount)
        object.__setattr__(self, "is_quota", self.period >= QUOTA_PERIOD)


def parse_rate(text: str) -> Rate:
    """Read "30/minute", "10/s", "10000/day", "1/2s". Raises `BadInput`."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise BadInput.at("rate", f"not a rate; {_RATE_HELP}")
    amount, count, unit = int(match[1]), int(match[2] or "1"), _UNITS.get(match[3].lower())
    if unit is None:
        raise BadInput.at("rate", f"not a unit of time; {_RATE_HELP}")
    if amount < 1 or count < 1:
        raise BadInput.at("rate", f"amount and time must be at least 1; {_RATE_HELP}")
    if count * unit > REMEMBERED:
        raise BadInput.at("rate", "the time can be at most 31 days")
    return Rate(amount, count * unit)


@dataclass(frozen=True, slots=True)
class Pace:
    """Several rates that hold at the same time; without any there is no limit.

    Two rates over the same period are one: the stricter. `burst` is how many seconds' worth of slots may
    come at once.
    """

    rates: tuple[Rate, ...] = ()
    burst: float = BURST
    #: For each rate: how far, in seconds, its slots may run ahead of an even spread.
    slack: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        strictest: dict[float, Rate] = {}
        for rate in self.rates:
            known = strictest.get(rate.period, rate)
            strictest[rate.period] = min(rate, known, key=lambda each: each.amount)
        object.__setattr__(self, "rates", tuple(strictest.values()))
        object.__setattr__(self, "slack", tuple(_slack(rate, self.burst) for rate in self.rates))


def _slack(rate: Rate, burst: float) -> float:
    """The burst without its first slot; a quota need not be spread at all."""
    return float("inf") if rate.is_quota else max(0.0, min(burst, rate.period) - rate.interval)


def parse_pace(rates: Iterable[str]) -> Pace:
    """A pace from texts such as ("50/s", "10000/day"). Raises `BadInput`."""
    return Pace(tuple(parse_rate(text) for text in rates))


def longest_period(rates: Iterable[str]) -> float:
    """The longest time in seconds over which one of these rates counts, or 0. Raises `BadInput`."""
    return max((rate.period for rate in parse_pace(rates).rates), default=0.0)


class Lump(NamedTuple):
    """Slots granted from `first` to `last`."""

    first: float
    last: float
    slots: int


class Used(NamedTuple):
    """What one period has seen."""

    period: float
    due: float = float("-inf")  #: when the next slot is due in theory
    log: tuple[Lump, ...] = ()  #: what was granted, oldest first, without the newest lump
    gone: int = 0  #: how many of its first have expired; they are cut off now and then
    newest: Lump | None = None
    slots: int = 0  #: how many were granted less than a period ago


class PaceState(NamedTuple):
    """What was granted so far. `PaceState()` has seen nothing and fits every pace.

    A state stays good when the pace changes: a period that is still limited keeps what it has seen.
    """

    last: float = float("-inf")  #: the latest slot granted
    used: tuple[Used, ...] = ()


def next_slot(pace: Pace, state: PaceState, now: float, cost: int = 1) -> tuple[PaceState, float]:
    """Grant the next slot and say when it is: at `now` or later, and never before an earlier one.

    `now` is in seconds of any clock that does not go backwards; `cost` is how many slots the message takes,
    all of them at that moment. A message that costs more than a rate's whole amount waits until
    the period is empty.
    """
    state = fitted(pace, state)
    when = max(now, free_at(pace, state, cost))
    return granted(pace, state, when, cost), when


def fitted(pace: Pace, state: PaceState) -> PaceState:
    """The state with one entry for each rate of the pace, in its order: what the two below expect."""
    seen = {used.period: used for used in state.used}
    return PaceState(state.last, tuple(seen.get(rate.period, Used(rate.period)) for rate in pace.rates))


def free_at(pace: Pace, state: PaceState, cost: int = 1) -> float:
    """From when on `cost` slots can be granted at once; perhaps long past. `state` is `fitted`."""
    when = state.last
    for rate, slack, used in zip(pace.rates, pace.slack, state.used, strict=True):
        when = max(when, _opens(rate, slack, used, cost))
    return when


def granted(pace: Pace, state: PaceState, when: float, cost: int = 1) -> PaceState:
    """The state after `cost` slots at `when`, which is not before `free_at`. `state` is `fitted`."""
    return PaceState(
        when,
        tuple([_grant(rate, used, when, cost) for rate, used in zip(pace.rates, state.used, strict=True)]),
    )


def holding_interval(pace: Pace, state: PaceState) -> float:
    """Seconds between the slots of the rate that is the last to let the next one go; 0 without rates.

    `state` is `fitted`.
    """
    opens = [
        (_opens(rate, slack, used, 1), rate.interval)
        for rate, slack, used in zip(pace.rates, pace.slack, state.used, strict=True)
    ]
    return max(opens, default=(0.0, 0.0))[1]


def estimate(n: int, pace: Pace) -> float:
    """Seconds from the first to the last of `n` messages when nothing but the pace holds them up."""
    return _span(n, sorted(pace.rates, key=lambda rate: -rate.period))


def _opens(rate: Rate, slack: float, used: Used, cost: int) -> float:
    """From when on one rate lets `cost` more slots go."""
    when = used.due - slack
    return max(when, _room_at(rate, used, cost)) if used.slots + cost > rate.amount else when


def _room_at(rate: Rate, used: Used, cost: int) -> float:
    """When so much of the log has expired that `cost` more slots keep the hard promise."""
    surplus = used.slots + min(cost, rate.amount) - rate.amount
    earliest = float("-inf")
    for at in range(used.gone, len(used.log)):
        if surplus <= 0:
            return earliest
        surplus -= used.log[at].slots
        earliest = used.log[at].last + rate.period
    if surplus > 0 and used.newest is not None:
        earliest = used.newest.last + rate.period
    return earliest


def _grant(rate: Rate, used: Used, when: float, cost: int) -> Used:
    period, due, log, gone, newest, slots = used
    stale = when - period
    ends = len(log)
    while gone < ends and log[gone].last <= stale:
        slots -= log[gone].slots
        gone += 1
    if newest is not None and newest.last <= stale:
        slots -= newest.slots
        newest = None
    if newest is None:
        log, gone, newest = log[gone:], 0, Lump(when, when, cost)
    elif rate.amount > LUMPS and when - newest.first <= period / LUMPS:
        newest = Lump(newest.first, when, newest.slots + cost)
    else:
        if gone > 32:
            log, gone = log[gone:], 0
        log += (newest,)
        newest = Lump(when, when, cost)
    return Used(period, max(due, when) + cost * rate.interval, log, gone, newest, slots + cost)


# --- across a restart ---------------------------------------------------------------------------------------


def replay(pace: Pace, steps: Iterable[Step], now: float, wall_now: float) -> PaceState:
    """What a pace has seen, from remembered steps; never less than it has.

    `steps` are on the clock that shows `wall_now`, the state is on the one that shows `now`. A step counts as
    granted when it ended, or now if it lasts still or lies in the future, which happens when the clock was
    set back: so nobody waits longer than a period for it.
    """
    ages = sorted((max(0.0, wall_now - began - STEP), slots) for began, slots in steps)
    seen = [(now - age, slots) for age, slots in reversed(ages)]
    return PaceState(float("-inf"), tuple(_replayed(rate, seen, now) for rate in pace.rates))


def _replayed(rate: Rate, seen: Sequence[Step], now: float) -> Used:
    recent = [(at, slots) for at, slots in seen if at + rate.period > now]
    width = rate.period / LUMPS if len(recent) > LUMPS else -1.0
    lumps: list[Lump] = []
    for at, slots in recent:
        if lumps and at - lumps[-1].first <= width:
            lumps[-1] = Lump(lumps[-1].first, at, lumps[-1].slots + slots)
        else:
            lumps.append(Lump(at, at, slots))
    if not lumps:
        return Used(rate.period)
    due = lumps[-1].last + rate.interval  # an even spread from the last one on, whatever came before
    total = sum(lump.slots for lump in lumps)
    return Used(rate.period, due, log=tuple(lumps[:-1]), newest=lumps[-1], slots=total)


def thinned(steps: Iterable[Step], now: float, keep: float = REMEMBERED) -> list[Step]:
    """Remembered steps, oldest first, in bounded memory: old ones are joined, and count as the latest of
    them; those that ended longer than `keep` seconds ago are forgotten.
    """
    kept: list[Step] = []
    first = now
    for began, slots in steps:
        if began + STEP + keep <= now:
            continue
        if kept and began - first <= (now - began) * _BLUR:
            kept[-1] = (began, kept[-1][1] + slots)
        else:
            kept.append((began, slots))
            first = began
    return kept


def _span(n: int, rates: list[Rate]) -> float:
    if n <= 1 or not rates:
        return 0.0
    rate, rest = rates[0], rates[1:]
    if not rate.is_quota:
        return max((n - 1) * rate.interval - _slack(rate, BURST), 0.0, _span(n, rest))
    full = (n - 1) // rate.amount
    return max(_span(n, rest), full * rate.period + _span(n - full * rate.amount, rest))
