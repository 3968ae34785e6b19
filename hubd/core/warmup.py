"""Sender warm-up: a quota for the day that starts small and doubles.

Mailbox providers distrust an address that sends much from its first day. So the quota begins at `start` and
doubles with every whole `double_every` since the provider's first message. It holds beside all other rates.
"""

from __future__ import annotations

from dataclasses import dataclass

from hubd.core.pacing import Rate, parse_rate
from hubd.core.times import parse_duration
from hubd.errors import BadInput

DAY = 86_400.0
#: Where doubling ends: more than anybody sends in a day.
MOST = 999_999_999
#: Seconds: the quota of no sender doubles faster.
SHORTEST = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """How a provider is warmed up."""

    start: int  #: messages (for SMS: segments) in the first days, each day
    double_every: float  #: seconds


def parse_start(text: str) -> int:
    """How many a day to begin with, from "200/day". Raises `BadInput`."""
    try:
        rate = parse_rate(text)
    except BadInput:
        rate = None
    if rate is None or rate.period != DAY:
        raise BadInput('must be the number per day at the start, such as "200/day"')
    return rate.amount


def parse_doubling(text: str) -> float:
    """The seconds after which the quota doubles, from "2 days". Raises `BadInput`."""
    try:
        seconds = parse_duration(text)
    except BadInput:
        seconds = 0.0
    if seconds < SHORTEST:
        raise BadInput('must be one hour or more, such as "2 days"')
    return seconds


def day_quota(warmup: Warmup, age: float) -> tuple[Rate, float]:
    """The quota `age` seconds after the first message, and the age at which it grows: perhaps never."""
    doublings = max(0, int(age // warmup.double_every))
    amount = min(warmup.start * 2 ** min(doublings, 64), MOST)
    return Rate(amount, DAY), float("inf") if amount >= MOST else (doublings + 1) * warmup.double_every


def seconds_for(amount: int, warmup: Warmup, age: float) -> float:
    """Seconds until so many have gone within the quotas of the days, the first of them at once; `age` as in
    `day_quota`. The quota of the first day counts as unused.
    """
    elapsed, left = 0.0, amount
    while True:
        quota, grows_at = day_quota(warmup, age + elapsed)
        if left <= quota.amount:
            return elapsed
        same = (grows_at - age - elapsed) // DAY if grows_at < float("inf") else left
        days = min(max(1, int(same)), -(-left // quota.amount) - 1)
        left -= days * quota.amount
        elapsed += days * DAY
