"""`campaign.*`, the part that runs them: start, schedule, pause, resume, stop, retry.

Each is: check, decide (the lifecycle and the preflight), save and tell (the supervisor does both, in the
order that makes a crash in between harmless).
"""

from __future__ import annotations

from collections.abc import Sequence

from hubd.control.campaign_views import view_of
from hubd.control.fitness import Inspection, inspect
from hubd.control.needs import Hub
from hubd.control.views import estimate_view, problem_of, problem_views
from hubd.core.lifecycle import CampaignEvent, advance_campaign
from hubd.core.model import Campaign, CampaignState
from hubd.core.preflight import RISKS, unaccepted
from hubd.core.spec import parse_time, spec_from_json
from hubd.errors import BadInput, PreflightFailed
from hubd.wire import params as p
from hubd.wire import results as r


async def start(hub: Hub, params: p.CampaignStart) -> r.StartResult:
    """Run a campaign, now or at a time; or with `dry_run` say what would happen."""
    campaign = await hub.campaigns.get(params.name)
    at = _start_time(hub, campaign, params.at)
    to = advance_campaign(campaign.state, CampaignEvent.START if at is None else CampaignEvent.SCHEDULE)
    seen: Inspection | None = None
    if params.dry_run or campaign.started_at is None:
        seen = await inspect(hub, campaign, limit=params.limit)
    if params.dry_run:
        assert seen is not None
        return {"changed": False, "campaign": await view_of(hub, campaign), "would": _would(seen)}
    if seen is not None and to is not campaign.state:
        _check_fit(campaign, seen, params.accept_risk)
    if at is not None:
        changed, campaign = await hub.supervisor.schedule(params.name, at, limit=params.limit)
    else:
        changed, campaign = await hub.supervisor.start(params.name, limit=params.limit)
    return {"changed": changed, "campaign": await view_of(hub, campaign), "would": None}


def _start_time(hub: Hub, campaign: Campaign, at: str | None) -> float | None:
    """When it is to start: as asked, or for a draft as its file says, if that is still to come."""
    if at is not None:
        return _future(hub, at)
    if campaign.state is not CampaignState.DRAFT:
        return None
    planned = spec_from_json(campaign.spec).start_at
    return planned if planned is not None and planned > hub.now() else None


def _future(hub: Hub, at: str) -> float:
    try:
        when = parse_time(at)
    except BadInput as error:
        raise BadInput.at("at", problem_of(error)) from None
    if when <= hub.now():
        raise BadInput.at("at", "lies in the past", hint="leave it out to start now")
    return when


def _would(seen: Inspection) -> r.WouldDo:
    return {
        "recipients": seen.found.recipients,
        "remaining": seen.found.remaining,
        "skipped": dict(seen.found.skipped),
        "estimate": estimate_view(seen.report.estimate),
        "problems": problem_views(seen.report.problems),
    }


def _check_fit(campaign: Campaign, seen: Inspection, accepted: Sequence[str]) -> None:
    if unknown := sorted(set(accepted) - RISKS):
        raise BadInput.at(
            "accept_risk", f"there is no such risk: {unknown[0]}; there are {', '.join(sorted(RISKS))}"
        )
    problems = unaccepted(seen.report.problems, accepted)
    if not problems:
        return
    risks = sorted({problem.risk for problem in problems if problem.risk})
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    way = f"; or take the risk: {' '.join(f'--accept-risk {risk}' for risk in risks)}" if risks else ""
    raise PreflightFailed(
        f"{campaign.name} is not fit to start: {problems[0].problem}{more}",
        hint=f"put it right and look again with: hubctl check {campaign.name}{way}",
        data={"problems": problem_views(problems)},
    )


async def schedule(hub: Hub, params: p.CampaignSchedule) -> r.ChangeResult:
    """Start by itself at a time."""
    campaign = await hub.campaigns.get(params.name)
    at = _future(hub, params.at)
    advance_campaign(campaign.state, CampaignEvent.SCHEDULE)
    _check_fit(campaign, await inspect(hub, campaign), params.accept_risk)
    return await _changed(hub, await hub.supervisor.schedule(params.name, at))


async def unschedule(hub: Hub, params: p.CampaignChange) -> r.ChangeResult:
    """Make it a draft again."""
    return await _changed(hub, await hub.supervisor.unschedule(params.name))


async def pause(hub: Hub, params: p.CampaignChange) -> r.ChangeResult:
    """Stop sending for now. Answers when nothing more will leave."""
    return await _changed(hub, await hub.supervisor.pause(params.name))


async def resume(hub: Hub, params: p.CampaignResume) -> r.ResumeResult:
    """Resume; with `fail_refused`, fail those whose refusals paused it first."""
    failed = 0
    if params.fail_refused:
        campaign = await hub.campaigns.get(params.name)
        advance_campaign(campaign.state, CampaignEvent.RESUME)
        if campaign.state is CampaignState.PAUSED:  # in one that runs they are being tried
            failed = await hub.ledger.fail_refused(campaign.id)
    done = await _changed(hub, await hub.supervisor.resume(params.name))
    return {**done, "failed": failed}


async def stop(hub: Hub, params: p.CampaignChange) -> r.ChangeResult:
    """End it. Answers when nothing more will leave."""
    return await _changed(hub, await hub.supervisor.stop(params.name))


async def _changed(hub: Hub, done: tuple[bool, Campaign]) -> r.ChangeResult:
    changed, campaign = done
    return {"changed": changed, "campaign": await view_of(hub, campaign)}


async def retry(hub: Hub, params: p.CampaignRetry) -> r.RetryResult:
    """Queue again what failed, or decide what is in doubt."""
    campaign = await hub.campaigns.get(params.name)
    advance_campaign(campaign.state, CampaignEvent.RETRY)
    if params.class_ is None and params.in_doubt is None:
        raise BadInput.at(
            "class", "say what to try again: transient, permanent or all", hint="or decide with in_doubt"
        )
    changed = queued = 0
    if params.in_doubt is not None:
        changed += await hub.ledger.resolve_doubt(campaign.id, params.in_doubt)
        queued += changed if params.in_doubt == "resend" else 0
    if params.class_ is not None:
        again = await hub.ledger.requeue(campaign.id, params.class_)
        changed, queued = changed + again, queued + again
    left = await hub.ledger.not_requeued(campaign.id)
    campaign = await (hub.supervisor.requeued(params.name) if queued else hub.campaigns.get(params.name))
    return {
        "changed": changed,
        "suppressed": left.suppressed,
        "left": left.others,
        "campaign": await view_of(hub, campaign),
    }
