"""How fast a provider may be used after it asked to be used more slowly.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): each throttle halves the number of
connections that may be in use, and about as many successes as there are connections bring one connection
back. Where one connection is still too much, messages keep a distance: it doubles with each throttle up to
`LONGEST_GAP`, and the rate it stands for grows by `RATE_STEP` with each success until the distance is gone.
The way back needs nothing but successes.

Pure: a `AdaptiveConcurrency` is a value, each function returns another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: The first and the longest distance between the beginnings of two messages, in seconds.
FIRST_GAP = 0.1
LONGEST_GAP = 30.0
#: What one success adds to the rate while messages keep a distance, in messages a second.
RATE_STEP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConcurrency:
    """How many connections may be in use, and the distance between messages when it is only one."""

    connections: int  #: what the configuration allows, at least 1
    #: the connections that may be in use, in [1, connections]; a fraction is one that is being earned
    width: float
    gap: float = 0.0  #: seconds between the beginnings of two messages; 0 with more than one connection

    @property
    def connections_allowed(self) -> int:
        """How many connections may be in use now: at least 1, at most `connections`."""
        return int(self.width)

    @property
    def slowed(self) -> bool:
        """Whether it is less than the configuration allows."""
        return self.gap > 0 or self.connections_allowed < self.connections


def full_speed(connections: int) -> AdaptiveConcurrency:
    """Everything that the configuration allows."""
    connections = max(1, connections)
    return AdaptiveConcurrency(connections=connections, width=float(connections))


def slower(concurrency: AdaptiveConcurrency) -> AdaptiveConcurrency:
    """After a throttle: half the connections; with one connection left, twice the distance."""
    if concurrency.connections_allowed > 1:
        return replace(concurrency, width=float(concurrency.connections_allowed // 2))
    return replace(concurrency, width=1.0, gap=min(LONGEST_GAP, max(FIRST_GAP, concurrency.gap * 2.0)))


def faster(concurrency: AdaptiveConcurrency) -> AdaptiveConcurrency:
    """After a success."""
    if concurrency.gap > 0:
        gap = 1.0 / (1.0 / concurrency.gap + RATE_STEP)
        return replace(concurrency, gap=gap if gap >= FIRST_GAP else 0.0)
    return replace(
        concurrency,
        width=min(float(concurrency.connections), concurrency.width + 1.0 / concurrency.connections_allowed),
    )


def throttle_pause(throttles: int, jitter: float, *, floor: float = 0.1, ceiling: float = 30.0) -> float:
    """Seconds without a new message after this many throttles in a row: doubling, spread by 10 % both ways.

    `jitter` is a random number in [0, 1). The bounds are those that Twilio advises for its 429.
    """
    doubled = floor * 2.0 ** max(0, min(throttles, 40) - 1)
    return min(doubled, ceiling) * (0.9 + 0.2 * jitter)
