"""A command under way: what its method writes goes through here, with the audit row and the kept answer.

A dry run does the same and is rolled back at the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from hubd.control.campaign_views import Live, changed_view, view_of
from hubd.control.hub import Hub, Work
from hubd.core.decide import Clone, Decide, Decided, Move, P, Plan, Q, Request
from hubd.core.model import Campaign
from hubd.wire import campaign_results as r
from hubd.wire.results import Done, WouldChange

T = TypeVar("T")
A = TypeVar("A", bound=Mapping[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One request that changes something."""

    hub: Hub
    request: Request
    dry_run: bool
    bulk: bool  #: whether it is refused while disk space is low

    async def write(self, work: Work[T], answer: Callable[[T], A], *, bulk: bool | None = None) -> A:
        """Do the work and answer, in one transaction. `answer` is pure, and runs in the writer's thread.

        Raises what either raises, `RevisionConflict` and `StoreUnavailable`; then nothing was written.
        """
        go = self.hub.commands.dry_run if self.dry_run else self.hub.commands.carry_out
        bulk = self.bulk if bulk is None else bulk
        _, said = await go(self.request, work, answer, bulk=bulk)
        return said

    def done(self, *, changed: bool) -> Done:
        """The answer that says only whether anything changed."""
        if self.dry_run:
            return {"changed": False, "would": {"change": changed}}
        return {"changed": changed}

    async def decide(self, campaign: Campaign, decide: Decide[P]) -> r.ChangeResult:
        """Decide about a campaign, and do it. Raises what `decide` raises."""
        return await self.change(campaign, self.hub.campaigns.deciding(campaign.id, decide))

    async def change(self, campaign: Campaign, work: Work[Decided[Q]]) -> r.ChangeResult:
        """Do the work; the answer says what became of the campaign, or of its copy."""
        return await self.write(work, await self.answering(campaign))

    def committing(self, campaign: Campaign, shape: Callable[[r.ChangeResult], A]) -> Committed[A]:
        """For the supervisor: writes what is decided about this campaign, with the answer in its `shape`."""

        async def write(work: Work[Decided[Move]]) -> tuple[Decided[Move], A]:
            answering = await self.answering(campaign)
            return await self.hub.commands.carry_out(
                self.request, work, lambda decided: shape(answering(decided)), bulk=self.bulk
            )

        return Committed(self.hub, write)

    async def answering(self, campaign: Campaign) -> Callable[[Decided[Q]], r.ChangeResult]:
        """The answer for what is decided about this campaign, with what the engine says about it now."""
        if self.dry_run:
            view = await view_of(self.hub, campaign)
            return partial(_dry_run_answer, view)
        return partial(_changed, Live.of(self.hub, campaign.provider, campaign))


def _dry_run_answer(view: r.CampaignView, decided: Decided[Q]) -> r.ChangeResult:
    return {"changed": False, "campaign": view, "would": would(decided.plan)}


def _changed(live: Live, decided: Decided[Q]) -> r.ChangeResult:
    view = changed_view(decided.campaign, decided.figures, live)
    return {"changed": decided.plan.changed, "campaign": view}


class Committed(Generic[A]):
    """Writes what the engine agrees to, with the answer; the engine calls it when it is ready."""

    answer: A

    def __init__(
        self, hub: Hub, write: Callable[[Work[Decided[Move]]], Awaitable[tuple[Decided[Move], A]]]
    ) -> None:
        self._hub = hub
        self._write = write

    async def __call__(self, campaign_id: int, decide: Decide[Move], /) -> Decided[Move]:
        """Decide about the campaign, and do it. Raises what `decide` raises."""
        decided, self.answer = await self._write(self._hub.campaigns.deciding(campaign_id, decide))
        return decided


def would(plan: Plan | Clone) -> WouldChange:
    """What a plan would change, as a dry run reports it."""
    match plan:
        case Move():
            return {"change": plan.changed, "state": plan.to.value}
        case _:
            return {"change": plan.changed}
