"""The providers that are configured, each with its lanes, its rates and how it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import trio

from hubd.core.model import Answer, Channel, InDoubt, Signal
from hubd.core.verdict import Action, is_ready, judge, refuses_connection
from hubd.core.warmup import Warmup
from hubd.engine.breaker import CircuitBreaker
from hubd.engine.health import Health, HealthChange, Herald, Standing, Tell, tell_nobody
from hubd.engine.pool import WorkerPool
from hubd.engine.ports import Transport
from hubd.engine.worker import IDLE
from hubd.errors import CredentialMissing, HubError, NotFound, ProviderUnavailable

log = logging.getLogger(__name__)

#: Seconds for which an answer shows that a provider works that closed one more connection without a word.
RECENT = 1.0

#: What is limited, or "*" for each other one, and its rates.
Rates = Mapping[str, tuple[str, ...]]
#: What a reload changes without opening the provider anew.
_LIMITS = ("rate", "warmup", "sender_rates", "domain_rates")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretState:
    """The state of a provider's secret when the configuration was read. Holds no secret."""

    key: str  #: "password"
    place: str  #: "file office.pass"
    fingerprint: bytes = field(default=b"", repr=False)  #: b"" if it was not read or could not be
    problem: CredentialMissing | None = None  #: why it could not be read

    def replaced_by(self, other: SecretState) -> bool:
        """Whether `other` is another secret in the same place."""
        known = self.fingerprint or self.problem
        return bool(known and other.fingerprint) and self.fingerprint != other.fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """A provider as the configuration describes it."""

    name: str
    kind: str
    channels: frozenset[Channel]
    lanes: int
    in_doubt: InDoubt
    inquires: bool = False  #: whether it can be asked what it accepted
    sender: str = ""  #: what it sends as when the campaign does not say: a number, or a service that has some
    rate: tuple[str, ...] = ()
    warmup: Warmup | None = None
    sender_rates: Rates = field(default_factory=dict, hash=False)
    domain_rates: Rates = field(default_factory=dict, hash=False)
    #: Opens the transport. Secrets are read here, as late as possible; raises `CredentialMissing`.
    open: Callable[[], Awaitable[Transport]] = field(repr=False, compare=False)
    #: What makes two specs the same account with the same settings.
    settings: object = None
    secret: SecretState | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderView:
    """How a provider is, for people."""

    name: str
    kind: str
    channels: frozenset[Channel]
    state: str  #: "ready", "slowed", "resting", "half_open", "stopped" or "disabled"
    reason: str
    since: float  #: epoch seconds: when it came into this state
    until: float | None  #: epoch seconds: when it is tried again, or may begin again
    lanes: int
    lanes_allowed: int  #: how many of them may be used now
    rate: tuple[str, ...]
    largest_message: int | None = None  #: the limit in bytes that it announced; None if unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a probe found out."""

    answer: Answer
    working: int = 0  #: connections that stand and work, where only a further one was refused


class Provider:
    """One configured provider while the daemon runs."""

    def __init__(
        self,
        spec: ProviderSpec,
        dice: Callable[[], float],
        *,
        tell: Tell = tell_nobody,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`dice` gives random numbers in [0, 1), `now` epoch seconds; `tell` is called at each change of
        state and should neither block nor raise.
        """
        self.spec = spec
        #: Held while the transport is opened, and while other settings are prepared and taken over.
        self.opening = trio.Lock()
        self._dice = dice
        self._herald = Herald(spec.name, tell)
        self._now = now
        self._pool: WorkerPool | None = None
        self._why_not = ""
        self._refused = False  #: the last probe was, so a secret may be another one by now
        self._disabled = False
        self._off = "disabled"
        self._since = now()

    async def open(self) -> WorkerPool:
        """The lanes, as they are: opens the transport when that was not done before.

        Raises `ProviderUnavailable` or `CredentialMissing` with what to do.
        """
        async with self.opening:
            while self._pool is None and not self._disabled:
                spec = self.spec
                transport = await self._open_transport(spec)
                if spec is self.spec and not self._disabled:
                    herald = Herald(spec.name, self._pool_changed)
                    breaker = CircuitBreaker(transport, self._dice, herald, self._now)
                    self._pool = WorkerPool(transport, breaker)
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

    async def revive(self) -> WorkerPool:
        """The lanes; a provider that stopped is tried anew, with its secrets read again. Raises as `open`.

        Only for what a person asks for: trying a wrong password again and again gets accounts locked.
        """
        pool = await self.open()
        if pool.breaker.health is Health.STOPPED or self._refused:
            spec = self.spec
            transport = await self._open_transport(spec)
            if (
                spec is self.spec
                and not self._disabled
                and (pool.breaker.health is Health.STOPPED or self._refused)
            ):
                self._refused = False
                pool.revive(transport)
            else:
                await transport.aclose()
        return pool

    async def _open_transport(self, spec: ProviderSpec) -> Transport:
        try:
            transport = await spec.open()
        except HubError as error:
            self._why_not = str(error)
            self._report()
            raise
        except OSError as error:  # no descriptors, no memory: it passes
            self._why_not = f"it cannot be opened: {error.strerror or type(error).__name__}"
            self._report()
            raise ProviderUnavailable(
                f"the provider {spec.name} cannot be opened: {error.strerror or type(error).__name__}",
                hint="try again when the machine has files and memory to give",
            ) from None
        self._why_not = ""
        self._report()
        return transport

    async def probe(self) -> Answer:
        """Log in and send nothing. A good answer ends a rest or a stop."""
        pool = await self.revive()
        answer = await pool.transport.probe()
        channel = min(self.spec.channels)
        self._refused = not is_ready(answer) and judge(answer, channel).action is Action.PROVIDER_STOP
        if is_ready(answer) and not self._disabled and pool.breaker.health is not Health.READY:
            pool.revive()
        return answer

    def working(self, answer: Answer, begun: float) -> int:
        """How many connections stand and work although the answer refused a further one, that was tried at
        `begun` on Trio's clock. 0 when the answer is about more than that, or none works.
        """
        verdict = judge(answer, min(self.spec.channels))
        if self._pool is None or not refuses_connection(answer, verdict):
            return 0
        # Who refuses in words is there. Who closes the connection, or says nothing, may be gone since.
        ago = {Signal.REPLY: IDLE, Signal.TIMEOUT: 0.0}.get(answer.signal, RECENT)
        return self._pool.breaker.working(begun - ago)

    def secret_changed(self, spec: ProviderSpec) -> bool:
        """Whether the new settings come with another secret in the same place."""
        before, after = self.spec.secret, spec.secret
        if before is None or after is None or (before.key, before.place) != (after.key, after.place):
            return False
        return before.replaced_by(after)

    def check_secret(self, spec: ProviderSpec) -> None:
        """Raises `CredentialMissing` if the new settings would lose a secret that could be read before."""
        before, after = self.spec.secret, spec.secret
        readable = self._pool is not None or (before is not None and before.fingerprint)
        if readable and after is not None and after.problem is not None:
            raise after.problem

    async def prepare_change(self, spec: ProviderSpec) -> Transport | None:
        """A transport with other settings, to be handed to `change`; None when none is in use yet. Hold
        `opening` until `change` is done: else the old settings may come into use in between.
        """
        return None if self._pool is None else await spec.open()

    def change(self, spec: ProviderSpec, transport: Transport | None) -> None:
        """Use other settings from the next message on."""
        self.spec = spec
        self._why_not = ""
        if self._pool is not None and transport is not None:
            self._pool.revive(transport)
            if self._disabled:
                self._pool.breaker.stop(f"the provider {spec.name} is {self._off}", Health.DISABLED)
        self._report()

    def disable(self, off: str = "disabled") -> None:
        """Let nothing more begin through this provider; what is on the wire ends in its own time."""
        self._disabled, self._off = True, off
        if self._pool is not None:
            self._pool.breaker.stop(f"the provider {self.spec.name} is {off}", Health.DISABLED)
        self._report()

    def enable(self) -> None:
        """Undo `disable`."""
        self._disabled = False
        if self._pool is not None and self._pool.breaker.health is Health.DISABLED:
            self._pool.revive()
        self._report()

    def standing(self) -> Standing:
        """How it is now."""
        if self._disabled:
            return Standing(state="disabled", reason=self._off)
        if self._why_not:
            return Standing(state="stopped", reason=self._why_not)
        return Standing() if self._pool is None else self._pool.breaker.standing()

    def view(self) -> ProviderView:
        """How it is now, with what it is."""
        standing = self.standing()
        allowed = self.spec.lanes if self._pool is None else self._pool.breaker.allowed
        return ProviderView(
            name=self.spec.name,
            kind=self.spec.kind,
            channels=self.spec.channels,
            state=standing.state,
            reason=standing.reason,
            since=self._since,
            until=standing.until,
            lanes=self.spec.lanes,
            lanes_allowed=0 if standing.state in ("disabled", "stopped") else allowed,
            rate=self.spec.rate,
            largest_message=None if self._pool is None else self._pool.transport.largest_message,
        )

    def _pool_changed(self, _: HealthChange) -> None:
        self._report()

    def _report(self) -> None:
        if self._herald.report(self.standing()):
            self._since = self._now()

    async def tidy(self) -> None:
        """Close connections that nobody used for a while."""
        if self._pool is not None:
            await self._pool.tidy()

    @property
    def idle(self) -> bool:
        """Whether nothing is on the wire through it."""
        return self._pool is None or self._pool.unused

    async def aclose(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.aclose()


class Providers:
    """All of them, by name."""

    def __init__(
        self,
        specs: Mapping[str, ProviderSpec],
        dice: Callable[[], float],
        *,
        tell: Tell = tell_nobody,
        now: Callable[[], float] = time.time,
    ) -> None:
        """The arguments are those of `Provider`."""
        self._dice = dice
        self._tell = tell
        self._now = now
        self._all = {name: self._make(spec) for name, spec in specs.items()}
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
        Raises what opening a changed provider raises, and `CredentialMissing` when a secret cannot be read
        any more; nothing has changed then.
        """
        async with self._changing:
            return await self._reconfigure(specs)

    async def _reconfigure(self, specs: Mapping[str, ProviderSpec]) -> list[str]:
        for name, spec in specs.items():
            if name in self._all:
                self._all[name].check_secret(spec)
        others = [n for n, s in specs.items() if n in self._all and self._all[n].spec.channels != s.channels]
        changed = {
            name: spec
            for name, spec in specs.items()
            if name in self._all and name not in others and self._differs(name, spec)
        }
        words = [self._what_changed(name, spec) for name, spec in changed.items()]
        prepared: dict[str, Transport | None] = {}
        async with AsyncExitStack() as quiet:
            for name in changed:  # none of them opens in the middle of this
                await quiet.enter_async_context(self._all[name].opening)
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
        return words + self._adopt(specs)

    def _make(self, spec: ProviderSpec) -> Provider:
        return Provider(spec, self._dice, tell=self._tell, now=self._now)

    def _retire(self, name: str) -> None:
        gone = self._all.pop(name)
        gone.disable("not in the configuration any more")
        self._gone.append(gone)

    def _differs(self, name: str, spec: ProviderSpec) -> bool:
        known = self._all[name]
        return known.spec.settings != spec.settings or known.secret_changed(spec)

    def _what_changed(self, name: str, spec: ProviderSpec) -> str:
        if spec.secret is None or self._all[name].spec.settings != spec.settings:
            return f"providers.{name}"
        return f"providers.{name}.{spec.secret.key} ({spec.secret.place})"

    def _adopt(self, specs: Mapping[str, ProviderSpec]) -> list[str]:
        """Rates, new providers, and those that are gone."""
        words = []
        for name, spec in specs.items():
            known = self._all.get(name)
            if known is None:
                self._all[name] = self._make(spec)
                words.append(f"providers.{name}")
            else:
                words += [f"providers.{name}.{key}" for key in _LIMITS if _changed(known.spec, spec, key)]
                known.spec = spec
        for name in [name for name in self._all if name not in specs]:
            self._retire(name)
            words.append(f"providers.{name} (removed)")
        return words

    async def tidy(self) -> None:
        """Close unused connections, and removed providers once nothing is on their wire; until cancelled."""
        while True:
            await trio.sleep(IDLE / 3)
            for provider in (*self._all.values(), *self._gone):
                try:
                    if provider in self._gone and provider.idle:
                        self._gone.remove(provider)
                        await provider.aclose()
                    else:
                        await provider.tidy()
                except Exception:
                    log.exception(
                        "an unused connection of %s did not close",
                        provider.spec.name,
                        extra={"hub_provider": provider.spec.name},
                    )

    async def aclose(self) -> None:
        """Close every connection."""
        for provider in (*self._all.values(), *self._gone):
            await provider.aclose()


def _changed(before: ProviderSpec, after: ProviderSpec, key: str) -> bool:
    return bool(getattr(before, key) != getattr(after, key))
