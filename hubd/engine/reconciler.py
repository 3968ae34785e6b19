"""Asking a provider what became of the messages whose answers were lost.

For campaigns that say `in_doubt = "reconcile"`. What the answers prove is in `hubd.core.reconcile`; here is
who asks, when, and where it is written down. How far the asking has come is kept in memory alone: after a
restart it begins again, which costs a minute and can decide nothing wrongly.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import Protocol, runtime_checkable

import trio

from hubd.core.model import Campaign, RenderedMessage
from hubd.core.reconcile import (
    NOT_ASKABLE,
    Doubt,
    Finding,
    Found,
    How,
    ReconcileProgress,
    Resolution,
    absent,
    begin,
    conclude,
    exclude_known,
    held,
    opened_at,
)
from hubd.engine.breaker import ProviderStopped
from hubd.engine.ports import RunContext, Transport
from hubd.errors import BadInput, HubError, NotFound

log = logging.getLogger(__name__)

PAGE = 200  #: doubtful deliveries read at once
ROUNDING = 0.001  #: seconds; a time of day is too coarse a number to hit the very moment
AT_ONCE = 2  #: questions on their way at the same time; each takes the place of a message


class Doubts(Protocol):
    """Doubtful deliveries, and the decisions about them."""

    async def doubtful(self, campaign_id: int, after_id: int = 0, limit: int = 200) -> list[Doubt]:
        """A page of a campaign's deliveries in doubt, in id order, with ids above `after_id`."""
        ...

    async def known(self, provider: str, provider_ids: Collection[str]) -> frozenset[str]:
        """Which of a provider's messages some delivery accounts for already."""
        ...

    async def resolve(self, doubt: Doubt, resolution: Resolution) -> bool:
        """Write a decision, durably. False, with nothing written, when it holds no more."""
        ...


class ProviderAccess(Protocol):
    """The provider that is asked."""

    @property
    def transport(self) -> Transport: ...
    def lease(self) -> AbstractAsyncContextManager[Transport]:
        """The right to ask one question; waits while the provider rests. Raises `ProviderStopped`."""
        ...


@runtime_checkable
class Reconcilable(Protocol):
    """A transport whose provider can be asked what it accepted."""

    @property
    def can_reconcile(self) -> bool: ...
    async def reconcile(self, rendered: RenderedMessage, opened_at: float) -> Finding:
        """Whether the provider has this message, whose attempt was opened then (epoch seconds).

        Never raises for what the provider or the network do.
        """
        ...


class Reconciler:
    """The doubts of one campaign while it runs. One task at a time calls `settle`."""

    def __init__(
        self,
        campaign: Campaign,
        provider: ProviderAccess,
        context: RunContext,
        doubts: Doubts,
        *,
        not_now: Collection[str] = (),
    ) -> None:
        """`not_now` are providers that may send for the campaign again: what may have been accepted by one of
        them stays in doubt until it does.
        """
        self.released = 0  #: deliveries that were put back to be tried again, since the beginning
        self._campaign = campaign
        self._provider = provider
        self._context = context
        self._doubts = doubts
        self._not_now = not_now
        self._asked: dict[int, ReconcileProgress] = {}

    async def settle(self) -> float | None:
        """Ask about every delivery in doubt that is due, and record the results.

        Returns the time (epoch seconds) when there is something to ask again, or None when there is not:
        what is in doubt then stays so until a person decides. Waits while the provider rests.
        Raises `ProviderStopped` when a person has to act, and `StoreUnavailable`; what was recorded
        stays recorded, and calling it again continues.
        """
        seen: set[int] = set()
        after = 0
        while page := await self._doubts.doubtful(self._campaign.id, after, PAGE):
            after = page[-1].delivery_id
            page = [doubt for doubt in page if doubt.provider not in self._not_now]
            for doubt in page:
                self._asked[doubt.delivery_id] = self._progress(doubt)
                seen.add(doubt.delivery_id)
            await self._ask_about([doubt for doubt in page if self._due(doubt)])
        self._asked = {number: progress for number, progress in self._asked.items() if number in seen}
        waiting = [progress.next_at for progress in self._asked.values() if not progress.held]
        if not waiting:
            return None
        return self._context.now() + max(0.0, min(waiting) - trio.current_time()) + ROUNDING

    def _progress(self, doubt: Doubt) -> ReconcileProgress:
        known = self._asked.get(doubt.delivery_id)
        if known is None or known.n != doubt.n:
            return begin(doubt, self._context.now(), trio.current_time())
        return known

    def _due(self, doubt: Doubt) -> bool:
        progress = self._asked[doubt.delivery_id]
        return not progress.held and progress.next_at <= trio.current_time()

    async def _ask_about(self, doubts: Sequence[Doubt]) -> None:
        """A few at once. Those to one recipient one after the other, oldest attempt first: one message of the
        provider's settles one of them, and so the first goes to the first.
        """
        by_recipient = sorted(doubts, key=lambda doubt: (_recipient(doubt), doubt.opened_at))
        groups = iter([list(group) for _, group in groupby(by_recipient, key=_recipient)])
        troubles: list[HubError | ProviderStopped] = []

        async def work(groups: Iterator[list[Doubt]]) -> None:
            try:
                for group in groups:
                    for doubt in group:
                        if troubles:
                            return
                        await self._settle(doubt)
            except (HubError, ProviderStopped) as trouble:
                troubles.append(trouble)

        async with trio.open_nursery() as nursery:
            for _ in range(min(AT_ONCE, len(doubts))):
                nursery.start_soon(work, groups)
        if troubles:
            raise troubles[0]

    async def _settle(self, doubt: Doubt) -> None:
        """Ask once, and record what that decides."""
        rendered, why_not = await self._rendered(doubt)
        if rendered is None:
            await self._hold(doubt, why_not)
            return
        asked_at, finding = await self._ask(rendered, doubt)
        listed = (*finding.fits, *finding.similar)
        if listed:
            finding = exclude_known(finding, await self._doubts.known(doubt.provider, listed))
        progress = self._asked[doubt.delivery_id]
        found, progress = conclude(progress, finding, asked_at, trio.current_time())
        self._asked[doubt.delivery_id] = progress
        match found:
            case None:
                return
            case Found.UNKNOWN:
                await self._hold(doubt, finding.detail)
                return
            case Found.FOUND:
                resolution = Resolution(how=How.SENT, provider_ids=finding.fits)
            case Found.ABSENT:
                resolution = absent(
                    doubt,
                    self._context.retry_policy(self._campaign),
                    self._context.now(),
                    self._context.steady(),
                    self._context.random(),
                )
        if await self._doubts.resolve(doubt, resolution):
            del self._asked[doubt.delivery_id]
            self.released += resolution.how is How.ABSENT
        else:  # a person decided, or the message that was found is another's: look again later
            self._asked[doubt.delivery_id] = begin(doubt, doubt.closed_at, trio.current_time())

    async def _hold(self, doubt: Doubt, why: str) -> None:
        progress = self._asked[doubt.delivery_id]
        await self._doubts.resolve(doubt, held(why))
        self._asked[doubt.delivery_id] = ReconcileProgress(n=progress.n, next_at=float("inf"), held=True)

    async def _ask(self, rendered: RenderedMessage, doubt: Doubt) -> tuple[float, Finding]:
        """The provider's answer, and when it was asked. A question takes the place of a message."""
        async with self._provider.lease() as transport:
            asked_at = trio.current_time()
            if isinstance(transport, Reconcilable):
                opened = opened_at(doubt, self._context.now())
                return asked_at, await transport.reconcile(rendered, opened)
            # The configuration changed this very moment.
            return asked_at, Finding(kind=Found.UNKNOWN, detail=NOT_ASKABLE["kind"])

    async def _rendered(self, doubt: Doubt) -> tuple[RenderedMessage | None, str]:
        """The message as it was written, or why the provider cannot be asked for it."""
        transport = self._provider.transport
        if not isinstance(transport, Reconcilable) or not transport.can_reconcile:
            return None, NOT_ASKABLE["kind"]
        if doubt.provider != transport.name:
            return None, NOT_ASKABLE["provider"]
        if doubt.account != transport.account:
            return None, NOT_ASKABLE["account"]
        if doubt.row is None:
            return None, NOT_ASKABLE["content"]
        try:
            plan = await self._context.plans.get(doubt.row.content_id)
            if plan.fields and not doubt.row.fields:  # erased: a default would take the place of what it said
                return None, NOT_ASKABLE["contact"]
            return plan.write(doubt.row, self._campaign.name, self._context.now()), ""
        except (BadInput, NotFound):
            return None, NOT_ASKABLE["content"]


def _recipient(doubt: Doubt) -> str:
    return doubt.row.recipient if doubt.row is not None else ""
