"""Campaigns as the world sees them now: their rows, their pace, and what they wait for."""

from __future__ import annotations

from collections.abc import Sequence

from hubd.control.needs import Hub
from hubd.control.rows import Figures
from hubd.control.views import campaign_view
from hubd.core.model import Campaign, CampaignState
from hubd.wire.results import CampaignView

WINDOW_CLOSED = "outside the sending window of its recipients"


async def view_of(hub: Hub, campaign: Campaign) -> CampaignView:
    """The view of a campaign that was just read."""
    return (await views_of(hub, [campaign]))[0]


async def views_of(hub: Hub, campaigns: Sequence[Campaign]) -> list[CampaignView]:
    """The views of campaigns that were just read; the database is asked once for all of them."""
    figures = await hub.ledger.figures(campaigns)
    return [_view(hub, campaign, figures[campaign.id]) for campaign in campaigns]


def _view(hub: Hub, campaign: Campaign, figures: Figures) -> CampaignView:
    reason = hub.supervisor.reason(campaign)
    if not reason and _waits_for_its_window(campaign, figures.next_due_at, hub.now()):
        reason = WINDOW_CLOSED
    return campaign_view(
        campaign,
        hub.feed.sample(campaign.id),
        reason,
        possible_duplicates=figures.possible_duplicates,
        refused=figures.refused,
    )


def _waits_for_its_window(campaign: Campaign, next_due_at: float | None, now: float) -> bool:
    """Whether everything that is left was put off, and not because it was refused for now."""
    counts = campaign.counts
    if campaign.state is not CampaignState.RUNNING or not campaign.window or not campaign.audience_ready:
        return False
    if counts.sending or not counts.pending:
        return False
    return next_due_at is not None and next_due_at > now
