"""Reads a table (TOML or JSON) key by key and collects every error on the way.

A person who mistyped three keys wants to see all three, each with its place and the key that was meant.
The readers below never raise: they note a fault and give a value to continue with; whoever owns the list of
faults raises once, at the end. No fault ever quotes a value: values may be addresses or secrets.
"""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from hubd.errors import BadInput, did_you_mean

Fault = tuple[str, str]  #: (path such as "retry.give_up_after", problem)
T = TypeVar("T")
W = TypeVar("W", bound=str)
D = TypeVar("D")

MAX_FAULTS = 50  #: more than anybody reads at once; a bound for hostile input
_LONGEST_KEY = 64
_LINE_BREAKS = "\n\r\t"


class Table:
    """One table of a file. Asking for a key makes it known; `close` reports the others."""

    __slots__ = ("_known", "faults", "path", "raw")

    def __init__(self, raw: object, faults: list[Fault], path: str = "") -> None:
        self.faults = faults
        self.path = path
        self._known: dict[str, None] = {}
        self.raw: Mapping[object, object] = {}
        if isinstance(raw, Mapping):
            self.raw = raw
        elif raw is not None:
            self.fault("", f"must be a table, not {kind_of(raw)}")

    def at(self, key: str) -> str:
        """The path of a key of this table."""
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def fault(self, key: str, problem: str) -> None:
        """Note that something is wrong with `key` ("" is the table itself)."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append((self.at(key), problem))

    def take(self, key: str) -> object:
        """The raw value of `key`; None when it is absent or null, which mean the same."""
        self._known[key] = None
        return self.raw.get(key)

    def text(self, key: str, default: str = "", *, lines: bool = False, example: str = "") -> str:
        """Text of one line, or of several when `lines` is set."""
        value = self.take(key)
        if value is None:
            return default
        such = f' such as "{example}"' if example else ""
        if not isinstance(value, str):
            self.fault(key, f"must be text in quotes{such}, not {kind_of(value)}")
            return default
        if problem := text_problem(value, lines=lines):
            self.fault(key, problem)
            return default
        return value

    def checked(
        self, key: str, check: Callable[[str], T], default: T, *, lines: bool = False, example: str = ""
    ) -> T:
        """Text that `check` turns into a value; its `BadInput` becomes a fault. "" counts as absent."""
        value = self.text(key, lines=lines, example=example)
        return self.run(key, check, value, default) if value else default

    def run(self, key: str, check: Callable[[str], T], value: str, default: T) -> T:
        """`check(value)`, or `default` with the problem noted at `key`."""
        try:
            return check(value)
        except BadInput as error:
            self.fault(key, problem_of(error))
            return default

    def choice(self, key: str, words: Collection[W], default: D) -> W | D:
        """The one of a few words that is written there."""
        allowed = " or ".join(f'"{word}"' for word in words)
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fault(key, f"must be {allowed}, not {kind_of(value)}")
        elif value not in words:
            self.fault(key, f"must be {allowed}{did_you_mean(value, words)}")
        return next((word for word in words if word == value), default)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(key, f"must be true or false, not {kind_of(value)}")
            return default
        return value

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            self.fault(key, f"must be a whole number, not {kind_of(value)}")
        elif not low <= value <= high:
            self.fault(key, f"must be from {low} to {high}")
        else:
            return value
        return default

    def texts(self, key: str, *, or_one: bool = False, example: str = "") -> tuple[str, ...]:
        """A list of one-line texts; with `or_one` a single text stands for a list of one."""
        value = self.take(key)
        if value is None:
            return ()
        if or_one and isinstance(value, str):
            value = [value]
        if not isinstance(value, list | tuple):
            wanted = "text or a list of texts" if or_one else "a list of texts"
            self.fault(key, f"must be {wanted} such as {example}, not {kind_of(value)}")
            return ()
        found: list[str] = []
        for number, item in enumerate(value):
            if not isinstance(item, str):
                self.fault(f"{key}[{number}]", f"must be text in quotes, not {kind_of(item)}")
            elif problem := text_problem(item) or ("" if item else "is empty"):
                self.fault(f"{key}[{number}]", problem)
            elif item in found:
                self.fault(f"{key}[{number}]", "occurs twice in the list")
            else:
                found.append(item)
        return tuple(found)

    def sub(self, key: str) -> Table:
        """The table under `key`; an absent one reads like an empty one."""
        return Table(self.take(key), self.faults, self.at(key))

    def subs(self, key: str) -> list[Table]:
        """The list of tables under `key`."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self.fault(key, f"must be a list, not {kind_of(value)}")
            return []
        tables: list[Table] = []
        for number, item in enumerate(value):
            if isinstance(item, Mapping):
                tables.append(Table(item, self.faults, self.at(f"{key}[{number}]")))
            else:
                self.fault(f"{key}[{number}]", f"must be a table, not {kind_of(item)}")
        return tables

    def close(self, *, hints: Mapping[str, str] | None = None, also: Collection[str] = ()) -> None:
        """Report the unknown keys.

        `hints` explains unknown keys that people have reason to try; `also` are names that are worth
        suggesting although they are read elsewhere.
        """
        known = [*self._known, *also]
        for key in self.raw:
            if len(self.faults) >= MAX_FAULTS:
                return
            if isinstance(key, str) and key in self._known:
                continue
            name = shown(key)
            reason = (hints or {}).get(name)
            self.fault(name, reason or f"unknown key{did_you_mean(name, known)}")


def unknown_first(faults: list[Fault]) -> list[Fault]:
    """The faults with the mistyped keys in front: they explain the keys that are missing."""
    return sorted(faults, key=lambda fault: not fault[1].startswith("unknown key"))


def kind_of(value: object) -> str:
    """What was found, in the words of people who write files."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number with a fraction"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a table"
        case dt.datetime():
            return "a date and time"
        case dt.date():
            return "a date"
        case dt.time():
            return "a time"
    return "something else"


def shown(key: object) -> str:
    """A key as it may be printed: short, and nothing in it that moves a terminal's cursor."""
    name = key if isinstance(key, str) else f"({kind_of(key)})"
    if len(name) > _LONGEST_KEY:
        name = name[:_LONGEST_KEY] + "..."
    return name if name and name.isprintable() else json.dumps(name)


def text_problem(value: str, *, lines: bool = False) -> str:
    """Why a text cannot be used, or "".

    NUL and lone surrogates never can; other control characters and Unicode line breaks only in a text of
    several `lines`.
    """
    if value.isprintable():
        return ""
    if "\x00" in value:
        return "contains a NUL character"
    if any("\ud800" <= char <= "\udfff" for char in value):
        return "contains half of a character (a lone surrogate)"
    if lines:
        return ""
    for char in value:
        category = unicodedata.category(char)
        if category in ("Zl", "Zp") or char in _LINE_BREAKS:
            return "must be one line, without line breaks or tabs"
        if category == "Cc":
            return "contains a control character"
    return ""


def problem_of(error: BadInput) -> str:
    """The bare problem of a `BadInput` that some parser raised, without the path it gave it."""
    listed = error.data.get("errors")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return str(listed[0].get("problem", error))
    return str(error)
