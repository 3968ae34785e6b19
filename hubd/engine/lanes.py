"""The connections of one provider, shared by everything that sends through it.

A pool hands out lanes. One-off messages come first: a bulk worker hands its warm connection over after the
message it is sending. Campaigns take turns: a worker that has held a lane for a while passes it on when
another campaign waits.

A pool also knows how the provider is. It is a circuit breaker: trouble opens it, and the provider rests,
longer each time; then it is half open, and one lane tries whether it works again. Trouble that needs a person
stops it. Nothing is known at first either, so that only one lane is handed out until the provider has
answered: a wrong password costs one login, not one per connection.

A throttle is no trouble. The provider gets a pause, and is then used more slowly (`core.tempo`) until it has
taken enough for full speed to come back.

Nor is a connection that is refused while others work: the server limits connections. That costs the others
nothing, and one more connection is tried from time to time (`core.connection_limit`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from hubd.core.connection_limit import ConnectionLimit, after_connect, after_refusal
from hubd.core.tempo import faster, full_speed, slower, throttle_pause
from hubd.core.verdict import rest_delay
from hubd.engine.health import OFF, Health, Herald, Standing, Tell, tell_nobody
from hubd.engine.ports import Lane, Transport


class ProviderStopped(Exception):
    """The provider cannot be used until a person acts; `str()` is the reason."""


@dataclass(slots=True, eq=False)
class Berth:
    """A lane in use. `round` tells news of now from news of before the last trouble, `pace` from before the
    last throttle.
    """

    lane: Lane
    transport: Transport
    round: int = 0
    pace: int = 0
    taken_at: float = 0.0
    used: bool = False  #: there was news of a message on it
    begun_before: float = 0.0  #: when a lane was taken last, before this one
    probe: bool = False  #: it tries one connection beyond the limit that was found


@dataclass(slots=True, eq=False)
class _Waiter:
    event: trio.Event = field(default_factory=trio.Event)
    berth: Berth | None = None
    owner: object = None


class LanePool:
    """All lanes of one transport."""

    #: Seconds after which a bulk worker passes its lane on when another campaign waits for one.
    TURN = 0.25
    #: Seconds after which an unused connection is closed.
    IDLE = 30.0
    #: Seconds after which an unused provider is not slowed any more.
    FORGET = 600.0
    #: So many lost answers in a row are the provider's trouble: it rests before more people are in doubt.
    LOST_IN_A_ROW = 5

    def __init__(
        self,
        transport: Transport,
        jitter: Callable[[], float],
        *,
        tell: Tell = tell_nobody,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`jitter` gives random numbers in [0, 1), `now` epoch seconds. `tell` is called at each change of
        state; it should neither block nor raise.
        """
        self.transport = transport
        self.health = Health.UNPROVEN
        self.reason = ""
        self.rest_until = 0.0  #: on Trio's clock
        self.lanes_changed = trio.Event()  #: set, and replaced, when the number of lanes is another one
        self._jitter = jitter
        self._herald = Herald(transport.name, tell)
        self._now = now
        self._failures = 0
        self._lost = 0
        self._round = 0
        self._tempo = full_speed(transport.lanes)
        self._pace = 0
        self._throttles = 0  # in a row
        self._slow_reason = ""
        self._pause_until = 0.0
        self._begun_at = float("-inf")
        self._limit = ConnectionLimit()
        self._limit_settled = False  # no connection is under way that could still change what was found
        self._heard_at = float("-inf")  # when the provider last answered a command
        self._old: list[Transport] = []  # replaced, with messages still on the wire
        self._free: list[Berth] = []
        self._out: set[Berth] = set()
        self._urgent: deque[_Waiter] = deque()
        self._bulk: deque[_Waiter] = deque()

    # -- handing out -------------------------------------------------------------------------------

    async def borrow(self, owner: object, *, urgent: bool = False) -> Berth:
        """Wait for a lane. Raises `ProviderStopped` when it takes a person to go on."""
        waiter = _Waiter(owner=owner)
        queue = self._urgent if urgent else self._bulk
        queue.append(waiter)
        try:
            self._serve()
            while waiter.berth is None:
                if self.health in OFF:
                    raise ProviderStopped(self.reason)
                opens = self._opens_at()
                with trio.move_on_at(opens if opens > trio.current_time() else float("inf")):
                    await waiter.event.wait()
                self._serve()
                if waiter.berth is None and waiter.event.is_set():
                    waiter.event = trio.Event()
            return waiter.berth
        except BaseException:
            if waiter.berth is not None:
                self.give_back(waiter.berth)
            raise
        finally:
            if waiter in queue:
                queue.remove(waiter)
                self._serve()  # the next in line looks at the clock now

    def give_back(self, berth: Berth) -> None:
        """Return a lane, connected or not."""
        self._out.discard(berth)
        berth.probe = False
        if not berth.used and self._begun_at == berth.taken_at:
            self._begun_at = berth.begun_before  # nothing was begun on it
        if berth.transport is self.transport:
            berth.taken_at = trio.current_time()
            self._free.append(berth)
        else:
            berth.lane.drop()
        self._serve()

    def wanted(self, berth: Berth, owner: object) -> bool:
        """Whether a worker should pass its lane on before it begins another message."""
        if self._urgent or self.in_trouble(berth) or berth.pace != self._pace or self._tempo.gap:
            return True
        if trio.current_time() - berth.taken_at < self.TURN:
            return False
        return any(waiter.owner is not owner for waiter in self._bulk)

    def in_trouble(self, berth: Berth) -> bool:
        """Whether there was trouble since this lane was taken, so that nothing more may begin on it.

        A throttle counts too where nothing was announced to the provider yet.
        """
        return berth.round != self._round or (berth.pace != self._pace and not berth.transport.talks_first)

    # -- news --------------------------------------------------------------------------------------

    def ready(self, berth: Berth) -> None:
        """A message was prepared. It proves the account where preparing it talks to the provider; after
        trouble it takes an answer to a message.
        """
        berth.used = True
        if berth.transport.talks_first:
            self._heard_at = trio.current_time()
            self._connected(berth)
        if self.health is Health.UNPROVEN and self._lost < self.LOST_IN_A_ROW:
            self._prove(berth, proof=berth.transport.talks_first)

    def answered(self, berth: Berth) -> None:
        """The provider gave an answer that is about the message: it works."""
        berth.used = True
        self._heard_at = trio.current_time()
        self._lost = 0
        self._prove(berth)
        if self._tempo.slowed and berth.round == self._round and berth.pace == self._pace:
            self._throttles = 0
            self._tempo = faster(self._tempo)
            self._serve()

    def lost(self, berth: Berth, reason: str) -> None:
        """No answer came, or none that can be read. Some of them in a row are trouble, and so is the first
        while it is tried whether the provider works again.
        """
        berth.used = True
        self._lost += 1
        if self._lost >= self.LOST_IN_A_ROW or self.health is Health.HALF_OPEN:
            self.trouble(berth, reason)

    def slow(self, berth: Berth, reason: str, retry_after: float | None = None) -> None:
        """The provider asks to be used more slowly: nothing begins for `retry_after` seconds or a short
        pause, and then less at a time. What was begun before may be answered so, too: that counts once.
        """
        berth.used = True
        if berth.round != self._round or self.health in OFF:
            return
        asked = trio.current_time() + (retry_after or 0.0)
        if berth.pace != self._pace:
            self._pause_until = max(self._pause_until, asked)
            return
        self._tempo, self._slow_reason = slower(self._tempo), reason
        self._pace += 1
        if self.health is Health.HALF_OPEN:
            self.trouble(berth, reason, retry_after)  # it does not work again yet
            return
        self._throttles += 1
        pause = throttle_pause(self._throttles, self._jitter())
        self._pause_until = max(trio.current_time() + pause, asked)
        self._herald.report(self.standing())

    def connection_refused(self, berth: Berth, *, silent: bool = False) -> bool:
        """The server accepted no connection for this lane.

        True: others work, so it is a limit, which costs them nothing. False: nothing works, and the caller
        reports the failure.

        `silent`: the server did not answer at all. Then the others only count if it answered them meanwhile.
        """
        others = self._standing(but=berth)
        if not others or self.health in OFF or (silent and self._heard_at < berth.taken_at):
            return False
        berth.used = True
        self._limit = after_refusal(self._limit, others, trio.current_time(), probe=berth.probe)
        berth.probe = False
        return True

    def trouble(self, berth: Berth, reason: str, retry_after: float | None = None) -> None:
        """The provider cannot be used for now; it rests. Late news of the same trouble counts once."""
        berth.used = True
        if berth.round != self._round or self.health in OFF:
            return
        self._round += 1
        self._failures += 1
        pause = rest_delay(self._failures, self._jitter())
        self.health, self.reason = Health.RESTING, reason
        self.rest_until = trio.current_time() + max(pause, retry_after or 0.0)
        self._wake_all()
        self._herald.report(self.standing())

    def stop(self, reason: str, health: Health = Health.STOPPED) -> None:
        """The provider needs a person: everybody who waits or comes gets `ProviderStopped`."""
        self._round += 1
        self.health, self.reason = health, reason
        self._wake_all()
        self._herald.report(self.standing())

    def revive(self, transport: Transport | None = None) -> None:
        """Try again, with a new transport if one is given, and that one at full speed.

        What is on the wire through the old transport ends in its own time; then the old one is closed.
        """
        if transport is not None:
            self._replace(transport)
        self._round += 1
        self._failures = self._throttles = 0
        self.health, self.reason, self.rest_until, self._pause_until = Health.UNPROVEN, "", 0.0, 0.0
        self._wake_all()
        self._serve()

    # -- how it is ---------------------------------------------------------------------------------

    @property
    def lanes_allowed(self) -> int:
        """How many lanes may be out now, or at most after the first has proved that it works."""
        if self.health in OFF or self.health is Health.RESTING:
            return 0
        return 1 if self.health is Health.HALF_OPEN else min(self._tempo.lanes_allowed, self._most)

    @property
    def idle(self) -> bool:
        """Whether nothing is on any wire."""
        return not self._out

    def standing(self) -> Standing:
        """How the provider is now."""
        if self.health in (Health.UNPROVEN, Health.READY):
            if self._limit_settled and (not self._tempo.slowed or self._most < self._tempo.lanes_allowed):
                connections = f"{self._most} connection{'s' if self._most > 1 else ''}"
                return Standing(state="slowed", reason=f"the server accepts {connections} at a time")
            if not self._tempo.slowed:
                return Standing()
            return Standing(state="slowed", reason=self._slow_reason, until=self._epoch(self._pause_until))
        until = self._epoch(self.rest_until) if self.health is Health.RESTING else None
        return Standing(state=self.health.value, reason=self.reason, until=until)

    def working(self, since: float) -> int:
        """How many connections stand, if the provider has answered on one since then; else 0."""
        return self._standing() if self.health is Health.READY and self._heard_at >= since else 0

    # -- its end -----------------------------------------------------------------------------------

    async def tidy(self) -> None:
        """Close connections that nobody used for a while."""
        stale = trio.current_time() - self.IDLE
        old = [berth for berth in self._free if berth.taken_at < stale]
        self._free = [berth for berth in self._free if berth.taken_at >= stale]
        for berth in old:
            await berth.lane.aclose()
        for transport in list(self._old):
            if not any(berth.transport is transport for berth in self._out):
                self._old.remove(transport)
                await transport.aclose()
        if self.health is Health.RESTING and trio.current_time() >= self.rest_until and not self._out:
            self.health = Health.UNPROVEN  # nobody needed it since; whoever comes next is alone at first
            self._herald.report(self.standing())
        if not self._free and not self._out:
            if self.health is Health.READY:
                self.health = Health.UNPROVEN  # the password may be another one by the next message
            forgotten = max(self._pause_until, self._limit.probe_at) + self.FORGET
            if (self._tempo.slowed or self._limit.found is not None) and trio.current_time() > forgotten:
                self._forget_slowness()
                self._herald.report(self.standing())

    async def aclose(self) -> None:
        """Close every connection and the transport."""
        for berth in (*self._free, *self._out):
            berth.lane.drop()
        self._free.clear()
        for transport in (*self._old, self.transport):
            await transport.aclose()

    # -- inside ------------------------------------------------------------------------------------

    def _prove(self, berth: Berth, *, proof: bool = True) -> None:
        if not proof or berth.round != self._round:
            return
        if self.health in (Health.UNPROVEN, Health.HALF_OPEN):
            self.health, self.reason, self._failures = Health.READY, "", 0
            self._serve()

    def _replace(self, transport: Transport) -> None:
        before = self.transport.lanes
        self._old.append(self.transport)
        self.transport = transport
        for berth in self._free:
            berth.lane.drop()
        self._free.clear()
        self._forget_slowness()
        if transport.lanes != before:
            self.lanes_changed.set()
            self.lanes_changed = trio.Event()

    def _wake_all(self) -> None:
        for waiter in (*self._urgent, *self._bulk):
            waiter.event.set()

    def _serve(self) -> None:
        """Hand out what may be handed out now, and report what that changed."""
        while (self._urgent or self._bulk) and self._may_hand_out():
            if self.health is Health.RESTING:
                self.health = Health.HALF_OPEN
            probe = self._in_use >= self._most
            queue = self._bulk if probe and self._bulk else self._urgent or self._bulk
            waiter, berth = queue.popleft(), self._take()
            self._out.add(berth)
            berth.probe = probe
            waiter.berth = berth
            berth.round, berth.pace, berth.used = self._round, self._pace, False
            berth.begun_before, self._begun_at = self._begun_at, trio.current_time()
            berth.taken_at = self._begun_at
            waiter.event.set()
        if (self._urgent or self._bulk) and self._opens_at() > trio.current_time():
            (self._urgent or self._bulk)[0].event.set()  # it sleeps until then, and no longer
        if self._limit.found is not None and not self._limit_settled:
            self._limit_settled = all(berth.used or berth.lane.connected for berth in self._out)
        self._herald.report(self.standing())

    def _take(self) -> Berth:
        """A free lane, preferably one with a connection: another connection might exceed the limit."""
        for number in reversed(range(len(self._free))):
            if self._free[number].lane.connected:
                return self._free.pop(number)
        return self._free.pop() if self._free else self._new_berth()

    def _new_berth(self) -> Berth:
        return Berth(lane=self.transport.lane(), transport=self.transport)

    def _opens_at(self) -> float:
        """The moment on Trio's clock before which nothing begins."""
        if self.health is Health.RESTING:
            return self.rest_until
        opens = max(self._pause_until, self._begun_at + self._tempo.gap)
        if self._in_use >= self._most:
            return max(opens, self._limit.probe_at)
        return opens

    def _may_hand_out(self) -> bool:
        if self.health in OFF or trio.current_time() < self._opens_at():
            return False
        if len(self._out) >= self._tempo.lanes_allowed:
            return False
        if len(self._out) > self._in_use >= self._most:
            return False  # one at a time is tried beyond the limit
        return self.health is Health.READY or not any(berth.round == self._round for berth in self._out)

    @property
    def _most(self) -> int:
        """How many connections may be open, as far as the server has shown; all of them if it has not."""
        return self.transport.lanes if self._limit.found is None else self._limit.found

    @property
    def _in_use(self) -> int:
        """How many lanes are in use, not counting a probe for one more connection."""
        return sum(not berth.probe for berth in self._out)

    def _standing(self, *, but: Berth | None = None) -> int:
        """How many connections are open."""
        return sum(berth.lane.connected for berth in (*self._out, *self._free) if berth is not but)

    def _connected(self, berth: Berth) -> None:
        """The lane has a connection: if there are more than the limit allowed, the limit changes."""
        berth.probe = False
        if self._limit.found is None:
            return
        before, now = self._limit, trio.current_time()
        configured = self.transport.lanes
        self._limit = after_connect(before, self._standing(), now, configured=configured)
        self._limit_settled = self._limit_settled and self._limit.found is not None
        if self._limit is not before:
            self._serve()

    def _forget_slowness(self) -> None:
        self._tempo = full_speed(self.transport.lanes)
        self._limit, self._limit_settled = ConnectionLimit(), False

    def _epoch(self, moment: float) -> float | None:
        """A moment to come on Trio's clock in epoch seconds; None when it is over."""
        ahead = moment - trio.current_time()
        return self._now() + ahead if ahead > 0 else None
