"""Runs campaigns: the commands that start, pause and stop them, and what continues automatically.

Every running campaign is one contained task (see `campaign_run`), and one lock per campaign keeps commands
from crossing. What should run and does not, after a crash of the daemon or trouble with the disk, is taken up
again at boot and once a minute (see `schedule`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import trio

from hubd.core.decide import halt as decide_halt
from hubd.core.decide import schedule as decide_schedule
from hubd.core.decide import start as decide_start
from hubd.core.lifecycle import CampaignEvent, advance_campaign
from hubd.core.model import Campaign, CampaignState, Channel, InDoubt
from hubd.core.outcome import RetryPolicy
from hubd.core.verdict import is_ready
from hubd.engine.campaign_run import CampaignRun
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.ports import Campaigns, Commit, Ledger, RunContext, StoreHealth
from hubd.engine.provider import Probe, ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.reconciler import Doubts
from hubd.engine.run_factory import RunFactory
from hubd.engine.schedule import Scheduler
from hubd.errors import HubError, ShuttingDown


class Supervisor:
    """The commands that change who runs. Get one from `open_supervisor`."""

    #: Seconds that messages on the wire are given when a campaign is paused or stopped.
    GRACE = 20.0

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        campaigns: Campaigns,
        ledger: Ledger,
        health: StoreHealth,
        plans: TemplateCache,
        providers: Providers,
        limits: LimiterRegistry,
        doubts: Doubts,
        now: Callable[[], float],
        steady: Callable[[], float],
        random: Callable[[], float],
        retry_policy: RetryPolicy,
    ) -> None:
        self.providers = providers
        self.plans = plans
        self._nursery = nursery
        self._campaigns = campaigns
        self._ledger = ledger
        self._now = now
        self._context = RunContext(
            campaigns=campaigns,
            ledger=ledger,
            health=health,
            plans=plans,
            now=now,
            steady=steady,
            random=random,
            retry_policy=lambda campaign: replace(retry_policy, give_up_after=campaign.give_up_after),
        )
        self._factory = RunFactory(
            nursery, providers=providers, limits=limits, doubts=doubts, context=self._context
        )
        self.warmup_age = limits.warmup_age
        self.scheduler = Scheduler(self, campaigns, ledger, health, now)
        self._runs: dict[int, CampaignRun] = {}
        self._locks: dict[int, trio.Lock] = {}
        self._transactional_queues: dict[tuple[str, Channel], Campaign] = {}
        self._closing = False

    # -- commands ----------------------------------------------------------------------------------

    async def start(
        self,
        name: str,
        *,
        limit: int | None = None,
        event: CampaignEvent = CampaignEvent.START,
        commit: Commit | None = None,
    ) -> tuple[bool, Campaign]:
        """Run a campaign; returns once it is `running`. Also resumes and retries.

        `limit` is how many to send before it pauses. `commit` writes what was decided, and what
        belongs to it. Raises `InvalidTransition`, `NotFound`, `ProviderUnavailable`, `CredentialMissing`,
        `CreditsShort`, and `StoreUnavailable` when there is no space for the audience; nothing has changed
        then.
        """
        campaign = await self._campaigns.get(name)
        decide = partial(decide_start, limit=limit, event=event)
        async with self._lock(campaign.id):
            campaign = await self._stopped(campaign.id)
            plan = decide(campaign)
            if event is CampaignEvent.DUE and (campaign.scheduled_at or 0.0) > self._now():
                return False, campaign  # it was put off meanwhile
            if plan.changed:
                await self._prepare(campaign)
                if campaign.credits:
                    decide = partial(decide, cost=await self._campaigns.cost(campaign))
            elif campaign.state is CampaignState.RUNNING and campaign.id not in self._runs:
                self._refuse_when_closing()
            decided = await (commit or self._campaigns.carry_out)(campaign.id, decide)
            campaign = decided.campaign
            runs = campaign.id in self._runs and not decided.plan.changed
            if campaign.state is CampaignState.RUNNING and not runs and not self._closing:
                self._launch(campaign)  # perhaps in place of a run that has just written its end
            if decided.plan.changed:
                self.scheduler.wake()  # one-off messages that waited for this provider go at once, too
            return decided.plan.changed, campaign

    async def _prepare(self, campaign: Campaign) -> None:
        """Check that a campaign can run now. Raises as `start`."""
        self._refuse_when_closing()
        if size := await self._campaigns.audience_size(campaign.id):
            self._context.health.check_disk_space(size)
        await self._factory.open_provider(campaign, revive=True)

    async def resume(self, name: str, *, commit: Commit | None = None) -> tuple[bool, Campaign]:
        """Resume a paused campaign. As `start`."""
        return await self.start(name, event=CampaignEvent.RESUME, commit=commit)

    async def schedule(
        self, name: str, at: float, *, limit: int | None = None, commit: Commit | None = None
    ) -> tuple[bool, Campaign]:
        """Schedule a campaign at a time (seconds since the epoch); `limit` and `commit` as `start`."""
        campaign = await self._campaigns.get(name)
        async with self._lock(campaign.id):
            decide = partial(decide_schedule, at=at, limit=limit)
            decided = await (commit or self._campaigns.carry_out)(campaign.id, decide)
        if decided.plan.changed:
            self.scheduler.wake()
        return decided.plan.changed, decided.campaign

    async def pause(self, name: str, *, commit: Commit | None = None) -> tuple[bool, Campaign]:
        """Pause a campaign. When this returns, nothing more is sent. `commit` as in `start`."""
        return await self._halt(name, CampaignEvent.PAUSE, commit)

    async def stop(self, name: str, *, commit: Commit | None = None) -> tuple[bool, Campaign]:
        """Stop a campaign. When this returns, nothing more is sent. `commit` as in `start`."""
        return await self._halt(name, CampaignEvent.STOP, commit)

    async def unschedule(self, name: str, *, commit: Commit | None = None) -> tuple[bool, Campaign]:
        """Make a scheduled campaign a draft again. `commit` as in `start`."""
        return await self._halt(name, CampaignEvent.UNSCHEDULE, commit)

    async def requeue(self, name: str, commit: Callable[[], Awaitable[bool]], *, queues: bool) -> None:
        """Queue deliveries of a campaign again by `commit`, and make sure that they are sent.

        `commit` says whether it made the campaign run again. It may take long, and a pause does not wait for
        it. `queues`: whether it will find any delivery. Raises as `start`; then `commit` was not called.
        """
        campaign = await self._campaigns.get(name)
        if queues and advance_campaign(campaign.state, CampaignEvent.RETRY) is not campaign.state:
            await self._prepare(campaign)
        before = self._runs.get(campaign.id)
        moved = await commit()
        async with self._lock(campaign.id):
            campaign = await self._campaigns.by_id(campaign.id)
            run = self._runs.get(campaign.id)
            if run is not None and not (moved and run is before):
                run.wake()
            elif campaign.state is CampaignState.RUNNING and (queues or moved) and not self._closing:
                self._launch(campaign)  # in place of a run that has just written its end
                self.scheduler.wake()

    async def change_rate(self, campaign_id: int) -> None:
        """Use the rate that was saved from now on; what was sent counts under it, too.

        Raises `NotFound` and `StoreUnavailable`.
        """
        await self._factory.change_rate(campaign_id)

    async def transactional_queue(self, provider: str, channel: Channel) -> Campaign:
        """The campaign that carries a provider's one-off messages, ready to send. Raises as `start`."""
        campaign = self._transactional_queues.get((provider, channel))
        if campaign is None:
            policy = self.providers.get(provider).spec.in_doubt
            campaign = await self._campaigns.transactional_queue(provider, channel, in_doubt=policy)
            self._transactional_queues[provider, channel] = campaign
        self._refuse_when_closing()
        await self._factory.provider_for(campaign).open()
        if campaign.id not in self._runs:
            self._launch(campaign)
        return campaign

    async def wake_transactional(self, provider: str, channel: Channel) -> CampaignRun:
        """There is a new transactional message: start its run if needed. Returns the run."""
        campaign = await self.transactional_queue(provider, channel)
        run = self._runs[campaign.id]
        run.wake()
        return run

    async def probe(self, name: str) -> Probe:
        """Log in at a provider and send nothing. If it works, one-off messages that waited for it go."""
        provider, begun = self.providers.get(name), trio.current_time()
        known, before = provider.account, provider.rate
        answer = await provider.probe()
        told = provider.account if provider.account is not known else None
        if provider.rate != before:
            await self._factory.refit(name)
        if is_ready(answer):
            await self.recover()
            return Probe(answer=answer, account=told)
        working = provider.working(answer, begun)
        return Probe(answer=answer, account=told, working=working)

    async def works(self, provider: str) -> bool:
        """Whether a provider sends now. One that was not used yet logs in to find out, and sends nothing."""
        try:
            return await self.providers.get(provider).works()
        except HubError:
            return False

    async def enable(self, provider: str) -> None:
        """Let a provider be used again; one-off messages that waited for it go."""
        self.providers.get(provider).enable()
        await self.recover()

    async def reconfigure(self, specs: Mapping[str, ProviderSpec]) -> list[str]:
        """Take over new provider settings. Returns what changed, in words; raises before anything did."""
        changes = await self.providers.reconfigure(specs)
        await self._factory.learn_rates(*specs)  # the rates before apply until then
        await self._factory.refit(*specs)
        await self.recover()
        return changes

    def wake_all(self) -> None:
        """Rows may have become due for every campaign, because the clock was set."""
        for run in self._runs.values():
            run.wake()

    def wake_triggered(self, list_name: str) -> None:
        """Contacts were added to a list: the campaigns that wait for it have new recipients."""
        for run in self._runs.values():
            run.joined(list_name)

    def read_again(self) -> None:
        """Messages of any campaign may have been cancelled: none of them waits for its turn any longer."""
        for run in self._runs.values():
            run.read_again()

    def running(self) -> list[int]:
        """The ids of the campaigns that run now."""
        return list(self._runs)

    async def ended(self, campaign_id: int) -> None:
        """Wait until a campaign runs no more and its end is written."""
        if campaign_id in self._runs:
            await self._runs[campaign_id].ended()

    def reason(self, campaign: Campaign) -> str:
        """Why a campaign is as it is, including what a running one waits for."""
        if campaign.state is not CampaignState.RUNNING or campaign.id not in self._runs:
            return campaign.reason
        return self.obstacle(self._sends_now(campaign)) or campaign.reason

    def _sends_now(self, campaign: Campaign) -> str:
        failover = self._factory.failover(campaign)
        return campaign.provider if failover is None else failover.choose()

    def obstacle(self, provider: str) -> str:
        """What campaigns of this provider wait for now; "" for nothing."""
        if trouble := self._context.health.trouble:
            return f"waiting: {trouble}"
        try:
            view = self.providers.get(provider).view()
        except HubError as error:
            return str(error)
        if view.state == "ready":
            return ""
        if view.state == "slowed":
            return f"sending through {view.name} more slowly: {view.reason}"
        return f"waiting for {view.name}: {view.reason}"

    # -- at boot and at the end --------------------------------------------------------------------

    async def recover(self) -> None:
        """Go on with everything that is `running` and is not being run. Raises `StoreError`."""
        for campaign in await self._campaigns.list(queues=True):
            if campaign.id in self._runs or campaign.state is not CampaignState.RUNNING:
                continue
            async with self._lock(campaign.id):
                campaign = await self._campaigns.by_id(campaign.id)
                if campaign.state is not CampaignState.RUNNING or campaign.id in self._runs or self._closing:
                    continue
                if campaign.transactional_queue and not _has_work(campaign):
                    continue
                self._launch(campaign)

    async def close(self, grace: float) -> None:
        """Finish messages on the wire. Campaigns stay `running` and continue at the next boot."""
        self._closing = True
        runs = list(self._runs.values())
        for run in runs:
            run.leave(grace)
        for run in runs:
            await run.ended()

    def hurry(self) -> None:
        """Cut what is on the wire now; those messages are in doubt."""
        for run in self._runs.values():
            run.leave(0.0)

    # -- inside ------------------------------------------------------------------------------------

    async def _halt(self, name: str, event: CampaignEvent, commit: Commit | None) -> tuple[bool, Campaign]:
        campaign = await self._campaigns.get(name)
        decide = partial(decide_halt, event=event)
        async with self._lock(campaign.id):
            campaign = await self._campaigns.by_id(campaign.id)
            # What a client has begun is finished, also when the daemon stops meanwhile.
            with trio.CancelScope(shield=True):
                if decide(campaign).changed:
                    run = self._runs.get(campaign.id)
                    if run is not None:
                        run.halt(self.GRACE)
                        await run.ended()
                    await self._ledger.abandon(campaign.id)  # what a run that lost the database left open
                decided = await (commit or self._campaigns.carry_out)(campaign.id, decide)
            return decided.plan.changed, decided.campaign

    def _launch(self, campaign: Campaign) -> None:
        self._refuse_when_closing()
        run = self._runs[campaign.id] = CampaignRun(
            campaign, self._context, self._factory.make, self._factory.failover
        )
        self._nursery.start_soon(self._supervise, campaign.id, run)

    async def _supervise(self, campaign_id: int, run: CampaignRun) -> None:
        try:
            await run.supervise()
        finally:
            if self._runs.get(campaign_id) is run:
                del self._runs[campaign_id]

    async def _stopped(self, campaign_id: int) -> Campaign:
        """The campaign, once a run that is about to end has written its end."""
        run = self._runs.get(campaign_id)
        if run is not None and run.ending:
            await run.ended()
        return await self._campaigns.by_id(campaign_id)

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise ShuttingDown("the daemon is stopping", hint="try again when it is running again")

    def _lock(self, campaign_id: int) -> trio.Lock:
        return self._locks.setdefault(campaign_id, trio.Lock())


def _has_work(queue: Campaign) -> bool:
    """Whether a queue of one-off messages has any to send, or to find out about without a person."""
    doubts = queue.counts.in_doubt if queue.in_doubt is not InDoubt.HOLD else 0
    return queue.counts.total > queue.counts.finished - doubts


@asynccontextmanager
async def open_supervisor(
    *,
    campaigns: Campaigns,
    ledger: Ledger,
    health: StoreHealth,
    plans: TemplateCache,
    providers: Providers,
    limits: LimiterRegistry,
    doubts: Doubts,
    now: Callable[[], float],
    steady: Callable[[], float] | None = None,
    random: Callable[[], float],
    retry_policy: RetryPolicy | None = None,
    grace: float = Supervisor.GRACE,
) -> AsyncIterator[Supervisor]:
    """A supervisor for the length of the block. At its end everything on the wire is settled, within
    `grace` seconds, and the providers' connections are closed. `steady` is the clock by which ages are
    measured; without one the wall clock `now` is taken for it.
    """
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(
            nursery,
            campaigns=campaigns,
            ledger=ledger,
            health=health,
            plans=plans,
            providers=providers,
            limits=limits,
            doubts=doubts,
            now=now,
            steady=steady or now,
            random=random,
            retry_policy=retry_policy or RetryPolicy(),
        )
        nursery.start_soon(providers.tidy)
        nursery.start_soon(supervisor.scheduler.keep_going)
        try:
            yield supervisor
        finally:
            with trio.CancelScope(shield=True):
                await supervisor.close(grace)
                await providers.aclose()
            nursery.cancel_scope.cancel()
