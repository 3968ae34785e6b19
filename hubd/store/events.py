"""What happened, in the order of commit, read by a cursor that outlives client and daemon."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from hubd.core.records import EventRow, Snapshot
from hubd.store.campaign_rows import all_campaigns
from hubd.store.database import Database, Unit
from hubd.store.transaction import Row, Transaction, newest, record

#: The next events after a cursor.
PAGE = "SELECT * FROM event WHERE seq > ? ORDER BY seq LIMIT ?"
#: Those of some campaigns.
CAMPAIGN_PAGE = """
SELECT * FROM event
WHERE seq > ? AND campaign_id IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?"""
#: The oldest event that is kept.
OLDEST = "SELECT min(seq) FROM event"
#: Remove the oldest up to a seq; never more than a page in one unit of work.
PRUNE = "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE seq <= ? ORDER BY seq LIMIT ?)"

PRUNE_PAGE = 1_000  #: events removed in one unit, which every message on its way waits for


class Events:
    """The event log. Nothing here waits: see `Database.wait_events`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(
        self, after_seq: int, limit: int, campaign_ids: Collection[int] | None = None
    ) -> list[EventRow]:
        """The next events after a cursor, all or those of some campaigns."""

        def work(db: Transaction) -> list[EventRow]:
            if campaign_ids is None:
                rows = db.execute(PAGE, (after_seq, limit))
            else:
                rows = db.execute(CAMPAIGN_PAGE, (after_seq, json.dumps(list(campaign_ids)), limit))
            return [_event(row) for row in rows]

        return await self._db.read(work)

    async def oldest_seq(self) -> int:
        """The oldest event that can still be read; one past the newest when none is kept."""

        def work(db: Transaction) -> int:
            oldest: int | None = db.execute(OLDEST).fetchone()[0]
            return newest(db, "event") + 1 if oldest is None else oldest

        return await self._db.read(work)

    async def snapshot(
        self, campaign_ids: Collection[int] | None = None, *, queues: bool = False
    ) -> Snapshot:
        """The newest seq and the campaigns exactly as they were then, in one read."""

        def work(db: Transaction) -> Snapshot:
            return Snapshot(
                seq=newest(db, "event"), campaigns=tuple(all_campaigns(db, queues=queues, only=campaign_ids))
            )

        return await self._db.read(work)

    async def add(self, type: str, campaign_id: int | None, data: Mapping[str, object]) -> int:
        """Append an event that no other unit of work writes, such as a provider's state; its seq."""
        return await self._db.write(lambda unit: unit.event(type, campaign_id, data))

    async def prune(self, keep: int) -> int:
        """Remove all but the newest `keep` events, page by page; how many."""
        return await self.prune_through(self._db.head_seq - keep)

    async def prune_through(self, bound: int) -> int:
        """Remove all events up to a seq, page by page; how many."""
        removed = 0

        def work(unit: Unit) -> int:
            return unit.db.execute(PRUNE, (bound, PRUNE_PAGE)).rowcount

        while done := await self._db.write(work, bulk=True):
            removed += done
        return removed


def _event(row: Row) -> EventRow:
    return record(EventRow, row, data=json.loads(row["data"]))
