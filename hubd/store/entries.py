"""Writing the entries of the attempt ledger, one after another, inside a unit of work.

Every change of a delivery asks `lifecycle.advance_delivery` and is written only where the delivery is still
in the state that was asked about; its campaign's counters move with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from hubd.core.ledger import Close, Entry, Open, Refusal, Requeue
from hubd.core.lifecycle import DeliveryEvent, advance_delivery
from hubd.core.model import CampaignState, DeliveryState, SkipReason
from hubd.errors import Conflict
from hubd.store.contacts import SUPPRESS
from hubd.store.database import Unit
from hubd.store.requeue import no_such_delivery, requeue_one

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
INSERT INTO attempt (delivery_id, n, epoch, provider, account, message_id, content_hash, opened_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
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
    first_attempt_at = CASE WHEN :tries THEN coalesce(first_attempt_at, :steady) ELSE first_attempt_at END,
    refused = CASE WHEN :refused <> '' THEN :refused ELSE refused END,
    updated_at = :at
WHERE id = :delivery_id AND state = :from"""

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


def enter(unit: Unit, entry: Entry, epoch: int) -> Refusal | None:
    """Write one entry; see `Ledger.record` for what it raises."""
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
        known = at["suppressed"] == SkipReason.OPTED_OUT
        reason = SkipReason.OPTED_OUT if known else SkipReason.SUPPRESSED
        exactly_one(unit.db.execute(SKIP, (reason, entry.at, entry.delivery_id, at["state"])))
        unit.moved(at["campaign_id"], state, target)
        return Refusal(why="suppressed", skipped=True)
    target = advance_delivery(state, DeliveryEvent.OPEN)
    steady = entry.at if entry.steady is None else entry.steady
    values = (entry.message_id, entry.at, steady, entry.delivery_id, at["state"])
    exactly_one(unit.db.execute(SENDING, values))
    n = at["attempts"] + at["withdrawn"] + 1
    unit.db.execute(
        OPEN_ATTEMPT,
        (
            entry.delivery_id,
            n,
            epoch,
            entry.provider,
            entry.account,
            entry.message_id,
            entry.content_hash,
            entry.at,
        ),
    )
    unit.moved(at["campaign_id"], state, target)
    unit.opened()
    unit.spent(entry.limits, steady, entry.cost)
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
    steady = entry.at if entry.steady is None else entry.steady
    values = _outcome(entry) | {
        "steady": steady,
        "outcome": target.value if counts else "withdrawn",
        "from": at["state"],
        "to": target.value,
        "tries": int(counts),
        "withdrawn": int(entry.opened and not counts),
        "n": at["attempts"] + at["withdrawn"] + 1,
        "epoch": epoch,
    }
    if entry.opened:
        exactly_one(unit.db.execute(CLOSE_ATTEMPT, values))
    elif counts:
        unit.db.execute(CLOSED_ATTEMPT, values)
    exactly_one(unit.db.execute(SETTLE, values))
    unit.moved(at["campaign_id"], state, target)
    if not entry.opened and counts:
        unit.spent(entry.limits, steady, entry.cost)
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
        "refused": entry.refused,
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


def _standing(unit: Unit, delivery_id: int) -> sqlite3.Row:
    row: sqlite3.Row | None = unit.db.execute(STANDING, (delivery_id,)).fetchone()
    if row is None:
        raise no_such_delivery()
    return row


def exactly_one(done: sqlite3.Cursor) -> None:
    """Exactly one row was changed, or what was read is not what was there: nothing of the unit may stay."""
    if done.rowcount != 1:
        raise Conflict("the delivery is not in the state that this entry is about", code="lost_update")
