"""What `hubctl provider add` asks about a SendGrid account."""

from __future__ import annotations

from hubd.providers.questions import Answers, Choice, Found, Option, Questions, SecretQuestion

_ADVICE = (
    "Create an API key at https://app.sendgrid.com/settings/api_keys with the permission Mail Send,\n"
    "and with read access to Email Activity and Suppressions, so that hubd can ask what became of messages.\n"
    "For an account in the EU give --base-url https://api.eu.sendgrid.com."
)


def _ask(answers: Answers, word: str) -> Found:
    answers.say(_ADVICE)
    return Found({"base_url": answers.given("base_url")}, {"api_key": answers.secret("API key")})


QUESTIONS = Questions(
    type="sendgrid",
    ask=_ask,
    choices=(Choice(word="sendgrid", line="email through SendGrid", advice=_ADVICE),),
    secrets=(SecretQuestion(key="api_key", label="API key"),),
    options=(Option(flag="--base-url", metavar="URL", help="Another base URL for the provider's API."),),
)
