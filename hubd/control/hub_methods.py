"""`hub.*`: the daemon as a whole."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import cast

import trio

from hubd.control.campaign_views import views_of
from hubd.control.command import Command
from hubd.control.credit_methods import account_view
from hubd.control.hub import Hub
from hubd.control.inbox_methods import broken, mailbox_view
from hubd.control.metrics import metrics
from hubd.control.table import CHECK_SECONDS, Disk, changes, of_session, reads
from hubd.control.views import counts_view, provider_view, time_text
from hubd.core.decide import Request
from hubd.core.inbox import LISTENER, SourceView, in_trouble
from hubd.core.model import ENDED, Campaign, CampaignState, Counts
from hubd.core.records import Backup
from hubd.errors import HubError, StoreUnavailable
from hubd.wire import hub_results as r
from hubd.wire.campaign_results import CountsView
from hubd.wire.hub_params import Hello, HubBackup, HubCancel
from hubd.wire.params import Change, Params
from hubd.wire.results import Done, WouldChange

log = logging.getLogger(__name__)

ENDED_SHOWN = 10
PULSE_SECONDS = 2.0  #: within which the scheduler must answer, or counts as stuck


async def status(hub: Hub, _: Params) -> r.StatusResult:
    """The status of everything: active campaigns, those that ended last, the providers."""
    campaigns = await hub.campaigns.list()
    waiting = await hub.inbox.waiting()
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
        "warnings": _warnings(hub, waiting),
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
        "credits": [account_view(each) for each in await hub.credits.all()],
        "mailboxes": [mailbox_view(each) for each in hub.readers.views()],
        "replies_waiting": waiting,
    }


def _warnings(hub: Hub, waiting: int) -> list[str]:
    found = [hub.endpoints.trouble] if hub.endpoints.trouble else []
    found += [in_trouble(each.name, each.reason) for each in hub.readers.views() if broken(each)]
    if waiting:
        found.append(f"{waiting} {'reply waits' if waiting == 1 else 'replies wait'} for your decision")
    return found


def _remedy(source: SourceView) -> str:
    if source.name == LISTENER:
        return (
            "stop the program that uses this port, or change listener.address in hubd.toml and restart hubd; "
            "hubd tries again"
        )
    return "correct its settings or its password, then: hubctl daemon reload"


def _sum(counts: Iterable[CountsView]) -> CountsView:
    total = Counter(asdict(Counts()))
    for each in counts:
        total.update(each)
    return cast("CountsView", dict(total))


async def _beats(hub: Hub) -> bool:
    """Whether the scheduler answers."""
    with trio.move_on_after(PULSE_SECONDS):
        await hub.supervisor.scheduler.heartbeat()
        return True
    return False


def _next_start(campaigns: Sequence[Campaign]) -> str | None:
    waiting = [each.scheduled_at for each in campaigns if each.state is CampaignState.SCHEDULED]
    return time_text(min((at for at in waiting if at is not None), default=None))


async def _restored(hub: Hub) -> r.RestoredView | None:
    """The last restore of the database, as long as it leaves something to decide."""
    found = hub.restores.found
    undecided = await hub.restores.undecided() if found is not None else {}
    if found is None or not undecided:
        return None
    return {"at": time_text(found.at), "why": found.why, "in_doubt": dict(undecided)}


async def reload(hub: Hub, _: Change, command: Command) -> r.ReloadResult:
    """Reload the configuration. An invalid one changes nothing (`BadConfig`)."""
    if command.dry_run:
        keys = list(await hub.reload_changes())
        would: WouldChange = {"change": bool(keys), "keys": keys}
        return {"applied": [], "needs_restart": hub.config()["needs_restart"], "would": would}
    return {"applied": list(await hub.reload()), "needs_restart": hub.config()["needs_restart"]}


async def shutdown(hub: Hub, _: Change, command: Command) -> r.ShutdownResult:
    """Ask the daemon to stop. The answer is sent first."""
    if command.dry_run:
        running = [each for each in await hub.campaigns.list() if each.state is CampaignState.RUNNING]
        return {"would": {"change": True, "running": len(running)}}
    hub.shutdown()
    return {}


async def backup(hub: Hub, params: HubBackup, command: Command) -> r.BackupResult:
    """Back up the whole database to a new file while messages are being sent.

    With a key, the request is stored first, so the copy contains it. If the daemon is killed after that, a
    repeated request recognizes its own copy, or makes it if there is none.
    """
    if command.dry_run:
        await hub.backups.check(params.path)
        would: WouldChange = {"change": True}
        return {"path": params.path, "size": 0, "taken_at": None, "seconds": 0.0, "would": would}
    request = command.request
    made = await hub.backups.made_for(params.path, request) if request.progress else None
    if made is None:
        make = _remembered(hub, params.path, request) if request.key else hub.backups.make(params.path)
        made = await make
        log.info("backed up to %s in %.1f s", made.path, made.seconds)
    return {
        "path": made.path,
        "size": made.size,
        "taken_at": time_text(made.taken_at),
        "seconds": round(made.seconds, 3),
    }


async def _remembered(hub: Hub, path: str, request: Request) -> Backup:
    try:
        await hub.commands.begin(request)
    except StoreUnavailable:
        log.warning("the request for the backup to %s is not recorded: the disk cannot be written", path)
        return await hub.backups.make(path)
    try:
        return await hub.backups.make(path)
    except HubError:
        with suppress(StoreUnavailable):  # then a repeated request makes the copy again
            await hub.commands.forget(request)
        raise


async def check(hub: Hub, _: Params) -> r.DoctorResult:
    """Check the database and the files beside it. Changes nothing."""
    trouble = hub.database.trouble
    checks: list[r.CheckView] = [
        {
            "check": "writing",
            "ok": not trouble,
            "found": trouble or "the database can be written",
            "advice": "sending continues automatically once the cause is gone" if trouble else "",
        }
    ]
    removed = hub.endpoints.gone()
    checks.append(
        {
            "check": "sockets",
            "ok": not removed,
            "found": ", ".join(f"{each.path} was removed" for each in removed)
            or "every socket file is in its place",
            "advice": "; ".join(dict.fromkeys(each.remedy for each in removed)),
        }
    )
    failing = [each for each in hub.readers.views() if broken(each)]
    refusing = [each for each in hub.readers.views() if each.state == "working" and each.reason]
    checks.append(
        {
            "check": "mailboxes",
            "ok": not (failing or refusing),
            "found": "; ".join(
                [in_trouble(each.name, each.reason) for each in failing]
                + [f"{each.name}: {each.reason}" for each in refusing]
            )
            or (
                "replies and bounces can be read"
                if hub.readers.views()
                else "nothing is read for replies and bounces"
            ),
            "advice": "; ".join(dict.fromkeys(_remedy(each) for each in failing))
            or (
                "check processed_folder in hubd.toml, and whether hubd's login may write to it"
                if refusing
                else ""
            ),
        }
    )
    for finding in await hub.integrity.examine(hub.supervisor.running):
        checks.append(
            {
                "check": finding.check,
                "ok": finding.ok,
                "found": finding.found,
                "advice": finding.advice,
            }
        )
    return {"ok": all(each["ok"] for each in checks), "checks": checks}


async def show_config(hub: Hub, _: Params) -> r.ConfigResult:
    """The configuration in effect, each key with its source. Secrets appear only as references."""
    await trio.lowlevel.checkpoint()
    return hub.config()


METHODS = (
    of_session("hub.hello", "The first call of a connection.", Hello, r.HelloResult),
    reads("hub.status", "The status of everything.", Params, r.StatusResult, status),
    reads("hub.metrics", "Metrics for a monitoring system.", Params, r.MetricsResult, metrics),
    changes(
        "hub.reload", "Read the configuration again.", Change, r.ReloadResult, reload, disk=Disk.NOT_NEEDED
    ),
    reads("config.show", "The configuration that the daemon uses.", Params, r.ConfigResult, show_config),
    changes("hub.shutdown", "Stop the daemon.", Change, r.ShutdownResult, shutdown, disk=Disk.NOT_NEEDED),
    changes(
        "hub.backup",
        "Back up the whole database to a new file while messages are being sent.",
        HubBackup,
        r.BackupResult,
        backup,
        disk=Disk.NOT_NEEDED,
    ),
    reads("hub.check", "Check the database.", Params, r.DoctorResult, check, seconds=CHECK_SECONDS),
    of_session("hub.cancel", "Cancel a request in progress.", HubCancel, Done),
)
