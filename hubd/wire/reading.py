"""Reading messages: JSON becomes the typed struct of a method; every error is a sentence for people.

`read_message` is `parse`, with a short way for the rows of an import. `read_params` does the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

import msgspec

from hubd.errors import BadInput
from hubd.wire.contact_params import ImportRow
from hubd.wire.envelope import Batch, Rejected, Request, parse
from hubd.wire.params import MAX_INTEGER, Params
from hubd.wire.shapes import shape_faults, shown

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
    if unsafe := list(islice(_unsafe(value, ""), MAX_FAULTS)):
        raise BadInput.of(unsafe)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        faults = list(islice(shape_faults(kind, value), MAX_FAULTS))
        raise BadInput.of(faults or [("params", "cannot be used")]) from None


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
                yield shown(where), f"the key {problem}"
            yield from _unsafe(item, shown(where))
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
