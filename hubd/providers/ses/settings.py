"""An Amazon SES account in hubd.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from hubd.config.hosts import base_url
from hubd.config.rates import email_sender, read_limits
from hubd.core.tables import Table
from hubd.errors import BadInput
from hubd.providers.aws.settings import AwsConfig, read_account

_QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/hub"
_SET = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SesConfig(AwsConfig):
    """An account at Amazon Simple Email Service, in one region."""

    type: Annotated[Literal["ses"], Meta(description="Send email through Amazon SES.")] = "ses"
    configuration_set: Annotated[
        str, Meta(description="The SES configuration set that messages belong to.")
    ] = ""
    events: Annotated[
        str,
        Meta(
            description="The URL of the SQS queue that the configuration set's events arrive in: deliveries, "
            "bounces and complaints."
        ),
    ] = ""
    sqs_endpoint_url: Annotated[
        str,
        Meta(description="Another server with the interface of SQS; `http://` on loopback addresses only."),
    ] = ""


def read_ses(table: Table, folder: Path) -> SesConfig | None:
    """What the table says; None if it names no region."""
    account = read_account(table)
    configuration_set = table.checked("configuration_set", _configuration_set, "", example="hub")
    events = table.checked("events", _queue_url, "", example=_QUEUE)
    example = "https://sqs.eu-west-1.amazonaws.com"
    sqs = table.checked("sqs_endpoint_url", base_url(example), "", example=example)
    limits = read_limits(table, email_sender, domains=True)
    if table.raw.get("sqs_endpoint_url") and not table.raw.get("events"):
        table.fault("sqs_endpoint_url", "needs events, the URL of the queue")
    table.close()
    if not account["region"]:
        return None
    return SesConfig(
        **account, configuration_set=configuration_set, events=events, sqs_endpoint_url=sqs, **limits
    )


def _configuration_set(text: str) -> str:
    if _SET.fullmatch(text) is None:
        raise BadInput("must be up to 64 letters, digits, - and _")
    return text


def _queue_url(text: str) -> str:
    url = base_url(_QUEUE)(text)
    if len([part for part in url.split("/")[3:] if part]) != 2:
        raise BadInput(f"must be the URL of a queue such as {_QUEUE}")
    return url
