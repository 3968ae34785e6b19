"""The engine: whose message goes next, under which limits and when. On the mock clock, days pass at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import trio
import trio.testing

from hubd.core.lifecycle import CampaignEvent
from hubd.core.model import CampaignState, Channel, DeliveryState, InDoubt
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.provider import ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.supervisor import open_supervisor
from tests.fakes import ACCEPTED, FakeStore, FakeTransport
from tests.shell.engine_world import EMAIL, LOST, START, world


async def test_a_rate_is_kept_across_all_connections(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8)
    campaign = store.add_campaign("slow", 60, EMAIL, rate=("10/s",))
    async with world(store, transport) as here:
        await here.ended(campaign)
    for start in transport.times:
        assert sum(start <= t < start + 1 for t in transport.times) <= 11  # ten, and one at the edge
    assert max(transport.times) >= 4


async def test_a_capped_campaign_does_not_slow_another(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=4)
    capped = store.add_campaign("capped", 100, EMAIL, rate=("1/minute",))
    free = store.add_campaign("free", 400, EMAIL)
    async with world(store, transport) as here:
        free = await here.ended(free)
        assert trio.current_time() < 10
        assert capped.id in here.supervisor.running()
        await here.supervisor.stop("capped")
    assert free.state is CampaignState.COMPLETED


async def test_campaigns_on_one_provider_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=2)
    first = store.add_campaign("first", 2000, EMAIL)
    second = store.add_campaign("second", 2000, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(5)
        done = [store.states(c.id).get(DeliveryState.SENT, 0) for c in (first, second)]
        assert min(done) > 0.3 * sum(done)
        await here.supervisor.stop("first")
        await here.supervisor.stop("second")


async def test_a_single_message_goes_ahead_of_bulk(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=2, latency=0.1)
    store.add_campaign("bulk", 5000, EMAIL)
    express = store.add_campaign("~fake", 0, EMAIL, transactional_queue=True)
    async with world(store, transport) as here:
        await trio.sleep(5)
        number = store.add_row(express.id)
        runner = await here.supervisor.wake_transactional("fake", Channel.EMAIL)
        with trio.fail_after(0.35):  # at most the message on the wire, the one announced, and its own
            await runner.watch(number).wait()
        assert number in transport.accepted
        await here.supervisor.stop("bulk")


async def test_a_triggered_campaign_goes_ahead_of_bulk(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=2, latency=0.1)
    bulk = store.add_campaign("bulk", 5000, EMAIL)
    welcome = store.add_campaign("welcome", 100, EMAIL, trigger_list="new")
    async with world(store, transport) as here:
        await trio.sleep(6)  # a hundred take five seconds
        assert store.states(welcome.id).get(DeliveryState.SENT, 0) == 100
        assert store.states(bulk.id).get(DeliveryState.SENT, 0) <= 30, "before and after them"
        await here.supervisor.stop("bulk")


async def test_a_limit_sends_that_many_and_pauses(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8)
    campaign = store.add_campaign("canary", 100, EMAIL, limit=25)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
        assert (campaign.state, campaign.reason) == (CampaignState.PAUSED, "limit")
        assert len(transport.accepted) == 25
        await here.supervisor.resume("canary")
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert len(transport.accepted) == 100


async def test_a_schedule_keeps_its_limit(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign("canary", 50, EMAIL, state=CampaignState.DRAFT)
    async with world(store, transport) as here:
        await here.supervisor.schedule("canary", here.now() + 60, limit=5)
        await trio.sleep(120)
        campaign = await here.ended(campaign)
    assert (campaign.state, campaign.reason) == (CampaignState.PAUSED, "limit")
    assert len(transport.accepted) == 5


async def test_nothing_is_sent_outside_the_recipients_window(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign("window", 0, EMAIL, window="08:00-21:00")
    zones = ("America/New_York", "Europe/Berlin", "Asia/Tokyo")
    rows = {store.add_row(campaign.id, timezone=zone): zone for zone in zones for _ in range(50)}
    sent: dict[int, float] = {}

    async with world(store, transport) as here:
        transport.answer = lambda p: (sent.setdefault(p.delivery_id, here.now()), ACCEPTED)[1]
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert len(sent) == 150
    for number, at in sent.items():
        assert 8 <= datetime.fromtimestamp(at, ZoneInfo(rows[number])).hour < 21


async def test_a_single_message_goes_ahead_of_bulk_under_a_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=4)
    for name in ("one", "two", "three"):
        store.add_campaign(name, 500, EMAIL)
    express = store.add_campaign("~fake", 0, EMAIL, transactional_queue=True)
    async with world(store, transport, rate=("1/s",)) as here:
        await trio.sleep(10.5)
        for _ in range(5):
            number = store.add_row(express.id)
            run = await here.supervisor.wake_transactional("fake", Channel.EMAIL)
            booked = run.watch(number)
            with trio.fail_after(1.5):
                await booked.wait()
        for name in ("one", "two", "three"):
            await here.supervisor.stop(name)


async def test_a_schedule_that_falls_due_while_the_daemon_stops_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(latency=1000.0)
    store.add_campaign("slow", 5, EMAIL)
    later = store.add_campaign("later", 5, EMAIL, state=CampaignState.SCHEDULED, scheduled_at=START + 10.0)
    async with world(store, transport):
        await trio.sleep(1)  # leaving takes the grace of twenty seconds, and ten of them are enough
    assert (await store.by_id(later.id)).state is CampaignState.SCHEDULED


async def test_a_campaign_that_was_put_off_does_not_start_at_its_old_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign(
        "later", 5, EMAIL, state=CampaignState.SCHEDULED, scheduled_at=START + 100.0
    )
    async with world(store, transport) as here:
        changed, campaign = await here.supervisor.schedule("later", START + 5000.0)
        assert changed
        assert (await here.supervisor.start("later", event=CampaignEvent.DUE))[0] is False
        await trio.sleep(1000)
        assert transport.accepted == []
        await trio.sleep(5000)
        assert (await here.ended(campaign)).state is CampaignState.COMPLETED


async def test_a_canary_with_lost_answers_keeps_its_limit_over_a_restart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    transport = FakeTransport(answer=lambda p: LOST if p.delivery_id <= 3 else ACCEPTED, connections=1)
    campaign = store.add_campaign("canary", 50, EMAIL, limit=5)
    for _ in range(2):
        async with world(store, transport) as here:
            campaign = await here.ended(campaign)
        store.campaigns[campaign.id] = replace(campaign, state=CampaignState.RUNNING, limit=5)
    assert store.states(campaign.id)[DeliveryState.IN_DOUBT] == 3
    assert len(transport.accepted) == 2


async def test_a_rate_that_is_changed_while_a_run_begins_is_not_undone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign("slow", 5, EMAIL, rate=("1/hour",))

    async def opened() -> FakeTransport:
        await trio.sleep(3)
        return transport

    spec = ProviderSpec(
        name="fake",
        kind="fake",
        channels=transport.channels,
        connections=4,
        in_doubt=InDoubt.HOLD,
        open=opened,
    )
    async with open_supervisor(
        campaigns=store, ledger=store, health=store, plans=TemplateCache(store, b"key"), doubts=store,
        providers=Providers({"fake": spec}, lambda: 0.5), limits=LimiterRegistry(store, lambda: START),
        now=lambda: START, random=lambda: 0.5,
    ) as supervisor:  # fmt: skip
        await supervisor.recover()
        await trio.sleep(1)  # the run has read the campaign, and waits for its provider
        store.campaigns[campaign.id] = replace(store.campaigns[campaign.id], rate=())
        await supervisor.change_rate(campaign.id)
        with trio.fail_after(60):
            await supervisor.ended(campaign.id)
    assert len(transport.accepted) == 5


async def test_a_doubt_is_asked_about_while_others_wait_for_tomorrows_quota(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    campaign = store.add_campaign("slow", 6, EMAIL, rate=("2/day",), in_doubt=InDoubt.RECONCILE)
    transport = FakeTransport(
        connections=2, can_reconcile=True, answer=lambda p: LOST if p.delivery_id == 1 else ACCEPTED
    )
    async with world(store, transport) as here:
        await trio.sleep(300)
        assert store.states(campaign.id) == {DeliveryState.SENT: 2, DeliveryState.PENDING: 4}
        await here.supervisor.stop("slow")


async def test_a_sender_whose_quota_is_used_up_does_not_hold_up_the_one_off_messages_of_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    transactional_queue = store.add_campaign("~fake", 0, EMAIL, transactional_queue=True)
    store.contents |= {100: replace(EMAIL, sender="Full <full@acme.example>"), 101: EMAIL}
    *many, last = [store.add_row(transactional_queue.id) for _ in range(10)]
    for number in (*many, last):
        row = store.rows[number]
        row.due = msgspec.structs.replace(row.due, content_id=101 if number == last else 100)
    transport = FakeTransport(connections=2)
    async with world(store, transport, sender_rates={"full@acme.example": ("1/day",)}):
        await trio.sleep(60)
        assert sorted(transport.accepted) == [many[0], last]
        assert {store.rows[n].reason for n in many[1:]} == {"sender_rate"}
