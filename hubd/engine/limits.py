"""The limiters by name, each with what was spent before this start.

A limit is named by what it limits: `provider/office`, `sender/office/news@acme.example`,
`domain/office/gmail.com`, `campaign/17`. Its usage is recorded under that name together with the attempts,
also while it has no rates, so that rates which come later count what went before them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

import trio

from hubd.core.limiter import Grant, RateLimiter, Step, grants_of
from hubd.core.model import Campaign
from hubd.core.pacing import STEP, longest_period
from hubd.core.warmup import Warmup
from hubd.engine.domains import Domains
from hubd.engine.provider import Provider, ProviderSpec


class UsageStore(Protocol):
    """What was spent, as it is in the database. Every method raises `StoreUnavailable`."""

    async def spent(self, prefix: str, since: float = 0.0) -> Mapping[str, Sequence[Step]]:
        """The steps of the limit `prefix` and of those below it; those that began at `since` or later."""
        ...

    async def warmup_began(self, provider: str) -> float | None:
        """When the provider's first message went; None while none has."""
        ...


class LimiterRegistry:
    """Hands out limiters: the same one for the same name, as long as it matters.

    `now` is the clock by which usage is recorded: the steady clock, which cannot be set.
    """

    #: How many limiters that nobody uses are kept. What others granted is in the database.
    KEPT = 512

    def __init__(self, usage: UsageStore, now: Callable[[], float]) -> None:
        self._usage = usage
        self._now = now
        self._all: WeakValueDictionary[str, RateLimiter] = WeakValueDictionary()
        self._recent: OrderedDict[str, RateLimiter] = OrderedDict()
        self._domains: dict[str, Domains] = {}
        self._loading = trio.Lock()

    async def limiter(self, name: str, rates: Sequence[str], *, warmup: Warmup | None = None) -> RateLimiter:
        """The limiter of a limit, with these rates from now on; what was spent under its name counts.

        `warmup` is for a provider's. Raises `BadInput` for what is not a rate, and `StoreUnavailable`.
        """
        async with self._loading:
            found = self._all.get(name)
            if found is None:
                spent = await self._usage.spent(name)
                found = RateLimiter(name=name, past=self._here(spent.get(name, ())))
            began = None if warmup is None else await self._warmup_began(name)
            found.warm_up(warmup, began)
            found.change(rates)
            self._all[name] = self._recent[name] = found
            self._recent.move_to_end(name)
            while len(self._recent) > self.KEPT:
                self._recent.popitem(last=False)
            return found

    async def warmup_age(self, provider: str) -> float:
        """Seconds since the first message of a provider; 0 if there was none. Raises `StoreUnavailable`."""
        began = await self._usage.warmup_began(provider)
        return 0.0 if began is None else max(0.0, self._now() - began)

    async def sender(self, provider: str, sender: str, rates: Mapping[str, Sequence[str]]) -> RateLimiter:
        """The limiter of a sender's address or number on a provider, which may have no rates.

        `rates` are those of the configuration; "*" stands for each other sender for itself. Raises as
        `limiter`.
        """
        sender = sender.lower()
        return await self.limiter(f"sender/{provider}/{sender}", rates.get(sender) or rates.get("*", ()))

    async def of_campaign(self, campaign: Campaign, provider: Provider) -> CampaignLimits:
        """The limits of a campaign on a provider, with the rates that are set now. Raises as `limiter`."""
        spec = provider.spec
        shared = await self.limiter(f"provider/{spec.name}", provider.rate, warmup=spec.warmup)
        own = await self.limiter(f"campaign/{campaign.id}", campaign.rate)
        return CampaignLimits(self, provider, shared, own)

    async def refit(self, spec: ProviderSpec) -> None:
        """Use a provider's rates as they are configured now, where they are in use. Raises as `limiter`.

        What is not in use gets them when it is needed.
        """
        if f"provider/{spec.name}" in self._all:
            await self.limiter(f"provider/{spec.name}", spec.rate, warmup=spec.warmup)
        prefix = f"sender/{spec.name}/"
        for name in [name for name in self._all if name.startswith(prefix)]:
            await self.sender(spec.name, name.removeprefix(prefix), spec.sender_rates)
        if spec.name in self._domains:
            await self.domains(spec.name, spec.domain_rates)

    async def domains(self, provider: str, rates: Mapping[str, Sequence[str]]) -> Domains:
        """The rates and the health of the domains that a provider sends to. Raises as `limiter`."""
        wanted = {domain: tuple(texts) for domain, texts in rates.items()}
        async with self._loading:
            found = self._domains.get(provider)
            if found is None:
                spent = await self._spent_on_domains(provider, wanted)
                found = self._domains[provider] = Domains(provider, wanted, spent)
            elif found.rates != wanted:
                found.change(wanted, await self._spent_on_domains(provider, wanted))
            return found

    async def _spent_on_domains(
        self, provider: str, rates: Mapping[str, Sequence[str]]
    ) -> dict[str, list[Grant]]:
        """Of those with rates of their own all that is known, of the many others what "*" looks back on."""
        prefix = f"domain/{provider}/"
        steps: dict[str, Sequence[Step]] = {}
        if "*" in rates:
            since = self._now() - longest_period(rates["*"]) - STEP
            steps.update(await self._usage.spent(prefix.rstrip("/"), since))
        for domain in rates.keys() - {"*"}:
            steps.update(await self._usage.spent(prefix + domain))
        return {name.removeprefix(prefix): self._here(of) for name, of in steps.items()}

    def _here(self, steps: Sequence[Step]) -> list[Grant]:
        """Recorded steps as grants on Trio's clock."""
        return grants_of(steps, self._now(), trio.current_time())

    async def _warmup_began(self, name: str) -> float | None:
        """When a provider's first message went, on Trio's clock; None while none has."""
        began = await self._usage.warmup_began(name.removeprefix("provider/"))
        return None if began is None else trio.current_time() - max(0.0, self._now() - began)


class CampaignLimits:
    """The limits that a campaign's messages count under: its provider's, its sender's and its own.

    A campaign has one sender; transactional messages each may have another. Get it from
    `LimiterRegistry.of_campaign`.
    """

    #: How many senders of transactional messages are remembered.
    KEPT = 64

    def __init__(
        self, registry: LimiterRegistry, provider: Provider, shared: RateLimiter, own: RateLimiter
    ) -> None:
        self._registry = registry
        self._provider = provider
        self._shared = shared
        self._own = own
        self._of: dict[str, tuple[RateLimiter, ...]] = {}

    async def of(self, sender: str) -> tuple[RateLimiter, ...]:
        """The limits of a message from this address or number; "" is what the provider sends as. Raises
        `StoreUnavailable`.
        """
        spec = self._provider.spec
        sender = sender or spec.sender
        if sender not in self._of:
            own = [await self._registry.sender(spec.name, sender, spec.sender_rates)] if sender else []
            self._of[sender] = (self._shared, *own, self._own)
            if len(self._of) > self.KEPT:
                del self._of[next(iter(self._of))]
        return self._of[sender]
