"""The attempt ledger in a real database: nobody is lost, nobody doubled, and the counters always add up."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.bridge import Bridge, open_bridge
from hubd.core.ledger import Entry, Rejection
from hubd.core.model import Campaign, CampaignState, Channel, DeliveryState, InDoubt
from hubd.errors import BadInput, Conflict, HubError, InvalidTransition, NotFound
from hubd.store import after_restore, deliveries, figures, ledger, recovery, requeue
from hubd.store.database import open_database
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.made_database import make_database

D = DeliveryState


async def one(store: Store) -> tuple[Campaign, int]:
    """A running campaign of one person, and its delivery."""
    campaign = await store.running("ann")
    (delivery,) = await store.ids(campaign)
    return campaign, delivery


# --- one delivery's life ------------------------------------------------------------------------


async def test_open_and_close_leave_one_attempt_and_a_sent_delivery(store: Store) -> None:
    campaign, delivery = await one(store)
    assert await store.ledger.record([open_entry(delivery)]) == [None]
    assert await store.states(campaign) == [D.SENDING]
    assert await store.ledger.due(campaign.id, 9e9, 10) == []
    sent = close_entry(delivery, stage="dot", code=250, enhanced="2.0.0", provider_id="queue-1")
    assert await store.ledger.record([sent]) == [None]
    life = await store.ledger.message(delivery)
    assert (life.delivery.state, life.delivery.attempts, life.delivery.provider_id) == (D.SENT, 1, "queue-1")
    assert life.delivery.message_id == f"<{delivery}@hub>"
    (tried,) = life.attempts
    assert (tried.n, tried.epoch, tried.outcome, tried.code) == (1, 1, "sent", 250)
    assert (tried.opened_at, tried.closed_at) == (1000.0, 1001.0)
    assert life.content.subject == "Hello {{ first_name }}"
    counts = (await store.campaigns.by_id(campaign.id)).counts
    assert counts.finished == counts.total


async def test_the_close_of_one_and_the_open_of_the_next_are_one_item(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    first, second = await store.ids(campaign)
    await store.ledger.record([open_entry(first)])
    assert await store.ledger.record([close_entry(first), open_entry(second)]) == [None, None]
    assert await store.states(campaign) == [D.SENT, D.SENDING]


async def test_a_second_open_is_refused(store: Store) -> None:
    campaign, delivery = await one(store)
    refusal = Rejection(why="delivery_state")
    assert await store.ledger.record([open_entry(delivery), open_entry(delivery)]) == [None, refusal]
    assert await store.ledger.record([open_entry(delivery)]) == [refusal]
    await store.check_counters(campaign)


async def test_two_open_attempts_break_a_constraint(store: Store) -> None:
    """The last line of defence, should the code above it ever be wrong."""
    _, delivery = await one(store)
    await store.ledger.record([open_entry(delivery)])
    with pytest.raises(sqlite3.IntegrityError):
        await store.db.write(
            lambda unit: unit.db.execute(
                "INSERT INTO attempt (delivery_id, n, epoch, provider, message_id, content_hash, opened_at)"
                " VALUES (?, 2, 1, 'p', '', '', 0)",
                (delivery,),
            )
        )


@pytest.mark.parametrize("state", [s for s in CampaignState if s is not CampaignState.RUNNING])
async def test_nothing_opens_in_a_campaign_that_does_not_run(store: Store, state: CampaignState) -> None:
    campaign, delivery = await one(store)
    await store.db.write(lambda unit: unit.db.execute("UPDATE campaign SET state = ?", (state.value,)))
    assert await store.ledger.record([open_entry(delivery)]) == [Rejection(why="campaign_state")]
    assert await store.states(campaign) == [D.PENDING]


async def test_an_address_suppressed_meanwhile_is_skipped_at_the_last_moment(store: Store) -> None:
    other = await store.running("ann", "bob", name="other")
    campaign = await store.running("ann", "bob")
    for delivery, reason in zip(await store.ids(other), ("mailbox_unknown", "opted_out"), strict=True):
        refused = close_entry(delivery, D.FAILED, reason=reason, suppress=reason, opened=False)
        await store.ledger.record([refused])
    first, second = await store.ids(campaign)
    refusal = Rejection(why="suppressed", skipped=True)
    assert await store.ledger.record([open_entry(first), open_entry(second)]) == [refusal, refusal]
    rows = await store.ledger.deliveries(campaign.id, D.SKIPPED)
    assert [row.reason for row in rows] == ["suppressed", "opted_out"]
    await store.check_counters(campaign)


@pytest.mark.parametrize(
    ("search", "found"),
    [("ANN", ["ann", "joann"]), ("@", ["ann", "bob", "joann"]), ("%", []), ("_", []), ("'", [])],
)
async def test_a_recipient_is_found_by_any_part_of_the_address(
    store: Store, search: str, found: list[str]
) -> None:
    campaign = await store.running("ann", "bob", "joann")
    rows = await store.ledger.deliveries(campaign.id, search=search)
    assert [row.recipient.partition("@")[0] for row in rows] == found
    waiting = await store.ledger.deliveries(
        campaign.id, D.PENDING, after_id=rows[0].id if rows else 0, search=search
    )
    assert [row.id for row in waiting] == [row.id for row in rows[1:]]


async def test_a_far_page_of_recipients_is_had_by_the_number_of_those_before_it(store: Store) -> None:
    people = [f"p{n}" for n in range(9)]
    campaign = await store.running(*people)
    every = [row.id for row in await store.ledger.deliveries(campaign.id)]
    for waited in (every[3], every[6]):  # they are in another index than the others
        await store.ledger.record([close_entry(waited, D.PENDING, opened=False, next_at=500.0)])
    for skip in range(11):
        for state, search in ((None, ""), (D.PENDING, ""), (None, "p"), (D.PENDING, "P")):
            rows = await store.ledger.deliveries(
                campaign.id, state, every[1], limit=3, skip=skip, search=search
            )
            assert [row.id for row in rows] == every[2 + skip : 5 + skip]


async def test_a_close_can_suppress_the_address(store: Store) -> None:
    _, delivery = await one(store)
    failed = close_entry(
        delivery, D.FAILED, reason="mailbox_unknown", suppress="mailbox_unknown", opened=False
    )
    await store.ledger.record([failed])
    (entry,) = await store.contacts.suppressions()
    assert (entry.channel, entry.address, entry.source) == (
        Channel.EMAIL,
        "ann@example.com",
        "campaign spring-sale",
    )


async def test_a_close_without_an_open_attempt_is_an_error(store: Store) -> None:
    campaign, delivery = await one(store)
    with pytest.raises(Conflict) as caught:
        await store.ledger.record([close_entry(delivery)])
    assert caught.value.code == "attempt_not_open"
    await store.ledger.record([open_entry(delivery), close_entry(delivery)])
    with pytest.raises(Conflict):
        await store.ledger.record([close_entry(delivery)])
    await store.check_counters(campaign)


async def test_an_unopened_close_while_an_attempt_is_open_is_an_error(store: Store) -> None:
    _, delivery = await one(store)
    await store.ledger.record([open_entry(delivery)])
    with pytest.raises(Conflict) as caught:
        await store.ledger.record([close_entry(delivery, D.DEFERRED, opened=False)])
    assert caught.value.code == "attempt_open"


async def test_what_was_never_opened_cannot_have_been_sent(store: Store) -> None:
    campaign, delivery = await one(store)
    for impossible in (D.SENT, D.IN_DOUBT):
        with pytest.raises(InvalidTransition):
            await store.ledger.record([close_entry(delivery, impossible, opened=False)])
    assert await store.states(campaign) == [D.PENDING]


async def test_one_wrong_entry_undoes_the_whole_record(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    first, second = await store.ids(campaign)
    with pytest.raises(Conflict):
        await store.ledger.record([open_entry(first), close_entry(second)])
    assert await store.states(campaign) == [D.PENDING, D.PENDING]
    with pytest.raises(NotFound) as caught:
        await store.ledger.record([open_entry(999)])
    assert caught.value.code == "delivery_not_found"


async def test_a_refusal_before_the_irrevocable_byte_is_an_attempt_closed_from_the_start(
    store: Store,
) -> None:
    campaign, delivery = await one(store)
    later = close_entry(delivery, D.DEFERRED, reason="greylisted", opened=False, next_at=1300.0, provider="p")
    await store.ledger.record([later])
    life = await store.ledger.message(delivery)
    assert [(tried.n, tried.outcome) for tried in life.attempts] == [(1, "deferred")]
    assert (life.delivery.attempts, life.delivery.next_at) == (1, 1300.0)
    (due,) = await store.ledger.due(campaign.id, 1300.0, 10)
    assert (due.attempts, due.first_attempt_at) == (1, 1001.0)


async def test_a_withdrawn_try_does_not_count(store: Store) -> None:
    campaign, delivery = await one(store)
    await store.ledger.record([open_entry(delivery), close_entry(delivery, D.PENDING, reason="paused")])
    await store.ledger.record([close_entry(delivery, D.PENDING, reason="resting", opened=False)])
    (due,) = await store.ledger.due(campaign.id, 0.0, 10)
    assert due.attempts == 0
    await store.ledger.record([open_entry(delivery), close_entry(delivery)])
    life = await store.ledger.message(delivery)
    assert [(tried.n, tried.outcome) for tried in life.attempts] == [(1, "withdrawn"), (2, "sent")]
    assert life.delivery.attempts == 1
    await store.check_counters(campaign)


async def test_what_failed_and_what_is_in_doubt_is_told_without_an_address(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    first, second = await store.ids(campaign)
    await store.ledger.record([open_entry(first), close_entry(first, D.FAILED, reason="blocked", code=550)])
    await store.ledger.record([open_entry(second), close_entry(second, D.IN_DOUBT, reason="answer_lost")])
    told = [event for event in await store.events.page(0, 100) if event.type.startswith("delivery.")]
    assert [(event.type, event.data) for event in told] == [
        ("delivery.failed", {"delivery_id": first, "reason": "blocked", "code": 550}),
        ("delivery.in_doubt", {"delivery_id": second, "reason": "answer_lost", "code": 0}),
    ]
    assert all("@" not in str(event.data) for event in await store.events.page(0, 100))


# --- what is due --------------------------------------------------------------------------------


async def test_due_goes_in_id_order_after_a_cursor_and_leaves_out_what_is_not_due(store: Store) -> None:
    campaign = await store.running(*(f"p{n}" for n in range(6)))
    a, b, c, d, e, f = await store.ids(campaign)
    await store.ledger.record([close_entry(a, D.DEFERRED, opened=False, next_at=2000.0)])
    await store.ledger.record([close_entry(d, D.DEFERRED, opened=False, next_at=5000.0)])
    await store.ledger.record([open_entry(b)])

    async def due(now: float, limit: int = 10, after: int = 0) -> list[int]:
        return [row.id for row in await store.ledger.due(campaign.id, now, limit, after)]

    assert await due(1000.0) == [c, e, f]
    assert await due(2000.0) == [a, c, e, f]
    assert await due(2000.0, limit=2) == [a, c]
    assert await due(9000.0, after=c) == [d, e, f]
    assert [await due(9000.0, limit=1, after=n) for n in (0, a, c, d)] == [[a], [c], [d], [e]]
    assert await store.ledger.next_due_at(campaign.id) == 0.0  # at once
    await store.ledger.record([open_entry(n) for n in (c, e, f)])
    assert await store.ledger.next_due_at(campaign.id) == 2000.0


async def test_a_withdrawn_try_may_have_to_wait_too(store: Store) -> None:
    campaign, delivery = await one(store)
    await store.ledger.record([close_entry(delivery, D.PENDING, opened=False, next_at=500.0)])
    assert await store.ledger.next_due_at(campaign.id) == 500.0
    assert await store.ledger.due(campaign.id, 499.0, 10) == []
    assert [row.id for row in await store.ledger.due(campaign.id, 500.0, 10)] == [delivery]


async def test_deferred_ones_are_found_when_nothing_else_is_left(store: Store) -> None:
    campaign = await store.running(*(f"p{n}" for n in range(5)))
    ids = await store.ids(campaign)
    for n, delivery in enumerate(ids):
        await store.ledger.record([close_entry(delivery, D.DEFERRED, opened=False, next_at=100.0 * (5 - n))])
    found = [[row.id for row in await store.ledger.due(campaign.id, now, 3)] for now in (50.0, 250.0, 999.0)]
    assert found == [[], ids[3:], ids[:3]]
    assert await store.ledger.next_due_at(campaign.id) == 100.0
    await store.ledger.record([close_entry(n, D.FAILED, opened=False) for n in ids])
    assert await store.ledger.next_due_at(campaign.id) is None


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (ledger.DUE, "delivery_fresh"),
        (ledger.DUE, "delivery_due"),
        (ledger.DUE_LATER, "delivery_later"),
        (figures.NEXT_DUE, "delivery_later"),
        (recovery.ORPHANS, "attempt_one_open"),
        (requeue.DOUBTFUL, "delivery_trouble"),
        (requeue.FAILURES, "delivery_trouble"),
        (requeue.COUNT_FAILURES, "delivery_trouble"),
        (requeue.REFUSED, "delivery_refused"),
        (requeue.COUNT_REFUSED, "delivery_refused"),
        (deliveries.WAITING_REFUSED, "delivery_refused"),
        (deliveries.FAILURES, "delivery_trouble"),
        (deliveries.IN_STATE[D.FAILED], "delivery_trouble"),
        (deliveries.IN_STATE[D.PENDING], "delivery_fresh"),
        (deliveries.IN_STATE[D.DEFERRED], "delivery_due"),
        (after_restore.OUTSTANDING, "delivery_fresh"),
        (after_restore.OUTSTANDING, "delivery_due"),
        (deliveries.ALL_DELIVERIES, "delivery_campaign"),
    ],
)
async def test_finding_some_of_a_million_uses_an_index(store: Store, statement: str, index: str) -> None:
    asked = ("campaign_id", "now", "limit", "after", "which", "transient", "search", "skip")
    named = dict.fromkeys(asked, 0)
    values = named if ":" in statement else [0] * statement.count("?")
    explained = await store.db.read(
        lambda db: db.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    )
    plan = " / ".join(row["detail"] for row in explained)
    assert f"INDEX {index}" in plan
    assert "SCAN delivery" not in plan


# --- recovery and doubt -------------------------------------------------------------------------


async def test_attempts_open_at_a_crash_are_in_doubt_after_it_and_only_those(
    bridge: Bridge, database_path: Path
) -> None:
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        campaign = await store.running("ann", "bob", "cy", "dee")
        a, b, c, _ = await store.ids(campaign)
        await store.ledger.record([open_entry(a), open_entry(b), open_entry(c), close_entry(c)])
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        recovered = await store.ledger.recover()
        assert (recovered.in_doubt, recovered.total) == ({campaign.id: 2}, 2)
        assert await store.states(campaign) == [D.IN_DOUBT, D.IN_DOUBT, D.SENT, D.PENDING]
        assert (await store.types()).count("delivery.in_doubt") == 2
        assert (await store.ledger.message(a)).attempts[0].outcome == "in_doubt"
        assert (await store.ledger.recover()).total == 0
        await store.check_counters(campaign)


async def test_recovery_leaves_alone_what_this_run_has_open(store: Store) -> None:
    campaign, delivery = await one(store)
    await store.ledger.record([open_entry(delivery)])
    assert (await store.ledger.recover()).total == 0
    assert await store.states(campaign) == [D.SENDING]


async def in_doubt(store: Store, *names: str) -> Campaign:
    campaign = await store.running(*names)
    for delivery in await store.ids(campaign):
        await store.ledger.record([open_entry(delivery), close_entry(delivery, D.IN_DOUBT)])
    return campaign


async def test_released_doubts_are_tried_again_and_marked_as_possible_duplicates(store: Store) -> None:
    campaign = await in_doubt(store, "ann", "bob")
    assert await store.ledger.release_doubts(campaign.id) == 2
    assert await store.ledger.release_doubts(campaign.id) == 0
    rows = await store.ledger.deliveries(campaign.id, D.PENDING)
    assert [(row.doubts, row.attempts, row.reason) for row in rows] == [(1, 1, "possible_duplicate")] * 2
    await store.ledger.record([open_entry(rows[0].id)])
    assert [tried.n for tried in (await store.ledger.message(rows[0].id)).attempts] == [1, 2]
    await store.check_counters(campaign)


@pytest.mark.parametrize(("how", "state"), [("resend", D.PENDING), ("sent", D.SENT), ("failed", D.FAILED)])
async def test_a_person_resolves_doubts_and_each_is_on_record(store: Store, how: str, state: D) -> None:
    campaign = await in_doubt(store, "ann", "bob")
    assert await store.ledger.resolve_doubt(campaign.id, how) == 2  # type: ignore[arg-type]
    assert await store.states(campaign) == [state, state]
    told = [
        event.data["how"] for event in await store.events.page(0, 99) if event.type == "delivery.resolved"
    ]
    assert told == [how, how]
    await store.check_counters(campaign)


async def test_words_that_mean_nothing_are_refused(store: Store) -> None:
    campaign = await in_doubt(store, "ann")
    with pytest.raises(BadInput):
        await store.ledger.resolve_doubt(campaign.id, "perhaps")  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        await store.ledger.requeue(campaign.id, "some")  # type: ignore[arg-type]


async def test_failures_are_queued_again_by_class(store: Store) -> None:
    campaign = await store.running(*(f"p{n}" for n in range(4)))
    reasons = ["gave_up", "mailbox_unknown", "gave_up", "blocked"]
    for delivery, reason in zip(await store.ids(campaign), reasons, strict=True):
        await store.ledger.record([close_entry(delivery, D.FAILED, reason=reason, opened=False, code=451)])
    groups = {(g.reason, g.kind): g.count for g in await store.ledger.failures(campaign.id)}
    assert groups == {
        ("gave_up", "transient"): 2,
        ("mailbox_unknown", "permanent"): 1,
        ("blocked", "permanent"): 1,
    }
    assert await store.ledger.requeue(campaign.id, "transient") == 2
    assert await store.states(campaign) == [D.PENDING, D.FAILED, D.PENDING, D.FAILED]
    assert await store.ledger.requeue(campaign.id, "permanent") == 2
    assert await store.ledger.requeue(campaign.id, "all") == 0
    for due in await store.ledger.due(campaign.id, 0.0, 10):
        assert (due.first_attempt_at, due.attempts) == (None, 1)  # the time to give up starts anew
    await store.check_counters(campaign)


async def test_a_large_requeue_goes_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubd.store.ledger.PAGE", 3)
    campaign = await store.running(*(f"p{n:02}" for n in range(10)))
    for n, delivery in enumerate(await store.ids(campaign)):
        reason = "gave_up" if n % 2 else "blocked"
        await store.ledger.record([close_entry(delivery, D.FAILED, reason=reason, opened=False)])
    assert await store.ledger.requeue(campaign.id, "transient") == 5
    assert await store.ledger.requeue(campaign.id, "all") == 5
    await store.check_counters(campaign)


# --- one-off messages ---------------------------------------------------------------------------


async def transactional_queue(store: Store, key: str = "") -> int:
    queue = await store.campaigns.transactional_queue("outbox", Channel.EMAIL, in_doubt=InDoubt.RETRY)
    spec = store.spec()
    content_id = await store.campaigns.add_content(spec.content(), "single")
    return await store.ledger.add_transactional(
        queue.id, "Ann@example.com", "ann@example.com", {"x": "1"}, content_id, idempotency_key=key
    )


async def test_the_same_address_may_get_many_one_off_messages(store: Store) -> None:
    ids = [await transactional_queue(store) for _ in range(3)]
    queue = await store.campaigns.transactional_queue("outbox", Channel.EMAIL)
    due = await store.ledger.due(queue.id, 0.0, 10)
    assert [row.id for row in due] == ids
    assert due[0].content_id != queue.content_id
    assert (await store.ledger.message(ids[0])).content == store.spec().content()
    assert queue.counts.pending == 3


async def test_a_one_off_message_is_tried_for_five_days(store: Store) -> None:
    await transactional_queue(store)
    queue = await store.campaigns.transactional_queue("outbox", Channel.EMAIL)
    assert queue.give_up_after == 5 * 86_400


async def test_one_request_key_queues_one_message(store: Store) -> None:
    assert (
        await transactional_queue(store, "k")
        == await transactional_queue(store, "k")
        != await transactional_queue(store, "other")
    )
    assert (await store.campaigns.transactional_queue("outbox", Channel.EMAIL)).counts.total == 2


async def test_a_suppressed_address_gets_no_one_off_message_either(store: Store) -> None:
    await store.contacts.suppress(Channel.EMAIL, "ann@example.com", "opted_out", "test")
    delivery = await transactional_queue(store)
    assert await store.ledger.record([open_entry(delivery)]) == [Rejection(why="suppressed", skipped=True)]


# --- many at once, and everything at random -----------------------------------------------------


async def test_many_workers_at_once_lose_and_double_nobody(store: Store) -> None:
    campaign = await store.running(*(f"p{n}" for n in range(60)))
    waiting = await store.ids(campaign) * 2  # every delivery is tried by two workers
    opened: list[int] = []

    async def worker() -> None:
        last: list[Entry] = []
        while waiting:
            delivery = waiting.pop()
            results = await store.ledger.record([*last, open_entry(delivery)])
            last = []
            if results[-1] is None:
                opened.append(delivery)
                last = [close_entry(delivery)]
        await store.ledger.record(last)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(worker)
    assert sorted(opened) == await store.ids(campaign)
    counts = (await store.campaigns.by_id(campaign.id)).counts
    assert (counts.sent, counts.total) == (60, 60)
    await store.check_counters(campaign)


PEOPLE = 4
people = st.integers(0, PEOPLE - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), people),
        st.tuples(st.just("close"), people, st.sampled_from(list(DeliveryState)), st.booleans()),
        st.tuples(st.just("suppress"), people),
        st.tuples(st.just("requeue"), st.sampled_from(["transient", "permanent", "all"])),
        st.tuples(st.just("resolve"), st.sampled_from(["resend", "sent", "failed"])),
        st.tuples(st.just("crash")),
        st.tuples(st.just("move"), st.sampled_from([CampaignState.RUNNING, CampaignState.PAUSED])),
    ),
    max_size=40,
)


@settings(max_examples=25)
@given(steps)
def test_after_anything_at_all_the_counters_equal_a_recount(walk: list[tuple[object, ...]]) -> None:
    """Also: the total never changes, and an attempt is open exactly where a delivery is `sending`."""
    with tempfile.TemporaryDirectory() as directory:
        trio.run(_walk, Path(directory) / "state" / "hub.db", walk)


async def _walk(path: Path, walk: list[tuple[object, ...]]) -> None:
    make_database(path)
    async with open_bridge() as bridge:
        async with open_database(path, bridge) as database:
            campaign = await Store(database).running(*(f"p{n}" for n in range(PEOPLE)))
        at = 0
        while at < len(walk) or at == 0:
            async with open_database(path, bridge) as database:
                store = Store(database)
                await store.ledger.recover()
                ids = await store.ids(campaign)
                while at < len(walk) and walk[at][0] != "crash":
                    await _step(store, campaign, ids, walk[at])
                    await _check(store, campaign)
                    at += 1
                at += 1


async def _step(store: Store, campaign: Campaign, ids: list[int], step: tuple[object, ...]) -> None:
    try:
        match step:
            case ("open", int(n)):
                await store.ledger.record([open_entry(ids[n])])
            case ("close", int(n), DeliveryState() as to, bool(opened)):
                await store.ledger.record([close_entry(ids[n], to, opened=opened, reason="gave_up")])
            case ("suppress", int(n)):
                await store.contacts.suppress(Channel.EMAIL, f"p{n}@example.com", "asked", "test")
            case ("requeue", which):
                await store.ledger.requeue(campaign.id, which)  # type: ignore[arg-type]
            case ("resolve", how):
                await store.ledger.resolve_doubt(campaign.id, how)  # type: ignore[arg-type]
            case ("move", CampaignState() as to):
                await store.move(campaign, to)
    except HubError:
        pass  # illegal here: it must have changed nothing, which the check that follows sees


async def _check(store: Store, campaign: Campaign) -> None:
    await store.check_counters(campaign)
    assert (await store.campaigns.by_id(campaign.id)).counts.total == PEOPLE
    for row in await store.ledger.deliveries(campaign.id):
        attempts = (await store.ledger.message(row.id)).attempts
        assert [tried.n for tried in attempts] == list(range(1, len(attempts) + 1))
        assert sum(tried.outcome is None for tried in attempts) == (row.state is D.SENDING)
        assert row.attempts == sum(tried.outcome not in (None, "withdrawn") for tried in attempts)
