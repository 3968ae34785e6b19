"""What the ledger knows of deliveries that something may be about: found by a key, never by a scan."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from hubd.core.inbound_matching import Candidate
from hubd.core.model import Channel, DeliveryState
from hubd.store.transaction import Transaction
from hubd.store.unit import Unit

#: Deliveries by id. (One whose recipient was erased has none.)
DELIVERIES = """
SELECT delivery.id AS id, delivery.campaign_id AS campaign_id, campaign.channel AS channel,
    iif(delivery.recipient = '', '', delivery.address_key) AS address_key, delivery.state AS state,
    delivery.message_id AS message_id, delivery.provider_id AS provider_id, content.hash AS content_hash
FROM json_each(?) AS asked CROSS JOIN delivery ON delivery.id = asked.value
    CROSS JOIN campaign ON campaign.id = delivery.campaign_id
    LEFT JOIN content ON content.id = coalesce(delivery.content_id, campaign.content_id)"""
#: Their attempts.
ATTEMPTS = """
SELECT delivery_id, message_id, provider_id, content_hash, opened_at, outcome
FROM attempt WHERE delivery_id IN (SELECT value FROM json_each(?)) ORDER BY delivery_id, n"""
#: Deliveries by the provider's name for the message. (Spelled as in the index that serves this.)
BY_PROVIDER = """
SELECT DISTINCT provider_id, delivery_id FROM attempt
WHERE stage = 'request' AND provider_id <> '' AND provider_id IN (SELECT value FROM json_each(?))"""
#: Deliveries to an address in campaigns of which a delivery has moved since a time.
RECENT = """
SELECT delivery.id FROM campaign_count CROSS JOIN campaign ON campaign.id = campaign_count.campaign_id
    CROSS JOIN delivery INDEXED BY delivery_once
    ON delivery.campaign_id = campaign.id AND delivery.address_key = :key AND delivery.single = 0
WHERE campaign_count.updated_at >= :since AND campaign.channel = :channel
UNION
SELECT delivery.id FROM delivery INDEXED BY delivery_single_recipient
    CROSS JOIN campaign ON campaign.id = delivery.campaign_id
WHERE delivery.address_key = :key AND delivery.single = 1 AND delivery.updated_at >= :since
    AND campaign.channel = :channel"""


def candidates(db: Transaction, numbers: Collection[int]) -> dict[int, Candidate]:
    """Those of these deliveries that there are, with what is known of their attempts."""
    if not numbers:
        return {}
    asked = json.dumps([number for number in numbers if 0 < number < 2**63])
    rows = {row["id"]: row for row in db.execute(DELIVERIES, (asked,))}
    tried: dict[int, list[tuple[str, str, str, float, str | None]]] = {}
    for number, *attempt in db.execute(ATTEMPTS, (asked,)):
        tried.setdefault(number, []).append((attempt[0], attempt[1], attempt[2], attempt[3], attempt[4]))
    found = {}
    for number, row in rows.items():
        attempts = tried.get(number, [])
        hashes = {row["content_hash"], *(attempt[2] for attempt in attempts)}
        found[number] = Candidate(
            delivery_id=number,
            campaign_id=row["campaign_id"],
            channel=Channel(row["channel"]),
            address_key=row["address_key"],
            state=DeliveryState(row["state"]),
            doubtful=any(attempt[4] in ("in_doubt", None) for attempt in attempts),
            content_hashes=frozenset(filter(None, hashes)),
            message_ids=_names(row["message_id"], (attempt[0] for attempt in attempts)),
            provider_ids=_names(row["provider_id"], (attempt[1] for attempt in attempts)),
            tried_at=max((attempt[3] for attempt in attempts), default=None),
        )
    return found


def _names(own: str, others: Iterable[str]) -> frozenset[str]:
    return frozenset(filter(None, (own, *others)))


def named_by_provider(db: Transaction, names: Collection[str]) -> dict[str, set[int]]:
    """The deliveries whose messages have these names with a provider."""
    found: dict[str, set[int]] = {}
    if names:
        for name, number in db.execute(BY_PROVIDER, (json.dumps(list(names)),)):
            found.setdefault(name, set()).add(number)
    return found


def recent_to(unit: Unit, channel: Channel, address: str, since: float) -> set[int]:
    """Deliveries to an address that have moved since a time, and perhaps others."""
    unit.flush()  # the time of the counters is looked at
    asked = {"key": address, "since": since, "channel": channel.value}
    return {number for (number,) in unit.db.execute(RECENT, asked)}
