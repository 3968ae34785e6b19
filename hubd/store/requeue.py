"""Deliveries that a person, or a policy, puts back or settles: a page of them in one unit of work."""

from __future__ import annotations

import json
from collections import Counter
from typing import Literal

from msgspec.structs import replace

from hubd.core.decide import Pages, RefusedFailed, Retried
from hubd.core.lifecycle import DeliveryEvent, advance_delivery
from hubd.core.measures import ACCEPTED
from hubd.core.model import CampaignState, DeliveryState
from hubd.core.reasons import SENTENCES, TRANSIENT
from hubd.core.records import NotRequeued
from hubd.errors import BadInput, NotFound
from hubd.store.campaign_rows import campaign_by_id
from hubd.store.credit_holds import doubts_decided
from hubd.store.doubts import OPERATOR, tell_decided
from hubd.store.multirow import exactly_one
from hubd.store.rollup import acceptance, withdrawn_acceptance
from hubd.store.transaction import Row, Transaction
from hubd.store.unit import SharedUnit, Unit

Class = Literal["transient", "permanent", "all"]
Settlement = Literal["resend", "sent", "failed"]

#: A page of what is in doubt.
DOUBTFUL = """
SELECT id FROM delivery
WHERE campaign_id = :campaign_id AND state = 'in_doubt' AND id > :after ORDER BY id LIMIT :limit"""
#: The part of it that a policy may send again: not too often, and only after an attempt that was on the wire.
#: What is in doubt without one came from an older copy of the database; a person decides about that.
RESENDABLE = """
SELECT id FROM delivery
WHERE campaign_id = :campaign_id AND state = 'in_doubt' AND id > :after AND doubts < :most_doubts
    AND reason <> 'restored'
    AND (reason = 'waits_for_provider' OR
        (SELECT outcome FROM attempt WHERE delivery_id = delivery.id ORDER BY n DESC LIMIT 1) = 'in_doubt')
    AND (:provider IS NULL OR NOT EXISTS (
        SELECT 1 FROM attempt WHERE delivery_id = delivery.id AND outcome = 'in_doubt'
            AND reason NOT IN ('reconciled_absent', 'resend_decided') AND provider <> :provider))
ORDER BY id LIMIT :limit"""
#: Waiting deliveries that a provider other than this one may have accepted, and that nobody has decided to
#: send again: a page of them, with the number of tries since that was in doubt.
ELSEWHERE = """
SELECT id, state, (SELECT outcome FROM attempt WHERE delivery_id = delivery.id ORDER BY n DESC LIMIT 1)
    = 'in_doubt' AS untried
FROM delivery INDEXED BY delivery_again
WHERE campaign_id = :campaign_id AND id > :after AND (state = 'pending' OR state = 'deferred') AND doubts > 0
    AND EXISTS (
        SELECT 1 FROM attempt WHERE delivery_id = delivery.id AND outcome = 'in_doubt'
            AND reason NOT IN ('reconciled_absent', 'resend_decided') AND provider <> :provider)
ORDER BY id LIMIT :limit"""
#: They wait for that provider. One that was not sent again meanwhile is no possible duplicate.
WAIT_FOR_PROVIDER = """
UPDATE delivery SET state = ?, reason = 'waits_for_provider', detail = ?, next_at = NULL,
    doubts = doubts - ?, updated_at = ? WHERE id = ? AND state = ?"""
#: An operator decides to send it again, through whichever provider.
RESEND_DECIDED = "UPDATE attempt SET reason = 'resend_decided' WHERE delivery_id = ? AND outcome = 'in_doubt'"
#: To be tried again although it may have been accepted.
RESEND = """
UPDATE delivery SET state = ?, reason = 'possible_duplicate', detail = '', code = 0, next_at = ?,
    first_attempt_at = NULL, doubts = doubts + 1, updated_at = ? WHERE id = ? AND state = ?"""
#: A person says what came of it.
SETTLE = """
UPDATE delivery SET state = ?, reason = ?, detail = '', updated_at = ? WHERE id = ? AND state = ?"""
#: To be tried again, as if for the first time.
REQUEUE = """
UPDATE delivery SET state = ?, reason = '', detail = '', code = 0, next_at = NULL, first_attempt_at = NULL,
    refused = '', updated_at = ? WHERE id = ? AND state = ?"""
#: The same for one whose refusal turned out not to be about it. The reason of the refusal is kept.
REQUEUE_FAILED = """
UPDATE delivery SET state = ?, next_at = NULL, first_attempt_at = NULL, refused = reason,
    updated_at = ? WHERE id = ? AND state = ?"""
#: Waiting recipients whose refusals paused the campaign: a page of them, and their number.
REFUSED = """
SELECT id, state, refused, code FROM delivery INDEXED BY delivery_refused
WHERE campaign_id = ? AND refused <> '' AND state IN ('pending', 'deferred') ORDER BY id LIMIT ?"""
COUNT_REFUSED = """
SELECT count(*) FROM delivery INDEXED BY delivery_refused
WHERE campaign_id = ? AND refused <> '' AND state IN ('pending', 'deferred')"""
#: An operator decides that the refusal was about the recipient.
FAIL_REFUSED = """
UPDATE delivery SET state = ?, reason = refused, next_at = NULL, updated_at = ? WHERE id = ? AND state = ?"""
#: One delivery that is thought to be a failure.
FAILURE = "SELECT id, state, campaign_id, updated_at FROM delivery WHERE id = ?"
#: How many are in doubt.
COUNT_DOUBTFUL = "SELECT coalesce(sum(n_in_doubt), 0) FROM campaign_count WHERE campaign_id = ?"
#: A page of failures after a cursor; `which` is 'all', or the class that a reason has (see `reasons`).
#: Nothing can be sent to a recipient who was erased, nor without the fields that a message is written from.
FAILURES = """
SELECT id, state, updated_at FROM delivery INDEXED BY delivery_trouble
WHERE campaign_id = :campaign_id AND state IN ('failed', 'undelivered') AND id > :after AND recipient <> ''
    AND fields <> '{}'
    AND (state = 'failed' OR state = 'in_doubt' OR state = 'undelivered' OR state = 'skipped')
    AND (:which = 'all' OR (:which = 'transient')
         = (state = 'failed' AND reason IN (SELECT value FROM json_each(:transient))))
    AND NOT EXISTS (
        SELECT 1 FROM suppression JOIN campaign ON campaign.channel = suppression.channel
        WHERE campaign.id = delivery.campaign_id AND suppression.address_key = delivery.address_key)
ORDER BY id LIMIT :limit"""
#: How many failures of a class there are, and how many of them have an address that is not to be written to.
COUNT_FAILURES = """
SELECT count(*) AS n, count(suppression.address_key) AS suppressed
FROM delivery INDEXED BY delivery_trouble JOIN campaign ON campaign.id = delivery.campaign_id
LEFT JOIN suppression
    ON suppression.channel = campaign.channel AND suppression.address_key = delivery.address_key
WHERE delivery.campaign_id = :campaign_id AND delivery.state IN ('failed', 'undelivered')
    AND delivery.recipient <> '' AND delivery.fields <> '{}'
    AND (delivery.state = 'failed' OR delivery.state = 'in_doubt'
         OR delivery.state = 'undelivered' OR delivery.state = 'skipped')
    AND (:which = 'all' OR (:which = 'transient')
         = (delivery.state = 'failed' AND delivery.reason IN (SELECT value FROM json_each(:transient))))"""
_RESOLVED = {
    "resend": (DeliveryEvent.RESEND, RESEND),
    "sent": (DeliveryEvent.SETTLE_SENT, SETTLE),
    "failed": (DeliveryEvent.SETTLE_FAILED, SETTLE),
}
_TRANSIENT = json.dumps(sorted(TRANSIENT))


def resolve_page(
    unit: Unit,
    campaign_id: int,
    how: Settlement,
    limit: int,
    actor: str,
    *,
    after: int = 0,
    most_doubts: int | None = None,
    again_at: float | None = None,
    provider: str | None = None,
) -> tuple[int, int | None]:
    """Settle up to `limit` doubtful deliveries with ids above `after`; how many, and the next page's cursor.

    `actor` answers for each, in an event and an audit row.

    `most_doubts` leaves those alone that have been sent again so often already, and those that no attempt
    has put in doubt; with `again_at` they are not sent again before that time, and with `provider` those that
    were last handed to another one.
    """
    if how not in _RESOLVED:
        raise BadInput.at("in_doubt", 'must be "resend", "sent" or "failed"')
    event, statement = _RESOLVED[how]
    source = DeliveryState.IN_DOUBT
    target = advance_delivery(source, event)
    chosen = {
        "campaign_id": campaign_id, "limit": limit, "after": after, "most_doubts": most_doubts,
        "provider": provider,
    }  # fmt: skip
    rows = unit.db.execute(DOUBTFUL if most_doubts is None else RESENDABLE, chosen).fetchall()
    for (delivery_id,) in rows:
        data = again_at if how == "resend" else f"settled_{how}"
        unit.db.execute(statement, (target, data, unit.now, delivery_id, source))
        if how == "resend" and actor == OPERATOR:
            unit.db.execute(RESEND_DECIDED, (delivery_id,))
        tell_decided(unit, actor, how, campaign_id, delivery_id)
        accepted = acceptance(unit.db, delivery_id) if target is DeliveryState.SENT else None
        unit.moved(campaign_id, source, target, accepted=accepted)
    doubts_decided(unit, campaign_id, [row["id"] for row in rows], target)
    return len(rows), rows[-1]["id"] if len(rows) == limit else None


def find_elsewhere(
    db: Transaction, campaign_id: int, provider: str, after: int, limit: int
) -> list[tuple[int, str, int]]:
    """A page of what `hold_elsewhere` holds: id, state, and 1 for what was not sent again yet."""
    asked = {"campaign_id": campaign_id, "provider": provider, "after": after, "limit": limit}
    return [(row["id"], row["state"], row["untried"]) for row in db.execute(ELSEWHERE, asked)]


def hold_elsewhere(unit: Unit, campaign_id: int, provider: str, after: int, limit: int) -> int | None:
    """Put up to `limit` deliveries back in doubt that another provider may have accepted.

    They were to be sent again, which only that provider may do. The cursor of the next page, or None.
    """
    rows = find_elsewhere(unit.db, campaign_id, provider, after, limit)
    for delivery_id, state, untried in rows:
        source = DeliveryState(state)
        target = advance_delivery(source, DeliveryEvent.HOLD)
        why = SENTENCES["waits_for_provider"]
        exactly_one(unit.db.execute(WAIT_FOR_PROVIDER, (target, why, untried, unit.now, delivery_id, source)))
        unit.moved(campaign_id, source, target)
    return rows[-1][0] if len(rows) == limit else None


def requeue_one(unit: SharedUnit, delivery_id: int) -> None:
    """Put one failure back. Raises `InvalidTransition` if it is none, NotFound ("delivery_not_found")."""
    row = unit.db.execute(FAILURE, (delivery_id,)).fetchone()
    if row is None:
        raise no_such_delivery()
    source = DeliveryState(row["state"])
    target = advance_delivery(source, DeliveryEvent.REQUEUE)
    statement = REQUEUE_FAILED if source is DeliveryState.FAILED else REQUEUE
    unit.db.execute(statement, (target, unit.now, delivery_id, source))
    _moved_back(unit, row["campaign_id"], row, target)
    if source is DeliveryState.FAILED:  # that it had failed was told
        _tell_requeued(unit, row["campaign_id"], "taken_back", Counter({source: 1}))


def requeue_page(
    unit: Unit, campaign_id: int, which: Class, after: int, limit: int
) -> tuple[int, int | None]:
    """Put up to `limit` failures with ids above `after` back; how many, and the cursor of the next page."""
    if which not in ("transient", "permanent", "all"):
        raise BadInput.at("class", 'must be "transient", "permanent" or "all"')
    at = {"campaign_id": campaign_id, "which": which, "after": after, "limit": limit}
    rows = unit.db.execute(FAILURES, {**at, "transient": _TRANSIENT}).fetchall()
    sources: Counter[DeliveryState] = Counter()
    for row in rows:
        source = DeliveryState(row["state"])
        target = advance_delivery(source, DeliveryEvent.REQUEUE)
        unit.db.execute(REQUEUE, (target, unit.now, row["id"], source))
        _moved_back(unit, campaign_id, row, target)
        sources[source] += 1
    if rows:
        _tell_requeued(unit, campaign_id, which, sources)
    return len(rows), rows[-1]["id"] if len(rows) == limit else None


def _moved_back(unit: SharedUnit, campaign_id: int, row: Row, target: DeliveryState) -> None:
    """Move the counters. `row` is the delivery's as it was; what has been sent so far stays paid for."""
    source = DeliveryState(row["state"])
    taken = withdrawn_acceptance(unit.db, row["id"]) if source in ACCEPTED else None
    unit.moved(campaign_id, source, target, at=row["updated_at"], accepted=taken)


def fail_refused_page(unit: Unit, campaign_id: int, limit: int, actor: str) -> int:
    """Fail up to `limit` recipients whose refusals paused the campaign; how many.

    The audit trail names `actor` for each.
    """
    rows = unit.db.execute(REFUSED, (campaign_id, limit)).fetchall()
    for row in rows:
        source = DeliveryState(row["state"])
        target = advance_delivery(source, DeliveryEvent.FAIL)
        unit.db.execute(FAIL_REFUSED, (target, unit.now, row["id"], source))
        unit.moved(campaign_id, source, target)
        data = {"delivery_id": row["id"], "reason": row["refused"], "code": row["code"]}
        unit.event("delivery.failed", campaign_id, data)
        unit.audit(actor, "refusal.failed", campaign_id=campaign_id, delivery_id=row["id"])
    return len(rows)


def retrying(campaign_id: int, which: Class | None, how: Settlement | None, limit: int) -> Pages[Retried]:
    """Queue failures of a class again, and decide what is in doubt first. See `Ledger.retrying`."""
    begin = Retried(
        resent=how == "resend",
        doubts_after=None if how is None else 0,
        failures_after=None if which is None else 0,
    )

    def plan(db: Transaction) -> Retried:
        decided = requeued = suppressed = 0
        if how is not None:
            decided = db.execute(COUNT_DOUBTFUL, (campaign_id,)).fetchone()[0]
        if which is not None:
            requeued, suppressed = _count_failures(db, campaign_id, which)
        return replace(begin, decided=decided, requeued=requeued, suppressed=suppressed)

    def page(unit: Unit, done: Retried) -> tuple[Retried, bool]:
        if how is not None and done.doubts_after is not None:
            more, after = resolve_page(unit, campaign_id, how, limit, OPERATOR, after=done.doubts_after)
            done = replace(done, decided=done.decided + more, doubts_after=after)
        if which is not None and done.doubts_after is None and done.failures_after is not None:
            more, after = requeue_page(unit, campaign_id, which, done.failures_after, limit)
            done = replace(done, requeued=done.requeued + more, failures_after=after)
        return done, done.doubts_after is None and done.failures_after is None

    return Pages(begin=begin, plan=plan, page=page)


def failing_refused(campaign_id: int, limit: int) -> Pages[RefusedFailed]:
    """Fail recipients whose refusals paused the campaign. In one that runs they are being tried."""

    def plan(db: Transaction) -> RefusedFailed:
        paused = campaign_by_id(db, campaign_id).state is CampaignState.PAUSED
        return RefusedFailed(failed=count_refused(db, campaign_id) if paused else 0)

    def page(unit: Unit, done: RefusedFailed) -> tuple[RefusedFailed, bool]:
        if campaign_by_id(unit.db, campaign_id).state is not CampaignState.PAUSED:
            return done, True
        more = fail_refused_page(unit, campaign_id, limit, OPERATOR)
        return RefusedFailed(failed=done.failed + more), more < limit

    return Pages(begin=RefusedFailed(), plan=plan, page=page)


def count_refused(db: Transaction, campaign_id: int) -> int:
    """See `Ledger.refused`."""
    count: int = db.execute(COUNT_REFUSED, (campaign_id,)).fetchone()[0]
    return count


def not_requeued(db: Transaction, campaign_id: int) -> NotRequeued:
    """See `Ledger.not_requeued`."""
    others, suppressed = _count_failures(db, campaign_id, "all")
    return NotRequeued(suppressed=suppressed, others=others)


def _count_failures(db: Transaction, campaign_id: int, which: Class) -> tuple[int, int]:
    """How many may be put back, and how many stay because their address is suppressed."""
    at = {"campaign_id": campaign_id, "which": which, "transient": _TRANSIENT}
    row = db.execute(COUNT_FAILURES, at).fetchone()
    return row["n"] - row["suppressed"], row["suppressed"]


def _tell_requeued(unit: SharedUnit, campaign_id: int, which: str, sources: Counter[DeliveryState]) -> None:
    data = {
        "count": sources.total(),
        "class": which,
        "failed": sources[DeliveryState.FAILED],
        "undelivered": sources[DeliveryState.UNDELIVERED],
    }
    unit.event("delivery.requeued", campaign_id, data)


def no_such_delivery() -> NotFound:
    """The error for an id that no delivery has."""
    return NotFound("there is no such delivery", code="delivery_not_found")
