"""An Amazon SNS account in hubd.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from msgspec import Meta

from hubd.config.rates import read_limits, text_sender
from hubd.core.tables import Table
from hubd.errors import BadInput
from hubd.providers.aws.settings import AwsConfig, read_account

SmsType = Literal["transactional", "promotional"]

_SENDER_ID = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]{3,11}")
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")
_PRICE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnsConfig(AwsConfig):
    """An account at Amazon Simple Notification Service that sends text messages, in one region."""

    type: Annotated[Literal["sns"], Meta(description="Send SMS through Amazon SNS.")] = "sns"
    sms_type: Annotated[
        SmsType | None,
        Meta(description="How AWS routes the texts; the default is the account's own setting."),
    ] = None
    sender_id: Annotated[
        str,
        Meta(
            description="The name that texts come from, 3 to 11 letters and digits, where that is possible."
        ),
    ] = ""
    origination_number: Annotated[
        str, Meta(description="A number of the account that texts come from, such as `+12065550100`.")
    ] = ""
    max_price: Annotated[
        str, Meta(description='The most that one message may cost, in US dollars, such as `"0.50"`.')
    ] = ""


def read_sns(table: Table, folder: Path) -> SnsConfig | None:
    """What the table says; None if it names no region."""
    account = read_account(table)
    sms_type = table.choice("sms_type", get_args(SmsType), None)
    sender_id = table.checked("sender_id", _sender_id, "", example="ACME")
    number = table.checked("origination_number", _number, "", example="+12065550100")
    price = table.checked("max_price", _price, "", example="0.50")
    limits = read_limits(table, text_sender, domains=False)
    table.close(hints={"domain_rates": "is for email only; text messages have no domain"})
    if not account["region"]:
        return None
    return SnsConfig(
        **account,
        sms_type=sms_type,
        sender_id=sender_id,
        origination_number=number,
        max_price=price,
        **limits,
    )


def _sender_id(text: str) -> str:
    if _SENDER_ID.fullmatch(text) is None:
        raise BadInput("must be 3 to 11 letters and digits, with at least one letter")
    return text


def _number(text: str) -> str:
    if _NUMBER.fullmatch(text) is None:
        raise BadInput("must be a number such as +12065550100, or a short code")
    return text


def _price(text: str) -> str:
    if _PRICE.fullmatch(text) is None or float(text) <= 0:
        raise BadInput('must be an amount in US dollars such as "0.50"')
    return text
