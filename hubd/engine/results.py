"""From an answer to what follows: an entry for the ledger, and news of the provider and its domains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec

from hubd.core.ledger import Entry, Open
from hubd.core.model import Answer, Campaign, DueDelivery, RenderedMessage, Signal, Stage
from hubd.core.outcome import NOT_ABOUT_RECIPIENT, close_accepted, close_for
from hubd.core.provider_reply import provider_reply
from hubd.core.systemic_failure import SystemicFailureDetector
from hubd.core.verdict import Action, Verdict, classify, judge, refuses_connection
from hubd.core.verdict_tables import Class
from hubd.engine.breaker import CircuitBreaker, Lease
from hubd.engine.domains import Domains
from hubd.engine.ports import RunContext


class PreparedMessage(msgspec.Struct, kw_only=True):
    """A message that is rendered, and may go once its envelope is accepted and its attempt is open.

    A struct, as everything that is made once for each message: a dataclass takes three times as long to make.
    """

    row: DueDelivery
    rendered: RenderedMessage
    content_hash: str
    limits: tuple[str, ...]  #: the names of the limits that it counts under

    @property
    def cost(self) -> int:
        """How many slots of each limit it takes."""
        return self.rendered.segments


class Outcome(msgspec.Struct, kw_only=True):
    """What an answer leads to. Without an entry the row goes back into the queue, untouched."""

    entry: Entry | None = None
    needs_person: str = ""  #: why the campaign cannot go on by itself; "" if it can


class ResultHandler:
    """Judges the answers that one run of a campaign gets."""

    def __init__(
        self,
        campaign: Campaign,
        provider: str,
        breaker: CircuitBreaker,
        domains: Domains,
        context: RunContext,
    ) -> None:
        self._campaign = campaign
        self._provider = provider
        self._breaker = breaker
        self._domains = domains
        self._context = context
        self._retry_policy = context.retry_policy(campaign)
        self._detector = SystemicFailureDetector(domains.accepted_elsewhere)

    @property
    def misjudged(self) -> bool:
        """Whether a recipient was refused for a reason that turned out to be systemic."""
        return self._detector.owes

    def take_misjudged(self, in_hand: Callable[[int], bool]) -> list[int]:
        """Those deliveries, which are to be requeued; without those whose refusal is not recorded yet."""
        return self._detector.requeue_misjudged(in_hand)

    def prepared(self, message: PreparedMessage, refused: Answer | None, lease: Lease) -> Outcome:
        """What follows from `prepare`: open the attempt, or the entry for the refusal."""
        if refused is not None:
            return self.answered(message, refused, lease, opened=False)
        self._breaker.ready(lease)
        return Outcome(
            entry=Open(
                delivery_id=message.row.id,
                provider=self._provider,
                message_id=message.rendered.message_id,
                content_hash=message.content_hash,
                at=self._context.now() if message.rendered.dated is None else message.rendered.dated,
                account=lease.transport.account,
                limits=message.limits,
                cost=message.cost,
                steady=self._context.steady(),
            )
        )

    def answered(self, message: PreparedMessage, answer: Answer, lease: Lease, *, opened: bool) -> Outcome:
        """The entry that an answer leads to; tells the breaker how the provider is."""
        said = judge(
            answer,
            message.rendered.channel,
            attempts=message.row.attempts,
            requests=lease.transport.verdicts,
        )
        if opened and said.action is Action.ACCEPT:
            return self._accepted(message, answer, lease)
        verdict = self._in_context(message.row, answer, said)
        refused = said.reason if (said.action, verdict.action) == (Action.FAIL, Action.PAUSE) else ""
        heard = opened or (lease.transport.talks_first and not answer.own)
        needs_person = self._tell(verdict, answer, message.row.recipient, lease, heard=heard)
        if verdict.close and lease.connection is not None:
            lease.connection.drop()
        if not opened and not refused and verdict.action in NOT_ABOUT_RECIPIENT:
            return Outcome(needs_person=needs_person)
        entry = close_for(
            message.row,
            answer,
            verdict,
            opened=opened,
            provider=self._provider,
            message_id=message.rendered.message_id,
            retry_policy=self._retry_policy,
            now=self._context.now(),
            jitter=self._context.random(),
            limits=message.limits,
            cost=message.cost,
            refused=refused,
            steady=self._context.steady(),
        )
        return Outcome(entry=entry, needs_person=needs_person)

    def _accepted(self, message: PreparedMessage, answer: Answer, lease: Lease) -> Outcome:
        row = message.row
        if not self._campaign.transactional_queue:
            _, at, domain = row.recipient.rpartition("@")
            self._detector.accepted(row.id, domain if at else "")
        self._breaker.answered(lease)
        self._domains.well(row.recipient)
        return Outcome(
            entry=close_accepted(
                row,
                answer,
                provider=self._provider,
                message_id=message.rendered.message_id,
                now=self._context.now(),
                steady=self._context.steady(),
                cost=message.cost,
            )
        )

    def _in_context(self, row: DueDelivery, answer: Answer, said: Verdict) -> Verdict:
        """The verdict in view of those for others; for a transactional message, the verdict itself."""
        if not self._campaign.transactional_queue:
            _, at, domain = row.recipient.rpartition("@")
            return self._detector.see(row.id, said, domain if at else "", row.attempts, row.refused)
        verdict = self._detector.hold_up(row.id, said)
        if verdict.action is not Action.PAUSE:
            return verdict
        # There is nothing to pause but this message; what passes by itself is worth waiting for.
        by_mail = answer.stage is not Stage.REQUEST  # an HTTP 4xx is for good
        passes = verdict.reason in ("daily_quota", "sending_limit") or (
            by_mail and classify(answer) is Class.TRANSIENT
        )
        return replace(verdict, action=Action.RETRY if passes else Action.FAIL)

    def _tell(self, verdict: Verdict, answer: Answer, recipient: str, lease: Lease, *, heard: bool) -> str:
        """Pass the news on; the reason when a person is needed. Unless the answer was `heard` from the
        provider, a refusal was decided on this side and says nothing of how the provider is.
        """
        if refuses_connection(answer, verdict) and self._breaker.connection_refused(
            lease, silent=answer.signal is Signal.TIMEOUT
        ):
            return ""
        match verdict.action:
            case Action.PROVIDER:
                self._breaker.trouble(lease, _why(verdict, answer, recipient), verdict.retry_after)
            case Action.SLOW:
                self._breaker.slow(lease, _why(verdict, answer, recipient), verdict.retry_after)
            case Action.DOMAIN:
                self._domains.rest(recipient, _why(verdict, answer, recipient))
                if heard:
                    self._breaker.answered(lease)
            case Action.PROVIDER_STOP:
                if not self._breaker.in_trouble(lease):  # else late news of earlier settings
                    reason = _why(verdict, answer, recipient)
                    self._breaker.stop(reason)
                    return reason
            case Action.PAUSE:
                return _why(verdict, answer, recipient)
            case Action.DOUBT:
                self._breaker.lost(lease, _why(verdict, answer, recipient))
            case Action.RETRY if answer.signal is not Signal.REPLY:
                # not in doubt, but no sign of life either
                self._breaker.lost(lease, _why(verdict, answer, recipient))
            case _ if heard:
                self._breaker.answered(lease)
        return ""


def _why(verdict: Verdict, answer: Answer, recipient: str) -> str:
    """What it means, and what the provider said, for those who have to act on it."""
    said = provider_reply(answer, recipient)
    return f"{verdict.detail} The provider said: {said}" if said else verdict.detail
