"""A campaign as the world sees it now: its row, its pace, and what it waits for."""

from __future__ import annotations

from hubd.control.needs import Hub
from hubd.control.views import campaign_view
from hubd.core.model import Campaign, CampaignState
from hubd.wire.results import CampaignView

WINDOW_CLOSED = "outside the sending window of its recipients"


async def view_of(hub: Hub, campaign: Campaign) -> CampaignView:
    """The view of a campaign that was just read."""
    reason = hub.supervisor.reason(campaign)
    if not reason and await _waits_for_its_window(hub, campaign):
        reason = WINDOW_CLOSED
    again = await hub.ledger.possible_duplicates(campaign.id)
    refused = await hub.ledger.refused(campaign.id) if campaign.state is CampaignState.PAUSED else 0
    sample = hub.feed.sample(campaign.id)
    return campaign_view(campaign, sample, reason, possible_duplicates=again, refused=refused)


async def _waits_for_its_window(hub: Hub, campaign: Campaign) -> bool:
    """Whether everything that is left was put off, and not because it was refused for now."""
    counts = campaign.counts
    if campaign.state is not CampaignState.RUNNING or not campaign.window or not campaign.audience_ready:
        return False
    if counts.sending or not counts.pending:
        return False
    at = await hub.ledger.next_due_at(campaign.id)
    return at is not None and at > hub.now()
