"""Where tasks wait for their turn under a rate.

`core.pacing` decides when the next slot is; a turnstile remembers what it granted, and a gate waits at
several of them at once. Times are on Trio's monotonic clock: a step of the wall clock neither grants a burst
nor starves anybody.

Turnstiles are shared, so somebody has to go first. That is start-time fair queueing (Goyal, Vin and Cheng
1996) with equal weights: each slot that an owner takes moves its place in line back by one, and who comes new
begins where the line is now, without credit for the past. Only those count who wait for nothing but the slot:
an owner that its own limit holds up, or a lane, holds nobody else up. One-off messages go before all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import trio

from hubd.core.pacing import (
    BURST,
    REMEMBERED,
    STEP,
    Pace,
    PaceState,
    Rate,
    Step,
    fitted,
    free_at,
    granted,
    holding_interval,
    parse_rate,
    replay,
    thinned,
)
from hubd.core.warmup import Warmup, day_quota, grows_at

_NEVER = float("-inf")
_Place = tuple[bool, float, int]  #: not urgent, how much was served, when it came: the lowest goes first


class Turnstile:
    """One set of rates that hold together, such as a provider's or a campaign's.

    `name` is what its usage is recorded under, `steps` what was recorded before, oldest first and on this
    clock. `burst` is how many seconds' worth of slots may come at once. What it granted is remembered for
    `keep` seconds, so that a rate that is added later counts it too.
    """

    __slots__ = (
        "__weakref__",
        "_began",
        "_burst",
        "_fresh",
        "_grows_at",
        "_keep",
        "_pace",
        "_places",
        "_ramp",
        "_ramp_began",
        "_served",
        "_soonest",
        "_state",
        "_steps",
        "_thin_at",
        "limited",
        "line",
        "name",
        "rates",
    )

    def __init__(
        self,
        rates: Sequence[str] = (),
        *,
        name: str = "",
        steps: Sequence[Step] = (),
        burst: float = BURST,
        keep: float = REMEMBERED,
    ) -> None:
        self.name = name
        self.rates: tuple[str, ...] = ()
        self.limited = False  #: whether it can hold anybody up at all
        self.line: dict[Gate, None] = {}  #: the gates that wait here
        self._burst = burst
        self._keep = keep
        self._pace = Pace(burst=burst)
        self._state = PaceState()
        self._soonest = _NEVER  # when a single slot is free
        self._steps = list(steps)
        self._began, self._fresh = _NEVER, 0  # the step that is being filled
        self._thin_at = 256
        self._ramp: Warmup | None = None
        self._ramp_began: float | None = None
        self._grows_at = float("inf")
        self._places: dict[object, float] = {}
        self._served = 0.0
        self.change(rates)

    # -- its rates ---------------------------------------------------------------------------------

    def change(self, rates: Sequence[str]) -> None:
        """Use other rates from now on; what was sent counts under them too. Raises `BadInput`."""
        if tuple(rates) != self.rates:
            self._fit([parse_rate(text) for text in rates])
            self.rates = tuple(rates)

    def warm_up(self, warmup: Warmup | None, began: float | None = None) -> None:
        """Let a quota for the day grow with time, or no more. `began` is when the first message went, on this
        clock; without it the ramp begins with the next one.
        """
        if warmup != self._ramp:
            self._ramp = warmup
            self._ramp_began = began if self._ramp_began is None else self._ramp_began
            self._fit([parse_rate(text) for text in self.rates])

    def _fit(self, rates: list[Rate]) -> None:
        self._grows_at = float("inf")
        if self._ramp is not None:
            age = 0.0 if self._ramp_began is None else trio.current_time() - self._ramp_began
            rates = [*rates, day_quota(self._ramp, age)]
            if self._ramp_began is not None:
                self._grows_at = self._ramp_began + grows_at(self._ramp, age)
        self._pace = Pace(tuple(rates), self._burst)
        self._state = self._with_history(self._state)
        self._soonest = free_at(self._pace, self._state)
        self.limited = bool(rates)
        for gate in self.line:
            gate.wake()

    def _with_history(self, state: PaceState) -> PaceState:
        """The state with what was granted under periods that were not limited until now."""
        known = {used.period for used in state.used}
        steps = self.steps
        if steps and any(rate.period not in known for rate in self._pace.rates):
            now = trio.current_time()
            past = replay(self._pace, steps, now, now)
            state = PaceState(
                state.last, (*past.used, *state.used)
            )  # what was seen exactly comes last: it wins
        return fitted(self._pace, state)

    # -- its slots ---------------------------------------------------------------------------------

    def opens_at(self, now: float, cost: int = 1) -> float:
        """When so many slots are free, without taking them: `now` or later."""
        if not self.limited:
            return now
        if now >= self._grows_at:
            self._fit([parse_rate(text) for text in self.rates])
        soonest = self._soonest if cost == 1 else free_at(self._pace, self._state, cost)
        return soonest if soonest > now else now

    def take(self, now: float, cost: int = 1) -> None:
        """Take the slots that `opens_at` said are free."""
        if now - self._began < STEP:
            self._fresh += cost
        else:
            self._next_step(now, cost)
        if self.limited:
            self._state = granted(self._pace, self._state, now, cost)
            self._soonest = free_at(self._pace, self._state)

    def interval(self) -> float:
        """Seconds between slots under the rate that holds the next one up the longest; 0 without rates."""
        return holding_interval(self._pace, self._state)

    @property
    def steps(self) -> list[Step]:
        """What it granted, and what was recorded before, oldest first."""
        return [*self._steps, (self._began, self._fresh)] if self._fresh else list(self._steps)

    def _next_step(self, now: float, cost: int) -> None:
        if self._ramp is not None and self._ramp_began is None:
            self._ramp_began = now
            self._fit([parse_rate(text) for text in self.rates])
        self._steps = self.steps
        self._began, self._fresh = now, cost
        if len(self._steps) >= self._thin_at:
            self._steps = thinned(self._steps, now, self._keep)
            self._thin_at = 2 * len(self._steps) + 256

    # -- who goes first ----------------------------------------------------------------------------

    def place_of(self, owner: object) -> float:
        """Where an owner stands that asks now."""
        return max(self._served, self._places.get(owner, 0.0))

    def serve(self, owner: object, place: float, cost: int) -> None:
        """An owner that stood at `place` was given its slots."""
        self._served = max(self._served, place)
        self._places[owner] = place + cost
        if len(self._places) > 64:
            self._places = {who: at for who, at in self._places.items() if at > self._served}


_arrivals = count()


class Gate:
    """Several turnstiles that a message has to pass at the same instant, or not at all.

    The first one, the provider's, keeps the line; None stands for none. `owner` is who is served, such as a
    campaign, and an urgent gate goes before all others. All of a campaign's workers share one gate.
    """

    #: Upper bound of one sleep in seconds, should a wake-up ever be missed.
    NAP = 1.0

    def __init__(self, *turnstiles: Turnstile | None, owner: object = None, urgent: bool = False) -> None:
        self._turnstiles = tuple(turnstile for turnstile in turnstiles if turnstile is not None)
        self._owner = self if owner is None else owner
        self._urgent = urgent
        self._queue = trio.Lock()  # one sleeper per gate: the rest wait in order without waking each other
        self._claims = 0
        self._asking = 0  # how many of its workers wait for a slot
        self._cost = 1  # what the one in front asks for
        self._place: _Place | None = None  # kept from asking until being served
        self._bell = trio.Event()
        self._timed = False  # asleep until the slot is free, rather than until the bell rings
        #: The names under which a message that passed is recorded.
        self.limits = tuple(turnstile.name for turnstile in self._turnstiles if turnstile.name)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Around waiting for a slot and for a lane. As long as an urgent gate has a claim, and no limit of
        its own holds it up, no other takes a slot.
        """
        self._claims += 1
        if self._urgent:
            self._line_up()
        try:
            yield
        finally:
            self._claims -= 1
            if not self._claims:
                self._place = None
            self._leave_line()

    def try_take(self, cost: int = 1, also: Turnstile | None = None) -> bool:
        """Take `cost` slots in all of them now, and in `also`, or in none."""
        now = trio.current_time()
        limited = False
        for turnstile in self._turnstiles:
            if turnstile.limited:
                if turnstile.opens_at(now, cost) > now:
                    return False
                limited = True
        if also is not None and also.opens_at(now, cost) > now:
            return False
        if limited and self._somebody_first(now, cost):
            return False
        for turnstile in self._turnstiles:
            turnstile.take(now, cost)
        if also is not None:
            also.take(now, cost)
        if limited:
            self._served(now, cost)
        return True

    def may_take(self, cost: int = 1) -> bool:
        """Whether `try_take` would succeed now, as far as it is up to these turnstiles."""
        now = trio.current_time()
        return not self._closed(now, cost) and not self._somebody_first(now, cost)

    async def wait(self, cost: int = 1) -> None:
        """Sleep until `cost` slots are free in all of them and it is this gate's turn. They are not taken:
        somebody else may be quicker.
        """
        self._asking += 1
        self._line_up()
        try:
            async with self._queue:
                self._cost = cost
                while (until := self._held_until(trio.current_time())) is not None:
                    self._bell = trio.Event()
                    with trio.move_on_at(until):
                        await self._bell.wait()
                    self._timed = False
        finally:
            self._asking -= 1
            self._timed = False
            self._leave_line()

    def wake(self) -> None:
        """Something changed that it may wait for."""
        self._bell.set()

    # -- the line ----------------------------------------------------------------------------------

    def _line_up(self) -> None:
        for turnstile in self._turnstiles:
            turnstile.line[self] = None
        if self._place is None:
            self._place = self._new_place()

    def _leave_line(self) -> None:
        if not self._asking and not (self._urgent and self._claims):
            for turnstile in self._turnstiles:
                turnstile.line.pop(self, None)
        self._wake_next(trio.current_time())

    def _new_place(self) -> _Place:
        at = self._turnstiles[0].place_of(self._owner) if self._turnstiles else 0.0
        return (not self._urgent, at, next(_arrivals))

    def _served(self, now: float, cost: int) -> None:
        place = self._place or self._new_place()
        self._turnstiles[0].serve(self._owner, place[1], cost)
        self._place = self._new_place() if self._asking or self._claims else None
        self._wake_next(now)

    def _held_until(self, now: float) -> float | None:
        """Until when to sleep; None when there is nothing to wait for."""
        if self._somebody_first(now, self._cost):
            return now + self.NAP  # whoever is first wakes the next
        opens = max((turnstile.opens_at(now, self._cost) for turnstile in self._turnstiles), default=now)
        if opens <= now:
            return None
        self._timed = True
        return min(opens, now + self.NAP)

    def _somebody_first(self, now: float, cost: int) -> bool:
        """Whether another gate, with a better place in line, waits for the slot that this one would take."""
        closed = self._closed(now, cost)
        place = self._place
        for turnstile in self._turnstiles:
            if not turnstile.limited or not turnstile.line or not _only(turnstile, closed):
                continue
            place = place or self._new_place()
            for other in turnstile.line:
                if other is self or other._place is None or other._place > place:
                    continue
                wants = other._asking or (other._urgent and not self._urgent)
                if wants and _only(turnstile, other._closed(now, other._cost)):
                    return True
        return False

    def _closed(self, now: float, cost: int) -> list[Turnstile]:
        """Those of its turnstiles that hold it up now."""
        return [each for each in self._turnstiles if each.limited and each.opens_at(now, cost) > now]

    def _wake_next(self, now: float) -> None:
        """At each turnstile wake whose turn it is now, and who waited for a turn that can no longer come."""
        for turnstile in self._turnstiles:
            if not turnstile.limited or not turnstile.line:
                continue
            first: Gate | None = None
            for gate in turnstile.line:
                if not gate._asking or gate._place is None:
                    continue
                closed = gate._closed(now, gate._cost)
                if _only(turnstile, closed):
                    if first is None or first._place is None or gate._place < first._place:
                        first = gate
                elif not gate._timed and (len(closed) > 1 or len(closed[0].line) < 2):
                    gate.wake()
            if first is not None and not first._timed:
                first.wake()


def _only(turnstile: Turnstile, closed: list[Turnstile]) -> bool:
    """Whether nothing else than this turnstile holds a gate up: it waits for its slot."""
    return not closed or (len(closed) == 1 and closed[0] is turnstile)
