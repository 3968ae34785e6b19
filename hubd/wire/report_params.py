"""What the methods about figures take."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hubd.wire.params import Name, Params, Zone

When = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class ReportGet(Params, frozen=True):
    """Which campaigns, and when: all without `names`, `label` and `provider`, and from the first one on.

    `since` and `until` are dates ("2026-12-01", "today"), times, or how long ago ("7 days"); a date as
    `until` includes that day. They are of `timezone`, "" for UTC, as are the days, weeks and months of `by`.
    """

    names: Annotated[list[Name], msgspec.Meta(max_length=1000)] = msgspec.field(default_factory=list)
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    provider: Name | None = None
    since: When | None = None
    until: When | None = None
    by: Literal["hour", "day", "week", "month"] | None = None
    timezone: Zone = ""
