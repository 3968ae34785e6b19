"""How fast a provider may be used after it asked to be used more slowly.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): each throttle halves the number of
lanes that may be out, and about as many successes as there are lanes bring one lane back. Where one lane is
still too much, messages keep a distance: it doubles with each throttle up to `LONGEST_GAP`, and the rate it
stands for grows by `RATE_STEP` with each success until the distance is gone. The way back needs nothing but
successes.

Pure: a `Tempo` is a value, each function returns another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: The first and the longest distance between the beginnings of two messages, in seconds.
FIRST_GAP = 0.1
LONGEST_GAP = 30.0
#: What one success adds to the rate while messages keep a distance, in messages a second.
RATE_STEP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """How many lanes may be out, and the distance between messages when it is only one."""

    lanes: int  #: what the configuration allows, at least 1
    width: float  #: the lanes that may be out, in [1, lanes]; a fraction is one that is being earned
    gap: float = 0.0  #: seconds between the beginnings of two messages; 0 with more than one lane

    @property
    def lanes_allowed(self) -> int:
        """How many lanes may be out now: at least 1, at most `lanes`."""
        return int(self.width)

    @property
    def slowed(self) -> bool:
        """Whether it is less than the configuration allows."""
        return self.gap > 0 or self.lanes_allowed < self.lanes


def full_speed(lanes: int) -> Tempo:
    """Everything that the configuration allows."""
    lanes = max(1, lanes)
    return Tempo(lanes=lanes, width=float(lanes))


def slower(tempo: Tempo) -> Tempo:
    """After a throttle: half the lanes; with one lane left, twice the distance."""
    if tempo.lanes_allowed > 1:
        return replace(tempo, width=float(tempo.lanes_allowed // 2))
    return replace(tempo, width=1.0, gap=min(LONGEST_GAP, max(FIRST_GAP, tempo.gap * 2.0)))


def faster(tempo: Tempo) -> Tempo:
    """After a success."""
    if tempo.gap > 0:
        gap = 1.0 / (1.0 / tempo.gap + RATE_STEP)
        return replace(tempo, gap=gap if gap >= FIRST_GAP else 0.0)
    return replace(tempo, width=min(float(tempo.lanes), tempo.width + 1.0 / tempo.lanes_allowed))


def throttle_pause(throttles: int, jitter: float, *, floor: float = 0.1, ceiling: float = 30.0) -> float:
    """Seconds without a new message after this many throttles in a row: doubling, spread by 10 % both ways.

    `jitter` is a random number in [0, 1). The bounds are those that Twilio advises for its 429.
    """
    doubled = floor * 2.0 ** max(0, min(throttles, 40) - 1)
    return min(doubled, ceiling) * (0.9 + 0.2 * jitter)
