"""The text of a TOML file: what it says, on which line something stands, and what is wrong with a line.

hubd.toml, campaign files, templates and hubctl.toml are all read here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

if sys.version_info >= (3, 14):
    import tomllib as toml
else:  # the same reader; before 3.14 the one in the standard library tells the line in a sentence only
    import tomli as toml

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_PAIR = re.compile(rf"\s*({_DOTTED})\s*=")
_CURLY = re.compile("[\u201c\u201d\u201e\u2018\u2019]")
#: A backslash that begins no escape (TOML 1.0, String).
_BACKSLASH = re.compile(r"\\(?![btnfr\"\\]|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})")
#: A text in double quotes that is closed.
_CLOSED = re.compile(r'"(?:[^"\\]|\\.)*"')
_LONG = ('"""', "'''")  #: the quotes of a text of several lines


class TomlFault(ValueError):
    """A text that is not TOML. `str()` says what the reader found, as a part of a sentence.

    `line` is where, from 1; 0 when the whole text is meant. `guess` is what is probably meant, or "".
    """

    def __init__(self, problem: str, line: int = 0, guess: str = "") -> None:
        super().__init__(problem)
        self.line = line
        self.guess = guess


def read_toml(text: str) -> dict[str, Any]:
    """What a TOML file says. Raises `TomlFault`."""
    try:
        return toml.loads(text)
    except toml.TOMLDecodeError as error:
        last = max(1, text.count("\n") + (not text.endswith("\n")))
        line = min(error.lineno, last)  # the end of the text is behind its last line
        words = error.msg
        raise TomlFault(f"{words[:1].lower()}{words[1:]}", line, _guess(text, line)) from None
    except (RecursionError, ValueError):
        raise TomlFault("the values are nested too deeply, or a number is out of range") from None


def _guess(text: str, number: int) -> str:
    """What is probably meant with a line that is not TOML, for somebody who has never seen any."""
    line = text.split("\n")[number - 1].strip()
    key, equals, value = (part.strip() for part in line.partition("="))
    if _CURLY.search(value):
        return "use straight quotes, not the curly quotes of a word processor"
    if (begun := _never_closed(text)) is not None:
        return (
            f"the text that begins on line {begun} is never closed: it ends as it begins, with three quotes"
        )
    if line.startswith("["):
        return "write the header of a table on its own line: [retry]"
    if not equals:
        return 'write a key and its value like this: name = "spring-sale"' if line else ""
    if not value:
        return "a value is missing after the ="
    if value[0] in "\"'":
        return _about_quotes(value, text, number)
    if value[0] == "[":
        return "a list ends with ], with commas between its texts"
    if value.lower() in ("true", "false") and value != value.lower():
        return f"write it in lower case: {value.lower()}"
    if not re.fullmatch(_DOTTED, key):
        return 'write a key and its value like this: name = "spring-sale"'
    return _twice(text, number) or 'texts need quotes: name = "spring-sale"'


def _about_quotes(value: str, text: str, number: int) -> str:
    if value[0] == '"' and _BACKSLASH.search(value):
        return "write each backslash twice, or put the text in single quotes"
    closed = _CLOSED.match(value) if value[0] == '"' else re.match(r"'[^']*'", value)
    if closed is None:
        return 'a text ends with the same quote that it begins with; put several lines between """ and """'
    rest = value[closed.end() :].strip()
    if rest and not rest.startswith("#"):
        return 'put a backslash before a quote inside a text: \\"'
    return _twice(text, number)


def _twice(text: str, number: int) -> str:
    """Whether the key of a line is that of an earlier one."""
    paths = [path for path, line in key_lines(text, last=True).items() if line == number]
    first = key_lines(text)
    return "the same key occurs twice; keep one of them" if any(first[p] < number for p in paths) else ""


def _never_closed(text: str) -> int | None:
    """The line on which a text of several lines begins that does not end."""
    begun, fence = None, ""
    for number, line in enumerate(text.split("\n"), start=1):
        fence = _fence_after(line, fence)
        begun = (begun or number) if fence else None
    return begun


def _fence_after(line: str, fence: str) -> str:
    """The quotes of the multi-line text that we are in after a line, if before it we were in `fence`."""
    if fence:
        return "" if line.count(fence) % 2 else fence
    pair = _PAIR.match(line)
    value = line[pair.end() if pair else 0 :].lstrip(" \t[")
    return next((each for each in _LONG if value.startswith(each) and value.count(each) % 2), "")


def key_lines(text: str, *, last: bool = False) -> dict[str, int]:
    """The line on which each table and key of a TOML file first stands, or last, by dotted path.

    Reads line by line and knows of multi-line texts only their fences: good enough to point at a line, and it
    never fails, also not on a file that is no TOML.
    """
    lines: dict[str, int] = {}
    table: list[str] = []
    fence = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not fence:
            header, pair = _HEADER.match(line), _PAIR.match(line)
            path: list[str] = []
            if header:
                path = table = _parts(header[1])
            elif pair:
                path = table + _parts(pair[1])
            for depth in range(len(path)):
                dotted = ".".join(path[: depth + 1])
                if last or dotted not in lines:
                    lines[dotted] = number
        fence = _fence_after(line, fence)
    return lines


def _parts(key: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_KEY, key)]


def line_of(path: str, lines: Mapping[str, int]) -> int:
    """The line of the innermost key or table on the way to `path`; 0 when there is none."""
    ends = [at for at, char in enumerate(path) if char in ".["]
    return next((lines[path[:end]] for end in (len(path), *reversed(ends)) if path[:end] in lines), 0)
