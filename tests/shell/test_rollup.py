"""The roll-up equals a recount of the rows, after anything at all."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hubd.bridge import open_bridge
from hubd.core.ledger import Requeue
from hubd.core.lifecycle import DELIVERY, DeliveryEvent, advance_delivery
from hubd.core.measures import DAY, HOUR, Measure
from hubd.core.model import CampaignState, DeliveryState
from hubd.store.batch import run_batch
from hubd.store.connection import open_plain
from hubd.store.database import open_database
from hubd.store.entries import enter_all
from hubd.store.integrity import IntegrityCheck
from hubd.store.requeue import requeue_one, requeue_page, resolve_page
from hubd.store.rollup import (
    KEPT_HOURLY,
    SET_DAILY,
    _sum_up_page,
    count_pending,
    counted,
    difference,
    sum_up_days,
)
from hubd.store.steady import Moment
from hubd.store.unit import Unit
from tests.shell.conftest import Store, close_entry, open_entry

D = DeliveryState
M = Measure
PEOPLE = 5
BEGAN = 1_700_000_000.0


@cache
def _origin() -> Path:
    """A database with a running campaign, closed in order."""
    path = Path(tempfile.mkdtemp(prefix="rollup-")) / "state" / "hub.db"

    async def make() -> None:
        async with open_bridge() as bridge, open_database(path, bridge) as database:
            await Store(database).running(*(f"p{n}" for n in range(PEOPLE)))

    trio.run(make)
    return path


@pytest.fixture(scope="module", autouse=True)
def _tidy() -> Iterator[None]:
    yield
    shutil.rmtree(_origin().parent.parent)
    _origin.cache_clear()


# --- any history --------------------------------------------------------------------------------


def receipt(delivery_id: int, to: DeliveryState, unit: Unit) -> None:
    """What says that a message arrived, or that it did not."""
    state = D(unit.db.execute("SELECT state FROM delivery WHERE id = ?", (delivery_id,)).fetchone()[0])
    if state is D.SENT:
        event = DeliveryEvent.RECEIPT_ARRIVED if to is D.DELIVERED else DeliveryEvent.RECEIPT_LOST
        target = advance_delivery(state, event)
        unit.db.execute(
            "UPDATE delivery SET state = ?, updated_at = ? WHERE id = ?", (target, unit.now, delivery_id)
        )
        unit.moved(1, state, target)


def send(delivery_id: int, to: DeliveryState, cost: int, opened: bool, unit: Unit) -> None:
    """One attempt, if the delivery waits."""
    state = unit.db.execute("SELECT state FROM delivery WHERE id = ?", (delivery_id,)).fetchone()[0]
    if state not in (D.PENDING, D.DEFERRED):
        return
    opened = opened or to in (D.SENT, D.IN_DOUBT)
    values = {"at": unit.now, "cost": cost, "opened": opened, "provider": "outbox"}
    entries: list[Any] = [close_entry(delivery_id, to, **values)]
    if opened:
        entries.insert(0, replace(open_entry(delivery_id, unit.now), cost=cost))
    enter_all(unit, [entries], epoch=1, low_disk_space=lambda: False)


def back(delivery_id: int, unit: Unit) -> None:
    """A refusal turned out not to be about the recipient."""
    state = D(unit.db.execute("SELECT state FROM delivery WHERE id = ?", (delivery_id,)).fetchone()[0])
    if DeliveryEvent.REQUEUE in DELIVERY[state]:
        if state is D.FAILED:
            enter_all(
                unit, [[Requeue(delivery_id=delivery_id, at=unit.now)]], epoch=1, low_disk_space=lambda: False
            )
        else:
            requeue_one(unit, delivery_id)


def days_are_summed_up(unit: Unit) -> None:
    until = int(unit.now - KEPT_HOURLY) // DAY * DAY
    unit.db.execute(SET_DAILY, (until, until)).fetchall()
    _sum_up_page(until, unit)


people = st.integers(1, PEOPLE)
steps = st.one_of(
    st.builds(
        partial,
        st.just(send),
        people,
        st.sampled_from([D.SENT, D.SENT, D.SENT, D.DEFERRED, D.FAILED, D.IN_DOUBT, D.PENDING]),
        st.integers(1, 3),
        st.booleans(),
    ),
    st.builds(partial, st.just(receipt), people, st.sampled_from([D.DELIVERED, D.UNDELIVERED])),
    st.builds(partial, st.just(back), people),
    st.builds(lambda which: lambda unit: requeue_page(unit, 1, which, 0, 3), st.just("all")),
    st.builds(
        lambda how: lambda unit: resolve_page(unit, 1, how, 2, "operator"),
        st.sampled_from(["resend", "sent", "failed"]),
    ),
    st.just(days_are_summed_up),
)
histories = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, HOUR, DAY, 40 * DAY]), st.lists(steps, min_size=1, max_size=4)),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(histories)
def test_the_roll_up_equals_a_recount_at_every_moment(history: list[tuple[float, list[Any]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "hub.db"
        shutil.copy(_origin(), path)
        with closing(open_plain(path, writer=True)) as db:
            now = BEGAN
            (epoch,) = db.execute("SELECT epoch FROM hub").fetchone()
            for seconds, works in history:
                now += seconds
                done = run_batch(works, Moment(now, now), epoch, db)
                assert not done.errors
                assert difference(db, 1) == {}
                assert all(n > 0 for n in counted(db, 1).values())


# --- examples -----------------------------------------------------------------------------------


def sums(db: Any, campaign_id: int = 1) -> dict[tuple[int, str], int]:
    return {(at, measure.value): n for (at, measure), n in counted(db, campaign_id).items()}


async def test_what_was_sent_counts_in_the_hour_in_which_the_provider_took_it(store: Store) -> None:
    campaign = await store.running("ann", "bob", "cyd", "dan")
    ann, bob, cyd, dan = await store.ids(campaign)
    late = 1000.0 + 2 * HOUR
    await store.ledger.record([open_entry(n) for n in (ann, bob, cyd)])
    await store.ledger.record([close_entry(ann, cost=3), close_entry(bob, at=late)])
    await store.ledger.record([close_entry(cyd, D.FAILED)])
    await store.ledger.record([close_entry(dan, D.DEFERRED, opened=False, provider="outbox")])
    assert await store.db.read(sums) == {
        (0, "sent"): 1,
        (0, "cost"): 3,
        (0, "failed"): 1,
        (2 * HOUR, "sent"): 1,
        (2 * HOUR, "cost"): 1,
    }


async def test_a_failure_that_is_taken_back_has_not_failed_in_its_hour(store: Store) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.ledger.record([open_entry(ann), close_entry(ann, D.FAILED)])
    await store.ledger.record([Requeue(delivery_id=ann, at=9_000.0)])
    assert await store.db.read(sums) == {}
    await store.ledger.record([open_entry(ann, 9_000.0), close_entry(ann, at=9_001.0)])
    assert await store.db.read(sums) == {(2 * HOUR, "sent"): 1, (2 * HOUR, "cost"): 1}


async def test_a_deleted_campaign_is_not_counted_any_more(store: Store) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.ledger.record([open_entry(ann), close_entry(ann)])
    await store.move(campaign, CampaignState.STOPPED)
    await store.campaigns.delete(campaign.name)
    assert await store.db.read(lambda db: db.execute("SELECT count(*) FROM rollup").fetchone()[0]) == 0


async def test_hours_become_days_after_90_of_them_and_can_still_be_taken_back(store: Store) -> None:
    campaign = await store.running("ann", "bob", "cyd", "dan")
    ann, bob, cyd, dan = await store.ids(campaign)
    await store.ledger.record([open_entry(n) for n in (ann, bob, cyd, dan)])
    await store.ledger.record([close_entry(ann, at=DAY + 5.0), close_entry(bob, at=DAY + HOUR)])
    await store.ledger.record([close_entry(dan, at=DAY + 2 * HOUR)])
    await store.ledger.record([close_entry(cyd, D.FAILED, at=2 * DAY + HOUR)])
    assert await sum_up_days(store.db, now=2 * DAY + KEPT_HOURLY + 1.0) == 4  # bob's and dan's
    assert await sum_up_days(store.db, now=DAY + KEPT_HOURLY) == 0  # a clock that was set back undoes nothing
    assert await store.db.read(sums) == {
        (DAY, "sent"): 3,
        (DAY, "cost"): 3,
        (2 * DAY + HOUR, "failed"): 1,
    }
    assert await sum_up_days(store.db, now=5 * DAY + KEPT_HOURLY) == 1
    assert (await store.db.read(sums))[2 * DAY, "failed"] == 1
    await store.ledger.record([Requeue(delivery_id=cyd, at=3.0 * DAY)])
    await store.check_counters(campaign)


async def test_doctor_names_a_campaign_whose_figures_do_not_match_a_recount(store: Store) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.ledger.record([open_entry(ann), close_entry(ann)])
    audit = IntegrityCheck(store.db)

    async def figures() -> tuple[bool, str]:
        (found,) = (each for each in await audit.examine(list) if each.check == "figures")
        return found.ok, found.found

    assert await figures() == (True, "the figures of 1 campaign by the hour match a recount")
    await store.db.write(lambda unit: unit.measured(campaign.id, M.FAILED, 1000.0))
    assert await figures() == (False, "the figures by the hour do not match a recount: spring-sale")


# --- a file of before ---------------------------------------------------------------------------


async def test_what_an_older_version_has_sent_is_counted_while_messages_are_sent(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens before, while and after the rows are read."""
    campaign = await store.running("ann", "bob", "cyd", "dan")
    ann, bob, cyd, dan = await store.ids(campaign)
    await store.ledger.record([open_entry(ann), open_entry(bob), open_entry(cyd), open_entry(dan)])
    await store.ledger.record([close_entry(ann), close_entry(bob, D.FAILED), close_entry(dan, D.IN_DOUBT)])
    await store.db.write(lambda unit: _as_after_the_upgrade(unit, campaign.id))
    await store.ledger.record([Requeue(delivery_id=bob, at=2_000.0)])  # what was never counted is taken back
    read = trio.to_thread.run_sync

    async def read_and_send(*args: Any, **options: Any) -> Any:
        found = await read(*args, **options)
        await store.ledger.record([close_entry(cyd, at=5_000.0)])
        await store.db.write(lambda unit: receipt(ann, D.DELIVERED, unit))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", read_and_send)
        assert await count_pending(store.db) == 1
    await store.check_counters(campaign)
    assert (await store.db.read(sums))[0, "sent"] == 1
    assert await count_pending(store.db) == 0


def _as_after_the_upgrade(unit: Unit, campaign_id: int) -> None:
    unit.flush()
    unit.db.execute("DELETE FROM rollup")
    unit.db.execute("INSERT INTO rollup_pending (campaign_id) VALUES (?)", (campaign_id,))


def test_the_upgrade_leaves_every_campaign_to_be_counted(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    shutil.copy(_origin(), path)
    script = (Path(__file__).parents[2] / "hubd/store/sql/0014_rollup.sql").read_text()
    with closing(sqlite3.connect(path)) as db:
        for table in ("rollup", "rollup_state", "rollup_pending"):
            db.execute(f"DROP TABLE {table}")
        db.execute("ALTER TABLE attempt DROP COLUMN cost")
        db.executescript(script)
        assert [row[0] for row in db.execute("SELECT campaign_id FROM rollup_pending")] == [1]
