"""The providers that are configured, each with its lanes, its rates and how it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import trio

from hubd.core.model import Answer, Channel, InDoubt
from hubd.core.verdict import is_ready
from hubd.engine.lanes import Health, LanePool
from hubd.engine.ports import Transport
from hubd.engine.turnstile import Turnstile
from hubd.errors import HubError, NotFound, ProviderUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """A provider as the configuration describes it."""

    name: str
    kind: str
    channels: frozenset[Channel]
    lanes: int
    in_doubt: InDoubt
    rate: tuple[str, ...] = ()
    #: Opens the transport. Secrets are read here, as late as possible; raises `CredentialMissing`.
    open: Callable[[], Awaitable[Transport]] = field(repr=False, compare=False)
    #: What makes two specs the same account with the same settings.
    settings: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderView:
    """How a provider is, for people."""

    name: str
    kind: str
    channels: frozenset[Channel]
    state: str  #: "ready", "resting", "stopped" or "disabled"
    reason: str
    lanes: int
    rate: tuple[str, ...]


class Provider:
    """One configured provider while the daemon runs."""

    def __init__(self, spec: ProviderSpec, dice: Callable[[], float]) -> None:
        self.spec = spec
        self.turnstile = Turnstile(spec.rate)
        self._dice = dice
        self._pool: LanePool | None = None
        self._why_not = ""
        self._disabled = False
        self._opening = trio.Lock()

    async def open(self) -> LanePool:
        """The lanes, ready for use: opens the transport if need be, and again after a stop.

        A provider that stopped is tried anew, with its secrets read again. Raises `ProviderUnavailable` or
        `CredentialMissing` with what to do.
        """
        async with self._opening:
            if self._disabled:
                raise ProviderUnavailable(
                    f"the provider {self.spec.name} is disabled",
                    hint=f"switch it on again: hubctl provider enable {self.spec.name}",
                )
            if self._pool is not None and self._pool.health is not Health.STOPPED:
                return self._pool
            try:
                transport = await self.spec.open()
            except HubError as error:
                self._why_not = str(error)
                raise
            self._why_not = ""
            if self._pool is None:
                self._pool = LanePool(transport, self._dice)
            else:
                replaced = self._pool.revive(transport)
                if replaced is not None:
                    await replaced.aclose()
            return self._pool

    async def probe(self) -> Answer:
        """Log in and send nothing. A good answer ends a rest or a stop."""
        pool = await self.open()
        answer = await pool.transport.probe()
        if is_ready(answer) and pool.health is not Health.READY:
            pool.revive()
        return answer

    def disable(self) -> None:
        """Let nothing more begin through this provider."""
        self._disabled = True
        if self._pool is not None:
            self._pool.stop(f"the provider {self.spec.name} is disabled", Health.DISABLED)

    def enable(self) -> None:
        """Undo `disable`."""
        self._disabled = False
        if self._pool is not None and self._pool.health is Health.DISABLED:
            self._pool.revive()

    def view(self) -> ProviderView:
        """How it is now."""
        state, reason = "ready", ""
        if self._disabled:
            state, reason = "disabled", "switched off"
        elif self._why_not:
            state, reason = "stopped", self._why_not
        elif self._pool is not None:
            reason = self._pool.reason
            if self._pool.health in (Health.RESTING, Health.STOPPED):
                state = self._pool.health.value
        return ProviderView(
            name=self.spec.name,
            kind=self.spec.kind,
            channels=self.spec.channels,
            state=state,
            reason=reason,
            lanes=self.spec.lanes,
            rate=self.turnstile.rates,
        )

    async def tidy(self) -> None:
        """Close connections that nobody used for a while."""
        if self._pool is not None:
            await self._pool.tidy()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.aclose()


class Providers:
    """All of them, by name."""

    def __init__(self, specs: Mapping[str, ProviderSpec], dice: Callable[[], float]) -> None:
        self._dice = dice
        self._all = {name: Provider(spec, dice) for name, spec in specs.items()}

    def get(self, name: str) -> Provider:
        """One provider. Raises `NotFound`."""
        if name not in self._all:
            raise NotFound(
                f"there is no provider {name}",
                code="provider_not_found",
                hint=f"there are: {', '.join(sorted(self._all))}",
            )
        return self._all[name]

    def views(self) -> list[ProviderView]:
        """How each is."""
        return [self._all[name].view() for name in sorted(self._all)]

    async def reconfigure(self, specs: Mapping[str, ProviderSpec]) -> list[str]:
        """Take over a new configuration. Returns what changed, in words.

        A provider whose settings changed is replaced: campaigns on it go on with the new one when they are
        resumed; those that run pause with the reason.
        """
        changes = []
        for name, spec in specs.items():
            old = self._all.get(name)
            if old is not None and old.spec.settings == spec.settings:
                if old.spec.rate != spec.rate:
                    old.turnstile.change(spec.rate)
                    old.spec = spec
                    changes.append(f"providers.{name}.rate")
                continue
            if old is not None:
                await self._retire(old)
            self._all[name] = Provider(spec, self._dice)
            changes.append(f"providers.{name}")
        for name in [name for name in self._all if name not in specs]:
            await self._retire(self._all.pop(name))
            changes.append(f"providers.{name} (removed)")
        return changes

    async def _retire(self, provider: Provider) -> None:
        provider.disable()
        await provider.aclose()

    async def tidy(self) -> None:
        """Close unused connections of every provider, until cancelled."""
        while True:
            await trio.sleep(LanePool.IDLE / 3)
            for provider in list(self._all.values()):
                await provider.tidy()

    async def aclose(self) -> None:
        """Close every connection."""
        for provider in self._all.values():
            await provider.aclose()
