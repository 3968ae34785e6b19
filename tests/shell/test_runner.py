"""The engine against a store in memory and a scripted provider. On the mock clock, days pass at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from hubd.core.ledger import Entry, Open, Rejection
from hubd.core.model import (
    Answer,
    Campaign,
    CampaignState,
    Channel,
    Content,
    DeliveryState,
    InDoubt,
    RenderedMessage,
    Signal,
    Stage,
)
from hubd.engine.supervisor import Supervisor
from hubd.errors import Conflict, StoreUnavailable
from tests.fakes import ACCEPTED, FakeStore, FakeTransport
from tests.shell.engine_world import EMAIL, LOST, REFUSED_FOR_NOW, START, scripted, world


async def test_every_recipient_gets_one_message(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8)
    campaign = store.add_campaign("all", 500, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 500}
    assert sorted(transport.accepted) == list(range(1, 501))
    assert transport.most_busy == 8


async def test_what_is_refused_here_is_no_sign_that_a_server_works(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After trouble one connection tries it, however many messages before cannot be shown to any server."""
    own = Answer(stage=Stage.RCPT, code=553, enhanced="5.1.3", text="no plain address", own=True)
    down = Answer(stage=Stage.CONNECT, signal=Signal.DROPPED, text="connection refused")
    tried: list[float] = []

    def refuse(rendered: RenderedMessage) -> Answer | None:
        if rendered.delivery_id % 2:
            return own
        tried.append(trio.current_time())
        return down

    store, transport = FakeStore(), FakeTransport(connections=8, refuse=refuse)
    campaign = store.add_campaign("all", 100, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(0.1)  # it rests for 0.9 seconds at least
        assert here.supervisor.providers.get("fake").view().state == "resting"
    assert store.states(campaign.id)[DeliveryState.FAILED] >= 1
    assert len(tried) == 1


async def test_an_attempt_is_open_in_the_ledger_before_each_delivery(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()

    def must_be_open(rendered: RenderedMessage) -> Answer:
        assert store.rows[rendered.delivery_id].open
        return ACCEPTED

    campaign = store.add_campaign("ledger", 50, EMAIL)
    async with world(store, FakeTransport(answer=must_be_open)) as here:
        await here.ended(campaign)
    assert store.states(campaign.id) == {DeliveryState.SENT: 50}
    assert sum(isinstance(entry, Open) for entry in store.entries) == 50


async def test_nothing_leaves_after_pause_has_answered(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(latency=0.5)
    campaign = store.add_campaign("pause", 1000, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(3.2)
        changed, paused = await here.supervisor.pause("pause")
        assert changed
        assert paused.state is CampaignState.PAUSED
        accepted = len(transport.accepted)
        assert store.states(campaign.id)[DeliveryState.SENT] == accepted
        assert DeliveryState.SENDING not in store.states(campaign.id)
        await trio.sleep(1000)
        assert len(transport.accepted) == accepted
        assert (await here.supervisor.pause("pause"))[0] is False
        await here.supervisor.resume("pause")
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert sorted(transport.accepted) == list(range(1, 1001))


async def test_a_message_stuck_on_the_wire_holds_a_stop_up_only_for_the_grace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(latency=10_000, connections=3)
    campaign = store.add_campaign("stuck", 10, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(1)
        began = trio.current_time()
        _, stopped = await here.supervisor.stop("stuck")
        assert trio.current_time() - began == pytest.approx(Supervisor.GRACE)
        assert stopped.state is CampaignState.STOPPED
    assert store.states(campaign.id) == {DeliveryState.IN_DOUBT: 3, DeliveryState.PENDING: 7}


async def test_refused_for_now_is_tried_again_later_and_then_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    later = scripted(REFUSED_FOR_NOW, REFUSED_FOR_NOW, ACCEPTED)
    transport = FakeTransport(
        answer=lambda p: later(p) if p.delivery_id % 4 == 0 else ACCEPTED, connections=1
    )
    campaign = store.add_campaign("later", 16, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
        assert trio.current_time() >= 600
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 16}
    assert [row.due.attempts for row in store.rows.values()] == [1, 1, 1, 3] * 4


async def test_the_retries_end(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(answer=scripted(REFUSED_FOR_NOW))
    campaign = store.add_campaign("never", 3, EMAIL, give_up_after=7200.0)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
        assert trio.current_time() < 7200
    assert store.states(campaign.id) == {DeliveryState.FAILED: 3}


async def test_refused_for_good_fails_that_recipient_only(autojump_clock: trio.testing.MockClock) -> None:
    store = FakeStore()
    unknown = Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1", text="no such user")
    transport = FakeTransport(refuse=lambda p: unknown if p.delivery_id % 10 == 0 else None)
    campaign = store.add_campaign("some", 100, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert store.states(campaign.id) == {DeliveryState.SENT: 90, DeliveryState.FAILED: 10}
    assert set(store.suppressed) == {f"r{n}@example.com" for n in range(10, 101, 10)}


async def test_a_lost_answer_is_in_doubt_and_held(autojump_clock: trio.testing.MockClock) -> None:
    store = FakeStore()
    transport = FakeTransport(answer=lambda p: LOST if p.delivery_id == 7 else ACCEPTED)
    campaign = store.add_campaign("doubt", 20, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 19, DeliveryState.IN_DOUBT: 1}
    assert store.rows[7].due.attempts == 1


async def test_under_the_retry_policy_a_lost_answer_is_tried_again_with_the_same_message_id(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    seen: list[str] = []

    def answer(rendered: RenderedMessage) -> Answer:
        if rendered.delivery_id == 7:
            seen.append(rendered.message_id)
            return LOST if len(seen) == 1 else ACCEPTED
        return ACCEPTED

    campaign = store.add_campaign("doubt", 20, EMAIL, in_doubt=InDoubt.RETRY)
    async with world(store, FakeTransport(answer=answer)) as here:
        campaign = await here.ended(campaign)
    assert store.states(campaign.id) == {DeliveryState.SENT: 20}
    assert len(seen) == 2
    assert seen[0] == seen[1] != ""


async def test_an_outage_that_loses_every_answer_does_not_put_everybody_in_doubt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    broken = Answer(stage=Stage.REQUEST, code=500, text="internal server error")
    transport = FakeTransport(answer=lambda p: broken if trio.current_time() < 600 else ACCEPTED)
    campaign = store.add_campaign("outage", 500, Content(channel=Channel.SMS, text="Hi"))
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    states = store.states(campaign.id)
    assert campaign.state is CampaignState.COMPLETED
    assert states[DeliveryState.IN_DOUBT] + states[DeliveryState.SENT] == 500
    assert states[DeliveryState.IN_DOUBT] < 40


async def test_a_crash_is_contained_recorded_and_hurts_nobody_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()

    def bug(rendered: RenderedMessage) -> Answer:
        if rendered.campaign == "broken" and rendered.delivery_id == 5:
            raise ZeroDivisionError
        return ACCEPTED

    broken = store.add_campaign("broken", 10, EMAIL)
    fine = store.add_campaign("fine", 200, EMAIL)
    async with world(store, FakeTransport(answer=bug)) as here:
        broken, fine = await here.ended(broken), await here.ended(fine)
        assert here.supervisor.running() == []
    assert broken.state is CampaignState.FAILED
    assert "incident" in broken.reason
    assert DeliveryState.SENDING not in store.states(broken.id)
    assert fine.state is CampaignState.COMPLETED
    assert store.states(fine.id) == {DeliveryState.SENT: 200}


async def test_a_failed_writer_stops_all_sending_and_it_goes_on_by_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign("disk", 400, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(0.2)
        store.fail_writes("the disk is full")
        await trio.sleep(1)
        accepted = len(transport.accepted)
        await trio.sleep(1000)
        assert len(transport.accepted) == accepted
        store.heal()
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert sorted(transport.accepted) == list(range(1, 401))


async def test_a_recipient_who_lacks_a_field_fails_alone_with_the_field_named(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    campaign = store.add_campaign("fields", 5, replace(EMAIL, text="Hi {{ first_name }}"))
    lucky = store.add_row(campaign.id, first_name="Ada")
    async with world(store, FakeTransport()) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.FAILED: 5, DeliveryState.SENT: 1}
    assert store.rows[lucky].state is DeliveryState.SENT
    assert store.rows[1].reason == "missing_field"


async def test_a_suppression_between_freeze_and_send_is_obeyed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    store.suppressed["r3@example.com"] = "opted_out"
    campaign = store.add_campaign("suppressed", 10, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert store.rows[3].state is DeliveryState.SKIPPED
    assert 3 not in transport.accepted
    assert campaign.state is CampaignState.COMPLETED


async def test_stopping_the_daemon_leaves_a_campaign_running_for_the_next_boot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(latency=0.1)
    campaign = store.add_campaign("reboot", 300, EMAIL)
    async with world(store, transport):
        await trio.sleep(1)
    assert (await store.by_id(campaign.id)).state is CampaignState.RUNNING
    assert DeliveryState.SENDING not in store.states(campaign.id)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert sorted(transport.accepted) == list(range(1, 301))


async def test_an_open_attempt_is_tried_although_the_next_message_cannot_be_fetched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Once its attempt is open nothing but the wire stands before a message: not a disk that fails."""

    class FailsAfterAnOpen(FakeStore):
        async def record(self, entries: Sequence[Entry]) -> list[Rejection | None]:
            refusals = await super().record(entries)
            if any(isinstance(entry, Open) for entry in entries):
                self.fail_writes("the disk is full")
            return refusals

    store, transport = FailsAfterAnOpen(), FakeTransport(connections=1)
    campaign = store.add_campaign("fetch", 5, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(30)
        assert len(transport.accepted) == 1, "the disk fails, and the open one was sent all the same"
        here.supervisor.hurry()
        store.heal()
        await here.supervisor.ended(campaign.id)
        assert store.states(campaign.id) == {DeliveryState.PENDING: 4, DeliveryState.SENT: 1}


async def test_an_attempt_that_was_opened_too_late_is_withdrawn_and_not_in_doubt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The time for what is on the wire ends while an attempt is being opened: not a byte of it has left."""
    opening = trio.Event()

    class Slow(FakeStore):
        async def record(self, entries: Sequence[Entry]) -> list[Rejection | None]:
            refusals = await super().record(entries)
            if any(isinstance(entry, Open) for entry in entries):
                opening.set()
                await trio.sleep(5)
            return refusals

    store, transport = Slow(), FakeTransport(connections=4)
    campaign = store.add_campaign("late", 50, EMAIL)
    async with world(store, transport) as here:
        await opening.wait()
        here.supervisor.hurry()
        await here.supervisor.ended(campaign.id)
        assert store.states(campaign.id) == {DeliveryState.PENDING: 50}
        assert transport.accepted == []
        assert not any(row.open for row in store.rows.values())


async def test_pause_answers_while_the_database_is_in_trouble_and_nothing_leaves_after_it_heals(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign("trouble", 400, EMAIL)
    async with world(store, transport) as here:
        store.fail_writes("the disk is full")
        await trio.sleep(30)
        with trio.fail_after(60), pytest.raises(StoreUnavailable):
            await here.supervisor.pause("trouble")
        accepted = len(transport.accepted)
        store.heal()
        assert (await here.supervisor.pause("trouble"))[1].state is CampaignState.PAUSED
        await trio.sleep(1000)
        assert len(transport.accepted) == accepted
        await here.supervisor.resume("trouble")
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert sorted(transport.accepted) == list(range(1, 401))


async def test_the_daemon_can_stop_while_the_database_is_in_trouble(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    store.add_campaign("trouble", 400, EMAIL)
    store.fail_writes("the disk is full")
    with trio.fail_after(120):
        async with world(store, transport):
            await trio.sleep(30)


async def test_a_scheduled_campaign_that_is_due_while_the_disk_is_full_starts_when_it_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign(
        "later", 20, EMAIL, state=CampaignState.SCHEDULED, scheduled_at=START + 100.0
    )
    async with world(store, transport) as here:
        await trio.sleep(50)
        store.fail_writes("the disk is full")
        await trio.sleep(500)
        assert transport.accepted == []
        store.heal()
        await trio.sleep(120)
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED


class LastMoment(FakeStore):
    """Somebody queues a row again just before a campaign is written down as completed."""

    async def move(self, campaign_id: int, *args: Any, **kwargs: Any) -> Campaign:
        if kwargs["event"] == "complete" and len(self.rows) == 5:
            self.add_row(campaign_id)
        return await FakeStore.move(self, campaign_id, *args, **kwargs)


async def test_a_retry_in_the_moment_of_completion_is_not_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = LastMoment(), FakeTransport()
    campaign = store.add_campaign("late", 5, EMAIL)
    async with world(store, transport) as here:
        ended = await here.ended(campaign)
    assert ended.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 6}


async def test_a_known_answer_is_booked_before_a_slow_envelope(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    transport = FakeTransport(connections=1, slow_envelopes=True)

    def everything_before_is_booked(rendered: RenderedMessage) -> None:
        assert all(store.rows[n].state is DeliveryState.SENT for n in transport.accepted)

    transport.refuse = everything_before_is_booked
    campaign = store.add_campaign("slow", 30, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert len(transport.accepted) == 30


async def test_commands_about_the_campaign_of_one_off_messages_are_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    store.add_campaign("~fake", 0, EMAIL, transactional_queue=True)
    async with world(store, FakeTransport()) as here:
        for command in (here.supervisor.pause, here.supervisor.stop, here.supervisor.start):
            with pytest.raises(Conflict):
                await command("~fake")


async def test_one_off_messages_survive_a_bug(autojump_clock: trio.testing.MockClock) -> None:
    store = FakeStore()
    bugs = [ZeroDivisionError()]

    def once_a_bug(rendered: RenderedMessage) -> Answer:
        if bugs:
            raise bugs.pop()
        return ACCEPTED

    express = store.add_campaign("~fake", 1, EMAIL, transactional_queue=True)
    async with world(store, FakeTransport(answer=once_a_bug)) as here:
        await trio.sleep(30)
        number = store.add_row(express.id)
        await here.supervisor.wake_transactional("fake", Channel.EMAIL)
        await trio.sleep(120)
        assert store.rows[number].state is DeliveryState.SENT
    assert (await store.by_id(express.id)).state is CampaignState.RUNNING


async def test_a_run_of_one_off_messages_is_never_there_twice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    wrong = Answer(stage=Stage.AUTH, code=535, enhanced="5.7.8", text="authentication failed")
    express = store.add_campaign("~fake", 1, EMAIL, transactional_queue=True)
    async with world(store, FakeTransport(refuse=lambda p: wrong)) as here, trio.open_nursery() as nursery:
        await trio.sleep(5)
        for _ in range(50):
            nursery.start_soon(here.supervisor.recover)
            nursery.start_soon(here.supervisor.wake_transactional, "fake", Channel.EMAIL)
            await trio.lowlevel.checkpoint()
    assert store.states(express.id) == {DeliveryState.PENDING: 1}
