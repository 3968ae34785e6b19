"""What is removed again: who is forgotten, old history, and what nobody has any more. Figures stay."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubd.client import Client, open_client
from hubd.config.file import load_config
from hubd.config.reload import Reloader
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.model import CampaignState, Channel, DeliveryState
from hubd.core.records import Finding
from hubd.core.tokens import Purpose, Tokens
from hubd.errors import BadInput, NotFound
from hubd.providers.outbox.erasing import erase_messages
from hubd.store import retention
from hubd.store.database import Database
from hubd.store.erasures import waiting
from hubd.store.forgetting import erase
from hubd.store.inbox import Inbox
from hubd.store.integrity import IntegrityCheck
from hubd.store.notices import Notices
from hubd.store.retention import Retention, thin
from hubd.upkeep import erase_files, retention_of, tidy_hourly
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.open_hub import PERSONAL, PLAIN, Served, one_off_messages_sent
from tests.shell.test_paying import until

WORDS = {
    "sender": "Acme <hello@acme.example>",
    "subject": "Code",
    "text": "Your code is tangerine, {{ first_name }}.",
}
DAY = 86_400.0
#: As of a receipt that comes at this time.
RECEIVED = "UPDATE delivery SET updated_at = ? WHERE id = ?"


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        rows = [
            {"line": n, "values": {"email": f"{name}@example.com", "first_name": name.title()}}
            for n, name in enumerate(("ann", "bob"))
        ]
        await hub.call("contacts.import", list="customers", rows=rows, import_id="1")
        yield hub


def texts(database: Database) -> str:
    """Everything that the tables hold."""
    with closing(sqlite3.connect(f"file:{database.path}?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return "\n".join(repr(row) for name in tables for row in db.execute(f"SELECT * FROM {name}"))


async def send_all(served: Served, hub: Client) -> None:
    """A campaign to both, and a one-off message to Ann."""
    await hub.call("campaign.apply", spec=PERSONAL)
    await hub.call("campaign.start", name="spring")
    await until(hub, "spring", "completed")
    await hub.call("message.send", provider="outbox", to="ann@example.com", **WORDS)
    await one_off_messages_sent(hub)


async def healthy(hub: Client) -> None:
    checks = (await hub.call("hub.check"))["checks"]
    assert all(each["ok"] for each in checks if each["check"] != "anchor"), checks


async def test_a_person_is_forgotten_everywhere_and_stays_suppressed(served: Served, hub: Client) -> None:
    await send_all(served, hub)
    await hub.call("suppression.add", channel="email", address="Ann@example.com", reason="opted_out")
    would = await hub.call("contacts.forget", key="ann@example.com", dry_run=True)
    assert (would["would"], would["messages"]) == ({"change": True}, 2)
    assert "ann@example.com" in texts(served.database)
    done = await hub.call("contacts.forget", key="ANN@example.com")
    assert (done["contact"], done["messages"], done["cancelled"]) == (True, 2, 0)
    left = texts(served.database)
    assert "ann@example.com" not in left.lower()
    assert "tangerine" not in left
    assert "Ann" not in left
    counts = (await hub.call("campaign.get", name="spring"))["campaign"]["counts"]
    assert (counts["total"], counts["sent"]) == (2, 2)
    await healthy(hub)
    with pytest.raises(NotFound):
        await hub.call("contacts.get", key="ann@example.com")
    assert (await hub.call("suppression.list"))["suppressions"] == []
    await hub.call("contacts.add", list="customers", email="ann@example.com")
    assert (await hub.call("suppression.list"))["suppressions"][0]["address"] == "ann@example.com"
    assert not (await hub.call("contacts.forget", key="nobody@example.com"))["changed"]
    await hub.call("suppression.add", channel="email", address="cho@example.com", reason="opted_out")
    for changed in (True, False):
        assert (await hub.call("contacts.forget", key="cho@example.com"))["changed"] is changed


async def reply(database: Database, delivery: int, address: str) -> None:
    """Somebody answers a message, from any address."""
    tokens = Tokens(database.install_key)
    about = Reference(token=tokens.of(Purpose.BOUNCE, delivery), address=address)
    item = Item(
        key="1",
        kind=ItemKind.REPLY,
        at=1_000.0,
        about=about,
        sender=f"Ann <{address}>",
        subject="Re: Code",
        text="Please call 555 0100.",
    )
    await Inbox(database, tokens).book("mailbox office", [item], "1")


async def test_what_a_forgotten_person_wrote_from_another_address_goes_too(
    served: Served, hub: Client
) -> None:
    await send_all(served, hub)
    await reply(served.database, 1, "ann@home.example")
    await hub.call("inbox.reply", id=1, text="We shall ring at nine.")
    await one_off_messages_sent(hub)
    known = texts(served.database)
    assert "555 0100" in known
    assert "at nine" in known
    await hub.call("contacts.forget", key="ann@example.com")
    left = texts(served.database)
    assert "555 0100" not in left
    assert "at nine" not in left
    assert "ann@home.example" not in left


async def test_a_forgotten_address_that_is_allowed_again_stays_allowed(served: Served, hub: Client) -> None:
    address = {"channel": "email", "address": "ann@example.com"}
    for returns_first in (True, False):
        await hub.call("suppression.add", **address, reason="opted_out")
        await hub.call("contacts.forget", key="ann@example.com")
        if returns_first:
            await hub.call("contacts.add", list="customers", email="ann@example.com")
        assert (await hub.call("suppression.remove", **address))["changed"]
        assert not (await hub.call("suppression.remove", **address))["changed"]
        await hub.call("contacts.add", list="customers", email="ann@example.com")
        assert (await hub.call("suppression.list"))["suppressions"] == []


async def test_the_files_of_who_is_forgotten_go_and_those_of_others_stay(
    served: Served, hub: Client, tmp_path: Path
) -> None:
    await send_all(served, hub)
    await hub.call("contacts.forget", key="ann@example.com")
    for each in await waiting(served.database):
        for _ in range(2):
            erase_messages(tmp_path / "outbox", each.campaign, [(each.first, each.last)])
    written = b"".join(path.read_bytes() for path in (tmp_path / "outbox").rglob("*") if path.is_file())
    assert b"ann@example.com" not in written
    assert b"Hi Bob" in written
    assert b'"bob@example.com"' in written
    await hub.call("message.send", provider="outbox", to="bob@example.com", **WORDS)
    await hub.call("campaign.delete", name="spring")
    for each in await waiting(served.database):
        erase_messages(tmp_path / "outbox", each.campaign, [(each.first, each.last)])
    assert not (tmp_path / "outbox" / "spring").exists()


async def test_the_file_of_a_message_that_is_being_sent_goes_once_it_is_written(store: Store) -> None:
    """Were it looked for before, it would be written afterwards and stay."""
    campaign = await store.running("ann", "bob")
    ann, bob = await store.ids(campaign)
    await store.ledger.record([open_entry(ann), open_entry(bob)])
    await store.db.write(store.contacts.forgetting("ann@example.com", ["ann@example.com"]))
    assert await waiting(store.db) == []
    await store.ledger.record([close_entry(ann)])
    (found,) = await waiting(store.db)
    assert (found.campaign, found.first, found.last) == (campaign.name, ann, ann)


async def test_files_go_although_nothing_else_happens(
    database: Database, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    file = tmp_path / "outbox" / "spring" / "1.eml"
    file.parent.mkdir(parents=True)
    file.touch()
    gone = "INSERT INTO erasure (campaign, first, last) VALUES ('spring', 1, 1)"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(erase_files, database, tmp_path)
        for _ in range(2_000):  # until it has looked and waits
            await trio.sleep(1)
        await database.write(lambda unit: unit.db.execute(gone))
        for _ in range(100_000):
            if not file.exists():
                break
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert not file.exists()


async def test_a_removed_contact_keeps_its_place_in_campaigns_and_no_one_off_message(
    served: Served, hub: Client
) -> None:
    await send_all(served, hub)
    await hub.call("contacts.remove", key="ann@example.com")
    (message,) = (await hub.call("message.list"))["messages"]
    assert (message["recipient"], message["subject"], message["state"]) == ("", "", "sent")
    life = await hub.call("delivery.get", id=message["id"])
    assert life["content"] is None
    listed = (await hub.call("delivery.list", campaign="spring"))["deliveries"]
    assert [each["recipient"] for each in listed] == ["ann@example.com", "bob@example.com"]
    assert "tangerine" not in texts(served.database)


async def attach(hub: Client, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    part = b64encode(data).decode()
    await hub.call("campaign.attach", sha256=digest, offset=0, data=part, size=len(data))
    return {"name": "a.bin", "type": "application/octet-stream", "sha256": digest, "size": len(data)}


async def test_what_only_a_deleted_campaign_had_is_removed(served: Served, hub: Client) -> None:
    shared, own = await attach(hub, b"shared file"), await attach(hub, b"own file")
    same = {"subject": "Same words", "attachments": [shared]}
    await hub.call("campaign.apply", spec=PLAIN | same)
    await hub.call("campaign.clone", name="spring", new="copy")
    await hub.call(
        "campaign.apply", spec=PLAIN | {"name": "other", "subject": "Own words", "attachments": [shared, own]}
    )
    await hub.call("campaign.delete", name="other")
    left = texts(served.database)
    assert "Own words" not in left
    assert "own file" not in left
    assert "shared file" in left
    await hub.call("campaign.delete", name="spring")
    assert "Same words" in texts(served.database)
    await hub.call("campaign.delete", name="copy")
    left = texts(served.database)
    assert "Same words" not in left
    assert "shared file" not in left


async def test_old_history_is_thinned_page_by_page_and_the_figures_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    people = [f"p{n}" for n in range(5)]
    campaign = await store.running(*people)
    ids = await store.ids(campaign)
    for number in ids:
        await store.ledger.record([open_entry(number)])
        await store.ledger.record([close_entry(number, DeliveryState.SENT)])
    await reply(store.db, ids[0], "p0@home.example")
    await store.move(campaign, CampaignState.COMPLETED)
    young = await store.running(*people, name="young")
    ended = (await store.campaigns.by_id(campaign.id)).completed_at
    assert ended is not None
    kept = Retention(content=90 * DAY, deliveries=730 * DAY)
    assert await thin(store.db, kept, ended + 80 * DAY) == 0
    assert await thin(store.db, kept, ended + 91 * DAY) == 5
    assert await thin(store.db, kept, ended + 92 * DAY) == 0
    rows = await store.ledger.deliveries(campaign.id)
    assert [row.recipient for row in rows] == [f"{name}@example.com" for name in people]
    assert {(await store.ledger.message(number)).fields == {} for number in ids} == {True}
    assert await thin(store.db, kept, ended + 731 * DAY) == 5
    assert {row.recipient for row in await store.ledger.deliveries(campaign.id)} == {""}
    assert "p0@home.example" not in texts(store.db)
    assert "p0@example.com" in {row.recipient for row in await store.ledger.deliveries(young.id)}
    for each in (campaign, young):
        await store.check_counters(each)
    events = await store.events.page(0, 1000)
    await thin(store.db, Retention(events=DAY), events[-1].at + 2 * DAY)
    assert len(await store.events.page(0, 1000)) <= 1


async def test_what_a_campaign_sends_after_it_was_thinned_is_thinned_too(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    ids = await store.ids(campaign)
    for number, state in zip(ids, (CampaignState.FAILED, CampaignState.COMPLETED), strict=True):
        await store.ledger.record([open_entry(number)])
        await store.ledger.record([close_entry(number, DeliveryState.SENT)])
        ended = (await store.move(campaign, state)).updated_at
        await thin(store.db, Retention(content=DAY), ended + 2 * DAY)
        assert (await store.ledger.message(number)).fields == {}
        await store.move(campaign, CampaignState.RUNNING)


async def test_one_off_messages_are_erased_when_they_are_old(served: Served, hub: Client) -> None:
    await hub.call("message.send", provider="outbox", to="ann@example.com", **WORDS)
    await one_off_messages_sent(hub)
    newest = "SELECT max(updated_at) FROM delivery"
    sent = await served.database.read(lambda db: float(db.execute(newest).fetchone()[0]))
    kept = Retention(content=DAY, deliveries=2 * DAY)
    assert await thin(served.database, kept, sent + DAY - 1) == 0
    assert "tangerine" in texts(served.database)
    assert await thin(served.database, kept, sent + DAY + 1) == 1
    assert "tangerine" not in texts(served.database)
    assert [each["recipient"] for each in (await hub.call("message.list"))["messages"]] == ["ann@example.com"]
    assert await thin(served.database, kept, sent + 2 * DAY + 1) == 1
    assert [each["recipient"] for each in (await hub.call("message.list"))["messages"]] == [""]


async def test_what_is_in_doubt_is_kept_and_what_came_back_lately_waits(store: Store) -> None:
    campaign = await store.running("ann", "bob", "cyd")
    ann, bob, cyd = await store.ids(campaign)
    await store.ledger.record([open_entry(number) for number in (ann, bob, cyd)])
    said = close_entry(ann, provider_reply="250 queued for A. Smith", detail="for A. Smith")
    await store.ledger.record([said, close_entry(bob, DeliveryState.IN_DOUBT), close_entry(cyd)])
    await store.move(campaign, CampaignState.COMPLETED)
    ended = (await store.campaigns.by_id(campaign.id)).completed_at
    assert ended is not None
    later = ended + 100 * DAY
    await store.db.write(lambda unit: unit.db.execute(RECEIVED, (later, cyd)))
    assert await thin(store.db, Retention(content=DAY, deliveries=DAY), later) == 4
    rows = await store.ledger.deliveries(campaign.id)
    assert [row.recipient for row in rows] == ["", "bob@example.com", "cyd@example.com"]
    fields = [(await store.ledger.message(number)).fields for number in (ann, bob, cyd)]
    assert [bool(each) for each in fields] == [False, True, True]
    assert "Smith" not in texts(store.db)


async def test_a_campaign_that_never_ends_is_thinned_by_the_age_of_each_message(store: Store) -> None:
    campaign = await store.running("ann", "bob", "cyd", "dan")
    never_ends = "UPDATE campaign SET trigger_list = 'customers' WHERE id = ?"
    await store.db.write(lambda unit: unit.db.execute(never_ends, (campaign.id,)))
    ann, bob, cyd, dan = await store.ids(campaign)
    await store.ledger.record([open_entry(number) for number in (ann, bob, cyd)])
    await store.ledger.record([close_entry(ann), close_entry(bob, DeliveryState.IN_DOUBT), close_entry(cyd)])
    sent, kept = 1_000_000.0, Retention(content=DAY, deliveries=DAY)

    async def age(*numbers: int) -> None:
        rows = [(sent, number) for number in numbers]
        await store.db.write(lambda unit: unit.db.executemany(RECEIVED, rows))

    await age(ann, bob, cyd, dan)

    async def known() -> list[bool]:
        return [bool(row.recipient) for row in await store.ledger.deliveries(campaign.id)]

    await thin(store.db, kept, sent + DAY - 1)
    assert await known() == [True] * 4
    await thin(store.db, kept, sent + DAY + 1)
    assert await known() == [False, True, False, True], "who waits or is in doubt is kept, and blocks nobody"
    await store.ledger.record([open_entry(dan)])
    await store.ledger.record([close_entry(dan)])
    await store.ledger.resolve_doubt(campaign.id, "sent")
    await thin(store.db, kept, sent + DAY + 1)
    assert await known() == [False, True, False, False], "the time since the decision counts"
    await age(bob)
    await thin(store.db, kept, sent + DAY + 1)
    assert await known() == [False] * 4
    await store.check_counters(campaign)


async def test_what_comes_back_late_and_what_fits_no_message_is_thinned_too(store: Store) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.ledger.record([open_entry(ann)])
    await store.ledger.record([close_entry(ann)])
    await store.move(campaign, CampaignState.COMPLETED)
    ended = (await store.campaigns.by_id(campaign.id)).completed_at
    assert ended is not None
    kept = Retention(deliveries=DAY)
    await thin(store.db, kept, ended + 2 * DAY)
    await reply(store.db, ann, "ann@home.example")
    stray = Item(
        key="2",
        kind=ItemKind.REPLY,
        at=1_000.0,
        about=Reference(address="eve@home.example"),
        sender="Eve <eve@home.example>",
        text="Who are you?",
    )
    unsure = replace(stray, key="3", text="Please stop writing to my brother")
    await Inbox(store.db, Tokens(store.db.install_key)).book("mailbox office", [stray, unsure], "2")
    waits = "SELECT count(*) FROM inbox WHERE decision = 'waiting'"
    assert await store.db.read(lambda db: db.execute(waits).fetchone()[0]) == 1
    await thin(store.db, kept, ended + 30 * DAY)
    assert "Who are you" in texts(store.db), "a mail may be read again for a month, and is to be known then"
    await thin(store.db, kept, ended + 40 * DAY)
    left = texts(store.db)
    assert ("555 0100" in left, "Who are you" in left, "my brother" in left) == (False, False, True)
    decide = "UPDATE inbox SET decision = 'continue', decided_at = ? WHERE decision = 'waiting'"
    await store.db.write(lambda unit: unit.db.execute(decide, (ended,)))
    await thin(store.db, kept, ended + 40 * DAY)
    assert "my brother" not in texts(store.db)
    assert await store.db.read(lambda db: db.execute("SELECT count(*) FROM inbox").fetchone()[0]) == 1


async def test_notifications_go_with_the_events_that_they_tell_of(store: Store) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.ledger.record([open_entry(ann)])
    await store.ledger.record([close_entry(ann)])
    await store.move(campaign, CampaignState.COMPLETED)
    notices = Notices(store.db)
    found, _ = await notices.page(unread=True, before=0, limit=10)
    assert [each.about for each in found] == [campaign.name]
    kept, later = Retention(events=DAY), found[0].at + 2 * DAY
    await thin(store.db, kept, later)
    assert (await notices.page(unread=True, before=0, limit=10))[1] == 1, "an email has still to tell it"
    await notices.settle([found[0].id])
    await thin(store.db, kept, later)
    assert await notices.page(unread=False, before=0, limit=10) == ([], 0)


async def test_nobody_is_tried_again_who_was_erased(store: Store) -> None:
    """Nor one whose fields are gone: nothing could be written to them."""
    campaign = await store.running("ann", "bob", "cleo")
    everybody = await store.ids(campaign)
    await store.ledger.record([open_entry(number) for number in everybody])
    await store.ledger.record([close_entry(number, DeliveryState.FAILED) for number in everybody])
    await store.db.write(lambda unit: erase(unit, [everybody[0]]))
    emptied = "UPDATE delivery SET fields = '{}' WHERE id = ?"
    await store.db.write(lambda unit: unit.db.execute(emptied, (everybody[2],)))
    assert await store.ledger.requeue(campaign.id, "all") == 1
    assert await store.states(campaign) == [
        DeliveryState.FAILED,
        DeliveryState.PENDING,
        DeliveryState.FAILED,
    ]


async def test_an_entry_of_a_providers_list_is_known_for_as_long_as_the_list_is_read(store: Store) -> None:
    entry = Item(
        key="list/1",
        kind=ItemKind.OPT_OUT,
        at=1_000.0,
        about=Reference(address="+353871234567", channel=Channel.SMS),
        of_list=True,
    )
    inbox = Inbox(store.db, Tokens(store.db.install_key))
    now = time.time()
    await inbox.book("provider text", [entry], "1")
    events = await store.db.read(lambda db: db.execute("SELECT count(*) FROM event").fetchone()[0])
    await thin(store.db, Retention(deliveries=DAY), now + 100 * DAY)
    addresses = "SELECT address_key FROM inbox"
    assert await store.db.read(lambda db: db.execute(addresses).fetchone()[0]) == ""
    await inbox.book("provider text", [entry], "2")
    assert await store.db.read(lambda db: db.execute("SELECT count(*) FROM event").fetchone()[0]) == events


def test_how_long_history_is_kept_is_read_and_judged(tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text('[retention]\ndeliveries = "2 years"\ncontent = "90 days"\n')
    found = load_config(path).retention
    assert found.seconds("deliveries") == 2 * 365 * DAY
    assert (found.seconds("content"), found.seconds("events")) == (90 * DAY, None)
    path.write_text('[retention]\ndeliveries = "1 hour"\ncontent = "long"\nevent = "1 year"\n')
    with pytest.raises(BadInput) as caught:
        load_config(path)
    errors: Any = caught.value.data["errors"]
    assert {each["path"] for each in errors} == {
        "retention.deliveries",
        "retention.content",
        "retention.event",
    }


async def test_a_reload_that_first_says_how_long_has_it_done_at_once(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.touch()
    await store.db.write(lambda unit: unit.event("test", None, {}))
    long_ago = store.db.steady() - 400 * DAY
    await store.db.write(lambda unit: unit.db.execute("UPDATE event SET at = ?", (long_ago,)))

    async def apply(_: object) -> list[str]:
        await trio.lowlevel.checkpoint()
        return []

    async def add(*_: object) -> None:
        await trio.lowlevel.checkpoint()

    async def late() -> bool:
        kept = retention_of(reload)
        return bool(await store.db.read(lambda db: retention.overdue(db, kept, store.db.steady())))

    reload = Reloader(load_config(path), find=lambda: path, expected=path, options={}, apply=apply, add=add)
    path.write_text('[retention]\nevents = "1 year"\n')
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tidy_hourly, store.db, reload)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await store.db.read(lambda db: db.execute("SELECT count(*) FROM event").fetchone()[0])
        await reload()
        with trio.fail_after(30):
            while await late():  # noqa: ASYNC110 - what is removed is no event
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_doctor_says_what_is_kept_too_long_and_how_much_of_the_file_is_empty(store: Store) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.ledger.record([open_entry(ann)])
    await store.ledger.record([close_entry(ann)])
    await store.move(campaign, CampaignState.COMPLETED)
    long_ago = store.db.steady() - 400 * DAY
    for statement in ("UPDATE campaign SET completed_at = ?", RECEIVED.replace("WHERE id = ?", "")):
        await store.db.write(lambda unit, one=statement: unit.db.execute(one, (long_ago,)))

    async def finding(check: str, kept: Retention) -> Finding:
        findings = await IntegrityCheck(store.db, lambda: kept).examine(lambda: ())
        return next(each for each in findings if each.check == check)

    kept = Retention(deliveries=365 * DAY)
    late = await finding("history", kept)
    assert (late.ok, late.found) == (False, "some history is kept 35 days longer than [retention] allows")
    await thin(store.db, kept, store.db.steady())
    assert (await finding("history", kept)).found == "nothing is kept longer than [retention] allows"
    assert (await finding("history", Retention(events=DAY))).ok
    await store.db.write(lambda unit: unit.db.execute("UPDATE event SET at = ?", (long_ago,)))
    assert not (await finding("history", Retention(events=DAY))).ok
    assert (await finding("history", Retention())).ok
    await thin(store.db, Retention(events=DAY), store.db.steady())
    assert (await finding("history", Retention(events=DAY))).ok, "also when no event is left"
    assert (await finding("space", kept)).found == "0 of 0 MiB of the database file are unused"
