"""What `hubctl provider add` asks about an outbox: nothing."""

from __future__ import annotations

from hubd.providers.questions import Answers, Found, Questions


def _ask(answers: Answers, word: str) -> Found:
    return Found({}, {})


QUESTIONS = Questions(type="outbox", ask=_ask, has_secret=False)
