"""Finds out what the preflight checks: audience, missing fields, the provider, a sample. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import trio

from hubd.control.hub import Hub
from hubd.control.rendering import address_of, contact_fields, first_reachable, write
from hubd.core.compose import compile_email
from hubd.core.credits import Cost, Need, needed
from hubd.core.estimate import Limits
from hubd.core.lifecycle import CampaignEvent, advance_campaign
from hubd.core.model import Campaign, Channel, Content, InDoubt, RenderedMessage
from hubd.core.preflight import Found, Gap, Report, assess
from hubd.core.records import MissingPattern
from hubd.core.sms import Bill, Segments, compile_sms, segments
from hubd.core.spec import spec_from_json
from hubd.core.windows import known_zone, window_opens
from hubd.engine.plan import MessagePlan
from hubd.errors import BadInput, BadTemplate, HubError, InvalidTransition, NotFound
from hubd.wire.campaign_results import SegmentsView

#: The address for a sample that has none for the channel. Nothing is ever sent to it.
_NOBODY = {Channel.EMAIL: "nobody@example.invalid", Channel.SMS: "+12025550100"}
#: The fields that every contact has.
_SOMEBODY = {"contact_id": "c"}
_MANY = 64  #: missing fields looked for in one message; the store counts no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found, and what the preflight says about it."""

    found: Found
    segments: SegmentsView | None
    report: Report


async def inspect(
    hub: Hub, campaign: Campaign, *, limit: int | None = None, reckon: bool = True
) -> Inspection:
    """Look at everything that decides whether a campaign can start.

    With `reckon`, also at what it costs: for an SMS campaign each recipient's text is written.
    """
    found = Found(
        content=await hub.campaigns.content(campaign.content_id),
        limits=Limits(rates=campaign.rate),
        trigger=campaign.trigger_list if campaign.started_at is None else "",
    )
    found = _look_at_provider(hub, campaign, _look_at_state(campaign, found))
    found = await _look_at_audience(hub, campaign, replace(found, restored=_predates_restore(hub, campaign)))
    sample: SegmentsView | None = None
    try:
        plan = await hub.supervisor.plans.get(campaign.content_id)
    except (BadInput, NotFound) as error:
        found = _with_obstacle(found, str(error))
    else:
        if found.recipients or found.trigger:
            found = await _look_at_fields(hub, campaign, plan, found)
        if found.recipients:
            rendered = await _sample(hub, campaign, plan)
            if rendered is not None and campaign.channel is Channel.SMS and reckon:
                bill = await _bill(hub, campaign, plan.content)
                found = replace(found, bill=bill)
                sample = _segments_view(segments(rendered.text), bill)
            elif rendered is not None:
                found = replace(found, own_bytes=len(rendered.payload), shared_bytes=rendered.shared.size)
    if reckon:
        found = replace(found, credits=await _need(hub, campaign, found, limit))
    report = await trio.to_thread.run_sync(partial(assess, found, limit=limit))
    return Inspection(found=found, segments=sample, report=report)


async def _need(hub: Hub, campaign: Campaign, found: Found, limit: int | None) -> Need | None:
    """What the campaign has to reserve; None if nobody pays for it."""
    paid = await hub.credits.of_campaign(campaign)
    if paid is None:
        return None
    account, hold = paid
    cost = Cost(messages=found.remaining, total=found.remaining)
    if campaign.channel is Channel.SMS:
        bill = found.bill or Bill()
        cost = Cost(messages=bill.messages, total=bill.total, most=bill.most)
    return Need(account=account, hold=hold, needed=needed(cost, limit))


async def _bill(hub: Hub, campaign: Campaign, content: Content) -> Bill:
    """What the messages to all remaining recipients cost, without those that cannot be written."""
    bill, sms = Bill(), compile_sms(content)

    def fold(values: Mapping[str, str], count: int) -> None:
        with suppress(BadInput):
            bill.add(sms.render(values).segments, count)

    await hub.campaigns.fold(campaign, sms.fields, fold)
    return bill


def _segments_view(first: Segments, bill: Bill) -> SegmentsView:
    return {
        "encoding": first.encoding,
        "units": first.units,
        "segments": first.segments,
        "least": bill.least,
        "most": bill.most,
        "total": bill.total,
    }


def _predates_restore(hub: Hub, campaign: Campaign) -> bool:
    """Whether it may have been sent after the backup that this database was restored from."""
    restored = hub.restores.found
    return restored is not None and campaign.started_at is None and campaign.created_at <= restored.at


def _with_obstacle(found: Found, obstacle: str) -> Found:
    return replace(found, obstacles=(*found.obstacles, obstacle))


def _look_at_state(campaign: Campaign, found: Found) -> Found:
    try:
        advance_campaign(campaign.state, CampaignEvent.START, campaign.name)
    except InvalidTransition as error:
        return _with_obstacle(found, f"{error}; {error.hint}" if error.hint else str(error))
    return found


def _look_at_provider(hub: Hub, campaign: Campaign, found: Found) -> Found:
    first, *others = spec_from_json(campaign.spec).providers
    advice = hub.provider_advice()
    told = (f"{name}: {sentence}" for name in (first, *others) for sentence in advice.get(name, ()))
    found = replace(found, advice=tuple(told))
    for name in others:
        try:
            other = hub.supervisor.providers.get(name).spec
        except HubError as error:
            found = _with_obstacle(found, f"{error}; {error.hint}" if error.hint else str(error))
            continue
        if campaign.channel not in other.channels:
            found = _with_obstacle(found, f"the provider {name} does not send {campaign.channel.value}")
        for problem in other.problems(found.content):
            found = _with_obstacle(found, problem)
    try:
        provider = hub.supervisor.providers.get(first)
        view = provider.view()
    except HubError as error:
        return _with_obstacle(found, f"{error}; {error.hint}" if error.hint else str(error))
    if campaign.channel not in view.channels:
        return _with_obstacle(found, f"the provider {view.name} does not send {campaign.channel.value}")
    if campaign.in_doubt is InDoubt.RECONCILE and not provider.spec.can_reconcile:
        obstacle = (
            f'in_doubt = "reconcile" needs a provider that can be asked what it has accepted; {view.name}'
        )
        found = _with_obstacle(found, f'{obstacle} cannot, so write "retry" or "hold"')
    for problem in provider.spec.problems(found.content):
        found = _with_obstacle(found, problem)
    reason = "" if view.state == "ready" else view.reason or view.state
    connections = "connection" if view.connections == 1 else "connections"
    limits = replace(
        found.limits,
        rates=(*found.limits.rates, *view.rate),
        owners=dict.fromkeys(view.rate, view.name),
        connections=f"{view.connections} {connections} of {view.name}",
        warmup=provider.spec.warmup,
    )
    return replace(
        found,
        limits=limits,
        provider_reason=reason,
        connections=view.connections,
        leaves=provider.spec.folder is None,
        largest_message=view.largest_message,
    )


async def _look_at_audience(hub: Hub, campaign: Campaign, found: Found) -> Found:
    try:
        audience = await hub.campaigns.audience(campaign)
    except NotFound as error:
        return _with_obstacle(found, str(error))
    found = replace(
        found,
        recipients=audience.recipients,
        remaining=audience.remaining,
        skipped=dict(audience.skipped),
        matching=audience.matching,
    )
    if found.limits.warmup is not None:
        age = await hub.supervisor.warmup_age(campaign.provider)
        found = replace(found, limits=replace(found.limits, age=age))
    if not campaign.window:
        return found
    zones = await hub.campaigns.zones(campaign)
    starts = max(hub.now(), campaign.scheduled_at or 0.0)
    opens = max(
        (window_opens(campaign.window, zone, starts, campaign.zone) for zone in zones), default=starts
    )
    limits = replace(found.limits, window=campaign.window, opens_in=opens - starts)
    no_zone = 0 if campaign.zone else sum(n for zone, n in zones.items() if not known_zone(zone))
    return replace(found, limits=limits, window=campaign.window, no_zone=no_zone)


async def _look_at_fields(hub: Hub, campaign: Campaign, plan: MessagePlan, found: Found) -> Found:
    """Write one message for each pattern of missing fields: a field with a default may be missing."""
    patterns = await hub.campaigns.missing(campaign, await _fields_of(plan.content))
    gaps = await trio.to_thread.run_sync(_gaps, plan, campaign.channel, patterns, hub.now())
    needs = frozenset[str]()
    if found.trigger:  # nobody knows who will be added, and with which fields
        needs, _ = await trio.to_thread.run_sync(_faults, plan, campaign.channel, _SOMEBODY, hub.now())
    return replace(
        found,
        gaps=gaps,
        needs=needs,
        known_fields=await hub.campaigns.field_names(campaign),
        absent_fields=frozenset.intersection(*(pattern.fields for pattern in patterns))
        if patterns
        else frozenset(),
    )


async def _fields_of(content: Content) -> frozenset[str]:
    """The fields that a message takes from its contact."""

    def compiled() -> frozenset[str]:
        if content.channel is Channel.SMS:
            return compile_sms(content).fields
        return compile_email(content, None).fields

    return await trio.to_thread.run_sync(compiled) - {"unsubscribe_url", "postal_address"}


def _gaps(
    plan: MessagePlan, channel: Channel, patterns: Sequence[MissingPattern], now: float
) -> tuple[Gap, ...]:
    counts: Counter[tuple[frozenset[str], str]] = Counter()
    for pattern in patterns:
        lacking, fault = _faults(plan, channel, pattern.sample, now)
        if lacking or fault:
            counts[lacking, fault] += pattern.count
    return tuple(
        Gap(fields=lacking, count=count, fault=fault) for (lacking, fault), count in counts.most_common()
    )


def _faults(
    plan: MessagePlan, channel: Channel, sample: Mapping[str, str], now: float
) -> tuple[frozenset[str], str]:
    """The fields without which the message cannot be written, and what else is wrong with it."""
    fields = dict(sample)
    recipient = fields.setdefault(str(_ADDRESS[channel]), _NOBODY[channel])
    lacking: set[str] = set()
    for _ in range(_MANY):
        try:
            write(plan, recipient, fields, now=now)
        except BadTemplate as error:
            name = error.data.get("field")
            if error.code != "missing_field" or not isinstance(name, str) or name in lacking:
                return frozenset(lacking), str(error) if not lacking else ""
            lacking.add(name)
            fields[name] = "x"
        except BadInput as error:
            return frozenset(lacking), str(error) if not lacking else ""
        else:
            break
    return frozenset(lacking), ""


_ADDRESS = {Channel.EMAIL: "email", Channel.SMS: "phone"}


async def _sample(hub: Hub, campaign: Campaign, plan: MessagePlan) -> RenderedMessage | None:
    """The message to the first recipient; None when it cannot be written."""
    try:
        contact = await first_reachable(hub, campaign)
        address = address_of(contact, campaign.channel) or _NOBODY[campaign.channel]
        return write(plan, address, contact_fields(contact), now=hub.now())
    except (BadInput, NotFound):
        return None
