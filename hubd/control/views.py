"""Values of the program as results for clients. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, TypedDict, cast

import msgspec

from hubd.core.condition import Matching
from hubd.core.estimate import Estimate
from hubd.core.measures import delivery_rate, rate_of
from hubd.core.model import Campaign, CampaignState, Counts
from hubd.core.preflight import Load, Problem
from hubd.core.recurrence import recurrence_from_json
from hubd.core.tables import problem_of as problem_of
from hubd.engine.progress import Sample
from hubd.wire import campaign_results as r
from hubd.wire import message_results
from hubd.wire.contact_results import ContactView, SuppressionView
from hubd.wire.event_results import EventView
from hubd.wire.message_results import AttemptView, DeliveryView
from hubd.wire.provider_results import ProviderStatus

if TYPE_CHECKING:
    from hubd.core.records import (
        AttemptRow,
        Contact,
        DeliveryRow,
        EventRow,
        FailureGroup,
        OccurrenceRow,
        Suppression,
    )
    from hubd.engine.provider import ProviderView


@lru_cache(maxsize=1024)  # rows written together have the same time
def time_text(at: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds: "2026-12-01T08:00:00.000Z"."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Spec(msgspec.Struct):
    """What is shown of a campaign's file; its texts, which may be large, are passed over."""

    kind: str = "marketing"
    lists: list[str] = []
    labels: list[str] = []


def campaign_view(
    campaign: Campaign,
    sample: Sample | None,
    reason: str,
    *,
    possible_duplicates: int,
    refused: int = 0,
    reads: bool = False,
) -> r.CampaignView:
    """A campaign with its pace (None when it is not running) and the reason for its state.

    `reads`: whether anything is read for what comes back.
    """
    counts = campaign.counts
    sent = counts.sent + counts.delivered + counts.undelivered
    spec = msgspec.json.decode(campaign.spec, type=_Spec)
    running = campaign.state is CampaignState.RUNNING
    pace = sample if running else None
    return {
        "name": campaign.name,
        "state": campaign.state.value,
        "reason": reason,
        "channel": campaign.channel.value,
        "provider": campaign.provider,
        "kind": spec.kind,
        "lists": spec.lists or ([campaign.trigger_list] if campaign.trigger_list else []),
        "labels": spec.labels,
        "template": campaign.template,
        "counts": counts_view(campaign.counts),
        "rate": round(pace.rate, 1) if pace else 0.0,
        "eta": math.ceil(pace.eta) if pace and pace.eta is not None else None,
        "rates": list(campaign.rate),
        "limit": campaign.limit,
        "scheduled_at": time_text(campaign.scheduled_at),
        "started_at": time_text(campaign.started_at),
        "completed_at": time_text(campaign.completed_at),
        "created_at": time_text(campaign.created_at),
        "last_error": campaign.last_error,
        "revision": campaign.revision,
        "in_doubt": campaign.in_doubt.value if campaign.in_doubt else None,
        "possible_duplicates": possible_duplicates,
        "freezing": running and not campaign.audience_ready,
        "refused": refused,
        **_repetition(campaign),
        "series": campaign.series,
        "trigger": campaign.trigger_list,
        "bounced": campaign.bounced,
        "complaints": campaign.complaints,
        "replies": campaign.replies,
        "opt_outs": campaign.opt_outs,
        "delivery_rate": _rounded(delivery_rate(sent, counts.delivered, counts.undelivered)),
        "opt_out_rate": _rounded(rate_of(campaign.opt_outs, sent, known=reads)),
    }


class _Repetition(TypedDict):
    repeats: str | None
    next_at: str | None


def _repetition(campaign: Campaign) -> _Repetition:
    recurrence = recurrence_from_json(campaign.recurrence)
    if recurrence is None:
        return {"repeats": None, "next_at": None}
    waits = campaign.state is CampaignState.SCHEDULED
    return {
        "repeats": f"{recurrence.text} ({recurrence.zone})",
        "next_at": time_text(campaign.scheduled_at) if waits else None,
    }


def upcoming_view(campaign: Campaign, now: float) -> list[str | None]:
    """The next three times of a recurring campaign; of any other, none."""
    recurrence = recurrence_from_json(campaign.recurrence)
    return [] if recurrence is None else [time_text(at) for at in recurrence.upcoming(now)]


def occurrence_view(row: OccurrenceRow) -> r.OccurrenceView:
    """What became of an occurrence."""
    return {
        "at": time_text(row.at),
        "outcome": row.outcome,
        "detail": row.detail,
        "name": row.name,
        "state": row.state,
    }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 6)


def counts_view(counts: Counts) -> r.CountsView:
    """The counters by state."""
    return {
        "total": counts.total,
        "pending": counts.pending,
        "deferred": counts.deferred,
        "sending": counts.sending,
        "sent": counts.sent,
        "delivered": counts.delivered,
        "undelivered": counts.undelivered,
        "failed": counts.failed,
        "skipped": counts.skipped,
        "in_doubt": counts.in_doubt,
    }


def provider_view(provider: ProviderView) -> ProviderStatus:
    """The health of a provider, as the engine reports it."""
    return {
        "name": provider.name,
        "type": provider.kind,
        "channels": sorted(channel.value for channel in provider.channels),
        "state": provider.state,
        "reason": provider.reason,
        "since": time_text(provider.since),
        "until": time_text(provider.until),
        "lanes": provider.connections,
        "lanes_allowed": provider.connections_allowed,
        "rate": list(provider.rate),
    }


def event_view(row: EventRow, epoch: int) -> EventView:
    """A durable event."""
    data = {"campaign": row.campaign, **row.data} if row.campaign else dict(row.data)
    return {
        "epoch": epoch,
        "seq": row.seq,
        "ts": time_text(row.at),
        "type": row.type,
        "campaign": row.campaign,
        "data": data,
    }


def progress_event(view: r.CampaignView, epoch: int, seq: int, now: float) -> EventView:
    """A live figure; `seq` is that of the last durable event sent to the subscriber."""
    return {
        "epoch": epoch,
        "seq": seq,
        "ts": time_text(now),
        "type": "campaign.progress",
        "campaign": view["name"],
        "data": cast("dict[str, object]", {"campaign": view}),
    }


def contact_view(contact: Contact) -> ContactView:
    """A contact without its lists."""
    return {
        "contact_id": contact.contact_id,
        "email": contact.email,
        "phone": contact.phone,
        "fields": dict(contact.fields),
        "created_at": time_text(contact.created_at),
        "updated_at": time_text(contact.updated_at),
    }


def suppression_view(row: Suppression) -> SuppressionView:
    """A suppressed address."""
    return {
        "channel": row.channel.value,
        "address": row.address,
        "reason": row.reason,
        "source": row.source,
        "created_at": time_text(row.created_at),
    }


def delivery_view(row: DeliveryRow) -> DeliveryView:
    """One recipient's line."""
    return {
        "id": row.id,
        "recipient": row.recipient,
        "state": row.state.value,
        "reason": row.reason,
        "attempts": row.attempts,
        "code": row.code,
        "provider_id": row.provider_id,
        "message_id": row.message_id,
        "updated_at": time_text(row.updated_at),
        "provider_reply": row.provider_reply,
    }


def attempt_view(row: AttemptRow) -> AttemptView:
    """One try."""
    return {
        "n": row.n,
        "provider": row.provider,
        "opened_at": time_text(row.opened_at),
        "closed_at": time_text(row.closed_at),
        "stage": row.stage,
        "outcome": row.outcome,
        "reason": row.reason,
        "code": row.code,
        "enhanced": row.enhanced,
        "detail": row.detail,
        "provider_reply": row.provider_reply,
        "provider_id": row.provider_id,
    }


def failure_view(group: FailureGroup) -> message_results.FailureGroup:
    """Deliveries that went wrong in the same way."""
    return {
        "reason": group.reason,
        "code": group.code,
        "state": group.state.value,
        "count": group.count,
        "detail": group.detail,
        "provider_reply": group.provider_reply,
        "example_id": group.example_id,
        "class": group.kind,
    }


def estimate_view(estimate: Estimate) -> r.EstimateView:
    """How long it will take."""
    return {
        "messages": estimate.messages,
        "seconds": estimate.seconds,
        "rate": estimate.rate,
        "limited_by": estimate.limited_by,
    }


def matching_view(matching: Matching | None) -> r.MatchingView | None:
    """How many contacts a campaign's condition holds for."""
    if matching is None:
        return None
    return {
        "contacts": matching.contacts,
        "matched": matching.matched,
        "not_comparable": sum(matching.not_comparable.values()),
    }


def load_view(load: Load | None) -> r.LoadView | None:
    """The upload and the memory that a campaign needs."""
    if load is None:
        return None
    return {
        "message": load.message,
        "upload": load.upload,
        "memory": load.memory,
        "largest_message": load.largest_message,
    }


def problem_views(problems: Iterable[Problem]) -> list[r.ProblemView]:
    """What keeps a campaign from starting."""
    return [{"risk": problem.risk, "problem": problem.problem} for problem in problems]
