"""Recipients whose refusals paused a campaign: each resume goes further, and a person can fail just them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubd.bridge import Bridge
from hubd.client import Client, open_client
from hubd.core.ledger import Requeue
from hubd.core.model import Answer, CampaignState, DeliveryState, RenderedMessage, Stage
from hubd.core.systemic_failure import LIMIT, WINDOW
from hubd.errors import InvalidTransition
from hubd.store.database import open_database
from tests.fakes import ACCEPTED, FakeStore, FakeTransport
from tests.shell.conftest import Store, close_entry
from tests.shell.engine_world import EMAIL, world
from tests.shell.open_hub import Served
from tests.shell.test_methods import apply, import_people, until

D = DeliveryState
NO = Answer(stage=Stage.RCPT, code=550, text="xyzzy")
BLOCKED = Answer(stage=Stage.RCPT, code=554, enhanced="5.7.1", text="blocked")


def refusing(bad: Callable[[int], bool], answer: Answer = NO) -> Callable[[RenderedMessage], Answer | None]:
    """Refuse these recipients at RCPT, each time."""
    return lambda rendered: answer if bad(rendered.delivery_id) else None


# --- the engine ------------------------------------------------------------------


@pytest.mark.parametrize("answer", [NO, BLOCKED])
@pytest.mark.parametrize("stale", [8, 23])
async def test_every_resume_goes_further_and_the_good_ones_get_their_message(
    answer: Answer, stale: int, autojump_clock: trio.testing.MockClock
) -> None:
    store, transport = FakeStore(), FakeTransport(refuse=refusing(lambda n: n <= stale, answer))
    campaign = store.add_campaign("stale", 300, EMAIL)
    failed = [0]
    async with world(store, transport) as here:
        while (campaign := await here.ended(campaign)).state is CampaignState.PAUSED:
            assert "in a row" in campaign.reason
            failed.append(store.states(campaign.id).get(D.FAILED, 0))
            assert len(failed) == 2 or failed[-1] >= failed[-2] + LIMIT, "a resume without progress"
            await here.supervisor.resume("stale")
    assert campaign.state is CampaignState.COMPLETED
    assert store.states(campaign.id) == {D.FAILED: stale, D.SENT: 300 - stale}


async def test_a_refusal_of_everybody_fails_no_more_people_a_resume_than_it_took_to_pause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, transport = FakeStore(), FakeTransport(refuse=refusing(lambda n: n > 40, BLOCKED))
    campaign = store.add_campaign("blocked", 300, EMAIL)
    async with world(store, transport) as here:
        for resumes in range(5):
            campaign = await here.ended(campaign)
            assert campaign.state is CampaignState.PAUSED
            lost = store.states(campaign.id).get(D.FAILED, 0)
            assert lost <= resumes * (WINDOW + transport.connections)
            assert (lost == 0) is (resumes == 0)
            if resumes < 4:
                await here.supervisor.resume("blocked")
        transport.refuse = refusing(lambda n: False)
        await here.supervisor.resume("blocked")
        campaign = await here.ended(campaign)
    assert store.states(campaign.id) == {D.SENT: 300 - lost, D.FAILED: lost}


async def test_refusals_after_the_message_are_remembered_too(autojump_clock: trio.testing.MockClock) -> None:
    spam = Answer(stage=Stage.DOT, code=554, enhanced="5.7.1", text="spam")
    store = FakeStore()
    transport = FakeTransport(answer=lambda rendered: spam if rendered.delivery_id <= 8 else ACCEPTED)
    campaign = store.add_campaign("spam", 100, EMAIL)
    async with world(store, transport) as here:
        for _ in range(4):
            campaign = await here.ended(campaign)
            if campaign.state is CampaignState.COMPLETED:
                break
            await here.supervisor.resume("spam")
    assert store.states(campaign.id) == {D.FAILED: 8, D.SENT: 92}


# --- the ledger ------------------------------------------------------------------


async def test_they_are_known_after_a_restart(bridge: Bridge, database_path: Path) -> None:
    waits = {"reason": "recipient_refused", "refused": "recipient_refused", "code": 550, "opened": False}
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        campaign = await store.running("a", "b", "c")
        first, second, _ = await store.ids(campaign)
        await store.ledger.record(
            [
                close_entry(first, D.FAILED, reason="recipient_refused", opened=False),
                close_entry(second, D.PENDING, **waits),
                Requeue(delivery_id=first, at=1000.0),
            ]
        )
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        assert await store.ledger.refused(campaign.id) == 2
        rows = await store.ledger.deliveries(campaign.id, refused=True)
        assert [(row.id, row.state, row.reason) for row in rows] == [
            (first, D.PENDING, "recipient_refused"),
            (second, D.PENDING, "recipient_refused"),
        ]
        assert await store.ledger.fail_refused(campaign.id) == 0, "in one that runs they are being tried"
        await store.move(campaign, CampaignState.PAUSED)
        assert await store.ledger.fail_refused(campaign.id) == 2
        assert await store.ledger.refused(campaign.id) == 0
        assert await store.ledger.fail_refused(campaign.id) == 0
        assert await store.states(campaign) == [D.FAILED, D.FAILED, D.PENDING]
        await store.check_counters(campaign)


async def test_the_figures_of_several_campaigns_are_each_ones_own(store: Store) -> None:
    paused = await store.running("a", "b", name="spring")
    first, _ = await store.ids(paused)
    waits = {"reason": "recipient_refused", "refused": "recipient_refused", "code": 550, "opened": False}
    await store.ledger.record([close_entry(first, D.PENDING, **waits)])
    paused = await store.move(paused, CampaignState.PAUSED)
    running = await store.running(name="summer", schedule={"window": "08:00-21:00"})
    found = await store.ledger.figures([paused, running])
    assert (found[paused.id].refused, found[paused.id].next_due_at) == (1, None)
    assert (found[running.id].refused, found[running.id].next_due_at) == (0, 0.0)
    assert {each.possible_duplicates for each in found.values()} == {0}


async def test_who_is_retried_by_a_person_begins_anew(store: Store) -> None:
    campaign = await store.running("a")
    (first,) = await store.ids(campaign)
    await store.ledger.record(
        [
            close_entry(first, D.FAILED, reason="content_refused", opened=False),
            Requeue(delivery_id=first, at=1000.0),
            close_entry(first, D.FAILED, reason="content_refused", opened=False),
        ]
    )
    assert await store.ledger.requeue(campaign.id, "all") == 1
    (row,) = await store.ledger.due(campaign.id, 1000.0, 10)
    assert (row.refused, await store.ledger.refused(campaign.id)) == ("", 0)


# --- the methods ------------------------------------------------------------------


async def paused_with(hub: Client, served: Served, refused: int) -> list[int]:
    """A paused campaign of five with some refused recipients; their ids."""
    await import_people(hub, 5)
    await apply(hub)
    await hub.call("campaign.start", name="spring", limit=1)
    await until(hub, "spring", "paused")
    rows = (await hub.call("delivery.list", campaign="spring", state="pending"))["deliveries"]
    ids = [row["id"] for row in rows][:refused]
    marks: dict[str, Any] = {"reason": "recipient_refused", "refused": "recipient_refused", "opened": False}
    ledger: Any = served.hub.ledger  # the real one, of which the methods use less
    await ledger.record([close_entry(n, D.PENDING, **marks) for n in ids])
    return ids


async def test_a_paused_campaign_names_them_and_fails_exactly_them(served: Served) -> None:
    async with open_client(served.path) as hub:
        ids = await paused_with(hub, served, 2)
        view = (await hub.call("campaign.get", name="spring"))["campaign"]
        assert view["refused"] == 2
        listed = (await hub.call("delivery.list", campaign="spring", refused=True))["deliveries"]
        assert [row["id"] for row in listed] == ids
        done = await hub.call("campaign.resume", name="spring", fail_refused=True)
        assert (done["changed"], done["failed"], done["campaign"]["refused"]) == (True, 2, 0)
        view = await until(hub, "spring", "completed")
        assert (view["counts"]["failed"], view["counts"]["sent"]) == (2, 3)
        failed = (await hub.call("delivery.list", campaign="spring", state="failed"))["deliveries"]
        assert [(row["id"], row["reason"]) for row in failed] == [(n, "recipient_refused") for n in ids]
        with pytest.raises(InvalidTransition):
            await hub.call("campaign.resume", name="spring", fail_refused=True)


async def test_a_resume_without_a_word_on_them_tries_them(served: Served) -> None:
    async with open_client(served.path) as hub:
        await paused_with(hub, served, 2)
        done = await hub.call("campaign.resume", name="spring")
        assert (done["changed"], done["failed"]) == (True, 0)
        view = await until(hub, "spring", "completed")
        assert (view["counts"]["sent"], view["refused"]) == (5, 0)
