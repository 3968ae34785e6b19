"""`campaign.*`, the methods that describe campaigns: apply, get, check, preview, clone, archive, delete.

Those that run them are in `run_methods`.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Sequence
from functools import partial

import trio

from hubd.control.campaign_views import Live, changed_view, view_of, views_of
from hubd.control.command import Command
from hubd.control.credit_methods import campaign_credits, credit_need
from hubd.control.event_methods import named_instead
from hubd.control.hub import Hub
from hubd.control.preflight import inspect
from hubd.control.rendering import address_of, contact_fields, first_reachable, view_rendered, write
from hubd.control.table import CHECK_SECONDS, Disk, changes, reads
from hubd.control.views import (
    estimate_view,
    load_view,
    matching_view,
    occurrence_view,
    problem_of,
    problem_views,
    upcoming_view,
)
from hubd.core import decide
from hubd.core.compose import compile_email, content_hash
from hubd.core.content_warnings import content_warnings
from hubd.core.decide import Applied
from hubd.core.model import ENDED, Campaign, Channel, Content, InDoubt
from hubd.core.pacing import parse_rate
from hubd.core.pictures import pictures_of
from hubd.core.records import OccurrenceRow
from hubd.core.sms import compile_sms
from hubd.core.spec import spec_from_json, spec_json
from hubd.core.spec_reading import parse_spec
from hubd.errors import BadInput, NotFound
from hubd.wire import campaign_params as p
from hubd.wire import campaign_results as r
from hubd.wire.message_results import FileView, PreviewResult
from hubd.wire.params import MAX_PART
from hubd.wire.results import Done


async def attach(hub: Hub, params: p.CampaignAttach, command: Command) -> r.AttachResult:
    """Upload a part of an attachment."""
    try:
        data = b64decode(params.data, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput.at("data", "is not base64") from None
    if len(data) > MAX_PART:
        raise BadInput.at("data", f"a part may have at most {MAX_PART} bytes")
    work = hub.campaigns.putting_blob_part(params.sha256, params.offset, data, params.size)
    return await command.write(work, lambda complete: {"complete": complete is True})


async def apply(hub: Hub, params: p.CampaignApply, command: Command) -> r.ApplyResult:
    """Create a draft from a campaign file, or update the campaign from it."""
    read = partial(parse_spec, params.spec, now=hub.now(), zone=params.timezone)
    spec = await trio.to_thread.run_sync(read)
    content = await hub.campaigns.content_for(spec)
    await trio.to_thread.run_sync(check_templates, content)
    warned = await trio.to_thread.run_sync(content_warnings, content)
    warnings: list[r.FaultView] = [{"path": each.path, "problem": each.problem} for each in warned]
    try:
        there: Campaign | None = await hub.campaigns.get(spec.name)
    except NotFound:
        there = None
    before = await view_of(hub, there) if there is not None and command.dry_run else None
    live = Live.of(hub, spec.providers[0], there)

    def answer(applied: Applied) -> r.ApplyResult:
        view = before if command.dry_run else changed_view(applied.campaign, applied.figures, live)
        changed = list(applied.changed)
        return {"campaign": view, "created": applied.created, "changed": changed, "warnings": warnings}

    policy = _policy(hub, spec.providers[0])
    work = hub.campaigns.applying(
        spec, spec_json(spec), content, content_hash(content), in_doubt=policy, now=hub.now()
    )
    applied = await command.write(work, answer)
    hub.supervisor.scheduler.wake()  # it may be due at another time
    return applied


def check_templates(content: Content) -> None:
    """Raise `BadTemplate` or `BadInput` for content that cannot be rendered."""
    if content.channel is Channel.SMS:
        compile_sms(content)
    else:
        compile_email(content, None)


def _policy(hub: Hub, provider: str) -> InDoubt | None:
    """The provider's own policy; None if the provider is not configured (yet)."""
    try:
        return hub.supervisor.providers.get(provider).spec.in_doubt
    except NotFound:
        return None


async def get(hub: Hub, params: p.CampaignName) -> r.CampaignResult:
    """A campaign and the file it was made from."""
    campaign = await hub.campaigns.get(params.name)
    return {
        "campaign": await view_of(hub, campaign),
        "spec": json.loads(campaign.spec),
        "archived": campaign.archived,
        "credits": campaign_credits(await hub.credits.of_campaign(campaign)),
        "upcoming": upcoming_view(campaign, hub.now()),
        "occurrences": [occurrence_view(row) for row in await _occurrences(hub, campaign)],
    }


async def _occurrences(hub: Hub, campaign: Campaign) -> Sequence[OccurrenceRow]:
    return await hub.campaigns.occurrences(campaign) if campaign.recurrence else ()


async def list_all(hub: Hub, params: p.CampaignList) -> r.CampaignsResult:
    """Campaigns; ended and archived ones only on request."""
    campaigns = await hub.campaigns.list(archived=params.archived)
    shown = [each for each in campaigns if params.all or each.state not in ENDED or each.archived]
    views = await views_of(hub, shown)
    if params.label is not None:
        views = [view for view in views if params.label in view["labels"]]
    kept = {view["name"] for view in views}
    return {
        "campaigns": views,
        "archived": [campaign.name for campaign in shown if campaign.archived and campaign.name in kept],
    }


async def check(hub: Hub, params: p.CampaignName) -> r.CheckResult:
    """Check whether a campaign is ready to start. Sends nothing."""
    campaign = await hub.campaigns.get(params.name)
    seen = await inspect(hub, campaign)
    return {
        "ok": seen.report.ok,
        "recipients": seen.found.recipients,
        "remaining": seen.found.remaining,
        "skipped": dict(seen.found.skipped),
        "matching": matching_view(seen.found.matching),
        "problems": problem_views(seen.report.problems),
        "warnings": [*_about_start(campaign, hub.now()), *seen.report.warnings],
        "segments": seen.segments,
        "estimate": estimate_view(seen.report.estimate),
        "load": load_view(seen.report.load),
        "provider": campaign.provider,
        "channel": campaign.channel.value,
        "credits": credit_need(seen.found.credits),
        "upcoming": upcoming_view(campaign, hub.now()),
    }


def _about_start(campaign: Campaign, now: float) -> list[str]:
    spec = spec_from_json(campaign.spec)
    if spec.start_at is None or spec.start_at > now or not decide.may_be_scheduled(campaign):
        return []
    return [f"its start time has passed: {spec.schedule.at}; to start it at once: --at now"]


async def preview(hub: Hub, params: p.CampaignPreview) -> PreviewResult:
    """One message as a contact would receive it."""
    campaign = await hub.campaigns.get(params.name)
    contact = await (hub.contacts.get(params.to) if params.to else first_reachable(hub, campaign))
    address = address_of(contact, campaign.channel)
    if address is None:
        what = "email address" if campaign.channel is Channel.EMAIL else "phone number"
        raise BadInput.at("to", f"this contact has no {what}")
    plan = await hub.supervisor.plans.get(campaign.content_id)
    rendered = write(plan, address, contact_fields(contact), now=hub.now())
    shown = {file.sha256: file.size for file in pictures_of(plan.content)} if plan.content.html else {}
    view = await trio.to_thread.run_sync(view_rendered, rendered, sum(shown.values()))
    files: list[FileView] = [
        {"name": file.name, "type": file.type, "size": file.size, "inline": file.sha256 in shown}
        for file in plan.content.files
    ]
    return {"recipient": address, "attachments": files, **view}


async def set_rate(hub: Hub, params: p.CampaignRate, command: Command) -> r.ChangeResult:
    """Change the rate of a campaign."""
    rates = _rates(params.rate)
    campaign = await hub.campaigns.get(params.name)
    answer = await command.decide(campaign, partial(decide.set_rate, rate=rates))
    if answer["changed"]:
        await hub.supervisor.change_rate(campaign.id)
    return answer


def _rates(rate: list[str] | str | None) -> tuple[str, ...]:
    rates = [rate] if isinstance(rate, str) else list(rate or ())
    for index, text in enumerate(rates):
        try:
            parse_rate(text)
        except BadInput as error:
            where = f"rate[{index}]" if len(rates) > 1 else "rate"
            raise BadInput.at(where, problem_of(error)) from None
    return tuple(rates)


async def clone(hub: Hub, params: p.CampaignClone, command: Command) -> r.ChangeResult:
    """Copy a campaign with its lists into a new draft, with other values for some keys of its file."""
    _check_new_name(params.new)
    source = await hub.campaigns.get(params.name)
    copy = partial(decide.copied, new=params.new, changes=params.changes, now=hub.now(), zone=params.timezone)
    spec = copy(source)
    if params.changes or spec.template:
        await trio.to_thread.run_sync(check_templates, await hub.campaigns.content_for(spec))
    work = hub.campaigns.cloning(params.name, copy, in_doubt=_policy(hub, spec.providers[0]))
    return await command.change(source, work)


def _check_new_name(name: str) -> None:
    """Check that a campaign file could have this name. Raises `BadInput`."""
    try:
        parse_spec({"name": name})
    except BadInput as error:
        faults = error.data.get("errors")
        for fault in faults if isinstance(faults, list) else ():
            if fault["path"] == "name":
                raise BadInput.at("new", fault["problem"]) from None


async def archive(hub: Hub, params: p.CampaignArchive, command: Command) -> r.ChangeResult:
    """Hide a campaign that has ended from listings, or list it again. Deletes nothing."""
    campaign = await hub.campaigns.get(params.name)
    return await command.decide(campaign, partial(decide.archive, archived=params.archived))


async def delete(hub: Hub, params: p.CampaignChange, command: Command) -> Done:
    """Delete an inactive campaign with its deliveries.

    It has disappeared once this is answered; its rows are deleted page by page later, after a restart if
    need be.
    """
    work = hub.campaigns.deciding(params.name, decide.delete)
    answer = await command.write(work, lambda _: command.done(changed=True))
    if not command.dry_run:
        await hub.campaigns.clean_up()
    return answer


METHODS = (
    changes(
        "campaign.attach",
        "Upload a part of an attachment.",
        p.CampaignAttach,
        r.AttachResult,
        attach,
        disk=Disk.NEEDS_SPACE,
    ),
    changes(
        "campaign.apply",
        "Create or update a campaign from its file.",
        p.CampaignApply,
        r.ApplyResult,
        apply,
        disk=Disk.NEEDS_SPACE,
    ),
    reads(
        "campaign.get",
        "A campaign and its file.",
        p.CampaignName,
        r.CampaignResult,
        get,
        instead=lambda asked: named_instead(asked.name),
    ),
    reads("campaign.list", "Campaigns.", p.CampaignList, r.CampaignsResult, list_all),
    reads(
        "campaign.check",
        "Check whether a campaign is ready to start.",
        p.CampaignName,
        r.CheckResult,
        check,
        seconds=CHECK_SECONDS,
        instead=lambda asked: named_instead(asked.name),
    ),
    reads(
        "campaign.preview",
        "One message as a contact would receive it.",
        p.CampaignPreview,
        PreviewResult,
        preview,
        private=True,
    ),
    changes("campaign.rate", "Change the rate of a campaign.", p.CampaignRate, r.ChangeResult, set_rate),
    changes("campaign.delete", "Delete a campaign.", p.CampaignChange, Done, delete, disk=Disk.NEEDS_SPACE),
    changes(
        "campaign.clone",
        "Copy a campaign into a new draft.",
        p.CampaignClone,
        r.ChangeResult,
        clone,
        disk=Disk.NEEDS_SPACE,
    ),
    changes(
        "campaign.archive",
        "Archive an ended campaign, or list it again.",
        p.CampaignArchive,
        r.ChangeResult,
        archive,
    ),
)
