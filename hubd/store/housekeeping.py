"""What would grow for ever: old events, requests too old to be repeated, what rate limits granted longer ago
than any of them looks back, soft bounces that count no more, the hours of old figures, and hashes of whom
messages went to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from hubd.store.commands import tidy_answers
from hubd.store.database import Database
from hubd.store.erased_recipients import KEEP_DAYS, remove_old
from hubd.store.events import Events
from hubd.store.rollup import sum_up_days
from hubd.store.transaction import Transaction
from hubd.store.unit import Unit
from hubd.store.usage import tidy_usage

#: Requests made before a time, after a key. Looks at all of them, so it is for a reader.
OLD_REQUESTS = "SELECT key FROM request WHERE key > ? AND created_at < ? ORDER BY key LIMIT ?"
#: Those of a page, found by their keys.
REMOVE_REQUESTS = "DELETE FROM request WHERE key IN (SELECT value FROM json_each(?)) AND created_at < ?"

#: Bounces of before a time; `[bounces] soft_days` looks back a year at most.
OLD_BOUNCE = "SELECT EXISTS (SELECT 1 FROM soft_bounce WHERE at < ?)"
REMOVE_BOUNCES = """
DELETE FROM soft_bounce WHERE (channel, address_key, delivery_id) IN (
    SELECT channel, address_key, delivery_id FROM soft_bounce WHERE at < ? LIMIT ?)"""

PAGE = 1_000  #: rows removed in one unit of work
LONGEST_SOFT_DAYS = 366
_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """How many rows were removed."""

    events: int
    requests: int
    bounces: int = 0  #: that were remembered for an address
    usage: int = 0  #: including those that were joined to others
    hours: int = 0  #: of the roll-up, that became days
    recipients: int = 0  #: hashes of whom erased messages went to


async def tidy(
    db: Database, *, now: float, keep_events: int = 200_000, keep_requests_days: float = 30
) -> Tidied:
    """Remove all but the newest events, requests older than this many days, usage that no rate looks at and
    hashes that no link needs, and sum up old hours by days.

    `now` is in seconds on the steady clock: one that was set must not make everything old. In small units of
    work, while messages are sent. What is cut off continues at the next call. A subscriber whose cursor is
    older than the oldest event left is told so, and a request repeated after that long is a new one. Raises
    `StoreUnavailable`.
    """
    old = now - keep_requests_days * _DAY
    return Tidied(
        events=await Events(db).prune(keep_events),
        requests=await _tidy_requests(db, old) + await tidy_answers(db, old),
        bounces=await _tidy_bounces(db, now - LONGEST_SOFT_DAYS * _DAY),
        usage=await tidy_usage(db, now),
        hours=await sum_up_days(db, now),
        recipients=await _tidy_recipients(db, now - KEEP_DAYS * _DAY),
    )


async def _tidy_requests(db: Database, before: float) -> int:
    removed, after = 0, ""
    while keys := await _old_requests(db, after, before):

        def work(unit: Unit, page: str = json.dumps(keys)) -> int:
            return unit.db.execute(REMOVE_REQUESTS, (page, before)).rowcount

        removed += await db.write(work, bulk=True)
        after = keys[-1]
    return removed


async def _tidy_recipients(db: Database, before: float) -> int:
    removed = 0
    while page := await db.write(lambda unit: remove_old(unit, before, PAGE), bulk=True):
        removed += page
    return removed


async def _tidy_bounces(db: Database, before: float) -> int:
    removed = 0
    while await db.read(lambda reader: bool(reader.execute(OLD_BOUNCE, (before,)).fetchone()[0])):
        removed += await db.write(
            lambda unit: unit.db.execute(REMOVE_BOUNCES, (before, PAGE)).rowcount, bulk=True
        )
    return removed


async def _old_requests(db: Database, after: str, before: float) -> list[str]:
    def work(reader: Transaction) -> list[str]:
        return [key for (key,) in reader.execute(OLD_REQUESTS, (after, before, PAGE))]

    return await db.read(work)
