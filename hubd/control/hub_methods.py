"""`hub.*`: the daemon as a whole."""

from __future__ import annotations

from collections import Counter

from hubd.control.campaign_views import view_of
from hubd.control.needs import Hub
from hubd.control.views import provider_view, time_text
from hubd.core.model import CampaignState
from hubd.wire import results as r
from hubd.wire.params import Change, Params

FINISHED = (CampaignState.STOPPED, CampaignState.COMPLETED, CampaignState.FAILED)
FINISHED_SHOWN = 10


async def status(hub: Hub, _: Params) -> r.StatusResult:
    """How everything is: campaigns that go on, the last that ended, the providers."""
    campaigns = await hub.campaigns.list()
    ended = [campaign for campaign in campaigns if campaign.state in FINISHED]
    ended.sort(key=lambda campaign: campaign.completed_at or campaign.updated_at)
    hidden = {campaign.id for campaign in ended[:-FINISHED_SHOWN]}
    return {
        "version": hub.info.version,
        "pid": hub.info.pid,
        "state_dir": hub.info.state_dir,
        "started_at": time_text(hub.info.started_at),
        "uptime": round(max(0.0, hub.now() - hub.info.started_at), 1),
        "trouble": hub.database.trouble,
        "campaigns": [await view_of(hub, campaign) for campaign in campaigns if campaign.id not in hidden],
        "providers": [provider_view(provider) for provider in hub.supervisor.providers.views()],
        "states": dict(Counter(campaign.state.value for campaign in campaigns)),
    }


async def reload(hub: Hub, _: Change) -> r.ReloadResult:
    """Read the configuration again. A bad one changes nothing (`BadConfig`)."""
    return {"applied": list(await hub.reload()), "needs_restart": []}


async def shutdown(hub: Hub, _: Change) -> r.Nothing:
    """Ask the daemon to stop. The answer goes out before it does."""
    hub.shutdown()
    return {}
