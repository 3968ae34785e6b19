"""What each method answers, as typed dicts. Times are RFC 3339 in UTC, or null; durations are seconds."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from hubd.wire.credit_views import CampaignCredits, CreditAccountView, CreditNeed
from hubd.wire.inbox_results import InboxItem, MailboxStatus


class WouldChange(TypedDict):
    """What the command would do; in the answer to a dry run."""

    change: bool  #: whether anything would change
    state: NotRequired[str]  #: the campaign's, after it
    failed: NotRequired[int]  #: by `fail_refused`
    retried: NotRequired[int]  #: failures that would be queued again
    suppressed: NotRequired[int]  #: failures that would stay: their address is on the suppression list
    campaigns: NotRequired[list[str]]  #: that run through the provider
    address: NotRequired[str]  #: as addresses are compared
    decided: NotRequired[int]  #: those in doubt about which it would be decided
    running: NotRequired[int]  #: campaigns that would go on when the daemon starts again
    keys: NotRequired[list[str]]  #: of the configuration that would have another value


class Done(TypedDict):
    """Whether anything changed; already in the wanted state is success."""

    changed: bool
    would: NotRequired[WouldChange]  #: in the answer to a dry run


class RemovedResult(Done):
    """A contact was deleted. `cancelled` is how many messages to it will not be sent."""

    cancelled: int


class ForgottenResult(Done):
    """A person was erased; `messages` is to how many messages, `cancelled` how many of them waited."""

    contact: bool  #: whether it was a contact
    cancelled: int
    messages: int


class AddedResult(Done):
    """A contact is on a list. `contact_id` is empty in a dry run of a new one."""

    contact_id: str


class ListRenamedResult(Done):
    """A list has another name. `campaigns` are those whose files have the old one."""

    campaigns: list[str]


class ListDeletedResult(Done):
    """A list is gone. `contacts` were on it; `campaigns` are those whose files name it."""

    contacts: int
    campaigns: list[str]


class TrimResult(Done):
    """`removed` is how many contacts were taken off the list."""

    removed: int


class ShutdownResult(TypedDict):
    """Empty, but for a dry run."""

    would: NotRequired[WouldChange]


class Limits(TypedDict):
    message_bytes: int
    batch: int
    in_flight: int
    subscriptions: int
    import_rows: int


class HelloResult(TypedDict):
    server_version: str
    protocol: int
    role: str
    caps: list[str]
    epoch: int
    head_seq: int
    instance_id: str
    started_at: str | None
    state_dir: str
    limits: Limits
    session_token: NotRequired[str]  #: to reconnect with, for clients on TCP with a ticket


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
    opt_out_rate: float | None  #: null where nothing is read that could tell


class ProviderStatus(TypedDict):
    name: str
    type: str
    channels: list[str]
    state: str  #: ready, slowed, resting, half_open, stopped, disabled
    reason: str
    since: str | None  #: when it entered this state
    until: str | None  #: when it is tried again, or may send again
    lanes: int
    lanes_allowed: int  #: how many of them may be used now
    rate: list[str]


class RestoredView(TypedDict):
    """The database was restored from an older copy, and a person has to decide what became of the rest."""

    at: str | None
    why: str
    in_doubt: dict[str, int]  #: deliveries that wait for a decision, by campaign


class StoreView(TypedDict):
    """The database: whether it can be written, the number of this boot, and of the newest event."""

    ok: bool
    epoch: int
    head_seq: int


class ScheduleView(TypedDict):
    """The scheduler: whether it responds, and when its next start is due."""

    ok: bool
    next_at: str | None


class StatusResult(TypedDict):
    version: str
    pid: int
    state_dir: str
    started_at: str | None
    uptime: float
    trouble: str  #: why nothing is sent now, "" for nothing
    warnings: list[str]  #: what to look after although sending goes on
    campaigns: list[CampaignView]
    providers: list[ProviderStatus]
    states: dict[str, int]
    counts: CountsView  #: the deliveries of all campaigns that are not archived
    store: StoreView
    schedule: ScheduleView
    mailboxes: list[MailboxStatus]  #: everything that is read for what comes back
    replies_waiting: int  #: replies that need a decision
    restored: RestoredView | None  #: null when there is nothing to decide
    credits: list[CreditAccountView]


class ReloadResult(TypedDict):
    applied: list[str]
    needs_restart: list[str]
    would: NotRequired[WouldChange]  #: in the answer to a dry run


class MetricsResult(TypedDict):
    """`text` is OpenMetrics and ends with "# EOF"; serve it with `content_type`."""

    content_type: str
    text: str


class RowFault(TypedDict):
    line: int
    field: str
    problem: str


class ImportResult(TypedDict):
    rows: int
    imported: int
    updated: int
    unchanged: int
    duplicates: int
    invalid: int
    errors: list[RowFault]
    warnings: list[RowFault]  # of rows that were taken, but not whole


class SuppressImportResult(TypedDict):
    """`added`, `unchanged` and `invalid` add up to `rows`."""

    rows: int
    added: int  #: rows with an address that was not suppressed
    unchanged: int
    invalid: int
    errors: list[RowFault]
    warnings: list[RowFault]  # of rows that have a good address, too


class ColumnStatus(TypedDict):
    column: str
    key: str | None  #: what its cells are sent under; null when it is left out
    field: str | None  #: the field that it fills
    note: str


class ColumnsResult(TypedDict):
    fields: dict[str, str]
    columns: list[ColumnStatus]  #: in the order of the header


class ListStatus(TypedDict):
    name: str
    contacts: int


class ListsResult(TypedDict):
    lists: list[ListStatus]


class ContactView(TypedDict):
    contact_id: str
    email: str | None
    phone: str | None
    fields: dict[str, str]
    lists: NotRequired[list[str]]
    created_at: str | None
    updated_at: str | None


class ContactsResult(TypedDict):
    contacts: list[ContactView]
    next: int | None


class ContactResult(TypedDict):
    contact: ContactView


class SuppressionView(TypedDict):
    channel: str
    address: str
    reason: str
    source: str
    created_at: str | None


class SuppressionsResult(TypedDict):
    suppressions: list[SuppressionView]
    next: str | None


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


class TemplateVersion(TypedDict):
    """A version of a template. `campaigns` have its content; in a list of templates, that of any version."""

    name: str
    version: int
    channel: str
    created_at: str | None
    campaigns: list[str]


class TemplateView(TemplateVersion):
    """A version of a template with its words, as they were applied."""

    subject: str
    text: str
    html: str


class TemplateResult(TypedDict):
    template: TemplateView


class TemplatesResult(TypedDict):
    templates: list[TemplateVersion]


class TemplateHistory(TypedDict):
    name: str
    versions: list[TemplateVersion]


class AppliedVersion(TypedDict):
    name: str
    version: int
    changed: bool  #: whether it is a new version


class TemplatesApplied(Done):
    """`campaigns` have not begun, and have other content now."""

    templates: list[AppliedVersion]
    campaigns: list[str]


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
    occurrences: list[OccurrenceView]  #: the last ones, the newest first


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


class DeliveryView(TypedDict):
    id: int
    recipient: str
    state: str
    reason: str
    attempts: int
    code: int
    provider_reply: str  #: what the provider said to the last attempt, with addresses masked
    provider_id: str
    message_id: str
    updated_at: str | None


class DeliveriesResult(TypedDict):
    deliveries: list[DeliveryView]
    next: int | None


class MessageView(DeliveryView):
    """A one-off message."""

    subject: str  #: "" for SMS, and once the contact was removed
    provider: str
    channel: str


class MessagesResult(TypedDict):
    messages: list[MessageView]
    next: int | None


class DeliveryLife(DeliveryView):
    campaign: str
    channel: str
    next_at: str | None
    detail: str
    possible_duplicates: int  #: how often it was sent again although it may have been accepted
    single: bool  #: a transactional message, outside any campaign
    content_of: str  #: the campaign whose content it has; "" when it has its own
    file: str | None  #: where an outbox wrote it


class AttemptView(TypedDict):
    n: int
    provider: str
    opened_at: str | None
    closed_at: str | None
    stage: str
    outcome: str | None
    reason: str
    code: int
    enhanced: str
    detail: str
    provider_reply: str  #: what the provider said, with addresses masked; "" if it said nothing
    provider_id: str


class FileView(TypedDict):
    name: str
    type: str  #: its MIME type
    size: int  #: in bytes
    inline: bool  #: whether it is a picture in the HTML


class ContentView(TypedDict):
    """A rendered message. `source` is the email as it is sent; without attachments above 1 MiB."""

    headers: NotRequired[list[list[str]]]  #: of an email: names and values, decoded, in their order
    subject: NotRequired[str]
    text: str
    html: NotRequired[str]
    source: NotRequired[str]
    source_shortened: NotRequired[bool]  #: only present when true: `delivery.source` has all of it
    segments: NotRequired[int]
    encoding: NotRequired[str]


class PreviewResult(ContentView):
    recipient: str
    attachments: list[FileView]


class DeliveryResult(TypedDict):
    delivery: DeliveryLife
    attempts: list[AttemptView]
    came_back: list[InboxItem]  #: about this message, the oldest first
    content: ContentView | None


class SourcePart(TypedDict):
    data: str  #: in base64
    size: int  #: bytes of the whole email; 0 when there is none, as for an SMS
    attempts: int  #: parts fit together when they have the same size and the same attempts
    next: int | None  #: the offset of the next part; None after the last


FailureGroup = TypedDict(
    "FailureGroup",
    {
        "reason": str,
        "code": int,
        "state": str,
        "count": int,
        "detail": str,
        "provider_reply": str,  # to the example; the others got much the same
        "example_id": int,
        "class": str,  # "transient", "permanent" or "in_doubt"
    },
)


class FailuresResult(TypedDict):
    groups: list[FailureGroup]


class SendResult(TypedDict):
    delivery_id: int  #: 0 in the answer to a dry run
    state: str
    message_id: str
    would: NotRequired[WouldChange]  #: in the answer to a dry run


class ProvidersResult(TypedDict):
    providers: list[ProviderStatus]


class AccountView(TypedDict):
    """What a provider says of the account; null or empty where it says nothing."""

    sending: bool | None  #: whether it may send
    sandbox: bool | None  #: whether it may only send to recipients that were confirmed before
    rate: list[str]  #: how fast it may send; holds unless hubd.toml has a rate
    quota: int | None  #: messages that it may send in 24 hours
    used: int | None  #: of these, those of the last 24 hours
    lines: list[str]  #: sentences for people


class ProbeResult(TypedDict):
    ok: bool
    code: int
    text: str  #: what the provider said
    detail: str  #: what that means if it is not ok, or if only a further connection was refused
    account: AccountView | None  #: null for providers that do not describe it
    webhook: NotRequired[str]  #: the address to give to the provider, if the listener serves one for it
    would: NotRequired[WouldChange]  #: in the answer to a dry run, which asks nobody


class ProviderResult(TypedDict):
    changed: bool
    provider: ProviderStatus
    would: NotRequired[WouldChange]  #: in the answer to a dry run


class MailboxTestResult(TypedDict):
    ok: bool
    text: str  #: why it cannot be read; "" if it can
    person: bool  #: whether somebody has to do something about that
    mails: int  #: that the folder has
    idle: bool  #: the server tells of new mail at once; else hubd looks once a minute
    move: bool  #: the server can move mails; else they are marked as seen


class Snapshot(TypedDict):
    campaigns: list[CampaignView]


class SubscribeResult(TypedDict):
    subscription: str
    epoch: int
    seq: int
    snapshot: Snapshot | None


class EventView(TypedDict):
    """`seq` of a live figure is that of the last durable event before it."""

    epoch: int
    seq: int
    ts: str | None
    type: str
    campaign: str
    data: dict[str, object]


class EventsResult(TypedDict):
    events: list[EventView]
    next: int | None
    oldest: int  #: the first event that is kept; one past the newest when none is


OpenRpc = TypedDict(
    "OpenRpc",
    {
        "openrpc": str,
        "info": dict[str, str],
        "methods": list[dict[str, object]],
        "components": dict[str, object],
        "x-errors": list[dict[str, object]],
        "x-notifications": list[dict[str, object]],
        "x-protocol": int,
    },
)


class BackupResult(TypedDict):
    path: str
    size: int  #: bytes
    taken_at: str | None  #: everything that was committed before is in it
    seconds: float
    would: NotRequired[WouldChange]  #: in the answer to a dry run


class CheckView(TypedDict):
    check: str  #: a stable word
    ok: bool
    found: str
    advice: str  #: what to do when it is not ok, else ""


class DoctorResult(TypedDict):
    ok: bool
    checks: list[CheckView]


class ConfigEntry(TypedDict):
    """One key as it is in effect. A secret is the reference to it, such as `{"file": "office.pass"}`."""

    key: str
    value: object
    source: str  #: "default", "file", "preset", or the option that decides it, such as "--log-level"
    file: str | None  #: where it is written
    line: int | None


class ConfigResult(TypedDict):
    file: str  #: what a reload reads; may not exist yet
    files: list[str]  #: the files that were read, in order of precedence
    uid: int | None  #: the user that the daemon runs as; null where there are none
    needs_restart: list[str]  #: keys whose new value takes effect at the next start
    settings: list[ConfigEntry]


class TicketResult(TypedDict):
    """`ticket` is valid once, at `url`, for `expires_in` seconds."""

    url: str
    ticket: str
    expires_in: int
