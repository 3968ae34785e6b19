"""Campaigns that share a provider: shares, priority, and what one of them cannot do to the others."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
import trio
import trio.testing

from hubd.core.model import CampaignState, Channel, DeliveryState, RenderedMessage
from tests.fakes import ACCEPTED, FakeStore, FakeTransport
from tests.shell.engine_world import EMAIL, world

pytestmark = pytest.mark.slow

SECONDS = 20


def by_second(store: FakeStore, transport: FakeTransport, began: float) -> list[Counter[int]]:
    """How many messages each campaign had accepted in each second."""
    seconds: list[Counter[int]] = [Counter() for _ in range(SECONDS)]
    for number, at in zip(transport.accepted, transport.times, strict=True):
        if at - began < SECONDS:
            seconds[int(at - began)][store.rows[number].campaign_id] += 1
    return seconds


async def test_fifty_campaigns_on_one_provider_have_even_shares_in_every_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=16, latency=0.02)
    campaigns = [store.add_campaign(f"c{n}", 1000, EMAIL) for n in range(50)]
    async with world(store, transport) as here:
        began = trio.current_time()
        await trio.sleep(SECONDS)
        seconds = by_second(store, transport, began)
        here.supervisor.hurry()
    for second in seconds[1:]:
        shares = [second[campaign.id] for campaign in campaigns]
        even = sum(shares) / len(shares)
        assert even >= 15, "sixteen connections send one message each in 20 ms"
        assert max(abs(share - even) for share in shares) <= max(1.0, 0.1 * even)


async def test_under_the_providers_rate_they_have_even_shares_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8, latency=0.02)
    campaigns = [store.add_campaign(f"c{n}", 1000, EMAIL) for n in range(10)]
    async with world(store, transport, rate=("50/s",)) as here:
        began = trio.current_time()
        await trio.sleep(SECONDS)
        seconds = by_second(store, transport, began)
        here.supervisor.hurry()
    for second in seconds[1:]:
        assert sum(second.values()) == pytest.approx(50, abs=1)
        assert {second[campaign.id] for campaign in campaigns} <= {4, 5, 6}


async def test_a_capped_and_a_crashing_campaign_slow_nobody(autojump_clock: trio.testing.MockClock) -> None:
    store = FakeStore()
    capped = store.add_campaign("capped", 5000, EMAIL, rate=("5/s",))
    crashing = store.add_campaign("crashing", 5000, EMAIL)
    free = store.add_campaign("free", 50_000, EMAIL)

    def answer(rendered: RenderedMessage) -> object:
        if store.rows[rendered.delivery_id].campaign_id == crashing.id and len(transport.accepted) > 300:
            raise ZeroDivisionError("a bug")
        return ACCEPTED

    transport = FakeTransport(connections=8, latency=0.02, answer=answer)  # type: ignore[arg-type] # reason: raises
    async with world(store, transport) as here:
        began = trio.current_time()
        await trio.sleep(SECONDS)
        seconds = by_second(store, transport, began)
        assert (await store.by_id(crashing.id)).state is CampaignState.FAILED
        here.supervisor.hurry()
    for second in seconds[2:]:
        assert sum(second.values()) >= 390, "eight connections send one message each in 20 ms"
        assert second[capped.id] == pytest.approx(5, abs=1)
        assert second[free.id] >= 380


async def test_a_campaign_whose_recipients_all_wait_for_a_domain_slows_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=4, latency=0.02)
    store.add_campaign("waits", 50, EMAIL)
    for row in store.rows.values():
        row.due = msgspec.structs.replace(row.due, next_at=1e12)
    free = store.add_campaign("free", 10_000, EMAIL)
    async with world(store, transport) as here:
        began = trio.current_time()
        await trio.sleep(SECONDS)
        assert all(each[free.id] >= 195 for each in by_second(store, transport, began)[1:])
        here.supervisor.hurry()


async def test_a_transactional_message_goes_before_bulk_that_has_every_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=2, latency=1.0)
    for n in range(5):
        store.add_campaign(f"bulk{n}", 1000, EMAIL)
    queue = store.add_campaign("~fake", 0, EMAIL, transactional_queue=True)
    async with world(store, transport) as here:
        await trio.sleep(10.2)
        asked, before = trio.current_time(), len(transport.accepted)
        number = store.add_row(queue.id, email="ann@example.com")
        await here.supervisor.wake_transactional("fake", Channel.EMAIL)
        while store.rows[number].state is not DeliveryState.SENT:  # noqa: ASYNC110 # it has no event
            await trio.sleep(0.1)
        # What was announced behind a body goes first: one message for each connection.
        assert trio.current_time() - asked <= 3.1
        at_the_same_time = 1  # the other connection's third message
        assert transport.accepted.index(number) - before <= 4 + at_the_same_time
        here.supervisor.hurry()
