"""Numbers follow the commits, counters are kept by node, and a file of before has both afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hubd.bridge import Bridge
from hubd.core.intake import ContactRow
from hubd.core.model import CampaignState, DeliveryState
from hubd.errors import BadInput
from hubd.store.batch import run_batch
from hubd.store.connection import open_plain
from hubd.store.database import Database, open_database
from hubd.store.opening import migrate, migrations
from hubd.store.rollup import count_pending
from hubd.store.steady import Moment
from hubd.store.transaction import Transaction, newest
from hubd.store.unit import NODE, Unit
from hubd.store.usage import Usage, tidy_usage
from hubd.store.watermark import watermark_of
from tests.shell.conftest import Store, close_entry, open_entry

D = DeliveryState
BEFORE = 11  #: the newest version without nodes
NUMBERED = ("contact", "membership", "event")


# --- numbers ------------------------------------------------------------------------------------


async def numbers(database: Database) -> list[int]:
    return await database.read(lambda db: [newest(db, table) for table in NUMBERED])


async def test_the_newest_number_is_known_although_its_row_is_gone(store: Store) -> None:
    await store.people("ann", "bob")
    (_, last) = await store.contacts.page()
    before = await numbers(store.db)
    assert before == [last.id, 2, store.db.head_seq]
    await store.contacts.remove(last.contact_id)
    await store.events.prune(0)
    await store.people("cyd")
    (_, new) = await store.contacts.page()
    assert new.id == last.id + 1
    members = await store.db.read(lambda db: db.execute("SELECT id FROM membership").fetchall())
    assert [row[0] for row in members] == [1, 3]
    assert (await numbers(store.db))[:2] == [last.id + 1, 3]


async def test_a_dry_run_of_an_import_takes_no_number(store: Store) -> None:
    await store.people("ann")
    before = await numbers(store.db)
    row = ContactRow(line=1, email="bob@example.com", email_key="bob@example.com", phone=None, fields={})
    await store.contacts.import_rows("customers", [row], import_id="dry", dry_run=True)
    assert await numbers(store.db) == before


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A new database without a daemon."""
    path = tmp_path / "hub.db"
    path.touch(0o600)
    with closing(open_plain(path, writer=True)) as db:
        migrate(db)
        db.execute("INSERT INTO hub (only, install_key, instance_id, created_at) VALUES (1, x'00', 'i', 0)")
        yield db


def test_events_are_numbered_without_a_gap_also_beside_a_unit_that_fails(file: sqlite3.Connection) -> None:
    def tell(unit: Unit) -> list[int]:
        return [unit.event("daemon.started", None, {}) for _ in range(3)]

    def fail(unit: Unit) -> None:
        tell(unit)
        raise BadInput.at("x", "no")

    moment = Moment(1.0, 1.0)
    assert run_batch([tell, tell], moment, 0, file).values == [[1, 2, 3], [4, 5, 6]]
    done = run_batch([tell, fail, tell], moment, 0, file)
    assert (done.values, done.last_seq) == ([[7, 8, 9], None, [10, 11, 12]], 12)
    assert newest(file, "event") == 12
    assert [row[0] for row in file.execute("SELECT seq FROM event ORDER BY seq")] == list(range(1, 13))


async def test_whoever_joins_a_list_after_the_start_is_no_recipient_whatever_was_removed(
    store: Store,
) -> None:
    await store.people("ann", "bob")
    campaign = await store.draft()
    await store.contacts.remove("bob@example.com")  # theirs was the newest membership
    await store.move(campaign, CampaignState.RUNNING)
    await store.people("cyd")
    await store.freeze(campaign)
    (delivery,) = await store.ledger.deliveries(campaign.id)
    assert delivery.recipient == "ann@example.com"


# --- counters by node ---------------------------------------------------------------------------


def of_another_node(db: Transaction, campaign_id: int, delivery_id: int) -> None:
    """What a second daemon on the same store would have written."""
    db.execute(
        "INSERT INTO campaign_count (campaign_id, node, n_total, n_sent, updated_at)"
        " VALUES (?, ?, 5, 5, 9e9)",
        (campaign_id, NODE + 1),
    )
    db.execute(
        "UPDATE attempt SET node = ?, epoch = epoch + 1 WHERE delivery_id = ?", (NODE + 1, delivery_id)
    )
    db.execute("INSERT INTO opened (node, attempts) VALUES (?, 7)", (NODE + 1,))
    db.execute("INSERT INTO usage (name, at, node, slots) VALUES ('provider/p', 10, ?, 3)", (NODE + 1,))


async def test_what_nodes_count_is_added_up_and_each_recovers_only_its_own_attempts(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    ann, bob = await store.ids(campaign)
    await store.ledger.record([open_entry(ann), open_entry(bob)])
    await store.db.write(lambda unit: unit.spent(["provider/p"], 10.0, 2))
    await store.db.write(lambda unit: of_another_node(unit.db, campaign.id, ann))

    counts = (await store.ledger.counts([campaign.id]))[campaign.id]
    assert (counts.total, counts.sent, counts.sending) == (7, 5, 2)
    found = await store.campaigns.by_id(campaign.id)
    assert (found.counts, found.updated_at) == (counts, 9e9)
    assert (await store.db.read(watermark_of)).opened == 2 + 7
    assert await Usage(store.db).spent("provider/p") == {"provider/p": [(10.0, 5)]}

    await store.db.write(lambda unit: unit.db.execute("UPDATE attempt SET epoch = epoch + 1"))
    assert (await store.ledger.recover()).in_doubt == {campaign.id: 1}
    assert await store.states(campaign) == [D.SENDING, D.IN_DOUBT]


async def test_old_usage_is_tidied_by_the_node_that_granted_it(store: Store) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.db.write(lambda unit: unit.spent(["provider/p"], 10.0, 2))
    await store.db.write(lambda unit: of_another_node(unit.db, campaign.id, ann))
    assert await tidy_usage(store.db, 1e9) == 1
    assert await Usage(store.db).spent("provider/p") == {"provider/p": [(10.0, 3)]}


async def test_a_deleted_campaign_leaves_no_counters(store: Store) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.ledger.record([open_entry(ann), close_entry(ann)])
    await store.move(campaign, CampaignState.COMPLETED)
    await store.campaigns.delete(campaign.name)
    left = await store.db.read(lambda db: db.execute("SELECT count(*) FROM campaign_count").fetchone()[0])
    assert left == 0
    assert await store.ledger.counts([campaign.id]) == {}


# --- a file of before ---------------------------------------------------------------------------


def columns(db: sqlite3.Connection, table: str) -> dict[str, tuple[object, ...]]:
    """What each column is: its type, whether it may be NULL, its default, its place in the key."""
    return {name: tuple(rest) for _, name, *rest in db.execute(f"PRAGMA table_info({table})")}


def schema(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in db.execute("SELECT type, name FROM sqlite_schema WHERE name <> ''")}


@pytest.fixture
def old(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database as version 11 had it: three campaigns, the newest of which was deleted."""
    path = tmp_path / "state" / "hub.db"
    path.parent.mkdir(mode=0o700)
    path.touch(0o600)
    with closing(open_plain(path, writer=True)) as db:
        for number, script in migrations():
            if number <= BEFORE:
                db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
        db.executescript("""
            PRAGMA application_id = 1296594274;
            PRAGMA journal_mode = WAL;
            INSERT INTO hub (only, install_key, instance_id, created_at, opened) VALUES (1, x'00', 'i', 0, 4);
            INSERT INTO content (id, hash, spec, created_at) VALUES (1, 'h', '{"channel":"email"}', 0);
            INSERT INTO campaign (name, channel, provider, state, spec, lists, content_id, doubt_policy,
                reconcile, rate, send_window, send_zone, send_limit, freeze_to, freeze_list, freeze_after,
                freeze_in_doubt, n_total, n_pending, n_sent, created_at, updated_at, started_at, archived_at)
            VALUES ('spring', 'email', 'outbox', 'paused', '{"a":1}', '["all"]', 1, 'hold', 1, '["5/s"]',
                '09:00-17:00', 'Asia/Tokyo', 9, 2, 0, 1, 1, 2, 1, 1, 10, 20, 15, 30);
            INSERT INTO campaign (name, channel, provider, state, spec, content_id, doubt_policy, created_at,
                updated_at)
            VALUES ('autumn', 'sms', 'outbox', 'draft', '{}', 1, 'retry', 11, 21), ('gone', 'sms', 'outbox',
                'draft', '{}', 1, 'retry', 11, 21);
            DELETE FROM campaign WHERE name = 'gone';
            INSERT INTO delivery (campaign_id, recipient, address_key, state, updated_at, fields)
            VALUES (1, 'a@example.com', 'a@example.com', 'sent', 0, '{}'),
                (1, 'b@example.com', 'b@example.com', 'pending', 0, '{}');
            INSERT INTO attempt (delivery_id, n, epoch, provider, message_id, content_hash, opened_at,
                closed_at, outcome) VALUES (1, 1, 1, 'outbox', '', 'h', 0, 1, 'sent');
            INSERT INTO list (id, name, created_at) VALUES (1, 'all', 0);
            INSERT INTO contact (email, email_key, created_at, updated_at)
            VALUES ('a@example.com', 'a@example.com', 0, 0), ('b@example.com', 'b@example.com', 0, 0),
                ('c@example.com', 'c@example.com', 0, 0);
            INSERT INTO membership (list_id, contact_id) VALUES (1, 1), (1, 2), (1, 3);
            DELETE FROM contact WHERE id = 3;
            INSERT INTO event (at, type, data) VALUES (0, 'x', '{}'), (0, 'x', '{}');
            DELETE FROM event;
            INSERT INTO usage (name, at, slots) VALUES ('provider/outbox', 10, 4);
        """)
        yield db


def test_nothing_of_a_campaign_is_lost_but_its_counters_which_are_rows_of_their_own(
    old: sqlite3.Connection,
) -> None:
    """Also no column, index or trigger that a version before this one has added."""
    had, rows = columns(old, "campaign"), old.execute("SELECT * FROM campaign ORDER BY id").fetchall()
    there = schema(old)
    migrate(old)
    kept = {name: what for name, what in had.items() if not name.startswith("n_")}
    assert kept.items() <= columns(old, "campaign").items()
    assert there <= schema(old)
    assert [
        {name: row[name] for name in kept} for row in old.execute("SELECT * FROM campaign ORDER BY id")
    ] == [{name: row[name] for name in kept} for row in rows]
    counted = old.execute("SELECT * FROM campaign_count ORDER BY campaign_id").fetchall()
    assert [row["n_total"] for row in counted] == [2, 0]
    for row, before in zip(counted, rows, strict=True):
        assert row["node"] == NODE
        both = set(row.keys()) & set(before.keys())
        assert {name: row[name] for name in both} == {name: before[name] for name in both}
    assert old.execute("PRAGMA foreign_key_check").fetchall() == []
    assert old.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert old.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


async def test_a_file_of_before_continues_where_it_was(old: sqlite3.Connection, bridge: Bridge) -> None:
    path = Path(old.execute("PRAGMA database_list").fetchone()["file"])
    old.close()
    async with open_database(path, bridge) as database:
        store = Store(database)
        assert await numbers(database) == [3, 3, 2]
        assert (await database.read(watermark_of)).opened == 4
        spring = await store.campaigns.get("spring")
        assert (spring.counts.total, spring.counts.sent, spring.counts.pending) == (2, 1, 1)
        assert await count_pending(database) == 2
        await store.check_counters(spring)
        assert await Usage(database).spent("provider/outbox") == {"provider/outbox": [(10.0, 4)]}
        new = await store.draft(name="winter", lists=["all"])
        assert new.id == 4  # 3 was given out once
        await store.people("dan", list_name="all")
        await store.move(spring, CampaignState.RUNNING)
        await store.freeze(spring)
        assert [row.recipient for row in await store.ledger.deliveries(spring.id)] == [
            "a@example.com", "b@example.com",
        ]  # fmt: skip
