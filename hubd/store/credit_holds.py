"""What campaigns and one-off messages hold of credit accounts, as they progress.

Each is called in the transaction of what it follows from. How credits move with the attempts is in
`credit_book`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence

from hubd.core.model import ENDED, Campaign, CampaignState, DeliveryState
from hubd.store.credit_book import ADD_ACCOUNT
from hubd.store.unit import SharedUnit, Unit

#: Whether somebody pays for a campaign, and whether it has ended.
STATE = "SELECT state, credits FROM campaign WHERE id = ?"
#: The hold of a campaign.
CAMPAIGN_HOLD = "SELECT id FROM credit_hold WHERE campaign_id = ? AND delivery_id IS NULL"
#: A new one, for a campaign or for a one-off message.
ADD_HOLD = """
INSERT INTO credit_hold (account, campaign_id, campaign, delivery_id) VALUES (?, ?, ?, ?) RETURNING id"""
#: The attempts of these deliveries that are at risk.
AT_RISK = """
SELECT credit_use.delivery_id, n, credit_use.hold_id, credit_hold.delivery_id IS NOT NULL AS one_off
FROM credit_use JOIN credit_hold ON credit_hold.id = hold_id
WHERE credit_use.spent = 0 AND credit_use.delivery_id IN (SELECT value FROM json_each(?))"""
#: The last attempt of these deliveries that may have been accepted, if its cost is no longer held.
GIVEN_UP = """
SELECT credit_hold.id, delivery.id, attempt.n, attempt.cost FROM delivery
JOIN campaign ON campaign.id = delivery.campaign_id
JOIN credit_hold ON credit_hold.delivery_id = delivery.id
    OR (credit_hold.delivery_id IS NULL AND credit_hold.campaign_id = campaign.id)
JOIN attempt ON attempt.delivery_id = delivery.id AND attempt.n = (
    SELECT max(n) FROM attempt WHERE delivery_id = delivery.id AND outcome IN ('sent', 'in_doubt'))
LEFT JOIN credit_use ON credit_use.delivery_id = delivery.id AND credit_use.n = attempt.n
WHERE delivery.id IN (SELECT value FROM json_each(?)) AND credit_use.n IS NULL
    AND (campaign.credits <> '' OR campaign.single = 1)"""
#: What the attempts of a campaign's deliveries that are in doubt cost.
DOUBTFUL_USES = """
SELECT credit_use.delivery_id, n FROM delivery INDEXED BY delivery_trouble
JOIN credit_use ON credit_use.delivery_id = delivery.id AND credit_use.spent = 0
WHERE campaign_id = ? AND state = 'in_doubt'
    AND (state = 'failed' OR state = 'in_doubt' OR state = 'undelivered' OR state = 'skipped')"""
#: The holds of one-off messages that are not sent after all.
UNSENT = """
SELECT id FROM credit_hold
WHERE delivery_id IN (SELECT value FROM json_each(?)) AND held > at_risk"""
#: What deliveries that are removed had spent stays in the sum of their hold.
CLEAR_USES = """
DELETE FROM credit_use WHERE delivery_id IN (SELECT value FROM json_each(?)) RETURNING hold_id, credits"""
CLEARED = "UPDATE credit_hold SET cleared = cleared + ? WHERE id = ?"


def state_changed(unit: Unit, campaign: Campaign, to: CampaignState, reserve: int | None) -> None:
    """A campaign goes to another state: hold what it needs, or give back what it does not.

    `reserve` is what its messages that are left need; None leaves that to their attempts. Raises
    `CreditsShort`.
    """
    if to is CampaignState.RUNNING:
        hold_id = _hold_of(unit, campaign)
        if reserve is not None:
            unit.credits.reserve(hold_id, reserve, campaign.name)
    elif to in ENDED:
        _release(unit, campaign.id)


def _hold_of(unit: Unit, campaign: Campaign) -> int:
    row = unit.db.execute(CAMPAIGN_HOLD, (campaign.id,)).fetchone()
    if row is not None:
        return int(row[0])
    return add_hold(unit, campaign.credits, campaign.id, campaign.name)


def add_hold(unit: Unit, account: str, campaign_id: int, name: str, delivery_id: int | None = None) -> int:
    """A new hold of an account, which is made if there is none; its id."""
    unit.db.execute(ADD_ACCOUNT, (account, unit.now))
    made: int = unit.db.execute(ADD_HOLD, (account, campaign_id, name, delivery_id)).fetchone()[0]
    return made


def _release(unit: Unit, campaign_id: int) -> None:
    row = unit.db.execute(CAMPAIGN_HOLD, (campaign_id,)).fetchone()
    if row is not None:
        unit.credits.release(row[0])


def campaign_deleted(unit: Unit, campaign: Campaign) -> None:
    """A campaign goes with its deliveries: all that it holds is given back."""
    if campaign.credits:
        for delivery_id, n in unit.db.execute(DOUBTFUL_USES, (campaign.id,)).fetchall():
            unit.credits.refused(delivery_id, n)
        _release(unit, campaign.id)


def doubts_decided(unit: Unit, campaign_id: int, delivery_ids: Sequence[int], target: DeliveryState) -> None:
    """Deliveries that were in doubt go to `target`: their attempts are paid for, or not.

    What a campaign that has ended no longer needs is given back.
    """
    uses = unit.db.execute(AT_RISK, (json.dumps(list(delivery_ids)),)).fetchall()
    for delivery_id, n, _, _ in uses:
        if target is DeliveryState.SENT:
            unit.credits.accepted(delivery_id, n)
        else:
            unit.credits.refused(delivery_id, n)
    if target is DeliveryState.SENT:
        _pay_late(unit, set(delivery_ids) - {delivery_id for delivery_id, _, _, _ in uses})
    if target is DeliveryState.FAILED:
        for hold_id in {hold_id for _, _, hold_id, one_off in uses if one_off}:
            unit.credits.release(hold_id, logged=False)
    if uses and target is not DeliveryState.SENT:
        campaign = unit.db.execute(STATE, (campaign_id,)).fetchone()
        if campaign["credits"] and campaign["state"] in ENDED:
            _release(unit, campaign_id)


def _pay_late(unit: Unit, delivery_ids: Collection[int]) -> None:
    """These turn out to be sent although their attempt in doubt was given up, to be repeated."""
    rows = unit.db.execute(GIVEN_UP, (json.dumps(list(delivery_ids)),)).fetchall()
    for hold_id, delivery_id, n, cost in rows:
        if unit.credits.open(hold_id, delivery_id, n, cost):
            unit.credits.accepted(delivery_id, n)


def messages_ended(unit: SharedUnit, delivery_ids: Sequence[int]) -> None:
    """One-off messages among these are not sent after all: what was held for them is given back."""
    for (hold_id,) in unit.db.execute(UNSENT, (json.dumps(list(delivery_ids)),)).fetchall():
        unit.credits.release(hold_id, logged=False)


def clear_uses(unit: Unit, delivery_ids: Sequence[int]) -> None:
    """These deliveries are removed. What they have spent stays spent; what is at risk stays in the hold."""
    removed = json.dumps(list(delivery_ids))
    for delivery_id, n, _, _ in unit.db.execute(AT_RISK, (removed,)).fetchall():
        unit.credits.refused(delivery_id, n)
    unit.credits.flush()
    cleared: Counter[int] = Counter()
    for hold_id, credits in unit.db.execute(CLEAR_USES, (removed,)).fetchall():
        cleared[hold_id] += credits
    for hold_id, credits in cleared.items():
        unit.db.execute(CLEARED, (credits, hold_id))
