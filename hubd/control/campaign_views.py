"""A campaign as the world sees it now: its row, its pace, and what it waits for."""

from __future__ import annotations

from hubd.control.needs import Hub
from hubd.control.views import campaign_view
from hubd.core.model import Campaign
from hubd.wire.results import CampaignView


def view_of(hub: Hub, campaign: Campaign) -> CampaignView:
    """The view of a campaign that was just read."""
    return campaign_view(campaign, hub.feed.sample(campaign.id), hub.supervisor.reason(campaign))
