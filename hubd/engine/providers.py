"""The providers that are configured, each with its lanes, its rates and how it is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import trio

from hubd.core.model import Answer, Channel, InDoubt
from hubd.core.verdict import is_ready
from hubd.engine.lanes import Health, LanePool
from hubd.engine.ports import Transport
from hubd.engine.turnstile import Turnstile
from hubd.errors import HubError, NotFound, ProviderUnavailable

log = logging.getLogger(__name__)


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
        self._off = "disabled"
        self._opening = trio.Lock()

    async def open(self) -> LanePool:
        """The lanes, as they are: opens the transport when that was not done before.

        Raises `ProviderUnavailable` or `CredentialMissing` with what to do.
        """
        async with self._opening:
            while self._pool is None and not self._disabled:
                spec = self.spec
                transport = await self._open_transport(spec)
                if spec is self.spec and not self._disabled:
                    self._pool = LanePool(transport, self._dice)
                else:
                    await transport.aclose()
            if self._disabled:
                raise ProviderUnavailable(
                    f"the provider {self.spec.name} is {self._off}",
                    hint=f"hubctl provider enable {self.spec.name} switches it on again"
                    if self._off == "disabled"
                    else "put it back into the configuration, then hubctl daemon reload",
                )
            assert self._pool is not None
            return self._pool

    async def revive(self) -> LanePool:
        """The lanes; a provider that stopped is tried anew, with its secrets read again. Raises as `open`.

        Only for what a person asks for: trying a wrong password again and again gets accounts locked.
        """
        pool = await self.open()
        if pool.health is Health.STOPPED:
            spec = self.spec
            transport = await self._open_transport(spec)
            if spec is self.spec and not self._disabled and pool.health is Health.STOPPED:
                pool.revive(transport)
            else:
                await transport.aclose()
        return pool

    async def _open_transport(self, spec: ProviderSpec) -> Transport:
        try:
            transport = await spec.open()
        except HubError as error:
            self._why_not = str(error)
            raise
        self._why_not = ""
        return transport

    async def probe(self) -> Answer:
        """Log in and send nothing. A good answer ends a rest or a stop."""
        pool = await self.revive()
        answer = await pool.transport.probe()
        if is_ready(answer) and not self._disabled and pool.health is not Health.READY:
            pool.revive()
        return answer

    async def prepare_change(self, spec: ProviderSpec) -> Transport | None:
        """A transport with other settings, to be handed to `change`; None when none is in use yet."""
        return None if self._pool is None else await spec.open()

    def change(self, spec: ProviderSpec, transport: Transport | None) -> None:
        """Use other settings from the next message on."""
        self.spec = spec
        self._why_not = ""
        if self._pool is not None and transport is not None:
            self._pool.revive(transport)
            if self._disabled:
                self._pool.stop(f"the provider {spec.name} is {self._off}", Health.DISABLED)

    def disable(self, off: str = "disabled") -> None:
        """Let nothing more begin through this provider; what is on the wire ends in its own time."""
        self._disabled, self._off = True, off
        if self._pool is not None:
            self._pool.stop(f"the provider {self.spec.name} is {off}", Health.DISABLED)

    def enable(self) -> None:
        """Undo `disable`."""
        self._disabled = False
        if self._pool is not None and self._pool.health is Health.DISABLED:
            self._pool.revive()

    def view(self) -> ProviderView:
        """How it is now."""
        state, reason = "ready", ""
        if self._disabled:
            state, reason = "disabled", self._off
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

    @property
    def idle(self) -> bool:
        """Whether nothing is on the wire through it."""
        return self._pool is None or self._pool.idle

    async def aclose(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.aclose()


class Providers:
    """All of them, by name."""

    def __init__(self, specs: Mapping[str, ProviderSpec], dice: Callable[[], float]) -> None:
        self._dice = dice
        self._all = {name: Provider(spec, dice) for name, spec in specs.items()}
        self._changing = trio.Lock()
        self._gone: list[Provider] = []  # removed, with messages perhaps still on the wire

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
        """Take over a new configuration, all of it or nothing. Returns what changed, in words.

        Campaigns on a provider whose settings changed go on with the new ones from their next message.
        Raises what opening a changed provider raises; nothing has changed then.
        """
        async with self._changing:
            return await self._reconfigure(specs)

    async def _reconfigure(self, specs: Mapping[str, ProviderSpec]) -> list[str]:
        others = [n for n, s in specs.items() if n in self._all and self._all[n].spec.channels != s.channels]
        changed = {
            name: spec
            for name, spec in specs.items()
            if name in self._all and name not in others and self._differs(name, spec)
        }
        prepared: dict[str, Transport | None] = {}
        try:
            for name, spec in changed.items():
                prepared[name] = await self._all[name].prepare_change(spec)
        except BaseException:
            for transport in prepared.values():
                if transport is not None:
                    await transport.aclose()
            raise
        for name in others:
            self._retire(name)  # another kind of provider under the same name
        for name, transport in prepared.items():
            self._all[name].change(changed[name], transport)
        words = [f"providers.{name}" for name in changed]
        return words + self._adopt(specs)

    def _retire(self, name: str) -> None:
        gone = self._all.pop(name)
        gone.disable("not in the configuration any more")
        self._gone.append(gone)

    def _differs(self, name: str, spec: ProviderSpec) -> bool:
        return self._all[name].spec.settings != spec.settings

    def _adopt(self, specs: Mapping[str, ProviderSpec]) -> list[str]:
        """Rates, new providers, and those that are gone."""
        words = []
        for name, spec in specs.items():
            known = self._all.get(name)
            if known is None:
                self._all[name] = Provider(spec, self._dice)
                words.append(f"providers.{name}")
            elif known.turnstile.rates != spec.rate:
                known.spec = spec
                known.turnstile.change(spec.rate)
                words.append(f"providers.{name}.rate")
        for name in [name for name in self._all if name not in specs]:
            self._retire(name)
            words.append(f"providers.{name} (removed)")
        return words

    async def tidy(self) -> None:
        """Close unused connections, and removed providers once nothing is on their wire; until cancelled."""
        while True:
            await trio.sleep(LanePool.IDLE / 3)
            for gone in [provider for provider in self._gone if provider.idle]:
                self._gone.remove(gone)
                await gone.aclose()
            for provider in (*self._all.values(), *self._gone):
                try:
                    await provider.tidy()
                except Exception:
                    log.exception("an unused connection of %s did not close", provider.spec.name)

    async def aclose(self) -> None:
        """Close every connection."""
        for provider in (*self._all.values(), *self._gone):
            await provider.aclose()
