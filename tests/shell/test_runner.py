"""The engine against a store in memory and a scripted provider. On the mock clock, days pass at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import trio
import trio.testing

from hubd.core.ledger import Entry, Open, Refusal
from hubd.core.lifecycle import CampaignEvent
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
from hubd.core.outcome import RetryPolicy
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.provider import ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.supervisor import Supervisor, open_supervisor
from hubd.errors import Conflict, CredentialMissing, StoreUnavailable
from tests.fakes import ACCEPTED, FakeStore, FakeTransport

EMAIL = Content(
    channel=Channel.EMAIL, sender="Acme <news@acme.example>", subject="Hello", text="Hi {{ email }}"
)
START = 1_800_000_000.0


@dataclass(slots=True)
class World:
    store: FakeStore
    transport: FakeTransport
    supervisor: Supervisor

    def now(self) -> float:
        return START + trio.current_time()

    async def ended(self, campaign: Campaign) -> Campaign:
        """Wait until the campaign runs no more."""
        await self.supervisor.ended(campaign.id)
        return await self.store.by_id(campaign.id)


@asynccontextmanager
async def world(
    store: FakeStore,
    transport: FakeTransport,
    rate: tuple[str, ...] = (),
    sender_rates: Mapping[str, tuple[str, ...]] | None = None,
    catch_up: Callable[[str], Awaitable[None]] | None = None,
) -> AsyncIterator[World]:
    async def opened() -> FakeTransport:
        return transport

    spec = ProviderSpec(
        name="fake", kind="fake", channels=transport.channels, connections=transport.connections,
        in_doubt=transport.in_doubt, rate=rate, sender_rates=sender_rates or {}, open=opened,
    )  # fmt: skip
    providers = Providers({"fake": spec}, lambda: 0.5)
    if catch_up is not None:
        providers.catch_up = catch_up
    began = trio.current_time()
    async with open_supervisor(
        campaigns=store, ledger=store, health=store, plans=TemplateCache(store, b"key"), doubts=store,
        providers=providers,
        limits=LimiterRegistry(store, lambda: START + trio.current_time() - began),
        now=lambda: START + trio.current_time() - began, random=lambda: 0.5, retry_policy=RetryPolicy(),
    ) as supervisor:  # fmt: skip
        await supervisor.recover()
        yield World(store=store, transport=transport, supervisor=supervisor)


def scripted(*answers: Answer) -> Callable[[RenderedMessage], Answer]:
    """The n-th try of each recipient gets the n-th answer; the last one is repeated."""
    tries: Counter[int] = Counter()

    def answer(rendered: RenderedMessage) -> Answer:
        tries[rendered.delivery_id] += 1
        return answers[min(tries[rendered.delivery_id], len(answers)) - 1]

    return answer


REFUSED_FOR_NOW = Answer(stage=Stage.DOT, code=451, enhanced="4.3.0", text="try later")
REFUSED = Answer(stage=Stage.DOT, code=554, enhanced="5.7.1", text="no")
LOST = Answer(stage=Stage.DOT, signal=Signal.DROPPED, text="connection closed")


async def test_every_recipient_gets_one_message(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(connections=8)
    campaign = store.add_campaign("all", 500, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 500}
    assert sorted(transport.accepted) == list(range(1, 501))
    assert transport.most_busy == 8


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


@pytest.mark.parametrize("talks_first", [True, False])
async def test_bad_credentials_pause_with_the_reason_after_one_login(
    autojump_clock: trio.testing.MockClock, talks_first: bool
) -> None:
    store = FakeStore()
    wrong = Answer(stage=Stage.AUTH, code=535, enhanced="5.7.8", text="authentication failed")
    good: list[bool] = []
    logins: list[int] = []

    def log_in(rendered: RenderedMessage) -> Answer:
        logins.append(rendered.delivery_id)
        return ACCEPTED if good else wrong

    transport = FakeTransport(connections=8, talks_first=talks_first)
    if talks_first:
        transport.refuse = lambda rendered: None if log_in(rendered) is ACCEPTED else wrong
    else:
        transport.answer = log_in
    campaign = store.add_campaign("login", 50, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
        assert campaign.state is CampaignState.PAUSED
        assert campaign.reason
        assert len(logins) == 1
        assert store.states(campaign.id) == {DeliveryState.PENDING: 50}
        good.append(True)
        await here.supervisor.resume("login")
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 50}


async def test_a_provider_that_is_down_for_six_hours_costs_no_recipient(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    down = Answer(stage=Stage.CONNECT, signal=Signal.DROPPED, text="connection refused")
    transport = FakeTransport(refuse=lambda p: down if trio.current_time() < 6 * 3600 else None)
    campaign = store.add_campaign("down", 30, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(3600)
        assert "waiting for fake" in here.supervisor.reason(await store.by_id(campaign.id))
        assert store.states(campaign.id) == {DeliveryState.PENDING: 30}
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 30}
    assert {row.due.attempts for row in store.rows.values()} == {1}


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


async def test_nothing_is_sent_before_what_must_be_known_first_was_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign("texts", 10, EMAIL)
    read = trio.Event()
    asked = []

    async def catch_up(provider: str) -> None:
        asked.append(provider)
        await read.wait()

    async with world(store, transport, catch_up=catch_up) as here:
        await trio.sleep(10)
        assert (asked, transport.accepted) == (["fake"], [])
        read.set()
        campaign = await here.ended(campaign)
    assert (campaign.state, len(transport.accepted)) == (CampaignState.COMPLETED, 10)


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


async def test_a_throttled_provider_is_ready_again_after_its_rest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    slow_down = Answer(stage=Stage.REQUEST, code=429, vendor="20429", text="too many", retry_after=30.0)
    transport = FakeTransport(answer=lambda p: slow_down if trio.current_time() < 20 else ACCEPTED)
    content = Content(channel=Channel.SMS, text="Hi")
    campaign = store.add_campaign("sms", 40, content)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
        assert here.supervisor.providers.get("fake").view().state == "ready"
    assert store.states(campaign.id) == {DeliveryState.SENT: 40}
    assert {row.due.attempts for row in store.rows.values()} == {1}


async def test_the_same_refusal_for_one_after_another_pauses_and_fails_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(answer=lambda p: REFUSED)
    campaign = store.add_campaign("blocked", 300, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.PAUSED
    assert "in a row" in campaign.reason
    assert store.states(campaign.id) == {DeliveryState.PENDING: 300}


async def test_a_server_that_refuses_everybody_for_now_rests_and_costs_nobody_an_attempt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    transport = FakeTransport(answer=lambda p: REFUSED_FOR_NOW if trio.current_time() < 7200 else ACCEPTED)
    campaign = store.add_campaign("busy", 200, EMAIL, give_up_after=86_400.0)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 200}


async def test_an_open_attempt_is_tried_although_the_next_message_cannot_be_fetched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Once its attempt is open nothing but the wire stands before a message: not a disk that fails."""

    class FailsAfterAnOpen(FakeStore):
        async def record(self, entries: Sequence[Entry]) -> list[Refusal | None]:
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
        async def record(self, entries: Sequence[Entry]) -> list[Refusal | None]:
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


async def test_a_schedule_keeps_its_limit(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign("canary", 50, EMAIL, state=CampaignState.DRAFT)
    async with world(store, transport) as here:
        await here.supervisor.schedule("canary", here.now() + 60, limit=5)
        await trio.sleep(120)
        campaign = await here.ended(campaign)
    assert (campaign.state, campaign.reason) == (CampaignState.PAUSED, "limit")
    assert len(transport.accepted) == 5


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


async def test_new_settings_of_a_provider_cut_nothing_and_the_campaign_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, old = FakeStore(), FakeTransport(latency=0.5)
    campaign = store.add_campaign("reload", 200, EMAIL)
    new = FakeTransport(latency=0.5)

    async def opened() -> FakeTransport:
        return new

    async with world(store, old) as here:
        await trio.sleep(2.3)
        changed = ProviderSpec(
            name="fake", kind="fake", channels=new.channels, connections=6, in_doubt=InDoubt.HOLD,
            open=opened, settings="new",
        )  # fmt: skip
        assert await here.supervisor.reconfigure({"fake": changed}) == ["providers.fake"]
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 200}
    assert sorted(old.accepted + new.accepted) == list(range(1, 201))
    assert new.accepted


async def test_a_removed_provider_pauses_its_campaigns_with_the_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(latency=0.5)
    campaign = store.add_campaign("gone", 200, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(2.3)
        await here.supervisor.reconfigure({})
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.PAUSED
    assert "configuration" in campaign.reason
    assert set(store.states(campaign.id)) == {DeliveryState.SENT, DeliveryState.PENDING}


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


async def test_one_off_messages_wait_for_a_stopped_provider_without_trying_its_password_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    wrong = Answer(stage=Stage.AUTH, code=535, enhanced="5.7.8", text="authentication failed")
    good: list[bool] = []
    transport = FakeTransport(refuse=lambda p: None if good else wrong)
    express = store.add_campaign("~fake", 1, EMAIL, transactional_queue=True)
    async with world(store, transport) as here:
        await trio.sleep(10)
        for _ in range(8):
            store.add_row(express.id)
            await here.supervisor.wake_transactional("fake", Channel.EMAIL)
            await trio.sleep(100)
        assert len(transport.prepared) == 1
        good.append(True)
        await here.supervisor.probe("fake")
        await trio.sleep(10)
    assert store.states(express.id) == {DeliveryState.SENT: 9}


async def test_disabling_is_final_until_it_is_enabled(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(latency=0.5)
    campaign = store.add_campaign("off", 100, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(2.3)
        on_the_wire = transport.busy
        accepted = len(transport.accepted)
        here.supervisor.providers.get("fake").disable()
        campaign = await here.ended(campaign)
        assert campaign.state is CampaignState.PAUSED
        assert len(transport.accepted) <= accepted + on_the_wire
        await here.supervisor.enable("fake")
        await here.supervisor.resume("off")
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert sorted(transport.accepted) == list(range(1, 101))


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


async def test_late_news_of_an_old_password_does_not_stop_the_new_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, new = FakeStore(), FakeTransport()
    wrong = Answer(stage=Stage.AUTH, code=535, enhanced="5.7.8", text="authentication failed")
    old = FakeTransport(talks_first=False, latency=5.0, answer=lambda p: wrong)
    campaign = store.add_campaign("late", 50, EMAIL)

    async def opened() -> FakeTransport:
        return new

    async with world(store, old) as here:
        await trio.sleep(2)
        await here.supervisor.reconfigure(
            {
                "fake": ProviderSpec(
                    name="fake", kind="fake", channels=new.channels, connections=4, in_doubt=InDoubt.HOLD,
                    open=opened, settings="new",
                )
            }
        )  # fmt: skip
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {DeliveryState.SENT: 50}


async def test_a_provider_that_is_disabled_while_it_opens_sends_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    campaign = store.add_campaign("slow", 50, EMAIL)

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
        providers=Providers({"fake": spec}, lambda: 0.5), now=lambda: START, random=lambda: 0.5,
        limits=LimiterRegistry(store, lambda: START),
    ) as supervisor:  # fmt: skip
        await trio.sleep(1)
        supervisor.providers.get("fake").disable()
        await supervisor.ended(campaign.id)
    assert transport.accepted == []
    assert (await store.by_id(campaign.id)).state is CampaignState.PAUSED


async def test_a_reload_that_fails_changes_no_provider(autojump_clock: trio.testing.MockClock) -> None:
    store, transport = FakeStore(), FakeTransport(latency=0.5)
    campaign = store.add_campaign("on", 100, EMAIL)

    async def no_secret() -> FakeTransport:
        raise CredentialMissing("the secret is not there")

    async with world(store, transport) as here:
        await trio.sleep(2.3)
        broken = ProviderSpec(
            name="fake", kind="fake", channels=transport.channels, connections=4, in_doubt=InDoubt.HOLD,
            open=no_secret, settings="new",
        )  # fmt: skip
        with pytest.raises(CredentialMissing):
            await here.supervisor.reconfigure({"fake": broken})
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.COMPLETED
    assert sorted(transport.accepted) == list(range(1, 101))


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


async def test_a_running_campaign_whose_provider_is_gone_at_boot_pauses_and_the_others_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport()
    lost = store.add_campaign("lost", 10, EMAIL, provider="removed")
    transactional_queue = store.add_campaign(
        "~removed", 1, EMAIL, provider="removed", transactional_queue=True
    )
    fine = store.add_campaign("fine", 10, EMAIL)
    async with world(store, transport) as here:
        fine = await here.ended(fine)
        lost = await here.ended(lost)
    assert fine.state is CampaignState.COMPLETED
    assert lost.state is CampaignState.PAUSED
    assert "there is no provider removed" in lost.reason
    assert store.states(lost.id) == {DeliveryState.PENDING: 10}
    assert store.states(transactional_queue.id) == {DeliveryState.PENDING: 1}


async def test_a_removed_provider_is_closed_when_nothing_is_on_its_wire(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(latency=30.0)
    store.add_campaign("gone", 20, EMAIL)
    async with world(store, transport) as here:
        await trio.sleep(1)
        await here.supervisor.reconfigure({})
        await trio.sleep(20)
        assert transport.busy
        assert transport.closed == 0
        await trio.sleep(60)
        assert transport.closed == 1
    assert transport.closed == 1


async def test_a_refused_domain_of_one_campaign_slows_no_other_campaign(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    bad = store.add_campaign("bad", 40, EMAIL)
    good = store.add_campaign("good", 300, EMAIL)
    for row in store.rows.values():
        if row.campaign_id == bad.id:
            row.due = msgspec.structs.replace(row.due, recipient=f"p{row.due.id}@bad.example")
    later = Answer(stage=Stage.RCPT, code=451, enhanced="4.4.1", text="no answer from host")
    transport = FakeTransport(refuse=lambda p: later if p.recipient.endswith("@bad.example") else None)
    async with world(store, transport) as here:
        with trio.fail_after(30):
            assert (await here.ended(good)).state is CampaignState.COMPLETED
        await here.supervisor.stop("bad")
    assert {row.due.attempts for row in store.rows.values() if row.campaign_id == bad.id} <= {0, 1}


async def test_a_one_off_message_that_the_server_hangs_up_at_holds_nobody_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FakeStore()
    transactional_queue = store.add_campaign("~fake", 1, EMAIL, transactional_queue=True)
    good = store.add_campaign("good", 2000, EMAIL)
    busy = Answer(stage=Stage.RCPT, code=421, enhanced="4.7.0", text="not you now")
    alone = next(number for number, row in store.rows.items() if row.campaign_id == transactional_queue.id)
    transport = FakeTransport(refuse=lambda p: busy if p.delivery_id == alone else None)
    async with world(store, transport) as here:
        with trio.fail_after(120):
            assert (await here.ended(good)).state is CampaignState.COMPLETED
    assert store.rows[alone].state is DeliveryState.DEFERRED


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
