"""What `hubctl provider add` asks about a Twilio account."""

from __future__ import annotations

import re

from hubd.providers.questions import Answers, Choice, Found, Option, Questions, SecretQuestion, something

_ADVICE = "Both are on the first page of https://console.twilio.com, under Account Info."


def account(text: str) -> str:
    """Checks an Account SID."""
    fits = re.fullmatch(r"AC[0-9A-Za-z]{1,62}", text)
    return "" if fits else "it starts with AC, followed by letters and digits"


def _ask(answers: Answers, word: str) -> Found:
    answers.say(_ADVICE)
    sid = answers.text("account_sid", "Account SID (AC...)", check=account)
    sender, service = answers.given("sender"), answers.given("messaging_service_sid")
    if sender is None and service is None:
        sender = answers.text("sender", "Phone number to send from, such as +15005550006", check=something)
    settings = {
        "account_sid": sid,
        "from": sender,
        "messaging_service_sid": service,
        "base_url": answers.given("base_url"),
    }
    return Found(settings, {"auth_token": answers.secret("Auth token")})


QUESTIONS = Questions(
    type="twilio",
    ask=_ask,
    choices=(Choice(word="twilio", line="text messages through Twilio", advice=_ADVICE),),
    options=(
        Option(flag="--account-sid", metavar="AC...", help="The Account SID at Twilio.", label="Account SID"),
        Option(
            flag="--from",
            key="sender",
            writes="from",
            label="Number that messages come from",
            metavar="NUMBER",
            help="The number that text messages come from.",
            elsewhere="the sender of an email is in the campaign's file",
        ),
        Option(
            flag="--messaging-service-sid",
            metavar="MG...",
            help="Twilio Messaging Service that picks the sender.",
            label="or Messaging Service that picks the sender",
        ),
        Option(flag="--base-url", metavar="URL", help="Another base URL for the provider's API."),
    ),
    secrets=(SecretQuestion(key="auth_token", label="Auth token"),),
    implied_by=("account_sid", "messaging_service_sid"),
)
