"""The composition root: opens everything in order, waits for a signal, closes everything in reverse.

    lock -> bridge -> database -> restore, recovery -> providers -> supervisor -> progress -> socket -> ready

The service manager, if there is one, is notified of each step (see `notify`).

On SIGTERM, SIGINT, `hub.shutdown` or, if wanted, the end of stdin the socket closes first, then every
campaign settles what is on the wire, then the connections, the database and the lock are let go. A second
signal does not wait for the wire.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from hubd import __version__
from hubd.bridge import Bridge, open_bridge
from hubd.config.file import HubConfig, load_config
from hubd.config.reload import Reloader
from hubd.config.show import Option, address_text
from hubd.control.attempt_metrics import AttemptMetrics
from hubd.control.endpoints import Endpoints
from hubd.control.gate import serve_control
from hubd.control.hub import Hub, HubInfo
from hubd.core.tokens import Purpose, Tokens
from hubd.engine.health_events import HealthEvents
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.progress import ProgressSampler
from hubd.engine.providers import Providers
from hubd.engine.supervisor import Supervisor, open_supervisor
from hubd.errors import SourceUnavailable, StoreError, StoreUnavailable
from hubd.inbound.reader import Configured, Readers
from hubd.inbound_specs import inbound_sources
from hubd.journal import Kind
from hubd.listening import listener_of, unsubscribe_links, webhook_urls
from hubd.lock import sole_holder
from hubd.mailboxes import probe
from hubd.mailing import notifier_of
from hubd.notify import Heartbeat, Manager, summary
from hubd.provider_specs import log_advice, provider_advice, provider_specs
from hubd.signals import Stopping, hangups_from_now_on, reload_on_hangup, watch_signals, watch_stdin
from hubd.sinks.manager import SinkManager
from hubd.sinks.targets import Pace
from hubd.sinks.task import Context as SinkContext
from hubd.state_dir import make_state_dir
from hubd.store.after_restore import Restores, open_restores
from hubd.store.backup import Backups
from hubd.store.campaigns import Campaigns
from hubd.store.commands import Commands
from hubd.store.contacts import Contacts
from hubd.store.credits import Credits
from hubd.store.database import Database, open_database
from hubd.store.disk_space import RESERVE_BYTES, DiskSpaceLimits
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
from hubd.upkeep import keep_up, retention_of

log = logging.getLogger(__name__)

#: Where programs that read the endpoint file are served, if nobody says where.
ANY_PORT = ("127.0.0.1", 0)
#: Seconds that messages on the wire are given when the daemon stops.
GRACE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where things are, decided before anything is opened."""

    find_config: Callable[[], Path | None]  #: asked again at each reload: the file may come later
    config_hint: Path  #: where the file would be looked for, for people
    state_dir: Path
    socket_path: Path | None  #: None where there are no unix sockets
    log_level: str | None = None
    manager: Manager = field(default_factory=Manager)  #: the service manager; by default there is none
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)  #: inherited, by name
    observe_path: Path | None = None  #: a second socket, for viewers
    tcp: tuple[str, int] | None = None  #: a loopback address and a port; None: as the configuration says
    endpoint: Path | None = None  #: a file with that address and a token
    stop_on_stdin_eof: bool = False


async def run(options: Options) -> None:
    """Run the daemon until it is asked to stop. Raises `HubError` when it cannot run."""
    with hangups_from_now_on() as hangups:
        config = load_config(options.find_config())
        make_state_dir(options.state_dir)
        stopping = Stopping(options.manager)
        with sole_holder(options.state_dir / "hubd.lock"):
            async with open_bridge() as bridge, trio.open_nursery() as nursery:
                await nursery.start(watch_signals, stopping)
                nursery.start_soon(options.manager.keep_patient)
                if options.stop_on_stdin_eof:
                    nursery.start_soon(watch_stdin, stopping)
                await _serve(options, config, bridge, stopping, hangups)
                nursery.cancel_scope.cancel()


async def _serve(
    options: Options, config: HubConfig, bridge: Bridge, stopping: Stopping, hangups: AsyncIterator[int]
) -> None:
    limits = DiskSpaceLimits(reserve=RESERVE_BYTES)
    manager = options.manager
    manager.busy("opening the database")
    async with (
        open_database(
            options.state_dir / "hub.db", bridge, limits=limits, ending=stopping.asked.is_set
        ) as database,
        trio.open_nursery() as watch,
    ):
        watch.start_soon(_end_when_lost, database, stopping)
        manager.busy("looking for messages that were on the wire")
        attempt_metrics = AttemptMetrics()
        campaigns, ledger = Campaigns(database), Ledger(database, attempt_metrics.note)
        restores = await _recover(database, ledger)
        await campaigns.clean_up()
        events = Events(database)
        health_events = HealthEvents(events.add, database)
        tokens = Tokens(database.install_key)
        specs = partial(
            provider_specs,
            state_dir=options.state_dir,
            bridge=bridge,
            bounce_token=partial(tokens.of, Purpose.BOUNCE),
        )
        providers = Providers(await specs(config, ask_keyring=False), random.random, tell=health_events.tell)
        plans = TemplateCache(
            campaigns, database.install_key, database.named_after, unsubscribe_links(config)
        )
        async with _supervising(database, campaigns, ledger, plans, providers) as supervisor:
            manager.busy("resuming the campaigns")
            await supervisor.recover()
            progress = ProgressSampler(supervisor.running, ledger)
            heartbeats: dict[str, Heartbeat] = {
                "the database writer": partial(_writer_answers, database),
                "the schedule": supervisor.scheduler.heartbeat,
            }
            watch.start_soon(manager.watch, heartbeats)

            sinks = _sinks(database, events)
            inbox = Inbox(database, tokens, config.bounces)
            readers = Readers(
                inbox,
                add=events.add,
                attempts=attempt_metrics.tried,
                waiting_changed=supervisor.read_again,
                now=time.time,
                random=random.random,
            )

            providers.catch_up = readers.catch_up
            listener = listener_of(config, tokens, time.time)
            listened = [] if listener is None else [Configured(source=listener, settings=config.listener)]

            async def apply(config: HubConfig) -> list[str]:
                found = await inbound_sources(config, options.state_dir, bridge, time.time)
                found += listened
                changes = await supervisor.reconfigure(await specs(config))
                changes += readers.changed(found)
                await readers.apply(found)
                log_advice(config)
                if inbox.rules != config.bounces:
                    inbox.rules = config.bounces
                    changes.append("bounces")
                return [*changes, *sinks.apply(config.sinks, config.folder)]

            reload = Reloader(
                config,
                find=options.find_config,
                expected=options.config_hint,
                options=_decided(options),
                apply=apply,
                add=events.add,
                during=manager.reloading,
            )
            endpoints = Endpoints()
            hub = Hub(
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
                database=database,
                backups=Backups(database),
                integrity=IntegrityCheck(database, partial(retention_of, reload)),
                restores=restores,
                supervisor=supervisor,
                progress=progress,
                attempt_metrics=attempt_metrics,
                reload=partial(_reload, endpoints, reload),
                reload_changes=reload.changes,
                config=reload.show,
                probe_mailbox=lambda name: probe(reload.running, time.time, name),
                webhooks=lambda: webhook_urls(reload.running, tokens),
                shutdown=stopping.ask,
                viewer_token=reload.viewer_token,
                provider_advice=lambda: provider_advice(reload.running),
                endpoints=endpoints,
                now=time.time,
                info=_info(options),
            )
            async with trio.open_nursery() as services:
                services.start_soon(progress.run)
                services.start_soon(health_events.run)
                await services.start(sinks.run, config.sinks, config.folder)
                await services.start(readers.run)
                if listener is not None:
                    with suppress(SourceUnavailable):  # what it reads says so, and tries again
                        await listener.open()
                    services.start_soon(listener.serve)
                found = await inbound_sources(config, options.state_dir, bridge, time.time)
                await readers.apply([*found, *listened])
                log_advice(config)
                services.start_soon(keep_up, database, reload, options.state_dir)
                services.start_soon(notifier_of(database, supervisor, reload, time.time).run)
                services.start_soon(reload_on_hangup, hangups, hub.reload)
                await services.start(
                    partial(
                        serve_control,
                        options.socket_path,
                        hub,
                        observe=options.observe_path,
                        inherited=options.sockets,
                        tcp=options.tcp or config.tcp or (ANY_PORT if options.endpoint else None),
                        endpoint=options.endpoint,
                    )
                )
                log.info("ready on %s", options.socket_path or options.endpoint, extra={"kind": Kind.READY})
                manager.ready()
                services.start_soon(endpoints.watch, events.add)
                services.start_soon(
                    manager.report, partial(_how_it_goes, campaigns, progress, database, endpoints)
                )
                await stopping.asked.wait()
                log.info("stopping: finishing messages on the wire", extra={"kind": Kind.STOPPING})
                services.cancel_scope.cancel()
            manager.busy("finishing messages on the wire")
            await _settle(stopping, supervisor)
        watch.cancel_scope.cancel()
        manager.busy("closing the database")


def _supervising(
    database: Database, campaigns: Campaigns, ledger: Ledger, plans: TemplateCache, providers: Providers
) -> AbstractAsyncContextManager[Supervisor]:
    return open_supervisor(
        campaigns=campaigns,
        ledger=ledger,
        health=database,
        plans=plans,
        providers=providers,
        limits=LimiterRegistry(Usage(database), database.steady),
        doubts=Doubts(database),
        now=time.time,
        steady=database.steady,
        random=random.random,
        grace=GRACE,
    )


def _sinks(database: Database, events: Events) -> SinkManager:
    return SinkManager(
        SinkContext(
            sinks=Sinks(database),
            events=events,
            wait_events=database.wait_events,
            head=lambda: database.head_seq,
            now=time.time,
            steady=database.steady,
            pace=Pace(),
        )
    )


async def _recover(database: Database, ledger: Ledger) -> Restores:
    """Look what the last run left behind: whatever may have been sent is in doubt before anything is sent."""
    restores = await open_restores(database)
    if restores.found is not None and await restores.finish():
        held = sum((await restores.undecided()).values())
        log.warning(
            "committed history is missing (%s): %d messages may have been sent since; "
            "none of them is sent again until somebody decides; see hubctl status",
            restores.found.why,
            held,
        )
    recovered = await ledger.recover()
    if recovered.total:
        log.warning(
            "%d %s on the wire when hubd last ended: in doubt",
            recovered.total,
            "message was" if recovered.total == 1 else "messages were",
            extra={"kind": Kind.IN_DOUBT},
        )
    return restores


def _info(options: Options) -> HubInfo:
    return HubInfo(
        version=__version__,
        pid=os.getpid(),
        instance_id=secrets.token_hex(8),
        state_dir=str(options.state_dir),
        started_at=time.time(),
    )


async def _writer_answers(database: Database) -> None:
    with suppress(StoreUnavailable):  # a disk in trouble is told of elsewhere, and no reason to be killed
        await database.write(lambda _: None)


async def _how_it_goes(
    campaigns: Campaigns, progress: ProgressSampler, database: Database, endpoints: Endpoints
) -> str:
    try:
        listed = await campaigns.list()
    except StoreError as error:
        return str(error)
    samples = [progress.sample(campaign.id) for campaign in listed]
    states = Counter(campaign.state.value for campaign in listed)
    trouble = database.trouble or endpoints.trouble
    return summary(states, sum(sample.rate for sample in samples if sample), trouble)


async def _end_when_lost(database: Database, stopping: Stopping) -> None:
    """No outcome can be written any more: to wait for what is on the wire would only put off the end."""
    await database.wait_lost()
    stopping.ask()
    stopping.ask()


async def _reload(endpoints: Endpoints, reload: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """Create socket files that were removed again, then read the configuration again."""
    endpoints.make_again()
    return await reload()


async def _settle(stopping: Stopping, supervisor: Supervisor) -> None:
    """Wait for what is on the wire, unless it is asked again to stop."""
    async with trio.open_nursery() as last:
        last.start_soon(_hurry, stopping, supervisor)
        await supervisor.close(GRACE)
        last.cancel_scope.cancel()


async def _hurry(stopping: Stopping, supervisor: Supervisor) -> None:
    await stopping.again.wait()
    log.warning("asked to stop a second time: closing connections now; messages on the wire will be in doubt")
    supervisor.hurry()


def _decided(options: Options) -> dict[str, Option]:
    """The keys of hubd.toml that the command line decides."""
    given = {
        "hub.log_level": Option(flag="--log-level", value=options.log_level),
        "hub.tcp": Option(flag="--tcp", value=address_text(options.tcp) or None),
    }
    return {key: option for key, option in given.items() if option.value is not None}
