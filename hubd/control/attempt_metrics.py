"""What became of attempts since the daemon started, taken from ledger entries once they are written.

An attempt lasts from its open entry to its close entry. A try that was refused before it was opened has an
outcome but no duration.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from hubd.control.exposition import Histogram
from hubd.core.ledger import Close, Entry, Open, Rejection
from hubd.core.model import DeliveryState

#: Upper bounds, in seconds, of the buckets for attempt durations.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_OUTCOMES = {
    DeliveryState.SENT: "sent",
    DeliveryState.DEFERRED: "deferred",
    DeliveryState.FAILED: "failed",
    DeliveryState.SKIPPED: "skipped",
    DeliveryState.IN_DOUBT: "in_doubt",
    DeliveryState.PENDING: "withdrawn",
}


class _Durations:
    """How many attempts fell into each bucket, and their total seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class AttemptMetrics:
    """Counts by provider; hand `note` to the ledger."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()  #: by provider and outcome
        self._open: dict[int, Open] = {}  #: by delivery: one attempt of each may be open
        self._durations: dict[str, _Durations] = {}  #: by provider

    def note(self, entries: Sequence[Entry], refusals: Sequence[Rejection | None]) -> None:
        """Note entries that were written, except those that were refused. Never raises."""
        for entry, refusal in zip(entries, refusals, strict=True):
            if refusal is not None:
                continue
            if isinstance(entry, Close):
                self._close(entry)
            elif isinstance(entry, Open):
                self._open[entry.delivery_id] = entry

    def _close(self, entry: Close) -> None:
        begun = self._open.pop(entry.delivery_id, None) if entry.opened else None
        provider = begun.provider if begun is not None else entry.provider
        if not provider:
            return  # its open entry was written before this daemon started
        self.outcomes[provider, _OUTCOMES.get(entry.to) or entry.to.value] += 1
        if begun is not None:
            durations = self._durations.get(provider)
            if durations is None:
                durations = self._durations[provider] = _Durations()
            durations.add(max(0.0, entry.at - begun.at))  # the clock may have been set back in between

    def tried(self, provider: str = "") -> int:
        """How many tries there were, through one provider or all of them."""
        if not provider:
            return self.outcomes.total()
        return sum(count for (name, _), count in self.outcomes.items() if name == provider)

    def durations(self) -> dict[str, Histogram]:
        """By provider: seconds from an attempt's open entry to its close."""
        return {
            provider: Histogram(bounds=BOUNDS, counts=tuple(each.counts), total=each.total)
            for provider, each in self._durations.items()
        }
