"""Rates such as "30/minute": how they are written, and how long a number of messages takes under them.

How they are kept is in `hubd.core.limiter`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hubd.errors import BadInput

#: From this period on (seconds) a rate is a quota: its slots are not spread over the period.
QUOTA_PERIOD = 3600.0
#: How many seconds' worth of slots may come at once.
BURST = 0.1
#: The longest period of a rate, in seconds: for so long it is remembered what was sent.
REMEMBERED = 31 * 86_400.0
#: How closely (seconds) it is recorded when something was granted.
STEP = 10

_UNITS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
_RATE = re.compile(r"([0-9]{1,9})\s*/\s*([0-9]{0,6})\s*([a-z]+)", re.IGNORECASE)
_RATE_HELP = 'write a rate like "10/s", "30/minute", "10000/day" or "1/2s"'


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` slots in any stretch of `period` seconds."""

    amount: int
    period: float

    @property
    def interval(self) -> float:
        """Seconds from one slot to the next when they are spread evenly."""
        return self.period / self.amount

    @property
    def is_quota(self) -> bool:
        """Whether its slots can be used at once, rather than spread over the period."""
        return self.period >= QUOTA_PERIOD

    def slack(self, burst: float = BURST) -> float:
        """How far, in seconds, slots may run ahead of an even spread: the burst without its first slot."""
        return float("inf") if self.is_quota else max(0.0, min(burst, self.period) - self.interval)


def parse_rate(text: str) -> Rate:
    """Read "30/minute", "10/s", "10000/day", "1/2s". Raises `BadInput`."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise BadInput.at("rate", f"not a rate; {_RATE_HELP}")
    amount, count, unit = int(match[1]), int(match[2] or "1"), _UNITS.get(match[3].lower())
    if unit is None:
        raise BadInput.at("rate", f"not a unit of time; {_RATE_HELP}")
    if amount < 1 or count < 1:
        raise BadInput.at("rate", f"the amount and the time must be at least 1; {_RATE_HELP}")
    if count * unit > REMEMBERED:
        raise BadInput.at("rate", "the time can be at most 31 days")
    return Rate(amount, count * unit)


def parse_rates(texts: Iterable[str]) -> tuple[Rate, ...]:
    """Read rates such as ("50/s", "10000/day"), as `strictest` puts them. Raises `BadInput`."""
    return strictest(parse_rate(text) for text in texts)


def strictest(rates: Iterable[Rate]) -> tuple[Rate, ...]:
    """The rates that hold together, the shortest period first: of two over the same period, the stricter."""
    found: dict[float, Rate] = {}
    for rate in sorted(rates, key=lambda rate: (rate.period, rate.amount)):
        found.setdefault(rate.period, rate)
    return tuple(found.values())


def longest_period(texts: Iterable[str]) -> float:
    """The longest time in seconds over which one of these rates counts, or 0. Raises `BadInput`."""
    return max((rate.period for rate in parse_rates(texts)), default=0.0)


def estimate(n: int, rates: tuple[Rate, ...]) -> float:
    """Seconds from the first to the last of `n` messages when nothing but these rates, as `strictest` puts
    them, holds them up.
    """
    if n <= 1 or not rates:
        return 0.0
    *shorter, rate = rates
    rest = tuple(shorter)
    if not rate.is_quota:
        return max((n - 1) * rate.interval - rate.slack(), 0.0, estimate(n, rest))
    full = (n - 1) // rate.amount
    return max(estimate(n, rest), full * rate.period + estimate(n - full * rate.amount, rest))
