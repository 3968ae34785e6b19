"""Durations and points in time as people write them."""

from __future__ import annotations

import datetime as dt
import re

from hubd.errors import BadInput

_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)  # RFC 3339 5.6
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]+)", re.ASCII)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_536_000.0}
_UNIT_WORDS = {
    word: _UNITS[unit]
    for unit, words in {
        "s": "s sec secs second seconds",
        "m": "m min mins minute minutes",
        "h": "h hr hrs hour hours",
        "d": "d day days",
        "w": "w week weeks",
        "y": "y year years",
    }.items()
    for word in words.split()
}


def parse_duration(text: str) -> float:
    """Seconds in "30s", "24h", "2 days" or "1h 30m". Raises BadInput."""
    found = _DURATION.findall(text.lower()[:100])
    rest = _DURATION.sub("", text.lower()[:100]).strip()
    if rest or len(text) > 100 or not found or any(unit not in _UNIT_WORDS for _, unit in found):
        raise BadInput('not a duration; write a number and a unit such as "30s", "24h" or "2 days"')
    return sum(float(number) * _UNIT_WORDS[unit] for number, unit in found)


def parse_time(text: str) -> float:
    """The epoch second of an RFC 3339 time such as "2026-12-01T09:00:00+01:00". Raises BadInput."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise BadInput("not a date and time such as 2026-12-01T09:00:00+01:00")
    if match[2] is None:
        raise BadInput("has no time zone; end it in Z for UTC or in an offset such as +01:00")
    try:
        return dt.datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        raise BadInput("there is no such date or time") from None
