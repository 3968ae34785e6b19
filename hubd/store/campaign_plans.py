"""Carries out what was decided about a campaign (see `core.decide`): units of work, and nothing else.

Each reads the campaign, decides, and writes the effect with its event, all in the transaction of the unit.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from hubd.core import decide as d
from hubd.core.lifecycle import CampaignEvent
from hubd.core.model import Campaign, CampaignState, InDoubt
from hubd.core.spec import CampaignSpec, spec_from_json
from hubd.errors import Conflict
from hubd.store.campaign_files import ADD_CAMPAIGN, columns, content_columns, content_for
from hubd.store.campaign_rows import campaign_by_id, campaign_by_name, campaign_if_there, settings_of
from hubd.store.credit_holds import campaign_deleted, state_changed
from hubd.store.erasures import ADD_ALL
from hubd.store.figures import figures_of
from hubd.store.transaction import Transaction
from hubd.store.unit import Unit, Work

#: From one state to another, if it still is in the first. The first start fixes the audience.
MOVE = """
UPDATE campaign SET state = :target, reason = :reason, updated_at = :now,
    started_at = CASE WHEN :target = 'running' THEN coalesce(started_at, :now) ELSE started_at END,
    completed_at = CASE WHEN :target = 'completed' THEN :now
                        WHEN :target = 'running' THEN NULL ELSE completed_at END,
    last_error = CASE WHEN :target = 'running' THEN ''
                      WHEN :target IN ('paused', 'failed') AND :reason NOT IN ('', 'limit', 'credits')
                      THEN :reason
                      WHEN :target = 'completed' AND NOT :troubled THEN ''
                      ELSE last_error END,
    archived_at = CASE WHEN :target = 'running' THEN NULL ELSE archived_at END,
    runs = runs + (:target = 'running' AND :source <> 'running'),
    freeze_to = CASE WHEN :target = 'running' AND freeze_to IS NULL
                     THEN (SELECT newest FROM sequence WHERE name = 'membership') ELSE freeze_to END
WHERE id = :id AND state = :source"""
#: It sends again, so what was passed over as unfinished is to be thinned later.
THIN_ANEW = "DELETE FROM thinning WHERE campaign_id = ?"
#: Columns that `move` may set along with the state.
SETTABLE = {
    "limit": "UPDATE campaign SET send_limit = ? WHERE id = ?",
    "scheduled_at": "UPDATE campaign SET scheduled_at = ? WHERE id = ?",
    "started_at": "UPDATE campaign SET started_at = ? WHERE id = ?",
    "completed_at": "UPDATE campaign SET completed_at = ? WHERE id = ?",
    "last_error": "UPDATE campaign SET last_error = ? WHERE id = ?",
}
#: Another speed, from now on.
SET_RATE = "UPDATE campaign SET rate = ?, updated_at = ? WHERE id = ?"
#: Out of the listings, or back in.
ARCHIVE = "UPDATE campaign SET archived_at = ? WHERE id = ?"
#: Gone for everybody; its rows are removed page by page.
DOOM = "UPDATE campaign SET doomed = 1, name = '~deleted:' || id WHERE id = ? AND state = ?"


def deciding(name: str | int, decide: d.Decide[d.P]) -> Work[d.Decided[d.P]]:
    """A unit of work that decides about the campaign with this name or id, and does it.

    Raises NotFound, and what `decide` raises.
    """

    def work(unit: Unit) -> d.Decided[d.P]:
        before = _campaign(unit.db, name)
        plan = decide(before)
        after = write_plan(unit, before, plan) if plan.changed else before
        return d.Decided(plan=plan, campaign=after, figures=figures_of(unit.db, after))

    return work


def write_plan(unit: Unit, before: Campaign, plan: d.Plan) -> Campaign:
    """Do what was decided; the campaign after it (before it, when it is deleted)."""
    match plan:
        case d.Move():
            sets: dict[str, float | str | None] = {"limit": plan.limit} if plan.limited else {}
            if plan.scheduled_at is not None:
                sets["scheduled_at"] = plan.scheduled_at
            return write_move(unit, before, plan.to, plan.event, sets, reserve=plan.reserve)
        case d.SetRate():
            unit.db.execute(SET_RATE, (json.dumps(plan.rate), unit.now, before.id))
            unit.event("campaign.rate", before.id, {"rate": list(plan.rate)})
        case d.Archive():
            unit.db.execute(ARCHIVE, (unit.now if plan.archived else None, before.id))
            unit.event("campaign.archived", before.id, {"archived": plan.archived})
        case d.Delete():
            unit.event("campaign.deleted", before.id, {"name": before.name})
            campaign_deleted(unit, before)
            unit.db.execute(ADD_ALL, (before.name,))
            unit.db.execute(DOOM, (before.id, before.state.value))
            return before
    return campaign_by_id(unit.db, before.id)


def write_move(
    unit: Unit,
    before: Campaign,
    to: CampaignState,
    event: CampaignEvent | str,
    sets: dict[str, float | str | None],
    reason: str = "",
    *,
    reserve: int | None = None,
) -> Campaign:
    """Change the state; the campaign after it. A state that really changed is an event "campaign.state".

    `reserve` as in `Move`. Raises Conflict ("not_settled") when it is to be completed and has something left
    to do, and `CreditsShort`.
    """
    if to is CampaignState.COMPLETED:
        _check_finished(before)
    counts = before.counts
    troubled = bool(counts.failed + counts.undelivered + counts.in_doubt)
    values = {"target": to.value, "source": before.state.value, "id": before.id, "troubled": troubled}
    done = unit.db.execute(MOVE, {**values, "reason": reason, "now": unit.now}).rowcount
    assert done == 1, "the state was read in the same transaction"
    if to is CampaignState.RUNNING:
        unit.db.execute(THIN_ANEW, (before.id,))
    if before.credits and before.state is not to:
        state_changed(unit, before, to, reserve)
    for name, value in sets.items():
        unit.db.execute(SETTABLE[name], (value, before.id))
    after = campaign_by_id(unit.db, before.id)
    data = {"reason": reason, "limit": after.limit, "scheduled_at": after.scheduled_at}
    if before.state is not to:
        data |= {"name": before.name, "from": before.state.value, "to": to.value}
        unit.event("campaign.state", before.id, {**data, "event": str(event)})
    elif data != {"reason": before.reason, "limit": before.limit, "scheduled_at": before.scheduled_at}:
        unit.event("campaign.changed", before.id, data)
    return after


def cloning(
    name: str, copy: Callable[[Campaign], CampaignSpec], in_doubt: InDoubt | None
) -> Work[d.Decided[d.Clone]]:
    """A unit of work that makes a draft with the file that `copy` makes of the campaign `name`.

    `in_doubt` is the policy of its provider if that is another one. Raises NotFound for `name`, Conflict
    ("name_taken") when there is another campaign with the new name, and what `copy` raises.
    """

    def work(unit: Unit) -> d.Decided[d.Clone]:
        source = campaign_by_name(unit.db, name)
        spec = copy(source)
        there = campaign_if_there(unit.db, spec.name)
        plan = d.clone(source, there, spec)
        if there is None:
            values = columns(spec, source.in_doubt if spec.providers[0] == source.provider else in_doubt)
            values |= {"now": unit.now, "content_id": source.content_id, "template": ""}
            if spec.template or spec.content() != spec_from_json(source.spec).content():
                values |= content_columns(unit, *content_for(unit.db, spec, None))
            unit.db.execute(ADD_CAMPAIGN, values)
            there = campaign_by_name(unit.db, spec.name)
            data = {"created": True, "changed": [], "clone_of": name, **settings_of(there)}
            unit.event("campaign.applied", there.id, data)
        return d.Decided(plan=plan, campaign=there, figures=figures_of(unit.db, there))

    return work


def _campaign(db: Transaction, name: str | int) -> Campaign:
    return campaign_by_name(db, name) if isinstance(name, str) else campaign_by_id(db, name)


def _check_finished(campaign: Campaign) -> None:
    counts = campaign.counts
    if not campaign.audience_ready or counts.finished != counts.total:
        raise Conflict(
            f"the campaign {campaign.name} has unfinished deliveries",
            code="not_settled",
            data={"left": counts.total - counts.finished},
        )
