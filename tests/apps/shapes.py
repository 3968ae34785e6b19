"""The shape of a JSON value: its keys and the kinds of its values, without the values.

Shapes are JSON themselves, so that they can lie in a file and be read in a review. A key that is not always
there ends in "?"; a value of several kinds is "integer or null", or {"one of": [...]} with objects or lists.
"""

from __future__ import annotations

from typing import Any

Shape = Any

#: Objects whose keys come from the user's own data or that differ from event to event.
FREE = {
    *("fields", "skipped", "states", "spec", "data", "result", "value"),
    *(
        "methods",
        "components",
        "info",
        "x-notifications",
        "x-errors",
    ),  # as OpenRPC says
}
#: Fields that may be null and are not in every sample of the tests.
NULLABLE = {
    **dict.fromkeys(
        [
            *("scheduled_at", "started_at", "completed_at", "created_at", "updated_at", "since", "until"),
            *("next_at", "ts", "file", "in_doubt", "outcome", "closed_at", "opened_at", "phone", "email"),
        ],
        "null or text",
    ),
    "eta": "integer or null",
    "limit": "integer or null",
    "seconds": "null or number",
    "next": "integer or null",
}


def shape(value: object, key: str = "") -> Shape:
    """The shape of a value; `key` is the name it has."""
    if isinstance(value, dict):
        if key in FREE:
            return "an object"
        return {name: name_shape(name, each) for name, each in value.items()}
    if isinstance(value, list):
        return [] if not value else [_merged(shape(each, key) for each in value)]
    kind = _kind(value)
    known = NULLABLE.get(key, "").split(" or ")
    if kind == "integer" and "number" in known:
        kind = "number"
    return " or ".join(known) if kind in known else kind


def name_shape(name: str, value: object) -> Shape:
    """A schema is promised to the letter; all else by its shape."""
    return value if name == "schema" and isinstance(value, str) else shape(value, name)


def _kind(value: object) -> str:
    for kind, name in ((type(None), "null"), (bool, "boolean"), (int, "integer"), (float, "number")):
        if isinstance(value, kind):
            return name
    return "text"


def _merged(shapes: Any) -> Shape:
    first, *others = shapes
    for each in others:
        first = merge(first, each)
    return first


def merge(one: Shape, two: Shape) -> Shape:
    """What fits both."""
    if one == two:
        return one
    if isinstance(one, dict) and isinstance(two, dict) and "one of" not in {*one, *two}:
        return _merge_objects(one, two)
    if isinstance(one, list) and isinstance(two, list):
        return [merge(one[0], two[0])] if one and two else one or two
    if isinstance(one, str) and isinstance(two, str):
        kinds = {*one.split(" or "), *two.split(" or ")}
        if "number" in kinds:
            kinds.discard("integer")
        return " or ".join(sorted(kinds))
    return {"one of": _alternatives([*_each(one), *_each(two)])}


def _merge_objects(one: dict[str, Shape], two: dict[str, Shape]) -> dict[str, Shape]:
    names = {name.removesuffix("?"): None for name in (*one, *two)}
    merged = {}
    for name in names:
        found = [(each.get(name), each.get(f"{name}?")) for each in (one, two)]
        there = [a if a is not None else b for a, b in found if a is not None or b is not None]
        always = all(a is not None for a, _ in found)
        merged[name if always else f"{name}?"] = _merged(there)
    return merged


def _each(one: Shape) -> list[Shape]:
    return list(one["one of"]) if isinstance(one, dict) and "one of" in one else [one]


def _alternatives(shapes: list[Shape]) -> list[Shape]:
    texts = [each for each in shapes if isinstance(each, str)]
    objects = [each for each in shapes if isinstance(each, dict)]
    lists = [each for each in shapes if isinstance(each, list)]
    return [_merged(kind) for kind in (texts, objects, lists) if kind]
