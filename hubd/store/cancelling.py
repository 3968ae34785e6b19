"""Waiting messages that must no longer be sent: their recipient was removed, or is suppressed now.

What is on the wire meanwhile ends as it does; it is skipped if it would be tried again. `fields`, the copy of
a contact that a message is written from, is '{}' from then on, and a recipient without it is never tried.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from hubd.core.lifecycle import DeliveryEvent, advance_delivery
from hubd.core.model import DeliveryState, SkipReason
from hubd.store.credit_holds import messages_ended
from hubd.store.multirow import exactly_one
from hubd.store.unit import Unit

#: All deliveries to some addresses; or, without `all`, only those of campaigns in which somebody waits.
TO_ADDRESSES = """
SELECT delivery.id, delivery.campaign_id, delivery.state
FROM campaign CROSS JOIN json_each(:keys) AS asked CROSS JOIN delivery INDEXED BY delivery_once
    ON delivery.campaign_id = campaign.id AND delivery.address_key = asked.value AND delivery.single = 0
WHERE :all
    OR (SELECT sum(n_pending + n_deferred) FROM campaign_count WHERE campaign_id = campaign.id) > 0
UNION ALL
SELECT delivery.id, delivery.campaign_id, delivery.state
FROM json_each(:keys) AS asked CROSS JOIN delivery INDEXED BY delivery_single_recipient
    ON delivery.address_key = asked.value AND delivery.single = 1"""
#: It is not to be sent.
CANCEL = """
UPDATE delivery SET state = ?, reason = ?, detail = '', next_at = NULL, refused = '', fields = '{}',
    updated_at = ? WHERE id = ? AND state = ?"""
#: What a finished one said must be forgotten.
ERASE = "UPDATE delivery SET fields = '{}' WHERE id IN (SELECT value FROM json_each(?))"

_WAITING = (DeliveryState.PENDING, DeliveryState.DEFERRED)


def cancel_waiting(unit: Unit, keys: Sequence[str], reason: SkipReason, *, erase: bool = False) -> int:
    """Skip what waits for these addresses, as they are compared, in every campaign; how many messages.

    With `erase` the copies of the contact's data go from all other messages to them, too.
    """
    unit.flush()  # the counters are read
    rows = unit.db.execute(TO_ADDRESSES, {"keys": json.dumps(list(keys)), "all": erase}).fetchall()
    cancelled: Counter[int] = Counter()
    others: list[int] = []
    for delivery_id, campaign_id, state in rows:
        source = DeliveryState(state)
        if source not in _WAITING:
            others.append(delivery_id)
            continue
        target = advance_delivery(source, DeliveryEvent.SKIP)
        exactly_one(unit.db.execute(CANCEL, (target, reason, unit.now, delivery_id, source)))
        unit.moved(campaign_id, source, target)
        cancelled[campaign_id] += 1
    if cancelled:
        messages_ended(unit, [delivery_id for delivery_id, _, _ in rows])
    if erase and others:
        unit.db.execute(ERASE, (json.dumps(others),))
    for campaign_id, count in cancelled.items():
        unit.event("delivery.cancelled", campaign_id, {"count": count, "reason": reason.value})
    return cancelled.total()
