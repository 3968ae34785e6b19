"""The same refusal for one recipient after another is not about those recipients.

A spam block refuses everybody, and so does a server that is out of order. After `LIMIT` distinct recipients
in a row, or half of the last `WINDOW`, a refusal is not about the recipient: a permanent one pauses the
campaign, a temporary one rests the provider; or only the destination domain, when all of them are in it
while other domains accept. The recipients that were refused before it was noticed are requeued as if never
tried.

There are two exceptions. When only one domain refuses recipients at RCPT while this campaign's messages are
accepted, the refusals are about those recipients. And a recipient that was refused in the same way before a
resume fails: resuming is the operator's word that the account is fine. So each resume makes progress, and a
refusal of everybody fails no more recipients than it took to pause the campaign before.

From then on each such temporary refusal says that the trouble is still there, so that trying whether it is
over costs no recipient anything, until something is accepted again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from hubd.core.verdict import SYSTEMIC_WHEN_REPEATED, Action, Verdict, is_systemic

#: How many distinct recipients in a row.
LIMIT = 5
#: Half of so many distinct recipients.
WINDOW = 20
#: An acceptance is recent while fewer verdicts than this came after it.
RECENT = 100
#: How many domains, and how many recipients that hold the provider up, are remembered.
REMEMBERED = 200
#: So often in a row the provider is blamed for what it says about recipients: at its longest rests this takes
#: more than six hours. Then it is about them after all: a campaign with a few dead addresses must end.
MAX_PROVIDER_RESTS = 400
#: The same for a domain, whose rests double to an hour.
MAX_DOMAIN_RESTS = 12
#: What a relay says of where it cannot get through: about that domain, and not about the relay.
ABOUT_DOMAIN = frozenset({"routing_trouble"})
#: What is answered to one recipient again and again, while others are accepted, is about that one after all.
ABOUT_ONE_RECIPIENT = frozenset({"busy_at_recipient", "too_many_recipients"})
#: Most servers say this of addresses that do not exist: it is only about us if each of the last `WINDOW`
#: recipients got it.
MOSTLY_THEIRS = frozenset({"address_rejected"})
#: A permanent refusal at one domain, while others are accepted, is about those recipients.
ABOUT_RECIPIENTS = frozenset({"recipient_refused"})
#: Verdicts that say nothing about the recipient.
ABOUT_OTHERS = frozenset({Action.PROVIDER, Action.PROVIDER_STOP, Action.SLOW, Action.DOMAIN, Action.PAUSE})

K = TypeVar("K")
V = TypeVar("V")


class _Refusal(NamedTuple):
    """What makes two refusals the same."""

    reason: str
    temporary: bool


@dataclass(slots=True)
class _Row:
    """The same refusal again and again, without an acceptance in between."""

    refusal: _Refusal | None = None
    refused: dict[int, str] = field(default_factory=dict)  # recipient -> domain
    known: bool = False  #: the row was long enough: each further temporary refusal counts at once
    rests: int = 0  #: how often a domain was rested for it
    since: int = 0  #: the newest acceptance of anybody when that became known

    def add(self, delivery_id: int, refusal: _Refusal, domain: str) -> None:
        if refusal != self.refusal:
            self.refusal, self.refused = refusal, {}
        if len(self.refused) < LIMIT:
            self.refused[delivery_id] = domain

    @property
    def full(self) -> bool:
        return len(self.refused) >= LIMIT


class SystemicFailureDetector:
    """Watches the verdicts of one run of a campaign: `see` each of them, in the order in which they come."""

    def __init__(self, elsewhere: Callable[[str], int] = lambda domain: 0) -> None:
        """`elsewhere` is the number of the newest message that a domain other than this one took lately,
        whoever sent it; 0 for none.
        """
        self._elsewhere = elsewhere
        self.broken = False  #: whether the campaign was told to pause
        self._broken_by: _Refusal | None = None
        self._everybody = _Row()
        self._domains: OrderedDict[str, _Row] = OrderedDict()
        self._last: OrderedDict[int, tuple[_Refusal | None, str]] = OrderedDict()
        self._accepted: OrderedDict[str, int] = OrderedDict()  # domain -> when, counted in verdicts
        self._holding_up: OrderedDict[int, int] = OrderedDict()
        self._clock = 0
        self._newest = -WINDOW  # when something was accepted last
        self._provider_rests = 0  # of the provider, since something was accepted
        self._owed: dict[int, None] = {}

    def see(
        self, delivery_id: int, verdict: Verdict, domain: str = "", attempts: int = 0, refused: str = ""
    ) -> Verdict:
        """The verdict as it stands among the others: harmless ones come back as they are.

        `domain` is the recipient's domain in lower case, "" for a number; `attempts` is how many tries it had
        before this one: some refusals are usual at the first try. `refused` is the reason for which it was
        refused when the campaign paused before, "" for none.
        """
        if verdict.action is Action.ACCEPT:
            self.accepted(delivery_id, domain)
            return verdict
        self._clock += 1
        if verdict.action not in ABOUT_OTHERS:
            self._owed.pop(delivery_id, None)  # there is newer word on this recipient
        verdict = self.hold_up(delivery_id, verdict)
        if verdict.action not in (Action.FAIL, Action.RETRY, Action.SUPPRESS):
            return verdict
        systemic = is_systemic(verdict.reason) or (attempts > 0 and verdict.reason in SYSTEMIC_WHEN_REPEATED)
        known = verdict.action is Action.FAIL and verdict.reason == refused
        if verdict.action is Action.SUPPRESS or not systemic or known:
            self._note(delivery_id, None, domain)
            return verdict
        refusal = _Refusal(verdict.reason, temporary=verdict.action is Action.RETRY)
        self._note(delivery_id, refusal, domain)
        self._everybody.add(delivery_id, refusal, domain)
        if refusal.temporary:
            return self._refuse_for_now(delivery_id, verdict, refusal, domain)
        return self._refuse(delivery_id, verdict, refusal)

    def accepted(self, delivery_id: int, domain: str) -> None:
        """As `see`, for a message that was accepted."""
        self._clock += 1
        self._owed.pop(delivery_id, None)
        if self._everybody.refusal is not None or self._everybody.known:
            self._everybody = _Row()
        self._provider_rests = 0
        self._newest = self._clock
        self._domains.pop(domain, None)
        self._holding_up.pop(delivery_id, None)
        _remember(self._accepted, domain, self._clock)
        self._note(delivery_id, None, domain)

    @property
    def owes(self) -> bool:
        """Whether any recipient is to be requeued."""
        return bool(self._owed)

    def requeue_misjudged(self, in_hand: Callable[[int], bool] = lambda delivery_id: False) -> list[int]:
        """The recipients to requeue, each once: failed or deferred for a reason that was not about them.

        Those that are `in_hand`, because their refusal is not written down yet, stay for the next time.
        """
        found = [number for number in self._owed if not in_hand(number)]
        for number in found:
            del self._owed[number]
        return found

    # -- the kinds of verdicts ---------------------------------------------------------------------

    def _refuse(self, delivery_id: int, verdict: Verdict, refusal: _Refusal) -> Verdict:
        """For good: the campaign pauses when it is everybody's. What comes after that goes back by itself."""
        alike = self._alike(refusal)
        many = self._everybody.full or len(alike) >= WINDOW // 2
        if refusal.reason in MOSTLY_THEIRS:
            many = len(alike) >= WINDOW
        if refusal != self._broken_by and not many:
            return verdict
        if not self.broken and self._is_theirs(refusal, alike):
            return verdict
        if not self.broken:
            self.broken, self._broken_by = True, refusal
            self._owe([*self._everybody.refused, *alike], but=delivery_id)
        return replace(verdict, action=Action.PAUSE, detail=self._of_many(verdict, len(alike)))

    def _is_theirs(self, refusal: _Refusal, alike: list[int]) -> bool:
        """Whether only one domain refuses its own recipients while messages are accepted."""
        if refusal.reason not in ABOUT_RECIPIENTS or self._clock - self._newest >= WINDOW:
            return False
        domains = {*self._everybody.refused.values(), *(self._last[number][1] for number in alike)}
        return len(domains) == 1 and "" not in domains

    def _refuse_for_now(self, delivery_id: int, verdict: Verdict, refusal: _Refusal, domain: str) -> Verdict:
        """For now: the provider rests, or the domain alone when others work."""
        alike, everybody = self._alike(refusal), self._everybody
        here = self._domains.get(domain) or _Row()
        here.add(delivery_id, refusal, domain)
        if everybody.known and domain and self._elsewhere(domain) > everybody.since:
            everybody.known = False  # the provider works: others were served since
        _remember(self._domains, domain, here)
        others = self._others_accept(domain)
        alone = refusal.reason in ABOUT_DOMAIN and domain != ""
        if alone and not here.known and not here.full:
            return verdict
        if not alone and not here.known and not (here.full and others):
            if self._provider_rests >= MAX_PROVIDER_RESTS:
                return verdict
            if not (everybody.known or everybody.full or len(alike) >= WINDOW // 2):
                return verdict
            domains = {*everybody.refused.values(), *(self._last[number][1] for number in alike)}
            if everybody.known or not others or domains != {domain}:
                return self._rest(Action.PROVIDER, everybody, delivery_id, verdict, alike)
        if here.rests >= MAX_DOMAIN_RESTS:
            return verdict
        here.rests += 1
        return self._rest(
            Action.DOMAIN, here, delivery_id, verdict, [n for n in alike if self._last[n][1] == domain]
        )

    def _rest(
        self, action: Action, row: _Row, delivery_id: int, verdict: Verdict, alike: list[int]
    ) -> Verdict:
        self._provider_rests += action is Action.PROVIDER
        detail = verdict.detail if row.known else self._of_many(verdict, len(alike))
        refused = {*row.refused, *alike}
        self._owe(sorted(refused), but=delivery_id)
        for number in refused:
            self._last.pop(number, None)
            self._everybody.refused.pop(number, None)
        row.known, row.refused, row.since = True, {}, self._elsewhere("")
        return replace(verdict, action=action, detail=detail)

    def hold_up(self, delivery_id: int, verdict: Verdict) -> Verdict:
        """The verdict, unless one recipient is answered so again and again: it must not slow all others."""
        if verdict.action is not Action.SLOW or verdict.reason not in ABOUT_ONE_RECIPIENT:
            return verdict
        times = self._holding_up.get(delivery_id, 0) + 1
        _remember(self._holding_up, delivery_id, times)
        return verdict if times < LIMIT else replace(verdict, action=Action.RETRY)

    # -- what is remembered ------------------------------------------------------------------------

    def _note(self, delivery_id: int, refusal: _Refusal | None, domain: str) -> None:
        """The last word on a recipient: a refusal that may be everybody's, or something else."""
        self._last.pop(delivery_id, None)
        self._last[delivery_id] = (refusal, domain)
        if len(self._last) > WINDOW:
            self._last.popitem(last=False)

    def _alike(self, refusal: _Refusal) -> list[int]:
        return [number for number, (last, _) in self._last.items() if last == refusal]

    def _others_accept(self, domain: str) -> bool:
        """Whether another domain accepted something a short while ago."""
        return domain != "" and (self._elsewhere(domain) > 0 or self._accepted_here(domain))

    def _accepted_here(self, domain: str) -> bool:
        return any(other != domain and self._clock - when < RECENT for other, when in self._accepted.items())

    def _owe(self, refused: Iterable[int], *, but: int) -> None:
        for number in refused:
            if number != but:  # that one goes back by itself
                self._owed[number] = None

    def _of_many(self, verdict: Verdict, alike: int) -> str:
        if alike >= WINDOW // 2:
            return f"{verdict.detail} (the same answer for {alike} of the last {WINDOW} recipients)"
        return f"{verdict.detail} (the same answer for {LIMIT} recipients in a row)"


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
