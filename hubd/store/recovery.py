"""Attempts whose outcome is lost: the daemon ended, or a campaign's task crashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hubd.core.lifecycle import DeliveryEvent, advance_delivery
from hubd.core.model import DeliveryState
from hubd.failpoints import reach
from hubd.store.multirow import exactly_one
from hubd.store.unit import Unit

#: Attempts that an earlier run of a node left open.
ORPHANS = """
SELECT attempt.id AS id, attempt.delivery_id AS delivery_id, delivery.campaign_id AS campaign_id
FROM attempt INDEXED BY attempt_one_open JOIN delivery ON delivery.id = attempt.delivery_id
WHERE attempt.outcome IS NULL AND attempt.node = ? AND attempt.epoch <> ? ORDER BY attempt.id"""
#: Nobody will ever know by itself what came of it.
ORPHAN_ATTEMPT = """
UPDATE attempt SET outcome = 'in_doubt', closed_at = ?, reason = ?, detail = ?
WHERE id = ? AND outcome IS NULL"""
#: Its delivery.
ORPHAN_DELIVERY = """
UPDATE delivery SET state = 'in_doubt', reason = ?, detail = ?, attempts = attempts + 1,
    updated_at = ? WHERE id = ? AND state = 'sending'"""
#: Attempts of one campaign that are open, whichever run of the daemon opened them.
ABANDONED = """
SELECT attempt.id AS id, attempt.delivery_id AS delivery_id, delivery.campaign_id AS campaign_id
FROM attempt INDEXED BY attempt_one_open JOIN delivery ON delivery.id = attempt.delivery_id
WHERE attempt.outcome IS NULL AND delivery.campaign_id = ? ORDER BY attempt.id"""

INTERRUPTED = "The daemon ended before the provider answered."
CRASHED = "The campaign was cut off before the provider's answer was recorded."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """How many attempts an earlier run left open, by campaign id; they are `in_doubt` now."""

    in_doubt: Mapping[int, int]

    @property
    def total(self) -> int:
        """Over all campaigns."""
        return sum(self.in_doubt.values())


def lose(
    unit: Unit, which: str, chosen: tuple[int, ...], detail: str, *, reason: str = "interrupted"
) -> Recovered:
    """Put the open attempts that the statement `which` finds in doubt."""
    counts: dict[int, int] = {}
    for orphan in unit.db.execute(which, chosen).fetchall():
        delivery_id, campaign_id = orphan["delivery_id"], orphan["campaign_id"]
        target = advance_delivery(DeliveryState.SENDING, DeliveryEvent.DOUBT)
        exactly_one(unit.db.execute(ORPHAN_ATTEMPT, (unit.now, reason, detail, orphan["id"])))
        exactly_one(unit.db.execute(ORPHAN_DELIVERY, (reason, detail, unit.now, delivery_id)))
        unit.moved(campaign_id, DeliveryState.SENDING, target)
        data = {"delivery_id": delivery_id, "reason": reason, "code": 0}
        unit.event("delivery.in_doubt", campaign_id, data)
        unit.audit("recovery", "doubt.found", campaign_id=campaign_id, delivery_id=delivery_id)
        reach("in_recovery")
        counts[campaign_id] = counts.get(campaign_id, 0) + 1
    return Recovered(in_doubt=counts)
