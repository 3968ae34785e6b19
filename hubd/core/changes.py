"""What another campaign file would change, and whether it may."""

from __future__ import annotations

from hubd.core.model import Campaign, CampaignState
from hubd.core.spec import CampaignSpec, Retry, Schedule, Trigger
from hubd.errors import Conflict

#: The states in which another file may be applied: nothing is sent in them.
APPLICABLE = frozenset(
    {CampaignState.DRAFT, CampaignState.SCHEDULED, CampaignState.PAUSED, CampaignState.STOPPED}
)


def check_applicable(campaign: Campaign, before: CampaignSpec, after: CampaignSpec) -> None:
    """Raise `Conflict` when a campaign cannot become what another file says. `before` is its file now."""
    if campaign.state not in APPLICABLE:
        raise Conflict(
            f"the campaign {campaign.name} is {campaign.state.value} and keeps the content it started with",
            code=campaign.state.value,
            hint="pause it first, or apply the file under another name",
        )
    if campaign.started_at is None:
        if campaign.state is CampaignState.SCHEDULED and (before.schedule.recurrence is None) is not (
            after.schedule.recurrence is None
        ):
            how = "once" if before.schedule.recurrence is None else "to repeat"
            raise Conflict(
                f"the campaign {campaign.name} is scheduled {how}, but its new file says otherwise",
                code="scheduled",
                hint=f"stop it first, then apply the file: hubctl stop {campaign.name}",
            )
        return
    fixed = []
    if after.schedule.recurrence is not None:
        fixed.append("schedule")
    if before.trigger.list != after.trigger.list:
        fixed.append("trigger")
    if before.channel != after.channel:
        fixed.append("channel")
    if list(dict.fromkeys(before.lists)) != list(dict.fromkeys(after.lists)):
        fixed.append("lists")
    if before.where != after.where:
        fixed.append("where")
    if before.credits != after.credits:
        raise Conflict(
            f"the campaign {campaign.name} has begun, so the account in credits cannot change",
            code="credits_fixed",
            hint="apply the file under another name, or grant credits to the account that it uses",
        )
    if fixed:
        raise Conflict(
            f"the campaign {campaign.name} already has its recipients, so {' and '.join(fixed)} "
            f"cannot change",
            code="audience_fixed",
            hint="apply the file under another name",
        )


def changed_keys(old: CampaignSpec | None, new: CampaignSpec) -> list[str]:
    """The keys of a campaign file that differ, in the file's order; against None, those that say anything."""
    changed = []
    for key in CampaignSpec.__struct_fields__:
        was, now = getattr(old, key, None), getattr(new, key)
        if isinstance(now, Retry | Schedule | Trigger):
            was = was if old is not None else type(now)()
            parts = now.__struct_fields__
            changed += [f"{key}.{part}" for part in parts if getattr(was, part) != getattr(now, part)]
        elif was != now if old is not None else now not in ("", (), {}, None):
            changed.append(key)
    return changed
