"""What is kept of each sink, and the figures for those that show records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from hubd.core.measures import Measure
from hubd.core.model import Campaign
from hubd.core.reports import Line
from hubd.store.campaign_rows import all_campaigns
from hubd.store.database import Database
from hubd.store.transaction import Row, Transaction, newest, record
from hubd.store.unit import Unit

#: One sink, all of them.
ONE = "SELECT * FROM sink WHERE name = ?"
ALL = "SELECT * FROM sink ORDER BY name"
#: A sink that is new begins with what happens from now on.
ADD = "INSERT INTO sink (name, type, target, cursor) VALUES (?, ?, ?, ?)"
#: It is another one under the same name.
REMOVE = "DELETE FROM sink WHERE name = ?"
#: Its settings are other ones, so it is tried again.
CHANGE = """
UPDATE sink SET target = ?, paused = 0, reason = '', failures = 0, failing_since = NULL WHERE name = ?"""
#: It was told up to a seq.
ADVANCE = """
UPDATE sink SET cursor = max(cursor, ?), told_at = ?, failures = 0, failing_since = NULL, reason = ''
WHERE name = ?"""
#: A try failed.
FAIL = """
UPDATE sink SET failures = failures + 1, failing_since = coalesce(failing_since, ?), reason = ?, paused = ?
WHERE name = ? AND paused = 0"""
#: It is tried again.
RESUME = """
UPDATE sink SET paused = 0, failures = 0, failing_since = NULL, reason = '' WHERE name = ? AND paused = 1"""
FORGET = "DELETE FROM sink WHERE name NOT IN (SELECT value FROM json_each(?))"
FORGET_RECORDS = "DELETE FROM sink_record WHERE sink = ?"
RECORDS = "SELECT key, digest FROM sink_record WHERE sink = ?"
KEEP_RECORD = """
INSERT INTO sink_record (sink, key, digest) VALUES (?, ?, ?)
ON CONFLICT (sink, key) DO UPDATE SET digest = excluded.digest"""
#: All figures of each campaign.
SUMS = "SELECT campaign_id, measure, sum(n) FROM rollup GROUP BY campaign_id, measure HAVING sum(n) <> 0"
#: The figures of each campaign by the hour, from a time on.
HOURS = """
SELECT campaign_id, at, measure, sum(n) FROM rollup WHERE at >= ?
GROUP BY campaign_id, at, measure HAVING sum(n) <> 0"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkState:
    """How a sink is."""

    name: str
    type: str
    target: str
    cursor: int
    paused: bool
    reason: str
    failures: int
    failing_since: float | None  #: on the steady clock
    told_at: float | None


class Sinks:
    """The states of sinks. All methods are async, and raise `StoreUnavailable`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def all(self) -> list[SinkState]:
        return await self._db.read(lambda db: [_state(row) for row in db.execute(ALL)])

    async def forget(self, but: Collection[str]) -> None:
        """Keep nothing of sinks that are not among these."""
        await self._db.write(lambda unit: unit.db.execute(FORGET, (json.dumps(list(but)),)))

    async def add(self, name: str, type_: str, target: str) -> None:
        """Have a row for a sink. One with other settings is tried again, and told every record again."""

        def work(unit: Unit) -> None:
            before = unit.db.execute(ONE, (name,)).fetchone()
            if before is not None and before["type"] != type_:
                unit.db.execute(REMOVE, (name,))
                before = None
            if before is None:
                unit.db.execute(ADD, (name, type_, target, newest(unit.db, "event")))
            elif before["target"] != target:
                unit.db.execute(CHANGE, (target, name))
                unit.db.execute(FORGET_RECORDS, (name,))

        await self._db.write(work)

    async def get(self, name: str) -> SinkState | None:
        """How the sink is; None if there is none of this name."""

        def work(db: Transaction) -> SinkState | None:
            row = db.execute(ONE, (name,)).fetchone()
            return None if row is None else _state(row)

        return await self._db.read(work)

    async def told(self, name: str, cursor: int, digests: Mapping[str, bytes]) -> None:
        """It knows of all events up to `cursor`, and of these records."""

        def work(unit: Unit) -> None:
            if unit.db.execute(ADVANCE, (cursor, unit.now, name)).rowcount:
                for key, digest in digests.items():
                    unit.db.execute(KEEP_RECORD, (name, key, digest))

        await self._db.write(work)

    async def failed(self, name: str, reason: str, *, pause: bool) -> None:
        """A try failed, and with `pause` there is none until it is resumed: an event says so."""

        def work(unit: Unit) -> None:
            if unit.db.execute(FAIL, (unit.steady, reason, int(pause), name)).rowcount and pause:
                unit.event("sink.broken", None, {"sink": name, "reason": reason})

        await self._db.write(work)

    def resuming(self, name: str) -> Callable[[Unit], bool]:
        """The unit of work that has a paused sink tried again; whether it was paused."""

        def work(unit: Unit) -> bool:
            changed = unit.db.execute(RESUME, (name,)).rowcount > 0
            if changed:
                unit.event("sink.resumed", None, {"sink": name})
            return changed

        return work

    async def digests(self, name: str) -> dict[str, bytes]:
        """What the sink was told last of each record."""
        return await self._db.read(lambda db: dict(map(tuple, db.execute(RECORDS, (name,)))))

    async def sums(self) -> list[Line]:
        """All figures of each campaign that was ever started."""

        def work(db: Transaction) -> list[Line]:
            sums: dict[int, Counter[Measure]] = {}
            for campaign_id, word, n in db.execute(SUMS):
                sums.setdefault(campaign_id, Counter())[Measure(word)] = n
            return [Line(campaign=each, sums=sums.get(each.id, {})) for each in _started(db)]

        return await self._db.read(work)

    async def hours(self, since: int) -> tuple[dict[int, str], list[tuple[int, int, Measure, int]]]:
        """The names of these campaigns by id, and their figures by the hour from a time on."""

        def work(db: Transaction) -> tuple[dict[int, str], list[tuple[int, int, Measure, int]]]:
            hours = [(row[0], row[1], Measure(row[2]), row[3]) for row in db.execute(HOURS, (since,))]
            return {each.id: each.name for each in _started(db)}, hours

        return await self._db.read(work)


def _started(db: Transaction) -> list[Campaign]:
    return [each for each in all_campaigns(db, queues=False) if each.started_at is not None]


def _state(row: Row) -> SinkState:
    return record(SinkState, row, paused=bool(row["paused"]))
