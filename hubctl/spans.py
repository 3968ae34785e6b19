"""Spans of time as people write and read them: "30s", "1h30m", "3 h 20 m". Pure."""

from __future__ import annotations

import re

_SECONDS = {
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(ms|sec|s|min|m|h|d)?\s*", re.ASCII)


def seconds(text: str) -> float:
    """`"30s"`, `"1h30m"`, `"90"` (seconds) as seconds. Raises ValueError with a sentence for people."""
    rest, total, parts = text.strip().lower(), 0.0, 0
    while rest:
        match = _PART.match(rest)
        bare = match is not None and match[2] is None
        if match is None or (bare and (parts or match.end() != len(rest))):
            raise ValueError(f"{text!r} is not a duration; write 30s, 5m, 2h or 1h30m")
        total += float(match[1]) * _SECONDS[match[2] or "s"]
        rest, parts = rest[match.end() :], parts + 1
    if not parts or total <= 0:
        raise ValueError(f"{text!r} is not a duration; write 30s, 5m, 2h or 1h30m")
    return total


def spoken(span: float | None) -> str:
    """Seconds as a short phrase with at most two units; "" for None."""
    if span is None:
        return ""
    if span < 1:
        return "< 1 s"
    whole = round(span)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} m {whole % 60} s" if whole % 60 else f"{whole // 60} m"
    if whole < 3570:
        return f"{round(whole / 60)} m"
    hours, minutes = divmod(round(whole / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes} m" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"
