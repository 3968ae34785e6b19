"""A delivery that changed between being read and being written: nothing of the unit stays.

There is one writer, so this cannot happen; the statements do not rely on it. Somebody else is played by a
connection that changes the row right after it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hubd.core.model import DeliveryState
from hubd.errors import Conflict
from hubd.store import entries, recovery
from hubd.store.database import Unit
from hubd.store.transaction import Row, Transaction
from tests.shell.conftest import Store, close_entry, open_entry

D = DeliveryState


class Rows:
    """What a statement has read."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.fetchall = lambda: rows
        self.fetchone = lambda: rows[0]


class Meddler:
    """A connection on which every delivery goes to another state as soon as `statement` has read it."""

    def __init__(self, db: Transaction, statement: str, to: DeliveryState) -> None:
        self._db = db
        self._statement = statement
        self._to = to

    def execute(self, statement: str, values: Any = ()) -> Any:
        done = self._db.execute(statement, values)
        if statement != self._statement:
            return done
        rows = Rows(done.fetchall())
        self._db.execute("UPDATE delivery SET state = ?", (self._to,))
        return rows


def enter(*made: Any) -> Callable[[Unit], object]:
    return lambda unit: entries.enter_all(unit, [made], epoch=1, low_disk_space=lambda: False)


@pytest.mark.parametrize("end", [None, D.SENT, D.FAILED])
async def test_an_entry_about_a_delivery_that_has_changed_is_not_made(
    store: Store, end: DeliveryState | None
) -> None:
    campaign = await store.running("ann")
    (delivery,) = await store.ids(campaign)
    if end is not None:
        await store.ledger.record([open_entry(delivery)])
    before = await store.ledger.message(delivery)
    work = enter(open_entry(delivery) if end is None else close_entry(delivery, end))

    def meddled(unit: Unit) -> object:
        unit.db = Meddler(unit.db, entries.CURRENT, D.DEFERRED)  # type: ignore[assignment]
        return work(unit)

    with pytest.raises(Conflict) as caught:
        await store.db.write(meddled)
    assert caught.value.code == "lost_update"
    assert await store.ledger.message(delivery) == before
    await store.check_counters(campaign)


async def test_a_suppressed_recipient_that_has_changed_is_not_skipped(store: Store) -> None:
    campaign = await store.running("ann")
    (delivery,) = await store.ids(campaign)
    await store.ledger.record([open_entry(delivery), close_entry(delivery, D.DEFERRED, suppress="complaint")])

    def meddled(unit: Unit) -> object:
        unit.db = Meddler(unit.db, entries.CURRENT, D.SENT)  # type: ignore[assignment]
        return enter(open_entry(delivery))(unit)

    with pytest.raises(Conflict):
        await store.db.write(meddled)
    assert await store.states(campaign) == [D.DEFERRED]


async def test_recovery_puts_nothing_in_doubt_that_was_settled_meanwhile(store: Store) -> None:
    campaign = await store.running("ann")
    (delivery,) = await store.ids(campaign)
    await store.ledger.record([open_entry(delivery)])

    def meddled(unit: Unit) -> object:
        unit.db = Meddler(unit.db, recovery.ABANDONED, D.SENT)  # type: ignore[assignment]
        return recovery.lose(unit, recovery.ABANDONED, (campaign.id,), "")

    with pytest.raises(Conflict):
        await store.db.write(meddled)
    assert await store.states(campaign) == [D.SENDING]
