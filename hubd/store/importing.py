"""One page of an import, as one unit of work.

A row belongs to the contact with its email address, or else to the one with its phone number; but a row with
an email address never takes over a contact that has another one: two people may share a phone. Then the
phone stays with whom it is with, and the row's contact is stored without it: that is a conflict, which the
person who imports has to see.

A contact that was seen before in the same import makes the row a duplicate, and nothing of it is taken,
unless the row brings the contact (known by phone only) its email address.
An update merges: fields that the row has replace those of the contact, the others stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from hubd.core.model import Channel
from hubd.core.records import ImportCount
from hubd.failpoints import reach
from hubd.store.forgetting import suppress_again
from hubd.store.list_names import list_id
from hubd.store.multirow import write_rows
from hubd.store.transaction import Transaction, newest, take
from hubd.store.triggers import join_triggered
from hubd.store.unit import Unit

if TYPE_CHECKING:
    from hubd.core.intake import ContactRow

#: The list itself, made by its first import.
ADD_LIST = "INSERT INTO list (name, created_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
#: The contacts that have one of these email addresses or phone numbers.
KNOWN = """
SELECT id, email, email_key, phone, fields, import_id,
    EXISTS (SELECT 1 FROM membership WHERE list_id = :list_id AND contact_id = contact.id) AS listed
FROM contact WHERE id IN (
    SELECT id FROM contact WHERE email_key IN (SELECT value FROM json_each(:emails))
    UNION SELECT id FROM contact WHERE phone IN (SELECT value FROM json_each(:phones)))"""
#: Contacts seen for the first time.
ADD_CONTACTS = """
INSERT INTO contact (public_id, id, email, email_key, phone, fields, import_id, created_at, updated_at)
{rows}"""
#: So many in one statement: more are hardly faster, and each number of rows is kept prepared.
ADDED_AT_ONCE = 250
#: A contact of which something changed.
CHANGE_CONTACT = """
UPDATE contact SET email = ?, email_key = ?, phone = ?, fields = ?, import_id = ?, updated_at = ?
WHERE id = ?"""
#: Contacts that stay as they are, seen by this import.
SEEN_CONTACTS = "UPDATE contact SET import_id = ? WHERE id IN (SELECT value FROM json_each(?))"
#: Put contacts on a list, on which they are not.
ADD_MEMBERS = """
INSERT INTO membership (id, list_id, contact_id)
SELECT :first + key, :list_id, value FROM json_each(:contacts)"""

#: Addresses that earlier pages of a rehearsal (dry run) held; lives as long as the connection.
MAKE_REHEARSAL = """
CREATE TEMP TABLE IF NOT EXISTS rehearsal (import_id TEXT, address TEXT, PRIMARY KEY (import_id, address))
WITHOUT ROWID"""
#: One rehearsal at a time is remembered: another one starts afresh.
FORGET_REHEARSALS = "DELETE FROM temp.rehearsal WHERE import_id <> ?"
#: Remember an address; no row when it was seen before.
REHEARSE = "INSERT INTO temp.rehearsal (import_id, address) VALUES (?, ?) ON CONFLICT DO NOTHING"

_encode = msgspec.json.Encoder(order="sorted").encode


def import_page(
    unit: Unit, list_name: str, rows: Sequence[ContactRow], import_id: str, dry_run: bool
) -> ImportCount:
    """Take the rows in, or with `dry_run` only say what would become of them."""
    if dry_run:
        return _rehearse_page(unit, list_name, rows, import_id)
    suppress_again(unit, _addresses(rows))  # before anybody becomes a recipient
    count, joined = _take_page(unit, list_name, rows, import_id)
    join_triggered(unit, list_name, joined)
    reach("in_import")
    if count.imported or count.updated:
        data = {"list": list_name, "imported": count.imported, "updated": count.updated}
        unit.event("contacts.imported", None, data)
    return count


def _addresses(rows: Sequence[ContactRow]) -> Iterator[tuple[Channel, str]]:
    for row in rows:
        if row.email_key is not None:
            yield Channel.EMAIL, row.email_key
        if row.phone is not None:
            yield Channel.SMS, row.phone


def _take_page(
    unit: Unit, list_name: str, rows: Sequence[ContactRow], import_id: str
) -> tuple[ImportCount, list[int]]:
    """Store the rows; what became of them, and the contacts that are new on the list."""
    unit.db.execute(ADD_LIST, (list_name, unit.now))
    into = list_id(unit.db, list_name)
    assert into is not None, "it was made in this very unit"
    page = _Page(_known(unit.db, into, rows), newest(unit.db, "contact"), import_id)
    for row in rows:
        page.take(row)
    page.write(unit, into)
    count = ImportCount(
        imported=page.imported,
        updated=page.updated,
        unchanged=page.unchanged,
        duplicates=tuple(page.duplicates),
        conflicts=tuple(page.conflicts),
    )
    return count, page.joined


def _known(db: Transaction, into: int, rows: Sequence[ContactRow]) -> list[_Contact]:
    emails = [row.email_key for row in rows if row.email_key is not None]
    phones = [row.phone for row in rows if row.phone is not None]
    asked = {"list_id": into, "emails": _json(emails), "phones": _json(phones)}
    return [_Contact(*found) for found in db.execute(KNOWN, asked)]


def _rehearse_page(unit: Unit, list_name: str, rows: Sequence[ContactRow], import_id: str) -> ImportCount:
    """Do it all and take it back; what outlives the page is which addresses it held."""
    db = unit.db
    db.execute(MAKE_REHEARSAL)
    db.execute(FORGET_REHEARSALS, (import_id,))
    fresh = [db.execute(REHEARSE, (import_id, row.email_key or row.phone)).rowcount == 1 for row in rows]
    db.execute("SAVEPOINT rehearsal")
    try:
        count, _ = _take_page(
            unit, list_name, [row for row, new in zip(rows, fresh, strict=True) if new], import_id
        )
    finally:
        db.execute("ROLLBACK TO rehearsal")
        db.execute("RELEASE rehearsal")
    again = [row.line for row, new in zip(rows, fresh, strict=True) if not new]
    return replace(count, duplicates=tuple(sorted([*count.duplicates, *again])))


class _Contact(msgspec.Struct, gc=False):
    id: int
    email: str | None
    email_key: str | None
    phone: str | None
    fields: str
    import_id: str
    listed: bool | int  #: on the list of the import


class _Page:
    """The contacts that the rows of a page are about, as they are after the rows taken so far.

    `known` are those in the database. `write` brings it up to what was taken, by few statements: each one
    gives up the interpreter lock and has to wait for it again.
    """

    def __init__(self, known: Sequence[_Contact], newest: int, import_id: str) -> None:
        self._by_email = {each.email_key: each for each in known if each.email_key is not None}
        self._by_phone = {each.phone: each for each in known if each.phone is not None}
        self._first = newest + 1
        self._import_id = import_id
        self.imported = self.updated = self.unchanged = 0
        self.duplicates: list[int] = []
        self.conflicts: list[int] = []
        self._added: list[_Contact] = []
        self._changed: dict[int, _Contact] = {}
        self._seen: list[int] = []
        self.joined: list[int] = []

    def take(self, row: ContactRow) -> None:
        """Add the row's contact or change it, and count what became of the row."""
        known, owner = self._whose(row)
        if known is None:
            self._add(row, row.phone if owner is None else None)
            self.imported += 1
            if owner is not None:
                self.conflicts.append(row.line)
            return
        brings_email = row.email_key is not None and known.email_key is None
        if known.import_id == self._import_id and not brings_email:
            self.duplicates.append(row.line)
            return
        known.import_id = self._import_id
        phone = row.phone or known.phone
        if owner is not None and owner is not known:
            self.conflicts.append(row.line)
            phone = known.phone
        fields = _json({**msgspec.json.decode(known.fields), **row.fields})
        changed = brings_email or phone != known.phone or fields != known.fields
        joined = not known.listed
        if changed:
            self._change(known, row, phone, fields)
        else:
            self._seen.append(known.id)
        if joined:
            self._join(known)
        self.updated += changed or joined
        self.unchanged += not (changed or joined)

    def write(self, unit: Unit, into: int) -> None:
        """Changes come before additions: a new contact may have a phone that another one gave up."""
        db, now = unit.db, unit.now
        changed = [
            (each.email, each.email_key, each.phone, each.fields, self._import_id, now, each.id)
            for each in self._changed.values()
        ]
        db.executemany(CHANGE_CONTACT, changed)
        if self._seen:
            db.execute(SEEN_CONTACTS, (self._import_id, _json(self._seen)))
        added = [
            (name, each.id, each.email, each.email_key, each.phone, each.fields, self._import_id, now, now)
            for name, each in zip(_public_ids(len(self._added)), self._added, strict=True)
        ]
        if added:
            first = take(db, "contact", len(added))
            assert first == self._first, "nobody else adds contacts meanwhile"
        write_rows(db, ADD_CONTACTS, added, most=ADDED_AT_ONCE)
        if self.joined:
            first = take(db, "membership", len(self.joined))
            db.execute(ADD_MEMBERS, {"first": first, "list_id": into, "contacts": _json(self.joined)})

    def _whose(self, row: ContactRow) -> tuple[_Contact | None, _Contact | None]:
        """The contact that the row belongs to, and the one that has the row's phone number."""
        owner = self._by_phone.get(row.phone) if row.phone is not None else None
        if row.email_key is None:
            return owner, owner
        known = self._by_email.get(row.email_key)
        if known is None and owner is not None and owner.email_key is None:
            known = owner
        return known, owner

    def _add(self, row: ContactRow, phone: str | None) -> None:
        number = self._first + len(self._added)
        made = _Contact(number, row.email, row.email_key, phone, _json(row.fields), self._import_id, False)
        self._added.append(made)
        self._enter(made)
        self._join(made)

    def _change(self, known: _Contact, row: ContactRow, phone: str | None, fields: str) -> None:
        if known.phone is not None and phone != known.phone:
            del self._by_phone[known.phone]
        if known.email_key is None:
            known.email, known.email_key = row.email, row.email_key
        known.phone, known.fields = phone, fields
        self._enter(known)
        if known.id < self._first:
            self._changed[known.id] = known

    def _enter(self, contact: _Contact) -> None:
        if contact.email_key is not None:
            self._by_email[contact.email_key] = contact
        if contact.phone is not None:
            self._by_phone[contact.phone] = contact

    def _join(self, contact: _Contact) -> None:
        contact.listed = True
        self.joined.append(contact.id)


def _public_ids(count: int) -> list[str]:
    """Random ids for the contacts of a page, which have their first two digits in common.

    So they are near each other in the index, and the page changes a few leaves of it instead of all.
    """
    first, others = os.urandom(1).hex(), os.urandom(7 * count).hex()
    return [first + others[at : at + 14] for at in range(0, len(others), 14)]


def _json(value: object) -> str:
    """Without white space, and sorted, so that equal fields are equal texts."""
    return _encode(value).decode()
