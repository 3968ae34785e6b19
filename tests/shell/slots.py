"""Takes slots as the dispatcher does: under every limit of a message at once, or under none."""

from __future__ import annotations

import trio

from hubd.core.limiter import RateLimiter


def take(*limiters: RateLimiter | None, cost: int = 1) -> bool:
    """Take `cost` slots of each now; whether all of them had so many."""
    now = trio.current_time()
    found = [limiter for limiter in limiters if limiter is not None]
    if any(limiter.opens_at(now, cost) > now for limiter in found):
        return False
    for limiter in found:
        limiter.take(now, cost)
    return True


def taken(*limiters: RateLimiter | None) -> int:
    """Take single slots until none is left; how many."""
    count = 0
    while take(*limiters):
        count += 1
    return count
