"""OpenMetrics text (https://prometheus.io/docs/specs/om/open_metrics_spec): families of samples. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram", "info", "stateset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One line: `suffix` follows the name of the family."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All samples of one name. With `unit` the name ends in it."""

    name: str
    kind: Kind
    help: str
    samples: Sequence[Sample]
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many observations lie at or below each bound (ascending, in the unit of the family)."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]  #: per bucket, one more than the bounds: the last is for all that is above
    total: float  #: the sum of all observations

    def samples(self, labels: Mapping[str, str]) -> list[Sample]:
        """Cumulative buckets, then count and sum."""
        lines, below = [], 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            below += count
            edge = {**labels, "le": _number(float(bound))}
            lines.append(Sample(value=below, labels=edge, suffix="_bucket"))
        lines.append(Sample(value=below, labels=labels, suffix="_count"))
        lines.append(Sample(value=self.total, labels=labels, suffix="_sum"))
        return lines


def gauge(name: str, help: str, samples: Iterable[tuple[Mapping[str, str], float]], unit: str = "") -> Family:
    """A value that goes up and down."""
    lines = [Sample(value=value, labels=labels) for labels, value in samples]
    return Family(name=name, kind="gauge", help=help, samples=lines, unit=unit)


def counter(name: str, help: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Family:
    """A value that only grows, until the daemon ends."""
    lines = [Sample(value=value, labels=labels, suffix="_total") for labels, value in samples]
    return Family(name=name, kind="counter", help=help, samples=lines)


def stateset(
    name: str, help: str, states: Sequence[str], samples: Iterable[tuple[Mapping[str, str], str]]
) -> Family:
    """Which of `states` holds: 1 for it, 0 for the others. The label of the state is named as the family."""
    lines = [
        Sample(value=float(state == now), labels={**labels, name: state})
        for labels, now in samples
        for state in states
    ]
    return Family(name=name, kind="stateset", help=help, samples=lines)


def render(families: Iterable[Family]) -> str:
    """The text of a whole answer, with its end mark."""
    return "".join(line + "\n" for family in families for line in _lines(family)) + "# EOF\n"


def _lines(family: Family) -> Iterable[str]:
    yield f"# TYPE {family.name} {family.kind}"
    if family.unit:
        yield f"# UNIT {family.name} {family.unit}"
    yield f"# HELP {family.name} {_escaped(family.help)}"
    for sample in family.samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
        place = f"{{{labels}}}" if labels else ""
        yield f"{family.name}{sample.suffix}{place} {_number(sample.value)}"


def _escaped(text: str) -> str:
    """Backslash, quote and line feed; what is no Unicode text becomes a backslash sequence."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
