"""What the methods of the daemon itself answer."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from hubd.wire.campaign_results import CampaignView, CountsView
from hubd.wire.credit_views import CreditAccountView
from hubd.wire.inbox_results import MailboxStatus
from hubd.wire.provider_results import ProviderStatus
from hubd.wire.results import WouldChange


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
