"""When a campaign starts: the time zone that people on this computer mean, and a start as it is shown."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_LOCALTIME, _NAMED = Path("/etc/localtime"), Path("/etc/timezone")


def local_zone() -> str:
    """The name of this computer's time zone, such as "Europe/Berlin"; "" if it cannot be found out."""
    named = os.environ.get("TZ")
    if named is not None:
        return _known(named.removeprefix(":") or "UTC")
    try:
        _, found, name = str(_LOCALTIME.resolve(strict=True)).partition("/zoneinfo/")
    except OSError:
        return "UTC" if os.name == "posix" else ""  # what the C library uses then
    if found:
        return _known(name)
    try:
        return _known(_NAMED.read_text("ascii").strip())
    except (OSError, ValueError):
        return ""


def _known(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ""


def has_offset(text: str) -> bool:
    """Whether this is a date and a time with its offset from UTC, which is the same everywhere."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def shown(text: str | None, zone: str | None = None) -> str:
    """A start in a time zone (None: that of this computer) and in UTC.

    Such as "Tuesday 2026-12-01 09:00 CET (2026-12-01 08:00 UTC)".
    """
    try:
        at = datetime.fromisoformat(text or "")
        there = at.astimezone(ZoneInfo(zone) if zone else None)
        utc = at.astimezone(UTC)
    except (ValueError, OverflowError, OSError, ZoneInfoNotFoundError):
        return text or ""
    if there.utcoffset() == utc.utcoffset():
        return f"{utc:%A %Y-%m-%d %H:%M} UTC"
    name = there.tzname() or ""
    name = name if name.isalpha() else f"{there:%z}"
    return f"{there:%A %Y-%m-%d %H:%M} {name} ({utc:%Y-%m-%d %H:%M} UTC)"
