"""What was commanded: who did what, in the audit trail, and what repeated requests were answered first."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from hubd.store.database import Database, Unit

#: The first answer to a request with this key.
ANSWERED = "SELECT fingerprint, result FROM answer WHERE method = ? AND key = ?"
#: The first answer counts.
KEEP = "INSERT OR IGNORE INTO answer (method, key, fingerprint, result, created_at) VALUES (?, ?, ?, ?, ?)"
#: A campaign's number, for the trail.
CAMPAIGN_ID = "SELECT id FROM campaign WHERE name = ?"
#: Answers older than a time, a page of them.
REMOVE_ANSWERS = """
DELETE FROM answer WHERE (method, key) IN
    (SELECT method, key FROM answer WHERE created_at < ? LIMIT ?)"""

PAGE = 1_000  #: answers removed in one unit of work


class Commands:
    """The audit trail of commands, and the answers that are kept for 30 days."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def note(self, actor: str, action: str, campaign: str, data: Mapping[str, object]) -> None:
        """Append to the audit trail; `data` holds no address, no content and no secret.

        The name of a campaign that is not there any more goes with the data. Raises `StoreUnavailable`.
        """

        def work(unit: Unit) -> None:
            found = unit.db.execute(CAMPAIGN_ID, (campaign,)).fetchone() if campaign else None
            more = {"campaign": campaign} if campaign and found is None else {}
            unit.audit(actor, action, campaign_id=found[0] if found else None, data={**data, **more})

        await self._db.write(work)

    async def answered(self, method: str, key: str) -> tuple[bytes, str] | None:
        """The fingerprint of what was asked for with this key, and the answer as JSON; None for a new key."""

        def work(db: sqlite3.Connection) -> tuple[bytes, str] | None:
            row = db.execute(ANSWERED, (method, key)).fetchone()
            return (row[0], row[1]) if row is not None else None

        return await self._db.read(work)

    async def keep(self, method: str, key: str, fingerprint: bytes, answer: str) -> None:
        """Remember an answer. Raises `StoreUnavailable`."""

        def work(unit: Unit) -> None:
            unit.db.execute(KEEP, (method, key, fingerprint, answer, unit.now))

        await self._db.write(work)


async def tidy_answers(db: Database, before: float) -> int:
    """Remove answers that were given before a time, in epoch seconds; how many. Raises `StoreUnavailable`."""
    removed = 0
    while True:
        gone = await db.write(lambda unit: unit.db.execute(REMOVE_ANSWERS, (before, PAGE)).rowcount)
        removed += gone
        if gone < PAGE:
            return removed
