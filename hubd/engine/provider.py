"""One provider that is configured: its settings, its pool, and how it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from hubd.core.account import Account
from hubd.core.model import Answer, Channel, Content, InDoubt, Signal
from hubd.core.pacing import parse_rates
from hubd.core.request_verdicts import PLAIN
from hubd.core.verdict import Action, Verdict, is_ready, judge, refuses_connection
from hubd.core.warmup import Warmup
from hubd.engine.breaker import CircuitBreaker
from hubd.engine.health import Health, HealthChange, HealthReporter, ProviderHealth, Tell, tell_nobody
from hubd.engine.pool import WorkerPool
from hubd.engine.ports import TellsAccount, Transport
from hubd.engine.worker import IDLE
from hubd.errors import BadInput, CredentialMissing, HubError, ProviderUnavailable

log = logging.getLogger(__name__)

#: Seconds for which an answer shows that a provider works that closed one more connection without a word.
RECENT = 1.0

#: Seconds for which what the account says of its rates is believed.
ACCOUNT_KNOWN = 3600.0
#: Seconds that a run waits at most to hear of the rates before its first message.
ACCOUNT_WAIT = 10.0

#: What is limited, or "*" for all others, and its rates.
Rates = Mapping[str, tuple[str, ...]]


def _none(_: Content) -> Iterable[str]:
    return ()


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
    connections: int
    in_doubt: InDoubt
    can_reconcile: bool = False  #: whether it can be asked what it accepted
    problems: Callable[[Content], Iterable[str]] = field(
        default=_none, compare=False
    )  #: of a content with it
    #: where it writes each message to a file that its name for the message leads to; None: it sends them
    folder: Path | None = None
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
    connections: int
    connections_allowed: int  #: how many of them may be used now
    rate: tuple[str, ...]
    largest_message: int | None = None  #: the limit in bytes that it announced; None if unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a probe found out."""

    answer: Answer
    account: Account | None = None  #: what the provider says of the account
    working: int = 0  #: connections that stand and work, where only a further one was refused


class Provider:
    """One configured provider while the daemon runs."""

    def __init__(
        self,
        spec: ProviderSpec,
        random: Callable[[], float],
        *,
        tell: Tell = tell_nobody,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`random` gives random numbers in [0, 1), `now` epoch seconds; `tell` is called at each change of
        state and should neither block nor raise.
        """
        self.spec = spec
        #: Held while the transport is opened, and while other settings are prepared and taken over.
        self.opening = trio.Lock()
        self._random = random
        self._reporter = HealthReporter(spec.name, tell)
        self._now = now
        self._pool: WorkerPool | None = None
        self._why_not = ""
        self.account: Account | None = None  #: as the provider described it last
        self._asked_at = float("-inf")  # for the account, on Trio's clock
        self._refused = False  #: the last probe was, so a secret may be another one by now
        self._disabled = False
        self._off = "disabled"
        self._since = now()

    async def open(self) -> WorkerPool:
        """The connections, as they are: opens the transport when that was not done before.

        Raises `ProviderUnavailable` or `CredentialMissing` with what to do.
        """
        async with self.opening:
            while self._pool is None and not self._disabled:
                spec = self.spec
                transport = await self._open_transport(spec)
                if spec is self.spec and not self._disabled:
                    reporter = HealthReporter(spec.name, self._pool_changed)
                    breaker = CircuitBreaker(transport, self._random, reporter, self._now)
                    self._pool = WorkerPool(transport, breaker)
                else:
                    await transport.aclose()
            self.check_enabled()
            assert self._pool is not None
            return self._pool

    def check_enabled(self) -> None:
        """Raise `ProviderUnavailable` when it is switched off."""
        if self._disabled:
            raise ProviderUnavailable(
                f"the provider {self.spec.name} is {self._off}",
                hint=f"hubctl provider enable {self.spec.name} enables it again"
                if self._off == "disabled"
                else "add it to the configuration again, then run: hubctl daemon reload",
            )

    async def revive(self) -> WorkerPool:
        """The connections; a provider that stopped is tried again, with its secrets read again. Raises as
        `open`.

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
                hint="try again when the machine has free memory and file descriptors",
            ) from None
        self._why_not = ""
        self._report()
        return transport

    async def probe(self) -> Answer:
        """Log in and send nothing. A good answer ends a rest or a stop."""
        pool = await self.open()
        spec, fresh = self.spec, None
        if pool.breaker.health is Health.STOPPED or self._refused:
            fresh = await self._open_transport(spec)  # with the secrets as they are now
        try:
            answer = await self._log_in(fresh or pool.transport)
            works = is_ready(answer) and not self._disabled
            if fresh is not None and works and spec is self.spec:
                pool.revive(fresh)
                fresh = None
            elif fresh is None and works and pool.breaker.health is not Health.READY:
                pool.revive()
        finally:
            if fresh is not None:
                await fresh.aclose()
        return answer

    async def works(self) -> bool:
        """Whether it sends now. One that was not used since the start logs in to find out, and sends nothing.

        What was refused once is not tried again. Raises as `open`.
        """
        pool = await self.open()
        if pool.breaker.health is not Health.UNPROVEN:
            return pool.breaker.health is Health.READY
        return not self._refused and is_ready(await self._log_in(pool.transport))

    async def _log_in(self, transport: Transport) -> Answer:
        answer = await self._ask(transport)
        self._refused = not is_ready(answer) and self.judge(answer).action is Action.PROVIDER_STOP
        return answer

    async def _ask(self, transport: Transport) -> Answer:
        """The answer to a probe; of a provider that describes the account, to that question."""
        if not isinstance(transport, TellsAccount):
            return await transport.probe()
        answer, account = await transport.ask_account()
        if account is not None:
            self.account, self._asked_at = _checked(account, self.spec.name), trio.current_time()
        return answer

    async def learn_rate(self) -> None:
        """Ask how fast the account may send, if the provider says so, the configuration does not, and it was
        not asked lately. What it does not answer in time is not waited for.
        """
        transport = (await self.open()).transport
        if self.spec.rate or not isinstance(transport, TellsAccount) or not transport.tells_rate:
            return
        if trio.current_time() - self._asked_at >= ACCOUNT_KNOWN:
            with trio.move_on_after(ACCOUNT_WAIT):
                await self._ask(transport)

    @property
    def in_use(self) -> bool:
        """Whether it was opened."""
        return self._pool is not None

    @property
    def rate(self) -> tuple[str, ...]:
        """How fast it may be used: as configured, else as the account says."""
        return self.spec.rate or (self.account.rate if self.account is not None else ())

    @property
    def recovered(self) -> bool:
        """Whether it was seen to work since it was in trouble, if it was."""
        return self._pool is None or self._pool.breaker.recovered

    @property
    def limits(self) -> ProviderSpec:
        """The spec with the rates that hold."""
        return replace(self.spec, rate=self.rate)

    def judge(self, answer: Answer) -> Verdict:
        """What the answer to a probe means."""
        verdicts = PLAIN if self._pool is None else self._pool.transport.verdicts
        return judge(answer, min(self.spec.channels), requests=verdicts)

    def working(self, answer: Answer, begun: float) -> int:
        """How many connections stand and work although the answer refused a further one, that was tried at
        `begun` on Trio's clock. 0 when the answer is about more than that, or none works.
        """
        if self._pool is None or not refuses_connection(answer, self.judge(answer)):
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
        if spec.kind != self.spec.kind:
            self.account = None
        self.spec = spec
        self._why_not = ""
        self._asked_at = float("-inf")  # what it said last holds until it is asked again
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

    def provider_health(self) -> ProviderHealth:
        """How it is now."""
        if self._disabled:
            return ProviderHealth(state="disabled", reason=self._off)
        if self._why_not:
            return ProviderHealth(state="stopped", reason=self._why_not)
        return ProviderHealth() if self._pool is None else self._pool.breaker.provider_health()

    def view(self) -> ProviderView:
        """How it is now, with what it is."""
        provider_health = self.provider_health()
        allowed = self.spec.connections if self._pool is None else self._pool.breaker.allowed
        return ProviderView(
            name=self.spec.name,
            kind=self.spec.kind,
            channels=self.spec.channels,
            state=provider_health.state,
            reason=provider_health.reason,
            since=self._since,
            until=provider_health.until,
            connections=self.spec.connections,
            connections_allowed=0 if provider_health.state in ("disabled", "stopped") else allowed,
            rate=self.rate,
            largest_message=None if self._pool is None else self._pool.transport.largest_message,
        )

    def _pool_changed(self, _: HealthChange) -> None:
        self._report()

    def _report(self) -> None:
        if self._reporter.report(self.provider_health()):
            self._since = self._now()

    async def tidy(self) -> None:
        """Close connections that were unused for a while."""
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


def _checked(account: Account, name: str) -> Account:
    """The account without rates that are none."""
    try:
        parse_rates(account.rate)
    except BadInput as problem:
        log.warning("what %s says about its rates is not used: %s", name, problem)
        return replace(account, rate=())
    return account
