"""How a provider is, and how much of it is used: breaker, throttle, one probe, and what people see of it.

Most of it is shown by the circuit breaker alone, with leases; where it is about who gets one, by a worker
pool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
import trio
import trio.testing

from hubd.core.model import (
    Answer,
    CampaignState,
    Channel,
    DeliveryState,
    InDoubt,
    RenderedMessage,
    Signal,
    Stage,
)
from hubd.core.outcome import RetryPolicy
from hubd.engine.breaker import FORGET, LOST_IN_A_ROW, CircuitBreaker, Lease, ProviderStopped
from hubd.engine.health import Health, HealthChange, HealthReporter, Tell
from hubd.engine.plan import TemplateCache
from hubd.engine.pool import WorkerPool
from hubd.engine.ports import RunContext, Transport
from hubd.engine.provider import Provider, ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.worker import IDLE
from hubd.errors import CredentialMissing, HubError
from tests.fakes import FakeStore, FakeTransport
from tests.shell.test_runner import EMAIL, world

START = 1_800_000_000.0
HOUR = 3600.0
BUSY = Answer(stage=Stage.MAIL, code=454, text="too busy")
LOST = Answer(stage=Stage.DOT, signal=Signal.DROPPED, text="connection closed")
WRONG_PASSWORD = Answer(stage=Stage.AUTH, code=535, enhanced="5.7.8", text="authentication failed")


def wall() -> float:
    """Epoch seconds that go with the mock clock, which a test starts at a time of its own."""
    return START + trio.current_time()


@dataclass(slots=True)
class Told:
    """What a provider said about itself."""

    changes: list[HealthChange] = field(default_factory=list)

    def __call__(self, change: HealthChange) -> None:
        self.changes.append(change)

    @property
    def states(self) -> list[str]:
        return [change.after for change in self.changes]


class Driver:
    """Takes leases as `WorkerPool` does: when the breaker says so, and at the moment that it names."""

    def __init__(self, breaker: CircuitBreaker, transport: Transport) -> None:
        self.breaker = breaker
        self._transport = transport
        self._changed = trio.Event()
        breaker.changed = self._wake

    def _wake(self) -> None:
        self.breaker.report()
        self._changed.set()
        self._changed = trio.Event()

    async def begin(self) -> Lease:
        """Wait for a lease."""
        while not self.breaker.may_begin():
            with trio.move_on_at(self.breaker.opens_at()):
                await self._changed.wait()
        lease = self.breaker.begin(self._transport.connection(), self._transport)
        self.breaker.report()
        return lease

    async def use(self, news: Callable[[Lease], None]) -> float:
        """Take a lease, give the news, end it. Returns when it was taken."""
        lease = await self.begin()
        at = trio.current_time()
        news(lease)
        self.breaker.end(lease)
        return at

    async def prove(self) -> None:
        """One message goes through."""
        await self.use(self.breaker.answered)


def make_breaker(transport: FakeTransport, tell: Tell) -> CircuitBreaker:
    return CircuitBreaker(transport, lambda: 0.5, HealthReporter(transport.name, tell), wall)


def drive(connections: int = 4, *, talks_first: bool = True) -> tuple[Driver, CircuitBreaker, Told]:
    told = Told()
    transport = FakeTransport(connections=connections, talks_first=talks_first)
    breaker = make_breaker(transport, told)
    return Driver(breaker, transport), breaker, told


@dataclass(slots=True)
class Crew:
    """Workers that send one message after another, each in `latency` seconds; `news` hears of each."""

    driver: Driver
    news: Callable[[Lease], None]
    latency: float = 0.1
    begun: list[float] = field(default_factory=list)
    most_out: int = 0
    out: int = 0

    async def work(self) -> None:
        breaker = self.driver.breaker
        while True:
            lease = await self.driver.begin()
            another = True
            while another and not breaker.in_trouble(lease):
                another = breaker.may_go_on(lease)  # a worker takes the next one before it sends this one
                self.begun.append(trio.current_time())
                self.out += 1
                self.most_out = max(self.most_out, self.out)
                await trio.sleep(self.latency)
                self.out -= 1
                self.news(lease)
            breaker.end(lease)


@asynccontextmanager
async def crew(
    driver: Driver, news: Callable[[Lease], None], *, workers: int = 8, latency: float = 0.1
) -> AsyncIterator[Crew]:
    here = Crew(driver=driver, news=news, latency=latency)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(here.work)
        yield here
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running_pool(told: Told) -> AsyncIterator[WorkerPool]:
    """A worker pool that no campaign sends through."""
    store, transport = FakeStore(), FakeTransport()
    pool = WorkerPool(transport, make_breaker(transport, told))
    context = RunContext(
        campaigns=store,
        ledger=store,
        health=store,
        plans=TemplateCache(store, b"key"),
        now=wall,
        steady=wall,
        random=lambda: 0.5,
        retry_policy=lambda campaign: RetryPolicy(),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, context)
        yield pool
        nursery.cancel_scope.cancel()


# --- nothing is known at first ------------------------------------------------------------------


async def test_until_the_provider_has_answered_one_message_is_on_the_wire(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver, breaker, told = drive(connections=4)
    async with crew(driver, breaker.answered, latency=1.0) as here:
        await trio.sleep(0.5)
        assert (here.out, breaker.health) == (1, Health.UNPROVEN)
        await trio.sleep(1.0)
        assert (here.out, breaker.health) == (4, Health.READY)
    assert told.changes == []  # it was ready to be used all the time


async def test_bad_credentials_cost_one_login_and_everybody_is_told_why(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    transport = FakeTransport(connections=8, latency=1.0, talks_first=False, answer=lambda p: WRONG_PASSWORD)
    campaigns = [store.add_campaign(f"c{n}", 10, EMAIL) for n in range(8)]
    async with world(store, transport) as here:
        await trio.sleep(0.5)
        pool = await here.supervisor.providers.get("fake").open()
        with pytest.raises(ProviderStopped) as stopped:
            async with pool.lease():
                pass
        for campaign in campaigns:
            campaign = await here.ended(campaign)
            assert (campaign.state, campaign.reason) == (CampaignState.PAUSED, str(stopped.value))
        view = here.supervisor.providers.get("fake").view()
    assert len(transport.prepared) == 1
    assert (view.state, view.reason, view.until) == ("stopped", str(stopped.value), None)
    assert view.connections_allowed == 0


async def test_a_stop_is_told_with_its_reason(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, told = drive(connections=8)
    await driver.use(lambda lease: breaker.stop("bad password"))
    assert not breaker.may_begin()
    assert breaker.opens_at() == float("inf")
    assert [(change.after, change.reason, change.until) for change in told.changes] == [
        ("stopped", "bad password", None)
    ]
    assert breaker.allowed == 0


async def test_when_all_connections_were_closed_the_next_login_is_one_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=4, latency=1.0, talks_first=False)
    express = store.add_campaign("~fake", 1, EMAIL, transactional_queue=True)
    async with world(store, transport) as here:
        await trio.sleep(2 * IDLE)
        for _ in range(8):
            store.add_row(express.id)
        await here.supervisor.wake_transactional("fake", Channel.EMAIL)
        await trio.sleep(0.5)
        assert transport.busy == 1
        await trio.sleep(1.0)
        assert transport.busy == 4


# --- the breaker ------------------------------------------------------------------


async def test_trouble_opens_the_breaker_and_half_open_lets_exactly_one_message_begin(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver, breaker, told = drive(connections=4)
    await driver.prove()
    await driver.use(lambda lease: breaker.trouble(lease, "no route"))
    assert (breaker.health, breaker.allowed) == (Health.RESTING, 0)
    assert breaker.provider_health().until == pytest.approx(wall() + 1.0)
    async with crew(driver, breaker.answered, latency=5.0) as here:
        await trio.sleep(0.9)
        assert here.out == 0
        await trio.sleep(0.2)
        assert (here.out, breaker.health, breaker.allowed) == (1, Health.HALF_OPEN, 1)
        await trio.sleep(4.5)
        assert here.out == 1  # the others still wait for what the probe finds
        await trio.sleep(1.0)
        assert (here.out, breaker.health) == (4, Health.READY)
    assert [(c.before, c.after) for c in told.changes] == [
        ("ready", "resting"), ("resting", "half_open"), ("half_open", "ready"),
    ]  # fmt: skip
    assert [c.reason for c in told.changes] == ["no route", "no route", ""]
    assert {c.provider for c in told.changes} == {"fake"}


async def test_a_probe_that_fails_makes_the_rest_longer(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, _ = drive()
    tried = [await driver.use(lambda lease: breaker.trouble(lease, "down")) for _ in range(9)]
    rests = [later - earlier for earlier, later in pairwise(tried)]
    assert rests == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])


@pytest.mark.parametrize("news", ["ready", "nothing"])
async def test_a_probe_that_has_not_been_answered_leaves_the_breaker_half_open(
    autojump_clock: trio.testing.MockClock, news: str
) -> None:
    """A server that takes every envelope and refuses every message must not look well in between."""
    driver, breaker, _ = drive()
    await driver.use(lambda lease: breaker.trouble(lease, "down"))
    await driver.use(lambda lease: breaker.ready(lease) if news == "ready" else None)
    assert breaker.provider_health().state == "half_open"
    await driver.use(breaker.answered)
    assert breaker.provider_health().state == "ready"


async def test_a_lost_answer_of_the_probe_is_trouble_and_five_in_a_row_are(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver, breaker, _ = drive()
    await driver.prove()
    for n in range(LOST_IN_A_ROW):
        assert breaker.health is Health.READY, n
        await driver.use(lambda lease: breaker.lost(lease, "lost"))
    assert breaker.health is Health.RESTING
    await driver.use(lambda lease: breaker.lost(lease, "lost"))
    assert breaker.health is Health.RESTING
    await driver.use(breaker.answered)
    await driver.use(lambda lease: breaker.trouble(lease, "down"))
    await driver.use(lambda lease: breaker.lost(lease, "lost"))  # the probe
    assert breaker.health is Health.RESTING


async def test_late_news_of_the_same_trouble_counts_once(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, told = drive(connections=4)
    await driver.prove()
    out = [await driver.begin() for n in range(4)]
    for lease in out:
        breaker.trouble(lease, "down")
        breaker.answered(lease)  # nor does an old success end the rest
    assert breaker.provider_health().until == pytest.approx(wall() + 1.0)
    assert told.states == ["resting"]


async def test_a_rest_that_was_asked_for_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, _ = drive()
    at = await driver.use(lambda lease: breaker.trouble(lease, "down", 600.0))
    assert await driver.use(breaker.answered) == pytest.approx(at + 600.0)


async def test_a_probe_that_is_cancelled_gives_its_place_to_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    probing: list[int] = []

    async def probe(number: int, scope: trio.CancelScope) -> None:
        with scope:
            async with pool.lease():
                probing.append(number)
                await trio.sleep_forever()

    scopes = [trio.CancelScope() for _ in range(3)]
    async with running_pool(Told()) as pool, trio.open_nursery() as nursery:
        lease = pool.breaker.begin(None, pool.transport)
        pool.breaker.trouble(lease, "down")
        pool.breaker.end(lease)
        for number, scope in enumerate(scopes):
            nursery.start_soon(probe, number, scope)
            await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()  # the first in line leaves before the rest is over
        await trio.sleep(2.0)
        assert probing == [1]
        scopes[1].cancel()
        await trio.sleep(2.0)
        assert probing == [1, 2]
        scopes[2].cancel()
    assert pool.unused


# --- the throttle ------------------------------------------------------------------


async def test_a_throttle_halves_the_connections_and_is_no_trouble(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver, breaker, told = drive(connections=8)
    await driver.prove()
    await driver.use(lambda lease: breaker.slow(lease, "too fast"))
    assert (breaker.health, breaker.allowed) == (Health.READY, 4)
    assert (breaker.provider_health().state, breaker.provider_health().reason) == ("slowed", "too fast")
    assert breaker.provider_health().until == pytest.approx(wall() + 0.1)
    async with crew(driver, lambda lease: None) as here:
        await trio.sleep(0.05)
        assert here.out == 0  # the pause
        await trio.sleep(1.0)
        assert here.most_out == 4
    assert told.states == ["slowed"]


async def test_the_pause_that_was_asked_for_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, _ = drive(connections=8)
    await driver.prove()
    at = await driver.use(lambda lease: breaker.slow(lease, "too fast", 30.0))
    assert await driver.use(breaker.answered) == pytest.approx(at + 30.0)


async def test_late_news_of_the_same_throttle_counts_once_but_its_wait_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver, breaker, told = drive(connections=8)
    await driver.prove()
    out = [await driver.begin() for n in range(8)]
    for wait, lease in enumerate(out):
        breaker.slow(lease, "too fast", float(wait))
    assert breaker.allowed == 4
    assert breaker.provider_health().until == pytest.approx(wall() + 7.0)
    assert told.states == ["slowed"]


async def test_a_chain_ends_after_a_throttle_and_what_was_announced_to_nobody_does_not_begin(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for talks_first in (True, False):
        driver, breaker, _ = drive(connections=8, talks_first=talks_first)
        await driver.prove()
        first, second = await driver.begin(), await driver.begin()
        assert breaker.may_go_on(second)
        breaker.slow(first, "too fast")
        assert not breaker.may_go_on(second)
        assert breaker.in_trouble(second) is not talks_first


async def test_one_connection_keeps_a_distance_and_loses_it_by_successes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver, breaker, _ = drive(connections=1)
    await driver.prove()
    for _ in range(6):
        await driver.use(lambda lease: breaker.slow(lease, "too fast"))
    begun = [await driver.use(breaker.answered) for _ in range(200)]
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 1.0
    assert gaps[-1] == 0.0
    assert breaker.provider_health().state == "ready"


async def test_messages_of_one_chain_keep_the_distance_too(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, _ = drive(connections=2)
    await driver.prove()
    for _ in range(10):
        await driver.use(lambda lease: breaker.slow(lease, "too fast"))
    async with crew(driver, breaker.ready) as here:
        await trio.sleep(200.0)
    assert {round(b - a) for a, b in pairwise(here.begun)} == {26}


async def test_what_was_begun_before_the_throttle_does_not_bring_speed_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver, breaker, _ = drive(connections=8)
    await driver.prove()
    first, second = await driver.begin(), await driver.begin()
    breaker.slow(first, "too fast")
    for _ in range(100):
        breaker.answered(second)
    assert breaker.allowed == 4


async def test_a_lease_on_which_nothing_was_begun_does_not_use_up_the_distance(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver, breaker, _ = drive(connections=1)
    await driver.prove()
    for _ in range(10):
        await driver.use(lambda lease: breaker.slow(lease, "too fast"))
    await driver.use(lambda lease: None)
    idle = trio.current_time()
    assert await driver.use(breaker.answered) == idle


async def test_speed_comes_back_by_itself_and_is_told(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, told = drive(connections=16)
    await driver.prove()
    for _ in range(3):
        await driver.use(lambda lease: breaker.slow(lease, "too fast"))
    assert breaker.allowed == 2
    async with crew(driver, breaker.answered, workers=16) as here:
        await trio.sleep(5.0)
        assert (here.out, breaker.allowed) == (16, 16)
    assert told.states == ["slowed", "ready"]
    assert told.changes[-1].reason == ""


async def test_six_hours_of_throttling_never_stop_and_speed_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver, breaker, told = drive(connections=8)
    began = trio.current_time()

    def news(lease: Lease) -> None:
        if trio.current_time() - began < 6 * HOUR:
            breaker.slow(lease, "454 too busy")
        else:
            breaker.answered(lease)

    async with crew(driver, news) as here:
        await trio.sleep(6 * HOUR)
        tried = len(here.begun)
        assert tried < 6 * HOUR / 25  # at most about one in half a minute, after the first minutes
        assert max(b - a for a, b in pairwise(here.begun)) < 35.0
        await trio.sleep(180.0)
        assert (here.out, breaker.allowed) == (8, 8)
    assert "stopped" not in told.states
    assert told.states[-1] == "ready"


async def test_six_hours_of_trouble_and_everything_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, told = drive(connections=8)
    began = trio.current_time()

    def news(lease: Lease) -> None:
        if trio.current_time() - began < 6 * HOUR:
            breaker.trouble(lease, "451 out of order")
        else:
            breaker.answered(lease)

    async with crew(driver, news) as here:
        await trio.sleep(6 * HOUR)
        assert here.most_out == 1  # one probe at a time from the first to the last
        assert len(here.begun) < 6 * 60 + 10
        await trio.sleep(70.0)
        assert (here.out, breaker.health) == (8, Health.READY)
    assert told.states[-1] == "ready"
    assert set(told.states) == {"resting", "half_open", "ready"}


async def test_a_throttled_probe_is_no_proof(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, _ = drive()
    await driver.use(lambda lease: breaker.trouble(lease, "down"))
    await driver.use(lambda lease: breaker.slow(lease, "too busy"))
    assert (breaker.health, breaker.reason) == (Health.RESTING, "too busy")


async def test_an_unused_provider_is_not_slow_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    driver, breaker, told = drive(connections=8)
    await driver.prove()
    await driver.use(lambda lease: breaker.slow(lease, "too fast"))
    await trio.sleep(FORGET / 2)
    breaker.relax(unused=True)
    assert breaker.provider_health().state == "slowed"
    await trio.sleep(FORGET)
    breaker.relax(unused=True)
    assert (breaker.provider_health().state, told.states) == ("ready", ["slowed", "ready"])


async def test_whoever_waits_for_the_distance_is_never_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Those who are first in line leave, and others come: somebody always looks at the clock."""
    store, transport = FakeStore(), FakeTransport(connections=1)
    transport.refuse = lambda rendered: BUSY if trio.current_time() < 600 else None
    campaigns = [store.add_campaign(f"c{n}", 1, EMAIL, transactional_queue=n % 3 == 0) for n in range(12)]
    async with world(store, transport) as here:
        await trio.sleep(500)
        for name in ("c1", "c2", "c4"):
            await here.supervisor.stop(name)
        await trio.sleep(12 * 60.0)
    left = [campaign.name for campaign in campaigns if store.states(campaign.id) != {DeliveryState.SENT: 1}]
    assert left == ["c1", "c2", "c4"]


async def test_whoever_comes_while_a_message_is_on_the_wire_goes_when_the_distance_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One message takes longer than the distance; the next do not, and none of them has a successor."""
    store, transport = FakeStore(), FakeTransport(connections=1, answer=lambda rendered: LOST)
    begun, next_begun = trio.open_memory_channel[tuple[str, float]](10)
    throttles = 12

    def refuse(rendered: RenderedMessage) -> Answer | None:
        nonlocal throttles
        throttles -= 1
        if throttles >= 0:
            return BUSY
        begun.send_nowait((rendered.campaign, trio.current_time()))
        return None

    transport.refuse = refuse
    store.add_campaign("slow", 1, EMAIL)
    for name in ("b", "c", "d", "e"):
        store.add_campaign(name, 1, EMAIL, state=CampaignState.DRAFT)
    async with begun, next_begun, world(store, transport) as here:
        transport.latency = 35.0
        at = (await next_begun.receive())[1]
        for name in ("b", "c", "d", "e"):
            await here.supervisor.start(name)
            await trio.testing.wait_all_tasks_blocked()
        transport.latency = 0.1
        served = [await next_begun.receive() for _ in range(2)]
        await here.supervisor.stop("d")
        served.append(await next_begun.receive())
    assert [(name, round(begun_at - at)) for name, begun_at in served] == [("b", 35), ("c", 65), ("e", 95)]


# --- what others are told ------------------------------------------------------------------


async def test_a_listener_that_fails_hurts_nobody(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(change: HealthChange) -> None:
        raise RuntimeError("no room")

    transport = FakeTransport()
    breaker = make_breaker(transport, broken)
    driver = Driver(breaker, transport)
    await driver.use(lambda lease: breaker.trouble(lease, "down"))
    assert breaker.health is Health.RESTING
    assert "could not be reported" in caplog.text


async def test_disabling_needs_no_trouble_and_reviving_begins_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told = Told()
    async with running_pool(told) as pool:
        pool.breaker.stop("switched off", Health.DISABLED)
        with pytest.raises(ProviderStopped, match="switched off"):
            async with pool.lease():
                pass
        pool.revive()
        async with pool.lease() as transport:
            assert transport is pool.transport
    assert told.states == ["disabled", "ready"]


async def test_other_settings_give_full_speed_and_as_many_connections_as_they_say(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, old, new = (
        FakeStore(),
        FakeTransport(connections=2, latency=1.0),
        FakeTransport(connections=6, latency=1.0),
    )
    old.refuse = lambda rendered: BUSY if trio.current_time() >= 5.0 else None
    store.add_campaign("c", 1000, EMAIL)
    async with world(store, old) as here:
        await trio.sleep(100.0)
        assert here.supervisor.providers.get("fake").view().connections_allowed == 1
        await here.supervisor.reconfigure({"fake": make_spec(new, settings="new")})
        await trio.sleep(0.5)
        assert (old.busy, new.busy) == (0, 6)
        view = here.supervisor.providers.get("fake").view()
        assert (view.state, view.connections, view.connections_allowed) == ("ready", 6, 6)
        await here.supervisor.stop("c")
    assert DeliveryState.SENDING not in store.states(1)


# --- a provider as people see it ------------------------------------------------------------------


def make_spec(transport: FakeTransport, *, settings: object = None, delay: float = 0.0) -> ProviderSpec:
    async def opened() -> FakeTransport:
        await trio.sleep(delay)
        return transport

    return ProviderSpec(
        name="fake", kind="fake", channels=frozenset(Channel), connections=transport.connections,
        in_doubt=InDoubt.HOLD, open=opened, settings=settings,
    )  # fmt: skip


async def test_a_view_says_the_state_why_since_when_until_when_and_how_many_connections(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told = Told()
    transport = FakeTransport(connections=8)
    provider = Provider(make_spec(transport), lambda: 0.5, tell=told, now=wall)
    view = provider.view()
    assert (view.state, view.reason, view.since, view.until) == ("ready", "", wall(), None)
    assert (view.connections, view.connections_allowed) == (8, 8)
    breaker = (await provider.open()).breaker
    driver = Driver(breaker, transport)
    await driver.prove()
    await trio.sleep(100.0)
    await driver.use(lambda lease: breaker.slow(lease, "too fast", 9.0))
    slowed = provider.view()
    assert (slowed.state, slowed.reason) == ("slowed", "too fast")
    assert slowed.since == wall()
    assert slowed.until == pytest.approx(wall() + 9.0)
    assert (slowed.connections, slowed.connections_allowed) == (8, 4)
    await trio.sleep(10.0)
    assert provider.view() == replace(slowed, until=None)
    await driver.use(lambda lease: breaker.trouble(lease, "down"))
    assert (provider.view().state, provider.view().connections_allowed) == ("resting", 0)
    provider.disable()
    assert (provider.view().state, provider.view().reason) == ("disabled", "disabled")
    provider.enable()
    assert told.states == ["slowed", "resting", "disabled", "slowed"]
    assert [c.before for c in told.changes] == ["ready", "slowed", "resting", "disabled"]


async def test_a_provider_that_cannot_be_opened_is_stopped_with_the_reason_and_told_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told, works = Told(), False

    async def opened() -> FakeTransport:
        await trio.lowlevel.checkpoint()
        if not works:
            raise CredentialMissing("the password file is missing")
        return FakeTransport()

    provider = Provider(replace(make_spec(FakeTransport()), open=opened), lambda: 0.5, tell=told, now=wall)
    for _ in range(2):
        with pytest.raises(HubError):
            await provider.open()
    assert (provider.view().state, provider.view().connections_allowed) == ("stopped", 0)
    works = True
    await provider.open()
    assert [(c.after, c.reason) for c in told.changes] == [
        ("stopped", "the password file is missing"), ("ready", ""),
    ]  # fmt: skip


async def test_a_good_probe_ends_a_rest_at_once(autojump_clock: trio.testing.MockClock) -> None:
    told, transport = Told(), FakeTransport()
    provider = Provider(make_spec(transport), lambda: 0.5, tell=told, now=wall)
    breaker = (await provider.open()).breaker
    driver = Driver(breaker, transport)
    await driver.use(lambda lease: breaker.trouble(lease, "down", 600.0))
    at = trio.current_time()
    await provider.probe()
    assert await driver.use(breaker.answered) == at
    assert told.states == ["resting", "ready"]


async def test_a_removed_provider_is_told_as_disabled(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    providers = Providers({"fake": make_spec(FakeTransport())}, lambda: 0.5, tell=told, now=wall)
    await providers.reconfigure({})
    assert [(c.provider, c.after) for c in told.changes] == [("fake", "disabled")]


@pytest.mark.parametrize("opening_takes", [0.5, 1.5])
async def test_a_reload_in_the_moment_a_provider_first_opens_leaves_no_old_settings(
    autojump_clock: trio.testing.MockClock, opening_takes: float
) -> None:
    """While another provider's new settings are prepared, this one is opened for the first time."""
    old, new = FakeTransport(connections=2), FakeTransport(connections=5)
    slow_old, slow_new = FakeTransport(), FakeTransport()
    providers = Providers(
        {"a": replace(make_spec(slow_old), name="a"), "fake": make_spec(old, delay=opening_takes)},
        lambda: 0.5, now=wall,
    )  # fmt: skip
    await providers.get("a").open()
    pools: list[WorkerPool] = []

    async def first_use() -> None:
        await trio.sleep(0.2)
        pools.append(await providers.get("fake").open())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first_use)
        await providers.reconfigure(
            {
                "fake": make_spec(new, settings="new"),
                "a": replace(make_spec(slow_new, settings="new", delay=1.0), name="a"),
            }
        )
    assert pools[0].transport is new
    assert providers.get("fake").view().connections == 5


async def test_a_login_answer_is_what_a_probe_gives(autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider(make_spec(FakeTransport()), lambda: 0.5)
    assert await provider.probe() == Answer(stage=Stage.DOT, code=250, text="ok")
