"""Changes of the providers' health, recorded as durable events.

A change of health happens in the middle of a delivery, which cannot wait for the disk. So it is queued here
and written by a task of its own.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import trio

from hubd.engine.health import HealthChange
from hubd.engine.ports import StoreHealth
from hubd.engine.wakeup import Wakeup
from hubd.errors import StoreUnavailable

log = logging.getLogger(__name__)

#: Appends an event: its type, its campaign, its data. Raises `StoreUnavailable`.
AddEvent = Callable[[str, int | None, Mapping[str, object]], Awaitable[object]]


class HealthEvents:
    """Hand `tell` to `Providers`, and run `run` for as long as they live."""

    #: So many changes are kept while they cannot be written; of more than that the oldest are lost.
    MOST = 1_000

    def __init__(self, add: AddEvent, health: StoreHealth) -> None:
        self._add = add
        self._health = health
        self._changes: deque[HealthChange] = deque(maxlen=self.MOST)
        self._news = Wakeup()

    def tell(self, change: HealthChange) -> None:
        """Note a change. Returns at once and never raises."""
        self._changes.append(change)
        self._news.set()

    async def run(self) -> None:
        """Write what was noted, until cancelled."""
        while True:
            await self._news.wait()
            while self._changes:
                change = self._changes[0]
                try:
                    await self._add("provider.changed", None, _data(change))
                except StoreUnavailable:
                    await trio.sleep(1.0)
                    with suppress(StoreUnavailable):  # it is lost for good, and the daemon ends
                        await self._health.wait_healthy()
                    continue
                if self._changes and self._changes[0] is change:
                    self._changes.popleft()
                words = f"{change.after}: {change.reason}" if change.reason else change.after
                log.info(
                    "provider %s is %s (was %s)",
                    change.provider,
                    words,
                    change.before,
                    extra={"hub_provider": change.provider},
                )


def _data(change: HealthChange) -> dict[str, object]:
    return {
        "provider": change.provider,
        "from": change.before,
        "to": change.after,
        "reason": change.reason,
        "until": change.until,
    }
