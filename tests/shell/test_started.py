"""A campaign that was started before: what is told of it is about who is left, not about everybody again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hubd.client import Client, open_client
from hubd.core.model import Channel
from hubd.core.model import DeliveryState as D
from tests.shell.conftest import Store, close_entry
from tests.shell.open_hub import open_hub
from tests.shell.test_methods import apply, import_people, until


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        yield hub


async def test_what_is_left_is_told_beside_what_there_was(hub: Client) -> None:
    await import_people(hub, 5)
    await apply(hub)
    await hub.call("campaign.start", name="spring", limit=2)
    await until(hub, "spring", "paused")
    found = await hub.call("campaign.check", name="spring")
    assert (found["recipients"], found["remaining"], found["estimate"]["messages"]) == (5, 3, 3)
    would = (await hub.call("campaign.start", name="spring", dry_run=True))["would"]
    assert (would["recipients"], would["remaining"], would["estimate"]["messages"]) == (5, 3, 3)


async def test_everybody_is_left_of_a_draft(hub: Client) -> None:
    await import_people(hub, 5)
    await apply(hub)
    found = await hub.call("campaign.check", name="spring")
    assert (found["recipients"], found["remaining"]) == (5, 5)


async def test_what_has_completed_is_not_fit_to_start(hub: Client) -> None:
    await import_people(hub, 2)
    await apply(hub)
    await hub.call("campaign.start", name="spring")
    await until(hub, "spring", "completed")
    found = await hub.call("campaign.check", name="spring")
    assert not found["ok"]
    assert "completed" in found["problems"][0]["problem"]


async def test_who_was_suppressed_since_is_not_tried_again_and_is_counted(store: Store) -> None:
    campaign = await store.running("ann", "bob", "cyd", "dan")
    reasons = ["mailbox_unknown", "mailbox_unknown", "gave_up", "blocked"]
    for delivery, reason in zip(await store.ids(campaign), reasons, strict=True):
        await store.ledger.record([close_entry(delivery, D.FAILED, reason=reason, opened=False)])
    await store.contacts.suppress(Channel.EMAIL, "ann@example.com", "mailbox_unknown", "test")
    assert await store.ledger.requeue(campaign.id, "transient") == 1
    left = await store.ledger.not_requeued(campaign.id)
    assert (left.suppressed, left.others) == (1, 2)
    assert await store.ledger.requeue(campaign.id, "permanent") == 2
    assert await store.states(campaign) == [D.FAILED, D.PENDING, D.PENDING, D.PENDING]
    left = await store.ledger.not_requeued(campaign.id)
    assert (left.suppressed, left.others) == (1, 0)
    await store.contacts.unsuppress(Channel.EMAIL, "ann@example.com")
    assert await store.ledger.requeue(campaign.id, "all") == 1
    await store.check_counters(campaign)
