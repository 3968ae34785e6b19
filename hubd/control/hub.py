"""What control is handed by `hubd.daemon`: the engine, and stores, which fit the shapes that are given here.

`Hub` is the one object that every method gets.
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from hubd.control.attempt_metrics import AttemptMetrics
from hubd.control.endpoints import Endpoints
from hubd.core.credits import CreditAccount, CreditEntry, CreditHold
from hubd.core.decide import (
    Applied,
    AppliedTemplates,
    Clone,
    Decide,
    Decided,
    Leaving,
    Move,
    P,
    Pages,
    RefusedFailed,
    Request,
    Retried,
    S,
)
from hubd.core.inbox import Decision, Filter, InboxRow, SourceView
from hubd.core.intake import AddressRow, ContactRow
from hubd.core.model import Campaign, Channel, Content, DeliveryState, Figures, InDoubt
from hubd.core.notices import Notice
from hubd.core.records import (
    Audience,
    Backup,
    Contact,
    DeliveryRow,
    EventRow,
    FailureGroup,
    Finding,
    First,
    Forgotten,
    ImportCount,
    ListView,
    MessageLife,
    MissingPattern,
    NotRequeued,
    OccurrenceRow,
    Restored,
    Snapshot,
    Suppression,
    TransactionalRow,
)
from hubd.core.reports import Period, Report
from hubd.core.sinks import SinkView, Told
from hubd.core.spec import CampaignSpec
from hubd.core.template_spec import Load, TemplateSpec, TemplateUsers
from hubd.engine.campaign_run import CampaignRun
from hubd.engine.progress import ProgressSampler
from hubd.engine.supervisor import Supervisor
from hubd.errors import BadInput
from hubd.wire.hub_results import ConfigResult

T = TypeVar("T")
A = TypeVar("A", bound=Mapping[str, object])
#: A unit of work: what a transaction does. A store makes it, and `Commands` runs it.
Work = Callable[[Any], T]


# -- contacts ----------------------------------------------------------------------------------------------


class Contacts(Protocol):
    """Contacts, lists and suppressions."""

    def importing(self, list_name: str, rows: Sequence[ContactRow], import_id: str) -> Work[ImportCount]: ...
    async def try_import(self, list_name: str, rows: Sequence[ContactRow], import_id: str) -> ImportCount: ...
    async def lists(self) -> Sequence[ListView]: ...
    async def page(
        self, list_name: str | None = None, after_id: int = 0, limit: int = 500
    ) -> Sequence[Contact]: ...
    async def get(self, key: str) -> Contact: ...
    def removing(self, key: str) -> Work[int]: ...
    def forgetting(self, key: str, keys: Sequence[str]) -> Work[Forgotten]: ...
    def suppressing(self, channel: Channel, key: str, reason: str, source: str) -> Work[bool]: ...
    def suppressing_page(self, rows: Sequence[AddressRow], reason: str, source: str) -> Work[int]: ...
    async def try_suppress(self, rows: Sequence[AddressRow], import_id: str) -> int: ...
    def unsuppressing(self, channel: Channel, key: str) -> Work[bool]: ...
    async def suppression(self, channel: Channel, key: str) -> Suppression | None: ...
    async def suppressions(
        self, channel: Channel | None = None, after: tuple[str, str] = ("", ""), limit: int = 500
    ) -> Sequence[Suppression]: ...


class Lists(Protocol):
    """What changes lists."""

    def adding(self, name: str, row: ContactRow, import_id: str) -> Work[tuple[bool, str]]: ...
    def leaving(self, key: str, name: str) -> Work[bool]: ...
    def renaming(self, name: str, new: str) -> Work[tuple[str, ...]]: ...
    def users(self, name: str) -> Work[tuple[str, ...]]: ...
    def emptying(self, name: str) -> Pages[Leaving]: ...
    def deleting(self, name: str, done: Leaving) -> Work[tuple[str, ...]]: ...
    def naming(self, work: Work[T], import_id: str, rows: Sequence[ContactRow]) -> Work[T]: ...
    async def rehearse(self, import_id: str, rows: Sequence[ContactRow]) -> None: ...
    def trimming(self, name: str, import_id: str, rows: int) -> Pages[Leaving]: ...
    def ending_trim(self, name: str, import_id: str, done: Leaving) -> Work[None]: ...


# -- campaigns ---------------------------------------------------------------------------------------------


class Campaigns(Protocol):
    """Campaigns with their content and audience."""

    async def get(self, name: str) -> Campaign: ...
    async def occurrences(self, campaign: Campaign, limit: int = 10) -> Sequence[OccurrenceRow]: ...
    async def list(self, *, queues: bool = False, archived: bool = False) -> builtins.list[Campaign]: ...
    def applying(
        self,
        spec: CampaignSpec,
        spec_json: str,
        content: Content,
        content_hash: str,
        *,
        in_doubt: InDoubt | None = None,
        now: float | None = None,
    ) -> Work[Applied]: ...

    def deciding(self, name: str | int, decide: Decide[P]) -> Work[Decided[P]]: ...
    async def content_for(self, spec: CampaignSpec) -> Content: ...
    def cloning(
        self, name: str, copy: Callable[[Campaign], CampaignSpec], *, in_doubt: InDoubt | None = None
    ) -> Work[Decided[Clone]]: ...
    async def content(self, content_id: int) -> Content: ...
    async def clean_up(self) -> None:
        """Remove the rows of what was deleted."""
        ...

    async def audience(self, campaign: Campaign) -> Audience: ...
    async def first_recipient(self, campaign: Campaign) -> str | None: ...
    async def zones(self, campaign: Campaign) -> Mapping[str, int]: ...
    async def fold(
        self, campaign: Campaign, fields: frozenset[str], fold: Callable[[Mapping[str, str], int], None]
    ) -> None: ...
    async def missing(self, campaign: Campaign, fields: frozenset[str]) -> Sequence[MissingPattern]: ...
    async def field_names(self, campaign: Campaign) -> frozenset[str]: ...
    def putting_blob_part(
        self, sha256: str, offset: int, data: bytes, size: int
    ) -> Work[bool | BadInput]: ...


# -- templates ---------------------------------------------------------------------------------------------


class Templates(Protocol):
    """Stored templates."""

    def applying(self, specs: Sequence[TemplateSpec]) -> Work[AppliedTemplates]: ...
    def deleting(self, name: str) -> Work[None]: ...
    async def get(self, reference: str) -> TemplateUsers: ...
    async def all(self) -> Sequence[TemplateUsers]: ...
    async def history(self, name: str) -> Sequence[TemplateUsers]: ...
    async def loaded(self, use: Callable[[Load], T]) -> T: ...


class Credits(Protocol):
    """Accounts that pay for messages."""

    def granting(self, name: str, credits: int, note: str, low_at: int | None) -> Work[CreditAccount]: ...
    async def all(self) -> Sequence[CreditAccount]: ...
    async def get(self, name: str) -> CreditAccount:
        """An account; an empty one if there is none."""
        ...

    async def history(
        self, name: str, before: int, limit: int
    ) -> tuple[CreditAccount, Sequence[CreditHold], Sequence[CreditEntry]]: ...
    async def of_campaign(self, campaign: Campaign) -> tuple[CreditAccount, CreditHold] | None: ...


class Notices(Protocol):
    """What people are told."""

    async def page(self, *, unread: bool, before: int, limit: int) -> tuple[Sequence[Notice], int]: ...
    def reading(self, through: int) -> Work[int]: ...


# -- the ledger --------------------------------------------------------------------------------------------


class Ledger(Protocol):
    """Deliveries and attempts."""

    def retrying(
        self,
        campaign_id: int,
        which: Literal["transient", "permanent", "all"] | None,
        how: Literal["resend", "sent", "failed"] | None,
    ) -> Pages[Retried]: ...
    def ending_retry(self, campaign_id: int, done: Retried) -> Work[tuple[Decided[Move], NotRequeued]]: ...
    def failing_refused(self, campaign_id: int) -> Pages[RefusedFailed]: ...
    async def not_requeued(self, campaign_id: int) -> NotRequeued: ...
    def adding_one_off(
        self,
        campaign_id: int,
        recipient: str,
        key: str,
        fields: Mapping[str, str],
        content: int | tuple[Content, str],
        *,
        idempotency_key: str,
        fingerprint: bytes,
        credits: tuple[str, int] | None = None,
    ) -> Work[int]: ...
    async def requested(self, idempotency_key: str) -> tuple[int, bytes] | None: ...
    async def deliveries(
        self,
        campaign_id: int,
        state: DeliveryState | None = None,
        after_id: int = 0,
        limit: int = 500,
        *,
        skip: int = 0,
        refused: bool = False,
        search: str = "",
    ) -> Sequence[DeliveryRow]: ...
    async def transactional(
        self,
        provider: str | None = None,
        state: DeliveryState | None = None,
        before: int | None = None,
        limit: int = 500,
    ) -> tuple[Sequence[TransactionalRow], int | None]: ...
    async def message(self, delivery_id: int) -> MessageLife: ...
    async def figures(self, campaigns: Sequence[Campaign]) -> Mapping[int, Figures]: ...
    async def failures(self, campaign_id: int) -> Sequence[FailureGroup]: ...


# -- figures -----------------------------------------------------------------------------------------------


class Reports(Protocol):
    """Sums of what happened, by campaign and hour."""

    async def read(self, campaigns: Sequence[int], period: Period, *, hours: bool) -> Report: ...


class Sinks(Protocol):
    """The sinks of the configuration."""

    async def views(self) -> Sequence[SinkView]: ...
    async def test(self, name: str) -> Told: ...
    def check(self, name: str) -> None: ...
    def resuming(self, name: str) -> Work[bool]: ...
    def resumed(self, name: str) -> None: ...


# -- events and the database -------------------------------------------------------------------------------


class Inbox(Protocol):
    """What came back."""

    async def page(
        self,
        campaign_id: int | None = None,
        kind: Filter | None = None,
        before: int | None = None,
        limit: int = 200,
    ) -> Sequence[InboxRow]: ...
    async def get(self, number: int) -> InboxRow: ...
    async def about(self, delivery_id: int) -> Sequence[InboxRow]: ...
    async def waiting(self) -> int: ...
    def deciding(self, number: int, decision: Decision) -> Work[bool]: ...
    def answering(self, number: int, adding: Work[int]) -> Work[int]: ...


class Readers(Protocol):
    """What reads it."""

    def views(self) -> Sequence[SourceView]: ...


class Events(Protocol):
    """Durable events in order."""

    async def page(
        self, after_seq: int, limit: int, campaign_ids: Collection[int] | None = None
    ) -> Sequence[EventRow]: ...
    async def snapshot(self, campaign_ids: Collection[int] | None = None) -> Snapshot: ...
    async def oldest_seq(self) -> int:
        """The number of the oldest event kept; the next number when none is."""
        ...


class Database(Protocol):
    """How the database is, and where its events have got to."""

    @property
    def epoch(self) -> int:
        """The number of this boot."""
        ...

    @property
    def trouble(self) -> str: ...
    @property
    def head_seq(self) -> int: ...
    async def wait_events(self, after_seq: int) -> int: ...


class Backups(Protocol):
    """Copies of the database."""

    async def make(self, path: str) -> Backup: ...
    async def check(self, path: str) -> None:
        """Raise what `make` would raise at once."""
        ...

    async def made_for(self, path: str, request: Request) -> Backup | None:
        """The backup at `path`, if it was made for this request."""
        ...


class IntegrityCheck(Protocol):
    """Checks the database and the files beside it."""

    async def examine(self, running: Callable[[], Collection[int]]) -> Sequence[Finding]: ...


class Restores(Protocol):
    """What a restore of the database left to decide."""

    @property
    def found(self) -> Restored | None: ...
    async def undecided(self) -> Mapping[str, int]: ...


class Commands(Protocol):
    """What was commanded: the effect, the audit trail of it, and the kept answer, in one transaction."""

    async def first(self, method: str, key: str) -> First | None: ...
    async def carry_out(
        self, request: Request, work: Work[T], answer: Callable[[T], A], *, bulk: bool = False
    ) -> tuple[T, A]: ...
    async def carry_out_pages(
        self,
        request: Request,
        pages: Pages[S],
        last: Callable[[S], Work[T]],
        answer: Callable[[S, T], A],
        *,
        bulk: bool = False,
    ) -> tuple[T, A]: ...
    async def begin(self, request: Request) -> None: ...
    async def forget(self, request: Request) -> None: ...
    async def plan(self, pages: Pages[S]) -> S:
        """What the pages would come to."""
        ...

    async def dry_run(
        self, request: Request, work: Work[T], answer: Callable[[T], A], *, bulk: bool = False
    ) -> tuple[T, A]:
        """As `carry_out`, and roll it back."""
        ...

    async def note(self, request: Request) -> None: ...


Runner = CampaignRun  #: of a provider's one-off messages: who sends them


# -- all of it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HubInfo:
    """What does not change while the daemon runs."""

    version: str
    pid: int
    instance_id: str
    state_dir: str
    started_at: float


async def _no_token() -> str:
    return ""


class MailboxProbe(Protocol):
    """What a login to a mailbox found."""

    @property
    def mails(self) -> int: ...
    @property
    def idles(self) -> bool: ...
    @property
    def moves(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Everything that a method may use."""

    info: HubInfo
    database: Database
    backups: Backups
    integrity: IntegrityCheck
    restores: Restores
    contacts: Contacts
    lists: Lists
    campaigns: Campaigns
    templates: Templates
    credits: Credits
    notices: Notices
    commands: Commands
    ledger: Ledger
    reports: Reports
    sinks: Sinks
    events: Events
    inbox: Inbox
    readers: Readers
    supervisor: Supervisor
    progress: ProgressSampler
    attempt_metrics: AttemptMetrics
    now: Callable[[], float]  #: seconds since the epoch
    #: Read the configuration again; says what changed. Raises `BadConfig`, and then nothing did.
    reload: Callable[[], Awaitable[Sequence[str]]]
    #: The keys that it would change. Raises `BadConfig`.
    reload_changes: Callable[[], Awaitable[Sequence[str]]]
    config: Callable[[], ConfigResult]  #: the configuration in effect
    #: Log in to a mailbox, by name. Raises `NotFound`, `BadConfig` and `SourceUnavailable`.
    probe_mailbox: Callable[[str], Awaitable[MailboxProbe]]
    #: Where providers tell things by themselves, by their names: to be given to them.
    webhooks: Callable[[], Mapping[str, str]]
    shutdown: Callable[[], None]  #: ask the daemon to stop; returns at once
    #: The token in the configuration that lets programs in as viewers over TCP; "" for none.
    viewer_token: Callable[[], Awaitable[str]] = _no_token
    #: What of the settings of providers cannot work as meant, in sentences, by provider.
    provider_advice: Callable[[], Mapping[str, Sequence[str]]] = dict
    endpoints: Endpoints = field(default_factory=Endpoints)  #: the listeners that are open
