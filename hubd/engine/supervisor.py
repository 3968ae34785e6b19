"""Who runs: starts, pauses and stops campaigns, contains their crashes, and takes up work at boot.

Every running campaign is one contained task (`_contain`). It alone writes how the run ended: a command such
as `pause` says what it wants, stops the runner, and waits until the task has settled everything and written
the new state. So a client that goes away in the middle leaves nothing half done.

What a crash of a campaign's code does: the attempts that were open become in doubt, the campaign is `failed`
with an incident number that is in the log, and nobody else notices.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import trio

from hubd.core.lifecycle import CampaignEvent, advance_campaign, allowed_from
from hubd.core.model import Answer, Campaign, CampaignState, Channel, InDoubt
from hubd.core.outcome import Patience
from hubd.core.verdict import is_ready
from hubd.engine.lanes import LanePool
from hubd.engine.plan import PlanShelf
from hubd.engine.ports import Campaigns, Ledger, StoreHealth
from hubd.engine.providers import Provider, Providers
from hubd.engine.runner import Ending, How, Runner, Surroundings
from hubd.engine.turnstile import Gate, Turnstile
from hubd.errors import Conflict, HubError, ShuttingDown, StoreError, StoreUnavailable

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Run:
    """A campaign that runs now."""

    runner: Runner
    turnstile: Turnstile
    done: trio.Event = field(default_factory=trio.Event)
    wanted: CampaignEvent | None = None  #: what a command asked for
    leaving: bool = False  #: the daemon stops; the campaign stays `running` and goes on at the next boot


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
        plans: PlanShelf,
        providers: Providers,
        now: Callable[[], float],
        dice: Callable[[], float],
        patience: Patience,
    ) -> None:
        self.providers = providers
        self.plans = plans
        self._nursery = nursery
        self._campaigns = campaigns
        self._ledger = ledger
        self._now = now
        self._around = Surroundings(
            campaigns=campaigns,
            ledger=ledger,
            health=health,
            plans=plans,
            now=now,
            dice=dice,
            patience=lambda campaign: replace(patience, give_up_after=campaign.give_up_after),
        )
        self._runs: dict[int, _Run] = {}
        self._locks: dict[int, trio.Lock] = {}
        self._standing: dict[tuple[str, Channel], Campaign] = {}
        self._schedule_news = trio.Event()
        self._closing = False

    # -- commands ----------------------------------------------------------------------------------

    async def start(
        self, name: str, *, limit: int | None = None, event: CampaignEvent = CampaignEvent.START
    ) -> tuple[bool, Campaign]:
        """Run a campaign; it answers once the campaign is `running`. Also resumes, retries and goes on.

        `limit` is how many to send before it pauses by itself. Raises `InvalidTransition`, `NotFound`,
        `ProviderUnavailable` and `CredentialMissing`; nothing has changed then.
        """
        campaign = await self._campaigns.get(name)
        async with self._lock(campaign.id):
            campaign = await self._settled(campaign.id)
            to = advance_campaign(campaign.state, event)
            if campaign.state is to:
                if to is CampaignState.RUNNING and campaign.id not in self._runs:
                    self._launch(campaign, await self._provider_for(campaign).open())
                return False, campaign
            pool = await self._provider_for(campaign).open()
            campaign = await self._campaigns.move(
                campaign.id, allowed_from(event), to, event=event.value, limit=_target(campaign, limit)
            )
            self._launch(campaign, pool)
            return True, campaign

    async def resume(self, name: str) -> tuple[bool, Campaign]:
        """Go on with a paused campaign. Raises as `start`."""
        return await self.start(name, event=CampaignEvent.RESUME)

    async def schedule(self, name: str, at: float) -> tuple[bool, Campaign]:
        """Start a campaign by itself at a time (seconds since the epoch)."""
        campaign = await self._campaigns.get(name)
        async with self._lock(campaign.id):
            to = advance_campaign(campaign.state, CampaignEvent.SCHEDULE)
            changed = campaign.state is not to or campaign.scheduled_at != at
            if changed:
                campaign = await self._campaigns.move(
                    campaign.id,
                    allowed_from(CampaignEvent.SCHEDULE),
                    to,
                    event="schedule",
                    scheduled_at=at,
                )
                self._schedule_news.set()
        return changed, campaign

    async def pause(self, name: str) -> tuple[bool, Campaign]:
        """Stop sending for now. When this returns nothing more leaves."""
        return await self._halt(name, CampaignEvent.PAUSE)

    async def stop(self, name: str) -> tuple[bool, Campaign]:
        """End the campaign. When this returns nothing more leaves."""
        return await self._halt(name, CampaignEvent.STOP)

    async def unschedule(self, name: str) -> tuple[bool, Campaign]:
        """Make a scheduled campaign a draft again."""
        return await self._halt(name, CampaignEvent.UNSCHEDULE)

    async def requeued(self, name: str) -> Campaign:
        """Deliveries of this campaign were queued again: run it if its state says so."""
        campaign = await self._campaigns.get(name)
        to = advance_campaign(campaign.state, CampaignEvent.RETRY)
        if to is campaign.state:
            if campaign.id in self._runs:
                self._runs[campaign.id].runner.wake()
            return campaign
        _, campaign = await self.start(name, event=CampaignEvent.RETRY)
        return campaign

    def change_rate(self, campaign_id: int, rates: Sequence[str]) -> None:
        """Use another rate from now on."""
        if campaign_id in self._runs:
            self._runs[campaign_id].turnstile.change(rates)

    async def standing(self, provider: str, channel: Channel) -> Campaign:
        """The campaign that carries a provider's one-off messages, ready to send. Raises as `start`."""
        campaign = self._standing.get((provider, channel))
        if campaign is None:
            policy = self.providers.get(provider).spec.in_doubt
            campaign = await self._campaigns.single(provider, channel, in_doubt=policy)
            self._standing[provider, channel] = campaign
        pool = await self._provider_for(campaign).open()
        if campaign.id not in self._runs:
            self._launch(campaign, pool)
        return campaign

    async def wake_single(self, provider: str, channel: Channel) -> Runner:
        """There is a new one-off message: see that somebody sends it now. Returns who does."""
        campaign = await self.standing(provider, channel)
        runner = self._runs[campaign.id].runner
        runner.wake()
        return runner

    async def probe(self, provider: str) -> Answer:
        """Log in at a provider and send nothing. If it works, one-off messages that waited for it go."""
        answer = await self.providers.get(provider).probe()
        if is_ready(answer):
            for campaign in await self._campaigns.list(singles=True):
                if campaign.single and campaign.provider == provider:
                    await self.standing(provider, campaign.channel)
        return answer

    def running(self) -> list[int]:
        """The ids of the campaigns that run now."""
        return list(self._runs)

    async def ended(self, campaign_id: int) -> None:
        """Wait until a campaign runs no more and its end is written."""
        if campaign_id in self._runs:
            await self._runs[campaign_id].done.wait()

    def reason(self, campaign: Campaign) -> str:
        """Why a campaign is as it is, including what a running one waits for."""
        if campaign.state is not CampaignState.RUNNING or campaign.id not in self._runs:
            return campaign.reason
        try:
            view = self.providers.get(campaign.provider).view()
        except HubError as error:
            return str(error)
        if view.state == "ready":
            return campaign.reason
        return f"waiting for {view.name}: {view.reason}"

    # -- at boot and at the end --------------------------------------------------------------------

    async def recover(self) -> None:
        """Go on with everything that was running when the daemon last ended."""
        for campaign in await self._campaigns.list(singles=True):
            if campaign.state is not CampaignState.RUNNING:
                continue
            if campaign.single and campaign.counts.total == campaign.counts.settled:
                continue
            try:
                if self._in_doubt(campaign) is InDoubt.RETRY:
                    await self._ledger.release_doubts(campaign.id)
                self._launch(campaign, await self._provider_for(campaign).open())
            except HubError as error:
                log.warning("campaign %s cannot go on: %s", campaign.name, error)
                if not campaign.single:
                    await self._write_ending(campaign.id, CampaignEvent.PAUSE, str(error))

    async def keep_schedule(self) -> None:
        """Start scheduled campaigns when their time has come, until cancelled."""
        while True:
            self._schedule_news = trio.Event()
            waiting = [c for c in await self._campaigns.list() if c.state is CampaignState.SCHEDULED]
            due = [c for c in waiting if (c.scheduled_at or 0.0) <= self._now()]
            for campaign in due:
                try:
                    await self.start(campaign.name, event=CampaignEvent.DUE)
                except HubError as error:
                    log.warning("campaign %s could not start on time: %s", campaign.name, error)
                    await self._write_ending(campaign.id, CampaignEvent.STOP, f"could not start: {error}")
            pause = min([60.0, *((c.scheduled_at or 0.0) - self._now() for c in waiting if c not in due)])
            with trio.move_on_after(max(pause, 0.0)):
                await self._schedule_news.wait()

    async def close(self, grace: float) -> None:
        """Settle what is on the wire. Campaigns stay `running` and go on at the next boot."""
        self._closing = True
        for run in self._runs.values():
            run.leaving = True
            run.runner.stop(grace)
        for run in list(self._runs.values()):
            await run.done.wait()

    def hurry(self) -> None:
        """Cut what is on the wire now; those messages are in doubt."""
        for run in self._runs.values():
            run.runner.stop(0.0)

    # -- inside ------------------------------------------------------------------------------------

    async def _halt(self, name: str, event: CampaignEvent) -> tuple[bool, Campaign]:
        campaign = await self._campaigns.get(name)
        async with self._lock(campaign.id):
            campaign = await self._campaigns.by_id(campaign.id)
            to = advance_campaign(campaign.state, event)
            if campaign.state is to:
                return False, campaign
            run = self._runs.get(campaign.id)
            if run is not None:
                run.wanted = event
                run.runner.stop(self.GRACE)
                await run.done.wait()
            campaign = await self._campaigns.by_id(campaign.id)
            if campaign.state is not to:
                to = advance_campaign(campaign.state, event)
                campaign = await self._campaigns.move(campaign.id, allowed_from(event), to, event=event.value)
            return True, campaign

    def _launch(self, campaign: Campaign, pool: LanePool) -> _Run:
        if self._closing:
            raise ShuttingDown("the daemon is stopping", hint="try again when it is back")
        turnstile = Turnstile(campaign.rate)
        run = self._runs[campaign.id] = _Run(
            runner=self._runner(campaign, pool, turnstile), turnstile=turnstile
        )
        self._nursery.start_soon(self._contain, campaign, run)
        return run

    def _runner(self, campaign: Campaign, pool: LanePool, turnstile: Turnstile) -> Runner:
        gate = Gate(self._provider_for(campaign).turnstile, turnstile)
        return Runner(campaign, pool, gate, self._around, self._in_doubt(campaign))

    async def _contain(self, campaign: Campaign, run: _Run) -> None:
        """Run one campaign; whatever happens in it ends here."""
        try:
            ending = await self._run(campaign, run)
            await self._conclude(campaign, run, ending)
        except StoreError as error:
            log.error("campaign %s: %s; it goes on at the next start of the daemon", campaign.name, error)
        except Exception:
            log.exception("campaign %s: its end could not be written", campaign.name)
        finally:
            del self._runs[campaign.id]
            run.done.set()

    async def _run(self, campaign: Campaign, run: _Run) -> Ending | None:
        """How the run ended; None when it crashed. While the database cannot be used it waits."""
        try:
            while True:
                try:
                    return await run.runner.run()
                except StoreUnavailable as error:
                    if run.leaving or run.wanted is not None:
                        raise
                    log.warning("campaign %s waits for the database: %s", campaign.name, error)
                    await self._around.health.wait_healthy()
                    await self._ledger.abandon(campaign.id)
                    campaign = await self._campaigns.by_id(campaign.id)
                    pool = await self._provider_for(campaign).open()
                    run.runner = self._runner(campaign, pool, run.turnstile)
        except StoreError:
            raise
        except Exception:
            incident = secrets.token_hex(4)
            log.exception("campaign %s crashed, incident %s", campaign.name, incident)
            await self._ledger.abandon(campaign.id)
            await self._write_ending(
                campaign.id,
                CampaignEvent.FAIL,
                f"an internal error stopped it; the log has it as incident {incident}",
            )
            return None

    async def _conclude(self, campaign: Campaign, run: _Run, ending: Ending | None) -> None:
        if ending is None or run.leaving or campaign.single:
            return
        match ending.how:
            case How.COMPLETED:
                await self._write_ending(campaign.id, CampaignEvent.COMPLETE, "")
            case How.NEEDS_PERSON:
                await self._write_ending(campaign.id, CampaignEvent.PAUSE, ending.reason)
            case How.CANCELLED:
                await self._write_ending(campaign.id, run.wanted or CampaignEvent.PAUSE, "")

    async def _write_ending(self, campaign_id: int, event: CampaignEvent, reason: str) -> None:
        with trio.CancelScope(shield=True):
            campaign = await self._campaigns.by_id(campaign_id)
            to = advance_campaign(campaign.state, event)
            if to is not campaign.state:
                await self._campaigns.move(
                    campaign_id, (campaign.state,), to, event=event.value, reason=reason
                )

    async def _settled(self, campaign_id: int) -> Campaign:
        """The campaign, once a run that is about to end has written its end."""
        run = self._runs.get(campaign_id)
        if run is not None and run.wanted is not None:
            await run.done.wait()
        return await self._campaigns.by_id(campaign_id)

    def _provider_for(self, campaign: Campaign) -> Provider:
        provider = self.providers.get(campaign.provider)
        if campaign.channel not in provider.spec.channels:
            raise Conflict(
                f"the provider {campaign.provider} does not send {campaign.channel.value}",
                hint="choose another one with `provider = ...` in the campaign file",
            )
        return provider

    def _in_doubt(self, campaign: Campaign) -> InDoubt:
        return campaign.in_doubt or self.providers.get(campaign.provider).spec.in_doubt

    def _lock(self, campaign_id: int) -> trio.Lock:
        return self._locks.setdefault(campaign_id, trio.Lock())


def _target(campaign: Campaign, limit: int | None) -> int | None:
    """How many sent in all end a run with a limit. One that was not reached yet outlives a pause."""
    arrived = campaign.counts.sent + campaign.counts.delivered + campaign.counts.undelivered
    if limit is not None:
        return arrived + limit
    return campaign.limit if campaign.limit is not None and campaign.limit > arrived else None


@asynccontextmanager
async def open_supervisor(
    *,
    campaigns: Campaigns,
    ledger: Ledger,
    health: StoreHealth,
    plans: PlanShelf,
    providers: Providers,
    now: Callable[[], float],
    dice: Callable[[], float],
    patience: Patience | None = None,
    grace: float = Supervisor.GRACE,
) -> AsyncIterator[Supervisor]:
    """A supervisor for the length of the block. At its end everything on the wire is settled, within
    `grace` seconds, and the providers' connections are closed.
    """
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(
            nursery,
            campaigns=campaigns,
            ledger=ledger,
            health=health,
            plans=plans,
            providers=providers,
            now=now,
            dice=dice,
            patience=patience or Patience(),
        )
        nursery.start_soon(providers.tidy)
        nursery.start_soon(supervisor.keep_schedule)
        try:
            yield supervisor
        finally:
            with trio.CancelScope(shield=True):
                await supervisor.close(grace)
                await providers.aclose()
            nursery.cancel_scope.cancel()
