"""One page of an import, as one unit of work.

A row belongs to the contact with its email address, or else to the one with its phone number; but a row with
an email address never takes over a contact that has another one: two people may share a phone. Then the
phone stays with whom it is with, and the row's contact is stored without it: that is a conflict, which the
person who imports has to hear of.

A contact that was seen before in the same import makes the row a duplicate, and nothing of it is taken,
unless the row brings the contact (known by phone only) its email address.
An update merges: fields that the row has replace those of the contact, the others stay.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from hubd.failpoints import reach
from hubd.store.database import Unit

if TYPE_CHECKING:
    from hubd.core.intake import ContactRow

#: The list itself, made by its first import.
ADD_LIST = "INSERT INTO list (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
#: Its id.
LIST_ID = "SELECT id FROM list WHERE name = ?"
#: The contact that has an email address.
BY_EMAIL = "SELECT id, email_key, phone, fields, import_id FROM contact WHERE email_key = ?"
#: The contact that has a phone number.
BY_PHONE = "SELECT id, email_key, phone, fields, import_id FROM contact WHERE phone = ?"
#: A contact seen for the first time.
ADD_CONTACT = """
INSERT INTO contact (email, email_key, phone, fields, import_id, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
#: A contact of which something changed.
CHANGE_CONTACT = """
UPDATE contact SET email = coalesce(email, ?), email_key = coalesce(email_key, ?), phone = ?, fields = ?,
    import_id = ?, updated_at = ? WHERE id = ?"""
#: A contact that stays as it is, seen by this import.
SEEN_CONTACT = "UPDATE contact SET import_id = ? WHERE id = ?"
#: Put a contact on a list.
ADD_MEMBER = "INSERT INTO membership (list_id, contact_id) VALUES (?, ?) ON CONFLICT DO NOTHING"

#: Addresses that earlier pages of a rehearsal (dry run) held; lives as long as the connection.
MAKE_REHEARSAL = """
CREATE TEMP TABLE IF NOT EXISTS rehearsal (import_id TEXT, address TEXT, PRIMARY KEY (import_id, address))
WITHOUT ROWID"""
#: One rehearsal at a time is remembered: another one starts afresh.
FORGET_REHEARSALS = "DELETE FROM temp.rehearsal WHERE import_id <> ?"
#: Remember an address; no row when it was seen before.
REHEARSE = "INSERT INTO temp.rehearsal (import_id, address) VALUES (?, ?) ON CONFLICT DO NOTHING"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCount:
    """What became of the rows of one page. The first four add up to the rows."""

    imported: int = 0  #: new contacts
    updated: int = 0  #: known contacts of which something changed, or that are new on this list
    unchanged: int = 0
    duplicates: tuple[int, ...] = ()  #: lines whose address an earlier line of the same import had
    conflicts: tuple[int, ...] = ()  #: lines that were taken without their phone: another contact has it


class _Fate(Enum):
    IMPORTED = "imported"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"


def import_page(
    unit: Unit, list_name: str, rows: Sequence[ContactRow], import_id: str, dry_run: bool
) -> ImportCount:
    """Take the rows in, or with `dry_run` only say what would become of them."""
    if dry_run:
        return _rehearse_page(unit, list_name, rows, import_id)
    count = _take_page(unit, list_name, rows, import_id)
    reach("in_import")
    if count.imported or count.updated:
        data = {"list": list_name, "imported": count.imported, "updated": count.updated}
        unit.event("contacts.imported", None, data)
    return count


def _take_page(unit: Unit, list_name: str, rows: Sequence[ContactRow], import_id: str) -> ImportCount:
    unit.db.execute(ADD_LIST, (list_name, unit.now))
    into = list_id(unit.db, list_name)
    assert into is not None, "it was made in this very unit"
    return _count(rows, [_take(unit, into, row, import_id) for row in rows])


def _rehearse_page(unit: Unit, list_name: str, rows: Sequence[ContactRow], import_id: str) -> ImportCount:
    """Do it all and take it back; what outlives the page is which addresses it held."""
    db = unit.db
    db.execute(MAKE_REHEARSAL)
    db.execute(FORGET_REHEARSALS, (import_id,))
    fresh = [db.execute(REHEARSE, (import_id, row.email_key or row.phone)).rowcount == 1 for row in rows]
    db.execute("SAVEPOINT rehearsal")
    try:
        count = _take_page(
            unit, list_name, [row for row, new in zip(rows, fresh, strict=True) if new], import_id
        )
    finally:
        db.execute("ROLLBACK TO rehearsal")
        db.execute("RELEASE rehearsal")
    again = [row.line for row, new in zip(rows, fresh, strict=True) if not new]
    return replace(count, duplicates=tuple(sorted([*count.duplicates, *again])))


def list_id(db: sqlite3.Connection, name: str) -> int | None:
    """The list with this name."""
    found = db.execute(LIST_ID, (name,)).fetchone()
    return None if found is None else found["id"]


def _take(unit: Unit, list_id: int, row: ContactRow, import_id: str) -> tuple[_Fate, bool]:
    """What became of the row, and whether its phone was left out because it is somebody else's."""
    db = unit.db
    known, owner = _whose(db, row)
    if known is None:
        phone = row.phone if owner is None else None
        values = (row.email, row.email_key, phone, _json(row.fields), import_id, unit.now, unit.now)
        contact_id = db.execute(ADD_CONTACT, values).lastrowid
        db.execute(ADD_MEMBER, (list_id, contact_id))
        return _Fate.IMPORTED, owner is not None
    brings_email = row.email_key is not None and known["email_key"] is None
    if known["import_id"] == import_id and not brings_email:
        return _Fate.DUPLICATE, False
    taken = owner is not None and owner["id"] != known["id"]
    phone = known["phone"] if row.phone is None or taken else row.phone
    fields = _json({**json.loads(known["fields"]), **row.fields})
    changed = brings_email or phone != known["phone"] or fields != known["fields"]
    if changed:
        values = (row.email, row.email_key, phone, fields, import_id, unit.now, known["id"])
        db.execute(CHANGE_CONTACT, values)
    else:
        db.execute(SEEN_CONTACT, (import_id, known["id"]))
    joined = db.execute(ADD_MEMBER, (list_id, known["id"])).rowcount == 1
    return (_Fate.UPDATED if changed or joined else _Fate.UNCHANGED), taken


def _whose(db: sqlite3.Connection, row: ContactRow) -> tuple[sqlite3.Row | None, sqlite3.Row | None]:
    """The contact that the row belongs to, and the one that has the row's phone number."""
    owner: sqlite3.Row | None = None
    if row.phone is not None:
        owner = db.execute(BY_PHONE, (row.phone,)).fetchone()
    if row.email_key is None:
        return owner, owner
    known: sqlite3.Row | None = db.execute(BY_EMAIL, (row.email_key,)).fetchone()
    if known is None and owner is not None and owner["email_key"] is None:
        known = owner
    return known, owner


def _count(rows: Sequence[ContactRow], taken: Sequence[tuple[_Fate, bool]]) -> ImportCount:
    fates = [fate for fate, _ in taken]
    return ImportCount(
        imported=fates.count(_Fate.IMPORTED),
        updated=fates.count(_Fate.UPDATED),
        unchanged=fates.count(_Fate.UNCHANGED),
        duplicates=tuple(row.line for row, fate in zip(rows, fates, strict=True) if fate is _Fate.DUPLICATE),
        conflicts=tuple(row.line for row, (_, left_out) in zip(rows, taken, strict=True) if left_out),
    )


def _json(fields: dict[str, str]) -> str:
    return json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
