"""One campaign, from its first recipient to its last.

Read `Runner.run` and follow it down. The audience is frozen into rows; rows that are due are read ahead (see
`backlog`); workers take them and send them (see `worker`).

Pausing is not a flag that workers poll. `stop` cancels the scope that everything here runs in. The only
places a cancellation cannot enter are a delivery whose attempt is open and the writing of its outcome (see
`books`); they are shielded, with a deadline that `stop` sets. When `run` has returned, nothing more leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import trio

from hubd.core.model import Campaign, Due, InDoubt
from hubd.engine.backlog import READ_AHEAD, Backlog
from hubd.engine.books import Books, NeedsPerson
from hubd.engine.domains import Domains
from hubd.engine.gates import Gates
from hubd.engine.inquest import Inquest
from hubd.engine.lanes import LanePool, ProviderStopped
from hubd.engine.ports import Surroundings
from hubd.engine.rulings import Rulings
from hubd.engine.worker import Worker
from hubd.errors import StoreUnavailable

FREEZE_PAGE = 5_000


class How(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"  #: every delivery is settled
    CANCELLED = "cancelled"  #: `stop` was called
    NEEDS_PERSON = "needs_person"  #: it should be paused, with the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, and why."""

    how: How
    reason: str = ""


class Runner:
    """Sends one campaign. `run` it once; `stop` it from another task."""

    def __init__(
        self,
        campaign: Campaign,
        pool: LanePool,
        gates: Gates,
        domains: Domains,
        around: Surroundings,
        in_doubt: InDoubt,
        inquest: Inquest | None = None,
    ) -> None:
        self.campaign = campaign
        self._pool = pool
        self._around = around
        self._scope = trio.CancelScope()
        self._backlog = Backlog(campaign, around, in_doubt, domains, inquest)
        self.books = Books(around, self._backlog)
        self._rulings = Rulings(campaign, pool, domains, around, self._backlog)
        self._worker = Worker(
            campaign=campaign,
            pool=pool,
            gates=gates,
            domains=domains,
            around=around,
            backlog=self._backlog,
            books=self.books,
            rulings=self._rulings,
            scope=self._scope,
        )

    # -- from outside ------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """Begin no more messages; cut those on the wire after `grace` seconds. Then `run` returns."""
        self.books.cut_after(grace)
        self._scope.cancel()

    def wake(self) -> None:
        """There are new rows, or rows became due."""
        self._backlog.wake()

    # -- the run -----------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Send until every delivery is settled, `stop` is called, or a person is needed.

        Raises `StoreUnavailable` when the database cannot be used, and whatever a bug raises; the attempts
        that are open then are in doubt.
        """
        ending = Ending(how=How.CANCELLED)
        broken: StoreUnavailable | None = None
        with self._scope:
            try:
                ending = await self._send_all()
            except* (NeedsPerson, ProviderStopped) as group:
                ending = Ending(how=How.NEEDS_PERSON, reason=_first_reason(group))
            except* StoreUnavailable as group:
                broken = StoreUnavailable(_first_reason(group))
        if broken is not None:
            raise broken
        await self.books.forgive(self._rulings.take_back(at_the_end=True))
        return ending

    async def _send_all(self) -> Ending:
        while not self.campaign.single:
            await self._around.health.wait_room()
            if not await self._around.campaigns.freeze_page(self.campaign.id, FREEZE_PAGE):
                break
        rows_in, rows_out = trio.open_memory_channel[Due](READ_AHEAD)
        asking = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask, asking)
            nursery.start_soon(self._backlog.read, rows_in)
            await self._staff(rows_out)
            asking.cancel()
        if (
            self._backlog.limit_reached
            and await self._around.ledger.next_due_at(self.campaign.id) is not None
        ):
            return Ending(how=How.NEEDS_PERSON, reason="limit")
        return Ending(how=How.COMPLETED)

    async def _ask(self, asking: trio.CancelScope) -> None:
        with asking:
            await self._backlog.ask_about_doubts()

    async def _staff(self, rows: trio.MemoryReceiveChannel[Due]) -> None:
        """A worker for each lane, and more when a reload adds lanes; until the last worker has ended."""
        async with rows, trio.open_nursery() as nursery:
            watch = trio.CancelScope()
            working = 0

            async def work() -> None:
                nonlocal working
                await self._worker.work(rows.clone())
                working -= 1
                if not working:
                    watch.cancel()

            with watch:
                while True:
                    while working < self._pool.transport.lanes:
                        nursery.start_soon(work)
                        working += 1
                    await self._pool.lanes_changed.wait()


def _first_reason(group: BaseExceptionGroup[Exception]) -> str:
    for error in group.exceptions:
        return _first_reason(error) if isinstance(error, BaseExceptionGroup) else str(error)
    return ""
