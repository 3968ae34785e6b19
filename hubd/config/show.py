"""The configuration in effect, key by key, each with its value and where that comes from. Pure.

A secret appears as the reference that the file holds, `{ file = "office.pass" }`; its value is unknown here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Literal

from hubd.config.file import HubConfig, ProviderSettings
from hubd.config.layers import Origin
from hubd.config.rates import Limited
from hubd.core.warmup import Warmup
from hubd.providers.registry import kind_of
from hubd.secrets import SecretRef

Source = Literal["default", "file", "preset", "option"]
_LIMITS = tuple(field.name for field in fields(Limited))
_NOTHING: tuple[object, ...] = (None, "", [], {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A key that was given on the command line, which is above every file."""

    flag: str  #: "--log-level"
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key as it is in effect."""

    key: str  #: "providers.office.host"
    value: object  #: as JSON would have it
    source: Source
    at: Origin | None = None  #: for "file", and for the line of the preset that implies it
    flag: str = ""  #: for "option"


def settings(config: HubConfig, options: Mapping[str, Option]) -> list[Setting]:
    """Every key that has a value, in the order of a well-kept file."""
    found = [*_hub(config)]
    for name, provider in config.providers.items():
        found += _provider(config, name, provider)
    for name, sink in config.sinks.items():
        keys = ["type", *(field.name for field in fields(sink) if field.name != "type")]
        found += [_setting(config, ("sinks", name, key), getattr(sink, key)) for key in keys]
    for name, mailbox in config.mailboxes.items():
        for key in fields(mailbox):
            found.append(_setting(config, ("mailboxes", name, key.name), getattr(mailbox, key.name)))
    for name in ("soft_limit", "soft_days"):
        found.append(_setting(config, ("bounces", name), getattr(config.bounces, name)))
    if config.listener is not None:
        found.append(_setting(config, ("listener", "address"), address_text(config.listener.address)))
        for name in ("public_url", "unsubscribe"):
            found.append(_setting(config, ("listener", name), getattr(config.listener, name)))
    found += _notify(config)
    for name in ("deliveries", "content", "events"):
        found.append(_setting(config, ("retention", name), getattr(config.retention, name)))
    return [_overridden(setting, options) for setting in found if _says_something(setting, options)]


def address_text(address: tuple[str, int] | None) -> str:
    """An address and a port as hubd.toml has them; "" for none."""
    if address is None:
        return ""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _hub(config: HubConfig) -> Iterator[Setting]:
    yield _setting(config, ("hub", "log_level"), config.log_level)
    yield _setting(config, ("hub", "tcp"), address_text(config.tcp))
    yield _setting(config, ("hub", "viewer_token"), config.viewer_token)


def _provider(config: HubConfig, name: str, provider: ProviderSettings) -> Iterator[Setting]:
    place = ("providers", name)
    own = [field.name for field in fields(provider) if field.name not in (*_LIMITS, "type")]
    yield _setting(config, (*place, "type"), provider.type)
    implied = kind_of(provider.type).implied
    for attribute in (*own, *_LIMITS):
        key = attribute.removesuffix("_")  # `from` is a word of Python's
        implies = implied.get(key, "")
        if implies and getattr(provider, implies) is None:
            implies = ""
        yield _setting(config, (*place, key), getattr(provider, attribute), implied_by=implies)


def _notify(config: HubConfig) -> Iterator[Setting]:
    if config.notify is not None:
        for key in ("email", "provider", "sender", "on"):
            value = getattr(config.notify, key)
            yield _setting(config, ("notify", key), list(value) if isinstance(value, tuple) else value)


def _setting(config: HubConfig, names: tuple[str, ...], value: object, *, implied_by: str = "") -> Setting:
    key = ".".join(names)
    written = config.layers.value(*names)
    shown = written if isinstance(value, Warmup) else _plain(value)
    if written is not None:
        return Setting(key=key, value=shown, source="file", at=config.layers.origin(key))
    if implied_by:
        at = config.layers.origin(".".join((*names[:-1], implied_by)))
        return Setting(key=key, value=shown, source="preset", at=at)
    return Setting(key=key, value=shown, source="default")


def _plain(value: object) -> object:
    match value:
        case SecretRef():
            return {value.place.value: value.name}
        case Path():
            return str(value)
        case tuple():
            return [_plain(each) for each in value]
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):  # a table within a provider's
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: _plain(part) for name, part in parts.items() if part is not None}
    return value


def _says_something(setting: Setting, options: Mapping[str, Option]) -> bool:
    return setting.source != "default" or setting.value not in _NOTHING or setting.key in options


def _overridden(setting: Setting, options: Mapping[str, Option]) -> Setting:
    option = options.get(setting.key)
    if option is None:
        return setting
    return Setting(key=setting.key, value=option.value, source="option", flag=option.flag)
