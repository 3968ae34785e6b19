"""A mail server in hubd.toml: its settings, and what cannot work."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from msgspec import Meta

from hubd.config.ca_files import read_ca_file
from hubd.config.hosts import greeting_name, host_name, is_loopback
from hubd.config.oauth2 import OAuth2Config, read_oauth2
from hubd.config.rates import email_sender, read_limits
from hubd.config.secret_refs import read_secret
from hubd.core.addresses import email_address
from hubd.core.tables import Table, kind_of
from hubd.core.tokens import TOKEN_LENGTH
from hubd.errors import BadInput
from hubd.providers.settings import ProviderSettings
from hubd.secrets import SecretRef

Preset = Literal["gmail", "outlook"]
Security = Literal["starttls", "tls", "none"]
Auth = Literal["password", "xoauth2"]

#: Where the token of a delivery goes in a bounce address.
TOKEN_FIELD = "{token}"  # noqa: S105

_PRESETS: dict[Preset | None, str] = {"gmail": "smtp.gmail.com", "outlook": "smtp.office365.com"}
_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpConfig(ProviderSettings):
    """A mail server that messages are handed to."""

    type: Annotated[Literal["smtp"], Meta(description="Send email through a mail server.")] = "smtp"
    preset: Annotated[
        Preset | None, Meta(description="A known provider, whose `host` need not be written.")
    ] = field(default=None, compare=False)
    host: Annotated[
        str,
        Meta(description="The mail server's name or address, without the port. Required without `preset`."),
    ]
    port: Annotated[
        int, Meta(description="The default follows `security`: 587 for starttls, 465 for tls, 25 for none.")
    ] = 587
    security: Annotated[
        Security,
        Meta(
            description="How the connection is encrypted. `starttls` is required, never opportunistic; "
            "`none` with a password is accepted for a loopback address only. Port 465 implies `tls`."
        ),
    ] = "starttls"
    username: Annotated[str, Meta(description="The login name. Needs `password`.")] = ""
    password: Annotated[
        SecretRef | None, Meta(description="Where to find the password. Needs `username`.")
    ] = None
    auth: Annotated[
        Auth,
        Meta(
            description="`xoauth2` logs in with access tokens, as Microsoft and Google require. "
            "Needs `oauth2`."
        ),
    ] = "password"
    oauth2: Annotated[
        OAuth2Config | None,
        Meta(
            description="What access tokens are requested with: `token_url`, `client_id`, `client_secret`, "
            "`refresh_token`."
        ),
    ] = None
    ehlo_name: Annotated[
        str,
        Meta(
            description="The name that hubd gives the server in EHLO. The default is this machine's full "
            "name, or `[127.0.0.1]` if it has none."
        ),
    ] = ""
    pipelining: Annotated[
        bool,
        Meta(
            description="Use the server's PIPELINING. `false` is for servers that offer it and cannot do it; "
            "hubd also notices this on its own."
        ),
    ] = True
    bounce_address: Annotated[
        str,
        Meta(
            description="The envelope sender of email, which bounces go to, unless the campaign has a "
            "`return_path`. The default is the sender's own address. `{token}` in it, as in "
            "`bounces+{token}@acme.example`, stands for a token that names the message. With "
            "a `[mailboxes.NAME]`, hubd reads what comes back."
        ),
    ] = ""
    dsn: Annotated[
        bool | Literal["success"],
        Meta(
            title='true or false, or `"success"`',
            description="Ask for reports about messages that fail or are late (RFC 3461) if the "
            "server offers that "
            "and takes it. "
            '`"success"` also asks for a receipt of each delivered message.',
        ),
    ] = True
    connections: Annotated[int, Meta(description="How many connections are used at most, 1 to 256.")] = 8
    ca_file: Annotated[
        Path | None,
        Meta(description="Certificate authorities to trust instead of the system's, as a PEM file."),
    ] = None


def read_smtp(table: Table, folder: Path) -> SmtpConfig:
    """What the table says. File names are relative to `folder`."""
    preset: Preset | None = table.choice("preset", get_args(Preset), None)
    host = table.checked("host", host_name, _PRESETS.get(preset, ""), example="smtp.acme.example")
    implied: Security = "tls" if table.raw.get("port") == 465 else "starttls"
    security: Security = table.choice("security", get_args(Security), implied)
    password = read_secret(table, "password")
    auth: Auth = table.choice("auth", get_args(Auth), "password")
    oauth2 = read_oauth2(table.sub("oauth2")) if table.take("oauth2") is not None else None
    smtp = SmtpConfig(
        preset=preset,
        host=host,
        port=table.whole("port", _PORTS[security], 1, 65535),
        security=security,
        username=table.text("username"),
        password=password,
        auth=auth,
        oauth2=oauth2,
        ehlo_name=table.checked("ehlo_name", greeting_name, "", example="mail.acme.example"),
        pipelining=table.flag("pipelining", True),
        bounce_address=table.checked("bounce_address", _bounce_address, "", example="bounces@acme.example"),
        dsn=_dsn(table),
        connections=table.whole("connections", 8, 1, 256),
        ca_file=read_ca_file(table, folder),
        **read_limits(table, email_sender, domains=True),
    )
    if not preset and not table.raw.get("host"):
        table.fault("host", "is missing; give the name of the mail server")
    _check_login(table, smtp)
    if (password or oauth2) and security == "none" and host and not is_loopback(host):
        table.fault(
            "security", 'must be "starttls" or "tls": with "none" the login would be sent unencrypted'
        )
    table.close()
    return smtp


def _check_login(table: Table, smtp: SmtpConfig) -> None:
    """Note what is missing for a login, and what contradicts another key."""
    if smtp.auth == "xoauth2":
        if table.raw.get("password") is not None:
            table.fault("password", 'is not allowed with auth = "xoauth2"')
        if table.raw.get("oauth2") is None:
            table.fault("oauth2", 'is missing; auth = "xoauth2" needs one')
        if not smtp.username:
            table.fault("username", 'is missing; auth = "xoauth2" needs one')
        return
    if table.raw.get("oauth2") is not None:
        table.fault("oauth2", 'needs auth = "xoauth2"')
    if smtp.username and table.raw.get("password") is None:
        table.fault("password", "is missing; a username needs one")
    if smtp.password and not table.raw.get("username"):
        table.fault("username", "is missing; a password needs one")


def _dsn(table: Table) -> bool | Literal["success"]:
    value = table.take("dsn")
    if value is None or isinstance(value, bool):
        return True if value is None else value
    if value == "success":
        return "success"
    found = "" if isinstance(value, str) else f", not {kind_of(value)}"
    table.fault("dsn", f'must be true, false or "success"{found}')
    return True


def _bounce_address(text: str) -> str:
    before, field, after = text.partition(TOKEN_FIELD)
    if "{" in before + after:
        raise BadInput("can contain {token} once, and no other field")
    if field and not (before.endswith("+") and after.startswith("@")):
        raise BadInput("must have {token} between a + and the @: bounces+{token}@acme.example")
    stand_in = "t" * TOKEN_LENGTH
    return email_address(before + (stand_in if field else "") + after)[0].replace(stand_in, field or stand_in)
