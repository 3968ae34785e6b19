"""How a provider is, and how much of it is used: breaker, throttle, one probe, and what people see of it.

Most of it is shown by the circuit breaker alone, with leases; where it is about who gets one, by a worker
pool.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing

from hubd.core.model import CampaignState, Channel, DeliveryState
from hubd.engine.breaker import LOST_IN_A_ROW, ProviderStopped
from hubd.engine.health import Health, HealthChange
from hubd.engine.worker import IDLE
from tests.fakes import FakeStore, FakeTransport
from tests.shell.breaker_crew import (
    BUSY,
    WRONG_PASSWORD,
    Driver,
    Told,
    crew,
    drive,
    make_breaker,
    make_spec,
    running_pool,
    wall,
)
from tests.shell.engine_world import EMAIL, world

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
