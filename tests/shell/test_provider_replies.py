"""The provider's own words stay with the attempt, and are where people look for them."""

from __future__ import annotations

import pytest
import trio.testing

from hubd.core.ledger import Close
from hubd.core.model import Answer, CampaignState, DeliveryState, RenderedMessage, Signal, Stage
from hubd.store.deliveries import MOST_WORDINGS
from tests.fakes import ACCEPTED, FakeStore, FakeTransport
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.engine_world import EMAIL, world

D = DeliveryState
UNKNOWN = "550 5.1.1 <***@example.com>: no such user"
LIMIT = "5.4.5 Daily user sending limit exceeded for news@acme.example"


# --- the store -------------------------------------------------------------------


async def test_what_a_provider_said_is_kept_with_each_attempt(store: Store) -> None:
    campaign = await store.running("ann")
    (delivery,) = await store.ids(campaign)
    later = close_entry(delivery, D.DEFERRED, reason="greylisted", opened=False, provider_reply="450 later")
    await store.ledger.record([later])
    await store.ledger.record([open_entry(delivery)])
    await store.ledger.record([close_entry(delivery, provider_reply="250 2.0.0 queued")])
    life = await store.ledger.message(delivery)
    assert [tried.provider_reply for tried in life.attempts] == ["450 later", "250 2.0.0 queued"]
    assert life.delivery.provider_reply == "250 2.0.0 queued"
    (row,) = await store.ledger.deliveries(campaign.id)
    assert row.provider_reply == "250 2.0.0 queued"


async def test_a_delivery_that_was_not_tried_has_no_words(store: Store) -> None:
    campaign = await store.running("ann")
    (row,) = await store.ledger.deliveries(campaign.id)
    assert row.provider_reply == ""
    assert (await store.ledger.message(row.id)).delivery.provider_reply == ""


async def test_failures_are_grouped_by_what_the_provider_said(store: Store) -> None:
    campaign = await store.running(*(f"p{n}" for n in range(6)))
    said = [
        "550 5.7.1 4F2A91C03D: blocked using bl.example (***@a.example)",
        "550 5.7.1 4F2A91C0EE: blocked using bl.example (***@b.example)",
        "550 5.7.1 not allowed",
        "550 5.7.1 not allowed",
        "550 5.7.1 not allowed",
        "",
    ]
    for delivery, reply in zip(await store.ids(campaign), said, strict=True):
        entry = close_entry(
            delivery, D.FAILED, reason="refused_by_policy", code=550, opened=False, provider_reply=reply
        )
        await store.ledger.record([entry])
    groups = await store.ledger.failures(campaign.id)
    assert [(g.count, g.provider_reply) for g in groups] == [
        (3, "550 5.7.1 not allowed"),
        (2, said[0]),
        (1, ""),
    ]
    assert groups[1].example_id == (await store.ids(campaign))[0]


async def test_words_that_differ_for_everybody_make_a_bounded_number_of_groups(store: Store) -> None:
    campaign = await store.running(*(f"p{n}" for n in range(MOST_WORDINGS + 10)))
    for number, delivery in enumerate(await store.ids(campaign)):
        said = "550 " + "abcdefghijklmnopqrstuvwxyz"[number % 26] * (number // 26 + 1)
        entry = close_entry(delivery, D.FAILED, reason="blocked", opened=False, provider_reply=said)
        await store.ledger.record([entry])
    groups = await store.ledger.failures(campaign.id)
    assert len(groups) == MOST_WORDINGS + 1
    assert (groups[0].count, groups[0].provider_reply) == (10, "")
    assert sum(group.count for group in groups) == MOST_WORDINGS + 10


async def test_a_failure_is_told_with_the_words(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    ann, bob = await store.ids(campaign)
    await store.ledger.record(
        [close_entry(ann, D.FAILED, reason="mailbox_unknown", opened=False, provider_reply=UNKNOWN)]
    )
    await store.ledger.record([close_entry(bob, D.FAILED, reason="blocked", opened=False)])
    told = [row.data for row in await store.events.page(0, 100) if row.type == "delivery.failed"]
    assert [data.get("provider_reply") for data in told] == [UNKNOWN, None]


async def test_a_campaign_shows_the_last_refusal_until_it_no_longer_holds(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    ann, bob = await store.ids(campaign)
    await store.ledger.record(
        [close_entry(ann, D.DEFERRED, reason="greylisted", opened=False, provider_reply="450 later")]
    )
    assert (await store.campaigns.by_id(campaign.id)).last_error == "450 later"
    again = close_entry(ann, D.DEFERRED, reason="greylisted", opened=False, provider_reply="450 much later")
    await store.ledger.record([again])  # a move that moves no counter
    assert (await store.campaigns.by_id(campaign.id)).last_error == "450 much later"
    for delivery in (ann, bob):
        await store.ledger.record([open_entry(delivery)])
        await store.ledger.record([close_entry(delivery, provider_reply="250 ok")])
    running, completed = (CampaignState.RUNNING,), CampaignState.COMPLETED
    done = await store.campaigns.move(campaign.id, running, completed, event="complete")
    assert done.last_error == ""


async def test_a_failure_is_still_shown_when_the_campaign_is_completed(store: Store) -> None:
    campaign = await store.running("ann")
    (ann,) = await store.ids(campaign)
    await store.ledger.record(
        [close_entry(ann, D.FAILED, reason="mailbox_unknown", opened=False, provider_reply=UNKNOWN)]
    )
    running, completed = (CampaignState.RUNNING,), CampaignState.COMPLETED
    done = await store.campaigns.move(campaign.id, running, completed, event="complete")
    assert done.last_error == UNKNOWN


async def test_why_a_campaign_paused_is_its_last_error_until_it_runs_again(store: Store) -> None:
    campaign = await store.running("ann")
    running, paused = (CampaignState.RUNNING,), (CampaignState.PAUSED,)
    at = await store.campaigns.move(campaign.id, running, paused[0], event="pause", reason="550 enough")
    assert at.last_error == "550 enough"
    at = await store.campaigns.move(campaign.id, paused, running[0], event="resume")
    assert at.last_error == ""
    at = await store.campaigns.move(campaign.id, running, paused[0], event="pause", reason="limit")
    assert at.last_error == ""


# --- the engine ------------------------------------------------------------------


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT])
async def test_a_campaign_that_pauses_says_what_the_provider_said_and_nobody_fails(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    refused = Answer(stage=stage, code=550, enhanced="5.4.5", text=LIMIT, verbatim=True)
    store = FakeStore()
    if stage is Stage.DOT:
        transport = FakeTransport(answer=lambda rendered: refused)
    else:
        transport = FakeTransport(refuse=lambda rendered: refused)
    campaign = store.add_campaign("spring", 20, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.PAUSED
    shown = "550 5.4.5 Daily user sending limit exceeded for ***@acme.example"
    assert campaign.reason.endswith(f"The provider said: {shown}")
    assert store.states(campaign.id) == {D.PENDING: 20}


async def test_the_words_of_a_provider_that_stops_are_in_its_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    greeting = "5.5.2 <pc>: Helo command rejected: need fully-qualified hostname"
    refused = Answer(stage=Stage.RCPT, code=504, enhanced="5.5.2", text=greeting, verbatim=True)
    store, transport = FakeStore(), FakeTransport(refuse=lambda rendered: refused)
    campaign = store.add_campaign("spring", 8, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert "set ehlo_name" in campaign.reason
    assert campaign.reason.endswith(f"The provider said: 504 {greeting}")
    assert store.states(campaign.id) == {D.PENDING: 8}


async def test_our_own_words_are_not_put_into_the_providers_mouth(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours = Answer(stage=Stage.MAIL, code=552, enhanced="5.3.4", text="the message has 9 bytes and ...")
    store, transport = FakeStore(), FakeTransport(refuse=lambda rendered: ours)
    campaign = store.add_campaign("spring", 1, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    assert campaign.state is CampaignState.PAUSED
    assert "said" not in campaign.reason


async def test_a_refusal_is_written_with_its_words_and_without_the_recipient(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def refuse(rendered: RenderedMessage) -> Answer | None:
        if rendered.delivery_id != 1:
            return None
        text = f"5.1.1 <{rendered.recipient}>: no such user"
        return Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1", text=text, verbatim=True)

    store, transport = FakeStore(), FakeTransport(refuse=refuse, answer=lambda rendered: ACCEPTED)
    campaign = store.add_campaign("spring", 3, EMAIL)
    async with world(store, transport) as here:
        campaign = await here.ended(campaign)
    (said,) = [each.provider_reply for each in store.entries if isinstance(each, Close) and each.code == 550]
    assert said == "550 5.1.1 <***@example.com>: no such user"


async def test_a_stray_reply_is_what_the_provider_said() -> None:
    stray = Answer(stage=Stage.DOT, signal=Signal.DROPPED, text="421 4.3.2 shutting down", verbatim=True)
    store, transport = FakeStore(), FakeTransport(answer=lambda rendered: stray)
    store.add_campaign("spring", 1, EMAIL)
    async with world(store, transport):
        while not any(isinstance(entry, Close) for entry in store.entries):
            await trio.testing.wait_all_tasks_blocked()
    assert [each.provider_reply for each in store.entries if isinstance(each, Close)][:1] == [stray.text]
