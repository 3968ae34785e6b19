"""A whole daemon but for the process: real store, real engine, the outbox, a real control socket."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from hubd.bridge import Bridge, open_bridge
from hubd.client import Client
from hubd.config.file import HubConfig
from hubd.config.mailboxes import MailboxConfig
from hubd.config.sinks import CsvSink
from hubd.control.attempt_metrics import AttemptMetrics
from hubd.control.gate import serve_control
from hubd.control.hub import Hub, HubInfo
from hubd.core.model import Channel, DeliveryState, InDoubt
from hubd.core.tokens import Tokens
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.ports import Transport
from hubd.engine.progress import ProgressSampler
from hubd.engine.provider import ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.supervisor import open_supervisor
from hubd.inbound.reader import Readers
from hubd.mailboxes import probe
from hubd.providers.outbox.transport import open_outbox
from hubd.secrets import Place, SecretRef
from hubd.sinks.manager import SinkManager
from hubd.sinks.targets import Pace
from hubd.sinks.task import Context
from hubd.store.after_restore import open_restores
from hubd.store.backup import Backups
from hubd.store.campaigns import Campaigns
from hubd.store.commands import Commands
from hubd.store.contacts import Contacts
from hubd.store.credits import Credits
from hubd.store.database import Database, open_database
from hubd.store.doubts import Doubts
from hubd.store.events import Events
from hubd.store.inbox import Inbox
from hubd.store.integrity import IntegrityCheck
from hubd.store.ledger import Ledger
from hubd.store.lists import Lists
from hubd.store.notices import Notices
from hubd.store.reports import Reports
from hubd.store.sinks import Sinks
from hubd.store.templates import Templates
from hubd.store.usage import Usage
from hubd.wire.hub_results import ConfigResult
from tests.shell.made_database import make_database

#: A campaign for the list `customers`, whose contacts have first names.
PERSONAL: dict[str, Any] = {
    "name": "spring",
    "channel": "email",
    "lists": ["customers"],
    "kind": "transactional",
    "sender": "Acme <news@acme.example>",
    "subject": "Hello {{ first_name }}",
    "text": "Hi {{ first_name }}",
}
#: The same for contacts of whom nothing is known.
PLAIN = PERSONAL | {"subject": "Hello", "text": "Hi"}


#: A mailbox whose server does not run.
CONFIG = HubConfig(
    mailboxes={
        "bounces": MailboxConfig(
            host="127.0.0.1",
            port=1,
            security="none",
            username="bounces",
            password=SecretRef(Place.ENV, "PATH"),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Served:
    """A hub behind its socket."""

    hub: Hub
    path: Path
    database: Database
    events: Events
    bridge: Bridge
    stopped: trio.Event  #: set when somebody called hub.shutdown
    serving: trio.CancelScope  #: cancel it to stop the socket


@asynccontextmanager
async def open_hub(
    tmp_path: Path, *, clock: Callable[[], float] = time.time, figures: bool = False, **changes: Any
) -> AsyncIterator[Served]:
    """Serve a hub on `tmp_path`, and on a port for who has a ticket; `changes` replace parts of the `Hub`.

    `clock` is the wall clock of the engine and of the hub. With `figures` there is a sink of this name,
    which writes files.
    """
    stopped = trio.Event()

    async def open_transport() -> Transport:
        return await trio.to_thread.run_sync(open_outbox, tmp_path / "outbox")

    outbox = ProviderSpec(
        name="outbox",
        kind="outbox",
        channels=frozenset(Channel),
        connections=4,
        in_doubt=InDoubt.RETRY,
        folder=tmp_path / "outbox",
        open=open_transport,
    )
    make_database(tmp_path / "hub.db")
    async with open_bridge() as bridge, open_database(tmp_path / "hub.db", bridge) as database:
        attempt_metrics = AttemptMetrics()
        campaigns, ledger, events = (
            Campaigns(database),
            Ledger(database, attempt_metrics.note),
            Events(database),
        )
        restores = await open_restores(database)
        await restores.finish()
        async with open_supervisor(
            campaigns=campaigns,
            ledger=ledger,
            health=database,
            plans=TemplateCache(campaigns, database.install_key, database.named_after),
            providers=Providers({"outbox": outbox}, random.random),
            limits=LimiterRegistry(Usage(database), time.time),
            doubts=Doubts(database),
            now=clock,
            random=random.random,
        ) as supervisor:
            progress = ProgressSampler(supervisor.running, ledger)
            sinks = SinkManager(
                Context(
                    sinks=Sinks(database),
                    events=events,
                    wait_events=database.wait_events,
                    head=lambda: database.head_seq,
                    now=time.time,
                    steady=database.steady,
                    pace=Pace(),
                )
            )
            inbox = Inbox(database, Tokens(database.install_key))
            readers = Readers(
                inbox,
                add=events.add,
                attempts=attempt_metrics.tried,
                waiting_changed=supervisor.read_again,
                now=time.time,
                random=random.random,
            )
            hub = Hub(
                info=HubInfo(
                    version="0.0.1", pid=1, instance_id="i", state_dir=str(tmp_path), started_at=time.time()
                ),
                database=database,
                backups=Backups(database),
                integrity=IntegrityCheck(database),
                restores=restores,
                contacts=Contacts(database),
                lists=Lists(database),
                templates=Templates(database),
                credits=Credits(database),
                notices=Notices(database),
                campaigns=campaigns,
                commands=Commands(database),
                ledger=ledger,
                reports=Reports(database),
                sinks=sinks,
                events=events,
                inbox=inbox,
                readers=readers,
                supervisor=supervisor,
                progress=progress,
                attempt_metrics=attempt_metrics,
                now=clock,
                reload=_nothing_to_reload,
                reload_changes=_nothing_to_reload,
                config=_configuration,
                probe_mailbox=partial(probe, CONFIG, time.time),
                webhooks=dict,
                shutdown=stopped.set,
            )
            hub = replace(hub, **changes)
            async with trio.open_nursery() as nursery:
                serving = trio.CancelScope()
                nursery.start_soon(progress.run)
                if figures:
                    files = CsvSink(directory=Path("figures"))
                    await nursery.start(sinks.run, {"figures": files}, tmp_path)
                await nursery.start(readers.run)
                path: Path = await nursery.start(_serve, tmp_path / "s" / "control.sock", hub, serving)
                yield Served(hub, path, database, events, bridge, stopped, serving)
                nursery.cancel_scope.cancel()


async def one_off_messages_sent(hub: Client) -> None:
    """Wait until no one-off message waits or is being sent: no event tells that one went well."""
    waiting = {DeliveryState.PENDING, DeliveryState.DEFERRED, DeliveryState.SENDING}
    with trio.fail_after(60):
        while waiting & {each["state"] for each in (await hub.call("message.list", limit=500))["messages"]}:
            pass


async def _serve(
    path: Path, hub: Hub, scope: trio.CancelScope, task_status: trio.TaskStatus[Path | None]
) -> None:
    with scope:
        await serve_control(path, hub, tcp=("127.0.0.1", 0), task_status=task_status)


async def _nothing_to_reload() -> list[str]:
    return []


def _configuration() -> ConfigResult:
    file = "/etc/messagehub/hubd.toml"
    return {
        "file": file,
        "files": [file],
        "uid": 998,
        "needs_restart": [],
        "settings": [
            {"key": "hub.log_level", "value": "info", "source": "default", "file": None, "line": None},
            {"key": "providers.office.type", "value": "smtp", "source": "file", "file": file, "line": 2},
            {
                "key": "providers.office.password",
                "value": {"credential": "office"},
                "source": "file",
                "file": file,
                "line": 5,
            },
        ],
    }
