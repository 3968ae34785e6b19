"""JSON-RPC 2.0 envelopes: one parser that gets every corner of the specification right, and one dumper.

Python's `json` alone does not: it takes NaN, keeps the last of two equal keys, turns 1e400 into infinity,
and answers a hundred thousand brackets with RecursionError. All of that is mapped here to the answers that
the specification (https://www.jsonrpc.org/specification) asks for, so that whatever text comes in, `parse`
returns a value and raises nothing.

A request without an `id` member is a notification and is never answered, not even with an error. An `id`
of null is a request like any other.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TypeAlias

from hubd.errors import HubError
from hubd.wire.registry import error_object

MAX_DEPTH = 32  #: of nested arrays and objects; no method needs more than five
_NESTED = (dict, list)
MAX_BATCH = 50  #: requests in one batch

Id: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One well-formed call. `params` is judged later, against what the method takes."""

    method: str
    params: object = field(default_factory=dict)
    id: Id = None
    notification: bool = False  #: no `id` member: never answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Something that is no request: `response` is the answer to it."""

    response: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Several calls in one message. They may run at once: a batch is not a transaction."""

    members: tuple[Request | Rejected, ...]


class _Duplicate(Exception):
    """The same key twice in one object."""


def parse(text: str) -> Request | Batch | Rejected:
    """What one text frame asks for. Never raises."""
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except _Duplicate as exc:
        return _reject("invalid_request", f"the key {exc.args[0]!a} occurs twice in one object")
    except (ValueError, RecursionError):
        return _reject("parse_error", "this is not JSON")
    if _too_deep(value):
        return _reject("parse_error", f"nested deeper than {MAX_DEPTH} levels")
    if not isinstance(value, list):
        return _request(value)
    if not value:
        return _reject("invalid_request", "an empty batch")
    if len(value) > MAX_BATCH:
        return _reject("invalid_request", f"a batch may have {MAX_BATCH} requests, not {len(value)}")
    return Batch(members=tuple(_request(member) for member in value))


def dump(value: object) -> str:
    """One message as text: ASCII, so that no string can make it unsendable; never NaN or Infinity.

    Raises ValueError or TypeError for a value that JSON cannot hold.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


class Encoded(str):
    """A result that is JSON already."""


def encoded(result: object) -> Encoded:
    """A large result, such as a page of a listing: several times as fast as `dump`. Not for floats."""
    import msgspec  # only here: clients start faster without it

    data = msgspec.json.encode(result)
    return Encoded(data.decode() if data.isascii() else dump(result))


def answer(request_id: Id, result: object) -> str:
    """The text of the response to a request that worked."""
    if isinstance(result, Encoded):
        return f'{{"jsonrpc":"2.0","id":{dump(request_id)},"result":{result}}}'
    return dump(success(request_id, result))


def success(request_id: Id, result: object) -> dict[str, object]:
    """The response to a request that worked."""
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def failure(request_id: Id, error: dict[str, object]) -> dict[str, object]:
    """The response to a request that did not; `error` comes from the registry."""
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def notification(method: str, params: dict[str, object]) -> dict[str, object]:
    """A message without an answer."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def _request(value: object) -> Request | Rejected:
    """One member of a batch, or a message that is no batch. Members we do not know are ignored."""
    if not isinstance(value, dict):
        return _reject("invalid_request", "a request is an object")
    request_id = value.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | float | None):
        return _reject("invalid_request", "an id is a string, a number or null")
    if isinstance(request_id, float) and not math.isfinite(request_id):
        return _reject("invalid_request", "the id is a number that cannot be represented")
    if value.get("jsonrpc") != "2.0":
        return _reject("invalid_request", 'the member "jsonrpc" must be "2.0"', request_id)
    method = value.get("method")
    if not isinstance(method, str):
        return _reject("invalid_request", 'the member "method" must be a string', request_id)
    return Request(
        method=method,
        params=value.get("params", {}),
        id=request_id,
        notification="id" not in value,
    )


def _reject(word: str, problem: str, request_id: Id = None) -> Rejected:
    return Rejected(response=failure(request_id, error_object(HubError(problem, code=word))))


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Duplicate(key[:40])
            seen.add(key)
    return made


def _too_deep(value: object) -> bool:
    """Walks level by level, so that the walk itself cannot recurse too deeply."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(v for v in item.values() if isinstance(v, _NESTED))
            elif isinstance(item, list):
                below.extend(v for v in item if isinstance(v, _NESTED))
        if not below:
            return False
        level = below
    return True
