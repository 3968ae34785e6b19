"""Old history: what messages said, to whom they were, what came back, and events, removed page by page.

Rows and counters stay, so that all figures do; what they say of people goes. Of what came back about no
message of ours, and of notifications, the rows go, too: no figure counts them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from hubd.core.model import ENDED, DeliveryState
from hubd.store.database import Database
from hubd.store.events import Events
from hubd.store.forgetting import EMPTY_ITEM, empty_contents, erase
from hubd.store.transaction import Row, Transaction
from hubd.store.unit import Unit

PAGE = 500  #: rows in one unit of work
READ_AGAIN = 31 * 86_400.0  #: seconds in which a mail may be read again, and is to be known; one day more

#: Campaigns that have ended before a time, with how far each is thinned; and those that never end: queues of
#: one-off messages, and campaigns that go to whoever is added to a list.
CAMPAIGNS = """
SELECT id, (single = 1 OR trigger_list <> '') AS endless,
    coalesce((SELECT after FROM thinning WHERE campaign_id = id AND what = :what), 0) AS after,
    coalesce(completed_at, updated_at) AS ended
FROM campaign WHERE doomed = 0 AND (single = 1 OR trigger_list <> '' OR (
    state IN (SELECT value FROM json_each(:ended)) AND coalesce(completed_at, updated_at) < :before))"""
#: Whether a campaign still is one that is thinned: it may continue meanwhile.
STILL = """
SELECT 1 FROM campaign WHERE id = ? AND (single = 1 OR trigger_list <> ''
    OR state IN (SELECT value FROM json_each(?)))"""
#: The next deliveries, up to one that is too young.
DELIVERIES = """
SELECT id, state, single, content_id, updated_at, recipient = '' AS erased, fields = '{}' AS emptied
FROM delivery WHERE campaign_id = ? AND id > ? ORDER BY id LIMIT ?"""
#: Those that had to wait. One that was removed since has no state.
LEFT = """
SELECT thinning_left.id, state, single, content_id, updated_at, recipient = '' AS erased,
    fields = '{}' AS emptied
FROM thinning_left LEFT JOIN delivery ON delivery.id = thinning_left.id
WHERE what = ? AND thinning_left.id > ? ORDER BY thinning_left.id LIMIT ?"""
LEAVE = """
INSERT INTO thinning_left (what, id) SELECT ?, value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"""
LEAVE_NO_MORE = "DELETE FROM thinning_left WHERE what = ? AND id IN (SELECT value FROM json_each(?))"
#: How far it is done; campaign 0 stands for what belongs to none.
AFTER = "SELECT coalesce((SELECT after FROM thinning WHERE campaign_id = ? AND what = ?), 0)"
ADVANCE = """
INSERT INTO thinning (campaign_id, what, after) VALUES (?, ?, ?)
ON CONFLICT (campaign_id, what) DO UPDATE SET after = excluded.after"""
#: What a message was written from.
EMPTY_FIELDS = "UPDATE delivery SET fields = '{}' WHERE id IN (SELECT value FROM json_each(?))"
#: What came back, in the order in which it did.
ITEMS = """
SELECT id, delivery_id, decision, booked_at AS updated_at FROM inbox WHERE id > ? ORDER BY id LIMIT ?"""
ITEMS_LEFT = """
SELECT thinning_left.id, delivery_id, coalesce(decision, '') AS decision,
    coalesce(decided_at, 0) AS updated_at
FROM thinning_left LEFT JOIN inbox ON inbox.id = thinning_left.id
WHERE what = 'inbox' AND thinning_left.id > ? ORDER BY thinning_left.id LIMIT ?"""
EMPTY_ITEMS = f"{EMPTY_ITEM} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - only our own words
#: About no message of ours. An entry of a provider's list stays, emptied and under a keyed hash: the list is
#: read as a whole again and again, and this is what tells the entry from a new one.
REMOVE_ITEMS = """
DELETE FROM inbox WHERE delivery_id IS NULL AND key NOT LIKE 'list/%' AND key NOT LIKE 'opted-out/%'
    AND id IN (SELECT value FROM json_each(?))"""
#: Notifications from before a time, but for those that an email has still to tell.
REMOVE_NOTICES = """
DELETE FROM notification WHERE id IN (
    SELECT id FROM notification WHERE at < ? AND mailed_at IS NOT NULL ORDER BY id LIMIT ?)"""
#: The newest event before a time. Their order is that of their times, but for a clock that was set.
OLD_EVENT = "SELECT max(seq) FROM event WHERE at < ?"

OLDEST_EVENT = "SELECT at FROM event ORDER BY seq LIMIT 1"

_UNFINISHED = {DeliveryState.PENDING, DeliveryState.DEFERRED, DeliveryState.SENDING, DeliveryState.IN_DOUBT}
#: Those of a campaign that has ended are sent when it goes on, and then all of it is looked at again.
_SENT_LATER = {DeliveryState.PENDING, DeliveryState.DEFERRED}
_ENDED = json.dumps(sorted(ENDED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long history is kept, in seconds; None for ever."""

    deliveries: float | None = None  #: whom messages were to, and what came back
    content: float | None = None  #: what they said
    events: float | None = None  #: with notifications


async def thin(db: Database, retention: Retention, now: float) -> int:
    """Remove what is older than it may be kept; of how many deliveries. Raises `StoreUnavailable`.

    In small units of work, while messages are sent. What is cut off continues at the next call.
    """
    thinned = 0
    for what, kept in (("content", retention.content), ("deliveries", retention.deliveries)):
        if kept is not None:
            thinned += await _thin(db, what, now - kept)
    if retention.deliveries is not None:
        before = now - max(retention.deliveries, READ_AGAIN)
        await _pages(db, partial(_items_left, before=before))
        await _pages(db, partial(_items, before=before))
    if retention.events is not None:
        before = now - retention.events
        last: int | None = await db.read(lambda reader: reader.execute(OLD_EVENT, (before,)).fetchone()[0])
        if last is not None:
            await Events(db).prune_through(last)
        await _pages(db, partial(_notices, before=before))
    return thinned


def overdue(db: Transaction, retention: Retention, now: float) -> float:
    """For how many seconds the oldest of what is to be removed has been due; 0 if nothing is."""
    late = 0.0
    for what, kept in (("content", retention.content), ("deliveries", retention.deliveries)):
        if kept is None:
            continue
        asked = {"what": what, "ended": _ENDED, "before": now - kept}
        for campaign_id, endless, after, ended in db.execute(CAMPAIGNS, asked).fetchall():
            row = db.execute(DELIVERIES, (campaign_id, after, 1)).fetchone()
            if row is not None:
                since = row["updated_at"] if endless else max(row["updated_at"], ended)
                late = max(late, now - kept - since)
    if retention.events is not None:
        for (oldest,) in db.execute(OLDEST_EVENT):  # none, once all of them were removed
            late = max(late, now - retention.events - oldest)
    return late


async def _pages(db: Database, page: Callable[..., tuple[int, int]], after: int = 0) -> int:
    """Go through pages, each of which says how many rows it had and which was the last; how many in all."""
    total = 0
    while True:
        done, after = await db.write(partial(page, after=after), bulk=True)
        total += done
        if done < PAGE:
            return total


async def _thin(db: Database, what: str, before: float) -> int:
    def campaigns(reader: Transaction) -> list[tuple[int, bool, int]]:
        asked = {"what": what, "ended": _ENDED, "before": before}
        return [(row["id"], bool(row["endless"]), row["after"]) for row in reader.execute(CAMPAIGNS, asked)]

    await _pages(db, partial(_left, what=what, before=before))
    thinned = 0
    for campaign_id, endless, begin in await db.read(campaigns):
        page = partial(_page, campaign_id=campaign_id, what=what, all_wait=endless, before=before)
        thinned += await _pages(db, page, begin)
    return thinned


def _page(
    unit: Unit, *, campaign_id: int, what: str, all_wait: bool, after: int, before: float
) -> tuple[int, int]:
    """Thin the next deliveries of a campaign; how many, and the last of them.

    `all_wait`: whether those that are still to be sent are looked at again, and not only those in doubt.
    """
    if unit.db.execute(STILL, (campaign_id, _ENDED)).fetchone() is None:
        return 0, after
    rows = _old(unit.db.execute(DELIVERIES, (campaign_id, after, PAGE)).fetchall(), before)
    if not rows:
        return 0, after
    wait = _UNFINISHED if all_wait else _UNFINISHED - _SENT_LATER
    left = [row["id"] for row in rows if row["state"] in wait]
    unit.db.execute(LEAVE, (what, json.dumps(left)))
    _thin_rows(unit, what, [row for row in rows if row["state"] not in _UNFINISHED])
    unit.db.execute(ADVANCE, (campaign_id, what, rows[-1]["id"]))
    return len(rows), rows[-1]["id"]


def _left(unit: Unit, *, what: str, after: int, before: float) -> tuple[int, int]:
    """The next deliveries that had to wait: those that do no longer."""
    rows = unit.db.execute(LEFT, (what, after, PAGE)).fetchall()
    gone = [row for row in rows if row["state"] is None]
    ready = [row for row in rows if row["state"] not in (None, *_UNFINISHED) and row["updated_at"] < before]
    _thin_rows(unit, what, ready)
    unit.db.execute(LEAVE_NO_MORE, (what, _ids([*gone, *ready])))
    return len(rows), rows[-1]["id"] if rows else after


def _thin_rows(unit: Unit, what: str, rows: Sequence[Row]) -> None:
    """Thin these deliveries, which are finished."""
    if what == "content":
        unit.db.execute(EMPTY_FIELDS, (_ids([row for row in rows if not row["emptied"]]),))
        one_offs = [row for row in rows if row["single"]]
        empty_contents(unit, [row["id"] for row in one_offs], [row["content_id"] for row in one_offs])
    else:
        erase(unit, [row["id"] for row in rows if not row["erased"]])


def _items(unit: Unit, *, after: int, before: float) -> tuple[int, int]:
    """Thin the next of what came back, also about messages that were thinned before."""
    after = after or unit.db.execute(AFTER, (0, "inbox")).fetchone()[0]
    rows = _old(unit.db.execute(ITEMS, (after, PAGE)).fetchall(), before)
    if not rows:
        return 0, after
    left = [row["id"] for row in rows if row["decision"] == "waiting"]
    unit.db.execute(LEAVE, ("inbox", json.dumps(left)))
    _thin_items(unit, [row for row in rows if row["decision"] != "waiting"])
    unit.db.execute(ADVANCE, (0, "inbox", rows[-1]["id"]))
    return len(rows), rows[-1]["id"]


def _items_left(unit: Unit, *, after: int, before: float) -> tuple[int, int]:
    """The next replies that nobody had decided about: those about which somebody has."""
    rows = unit.db.execute(ITEMS_LEFT, (after, PAGE)).fetchall()
    ready = [row for row in rows if row["decision"] != "waiting" and row["updated_at"] < before]
    _thin_items(unit, ready)
    unit.db.execute(LEAVE_NO_MORE, ("inbox", _ids(ready)))
    return len(rows), rows[-1]["id"] if rows else after


def _thin_items(unit: Unit, rows: Sequence[Row]) -> None:
    unit.db.execute(REMOVE_ITEMS, (_ids([row for row in rows if row["delivery_id"] is None]),))
    unit.db.execute(EMPTY_ITEMS, (_ids(rows),))


def _notices(unit: Unit, *, after: int, before: float) -> tuple[int, int]:
    return unit.db.execute(REMOVE_NOTICES, (before, PAGE)).rowcount, after


def _old(rows: Sequence[Row], before: float) -> list[Row]:
    """The rows up to one that is too young."""
    young = (n for n, row in enumerate(rows) if row["updated_at"] >= before)
    return list(rows[: next(young, len(rows))])


def _ids(rows: Sequence[Row]) -> str:
    return json.dumps([row["id"] for row in rows])
