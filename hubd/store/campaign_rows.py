"""A row of `campaign` as a `Campaign`, and how to find one inside a unit of work."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from hubd.core.model import Campaign, CampaignState, Channel, Counts, DeliveryState, InDoubt
from hubd.errors import NotFound

#: One campaign by name.
BY_NAME = "SELECT * FROM campaign WHERE name = ? AND doomed = 0"
#: One campaign by id.
BY_ID = "SELECT * FROM campaign WHERE id = ? AND doomed = 0"
#: All campaigns, oldest first.
ALL = "SELECT * FROM campaign WHERE doomed = 0 AND single <= ? ORDER BY id"

_COUNTED = ("total", *(state.value for state in DeliveryState))


def campaign_by_name(db: sqlite3.Connection, name: str) -> Campaign:
    """Raises NotFound ("campaign_not_found")."""
    row = db.execute(BY_NAME, (name,)).fetchone()
    if row is None:
        raise _no_such_campaign()
    return campaign_from(row)


def campaign_by_id(db: sqlite3.Connection, campaign_id: int) -> Campaign:
    """Raises NotFound ("campaign_not_found")."""
    row = db.execute(BY_ID, (campaign_id,)).fetchone()
    if row is None:
        raise _no_such_campaign()
    return campaign_from(row)


def all_campaigns(
    db: sqlite3.Connection, *, queues: bool, only: Collection[int] | None = None
) -> list[Campaign]:
    """All, or those whose id is in `only`."""
    rows = db.execute(ALL, (int(queues),)).fetchall()
    return [campaign_from(row) for row in rows if only is None or row["id"] in only]


def campaign_from(row: sqlite3.Row) -> Campaign:
    """Every column of the row that the rest of the program knows."""
    return Campaign(
        id=row["id"],
        name=row["name"],
        channel=Channel(row["channel"]),
        provider=row["provider"],
        state=CampaignState(row["state"]),
        reason=row["reason"],
        revision=row["revision"],
        spec=row["spec"],
        content_id=row["content_id"],
        in_doubt=InDoubt.RECONCILE if row["reconcile"] else InDoubt(row["doubt_policy"]),
        rate=tuple(json.loads(row["rate"])),
        give_up_after=row["give_up_after"],
        window=row["send_window"],
        zone=row["send_zone"],
        limit=row["send_limit"],
        audience_ready=bool(row["audience_ready"]),
        transactional_queue=bool(row["single"]),
        archived=row["archived_at"] is not None,
        template=row["template"],
        counts=counts_of(row),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        scheduled_at=row["scheduled_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        last_error=row["last_error"],
    )


def settings_of(campaign: Campaign) -> dict[str, object]:
    """What an event tells of a campaign's settings, so that who follows need not ask."""
    return {
        "revision": campaign.revision,
        "channel": campaign.channel.value,
        "provider": campaign.provider,
        "rate": list(campaign.rate),
    }


def policy_columns(policy: InDoubt) -> dict[str, str | int]:
    """How a policy is stored. Asking the provider ends in holding what it cannot say: that is how it is kept,
    with a mark, so that a version that cannot ask holds, too.
    """
    asks = policy is InDoubt.RECONCILE
    return {"doubt_policy": (InDoubt.HOLD if asks else policy).value, "reconcile": int(asks)}


def counts_of(row: sqlite3.Row) -> Counts:
    """The counters in a row of `campaign`."""
    return Counts(**{name: row[f"n_{name}"] for name in _COUNTED})


def _no_such_campaign() -> NotFound:
    return NotFound("there is no such campaign", hint="to list all campaigns: hubctl list")
