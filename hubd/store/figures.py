"""What is known of a campaign beyond its counters."""

from __future__ import annotations

from hubd.core.model import Campaign, CampaignState, Figures
from hubd.store.doubts import possible_duplicates
from hubd.store.requeue import count_refused
from hubd.store.transaction import Transaction

#: The first time that something may be tried; 0 when that is now.
NEXT_DUE = """
SELECT CASE WHEN EXISTS (
    SELECT 1 FROM delivery INDEXED BY delivery_fresh
    WHERE campaign_id = :campaign_id AND next_at IS NULL AND (state = 'pending' OR state = 'deferred'))
THEN 0.0 ELSE (
    SELECT min(next_at) FROM delivery INDEXED BY delivery_later
    WHERE campaign_id = :campaign_id AND (state = 'pending' OR state = 'deferred') AND next_at IS NOT NULL)
END"""


def figures_of(db: Transaction, campaign: Campaign) -> Figures:
    """What `Ledger.figures` says of one campaign."""
    return Figures(
        possible_duplicates=possible_duplicates(db, campaign.id),
        refused=count_refused(db, campaign.id) if campaign.state is CampaignState.PAUSED else 0,
        next_due_at=next_due_at(db, campaign.id) if campaign.window else None,
    )


def next_due_at(db: Transaction, campaign_id: int) -> float | None:
    """When the next untried or deferred delivery is due (0 for at once); None if there is none left."""
    first: float | None = db.execute(NEXT_DUE, {"campaign_id": campaign_id}).fetchone()[0]
    return first
