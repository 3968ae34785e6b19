"""The header of a table: which field each column fills, and what its cells are kept under.

No column refuses a file. One whose name cannot be a field is renamed, one without a name is left out, and
each of that is said. A column that is recognised fills the field it means, and keeps its own name beside it:
`Vorname` is both `first_name` and `vorname`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from hubd.core.column_names import meaning, opt_out_kind, plain
from hubd.core.tables import Fault, shown
from hubd.errors import BadInput, nearest

MAX_FIELDS = 1000  #: of one contact
_LONGEST_FIELD = 64
_FIELD = re.compile(r"[a-z_][a-z0-9_]*")
_EMAIL = re.compile(r"\s*[^\s@]+@[^\s@.]+\.[^\s@]+\s*")
_PHONE = re.compile(r"[+0-9 ()./-]{7,25}")
#: Variables that a template gets from elsewhere, and words that mean something else in a template.
_RESERVED = {
    *("contact_id", "unsubscribe_url", "postal_address"),
    *("self", "super", "loop", "caller", "varargs", "kwargs", "namespace", "true", "false", "none"),
    *("and", "or", "not", "in", "is", "if", "elif", "else", "for", "recursive"),
}
#: What a file of refused rows has in front, see `import --rejects`; not data when it is imported again.
REJECT_COLUMNS = ("import_line", "import_problem")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnUse:
    """What is done with one column."""

    column: str  #: its name in the file
    key: str = ""  #: the field that its cells are kept under; "" when it is left out
    field: str = ""  #: the field that it fills, by its meaning; else `key`
    note: str = ""  #: what there is to say about it


@lru_cache(maxsize=4096)
def field_name(column: str) -> str:
    """The field that a column's cells are kept under. Raises BadInput for a name that no field can have."""
    if not isinstance(column, str):
        raise BadInput("a column's name must be text")
    if len(column) > 4 * _LONGEST_FIELD:
        raise BadInput("the name is longer than 64 characters")
    name = re.sub(r"[\s./-]+", "_", plain(column.strip("\ufeff \t\r\n\u00a0")))
    if not name:
        raise BadInput("the column has no name")
    if len(name) > _LONGEST_FIELD:
        raise BadInput("the name is longer than 64 characters")
    if name.startswith("_"):
        raise BadInput("a field's name must not start with an underscore")
    if _FIELD.fullmatch(name) is None:
        raise BadInput("a field's name contains only a-z, 0-9 and _, and starts with a letter")
    if name in _RESERVED:
        raise BadInput(f"{name} is reserved; choose another name")
    return name


def plan_columns(
    columns: Sequence[str],
    *,
    maps: Mapping[str, str] | None = None,
    skip: Collection[str] = (),
    addresses: bool = False,
) -> list[ColumnUse]:
    """What is done with each column of a file.

    `maps` gives columns another field than their name says, `skip` leaves columns out; both name them as the
    file does; with `addresses` a column `address` will do. Raises BadInput when `maps` names no field, and
    when no column has an address.
    """
    chosen = _chosen(columns, maps or {})
    taken = set(chosen.values())
    uses: list[ColumnUse] = []
    for position, column in enumerate(columns):
        if position in chosen:
            uses.append(ColumnUse(column=column, key=chosen[position], note="mapped"))
        elif column in skip:
            uses.append(ColumnUse(column=column, note="skipped"))
        else:
            use = _use(column, position + 1, taken)
            special = meaning(use.key)[0] or opt_out_kind(use.key)
            if use.key and len(taken) >= MAX_FIELDS and not special:
                use = ColumnUse(column=column, note=f"left out: a contact has at most {MAX_FIELDS} fields")
            taken.add(use.key)
            uses.append(use)
    heeded = "" if addresses else "respected: contacts that opted out are left out"
    uses = _with_meanings(uses, heeded)
    wanted = {"email", "phone", "address"} if addresses else {"email", "phone"}
    if not wanted & {use.field for use in uses}:
        raise BadInput.of([("columns", _no_address(columns))], hint=_hint(columns))
    return uses


def _chosen(columns: Sequence[str], maps: Mapping[str, str]) -> dict[int, str]:
    chosen: dict[int, str] = {}
    faults: list[Fault] = []
    for column, target in maps.items():
        try:
            name = field_name(target)
        except BadInput as error:
            faults.append((shown(column), str(error)))
            continue
        if name in chosen.values():
            faults.append((shown(column), f"another column is already mapped to {name}"))
        elif column in columns:
            chosen[columns.index(column)] = name
    if faults:
        raise BadInput.of(faults, hint="map it to another field: --map COLUMN=FIELD")
    return chosen


def _use(column: str, number: int, taken: Collection[str]) -> ColumnUse:
    """An unmapped column, kept under its own name or under one like it that no other column has."""
    try:
        name, note = field_name(column), ""
    except BadInput as error:
        name, note = usable_name(column) or f"column_{number}", f"renamed: {error}"
    if not column.strip("\ufeff \t\r\n\u00a0_"):
        return ColumnUse(column=column, note="left out: it has no name")
    if name in REJECT_COLUMNS:
        return ColumnUse(column=column, note="left out: an earlier import added it")
    if name in taken:
        note = f"renamed: there is another column {name}"
        stem = name[: _LONGEST_FIELD - 5]
        name = next(new for count in range(2, 20_000) if (new := f"{stem}_{count}") not in taken)
    return ColumnUse(column=column, key=name, note=note)


def usable_name(column: str) -> str:
    """A name like the column's that a field can have; "" when there is none."""
    name = re.sub(r"[^a-z0-9_]+", "_", plain(column[: 8 * _LONGEST_FIELD])).strip("_")
    name = name[:_LONGEST_FIELD].rstrip("_")
    if not name or (_FIELD.fullmatch(name) and name not in _RESERVED):
        return name
    return f"column_{name}"[:_LONGEST_FIELD]


def _with_meanings(uses: Sequence[ColumnUse], heeded: str) -> list[ColumnUse]:
    """With the fields that the columns fill: of several for one field the best is tried first.

    `heeded` is the note for columns that say who opted out.
    """
    ranked: dict[str, list[tuple[int, int]]] = {}
    for position, use in enumerate(uses):
        field, rank = meaning(use.key) if use.key else ("", 0)
        if field:
            ranked.setdefault(field, []).append((rank, position))
    found = [replace(use, field=use.key) for use in uses]
    for field, places in ranked.items():
        (_, best), *others = sorted(places)
        found[best] = replace(found[best], field=field)
        for _, position in others:
            also = f"also {field}, where {shown(uses[best].column)} has none"
            found[position] = replace(found[position], note=found[position].note or also)
    return [
        replace(use, note="; ".join(filter(None, (use.note, heeded))))
        if opt_out_kind(use.key) in ("status", "opted_out")
        else use
        for use in found
    ]


def _no_address(columns: Sequence[str]) -> str:
    if _is_contact(columns):
        return "the first line must name the columns, but this one looks like a contact"
    near = [column for column in columns if nearest(column.casefold(), ("email", "phone"))]
    guess = f"; is it {shown(near[0])}?" if near else ""
    return f"there is neither an email nor a phone column{guess}"


def _is_contact(columns: Sequence[str]) -> bool:
    return any(_EMAIL.fullmatch(column) or _is_phone(column) for column in columns)


def _is_phone(column: str) -> bool:
    return _PHONE.fullmatch(column) is not None and sum(map(str.isdigit, column)) >= 7


def _hint(columns: Sequence[str]) -> str:
    if _is_contact(columns):
        return "add a line such as email,first_name above it"
    return "rename the column, or map it: --map COLUMN=FIELD"
