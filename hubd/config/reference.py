"""Every key of hubd.toml with its type, its default and what it does, from the types that the file becomes.

The reference pages and `hubctl config reference` show the same.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from hubd.config.file import HubConfig
from hubd.config.listener import ListenerConfig
from hubd.config.mailboxes import MailboxConfig
from hubd.config.notify import NotifySettings
from hubd.config.oauth2 import OAuth2Config
from hubd.config.rates import Limited, Rates
from hubd.config.retention import RetentionSettings
from hubd.config.sinks import SINK_TABLES
from hubd.core.inbox import BounceRules
from hubd.core.model import Attachment
from hubd.core.warmup import Warmup
from hubd.providers.registry import KINDS, kind_of
from hubd.secrets import Place, SecretRef

#: Where a secret can be, for people.
PLACES: Mapping[Place, str] = {
    Place.FILE: "In a file that only the user of hubd can read, relative to the folder of hubd.toml.",
    Place.CREDENTIAL: "In a credential of the systemd service (`LoadCredential=`).",
    Place.KEYRING: "In the keyring of your desktop.",
    Place.ENV: "In an environment variable of hubd.",
}


class Key(NamedTuple):
    """One key of a file. Type and default are Markdown."""

    name: str
    type: str
    default: str  #: "" when there is none
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The keys that stand under one heading."""

    title: str
    about: str
    keys: list[Key]


def sections() -> list[Section]:
    """All of hubd.toml, in the order of a well-kept file."""
    limits = declared(Limited)
    found = [Section(title="[hub]", about="", keys=declared(HubConfig))]
    for type_ in KINDS:
        kind = kind_of(type_)
        own = [key for key in declared(kind.settings) if key not in limits]
        title = f'[providers.NAME], type = "{type_}"'
        found.append(Section(title=title, about=kind.settings.__doc__ or "", keys=own))
        for key, table in kind.tables.items():
            about = table.__doc__ or ""
            found.append(Section(title=f"[providers.NAME.{key}]", about=about, keys=declared(table)))
    found.append(_table("[mailboxes.NAME]", MailboxConfig))
    found.append(_table("[mailboxes.NAME.oauth2]", OAuth2Config))
    found.append(_table("[listener]", ListenerConfig))
    found.append(_table("[notify]", NotifySettings))
    for type_, sink in SINK_TABLES.items():
        found.append(_table(f'[sinks.NAME], type = "{type_}"', sink))
    found.append(_table("[retention]", RetentionSettings))
    found.append(Section(title="Rates, for each type of provider", about="", keys=limits))
    about = BounceRules.__doc__ or ""
    found.append(Section(title="[bounces]", about=about, keys=declared(BounceRules)))
    return found


def _table(title: str, kind: type) -> Section:
    return Section(title=title, about=kind.__doc__ or "", keys=declared(kind))


def as_json() -> str:
    """The same for programs: `{"keys": [{"section", "key", "type", "default", "about"}]}`."""
    keys = [
        {
            "section": section.title,
            "key": key.name,
            "type": key.type.replace("`", ""),
            "default": key.default.replace("`", ""),
            "about": key.about,
        }
        for section in sections()
        for key in section.keys
    ]
    secrets = [{"place": place.value, "about": about} for place, about in PLACES.items()]
    return json.dumps({"keys": keys, "secrets": secrets}, ensure_ascii=False)


def declared(table: type) -> list[Key]:
    """The keys of a table of a file: the fields of its type that have a description."""
    hints = get_type_hints(table, include_extras=True)
    found = []
    for name, default in _defaults(table).items():
        metas = [meta for meta in get_args(hints[name])[1:] if isinstance(meta, msgspec.Meta)]
        if get_origin(hints[name]) is Annotated and metas:
            words = metas[0].title or _words(get_args(hints[name])[0])
            found.append(Key(name.rstrip("_"), words, _default(default), metas[0].description or ""))
    return found


def _defaults(table: type) -> dict[str, object]:
    """Each field of a dataclass or struct with its default; required ones come first."""
    if dataclasses.is_dataclass(table):
        found: dict[str, object] = {field.name: field.default for field in dataclasses.fields(table)}
    else:
        found = {field.name: field.default for field in msgspec.structs.fields(table)}
    return found


def _default(value: object) -> str:
    """A default as the file would have it; "" when there is none."""
    if isinstance(value, str | int) and value != "":
        return f"`{json.dumps(value)}`"
    return ""


def _words(kind: Any) -> str:
    """A type in the words of people who write files."""
    if kind == Rates:
        return "table of rates"
    if get_origin(kind) in (Union, types.UnionType):
        return _words(next(each for each in get_args(kind) if each is not type(None)))
    if get_origin(kind) is Literal:
        return " ".join(f"`{json.dumps(word)}`" for word in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " ".join(f"`{json.dumps(word)}`" for word in kind)
    if dataclasses.is_dataclass(kind) and kind not in _KINDS:
        return "table"
    return _KINDS[kind]


_KINDS: Mapping[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    Path: "file name",
    SecretRef: "secret",
    Warmup: "table",
    tuple[str, int]: "text",
    tuple[str, ...]: "list of texts",
    tuple[Attachment, ...]: "list of file names",
}
