"""A provider as people see it: its state, why, since when and until when."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from hubd.core.model import Answer, Stage
from hubd.engine.pool import WorkerPool
from hubd.engine.provider import Provider
from hubd.engine.providers import Providers
from hubd.errors import CredentialMissing, HubError
from tests.fakes import FakeTransport
from tests.shell.breaker_crew import Driver, Told, make_spec, wall


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


async def test_a_bad_probe_does_not_end_a_stop(autojump_clock: trio.testing.MockClock) -> None:
    """Nor does the wish to know: else a campaign with several providers would go through this one."""

    class Refusing(FakeTransport):
        async def probe(self) -> Answer:
            await trio.lowlevel.checkpoint()
            return Answer(stage=Stage.AUTH, code=535, enhanced="5.7.8", text="wrong password")

    told, transport = Told(), Refusing()
    provider = Provider(make_spec(transport), lambda: 0.5, tell=told, now=wall)
    (await provider.open()).breaker.stop("wrong password")
    for _ in range(2):
        assert (await provider.probe()).code == 535
        assert (provider.view().state, provider.view().reason) == ("stopped", "wrong password")
    assert told.states == ["stopped"]


async def test_a_probe_that_is_cut_short_closes_what_it_opened(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Silent(FakeTransport):
        async def probe(self) -> Answer:
            await trio.sleep_forever()
            raise AssertionError

    opened: list[FakeTransport] = []

    async def opens() -> FakeTransport:
        await trio.lowlevel.checkpoint()
        opened.append(Silent())
        return opened[-1]

    provider = Provider(replace(make_spec(FakeTransport()), open=opens), lambda: 0.5, now=wall)
    (await provider.open()).breaker.stop("wrong password")
    with trio.move_on_after(1):
        await provider.probe()
    assert [each.closed for each in opened] == [0, 1], "the one in use stays open"


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
