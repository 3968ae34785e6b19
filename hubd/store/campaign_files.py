"""What a campaign's file becomes in the database: the columns of its row, and its content."""

from __future__ import annotations

import json
from dataclasses import replace

from hubd.core.compose import content_hash
from hubd.core.model import Campaign, Channel, Content, InDoubt
from hubd.core.recurrence import recurrence_json
from hubd.core.spec import CampaignSpec, spec_from_json, spec_json
from hubd.core.template_spec import content_with
from hubd.store.campaign_rows import policy_columns
from hubd.store.contents import add_content, content_of
from hubd.store.templates import loader
from hubd.store.transaction import Transaction
from hubd.store.unit import Unit

#: A new draft.
ADD_CAMPAIGN = """
INSERT INTO campaign (name, channel, provider, state, spec, lists, content_id, template, doubt_policy,
    reconcile, rate, give_up_after, send_window, send_zone, recurrence, trigger_list, trigger_delay,
    credits, created_at, updated_at)
VALUES (:name, :channel, :provider, 'draft', :spec, :lists, :content_id, :template, :doubt_policy,
    :reconcile, :rate, :give_up_after, :send_window, :send_zone, :recurrence, :trigger_list,
    :trigger_delay, :credits, :now, :now)"""


def columns(spec: CampaignSpec, in_doubt: InDoubt | None) -> dict[str, object]:
    """The columns of a campaign with this file, but for its content.

    `in_doubt` is the policy for a file that does not say.
    """
    policy = InDoubt(spec.in_doubt) if spec.in_doubt else in_doubt
    if policy is None:
        policy = (
            InDoubt.RETRY if spec.channel == Channel.EMAIL or spec.providers[0] == "outbox" else InDoubt.HOLD
        )
    return {
        "name": spec.name,
        "channel": str(spec.channel),
        "provider": spec.providers[0],
        "spec": spec_json(spec),
        "lists": json.dumps(list(dict.fromkeys(spec.sources))),
        **policy_columns(policy),
        "rate": json.dumps(list(spec.rate or ())),
        "give_up_after": spec.give_up_after,
        "send_window": spec.schedule.window,
        "send_zone": spec.schedule.timezone,
        "credits": spec.credits,
        "recurrence": recurrence_json(spec.schedule.recurrence),
        "trigger_list": spec.trigger.list,
        "trigger_delay": spec.trigger.wait,
    }


def content_columns(unit: Unit, content: Content, template: str, name: str = "") -> dict[str, object]:
    """The columns for its content, which is kept under this `name`, else under its hash."""
    return {"content_id": add_content(unit, content, name or content_hash(content)), "template": template}


def content_for(db: Transaction, spec: CampaignSpec, before: Campaign | None) -> tuple[Content, str]:
    """What the campaign says, and the version of the template that it has it from ("" for none).

    One that has begun keeps the version that it began with, as long as its file names the same template.
    Raises BadInput for a template that there is not, or that does not fit.
    """
    if not spec.template:
        return spec.content(), ""
    begun = before is not None and before.started_at is not None
    if begun and before is not None and spec_from_json(before.spec).template == spec.template:
        kept = content_of(db, before.content_id)
        content = replace(spec.content(), subject=kept.subject, text=kept.text, html=kept.html)
        return content, before.template
    return content_with(spec, loader(db))
