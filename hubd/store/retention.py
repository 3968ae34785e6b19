"""Old history: what messages said, to whom they were, and events, removed page by page after a while.

Rows and counters stay, so that all figures do; what they say of people goes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial

from hubd.core.model import ENDED, DeliveryState
from hubd.store.database import Database
from hubd.store.events import Events
from hubd.store.forgetting import empty_contents, erase
from hubd.store.transaction import Transaction
from hubd.store.unit import Unit

PAGE = 500  #: deliveries in one unit of work

#: Campaigns that have ended before a time, and queues of one-off messages, with how far each is thinned.
CAMPAIGNS = """
SELECT id, coalesce((SELECT after FROM thinning WHERE campaign_id = id AND what = :what), 0) AS after
FROM campaign WHERE doomed = 0 AND (single = 1 OR (
    state IN (SELECT value FROM json_each(:ended)) AND coalesce(completed_at, updated_at) < :before))"""
#: The next deliveries, up to one that is too young or not finished.
DELIVERIES = """
SELECT id, state, single, content_id, updated_at FROM delivery
WHERE campaign_id = ? AND id > ? ORDER BY id LIMIT ?"""
ADVANCE = """
INSERT INTO thinning (campaign_id, what, after) VALUES (?, ?, ?)
ON CONFLICT (campaign_id, what) DO UPDATE SET after = excluded.after"""
#: What a message was written from.
EMPTY_FIELDS = "UPDATE delivery SET fields = '{}' WHERE id IN (SELECT value FROM json_each(?))"
#: The newest event before a time. Their order is that of their times, but for a clock that was set.
OLD_EVENT = "SELECT max(seq) FROM event WHERE at < ?"

_UNFINISHED = {DeliveryState.PENDING, DeliveryState.DEFERRED, DeliveryState.SENDING, DeliveryState.IN_DOUBT}
_ENDED = json.dumps(sorted(ENDED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long history is kept, in seconds; None for ever."""

    deliveries: float | None = None  #: whom messages were to
    content: float | None = None  #: what they said
    events: float | None = None


async def thin(db: Database, retention: Retention, now: float) -> int:
    """Remove what is older than it is to be kept; of how many deliveries. Raises `StoreUnavailable`.

    In small units of work, while messages are sent. What is cut off continues at the next call.
    """
    thinned = 0
    for what, kept in (("content", retention.content), ("deliveries", retention.deliveries)):
        if kept is not None:
            thinned += await _thin(db, what, now - kept)
    if retention.events is not None:
        before = now - retention.events
        last: int | None = await db.read(lambda reader: reader.execute(OLD_EVENT, (before,)).fetchone()[0])
        if last is not None:
            await Events(db).prune_through(last)
    return thinned


async def _thin(db: Database, what: str, before: float) -> int:
    def campaigns(reader: Transaction) -> list[tuple[int, int]]:
        asked = {"what": what, "ended": _ENDED, "before": before}
        return [(row["id"], row["after"]) for row in reader.execute(CAMPAIGNS, asked)]

    thinned = 0
    for campaign_id, after in await db.read(campaigns):
        while True:
            page = partial(_page, campaign_id=campaign_id, what=what, after=after, before=before)
            done, after = await db.write(page, bulk=True)
            thinned += done
            if done < PAGE:
                break
    return thinned


def _page(unit: Unit, *, campaign_id: int, what: str, after: int, before: float) -> tuple[int, int]:
    """Thin the next deliveries of a campaign; how many, and the last of them."""
    rows = []
    for row in unit.db.execute(DELIVERIES, (campaign_id, after, PAGE)).fetchall():
        if row["updated_at"] >= before or (row["single"] and row["state"] in _UNFINISHED):
            break
        rows.append(row)
    if not rows:
        return 0, after
    finished = [row for row in rows if row["state"] not in _UNFINISHED]
    if what == "content":
        unit.db.execute(EMPTY_FIELDS, (json.dumps([row["id"] for row in finished]),))
        one_offs = [row for row in finished if row["single"]]
        empty_contents(unit, [row["id"] for row in one_offs], [row["content_id"] for row in one_offs])
    else:
        erase(unit, [row["id"] for row in finished])
    unit.db.execute(ADVANCE, (campaign_id, what, rows[-1]["id"]))
    return len(rows), rows[-1]["id"]
