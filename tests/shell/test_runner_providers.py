"""The engine and its providers: trouble, other settings, removal. On the mock clock, days pass at once."""

from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing

from hubd.core.model import (
    Answer,
    CampaignState,
    Channel,
    Content,
    DeliveryState,
    InDoubt,
    RenderedMessage,
    Signal,
    Stage,
)
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.provider import ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.supervisor import open_supervisor
from hubd.errors import CredentialMissing
from tests.fakes import ACCEPTED, FakeStore, FakeTransport
from tests.shell.engine_world import EMAIL, REFUSED, REFUSED_FOR_NOW, START, world


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
