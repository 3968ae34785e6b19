"""Rows that people hand in, made into contacts. Each cell is checked on its own.

A cell that cannot be used is left out, with a problem that says so; a row is refused only when no address is
left. An email address is kept twice: as it is sent to (the local part as written, the domain in lower-case
ASCII) and as the folded key by which two spellings are recognised as one. Problems name the field, never an
address.
"""

from __future__ import annotations

import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TypeVar

import msgspec

from hubd.core.addresses import check_region, email_address, phone_number
from hubd.core.column_names import (
    meaning,
    means_no_consent,
    means_opted_out,
    opt_out_fields,
    opt_out_kind,
)
from hubd.core.columns import MAX_FIELDS, field_name, usable_name
from hubd.core.tables import problem_of, shown, text_problem
from hubd.errors import BadInput, did_you_mean

__all__ = [
    "AddressRow",
    "ContactRow",
    "RowProblem",
    "check_region",
    "email_address",
    "phone_number",
    "read_addresses",
    "read_row",
    "time_zone",
]

T = TypeVar("T")

MAX_CELL_BYTES = 64 * 1024
_ADDRESSES = ("email", "phone")
_SEVERAL = ":::"  #: what Google Contacts writes between several addresses in one cell
_NUMBERS = re.compile(r"[0-9]+")
_SERIAL_DAY = re.compile(r"[1-5][0-9]{4}(?:[.,]0)?")  #: a date as spreadsheets count it, from 1927 to 2064
_DONE = re.compile(r"; (?:(?:the \w+ was )?left out|imported anyway)$")
#: How many days a month has at most.
_DAYS = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), start=1))
_NO_ADDRESS = {
    None: "the row has neither an email address nor a phone number",
    "email": "the row has no email address",
    "phone": "the row has no phone number",
}


class ContactRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One contact as handed in; at least one of `email` and `phone` is set."""

    line: int  #: line of the file, for reports
    email: str | None = None  #: what to send to; the domain in lower-case ASCII
    email_key: str | None = None  #: what to compare: folded
    phone: str | None = None  #: E.164
    fields: dict[str, str] = {}  #: all other columns that have a value
    dropped: tuple[RowProblem, ...] = ()  #: cells that were left out, and what else there is to say


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """Why a row or a cell cannot be used. The rows and cells around it are not affected."""

    line: int
    field: str
    problem: str

    @property
    def cause(self) -> str:
        """The problem, without what was done about it: for a row of which nothing is taken."""
        return _DONE.sub("", self.problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRow:
    """The addresses of one row, as they are compared, and the cells that hold none."""

    line: int
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    dropped: tuple[RowProblem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What the cells of a row with certain columns are."""

    names: tuple[str, ...]  #: the field that each cell is kept under
    sources: tuple[tuple[str, tuple[str, ...]], ...]  #: fields to read, and the cells to try, best first
    opt_outs: tuple[tuple[str, str, tuple[str, ...]], ...]  #: cell, kind of column, addresses it is about
    is_simple: bool  #: an email address and a phone number by these names are all that there is to read


def read_row(line: int, values: Mapping[str, str], *, region: str | None = None) -> ContactRow | RowProblem:
    """The contact in one row, or why there is none.

    `values` is keyed by field, or by column as it is called in the file. Empty cells are absent fields; outer
    spaces and invisible marks are no part of a cell. Raises BadInput only for a wrong `region`.
    """
    if region is not None:
        region = check_region(region)
    dropped: list[RowProblem] = []
    plan, cells = _cells(line, values, dropped)
    if plan.is_simple and not dropped and (row := _simple_row(line, cells, region)) is not None:
        return row
    found: dict[str, str] = {}
    key = None
    for field, sources in plan.sources:
        for source in sources:
            cell = cells.get(source)
            if cell is None:
                continue
            try:
                if field == "email":
                    found["email"], key = _first_good(cell, email_address)
                elif field == "phone":
                    found["phone"] = _first_good(cell, partial(phone_number, region=region))
                else:
                    found[field] = _OTHERS[field](cell)
                break
            except BadInput as error:
                dropped.append(_left_out(line, field, error))
        if field in cells:
            del cells[field]
    if plan.opt_outs:
        _heed_opt_outs(line, plan, cells, found, dropped)
    email, phone = found.pop("email", None), found.pop("phone", None)
    if email is None and phone is None:
        return _no_address(line, dropped)
    if found:
        cells.update(found)
    return ContactRow(
        line=line,
        email=email,
        email_key=key if email is not None else None,
        phone=phone,
        fields=cells,
        dropped=tuple(dropped),
    )


def _simple_row(line: int, cells: dict[str, str], region: str | None) -> ContactRow | None:
    """What `read_row` returns for most rows, in less time; None for a row that needs a closer look."""
    email, phone, key = cells.get("email"), cells.get("phone"), None
    try:
        if email is not None:
            email, key = email_address(email)
        if phone is not None:
            phone = phone_number(phone, region)
    except BadInput:
        return None
    if email is not None:
        del cells["email"]
    elif phone is None:
        return None
    if phone is not None:
        del cells["phone"]
    return ContactRow(line=line, email=email, email_key=key, phone=phone, fields=cells)


def read_addresses(
    line: int, values: Mapping[str, str], *, region: str | None = None, only: str | None = None
) -> AddressRow | RowProblem:
    """Every address in one row, whatever kind of phone it is; `only` "email" or "phone" of one kind alone.

    Cells named `address` count by their look when no other column has an address.
    Raises BadInput only for a wrong `region`.
    """
    if region is not None:
        region = check_region(region)
    dropped: list[RowProblem] = []
    plan, cells = _cells(line, values, dropped)
    found: dict[str, list[str]] = {"email": [], "phone": []}
    sources = [(field, name) for field, names in plan.sources if field in found for name in names]
    for field, source in [*sources, (_kind_of(cells.get("address", "")), "address")]:
        if source not in cells or (only is not None and field != only):
            continue
        if source == "address" and (any(found.values()) or (not field and sources)):
            continue  # most likely where the person lives
        for cell in cells[source].split(_SEVERAL):
            try:
                if field == "email":
                    found[field].append(email_address(cell)[1])
                elif field == "phone":
                    found[field].append(phone_number(cell, region, any_kind=True))
                else:
                    raise BadInput.at("address", "this is neither an email address nor a phone number")
            except BadInput as error:
                where = source if source == "address" else field
                dropped.append(_left_out(line, where, error))
    if not found["email"] and not found["phone"]:
        return _no_address(line, dropped, only)
    return AddressRow(
        line=line, emails=tuple(found["email"]), phones=tuple(found["phone"]), dropped=tuple(dropped)
    )


def _kind_of(address: str) -> str:
    """By its look: "email", "phone", or "" for what is neither."""
    if "@" in address:
        return "email"
    return "phone" if any(map(str.isdigit, address)) and not any(map(str.isalpha, address)) else ""


def _cells(line: int, values: Mapping[str, str], dropped: list[RowProblem]) -> tuple[_Plan, dict[str, str]]:
    """The cells that have something, trimmed, by field; those that cannot be used are `dropped`."""
    columns = tuple(values)
    plan = _plan_of(columns)
    trim = _trim_of(values.values())
    if plan is None or trim is None:
        values = _usable(line, values, dropped)
        columns = tuple(values)
        plan, trim = _plan_of(columns), _trimmed
        assert plan is not None, "the names are those of fields"
    written = list(values.values())
    trimmed = list(map(trim, written))
    if trimmed == written and plan.names == columns:
        cells = dict(values)
    else:
        cells = dict(zip(plan.names, trimmed, strict=True))
    if not all(trimmed):
        cells = {name: cell for name, cell in cells.items() if cell}
    return plan, cells


def _trim_of(values: Iterable[object]) -> Callable[[str], str] | None:
    """How cells are trimmed, when `_cell_problem` would find nothing in any of them."""
    try:
        text = "".join(values)  # type: ignore[arg-type]  # what is no text is told by the caller
        is_ascii = text.isascii()
        size = len(text) if is_ascii else len(text.encode())
    except (TypeError, UnicodeEncodeError):
        return None
    if "\0" in text or size > MAX_CELL_BYTES:
        return None
    return str.strip if is_ascii or text.isprintable() else _trimmed


@lru_cache(maxsize=1024)  # rows come without their empty cells: each combination is one
def _plan_of(columns: tuple[str, ...]) -> _Plan | None:
    """None when a row with these columns has to be looked at column by column."""
    try:
        known = list(map(_known_column, columns))
    except BadInput:
        return None
    names = tuple(each[0] for each in known)
    special = [each for each in known if each[1] or each[3]]
    if len(set(names)) < len(names) or len(names) - len(special) > MAX_FIELDS:
        return None
    sources: dict[str, list[tuple[int, str]]] = {}
    for name, field, rank, _ in special:
        if field:
            sources.setdefault(field, []).append((rank, name))
    ranked = {field: tuple(name for _, name in sorted(found)) for field, found in sorted(sources.items())}
    read = tuple((field, found) for field, found in ranked.items() if found != (field,) or field in _JUDGED)
    opt_outs = tuple((name, kind, opt_out_fields(name)) for name, _, _, kind in special if kind)
    return _Plan(
        names=names,
        sources=read,
        opt_outs=opt_outs,
        is_simple=not opt_outs and {*read} <= {(field, (field,)) for field in _ADDRESSES},
    )


@lru_cache(maxsize=4096)
def _known_column(column: str) -> tuple[str, str, int, str]:
    """What its cells are kept under, the field it fills with its rank, and what it says of opt-outs."""
    name = field_name(column)
    return name, *meaning(name), opt_out_kind(name)


def _usable(line: int, values: Mapping[str, str], dropped: list[RowProblem]) -> dict[str, str]:
    """The cells that can be used, by field."""
    cells: dict[str, str] = {}
    for column, value in values.items():
        try:
            name = field_name(column)
        except BadInput as error:
            name = usable_name(column) if isinstance(column, str) else ""
            if not name:
                where = shown(column) if isinstance(column, str) else "column"
                dropped.append(RowProblem(line=line, field=where, problem=f"{error}; left out"))
                continue
        problem = _cell_problem(value)
        if not problem and name in cells and value and not value.isspace():
            problem = "two columns of this row fill this field"
        if not problem and len(cells) >= MAX_FIELDS and not (meaning(name)[0] or opt_out_kind(name)):
            problem = f"more than {MAX_FIELDS} columns"
        if problem:
            dropped.append(RowProblem(line=line, field=name, problem=f"{problem}; left out"))
        elif name not in cells:
            cells[name] = value
    return cells


def _cell_problem(value: object) -> str:
    if not isinstance(value, str):
        return "must be text"
    if len(value) * 4 > MAX_CELL_BYTES and len(value.encode(errors="replace")) > MAX_CELL_BYTES:
        return "is larger than 64 KiB"
    return text_problem(value, lines=True)


def _trimmed(text: str) -> str:
    """Without the spaces and the invisible marks (Unicode Cf) around it."""
    start, end = 0, len(text)
    while start < end and _is_outer(text[start]):
        start += 1
    while start < end and _is_outer(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_outer(char: str) -> bool:
    return char.isspace() or (not char.isascii() and unicodedata.category(char) == "Cf")


def _first_good(cell: str, read: Callable[[str], T]) -> T:
    """The first address in a cell that can be used. Raises BadInput, for the first one, if none can."""
    first, *others = cell.split(_SEVERAL)
    try:
        return read(first)
    except BadInput:
        for other in others:
            with suppress(BadInput):
                return read(other)
        raise


def _heed_opt_outs(
    line: int, plan: _Plan, cells: Mapping[str, str], found: dict[str, str], dropped: list[RowProblem]
) -> None:
    for name, kind, fields in plan.opt_outs:
        cell = cells.get(name, "")
        if means_opted_out(kind, cell):
            for field in fields:
                if found.pop(field, None) is not None:
                    said = f"says that the person opted out or cannot be reached; the {field} was left out"
                    dropped.append(RowProblem(line=line, field=name, problem=said))
        elif means_no_consent(kind, cell):
            said = "says that the person has not agreed to marketing; imported anyway"
            dropped.append(RowProblem(line=line, field=name, problem=said))


def _no_address(line: int, dropped: Iterable[RowProblem], only: str | None = None) -> RowProblem:
    """Why the row is refused: what is wrong with its first address.

    An opt-out goes before a bad phone number: with the number put right, the person would still be left out.
    """
    for each in sorted(dropped, key=lambda problem: problem.field == "phone"):
        if each.field in (*_ADDRESSES, "address") or opt_out_kind(each.field):
            return RowProblem(line=line, field=each.field, problem=each.cause)
    return RowProblem(line=line, field=only or "email", problem=_NO_ADDRESS[only])


def _left_out(line: int, field: str, error: BadInput) -> RowProblem:
    return RowProblem(line=line, field=field, problem=f"{problem_of(error)}; left out")


def time_zone(text: str) -> str:
    """An IANA time zone name such as `Europe/Berlin`, in its own spelling. Raises BadInput at "timezone"."""
    wanted = text.strip().lower().replace(" ", "_")
    zones, cities = _zones()
    if wanted in zones:
        return zones[wanted]
    city = cities.get(wanted.rpartition("/")[2])
    guess = f"; did you mean {city}?" if city else _near_zone(wanted)
    raise BadInput.at("timezone", f"not a time zone such as Europe/Berlin{guess}")


@lru_cache(maxsize=1024)  # the same mistake is in many rows
def _near_zone(wanted: str) -> str:
    return did_you_mean(wanted, _zones()[0].values(), likeness=0.8)


@cache
def _zones() -> tuple[dict[str, str], dict[str, str]]:
    """The names by their lower-case spelling, and those with a city by the city alone."""
    names = sorted(zoneinfo.available_timezones())
    cities = {name.lower().rpartition("/")[2]: name for name in names if "/" in name and "Etc/" not in name}
    return {name.lower(): name for name in names}, cities


def birthday(text: str) -> str:
    """A date as it is written, with or without the year. Raises BadInput at "birthday".

    Numbers must be able to be a day of a month, in some order; months in words are not judged.
    """
    numbers = [int(each[:9]) for each in _NUMBERS.findall(text)[:3]]  # `int` refuses thousands of digits
    if any(map(str.isalpha, text)) and numbers:
        return text
    dated = numbers[1:] if numbers and numbers[0] > 31 else numbers[:2]  # the year may stand in front
    if len(dated) == 2 and any(1 <= day <= _DAYS.get(month, 0) for day, month in (dated, dated[::-1])):
        return text
    if _SERIAL_DAY.fullmatch(text):
        raise BadInput.at("birthday", "a spreadsheet's number for a date; format the column as a date")
    raise BadInput.at("birthday", "not a date with a day and a month")


_OTHERS: dict[str, Callable[[str], str]] = {
    "timezone": time_zone,
    "birthday": birthday,
    "first_name": str,
    "last_name": str,
}
_JUDGED = (*_ADDRESSES, "timezone", "birthday")
