"""The attempt ledger: who is to be tried, what is being tried, and what came of it.

`record` is the hot path: it writes a worker's entries, in order, in one unit of work. An attempt that is open
is one whose outcome is not known; an index allows one per delivery, so that a double send would have to break
a constraint first. Every change of a delivery asks `lifecycle.advance_delivery` and is written only where the
delivery is still in the state that was asked about; its campaign's counters move with it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from hubd.core.ledger import Close, Entry, Open, Refusal, Requeue
from hubd.core.lifecycle import DeliveryEvent, advance_delivery
from hubd.core.model import CampaignState, Counts, DeliveryState, Due
from hubd.errors import Conflict, NotFound
from hubd.store.campaign_rows import counts_of
from hubd.store.database import Database, Unit
from hubd.store.deliveries import (
    AttemptRow,
    DeliveryRow,
    FailureGroup,
    MessageLife,
    count_again,
    failure_groups,
    life_of,
    page_of,
)
from hubd.store.requeue import Class, Settlement, requeue_one, requeue_page, resolve_page

__all__ = ["AttemptRow", "DeliveryRow", "FailureGroup", "Ledger", "MessageLife", "Recovered"]

#: A delivery, its campaign, and whether its address is suppressed: all that an entry is judged by.
STANDING = """
SELECT delivery.state AS state, delivery.campaign_id AS campaign_id, delivery.attempts AS attempts,
    delivery.withdrawn AS withdrawn, delivery.address_key AS address_key, campaign.state AS campaign_state,
    campaign.channel AS channel, campaign.name AS campaign,
    (SELECT reason FROM suppression
     WHERE channel = campaign.channel AND address_key = delivery.address_key) AS suppressed
FROM delivery JOIN campaign ON campaign.id = delivery.campaign_id WHERE delivery.id = ?"""
#: The delivery is on its way.
SENDING = """
UPDATE delivery SET state = 'sending', next_at = NULL, message_id = ?, updated_at = ?,
    first_attempt_at = coalesce(first_attempt_at, ?) WHERE id = ? AND state = ?"""
#: Its attempt, open.
OPEN_ATTEMPT = """
INSERT INTO attempt (delivery_id, n, epoch, provider, message_id, content_hash, opened_at)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
#: The recipient is never to be tried.
SKIP = """
UPDATE delivery SET state = 'skipped', reason = ?, next_at = NULL, updated_at = ?
WHERE id = ? AND state = ?"""
#: The outcome of the open attempt.
CLOSE_ATTEMPT = """
UPDATE attempt SET closed_at = :at, outcome = :outcome, stage = :stage, reason = :reason, detail = :detail,
    code = :code, enhanced = :enhanced, vendor = :vendor, provider_id = :provider_id
WHERE delivery_id = :delivery_id AND outcome IS NULL"""
#: An attempt that never had to be open.
CLOSED_ATTEMPT = """
INSERT INTO attempt (delivery_id, n, epoch, provider, message_id, content_hash, opened_at, closed_at, outcome,
    stage, reason, detail, code, enhanced, vendor, provider_id)
VALUES (:delivery_id, :n, :epoch, :provider, :message_id, '', :at, :at, :outcome,
    :stage, :reason, :detail, :code, :enhanced, :vendor, :provider_id)"""
#: What the outcome makes of the delivery. `tries` and `withdrawn` are 0 or 1.
SETTLE = """
UPDATE delivery SET state = :to, reason = :reason, detail = :detail, code = :code, next_at = :next_at,
    provider_id = :provider_id, attempts = attempts + :tries, withdrawn = withdrawn + :withdrawn,
    first_attempt_at = CASE WHEN :tries THEN coalesce(first_attempt_at, :at) ELSE first_attempt_at END,
    updated_at = :at
WHERE id = :delivery_id AND state = :from"""
#: The address is not to be sent to again.
SUPPRESS = """
INSERT INTO suppression (channel, address_key, reason, source, created_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING"""
#: Attempts that an earlier run of the daemon left open.
ORPHANS = """
SELECT attempt.id AS id, attempt.delivery_id AS delivery_id, delivery.campaign_id AS campaign_id
FROM attempt INDEXED BY attempt_one_open JOIN delivery ON delivery.id = attempt.delivery_id
WHERE attempt.outcome IS NULL AND attempt.epoch <> ? ORDER BY attempt.id"""
#: Nobody will ever know by itself what came of it.
ORPHAN_ATTEMPT = """
UPDATE attempt SET outcome = 'in_doubt', closed_at = ?, reason = 'interrupted', detail = ?
WHERE id = ? AND outcome IS NULL"""
#: Its delivery.
ORPHAN_DELIVERY = """
UPDATE delivery SET state = 'in_doubt', reason = 'interrupted', detail = ?, attempts = attempts + 1,
    updated_at = ? WHERE id = ? AND state = 'sending'"""
#: Whether a campaign has rows to try, and more than so many that were refused for now and are due again.
WAITING = """
SELECT n_pending AS pending, (SELECT count(*) FROM (
    SELECT 1 FROM delivery INDEXED BY delivery_later
    WHERE campaign_id = :campaign_id AND (state = 'pending' OR state = 'deferred')
        AND next_at <= :now LIMIT :limit + 1)) AS later
FROM campaign WHERE id = :campaign_id"""
#: What may be tried now, in id order.
DUE = """
SELECT id, recipient, attempts, fields, content_id, first_attempt_at, next_at
FROM delivery INDEXED BY delivery_due
WHERE campaign_id = :campaign_id AND id > :after AND (state = 'pending' OR state = 'deferred')
    AND (next_at IS NULL OR next_at <= :now)
ORDER BY id LIMIT :limit"""
#: The same when nothing is pending and few are due: found by their time, not among all that are not due yet.
DUE_LATER = """
SELECT id, recipient, attempts, fields, content_id, first_attempt_at, next_at
FROM delivery INDEXED BY delivery_later
WHERE campaign_id = :campaign_id AND id > :after AND (state = 'pending' OR state = 'deferred')
    AND next_at <= :now
ORDER BY id LIMIT :limit"""
#: The content of a campaign's deliveries that have none of their own.
CAMPAIGN_CONTENT = "SELECT content_id FROM campaign WHERE id = ?"
#: The first time that something may be tried; 0 when that is now.
NEXT_DUE = """
SELECT CASE WHEN EXISTS (
    SELECT 1 FROM delivery INDEXED BY delivery_due
    WHERE campaign_id = :campaign_id AND (state = 'pending' OR state = 'deferred') AND next_at IS NULL)
THEN 0.0 ELSE (
    SELECT min(next_at) FROM delivery INDEXED BY delivery_later
    WHERE campaign_id = :campaign_id AND (state = 'pending' OR state = 'deferred') AND next_at IS NOT NULL)
END"""
#: The counters of some campaigns.
COUNTERS = "SELECT * FROM campaign WHERE id IN (SELECT value FROM json_each(?))"
#: Whether everything is settled: the audience is complete and nothing is left to try or on its way.
SETTLED = """
SELECT audience_ready = 1 AND n_pending + n_deferred + n_sending = 0 FROM campaign WHERE id = ?"""
#: A one-off message.
ADD_SINGLE = """
INSERT INTO delivery (campaign_id, single, recipient, address_key, updated_at, content_id, fields)
VALUES (?, 1, ?, ?, ?, ?, ?)"""
#: What came of a request that was made before.
REQUEST = "SELECT delivery_id FROM request WHERE key = ?"
#: Remember what came of it.
ADD_REQUEST = "INSERT INTO request (key, delivery_id, created_at) VALUES (?, ?, ?)"

#: Attempts of one campaign that are open, whichever run of the daemon opened them.
ABANDONED = """
SELECT attempt.id AS id, attempt.delivery_id AS delivery_id, delivery.campaign_id AS campaign_id
FROM attempt INDEXED BY attempt_one_open JOIN delivery ON delivery.id = attempt.delivery_id
WHERE attempt.outcome IS NULL AND delivery.campaign_id = ? ORDER BY attempt.id"""

INTERRUPTED = "The daemon ended before the provider's answer came."
CRASHED = "The campaign was cut off before the provider's answer was written down."
MOST_DOUBTS = 3  #: how often a policy may send again what may have been accepted
PAGE = 2_000  #: deliveries changed in one unit by `requeue` and its like

_EVENT_OF: Mapping[DeliveryState, DeliveryEvent] = {
    DeliveryState.SENT: DeliveryEvent.ACCEPT,
    DeliveryState.DEFERRED: DeliveryEvent.DEFER,
    DeliveryState.FAILED: DeliveryEvent.FAIL,
    DeliveryState.SKIPPED: DeliveryEvent.SKIP,
    DeliveryState.IN_DOUBT: DeliveryEvent.DOUBT,
    DeliveryState.PENDING: DeliveryEvent.WITHDRAW,
}
_TOLD = {DeliveryState.FAILED: "delivery.failed", DeliveryState.IN_DOUBT: "delivery.in_doubt"}
_UNTRIED = (DeliveryState.PENDING, DeliveryState.DEFERRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """How many attempts an earlier run left open, by campaign id; they are `in_doubt` now."""

    in_doubt: Mapping[int, int]

    @property
    def total(self) -> int:
        """Over all campaigns."""
        return sum(self.in_doubt.values())


class Ledger:
    """Deliveries and attempts. All methods are async; each write is one unit of work or says otherwise."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def due(self, campaign_id: int, now: float, limit: int, exclude_after: int = 0) -> list[Due]:
        """Up to `limit` deliveries that may be tried now, in id order, with ids above `exclude_after`.

        Nothing is reserved: what is not opened meanwhile comes again when the cursor goes back to 0.
        """

        def work(db: sqlite3.Connection) -> list[Due]:
            at = {"campaign_id": campaign_id, "now": now, "limit": limit, "after": exclude_after}
            waiting = db.execute(WAITING, at).fetchone()
            if waiting is None or not (waiting["pending"] or waiting["later"]):
                return []
            few = not waiting["pending"] and waiting["later"] <= limit
            own: int = db.execute(CAMPAIGN_CONTENT, (campaign_id,)).fetchone()[0]
            return [_due(row, own) for row in db.execute(DUE_LATER if few else DUE, at)]

        return await self._db.read(work)

    async def next_due_at(self, campaign_id: int) -> float | None:
        """When the next untried or deferred delivery may be tried, 0 for at once; None when none is left."""

        def work(db: sqlite3.Connection) -> float | None:
            first: float | None = db.execute(NEXT_DUE, {"campaign_id": campaign_id}).fetchone()[0]
            return first

        return await self._db.read(work)

    async def counts(self, campaign_ids: Sequence[int]) -> dict[int, Counts]:
        """The counters of these campaigns, all as of one moment."""

        def work(db: sqlite3.Connection) -> dict[int, Counts]:
            rows = db.execute(COUNTERS, (json.dumps(list(campaign_ids)),))
            return {row["id"]: counts_of(row) for row in rows}

        return await self._db.read(work)

    async def record(self, entries: Sequence[Entry]) -> list[Refusal | None]:
        """Write these entries in order, all in one unit: durable when this returns.

        One result for each: None when it is done, a Refusal for an `Open` that must not be. Raises, with
        nothing written, InvalidTransition, Conflict ("attempt_not_open") for a `Close` that has nothing to
        close, NotFound ("delivery_not_found"), StoreUnavailable.
        """
        epoch = self._db.epoch

        def work(unit: Unit) -> list[Refusal | None]:
            return [_enter(unit, entry, epoch) for entry in entries]

        return await self._db.write(work)

    async def recover(self) -> Recovered:
        """Attempts that an earlier run left open become `in_doubt`; call it once, before anything is sent."""
        return await self._db.write(lambda unit: _lose(unit, ORPHANS, (self._db.epoch,), INTERRUPTED))

    async def abandon(self, campaign_id: int) -> int:
        """A campaign's task crashed: its attempts that are still open become `in_doubt`. How many."""
        return await self._db.write(lambda unit: _lose(unit, ABANDONED, (campaign_id,), CRASHED).total)

    async def release_doubts(self, campaign_id: int, again_at: float | None = None) -> int:
        """What is `in_doubt` is to be tried again, as a possible duplicate (policy `retry`); how many.

        At once, or not before `again_at`.
        A delivery that was in doubt three times stays so: somebody has to look at it.
        """
        return await self._resolve(campaign_id, "resend", most_doubts=MOST_DOUBTS, again_at=again_at)

    async def resolve_doubt(self, campaign_id: int, how: Settlement) -> int:
        """Decide what is `in_doubt`: "resend" it, or it was "sent" or "failed". How many; page by page."""
        return await self._resolve(campaign_id, how)

    async def _resolve(
        self,
        campaign_id: int,
        how: Settlement,
        *,
        most_doubts: int | None = None,
        again_at: float | None = None,
    ) -> int:
        page = partial(
            resolve_page,
            campaign_id=campaign_id,
            how=how,
            limit=PAGE,
            most_doubts=most_doubts,
            again_at=again_at,
        )
        changed = 0
        while done := await self._db.write(page):
            changed += done
        return changed

    async def requeue(self, campaign_id: int, which: Class) -> int:
        """Failures are tried again: "transient", "permanent" or "all". How many; page by page.

        Their time to give up starts anew. Undelivered ones count as permanent.
        """
        changed, after = 0, 0
        while True:
            page = partial(requeue_page, campaign_id=campaign_id, which=which, after=after, limit=PAGE)
            done, last = await self._db.write(page)
            changed += done
            if last is None:
                return changed
            after = last

    async def settled(self, campaign_id: int) -> bool:
        """Whether the audience is complete and nothing is left to try or on its way."""

        def work(db: sqlite3.Connection) -> bool:
            row = db.execute(SETTLED, (campaign_id,)).fetchone()
            return row is not None and bool(row[0])

        return await self._db.read(work)

    async def add_single(
        self,
        campaign_id: int,
        recipient: str,
        key: str,
        fields: Mapping[str, str],
        content_id: int,
        *,
        idempotency_key: str = "",
    ) -> int:
        """Queue a one-off message in a standing campaign; its delivery id.

        A second call with the same `idempotency_key` queues nothing and returns the first one's id.
        """

        def work(unit: Unit) -> int:
            if idempotency_key:
                made = unit.db.execute(REQUEST, (idempotency_key,)).fetchone()
                if made is not None:
                    return int(made["delivery_id"])
            text = json.dumps(dict(fields), ensure_ascii=False)
            values = (campaign_id, recipient, key, unit.now, content_id, text)
            delivery_id = unit.db.execute(ADD_SINGLE, values).lastrowid
            assert delivery_id is not None
            unit.moved(campaign_id, None, DeliveryState.PENDING)
            if idempotency_key:
                unit.db.execute(ADD_REQUEST, (idempotency_key, delivery_id, unit.now))
            return delivery_id

        return await self._db.write(work)

    async def deliveries(
        self, campaign_id: int, state: DeliveryState | None = None, after_id: int = 0, limit: int = 500
    ) -> list[DeliveryRow]:
        """A page of a campaign's deliveries in id order, all or those in one state."""
        return await self._db.read(lambda db: page_of(db, campaign_id, state, after_id, limit))

    async def message(self, delivery_id: int) -> MessageLife:
        """Everything that is known of one delivery. Raises NotFound ("delivery_not_found")."""
        return await self._db.read(lambda db: life_of(db, delivery_id))

    async def failures(self, campaign_id: int) -> list[FailureGroup]:
        """What failed or is in doubt, grouped by reason and code, most frequent first."""
        return await self._db.read(lambda db: failure_groups(db, campaign_id))

    async def recount(self, campaign_id: int) -> Counts:
        """The counters counted anew from the deliveries; they must equal `Campaign.counts`."""
        return await self._db.read(lambda db: count_again(db, campaign_id))


def _due(row: sqlite3.Row, campaign_content: int) -> Due:
    return Due(
        id=row["id"],
        recipient=row["recipient"],
        attempts=row["attempts"],
        fields=json.loads(row["fields"]),
        content_id=campaign_content if row["content_id"] is None else row["content_id"],
        first_attempt_at=row["first_attempt_at"],
        next_at=row["next_at"],
    )


def _standing(unit: Unit, delivery_id: int) -> sqlite3.Row:
    row: sqlite3.Row | None = unit.db.execute(STANDING, (delivery_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such delivery", code="delivery_not_found")
    return row


def _enter(unit: Unit, entry: Entry, epoch: int) -> Refusal | None:
    match entry:
        case Open():
            return _open(unit, entry, epoch)
        case Close():
            return _close(unit, entry, epoch)
        case Requeue():
            requeue_one(unit, entry.delivery_id)
            return None


def _open(unit: Unit, entry: Open, epoch: int) -> Refusal | None:
    at = _standing(unit, entry.delivery_id)
    state = DeliveryState(at["state"])
    if at["campaign_state"] != CampaignState.RUNNING:
        return Refusal(why="campaign_state")
    if state not in _UNTRIED:
        return Refusal(why="delivery_state")
    if at["suppressed"] is not None:
        target = advance_delivery(state, DeliveryEvent.SKIP)
        reason = "opted_out" if at["suppressed"] == "opted_out" else "suppressed"
        _one(unit.db.execute(SKIP, (reason, entry.at, entry.delivery_id, state)))
        unit.moved(at["campaign_id"], state, target)
        return Refusal(why="suppressed", skipped=True)
    target = advance_delivery(state, DeliveryEvent.OPEN)
    values = (entry.message_id, entry.at, entry.at, entry.delivery_id, state)
    _one(unit.db.execute(SENDING, values))
    n = at["attempts"] + at["withdrawn"] + 1
    unit.db.execute(
        OPEN_ATTEMPT,
        (entry.delivery_id, n, epoch, entry.provider, entry.message_id, entry.content_hash, entry.at),
    )
    unit.moved(at["campaign_id"], state, target)
    return None


def _close(unit: Unit, entry: Close, epoch: int) -> Refusal | None:
    at = _standing(unit, entry.delivery_id)
    state = DeliveryState(at["state"])
    if not entry.opened and state not in _UNTRIED and state is not DeliveryState.SENDING:
        return Refusal(why="delivery_state")
    if entry.opened is not (state is DeliveryState.SENDING):
        raise Conflict(
            "this attempt has been closed already"
            if entry.opened
            else "an attempt for this delivery is open",
            code="attempt_not_open" if entry.opened else "attempt_open",
            data={"delivery_id": entry.delivery_id},
        )
    event = _EVENT_OF.get(entry.to)
    if event is None:
        raise Conflict(f"no attempt ends in {entry.to.value}", code="not_an_outcome")
    target = advance_delivery(state, event)
    counts = target is not DeliveryState.PENDING
    values = _outcome(entry) | {
        "outcome": target.value if counts else "withdrawn",
        "from": state.value,
        "to": target.value,
        "tries": int(counts),
        "withdrawn": int(entry.opened and not counts),
        "n": at["attempts"] + at["withdrawn"] + 1,
        "epoch": epoch,
    }
    if entry.opened:
        _one(unit.db.execute(CLOSE_ATTEMPT, values))
    elif counts:
        unit.db.execute(CLOSED_ATTEMPT, values)
    _one(unit.db.execute(SETTLE, values))
    unit.moved(at["campaign_id"], state, target)
    if entry.suppress:
        source = f"campaign {at['campaign']}"
        unit.db.execute(SUPPRESS, (at["channel"], at["address_key"], entry.suppress, source, entry.at))
    if target in _TOLD:
        data = {"delivery_id": entry.delivery_id, "reason": entry.reason, "code": entry.code}
        unit.event(_TOLD[target], at["campaign_id"], data)
    return None


def _outcome(entry: Close) -> dict[str, object]:
    """The columns of an attempt that come straight from the entry."""
    return {
        "delivery_id": entry.delivery_id,
        "at": entry.at,
        "stage": entry.stage,
        "reason": entry.reason,
        "detail": entry.detail,
        "code": entry.code,
        "enhanced": entry.enhanced,
        "vendor": entry.vendor,
        "provider_id": entry.provider_id,
        "provider": entry.provider,
        "message_id": entry.message_id,
        "next_at": entry.at
        if entry.to is DeliveryState.DEFERRED and entry.next_at is None
        else entry.next_at,
    }


def _lose(unit: Unit, which: str, chosen: tuple[int, ...], detail: str) -> Recovered:
    """Open attempts whose outcome nobody will ever know by itself."""
    counts: dict[int, int] = {}
    for orphan in unit.db.execute(which, chosen).fetchall():
        delivery_id, campaign_id = orphan["delivery_id"], orphan["campaign_id"]
        target = advance_delivery(DeliveryState.SENDING, DeliveryEvent.DOUBT)
        _one(unit.db.execute(ORPHAN_ATTEMPT, (unit.now, detail, orphan["id"])))
        _one(unit.db.execute(ORPHAN_DELIVERY, (detail, unit.now, delivery_id)))
        unit.moved(campaign_id, DeliveryState.SENDING, target)
        data = {"delivery_id": delivery_id, "reason": "interrupted", "code": 0}
        unit.event("delivery.in_doubt", campaign_id, data)
        counts[campaign_id] = counts.get(campaign_id, 0) + 1
    return Recovered(in_doubt=counts)


def _one(done: sqlite3.Cursor) -> None:
    """Exactly one row was changed, or what was read is not what was there: nothing of the unit may stay."""
    if done.rowcount != 1:
        raise Conflict("the delivery is not in the state that this entry is about", code="lost_update")
