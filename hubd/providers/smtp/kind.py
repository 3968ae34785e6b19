"""Mail servers as a kind of provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hubd.config.oauth2 import OAuth2Config
from hubd.core.model import Channel, InDoubt
from hubd.providers.kind import Kind, Opening
from hubd.providers.smtp.settings import TOKEN_FIELD, SmtpConfig, read_smtp
from hubd.secrets import SecretRef
from hubd.transports.secret_reader import SecretReader

if TYPE_CHECKING:
    from hubd.providers.smtp.transport import SmtpTransport


def _secrets(config: SmtpConfig) -> Mapping[str, SecretRef | None]:
    if config.oauth2 is None:
        return {"password": config.password}
    return {f"oauth2.{key}": getattr(config.oauth2, key) for key in ("refresh_token", "client_secret")}


#: RFC 3461 section 4.1.
_NOTIFY: Mapping[bool | str, str] = {
    False: "",
    True: "FAILURE,DELAY",
    "success": "SUCCESS,FAILURE,DELAY",
}


def _open(config: SmtpConfig, opening: Opening) -> SmtpTransport:
    from hubd.providers.smtp.transport import SmtpSettings, open_smtp
    from hubd.transports.oauth2 import OAuth2Settings, TokenSource

    readers: list[SecretReader] = list(opening.secrets.values())
    tokens = None
    if config.oauth2 is not None:
        oauth2 = OAuth2Settings(token_url=config.oauth2.token_url, client_id=config.oauth2.client_id)
        tokens = TokenSource(oauth2, *readers)
    return open_smtp(
        opening.name,
        SmtpSettings(
            host=config.host,
            port=config.port,
            security=config.security,
            username=config.username,
            connections=config.connections,
            ca_file=config.ca_file,
            ehlo_name=config.ehlo_name,
            pipelining=config.pipelining,
            bounce_address=config.bounce_address,
            notify=_NOTIFY[config.dsn],
            bounce_token=opening.bounce_token,
        ),
        opening.bridge,
        readers[0] if readers and tokens is None else None,
        tokens,
    )


def _advice(config: SmtpConfig, mailbox: bool) -> Iterator[str]:
    if TOKEN_FIELD in config.bounce_address and not mailbox:
        yield (
            f"bounce_address has {TOKEN_FIELD}, but there is no mailbox from which hubd could read the "
            "bounces: add [mailboxes.NAME] to hubd.toml with the login of that address"
        )


KIND = Kind(
    settings=SmtpConfig,
    read=read_smtp,
    open=_open,
    channels=frozenset({Channel.EMAIL}),
    in_doubt=InDoubt.RETRY,
    connections=lambda config: config.connections,
    secrets=_secrets,
    tables={"oauth2": OAuth2Config},
    advice=_advice,
    implied={"host": "preset"},
)
