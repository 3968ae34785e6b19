"""People, the lists they are on, and the addresses that nothing is sent to.

A contact is found again by its email address (compared without regard to case) or else by its phone number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from hubd.core.model import Channel, SkipReason
from hubd.core.records import Contact, Forgotten, ImportCount, ListView, Suppression
from hubd.errors import NotFound
from hubd.store.cancelling import cancel_waiting
from hubd.store.database import Database
from hubd.store.forgetting import ERASE_REPLIES, allow, erase, forget, one_off_messages
from hubd.store.importing import import_page
from hubd.store.list_names import list_id, no_such_list
from hubd.store.suppressing import rehearse_page, suppress_page
from hubd.store.transaction import Row, Transaction, record
from hubd.store.unit import Unit, Work

if TYPE_CHECKING:
    from hubd.core.intake import AddressRow, ContactRow

#: Every list with its size, by name.
LISTS = """
SELECT name, (SELECT count(*) FROM membership WHERE list_id = list.id) AS contacts FROM list ORDER BY name"""
#: A page of all contacts in the order they came.
ALL_CONTACTS = "SELECT * FROM contact WHERE id > ? ORDER BY id LIMIT ?"
#: A page of one list's contacts.
LIST_CONTACTS = """
SELECT contact.* FROM membership JOIN contact ON contact.id = membership.contact_id
WHERE membership.list_id = ? AND membership.contact_id > ? ORDER BY membership.contact_id LIMIT ?"""
#: A contact by email address, phone number or public id; each of the three is unique.
FIND_CONTACT = """
SELECT * FROM contact WHERE email_key = lower(:key)
UNION ALL SELECT * FROM contact WHERE phone = :key
UNION ALL SELECT * FROM contact WHERE public_id = lower(:key)
LIMIT 1"""
#: The names of the lists that a contact is on.
LISTS_OF = """
SELECT list.name FROM membership JOIN list ON list.id = membership.list_id
WHERE membership.contact_id = ? ORDER BY list.name"""
#: Memberships go with it by foreign key; its deliveries and its suppressions stay.
REMOVE_CONTACT = "DELETE FROM contact WHERE id = ?"
#: The first reason stays: it says when sending had to end.
SUPPRESS = """
INSERT INTO suppression (channel, address_key, reason, source, created_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING"""
#: A page of suppressed addresses of all channels or one.
SUPPRESSION = "SELECT * FROM suppression WHERE channel = ? AND address_key = ?"
SUPPRESSIONS = """
SELECT * FROM suppression
WHERE (channel, address_key) > (:after_channel, :after_key) AND (:channel = '' OR channel = :channel)
ORDER BY channel, address_key LIMIT :limit"""


class Contacts:
    """Contacts, lists and suppressions. All methods are async; each write is one unit of work."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def importing(self, list_name: str, rows: Sequence[ContactRow], import_id: str) -> Work[ImportCount]:
        """The unit of work that takes one page of a file into a list, all of it or (on an error) nothing.

        All pages of one file carry the same `import_id`: the first row of an address wins and later ones are
        duplicates. See `importing` for the rules.
        """
        return lambda unit: import_page(unit, list_name, rows, import_id, False)

    async def try_import(self, list_name: str, rows: Sequence[ContactRow], import_id: str) -> ImportCount:
        """Count the same and keep nothing but, until another import is tried, which addresses there were."""
        return await self._db.write(
            lambda unit: import_page(unit, list_name, rows, import_id, True), bulk=True
        )

    async def lists(self) -> list[ListView]:
        """All lists by name."""
        rows = await self._db.read(lambda db: db.execute(LISTS).fetchall())
        return [record(ListView, row) for row in rows]

    async def page(self, list_name: str | None = None, after_id: int = 0, limit: int = 500) -> list[Contact]:
        """Contacts of one list, or all, after a cursor. Raises NotFound ("list_not_found")."""

        def work(db: Transaction) -> list[Row]:
            if list_name is None:
                return db.execute(ALL_CONTACTS, (after_id, limit)).fetchall()
            found = list_id(db, list_name)
            if found is None:
                raise no_such_list(list_name)
            return db.execute(LIST_CONTACTS, (found, after_id, limit)).fetchall()

        return [_contact(row) for row in await self._db.read(work)]

    async def get(self, key: str) -> Contact:
        """By email address, phone number (E.164) or contact id. Raises NotFound ("contact_not_found")."""

        def work(db: Transaction) -> Contact:
            row = find_contact(db, key)
            return _contact(row, tuple(name for (name,) in db.execute(LISTS_OF, (row["id"],))))

        return await self._db.read(work)

    def removing(self, key: str) -> Work[int]:
        """The unit of work that forgets a contact: how many messages to it are cancelled. Raises NotFound.

        When something was sent to it, and whether it is suppressed, stays known; what it said of the contact
        does not.
        """

        def work(unit: Unit) -> int:
            row = find_contact(unit.db, key)
            unit.db.execute(REMOVE_CONTACT, (row["id"],))
            addresses = [row["email_key"], row["phone"], f"contact:{row['id']}"]
            keys = [address for address in addresses if address is not None]
            cancelled = cancel_waiting(unit, keys, SkipReason.CANCELLED, erase=True)
            unit.db.execute(ERASE_REPLIES, {"keys": json.dumps(keys)})  # nor is what they wrote kept
            erase(unit, one_off_messages(unit, keys))
            unit.event("contact.removed", None, {"contact_id": row["public_id"]})
            return cancelled

        return work

    def forgetting(self, key: str, keys: Sequence[str]) -> Work[Forgotten]:
        """The unit of work that erases a person everywhere: `key` as in `removing`, `keys` as addresses are
        compared, for one who is no contact.

        Whether an address is suppressed stays known, see `forgetting`.
        """

        def work(unit: Unit) -> Forgotten:
            row = unit.db.execute(FIND_CONTACT, {"key": key}).fetchone()
            all_keys = list(keys)
            if row is not None:
                addresses = (row["email_key"], row["phone"], f"contact:{row['id']}")
                all_keys += [address for address in addresses if address is not None]
                unit.db.execute(REMOVE_CONTACT, (row["id"],))
                unit.event("contact.removed", None, {"contact_id": row["public_id"]})
            all_keys = list(dict.fromkeys(all_keys))
            cancelled = cancel_waiting(unit, all_keys, SkipReason.CANCELLED, erase=True)
            messages, known = forget(unit, all_keys)
            contact = row is not None
            return Forgotten(contact=contact, cancelled=cancelled, messages=messages, known=known or contact)

        return work

    def suppressing(self, channel: Channel, key: str, reason: str, source: str) -> Work[bool]:
        """The unit of work that suppresses an address: whether that is new. `key` as it is compared.

        What waits for the address is skipped in every campaign.
        """

        def work(unit: Unit) -> bool:
            values = (channel.value, key, reason, source, unit.now)
            added = unit.db.execute(SUPPRESS, values).rowcount == 1
            if added:
                opted_out = reason == SkipReason.OPTED_OUT
                cancel_waiting(unit, [key], SkipReason.OPTED_OUT if opted_out else SkipReason.SUPPRESSED)
            return added

        return work

    def suppressing_page(self, rows: Sequence[AddressRow], reason: str, source: str) -> Work[int]:
        """The unit of work that suppresses the addresses of some rows: how many rows had a new one."""
        return lambda unit: suppress_page(unit, rows, reason, source)

    async def try_suppress(self, rows: Sequence[AddressRow], import_id: str) -> int:
        """Count the same and keep nothing but, until another import is tried, which addresses there were."""
        return await self._db.write(lambda unit: rehearse_page(unit, rows, import_id), bulk=True)

    def unsuppressing(self, channel: Channel, key: str) -> Work[bool]:
        """The unit of work that allows sending again: whether it was suppressed."""
        return lambda unit: allow(unit, channel, key)

    async def suppressions(
        self, channel: Channel | None = None, after: tuple[str, str] = ("", ""), limit: int = 500
    ) -> list[Suppression]:
        """A page in order of (channel, address), after such a pair."""
        values = {
            "channel": channel.value if channel else "",
            "after_channel": after[0],
            "after_key": after[1],
            "limit": limit,
        }
        rows = await self._db.read(lambda db: db.execute(SUPPRESSIONS, values).fetchall())
        return [_suppression(row) for row in rows]

    async def suppression(self, channel: Channel, key: str) -> Suppression | None:
        """Why an address is not written to; None for one that may be."""
        row = await self._db.read(lambda db: db.execute(SUPPRESSION, (channel, key)).fetchone())
        return _suppression(row) if row is not None else None


def find_contact(db: Transaction, key: str) -> Row:
    """By email address, phone number (E.164) or contact id. Raises NotFound ("contact_not_found")."""
    row: Row | None = db.execute(FIND_CONTACT, {"key": key}).fetchone()
    if row is None:
        raise NotFound(
            "there is no such contact",
            code="contact_not_found",
            hint="give an email address, a phone number with country code, or a contact id",
        )
    return row


def _contact(row: Row, lists: tuple[str, ...] = ()) -> Contact:
    fields = msgspec.json.decode(row["fields"])
    return record(Contact, row, contact_id=row["public_id"], fields=fields, lists=lists)


def _suppression(row: Row) -> Suppression:
    return record(Suppression, row, address=row["address_key"])
