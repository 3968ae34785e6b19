"""Campaigns that go to whoever is added to a list: the additions become their recipients, each contact once.

It happens in the transaction that adds to the list. Nobody is one campaign's recipient twice, by a unique
index: also who leaves the list and comes back is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from hubd.core.model import Channel, DeliveryState
from hubd.failpoints import reach
from hubd.store import conditions
from hubd.store.audience import COUNT_NEW, FREEZE, NEWEST, WAITING
from hubd.store.transaction import Row
from hubd.store.unit import Unit

#: The campaigns that wait for additions to a list. What has paused or failed continues with them later.
TRIGGERED = """
SELECT id, channel, trigger_delay, coalesce(json_extract(spec, '$.where'), '') AS condition
FROM campaign
WHERE trigger_list = ? AND trigger_list <> '' AND doomed = 0 AND state IN ('running', 'paused', 'failed')"""


def join_triggered(unit: Unit, list_name: str, contacts: Sequence[int]) -> None:
    """These contacts were just added to a list: they become recipients of the campaigns that wait for it."""
    if not contacts:
        return
    for campaign in unit.db.execute(TRIGGERED, (list_name,)).fetchall():
        _join(unit, campaign, list_name, contacts)


def _join(unit: Unit, campaign: Row, list_name: str, contacts: Sequence[int]) -> None:
    condition, delay = campaign["condition"], campaign["trigger_delay"]
    results = (
        conditions.results_of(unit.db, condition, contacts) if condition else ((each, 1) for each in contacts)
    )
    newest: int = unit.db.execute(NEWEST).fetchone()[0]
    values = {
        "campaign_id": campaign["id"],
        "now": unit.now,
        "chosen": conditions.chosen(results),
        "next_at": unit.now + delay if delay else None,
        **WAITING,
        **({"why": "delayed"} if delay else {}),
    }
    unit.db.execute(FREEZE[Channel(campaign["channel"]), True], values)
    joined = unit.db.execute(COUNT_NEW, (campaign["id"], newest)).fetchall()
    for state, n in joined:
        unit.moved(campaign["id"], None, DeliveryState(state), n)
    if joined:
        data = {"list": list_name, "recipients": sum(n for _, n in joined)}
        unit.event("campaign.joined", campaign["id"], data)
        reach("in_trigger")
