"""What keeps a JSON value from being a declared struct: every fault at once, each a sentence for people.

msgspec decides whether a value is one, and stops at the first fault. Its words are for programmers, so this
looks at the same declarations again, for a value that was refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import msgspec
from msgspec import inspect

from hubd.errors import did_you_mean

Fault = tuple[str, str]  #: (path such as "rows[1].line", problem)

_LONGEST_PATH = 80
_NAMES: dict[type[inspect.Type], str] = {
    inspect.StrType: "text",
    inspect.LiteralType: "text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.ListType: "a list",
    inspect.DictType: "an object",
    inspect.StructType: "an object",
    inspect.NoneType: "null",
}
_type_of = cache(inspect.type_info)


def shape_faults(kind: type[msgspec.Struct], value: object) -> Iterator[Fault]:
    """The faults of `value`, a parsed JSON value, as a `kind`; none if msgspec can convert it."""
    return _faults(_type_of(kind), value, "")


def shown(path: str) -> str:
    """A path made of the caller's own keys, short and printable."""
    return path[:_LONGEST_PATH].encode("ascii", "backslashreplace").decode("ascii").replace("\0", "\\x00")


def _faults(kind: inspect.Type, value: object, path: str) -> Iterator[Fault]:
    kinds = _alternatives(kind)
    kind = next((each for each in kinds if _is(each, value)), kind)
    match kind, value:
        case inspect.StructType(), dict():
            yield from _fields(kind, value, path)
        case inspect.DictType(), dict():
            yield from _length(kind, value, path)
            for key, item in value.items():
                yield from _faults(kind.value_type, item, shown(f"{path}.{key}"))
        case inspect.ListType(), list():
            yield from _length(kind, value, path)
            for index, item in enumerate(value):
                yield from _faults(kind.item_type, item, f"{path}[{index}]")
        case inspect.StrType(), str():
            yield from _length(kind, value, path)
            if kind.pattern is not None and re.search(kind.pattern, value) is None:
                yield path, "does not have the required form"
        case ((inspect.IntType() | inspect.FloatType()), (int() | float())) if _is(kind, value):
            if kind.ge is not None and value < kind.ge:
                yield path, f"must be at least {kind.ge}"
            if kind.le is not None and value > kind.le:
                yield path, f"must be at most {kind.le}"
        case inspect.LiteralType(values=words), _ if value not in words:
            yield path, f"must be one of {', '.join(map(str, words))}"
        case _ if not any(_is(each, value) for each in kinds):
            wanted = " or ".join(_NAMES[type(each)] for each in kinds)
            yield path, f"must be {wanted}, not {_name_of(value)}"


def _fields(kind: inspect.StructType, value: dict[str, object], path: str) -> Iterator[Fault]:
    prefix = f"{path}." if path else ""
    names = [field.encode_name for field in kind.fields]
    for name in value:
        if name not in names:
            yield shown(prefix + name), "unknown parameter" + did_you_mean(name, names)
    for field in kind.fields:
        if field.encode_name in value:
            yield from _faults(field.type, value[field.encode_name], prefix + field.encode_name)
        elif field.required:
            yield prefix + field.encode_name, "missing"


def _length(
    kind: inspect.StrType | inspect.ListType | inspect.DictType,
    value: str | list[object] | dict[str, object],
    path: str,
) -> Iterator[Fault]:
    unit = "characters" if isinstance(value, str) else "entries"
    if kind.min_length is not None and len(value) < kind.min_length:
        few = f"has too few {unit}; at least {kind.min_length}"
        yield path, "must not be empty" if kind.min_length == 1 else few
    if kind.max_length is not None and len(value) > kind.max_length:
        yield path, f"has more than {kind.max_length} {unit}"


def _alternatives(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _is(kind: inspect.Type, value: object) -> bool:
    """Whether a value is of this kind, whatever is wrong inside it."""
    match kind:
        case inspect.StrType() | inspect.LiteralType():
            return isinstance(value, str)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case inspect.ListType():
            return isinstance(value, list)
        case inspect.DictType() | inspect.StructType():
            return isinstance(value, dict)
        case inspect.NoneType():
            return value is None
    return True  # any value


def _name_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number with a decimal point"
        case str():
            return "text"
        case list():
            return "a list"
    return "an object"
