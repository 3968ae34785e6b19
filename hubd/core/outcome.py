"""From what a provider said to what is written in the ledger.

`verdict.judge` says what an answer means; here that becomes the entry that closes the attempt, with the time
of the next try or the end of the retries.
"""

from __future__ import annotations

from dataclasses import dataclass

from hubd.core.ledger import Close
from hubd.core.model import Answer, DeliveryState, DueDelivery, Signal, SkipReason, Stage
from hubd.core.provider_reply import provider_reply
from hubd.core.verdict import Action, Verdict, retry_delay
from hubd.errors import BadInput

#: Verdicts that are about the provider or the campaign: the recipient stays in the queue, untouched.
NOT_ABOUT_RECIPIENT = frozenset(
    {Action.PAUSE, Action.PROVIDER, Action.PROVIDER_STOP, Action.SLOW, Action.DOMAIN}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to retry a recipient that is refused for now. Seconds."""

    give_up_after: float = 86_400.0
    floor: float = 300.0  #: the shortest pause between two tries
    ceiling: float = 4_000.0  #: the longest


def close_for(
    row: DueDelivery,
    answer: Answer,
    verdict: Verdict,
    *,
    opened: bool,
    provider: str,
    message_id: str,
    retry_policy: RetryPolicy,
    now: float,
    steady: float,
    jitter: float,
    limits: tuple[str, ...] = (),
    cost: int = 1,
    refused: str = "",
) -> Close:
    """The entry for an answer. `now` is by the wall clock, `steady` by the one that ages are measured with,
    `jitter` a random number in [0, 1); `refused` is the reason when it is a refusal of the recipient that
    pauses the campaign, because so many got the same.
    """
    to, reason, detail, next_at = DeliveryState.SENT, "", "", None
    match verdict.action:
        case Action.ACCEPT:
            pass
        case Action.RETRY:
            age = 0.0 if row.first_attempt_at is None else max(0.0, steady - row.first_attempt_at)
            delay = retry_delay(
                age, row.attempts + 1, jitter, floor=retry_policy.floor, ceiling=retry_policy.ceiling
            )
            delay = max(delay, verdict.retry_after or 0.0)
            next_at = now + delay
            to, reason, detail = DeliveryState.DEFERRED, verdict.reason, verdict.detail
            if age + delay > retry_policy.give_up_after:
                to, next_at = DeliveryState.FAILED, None
                detail = f"given up, last answer: {verdict.detail}"
        case Action.FAIL | Action.SUPPRESS:
            to, reason, detail = DeliveryState.FAILED, verdict.reason, verdict.detail
        case Action.DOUBT:
            to, reason, detail = DeliveryState.IN_DOUBT, verdict.reason, verdict.detail
        case Action.PAUSE | Action.PROVIDER | Action.PROVIDER_STOP | Action.SLOW | Action.DOMAIN:
            to, reason, detail = DeliveryState.PENDING, verdict.reason, verdict.detail
    return Close(
        delivery_id=row.id,
        to=to,
        reason=reason,
        detail=detail,
        stage=answer.stage.value,
        code=answer.code,
        enhanced=answer.enhanced,
        vendor=answer.vendor,
        provider_id=answer.provider_id,
        provider_reply=provider_reply(answer, row.recipient),
        next_at=next_at,
        suppress=verdict.reason if verdict.action is Action.SUPPRESS else "",
        refused=refused,
        opened=opened,
        provider=provider,
        message_id=message_id,
        at=now,
        limits=() if opened else limits,
        cost=cost,
        steady=steady,
    )


def close_accepted(
    row: DueDelivery, answer: Answer, *, provider: str, message_id: str, now: float, steady: float, cost: int
) -> Close:
    """The entry for the answer that nearly every open attempt gets: what `close_for` makes of it, sooner."""
    return Close(
        delivery_id=row.id,
        to=DeliveryState.SENT,
        reason="",
        stage=answer.stage.value,
        code=answer.code,
        enhanced=answer.enhanced,
        vendor=answer.vendor,
        provider_id=answer.provider_id,
        provider_reply=provider_reply(answer, row.recipient),
        provider=provider,
        message_id=message_id,
        at=now,
        cost=cost,
        steady=steady,
    )


def lost_answer() -> Answer:
    """The answer of a delivery that was cut off: it may have been accepted."""
    return Answer(stage=Stage.DOT, signal=Signal.TIMEOUT, text="cut off before the provider answered")


def close_withdrawn(row: DueDelivery, now: float, steady: float) -> Close:
    """The entry for an attempt that was opened and not begun: not a byte of the message has left."""
    return Close(
        delivery_id=row.id,
        to=DeliveryState.PENDING,
        reason="withdrawn",
        stage=Stage.LOCAL.value,
        at=now,
        steady=steady,
    )


def close_unwritable(row: DueDelivery, problem: BadInput, provider: str, now: float) -> Close:
    """The entry for a message that cannot be written for this recipient."""
    return Close(
        delivery_id=row.id,
        to=DeliveryState.FAILED,
        reason=problem.code,
        detail=str(problem),
        stage=Stage.LOCAL.value,
        opened=False,
        provider=provider,
        at=now,
    )


def close_cancelled(row: DueDelivery, now: float) -> Close:
    """The entry for a recipient who is no longer a contact: nothing is known to write a message from."""
    return Close(
        delivery_id=row.id,
        to=DeliveryState.SKIPPED,
        reason=SkipReason.CANCELLED.value,
        stage=Stage.LOCAL.value,
        opened=False,
        at=now,
    )


def close_until(row: DueDelivery, opens: float, now: float, reason: str = "window_closed") -> Close:
    """The entry for a recipient who may not be sent to now: untouched, due again when that changes."""
    return Close(
        delivery_id=row.id,
        to=DeliveryState.PENDING,
        reason=reason,
        next_at=opens,
        opened=False,
        at=now,
    )
