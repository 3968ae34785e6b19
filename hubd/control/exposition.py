"""OpenMetrics text (https://prometheus.io/docs/specs/om/open_metrics_spec): families of samples. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import SimpleNamespace
from typing import NamedTuple

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]  #: what follows the name of the family, labels and value


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many observations lie at or below each bound (ascending, in the unit of the family)."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]  #: per bucket, one more than the bounds: the last is for everything above
    total: float  #: the sum of all observations

    def samples(self, labels: Labels) -> list[Sample]:
        """Cumulative buckets, then count and sum."""
        below = list(accumulate(self.counts))
        edges = [*map(str, self.bounds), "+Inf"]
        buckets = [("_bucket", {**labels, "le": edge}, n) for edge, n in zip(edges, below, strict=True)]
        return [*buckets, ("_count", labels, below[-1]), ("_sum", labels, self.total)]


class Family(NamedTuple):
    """All samples of one name, which ends with the unit if there is one."""

    kind: str
    name: str
    help: str
    samples: Sequence[Sample]
    unit: str = ""


def gauge(name: str, help: str, samples: Iterable[tuple[Labels, float]], unit: str = "") -> Family:
    """A value that goes up and down."""
    return Family("gauge", name, help, [("", *sample) for sample in samples], unit)


def counter(name: str, help: str, samples: Iterable[tuple[Labels, float]]) -> Family:
    """A value that only grows, until the daemon ends."""
    return Family("counter", name, help, [("_total", *sample) for sample in samples])


def stateset(name: str, help: str, states: Sequence[str], samples: Iterable[tuple[Labels, str]]) -> Family:
    """Which of `states` holds: 1 for it, 0 for the others. The state's label has the name of the family."""
    lines = [("", {**labels, name: state}, state == now) for labels, now in samples for state in states]
    return Family("stateset", name, help, lines)


def render(families: Iterable[Family]) -> str:
    """The text of a whole answer, with its end mark. For a thread: the first call spends 50 ms on imports."""
    from prometheus_client import Metric
    from prometheus_client.openmetrics.exposition import generate_latest
    from prometheus_client.samples import Sample as Line

    metrics = []
    for family in families:
        metric = Metric(family.name, family.help, family.kind, family.unit)
        for suffix, labels, value in family.samples:
            texts = {label: _encodable(text) for label, text in labels.items()}
            metric.samples.append(Line(family.name + suffix, texts, value))
        metrics.append(metric)
    text: bytes = generate_latest(SimpleNamespace(collect=lambda: metrics))
    return text.decode()


def _encodable(text: str) -> str:
    """Replace what is not Unicode text by backslash sequences."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
