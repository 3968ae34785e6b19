"""hubd.toml as frozen typed values.

The whole file is judged before any of it is used, and every fault is named with its line and the key that was
meant. Nothing here ever quotes a value: what is wrong in a config may well be a password in the wrong place.
The daemon reads this file and never writes it. Where the file and the other places are: `places`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from msgspec import Meta

from hubd.config.hosts import address_of, base_url, is_loopback
from hubd.config.layers import Layers, read_layers
from hubd.config.oauth2 import OAuth2Config
from hubd.config.rates import Limited, email_sender, read_limits, text_sender
from hubd.config.secret_refs import how_to, read_secret
from hubd.config.smtp import SmtpConfig, read_smtp
from hubd.core.addresses import sms_sender
from hubd.core.tables import Fault, Table, shown, unknown_first
from hubd.errors import BadInput, CredentialMissing
from hubd.places import config_path, socket_path, state_dir
from hubd.secrets import Secret, SecretRef

__all__ = [
    "HubConfig",
    "OAuth2Config",
    "OutboxConfig",
    "ProviderConfig",
    "Secret",
    "SecretRef",
    "SmtpConfig",
    "TwilioConfig",
    "config_path",
    "is_loopback",
    "load_config",
    "socket_path",
    "state_dir",
]

LogLevel = Literal["debug", "info", "warning", "error"]
TWILIO_URL = "https://api.twilio.com"

_TYPES = ("outbox", "smtp", "twilio")
_NOT_YET = ("sendgrid", "ses", "sns")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SID = {
    "account_sid": re.compile(r"AC[0-9A-Za-z]{1,62}"),
    "messaging_service_sid": re.compile(r"MG[0-9A-Za-z]{1,62}"),
}
_VIEWER_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxConfig(Limited):
    """Writes every message to a file under the state directory. There is always one called `outbox`."""

    type: Annotated[Literal["outbox"], Meta(description="Write each message to a file.")] = "outbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioConfig(Limited):
    """A Twilio account to send SMS through. One of `from` and `messaging_service_sid` is set."""

    type: Annotated[Literal["twilio"], Meta(description="Send SMS through Twilio.")] = "twilio"
    account_sid: Annotated[str, Meta(description="The account's SID, which starts with AC.")]
    auth_token: Annotated[SecretRef, Meta(description="Where the auth token is.")]
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


ProviderConfig = OutboxConfig | SmtpConfig | TwilioConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """All of hubd.toml."""

    log_level: Annotated[LogLevel, Meta(description="How much hubd logs.")] = "info"
    tcp: Annotated[
        tuple[str, int] | None,
        Meta(
            description="Also listen on this loopback address and port; port 0 is any free one. "
            "Takes effect at the next start."
        ),
    ] = None
    viewer_token: Annotated[
        SecretRef | None,
        Meta(
            description="Where the token is by which programs may read over TCP, such as Prometheus at "
            "`/metrics`: 32 to 200 letters, digits, `-` and `_`."
        ),
    ] = None
    providers: dict[str, ProviderConfig] = field(default_factory=lambda: {"outbox": OutboxConfig()})
    folder: Path = Path()  #: where hubd.toml is: what relative paths in it are relative to
    layers: Layers = field(default_factory=Layers, compare=False, repr=False)  #: where each key comes from


def load_config(path: Path | None) -> HubConfig:
    """What is in the file and those beside it (see `config_layers`); the defaults for `None`, no file.

    Raises BadConfig with every fault: `data["errors"]` has `path` (the key), `problem`, `file` and `line` of
    each, `data["file"]` names the file of the first.
    """
    if path is None:
        return HubConfig()
    layers = read_layers(path)
    faults: list[Fault] = []
    config = _hub(Table(layers.raw, faults), path.absolute().parent, layers)
    if faults:
        raise layers.refusal(unknown_first(faults))
    return config


def parse_tcp(text: str) -> tuple[str, int]:
    """ "127.0.0.1:0" or "[::1]:8025" as address and port; port 0 is any that is free.

    Raises `BadInput` for what is not an address of this machine. A name is none: what `localhost` stands for
    is for others to say.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    address = address_of(found[1] or found[2]) if found else None
    if found is None or address is None or int(found[3]) > 65535:
        raise BadInput('must be an address and a port, such as "127.0.0.1:0" or "[::1]:8025"')
    if not address.is_loopback:
        raise BadInput("must be an address of this machine alone, such as 127.0.0.1 or [::1]")
    return str(address), int(found[3])


def missing_secrets(config: HubConfig) -> list[CredentialMissing]:
    """What is wrong with the secrets that the file refers to. Reads them all; may block on a keyring."""
    found = []
    for provider in config.providers.values():
        for reference in secrets_of(provider).values():
            try:
                reference.resolve(config.folder)
            except CredentialMissing as error:
                found.append(error)
    try:
        viewer_token(config)
    except CredentialMissing as error:
        found.append(error)
    return found


def viewer_token(config: HubConfig) -> str:
    """The token for viewers as it is now; "" for none. May block on a keyring.

    Raises `CredentialMissing`, also for a token that could be guessed.
    """
    if config.viewer_token is None:
        return ""
    token = config.viewer_token.resolve(config.folder).reveal()
    if _VIEWER_TOKEN.fullmatch(token) is None:
        raise CredentialMissing(
            f"{config.viewer_token}: is not a token of 32 to 200 letters, digits, - and _",
            hint="Make one with: openssl rand -hex 32",
        )
    return token


def secrets_of(provider: ProviderConfig) -> dict[str, SecretRef]:
    """Where the provider's secrets are, by key; the one that the login needs most comes first."""
    match provider:
        case SmtpConfig(oauth2=OAuth2Config() as oauth2):
            keys = ("refresh_token", "client_secret")
            found = {f"oauth2.{key}": getattr(oauth2, key) for key in keys}
        case SmtpConfig(password=password):
            found = {"password": password}
        case TwilioConfig(auth_token=token):
            found = {"auth_token": token}
        case OutboxConfig():
            found = {}
    return {key: reference for key, reference in found.items() if reference is not None}


def _hub(top: Table, folder: Path, layers: Layers) -> HubConfig:
    hub = top.sub("hub")
    log_level: LogLevel = hub.choice("log_level", get_args(LogLevel), "info")
    tcp = hub.checked("tcp", parse_tcp, None, example="127.0.0.1:0")
    token = read_secret(hub, "viewer_token")
    hub.close()
    tables = top.sub("providers")
    providers: dict[str, ProviderConfig] = {"outbox": OutboxConfig()}
    for name in [name for name in tables.raw if isinstance(name, str)]:
        table = tables.sub(name)
        if _NAME.fullmatch(name) is None:
            tables.fault(
                shown(name), "a provider's name has up to 64 of A-Z a-z 0-9 . _ - and no leading dot"
            )
        elif provider := _provider(table, name, folder):
            providers[name] = provider
    tables.close()
    top.close()
    return HubConfig(
        log_level=log_level,
        tcp=tcp,
        viewer_token=token,
        providers=providers,
        folder=folder,
        layers=layers,
    )


def _provider(table: Table, name: str, folder: Path) -> ProviderConfig | None:
    if table.raw.get("type") in _NOT_YET:
        table.fault("type", "is not supported in this version; use outbox, smtp or twilio")
        return None
    kind = table.choice("type", _TYPES, "")
    if table.raw.get("type") is None:
        table.fault("type", "is missing; outbox, smtp or twilio")
    if name == "outbox" and kind not in ("", "outbox"):
        table.fault(
            "type", "the name outbox is reserved for the provider that writes files; choose another name"
        )
    match kind:
        case "outbox":
            outbox = OutboxConfig(**read_limits(table, email_sender, text_sender, domains=True))
            table.close()
            return outbox
        case "smtp":
            return read_smtp(table, folder)
        case "twilio":
            return _twilio(table)
    return None


def _twilio(table: Table) -> TwilioConfig | None:
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
