"""Whom messages went to that say so no more: a keyed hash, so that their unsubscribe links still work."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import NamedTuple

from hubd.core.model import Channel, DeliveryState
from hubd.store.address_hash import KEY, address_hash, hash_with
from hubd.store.transaction import Transaction
from hubd.store.unit import SharedUnit

#: Emails that have an address and went out, or may have; with the contact that has the address now.
RECIPIENTS = """
SELECT delivery.id, delivery.address_key,
    (SELECT contact.id FROM contact WHERE contact.email_key = delivery.address_key)
FROM json_each(:ids) AS asked CROSS JOIN delivery ON delivery.id = asked.value
    CROSS JOIN campaign ON campaign.id = delivery.campaign_id
WHERE delivery.recipient <> '' AND campaign.channel = 'email'
    AND delivery.state IN (SELECT value FROM json_each(:went_out))"""
KEEP = """
INSERT INTO erased_recipient (delivery_id, hash, contact_id, erased_at) VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING"""
FIND = "SELECT hash, contact_id FROM erased_recipient WHERE delivery_id = ?"
KEY_OF_CONTACT = "SELECT email_key FROM contact WHERE id = ? AND email_key IS NOT NULL"
ALL_KEYS = "SELECT email_key FROM contact WHERE email_key IS NOT NULL"
#: Suppressed when it comes again. The first reason stays: it says when sending had to end.
ALREADY = "SELECT 1 FROM forgotten WHERE hash = ?"
REMEMBER = """
INSERT INTO forgotten (hash, reason, source, created_at)
VALUES (?, ?, coalesce((SELECT 'campaign ' || name FROM campaign WHERE id = ?), ?), ?)
ON CONFLICT DO NOTHING"""
#: The oldest of them, to be removed.
REMOVE_OLD = """
DELETE FROM erased_recipient WHERE delivery_id IN (
    SELECT delivery_id FROM erased_recipient WHERE erased_at < ? ORDER BY erased_at LIMIT ?)"""

#: Days for which a link works after that. Canada asks for 60 after the message was sent (CASL, 11 (2)).
KEEP_DAYS = 365.0

_WENT_OUT = json.dumps(
    [
        state.value
        for state in (
            DeliveryState.SENDING,
            DeliveryState.SENT,
            DeliveryState.DELIVERED,
            DeliveryState.UNDELIVERED,
            DeliveryState.IN_DOUBT,
        )
    ]
)


class Erased(NamedTuple):
    """The recipient of a message that was erased."""

    hash: bytes
    address_key: str  #: of the contact that has the address now; "" for none


def keep_hashes(unit: SharedUnit, delivery_ids: Collection[int]) -> None:
    """These deliveries are about to lose their recipients."""
    asked = {"ids": json.dumps(list(delivery_ids)), "went_out": _WENT_OUT}
    for number, key, contact_id in unit.db.execute(RECIPIENTS, asked).fetchall():
        hashed = address_hash(unit.db, Channel.EMAIL, key)
        unit.db.execute(KEEP, (number, hashed, contact_id, unit.now))


def erased_recipient(db: Transaction, delivery_id: int) -> Erased | None:
    """Whom a message was to that says so no more; None if nothing tells."""
    row = db.execute(FIND, (delivery_id,)).fetchone()
    if row is None:
        return None
    known: bytes = row[0]
    secret: bytes = db.execute(KEY).fetchone()[0]
    keys: Iterable[tuple[str]] = db.execute(KEY_OF_CONTACT, (row[1],)).fetchall()
    if not keys and db.execute(ALREADY, (known,)).fetchone() is None:
        keys = db.execute(ALL_KEYS)  # the address may have come again since
    found = next((key for (key,) in keys if hash_with(secret, Channel.EMAIL, key) == known), "")
    return Erased(known, found)


def suppress_hash(unit: SharedUnit, hashed: bytes, reason: str, campaign_id: int | None, source: str) -> None:
    """Suppress an address that nobody has now, for when it comes again."""
    unit.db.execute(REMEMBER, (hashed, reason, campaign_id, source, unit.now))


def remove_old(unit: SharedUnit, before: float, most: int) -> int:
    """Remove those that were erased before a time; how many."""
    return unit.db.execute(REMOVE_OLD, (before, most)).rowcount
