"""What rate limits have granted, in steps of ten seconds: what a restart must not forget.

The steps are written with the attempts that they count (see `hubd.store.writer.Unit.spent`). They are read
when a limit is first needed, and kept as long as the longest period that a rate can have. What is older than
two hours is joined to hours; the hour then stands at its last step, so that it never counts as older than
it is.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence

from hubd.core.pacing import REMEMBERED, STEP, Step
from hubd.store.database import Database, Unit

#: The steps of one limit ...
STEPS_OF_ONE = "SELECT name, at, slots FROM usage WHERE name = ? AND at >= ? ORDER BY at"
#: ... and of all whose name begins with a prefix and a slash: "0" is the character after "/".
STEPS_BELOW = """
SELECT name, at, slots FROM usage WHERE name > ? || '/' AND name < ? || '0' AND at >= ? ORDER BY name, at"""
#: When a provider's first message went.
BEGAN = "SELECT began_at FROM warmup WHERE provider = ?"
#: Remember it; whoever was first stays.
BEGIN = "INSERT INTO warmup (provider, began_at) VALUES (?, ?) ON CONFLICT (provider) DO NOTHING"
#: Remember it for every provider that has sent anything, before its first steps are forgotten.
BEGIN_ALL = """
INSERT INTO warmup (provider, began_at)
SELECT substr(name, length('provider/') + 1), min(at) FROM usage
WHERE name > 'provider/' AND name < 'provider0' GROUP BY name
ON CONFLICT (provider) DO NOTHING"""
#: A ramp that begins in the future would not grow until then.
BEGIN_NOW = "UPDATE warmup SET began_at = :now WHERE began_at > :now"
#: A page of steps in the table's order, for a reader.
PAGE_OF_STEPS = """
SELECT name, at FROM usage WHERE (name, at) > (?, ?) ORDER BY name, at LIMIT ?"""
#: Steps that are older than anybody asks for.
FORGET = """
DELETE FROM usage WHERE at < ?
AND (name, at) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))"""
#: The last of the steps of a stretch, and what they sum up to.
STRETCH = "SELECT max(at), sum(slots), count(*) FROM usage WHERE name = ? AND at >= ? AND at < ?"
#: Away with them ...
CLEAR_STRETCH = "DELETE FROM usage WHERE name = ? AND at >= ? AND at < ?"
#: ... and in their place one.
ONE_STEP = """
INSERT INTO usage (name, at, slots) VALUES (?, ?, ?)
ON CONFLICT (name, at) DO UPDATE SET slots = slots + excluded.slots"""

PAGE = 1_000  #: rows looked at, or changed, in one unit of work
JOINED_AFTER = 7_200  #: seconds after which the steps of an hour are joined
_HOUR = 3_600


class Usage:
    """What the limits have granted. All methods are async."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def spent(self, prefix: str, since: float = 0.0) -> dict[str, list[Step]]:
        """The steps of the limit called `prefix` and of those below it ("domain/office" has
        "domain/office/gmail.com"), oldest first; only those that began at `since` or later.

        Times are in seconds since the epoch. Raises `StoreUnavailable`.
        """

        def work(db: sqlite3.Connection) -> dict[str, list[Step]]:
            found: dict[str, list[Step]] = {}
            for name, at, slots in db.execute(STEPS_OF_ONE, (prefix, since)):
                found.setdefault(name, []).append((float(at), slots))
            for name, at, slots in db.execute(STEPS_BELOW, (prefix, prefix, since)):
                found.setdefault(name, []).append((float(at), slots))
            return found

        return await self._db.read(work)

    async def warmup_began(self, provider: str) -> float | None:
        """When the provider's first message went, in seconds since the epoch; None while none has.

        Raises `StoreUnavailable`.
        """

        def work(db: sqlite3.Connection) -> float | None:
            row = db.execute(BEGAN, (provider,)).fetchone()
            return None if row is None else float(row[0])

        return await self._db.read(work)

    async def begin_warmup(self, provider: str, at: float) -> float:
        """Remember when the provider's first message went, unless that is known; what is known then.

        Raises `StoreUnavailable`.
        """

        def work(unit: Unit) -> float:
            unit.db.execute(BEGIN, (provider, at))
            return float(unit.db.execute(BEGAN, (provider,)).fetchone()[0])

        return await self._db.write(work)


async def tidy_usage(db: Database, now: float) -> int:
    """Forget the steps that no rate looks at any more and join old ones; returns how many rows went.

    Steps from the future, written before the clock was set back, become steps of now, or they would count
    anew at every start until their time has come. Raises `StoreUnavailable`.
    """
    await db.write(lambda unit: _begin_warmups(unit, now))
    oldest, settled = now - REMEMBERED - STEP, now - JOINED_AFTER - _HOUR
    removed, after = 0, ("", 0)
    while page := await _page(db, after):
        old = [(name, at) for name, at in page if at < oldest]
        ahead = [(name, at) for name, at in page if at > now]
        hours = Counter((name, at // _HOUR * _HOUR) for name, at in page if oldest <= at < settled)
        full = [hour for hour, rows in hours.items() if rows > 1]  # two of one hour on two pages may stay two

        def work(
            unit: Unit,
            old: str = json.dumps(old),
            full: Sequence[tuple[str, int]] = full,
            ahead: Sequence[tuple[str, int]] = ahead,
        ) -> int:
            went: int = unit.db.execute(FORGET, (oldest, old)).rowcount
            went += sum(_joined(unit, name, hour, hour + _HOUR) for name, hour in full)
            return went + sum(_joined(unit, name, at, at + 1, int(now // STEP * STEP)) for name, at in ahead)

        if old or full or ahead:
            removed += await db.write(work)
        after = page[-1]
    return removed


def _begin_warmups(unit: Unit, now: float) -> None:
    unit.db.execute(BEGIN_ALL)
    unit.db.execute(BEGIN_NOW, {"now": now})


async def _page(db: Database, after: tuple[str, int]) -> list[tuple[str, int]]:
    def work(reader: sqlite3.Connection) -> list[tuple[str, int]]:
        return [(name, at) for name, at in reader.execute(PAGE_OF_STEPS, (*after, PAGE))]

    return await db.read(work)


def _joined(unit: Unit, name: str, begins: int, ends: int, to: int | None = None) -> int:
    """Make one step of those in a stretch, at the last of them or at `to`; how many rows fewer there are."""
    last, slots, rows = unit.db.execute(STRETCH, (name, begins, ends)).fetchone()
    if not rows:
        return 0
    unit.db.execute(CLEAR_STRETCH, (name, begins, ends))
    unit.db.execute(ONE_STEP, (name, last if to is None else to, slots))
    return int(rows) - 1
