"""A flag that one task waits for."""

from __future__ import annotations

import trio


class Wakeup:
    """Set by any task, waited for by one. Setting it while no task waits is not lost."""

    def __init__(self) -> None:
        self._set = False
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def is_set(self) -> bool:
        """Whether the next `wait` returns at once."""
        return self._set

    def set(self) -> None:
        """Let `wait` return."""
        if not self._set:
            self._set = True
            self._waiting.unpark()

    async def wait(self, until: float = float("inf")) -> None:
        """Return once the flag was set since the last return, or at `until` on Trio's clock; clears it."""
        if self._set:
            await trio.lowlevel.checkpoint()
        else:
            with trio.move_on_at(until):
                await self._waiting.park()
        self._set = False
