"""What `hubctl provider add` asks about an Amazon SES account."""

from __future__ import annotations

from hubd.providers.aws.questions import ADVICE, OPTIONS, SECRETS, account
from hubd.providers.questions import Answers, Choice, Found, Option, Questions, anything


def _ask(answers: Answers, word: str) -> Found:
    settings, secrets = account(answers)
    configuration_set = answers.text(
        "configuration_set", "SES configuration set (leave empty for none)", check=anything, default=""
    )
    events = ""
    if configuration_set or answers.given("events"):
        events = answers.text(
            "events",
            "URL of the SQS queue with its events (leave empty for none)",
            check=_queue_url,
            default="",
        )
    more = {
        "configuration_set": configuration_set,
        "events": events,
        "sqs_endpoint_url": answers.given("sqs_endpoint_url"),
    }
    return Found({**settings, **more}, secrets)


def _queue_url(text: str) -> str:
    fits = not text or text.startswith(("https://", "http://"))
    return anything(text) or ("" if fits else "it looks like https://sqs.eu-west-1.amazonaws.com/...")


QUESTIONS = Questions(
    type="ses",
    ask=_ask,
    choices=(Choice(word="ses", line="email through Amazon SES", advice=ADVICE),),
    secrets=SECRETS,
    options=(
        *OPTIONS,
        Option(flag="--configuration-set", metavar="NAME", help="SES configuration set of the messages."),
        Option(flag="--events", metavar="URL", help="URL of the SQS queue with the events of SES."),
        Option(flag="--sqs-endpoint-url", metavar="URL", help="Another address for SQS."),
    ),
    implied_by=("configuration_set", "events"),
)
