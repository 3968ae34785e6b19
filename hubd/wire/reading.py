"""Parameters read: JSON becomes the typed struct of a method, and every fault is told in people's words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Literal, TypeVar, get_args, get_origin

import msgspec

from hubd.errors import BadInput, did_you_mean
from hubd.wire.params import MAX_INTEGER, Params

MAX_FAULTS = 20  #: faults told about at once

P = TypeVar("P", bound=Params)

_AT = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)


def read_params(kind: type[P], value: object) -> P:
    """JSON parameters, by name or by position, as `kind`. Raises `BadInput` with a path for each fault."""
    names = kind.__struct_encode_fields__
    if isinstance(value, list):
        if len(value) > len(names):
            raise BadInput.at(f"[{len(names)}]", f"takes at most {len(names)} parameters, not {len(value)}")
        value = dict(zip(names, value, strict=False))
    if not isinstance(value, dict):
        raise BadInput.at("params", "must be an object (by name) or an array (by position)")
    unsafe = () if _is_plain(value) else _unsafe(value, "")
    faults = list(islice(chain(_shape(kind, value), unsafe), MAX_FAULTS))
    if faults:
        raise BadInput.of(faults)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        found = _AT.match(str(exc))
        problem, path = (found["problem"], found["path"]) if found else (str(exc), "")
        path = (path or "").removeprefix(".")
        raise BadInput.at(path or "params", _plain(problem, kind, path)) from None


def _shape(kind: type[Params], value: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Unknown names and missing ones, all at once (the converter stops at the first)."""
    fields = msgspec.structs.fields(kind)
    names = [field.encode_name for field in fields]
    for name in value:
        if name not in names:
            yield _shown(name), "unknown parameter" + did_you_mean(name, names)
    for field in fields:
        if field.required and field.encode_name not in value:
            yield field.encode_name, "missing"


def _is_plain(value: object) -> bool:
    """Whether `_unsafe` would find nothing, found out quickly for a page of an import."""
    texts: list[str] = []
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, dict):
            texts.extend(item)
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
        elif item is not None and not (isinstance(item, int) and -MAX_INTEGER <= item <= MAX_INTEGER):
            return False
    return not _unsafe_text("".join(texts))


def _unsafe(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Strings that no database or mail can hold, and numbers that no reader is sure to keep."""
    if isinstance(value, str):
        problem = _unsafe_text(value)
        if problem:
            yield path, problem
    elif isinstance(value, dict):
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            problem = _unsafe_text(key)
            if problem:
                yield _shown(where), f"the key {problem}"
            yield from _unsafe(item, _shown(where))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unsafe(item, f"{path}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield path, "is a number that cannot be represented"
    elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        yield path, "is too large a number"


def _unsafe_text(text: str) -> str:
    if text.isascii():
        return "contains a NUL character" if "\0" in text else ""
    if "\0" in text:
        return "contains a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "contains a damaged character"
    return ""


def _shown(path: str) -> str:
    """A path made of the caller's own keys, short and printable."""
    return path[:80].encode("ascii", "backslashreplace").decode("ascii").replace("\0", "\\x00")


_EXPECTED = re.compile(
    r"Expected `(?P<kind>[^`]+)`"
    r"(?: of length (?P<length>[<>]=) (?P<size>\d+)| (?P<bound>[<>]=) (?P<value>\S+?)"
    r"|(?P<form> matching .+?))?"
    r"(?:, got `(?P<got>[^`]+)`)?",
    re.DOTALL,
)
_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def _plain(problem: str, kind: type[Params], path: str) -> str:
    """The converter's words as ours: "Expected `str`, got `int`" -> "must be text, not a whole number"."""
    found = _EXPECTED.fullmatch(problem)
    if found is None:
        words = _words(kind, path)
        return f"must be one of {', '.join(words)}" if words else "cannot be used"
    if found["length"]:
        return _length(found["kind"], found["length"], int(found["size"]))
    if found["bound"]:
        return f"must be at {'least' if found['bound'] == '>=' else 'most'} {found['value']}"
    if found["form"]:
        return "does not have the form that is needed here"
    wanted = " or ".join(_KINDS.get(each, each) for each in found["kind"].split(" | "))
    return f"must be {wanted}" + (f", not {_KINDS.get(found['got'], found['got'])}" if found["got"] else "")


def _length(kind: str, sign: str, size: int) -> str:
    if sign == ">=" and size == 1:
        return "must not be empty"
    unit = "characters" if "str" in kind else "entries"
    return f"has too few {unit}; at least {size}" if sign == ">=" else f"has more than {size} {unit}"


def _words(kind: type[Params], path: str) -> list[str]:
    """The words that a parameter takes, when it takes only some."""
    for field in msgspec.structs.fields(kind):
        if field.encode_name == path:
            inner = [field.type, *get_args(field.type)]
            return [str(word) for each in inner if get_origin(each) is Literal for word in get_args(each)]
    return []
