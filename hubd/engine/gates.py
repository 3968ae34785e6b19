"""The gates of one run: its provider's limits, its sender's and its own, all at once."""

from __future__ import annotations

import trio

from hubd.core.model import Campaign
from hubd.engine.limits import LimitBook
from hubd.engine.providers import Provider
from hubd.engine.turnstile import Gate, Turnstile


class Gates:
    """A campaign has one sender and so one gate; of one-off messages each may have another."""

    #: How many senders of one-off messages have their gate at the ready.
    KEPT = 64

    def __init__(
        self, campaign: Campaign, provider: Provider, limits: LimitBook, shared: Turnstile, own: Turnstile
    ) -> None:
        self.usual: Gate  #: set by `open_gates`
        self._campaign = campaign
        self._provider = provider
        self._limits = limits
        self._shared = shared
        self._own = own
        self._of: dict[str, tuple[Gate, Turnstile | None]] = {}

    @property
    def open(self) -> bool:
        """Whether a slot is free for one message, as far as that can be known before its sender is."""
        if not self._campaign.single:
            return self.usual.may_take()
        now = trio.current_time()
        return self._shared.opens_at(now) <= now and self._own.opens_at(now) <= now

    async def of(self, sender: str) -> Gate:
        """The gate of a sender, "" for the provider's own. Raises `StoreUnavailable`."""
        return (await self._sender(sender))[0]

    async def full_for(self, sender: str) -> float:
        """Seconds until this sender's own limit lets a message go; 0 when it does now. Raises as `of`."""
        now = trio.current_time()
        turnstile = (await self._sender(sender))[1]
        return 0.0 if turnstile is None else turnstile.opens_at(now) - now

    async def _sender(self, sender: str) -> tuple[Gate, Turnstile | None]:
        spec = self._provider.spec
        sender = sender or spec.sender
        found = self._of.get(sender)
        if found is None:
            turnstile = await self._limits.sender(spec.name, sender, spec.sender_rates) if sender else None
            owner, urgent = self._campaign.id, self._campaign.single
            found = Gate(self._shared, turnstile, self._own, owner=owner, urgent=urgent), turnstile
            self._of[sender] = found
            if len(self._of) > self.KEPT:
                del self._of[next(iter(self._of))]
        return found


async def open_gates(campaign: Campaign, provider: Provider, limits: LimitBook, sender: str) -> Gates:
    """The gates of a run that sends as `sender`. Raises `BadInput` for a rate, and `StoreUnavailable`."""
    spec = provider.spec
    shared = await limits.turnstile(f"provider/{spec.name}", spec.rate, warmup=spec.warmup)
    own = await limits.turnstile(f"campaign/{campaign.id}", campaign.rate)
    gates = Gates(campaign, provider, limits, shared, own)
    gates.usual = await gates.of(sender)
    return gates
