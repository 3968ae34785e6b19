"""Campaigns as clients see them now: their rows, their pace, and what they wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubd.control.hub import Hub
from hubd.control.views import campaign_view
from hubd.core.model import Campaign, CampaignState, Figures
from hubd.engine.progress import Sample
from hubd.wire.campaign_results import CampaignView

WINDOW_CLOSED = "outside the sending window of its recipients"


async def view_of(hub: Hub, campaign: Campaign) -> CampaignView:
    """The view of a campaign that was just read."""
    return (await views_of(hub, [campaign]))[0]


async def views_of(hub: Hub, campaigns: Sequence[Campaign]) -> list[CampaignView]:
    """The views of campaigns that were just read; the database is asked once for all of them."""
    figures = await hub.ledger.figures(campaigns)
    return [_view(hub, campaign, figures[campaign.id]) for campaign in campaigns]


def _view(hub: Hub, campaign: Campaign, figures: Figures) -> CampaignView:
    sample, reason = hub.progress.sample(campaign.id), hub.supervisor.reason(campaign)
    return _seen(campaign, figures, sample, reason, hub.now(), reads=bool(hub.readers.views()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What the engine says about a campaign, for an answer that is made where it cannot be asked."""

    sample: Sample | None
    obstacle: str  #: what it waits for, if it runs
    now: float
    reads: bool  #: whether anything is read for what comes back

    @classmethod
    def of(cls, hub: Hub, provider: str, campaign: Campaign | None) -> Live:
        """As it is now, for a campaign that sends through `provider`; `campaign` is None for a new one."""
        sample = hub.progress.sample(campaign.id) if campaign is not None else None
        obstacle, reads = hub.supervisor.obstacle(provider), bool(hub.readers.views())
        return cls(sample=sample, obstacle=obstacle, now=hub.now(), reads=reads)


def changed_view(campaign: Campaign, figures: Figures, live: Live) -> CampaignView:
    """The view of a campaign as a command leaves it."""
    runs = campaign.state is CampaignState.RUNNING
    reason = (live.obstacle if runs else "") or campaign.reason
    return _seen(campaign, figures, live.sample, reason, live.now, reads=live.reads)


def _seen(
    campaign: Campaign, figures: Figures, sample: Sample | None, reason: str, now: float, *, reads: bool
) -> CampaignView:
    if not reason and _waits_for_its_window(campaign, figures.next_due_at, now):
        reason = WINDOW_CLOSED
    return campaign_view(
        campaign,
        sample,
        reason,
        possible_duplicates=figures.possible_duplicates,
        refused=figures.refused,
        reads=reads,
    )


def _waits_for_its_window(campaign: Campaign, next_due_at: float | None, now: float) -> bool:
    """Whether all that is left was put off, and not because of temporary refusals."""
    counts = campaign.counts
    if campaign.state is not CampaignState.RUNNING or not campaign.window or not campaign.audience_ready:
        return False
    if counts.sending or not counts.pending:
        return False
    return next_due_at is not None and next_due_at > now
