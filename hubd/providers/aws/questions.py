"""What `hubctl provider add` asks about every account at AWS."""

from __future__ import annotations

import re
from typing import Any

from hubd.providers.questions import Answers, Option, SecretQuestion, anything

ADVICE = (
    "Create an IAM user for hubd alone and an access key for it in the IAM console, under Security "
    "credentials.\n"
    "Leave the access key ID empty to use the keys that the AWS command line uses on this machine."
)
OPTIONS = (
    Option(flag="--region", metavar="REGION", help="AWS region, such as eu-west-1.", label="AWS region"),
    Option(
        flag="--access-key-id",
        metavar="AKIA...",
        help="ID of the AWS access key; without it the standard AWS chain is used.",
        label="Access key ID",
    ),
    Option(flag="--endpoint-url", metavar="URL", help="Another address for the AWS service."),
)
#: Without an access key ID there is none.
SECRETS = (SecretQuestion(key="secret_access_key", label="Secret access key", optional=True),)


def account(answers: Answers) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of the account, and its secret if it has one."""
    answers.say(ADVICE)
    region = answers.text("region", "AWS region, such as eu-west-1", check=_region)
    key_id = answers.text("access_key_id", "Access key ID (leave empty for none)", check=_key_id, default="")
    if answers.secret_on_stdin and not key_id:
        answers.refuse("--password-stdin needs --access-key-id")
    secrets = {"secret_access_key": answers.secret("Secret access key")} if key_id else {}
    settings = {
        "region": region,
        "access_key_id": key_id,
        "endpoint_url": answers.given("endpoint_url"),
    }
    return settings, secrets


def _region(text: str) -> str:
    fits = re.fullmatch(r"[a-z]{2,8}(-[a-z0-9]{1,16}){1,3}-[0-9]{1,2}", text)
    return "" if fits else "it looks like eu-west-1"


def _key_id(text: str) -> str:
    return anything(text) or ("" if re.fullmatch(r"[A-Za-z0-9_]{0,128}", text) else "it looks like AKIA...")
