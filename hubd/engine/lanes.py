"""The connections of one provider, shared by everything that sends through it.

A pool hands out lanes. One-off messages come first: a bulk worker hands its warm connection over after the
message it is sending. Campaigns take turns: a worker that has held a lane for a while passes it on when
another campaign waits.

A pool also knows how the provider is. Nothing is known at first, and again after trouble, so that only one
lane is handed out until it has proved that the provider answers: a wrong password costs one login, not one
per connection. After trouble the provider rests, longer each time; a trouble that needs a person stops it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import trio

from hubd.core.verdict import rest_delay
from hubd.engine.ports import Lane, Transport


class Health(StrEnum):
    """How a provider is."""

    UNPROVEN = "unproven"  #: nothing is known: one lane at a time
    READY = "ready"
    RESTING = "resting"  #: in trouble; tried again at `rest_until`
    STOPPED = "stopped"  #: needs a person
    DISABLED = "disabled"  #: switched off by a person


class ProviderStopped(Exception):
    """The provider cannot be used until a person acts; `str()` is the reason."""


@dataclass(slots=True, eq=False)
class Berth:
    """A lane in use. `round` tells news of now from news of before the last trouble."""

    lane: Lane
    transport: Transport
    round: int = 0
    taken_at: float = 0.0


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
    #: So many lost answers in a row are the provider's trouble: it rests before more people are in doubt.
    LOST_IN_A_ROW = 5

    def __init__(self, transport: Transport, jitter: Callable[[], float]) -> None:
        self.transport = transport
        self.health = Health.UNPROVEN
        self.reason = ""
        self.rest_until = 0.0
        self._jitter = jitter
        self._failures = 0
        self._lost = 0
        self._round = 0
        self._old: list[Transport] = []  # replaced, with messages still on the wire
        self._free: list[Berth] = []
        self._out: set[Berth] = set()
        self._urgent: deque[_Waiter] = deque()
        self._bulk: deque[_Waiter] = deque()

    async def borrow(self, owner: object, *, urgent: bool = False) -> Berth:
        """Wait for a lane. Raises `ProviderStopped` when it takes a person to go on."""
        waiter = _Waiter(owner=owner)
        queue = self._urgent if urgent else self._bulk
        queue.append(waiter)
        try:
            self._serve()
            while waiter.berth is None:
                if self.health in (Health.STOPPED, Health.DISABLED):
                    raise ProviderStopped(self.reason)
                until = self.rest_until if self.health is Health.RESTING else float("inf")
                with trio.move_on_at(until):
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

    def give_back(self, berth: Berth) -> None:
        """Return a lane, connected or not."""
        self._out.discard(berth)
        if berth.transport is self.transport:
            berth.taken_at = trio.current_time()
            self._free.append(berth)
        else:
            berth.lane.drop()
        self._serve()

    def wanted(self, berth: Berth, owner: object) -> bool:
        """Whether a bulk worker should pass its lane on before it begins another message."""
        if self._urgent or self.in_trouble(berth):
            return True
        if trio.current_time() - berth.taken_at < self.TURN:
            return False
        return any(waiter.owner is not owner for waiter in self._bulk)

    def in_trouble(self, berth: Berth) -> bool:
        """Whether there was trouble since this lane was taken, so that nothing more may begin on it."""
        return berth.round != self._round

    def ready(self, berth: Berth) -> None:
        """A message was prepared. It proves the account where preparing it talks to the provider."""
        if self.transport.talks_first and self._lost < self.LOST_IN_A_ROW:
            self._prove(berth)

    def answered(self, berth: Berth) -> None:
        """The provider gave an answer that is about the message: it works."""
        self._lost = 0
        self._prove(berth)

    def _prove(self, berth: Berth) -> None:
        if self.health is Health.READY or berth.round != self._round:
            return
        if self.health in (Health.UNPROVEN, Health.RESTING):
            self.health, self.reason, self._failures = Health.READY, "", 0
            self._serve()

    def lost(self, berth: Berth, reason: str) -> None:
        """An answer was lost after the irrevocable byte."""
        self._lost += 1
        if self._lost >= self.LOST_IN_A_ROW:
            self.trouble(berth, reason)

    def trouble(self, berth: Berth, reason: str, retry_after: float | None = None) -> None:
        """The provider cannot be used for now; it rests. Late news of the same trouble counts once."""
        if berth.round != self._round or self.health in (Health.STOPPED, Health.DISABLED):
            return
        self._round += 1
        self._failures += 1
        pause = rest_delay(self._failures, self._jitter())
        self.health, self.reason = Health.RESTING, reason
        self.rest_until = trio.current_time() + max(pause, retry_after or 0.0)
        self._wake_all()

    def stop(self, reason: str, health: Health = Health.STOPPED) -> None:
        """The provider needs a person: everybody who waits or comes gets `ProviderStopped`."""
        self._round += 1
        self.health, self.reason = health, reason
        self._wake_all()

    def revive(self, transport: Transport | None = None) -> None:
        """Try again, with a new transport if one is given.

        What is on the wire through the old transport ends in its own time; then the old one is closed.
        """
        if transport is not None:
            self._old.append(self.transport)
            self.transport = transport
            for berth in self._free:
                berth.lane.drop()
            self._free.clear()
        self._round += 1
        self._failures = 0
        self.health, self.reason, self.rest_until = Health.UNPROVEN, "", 0.0
        self._wake_all()
        self._serve()

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

    @property
    def idle(self) -> bool:
        """Whether nothing is on any wire."""
        return not self._out

    async def aclose(self) -> None:
        """Close every connection and the transport."""
        for berth in (*self._free, *self._out):
            berth.lane.drop()
        self._free.clear()
        for transport in (*self._old, self.transport):
            await transport.aclose()

    def _wake_all(self) -> None:
        for waiter in (*self._urgent, *self._bulk):
            waiter.event.set()

    def _serve(self) -> None:
        while (self._urgent or self._bulk) and self._may_hand_out():
            waiter = (self._urgent or self._bulk).popleft()
            berth = self._free.pop() if self._free else self._new_berth()
            berth.round, berth.taken_at = self._round, trio.current_time()
            self._out.add(berth)
            waiter.berth = berth
            waiter.event.set()

    def _new_berth(self) -> Berth:
        return Berth(lane=self.transport.lane(), transport=self.transport)

    def _may_hand_out(self) -> bool:
        if self.health is Health.RESTING and trio.current_time() >= self.rest_until:
            self.health = Health.UNPROVEN
        if len(self._out) >= self.transport.lanes:
            return False
        if self.health is Health.UNPROVEN:
            return not any(berth.round == self._round for berth in self._out)
        return self.health is Health.READY
