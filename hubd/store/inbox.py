"""The inbox: what came back, how far each source was read, and what people decide about replies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial

from hubd.core.inbound import Item, ItemKind
from hubd.core.inbox import Booked, BounceRules, Decision, Filter, InboxRow, SourceCursor
from hubd.core.measures import Measure
from hubd.core.model import SkipReason
from hubd.core.tokens import Tokens
from hubd.errors import Conflict, NotFound
from hubd.store.booking import CAME_BEFORE, SUPPRESS, book
from hubd.store.cancelling import TO_ADDRESSES, cancel_waiting
from hubd.store.database import Database
from hubd.store.erased_recipients import erased_recipient, suppress_hash
from hubd.store.holding import decided, opted_out
from hubd.store.transaction import Row, Transaction, record
from hubd.store.unit import Unit, Work

#: How far a source was read.
CURSOR = "SELECT cursor FROM inbound_source WHERE name = ?"
SOURCES = "SELECT * FROM inbound_source ORDER BY name"
SAVE_CURSOR = """
INSERT INTO inbound_source (name, cursor, read_at) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor, read_at = excluded.read_at"""
_ROW = """
SELECT inbox.*, campaign.name AS campaign
FROM inbox LEFT JOIN campaign ON campaign.id = inbox.campaign_id AND campaign.doomed = 0"""
#: One item.
ONE = f"{_ROW} WHERE inbox.id = ?"
#: What chooses a page, newest first; each is served by an index.
_CHOICES = {
    "": "",
    "campaign": "AND inbox.campaign_id = :campaign_id",
    "kind": "AND inbox.kind = :kind AND inbox.delivery_id IS NOT NULL",
    "unmatched": "AND inbox.delivery_id IS NULL",
    "waiting": "AND inbox.decision = 'waiting'",
}
#: About one message, the oldest first.
OF_DELIVERY = f"{_ROW} WHERE inbox.delivery_id = ? ORDER BY inbox.id LIMIT 100"
#: How many replies wait for somebody's decision.
WAITING = "SELECT count(*) FROM inbox WHERE decision = 'waiting'"
#: Whether another reply holds an address,
STILL_HELD = "SELECT 1 FROM held_address WHERE channel = ? AND address_key = ? LIMIT 1"
#: which else is sent to again, at once.
GO_ON = """
UPDATE delivery SET next_at = NULL, reason = '', updated_at = ?
WHERE id IN (SELECT value FROM json_each(?)) AND reason = 'held'
    AND (state = 'pending' OR state = 'deferred')"""
#: Where the message went that it is about.
ADDRESS_OF = "SELECT address_key FROM delivery WHERE id = ? AND recipient <> ''"
#: It was answered.
ANSWERED = "UPDATE inbox SET answer_id = ? WHERE id = ?"

#: Items in one unit of work, which every message on its way waits for.
AT_ONCE = 500
_LAST = 2**63 - 1


class Inbox:
    """All methods are async; each write is one unit of work or says otherwise."""

    def __init__(self, db: Database, tokens: Tokens, rules: BounceRules | None = None) -> None:
        self.rules = rules or BounceRules()  #: may be replaced: for what is booked from then on
        self._db = db
        self._tokens = tokens

    async def cursor(self, source: str) -> str:
        """Where the next look at a source begins; "" when it was never read."""
        row = await self._db.read(lambda db: db.execute(CURSOR, (source,)).fetchone())
        return "" if row is None else str(row[0])

    async def sources(self) -> list[SourceCursor]:
        """Every source that was ever read."""
        rows = await self._db.read(lambda db: db.execute(SOURCES).fetchall())
        return [record(SourceCursor, row) for row in rows]

    async def book(
        self, source: str, items: Sequence[Item], cursor: str, *, leave_for: float = 0.0
    ) -> Booked:
        """Book one look at a source: its effects, and where the next look begins, in one unit of work.

        A long one is several, so that messages on their way do not wait; the cursor is written with the last,
        and what was booked twice has no further effect. Raises StoreUnavailable.
        """
        new: Counter[ItemKind] = Counter()
        left: list[str] = []
        nobody: list[str] = []
        unmatched, waiting = 0, False
        for start in range(0, max(len(items), 1), AT_ONCE):
            page = items[start : start + AT_ONCE]
            last = cursor if start + AT_ONCE >= len(items) else None
            done = await self._db.write(partial(self._book, source, page, last, leave_for))
            new.update(done.new)
            left += done.left
            nobody += done.nobody
            unmatched += done.unmatched
            waiting |= done.waiting
        return Booked(
            new=dict(new), left=tuple(left), unmatched=unmatched, waiting=waiting, nobody=tuple(nobody)
        )

    def _book(
        self, source: str, items: Sequence[Item], cursor: str | None, leave_for: float, unit: Unit
    ) -> Booked:
        done = book(unit, source, items, tokens=self._tokens, rules=self.rules, leave_for=leave_for)
        if cursor is not None:
            unit.db.execute(SAVE_CURSOR, (source, cursor, unit.now))
        return done

    async def page(
        self,
        campaign_id: int | None = None,
        kind: Filter | None = None,
        before: int | None = None,
        limit: int = 200,
    ) -> list[InboxRow]:
        """The newest items before one of them: of a campaign, of a kind, or all.

        "unmatched" are those about no message of ours, "waiting" the replies that need a decision.
        """
        chosen = [] if campaign_id is None else ["campaign"]
        if kind is not None:
            chosen.append(kind if kind in _CHOICES else "kind")
        asked = {
            "campaign_id": campaign_id,
            "kind": kind,
            "before": _LAST if before is None else before,
            "limit": limit,
        }
        where = " ".join(_CHOICES[each] for each in chosen)
        statement = f"{_ROW} WHERE inbox.id < :before {where} ORDER BY inbox.id DESC LIMIT :limit"
        rows = await self._db.read(lambda db: db.execute(statement, asked).fetchall())
        return [_item(row) for row in rows]

    async def get(self, number: int) -> InboxRow:
        """Raises NotFound ("item_not_found")."""
        return await self._db.read(lambda db: item_of(db, number))

    async def about(self, delivery_id: int) -> list[InboxRow]:
        """What came back about one message, the oldest first."""
        rows = await self._db.read(lambda db: db.execute(OF_DELIVERY, (delivery_id,)).fetchall())
        return [_item(row) for row in rows]

    async def waiting(self) -> int:
        """How many replies need a decision."""
        return await self._db.read(lambda db: int(db.execute(WAITING).fetchone()[0]))

    def deciding(self, number: int, decision: Decision) -> Work[bool]:
        """The unit of work that decides about a reply: whether that is new.

        "opt_out" suppresses who wrote it, and decides what else they wrote; "continue" sends what was held.
        Raises NotFound ("item_not_found"), and Conflict for what is no reply or was decided otherwise.
        """
        return lambda unit: _decide(unit, number, decision)

    def answering(self, number: int, adding: Work[int]) -> Work[int]:
        """The unit of work that queues an answer, as `adding` does, and notes it with the item."""

        def work(unit: Unit) -> int:
            delivery_id = adding(unit)
            unit.db.execute(ANSWERED, (delivery_id, number))
            return delivery_id

        return work


def item_of(db: Transaction, number: int) -> InboxRow:
    """See `Inbox.get`."""
    row = db.execute(ONE, (number,)).fetchone()
    if row is None:
        raise NotFound("there is no such item", code="item_not_found", hint="to list them: hubctl inbox")
    return _item(row)


def _item(row: Row) -> InboxRow:
    return record(InboxRow, row)


def _decide(unit: Unit, number: int, decision: Decision) -> bool:
    item = item_of(unit.db, number)
    if item.kind is not ItemKind.REPLY:
        raise Conflict(f"item {number} is not a reply: there is nothing to decide", code="nothing_to_decide")
    if item.decision == decision:
        return False
    if item.decision not in ("", "waiting"):
        hint = "to write to the person again: hubctl suppress remove" if item.decision == "opt_out" else ""
        raise Conflict(f"item {number} was already decided: {item.decision}", code="decided", hint=hint)
    held = decided(unit, number, decision, _campaign_of(unit, item), item.delivery_id)
    if decision == "opt_out":
        _opt_out(unit, item)
    else:
        keys = [key for key in held if not _is_held(unit, item, key)]
        rows = unit.db.execute(TO_ADDRESSES, {"keys": json.dumps(keys), "all": False})
        unit.db.execute(GO_ON, (unit.now, json.dumps([row["id"] for row in rows])))
    return True


def _is_held(unit: Unit, item: InboxRow, key: str) -> bool:
    return unit.db.execute(STILL_HELD, (item.channel.value, key)).fetchone() is not None


def _opt_out(unit: Unit, item: InboxRow) -> None:
    campaign = _campaign_of(unit, item)
    keys = {item.address_key}
    if item.delivery_id is not None:
        found = unit.db.execute(ADDRESS_OF, (item.delivery_id,)).fetchone()
        if found is not None:
            keys.add(str(found[0]))
        elif (erased := erased_recipient(unit.db, item.delivery_id)) is not None:
            keys.add(erased.address_key)
            suppress_hash(unit, erased.hash, SkipReason.OPTED_OUT, campaign, item.source)
        earlier = unit.db.execute(CAME_BEFORE, (item.delivery_id, ItemKind.OPT_OUT.value)).fetchone()
        if earlier is None and campaign is not None:
            unit.measured(campaign, Measure.OPT_OUTS, unit.now)
    keys = opted_out(unit, item.channel, keys - {""})
    for key in sorted(keys):
        reason = SkipReason.OPTED_OUT.value
        unit.db.execute(SUPPRESS, (item.channel.value, key, reason, campaign, item.source, unit.now))
    cancel_waiting(unit, sorted(keys), SkipReason.OPTED_OUT)


#: The campaign that an item is about, if it is still there.
CAMPAIGN = """
SELECT campaign.id FROM inbox JOIN campaign ON campaign.id = inbox.campaign_id AND campaign.doomed = 0
WHERE inbox.id = ?"""


def _campaign_of(unit: Unit, item: InboxRow) -> int | None:
    row = unit.db.execute(CAMPAIGN, (item.id,)).fetchone()
    return None if row is None else int(row[0])
