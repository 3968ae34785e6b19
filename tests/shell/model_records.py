"""The auditor: reads what is written down with a connection of its own and nothing of the hub's code."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CampaignLine:
    """A campaign with its counters, and the same counted anew."""

    id: int
    name: str
    state: str
    reason: str
    policy: str
    rate: tuple[str, ...]
    limit: int | None
    transactional_queue: bool
    fixed: bool  #: its audience is fixed
    lists: tuple[str, ...]
    counted: dict[str, int]
    recounted: dict[str, int]
    rolled_up: dict[str, int]  #: the sums of all hours


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """A delivery with what its attempts say."""

    id: int
    campaign: str
    recipient: str
    state: str
    reason: str
    resent: int  #: how often it was sent again although it may have been accepted
    opened: int  #: attempts that are open
    doubted: int  #: attempts that ended in doubt


@dataclass(frozen=True, slots=True)
class Records:
    """All that is written down, at one moment."""

    campaigns: dict[str, CampaignLine]
    deliveries: dict[int, DeliveryLine]
    suppressed: frozenset[str]
    members: dict[str, frozenset[str]]  #: list -> addresses

    def of(self, campaign: str) -> list[DeliveryLine]:
        return [line for line in self.deliveries.values() if line.campaign == campaign]


_STATES = (
    *("pending", "deferred", "sending", "sent", "delivered", "undelivered", "failed", "skipped", "in_doubt"),
)
_DELIVERIES = """
SELECT delivery.id, campaign.name, recipient, delivery.state, delivery.reason, doubts,
    (SELECT count(*) FROM attempt WHERE delivery_id = delivery.id AND outcome IS NULL),
    (SELECT count(*) FROM attempt WHERE delivery_id = delivery.id AND outcome = 'in_doubt')
FROM delivery JOIN campaign ON campaign.id = delivery.campaign_id"""
_CAMPAIGNS = "SELECT * FROM campaign LEFT JOIN campaign_count ON campaign_id = id"
_ROLLED_UP = "SELECT measure, sum(n) FROM rollup WHERE campaign_id = ? GROUP BY measure"
_MEMBERS = """
SELECT list.name AS list, email FROM membership JOIN list ON list.id = list_id
JOIN contact ON contact.id = contact_id"""


@contextmanager
def auditor(directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads; nothing of the hub's own code is in between."""
    db = sqlite3.connect(f"{(directory / 'hub.db').as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.row_factory = sqlite3.Row
    try:
        yield db
    finally:
        db.close()


def read_records(db: sqlite3.Connection) -> Records:
    """Everything as of one moment."""
    db.execute("BEGIN")
    try:
        deliveries = [DeliveryLine(*row) for row in db.execute(_DELIVERIES)]
        recounted: dict[str, dict[str, int]] = {}
        for line in deliveries:
            counts = recounted.setdefault(line.campaign, dict.fromkeys(("total", *_STATES), 0))
            counts["total"] += 1
            counts[line.state] += 1
        members: dict[str, set[str]] = {}
        for name, address in db.execute(_MEMBERS):
            members.setdefault(name, set()).add(address)
        return Records(
            campaigns={
                row["name"]: _line(row, recounted, dict(db.execute(_ROLLED_UP, (row["id"],)).fetchall()))
                for row in db.execute(_CAMPAIGNS).fetchall()
            },
            deliveries={line.id: line for line in deliveries},
            suppressed=frozenset(key for (key,) in db.execute("SELECT address_key FROM suppression")),
            members={name: frozenset(addresses) for name, addresses in members.items()},
        )
    finally:
        db.execute("ROLLBACK")


def _line(row: sqlite3.Row, recounted: dict[str, dict[str, int]], rolled_up: dict[str, int]) -> CampaignLine:
    words = ("total", *_STATES)
    return CampaignLine(
        id=row["id"],
        name=row["name"],
        state=row["state"],
        reason=row["reason"],
        policy=row["doubt_policy"],
        rate=tuple(json.loads(row["rate"])),
        limit=row["send_limit"],
        transactional_queue=bool(row["single"]),
        fixed=row["freeze_to"] is not None,
        lists=tuple(json.loads(row["lists"])),
        counted={word: row[f"n_{word}"] or 0 for word in words},
        recounted=recounted.get(row["name"], dict.fromkeys(words, 0)),
        rolled_up=rolled_up,
    )


def records_in(directory: Path) -> Records:
    """The records of a hub that does not run; they are empty before its first life."""
    if not (directory / "hub.db").exists():
        return Records(campaigns={}, deliveries={}, suppressed=frozenset(), members={})
    with auditor(directory) as db:
        return read_records(db)
