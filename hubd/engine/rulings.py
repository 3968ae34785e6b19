"""From an answer to what follows: an entry for the ledger, and news of the provider and its domains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hubd.core.ledger import Entry, Open
from hubd.core.model import Answer, Campaign, Due, Parcel, Signal, Stage
from hubd.core.outcome import NOT_ABOUT_RECIPIENT, close_for
from hubd.core.streak import Streak
from hubd.core.verdict import Action, Verdict, classify, judge, refuses_connection
from hubd.core.verdict_tables import Class
from hubd.engine.backlog import Backlog
from hubd.engine.domains import Domains
from hubd.engine.lanes import Berth, LanePool
from hubd.engine.ports import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A message that is written and may go, once its envelope stands and its attempt is open."""

    row: Due
    parcel: Parcel
    content_hash: str
    limits: tuple[str, ...]  #: the names of the limits that it counts under

    @property
    def cost(self) -> int:
        """How many slots of each limit it takes."""
        return self.parcel.segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What an answer leads to: an entry for the ledger, and whether the campaign can go on."""

    entry: Entry | None = None
    needs_person: str = ""


class Rulings:
    """Rules on the answers that one run gets."""

    def __init__(
        self, campaign: Campaign, pool: LanePool, domains: Domains, around: Surroundings, backlog: Backlog
    ) -> None:
        self._campaign = campaign
        self._pool = pool
        self._domains = domains
        self._around = around
        self._backlog = backlog
        self._streak = Streak(domains.accepted_elsewhere)

    def take_back(self, *, at_the_end: bool = False) -> list[int]:
        """Recipients that were refused by what turned out to be about all of us: they are to be put back.

        While the run lasts, not those whose refusal is not booked yet.
        """
        return self._streak.take_back() if at_the_end else self._streak.take_back(self._backlog.in_hand)

    def prepared(self, ready: Ready, refused: Answer | None, berth: Berth) -> Ruling:
        """What follows from `prepare`: open the attempt, or the entry for the refusal."""
        if refused is not None:
            return self.answered(ready, refused, berth, opened=False)
        self._pool.ready(berth)
        return Ruling(
            entry=Open(
                delivery_id=ready.row.id,
                provider=self._pool.transport.name,
                message_id=ready.parcel.message_id,
                content_hash=ready.content_hash,
                at=self._around.now(),
                account=berth.transport.account,
                limits=ready.limits,
                cost=ready.cost,
                steady=self._around.steady(),
            )
        )

    def answered(self, ready: Ready, answer: Answer, berth: Berth, *, opened: bool) -> Ruling:
        """The entry that an answer leads to; tells the pool how the provider is."""
        said = judge(answer, ready.parcel.channel, attempts=ready.row.attempts)
        verdict = self._weigh(ready, answer, said)
        refused = said.reason if (said.action, verdict.action) == (Action.FAIL, Action.PAUSE) else ""
        needs_person = self._tell(verdict, answer, ready.row.recipient, berth)
        if verdict.close:
            berth.lane.drop()
        if not opened and not refused and verdict.action in NOT_ABOUT_RECIPIENT:
            self._backlog.put_back(ready.row.id)
            return Ruling(needs_person=needs_person)
        entry = close_for(
            ready.row,
            answer,
            verdict,
            opened=opened,
            provider=self._pool.transport.name,
            message_id=ready.parcel.message_id,
            patience=self._around.patience(self._campaign),
            now=self._around.now(),
            jitter=self._around.dice(),
            limits=ready.limits,
            cost=ready.cost,
            refused=refused,
            steady=self._around.steady(),
        )
        return Ruling(entry=entry, needs_person=needs_person)

    def _weigh(self, ready: Ready, answer: Answer, said: Verdict) -> Verdict:
        """The verdict in view of those for other recipients; for a one-off message, the verdict itself."""
        row = ready.row
        if not self._campaign.single:
            _, at, domain = row.recipient.rpartition("@")
            return self._streak.see(row.id, said, domain if at else "", row.attempts, row.refused)
        verdict = self._streak.hold_up(row.id, said)
        if verdict.action is not Action.PAUSE:
            return verdict
        # There is nothing to pause but this message; what passes by itself is worth waiting for.
        by_mail = answer.stage is not Stage.REQUEST  # an HTTP 4xx is for good
        passes = verdict.reason == "daily_quota" or (by_mail and classify(answer) is Class.TRANSIENT)
        return replace(verdict, action=Action.RETRY if passes else Action.FAIL)

    def _tell(self, verdict: Verdict, answer: Answer, recipient: str, berth: Berth) -> str:
        """Pass the news on; the reason when a person is needed."""
        if refuses_connection(answer, verdict) and self._pool.connection_refused(
            berth, silent=answer.signal is Signal.TIMEOUT
        ):
            return ""
        match verdict.action:
            case Action.PROVIDER:
                self._pool.trouble(berth, verdict.detail, verdict.retry_after)
            case Action.SLOW:
                self._pool.slow(berth, verdict.detail, verdict.retry_after)
            case Action.DOMAIN:
                self._domains.rest(recipient, verdict.detail)
                self._pool.answered(berth)
            case Action.PROVIDER_STOP:
                if not self._pool.in_trouble(berth):  # else late news of earlier settings
                    self._pool.stop(verdict.detail)
                    return verdict.detail
            case Action.PAUSE:
                return verdict.detail
            case Action.DOUBT:
                self._pool.lost(berth, verdict.detail)
            case Action.RETRY if answer.signal is not Signal.REPLY:
                self._pool.lost(berth, verdict.detail)  # not in doubt, but no sign of life either
            case _:
                self._pool.answered(berth)
                if verdict.action is Action.ACCEPT:
                    self._domains.well(recipient)
        return ""
