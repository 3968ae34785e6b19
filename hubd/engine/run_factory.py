"""What a run of a campaign consists of, put together: its provider's pool, its limits, its source."""

from __future__ import annotations

from contextlib import suppress

import trio

from hubd.core.model import Campaign, InDoubt
from hubd.core.spec import spec_from_json
from hubd.engine.campaign import CampaignTask
from hubd.engine.failover import Failover
from hubd.engine.limits import LimiterRegistry
from hubd.engine.pool import WorkerPool
from hubd.engine.ports import RunContext
from hubd.engine.provider import ACCOUNT_KNOWN, Provider
from hubd.engine.providers import Providers
from hubd.engine.reconciler import Doubts, Reconciler
from hubd.engine.source import Source
from hubd.errors import BadInput, Conflict, HubError


class RunFactory:
    """Makes runs, and changes the limits of those that it has made."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        providers: Providers,
        limits: LimiterRegistry,
        doubts: Doubts,
        context: RunContext,
    ) -> None:
        """The pools of the providers run in `nursery`."""
        self._nursery = nursery
        self._providers = providers
        self._limits = limits
        self._doubts = doubts
        self._context = context
        self._rating = trio.Lock()
        self._pools: set[WorkerPool] = set()

    def failover(self, campaign: Campaign) -> Failover | None:
        """The choice among its providers; None if it has one."""
        names: tuple[str, ...] = ()
        if not campaign.transactional_queue:
            with suppress(BadInput):  # a file of another version is complained of elsewhere
                names = spec_from_json(campaign.spec).providers
        return Failover(names, self._providers) if len(names) > 1 else None

    async def make(self, campaign_id: int, watched: dict[int, trio.Event]) -> tuple[CampaignTask, WorkerPool]:
        """The task of a campaign as it is now, and the pool that it sends through.

        `watched` are the deliveries that somebody waits for, see `Source`.

        Raises `NotFound`, `Conflict`, `StoreUnavailable`, and what opening the provider raises.
        """
        campaign = await self._context.campaigns.by_id(campaign_id)
        provider, pool = await self.open_provider(campaign)
        self._see_that_it_runs(pool, provider)
        await provider.learn_rate()
        await self._providers.catch_up(provider.spec.name)
        # Before its audience is frozen it is known whether the content compiles.
        sender = (
            ""
            if campaign.transactional_queue
            else (await self._context.plans.get(campaign.content_id)).sender
        )
        async with self._rating:  # or a rate that is changed now would be undone by what was read before
            campaign = await self._context.campaigns.by_id(campaign_id)
            spec = provider.spec
            limits = await self._limits.of_campaign(campaign, provider)
            await limits.of(sender)
            domains = await self._limits.domains(spec.name, spec.domain_rates)
        in_doubt = campaign.in_doubt or spec.in_doubt
        failover = self.failover(campaign)
        doubts_of = spec.name if failover else None
        if failover:  # what was to be sent again by the provider before must not go through this one
            await self._context.ledger.hold_elsewhere(campaign_id, spec.name)
            campaign = await self._context.campaigns.by_id(campaign_id)
        if in_doubt is InDoubt.RETRY and await self._context.ledger.release_doubts(
            campaign_id, provider=doubts_of
        ):
            campaign = await self._context.campaigns.by_id(campaign_id)
        reconciler = None
        if in_doubt is InDoubt.RECONCILE:
            others = {*failover.names} - {spec.name} if failover else ()
            reconciler = Reconciler(campaign, pool, self._context, self._doubts, not_now=others)
        source = Source(
            campaign,
            self._context,
            provider=spec.name,
            breaker=pool.breaker,
            domains=domains,
            watched=watched,
        )
        task = CampaignTask(
            source, self._context, provider=spec.name, in_doubt=in_doubt, reconciler=reconciler,
            limits=limits.of, doubts_of=doubts_of,
        )  # fmt: skip
        return task, pool

    async def open_provider(self, campaign: Campaign, *, revive: bool = False) -> tuple[Provider, WorkerPool]:
        """The provider that a campaign sends through now, opened; with `revive` as for a person who asks.

        Of several, those that cannot be opened are passed over. Raises as `provider_for`, and what opening
        the last one raises.
        """
        tried: set[str] = set()
        while True:
            provider = self.provider_for(campaign)
            tried.add(provider.spec.name)
            try:
                return provider, await (provider.revive() if revive else provider.open())
            except HubError:
                if self.failover(campaign) is None or self.provider_for(campaign).spec.name in tried:
                    raise

    def provider_for(self, campaign: Campaign) -> Provider:
        """The provider that a campaign names, or of several the one that sends now.

        Raises `NotFound`, and `Conflict` if it has another channel.
        """
        failover = self.failover(campaign)
        provider = self._providers.get(failover.choose() if failover else campaign.provider)
        if campaign.channel not in provider.spec.channels:
            raise Conflict(
                f"the provider {provider.spec.name} does not send {campaign.channel.value}",
                hint="choose another one with `provider = ...` in the campaign file",
            )
        return provider

    async def change_rate(self, campaign_id: int) -> None:
        """Use the rate that a campaign has now. Raises `NotFound` and `StoreUnavailable`."""
        async with self._rating:  # and of two changes the one that was written last is the one that counts
            campaign = await self._context.campaigns.by_id(campaign_id)
            await self._limits.limiter(f"campaign/{campaign_id}", campaign.rate)
        self._wake_pools()

    async def refit(self, *names: str) -> None:
        """Use the rates that these providers have now. Raises `BadInput` and `StoreUnavailable`."""
        async with self._rating:
            for name in names:
                await self._limits.refit(self._providers.get(name).limits)
        self._wake_pools()

    async def learn_rates(self, *names: str) -> None:
        """Ask the accounts of these providers how fast they may send, where hubd.toml does not say."""
        async with trio.open_nursery() as nursery:
            for provider in map(self._providers.get, names):
                if provider.in_use:
                    nursery.start_soon(_learn_rate, provider)

    def _see_that_it_runs(self, pool: WorkerPool, provider: Provider) -> None:
        if pool not in self._pools:
            self._pools.add(pool)
            self._nursery.start_soon(self._run_pool, pool, provider)

    async def _run_pool(self, pool: WorkerPool, provider: Provider) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._learn_again, provider)
            await pool.run(self._context)
            nursery.cancel_scope.cancel()
        self._pools.discard(pool)

    async def _learn_again(self, provider: Provider) -> None:
        """Ask the account for its rates from time to time: providers raise them for those who send well."""
        while True:
            await trio.sleep(ACCOUNT_KNOWN)
            before = provider.rate
            with suppress(HubError):
                await _learn_rate(provider)
                if provider.rate != before and provider is self._providers.get(provider.spec.name):
                    await self.refit(provider.spec.name)

    def _wake_pools(self) -> None:
        for pool in self._pools:
            pool.wake()


async def _learn_rate(provider: Provider) -> None:
    with suppress(HubError):  # it was disabled, or can no longer be opened
        await provider.learn_rate()
