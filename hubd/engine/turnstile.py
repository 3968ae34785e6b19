"""Where tasks wait for their turn under a rate.

`core.pacing` decides when the next slot is; a turnstile remembers the state and sleeps. Times are on Trio's
monotonic clock: a step of the wall clock neither grants a burst nor starves anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from hubd.core.pacing import Pace, PaceState, next_slot, parse_pace


class Turnstile:
    """One set of rates that hold together, such as a provider's or a campaign's."""

    def __init__(self, rates: Sequence[str] = ()) -> None:
        self.rates: tuple[str, ...] = ()
        self.claims = 0  #: how many one-off messages wait for a slot; bulk leaves it to them
        self._pace = Pace()
        self._state = PaceState()
        self.change(rates)

    def change(self, rates: Sequence[str]) -> None:
        """Use other rates from now on; what was sent counts under them too. Waiters see it in a second."""
        if tuple(rates) == self.rates:
            return
        self.rates = tuple(rates)
        self._pace = parse_pace(rates)

    def opens_at(self, now: float) -> float:
        """When the next slot is free, without taking it."""
        if not self.rates:
            return now
        _, when = next_slot(self._pace, self._state, now)
        return when

    def take(self, now: float) -> None:
        """Take the slot that `opens_at` said is free."""
        if self.rates:
            self._state, _ = next_slot(self._pace, self._state, now)


class Gate:
    """Several turnstiles that a message has to pass at the same instant, or not at all."""

    #: Upper bound of one sleep in seconds, so that changed rates are noticed.
    NAP = 1.0
    #: Seconds that bulk sleeps when a slot is free but a one-off message has a claim on it.
    GIVE_WAY = 0.02

    def __init__(self, *turnstiles: Turnstile, urgent: bool = False) -> None:
        self._turnstiles = turnstiles
        self._urgent = urgent
        self._queue = trio.Lock()  # one sleeper per gate: the rest wait in order without waking each other

    @contextmanager
    def claim(self) -> Iterator[None]:
        """While an urgent gate waits for its slot, no other takes one."""
        for turnstile in self._turnstiles:
            turnstile.claims += self._urgent
        try:
            yield
        finally:
            for turnstile in self._turnstiles:
                turnstile.claims -= self._urgent

    def try_take(self) -> bool:
        """Take a slot in all of them now, or in none."""
        now = trio.current_time()
        for turnstile in self._turnstiles:
            if turnstile.rates and ((turnstile.claims and not self._urgent) or turnstile.opens_at(now) > now):
                return False
        for turnstile in self._turnstiles:
            turnstile.take(now)
        return True

    async def wait(self) -> None:
        """Sleep until a slot is free in all of them. It is not taken: somebody else may be quicker."""
        async with self._queue:
            while True:
                now = trio.current_time()
                opens = max((turnstile.opens_at(now) for turnstile in self._turnstiles), default=now)
                if opens <= now and not self._must_give_way():
                    return
                await trio.sleep(min(max(opens - now, self.GIVE_WAY), self.NAP))

    def _must_give_way(self) -> bool:
        return not self._urgent and any(t.rates and t.claims for t in self._turnstiles)
