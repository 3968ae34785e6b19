"""One running campaign's own task: it feeds the source, and decides when the campaign is over.

The audience is frozen into rows; due rows are read ahead into the source's queue, in id order. A page of rows
is read as of one moment, so a row that was let go since then is not queued from that page: what the page says
of it is old.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import trio

from hubd.core.ledger import Entry, Rejection, Requeue
from hubd.core.limiter import RateLimiter
from hubd.core.model import DueDelivery, InDoubt
from hubd.core.outcome import close_unwritable
from hubd.engine.breaker import ProviderStopped
from hubd.engine.ports import RunContext
from hubd.engine.reconciler import Reconciler
from hubd.engine.source import Source
from hubd.errors import BadInput, InvalidTransition, StoreUnavailable

READ_AHEAD = 256  #: rows
FREEZE_PAGE = 5_000  #: rows
ASK_EVERY = 60.0  #: seconds between looks for doubtful rows that the provider can be asked about
LOOK_BACK = 60.0  #: seconds after which rows that became due meanwhile are looked for among those passed over


class How(StrEnum):
    """How a campaign's run ended."""

    COMPLETED = "completed"  #: every delivery is finished
    CLOSED = "closed"  #: the source was closed
    NEEDS_PERSON = "needs_person"  #: it should be paused, with the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, and why."""

    how: How
    reason: str = ""


class CampaignTask:
    """Run `run` once, while the source is added to a pool."""

    def __init__(
        self,
        source: Source,
        context: RunContext,
        *,
        provider: str,
        in_doubt: InDoubt,
        limits: Callable[[str], Awaitable[tuple[RateLimiter, ...]]],
        reconciler: Reconciler | None,
        doubts_of: str | None = None,
    ) -> None:
        """`limits` gives what a message from a sender counts under; `doubts_of` is the provider whose doubts
        may be tried again, None for all.
        """
        self._doubts_of = doubts_of
        self.source = source
        self._campaign = source.campaign
        self._context = context
        self._provider = provider
        self._in_doubt = in_doubt
        self._limits = limits
        self._reconciler = reconciler
        self._endless = source.campaign.transactional_queue or bool(source.campaign.trigger_list)
        self._misjudged: list[int] = []  # deliveries to be requeued
        self._asking = trio.Lock()

    async def run(self) -> Ending:
        """Feed the source until every delivery is finished, it is closed, or a person is needed.

        No worker holds a row when it returns or raises: `StoreUnavailable` when the database cannot be
        used, `HubError` for what makes the content unusable, and whatever a bug raises. Attempts that are
        open then are in doubt.
        """
        source, ending = self.source, Ending(how=How.CLOSED)
        try:
            with source.scope:
                ending = await self._feed()
        except Exception as error:
            self._stop_for(error)
        finally:
            source.close()
            with trio.CancelScope(shield=True):
                while source.busy:
                    await source.news.wait()
        if source.error is not None:
            raise source.error
        await self._write_what_is_left()
        if source.needs_person is not None:
            return Ending(how=How.NEEDS_PERSON, reason=source.needs_person)
        return ending

    async def _feed(self) -> Ending:
        while not self._campaign.transactional_queue:
            await self._context.health.wait_for_disk_space()
            if not await self._context.campaigns.freeze_page(self._campaign.id, FREEZE_PAGE):
                break
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_about_doubts)
            try:
                await self._read()
            except Exception as error:
                self._stop_for(error)
            nursery.cancel_scope.cancel()
        if self.source.limit_reached and (
            self._endless or await self._context.ledger.next_due_at(self._campaign.id) is not None
        ):
            return Ending(how=How.NEEDS_PERSON, reason="limit")
        return Ending(how=How.COMPLETED)

    # -- reading -----------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Queue due rows, until none is left or as many were accepted as this run may send."""
        source, ledger = self.source, self._context.ledger
        cursor, began = 0, trio.current_time()
        while True:
            await self._write_what_is_left()
            if source.limit_reached and not await self._release_doubts():
                return
            if source.full:
                await source.news.wait()
                continue
            if source.outdated or trio.current_time() - began > LOOK_BACK:
                cursor = 0
            if cursor == 0:
                began = trio.current_time()
            source.begin_page()
            page = await ledger.due(self._campaign.id, self._context.now(), READ_AHEAD, cursor)
            if page:
                cursor = await self._queue_page(page) or cursor
                continue
            cursor = 0
            if source.news.is_set:
                await source.news.wait()  # something changed since the page was read: look again
            elif await self._is_over():
                return

    async def _queue_page(self, page: list[DueDelivery]) -> int:
        """Queue the rows of a page; the id of the last that was looked at, or 0."""
        last, content_id = 0, None
        for row in page:
            if last and self._campaign.transactional_queue and self.source.full:
                break  # each has a content of its own, and together they may be large
            last = row.id
            if not self.source.wants(row):
                continue
            if row.content_id != content_id:  # all rows but those of transactional messages have the same
                try:
                    plan = await self._context.plans.get(row.content_id)
                except BadInput as problem:
                    if not self._campaign.transactional_queue:
                        raise
                    entry = close_unwritable(row, problem, self._provider, self._context.now())
                    self.source.unwritten.append(entry)
                    continue
                content_id, limits = row.content_id, await self._limits(plan.sender)
            self.source.queue(row, plan, limits)
        return last

    async def _is_over(self) -> bool:
        """Nothing is due: wait until something is, or say that nothing will be."""
        source = self.source
        if source.empty and await self._release_doubts():
            return False
        ask_again = await self._settle_doubts() if await self._only_doubts_are_left() else None
        again = await self._context.ledger.next_due_at(self._campaign.id)
        if source.news.is_set:
            return False
        if again is None and ask_again is None and source.empty and not self._endless:
            return True
        pauses = [at - self._context.now() for at in (again, ask_again) if at is not None]
        # A row that is due but still queued or in somebody's hands does not count: its settling is the news.
        pause = min((each for each in pauses if each > 0 or source.empty), default=float("inf"))
        if pause > 0:
            await source.news.wait(trio.current_time() + pause)
        return False

    async def _only_doubts_are_left(self) -> bool:
        """Whether nothing could be sent while the provider is asked, which may take long."""
        if self._reconciler is None or self._campaign.transactional_queue or not self.source.empty:
            return False
        return await self._context.ledger.next_due_at(self._campaign.id) is None

    # -- writing -----------------------------------------------------------------------------------

    async def _write_what_is_left(self) -> None:
        """Record what the source could not, and requeue those who were misjudged.

        What a cancellation keeps from being written stays for the next time.
        """
        source = self.source
        while source.unwritten:
            entries = source.unwritten[:READ_AHEAD]
            refusals = await self._record(entries)
            del source.unwritten[: len(entries)]  # others may have been noted meanwhile
            for entry, refusal in zip(entries, refusals, strict=True):
                source.recorded(entry, refusal)
        self._misjudged += source.results.take_misjudged(source.has)
        while self._misjudged:
            with suppress(InvalidTransition):  # a person was quicker
                await self._record([Requeue(delivery_id=self._misjudged[0], at=self._context.now())])
            self._misjudged.pop(0)

    async def _record(self, entries: list[Entry]) -> list[Rejection | None]:
        while True:
            try:
                return await self._context.ledger.record(entries)
            except StoreUnavailable:
                if not self.source.is_open:
                    raise
                await self._context.health.wait_healthy()

    def _stop_for(self, error: Exception) -> None:
        if isinstance(error, ProviderStopped):
            self.source.pause(str(error))
        else:
            self.source.fail(error)

    # -- doubts ------------------------------------------------------------------------------------

    async def _ask_about_doubts(self) -> None:
        """Ask about doubtful rows beside the sending, until cancelled: also while rows wait for a quota."""
        try:
            while self._reconciler is not None:
                await trio.sleep(ASK_EVERY)
                await self._settle_doubts()
        except Exception as error:
            self._stop_for(error)

    async def _settle_doubts(self) -> float | None:
        """Ask the provider about doubtful rows; when to ask again, None when there is nothing to ask."""
        if self._reconciler is None:
            return None
        async with self._asking:
            before = self._reconciler.released
            try:
                return await self._reconciler.settle()
            finally:
                if released := self._reconciler.released - before:
                    self.source.released(released)

    async def _release_doubts(self) -> bool:
        """Doubtful rows are tried again, but not at once: some servers hang up on content they dislike."""
        if self._in_doubt is not InDoubt.RETRY:
            return False
        again_at = self._context.now() + self._context.retry_policy(self._campaign).floor
        released = await self._context.ledger.release_doubts(
            self._campaign.id, again_at, provider=self._doubts_of
        )
        if released:
            self.source.released(released)
        return released > 0
