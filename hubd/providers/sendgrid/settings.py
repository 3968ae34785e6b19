"""A SendGrid account in hubd.toml."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from hubd.config.hosts import base_url
from hubd.config.rates import email_sender, read_limits
from hubd.config.secret_refs import how_to, read_secret
from hubd.core.tables import Table
from hubd.errors import BadInput
from hubd.providers.settings import ProviderSettings
from hubd.secrets import SecretRef

SENDGRID_URL = "https://api.sendgrid.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendGridConfig(ProviderSettings):
    """A SendGrid account to send email through."""

    type: Annotated[Literal["sendgrid"], Meta(description="Send email through SendGrid.")] = "sendgrid"
    api_key: Annotated[
        SecretRef,
        Meta(description="Where to find the API key. It needs the permission Mail Send."),
    ]
    verification_key: Annotated[
        str,
        Meta(
            description="The verification key of the signed event webhook, as SendGrid shows it, where the "
            "listener serves that. It is not a secret. Needs `messagehubd[sendgrid]`."
        ),
    ] = ""
    click_tracking: Annotated[
        bool, Meta(description="Let SendGrid replace links with its own, to count clicks.")
    ] = False
    open_tracking: Annotated[
        bool, Meta(description="Let SendGrid add an invisible picture, to count who opens a message.")
    ] = False
    concurrency: Annotated[int, Meta(description="How many connections are used at most, 1 to 100.")] = 10
    base_url: Annotated[
        str,
        Meta(
            description="Another server with SendGrid's interface, such as `https://api.eu.sendgrid.com` for "
            "accounts in the EU; `http://` on loopback addresses only."
        ),
    ] = SENDGRID_URL


def read_sendgrid(table: Table, folder: Path) -> SendGridConfig | None:
    """What the table says; None if it names no API key."""
    key = read_secret(table, "api_key")
    if table.raw.get("api_key") is None:
        table.fault("api_key", "is missing; " + how_to("api_key"))
    url = table.checked("base_url", base_url(SENDGRID_URL), SENDGRID_URL, example=SENDGRID_URL)
    verification = table.checked("verification_key", _verification_key, "", example="MFkwEwYHKoZI...")
    clicks, opens = table.flag("click_tracking", False), table.flag("open_tracking", False)
    concurrency = table.whole("concurrency", 10, 1, 100)
    limits = read_limits(table, email_sender, domains=True)
    table.close()
    if key is None:
        return None
    return SendGridConfig(
        api_key=key,
        verification_key=verification,
        click_tracking=clicks,
        open_tracking=opens,
        concurrency=concurrency,
        base_url=url,
        **limits,
    )


def _verification_key(text: str) -> str:
    if find_spec("cryptography") is None:
        raise BadInput('needs a package that is not installed: pip install "messagehubd[sendgrid]"')
    from hubd.providers.sendgrid.webhook import read_public_key

    try:
        read_public_key(text)
    except ValueError:
        raise BadInput(
            "is not the verification key of a signed event webhook; copy it from SendGrid"
        ) from None
    return "".join(text.split())
