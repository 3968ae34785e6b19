"""How a provider is, and how much of it is used: breaker, throttle, one probe, and what people see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
import trio
import trio.testing

from hubd.core.model import Answer, Channel, InDoubt, Stage
from hubd.engine.health import Health, HealthChange
from hubd.engine.lanes import Berth, LanePool, ProviderStopped
from hubd.engine.providers import Provider, Providers, ProviderSpec
from hubd.errors import CredentialMissing, HubError
from tests.fakes import FakeTransport

START = 1_800_000_000.0
HOUR = 3600.0


def wall() -> float:
    """Epoch seconds that go with the mock clock, which a test starts at a time of its own."""
    return START + trio.current_time()


@dataclass(slots=True)
class Told:
    """What a pool said about itself."""

    changes: list[HealthChange] = field(default_factory=list)

    def __call__(self, change: HealthChange) -> None:
        self.changes.append(change)

    @property
    def states(self) -> list[str]:
        return [change.after for change in self.changes]


def make_pool(lanes: int = 4, **settings: object) -> tuple[LanePool, Told]:
    told = Told()
    transport = FakeTransport(lanes=lanes, **settings)  # type: ignore[arg-type] # reason: any field of it
    return LanePool(transport, lambda: 0.5, tell=told, now=wall), told


async def proven(pool: LanePool) -> None:
    """One message goes through."""
    berth = await pool.borrow("first")
    pool.answered(berth)
    pool.give_back(berth)


async def use(pool: LanePool, news: Callable[[Berth], None]) -> float:
    """Take a lane, give the news, give it back. Returns when it was taken."""
    berth = await pool.borrow("one")
    at = trio.current_time()
    news(berth)
    pool.give_back(berth)
    return at


@dataclass(slots=True)
class Crew:
    """Workers that send one message after another, each in `latency` seconds; `news` hears of each."""

    pool: LanePool
    news: Callable[[Berth], None]
    latency: float = 0.1
    begun: list[float] = field(default_factory=list)
    most_out: int = 0
    out: int = 0

    async def work(self) -> None:
        while True:
            berth = await self.pool.borrow("crew")
            try:
                while True:
                    self.begun.append(trio.current_time())
                    self.out += 1
                    self.most_out = max(self.most_out, self.out)
                    await trio.sleep(self.latency)
                    self.out -= 1
                    self.news(berth)
                    if self.pool.wanted(berth, "crew"):
                        break
            finally:
                self.pool.give_back(berth)


@asynccontextmanager
async def crew(
    pool: LanePool, news: Callable[[Berth], None], *, workers: int = 0, latency: float = 0.1
) -> AsyncIterator[Crew]:
    here = Crew(pool=pool, news=news, latency=latency)
    async with trio.open_nursery() as nursery:
        for _ in range(workers or pool.transport.lanes):
            nursery.start_soon(here.work)
        yield here
        nursery.cancel_scope.cancel()


# --- nothing is known at first ------------------------------------------------------------------


async def test_until_the_provider_has_answered_one_lane_is_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, told = make_pool(lanes=4)
    async with crew(pool, pool.answered, latency=1.0) as here:
        await trio.sleep(0.5)
        assert (here.out, pool.health) == (1, Health.UNPROVEN)
        await trio.sleep(1.0)
        assert (here.out, pool.health) == (4, Health.READY)
    assert told.changes == []  # it was ready to be used all the time


async def test_bad_credentials_cost_one_login_and_everybody_is_told_why(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, told = make_pool(lanes=8)
    logins, refused = 0, []

    async def work() -> None:
        nonlocal logins
        try:
            berth = await pool.borrow("one")
        except ProviderStopped as stopped:
            refused.append(str(stopped))
            return
        logins += 1
        await trio.sleep(1.0)
        pool.stop("bad password")
        pool.give_back(berth)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(work)
    assert (logins, refused) == (1, ["bad password"] * 7)
    assert told.states == ["stopped"]
    assert (pool.standing().reason, pool.standing().until, pool.lanes_allowed) == ("bad password", None, 0)


async def test_when_all_connections_were_closed_the_next_login_is_one_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, _ = make_pool(lanes=4)
    await proven(pool)
    await trio.sleep(2 * LanePool.IDLE)
    await pool.tidy()
    async with crew(pool, pool.answered, latency=1.0) as here:
        await trio.sleep(0.5)
        assert here.out == 1


# --- the breaker ------------------------------------------------------------------


async def test_trouble_opens_the_breaker_and_half_open_hands_out_exactly_one_lane(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, told = make_pool(lanes=4)
    await proven(pool)
    await use(pool, lambda berth: pool.trouble(berth, "no route"))
    assert (pool.health, pool.lanes_allowed) == (Health.RESTING, 0)
    assert pool.standing().until == pytest.approx(wall() + 1.0)
    async with crew(pool, pool.answered, latency=5.0) as here:
        await trio.sleep(0.9)
        assert here.out == 0
        await trio.sleep(0.2)
        assert (here.out, pool.health, pool.lanes_allowed) == (1, Health.HALF_OPEN, 1)
        await trio.sleep(4.5)
        assert here.out == 1  # the others still wait for what the probe finds
        await trio.sleep(1.0)
        assert (here.out, pool.health) == (4, Health.READY)
    assert [(c.before, c.after) for c in told.changes] == [
        ("ready", "resting"), ("resting", "half_open"), ("half_open", "ready"),
    ]  # fmt: skip
    assert [c.reason for c in told.changes] == ["no route", "no route", ""]
    assert {c.provider for c in told.changes} == {"fake"}


async def test_a_probe_that_fails_makes_the_rest_longer(autojump_clock: trio.testing.MockClock) -> None:
    pool, _ = make_pool()
    tried = [await use(pool, lambda berth: pool.trouble(berth, "down")) for _ in range(9)]
    rests = [later - earlier for earlier, later in pairwise(tried)]
    assert rests == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])


@pytest.mark.parametrize("news", ["ready", "nothing"])
async def test_a_probe_that_has_not_been_answered_leaves_the_breaker_half_open(
    autojump_clock: trio.testing.MockClock, news: str
) -> None:
    """A server that takes every envelope and refuses every message must not look well in between."""
    pool, _ = make_pool()
    await use(pool, lambda berth: pool.trouble(berth, "down"))
    await use(pool, lambda berth: pool.ready(berth) if news == "ready" else None)
    assert pool.health is Health.HALF_OPEN
    await use(pool, pool.answered)
    assert pool.health is Health.READY


async def test_a_lost_answer_of_the_probe_is_trouble_and_five_in_a_row_are(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, _ = make_pool()
    await proven(pool)
    for n in range(LanePool.LOST_IN_A_ROW):
        assert pool.health is Health.READY, n
        await use(pool, lambda berth: pool.lost(berth, "lost"))
    assert pool.health is Health.RESTING
    await use(pool, lambda berth: pool.lost(berth, "lost"))
    assert pool.health is Health.RESTING
    await use(pool, pool.answered)
    await use(pool, lambda berth: pool.trouble(berth, "down"))
    await use(pool, lambda berth: pool.lost(berth, "lost"))  # the probe
    assert pool.health is Health.RESTING


async def test_late_news_of_the_same_trouble_counts_once(autojump_clock: trio.testing.MockClock) -> None:
    pool, told = make_pool(lanes=4)
    await proven(pool)
    out = [await pool.borrow(n) for n in range(4)]
    for berth in out:
        pool.trouble(berth, "down")
        pool.answered(berth)  # nor does an old success end the rest
    assert pool.standing().until == pytest.approx(wall() + 1.0)
    assert told.states == ["resting"]


async def test_a_rest_that_was_asked_for_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    pool, _ = make_pool()
    at = await use(pool, lambda berth: pool.trouble(berth, "down", 600.0))
    assert await use(pool, pool.answered) == pytest.approx(at + 600.0)


async def test_a_probe_whose_worker_is_cancelled_passes_the_lane_to_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, _ = make_pool()
    await use(pool, lambda berth: pool.trouble(berth, "down"))
    probing = []

    async def probe(number: int, scope: trio.CancelScope) -> None:
        with scope:
            berth = await pool.borrow(number)
            probing.append(number)
            try:
                await trio.sleep_forever()
            finally:
                pool.give_back(berth)

    scopes = [trio.CancelScope() for _ in range(3)]
    async with trio.open_nursery() as nursery:
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


# --- the throttle ------------------------------------------------------------------


async def test_a_throttle_halves_the_lanes_and_is_no_trouble(autojump_clock: trio.testing.MockClock) -> None:
    pool, told = make_pool(lanes=8)
    await proven(pool)
    await use(pool, lambda berth: pool.slow(berth, "too fast"))
    assert (pool.health, pool.lanes_allowed) == (Health.READY, 4)
    assert (pool.standing().state, pool.standing().reason) == ("slowed", "too fast")
    assert pool.standing().until == pytest.approx(wall() + 0.1)
    async with crew(pool, lambda berth: None) as here:
        await trio.sleep(0.05)
        assert here.out == 0  # the pause
        await trio.sleep(1.0)
        assert here.most_out == 4
    assert told.states == ["slowed"]


async def test_the_pause_that_was_asked_for_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    pool, _ = make_pool(lanes=8)
    await proven(pool)
    at = await use(pool, lambda berth: pool.slow(berth, "too fast", 30.0))
    assert await use(pool, pool.answered) == pytest.approx(at + 30.0)


async def test_late_news_of_the_same_throttle_counts_once_but_its_wait_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, told = make_pool(lanes=8)
    await proven(pool)
    out = [await pool.borrow(n) for n in range(8)]
    for wait, berth in enumerate(out):
        pool.slow(berth, "too fast", float(wait))
    assert pool.lanes_allowed == 4
    assert pool.standing().until == pytest.approx(wall() + 7.0)
    assert told.states == ["slowed"]


async def test_a_chain_ends_after_a_throttle_and_what_was_announced_to_nobody_does_not_begin(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for talks_first in (True, False):
        pool, _ = make_pool(lanes=8, talks_first=talks_first)
        await proven(pool)
        first, second = await pool.borrow("one"), await pool.borrow("one")
        assert not pool.wanted(second, "one")
        pool.slow(first, "too fast")
        assert pool.wanted(second, "one")
        assert pool.in_trouble(second) is not talks_first


async def test_one_lane_keeps_a_distance_and_loses_it_by_successes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, _ = make_pool(lanes=1)
    await proven(pool)
    for _ in range(6):
        await use(pool, lambda berth: pool.slow(berth, "too fast"))
    begun = [await use(pool, pool.answered) for _ in range(200)]
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 1.0
    assert gaps[-1] == 0.0
    assert pool.standing().state == "ready"


async def test_messages_of_one_chain_keep_the_distance_too(autojump_clock: trio.testing.MockClock) -> None:
    pool, _ = make_pool(lanes=2)
    await proven(pool)
    for _ in range(10):
        await use(pool, lambda berth: pool.slow(berth, "too fast"))
    async with crew(pool, pool.ready) as here:
        await trio.sleep(200.0)
    assert {round(b - a) for a, b in pairwise(here.begun)} == {26}


async def test_what_was_begun_before_the_throttle_does_not_bring_speed_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, _ = make_pool(lanes=8)
    await proven(pool)
    first, second = await pool.borrow("one"), await pool.borrow("one")
    pool.slow(first, "too fast")
    for _ in range(100):
        pool.answered(second)
    assert pool.lanes_allowed == 4


async def test_a_lane_on_which_nothing_was_begun_does_not_use_up_the_distance(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, _ = make_pool(lanes=1)
    await proven(pool)
    for _ in range(10):
        await use(pool, lambda berth: pool.slow(berth, "too fast"))
    await use(pool, lambda berth: None)
    idle = trio.current_time()
    assert await use(pool, pool.answered) == idle


async def test_speed_comes_back_by_itself_and_is_told(autojump_clock: trio.testing.MockClock) -> None:
    pool, told = make_pool(lanes=16)
    await proven(pool)
    for _ in range(3):
        await use(pool, lambda berth: pool.slow(berth, "too fast"))
    assert pool.lanes_allowed == 2
    async with crew(pool, pool.answered) as here:
        await trio.sleep(5.0)
        assert (here.out, pool.lanes_allowed) == (16, 16)
    assert told.states == ["slowed", "ready"]
    assert told.changes[-1].reason == ""


async def test_six_hours_of_throttling_never_stop_and_speed_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, told = make_pool(lanes=8)
    began = trio.current_time()

    def news(berth: Berth) -> None:
        if trio.current_time() - began < 6 * HOUR:
            pool.slow(berth, "454 too busy")
        else:
            pool.answered(berth)

    async with crew(pool, news) as here:
        await trio.sleep(6 * HOUR)
        tried = len(here.begun)
        assert tried < 6 * HOUR / 25  # at most about one in half a minute, after the first minutes
        assert max(b - a for a, b in pairwise(here.begun)) < 35.0
        await trio.sleep(180.0)
        assert (here.out, pool.lanes_allowed) == (8, 8)
    assert "stopped" not in told.states
    assert told.states[-1] == "ready"


async def test_six_hours_of_trouble_and_everything_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    pool, told = make_pool(lanes=8)
    began = trio.current_time()

    def news(berth: Berth) -> None:
        if trio.current_time() - began < 6 * HOUR:
            pool.trouble(berth, "451 out of order")
        else:
            pool.answered(berth)

    async with crew(pool, news) as here:
        await trio.sleep(6 * HOUR)
        assert here.most_out == 1  # one probe at a time from the first to the last
        assert len(here.begun) < 6 * 60 + 10
        await trio.sleep(70.0)
        assert (here.out, pool.health) == (8, Health.READY)
    assert told.states[-1] == "ready"
    assert set(told.states) == {"resting", "half_open", "ready"}


async def test_a_throttled_probe_is_no_proof(autojump_clock: trio.testing.MockClock) -> None:
    pool, _ = make_pool()
    await use(pool, lambda berth: pool.trouble(berth, "down"))
    await use(pool, lambda berth: pool.slow(berth, "too busy"))
    assert (pool.health, pool.reason) == (Health.RESTING, "too busy")


async def test_an_unused_provider_is_not_slow_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    pool, told = make_pool(lanes=8)
    await proven(pool)
    await use(pool, lambda berth: pool.slow(berth, "too fast"))
    await trio.sleep(LanePool.FORGET / 2)
    await pool.tidy()
    assert pool.standing().state == "slowed"
    await trio.sleep(LanePool.FORGET)
    await pool.tidy()
    assert (pool.standing().state, told.states) == ("ready", ["slowed", "ready"])


async def test_who_waits_for_the_distance_is_never_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    """The first in line leaves, the lane changes hands: somebody always looks at the clock."""
    pool, _ = make_pool(lanes=1)
    await proven(pool)
    for _ in range(12):
        await use(pool, lambda berth: pool.slow(berth, "too fast"))
    served = []

    async def one(number: int, scope: trio.CancelScope) -> None:
        with scope:
            berth = await pool.borrow(number, urgent=number % 3 == 0)
            await trio.sleep(0.1)
            pool.give_back(berth)
            served.append(number)

    scopes = [trio.CancelScope() for _ in range(12)]
    with trio.fail_after(12 * 60.0):
        async with trio.open_nursery() as nursery:
            for number, scope in enumerate(scopes):
                nursery.start_soon(one, number, scope)
            await trio.sleep(1.0)
            for number in (0, 3, 1):
                scopes[number].cancel()
    assert set(served) >= set(range(12)) - {0, 1, 3}


async def test_who_came_while_the_lane_was_out_gets_it_when_the_distance_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """One message takes longer than the distance; the next does not, and its worker does not come back."""
    pool, _ = make_pool(lanes=1)
    await proven(pool)
    for _ in range(12):
        await use(pool, lambda berth: pool.slow(berth, "too fast"))
    served = []

    async def one(name: str, takes: float, scope: trio.CancelScope) -> None:
        with scope:
            berth = await pool.borrow(name)
            served.append((name, round(trio.current_time() - began)))
            pool.ready(berth)
            await trio.sleep(takes)
            pool.give_back(berth)

    async with trio.open_nursery() as nursery:
        slow = await pool.borrow("slow")
        pool.ready(slow)
        await trio.sleep(35.0)
        began = trio.current_time()
        leaves = trio.CancelScope()
        for name, scope in [("b", None), ("c", None), ("d", leaves), ("e", None)]:
            nursery.start_soon(one, name, 0.1, scope or trio.CancelScope())
            await trio.testing.wait_all_tasks_blocked()
        pool.give_back(slow)
        await trio.sleep(40.0)
        leaves.cancel()
        await trio.sleep(100.0)
        nursery.cancel_scope.cancel()
    assert served == [("b", 0), ("c", 30), ("e", 60)]


# --- what others are told ------------------------------------------------------------------


async def test_a_listener_that_fails_hurts_nobody(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(change: HealthChange) -> None:
        raise RuntimeError("no room")

    pool = LanePool(FakeTransport(), lambda: 0.5, tell=broken)
    await use(pool, lambda berth: pool.trouble(berth, "down"))
    assert pool.health is Health.RESTING
    assert "could not be told" in caplog.text


async def test_disabling_needs_no_breaker_and_reviving_begins_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, told = make_pool()
    pool.stop("switched off", Health.DISABLED)
    await trio.lowlevel.checkpoint()
    with pytest.raises(ProviderStopped, match="switched off"):
        await pool.borrow("one")
    pool.revive()
    await proven(pool)
    assert told.states == ["disabled", "ready"]


async def test_other_settings_give_full_speed_and_tell_the_workers_how_many_lanes_there_are(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pool, _ = make_pool(lanes=2)
    await proven(pool)
    await use(pool, lambda berth: pool.slow(berth, "too fast"))
    changed = pool.lanes_changed
    pool.revive(FakeTransport(lanes=2))
    assert not changed.is_set()
    pool.revive(FakeTransport(lanes=6))
    assert changed.is_set()
    assert not pool.lanes_changed.is_set()
    async with crew(pool, pool.answered, workers=8) as here:
        await trio.sleep(1.0)
        assert here.out == 6


# --- a provider as people see it ------------------------------------------------------------------


def make_spec(transport: FakeTransport, *, settings: object = None, delay: float = 0.0) -> ProviderSpec:
    async def opened() -> FakeTransport:
        await trio.sleep(delay)
        return transport

    return ProviderSpec(
        name="fake", kind="fake", channels=frozenset(Channel), lanes=transport.lanes,
        in_doubt=InDoubt.HOLD, open=opened, settings=settings,
    )  # fmt: skip


async def test_a_view_says_the_state_why_since_when_until_when_and_how_many_lanes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told = Told()
    provider = Provider(make_spec(FakeTransport(lanes=8)), lambda: 0.5, tell=told, now=wall)
    view = provider.view()
    assert (view.state, view.reason, view.since, view.until) == ("ready", "", wall(), None)
    assert (view.lanes, view.lanes_allowed) == (8, 8)
    pool = await provider.open()
    await proven(pool)
    await trio.sleep(100.0)
    await use(pool, lambda berth: pool.slow(berth, "too fast", 9.0))
    slowed = provider.view()
    assert (slowed.state, slowed.reason) == ("slowed", "too fast")
    assert (slowed.since, slowed.until) == (wall(), pytest.approx(wall() + 9.0))
    assert (slowed.lanes, slowed.lanes_allowed) == (8, 4)
    await trio.sleep(10.0)
    assert provider.view() == replace(slowed, until=None)
    await use(pool, lambda berth: pool.trouble(berth, "down"))
    assert (provider.view().state, provider.view().lanes_allowed) == ("resting", 0)
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
    assert (provider.view().state, provider.view().lanes_allowed) == ("stopped", 0)
    works = True
    await provider.open()
    assert [(c.after, c.reason) for c in told.changes] == [
        ("stopped", "the password file is missing"), ("ready", ""),
    ]  # fmt: skip


async def test_a_good_probe_ends_a_rest_at_once(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    provider = Provider(make_spec(FakeTransport()), lambda: 0.5, tell=told, now=wall)
    pool = await provider.open()
    await use(pool, lambda berth: pool.trouble(berth, "down", 600.0))
    at = trio.current_time()
    await provider.probe()
    assert await use(pool, pool.answered) == at
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
    old, new = FakeTransport(lanes=2), FakeTransport(lanes=5)
    slow_old, slow_new = FakeTransport(), FakeTransport()
    providers = Providers(
        {"a": replace(make_spec(slow_old), name="a"), "fake": make_spec(old, delay=opening_takes)},
        lambda: 0.5, now=wall,
    )  # fmt: skip
    await providers.get("a").open()
    pools: list[LanePool] = []

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
    assert providers.get("fake").view().lanes == 5


async def test_a_login_answer_is_what_a_probe_gives(autojump_clock: trio.testing.MockClock) -> None:
    provider = Provider(make_spec(FakeTransport()), lambda: 0.5)
    assert await provider.probe() == Answer(stage=Stage.DOT, code=250, text="ok")
