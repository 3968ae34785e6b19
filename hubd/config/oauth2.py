"""Logging in with OAuth 2.0 access tokens instead of a password: the key `oauth2` of a mail server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from hubd.config.hosts import base_url
from hubd.config.secret_refs import how_to, read_secret
from hubd.core.tables import Table
from hubd.secrets import SecretRef

#: Where Microsoft and Google issue tokens.
MICROSOFT = "https://login.microsoftonline.com/common/oauth2/v2.0/token"
GOOGLE = "https://oauth2.googleapis.com/token"


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Config:
    """What access tokens are asked for with (RFC 6749 section 6)."""

    token_url: Annotated[
        str,
        Meta(description=f"The server that issues access tokens, such as `{MICROSOFT}` or `{GOOGLE}`."),
    ]
    client_id: Annotated[str, Meta(description="The ID of the application that was registered there.")]
    client_secret: Annotated[
        SecretRef | None,
        Meta(description="Where to find the application's secret. Public applications have none."),
    ] = None
    refresh_token: Annotated[
        SecretRef,
        Meta(description="Where to find the token that the application got when a person signed in."),
    ]


def read_oauth2(table: Table) -> OAuth2Config | None:
    """What the table says; None if it is not complete, which is noted."""
    token_url = table.checked("token_url", base_url(GOOGLE), "", example=GOOGLE)
    client_id = table.text("client_id")
    client_secret = read_secret(table, "client_secret")
    refresh_token = read_secret(table, "refresh_token")
    if table.raw.get("token_url") is None:
        table.fault("token_url", f"is missing; {MICROSOFT} for Microsoft, {GOOGLE} for Google")
    if not table.raw.get("client_id"):
        table.fault("client_id", "is missing; it is shown where the application was registered")
    if table.raw.get("refresh_token") is None:
        table.fault("refresh_token", "is missing; " + how_to("refresh_token"))
    table.close()
    if not token_url or not client_id or refresh_token is None:
        return None
    return OAuth2Config(
        token_url=token_url, client_id=client_id, client_secret=client_secret, refresh_token=refresh_token
    )
