"""Writes entries of campaigns into the ledger, for a worker that may have messages of two of them."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from hubd.core.ledger import Entry, Open, Refusal
from hubd.engine.ports import Ledger, StoreHealth
from hubd.engine.source import Source
from hubd.errors import StoreUnavailable

Item = tuple[Source, Entry]


class AttemptRecorder:
    """Tells each source what became of its entries. Raises nothing: what goes wrong ends its run."""

    def __init__(self, ledger: Ledger, health: StoreHealth) -> None:
        self._ledger = ledger
        self._health = health

    async def record(self, items: Sequence[Item]) -> None:
        """Write these entries durably, as one unit.

        While the disk is full or failing an outcome stays in memory and is written first when the cause is
        gone, or until the time that `Source.close` grants is over. An attempt that could not be opened is put
        back: it will not be opened for a message whose connection has been kept waiting.
        """
        while items:
            try:
                refusals = await self._ledger.record([entry for _, entry in items])
            except StoreUnavailable as error:
                items = await self._outcomes_once_healthy(items, error)
            except Exception as bug:
                await self._one_by_one(items, bug)
                return
            else:
                _tell(items, refusals)
                return

    async def _outcomes_once_healthy(self, items: Sequence[Item], error: StoreUnavailable) -> Sequence[Item]:
        kept: list[Item] = []
        async with trio.open_nursery() as nursery:  # each source has its own time limit
            for source, entry in items:
                if isinstance(entry, Open):
                    source.put_back(entry.delivery_id)
                else:
                    nursery.start_soon(self._once_healthy, source, entry, error, kept)
        return kept

    async def _once_healthy(
        self, source: Source, entry: Entry, error: StoreUnavailable, kept: list[Item]
    ) -> None:
        try:
            with trio.CancelScope() as scope:
                source.on_the_wire(scope)
                await self._health.wait_healthy()
        except StoreUnavailable as lost:
            source.fail(lost, entry.delivery_id)
            return
        finally:
            source.off_the_wire(scope)
        if scope.cancelled_caught:
            source.fail(error, entry.delivery_id)
        else:
            kept.append((source, entry))

    async def _one_by_one(self, items: Sequence[Item], bug: Exception) -> None:
        """One faulty entry must not take the outcome of another message with it."""
        if len(items) > 1:
            for item in items:
                await self.record([item])
        else:
            ((source, entry),) = items
            source.fail(bug, entry.delivery_id)


def _tell(items: Sequence[Item], refusals: Sequence[Refusal | None]) -> None:
    for (source, entry), refusal in zip(items, refusals, strict=True):
        source.recorded(entry, refusal)
