"""`campaign.*`, the methods that run campaigns: start, schedule, pause, resume, stop, retry.

Each does this: check, ask the supervisor whether it can be done, decide and write in one transaction, then
tell the engine. The supervisor keeps the order, and has the command write what is decided.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from hubd.control.campaign_views import view_of
from hubd.control.command import Command, Committed
from hubd.control.hub import Hub, Work
from hubd.control.preflight import Inspection, inspect
from hubd.control.table import Disk, changes
from hubd.control.views import (
    estimate_view,
    matching_view,
    problem_of,
    problem_views,
    time_text,
    upcoming_view,
)
from hubd.core import decide
from hubd.core.decide import Decided, Move, Pages, RefusedFailed, Retried
from hubd.core.lifecycle import CampaignEvent
from hubd.core.model import Campaign, CampaignState
from hubd.core.preflight import RISKS, unaccepted
from hubd.core.records import NotRequeued
from hubd.core.recurrence import recurrence_from_json
from hubd.core.spec import spec_from_json
from hubd.core.start_times import start_time
from hubd.core.times import parse_time
from hubd.errors import BadInput, PreflightFailed
from hubd.wire import campaign_params as p
from hubd.wire import campaign_results as r


async def start(hub: Hub, params: p.CampaignStart, command: Command) -> r.StartResult:
    """Run a campaign, now or at a given time."""
    campaign = await hub.campaigns.get(params.name)
    at = _start_time(hub, campaign, params)
    if at is not None:
        plan = decide.schedule(campaign, at=at, limit=params.limit)
    else:
        plan = decide.start(campaign, limit=params.limit)
    seen: Inspection | None = None
    if command.dry_run or campaign.started_at is None:
        seen = await inspect(hub, campaign, limit=params.limit, reckon=command.dry_run)
    if command.dry_run:
        assert seen is not None
        would = _would(campaign, seen, plan, hub.now())
        view = await view_of(hub, campaign)
        return {
            "changed": False,
            "campaign": view,
            "would": would,
            "matching": would["matching"],
            "warnings": would["warnings"],
        }
    if seen is not None and plan.to is not campaign.state:
        _check_fit(campaign, seen, params.accept_risk)
    committed = command.committing(campaign, partial(_started, seen))
    if at is not None:
        await hub.supervisor.schedule(params.name, at, limit=params.limit, commit=committed)
    else:
        await hub.supervisor.start(params.name, limit=params.limit, commit=committed)
    return committed.answer


def _started(seen: Inspection | None, answer: r.ChangeResult) -> r.StartResult:
    return {
        "changed": answer["changed"],
        "campaign": answer["campaign"],
        "would": None,
        "matching": matching_view(seen.found.matching) if seen is not None else None,
        "warnings": list(seen.report.warnings) if seen is not None else [],
    }


def _start_time(hub: Hub, campaign: Campaign, params: p.CampaignStart) -> float | None:
    """When to start: as the request says, or, for one that has not begun, as its file says. None for now."""
    if campaign.recurrence:
        return _next_occurrence(hub, campaign, params)
    if params.at is not None:
        now = params.at.strip().lower() == "now"
        return None if now else _future(hub, campaign, params.at, params.timezone)
    if not decide.may_be_scheduled(campaign) or campaign.state is CampaignState.SCHEDULED:
        return None
    planned = spec_from_json(campaign.spec).schedule.at
    if planned is not None and parse_time(planned) <= hub.now():
        raise BadInput.at(
            "schedule.at",
            f"the start time in the file of {campaign.name} has passed: {planned}",
            hint=f"to start it at once: hubctl start {campaign.name} --at now",
        )
    return None if planned is None else parse_time(planned)


def _next_occurrence(hub: Hub, campaign: Campaign, params: p.CampaignStart) -> float:
    """The time that a recurring campaign waits for, or should wait for."""
    if params.at is not None:
        decide.check_once(campaign)
    if params.limit is not None:
        raise BadInput.at(
            "limit", "applies to one run; a campaign that repeats has a run for each of its times"
        )
    if campaign.state is CampaignState.SCHEDULED and campaign.scheduled_at is not None:
        return campaign.scheduled_at
    recurrence = recurrence_from_json(campaign.recurrence)
    assert recurrence is not None, "it repeats"
    at = recurrence.next(hub.now())
    if at is None:
        raise BadInput.at(
            "schedule.until", "it has no more occurrences", hint="apply its file with a later until"
        )
    return at


def _future(hub: Hub, campaign: Campaign, at: str, zone: str) -> float:
    zone = spec_from_json(campaign.spec).schedule.timezone or zone
    try:
        text = start_time(at, zone=zone, now=hub.now())
    except BadInput as error:
        raise BadInput.at("at", problem_of(error)) from None
    if (when := parse_time(text)) <= hub.now():
        raise BadInput.at("at", f"{text} is in the past", hint="give a later time, or now")
    return when


def _would(campaign: Campaign, seen: Inspection, plan: Move, now: float) -> r.WouldDo:
    return {
        "change": plan.changed,
        "state": plan.to.value,
        "recipients": seen.found.recipients,
        "remaining": seen.found.remaining,
        "skipped": dict(seen.found.skipped),
        "matching": matching_view(seen.found.matching),
        "estimate": estimate_view(seen.report.estimate),
        "problems": problem_views(seen.report.problems),
        "warnings": list(seen.report.warnings),
        "at": time_text(plan.scheduled_at),
        "upcoming": upcoming_view(campaign, now),
    }


def _check_fit(campaign: Campaign, seen: Inspection, accepted: Sequence[str]) -> None:
    if unknown := sorted(set(accepted) - RISKS):
        raise BadInput.at(
            "accept_risk", f"there is no risk called {unknown[0]}; the risks are {', '.join(sorted(RISKS))}"
        )
    problems = unaccepted(seen.report.problems, accepted)
    if not problems:
        return
    risks = sorted({problem.risk for problem in problems if problem.risk})
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    way = f"; or accept the risk: {' '.join(f'--accept-risk {risk}' for risk in risks)}" if risks else ""
    raise PreflightFailed(
        f"{campaign.name} is not ready to start: {problems[0].problem}{more}",
        hint=f"fix this, then check again with: hubctl check {campaign.name}{way}",
        data={"problems": problem_views(problems)},
    )


async def schedule(hub: Hub, params: p.CampaignSchedule, command: Command) -> r.ChangeResult:
    """Schedule a campaign."""
    campaign = await hub.campaigns.get(params.name)
    decide.check_once(campaign)
    at = _future(hub, campaign, params.at, "")
    decide.schedule(campaign, at=at)
    _check_fit(campaign, await inspect(hub, campaign, reckon=False), params.accept_risk)
    if command.dry_run:
        return await command.decide(campaign, partial(decide.schedule, at=at))
    committed = command.committing(campaign, lambda answer: answer)
    await hub.supervisor.schedule(params.name, at, commit=committed)
    return committed.answer


async def unschedule(hub: Hub, params: p.CampaignChange, command: Command) -> r.ChangeResult:
    """Unschedule a campaign."""
    return await _halt(hub, params.name, command, CampaignEvent.UNSCHEDULE, hub.supervisor.unschedule)


async def pause(hub: Hub, params: p.CampaignChange, command: Command) -> r.ChangeResult:
    """Pause a campaign. Answers when nothing more will be sent."""
    return await _halt(hub, params.name, command, CampaignEvent.PAUSE, hub.supervisor.pause)


async def stop(hub: Hub, params: p.CampaignChange, command: Command) -> r.ChangeResult:
    """Stop a campaign for good. Answers when nothing more will be sent."""
    return await _halt(hub, params.name, command, CampaignEvent.STOP, hub.supervisor.stop)


async def _halt(
    hub: Hub, name: str, command: Command, event: CampaignEvent, halt: Callable[..., Awaitable[object]]
) -> r.ChangeResult:
    campaign = await hub.campaigns.get(name)
    if command.dry_run:
        return await command.decide(campaign, partial(decide.halt, event=event))
    committed = command.committing(campaign, lambda answer: answer)
    await halt(name, commit=committed)
    return committed.answer


async def resume(hub: Hub, params: p.CampaignResume, command: Command) -> r.ResumeResult:
    """Resume; with `fail_refused`, fail those whose refusals paused it first."""
    campaign = await hub.campaigns.get(params.name)
    pages = hub.ledger.failing_refused(campaign.id)
    if command.dry_run:
        planned = await command.decide(campaign, partial(decide.start, event=CampaignEvent.RESUME))
        would = planned["would"]
        if params.fail_refused:
            would["failed"] = (await hub.commands.plan(pages)).failed
        return {**planned, "failed": 0, "would": would}
    committed: Committed[r.ResumeResult]
    if params.fail_refused:
        committed = Committed(hub, partial(_fail_refused, command, pages, campaign))
    else:
        committed = command.committing(campaign, _resumed)
    await hub.supervisor.resume(params.name, commit=committed)
    return committed.answer


def _resumed(answer: r.ChangeResult) -> r.ResumeResult:
    return {**answer, "failed": 0}


async def _fail_refused(
    command: Command,
    pages: Pages[RefusedFailed],
    campaign: Campaign,
    last: Work[Decided[Move]],
) -> tuple[Decided[Move], r.ResumeResult]:
    answering = await command.answering(campaign)

    def answer(done: RefusedFailed, decided: Decided[Move]) -> r.ResumeResult:
        return {**answering(decided), "failed": done.failed}

    return await command.hub.commands.carry_out_pages(command.request, pages, lambda _: last, answer)


async def retry(hub: Hub, params: p.CampaignRetry, command: Command) -> r.RetryResult:
    """Queue again what failed, or decide what is in doubt."""
    campaign = await hub.campaigns.get(params.name)
    if params.class_ is None and params.in_doubt is None:
        raise BadInput.at(
            "class",
            "choose which failures to retry: transient, permanent or all",
            hint="or decide with in_doubt",
        )
    pages = hub.ledger.retrying(campaign.id, params.class_, params.in_doubt)
    planned = await hub.commands.plan(pages)
    plan = decide.retry(campaign, queued=planned.queued > 0)
    if command.dry_run:
        left = await hub.ledger.not_requeued(campaign.id)
        return _would_retry(planned, left, await view_of(hub, campaign), plan)
    answer: r.RetryResult | None = None

    async def commit() -> bool:
        nonlocal answer
        answering = await command.answering(campaign)
        last = partial(hub.ledger.ending_retry, campaign.id)
        (decided, _), answer = await hub.commands.carry_out_pages(
            command.request, pages, last, partial(_retried, answering), bulk=command.bulk
        )
        moved: bool = decided.plan.changed
        return moved

    queues = plan.changed or planned.queued > 0 or bool(command.request.progress)
    await hub.supervisor.requeue(params.name, commit, queues=queues)
    assert answer is not None
    return answer


def _retried(
    answering: Callable[[Decided[Move]], r.ChangeResult],
    done: Retried,
    ended: tuple[Decided[Move], NotRequeued],
) -> r.RetryResult:
    decided, left = ended
    return {
        "changed": done.decided + done.requeued,
        "suppressed": left.suppressed,
        "left": left.others,
        "campaign": answering(decided)["campaign"],
    }


def _would_retry(planned: Retried, left: NotRequeued, view: r.CampaignView, plan: Move) -> r.RetryResult:
    return {
        "changed": 0,
        "suppressed": left.suppressed,
        "left": left.others - planned.requeued,
        "campaign": view,
        "would": {
            "change": plan.changed or planned.decided + planned.requeued > 0,
            "state": plan.to.value,
            "retried": planned.requeued,
            "decided": planned.decided,
            "suppressed": planned.suppressed,
        },
    }


METHODS = (
    changes(
        "campaign.start", "Start a campaign, now or at a given time.", p.CampaignStart, r.StartResult, start
    ),
    changes("campaign.schedule", "Schedule a campaign.", p.CampaignSchedule, r.ChangeResult, schedule),
    changes("campaign.unschedule", "Unschedule a campaign.", p.CampaignChange, r.ChangeResult, unschedule),
    changes("campaign.pause", "Pause a campaign.", p.CampaignChange, r.ChangeResult, pause),
    changes("campaign.resume", "Resume a campaign.", p.CampaignResume, r.ResumeResult, resume),
    changes("campaign.stop", "Stop a campaign.", p.CampaignChange, r.ChangeResult, stop),
    changes(
        "campaign.retry",
        "Queue failures again, or decide about deliveries in doubt.",
        p.CampaignRetry,
        r.RetryResult,
        retry,
        disk=Disk.NEEDS_SPACE,
    ),
)
