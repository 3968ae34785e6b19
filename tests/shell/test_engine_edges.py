"""Moments at which a message, a wake-up or a connection could get lost between two parts of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec
import trio
import trio.testing

from hubd.core.decide import retry
from hubd.core.ledger import Entry, Open, Rejection
from hubd.core.model import (
    Answer,
    Campaign,
    CampaignState,
    Channel,
    Content,
    DeliveryState,
    DueDelivery,
    InDoubt,
    RenderedMessage,
    Stage,
)
from hubd.core.reconcile import Finding, Found
from hubd.engine.supervisor import Supervisor
from hubd.errors import StoreUnavailable
from tests.fakes import ACCEPTED, FakeConnection, FakeStore, FakeTransport
from tests.shell.engine_world import EMAIL, LOST, world

NO_SUCH_USER = Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1", text="no such user")


async def test_a_doubt_that_is_released_makes_room_under_the_limit_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    transport = FakeTransport(connections=1)
    transport.answer = lambda p: LOST if p.delivery_id == 3 and store.rows[3].doubts == 0 else ACCEPTED
    campaign = store.add_campaign("canary", 20, EMAIL, in_doubt=InDoubt.RETRY, limit=3)
    async with world(store, transport) as here:
        with trio.move_on_after(5):
            await here.ended(campaign)
        campaign = await store.by_id(campaign.id)
        assert (campaign.state, campaign.reason) == (CampaignState.PAUSED, "limit")
    assert len(transport.accepted) == 3


async def test_a_transactional_message_does_not_wait_for_the_limit_of_another_sender(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=2)
    queue = store.add_campaign("~fake", 0, EMAIL, transactional_queue=True)
    other = replace(EMAIL, sender="other@acme.example")
    store.contents[2] = other
    async with world(store, transport, sender_rates={"news@acme.example": ("1/4s",)}) as here:
        for _ in range(2):
            store.add_row(queue.id)
        await here.supervisor.wake_transactional("fake", Channel.EMAIL)
        await trio.sleep(0.5)
        assert len(transport.accepted) == 1
        number = store.add_row(queue.id)
        store.rows[number].due = msgspec.structs.replace(store.rows[number].due, content_id=2)
        await here.supervisor.wake_transactional("fake", Channel.EMAIL)
        await trio.sleep(0.5)
        assert transport.accepted == [1, number]


async def test_of_two_senders_at_their_limits_the_one_goes_whose_limit_opens_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=2)
    queue = store.add_campaign("~fake", 0, EMAIL, transactional_queue=True)
    store.contents[2] = replace(EMAIL, sender="other@acme.example")
    rates = {"news@acme.example": ("1/4s",), "other@acme.example": ("1/s",)}
    async with world(store, transport, sender_rates=rates) as here:
        numbers = [store.add_row(queue.id) for _ in range(6)]
        for number in numbers[1::2]:
            store.rows[number].due = msgspec.structs.replace(store.rows[number].due, content_id=2)
        await here.supervisor.wake_transactional("fake", Channel.EMAIL)
        await trio.sleep(2.5)
        assert sorted(transport.accepted) == sorted([numbers[0], *numbers[1::2]])
        await trio.sleep(2)
        assert transport.accepted[4:] == [numbers[2]]


async def test_pause_does_not_wait_for_another_campaigns_message_on_the_same_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=1, latency=0.1)
    campaigns = [store.add_campaign(name, 100, EMAIL) for name in ("a", "b")]
    async with world(store, transport) as here:
        await trio.sleep(1.05)
        transport.latency = 1000
        await trio.sleep(1)
        (stuck,) = [row.campaign_id for row in store.rows.values() if row.open]
        (other,) = [campaign for campaign in campaigns if campaign.id != stuck]
        began, states = trio.current_time(), store.states(other.id)
        _, paused = await here.supervisor.pause(other.name)
        assert trio.current_time() - began <= Supervisor.GRACE
        assert paused.state is CampaignState.PAUSED
        await trio.sleep(1500)
        assert store.states(other.id) == states
        here.supervisor.hurry()


async def test_the_grace_of_a_paused_campaign_is_not_that_of_the_next_message_on_its_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=1, latency=10.0)
    campaigns = [store.add_campaign(name, 100, EMAIL) for name in ("a", "b")]
    async with world(store, transport) as here:
        await trio.sleep(45)  # they take turns
        (sending,) = [row.campaign_id for row in store.rows.values() if row.open]
        first, other = sorted(campaigns, key=lambda campaign: campaign.id != sending)
        transport.latency = 10 * Supervisor.GRACE
        _, paused = await here.supervisor.pause(first.name)
        assert paused.counts.in_doubt == 0
        await trio.sleep(5 * Supervisor.GRACE)
        assert store.states(other.id)[DeliveryState.SENDING] == 1
        await trio.sleep(10 * Supervisor.GRACE)
        assert DeliveryState.IN_DOUBT not in store.states(other.id)
        here.supervisor.hurry()


async def test_an_outcome_that_waits_for_the_disk_is_given_up_by_each_campaign_for_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=1, latency=1.0)
    first = store.add_campaign("first", 4, EMAIL)
    second = store.add_campaign("second", 4, EMAIL)

    def refuse(rendered: RenderedMessage) -> Answer | None:
        if store.rows[rendered.delivery_id].campaign_id != second.id or not transport.accepted:
            return None
        store.fail_writes("the disk is full")
        return NO_SUCH_USER

    transport.refuse = refuse
    async with world(store, transport) as here:
        await trio.sleep(4)
        assert store.trouble
        here.supervisor.hurry()
        with trio.fail_after(30):
            for campaign in (first, second):
                await here.supervisor.ended(campaign.id)
        store.heal()


async def test_the_outcome_of_one_campaign_does_not_wait_for_the_grace_of_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=1, latency=1.0)
    first = store.add_campaign("first", 4, EMAIL)
    second = store.add_campaign("second", 4, EMAIL)

    def refuse(rendered: RenderedMessage) -> Answer | None:
        if store.rows[rendered.delivery_id].campaign_id != second.id or not transport.accepted:
            return None
        store.fail_writes("the disk is full")
        return NO_SUCH_USER

    transport.refuse = refuse
    async with world(store, transport) as here:
        await trio.sleep(4)
        run = here.supervisor._runs[second.id]
        run.leave(5.0)
        with trio.fail_after(10):
            await run.ended()
        store.heal()
        await here.ended(first)
        assert store.states(first.id) == {DeliveryState.SENT: 4}


async def test_the_removal_of_a_provider_pauses_its_campaigns_also_while_the_disk_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=1)
    campaign = store.add_campaign("spring", 1000, EMAIL)
    async with world(store, transport, rate=("1/50s",)) as here:
        await trio.sleep(1)
        store.fail_writes("the disk is full")
        await trio.sleep(1)
        await here.supervisor.providers.reconfigure({})
        await trio.sleep(100)
        store.heal()
        await trio.sleep(60)
        campaign = await store.by_id(campaign.id)
        assert campaign.state is CampaignState.PAUSED


async def test_a_connection_that_cannot_be_closed_ends_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @dataclass(slots=True, eq=False)
    class Connection(FakeConnection):
        async def aclose(self) -> None:
            raise OSError("a bug")

    class Transport(FakeTransport):
        def connection(self) -> FakeConnection:
            return Connection(self)

    store, transport = FakeStore(), Transport(connections=1)
    first = store.add_campaign("first", 1, EMAIL)
    async with world(store, transport) as here:
        await here.ended(first)
        await trio.sleep(100)
        second = store.add_campaign("second", 1, EMAIL)
        await here.supervisor.recover()
        second = await here.ended(second)
    assert second.state is CampaignState.COMPLETED


async def test_a_transport_that_gives_no_connection_fails_the_campaign_and_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Transport(FakeTransport):
        broken = True

        def connection(self) -> FakeConnection:
            if self.broken:
                raise OSError("a bug")
            return FakeConnection(self)

    store, transport = FakeStore(), Transport(connections=1)
    campaign = store.add_campaign("first", 1, EMAIL)
    async with world(store, transport) as here:
        with trio.fail_after(10):
            campaign = await here.ended(campaign)
        assert campaign.state is CampaignState.FAILED
        transport.broken = False
        second = store.add_campaign("second", 1, EMAIL)
        await here.supervisor.recover()
        with trio.fail_after(10):
            second = await here.ended(second)
        assert second.state is CampaignState.COMPLETED


def with_doubts(store: FakeStore, name: str, number: int, **columns: object) -> int:
    """A campaign all of whose recipients are in doubt; its id."""
    campaign = store.add_campaign(name, number, EMAIL, in_doubt=InDoubt.RECONCILE, **columns)
    for n, row in store.rows.items():
        if row.campaign_id == campaign.id:
            row.state = DeliveryState.IN_DOUBT
            row.due = msgspec.structs.replace(row.due, attempts=1)
            store.entries.append(
                Open(delivery_id=n, provider="fake", message_id="", content_hash="", at=0.0, steady=0.0)
            )
    return campaign.id


class Slow(FakeTransport):
    """Takes a second for each question."""

    async def reconcile(self, rendered: RenderedMessage, opened_at: float) -> Finding:
        await trio.sleep(1.0)
        return Finding(kind=Found.FOUND, provider_id=f"sid{rendered.delivery_id}")


async def test_questions_to_the_provider_leave_room_for_messages(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), Slow(connections=1, can_reconcile=True)
    asking = with_doubts(store, "asking", 500)
    sending = store.add_campaign("sending", 10_000, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(200)
        assert store.states(asking).get(DeliveryState.SENT, 0) >= 50
        assert store.states(sending.id).get(DeliveryState.SENT, 0) >= 50
        here.supervisor.hurry()


async def test_a_new_transactional_message_does_not_wait_until_all_doubts_are_asked_about(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), Slow(connections=4, can_reconcile=True)
    queue = with_doubts(store, "~fake", 300, transactional_queue=True)
    async with world(store, transport) as here:
        await here.supervisor.wake_transactional("fake", Channel.EMAIL)
        await trio.sleep(10)
        number = store.add_row(queue)
        await here.supervisor.wake_transactional("fake", Channel.EMAIL)
        await trio.sleep(5)
        assert store.rows[number].state is DeliveryState.SENT
        here.supervisor.hurry()


async def test_a_paused_campaign_reserves_no_slot(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=2)
    long = Content(channel=Channel.SMS, sender="+1555", text="x" * 400)
    short = replace(long, text="x")
    first = store.add_campaign("first", 9, short)
    async with world(store, transport, rate=("10/day",)) as here:
        await here.ended(first)
        store.add_campaign("long", 5, long)
        await here.supervisor.recover()
        await trio.sleep(1)
        second = store.add_campaign("short", 1, short)
        await here.supervisor.recover()
        await trio.sleep(1)
        assert len(transport.accepted) == 9
        await here.supervisor.pause("long")
        await trio.sleep(1)
        assert (await store.by_id(second.id)).state is CampaignState.COMPLETED
        here.supervisor.hurry()


async def test_a_replaced_transport_is_not_closed_under_a_question(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Asked(FakeTransport):
        async def reconcile(self, rendered: RenderedMessage, opened_at: float) -> Finding:
            await trio.sleep(50)
            assert not self.closed
            return Finding(kind=Found.FOUND, provider_id="sid")

    store, transport = FakeStore(), Asked(connections=2, can_reconcile=True)
    asking = with_doubts(store, "asking", 1)
    async with world(store, transport) as here:
        await trio.sleep(1)
        pool = await here.supervisor.providers.get("fake").open()
        pool.revive(FakeTransport(connections=2, can_reconcile=True))
        with trio.fail_after(200):
            await here.supervisor.ended(asking)
        assert store.states(asking) == {DeliveryState.SENT: 1}
        await trio.sleep(30)
        assert transport.closed == 1
    assert (await store.by_id(asking)).state is CampaignState.COMPLETED


async def test_what_cannot_be_sent_is_recorded_also_when_it_is_noted_during_a_write(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Store(FakeStore):
        async def record(self, entries: Sequence[Entry]) -> list[Rejection | None]:
            await trio.sleep(0.1)
            return await FakeStore.record(self, entries)

    store, transport = Store(), FakeTransport(connections=4)
    campaign = store.add_campaign("names", 0, replace(EMAIL, text="Dear {{ name }}"))
    for number in range(120):
        store.add_row(campaign.id, **({} if number % 2 else {"name": "Ann"}))
    async with world(store, transport) as here:
        with trio.move_on_after(600):
            await here.ended(campaign)
        assert store.states(campaign.id) == {DeliveryState.SENT: 60, DeliveryState.FAILED: 60}
        here.supervisor.hurry()


async def test_what_is_cancelled_while_a_page_is_read_does_not_wait_for_its_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Store(FakeStore):
        async def due(
            self, campaign_id: int, now: float, limit: int, exclude_after: int
        ) -> list[DueDelivery]:
            page = await super().due(campaign_id, now, limit, exclude_after)
            if len(page) == 3:
                for number in (2, 3):
                    self.rows[number].state = DeliveryState.SKIPPED
                self.recount(campaign_id)
                here.supervisor.read_again()
            return page

    store = Store()
    campaign = store.add_campaign("spring", 3, EMAIL, rate=("1/day",))
    async with world(store, FakeTransport()) as here:
        began = trio.current_time()
        await here.ended(campaign)
        assert trio.current_time() - began < 3600
    assert store.states(campaign.id) == {DeliveryState.SENT: 1, DeliveryState.SKIPPED: 2}


async def test_who_is_first_stays_first_when_the_queue_is_read_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(connections=1)
    campaign = store.add_campaign("spring", 600, EMAIL, rate=("10/s",))
    async with world(store, transport) as here:
        await trio.sleep(10)
        here.supervisor.read_again()
        await here.ended(campaign)
    assert transport.accepted == list(range(1, 601))


async def test_a_dispatcher_that_has_lost_the_database_and_its_room_does_not_spin(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Store(FakeStore):
        looks = 0
        lost = False

        @property
        def low_disk_space(self) -> bool:
            return self.lost

        async def wait_healthy(self) -> None:
            self.looks += 1
            if self.looks > 1000:
                raise AssertionError("it spins")
            if self.lost:
                raise StoreUnavailable("lost")

    store, transport = Store(), FakeTransport(connections=4, latency=10.0)
    campaign = store.add_campaign("spring", 1, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(5)
        store.lost, store.trouble = True, "lost"
        await here.supervisor.change_rate(campaign.id)  # which wakes the dispatcher
        await trio.sleep(20)
        assert store.looks < 100


async def test_a_removed_provider_that_cannot_be_closed_ends_nothing_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Transport(FakeTransport):
        async def aclose(self) -> None:
            self.closed += 1
            if self.closed == 1:
                raise OSError("a bug")

    store, transport = FakeStore(), Transport(connections=1)
    campaign = store.add_campaign("spring", 1, EMAIL)
    async with world(store, transport) as here:
        await here.ended(campaign)
        await here.supervisor.providers.reconfigure({})
        await trio.sleep(100)
        assert transport.closed == 1


@dataclass
class EndsSlowly(FakeStore):
    """The first run that has written its end hears of it late."""

    written: trio.Event = field(default_factory=trio.Event)
    heard: trio.Event = field(default_factory=trio.Event)

    async def move(self, campaign_id: int, *args: Any, **kwargs: Any) -> Campaign:
        campaign = await super().move(campaign_id, *args, **kwargs)
        if campaign.state is not CampaignState.RUNNING and not self.written.is_set():
            self.written.set()
            await self.heard.wait()
        return campaign


async def test_what_is_queued_again_when_a_run_has_just_written_its_end_is_sent_by_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = EndsSlowly(), FakeTransport(connections=2, latency=5.0)
    campaign = store.add_campaign("spring", 3, EMAIL)

    async def commit() -> bool:
        store.add_row(campaign.id)
        return (await store.carry_out(campaign.id, partial(retry, queued=True))).plan.changed

    async with world(store, transport) as here:
        await store.written.wait()
        await here.supervisor.requeue("spring", commit, queues=True)
        store.heard.set()
        await trio.sleep(1)
        assert here.supervisor.running() == [campaign.id]
        with trio.fail_after(100):
            ended = await here.ended(campaign)
        assert (ended.state, here.supervisor.running()) == (CampaignState.COMPLETED, [])
    assert sorted(transport.accepted) == [1, 2, 3, 4]


async def test_a_start_when_a_run_has_just_written_its_end_begins_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = EndsSlowly(), FakeTransport(connections=2, latency=5.0)
    campaign = store.add_campaign("canary", 5, EMAIL, limit=2)
    async with world(store, transport) as here:
        await store.written.wait()
        changed, _ = await here.supervisor.start("canary")
        assert changed
        store.heard.set()
        await trio.sleep(1)
        assert here.supervisor.running() == [campaign.id]
        with trio.fail_after(100):
            ended = await here.ended(campaign)
        assert (ended.state, here.supervisor.running()) == (CampaignState.COMPLETED, [])
    assert sorted(transport.accepted) == [1, 2, 3, 4, 5]
