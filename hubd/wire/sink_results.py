"""What the methods about sinks answer."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from hubd.wire.results import WouldChange


class SinkStatus(TypedDict):
    """How a sink is."""

    name: str
    type: str  #: "airtable", "webhook" or "csv"
    content: str  #: "campaigns", "kpis" or "events"
    state: str  #: "ready", "failing" (it is tried again) or "paused" (until it is resumed)
    reason: str  #: why it fails or is paused
    failures: int  #: in a row
    behind: int  #: events that have happened since it was told something
    told_at: str | None  #: when that was


class SinksResult(TypedDict):
    """The sinks of hubd.toml."""

    sinks: list[SinkStatus]


class SinkTestResult(TypedDict):
    """What a try came to; `detail` says why it failed."""

    ok: bool
    detail: str
    would: NotRequired[WouldChange]  #: in the answer to a dry run


class SinkResult(TypedDict):
    """Whether the sink was paused."""

    changed: bool
    would: NotRequired[WouldChange]  #: in the answer to a dry run
