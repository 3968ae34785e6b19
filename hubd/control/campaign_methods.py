"""`campaign.*`, the part that describes: apply, get, check, preview, clone, archive, delete.

What runs them is in `run_methods`.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from dataclasses import replace

import trio

from hubd.control.campaign_views import view_of, views_of
from hubd.control.fitness import inspect
from hubd.control.needs import Hub
from hubd.control.rendering import address_of, contact_fields, first_reachable, view_parcel, write
from hubd.control.views import estimate_view, load_view, problem_of, problem_views
from hubd.core.changes import changed_keys, check_applicable
from hubd.core.compose import compile_email, content_hash
from hubd.core.model import ENDED, Channel, Content, InDoubt
from hubd.core.pacing import parse_rate
from hubd.core.sms import compile_sms
from hubd.core.spec import CampaignSpec, parse_spec, spec_from_json, spec_json
from hubd.errors import BadInput, Conflict, NotFound
from hubd.wire import params as p
from hubd.wire import results as r


async def attach(hub: Hub, params: p.CampaignAttach) -> r.AttachResult:
    """Take a part of an attachment."""
    try:
        data = b64decode(params.data, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput.at("data", "is not base64") from None
    if len(data) > p.MAX_PART:
        raise BadInput.at("data", f"a part may have {p.MAX_PART} octets")
    complete = await hub.campaigns.put_blob_part(params.sha256, params.offset, data, params.size)
    return {"complete": complete}


async def apply(hub: Hub, params: p.CampaignApply) -> r.ApplyResult:
    """Create a draft from a campaign file, or bring the campaign up to it."""
    spec = await trio.to_thread.run_sync(parse_spec, params.spec)
    content = spec.content()
    await trio.to_thread.run_sync(check_templates, content)
    if params.dry_run:
        return await _would_apply(hub, spec)
    campaign, changed, created = await hub.campaigns.apply(
        spec, spec_json(spec), content, content_hash(content), in_doubt=_policy(hub, spec.provider)
    )
    return {"campaign": await view_of(hub, campaign), "created": created, "changed": list(changed)}


async def _would_apply(hub: Hub, spec: CampaignSpec) -> r.ApplyResult:
    """What applying would change. Raises `Conflict` where applying would."""
    try:
        campaign = await hub.campaigns.get(spec.name)
    except NotFound:
        return {"campaign": None, "created": True, "changed": changed_keys(None, spec)}
    before = spec_from_json(campaign.spec)
    check_applicable(campaign, before, spec)
    view = await view_of(hub, campaign)
    return {"campaign": view, "created": False, "changed": changed_keys(before, spec)}


def check_templates(content: Content) -> None:
    """Raise `BadTemplate` or `BadInput` for a content that no message can be made of."""
    if content.channel is Channel.SMS:
        compile_sms(content)
    else:
        # The bytes of the attachments may still be on their way; they do not change the templates.
        compile_email(replace(content, attachments=()), {})


def _policy(hub: Hub, provider: str) -> InDoubt | None:
    """The provider's own policy; None for one that is not configured (yet)."""
    try:
        return hub.supervisor.providers.get(provider).spec.in_doubt
    except NotFound:
        return None


async def get(hub: Hub, params: p.CampaignName) -> r.CampaignResult:
    """A campaign and the file it was made from."""
    campaign = await hub.campaigns.get(params.name)
    away = campaign.id in await hub.campaigns.archived()
    return {"campaign": await view_of(hub, campaign), "spec": json.loads(campaign.spec), "archived": away}


async def list_all(hub: Hub, params: p.CampaignList) -> r.CampaignsResult:
    """Campaigns; those that have ended, and those that were put away, only when asked for."""
    campaigns = await hub.campaigns.list(archived=params.archived)
    away = await hub.campaigns.archived() if params.archived else frozenset()
    shown = [
        campaign for campaign in campaigns if params.all or campaign.state not in ENDED or campaign.id in away
    ]
    return {
        "campaigns": await views_of(hub, shown),
        "archived": [campaign.name for campaign in shown if campaign.id in away],
    }


async def check(hub: Hub, params: p.CampaignName) -> r.CheckResult:
    """Is it fit to start? Sends nothing."""
    campaign = await hub.campaigns.get(params.name)
    seen = await inspect(hub, campaign)
    return {
        "ok": seen.report.ok,
        "recipients": seen.found.recipients,
        "remaining": seen.found.remaining,
        "skipped": dict(seen.found.skipped),
        "problems": problem_views(seen.report.problems),
        "warnings": list(seen.report.warnings),
        "segments": seen.segments,
        "estimate": estimate_view(seen.report.estimate),
        "load": load_view(seen.report.load),
        "provider": campaign.provider,
        "channel": campaign.channel.value,
    }


async def preview(hub: Hub, params: p.CampaignPreview) -> r.PreviewResult:
    """One message as a contact would get it."""
    campaign = await hub.campaigns.get(params.name)
    contact = await (hub.contacts.get(params.to) if params.to else first_reachable(hub, campaign))
    address = address_of(contact, campaign.channel)
    if address is None:
        what = "email address" if campaign.channel is Channel.EMAIL else "phone number"
        raise BadInput.at("to", f"this contact has no {what}")
    plan = await hub.supervisor.plans.get(campaign.content_id)
    parcel = write(plan, address, contact_fields(contact), now=hub.now())
    view = await trio.to_thread.run_sync(view_parcel, parcel)
    return {"recipient": address, **view}


async def set_rate(hub: Hub, params: p.CampaignRate) -> r.ChangeResult:
    """Another speed, at once."""
    rates = _rates(params.rate)
    campaign = await hub.campaigns.get(params.name)
    if campaign.single:
        raise Conflict(
            f"{campaign.name} carries one-off messages, which go at the rate of their provider",
            hint=f"change the rate of {campaign.provider} in hubd.toml, then: hubctl daemon reload",
        )
    changed = campaign.rate != rates
    if changed:
        campaign = await hub.campaigns.set_rate(campaign.id, rates)
        await hub.supervisor.change_rate(campaign.id, rates)
    return {"changed": changed, "campaign": await view_of(hub, campaign)}


def _rates(rate: list[str] | str | None) -> tuple[str, ...]:
    rates = [rate] if isinstance(rate, str) else list(rate or ())
    for index, text in enumerate(rates):
        try:
            parse_rate(text)
        except BadInput as error:
            where = f"rate[{index}]" if len(rates) > 1 else "rate"
            raise BadInput.at(where, problem_of(error)) from None
    return tuple(rates)


async def clone(hub: Hub, params: p.CampaignClone) -> r.ChangeResult:
    """A draft that says the same, to the same lists, under another name."""
    _check_new_name(params.new)
    changed, campaign = await hub.campaigns.clone(params.name, params.new)
    return {"changed": changed, "campaign": await view_of(hub, campaign)}


def _check_new_name(name: str) -> None:
    """A name is what may stand in a campaign file. Raises `BadInput`."""
    try:
        parse_spec({"name": name})
    except BadInput as error:
        faults = error.data.get("errors")
        for fault in faults if isinstance(faults, list) else ():
            if fault["path"] == "name":
                raise BadInput.at("new", fault["problem"]) from None


async def archive(hub: Hub, params: p.CampaignArchive) -> r.ChangeResult:
    """Leave a campaign that has ended out of listings, or bring it back. Nothing of it is removed."""
    changed, campaign = await hub.campaigns.archive(params.name, archived=params.archived)
    return {"changed": changed, "campaign": await view_of(hub, campaign)}


async def delete(hub: Hub, params: p.CampaignChange) -> r.Done:
    """Forget a campaign that is at rest, with its deliveries."""
    await hub.campaigns.delete(params.name)
    return {"changed": True}
