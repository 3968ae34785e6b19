"""What control is handed by `hubd.daemon`: the stores, the engine, and what else methods may use.

`Hub` is the one object that every method gets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hubd.control.attempt_metrics import AttemptMetrics
from hubd.control.endpoints import Endpoints
from hubd.engine.campaign_run import CampaignRun
from hubd.engine.progress import ProgressSampler
from hubd.engine.supervisor import Supervisor
from hubd.inbound.mailbox import Probe
from hubd.inbound.reader import Readers
from hubd.sinks.manager import SinkManager
from hubd.store.after_restore import Restores
from hubd.store.backup import Backups
from hubd.store.campaigns import Campaigns
from hubd.store.commands import Commands
from hubd.store.contacts import Contacts
from hubd.store.credits import Credits
from hubd.store.database import Database
from hubd.store.events import Events
from hubd.store.inbox import Inbox
from hubd.store.integrity import IntegrityCheck
from hubd.store.ledger import Ledger
from hubd.store.lists import Lists
from hubd.store.notices import Notices
from hubd.store.reports import Reports
from hubd.store.templates import Templates
from hubd.store.unit import Work as Work
from hubd.wire.hub_results import ConfigResult

Runner = CampaignRun  #: of a provider's one-off messages: who sends them


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
    sinks: SinkManager
    events: Events
    inbox: Inbox
    readers: Readers
    supervisor: Supervisor
    progress: ProgressSampler
    attempt_metrics: AttemptMetrics
    now: Callable[[], float]  #: seconds since the epoch
    #: Read the configuration again; says what changed. If it raises `BadConfig`, nothing changed.
    reload: Callable[[], Awaitable[Sequence[str]]]
    #: The keys that `reload` would change. Raises `BadConfig`.
    reload_changes: Callable[[], Awaitable[Sequence[str]]]
    config: Callable[[], ConfigResult]  #: the configuration in effect
    #: Log in to a mailbox, by name. Raises `NotFound`, `BadConfig` and `SourceUnavailable`.
    probe_mailbox: Callable[[str], Awaitable[Probe]]
    #: The addresses of webhooks, by provider: you enter them at the provider.
    webhooks: Callable[[], Mapping[str, str]]
    shutdown: Callable[[], None]  #: ask the daemon to stop; returns at once
    #: The token in the configuration that lets programs in as viewers over TCP; "" for none.
    viewer_token: Callable[[], Awaitable[str]] = _no_token
    #: Which settings of providers cannot work as meant, in sentences, by provider.
    provider_advice: Callable[[], Mapping[str, Sequence[str]]] = dict
    endpoints: Endpoints = field(default_factory=Endpoints)  #: the listeners that are open
