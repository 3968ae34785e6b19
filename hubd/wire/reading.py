"""Reading messages: JSON becomes the typed struct of a method; every error is a sentence for people.

`read_message` is `parse`, with a short way for the rows of an import. `read_params` does the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain, islice
from typing import Literal, TypeVar, get_args, get_origin

import msgspec

from hubd.errors import BadInput, did_you_mean
from hubd.wire.envelope import Batch, Rejected, Request, parse
from hubd.wire.params import MAX_INTEGER, ImportRow, Params

MAX_FAULTS = 20  #: faults told about at once
SHORT = 16 * 1024  #: characters up to which a message is parsed as a whole
BEGINNING = 100  #: characters by which the rows are found: a long text is not quickly found in a long one

P = TypeVar("P", bound=Params)


class _Params(msgspec.Struct):
    rows: msgspec.Raw


class _Import(msgspec.Struct):
    params: _Params


_find_rows = msgspec.json.Decoder(_Import).decode
_read_rows = msgspec.json.Decoder(list[ImportRow]).decode
#: One of them ends each key of an object, and others may be in texts.
_KEY_ENDS = (b'":', b" :", b"\t:", b"\n:", b"\r:")
_fields = cache(msgspec.structs.fields)
_AT = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)


def read_message(text: str) -> Request | Batch | Rejected:
    """What `parse` returns. The rows of an import may be structs already, in a fifth of the time."""
    if len(text) > SHORT:
        try:
            raw = bytes(_find_rows(text).params.rows)
            rows = _read_rows(raw)
        except (ValueError, RecursionError):  # no rows, or a fault that is told by `parse` or `read_params`
            return parse(text)
        written = raw.decode()
        start = text.find(written[:BEGINNING])
        end = start + len(written)
        if rows and _is_plain(raw, rows) and text[start:end] == written:
            request = parse(f"{text[:start]}[]{text[end:]}")
            if isinstance(request, Request) and isinstance(request.params, dict):
                request.params["rows"] = rows
                return request
    return parse(text)


def _is_plain(raw: bytes, rows: list[ImportRow]) -> bool:
    """Whether no key is twice in an object, and no text has a NUL (the decoder takes both)."""
    keys = sum(2 + len(row.values) for row in rows)
    ends = raw.count(b":")
    return (ends == keys or sum(map(raw.count, _KEY_ENDS)) == keys) and b"\\u0000" not in raw


def read_params(kind: type[P], value: object) -> P:
    """JSON parameters, by name or by position, as `kind`. Raises `BadInput` with a path for each fault."""
    names = kind.__struct_encode_fields__
    if isinstance(value, list):
        if len(value) > len(names):
            raise BadInput.at(f"[{len(names)}]", f"takes at most {len(names)} parameters, not {len(value)}")
        value = dict(zip(names, value, strict=False))
    if not isinstance(value, dict):
        raise BadInput.at("params", "must be an object (by name) or an array (by position)")
    faults = list(islice(chain(_shape(kind, value), _unsafe(value, "")), MAX_FAULTS))
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
    fields = _fields(kind)
    names = [field.encode_name for field in fields]
    for name in value:
        if name not in names:
            yield _shown(name), "unknown parameter" + did_you_mean(name, names)
    for field in fields:
        if field.required and field.encode_name not in value:
            yield field.encode_name, "missing"


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
    elif isinstance(value, list) and not (value and isinstance(value[0], ImportRow)):
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
        return "contains an invalid character"
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
        return "does not have the required form"
    wanted = " or ".join(_KINDS.get(each, each) for each in found["kind"].split(" | "))
    return f"must be {wanted}" + (f", not {_KINDS.get(found['got'], found['got'])}" if found["got"] else "")


def _length(kind: str, sign: str, size: int) -> str:
    if sign == ">=" and size == 1:
        return "must not be empty"
    unit = "characters" if "str" in kind else "entries"
    return f"has too few {unit}; at least {size}" if sign == ">=" else f"has more than {size} {unit}"


def _words(kind: type[Params], path: str) -> list[str]:
    """The words that a parameter takes, when it takes only some."""
    for field in _fields(kind):
        if field.encode_name == path:
            inner = [field.type, *get_args(field.type)]
            return [str(word) for each in inner if get_origin(each) is Literal for word in get_args(each)]
    return []
