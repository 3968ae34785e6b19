"""Sinks in hubd.toml: where figures and events are copied to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from hubd.config.hosts import base_url, is_loopback
from hubd.config.secret_refs import how_to, read_secret
from hubd.core.intake import time_zone
from hubd.core.sinks import CAMPAIGN_FIELDS, KPI_FIELDS
from hubd.core.tables import Table, text_problem
from hubd.core.times import parse_duration
from hubd.errors import BadInput
from hubd.secrets import SecretRef

AIRTABLE_URL = "https://api.airtable.com"

Content = Literal["campaigns", "kpis"]

_BASE = re.compile(r"app[A-Za-z0-9]{1,60}")
_EVENT = re.compile(r"[a-z_]{1,40}\.(\*|[a-z_]{1,40})")


@dataclass(frozen=True, slots=True, kw_only=True)
class AirtableSink:
    """A table of an Airtable base that shows the newest figures, a record for each campaign or day."""

    type: Annotated[Literal["airtable"], Meta(description="Keep a table of Airtable up to date.")] = (
        "airtable"
    )
    base: Annotated[str, Meta(description="The id of the base, which starts with app.")]
    table: Annotated[str, Meta(description="The name or the id of the table.")]
    token: Annotated[
        SecretRef,
        Meta(description="Where to find the personal access token (`data.records:read` and `:write`)."),
    ]
    content: Annotated[
        Content,
        Meta(description="One record for each campaign, or for each campaign and day and one for the total."),
    ] = "campaigns"
    fields: Annotated[
        Mapping[str, str],
        Meta(
            title="table",
            description="What the fields are called in your table; an empty name leaves a field out.",
        ),
    ] = field(default_factory=dict)
    every: Annotated[
        str, Meta(description="How often figures are copied; changes of state are copied at once.")
    ] = "60s"
    timezone: Annotated[
        str, Meta(description="The time zone that the days of `kpis` are counted in; UTC by default.")
    ] = ""
    base_url: Annotated[
        str, Meta(description="Another server with Airtable's interface; `http://` on loopback only.")
    ] = AIRTABLE_URL


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSink:
    """A server that is told about events, in order and at least once, signed as Standard Webhooks says."""

    type: Annotated[Literal["webhook"], Meta(description="Send events to a server.")] = "webhook"
    url: Annotated[
        str, Meta(description="The address that events are posted to; `http://` on loopback only.")
    ]
    secret: Annotated[
        SecretRef,
        Meta(description="Where to find the signing secret: `whsec_` and 24 to 64 bytes in base64."),
    ]
    events: Annotated[
        tuple[str, ...],
        Meta(description='Only these events, such as `"campaign.state"` or `"delivery.*"`; all by default.'),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvSink:
    """Files to which figures are appended as they change, a file for each day."""

    type: Annotated[Literal["csv"], Meta(description="Append figures to CSV files.")] = "csv"
    directory: Annotated[
        Path, Meta(description="Where the files are written, relative to the folder of hubd.toml.")
    ]
    content: Annotated[
        Content,
        Meta(
            description="One line for each campaign, or one for each campaign and day and one for the total."
        ),
    ] = "campaigns"
    every: Annotated[
        str, Meta(description="How often figures are written; changes of state are written at once.")
    ] = "60s"
    timezone: Annotated[str, Meta(description="The time zone of the days; UTC by default.")] = ""


SinkSettings = AirtableSink | WebhookSink | CsvSink
SINK_TABLES: Mapping[str, type[SinkSettings]] = MappingProxyType(
    {"airtable": AirtableSink, "webhook": WebhookSink, "csv": CsvSink}
)


def read_sink(table: Table) -> SinkSettings | None:
    """What the table of a sink says; None, with the faults noted, if something is missing."""
    kind = table.choice("type", tuple(SINK_TABLES), "")
    if table.raw.get("type") is None:
        table.fault("type", 'is missing; it is "airtable", "webhook" or "csv"')
    match kind:
        case "airtable":
            return _airtable(table)
        case "webhook":
            return _webhook(table)
        case "csv":
            return _csv(table)
    return None


def secrets_of_sink(sink: SinkSettings) -> dict[str, SecretRef]:
    """Where its secrets are, by key."""
    match sink:
        case AirtableSink():
            return {"token": sink.token}
        case WebhookSink():
            return {"secret": sink.secret}
    return {}


def _airtable(table: Table) -> AirtableSink | None:
    base = table.checked("base", _base, "", example="appA1b2C3d4E5f6G7")
    name = table.text("table", example="Campaigns")
    token = read_secret(table, "token")
    content: Content = table.choice("content", ("campaigns", "kpis"), "campaigns")
    fields = _fields(table, content)
    every = table.checked("every", _every, "60s", example="60s")
    timezone = table.checked("timezone", time_zone, "", example="Europe/Berlin")
    url = table.checked("base_url", base_url(AIRTABLE_URL), AIRTABLE_URL, example=AIRTABLE_URL)
    for key, hint in (("base", "it starts with app"), ("table", "it is the name of the table")):
        if not table.raw.get(key):
            table.fault(key, f"is missing; {hint}")
    _needs(table, "token")
    table.close()
    if token is None or not base or not name:
        return None
    return AirtableSink(
        base=base, table=name, token=token, content=content, fields=fields, every=every, timezone=timezone,
        base_url=url,
    )  # fmt: skip


def _webhook(table: Table) -> WebhookSink | None:
    url = table.checked("url", _url, "", example="https://acme.example/hooks/messagehub")
    secret = read_secret(table, "secret")
    events = table.texts("events", example='["campaign.state"]')
    for number, each in enumerate(events):
        if _EVENT.fullmatch(each) is None:
            table.fault(
                f"events[{number}]", 'must be a type of event such as "campaign.state" or "delivery.*"'
            )
    if not table.raw.get("url"):
        table.fault("url", "is missing; it is the address that events are posted to")
    _needs(table, "secret")
    table.close()
    return WebhookSink(url=url, secret=secret, events=events) if url and secret is not None else None


def _csv(table: Table) -> CsvSink | None:
    directory = table.text("directory", example="figures")
    content: Content = table.choice("content", ("campaigns", "kpis"), "campaigns")
    every = table.checked("every", _every, "60s", example="60s")
    timezone = table.checked("timezone", time_zone, "", example="Europe/Berlin")
    if not table.raw.get("directory"):
        table.fault("directory", "is missing; it is the folder for the files")
    table.close()
    if not directory:
        return None
    return CsvSink(directory=Path(directory), content=content, every=every, timezone=timezone)


def _needs(table: Table, key: str) -> None:
    if table.raw.get(key) is None:
        table.fault(key, "is missing; " + how_to(key))


def _base(text: str) -> str:
    if _BASE.fullmatch(text) is None:
        raise BadInput("must be app followed by letters and digits, as in the address of the base")
    return text


def _every(text: str) -> str:
    if not 1 <= parse_duration(text) <= 86_400:
        raise BadInput("must be from 1 second to 1 day")
    return text


def _fields(table: Table, content: Content) -> dict[str, str]:
    known = CAMPAIGN_FIELDS if content == "campaigns" else KPI_FIELDS
    inner = table.sub("fields")
    found: dict[str, str] = {}
    for name in known:
        value = inner.take(name)
        if value is None:
            continue
        if not isinstance(value, str) or text_problem(value):
            inner.fault(name, "must be the name of a field, in quotes")
        elif not value and name == known[0]:
            inner.fault(name, "cannot be left out: records are found by it")
        else:
            found[name] = value
    inner.close()
    return found


def _url(text: str) -> str:
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port = "", 0
    if not host or port == 0 or url.scheme not in ("https", "http") or re.search(r"[^!-~]", text):
        raise BadInput("must be an address such as https://acme.example/hooks/messagehub")
    if "@" in url.netloc or url.fragment:
        raise BadInput("must have no user and no fragment")
    if url.scheme == "http" and not is_loopback(host):
        raise BadInput("must be https:// except to a loopback address")
    return text
