"""How long a campaign takes, as far as its limits say, and which of them says so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hubd.core.pacing import estimate, parse_rate, parse_rates
from hubd.core.warmup import Warmup, seconds_for
from hubd.core.windows import parse_window

_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds the messages of a campaign up."""

    rates: Sequence[str] = ()
    owners: Mapping[str, str] = field(default_factory=dict)  #: of rates of a provider, its name
    connections: str = ""  #: such as "4 connections of office"
    warmup: Warmup | None = None
    age: float = 0.0  #: seconds since the first message of a provider that is warmed up
    window: str = ""
    opens_in: float = 0.0  #: seconds until the window has opened for the last recipient


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long it will take, as far as the limits say: None when nothing limits it."""

    messages: int
    seconds: float | None = None
    rate: float | None = None  #: messages a second
    limited_by: str = ""  #: such as "the rate 30/minute of office"; "" if nothing is known


def how_long(messages: int, limits: Limits, *, slots: int | None = None) -> Estimate:
    """How long this number of messages takes under these limits, of which they use so many `slots`."""
    count = messages if slots is None else slots
    if not messages:
        return Estimate(messages=messages)
    if not limits.rates and limits.warmup is None and not limits.window:
        return Estimate(messages=messages, limited_by=limits.connections)
    taken = [(_alone(count, rate), _named(rate, limits)) for rate in limits.rates]
    if limits.warmup is not None:
        taken.append((seconds_for(count, limits.warmup, limits.age), "the sender warm-up"))
    seconds = max([estimate(count, parse_rates(limits.rates)), *(each for each, _ in taken)])
    limiting = max(taken, default=(0.0, limits.connections))[1]
    if limits.window:
        within = _within(count, limits, seconds)
        if within > seconds:
            named = f"the window {limits.window}"
            limiting = f"{limiting} and {named}" if seconds > within / 10 else named
            seconds = within
    return Estimate(
        messages=messages,
        seconds=round(seconds, 1),
        rate=round(messages / seconds, 3) if seconds >= 1 else None,
        limited_by=limiting,
    )


def _alone(count: int, rate: str) -> float:
    return estimate(count, parse_rates((rate,)))


def _named(rate: str, limits: Limits) -> str:
    owner = limits.owners.get(rate, "")
    return f"the rate {rate} of {owner}" if owner else f"the campaign's rate {rate}"


def _within(count: int, limits: Limits, seconds: float) -> float:
    """The seconds from now, if only those count in which the window is open."""
    window = parse_window(limits.window)
    a_day = ((window.closes - window.opens) % 1440 or 1440) * 60.0
    paced = [rate for rate in limits.rates if not parse_rate(rate).is_quota]
    active = estimate(count, parse_rates(paced))  # a quota of a day is a quota of a day, window or not
    days = max(0, math.ceil(active / a_day) - 1)
    return limits.opens_in + max(seconds, days * _DAY + active - days * a_day)
