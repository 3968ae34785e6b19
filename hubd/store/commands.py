"""What was commanded: who did what, in the audit trail, and what repeated requests were answered first."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from hubd.store.database import Database, Unit

#: The first request with this key.
FIRST = "SELECT fingerprint, result, arrived FROM answer WHERE method = ? AND key = ?"
#: It is about to be carried out.
BEGIN = """
INSERT INTO answer (method, key, fingerprint, result, arrived, created_at) VALUES (?, ?, ?, '', ?, ?)"""
#: It was, and this was the answer.
KEEP = "UPDATE answer SET result = ? WHERE method = ? AND key = ?"
#: It was refused: the key may be used again.
FORGET = "DELETE FROM answer WHERE method = ? AND key = ? AND result = ''"
#: A campaign's number, for the trail.
CAMPAIGN_ID = "SELECT id FROM campaign WHERE name = ?"
#: Answers older than a time, a page of them.
REMOVE_ANSWERS = """
DELETE FROM answer WHERE (method, key) IN
    (SELECT method, key FROM answer WHERE created_at < ? LIMIT ?)"""

PAGE = 1_000  #: answers removed in one unit of work


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """The first request with a key."""

    fingerprint: bytes  #: of what was asked for
    answer: str  #: as JSON; "" when the daemon ended before it was known
    arrived: int  #: how many of the campaign had been sent to when it began


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

    async def begin(self, method: str, key: str, fingerprint: bytes, arrived: int) -> First | None:
        """Remember that a request is about to be carried out, or what is known of the first one with its key.

        Raises `StoreUnavailable`.
        """

        def work(unit: Unit) -> First | None:
            first = _first(unit.db, method, key)
            if first is None:
                unit.db.execute(BEGIN, (method, key, fingerprint, arrived, unit.steady))
            return first

        return await self._db.write(work)

    async def first(self, method: str, key: str) -> First | None:
        """What is known of the first request with a key. Raises `StoreUnavailable`."""
        return await self._db.read(lambda db: _first(db, method, key))

    async def keep(self, method: str, key: str, answer: str) -> None:
        """Remember the answer to a request that was begun. Raises `StoreUnavailable`."""

        def work(unit: Unit) -> None:
            unit.db.execute(KEEP, (answer, method, key))

        await self._db.write(work)

    async def forget(self, method: str, key: str) -> None:
        """A request that was begun has changed nothing. Raises `StoreUnavailable`."""

        def work(unit: Unit) -> None:
            unit.db.execute(FORGET, (method, key))

        await self._db.write(work)


def _first(db: sqlite3.Connection, method: str, key: str) -> First | None:
    row = db.execute(FIRST, (method, key)).fetchone()
    if row is None:
        return None
    return First(fingerprint=row["fingerprint"], answer=row["result"], arrived=row["arrived"])


async def tidy_answers(db: Database, before: float) -> int:
    """Remove answers that were given before a time, in epoch seconds; how many. Raises `StoreUnavailable`."""
    removed = 0
    while True:
        gone = await db.write(
            lambda unit: unit.db.execute(REMOVE_ANSWERS, (before, PAGE)).rowcount, bulk=True
        )
        removed += gone
        if gone < PAGE:
            return removed
