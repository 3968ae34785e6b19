"""Who uses a list or a template: what is in use stays, and who uses it changes with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hubd.core.inheritance import Flat
from hubd.core.model import CampaignState, Content
from hubd.errors import Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class ListUse:
    """A campaign whose file names a list."""

    campaign: str
    state: CampaignState
    freezing: bool  #: whether it was started and the contacts of its lists are still becoming its recipients


def free_list(name: str, uses: Sequence[ListUse]) -> tuple[str, ...]:
    """The drafts and the like whose files name a list that is going away, or gets another name.

    Raises Conflict ("list_in_use") when a campaign is about to take its recipients from it.
    """
    for use in uses:
        if use.freezing or use.state is CampaignState.SCHEDULED:
            what = "is scheduled for" if use.state is CampaignState.SCHEDULED else "is still reading"
            raise Conflict(
                f"the campaign {use.campaign} {what} the list {name!r}",
                code="list_in_use",
                hint=f"wait until it has its recipients, or stop it first: hubctl stop {use.campaign}",
            )
    return tuple(use.campaign for use in uses)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedTemplate:
    """A template file that was applied: which version has its content now."""

    name: str
    version: int
    changed: bool  #: whether it is a new one


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedTemplates:
    """Template files that were applied, and who says something else from now on."""

    templates: Sequence[AppliedTemplate]
    campaigns: Mapping[str, Content]  #: those that have not begun, with what they say now
    joined: Mapping[str, Mapping[str, Flat]]  #: these templates and those that extend others, by part


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateUses:
    """Who uses a template."""

    campaigns: Sequence[str]  #: that have not begun
    templates: Sequence[str]  #: versions of others that extend it


def free_template(name: str, uses: TemplateUses) -> None:
    """Raise Conflict ("template_in_use") for a template that something still takes its words from.

    A campaign that has begun keeps its content, so it is no reason to keep the template.
    """
    users = [f"the campaign {each}" for each in uses.campaigns]
    users += [f"the template {each}" for each in uses.templates]
    if users:
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        raise Conflict(
            f"the template {name} is used by {', '.join(users[:5])}{more}",
            code="template_in_use",
            hint="change or delete these first",
            data={"campaigns": list(uses.campaigns), "templates": list(uses.templates)},
        )
