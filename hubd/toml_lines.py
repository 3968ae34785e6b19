"""On which line of a TOML file something stands."""

from __future__ import annotations

import re
from collections.abc import Mapping

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_PAIR = re.compile(rf"\s*({_DOTTED})\s*=")


def key_lines(text: str) -> dict[str, int]:
    """The line on which each table and key of a TOML file first stands, by dotted path.

    Reads line by line and knows of multi-line texts only their fences: good enough to point at a line, and it
    never fails, also not on a file that is no TOML.
    """
    lines: dict[str, int] = {}
    table: list[str] = []
    fence = ""  # the quotes of the multi-line text that we are in
    for number, line in enumerate(text.split("\n"), start=1):
        if fence:
            fence = "" if line.count(fence) % 2 else fence
            continue
        header, pair = _HEADER.match(line), _PAIR.match(line)
        path: list[str] = []
        if header:
            path = table = _parts(header[1])
        elif pair:
            path = table + _parts(pair[1])
        for depth in range(len(path)):
            lines.setdefault(".".join(path[: depth + 1]), number)
        value = line[pair.end() if pair else 0 :].lstrip(" \t[")
        fence = next(
            (each for each in ('"""', "'''") if value.startswith(each) and value.count(each) % 2), ""
        )
    return lines


def _parts(key: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_KEY, key)]


def line_of(path: str, lines: Mapping[str, int]) -> int:
    """The line of the innermost key or table on the way to `path`; 0 when there is none."""
    ends = [at for at, char in enumerate(path) if char in ".["]
    return next((lines[path[:end]] for end in (len(path), *reversed(ends)) if path[:end] in lines), 0)
