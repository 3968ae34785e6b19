"""One limit: several rates that hold together, such as a provider's, and what was granted under them.

A rate is two promises. The hard one: in no stretch of time as long as its period (half open, wherever it
begins) are more slots granted than its amount. The soft one, for periods below an hour: the slots are spread
evenly, with a small burst, so that a dispatcher that wakes a moment late does not lose its turn. Longer
periods are quotas: usable at once, and then empty.

The hard promise is kept by counting. What was granted is in a chain of windows, one for each rate, the
shortest first: it is added to the first, and handed on when it is as old as the period of the window that it
is in. So a rate counts what is in its window and in those before it. The last windows have no rate: they
remember what a rate that is set later will count. Where much is granted a window joins what came close
together, and counts it as granted at the last moment: in bounded memory, never for too short a time, and for
at most 1/256 of the period too long.

The soft promise is kept by the generic cell rate algorithm (ITU-T I.371): a window knows when the next slot
would be due if all were spread evenly.

When the rates change, and after a restart, what was granted is counted again in a new chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from itertools import pairwise

from hubd.core.pacing import BURST, REMEMBERED, STEP, Rate, parse_rates, strictest
from hubd.core.warmup import Warmup, day_quota

Grant = tuple[float, int]  #: when the last of them was granted, and how many slots they are
Step = tuple[float, int]  #: when the ten seconds began in which so many slots are recorded
#: Up to how many grants are counted one by one, and into how many parts a period is divided for more.
PARTS = 256
#: For how long grants are remembered beyond all rates, and how closely: in seconds.
MEMORY = ((7200.0, 10.0), (REMEMBERED, 3600.0))
_NEVER = float("-inf")
_FOR_EVER = float("inf")


@dataclass(slots=True, eq=False)
class _Window:
    """What was granted less than `period` seconds ago, and is too old for the window before."""

    period: float
    width: float  #: seconds within which grants are joined
    amount: int = 0  #: of its rate, as the rest
    interval: float = 0.0
    slack: float = 0.0
    due: float = _NEVER  #: when the next slot is due
    next: _Window | None = None
    grants: list[Grant] = field(default_factory=list)  #: the oldest first
    slots: int = 0  #: in all of them
    first: float = _NEVER  #: when the newest of them began

    def add(self, at: float, slots: int) -> None:
        """Count what was granted at a time that is not before all others, and hand on what is too old."""
        grants = self.grants
        self.slots += slots
        if at - self.first <= self.width:
            grants[-1] = (at, grants[-1][1] + slots)
            return
        grants.append((at, slots))
        self.first = at
        old = at - self.period
        while grants[0][0] <= old:
            expired = grants.pop(0)
            self.slots -= expired[1]
            if self.next is not None:
                self.next.add(*expired)


@dataclass(slots=True, weakref_slot=True, eq=False, repr=False)
class RateLimiter:
    """Rates that hold together, and a warm-up. Only a provider's dispatcher takes slots: no task waits here.

    Times are in seconds of a clock that never goes backwards. Raises `BadInput` for what is not a rate.
    """

    rates: Sequence[str] = ()
    _: KW_ONLY
    name: str = ""  #: what it granted is recorded under it with each attempt
    past: InitVar[Iterable[Grant]] = ()  #: what was granted before, the oldest first
    burst: float = BURST  #: how many seconds' worth of slots may come at once
    memory: Sequence[tuple[float, float]] = MEMORY
    limited: bool = field(init=False, default=False)  #: whether it can hold anybody up at all
    #: Seconds between slots under the rate that holds the next one up the longest; 0 without one.
    interval: float = field(init=False, default=0.0)
    _own: tuple[Rate, ...] = field(init=False)
    _rated: list[_Window] = field(init=False, default_factory=list)  # the windows with a rate
    _windows: list[_Window] = field(init=False)  # all, the shortest period first
    _opens: float = field(init=False, default=_NEVER)  # when a single slot is free
    _warmup: Warmup | None = field(init=False, default=None)
    _began: float | None = field(init=False, default=None)  # when the warm-up did
    _quota: tuple[Rate, ...] = field(init=False, default=())  # of the warm-up, as it is now
    _grows_at: float = field(init=False, default=_FOR_EVER)

    def __post_init__(self, past: Iterable[Grant]) -> None:
        self.rates = tuple(self.rates)
        self._own = parse_rates(self.rates)
        self._count(past)

    # -- its rates ---------------------------------------------------------------------------------

    def change(self, rates: Sequence[str]) -> None:
        """Use other rates from now on; what was granted counts under them too. Raises `BadInput`."""
        if tuple(rates) != self.rates:
            self._own, self.rates = parse_rates(rates), tuple(rates)
            self._count(self.granted)

    def warm_up(self, warmup: Warmup | None, began: float | None = None) -> None:
        """Let a quota for the day grow with time, or no more. `began` is when the first message went; without
        it the warm-up begins with the next one.
        """
        if warmup != self._warmup:
            self._warmup = warmup
            self._began = began if self._began is None else self._began
            self._grow(self._began or 0.0)

    def _grow(self, now: float) -> None:
        self._quota, self._grows_at = (), _FOR_EVER
        if self._warmup is not None:
            began = now if self._began is None else self._began
            quota, grows = day_quota(self._warmup, now - began)
            self._quota = (quota,)
            self._grows_at = _FOR_EVER if self._began is None else began + grows
        self._count(self.granted)

    def _count(self, past: Iterable[Grant]) -> None:
        """Make the windows for the rates as they are now, and count in them what was granted."""
        due = {window.period: window.due for window in self._rated}
        rates = strictest((*self._own, *self._quota))
        self._rated = [
            _Window(
                rate.period,
                rate.period / PARTS if rate.amount > PARTS else 0.0,
                rate.amount, rate.interval, rate.slack(self.burst),
            )
            for rate in rates
        ]  # fmt: skip
        longest = rates[-1].period if rates else 0.0
        self._windows = [*self._rated, *(_Window(*each) for each in self.memory if each[0] > longest)]
        for window, after in pairwise(self._windows):
            window.next = after
        at = _NEVER
        for at, slots in past:
            self._windows[0].add(at, slots)
        for window in self._rated:
            # Of what was granted under no such rate it is not known how close together it came.
            window.due = due.get(window.period, at + window.interval)
        self.limited = bool(rates)
        self._opens, self.interval = self._free_at(1)

    # -- its slots ---------------------------------------------------------------------------------

    def opens_at(self, now: float, cost: int = 1) -> float:
        """When this many slots are free, without taking them: `now`, or a later time at which to ask again.

        That may come earlier, when the quota for the day grows. What costs more slots than a rate has goes
        when all of them are free.
        """
        if not self.limited:
            return now
        if now >= self._grows_at:
            self._grow(now)
        opens = self._opens if cost == 1 else self._free_at(cost)[0]
        return min(opens, self._grows_at) if opens > now else now

    def take(self, now: float, cost: int = 1) -> None:
        """Take the slots that `opens_at` said are free."""
        self._windows[0].add(now, cost)
        if self.limited:
            for window in self._rated:
                window.due = (window.due if window.due > now else now) + cost * window.interval
            self._opens, self.interval = self._free_at(1)
            if self._warmup is not None and self._began is None:
                self._began = self._grows_at = now  # when it is to be looked at again

    @property
    def granted(self) -> list[Grant]:
        """What it granted as far as it is remembered, the oldest first."""
        return [grant for window in reversed(self._windows) for grant in window.grants]

    def _free_at(self, cost: int) -> tuple[float, float]:
        """From when on so many slots can be granted at once, perhaps long past, and the interval of the rate
        that lets them go last.
        """
        opens, interval, slots = _NEVER, 0.0, 0
        for n, window in enumerate(self._rated):
            slots += window.slots
            at = window.due - window.slack
            if slots + cost > window.amount:
                at = max(at, self._room_at(n, slots + cost - window.amount))
            if at > opens:
                opens, interval = at, window.interval
        return opens, interval

    def _room_at(self, n: int, surplus: int) -> float:
        """When so many of the slots that the rate of window `n` counts have expired, or all of them."""
        room = _NEVER
        for window in reversed(self._rated[: n + 1]):
            for at, slots in window.grants:
                if surplus <= 0:
                    return room
                surplus -= slots
                room = at + self._rated[n].period
        return room


def grants_of(steps: Iterable[Step], recorded_now: float, now: float) -> list[Grant]:
    """Recorded steps, the oldest first, as what was granted: each at the latest moment it can have been.

    They are on the clock that shows `recorded_now`, the grants on the one that shows `now`. A step that lasts
    still, or lies in the future because the clock was set back, counts as granted now: so no message waits
    longer than a period for it.
    """
    return [(now - max(0.0, recorded_now - began - STEP), slots) for began, slots in steps]
