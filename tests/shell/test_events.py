"""The event log in a real database: order, cursor, snapshot, pruning."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from hubd.bridge import Bridge
from hubd.core.model import CampaignState, DeliveryState
from hubd.store.database import Unit, open_database
from hubd.store.events import Events
from hubd.store.housekeeping import Tidied, tidy
from tests.shell.conftest import Store, close_entry, open_entry


async def test_a_cursor_reads_every_event_once_in_order(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        for n in range(30):
            nursery.start_soon(store.events.add, f"t{n}", None, {"n": n})
    seen: list[int] = []
    after = 0
    while page := await store.events.page(after, 7):
        seen += [event.seq for event in page]
        after = page[-1].seq
    assert seen == list(range(1, 31))
    assert store.db.head_seq == 30


async def test_events_of_some_campaigns(store: Store) -> None:
    one = await store.draft(name="one")
    two = await store.draft(name="two")
    await store.events.add("provider.state", None, {"name": "office"})
    await store.move(two, CampaignState.RUNNING)
    assert await store.types([two.id]) == ["campaign.applied", "campaign.state"]
    assert await store.types([one.id, two.id]) == ["campaign.applied", "campaign.applied", "campaign.state"]
    assert await store.types([]) == []


async def test_events_outlive_their_campaign(store: Store) -> None:
    await store.draft(name="gone")
    await store.campaigns.delete("gone")
    assert [event.campaign for event in await store.events.page(0, 10)] == ["gone", "gone"]


async def test_a_snapshot_is_of_exactly_its_seq(store: Store) -> None:
    """Whoever applies the events after the snapshot's seq to it must miss none and see none twice."""
    campaign = await store.running("ann", "bob", "cy")
    taken: list[tuple[int, int]] = []

    async def fail_all() -> None:
        for delivery in await store.ids(campaign):
            await store.ledger.record([open_entry(delivery), close_entry(delivery, DeliveryState.FAILED)])

    async def look() -> None:
        for _ in range(30):
            snapshot = await store.events.snapshot()
            (seen,) = snapshot.campaigns
            taken.append((snapshot.seq, seen.counts.failed))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_all)
        nursery.start_soon(look)
    failed = [event.seq for event in await store.events.page(0, 100) if event.type == "delivery.failed"]
    assert len(failed) == 3
    assert all(count == sum(1 for seq in failed if seq <= at) for at, count in taken)


async def test_tidying_keeps_the_newest_and_says_where_the_log_begins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubd.store.events.PRUNE_PAGE", 4)
    for n in range(10):
        await store.events.add("t", None, {"n": n})
    assert await store.events.oldest_seq() == 1
    assert await tidy(store.db, now=0.0, keep_events=4) == Tidied(events=6, requests=0)
    assert (await store.events.oldest_seq(), store.db.head_seq) == (7, 10)
    assert [event.data["n"] for event in await store.events.page(0, 100)] == [6, 7, 8, 9]


async def test_numbers_go_on_after_everything_was_pruned_and_the_daemon_restarted(
    bridge: Bridge, database_path: Path
) -> None:
    async with open_database(database_path, bridge) as database:
        events = Events(database)
        await events.add("t", None, {})
        await tidy(database, now=0.0, keep_events=0)
        assert await events.oldest_seq() == 2
    async with open_database(database_path, bridge) as database:
        assert database.head_seq == 1
        assert await Events(database).add("t", None, {}) == 2


async def test_tidying_forgets_old_requests_and_no_younger_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubd.store.housekeeping.PAGE", 2)
    day = 86_400.0
    ages = [31.0, 40.0, 29.0, 31.0, 0.0, 90.0, 31.0]

    def add(unit: Unit) -> None:
        for n, age in enumerate(ages):
            unit.db.execute(
                "INSERT INTO request (key, delivery_id, created_at) VALUES (?, ?, ?)",
                (f"k{n}", n, (100 - age) * day),
            )

    await store.db.write(add)
    assert await tidy(store.db, now=100 * day) == Tidied(events=0, requests=5)
    rows = await store.db.read(lambda db: db.execute("SELECT key FROM request ORDER BY key").fetchall())
    assert [key for (key,) in rows] == ["k2", "k4"]
    assert (await tidy(store.db, now=100 * day)).requests == 0
