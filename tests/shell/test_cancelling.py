"""Who was removed, or is suppressed, gets nothing more from any campaign, and no copy of their data stays."""

from __future__ import annotations

import pytest
import trio

from hubd.client import open_client
from hubd.core.ledger import Requeue
from hubd.core.model import Campaign, CampaignState, Channel, Content, DeliveryState
from hubd.core.outcome import close_cancelled
from hubd.core.records import EventRow
from hubd.errors import InvalidTransition
from hubd.store.database import Unit
from hubd.store.transaction import Transaction
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.open_hub import Served
from tests.shell.test_methods import apply, import_people, until

D = DeliveryState
ANN = "ann@example.com"


async def two_campaigns(store: Store) -> tuple[Campaign, Campaign]:
    """One that runs and one that is paused; Ann is the first recipient of both."""
    running = await store.running("ann", "bob")
    paused = await store.running("ann", "bob", name="paused")
    await store.move(paused, CampaignState.PAUSED)
    return running, paused


async def copies(store: Store, address: str) -> list[str]:
    """The copies of a contact's data in all messages to an address."""

    def work(db: Transaction) -> list[str]:
        rows = db.execute("SELECT fields FROM delivery WHERE address_key = ? ORDER BY id", (address,))
        return [fields for (fields,) in rows]

    return await store.db.read(work)


async def told(store: Store) -> list[EventRow]:
    return [event for event in await store.events.page(0, 100) if event.type == "delivery.cancelled"]


async def test_removing_a_contact_cancels_what_waits_for_it_in_every_campaign(store: Store) -> None:
    campaigns = await two_campaigns(store)
    first = (await store.ids(campaigns[0]))[0]
    deferred = close_entry(first, D.DEFERRED, reason="greylisted", next_at=2000.0)
    await store.ledger.record([open_entry(first), deferred])
    await store.contacts.remove(ANN)
    for campaign in campaigns:
        assert await store.states(campaign) == [D.SKIPPED, D.PENDING]
        assert (await store.ledger.deliveries(campaign.id))[0].reason == "cancelled"
        await store.check_counters(campaign)
    assert [event.data["count"] for event in await told(store)] == [1, 1]


async def test_no_copy_of_a_removed_contact_stays_in_messages_sent_or_not(store: Store) -> None:
    running, _ = await two_campaigns(store)
    first = (await store.ids(running))[0]
    await store.ledger.record([open_entry(first), close_entry(first)])
    one_off = await store.campaigns.transactional_queue("outbox", Channel.EMAIL)
    await store.ledger.add_transactional(
        one_off.id, ANN, ANN, {"email": ANN, "code": "1234"}, one_off.content_id
    )
    await store.contacts.remove(ANN)
    assert await copies(store, ANN) == ["{}"] * 2
    (one,) = await store.ids(one_off)
    assert await copies(store, f"erased:{one}") == ["{}"]
    assert (await store.ledger.message(first)).delivery.state is D.SENT
    assert await store.states(one_off) == [D.SKIPPED]
    await store.check_counters(one_off)
    assert "Bob" in (await copies(store, "bob@example.com"))[0]


async def test_nothing_of_a_contact_without_an_address_of_the_channel_stays(store: Store) -> None:
    await store.people("ann", phone=True)
    campaign = await store.draft()
    await store.move(campaign, CampaignState.RUNNING)
    await store.freeze(campaign)
    assert await store.states(campaign) == [D.SKIPPED]
    (contact,) = await store.contacts.page()
    await store.contacts.remove(contact.contact_id)
    assert await copies(store, f"contact:{contact.id}") == ["{}"]
    assert (await store.ledger.deliveries(campaign.id))[0].reason == "invalid_address"


async def test_suppressing_an_address_cancels_what_waits_for_it_at_once(store: Store) -> None:
    campaigns = await two_campaigns(store)
    first = (await store.ids(campaigns[0]))[0]
    await store.ledger.record([open_entry(first), close_entry(first)])
    await store.contacts.suppress(Channel.EMAIL, ANN, "opted_out", "operator")
    assert await store.states(campaigns[0]) == [D.SENT, D.PENDING]
    assert await store.states(campaigns[1]) == [D.SKIPPED, D.PENDING]
    assert (await store.ledger.deliveries(campaigns[1].id))[0].reason == "opted_out"
    sent, cancelled = await copies(store, ANN)
    assert "Ann" in sent  # the contact is still there
    assert cancelled == "{}"


#: What becomes of the message that was on the wire, and the request that lets it be tried again.
BACK: dict[str, tuple[str, str, dict[str, str]]] = {
    "a refusal for now": ("deferred", "campaign.resume", {}),
    "a doubt that is resent": ("in_doubt", "campaign.retry", {"in_doubt": "resend"}),
    "a retry": ("failed", "campaign.retry", {"class": "all"}),
}


@pytest.mark.parametrize("how", BACK)
async def test_a_message_on_the_wire_is_not_tried_again_once_its_contact_is_removed(
    served: Served, how: str
) -> None:
    state, method, params = BACK[how]
    async with open_client(served.path) as hub:
        await import_people(hub, 1)
        await apply(hub)
        await hub.call("campaign.start", name="spring", limit=1)
        await until(hub, "spring", "completed")

        def lost(unit: Unit) -> None:
            unit.db.execute("UPDATE delivery SET state = ?, next_at = ?", (state, unit.now - 1))
            unit.db.execute("UPDATE campaign SET state = 'paused'")
            unit.db.execute(f"UPDATE campaign_count SET n_{state} = 1, n_sent = 0")

        (contact,) = (await hub.call("contacts.list"))["contacts"]
        assert (await hub.call("contacts.remove", key=contact["email"]))["cancelled"] == 0
        await served.database.write(lost)
        await hub.call(method, name="spring", **params)
        if method == "campaign.retry":
            await hub.call("campaign.resume", name="spring")
        await until(hub, "spring", "completed")
        (delivery,) = (await hub.call("delivery.list", campaign="spring"))["deliveries"]
        # A failure whose fields are gone is not queued again, and keeps saying what it was.
        expected = ("failed", "") if how == "a retry" else ("skipped", "cancelled")
        assert (delivery["state"], delivery["reason"]) == expected
        assert (await hub.call("delivery.get", id=delivery["id"]))["content"] is None


async def test_a_removed_contact_that_is_not_tried_again_counts_no_further_attempt(store: Store) -> None:
    campaign = await store.running("ann")
    (row,) = await store.ledger.due(campaign.id, 9e9, 10)
    await store.ledger.record([open_entry(row.id)])
    await store.contacts.remove(ANN)
    await store.ledger.record([close_entry(row.id, D.DEFERRED, reason="greylisted", next_at=2000.0)])
    (row,) = await store.ledger.due(campaign.id, 9e9, 10)
    assert await store.ledger.record([close_cancelled(row, 2000.0)]) == [None]
    life = await store.ledger.message(row.id)
    assert (life.delivery.state, life.delivery.reason) == (D.SKIPPED, "cancelled")
    assert (life.delivery.attempts, [each.outcome for each in life.attempts]) == (1, ["deferred"])
    await store.check_counters(campaign)


async def test_a_one_off_message_on_the_wire_is_erased_with_its_contact(store: Store) -> None:
    """It ends as it does, and one that is refused for now is not tried again."""
    await store.people("ann")
    queue = await store.campaigns.transactional_queue("outbox", Channel.EMAIL)
    content = Content(channel=Channel.EMAIL, subject="Code", text="It is tangerine.")
    said = await store.campaigns.add_content(content, Channel.EMAIL)
    sent, deferred = [
        await store.ledger.add_transactional(queue.id, ANN, ANN, {"email": ANN}, said) for _ in range(2)
    ]
    await store.ledger.record([open_entry(sent), open_entry(deferred)])
    await store.contacts.remove(ANN)
    await store.ledger.record(
        [close_entry(sent), close_entry(deferred, D.DEFERRED, reason="greylisted", next_at=2000.0)]
    )
    assert await store.states(queue) == [D.SENT, D.DEFERRED]
    for number in (sent, deferred):
        assert (await store.ledger.message(number)).delivery.recipient == ""
    assert await copies(store, f"erased:{deferred}") == ["{}"], "what has no fields is skipped"
    texts = await store.db.read(lambda db: db.execute("SELECT spec FROM content").fetchall())
    assert "tangerine" not in repr([text for (text,) in texts])


async def test_a_removed_contact_whose_message_waits_lacks_no_field(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    first = (await store.ids(campaign))[0]
    await store.ledger.record([open_entry(first)])
    await store.contacts.remove(ANN)
    await store.ledger.record([close_entry(first, D.DEFERRED, reason="greylisted", next_at=2000.0)])
    (bob,) = await store.campaigns.missing(campaign, frozenset({"first_name"}))
    assert (bob.fields, bob.count) == (frozenset(), 1)
    assert await store.campaigns.zones(campaign) == {"": 1}


async def test_a_recipient_who_is_suppressed_is_not_requeued_when_its_refusal_was_not_about_it(
    store: Store,
) -> None:
    campaign = await store.running("ann")
    (number,) = await store.ids(campaign)
    await store.ledger.record([open_entry(number), close_entry(number, D.DEFERRED, next_at=2000.0)])
    await store.contacts.suppress(Channel.EMAIL, ANN, "opted_out", "operator")
    with pytest.raises(InvalidTransition):
        await store.ledger.record([Requeue(delivery_id=number, at=1500.0)])
    (row,) = await store.ledger.deliveries(campaign.id)
    assert (row.state, row.reason) == (D.SKIPPED, "opted_out")


async def test_a_running_campaign_ends_when_its_last_recipient_is_removed(served: Served) -> None:
    async with open_client(served.path) as hub:
        await import_people(hub, 2)
        await apply(hub, rate=["1/day"])
        await hub.call("campaign.start", name="spring")
        waiting: list[dict[str, object]] = []
        while len(waiting) != 1:
            found = await hub.call("delivery.list", campaign="spring")
            waiting = [each for each in found["deliveries"] if each["state"] != "sent"]
        found = await hub.call("contacts.remove", key=waiting[0]["recipient"], dry_run=True)
        assert (found["changed"], found["cancelled"]) == (False, 1)
        assert (await hub.call("contacts.remove", key=waiting[0]["recipient"]))["cancelled"] == 1
        await until(hub, "spring", "completed")


async def test_a_row_that_was_read_before_the_removal_is_refused(store: Store) -> None:
    campaign = await store.running("ann")
    (row,) = await store.ledger.due(campaign.id, 9e9, 10)
    await store.contacts.remove(ANN)
    (refusal,) = await store.ledger.record([open_entry(row.id)])
    assert refusal is not None
    assert refusal.why == "delivery_state"


async def test_a_file_of_suppressions_cancels_what_waits_for_its_addresses(served: Served) -> None:
    async with open_client(served.path) as hub:
        await import_people(hub, 3)
        await apply(hub)
        await hub.call("campaign.start", name="spring", limit=1)
        await until(hub, "spring", "paused")
        rows = [{"line": n + 2, "values": {"email": f"p{n}@example.com"}} for n in range(3)]
        await hub.call("suppression.import", rows=rows, import_id="s")
        found = (await hub.call("delivery.list", campaign="spring"))["deliveries"]
        assert [each["state"] for each in found] == ["sent", "skipped", "skipped"]


async def test_a_running_campaign_ends_when_a_file_suppresses_its_last_recipients(served: Served) -> None:
    async with open_client(served.path) as hub:
        await import_people(hub, 3)
        await apply(hub, rate=["1/day"])
        await hub.call("campaign.start", name="spring")
        with trio.fail_after(60):
            while (await hub.call("campaign.get", name="spring"))["campaign"]["counts"]["sent"] != 1:
                pass
        rows = [{"line": n + 2, "values": {"email": f"p{n}@example.com"}} for n in range(3)]
        await hub.call("suppression.import", rows=rows, import_id="s")
        await until(hub, "spring", "completed")
