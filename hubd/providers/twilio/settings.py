"""A Twilio account in hubd.toml."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from hubd.config.hosts import base_url
from hubd.config.rates import read_limits, text_sender
from hubd.config.secret_refs import how_to, read_secret
from hubd.core.addresses import sms_sender
from hubd.core.tables import Table
from hubd.errors import BadInput
from hubd.providers.settings import ProviderSettings
from hubd.secrets import SecretRef

TWILIO_URL = "https://api.twilio.com"

_SID = {
    "account_sid": re.compile(r"AC[0-9A-Za-z]{1,62}"),
    "messaging_service_sid": re.compile(r"MG[0-9A-Za-z]{1,62}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioConfig(ProviderSettings):
    """A Twilio account to send SMS through. One of `from` and `messaging_service_sid` is set."""

    type: Annotated[Literal["twilio"], Meta(description="Send SMS through Twilio.")] = "twilio"
    account_sid: Annotated[str, Meta(description="The account's SID, which starts with AC.")]
    auth_token: Annotated[SecretRef, Meta(description="Where to find the auth token.")]
    from_: Annotated[
        str,
        Meta(description="The sender: a number such as `+15005550006`, a short code or a name."),
    ] = ""
    messaging_service_sid: Annotated[
        str, Meta(description="A Twilio Messaging Service that picks the sender, instead of `from`.")
    ] = ""
    concurrency: Annotated[int, Meta(description="How many connections are used at most, 1 to 100.")] = 10
    base_url: Annotated[
        str, Meta(description="Another server with Twilio's interface; `http://` on loopback addresses only.")
    ] = TWILIO_URL


def read_twilio(table: Table, folder: Path) -> TwilioConfig | None:
    """What the table says; None if it names no auth token."""
    account = table.checked("account_sid", _sid("account_sid"), "", example="AC...")
    token = read_secret(table, "auth_token")
    sender = table.checked("from", sms_sender, "", example="+15005550006")
    service = table.checked("messaging_service_sid", _sid("messaging_service_sid"), "", example="MG...")
    url = table.checked("base_url", base_url(TWILIO_URL), TWILIO_URL, example=TWILIO_URL)
    concurrency = table.whole("concurrency", 10, 1, 100)
    limits = read_limits(table, text_sender, domains=False)
    if not table.raw.get("account_sid"):
        table.fault(
            "account_sid", "is missing; it starts with AC and is on the first page of the Twilio console"
        )
    if table.raw.get("auth_token") is None:
        table.fault("auth_token", "is missing; " + how_to("auth_token"))
    if bool(table.raw.get("from")) == bool(table.raw.get("messaging_service_sid")):
        table.fault("from", "give either from or messaging_service_sid")
    table.close(hints={"domain_rates": "is for email only; text messages have no domain"})
    if token is None:
        return None
    return TwilioConfig(
        account_sid=account,
        auth_token=token,
        from_=sender,
        messaging_service_sid=service,
        concurrency=concurrency,
        base_url=url,
        **limits,
    )


def _sid(key: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if _SID[key].fullmatch(text) is None:
            raise BadInput(f"must be {_SID[key].pattern[:2]} followed by letters and digits")
        return text

    return check
