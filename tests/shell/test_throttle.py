"""A provider that asks to slow down: fewer connections, a distance between messages, and speed again."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing

from hubd.core.model import Answer, CampaignState, DeliveryState, RenderedMessage
from hubd.engine.breaker import FORGET, Lease
from hubd.engine.health import Health
from tests.fakes import FakeStore, FakeTransport
from tests.shell.breaker_crew import BUSY, HOUR, LOST, crew, drive, wall
from tests.shell.engine_world import EMAIL, world


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
