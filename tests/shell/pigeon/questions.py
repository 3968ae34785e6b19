"""What `hubctl provider add` asks about pigeons."""

from __future__ import annotations

from hubd.providers.questions import Answers, Choice, Found, Option, Questions, something


def _ask(answers: Answers, word: str) -> Found:
    loft = answers.text("loft_url", "Where is the loft", check=something)
    return Found({"loft_url": loft}, {"whistle": answers.secret("Whistle")})


QUESTIONS = Questions(
    type="pigeon",
    ask=_ask,
    choices=(Choice(word="pigeon", line="email by pigeon", name="loft"),),
    options=(Option(flag="--loft-url", metavar="URL", help="Where the loft is."),),
    implied_by=("loft_url",),
)
