"""The composition root: opens everything in order, waits for a signal, closes everything in reverse.

    lock -> bridge -> database -> restore, recovery -> providers -> supervisor -> feed -> socket -> ready

The service manager, if there is one, is told of each step (see `notify`).

On SIGTERM, SIGINT, `hub.shutdown` or, if wanted, the end of stdin the socket closes first, then every
campaign settles what is on the wire, then the connections, the database and the lock are let go. A second
signal does not wait for the wire.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from hubd import __version__
from hubd.bridge import Bridge, open_bridge
from hubd.config import HubConfig, OutboxConfig, ProviderConfig, SmtpConfig, TwilioConfig, load_config
from hubd.config_reload import Reloader
from hubd.config_show import Option
from hubd.control.gate import serve_control
from hubd.control.needs import Hub, HubInfo
from hubd.control.tally import Tally
from hubd.core.model import Channel, InDoubt
from hubd.engine.bulletin import Bulletin
from hubd.engine.feed import Feed
from hubd.engine.limits import LimitBook
from hubd.engine.plan import PlanShelf
from hubd.engine.ports import Transport
from hubd.engine.providers import Providers, ProviderSpec
from hubd.engine.supervisor import Supervisor, open_supervisor
from hubd.errors import HubError, StoreError, StoreUnavailable
from hubd.journal import Kind
from hubd.lock import sole_holder
from hubd.notify import Heartbeat, Manager, summary
from hubd.store.audit import Audit
from hubd.store.backup import Backups
from hubd.store.campaigns import Campaigns
from hubd.store.commands import Commands
from hubd.store.contacts import Contacts
from hubd.store.database import Database, open_database
from hubd.store.doubts import Doubts
from hubd.store.events import Events
from hubd.store.housekeeping import tidy
from hubd.store.ledger import Ledger
from hubd.store.restore import open_restores
from hubd.store.room import BALLAST, RoomLimits
from hubd.store.usage import Usage
from hubd.transports.outbox import OutboxTransport, open_outbox

log = logging.getLogger(__name__)

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
    tcp: tuple[str, int] | None = None  #: a loopback address and a port
    endpoint: Path | None = None  #: a file with that address and a token
    stop_on_stdin_eof: bool = False


@dataclass(slots=True, eq=False)
class _Stopping:
    """Somebody asked the daemon to stop; asking again means at once."""

    manager: Manager
    asked: trio.Event = field(default_factory=trio.Event)
    again: trio.Event = field(default_factory=trio.Event)

    def ask(self) -> None:
        self.manager.stopping()
        (self.again if self.asked.is_set() else self.asked).set()


async def run(options: Options) -> None:
    """Run the daemon until it is asked to stop. Raises `HubError` when it cannot run."""
    with _hangups() as hangups:
        config = load_config(options.find_config())
        make_state_dir(options.state_dir)
        stopping = _Stopping(options.manager)
        with sole_holder(options.state_dir / "hubd.lock"):
            async with open_bridge() as bridge, trio.open_nursery() as nursery:
                await nursery.start(_watch_signals, stopping)
                nursery.start_soon(options.manager.keep_patient)
                if options.stop_on_stdin_eof:
                    nursery.start_soon(_watch_stdin, stopping)
                await _serve(options, config, bridge, stopping, hangups)
                nursery.cancel_scope.cancel()


async def _serve(
    options: Options, config: HubConfig, bridge: Bridge, stopping: _Stopping, hangups: AsyncIterator[int]
) -> None:
    limits = RoomLimits(ballast=BALLAST)
    manager = options.manager
    manager.busy("opening the database")
    async with (
        open_database(options.state_dir / "hub.db", bridge, limits=limits) as database,
        trio.open_nursery() as watch,
    ):
        watch.start_soon(_end_when_lost, database, stopping)
        manager.busy("looking for what was on the wire")
        tally = Tally()
        campaigns, ledger = Campaigns(database), Ledger(database, tally.note)
        restores = await open_restores(database)
        if restores.found is not None and await restores.finish():
            held = sum((await restores.undecided()).values())
            log.warning(
                "committed history is missing (%s): %d messages may have been sent since; "
                "none of them is sent until somebody decides, see hubctl status",
                restores.found.why,
                held,
            )
        recovered = await ledger.recover()
        if recovered.total:
            log.warning(
                "%d messages were on the wire when hubd last ended: in doubt",
                recovered.total,
                extra={"kind": Kind.IN_DOUBT},
            )
        await campaigns.sweep()
        events = Events(database)
        bulletin = Bulletin(events.add, database)
        providers = Providers(_specs(options, config, bridge), random.random, tell=bulletin.tell)
        async with open_supervisor(
            campaigns=campaigns,
            ledger=ledger,
            health=database,
            plans=PlanShelf(campaigns, database.install_key),
            providers=providers,
            limits=LimitBook(Usage(database), time.time),
            doubts=Doubts(database),
            now=time.time,
            dice=random.random,
            grace=GRACE,
        ) as supervisor:
            manager.busy("taking up the campaigns")
            await supervisor.recover()
            feed = Feed(supervisor.running, ledger)
            heartbeats: dict[str, Heartbeat] = {
                "the database writer": partial(_writer_answers, database),
                "the schedule": supervisor.clockwork.heartbeat,
            }
            watch.start_soon(manager.watch, heartbeats)

            async def apply(config: HubConfig) -> list[str]:
                return await supervisor.reconfigure(_specs(options, config, bridge))

            reload = Reloader(
                config,
                find=options.find_config,
                expected=options.config_hint,
                options=_decided(options),
                apply=apply,
                add=events.add,
                during=manager.reloading,
            )
            hub = Hub(
                contacts=Contacts(database),
                campaigns=campaigns,
                commands=Commands(database),
                ledger=ledger,
                events=events,
                database=database,
                backups=Backups(database),
                audit=Audit(database),
                restores=restores,
                supervisor=supervisor,
                feed=feed,
                tally=tally,
                reload=reload,
                config=reload.show,
                shutdown=stopping.ask,
                now=time.time,
                info=HubInfo(
                    version=__version__,
                    pid=os.getpid(),
                    instance_id=secrets.token_hex(8),
                    state_dir=str(options.state_dir),
                    started_at=time.time(),
                ),
            )
            async with trio.open_nursery() as services:
                services.start_soon(feed.run)
                services.start_soon(bulletin.run)
                services.start_soon(_tidy_hourly, database)
                services.start_soon(_reload_on_hangup, hangups, hub.reload)
                await services.start(
                    partial(
                        serve_control,
                        options.socket_path,
                        hub,
                        observe=options.observe_path,
                        inherited=options.sockets,
                        tcp=options.tcp,
                        endpoint=options.endpoint,
                    )
                )
                log.info("ready on %s", options.socket_path or options.endpoint, extra={"kind": Kind.READY})
                manager.ready()
                services.start_soon(manager.report, partial(_how_it_goes, campaigns, feed, database))
                await stopping.asked.wait()
                log.info("stopping: settling what is on the wire", extra={"kind": Kind.STOPPING})
                services.cancel_scope.cancel()
            manager.busy("settling what is on the wire")
            async with trio.open_nursery() as last:
                last.start_soon(_hurry, stopping, supervisor)
                await supervisor.close(GRACE)
                last.cancel_scope.cancel()
        watch.cancel_scope.cancel()
        manager.busy("closing the database")


async def _writer_answers(database: Database) -> None:
    with suppress(StoreUnavailable):  # a disk in trouble is told of elsewhere, and no reason to be killed
        await database.write(lambda _: None)


async def _how_it_goes(campaigns: Campaigns, feed: Feed, database: Database) -> str:
    try:
        listed = await campaigns.list()
    except StoreError as error:
        return str(error)
    samples = [feed.sample(campaign.id) for campaign in listed]
    states = Counter(campaign.state.value for campaign in listed)
    return summary(states, sum(sample.rate for sample in samples if sample), database.trouble)


async def _end_when_lost(database: Database, stopping: _Stopping) -> None:
    """No outcome can be written any more: to wait for what is on the wire would only put off the end."""
    await database.wait_lost()
    stopping.ask()
    stopping.ask()


async def _tidy_hourly(database: Database) -> None:
    while True:
        try:
            await tidy(database, now=time.time())
        except StoreUnavailable as error:
            log.debug("tidying waits: %s", error)
        await trio.sleep(3600)


async def _hurry(stopping: _Stopping, supervisor: Supervisor) -> None:
    await stopping.again.wait()
    log.warning("asked again: cutting what is on the wire; those messages will be in doubt")
    supervisor.hurry()


async def _watch_signals(
    stopping: _Stopping, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    asking = [signal.SIGTERM, signal.SIGINT]
    if sys.platform == "win32":
        asking.append(signal.SIGBREAK)
    with trio.open_signal_receiver(*asking) as signals:
        task_status.started()
        async for _ in signals:
            stopping.ask()


async def _watch_stdin(stopping: _Stopping) -> None:
    """Stop when whoever holds the other end of stdin closes it: the way out where signals do not arrive."""
    with suppress(OSError):  # nothing to read is as good as its end
        while await trio.to_thread.run_sync(os.read, 0, 4096, abandon_on_cancel=True):
            pass
    stopping.ask()


@contextmanager
def _hangups() -> Iterator[AsyncIterator[int]]:
    """Each SIGHUP from now on: one that comes while the database is still being opened must end nothing."""
    if sys.platform == "win32":
        yield _nothing()
        return
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        yield signals


async def _nothing() -> AsyncIterator[int]:
    none: tuple[int, ...] = ()
    for signum in none:
        yield signum


async def _reload_on_hangup(
    hangups: AsyncIterator[int], reload: Callable[[], Awaitable[Sequence[str]]]
) -> None:
    async for _ in hangups:
        try:
            changes = await reload()
        except HubError as error:
            log.error(
                "the configuration was not reloaded, the old one stays: %s",
                error,
                extra={"kind": Kind.NOT_RELOADED},
            )
        except Exception:
            log.exception("the configuration was not reloaded", extra={"kind": Kind.NOT_RELOADED})
        else:
            log.info(
                "configuration reloaded: %s",
                ", ".join(changes) or "nothing changed",
                extra={"kind": Kind.RELOADED},
            )


def _decided(options: Options) -> dict[str, Option]:
    """The keys of hubd.toml that the command line decides."""
    given = {"hub.log_level": Option(flag="--log-level", value=options.log_level)}
    return {key: option for key, option in given.items() if option.value is not None}


def make_state_dir(path: Path) -> None:
    """Make the directory that everything lives in, for the owner only. Raises `HubError`."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reachable = os.access(path, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise HubError(
            f"the state directory {path} cannot be made: {error.strerror}",
            code="state_dir",
            hint="give another one with --state-dir, or make it and give it to this user",
        ) from None
    if not reachable:
        raise HubError(
            f"the state directory {path} cannot be written by this user",
            code="state_dir",
            hint=f"make it yours: chown {_user()} {path}",
        )


def _user() -> str:
    return os.environ.get("USER", "USER") if sys.platform == "win32" else str(os.getuid())


def _specs(options: Options, config: HubConfig, bridge: Bridge) -> dict[str, ProviderSpec]:
    return {
        name: _spec(name, settings, config.folder, options.state_dir / "outbox", bridge)
        for name, settings in config.providers.items()
    }


def _spec(name: str, config: ProviderConfig, folder: Path, outbox: Path, bridge: Bridge) -> ProviderSpec:
    opener: Callable[[], Transport]
    sender = ""
    match config:
        case OutboxConfig():
            channels, lanes, in_doubt = frozenset(Channel), OutboxTransport.lanes, InDoubt.RETRY
            opener = partial(open_outbox, outbox)
        case SmtpConfig():
            channels, lanes, in_doubt = frozenset({Channel.EMAIL}), config.connections, InDoubt.RETRY
            opener = partial(_open_smtp, name, config, folder, bridge)
        case TwilioConfig():
            channels, lanes, in_doubt = frozenset({Channel.SMS}), config.concurrency, InDoubt.HOLD
            opener = partial(_open_twilio, name, config, folder)
            sender = config.messaging_service_sid or config.from_
    return ProviderSpec(
        name=name,
        kind=config.type,
        channels=channels,
        lanes=lanes,
        in_doubt=in_doubt,
        inquires=isinstance(config, TwilioConfig),
        sender=sender,
        rate=config.rate,
        warmup=config.warmup,
        sender_rates=config.sender_rates,
        domain_rates=config.domain_rates,
        # In a thread: a keyring may take its time, and Twilio's library takes long to import.
        open=partial(trio.to_thread.run_sync, opener),
        settings=replace(config, rate=(), warmup=None, sender_rates={}, domain_rates={}),
    )


def _open_smtp(name: str, config: SmtpConfig, folder: Path, bridge: Bridge) -> Transport:
    from hubd.transports.smtp import SmtpSettings, open_smtp

    return open_smtp(
        name,
        SmtpSettings(
            host=config.host,
            port=config.port,
            security=config.security,
            username=config.username,
            password=config.password.resolve(folder).reveal() if config.password else "",
            connections=config.connections,
            ca_file=config.ca_file,
        ),
        bridge,
    )


def _open_twilio(name: str, config: TwilioConfig, folder: Path) -> Transport:
    from hubd.transports.twilio import TwilioSettings, open_twilio

    return open_twilio(
        name,
        TwilioSettings(
            account_sid=config.account_sid,
            auth_token=config.auth_token.resolve(folder).reveal(),
            from_=config.from_,
            messaging_service_sid=config.messaging_service_sid,
            concurrency=config.concurrency,
            base_url=config.base_url,
        ),
    )
