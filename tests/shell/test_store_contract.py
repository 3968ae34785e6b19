"""What the engine relies on, held against every store that it may be given: all must agree."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from hubd.bridge import open_bridge
from hubd.core.ledger import Close, Entry, Open, Rejection, Requeue
from hubd.core.lifecycle import CampaignEvent
from hubd.core.model import Campaign, CampaignState, Channel, Content, DeliveryState
from hubd.engine.ports import Campaigns, Ledger
from hubd.errors import Conflict, HubError, InvalidTransition, NotFound
from hubd.store.contacts import SUPPRESS
from hubd.store.database import open_database
from tests.fakes import FakeStore
from tests.shell.conftest import Store
from tests.shell.made_database import make_database

D = DeliveryState
NOW = 1_000.0
PEOPLE = ("ann", "bob", "cyd", "dan")


class Stage(Protocol):
    """A running campaign of four, and what the engine is given to work on it."""

    ledger: Ledger

    async def campaign(self) -> Campaign: ...
    async def ids(self) -> list[int]: ...
    async def states(self) -> list[DeliveryState]: ...
    async def suppress(self, delivery_id: int) -> None: ...
    async def complete(self) -> Campaign: ...


class SqliteStage:
    """On a file of its own."""

    def __init__(self, store: Store, campaign: Campaign) -> None:
        self.ledger: Ledger = store.ledger
        self._store = store
        self._campaign = campaign

    async def campaign(self) -> Campaign:
        return await self._store.campaigns.by_id(self._campaign.id)

    async def ids(self) -> list[int]:
        return await self._store.ids(self._campaign)

    async def states(self) -> list[DeliveryState]:
        return await self._store.states(self._campaign)

    async def suppress(self, delivery_id: int) -> None:
        row = (await self._store.ledger.message(delivery_id)).delivery
        values = (Channel.EMAIL, row.recipient, "opted_out", "an answer elsewhere", NOW)
        await self._store.db.write(lambda unit: unit.db.execute(SUPPRESS, values))

    async def complete(self) -> Campaign:
        return await complete(self._store.campaigns, self._campaign)


class FakeStage:
    """In memory, as the tests of the engine use it."""

    def __init__(self) -> None:
        self._store = FakeStore()
        content = Content(channel=Channel.EMAIL, sender="a@acme.example", subject="s", text="t")
        self._campaign = self._store.add_campaign("fake", len(PEOPLE), content)
        self.ledger: Ledger = self._store

    async def campaign(self) -> Campaign:
        return await self._store.by_id(self._campaign.id)

    async def ids(self) -> list[int]:
        return list(self._store.rows)

    async def states(self) -> list[DeliveryState]:
        return [row.state for row in self._store.rows.values()]

    async def suppress(self, delivery_id: int) -> None:
        self._store.suppressed[self._store.rows[delivery_id].due.recipient] = "opted_out"

    async def complete(self) -> Campaign:
        return await complete(self._store, self._campaign)


async def complete(campaigns: Campaigns, campaign: Campaign) -> Campaign:
    return await campaigns.move(
        campaign.id, [CampaignState.RUNNING], CampaignState.COMPLETED, event=CampaignEvent.COMPLETE
    )


@asynccontextmanager
async def sqlite_stage(directory: Path) -> AsyncIterator[Stage]:
    make_database(directory / "state" / "hub.db")
    async with open_bridge() as bridge, open_database(directory / "state" / "hub.db", bridge) as database:
        store = Store(database)
        yield SqliteStage(store, await store.running(*PEOPLE))


@asynccontextmanager
async def fake_stage(_: Path) -> AsyncIterator[Stage]:
    yield FakeStage()


#: Every store that the engine may be given. One more engine is one more row.
STORES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[Stage]]] = {
    "sqlite": sqlite_stage,
    "fake": fake_stage,
}


@pytest.fixture(params=STORES)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with STORES[request.param](tmp_path) as stage:
        yield stage


def opening(delivery_id: int) -> Open:
    return Open(
        delivery_id=delivery_id, provider="p", message_id=f"<{delivery_id}@x>", content_hash="h", at=NOW
    )


def closing(
    delivery_id: int,
    to: DeliveryState,
    *,
    opened: bool = True,
    next_at: float | None = None,
    suppress: str = "",
) -> Close:
    return Close(
        delivery_id=delivery_id, to=to, reason="" if to is D.SENT else "why", opened=opened, next_at=next_at,
        suppress=suppress, provider="p", at=NOW,
    )  # fmt: skip


async def due(stage: Stage, now: float = NOW, after: int = 0) -> list[int]:
    campaign = await stage.campaign()
    return [row.id for row in await stage.ledger.due(campaign.id, now, 10, after)]


async def record(stage: Stage, *entries: Entry) -> Sequence[object]:
    return await stage.ledger.record(entries)


async def test_what_is_due_comes_in_id_order_after_the_cursor(stage: Stage) -> None:
    ids = await stage.ids()
    assert await due(stage) == ids
    assert await due(stage, after=ids[1]) == ids[2:]


async def test_what_is_open_is_not_due_and_what_is_sent_never_again(stage: Stage) -> None:
    first, second, *rest = await stage.ids()
    assert await record(stage, opening(first)) == [None]
    assert await due(stage) == [second, *rest]
    assert await record(stage, closing(first, D.SENT), opening(second)) == [None, None]
    assert await record(stage, closing(second, D.SENT)) == [None]
    assert await due(stage) == rest
    assert (await stage.states())[:2] == [D.SENT, D.SENT]


async def test_a_deferred_one_is_due_at_its_time_and_counts_its_tries(stage: Stage) -> None:
    first, *rest = await stage.ids()
    await record(stage, opening(first), closing(first, D.DEFERRED, next_at=NOW + 60))
    assert await due(stage, NOW + 59) == rest
    assert await due(stage, NOW + 60) == [first, *rest]
    (row, *_) = await stage.ledger.due((await stage.campaign()).id, NOW + 60, 1, 0)
    assert (row.attempts, row.first_attempt_at, row.next_at) == (1, NOW, NOW + 60)


async def test_a_withdrawn_try_does_not_count(stage: Stage) -> None:
    first, *_ = await stage.ids()
    await record(stage, opening(first), closing(first, D.PENDING))
    (row, *_) = await stage.ledger.due((await stage.campaign()).id, NOW, 1, 0)
    assert (row.id, row.attempts) == (first, 0)


async def test_one_that_waits_for_its_window_is_untouched_and_due_when_it_opens(stage: Stage) -> None:
    first, *rest = await stage.ids()
    await record(stage, closing(first, D.PENDING, opened=False, next_at=NOW + 60))
    assert await due(stage) == rest
    (row, *_) = await stage.ledger.due((await stage.campaign()).id, NOW + 60, 1, 0)
    assert (row.id, row.attempts) == (first, 0)


async def test_a_refusal_before_the_gate_is_a_try_without_an_open_attempt(stage: Stage) -> None:
    first, second, *rest = await stage.ids()
    await record(stage, closing(first, D.FAILED, opened=False))
    await record(stage, closing(second, D.DEFERRED, opened=False, next_at=NOW))
    assert (await stage.states())[:2] == [D.FAILED, D.DEFERRED]
    (row, *_) = await stage.ledger.due((await stage.campaign()).id, NOW, 1, 0)
    assert (row.id, row.attempts) == (second, 1)
    assert await due(stage) == [second, *rest]


async def test_a_suppressed_recipient_is_skipped_at_the_open(stage: Stage) -> None:
    first, *rest = await stage.ids()
    await stage.suppress(first)
    (refusal,) = await stage.ledger.record([opening(first)])
    assert refusal is not None
    assert refusal.skipped
    assert (await stage.states())[0] is D.SKIPPED
    assert await due(stage) == rest


async def test_a_second_open_of_one_delivery_is_refused(stage: Stage) -> None:
    first, *_ = await stage.ids()
    await record(stage, opening(first))
    (refusal,) = await stage.ledger.record([opening(first)])
    assert refusal is not None
    assert not refusal.skipped
    assert (await stage.states())[0] is D.SENDING


async def test_when_the_next_one_is_due(stage: Stage) -> None:
    number = (await stage.campaign()).id
    assert await stage.ledger.next_due_at(number) == 0.0
    for delivery_id in await stage.ids():
        await record(stage, opening(delivery_id), closing(delivery_id, D.DEFERRED, next_at=NOW + delivery_id))
    assert await stage.ledger.next_due_at(number) == NOW + min(await stage.ids())
    for delivery_id in await stage.ids():
        await record(stage, opening(delivery_id), closing(delivery_id, D.SENT))
    assert await stage.ledger.next_due_at(number) is None


async def test_a_crash_puts_open_attempts_in_doubt_and_a_policy_releases_them_three_times(
    stage: Stage,
) -> None:
    first, *_ = await stage.ids()
    number = (await stage.campaign()).id
    for _ in range(3):
        await record(stage, opening(first))
        assert await stage.ledger.abandon(number) == 1
        assert (await stage.states())[0] is D.IN_DOUBT
        assert await stage.ledger.release_doubts(number) == 1
        assert (await stage.states())[0] is D.PENDING
    await record(stage, opening(first), closing(first, D.IN_DOUBT))
    assert await stage.ledger.release_doubts(number) == 0
    assert (await stage.states())[0] is D.IN_DOUBT


async def test_counters_follow_every_entry(stage: Stage) -> None:
    first, second, third, _ = await stage.ids()
    await record(stage, opening(first), closing(first, D.SENT), opening(second))
    await record(stage, closing(third, D.FAILED, opened=False))
    campaign = await stage.campaign()
    counts = (await stage.ledger.counts([campaign.id]))[campaign.id]
    assert (counts.total, counts.sent, counts.sending, counts.failed, counts.pending) == (4, 1, 1, 1, 1)
    assert counts == campaign.counts


async def test_a_failure_can_be_put_back_and_counts_its_time_anew(stage: Stage) -> None:
    first, *rest = await stage.ids()
    await record(stage, opening(first), closing(first, D.FAILED))
    assert await due(stage) == rest
    assert await record(stage, Requeue(delivery_id=first, at=NOW)) == [None]
    (row, *_) = await stage.ledger.due((await stage.campaign()).id, NOW, 1, 0)
    assert (row.id, row.attempts, row.first_attempt_at, row.next_at) == (first, 1, None, None)
    assert (await stage.states())[0] is D.PENDING


async def test_a_deferred_one_can_be_put_back_and_is_due_at_once_as_if_never_tried(stage: Stage) -> None:
    first, *rest = await stage.ids()
    await record(stage, opening(first), closing(first, D.DEFERRED, next_at=NOW + 60))
    assert await due(stage) == rest
    assert await record(stage, Requeue(delivery_id=first, at=NOW)) == [None]
    (row, *_) = await stage.ledger.due((await stage.campaign()).id, NOW, 1, 0)
    assert (row.id, row.attempts, row.first_attempt_at, row.next_at) == (first, 1, None, None)
    assert (await stage.states())[0] is D.PENDING


async def test_how_a_recipient_was_refused_when_the_campaign_paused_is_remembered(stage: Stage) -> None:
    """One had failed and is put back, one was put back at once: the next run knows both refusals."""
    first, second, third, _ = await stage.ids()
    failed = Close(delivery_id=first, to=D.FAILED, reason="content_refused", opened=False, at=NOW)
    paused = Close(
        delivery_id=second,
        to=D.PENDING,
        reason="content_refused",
        refused="content_refused",
        opened=False,
        at=NOW,
    )
    later = Close(delivery_id=third, to=D.DEFERRED, reason="refused_for_now", opened=False, at=NOW)
    await record(stage, failed, paused, later)
    await record(stage, Requeue(delivery_id=first, at=NOW), Requeue(delivery_id=third, at=NOW))
    waits = Close(delivery_id=second, to=D.PENDING, reason="window_closed", next_at=NOW, opened=False, at=NOW)
    await record(stage, waits)
    campaign = await stage.campaign()
    rows = await stage.ledger.due(campaign.id, NOW, 10, 0)
    assert [row.refused for row in rows] == ["content_refused", "content_refused", "", ""]
    assert [row.attempts for row in rows] == [1, 0, 1, 0]


@pytest.mark.parametrize("state", [D.PENDING, D.SENDING, D.SENT, D.IN_DOUBT])
async def test_only_what_was_refused_can_be_put_back(stage: Stage, state: DeliveryState) -> None:
    first, *_ = await stage.ids()
    if state is not D.PENDING:
        await record(stage, opening(first))
    if state not in (D.PENDING, D.SENDING):
        await record(stage, closing(first, state))
    with pytest.raises(InvalidTransition):
        await record(stage, Requeue(delivery_id=first, at=NOW))
    assert (await stage.states())[0] is state


@pytest.mark.parametrize("state", [D.SENT, D.FAILED, D.IN_DOUBT])
async def test_a_try_that_was_not_opened_is_refused_when_the_delivery_waits_no_more(
    stage: Stage, state: DeliveryState
) -> None:
    first, *_ = await stage.ids()
    await record(stage, opening(first), closing(first, state))
    before = await stage.campaign()
    for to in (D.FAILED, D.DEFERRED, D.PENDING):
        late = closing(first, to, opened=False, next_at=NOW)
        assert await record(stage, late) == [Rejection(why="delivery_state")]
    assert (await stage.states())[0] is state
    assert (await stage.campaign()).counts == before.counts


async def test_a_suppressed_one_cannot_fail_any_more(stage: Stage) -> None:
    first, *_ = await stage.ids()
    await stage.suppress(first)
    await record(stage, opening(first))
    assert await record(stage, closing(first, D.FAILED, opened=False)) == [Rejection(why="delivery_state")]
    assert (await stage.states())[0] is D.SKIPPED


async def test_released_doubts_can_be_made_to_wait(stage: Stage) -> None:
    first, *rest = await stage.ids()
    number = (await stage.campaign()).id
    await record(stage, opening(first), closing(first, D.IN_DOUBT))
    assert await stage.ledger.release_doubts(number, again_at=NOW + 60) == 1
    assert await due(stage, NOW + 59) == rest
    assert await due(stage, NOW + 60) == [first, *rest]
    for delivery_id in rest:
        await record(stage, opening(delivery_id), closing(delivery_id, D.SENT))
    assert await stage.ledger.next_due_at(number) == NOW + 60


async def test_a_campaign_with_something_left_to_do_is_not_completed(stage: Stage) -> None:
    first, second, *rest = await stage.ids()
    for delivery_id in rest:
        await record(stage, opening(delivery_id), closing(delivery_id, D.SENT))
    await record(stage, opening(first), closing(first, D.DEFERRED, next_at=NOW), opening(second))
    for entry in (closing(first, D.FAILED, opened=False), closing(second, D.IN_DOUBT)):
        with pytest.raises(Conflict) as caught:
            await stage.complete()
        assert caught.value.code == "not_settled"
        assert (await stage.campaign()).state is CampaignState.RUNNING
        await record(stage, entry)
    assert (await stage.complete()).state is CampaignState.COMPLETED


@pytest.mark.parametrize(
    ("faulty", "error"),
    [
        (lambda ids: closing(ids[3], D.SENT), Conflict),  # nothing to close
        (lambda ids: closing(ids[2], D.FAILED, opened=False), Conflict),  # an attempt is open
        (lambda ids: closing(ids[2], D.PENDING, opened=False, next_at=NOW), Conflict),
        (lambda ids: closing(ids[3], D.SENT, opened=False), InvalidTransition),
        (lambda ids: Requeue(delivery_id=ids[3], at=NOW), InvalidTransition),
        (lambda ids: opening(max(ids) + 1), NotFound),
        (lambda ids: closing(max(ids) + 1, D.SENT), NotFound),
        (lambda ids: Requeue(delivery_id=max(ids) + 1, at=NOW), NotFound),
    ],
)
async def test_one_faulty_entry_and_nothing_of_the_others_is_written(
    stage: Stage, faulty: Callable[[list[int]], Entry], error: type[HubError]
) -> None:
    ids = first, second, third, _ = await stage.ids()
    await record(stage, opening(first), opening(third))
    before = await stage.campaign()
    refused = closing(second, D.FAILED, opened=False, suppress="mailbox_unknown")
    with pytest.raises(error):
        await record(stage, closing(first, D.SENT), refused, faulty(list(ids)))
    assert await stage.states() == [D.SENDING, D.PENDING, D.SENDING, D.PENDING]
    assert (await stage.campaign()).counts == before.counts
    assert await record(stage, closing(first, D.SENT), opening(second)) == [None, None]
