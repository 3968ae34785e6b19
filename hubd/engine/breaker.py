"""The circuit breaker of one provider: whether, and how much, may be sent through it now.

Trouble opens it, and the provider rests, longer each time; then it is half open, and one connection tries
whether it works again. Trouble that needs a person stops it. Nothing is known at first either, so that only
one connection is used until the provider has answered: a wrong password costs one login, not one for each.

A throttle is no trouble. The provider gets a pause, and is then used more slowly
(`core.adaptive_concurrency`) until it has accepted enough for full speed to come back.

Nor is a connection that is refused while others work: the server limits connections. That costs the others
nothing, and one more connection is tried from time to time (`core.connection_limit`).

Everything here is synchronous. Whoever sends takes a `Lease` for one or several messages in a row and reports
what comes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from hubd.core.adaptive_concurrency import faster, full_speed, slower, throttle_pause
from hubd.core.connection_limit import ConnectionLimit, after_connect, after_refusal
from hubd.core.verdict import rest_delay
from hubd.engine.health import OFF, Health, HealthReporter, ProviderHealth
from hubd.engine.ports import Connection, Transport

#: Seconds after which an unused provider is no longer slowed.
FORGET = 600.0
#: So many lost answers in a row are the provider's trouble: it rests before more people are in doubt.
LOST_IN_A_ROW = 5


class ProviderStopped(Exception):
    """The provider cannot be used until a person acts; `str()` is the reason."""


@dataclass(slots=True, eq=False)
class Lease:
    """The right to use the provider for one message, and for others after it as long as `may_go_on` says so.

    `round` tells news of now from news of before the last trouble, `pace` from before the last throttle.
    """

    connection: Connection | None  #: None: something else than a message
    transport: Transport
    round: int
    pace: int
    begun_at: float
    begun_before: float  #: when the lease before this one began
    probe: bool  #: it tries one connection beyond the limit that was found
    used: bool = False  #: there was news of a message on it

    @property
    def connected(self) -> bool:
        """Whether its connection is open."""
        return self.connection is not None and self.connection.connected


class CircuitBreaker:
    """How one provider is. `changed` is called whenever more may be sent than before, or less."""

    def __init__(
        self,
        transport: Transport,
        jitter: Callable[[], float],
        reporter: HealthReporter,
        now: Callable[[], float],
    ) -> None:
        """`jitter` gives random numbers in [0, 1), `now` epoch seconds."""
        self.health = Health.UNPROVEN
        self.reason = ""
        self.rest_until = 0.0  #: on Trio's clock
        self.changed: Callable[[], None] = lambda: None
        #: every connection with the present settings, used or not, open or not
        self.connections: set[Connection] = set()
        self.leases: set[Lease] = set()  #: in use
        self._transport = transport
        self._jitter = jitter
        self._reporter = reporter
        self._now = now
        self._failures = 0
        self._lost = 0
        self._round = 0
        self._concurrency = full_speed(transport.connections)
        self._pace = 0
        self._throttles = 0  # in a row
        self._slow_reason = ""
        self._pause_until = 0.0
        self._begun_at = float("-inf")
        self._limit = ConnectionLimit()
        self._limit_known = False  # no connection is under way that could still change what was found
        self._heard_at = float("-inf")  # when the provider last answered a command

    # -- leases ------------------------------------------------------------------------------------

    def may_begin(self) -> bool:
        """Whether another lease may begin now."""
        if self.health in OFF or trio.current_time() < self._opens_at():
            return False
        if len(self.leases) >= self._concurrency.connections_allowed:
            return False
        if len(self.leases) > self._in_use >= self._most:
            return False  # one at a time is tried beyond the limit
        return self.health is Health.READY or not any(lease.round == self._round for lease in self.leases)

    def opens_at(self) -> float:
        """The moment on Trio's clock before which nothing begins; infinite if it takes more than time."""
        opens = self._opens_at()
        return opens if opens > trio.current_time() and self.health not in OFF else float("inf")

    @property
    def probing(self) -> bool:
        """Whether the next lease tries a connection beyond the limit that was found."""
        return self._in_use >= self._most

    def begin(self, connection: Connection | None, transport: Transport) -> Lease:
        """A lease, after `may_begin` said yes. Return it with `end`."""
        if self.health is Health.RESTING:
            self.health = Health.HALF_OPEN
        now = trio.current_time()
        lease = Lease(
            connection=connection, transport=transport, round=self._round, pace=self._pace, begun_at=now,
            begun_before=self._begun_at, probe=self.probing,
        )  # fmt: skip
        self._begun_at = now
        self.leases.add(lease)
        return lease

    def end(self, lease: Lease) -> None:
        """Give a lease back."""
        self.leases.discard(lease)
        if not lease.used and self._begun_at == lease.begun_at:
            self._begun_at = lease.begun_before  # nothing was begun on it
        self.changed()

    def may_go_on(self, lease: Lease) -> bool:
        """Whether another message may begin under this lease."""
        return lease.round == self._round and lease.pace == self._pace and not self._concurrency.gap

    def in_trouble(self, lease: Lease) -> bool:
        """Whether there was trouble since this lease began, so that nothing more may begin under it.

        A throttle counts too where nothing was announced to the provider yet.
        """
        return lease.round != self._round or (lease.pace != self._pace and not lease.transport.talks_first)

    # -- news --------------------------------------------------------------------------------------

    def ready(self, lease: Lease) -> None:
        """A message was prepared. It proves the account where preparing it talks to the provider; after
        trouble it takes an answer to a message.
        """
        lease.used = True
        if lease.transport.talks_first:
            self._heard_at = trio.current_time()
            self._connected(lease)
            if self.health is Health.UNPROVEN and self._lost < LOST_IN_A_ROW:
                self._prove(lease)

    def answered(self, lease: Lease) -> None:
        """The provider gave an answer that is about the message: it works."""
        lease.used = True
        self._heard_at = trio.current_time()
        self._lost = 0
        self._prove(lease)
        if self._concurrency.slowed and lease.round == self._round and lease.pace == self._pace:
            self._throttles = 0
            self._concurrency = faster(self._concurrency)
            self.changed()

    def lost(self, lease: Lease, reason: str) -> None:
        """No answer came, or none that can be read. Some of them in a row are trouble, and so is the first
        while it is tried whether the provider works again.
        """
        lease.used = True
        self._lost += 1
        if self._lost >= LOST_IN_A_ROW or self.health is Health.HALF_OPEN:
            self.trouble(lease, reason)

    def slow(self, lease: Lease, reason: str, retry_after: float | None = None) -> None:
        """The provider asks to be used more slowly: nothing begins for `retry_after` seconds or a short
        pause, and then less at a time. What was begun before may be answered so, too: that counts once.
        """
        lease.used = True
        if lease.round != self._round or self.health in OFF:
            return
        asked = trio.current_time() + (retry_after or 0.0)
        if lease.pace != self._pace:
            self._pause_until = max(self._pause_until, asked)
            return
        self._concurrency, self._slow_reason = slower(self._concurrency), reason
        self._pace += 1
        if self.health is Health.HALF_OPEN:
            self.trouble(lease, reason, retry_after)  # it does not work again yet
            return
        self._throttles += 1
        pause = throttle_pause(self._throttles, self._jitter())
        self._pause_until = max(trio.current_time() + pause, asked)
        self.report()

    def connection_refused(self, lease: Lease, *, silent: bool = False) -> bool:
        """The server accepted no connection for this lease.

        True: others work, so it is a limit, which costs them nothing. False: nothing works, and the caller
        reports the failure.

        `silent`: the server did not answer at all. Then the others only count if it answered them meanwhile.
        """
        others = self._open(but=lease.connection)
        if not others or self.health in OFF or (silent and self._heard_at < lease.begun_at):
            return False
        if lease.transport is not self._transport:
            return False  # others work, but with other settings
        lease.used = True
        self._limit = after_refusal(self._limit, others, trio.current_time(), probe=lease.probe)
        lease.probe = False
        return True

    def trouble(self, lease: Lease, reason: str, retry_after: float | None = None) -> None:
        """The provider cannot be used for now; it rests. Late news of the same trouble counts once."""
        lease.used = True
        if lease.round != self._round or self.health in OFF:
            return
        self._round += 1
        self._failures += 1
        pause = rest_delay(self._failures, self._jitter())
        self.health, self.reason = Health.RESTING, reason
        self.rest_until = trio.current_time() + max(pause, retry_after or 0.0)
        self.report()
        self.changed()

    def stop(self, reason: str, health: Health = Health.STOPPED) -> None:
        """Nothing is sent until a person acts."""
        self._round += 1
        self.health, self.reason = health, reason
        self.report()
        self.changed()

    def revive(self) -> None:
        """Try again as if nothing had happened."""
        self._round += 1
        self._failures = self._throttles = 0
        self.health, self.reason, self.rest_until, self._pause_until = Health.UNPROVEN, "", 0.0, 0.0
        self.report()
        self.changed()

    def replace(self, transport: Transport) -> None:
        """Other settings: at full speed again. `revive` follows."""
        self._transport = transport
        self.connections.clear()  # with the old settings, they tell nothing about the new ones
        self._forget_slowness()

    # -- how it is ---------------------------------------------------------------------------------

    @property
    def allowed(self) -> int:
        """How many leases there may be now, or at most after the first has proved that it works."""
        if self.health in OFF or self.health is Health.RESTING:
            return 0
        return (
            1 if self.health is Health.HALF_OPEN else min(self._concurrency.connections_allowed, self._most)
        )

    @property
    def recovered(self) -> bool:
        """Whether it was seen to work since it was in trouble, if it was; the end of a rest is no sign."""
        return self._failures == 0

    def provider_health(self) -> ProviderHealth:
        """How the provider is now."""
        if self.health in (Health.UNPROVEN, Health.READY):
            if self._limit_known and (
                not self._concurrency.slowed or self._most < self._concurrency.connections_allowed
            ):
                connections = f"{self._most} connection{'s' if self._most > 1 else ''}"
                return ProviderHealth(state="slowed", reason=f"the server accepts {connections} at a time")
            if not self._concurrency.slowed:
                return ProviderHealth()
            return ProviderHealth(
                state="slowed", reason=self._slow_reason, until=self._epoch(self._pause_until)
            )
        until = self._epoch(self.rest_until) if self.health is Health.RESTING else None
        return ProviderHealth(state=self.health.value, reason=self.reason, until=until)

    def working(self, since: float) -> int:
        """How many connections are open, if the provider has answered on one since then; else 0."""
        return self._open() if self.health is Health.READY and self._heard_at >= since else 0

    def report(self) -> None:
        """Tell how it is, if that is news."""
        if self._limit.found is not None and not self._limit_known:
            self._limit_known = all(lease.used or lease.connected for lease in self.leases)
        self._reporter.report(self.provider_health())

    def relax(self, *, unused: bool) -> None:
        """Forget, after a while, what was found out about an unused provider.

        `unused`: it has no connection.
        """
        if self.health is Health.RESTING and trio.current_time() >= self.rest_until and not self.leases:
            self.health = Health.UNPROVEN  # nobody needed it since; whoever comes next is alone at first
            self.report()
        if not unused:
            return
        if self.health is Health.READY:
            self.health = Health.UNPROVEN  # the password may be another one by the next message
        forgotten = max(self._pause_until, self._limit.probe_at) + FORGET
        if (self._concurrency.slowed or self._limit.found is not None) and trio.current_time() > forgotten:
            self._forget_slowness()
            self.report()

    # -- inside ------------------------------------------------------------------------------------

    def _prove(self, lease: Lease) -> None:
        if lease.round == self._round and self.health in (Health.UNPROVEN, Health.HALF_OPEN):
            self.health, self.reason, self._failures = Health.READY, "", 0
            self.report()
            self.changed()

    def _opens_at(self) -> float:
        if self.health is Health.RESTING:
            return self.rest_until
        opens = max(self._pause_until, self._begun_at + self._concurrency.gap)
        return max(opens, self._limit.probe_at) if self.probing else opens

    @property
    def _most(self) -> int:
        """How many connections may be open, as far as the server has shown; all of them if it has not."""
        return self._transport.connections if self._limit.found is None else self._limit.found

    @property
    def _in_use(self) -> int:
        """How many leases there are, not counting a probe for one more connection."""
        return sum(not lease.probe for lease in self.leases)

    def _open(self, *, but: Connection | None = None) -> int:
        """How many connections are open."""
        return sum(connection.connected for connection in self.connections if connection is not but)

    def _connected(self, lease: Lease) -> None:
        """There is a connection: if there are more than the limit allowed, the limit changes."""
        lease.probe = False
        if self._limit.found is None:
            return
        before, now = self._limit, trio.current_time()
        self._limit = after_connect(before, self._open(), now, configured=self._transport.connections)
        self._limit_known = self._limit_known and self._limit.found is not None
        if self._limit is not before:
            self.changed()

    def _forget_slowness(self) -> None:
        self._concurrency = full_speed(self._transport.connections)
        self._limit, self._limit_known = ConnectionLimit(), False

    def _epoch(self, moment: float) -> float | None:
        """A moment to come on Trio's clock in epoch seconds; None when it is over."""
        ahead = moment - trio.current_time()
        return self._now() + ahead if ahead > 0 else None
