"""The entries of a batch are written together, and leave the database as if they were written one by one.

Both ways run on copies of one file, over the daemon's own kind of connection. Compared are every table, every
result, and every error with its words.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.bridge import open_bridge
from hubd.core.ledger import Close, Entry, Open, Requeue
from hubd.core.model import DeliveryState
from hubd.errors import Conflict
from hubd.store.batch import run_batch
from hubd.store.connection import open_plain
from hubd.store.database import open_database
from hubd.store.entries import enter_all
from hubd.store.multirow import MOST_ROWS
from hubd.store.steady import Moment
from hubd.store.unit import SharedWork, Unit, Work
from tests.shell.conftest import Store, close_entry, open_entry

pytestmark = pytest.mark.slow

D = DeliveryState
PEOPLE = 6
DELIVERIES = 2 * PEOPLE  #: two campaigns to the same people
OUTCOMES = [D.SENT, D.SENT, D.SENT, D.DEFERRED, D.FAILED, D.IN_DOUBT, D.PENDING]

Way = Callable[[Sequence[Entry], bool], Work[Any]]


@cache
def _origin() -> Path:
    """A database with two running campaigns, closed in order."""
    path = Path(tempfile.mkdtemp(prefix="ledger-batches-")) / "state" / "hub.db"

    async def make() -> None:
        async with open_bridge() as bridge, open_database(path, bridge) as database:
            store = Store(database)
            await store.running(*(f"p{n}" for n in range(PEOPLE)))
            await store.running(name="autumn")

    trio.run(make)
    return path


@pytest.fixture(scope="module", autouse=True)
def _tidy() -> Iterator[None]:
    yield
    shutil.rmtree(_origin().parent.parent)
    _origin.cache_clear()


def together(entries: Sequence[Entry], low_disk_space: bool) -> Work[Any]:
    """As `Ledger.record` has it written."""
    return SharedWork(entries, _with_little_room if low_disk_space else _with_room)


_with_room = partial(enter_all, epoch=1, low_disk_space=lambda: False)
_with_little_room = partial(enter_all, epoch=1, low_disk_space=lambda: True)


def one_by_one(entries: Sequence[Entry], low_disk_space: bool) -> Work[Any]:
    """Each entry read, judged and written before the next is looked at."""

    def work(unit: Unit) -> object:
        done = [
            enter_all(unit, [[entry]], epoch=1, low_disk_space=lambda: low_disk_space)[0] for entry in entries
        ]
        return list(chain.from_iterable(r for r, _ in done)), list(chain.from_iterable(m for _, m in done))

    return work


def after(batches: Sequence[Sequence[object]], way: Way) -> tuple[list[object], list[str]]:
    """What each batch came to, and the whole database in the end."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "hub.db"
        shutil.copy(_origin(), path)
        with closing(open_plain(path, writer=True)) as db:
            told = [_run(db, 5_000.0 + n, batch, way) for n, batch in enumerate(batches)]
            return told, list(db.iterdump())


def _run(db: sqlite3.Connection, now: float, batch: Sequence[object], way: Way) -> object:
    works = [partial(_change, step) if isinstance(step, str) else way(*step) for step in batch]
    (epoch,) = db.execute("SELECT epoch FROM hub").fetchone()
    done = run_batch(works, Moment(now, now), epoch, db)
    errors = {index: (type(e), str(e), vars(e)) for index, e in done.errors.items()}
    return done.values, errors, done.last_seq


def _change(statement: str, unit: Unit) -> None:
    """Another unit, between those of the ledger."""
    unit.db.execute(statement)


# --- examples -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, MOST_ROWS, MOST_ROWS + 1])
async def test_as_many_entries_as_there_are_are_written_at_once(store: Store, count: int) -> None:
    """A statement for each kind of row, not one for each row."""
    campaign = await store.running(*(f"p{n}" for n in range(count)))
    ids = await store.ids(campaign)
    statements: list[str] = []

    def work(unit: Unit) -> object:
        assert isinstance(unit.db, sqlite3.Connection)
        unit.db.set_trace_callback(statements.append)
        try:
            return enter_all(unit, [[open_entry(n)] for n in ids], epoch=1, low_disk_space=lambda: False)
        finally:
            unit.db.set_trace_callback(None)

    assert await store.db.write(work) == [([None], [open_entry(n)]) for n in ids]
    assert await store.states(campaign) == [D.SENDING] * count
    assert len(statements) == 1 + 2 * -(-count // MOST_ROWS)
    await store.check_counters(campaign)


async def test_one_that_raises_fails_alone_and_the_others_of_its_batch_are_written(store: Store) -> None:
    campaign = await store.running("ann", "bob", "cy", "dee")
    ann, bob, cy, dee = await store.ids(campaign)
    await store.ledger.record([open_entry(ann)])
    refused: list[str] = []

    async def record(*entries: Entry) -> None:
        try:
            assert await store.ledger.record(entries) == [None] * len(entries)
        except Conflict as error:
            refused.append(error.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(record, close_entry(ann))
        nursery.start_soon(record, open_entry(bob), close_entry(cy))
        nursery.start_soon(record, open_entry(dee))
    assert refused == ["attempt_not_open"]
    assert await store.states(campaign) == [D.SENT, D.PENDING, D.PENDING, D.SENDING]
    await store.check_counters(campaign)


def test_a_name_that_came_with_a_refusal_is_known_to_the_rest_of_its_batch() -> None:
    answers: dict[str, Any] = {"stage": "request", "provider_id": "m1", "provider": "outbox"}
    refused = close_entry(1, D.DEFERRED, opened=False, **answers)
    walk: list[list[object]] = [[([open_entry(2)], False), ([refused, close_entry(2, **answers)], False)]]
    batch, tables = after(walk, together)
    assert (batch, tables) == after(walk, one_by_one)
    assert sum("provider.sid_reused" in row for row in tables) == 1


# --- anything at all ----------------------------------------------------------------------------

deliveries = st.integers(1, DELIVERIES)
limits = st.sampled_from([(), ("provider/office",), ("provider/office", "domain/office/example.com")])
times = st.sampled_from([1_000.0, 1_009.0, 1_011.0])


@st.composite
def opens(draw: st.DrawFn, delivery: int) -> Open:
    return Open(
        delivery_id=delivery,
        provider=draw(st.sampled_from(["office", "office", "other"])),
        message_id=f"<{delivery}@hub>",
        content_hash="hash",
        at=draw(times),
        account=draw(st.sampled_from(["", "acme"])),
        limits=draw(limits),
        cost=draw(st.integers(1, 3)),
        steady=draw(st.none() | times),
    )


@st.composite
def closes(draw: st.DrawFn, delivery: int, opened: bool, outcomes: Sequence[D]) -> Close:
    return Close(
        delivery_id=delivery,
        to=draw(st.sampled_from(outcomes)),
        reason=draw(st.sampled_from(["", "gave_up"])),
        detail=draw(st.sampled_from(["", "It said no."])),
        stage=draw(st.sampled_from(["dot", "request", "request"])),
        code=draw(st.sampled_from([0, 250, 550])),
        enhanced=draw(st.sampled_from(["", "5.1.1"])),
        vendor=draw(st.sampled_from(["", "21211", "MessageRejected"])),
        provider_id=draw(st.sampled_from(["", "m1", "m1", f"own{delivery}"])),
        next_at=draw(st.none() | st.just(2_000.0)),
        suppress=draw(st.sampled_from(["", "", "", "mailbox_unknown", "opted_out"])),
        refused=draw(st.sampled_from(["", "blocked"])),
        opened=opened,
        provider=draw(st.sampled_from(["office", "office", "other"])),
        message_id=f"<{delivery}@hub>",
        at=draw(times),
        limits=draw(limits),
        cost=draw(st.integers(1, 3)),
        steady=draw(st.none() | times),
    )


CHANGES = [
    *(f"UPDATE campaign SET state = '{state}' WHERE id = 1" for state in ("paused", "running", "running")),
    "INSERT INTO suppression VALUES ('email', 'p1@example.com', 'asked', 'test', 0) ON CONFLICT DO NOTHING",
    "DELETE FROM suppression",
]


@st.composite
def walks(draw: st.DrawFn) -> list[list[object]]:
    """Batches of units, mostly as a run makes them: an attempt is opened, closed, and another one opened."""
    wild = draw(st.booleans())
    is_open: set[int] = set()
    ended: set[int] = set()

    def entry() -> Entry:
        delivery = draw(deliveries)
        if wild and draw(st.integers(0, 9)) == 0:
            anybody = draw(st.sampled_from([delivery, 999]))
            return draw(
                st.one_of(
                    opens(anybody),
                    closes(anybody, draw(st.booleans()), list(D)),
                    st.just(Requeue(delivery_id=anybody, at=0.0)),
                )
            )
        if delivery not in is_open and draw(st.integers(0, 4)):
            if delivery not in ended:
                is_open.add(delivery)
            return draw(opens(delivery))
        opened = delivery in is_open
        closed = draw(closes(delivery, opened, OUTCOMES if opened else [D.DEFERRED, D.FAILED, D.PENDING]))
        is_open.discard(delivery)
        if closed.to not in (D.DEFERRED, D.PENDING) or closed.suppress:
            ended.add(delivery)
        return closed

    def step() -> object:
        if draw(st.integers(0, 19)) == 0:
            return draw(st.sampled_from(CHANGES))
        return [entry() for _ in range(draw(st.integers(1, 3)))], draw(st.integers(0, 19)) == 0

    return [[step() for _ in range(draw(st.integers(1, 8)))] for _ in range(draw(st.integers(1, 4)))]


@settings(max_examples=100)
@given(walks())
def test_a_batch_leaves_what_its_entries_leave_one_by_one(walk: list[list[object]]) -> None:
    assert after(walk, together) == after(walk, one_by_one)
