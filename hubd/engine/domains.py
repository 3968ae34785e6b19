"""The domains that a provider sends to: their rates, and which of them rest.

A rate such as "gmail.com" = "10/s" must not hold up the rows to other domains, so no worker waits for a
domain's limiter. A row whose domain has no slot is deferred and returns automatically. The put-offs of one
domain are spread along its rate, a little wider than the slots, so that nearly every row finds its slot free
then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import trio

from hubd.core.limiter import MEMORY, Grant, RateLimiter
from hubd.core.pacing import longest_period, parse_rates

_URGENT = "urgent"  #: the owner of what takes the next slot


@dataclass(frozen=True, slots=True)
class _Rest:
    until: float
    length: float
    detail: str


class Domains:
    """Rates of destination domains on one provider. "*" is each domain without rates of its own, for itself.

    `spent` is what is recorded of each domain, the oldest first, on Trio's clock.
    """

    #: Seconds ahead of now that a row is put off at most.
    HORIZON = 900.0
    #: How much wider than the slots put-offs are spread.
    SPREAD = 1.05
    #: How many seconds' worth of slots may come at once: rows come back when the database is read.
    BURST = 1.0
    #: Seconds that a domain in trouble rests, at first and at most.
    REST, LONGEST_REST = 60.0, 3600.0
    #: Seconds added to each put-off: epoch seconds are coarse floats, and a row that comes back a hair too
    #: early would be put off to the very same moment for ever.
    TICK = 0.001
    #: For how long, and how closely, the limiters of the many others remember what may not be recorded yet.
    UNRECORDED = (60.0, 10.0)
    #: Seconds for which an acceptance says that the provider works, and of how many domains it is known.
    RECENT, RECENT_DOMAINS = 30.0, 256
    #: How many domains under "*" have their limiter at the ready ...
    READY = 4096
    #: ... and of how many more it is known what they were sent. Beyond that the smallest are forgotten.
    REMEMBERED = 50_000

    def __init__(
        self, provider: str, rates: Mapping[str, Sequence[str]], spent: Mapping[str, Sequence[Grant]]
    ) -> None:
        self.rates: Mapping[str, Sequence[str]] = {}
        self._prefix = f"domain/{provider}/"
        self._named: dict[str, RateLimiter] = {}
        self._others: OrderedDict[str, RateLimiter] = OrderedDict()  # under "*"
        self._known: dict[str, Sequence[Grant]] = {}  # of others without a limiter now
        self._lines: dict[str, dict[object, float]] = {}  # the end of each owner's line of rows put off
        self._accepting: OrderedDict[str, tuple[float, int]] = OrderedDict()  # when it last took a message
        self._acceptances = 0
        self._resting: dict[str, _Rest] = {}
        self.change(rates, spent)

    def change(self, rates: Mapping[str, Sequence[str]], spent: Mapping[str, Sequence[Grant]]) -> None:
        """Use other rates from now on; what was sent counts under them. Raises `BadInput`."""
        for texts in rates.values():
            parse_rates(texts)
        every = rates.get("*", ())
        further = longest_period(every) > longest_period(self.rates.get("*", ()))
        recent = trio.current_time() - self.UNRECORDED[0]
        leaving = [(domain, limiter) for domain, limiter in self._named.items() if domain not in rates]
        own = {domain: limiter.granted for domain, limiter in (*self._others.items(), *leaving)}
        known = dict(spent)
        for domain, granted in (self._known | own).items():
            if domain in rates or further:  # than it remembers: what is recorded, and what may not be so yet
                granted = sorted([*spent.get(domain, ()), *(each for each in granted if each[0] > recent)])
            known[domain] = granted
        self.rates = rates
        self._named = {
            domain: self._named.get(domain) or self._limiter(domain, known.pop(domain, ()), MEMORY)
            for domain in rates
            if domain != "*"
        }
        for domain, limiter in self._named.items():
            limiter.change(rates[domain])
        self._others.clear()
        self._known = known if every else {}
        self._forget()

    # -- rates -------------------------------------------------------------------------------------

    def find(self, recipient: str) -> RateLimiter | None:
        """The limiter of a recipient's domain; None when no rate is set for it."""
        if not self.rates:
            return None
        domain = recipient.rpartition("@")[2]
        found = self._named.get(domain)
        if found is not None or "*" not in self.rates or domain == recipient:
            return found
        found = self._others.get(domain)
        if found is None:
            found = self._others[domain] = self._limiter(domain, self._known.pop(domain, ()))
            self._evict()
        self._others.move_to_end(domain)
        return found

    def held_until(
        self, recipient: str, now_wall: float, *, owner: object = None, urgent: bool = False
    ) -> tuple[float, str] | None:
        """Until when a row to this recipient is to be put off, in seconds since the epoch, and why: its
        domain's rate ("domain_rate") or trouble ("domain_resting"). None: it may go now.

        Asking takes a place in the line that the `owner`, a campaign, has at the domain: ask when the row is
        about to be put off. The lines move alike; what is `urgent` takes the next slot and stands in none.
        """
        if not self.rates and not self._resting:
            return None
        now = trio.current_time()
        domain = recipient.rpartition("@")[2]
        rest = self._resting.get(domain)
        if rest is not None and rest.until > now:
            return now_wall + min(rest.until - now + self.TICK, self.HORIZON), "domain_resting"
        limiter = self.find(recipient)
        if limiter is None:
            return None
        opens, lines = limiter.opens_at(now), self._lines.get(domain, {})
        if urgent:
            owner = _URGENT
        else:
            opens = max(opens, lines.get(_URGENT, opens))
        if opens <= now:
            if urgent:
                lines.pop(owner, None)
            return None
        place = opens if urgent else max(opens, lines.get(owner, opens))
        if place < now + self.HORIZON:  # if not, it takes its place when it asks again there
            lines = {other: end for other, end in lines.items() if end > now} | {owner: place}
            lines[owner] += limiter.interval * (1.0 if urgent else self.SPREAD * len(lines))
            self._lines[domain] = lines
            if len(self._lines) > self.READY:
                self._lines = {
                    name: ends for name, ends in self._lines.items() if max(ends.values(), default=0) > now
                }
        return now_wall + min(place - now + self.TICK, self.HORIZON), "domain_rate"

    # -- trouble -----------------------------------------------------------------------------------

    def rest(self, recipient: str, detail: str) -> None:
        """The recipient's domain is in trouble: nothing goes there for a minute, twice as long each time."""
        now = trio.current_time()
        domain = recipient.rpartition("@")[2]
        before = self._resting.get(domain)
        if before is not None and before.until > now:
            return  # late news of the same trouble
        length = self.REST if before is None else min(2 * before.length, self.LONGEST_REST)
        if len(self._resting) >= self.READY:
            self._resting = {name: each for name, each in self._resting.items() if each.until > now}
        self._resting[domain] = _Rest(now + length, length, detail)

    def well(self, recipient: str) -> None:
        """The recipient's domain took a message: it rests no longer."""
        domain = recipient.rpartition("@")[2]
        self._acceptances += 1
        self._accepting[domain] = (trio.current_time(), self._acceptances)
        self._accepting.move_to_end(domain)
        if len(self._accepting) > self.RECENT_DOMAINS:
            self._accepting.popitem(last=False)
        if self._resting:
            self._resting.pop(domain, None)

    def accepted_elsewhere(self, domain: str) -> int:
        """The number of the newest message that another domain took in the last half minute; 0 for none.

        Whoever sent it: so that one campaign's refusals at one domain are not taken for the provider's.
        """
        since = trio.current_time() - self.RECENT
        for other in reversed(self._accepting):
            when, number = self._accepting[other]
            if when < since:
                return 0
            if other != domain:
                return number
        return 0

    def resting(self, now_wall: float) -> dict[str, tuple[float, str]]:
        """The domains that rest now: until when, in seconds since the epoch, and why."""
        now = trio.current_time()
        return {
            domain: (now_wall + (rest.until - now), rest.detail)
            for domain, rest in self._resting.items()
            if rest.until > now
        }

    # -- memory ------------------------------------------------------------------------------------

    def _limiter(
        self, domain: str, past: Iterable[Grant], memory: Sequence[tuple[float, float]] = (UNRECORDED,)
    ) -> RateLimiter:
        rates = self.rates.get(domain) or self.rates["*"]
        return RateLimiter(rates, name=self._prefix + domain, past=past, burst=self.BURST, memory=memory)

    def _evict(self) -> None:
        """Keep the limiter of the domains that were needed last, and of the rest only what they used."""
        while len(self._others) > self.READY:
            domain, limiter = self._others.popitem(last=False)
            self._known[domain] = limiter.granted
            if len(self._known) > self.REMEMBERED:
                self._forget()

    def _forget(self) -> None:
        """Forget domains whose slots are all free again; if they are still too many, the smallest ones."""
        full = trio.current_time() - longest_period(self.rates.get("*", ()))
        self._known = {
            domain: grants for domain, grants in self._known.items() if grants and grants[-1][0] > full
        }
        if len(self._known) > self.REMEMBERED:
            by_size = sorted(self._known.items(), key=lambda item: -sum(slots for _, slots in item[1]))
            self._known = dict(by_size[: self.REMEMBERED * 4 // 5])
