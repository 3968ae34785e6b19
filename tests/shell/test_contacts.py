"""Contacts, lists and suppressions in a real database: who is who, and what an import changes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.intake import ContactRow
from hubd.core.model import Channel
from hubd.core.records import Contact, ImportCount
from hubd.errors import NotFound
from hubd.store.database import Database, Unit
from hubd.store.importing import import_page
from hubd.store.opening import migrate
from hubd.store.steady import Moment
from tests.shell.single_units import ContactUnits as Contacts

PHONE = "+14155550100"
OTHER_PHONE = "+14155550101"
SUMS, LINES = ("imported", "updated", "unchanged"), ("duplicates", "conflicts")


def person(line: int, email: str | None = None, phone: str | None = None, **fields: str) -> ContactRow:
    key = email.casefold() if email else None
    return ContactRow(line=line, email=email, email_key=key, phone=phone, fields=fields)


@pytest.fixture
def contacts(database: Database) -> Contacts:
    return Contacts(database)


async def take(
    contacts: Contacts, rows: Sequence[ContactRow], import_id: str = "first", *, dry_run: bool = False
) -> ImportCount:
    return await contacts.import_rows("customers", rows, import_id=import_id, dry_run=dry_run)


def told(contact: Contact) -> dict[str, object]:
    return {"email": contact.email, "phone": contact.phone, **contact.fields}


async def everybody(contacts: Contacts) -> list[dict[str, object]]:
    return [told(contact) for contact in await contacts.page()]


async def test_the_same_file_twice_changes_nothing(contacts: Contacts) -> None:
    rows = [person(n, f"p{n}@example.com", first_name=f"P{n}") for n in range(2, 12)]
    assert await take(contacts, rows) == ImportCount(imported=10)
    before = await contacts.page()
    assert await take(contacts, rows, "second") == ImportCount(unchanged=10)
    assert await contacts.page() == before


async def test_the_first_row_of_an_address_wins_within_one_file_also_across_pages(contacts: Contacts) -> None:
    first = await take(contacts, [person(2, "Ann@example.com", a="1"), person(3, "ann@EXAMPLE.com", a="2")])
    assert first == ImportCount(imported=1, duplicates=(3,))
    assert await take(contacts, [person(4, "ANN@example.com", a="3")]) == ImportCount(duplicates=(4,))
    assert await everybody(contacts) == [{"email": "Ann@example.com", "phone": None, "a": "1"}]


async def test_a_row_that_stays_unchanged_still_makes_the_next_one_a_duplicate(contacts: Contacts) -> None:
    await take(contacts, [person(2, "ann@example.com", a="1")])
    count = await take(
        contacts, [person(2, "ann@example.com"), person(3, "ann@example.com", a="9")], "second"
    )
    assert count == ImportCount(unchanged=1, duplicates=(3,))


async def test_a_later_file_updates_and_keeps_the_fields_that_it_lacks(contacts: Contacts) -> None:
    await take(contacts, [person(2, "ann@example.com", PHONE, city="Rome", plan="basic")])
    count = await take(contacts, [person(2, "ann@example.com", None, plan="gold")], "second")
    assert count == ImportCount(updated=1)
    assert await everybody(contacts) == [
        {"email": "ann@example.com", "phone": PHONE, "city": "Rome", "plan": "gold"}
    ]


async def test_phone_only_and_email_only_contacts_live_together(contacts: Contacts) -> None:
    rows = [person(2, "ann@example.com"), person(3, None, PHONE), person(4, None, PHONE)]
    assert await take(contacts, rows) == ImportCount(imported=2, duplicates=(4,))


async def test_a_phone_only_contact_gets_its_email_address(contacts: Contacts) -> None:
    await take(contacts, [person(2, None, PHONE, a="1")])
    assert await take(contacts, [person(2, "ann@example.com", PHONE)], "second") == ImportCount(updated=1)
    assert await everybody(contacts) == [{"email": "ann@example.com", "phone": PHONE, "a": "1"}]


async def test_an_email_address_is_not_lost_when_its_phone_came_first_in_the_same_file(
    contacts: Contacts,
) -> None:
    count = await take(contacts, [person(2, None, PHONE), person(3, "ann@example.com", PHONE)])
    assert (count.imported, count.updated, count.duplicates) == (1, 1, ())
    assert await everybody(contacts) == [{"email": "ann@example.com", "phone": PHONE}]


async def test_a_row_that_is_one_contact_by_email_and_another_by_phone_leaves_the_phone_alone(
    contacts: Contacts,
) -> None:
    await take(contacts, [person(2, "ann@example.com"), person(3, None, PHONE)])
    count = await take(contacts, [person(2, "ann@example.com", PHONE, a="1")], "second")
    assert count == ImportCount(updated=1, conflicts=(2,))
    assert await everybody(contacts) == [
        {"email": "ann@example.com", "phone": None, "a": "1"},
        {"email": None, "phone": PHONE},
    ]


async def test_two_people_who_share_a_phone_are_two_contacts(contacts: Contacts) -> None:
    rows = [person(2, "ann@example.com", PHONE), person(3, "bob@example.com", PHONE)]
    assert await take(contacts, rows, dry_run=True) == ImportCount(imported=2, conflicts=(3,))
    assert await take(contacts, rows) == ImportCount(imported=2, conflicts=(3,))
    assert await take(contacts, rows, "second") == ImportCount(unchanged=2, conflicts=(3,))
    assert [entry["phone"] for entry in await everybody(contacts)] == [PHONE, None]


async def test_a_new_phone_number_replaces_the_old_one(contacts: Contacts) -> None:
    await take(contacts, [person(2, "ann@example.com", PHONE)])
    assert (await take(contacts, [person(2, "ann@example.com", OTHER_PHONE)], "second")).updated == 1
    assert (await contacts.get(OTHER_PHONE)).email == "ann@example.com"


async def test_a_dry_run_counts_the_same_and_keeps_nothing(contacts: Contacts) -> None:
    await take(contacts, [person(2, "old@example.com", a="1"), person(3, "same@example.com", a="1")])
    before = await contacts.page()
    first = [person(2, "old@example.com", a="2"), person(3, "same@example.com"), person(4, "new@example.com")]
    second = [person(5, "NEW@example.com"), person(6, "other@example.com"), person(7, "other@example.com")]
    pages = [await take(contacts, page, "try", dry_run=True) for page in (first, second)]
    assert pages == [
        ImportCount(imported=1, updated=1, unchanged=1),
        ImportCount(imported=1, duplicates=(5, 7)),
    ]
    assert await contacts.page() == before
    assert [await take(contacts, page, "real") for page in (first, second)] == pages


async def test_a_dry_run_makes_no_list(contacts: Contacts) -> None:
    await take(contacts, [person(2, "ann@example.com")], dry_run=True)
    assert await contacts.lists() == []


async def test_a_contact_of_another_list_counts_as_updated_when_it_joins(contacts: Contacts) -> None:
    rows = [person(2, "ann@example.com")]
    await take(contacts, rows)
    assert await contacts.import_rows("vip", rows, import_id="second") == ImportCount(updated=1)
    assert [(entry.name, entry.contacts) for entry in await contacts.lists()] == [
        ("customers", 1),
        ("vip", 1),
    ]
    assert (await contacts.get("ann@example.com")).lists == ("customers", "vip")


async def test_pages_follow_the_cursor(contacts: Contacts) -> None:
    await take(contacts, [person(n, f"p{n}@example.com") for n in range(10)])
    seen: list[str | None] = []
    after = 0
    while page := await contacts.page("customers", after, limit=3):
        seen += [contact.email for contact in page]
        after = page[-1].id
    assert seen == [f"p{n}@example.com" for n in range(10)]


async def test_a_contact_is_found_by_any_of_its_names(contacts: Contacts) -> None:
    await take(contacts, [person(2, "Ann@example.com", PHONE)])
    by_email = await contacts.get("ANN@example.com")
    assert await contacts.get(PHONE) == by_email
    assert await contacts.get(by_email.contact_id) == by_email
    assert len(by_email.contact_id) == 16


async def test_what_is_not_there_is_not_found(contacts: Contacts) -> None:
    for call in (contacts.get("nobody@example.com"), contacts.remove("nobody@example.com")):
        with pytest.raises(NotFound) as caught:
            await call
        assert (caught.value.code, "nobody" in str(caught.value)) == ("contact_not_found", False)
    with pytest.raises(NotFound) as caught:
        await contacts.page("nowhere")
    assert caught.value.code == "list_not_found"


async def test_a_removed_contact_leaves_its_lists_and_stays_suppressed(contacts: Contacts) -> None:
    await take(contacts, [person(2, "ann@example.com")])
    await contacts.suppress(Channel.EMAIL, "ann@example.com", "opted_out", "operator")
    await contacts.remove("ann@example.com")
    assert [entry.contacts for entry in await contacts.lists()] == [0]
    assert [entry.address for entry in await contacts.suppressions()] == ["ann@example.com"]


async def test_the_first_reason_of_a_suppression_stays(contacts: Contacts) -> None:
    assert await contacts.suppress(Channel.EMAIL, "a@example.com", "opted_out", "operator")
    assert not await contacts.suppress(Channel.EMAIL, "a@example.com", "mailbox_unknown", "campaign x")
    assert [entry.reason for entry in await contacts.suppressions(Channel.EMAIL)] == ["opted_out"]
    assert await contacts.unsuppress(Channel.EMAIL, "a@example.com")
    assert not await contacts.unsuppress(Channel.EMAIL, "a@example.com")


async def test_every_contact_of_a_page_has_an_id_of_its_own(contacts: Contacts) -> None:
    await take(contacts, [person(n, f"p{n}@example.com") for n in range(600)])
    names = {found.contact_id for found in await contacts.page(limit=600)}
    assert len(names) == 600
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in names)
    assert len({name[2:6] for name in names}) > 500, "all but the first two digits are random"


async def test_suppressions_are_paged_and_by_channel(contacts: Contacts) -> None:
    for n in range(5):
        await contacts.suppress(Channel.EMAIL, f"p{n}@example.com", "asked", "operator")
    await contacts.suppress(Channel.SMS, PHONE, "asked", "operator")
    assert [entry.address for entry in await contacts.suppressions(Channel.SMS)] == [PHONE]
    seen: list[str] = []
    after = ("", "")
    while page := await contacts.suppressions(after=after, limit=2):
        seen += [entry.address for entry in page]
        after = (page[-1].channel.value, page[-1].address)
    assert seen == [*(f"p{n}@example.com" for n in range(5)), PHONE]


ROWS = st.builds(
    person,
    st.just(0),
    st.sampled_from([None, "ann@example.com", "bob@example.com", "eve@example.com"]),
    st.sampled_from([None, PHONE, OTHER_PHONE, "+14155550102"]),
    a=st.sampled_from(["1", "2"]),
).filter(lambda row: bool(row.email or row.phone))


@cache
def empty() -> bytes:
    """A database with all tables and no row: two are needed for each example."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        return db.serialize()


@settings(max_examples=100)
@given(before=st.lists(ROWS, max_size=4), page=st.lists(ROWS, max_size=8))
def test_a_page_is_taken_as_its_rows_one_by_one(before: list[ContactRow], page: list[ContactRow]) -> None:
    def outcome(size: int) -> tuple[list[object], list[object]]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.deserialize(empty())
            db.execute("PRAGMA foreign_keys = ON")
            unit = Unit(db, Moment(0.0, 0.0))
            rows = [msgspec.structs.replace(row, line=n) for n, row in enumerate(page)]
            import_page(unit, "friends", before, "before", dry_run=False)
            counts = [
                import_page(unit, "customers", rows[n : n + size], "one", dry_run=False)
                for n in range(0, len(rows), size)
            ]
            found = db.execute(
                "SELECT id, email, email_key, phone, fields FROM contact ORDER BY id"
            ).fetchall()
            members = db.execute("SELECT list_id, contact_id FROM membership ORDER BY id").fetchall()
        sums = [sum(getattr(count, name) for count in counts) for name in SUMS]
        lines = [[n for count in counts for n in getattr(count, name)] for name in LINES]
        return [*sums, *lines], [tuple(row) for row in [*found, *members]]

    assert outcome(100) == outcome(1)
