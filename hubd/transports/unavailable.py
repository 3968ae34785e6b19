"""Why a provider's list or queue cannot be read, from its answer."""

from __future__ import annotations

from hubd.core.model import Answer, Channel
from hubd.core.request_verdicts import RequestVerdicts
from hubd.core.verdict import Action, judge
from hubd.errors import SourceUnavailable


def unavailable(name: str, what: str, answer: Answer, verdicts: RequestVerdicts) -> SourceUnavailable:
    """The error for an unsuccessful answer. `name` is the source's; `verdicts` are the provider's."""
    verdict = judge(answer, Channel.EMAIL, requests=verdicts)
    person = verdict.action is Action.PROVIDER_STOP or (
        400 <= answer.code < 500 and verdict.action is not Action.SLOW
    )
    said = answer.text or verdict.detail
    why = answer.detail or (f"{answer.vendor}: {said}" if answer.vendor else said)
    return SourceUnavailable(f"{name}: {what} cannot be read: {why}", data={"person": person})
