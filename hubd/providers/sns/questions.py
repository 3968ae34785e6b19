"""What `hubctl provider add` asks about an Amazon SNS account."""

from __future__ import annotations

import re

from hubd.providers.aws.questions import ADVICE, OPTIONS, SECRETS, account
from hubd.providers.questions import Answers, Choice, Found, Option, Questions

_TYPES = ("transactional", "promotional")


def _ask(answers: Answers, word: str) -> Found:
    settings, secrets = account(answers)
    sms_type = answers.text(
        "sms_type",
        "Are these messages transactional or promotional? (leave empty for the account's setting)",
        check=lambda text: "" if text in ("", *_TYPES) else f"one of {', '.join(_TYPES)}",
        default="",
    )
    more = {
        "sms_type": sms_type,
        "sender_id": answers.text(
            "sender_id",
            "Name that the texts come from, where that is possible (leave empty for none)",
            check=_sender_id,
            default="",
        ),
        "origination_number": answers.given("origination_number"),
        "max_price": answers.given("max_price"),
    }
    return Found({**settings, **more}, secrets)


def _sender_id(text: str) -> str:
    return "" if re.fullmatch(r"([A-Za-z0-9]{3,11})?", text) else "3 to 11 letters and digits"


QUESTIONS = Questions(
    type="sns",
    ask=_ask,
    choices=(Choice(word="sns", line="text messages through Amazon SNS", advice=ADVICE),),
    secrets=SECRETS,
    options=(
        *OPTIONS,
        Option(flag="--sms-type", choices=_TYPES, help="How AWS routes the texts."),
        Option(flag="--sender-id", metavar="NAME", help="Name that text messages come from."),
        Option(flag="--origination-number", metavar="NUMBER", help="Number of the AWS account to send from."),
        Option(flag="--max-price", metavar="USD", help="The most that one text message may cost."),
    ),
    implied_by=("sms_type", "sender_id", "origination_number", "max_price"),
)
