"""A row of `campaign` as a `Campaign`, and how to find one inside a unit of work."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from hubd.core.measures import CAME_BACK
from hubd.core.model import Campaign, CampaignState, Channel, Counts, DeliveryState, InDoubt
from hubd.errors import NotFound
from hubd.store.transaction import Row, Transaction

_COUNTED = ("total", *(state.value for state in DeliveryState))
_SUMS = ", ".join(f"coalesce(sum(n_{name}), 0) AS n_{name}" for name in _COUNTED)
_CAME_BACK = ", ".join(f"coalesce(sum(n_{name}), 0) AS n_{name}" for name in CAME_BACK)


def _counted(where: str) -> str:
    return f"""
SELECT campaign.*, {_SUMS}, {_CAME_BACK}, coalesce(max(campaign_count.updated_at), 0) AS counted_at
FROM campaign LEFT JOIN campaign_count ON campaign_count.campaign_id = campaign.id
{where} GROUP BY campaign.id ORDER BY campaign.id"""  # noqa: S608 - no values, only our own words


#: Every campaign with its counters, also those whose removal has begun.
EVERY = _counted("")
#: One campaign by name.
BY_NAME = _counted("WHERE name = ? AND doomed = 0")
#: One campaign by id.
BY_ID = _counted("WHERE id = ? AND doomed = 0")
#: All campaigns, oldest first.
ALL = _counted("WHERE doomed = 0 AND single <= ?")
#: The counters of some campaigns.
COUNTS = f"""
SELECT id, {_SUMS} FROM campaign LEFT JOIN campaign_count ON campaign_id = id
WHERE id IN (SELECT value FROM json_each(?)) GROUP BY id"""  # noqa: S608 - only our own words


def campaign_by_name(db: Transaction, name: str) -> Campaign:
    """Raises NotFound ("campaign_not_found")."""
    row = db.execute(BY_NAME, (name,)).fetchone()
    if row is None:
        raise _no_such_campaign()
    return campaign_from(row)


def campaign_if_there(db: Transaction, name: str) -> Campaign | None:
    """The campaign with this name, if there is one."""
    row = db.execute(BY_NAME, (name,)).fetchone()
    return None if row is None else campaign_from(row)


def campaign_by_id(db: Transaction, campaign_id: int) -> Campaign:
    """Raises NotFound ("campaign_not_found")."""
    row = db.execute(BY_ID, (campaign_id,)).fetchone()
    if row is None:
        raise _no_such_campaign()
    return campaign_from(row)


def all_campaigns(db: Transaction, *, queues: bool, only: Collection[int] | None = None) -> list[Campaign]:
    """All, or those whose id is in `only`."""
    rows = db.execute(ALL, (int(queues),)).fetchall()
    return [campaign_from(row) for row in rows if only is None or row["id"] in only]


def campaign_from(row: Row) -> Campaign:
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
        credits=row["credits"],
        recurrence=row["recurrence"],
        trigger_list=row["trigger_list"],
        series=row["series"],
        counts=_counts(row),
        **{name.value: row[f"n_{name}"] for name in CAME_BACK},
        created_at=row["created_at"],
        updated_at=max(row["updated_at"], row["counted_at"]),
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


def counts_by_id(db: Transaction, campaign_ids: Sequence[int]) -> dict[int, Counts]:
    """The counters of those of these campaigns that there are."""
    return {row["id"]: _counts(row) for row in db.execute(COUNTS, (json.dumps(list(campaign_ids)),))}


def _counts(row: Row) -> Counts:
    return Counts(**{name: row[f"n_{name}"] for name in _COUNTED})


def _no_such_campaign() -> NotFound:
    return NotFound("there is no such campaign", hint="to list all campaigns: hubctl list")
