"""Lists that get smaller, another name, or go away. The contacts on them stay.

Whoever was frozen into a campaign as its recipient stays one: a list is only where an audience comes from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from hubd.core.decide import Leaving, Pages
from hubd.core.model import CampaignState
from hubd.core.uses import ListUse, free_list
from hubd.errors import Conflict
from hubd.store.contacts import find_contact
from hubd.store.database import Database
from hubd.store.importing import import_page
from hubd.store.list_names import list_id, no_such_list
from hubd.store.transaction import Transaction
from hubd.store.unit import Unit, Work

if TYPE_CHECKING:
    from hubd.core.intake import ContactRow

T = TypeVar("T")

#: The campaigns whose files name a list, and whether its contacts are still to become their recipients.
USES = """
SELECT name, state, freeze_to IS NOT NULL AND NOT audience_ready
    OR trigger_list <> '' AND state IN ('running', 'paused', 'failed') AS freezing
FROM campaign
WHERE doomed = 0 AND EXISTS (SELECT 1 FROM json_each(lists) WHERE value = ?) ORDER BY name"""
#: Another name.
RENAME = "UPDATE list SET name = ? WHERE id = ?"
#: The list itself, when nobody is left on it.
REMOVE_LIST = "DELETE FROM list WHERE id = ?"
#: One contact off one list.
LEAVE = "DELETE FROM membership WHERE list_id = ? AND contact_id = ?"
#: The last contact of the next page of a list.
PAGE_END = """
SELECT max(contact_id) FROM (
    SELECT contact_id FROM membership WHERE list_id = ? AND contact_id > ? ORDER BY contact_id LIMIT ?)"""
#: Who of some contacts of a list leaves it: all that the import has not named.
_LEAVERS = """
FROM membership WHERE list_id = :list_id AND contact_id > :after AND contact_id <= :last
    AND NOT EXISTS (SELECT 1 FROM temp.named WHERE import_id = :import_id
                    AND named.contact_id = membership.contact_id)"""
LEAVE_PAGE = f"DELETE {_LEAVERS}"
COUNT_LEAVERS = f"SELECT count(*) {_LEAVERS}"

#: Whom the rows of an import name, and how many rows it had. They live as long as the writer's connection.
MAKE_NAMED = """
CREATE TEMP TABLE IF NOT EXISTS named (
    import_id TEXT, contact_id INTEGER, PRIMARY KEY (import_id, contact_id)) WITHOUT ROWID"""
MAKE_ROWS_NAMED = "CREATE TEMP TABLE IF NOT EXISTS rows_named (import_id TEXT PRIMARY KEY, n INTEGER)"
NAME_CONTACTS = """
INSERT OR IGNORE INTO temp.named (import_id, contact_id)
SELECT :import_id, id FROM contact WHERE email_key IN (SELECT value FROM json_each(:emails))
UNION SELECT :import_id, id FROM contact WHERE phone IN (SELECT value FROM json_each(:phones))"""
#: In a dry run, also contacts to whom a row would bring their email address: [email, phone] for each row.
NAME_COMPLETED = """
INSERT OR IGNORE INTO temp.named (import_id, contact_id)
SELECT :import_id, contact.id FROM json_each(:pairs) AS pair
JOIN contact ON contact.phone = json_extract(pair.value, '$[1]') AND contact.email_key IS NULL
WHERE NOT EXISTS (SELECT 1 FROM contact WHERE email_key = json_extract(pair.value, '$[0]'))"""
COUNT_ROWS = """
INSERT INTO temp.rows_named (import_id, n) VALUES (?, ?)
ON CONFLICT (import_id) DO UPDATE SET n = n + excluded.n"""
ROWS_NAMED = "SELECT n FROM temp.rows_named WHERE import_id = ?"
#: All imports but so many that began last.
BEGAN_EARLIER = "SELECT import_id FROM temp.rows_named ORDER BY rowid DESC LIMIT -1 OFFSET ?"
FORGET_NAMED = "DELETE FROM temp.named WHERE import_id = ?"
FORGET_ROWS = "DELETE FROM temp.rows_named WHERE import_id = ?"

MOST_IMPORTS = 8  #: that are remembered: most end in `ending_trim`, but no dry run does, and no failed one
PAGE = 5_000  #: contacts of a list that are looked at in one unit of work
_EVERYBODY = 2**63 - 1


class _Check(Protocol):
    def __call__(self, db: Transaction, *, first: bool) -> None: ...


class Lists:
    """What changes lists. Each method makes a unit of work, or pages of one."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def adding(self, name: str, row: ContactRow, import_id: str) -> Work[tuple[bool, str]]:
        """Put one contact on a list, new or known: whether anything changed, and the contact's id.

        Raises Conflict ("phone_taken") for a phone number that belongs to somebody else.
        """

        def work(unit: Unit) -> tuple[bool, str]:
            count = import_page(unit, name, [row], import_id, False)
            if count.conflicts:
                raise Conflict(
                    "this phone number belongs to another contact",
                    code="phone_taken",
                    hint="leave it out, or remove the other contact first",
                )
            contact = find_contact(unit.db, row.email_key or row.phone or "")
            return count.unchanged == 0, contact["public_id"]

        return work

    def leaving(self, key: str, name: str) -> Work[bool]:
        """Take a contact off a list: whether it was on it. Raises NotFound for either."""

        def work(unit: Unit) -> bool:
            number = _number(unit.db, name)
            contact = find_contact(unit.db, key)
            left = unit.db.execute(LEAVE, (number, contact["id"])).rowcount == 1
            _tell_left(unit, name, int(left))
            return left

        return work

    def renaming(self, name: str, new: str) -> Work[tuple[str, ...]]:
        """Give a list another name; the campaigns whose files still have the old one.

        Raises NotFound, and Conflict ("list_exists", or "list_in_use" as `free_list` says).
        """

        def work(unit: Unit) -> tuple[str, ...]:
            number = _number(unit.db, name)
            campaigns = free_list(name, _uses(unit.db, name))
            if new == name:
                return ()
            if list_id(unit.db, new) is not None:
                raise Conflict(
                    f"there is a list {new!r} already",
                    code="list_exists",
                    hint="choose another name, or delete that list first",
                )
            unit.db.execute(RENAME, (new, number))
            unit.event("list.renamed", None, {"list": name, "to": new})
            return campaigns

        return work

    def users(self, name: str) -> Work[tuple[str, ...]]:
        """The campaigns whose files name a list; raises Conflict as `renaming`."""
        return lambda unit: free_list(name, _uses(unit.db, name))

    def emptying(self, name: str) -> Pages[Leaving]:
        """Take everybody off a list that is going to be deleted. Raises as `renaming`."""

        def check(db: Transaction, *, first: bool) -> None:
            if first:
                free_list(name, _uses(db, name))

        return self._leaving(name, "", check)

    def deleting(self, name: str, done: Leaving) -> Work[tuple[str, ...]]:
        """Delete a list that is empty now; the campaigns whose files name it."""

        def work(unit: Unit) -> tuple[str, ...]:
            campaigns = free_list(name, _uses(unit.db, name))
            unit.db.execute(REMOVE_LIST, (_number(unit.db, name),))
            unit.event("list.deleted", None, {"list": name, "contacts": done.left})
            return campaigns

        return work

    def trimming(self, name: str, import_id: str, rows: int) -> Pages[Leaving]:
        """Take off a list whoever no row of an import named (see `naming`); it had so many good rows.

        Raises NotFound, and Conflict ("import_incomplete") when not all of them came, as after a restart.
        """

        def check(db: Transaction, *, first: bool) -> None:  # each time: the daemon may be another one
            db.execute(MAKE_ROWS_NAMED)
            found = db.execute(ROWS_NAMED, (import_id,)).fetchone()
            if found is None or found[0] != rows:
                raise Conflict(
                    "hubd has not seen all rows of this import, so nobody was taken off the list",
                    code="import_incomplete",
                    hint="import the same file again",
                )

        return self._leaving(name, import_id, check)

    def ending_trim(self, name: str, import_id: str, done: Leaving) -> Work[None]:
        """Forget the import, and tell."""

        def work(unit: Unit) -> None:
            _forget(unit, import_id)
            _tell_left(unit, name, done.left)

        return work

    def naming(self, work: Work[T], import_id: str, rows: Sequence[ContactRow]) -> Work[T]:
        """The unit of work that imports these rows by `work`, and remembers whom they name."""

        def whole(unit: Unit) -> T:
            value = work(unit)
            _name(unit, import_id, rows)
            return value

        return whole

    async def rehearse(self, import_id: str, rows: Sequence[ContactRow]) -> None:
        """Remember whom the rows of a dry run name."""

        def work(unit: Unit) -> None:
            _name(unit, import_id, rows)
            pairs = [(row.email_key, row.phone) for row in rows if row.email_key and row.phone]
            unit.db.execute(NAME_COMPLETED, {"import_id": import_id, "pairs": json.dumps(pairs)})

        await self._db.write(work, bulk=True)

    def _leaving(self, name: str, import_id: str, check: _Check) -> Pages[Leaving]:
        def plan(db: Transaction) -> Leaving:
            number = _number(db, name)
            check(db, first=True)
            db.execute(MAKE_NAMED)
            at = {"list_id": number, "after": 0, "last": _EVERYBODY, "import_id": import_id}
            return Leaving(left=db.execute(COUNT_LEAVERS, at).fetchone()[0])

        def page(unit: Unit, done: Leaving) -> tuple[Leaving, bool]:
            number = _number(unit.db, name)
            check(unit.db, first=not done.after)
            unit.db.execute(MAKE_NAMED)
            last = unit.db.execute(PAGE_END, (number, done.after, PAGE)).fetchone()[0]
            if last is None:
                return done, True
            at = {"list_id": number, "after": done.after, "last": last, "import_id": import_id}
            left = unit.db.execute(LEAVE_PAGE, at).rowcount
            return Leaving(left=done.left + left, after=last), False

        return Pages(begin=Leaving(), plan=plan, page=page)


def _name(unit: Unit, import_id: str, rows: Sequence[ContactRow]) -> None:
    """Remember which contacts these rows of an import name, once they are imported.

    That is the contact with the row's email address, or the one with its phone number if it has no address.
    """
    unit.db.execute(MAKE_NAMED)
    unit.db.execute(MAKE_ROWS_NAMED)
    emails = [row.email_key for row in rows if row.email_key is not None]
    phones = [row.phone for row in rows if row.email_key is None]
    asked = {"emails": json.dumps(emails), "phones": json.dumps(phones)}
    unit.db.execute(NAME_CONTACTS, {**asked, "import_id": import_id})
    unit.db.execute(COUNT_ROWS, (import_id, len(rows)))
    for (earlier,) in unit.db.execute(BEGAN_EARLIER, (MOST_IMPORTS,)).fetchall():
        _forget(unit, earlier)


def _forget(unit: Unit, import_id: str) -> None:
    unit.db.execute(FORGET_NAMED, (import_id,))
    unit.db.execute(FORGET_ROWS, (import_id,))


def _number(db: Transaction, name: str) -> int:
    number = list_id(db, name)
    if number is None:
        raise no_such_list(name)
    return number


def _uses(db: Transaction, name: str) -> list[ListUse]:
    return [
        ListUse(campaign=row["name"], state=CampaignState(row["state"]), freezing=bool(row["freezing"]))
        for row in db.execute(USES, (name,))
    ]


def _tell_left(unit: Unit, name: str, count: int) -> None:
    if count:
        unit.event("list.left", None, {"list": name, "contacts": count})
