"""`hub.*`: the daemon as a whole."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import cast

import trio

from hubd.control.campaign_views import views_of
from hubd.control.needs import Hub
from hubd.control.views import counts_view, provider_view, time_text
from hubd.core.model import ENDED, Campaign, CampaignState, Counts
from hubd.wire import results as r
from hubd.wire.params import Change, HubBackup, Params

log = logging.getLogger(__name__)

ENDED_SHOWN = 10
PULSE_SECONDS = 2.0  #: in which the schedule answers, or is said not to


async def status(hub: Hub, _: Params) -> r.StatusResult:
    """How everything is: campaigns that go on, the last that ended, the providers."""
    campaigns = await hub.campaigns.list()
    ended = [campaign for campaign in campaigns if campaign.state in ENDED]
    ended.sort(key=lambda campaign: campaign.completed_at or campaign.updated_at)
    hidden = {campaign.id for campaign in ended[:-ENDED_SHOWN]}
    return {
        "version": hub.info.version,
        "pid": hub.info.pid,
        "state_dir": hub.info.state_dir,
        "started_at": time_text(hub.info.started_at),
        "uptime": round(max(0.0, hub.now() - hub.info.started_at), 1),
        "trouble": hub.database.trouble,
        "campaigns": await views_of(hub, [each for each in campaigns if each.id not in hidden]),
        "providers": [provider_view(provider) for provider in hub.supervisor.providers.views()],
        "states": dict(Counter(campaign.state.value for campaign in campaigns)),
        "counts": _sum(counts_view(campaign.counts) for campaign in campaigns),
        "store": {
            "ok": not hub.database.trouble,
            "epoch": hub.database.epoch,
            "head_seq": hub.database.head_seq,
        },
        "schedule": {"ok": await _beats(hub), "next_at": _next_start(campaigns)},
        "restored": await _restored(hub),
    }


def _sum(counts: Iterable[r.CountsView]) -> r.CountsView:
    total = Counter(asdict(Counts()))
    for each in counts:
        total.update(each)
    return cast("r.CountsView", dict(total))


async def _beats(hub: Hub) -> bool:
    """Whether the schedule gives a sign of life."""
    with trio.move_on_after(PULSE_SECONDS):
        await hub.supervisor.clockwork.heartbeat()
        return True
    return False


def _next_start(campaigns: Sequence[Campaign]) -> str | None:
    waiting = [each.scheduled_at for each in campaigns if each.state is CampaignState.SCHEDULED]
    return time_text(min((at for at in waiting if at is not None), default=None))


async def _restored(hub: Hub) -> r.RestoredView | None:
    """The last restore of the database, as long as somebody has to decide about something."""
    found = hub.restores.found
    undecided = await hub.restores.undecided() if found is not None else {}
    if found is None or not undecided:
        return None
    return {"at": time_text(found.at), "why": found.why, "in_doubt": dict(undecided)}


async def reload(hub: Hub, _: Change) -> r.ReloadResult:
    """Read the configuration again. A bad one changes nothing (`BadConfig`)."""
    return {"applied": list(await hub.reload()), "needs_restart": hub.config()["needs_restart"]}


async def shutdown(hub: Hub, _: Change) -> r.Nothing:
    """Ask the daemon to stop. The answer goes out before it does."""
    hub.shutdown()
    return {}


async def backup(hub: Hub, params: HubBackup) -> r.BackupResult:
    """Copy the whole database to a new file, while messages go out."""
    made = await hub.backups.make(params.path)
    log.info("backed up to %s in %.1f s", made.path, made.seconds)
    return {
        "path": made.path,
        "size": made.size,
        "taken_at": time_text(made.taken_at),
        "seconds": round(made.seconds, 3),
    }


async def check(hub: Hub, _: Params) -> r.DoctorResult:
    """Look over the database and what lies beside it. Changes nothing."""
    trouble = hub.database.trouble
    checks: list[r.CheckView] = [
        {
            "check": "writing",
            "ok": not trouble,
            "found": trouble or "the database can be written",
            "advice": "sending goes on by itself when the cause is gone" if trouble else "",
        }
    ]
    for finding in await hub.audit.examine(hub.supervisor.running):
        checks.append(
            {
                "check": finding.check,
                "ok": finding.ok,
                "found": finding.found,
                "advice": finding.advice,
            }
        )
    return {"ok": all(each["ok"] for each in checks), "checks": checks}
