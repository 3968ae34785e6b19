"""What rate limits have granted, in steps of ten seconds: what a restart must not forget.

The steps are written with the attempts that they count (see `hubd.store.writer.Unit.spent`). They are read
when a limit is first needed, and kept as long as the longest period that a rate can have. What is older than
two hours is joined to hours; the hour then stands at its last step, so that it never counts as older than
it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial

from hubd.core.limiter import Step
from hubd.core.pacing import REMEMBERED, STEP
from hubd.store.database import Database
from hubd.store.multirow import write_rows
from hubd.store.transaction import Transaction
from hubd.store.unit import NODE, SPEND, Unit

#: The steps of a limit and of those below it, whose names have a slash after its own: "0" follows "/".
STEPS = """
SELECT name, at, sum(slots) FROM usage WHERE name = :name AND at >= :since GROUP BY name, at
UNION ALL
SELECT name, at, sum(slots) FROM usage
WHERE name > :name || '/' AND name < :name || '0' AND at >= :since GROUP BY name, at
ORDER BY name, at"""
#: When a provider's first message went: as it was remembered, or else as it is recorded.
BEGAN = """
SELECT coalesce(
    (SELECT began_at FROM warmup WHERE provider = :provider),
    (SELECT min(at) FROM usage WHERE name = 'provider/' || :provider))"""
#: Remember it for every provider that has sent anything, before its first steps are forgotten.
BEGIN_ALL = """
INSERT INTO warmup (provider, began_at)
SELECT substr(name, length('provider/') + 1), min(at) FROM usage
WHERE name > 'provider/' AND name < 'provider0' GROUP BY name
ON CONFLICT (provider) DO NOTHING"""
#: A warm-up that begins in the future would not grow until then.
BEGIN_NOW = "UPDATE warmup SET began_at = :now WHERE began_at > :now"
#: Some steps of a node in the table's order.
PAGE_OF_STEPS = """
SELECT name, at, slots FROM usage WHERE (name, at) > (?, ?) AND node = ? ORDER BY name, at LIMIT ?"""
FORGET = "DELETE FROM usage WHERE name = ? AND at = ? AND node = ?"

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

        def work(db: Transaction) -> dict[str, list[Step]]:
            found: dict[str, list[Step]] = {}
            for name, at, slots in db.execute(STEPS, {"name": prefix, "since": since}):
                found.setdefault(name, []).append((float(at), slots))
            return found

        return await self._db.read(work)

    async def warmup_began(self, provider: str) -> float | None:
        """When the provider's first message went, in seconds since the epoch; None while none has.

        Raises `StoreUnavailable`.
        """

        def work(db: Transaction) -> float | None:
            (began,) = db.execute(BEGAN, {"provider": provider}).fetchone()
            return None if began is None else float(began)

        return await self._db.read(work)


Row = tuple[str, int, int]  #: the limit's name, when the step began, how many slots


async def tidy_usage(db: Database, now: float) -> int:
    """Forget the steps that no rate looks at any longer and join old ones; returns how many rows went.

    Steps from the future, written before the clock was set back, become steps of now, or they would count
    anew at every start until their time has come. Raises `StoreUnavailable`.
    """

    await db.write(lambda unit: _begin_warmups(unit, now))
    removed, after = 0, ("", 0)
    while rows := await db.read(partial(_page, after=after)):
        if _tidied(rows, now) != _as_they_are(rows):
            removed += await db.write(partial(_tidy_page, after=after, now=now))
        after = rows[-1][:2]
    return removed


def _begin_warmups(unit: Unit, now: float) -> None:
    unit.db.execute(BEGIN_ALL)
    unit.db.execute(BEGIN_NOW, {"now": now})


def _page(db: Transaction, after: tuple[str, int]) -> list[Row]:
    return db.execute(PAGE_OF_STEPS, (*after, NODE, PAGE)).fetchall()


def _tidy_page(unit: Unit, after: tuple[str, int], now: float) -> int:
    rows = _page(unit.db, after)
    before, tidied = _as_they_are(rows), _tidied(rows, now)
    unit.db.executemany(FORGET, [(*step, NODE) for step in before.keys() - tidied.keys()])
    added = tidied - before  # no step becomes smaller
    write_rows(unit.db, SPEND, [(*step, NODE, slots) for step, slots in added.items()])
    return len(before) - len(tidied)


def _as_they_are(rows: Iterable[Row]) -> Counter[tuple[str, int]]:
    return Counter({(name, at): slots for name, at, slots in rows})


def _tidied(rows: Iterable[Row], now: float) -> Counter[tuple[str, int]]:
    """What some steps, in the table's order, become."""
    present, final = int(now // STEP * STEP), now - JOINED_AFTER - _HOUR
    tidied: Counter[tuple[str, int]] = Counter()
    last = ("", 0)
    for name, at, slots in rows:
        if at < now - REMEMBERED - STEP:
            continue
        step = (name, min(at, present))
        if at < final and (name, at // _HOUR) == (last[0], last[1] // _HOUR):
            slots += tidied.pop(last)  # two of one hour on two pages may stay two
        tidied[step] += slots
        last = step
    return tidied
