"""What the methods about campaigns answer."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from hubd.wire.credit_views import CampaignCredits, CreditNeed
from hubd.wire.results import WouldChange


class CountsView(TypedDict):
    """How many deliveries are in each state; `total` is their sum."""

    total: int
    pending: int
    deferred: int
    sending: int
    sent: int
    delivered: int
    undelivered: int
    failed: int
    skipped: int
    in_doubt: int


class CampaignView(TypedDict):
    name: str
    state: str
    reason: str
    channel: str
    provider: str
    kind: str
    lists: list[str]
    labels: list[str]
    template: str  #: the version of a template whose content it has, such as "welcome@3"
    counts: CountsView
    rate: float  #: messages finished per second now
    eta: float | None  #: seconds
    rates: list[str]  #: the limits that were set, such as "20/s"
    limit: int | None
    scheduled_at: str | None
    started_at: str | None
    completed_at: str | None
    created_at: str | None
    last_error: str
    revision: int
    in_doubt: str | None  #: the policy; null for the provider's default
    possible_duplicates: int  #: how often a message was sent again although it may have been accepted
    freezing: bool
    refused: int  #: while it is paused: waiting recipients whose refusals paused it
    repeats: str | None  #: when it repeats and in which time zone, such as "monday 9:00 (Europe/Berlin)"
    next_at: str | None  #: when its next occurrence is; null unless it is scheduled and repeats
    series: str  #: the campaign whose occurrence it is; "" for none
    trigger: str  #: who is added to this list gets it; "" for no trigger
    bounced: int  #: messages that came back, also after a receipt
    complaints: int
    replies: int
    opt_outs: int
    delivery_rate: float | None  #: the part of those sent that arrived; null where no receipts are known
    opt_out_rate: float | None  #: null where nothing is read that could say


class AttachResult(TypedDict):
    complete: bool


class FaultView(TypedDict):
    path: str  #: a key, or "html line 3"
    problem: str


class ApplyResult(TypedDict):
    campaign: CampaignView | None  #: null when a dry run would create it
    created: bool
    changed: list[str]
    warnings: list[FaultView]  #: what is probably not meant in its texts


class OccurrenceView(TypedDict):
    """What became of an occurrence of a campaign that repeats."""

    at: str | None  #: when it was planned for
    outcome: str  #: started, overlap (the one before it had not ended), missed or failed
    detail: str
    name: str | None  #: its campaign
    state: str | None  #: that of its campaign


class CampaignResult(TypedDict):
    campaign: CampaignView
    spec: dict[str, object]
    archived: bool  #: hidden from listings
    credits: CampaignCredits | None  #: null if nobody pays for it
    upcoming: list[str | None]  #: the next times of one that repeats
    occurrences: list[OccurrenceView]  #: the last ones, newest first


class CampaignsResult(TypedDict):
    campaigns: list[CampaignView]
    archived: list[str]  #: which of them are archived


class ProblemView(TypedDict):
    risk: str
    problem: str


class SegmentsView(TypedDict):
    """What the message to the first recipient costs, and in `least`, `most` and `total` those that remain."""

    encoding: str
    units: int
    segments: int
    least: int
    most: int
    total: int


class EstimateView(TypedDict):
    messages: int
    seconds: float | None
    rate: float | None  #: messages a second that the limits allow
    limited_by: str  #: such as "the rate 30/minute of office"; "" if nothing is known


class LoadView(TypedDict):
    """The upload and the memory that an email campaign needs, in bytes, estimated from one message."""

    message: int
    upload: int  #: all remaining messages
    memory: int  #: the most that the daemon holds at once
    largest_message: int | None  #: the limit that the provider announced; null if unknown


class MatchingView(TypedDict):
    """How many contacts of the lists a campaign's `where` holds for."""

    contacts: int
    matched: int
    not_comparable: int  #: for whom it has no result: they are skipped


class CheckResult(TypedDict):
    ok: bool
    recipients: int
    remaining: int  #: of those, still to be tried: fewer once it was started
    skipped: dict[str, int]
    matching: MatchingView | None  #: null without `where`, and once the audience is fixed
    problems: list[ProblemView]
    warnings: list[str]
    segments: SegmentsView | None
    estimate: EstimateView
    load: LoadView | None  #: null for SMS, and if no message can be rendered
    provider: str
    channel: str
    credits: CreditNeed | None  #: null if nobody pays for it
    upcoming: list[str | None]  #: the next times of one that repeats


class TestSendResult(TypedDict):
    delivery_id: int
    state: str
    reason: str
    detail: str
    code: int
    provider_reply: str
    provider_id: str
    would: NotRequired[WouldChange]  #: in the answer to a dry run


class WouldDo(WouldChange):
    recipients: int
    remaining: int  #: of those, still to be tried
    skipped: dict[str, int]
    matching: MatchingView | None
    estimate: EstimateView
    problems: list[ProblemView]
    warnings: list[str]
    at: str | None  #: when it would start; null for now
    upcoming: list[str | None]  #: the next times of one that repeats


class StartResult(TypedDict):
    changed: bool
    campaign: CampaignView
    would: WouldDo | None
    matching: MatchingView | None  #: of the first start
    warnings: list[str]  #: of the first start


class ChangeResult(TypedDict):
    changed: bool
    campaign: CampaignView
    would: NotRequired[WouldChange]  #: in the answer to a dry run


class ResumeResult(ChangeResult):
    failed: int  #: deliveries that failed by `fail_refused`


class RetryResult(TypedDict):
    changed: int  #: deliveries
    suppressed: int  #: failures that stay, because the address is on the suppression list
    left: int  #: other failures that stay: of another "class"
    campaign: CampaignView
    would: NotRequired[WouldChange]  #: in the answer to a dry run
