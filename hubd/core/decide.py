"""What a command does to a campaign: a pure decision from what is there and what is asked.

The store reads the campaign, decides, and writes what was decided in one transaction. A dry run is the same
transaction, rolled back: what it plans, and what it refuses, is what the command does.

`Request` is what is written with the effect of any command: who asked for what, and under which key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from hubd.core.credits import PAUSED as WAITS_FOR_CREDITS
from hubd.core.credits import Cost, needed
from hubd.core.lifecycle import CAMPAIGN, CampaignEvent, advance_campaign
from hubd.core.model import ENDED, Campaign, CampaignState, Figures
from hubd.core.spec import CampaignSpec, spec_from_json, spec_json
from hubd.core.spec_reading import parse_spec
from hubd.errors import BadInput, Conflict, InvalidTransition, NotFound, RevisionConflict


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A command as it is noted in the audit trail and, with a key, in the answers that are kept."""

    method: str
    actor: str
    key: str = ""  #: "" for a request that is not going to be repeated
    fingerprint: bytes = b""  #: of what is asked for
    campaign: str = ""  #: the name of the one that it is about
    revision: int | None = None  #: that the campaign has to be at; 0 when it must not be there
    noted: Mapping[str, object] = field(default_factory=dict)  #: no address, no content, no secret
    progress: str = ""  #: how far an earlier daemon got with it, as JSON; "" when it did not begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Another state, or the same with another limit or time."""

    event: CampaignEvent
    to: CampaignState
    changed: bool
    limited: bool = True  #: whether `limit` is to be written
    limit: int | None = None  #: how many sent in all end the run
    scheduled_at: float | None = None  #: epoch seconds; None leaves it as it is
    reserve: int | None = None  #: how many credits its messages need; None if that is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRate:
    """Other rates, from now on."""

    rate: tuple[str, ...]
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Out of the listings, or back in."""

    archived: bool
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete it with all its deliveries."""

    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A copy as a draft with another name."""

    spec: str  #: of the copy
    changed: bool


Plan = Move | SetRate | Archive | Delete
P = TypeVar("P", bound=Plan)
S = TypeVar("S", bound=msgspec.Struct)
Q = TypeVar("Q", bound=Plan | Clone)
Decide = Callable[[Campaign], P]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Generic[Q]):
    """A plan that was carried out, with the campaign as it is after it."""

    plan: Q
    campaign: Campaign
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurred:
    """What came of the occurrences of a campaign that repeats."""

    campaign: str = ""  #: the one that was scheduled for now, "" for none
    next_at: float | None  #: the next occurrence; None when it repeats no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A campaign file that was applied."""

    campaign: Campaign
    changed: Sequence[str]  #: keys of the file
    created: bool
    figures: Figures


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """How far a retry is, or would come: how many, and where the next page begins (None: there is none)."""

    decided: int = 0  #: of those in doubt
    requeued: int = 0  #: of those that failed
    suppressed: int = 0  #: failures that would stay because their address is suppressed
    resent: bool = False  #: whether those in doubt are queued again
    doubts_after: int | None = None
    failures_after: int | None = None

    @property
    def queued(self) -> int:
        """How many are to be tried again."""
        return self.requeued + (self.decided if self.resent else 0)


class RefusedFailed(msgspec.Struct, frozen=True, kw_only=True):
    """How many recipients failed whose refusals had paused the campaign."""

    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages(Generic[S]):
    """What is too much for one transaction: done page by page, each written with how far it is then."""

    begin: S
    plan: Callable[[Any], S]  #: what it would come to, from a connection
    page: Callable[[Any, S], tuple[S, bool]]  #: a unit of work does the next page; whether it was the last


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """How many contacts have left a list, or would, and after which one the next page begins."""

    left: int = 0
    after: int = 0


def check_revision(campaign: Campaign | None, name: str, wanted: int | None) -> None:
    """Raise `RevisionConflict` if the campaign (None: there is none) is not at the revision `wanted`."""
    revision = campaign.revision if campaign is not None else 0
    if wanted is not None and revision != wanted:
        raise RevisionConflict(
            f"the campaign {name} is at revision {revision}, not {wanted}",
            hint="read it again, then repeat with its current revision",
            data={"current": revision},
        )


def start(
    campaign: Campaign,
    *,
    limit: int | None = None,
    event: CampaignEvent = CampaignEvent.START,
    cost: Cost | None = None,
) -> Move:
    """Run it; also `resume`, `retry` and `due`. `limit` is how many to send before it pauses; `cost` is that
    of the messages that are left, if somebody pays for them.
    """
    _check_ordinary(campaign)
    check_once(campaign)
    to = advance_campaign(campaign.state, event, campaign.name)
    return _run(campaign, event, to, cost, changed=campaign.state is not to, limit=limit)


def _run(
    campaign: Campaign,
    event: CampaignEvent,
    to: CampaignState,
    cost: Cost | None,
    *,
    changed: bool,
    limit: int | None = None,
) -> Move:
    target = _target(campaign, limit)
    left = None if target is None else target - campaign.counts.accepted
    return Move(
        event=event,
        to=to,
        changed=changed,
        limit=target,
        reserve=None if cost is None else needed(cost, left),
    )


def check_once(campaign: Campaign) -> None:
    """Raise Conflict ("repeats") for a campaign that repeats: only its occurrences run."""
    if campaign.recurrence:
        raise Conflict(
            f"the campaign {campaign.name} repeats and starts at the times in its file",
            code="repeats",
            hint=f"to send it at another time as well: hubctl clone {campaign.name} NEW --set "
            f"schedule.every=",
        )


def may_be_scheduled(campaign: Campaign) -> bool:
    """Whether it has not begun: a draft, or a schedule, also one that was stopped before its time."""
    return CampaignEvent.SCHEDULE in CAMPAIGN[campaign.state] and campaign.started_at is None


def schedule(campaign: Campaign, *, at: float, limit: int | None = None) -> Move:
    """Start it by itself at the time `at`; `limit` as in `start`."""
    to = advance_campaign(campaign.state, CampaignEvent.SCHEDULE, campaign.name)
    _check_ordinary(campaign)
    if not may_be_scheduled(campaign):
        raise InvalidTransition(
            f"the campaign {campaign.name} has already begun; only one that has not can be scheduled",
            hint=f"to continue with the remaining recipients: hubctl start {campaign.name}",
            data={
                "from": campaign.state.value,
                "requested": "schedule",
                "allowed": ["start", "stop", "retry"],
            },
        )
    limit = _target(campaign, limit)
    return Move(
        event=CampaignEvent.SCHEDULE,
        to=to,
        changed=campaign.state is not to or (campaign.scheduled_at, campaign.limit) != (at, limit),
        limit=limit,
        scheduled_at=at,
    )


def halt(campaign: Campaign, *, event: CampaignEvent) -> Move:
    """Pause it, end it, or make it a draft again. A limit that was not reached stays.

    To pause what is paused for lack of credits is a change: a grant no longer resumes it.
    """
    _check_ordinary(campaign)
    to = advance_campaign(campaign.state, event, campaign.name)
    changed = campaign.state is not to or (waits_for_credits(campaign) and event is CampaignEvent.PAUSE)
    return Move(event=event, to=to, changed=changed, limited=False)


def waits_for_credits(campaign: Campaign) -> bool:
    """Whether it was paused for lack of credits, and nobody has paused it since."""
    return campaign.state is CampaignState.PAUSED and campaign.reason == WAITS_FOR_CREDITS


def if_it_waits_for(account: str, decide: Decide[Move]) -> Decide[Move]:
    """`decide` for what waits for credits of an account; no change to a campaign that waits no more."""

    def decided(campaign: Campaign) -> Move:
        if waits_for_credits(campaign) and campaign.credits == account:
            return decide(campaign)
        return Move(event=CampaignEvent.RESUME, to=campaign.state, changed=False)

    return decided


def retry(campaign: Campaign, *, queued: bool, cost: Cost | None = None) -> Move:
    """Resume it if deliveries are queued again, by this retry or by an earlier one that was cut off.

    `cost` as in `start`.
    """
    to = advance_campaign(campaign.state, CampaignEvent.RETRY, campaign.name)
    unfinished = campaign.counts.finished != campaign.counts.total
    queued = queued or (campaign.state is CampaignState.COMPLETED and unfinished)
    moves = queued and campaign.state is not to
    return _run(campaign, CampaignEvent.RETRY, to if queued else campaign.state, cost, changed=moves)


def set_rate(campaign: Campaign, *, rate: tuple[str, ...]) -> SetRate:
    """Use these rates."""
    if campaign.transactional_queue:
        raise Conflict(
            f"{campaign.name} is the queue of transactional messages, which use the rate of their provider",
            hint=f"change the rate of {campaign.provider} in hubd.toml, then: hubctl daemon reload",
        )
    return SetRate(rate=rate, changed=campaign.rate != rate)


def archive(campaign: Campaign, *, archived: bool) -> Archive:
    """Leave one that has ended out of the listings, or list it again."""
    if archived:
        _check_ordinary(campaign)
    if archived and campaign.state not in ENDED:
        away = "delete it instead" if campaign.state is CampaignState.DRAFT else "stop it first"
        raise Conflict(
            f"the campaign {campaign.name} is {campaign.state.value}; "
            "only one that has ended can be archived",
            code=campaign.state.value,
            hint=away,
        )
    return Archive(archived=archived, changed=campaign.archived is not archived)


def delete(campaign: Campaign) -> Delete:
    """Remove one that is at rest."""
    _check_ordinary(campaign)
    at_rest = campaign.state in ENDED or campaign.state is CampaignState.DRAFT
    if not at_rest or campaign.counts.sending:
        raise Conflict(
            f"the campaign {campaign.name} is {campaign.state.value} and cannot be deleted",
            code="running",
            hint="stop it first",
        )
    return Delete()


def copied(
    source: Campaign,
    *,
    new: str,
    changes: Mapping[str, object] = MappingProxyType({}),
    now: float | None = None,
    zone: str = "",
) -> CampaignSpec:
    """The file of a copy with the name `new` of what `source` is now, with other values for some keys.

    A table such as `schedule` keeps the keys that are not named; an empty value takes a key out. A template
    takes the place of the words. `now` and `zone` as in `parse_spec`. Raises BadInput with all faults.
    """
    if source.transactional_queue:
        raise NotFound("there is no such campaign", hint="to list all campaigns: hubctl list")
    spec = msgspec.structs.replace(spec_from_json(source.spec), name=new, rate=source.rate)
    if not changes:
        return spec
    if "name" in changes:
        raise BadInput.at("name", "is the name of the copy, which is given separately")
    raw: dict[str, object] = msgspec.to_builtins(spec)
    if changes.get("template"):
        raw |= dict.fromkeys(("subject", "text", "html"))
    for key, value in changes.items():
        old = raw.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = {name: each for name, each in {**old, **value}.items() if each not in ("", None)}
        raw[key] = value
    return parse_spec(raw, now=now, zone=zone)


def clone(source: Campaign, there: Campaign | None, copy: CampaignSpec) -> Clone:
    """A draft with the file `copy`. One that is this copy already is left as it is.

    `there` is the campaign that has the name.
    """
    spec, new = spec_json(copy), copy.name
    if there is None:
        return Clone(spec=spec, changed=True)
    if there.id != source.id and there.state is CampaignState.DRAFT and there.spec == spec:
        return Clone(spec=spec, changed=False)
    raise Conflict(
        f"the campaign {new} already exists",
        code="name_taken",
        hint="choose another name, or look at it with: hubctl show " + new,
    )


def _check_ordinary(campaign: Campaign) -> None:
    if campaign.transactional_queue:
        raise Conflict(
            f"{campaign.name} is the queue of transactional messages and always runs",
            hint=f"to hold them: hubctl provider disable {campaign.provider}",
        )


def _target(campaign: Campaign, limit: int | None) -> int | None:
    """How many sent in all end a run with a limit. One that was not reached yet outlives a pause."""
    accepted = campaign.counts.accepted
    if limit is not None:
        return accepted + limit
    return campaign.limit if campaign.limit is not None and campaign.limit > accepted else None
