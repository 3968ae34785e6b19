"""One limit: several rates that hold together, such as a provider's, and what was granted under them.

`core.pacing` decides when the next slot is; a limiter remembers what it granted. Times are on Trio's clock: a
step of the wall clock neither grants a burst nor starves anybody. Only a provider's dispatcher takes slots,
so nobody waits here.
"""

from __future__ import annotations

from collections.abc import Sequence

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


class RateLimiter:
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
        "_ramp",
        "_ramp_began",
        "_soonest",
        "_state",
        "_steps",
        "_thin_at",
        "limited",
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
        """When so many slots are free, without taking them: `now`, or a later time at which to ask again.

        That may come earlier, when the quota for the day grows.
        """
        if not self.limited:
            return now
        if now >= self._grows_at:
            self._fit([parse_rate(text) for text in self.rates])
        soonest = self._soonest if cost == 1 else free_at(self._pace, self._state, cost)
        return min(soonest, self._grows_at) if soonest > now else now

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
