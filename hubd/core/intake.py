"""Rows that people hand in, made into contacts: every row a contact, or the first reason why not.

An email address is kept twice: as it is sent to (the local part as written, the domain in lower-case ASCII)
and as the folded key by which two spellings are recognised as one. Problems name the field, never an address.
"""

from __future__ import annotations

import re
import unicodedata
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import msgspec

from hubd.core.addresses import check_region, email_address, phone_number
from hubd.core.tables import Fault, shown, text_problem
from hubd.errors import BadInput, nearest

__all__ = [
    "ContactRow",
    "RowProblem",
    "check_columns",
    "check_region",
    "email_address",
    "phone_number",
    "read_row",
    "time_zone",
]

MAX_COLUMNS = 200
MAX_CELL_BYTES = 64 * 1024
_LONGEST_FIELD = 64
_FIELD = re.compile(r"[a-z_][a-z0-9_]*")
#: Variables that a template gets from elsewhere, and words that mean something else in a template.
_RESERVED = {
    *("contact_id", "unsubscribe_url", "postal_address"),
    *("self", "super", "loop", "caller", "varargs", "kwargs", "namespace", "true", "false", "none"),
    *("and", "or", "not", "in", "is", "if", "elif", "else", "for", "recursive"),
}
_MEANS = {
    name: field_name
    for field_name, names in {
        "email": "e_mail mail email_address e_mail_address mail_address emailaddress email_id "
        "email_adresse e_mail_adresse mailadresse courriel adresse_email adresse_mail adresse_e_mail "
        "correo correo_electronico",
        "phone": "phone_number phonenumber mobile mobile_phone mobile_number cell cellphone cell_phone "
        "telephone telephone_number tel sms msisdn telefon telefonnummer handy handynummer mobil mobilnummer "
        "telephone_portable numero_de_telephone telefono movil",
        "first_name": "firstname first given_name forename fname vorname prenom nombre",
        "last_name": "lastname last surname family_name lname nachname familienname nom nom_de_famille "
        "apellido apellidos",
        "timezone": "time_zone tz zeitzone fuseau_horaire zona_horaria",
    }.items()
    for name in names.split()
}


class ContactRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One contact as handed in; at least one of `email` and `phone` is set."""

    line: int  #: line of the file, for reports
    email: str | None = None  #: what to send to; the domain in lower-case ASCII
    email_key: str | None = None  #: what to compare: folded
    phone: str | None = None  #: E.164
    fields: dict[str, str] = {}  #: all other columns that have a value


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """Why a row cannot be used. The rows around it are not affected."""

    line: int
    field: str
    problem: str


def check_columns(names: Iterable[str]) -> dict[str, str]:
    """Which field each column of a file fills: `{"E-Mail": "email", "First Name": "first_name"}`.

    Raises BadInput with every fault at once: too many columns, a name that cannot be a field, two columns for
    one field, no column with an address. The path of a fault is the column's name.
    """
    columns = list(names)
    if len(columns) > MAX_COLUMNS:
        raise BadInput.at("columns", f"{len(columns)} columns; at most {MAX_COLUMNS} are allowed")
    faults: list[Fault] = []
    fields: dict[str, str] = {}
    source: dict[str, str] = {}
    for position, column in enumerate(columns, start=1):
        try:
            name = _field(column)
        except BadInput as error:
            where = shown(column) if isinstance(column, str) and column.strip() else f"column {position}"
            faults.append((where, str(error)))
            continue
        if name in source:
            other = "" if source[name] == column else f" like {shown(source[name])}"
            faults.append((shown(column), f"means {name}{other}; skip one, or map it to another field"))
        source.setdefault(name, column)
        fields[column] = name
    if not faults and not {"email", "phone"} & set(fields.values()):
        faults.append(("columns", _no_address_column(fields)))
    if faults:
        raise BadInput.of(faults, hint="Rename the column, or map it: --map COLUMN=FIELD")
    return fields


def _no_address_column(fields: Mapping[str, str]) -> str:
    near = [column for column, name in fields.items() if nearest(name, ("email", "phone"))]
    guess = f"; is it {shown(near[0])}?" if near else ""
    return f"there is neither an email nor a phone column{guess}"


def _field(column: object) -> str:
    """The field that a column fills. A field's own name always stands for itself."""
    if not isinstance(column, str):
        raise BadInput("a column's name must be text")
    if len(column) > 4 * _LONGEST_FIELD:
        raise BadInput("the name is longer than 64 characters")
    return _field_of(column)


@lru_cache(maxsize=4096)
def _field_of(column: str) -> str:
    plain = unicodedata.normalize("NFKD", column.strip("\ufeff \t\r\n\u00a0")).casefold()
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    name = re.sub(r"[\s./-]+", "_", plain)
    name = _MEANS.get(name, name)
    if not name:
        raise BadInput("the column has no name")
    if len(name) > _LONGEST_FIELD:
        raise BadInput("the name is longer than 64 characters")
    if name.startswith("_"):
        raise BadInput("a field's name must not start with an underscore")
    if _FIELD.fullmatch(name) is None:
        raise BadInput("a field's name has only a-z, 0-9 and _, and starts with a letter")
    if name in _RESERVED:
        raise BadInput(f"{name} is reserved; choose another name")
    return name


def read_row(line: int, values: Mapping[str, str], *, region: str | None = None) -> ContactRow | RowProblem:
    """The contact in one row, or the first thing that is wrong with it.

    `values` is keyed by field, or by column as `check_columns` was given it. Empty cells are absent fields.
    All other cells are kept as they are. Raises BadInput only for a wrong `region`.
    """
    if region is not None:
        region = check_region(region)
    cells: dict[str, str] = {}
    columns = tuple(values)
    names = _names_of(columns)
    if names and _are_plain(values.values()):
        cells = dict(values if names == columns else zip(names, values.values(), strict=True))
        if not all(map(str.strip, cells.values())):
            cells = {name: value for name, value in cells.items() if value.strip()}
        return _contact(line, cells, region)
    if len(values) > MAX_COLUMNS:
        return RowProblem(line=line, field="row", problem=f"more than {MAX_COLUMNS} columns")
    for column, value in values.items():
        try:
            name = _field(column)
        except BadInput as error:
            return RowProblem(line=line, field=shown(column), problem=str(error))
        if problem := _cell_problem(value):
            return RowProblem(line=line, field=name, problem=problem)
        if not value or value.isspace():
            continue
        if name in cells:
            return RowProblem(line=line, field=name, problem="two columns of the row fill this field")
        cells[name] = value
    return _contact(line, cells, region)


@lru_cache(maxsize=256)
def _names_of(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that these columns fill; none when a row with them has to be looked at column by column."""
    try:
        names = tuple(_field(column) for column in columns)
    except BadInput:
        return ()
    return names if len(set(names)) == len(names) <= MAX_COLUMNS else ()


def _are_plain(values: Iterable[object]) -> bool:
    """Whether `_cell_problem` would find nothing in any of them."""
    try:
        octets = "".join(values).encode()  # type: ignore[arg-type]  # what is no text is told by the caller
    except (TypeError, UnicodeEncodeError):
        return False
    return b"\0" not in octets and len(octets) <= MAX_CELL_BYTES


def _cell_problem(value: object) -> str:
    if not isinstance(value, str):
        return "must be text"
    if len(value) * 4 > MAX_CELL_BYTES and len(value.encode(errors="replace")) > MAX_CELL_BYTES:
        return "is larger than 64 KiB"
    return text_problem(value, lines=True)


def _contact(line: int, cells: dict[str, str], region: str | None) -> ContactRow | RowProblem:
    email = cells.pop("email", None)
    phone = cells.pop("phone", None)
    if email is None and phone is None:
        problem = "the row has neither an email address nor a phone number"
        return RowProblem(line=line, field="email", problem=problem)
    key = None
    try:
        if email is not None:
            email, key = email_address(email)
        if phone is not None:
            phone = phone_number(phone, region)
        if "timezone" in cells:
            cells["timezone"] = time_zone(cells["timezone"])
    except BadInput as error:
        where, what = _first_fault(error)
        return RowProblem(line=line, field=where, problem=what)
    return ContactRow(line=line, email=email, email_key=key, phone=phone, fields=cells)


def _first_fault(error: BadInput) -> Fault:
    listed = error.data["errors"]
    assert isinstance(listed, list)
    return listed[0]["path"], listed[0]["problem"]


def time_zone(text: str) -> str:
    """An IANA time zone name such as `Europe/Berlin`, in its own spelling. Raises BadInput at "timezone"."""
    wanted = text.strip().lower().replace(" ", "_")
    zones, cities = _zones()
    if wanted in zones:
        return zones[wanted]
    city = cities.get(wanted.rpartition("/")[2])
    guess = f"; did you mean {city}?" if city else ""
    raise BadInput.at("timezone", f"not a time zone such as Europe/Berlin{guess}")


@cache
def _zones() -> tuple[dict[str, str], dict[str, str]]:
    """The names by their lower-case spelling, and those with a city by the city alone."""
    names = sorted(zoneinfo.available_timezones())
    cities = {name.lower().rpartition("/")[2]: name for name in names if "/" in name and "Etc/" not in name}
    return {name.lower(): name for name in names}, cities
