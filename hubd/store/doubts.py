"""What is in doubt: who it is, what is known of their messages, and every decision about one of them.

A decision is one unit of work: the delivery (only if it is still in doubt about the same attempt), the
counters, an event and a link of the audit trail that says who decided. A message of the provider's accounts
for one delivery and no more; that is looked up where the decision is written, in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TypeGuard

import msgspec

from hubd.core.ledger import Close, Entry
from hubd.core.lifecycle import DeliveryEvent, advance_delivery
from hubd.core.model import DeliveryState, DueDelivery, Stage
from hubd.core.reconcile import Doubt, How, Resolution
from hubd.store.credit_holds import doubts_decided
from hubd.store.database import Database
from hubd.store.rollup import acceptance
from hubd.store.transaction import Row, Transaction
from hubd.store.unit import SharedUnit, Unit

#: Deliveries in doubt whose last attempt is the reason, with that attempt. Those that are in doubt without
#: one, after a restore, cannot be asked about: nobody knows when, and whether, they went out.
DOUBTFUL = """
SELECT delivery.id AS id, delivery.recipient AS recipient, delivery.attempts AS attempts,
    delivery.fields AS fields, delivery.first_attempt_at AS first_attempt_at, attempt.n AS n,
    attempt.provider AS provider, attempt.account AS account, attempt.opened_at AS opened_at,
    attempt.closed_at AS closed_at,
    attempt.reason AS reason, content.id AS content_id
FROM delivery INDEXED BY delivery_trouble
JOIN attempt ON attempt.delivery_id = delivery.id
    AND attempt.n = (SELECT max(n) FROM attempt WHERE delivery_id = delivery.id)
LEFT JOIN content ON content.hash = attempt.content_hash
WHERE delivery.campaign_id = ? AND delivery.state = 'in_doubt' AND delivery.id > ?
    AND attempt.outcome = 'in_doubt' AND delivery.reason <> 'restored'
    AND (delivery.state = 'failed' OR delivery.state = 'in_doubt' OR delivery.state = 'undelivered'
         OR delivery.state = 'skipped')
ORDER BY delivery.id LIMIT ?"""
#: Whether it is still this attempt that a delivery is in doubt about.
CURRENT = """
SELECT delivery.campaign_id AS campaign_id, delivery.address_key AS address_key, attempt.id AS attempt_id
FROM delivery JOIN attempt ON attempt.delivery_id = delivery.id AND attempt.n = :n
WHERE delivery.id = :delivery_id AND delivery.state = 'in_doubt' AND attempt.outcome = 'in_doubt'
    AND attempt.n = (SELECT max(n) FROM attempt WHERE delivery_id = :delivery_id)"""
#: Which of these messages of a provider the ledger has. Only HTTP providers name messages for good; a mail
#: server's queue ids come again. (The stage and the name are spelled as in the index that serves this.)
KNOWN = """
SELECT DISTINCT provider_id FROM attempt
WHERE stage = 'request' AND provider_id <> '' AND provider_id IN (SELECT value FROM json_each(?))
    AND provider = ?"""
#: The same for messages of any provider.
KNOWN_TO_ANY = """
SELECT DISTINCT provider_id FROM attempt
WHERE stage = 'request' AND provider_id <> '' AND provider_id IN (SELECT value FROM json_each(?))"""
#: Whether a message to the same address is on the wire now: its name will be among those listed, but is not
#: in the ledger yet.
ON_THE_WIRE = """
SELECT 1 FROM attempt INDEXED BY attempt_one_open JOIN delivery ON delivery.id = attempt.delivery_id
WHERE attempt.outcome IS NULL AND attempt.provider = ? AND delivery.address_key = ? LIMIT 1"""
#: The attempt was accepted after all.
ATTEMPT_FOUND = """
UPDATE attempt SET outcome = 'sent', stage = ?, provider_id = ?, reason = 'reconciled_sent', detail = ?
WHERE id = ?"""
#: The attempt certainly was not accepted.
ATTEMPT_ABSENT = "UPDATE attempt SET reason = 'reconciled_absent', detail = ? WHERE id = ?"
#: The delivery goes where the decision takes it.
DECIDE = """
UPDATE delivery SET state = :state, reason = :reason, detail = :detail, code = 0, next_at = :next_at,
    provider_id = :provider_id, updated_at = :now
WHERE id = :delivery_id AND state = 'in_doubt'"""
#: It stays in doubt; people are told why.
HOLD = """
UPDATE delivery SET reason = 'provider_cannot_say', detail = ?, updated_at = ?
WHERE id = ? AND state = 'in_doubt'"""
#: A delivery's campaign.
CAMPAIGN_OF = "SELECT campaign_id FROM delivery WHERE id = ?"
#: How many messages of a campaign were sent again although they may have been accepted.
POSSIBLE_DUPLICATES = "SELECT coalesce(sum(doubts), 0) FROM delivery WHERE campaign_id = ? AND doubts > 0"

POLICY = "policy"  #: decided by the campaign's own rule
OPERATOR = "operator"  #: decided by a person

FOUND_SENT = "The answer was lost, but the provider has the message."
REUSED = "The provider's answer names a message of another delivery; check the provider's log."

_EVENT = {
    How.SENT: DeliveryEvent.SETTLE_SENT,
    How.ABSENT: DeliveryEvent.RESEND,
    How.FAILED: DeliveryEvent.SETTLE_FAILED,
}


class Doubts:
    """Doubtful deliveries of a campaign, and what is decided about them by its policy. All are async."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def doubtful(self, campaign_id: int, after_id: int = 0, limit: int = 200) -> list[Doubt]:
        """A page of what is in doubt, in id order, with ids above `after_id`."""

        def work(db: Transaction) -> list[Doubt]:
            return [_doubt(row) for row in db.execute(DOUBTFUL, (campaign_id, after_id, limit))]

        return await self._db.read(work)

    async def known(self, provider: str, provider_ids: Collection[str]) -> frozenset[str]:
        """Which of a provider's messages some delivery accounts for already."""
        return await self._db.read(lambda db: known_ids(db, provider, provider_ids))

    async def resolve(self, doubt: Doubt, resolution: Resolution) -> bool:
        """Write a decision; durable when this returns.

        False, with nothing written, when it is not in doubt about that attempt any more, or when none of the
        messages that were found is free (another delivery's, or perhaps that of one on the wire now).
        """
        return await self._db.write(lambda unit: decide(unit, doubt, resolution))


def possible_duplicates(db: Transaction, campaign_id: int) -> int:
    """See `Ledger.possible_duplicates`."""
    n: int = db.execute(POSSIBLE_DUPLICATES, (campaign_id,)).fetchone()[0]
    return n


def known_ids(db: Transaction, provider: str, provider_ids: Collection[str]) -> frozenset[str]:
    """See `Doubts.known`."""
    rows = db.execute(KNOWN, (json.dumps(list(provider_ids)), provider))
    return frozenset(name for (name,) in rows)


def names_known(db: Transaction, provider_ids: Collection[str]) -> set[str]:
    """Which of these messages the ledger has, whatever their provider: for those `distrust` has to look."""
    if not provider_ids:
        return set()
    return {name for (name,) in db.execute(KNOWN_TO_ANY, (json.dumps(list(provider_ids)),))}


def decide(unit: Unit, doubt: Doubt, resolution: Resolution) -> bool:
    """See `Doubts.resolve`."""
    at = unit.db.execute(CURRENT, {"delivery_id": doubt.delivery_id, "n": doubt.n}).fetchone()
    if at is None:
        return False
    provider_id = ""
    if resolution.how is How.SENT:
        if unit.db.execute(ON_THE_WIRE, (doubt.provider, at["address_key"])).fetchone() is not None:
            return False
        known = known_ids(unit.db, doubt.provider, resolution.provider_ids)
        free = [name for name in resolution.provider_ids if name not in known]
        if not free:
            return False
        provider_id = free[0]
    if resolution.how is How.HELD:
        unit.db.execute(HOLD, (resolution.detail, unit.now, doubt.delivery_id))
    else:
        _move(unit, doubt, resolution, at, provider_id)
    tell_decided(
        unit,
        POLICY,
        resolution.how,
        at["campaign_id"],
        doubt.delivery_id,
        attempt=doubt.n,
        provider_id=provider_id,
    )
    return True


def _move(unit: Unit, doubt: Doubt, resolution: Resolution, at: Row, provider_id: str) -> None:
    target = advance_delivery(DeliveryState.IN_DOUBT, _EVENT[resolution.how])
    sent = resolution.how is How.SENT
    detail = FOUND_SENT if sent else resolution.detail
    if sent:
        unit.db.execute(ATTEMPT_FOUND, (Stage.REQUEST.value, provider_id, detail, at["attempt_id"]))
    else:
        unit.db.execute(ATTEMPT_ABSENT, (detail, at["attempt_id"]))
    values = {
        "state": target,
        "reason": "reconciled_sent" if sent else "reconciled_absent",
        "detail": detail,
        "next_at": resolution.next_at,
        "provider_id": provider_id,
        "now": unit.now,
        "delivery_id": doubt.delivery_id,
    }
    changed = unit.db.execute(DECIDE, values).rowcount
    assert changed == 1, "the state was read in the same transaction"
    accepted = acceptance(unit.db, doubt.delivery_id) if sent else None
    unit.moved(at["campaign_id"], DeliveryState.IN_DOUBT, target, accepted=accepted)
    doubts_decided(unit, at["campaign_id"], [doubt.delivery_id], target)


def tell_decided(
    unit: Unit, actor: str, how: str, campaign_id: int, delivery_id: int, **particulars: object
) -> None:
    """An event and a link of the audit trail, so every decision about a doubt has an author."""
    how = str(how)
    unit.event("delivery.resolved", campaign_id, {"delivery_id": delivery_id, "how": how, "by": actor})
    known = {name: value for name, value in particulars.items() if value not in ("", None)}
    unit.audit(actor, f"doubt.{how}", campaign_id=campaign_id, delivery_id=delivery_id, data=known)


def distrust(unit: SharedUnit, entry: Entry) -> Entry:
    """The entry; or, when it would name a message of another delivery, the same as a doubt, with an event.

    A provider that answers with the name of an earlier message has not said that it took this one.
    """
    if not names_a_message(entry) or not known_ids(unit.db, entry.provider, (entry.provider_id,)):
        return entry
    campaign = unit.db.execute(CAMPAIGN_OF, (entry.delivery_id,)).fetchone()
    data = {"delivery_id": entry.delivery_id, "provider": entry.provider, "provider_id": entry.provider_id}
    unit.event("provider.sid_reused", campaign[0] if campaign else None, data)
    return msgspec.structs.replace(
        entry, to=DeliveryState.IN_DOUBT, reason="sid_reused", detail=REUSED, provider_id=""
    )


def names_a_message(entry: Entry) -> TypeGuard[Close]:
    """Whether it says that a provider took a message, under a name that lasts: an HTTP provider's."""
    return (
        type(entry) is Close
        and entry.provider_id != ""
        and entry.to is DeliveryState.SENT
        and entry.stage == Stage.REQUEST
    )


def _doubt(row: Row) -> Doubt:
    due = None
    if row["content_id"] is not None:
        due = DueDelivery(
            id=row["id"],
            recipient=row["recipient"],
            attempts=row["attempts"],
            fields=json.loads(row["fields"]),
            content_id=row["content_id"],
            first_attempt_at=row["first_attempt_at"],
            next_at=None,
        )
    return Doubt(
        delivery_id=row["id"],
        n=row["n"],
        provider=row["provider"],
        account=row["account"],
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        reason=row["reason"],
        row=due,
    )
