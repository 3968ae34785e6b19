"""A server that refuses surplus connections is used with as many as it takes; the others never notice.

First the engine with a scripted provider on the mock clock, then real SMTP over real sockets.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import trio
import trio.testing

from hubd.bridge import open_bridge
from hubd.core.connection_limit import FIRST_WAIT, LONGEST_WAIT
from hubd.core.model import Answer, Campaign, CampaignState, DeliveryState, Signal, Stage
from hubd.core.outcome import RetryPolicy
from hubd.core.verdict import is_ready
from hubd.engine.breaker import FORGET, CircuitBreaker, Lease
from hubd.engine.health import Health, HealthChange, HealthReporter, tell_nobody
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.pool import WorkerPool
from hubd.engine.provider import ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.supervisor import Supervisor, open_supervisor
from hubd.engine.worker import IDLE
from hubd.providers.smtp.transport import SmtpSettings, open_smtp
from tests.fakes import FakeConnection, FakeStore, FakeTransport
from tests.shell.engine_world import EMAIL, START, world

pytestmark = pytest.mark.slow

HANGS = Answer(stage=Stage.BANNER, signal=Signal.TIMEOUT, text="the server did not answer in time")
SURPLUS = {
    "closed": Answer(stage=Stage.BANNER, signal=Signal.DROPPED, text="the server closed the connection"),
    "refused": Answer(stage=Stage.CONNECT, signal=Signal.DROPPED, text="Connection refused"),
    "handshake": Answer(stage=Stage.TLS, signal=Signal.DROPPED, text="the TLS handshake failed"),
    "421": Answer(stage=Stage.BANNER, code=421, enhanced="4.7.0", text="too many connections"),
    "450": Answer(stage=Stage.BANNER, code=450, text="later"),
    "554": Answer(stage=Stage.BANNER, code=554, enhanced="5.7.0", text="no"),
    "ehlo": Answer(stage=Stage.EHLO, code=550, text="no"),
    "auth 454": Answer(stage=Stage.AUTH, code=454, enhanced="4.7.0", text="Temporary failure"),
    "auth 535": Answer(stage=Stage.AUTH, code=535, enhanced="5.7.0", text="Too many concurrent logins"),
    "hangs": HANGS,
}


def pool_of(supervisor: Supervisor) -> WorkerPool:
    pool = supervisor.providers.get("fake")._pool
    assert pool is not None
    return pool


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so."""
    while not condition():  # noqa: ASYNC110 # what is waited for has no event
        await trio.sleep(0.2)


def limited(store: FakeStore, campaigns: int = 1, recipients: int = 2000) -> list[Campaign]:
    return [store.add_campaign(f"c{n}", recipients, EMAIL) for n in range(campaigns)]


# --- the engine ------------------------------------------------------------------


@pytest.mark.parametrize("how", SURPLUS)
async def test_a_refused_connection_costs_neither_the_others_nor_a_recipient(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8, latency=0.1, most_connections=3)
    transport.surplus, transport.surplus_after = SURPLUS[how], 30.0 if how == "hangs" else 0.0
    (campaign,) = limited(store)
    async with world(store, transport) as here:
        await trio.sleep(40)
        view = here.supervisor.providers.get("fake").view()
        assert (view.state, view.connections_allowed) == ("slowed", 3)
        assert view.reason == "the server accepts 3 connections at a time"
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 2000}
    assert {row.due.attempts for row in store.rows.values()} == {1}
    gaps = [after - before for before, after in zip(transport.times, transport.times[3:], strict=False)]
    assert max(gaps[10:-10]) < 2 * 0.1, "all three connections were busy all the time"


async def test_probes_beyond_the_limit_become_rare(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8, latency=1.0, most_connections=3)
    (campaign,) = limited(store, recipients=4000)
    async with world(store, transport) as here:
        await here.ended(campaign)
    first = transport.surplus_times[0]
    probes = [at for at in transport.surplus_times if at > first]
    assert len(transport.surplus_times) - len(probes) <= 5, "those that were begun before the limit was known"
    waits = [after - before for before, after in pairwise(probes)]
    assert all(later > 1.5 * before for before, later in pairwise(waits[:6]))
    assert max(waits) < LONGEST_WAIT + 5


async def test_a_limit_that_rises_is_found_and_one_that_falls_is_obeyed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8, latency=0.1, most_connections=3)
    (campaign,) = limited(store, recipients=30_000)
    async with world(store, transport) as here:
        provider = here.supervisor.providers.get("fake")
        for most in (3, 6, 1, 2, 8):
            transport.most_connections = most
            for connection in list(transport.connected_now)[most:]:
                transport.connected_now.discard(connection)  # the server closes what is too much
            await until(
                lambda: (len(transport.connected_now), provider.view().connections_allowed) == (most, most)  # noqa: B023
            )
            assert provider.view().state == ("ready" if most == 8 else "slowed")
        await here.supervisor.stop(campaign.name)
    assert set(store.states(campaign.id)) <= {DeliveryState.SENT, DeliveryState.PENDING}


async def test_a_limit_of_one_is_enough_for_several_campaigns_and_one_off_messages(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=4, latency=0.1, most_connections=1)
    transport.surplus, transport.surplus_after = HANGS, 30.0
    campaigns = limited(store, campaigns=3, recipients=400)
    transactional_queue = store.add_campaign("~fake", 0, EMAIL, transactional_queue=True)
    async with world(store, transport) as here:
        await trio.sleep(35)  # the first surplus connections were given up
        for n in range(20):
            await trio.sleep(1.0)
            asked, row = trio.current_time(), store.add_row(transactional_queue.id)
            run = await here.supervisor.wake_transactional("fake", min(transport.channels))
            with trio.fail_after(5):
                await run.watch(row).wait()
            assert trio.current_time() - asked < 5, n
        for campaign in campaigns:
            assert (await here.ended(campaign)).state is CampaignState.COMPLETED
    assert {row.state for row in store.rows.values()} == {DeliveryState.SENT}


async def test_no_transactional_message_tries_another_connection_while_a_campaign_can(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It would wait for a connection that is probably refused."""
    store, transport = FakeStore(), FakeTransport(connections=4, latency=0.1, most_connections=1)
    transport.surplus, transport.surplus_after = HANGS, 30.0
    limited(store, recipients=4000)
    express = store.add_campaign("~fake", 0, EMAIL, transactional_queue=True)
    async with world(store, transport) as here:
        await trio.sleep(35)  # the first surplus connections were given up
        rows = [store.add_row(express.id) for _ in range(1000)]
        probes = len(transport.surplus_times)
        run = await here.supervisor.wake_transactional("fake", min(transport.channels))
        await run.watch(rows[-1]).wait()
        assert len(transport.surplus_times) > probes
        assert [number for number in transport.accepted if number >= rows[0]] == rows
        await here.supervisor.stop("c0")


@pytest.mark.parametrize("how", ["closed", "hangs"])
async def test_a_server_that_dies_is_still_in_trouble_and_its_limit_is_remembered(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8, latency=0.1, most_connections=3)
    transport.surplus, transport.surplus_after = SURPLUS[how], 30.0 if how == "hangs" else 0.0
    (campaign,) = limited(store, recipients=4000)
    async with world(store, transport) as here:
        await trio.sleep(50)
        breaker = pool_of(here.supervisor).breaker
        transport.most_connections = 0
        transport.connected_now.clear()
        await until(lambda: breaker.health is Health.RESTING)
        assert here.supervisor.providers.get("fake").view().state == "resting"
        transport.most_connections = 3
        tried = len(transport.surplus_times)
        await until(lambda: len(transport.connected_now) >= 3)
        assert len(transport.surplus_times) - tried <= 3, "no burst beyond the limit that was known"
        campaign = await here.ended(campaign)
    assert store.states(campaign.id) == {DeliveryState.SENT: 4000}


def make_breaker(transport: FakeTransport, told: list[HealthChange] | None = None) -> CircuitBreaker:
    """A breaker that nobody sends through yet, and where its changes are to be noted."""
    reporter = HealthReporter(transport.name, tell_nobody if told is None else told.append)
    return CircuitBreaker(transport, lambda: 0.5, reporter, trio.current_time)


def begin(breaker: CircuitBreaker, transport: FakeTransport) -> tuple[Lease, FakeConnection]:
    """A lease on a connection that is about to be opened."""
    assert breaker.may_begin()
    connection = transport.connection()
    breaker.connections.add(connection)
    return breaker.begin(connection, transport), connection


def connect(breaker: CircuitBreaker, lease: Lease, connection: FakeConnection) -> None:
    """The server accepts the connection."""
    connection.transport.connected_now.add(connection)
    breaker.ready(lease)


def refuse(breaker: CircuitBreaker, lease: Lease, connection: FakeConnection) -> None:
    """The server refuses the connection, while others work."""
    assert breaker.connection_refused(lease)
    breaker.end(lease)
    breaker.connections.discard(connection)


async def test_the_limit_is_told_once_and_with_its_number(autojump_clock: trio.testing.MockClock) -> None:
    told: list[HealthChange] = []
    transport = FakeTransport(connections=8)
    breaker = make_breaker(transport, told)
    breaker.changed = breaker.report
    connect(breaker, *begin(breaker, transport))
    others = [begin(breaker, transport) for _ in range(7)]
    for other in others[:3]:
        refuse(breaker, *other)
    for other in others[3:5]:
        connect(breaker, *other)
    assert told == [], "two connections are still under way"
    for other in others[5:]:
        refuse(breaker, *other)
    assert [(change.after, change.reason) for change in told] == [
        ("slowed", "the server accepts 3 connections at a time")
    ]
    assert breaker.allowed == 3


async def test_an_open_connection_is_used_before_another_is_opened(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Another one might be too many for the server."""
    store, transport = FakeStore(), FakeTransport(connections=4)
    campaign = store.add_campaign("~fake", 40, EMAIL, transactional_queue=True)
    async with world(store, transport) as here:
        await trio.sleep(5)
        opened = set(transport.connected_now)
        assert len(opened) == 4
        for kept in opened:
            transport.connected_now.clear()  # the server closes all but one
            transport.connected_now.add(kept)
            for _ in range(3):
                row = store.add_row(campaign.id)
                run = await here.supervisor.wake_transactional("fake", min(transport.channels))
                await run.watch(row).wait()
                assert transport.connected_now == {kept}
    assert store.states(campaign.id) == {DeliveryState.SENT: 52}


async def test_silence_while_the_others_are_silent_too_is_trouble(
    autojump_clock: trio.testing.MockClock,
) -> None:
    transport = FakeTransport(connections=4)
    breaker = make_breaker(transport)
    one, connection = begin(breaker, transport)
    connect(breaker, one, connection)
    await trio.sleep(1)
    two, _ = begin(breaker, transport)
    await trio.sleep(30)
    assert not breaker.connection_refused(two, silent=True)
    breaker.answered(one)
    assert breaker.connection_refused(two, silent=True)


async def test_connections_with_the_old_settings_do_not_speak_for_the_new_ones(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """They still work until their message is answered; the server of the new settings is down."""
    store = FakeStore()
    old, new = FakeTransport(connections=4, latency=60.0), FakeTransport(connections=8, most_connections=0)

    async def opened() -> FakeTransport:
        return new

    spec = ProviderSpec(
        name="fake", kind="fake", channels=new.channels, connections=8, in_doubt=new.in_doubt, open=opened,
        settings="new",
    )  # fmt: skip
    (campaign,) = limited(store, recipients=20)
    async with world(store, old) as here:
        await trio.sleep(5)
        assert len(old.connected_now) == 4
        await here.supervisor.reconfigure({"fake": spec})
        await trio.sleep(5)
        assert new.surplus_times
        assert here.supervisor.providers.get("fake").view().state == "resting"
        new.most_connections = None
        campaign = await here.ended(campaign)
    assert store.states(campaign.id) == {DeliveryState.SENT: 20}


async def test_an_unused_provider_forgets_its_limit(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=4, most_connections=2)
    (campaign,) = limited(store, recipients=200)
    async with world(store, transport) as here:
        await here.ended(campaign)
        breaker = pool_of(here.supervisor).breaker
        assert breaker.provider_health().state == "slowed"
        await trio.sleep(FORGET + FIRST_WAIT + 2 * IDLE)
        assert (breaker.provider_health().state, breaker.allowed) == ("ready", 4)
        assert transport.connected_now == set(), "unused connections are closed"


# --- real sockets ------------------------------------------------------------------


REPLIES = {
    b"EHLO": b"250-limited\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n",
    b"AUTH": b"235 ok\r\n",
    b"DATA": b"354 go\r\n",
}


@dataclass(slots=True)
class LimitedServer:
    """Takes `most` connections at a time and deals with others as `how` says."""

    how: str
    most: int = 3
    connected_now: int = 0
    highest: int = 0
    surplus: int = 0
    accepted: int = 0
    port: int = 0
    enough: trio.Event = field(default_factory=trio.Event)
    wanted: int = 0

    async def handle(self, stream: trio.SocketStream) -> None:
        async with stream:
            if self.connected_now >= self.most and self.how != "auth":
                self.surplus += 1
                await self._refuse(stream)
                return
            taken = False
            try:
                await stream.send_all(b"220 limited\r\n")
                rest, body = b"", False
                while True:
                    data = await stream.receive_some()
                    if not data:
                        return
                    *lines, rest = (rest + data).split(b"\r\n")
                    for line in lines:
                        verb = line[:4].upper()
                        if body:
                            if line == b".":
                                body = False
                                await trio.sleep(0.01)
                                self.accepted += 1
                                if self.accepted >= self.wanted:
                                    self.enough.set()
                                await stream.send_all(b"250 ok\r\n")
                            continue
                        if verb == b"AUTH" and self.connected_now >= self.most:
                            self.surplus += 1
                            await stream.send_all(b"454 4.7.0 too many concurrent logins\r\n")
                            continue
                        if verb in (b"AUTH", b"MAIL") and not taken:
                            taken = True
                            self.connected_now += 1
                            self.highest = max(self.highest, self.connected_now)
                        body = verb == b"DATA"
                        await stream.send_all(REPLIES.get(verb, b"250 ok\r\n"))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            finally:
                self.connected_now -= taken

    async def _refuse(self, stream: trio.SocketStream) -> None:
        match self.how:
            case "reset":
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "554":
                await stream.send_all(b"554 5.7.0 go away\r\n")
            case "421":
                await stream.send_all(b"421 4.7.0 too many connections\r\n")
            case "ehlo":
                await stream.send_all(b"220 limited\r\n")
                await stream.receive_some()
                await stream.send_all(b"550 5.7.0 go away\r\n")
            case "silent":
                await stream.receive_some()


@asynccontextmanager
async def engine_on(server: LimitedServer, store: FakeStore) -> AsyncIterator[tuple[Supervisor, list[str]]]:
    """The engine with eight connections to the server; the second value is what it reported."""
    told: list[str] = []
    settings = SmtpSettings(
        host="127.0.0.1",
        port=server.port,
        security="none",
        connections=8,
        username="user",
        password="secret",
        connect_timeout=1.0,
        reply_timeout=30.0,
        dot_timeout=30.0,
        ehlo_name="client.example.org",
    )
    async with open_bridge() as bridge:
        transport = open_smtp("fake", settings, bridge)

        async def opened() -> object:
            return transport

        spec = ProviderSpec(
            name="fake", kind="smtp", channels=transport.channels, connections=8, in_doubt=transport.in_doubt,
            open=opened,  # type: ignore[arg-type] # reason: mypy sees no transport in the closure
        )  # fmt: skip
        providers = Providers({"fake": spec}, lambda: 0.5, tell=lambda change: told.append(change.after))
        async with open_supervisor(
            campaigns=store, ledger=store, health=store, plans=TemplateCache(store, b"key"), doubts=store,
            providers=providers, limits=LimiterRegistry(store, lambda: START), now=lambda: START,
            random=lambda: 0.5, retry_policy=RetryPolicy(),
        ) as supervisor:  # fmt: skip
            await supervisor.recover()
            yield supervisor, told


@pytest.mark.parametrize("how", ["close", "reset", "554", "421", "ehlo", "auth", "silent"])
async def test_real_servers_that_refuse_surplus_connections_are_used_up_to_their_limit(how: str) -> None:
    store, server = FakeStore(), LimitedServer(how, wanted=600)
    (campaign,) = limited(store, recipients=600)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            server.port = listeners[0].socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, server.handle, listeners)
            async with engine_on(server, store) as (supervisor, told):
                await server.enough.wait()
                await until(lambda: supervisor.providers.get("fake").view().state == "slowed")
                reason = supervisor.providers.get("fake").view().reason
                await supervisor.ended(campaign.id)
            nursery.cancel_scope.cancel()
    assert store.states(campaign.id) == {DeliveryState.SENT: 600}
    assert {row.due.attempts for row in store.rows.values()} == {1}
    assert reason == "the server accepts 3 connections at a time"
    assert told == ["slowed"]
    assert (server.highest, server.accepted) == (3, 600)
    assert server.surplus < 5 + 10


@asynccontextmanager
async def serving(server: LimitedServer) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.handle, listeners)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["close", "reset", "554", "421", "ehlo", "auth", "silent"])
async def test_a_test_of_a_provider_that_is_used_up_to_its_limit_says_how_many_connections_work(
    how: str,
) -> None:
    store, server = FakeStore(), LimitedServer(how)
    limited(store, recipients=20_000)
    with trio.fail_after(60):
        async with serving(server), engine_on(server, store) as (supervisor, told):
            await until(lambda: supervisor.providers.get("fake").view().state == "slowed")
            probed = await supervisor.probe("fake")
            assert not is_ready(probed.answer)
            assert probed.working == 3
            assert told == ["slowed"]


@pytest.mark.parametrize("how", ["close", "reset", "554", "421", "ehlo", "auth", "silent"])
async def test_a_test_of_a_provider_that_takes_no_connection_at_all_says_so(how: str) -> None:
    server = LimitedServer(how, most=0)
    with trio.fail_after(60):
        async with serving(server), engine_on(server, FakeStore()) as (supervisor, _):
            probed = await supervisor.probe("fake")
            assert not is_ready(probed.answer)
            assert probed.working == 0
