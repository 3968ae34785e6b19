"""Replies that may be opt-outs in other words, and the addresses that are held until somebody has decided."""

from __future__ import annotations

import json
from collections.abc import Collection

from hubd.core.model import Channel
from hubd.store.unit import Unit

#: Nothing more goes to an address before somebody has decided.
HOLD = "INSERT INTO held_address (channel, address_key, inbox_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
#: Replies that wait and for which one of these addresses is held.
WAITING = """
SELECT id, delivery_id, (SELECT id FROM campaign WHERE id = inbox.campaign_id AND doomed = 0) AS campaign_id
FROM inbox WHERE decision = 'waiting' AND id IN (
    SELECT inbox_id FROM held_address
    WHERE channel = ? AND address_key IN (SELECT value FROM json_each(?)))
ORDER BY id"""
#: It was decided.
DECIDE = "UPDATE inbox SET decision = ?, decided_at = ? WHERE id = ?"
RELEASE = "DELETE FROM held_address WHERE inbox_id = ? RETURNING address_key"


def hold(unit: Unit, channel: Channel, address: str, number: int) -> None:
    """Send nothing to an address until the reply with this number is decided."""
    unit.db.execute(HOLD, (channel.value, address, number))


def decided(
    unit: Unit, number: int, decision: str, campaign_id: int | None, delivery_id: int | None
) -> list[str]:
    """Note what was decided about a reply, and release what was held for it; which addresses that are."""
    unit.db.execute(DECIDE, (decision, unit.now, number))
    released = [address for (address,) in unit.db.execute(RELEASE, (number,)).fetchall()]
    data = {"item": number, "delivery_id": delivery_id, "decision": decision}
    unit.event("reply.decided", campaign_id, data)
    return released


def opted_out(unit: Unit, channel: Channel, addresses: Collection[str]) -> set[str]:
    """Who has these addresses opted out: what else they wrote is decided with that; all of their addresses.

    A reply that waits may be about a message to another address of theirs.
    """
    found, new = set(addresses), set(addresses)
    while new:
        waiting = unit.db.execute(WAITING, (channel.value, json.dumps(sorted(new)))).fetchall()
        new = set()
        for number, delivery_id, campaign_id in waiting:
            new |= {*decided(unit, number, "opt_out", campaign_id, delivery_id)} - found
        found |= new
    return found
