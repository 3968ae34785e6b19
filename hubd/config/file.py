"""hubd.toml as frozen typed values.

The whole file is judged before any of it is used, and every fault is named with its line and the key that was
meant. Nothing here ever quotes a value: what is wrong in a config may well be a password in the wrong place.
The daemon reads this file and never writes it. Where the file and the other places are: `places`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from msgspec import Meta

from hubd.config.hosts import address_of, is_loopback
from hubd.config.layers import Layers, read_layers
from hubd.config.listener import ListenerConfig, read_listener
from hubd.config.mailboxes import MailboxConfig, read_mailbox
from hubd.config.notify import NotifySettings, read_notify
from hubd.config.retention import RetentionSettings, read_retention
from hubd.config.secret_refs import read_secret
from hubd.config.sinks import SinkSettings, read_sink, secrets_of_sink
from hubd.core.inbox import BounceRules
from hubd.core.model import Channel
from hubd.core.tables import Fault, Table, shown, unknown_first
from hubd.errors import BadInput, CredentialMissing
from hubd.places import config_path, socket_path, state_dir
from hubd.providers.registry import BUILT_IN, KINDS, in_words, kind_of
from hubd.providers.settings import ProviderSettings
from hubd.secrets import Secret, SecretRef

__all__ = [
    "HubConfig",
    "ProviderSettings",
    "Secret",
    "SecretRef",
    "config_path",
    "is_loopback",
    "load_config",
    "socket_path",
    "state_dir",
]

LogLevel = Literal["debug", "info", "warning", "error"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VIEWER_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,200}")


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
            description="Where to find the token with which programs may read over TCP, such as "
            "Prometheus at "
            "`/metrics`: 32 to 200 letters, digits, `-` and `_`."
        ),
    ] = None
    providers: dict[str, ProviderSettings] = field(default_factory=lambda: built_in())
    mailboxes: dict[str, MailboxConfig] = field(default_factory=dict)
    bounces: BounceRules = field(default_factory=BounceRules)
    listener: ListenerConfig | None = None
    notify: NotifySettings | None = None
    sinks: dict[str, SinkSettings] = field(default_factory=dict)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
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
    # Newer versions of Python call an IPv4 address that is mapped into IPv6 loopback, too.
    if not address.is_loopback or (address.version == 6 and address.ipv4_mapped is not None):
        raise BadInput("must be an address that only this machine can reach, such as 127.0.0.1 or [::1]")
    return str(address), int(found[3])


def missing_secrets(config: HubConfig) -> list[CredentialMissing]:
    """What is wrong with the secrets that the file refers to. Reads them all; may block on a keyring."""
    found = []
    references = [
        *(secrets_of(provider) for provider in config.providers.values()),
        *(mailbox.secrets for mailbox in config.mailboxes.values()),
        *(secrets_of_sink(sink) for sink in config.sinks.values()),
    ]
    for reference in (each for secrets in references for each in secrets.values()):
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


def secrets_of(provider: ProviderSettings) -> dict[str, SecretRef]:
    """Where the provider's secrets are, by key; the one that the login needs most comes first."""
    found = kind_of(provider.type).secrets(provider)
    return {key: reference for key, reference in found.items() if reference is not None}


def built_in() -> dict[str, ProviderSettings]:
    """The provider that is always there."""
    return {BUILT_IN: kind_of(BUILT_IN).settings(type=BUILT_IN)}


def _hub(top: Table, folder: Path, layers: Layers) -> HubConfig:
    hub = top.sub("hub")
    log_level: LogLevel = hub.choice("log_level", get_args(LogLevel), "info")
    tcp = hub.checked("tcp", parse_tcp, None, example="127.0.0.1:0")
    token = read_secret(hub, "viewer_token")
    hub.close()
    tables = top.sub("providers")
    providers = built_in()
    for name, table in _named(tables, "a provider"):
        if provider := _provider(table, name, folder):
            providers[name] = provider
    tables.close()
    tables = top.sub("mailboxes")
    mailboxes = {name: read_mailbox(table, folder) for name, table in _named(tables, "a mailbox")}
    tables.close()
    bounces = _bounces(top.sub("bounces"))
    listener = read_listener(top.sub("listener")) if top.take("listener") is not None else None
    notify = read_notify(top.sub("notify"), _senders(providers))
    tables = top.sub("sinks")
    sinks = {name: read_sink(table) for name, table in _named(tables, "a sink")}
    tables.close()
    retention = read_retention(top.sub("retention"))
    top.close()
    return HubConfig(
        log_level=log_level,
        tcp=tcp,
        viewer_token=token,
        providers=providers,
        sinks={name: sink for name, sink in sinks.items() if sink is not None},
        mailboxes=mailboxes,
        bounces=bounces,
        listener=listener,
        notify=notify,
        retention=retention,
        folder=folder,
        layers=layers,
    )


def _named(tables: Table, what: str) -> Iterator[tuple[str, Table]]:
    """The tables with a good name."""
    for name in [name for name in tables.raw if isinstance(name, str)]:
        table = tables.sub(name)
        if _NAME.fullmatch(name) is None:
            tables.fault(
                shown(name),
                f"{what}'s name has up to 64 characters from A-Z a-z 0-9 . _ - and no leading dot",
            )
        else:
            yield name, table


def _bounces(table: Table) -> BounceRules:
    rules = BounceRules()
    rules = BounceRules(
        soft_limit=table.whole("soft_limit", rules.soft_limit, 2, 100),
        soft_days=table.whole("soft_days", rules.soft_days, 1, 365),
    )
    table.close()
    return rules


def _senders(providers: Mapping[str, ProviderSettings]) -> list[str]:
    """The providers that send email."""
    return [name for name, each in providers.items() if Channel.EMAIL in kind_of(each.type).channels]


def _provider(table: Table, name: str, folder: Path) -> ProviderSettings | None:
    kind = table.choice("type", tuple(sorted(KINDS)), "")
    if table.raw.get("type") is None:
        table.fault("type", f"is missing; {in_words()}")
    if name == BUILT_IN and kind not in ("", BUILT_IN):
        table.fault(
            "type", "the name outbox is reserved for the provider that writes files; choose another name"
        )
    return kind_of(kind).read(table, folder) if kind else None
