"""Files of outboxes that are to be removed: written down in the transaction that they follow from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from hubd.store.database import Database

#: What is to be removed. The file of a message that is being sent may not be written yet.
WAITING = """
SELECT id, campaign, first, last FROM erasure
WHERE NOT EXISTS (
    SELECT 1 FROM attempt INDEXED BY attempt_one_open CROSS JOIN delivery ON delivery.id = delivery_id
        CROSS JOIN campaign ON campaign.id = campaign_id
    WHERE outcome IS NULL AND delivery_id BETWEEN first AND last AND campaign.name = erasure.campaign)
ORDER BY id LIMIT 1000"""
DONE = "DELETE FROM erasure WHERE id IN (SELECT value FROM json_each(?))"
#: All of a campaign that there are now.
ADD_ALL = """
INSERT INTO erasure (campaign, first, last) VALUES (?, 0, (SELECT coalesce(max(id), 0) FROM delivery))"""


class Erasure(NamedTuple):
    """Files of a campaign's messages from one number to another."""

    id: int
    campaign: str
    first: int
    last: int


async def waiting(db: Database) -> list[Erasure]:
    """A page of what is to be removed."""
    return await db.read(lambda reader: [Erasure(*row) for row in reader.execute(WAITING)])


async def done(db: Database, ids: Sequence[int]) -> None:
    """These are removed."""
    await db.write(lambda unit: unit.db.execute(DONE, (json.dumps(list(ids)),)))
