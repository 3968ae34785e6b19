"""What the benches measure: points, and at each point several ways of doing the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

Sample = dict[str, float]  #: one measurement: the point's main figure, and any further figures


class Role(StrEnum):
    """What a way is to hubd."""

    SUBJECT = "subject"  #: hubd of this checkout; every ratio is about it
    AGAINST = "against"  #: hubd of another checkout
    ALTERNATIVE = "alternative"  #: what you would use instead
    CEILING = "ceiling"  #: a lower or upper bound that does much less work
    REFERENCE = "reference"  #: the same under other conditions


@dataclass(frozen=True, slots=True)
class Way:
    """One way of doing what the point is about. `measure` does it once and says how it went."""

    name: str
    role: Role
    measure: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that is measured, under one set of conditions."""

    name: str
    figure: str  #: the key of the main figure in each sample
    unit: str
    higher_is_better: bool
    ways: list[Way]
    rounds: int | None = None  #: an upper limit, for what takes minutes


@dataclass(slots=True)
class Taken:
    """The measurements of one way: one sample or failure for each round."""

    name: str
    role: Role
    samples: list[Sample | None] = field(default_factory=list)
    failure: str = ""


@dataclass(slots=True)
class PointResult:
    """The measurements of one point."""

    point: Point
    ways: list[Taken]


@dataclass(slots=True)
class BenchResult:
    """The measurements of one bench."""

    name: str
    title: str
    points: list[PointResult]
