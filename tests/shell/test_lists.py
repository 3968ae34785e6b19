"""Lists get smaller, another name, or go away, and nobody who was on one is forgotten for that."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.bridge import open_bridge
from hubd.client import Client, open_client
from hubd.core.intake import ContactRow
from hubd.errors import BadInput, Conflict, NotFound
from hubd.store import lists
from hubd.store.database import open_database
from hubd.store.lists import Lists
from tests.shell.conftest import Store
from tests.shell.made_database import make_database
from tests.shell.open_hub import Served
from tests.shell.test_methods import apply

PHONE = "+14155550100"


async def import_rows(hub: Client, *addresses: str, into: str = "staff", **more: Any) -> dict[str, Any]:
    """A file of these addresses, in one page. The import is named after the list and the file."""
    rows = [
        {"line": line, "values": {"email" if "@" in address else "phone": address}}
        for line, address in enumerate(addresses, 2)
    ]
    name = f"{into}: {addresses}"
    return await hub.call("contacts.import", list=into, rows=rows, import_id=name, **more)


async def trim(hub: Client, *addresses: str, rows: int | None = None, **more: Any) -> dict[str, Any]:
    """Have the list equal the file that was imported last."""
    return await hub.call(
        "list.trim", name="staff", import_id=f"staff: {addresses}", rows=rows or len(addresses), **more
    )


async def on(hub: Client, name: str | None = "staff") -> list[str]:
    found = (await hub.call("contacts.list", list=name))["contacts"]
    return [each["email"] or each["phone"] for each in found]


async def test_whoever_is_not_in_the_file_leaves_the_list_and_stays_a_contact(served: Served) -> None:
    ann, bob, cat = "ann@example.com", "bob@example.com", "cat@example.com"
    async with open_client(served.path) as hub:
        await import_rows(hub, ann, bob, cat, PHONE)
        await import_rows(hub, cat, into="choir")
        file = ("ANN@example.com", PHONE)
        await import_rows(hub, *file, replace=True, dry_run=True)
        assert await trim(hub, *file, dry_run=True) == {
            "changed": False,
            "removed": 2,
            "would": {"change": True},
        }
        assert await on(hub) == [ann, bob, cat, PHONE]
    async with open_client(served.path) as hub:
        await import_rows(hub, *file, "dan@example.com", replace=True)
        assert await trim(hub, *file, "dan@example.com") == {"changed": True, "removed": 2}
        assert await on(hub) == [ann, PHONE, "dan@example.com"]
        assert await on(hub, "choir") == [cat]
        assert await on(hub, None) == [ann, bob, cat, PHONE, "dan@example.com"]


async def test_nobody_leaves_a_list_because_of_an_import_that_is_not_known_whole(served: Served) -> None:
    """Such as one during which the daemon was restarted, or one without `replace`."""
    file = ("ann@example.com", "bob@example.com")
    async with open_client(served.path) as hub:
        await import_rows(hub, *file, "cat@example.com")
        for rows, replace in ((2, False), (3, True)):
            await import_rows(hub, *file, replace=replace)
            with pytest.raises(Conflict) as refused:
                await trim(hub, *file, rows=rows)
            assert refused.value.code == "import_incomplete"
        assert len(await on(hub)) == 3


async def test_imports_that_nobody_ends_are_forgotten_but_for_the_newest(served: Served) -> None:
    """Dry runs and files that broke off: whom they name takes memory."""
    files = [(f"p{number}@example.com",) for number in range(lists.MOST_IMPORTS + 1)]
    async with open_client(served.path) as hub:
        for file in files:
            await import_rows(hub, *file)
        for file in files:
            await import_rows(hub, *file, replace=True, dry_run=True)
        for table in ("named", "rows_named"):
            count = f"SELECT count(*) FROM temp.{table}"
            kept = await served.database.write(lambda unit, count=count: unit.db.execute(count).fetchone()[0])
            assert kept == lists.MOST_IMPORTS
        with pytest.raises(Conflict):
            await trim(hub, *files[0], dry_run=True)
        assert (await trim(hub, *files[1], dry_run=True))["removed"] == lists.MOST_IMPORTS


#: Addresses of a row: an email address, a phone number, or both.
PEOPLE = [f"p{n}@example.com" for n in range(4)]
PHONES = [f"+1415555010{n}" for n in range(3)]
ROW = st.tuples(st.sampled_from([None, *PEOPLE]), st.sampled_from([None, *PHONES])).filter(any)
FILE = st.lists(ROW, max_size=8)


def rows_of(file: Sequence[tuple[str | None, str | None]]) -> list[ContactRow]:
    return [
        ContactRow(line=line, email=email, email_key=email, phone=phone, fields={})
        for line, (email, phone) in enumerate(file, 2)
    ]


@given(before=FILE, file=FILE.filter(len), page=st.integers(1, 4), dry_run=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_replaced_list_is_what_the_file_alone_would_have_made(
    before: list[tuple[str | None, str | None]],
    file: list[tuple[str | None, str | None]],
    page: int,
    dry_run: bool,
) -> None:
    async def play() -> None:
        make_database(Path(folder) / "hub.db")
        async with open_bridge() as bridge, open_database(Path(folder) / "hub.db", bridge) as db:
            store, changing = Store(db), Lists(db)
            await store.contacts.import_rows("staff", rows_of(before), import_id="before")
            await store.contacts.import_rows("other", rows_of(file), import_id="other")
            foretold = None
            for at in range(0, len(file), page):
                some = rows_of(file[at : at + page])
                if dry_run:
                    await store.contacts.import_rows("staff", some, import_id="trial", dry_run=True)
                    await changing.rehearse("trial", some)
                await db.write(changing.naming(store.contacts.importing("staff", some, "file"), "file", some))
            if dry_run:
                plan = changing.trimming("staff", "trial", len(file)).plan
                foretold = (await db.write(lambda unit: plan(unit.db))).left
            pages, ended = changing.trimming("staff", "file", len(file)), False
            done = pages.begin
            while not ended:
                done, ended = await db.write(lambda unit, done=done: pages.page(unit, done))
            here = {each.id for each in await store.contacts.page("staff")}
            assert here == {each.id for each in await store.contacts.page("other")}
            assert foretold in (None, done.left)

    addresses = [address for row in file for address in row if address]
    dry_run = dry_run and len(addresses) == len(set(addresses))  # else it is not told to the last contact

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "PAGE", 2)
        trio.run(play)


async def test_a_contact_is_taken_off_one_list_and_keeps_what_waits_for_it(served: Served) -> None:
    ann = {"key": "ann@example.com", "list": "staff"}
    async with open_client(served.path) as hub:
        await import_rows(hub, "ann@example.com")
        await apply(hub, subject="Hello", text="Hi", lists=["staff"], rate=["1/day"])
        await hub.call("campaign.start", name="spring", limit=1)
        assert (await hub.call("contacts.remove", **ann, dry_run=True))["would"] == {"change": True}
        assert await hub.call("contacts.remove", **ann) == {"changed": True, "cancelled": 0}
        assert await hub.call("contacts.remove", **ann) == {"changed": False, "cancelled": 0}
        assert await on(hub) == []
        assert await on(hub, None) == ["ann@example.com"]
        for wrong in ({"list": "nowhere"}, {"key": "nobody@example.com"}):
            with pytest.raises(NotFound):
                await hub.call("contacts.remove", **{**ann, **wrong})


async def test_a_list_is_renamed_and_deleted_and_its_contacts_stay(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "PAGE", 2)
    people = [f"p{n}@example.com" for n in range(5)]
    async with open_client(served.path) as hub:
        await import_rows(hub, *people)
        await import_rows(hub, *people[:1], into="choir")
        await apply(hub, subject="Hello", text="Hi", lists=["staff"])
        with pytest.raises(Conflict, match="already"):
            await hub.call("list.rename", name="staff", new="choir")
        with pytest.raises(BadInput, match="letter"):
            await hub.call("list.rename", name="staff", new="*")
        found = await hub.call("list.rename", name="staff", new="team")
        assert found == {"changed": True, "campaigns": ["spring"]}
        assert await on(hub, "team") == people
        foretold = await hub.call("list.delete", name="team", dry_run=True)
        assert (foretold["contacts"], foretold["would"]) == (5, {"change": True})
        assert await hub.call("list.delete", name="team") == {
            "changed": True,
            "contacts": 5,
            "campaigns": [],
        }
        assert [each["name"] for each in (await hub.call("contacts.lists"))["lists"]] == ["choir"]
        assert await on(hub, None) == people
        with pytest.raises(NotFound):
            await hub.call("list.delete", name="team")


async def test_a_list_that_a_scheduled_campaign_will_read_stays_as_it_is(served: Served) -> None:
    async with open_client(served.path) as hub:
        await import_rows(hub, "ann@example.com")
        await apply(hub, subject="Hello", text="Hi", lists=["staff"])
        await hub.call("campaign.schedule", name="spring", at="2999-01-01T00:00:00Z")
        for method, more in (("list.delete", {}), ("list.rename", {"new": "team"})):
            with pytest.raises(Conflict) as refused:
                await hub.call(method, name="staff", **more)
            assert refused.value.code == "list_in_use"
        assert await on(hub) == ["ann@example.com"]
        await hub.call("campaign.unschedule", name="spring")
        assert (await hub.call("list.delete", name="staff"))["campaigns"] == ["spring"]


async def test_one_contact_is_added_or_brought_up_to_date(served: Served) -> None:
    ann = {"list": "staff", "email": "ann@example.com"}
    async with open_client(served.path) as hub:
        foretold = await hub.call("contacts.add", **ann, dry_run=True)
        assert foretold == {"changed": False, "contact_id": "", "would": {"change": True}}
        made = await hub.call("contacts.add", **ann, fields={"city": "Ulm"})
        again = await hub.call("contacts.add", **ann, phone="0151 12345678", region="DE")
        assert (again["changed"], again["contact_id"]) == (True, made["contact_id"])
        assert not (await hub.call("contacts.add", **ann))["changed"]
        contact = (await hub.call("contacts.get", key="ann@example.com"))["contact"]
        assert (contact["fields"], contact["lists"]) == ({"city": "Ulm"}, ["staff"])


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"phone": "12"}, "phone"),
        ({"email": "ann"}, "email"),
        ({"fields": {"timezone": "Nowhere"}}, "timezone"),
        ({"list": "*"}, "list"),
        ({"email": None}, "email"),
        ({"fields": {"marketing_consent": "no"}}, "marketing_consent"),
        ({"phone": "+14155552671", "fields": {"email_opt_out": "yes"}}, "email_opt_out"),
    ],
)
async def test_what_is_wrong_with_one_contact_is_said_and_nothing_of_it_is_taken(
    served: Served, wrong: dict[str, Any], field: str
) -> None:
    """Unlike a row of a file, whose other cells are good for something."""
    async with open_client(served.path) as hub:
        with pytest.raises(BadInput) as refused:
            await hub.call("contacts.add", **{"list": "staff", "email": "ann@example.com", **wrong})
        assert refused.value.data["errors"][0]["path"] == field  # type: ignore[index]
        assert "left out" not in str(refused.value)
        assert "imported" not in str(refused.value)
        assert await on(hub, None) == []


async def test_a_phone_number_of_somebody_else_is_not_taken_for_a_new_contact(served: Served) -> None:
    async with open_client(served.path) as hub:
        await hub.call("contacts.add", list="staff", email="ann@example.com", phone=PHONE)
        with pytest.raises(Conflict, match="another contact"):
            await hub.call("contacts.add", list="staff", email="bob@example.com", phone=PHONE)
        assert await on(hub, None) == ["ann@example.com"]
