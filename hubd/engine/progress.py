"""How fast each campaign goes and when it will be done.

The durable story of a campaign is in the event table of the database, with a cursor. What is here are gauges:
the latest value is all that matters, so they are sampled from the counters, never queued, and cost nothing
while nobody looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import trio

from hubd.core.model import Counts
from hubd.errors import StoreError


class _Counters(Protocol):
    async def counts(self, campaign_ids: Sequence[int]) -> Mapping[int, Counts]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The pace of a campaign now."""

    counts: Counts
    rate: float = 0.0  #: messages finished per second over the last few seconds
    eta: float | None = None  #: seconds until all are finished at this rate; None when it cannot be said


class ProgressSampler:
    """Samples the counters of running campaigns. Run `run` for as long as the daemon lives."""

    #: Seconds between two samples.
    TICK = 0.25
    #: Seconds over which a rate is averaged.
    WINDOW = 4.0

    def __init__(self, running: Callable[[], Sequence[int]], counters: _Counters) -> None:
        self._running = running
        self._counters = counters
        self._history: dict[int, deque[tuple[float, int]]] = {}
        self._latest: dict[int, Sample] = {}

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            # While the database cannot be read the old sample stands; whoever writes says why.
            with suppress(StoreError):
                await self._sample_running()
            await trio.sleep(self.TICK)

    def sample(self, campaign_id: int) -> Sample | None:
        """The newest sample of a running campaign; None when it does not run."""
        return self._latest.get(campaign_id)

    async def _sample_running(self) -> None:
        running = self._running()
        for gone in self._latest.keys() - set(running):
            del self._latest[gone], self._history[gone]
        if not running:
            return
        now = trio.current_time()
        for campaign_id, counts in (await self._counters.counts(running)).items():
            history = self._history.setdefault(campaign_id, deque())
            history.append((now, counts.finished))
            while now - history[0][0] > self.WINDOW:
                history.popleft()
            self._latest[campaign_id] = _pace(counts, history)


def _pace(counts: Counts, history: deque[tuple[float, int]]) -> Sample:
    (began, first), (ended, last) = history[0], history[-1]
    if ended <= began or last <= first:
        return Sample(counts=counts)
    rate = (last - first) / (ended - began)
    return Sample(counts=counts, rate=rate, eta=(counts.total - counts.finished) / rate)
