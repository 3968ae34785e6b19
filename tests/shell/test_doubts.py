"""What is in doubt, and every decision about it: booked once, on record, with the counters right."""

from __future__ import annotations

import logging

import pytest

from hubd.core.ledger import Close, Open
from hubd.core.model import Campaign, DeliveryState, InDoubt, Stage
from hubd.core.outcome import RetryPolicy
from hubd.core.reconcile import Doubt, How, Resolution, absent, held
from hubd.store.database import Unit
from hubd.store.doubts import Doubts
from hubd.store.transaction import Transaction
from tests.shell.conftest import Store

D = DeliveryState


def opening(delivery: int, *, provider: str = "text", content: str = "", at: float = 1000.0) -> Open:
    return Open(delivery_id=delivery, provider=provider, message_id="", content_hash=content, at=at)


def sent(delivery: int, name: str, *, provider: str = "text", stage: Stage = Stage.REQUEST) -> Close:
    return Close(
        delivery_id=delivery, to=D.SENT, reason="", stage=stage.value, provider_id=name, provider=provider,
        at=1001.0,
    )  # fmt: skip


def lost(delivery: int) -> Close:
    return Close(
        delivery_id=delivery, to=D.IN_DOUBT, reason="answer_lost", stage="request", provider="text", at=1030.0
    )


async def doubtful(store: Store, *names: str) -> tuple[Campaign, list[Doubt]]:
    """A running campaign whose recipients are all in doubt."""
    campaign = await store.running(*names)
    content = await _content_hash(store, campaign)
    for delivery in await store.ids(campaign):
        await store.ledger.record([opening(delivery, content=content), lost(delivery)])
    return campaign, await Doubts(store.db).doubtful(campaign.id)


async def _content_hash(store: Store, campaign: Campaign) -> str:
    def work(db: Transaction) -> str:
        found: str = db.execute("SELECT hash FROM content WHERE id = ?", (campaign.content_id,)).fetchone()[0]
        return found

    return await store.db.read(work)


async def audit(store: Store) -> list[tuple[str, str, int]]:
    def work(db: Transaction) -> list[tuple[str, str, int]]:
        return [tuple(row) for row in db.execute("SELECT actor, action, delivery_id FROM audit ORDER BY seq")]

    return await store.db.read(work)


async def told(store: Store, type: str) -> list[object]:
    return [event.data for event in await store.events.page(0, 99) if event.type == type]


# --- reading -----------------------------------------------------------------------------


async def test_a_doubt_is_told_with_its_last_attempt_and_what_its_message_was(store: Store) -> None:
    campaign, (doubt, other) = await doubtful(store, "ann", "bob")
    assert (doubt.n, doubt.provider, doubt.opened_at, doubt.closed_at) == (1, "text", 1000.0, 1030.0)
    assert doubt.reason == "answer_lost"
    assert doubt.row is not None
    assert (doubt.row.recipient, doubt.row.attempts) == ("ann@example.com", 1)
    assert doubt.row.content_id == campaign.content_id
    assert await Doubts(store.db).doubtful(campaign.id, after_id=doubt.delivery_id) == [other]
    assert await Doubts(store.db).doubtful(campaign.id, limit=1) == [doubt]


async def test_a_doubt_keeps_the_content_it_was_sent_with_when_the_campaign_gets_another(
    store: Store,
) -> None:
    campaign, (before,) = await doubtful(store, "ann")
    await store.move(campaign, type(campaign.state).PAUSED)
    changed = await store.draft(text="Other words")
    (after,) = await Doubts(store.db).doubtful(campaign.id)
    assert changed.content_id != campaign.content_id
    assert after == before


async def test_a_doubt_whose_content_is_gone_cannot_be_written_again(store: Store) -> None:
    campaign = await store.running("ann")
    (delivery,) = await store.ids(campaign)
    await store.ledger.record([opening(delivery, content="unknown"), lost(delivery)])
    (doubt,) = await Doubts(store.db).doubtful(campaign.id)
    assert doubt.row is None


async def without_attempt(store: Store, campaign: Campaign) -> None:
    """As after a restore: everybody who waits is in doubt, and nobody knows of an attempt."""

    def work(unit: Unit) -> None:
        n = unit.db.execute(
            "UPDATE delivery SET state = 'in_doubt', reason = 'restored' WHERE state = 'pending'"
        ).rowcount
        unit.moved(campaign.id, D.PENDING, D.IN_DOUBT, n)

    await store.db.write(work)


async def test_what_is_in_doubt_without_an_attempt_is_neither_asked_about_nor_sent_by_a_policy(
    store: Store,
) -> None:
    campaign = await store.running("ann", "bob")
    first, _ = await store.ids(campaign)
    await store.ledger.record([opening(first), lost(first)])
    await without_attempt(store, campaign)
    assert [doubt.delivery_id for doubt in await Doubts(store.db).doubtful(campaign.id)] == [first]
    assert await store.ledger.release_doubts(campaign.id) == 1
    assert await store.states(campaign) == [D.PENDING, D.IN_DOUBT]
    assert await store.ledger.resolve_doubt(campaign.id, "resend") == 1


# --- decisions ---------------------------------------------------------------------------


async def test_what_the_provider_has_is_sent_under_its_name_and_on_record(store: Store) -> None:
    campaign, (doubt,) = await doubtful(store, "ann")
    assert await Doubts(store.db).resolve(doubt, Resolution(how=How.SENT, provider_ids=("SM1", "SM2")))
    life = await store.ledger.message(doubt.delivery_id)
    assert (life.delivery.state, life.delivery.provider_id) == (D.SENT, "SM1")
    assert [(a.outcome, a.provider_id, a.stage) for a in life.attempts] == [("sent", "SM1", "request")]
    assert await audit(store) == [("policy", "doubt.sent", doubt.delivery_id)]
    assert await told(store, "delivery.resolved") == [
        {"delivery_id": doubt.delivery_id, "how": "sent", "by": "policy"}
    ]
    await store.check_counters(campaign)


async def test_what_the_provider_does_not_have_is_queued_again_and_is_no_possible_duplicate(
    store: Store,
) -> None:
    campaign, (doubt,) = await doubtful(store, "ann")
    resolution = absent(doubt, RetryPolicy(), 1200.0, 1200.0, 0.5)
    assert await Doubts(store.db).resolve(doubt, resolution)
    row = (await store.ledger.message(doubt.delivery_id)).delivery
    assert (row.state, row.reason, row.doubts) == (D.PENDING, "reconciled_absent", 0)
    assert (row.next_at, row.attempts) == (resolution.next_at, 1)
    (due,) = await store.ledger.due(campaign.id, 1e9, 10)
    assert due.first_attempt_at == 1000.0, "the time to give up still counts from the first attempt"
    await store.ledger.record([opening(doubt.delivery_id)])
    assert [a.n for a in (await store.ledger.message(doubt.delivery_id)).attempts] == [1, 2]
    assert await audit(store) == [("policy", "doubt.absent", doubt.delivery_id)]
    assert await store.ledger.possible_duplicates(campaign.id) == 0
    await store.check_counters(campaign)


async def test_what_the_provider_does_not_have_fails_when_it_is_too_late(store: Store) -> None:
    campaign, (doubt,) = await doubtful(store, "ann")
    assert await Doubts(store.db).resolve(
        doubt, absent(doubt, RetryPolicy(give_up_after=60.0), 1200.0, 1200.0, 0.5)
    )
    row = (await store.ledger.message(doubt.delivery_id)).delivery
    assert (row.state, row.reason) == (D.FAILED, "reconciled_absent")
    assert await audit(store) == [("policy", "doubt.failed", doubt.delivery_id)]
    await store.check_counters(campaign)


async def test_what_the_provider_cannot_say_stays_in_doubt_and_tells_why(store: Store) -> None:
    campaign, (doubt,) = await doubtful(store, "ann")
    assert await Doubts(store.db).resolve(doubt, held("Why."))
    row = (await store.ledger.message(doubt.delivery_id)).delivery
    assert (row.state, row.reason, row.detail) == (D.IN_DOUBT, "provider_cannot_say", "Why.")
    (group,) = await store.ledger.failures(campaign.id)
    assert group.kind == "in_doubt"
    assert await store.ledger.resolve_doubt(campaign.id, "failed") == 1
    assert await audit(store) == [
        ("policy", "doubt.held", doubt.delivery_id),
        ("operator", "doubt.failed", doubt.delivery_id),
    ]


@pytest.mark.parametrize(
    "resolution",
    [
        Resolution(how=How.SENT, provider_ids=("SM1",)),
        Resolution(how=How.ABSENT),
        Resolution(how=How.FAILED),
        held(""),
    ],
)
async def test_a_decision_comes_too_late_when_a_person_was_quicker(
    store: Store, resolution: Resolution
) -> None:
    campaign, (doubt,) = await doubtful(store, "ann")
    await store.ledger.resolve_doubt(campaign.id, "resend")
    assert not await Doubts(store.db).resolve(doubt, resolution)
    await store.ledger.record([opening(doubt.delivery_id)])
    assert not await Doubts(store.db).resolve(doubt, resolution)
    await store.ledger.record([lost(doubt.delivery_id)])
    assert not await Doubts(store.db).resolve(doubt, resolution), "it is in doubt about another attempt now"
    assert await store.states(campaign) == [D.IN_DOUBT]
    assert await audit(store) == [("operator", "doubt.resend", doubt.delivery_id)]
    await store.check_counters(campaign)


@pytest.mark.parametrize("how", ["resend", "sent", "failed"])
async def test_a_person_answers_for_each_decision_in_the_audit(store: Store, how: str) -> None:
    campaign, doubts = await doubtful(store, "ann", "bob")
    await store.ledger.resolve_doubt(campaign.id, how)  # type: ignore[arg-type]
    assert await audit(store) == [("operator", f"doubt.{how}", doubt.delivery_id) for doubt in doubts]


async def test_a_policy_that_sends_again_is_on_record_and_counts_possible_duplicates(store: Store) -> None:
    campaign, doubts = await doubtful(store, "ann", "bob")
    first, second = (doubt.delivery_id for doubt in doubts)
    assert await store.ledger.possible_duplicates(campaign.id) == 0
    await store.ledger.release_doubts(campaign.id)
    await store.ledger.record([opening(first), lost(first)])
    await store.ledger.release_doubts(campaign.id)
    assert [link[:2] for link in await audit(store)] == [("policy", "doubt.resend")] * 3
    assert await store.ledger.possible_duplicates(campaign.id) == 3
    await store.ledger.record([opening(second), sent(second, "SM1")])
    assert await store.ledger.possible_duplicates(campaign.id) == 3


# --- one message, one delivery -----------------------------------------------------------


async def test_one_message_of_the_providers_settles_one_doubt(store: Store) -> None:
    _, (first, second) = await doubtful(store, "ann", "bob")
    doubts = Doubts(store.db)
    resolution = Resolution(how=How.SENT, provider_ids=("SM1",))
    assert await doubts.resolve(first, resolution)
    assert not await doubts.resolve(second, resolution)
    assert await doubts.known("text", ["SM1", "SM2"]) == {"SM1"}
    assert await doubts.known("other", ["SM1"]) == frozenset()
    assert await doubts.resolve(second, Resolution(how=How.SENT, provider_ids=("SM1", "SM2")))
    assert (await store.ledger.message(second.delivery_id)).delivery.provider_id == "SM2"


async def test_nothing_is_found_while_another_message_to_the_same_address_is_on_the_wire(
    store: Store,
) -> None:
    _, (doubt,) = await doubtful(store, "ann")
    other = await store.draft(name="again")
    await store.move(other, type(other.state).RUNNING)
    await store.freeze(other)
    (delivery,) = await store.ids(other)
    await store.ledger.record([opening(delivery)])
    resolution = Resolution(how=How.SENT, provider_ids=("SM1",))
    assert not await Doubts(store.db).resolve(doubt, resolution)
    await store.ledger.record([sent(delivery, "SM1")])
    assert not await Doubts(store.db).resolve(doubt, resolution), "it was the other one's"


async def test_an_acceptance_under_the_name_of_an_earlier_message_is_an_alarm_and_in_doubt(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    campaign = await store.running("ann", "bob")
    first, second = await store.ids(campaign)
    await store.ledger.record([opening(first), sent(first, "SM1"), opening(second)])
    with caplog.at_level(logging.ERROR):
        assert await store.ledger.record([sent(second, "SM1")]) == [None]
    assert await store.states(campaign) == [D.SENT, D.IN_DOUBT]
    row = (await store.ledger.message(second)).delivery
    assert (row.reason, row.provider_id) == ("sid_reused", "")
    assert await told(store, "provider.sid_reused") == [
        {"delivery_id": second, "provider": "text", "provider_id": "SM1"}
    ]
    assert str(second) in caplog.text
    assert "example.com" not in caplog.text
    await store.check_counters(campaign)


async def test_the_same_name_twice_in_one_unit_of_work_is_noticed_too(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    first, second = await store.ids(campaign)
    await store.ledger.record([opening(first), opening(second)])
    await store.ledger.record([sent(first, "SM1"), sent(second, "SM1")])
    assert await store.states(campaign) == [D.SENT, D.IN_DOUBT]


async def test_the_queue_ids_of_mail_servers_come_again_and_alarm_nobody(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    first, second = await store.ids(campaign)
    for delivery in (first, second):
        await store.ledger.record([opening(delivery), sent(delivery, "4F2A", stage=Stage.DOT)])
    assert await store.states(campaign) == [D.SENT, D.SENT]


async def test_two_accounts_may_use_the_same_name(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    for delivery, provider in zip(await store.ids(campaign), ("one", "two"), strict=True):
        await store.ledger.record(
            [opening(delivery, provider=provider), sent(delivery, "SM1", provider=provider)]
        )
    assert await store.states(campaign) == [D.SENT, D.SENT]


# --- the policy itself -------------------------------------------------------------------


async def test_asking_the_provider_is_kept_as_a_policy_and_can_be_changed(store: Store) -> None:
    draft = await store.draft(in_doubt="reconcile")
    assert draft.in_doubt is InDoubt.RECONCILE
    assert (await store.draft(in_doubt="hold")).in_doubt is InDoubt.HOLD
    assert (await store.draft(in_doubt="reconcile")).in_doubt is InDoubt.RECONCILE
    assert (await store.draft(in_doubt="retry")).in_doubt is InDoubt.RETRY
