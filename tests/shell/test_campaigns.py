"""Campaigns in a real database: applying files, moving between states, freezing the audience, deleting."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio

from hubd.bridge import Bridge
from hubd.core.intake import ContactRow
from hubd.core.model import CampaignState, Channel, DeliveryState, InDoubt
from hubd.core.spec import spec_json
from hubd.errors import BadInput, Conflict, InvalidTransition, NotFound
from hubd.store.database import open_database
from tests.shell.conftest import Store, close_entry, open_entry

C = CampaignState


# --- applying -----------------------------------------------------------------------------------


async def test_a_file_becomes_a_draft_with_its_content(store: Store) -> None:
    spec = store.spec(rate="50/s", in_doubt="hold", retry={"give_up_after": "2h"})
    campaign, changed, created = await store.campaigns.apply(spec, spec_json(spec), spec.content(), "h")
    assert (campaign.state, campaign.revision, created) == (C.DRAFT, 1, True)
    assert (campaign.rate, campaign.in_doubt, campaign.give_up_after) == (("50/s",), InDoubt.HOLD, 7200.0)
    assert "subject" in changed
    assert await store.campaigns.content(campaign.content_id) == spec.content()
    assert await store.campaigns.get("spring-sale") == campaign


async def test_the_same_file_again_changes_nothing(store: Store) -> None:
    before = await store.draft()
    spec = store.spec()
    content = spec.content()
    again = await store.campaigns.apply(spec, spec_json(spec), content, f"hash of {content}")
    assert again == (before, [], False)


async def test_a_changed_file_says_what_changed_and_grows_the_revision(store: Store) -> None:
    await store.draft()
    spec = store.spec(subject="New", rate="1/s")
    campaign, changed, created = await store.campaigns.apply(spec, spec_json(spec), spec.content(), "new")
    assert (sorted(changed), created, campaign.revision) == (["rate", "subject"], False, 2)
    assert (await store.campaigns.content(campaign.content_id)).subject == "New"


async def test_a_running_campaign_keeps_its_content(store: Store) -> None:
    campaign = await store.running("ann")
    with pytest.raises(Conflict) as caught:
        await store.draft(subject="New")
    assert caught.value.code == "running"
    assert await store.campaigns.by_id(campaign.id) == campaign


async def test_a_paused_campaign_takes_new_content_but_not_a_new_audience(store: Store) -> None:
    campaign = await store.running("ann")
    await store.move(campaign, C.PAUSED)
    assert (await store.draft(subject="New")).revision == 2
    for change in ({"lists": ["others"]}, {"channel": "sms", "subject": None, "sender": None}):
        with pytest.raises(Conflict) as caught:
            await store.draft(**change)
        assert caught.value.code == "audience_fixed"


async def test_the_policy_for_lost_answers_defaults_by_channel_and_provider(store: Store) -> None:
    sms = {"channel": "sms", "subject": None, "sender": None}
    assert (await store.draft(name="a", provider="office")).in_doubt is InDoubt.RETRY
    assert (await store.draft(name="b", **sms)).in_doubt is InDoubt.RETRY  # the outbox
    assert (await store.draft(name="c", provider="text", **sms)).in_doubt is InDoubt.HOLD


# --- moving -------------------------------------------------------------------------------------


async def test_a_move_from_another_state_is_refused_and_changes_nothing(store: Store) -> None:
    campaign = await store.draft()
    with pytest.raises(InvalidTransition) as caught:
        await store.campaigns.move(campaign.id, [C.RUNNING], C.PAUSED, event="pause")
    assert caught.value.data == {"from": "draft", "requested": "pause", "allowed": ["running"]}
    assert await store.campaigns.by_id(campaign.id) == campaign


async def test_of_many_who_start_one_campaign_at_once_one_wins(store: Store) -> None:
    campaign = await store.draft()
    outcomes: list[str] = []

    async def start() -> None:
        try:
            await store.campaigns.move(campaign.id, [C.DRAFT], C.RUNNING, event="start")
            outcomes.append("won")
        except InvalidTransition:
            outcomes.append("lost")

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(start)
    assert sorted(outcomes) == ["lost"] * 9 + ["won"]
    assert (await store.types()).count("campaign.state") == 1


async def test_a_move_is_an_event_and_keeps_the_times(store: Store) -> None:
    campaign = await store.running("ann")
    assert campaign.started_at is not None
    paused = await store.move(campaign, C.PAUSED, reason="limit")
    assert (paused.reason, paused.started_at) == ("limit", campaign.started_at)
    *_, told = [each for each in await store.events.page(0, 100) if each.type == "campaign.state"]
    assert (told.type, told.campaign) == ("campaign.state", "spring-sale")
    assert {key: told.data[key] for key in ("from", "to", "reason")} == {
        "from": "running",
        "to": "paused",
        "reason": "limit",
    }


async def test_a_move_to_the_state_it_is_in_tells_what_changed_and_nothing_else(store: Store) -> None:
    campaign = await store.running("ann")
    before = store.db.head_seq
    for _ in range(2):
        await store.campaigns.move(campaign.id, [C.RUNNING], C.RUNNING, event="start", limit=5)
    (told,) = await store.events.page(before, 10)
    assert told.type == "campaign.changed"
    assert told.data == {"reason": "", "limit": 5, "scheduled_at": None}
    assert (await store.campaigns.by_id(campaign.id)).limit == 5


async def test_a_campaign_with_something_left_to_do_cannot_complete(store: Store) -> None:
    campaign = await store.running("ann")
    (delivery,) = await store.ids(campaign)
    with pytest.raises(Conflict) as caught:
        await store.move(campaign, C.COMPLETED)
    assert caught.value.code == "not_settled"
    await store.ledger.record([open_entry(delivery), close_entry(delivery)])
    done = await store.move(campaign, C.COMPLETED)
    assert done.completed_at is not None


async def test_a_new_rate_is_kept(store: Store) -> None:
    campaign = await store.draft()
    assert (await store.campaigns.set_rate(campaign.id, ("20/s", "1000/day"))).rate == ("20/s", "1000/day")


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    for call in (store.campaigns.get("x"), store.campaigns.by_id(9), store.campaigns.delete("x")):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.code == "campaign_not_found"


# --- the audience -------------------------------------------------------------------------------


async def test_the_audience_is_counted_before_the_start_as_it_is_frozen_after_it(store: Store) -> None:
    await store.people("ann", "bob", "cy", "dee")
    await store.people("ann", "eve", list_name="vip")
    await store.people("tel", list_name="vip", phone=True)
    await store.contacts.suppress(Channel.EMAIL, "bob@example.com", "mailbox_unknown", "test")
    await store.contacts.suppress(Channel.EMAIL, "cy@example.com", "opted_out", "test")
    await store.contacts.suppress(Channel.SMS, "dee@example.com", "asked", "another channel")
    campaign = await store.draft(lists=["customers", "vip"])
    before = await store.campaigns.audience(campaign)
    assert (before.recipients, before.skipped) == (3, {"suppressed": 1, "opted_out": 1, "invalid_address": 1})
    await store.move(campaign, C.RUNNING)
    await store.freeze(campaign, size=2)
    campaign = await store.campaigns.by_id(campaign.id)
    assert campaign.audience_ready
    assert await store.campaigns.audience(campaign) == before
    assert (campaign.counts.total, campaign.counts.pending, campaign.counts.skipped) == (6, 3, 3)
    await store.check_counters(campaign)


async def test_an_unknown_list_is_named_before_the_start(store: Store) -> None:
    campaign = await store.draft(lists=["nowhere"])
    with pytest.raises(NotFound) as caught:
        await store.campaigns.audience(campaign)
    assert caught.value.code == "list_not_found"


async def test_who_joins_after_the_start_is_not_in_the_audience(store: Store) -> None:
    await store.people("ann", "bob", "cy")
    campaign = await store.draft()
    await store.move(campaign, C.RUNNING)
    assert await store.campaigns.freeze_page(campaign.id, 2)
    await store.people("late")
    await store.freeze(campaign, size=2)
    rows = await store.ledger.deliveries(campaign.id)
    assert [row.recipient.split("@")[0] for row in rows] == ["ann", "bob", "cy"]


async def test_a_later_import_changes_nothing_for_the_frozen(store: Store) -> None:
    campaign = await store.running("ann")
    row = ContactRow(
        line=2, email="ann@example.com", email_key="ann@example.com", fields={"first_name": "Other"}
    )
    await store.contacts.import_rows("customers", [row], import_id="later")
    (due,) = await store.ledger.due(campaign.id, 0.0, 10)
    contact = await store.contacts.get("ann@example.com")
    assert contact.fields["first_name"] == "Other"
    assert due.fields == {
        "first_name": "Ann",
        "email": "ann@example.com",
        "contact_id": contact.contact_id,
    }


async def test_freezing_goes_on_after_a_restart_without_a_double(bridge: Bridge, database_path: Path) -> None:
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        await store.people(*(f"p{n}" for n in range(25)))
        campaign = await store.draft()
        await store.move(campaign, C.RUNNING)
        for _ in range(2):
            assert await store.campaigns.freeze_page(campaign.id, 7)
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        await store.freeze(campaign, size=7)
        assert not await store.campaigns.freeze_page(campaign.id, 7)
        campaign = await store.campaigns.by_id(campaign.id)
        assert (campaign.counts.total, campaign.audience_ready) == (25, True)
        await store.check_counters(campaign)


async def test_a_campaign_without_people_is_ready_at_once(store: Store) -> None:
    campaign = await store.draft(lists=["nowhere"])
    await store.move(campaign, C.RUNNING)
    await store.freeze(campaign)
    assert (await store.campaigns.by_id(campaign.id)).audience_ready
    counts = (await store.campaigns.by_id(campaign.id)).counts
    assert counts.finished == counts.total


async def test_an_sms_campaign_goes_to_phone_numbers(store: Store) -> None:
    await store.people("ann", "bob", phone=True)
    await store.people("mail")
    campaign = await store.draft(channel="sms", subject=None, sender=None)
    await store.move(campaign, C.RUNNING)
    await store.freeze(campaign)
    counts = (await store.campaigns.by_id(campaign.id)).counts
    assert (counts.pending, counts.skipped) == (2, 1)
    assert [due.recipient for due in await store.ledger.due(campaign.id, 0.0, 10)] == [
        "+14155550000",
        "+14155550001",
    ]


async def test_missing_fields_are_grouped_with_one_pass_and_a_sample(store: Store) -> None:
    def person(n: int, **fields: str) -> ContactRow:
        return ContactRow(line=n, email=f"p{n}@example.com", email_key=f"p{n}@example.com", fields=fields)

    rows = [person(0, first_name="A", city="X"), person(1, city="X"), person(2, city="Y"), person(3)]
    await store.contacts.import_rows("customers", rows, import_id="a")
    await store.contacts.suppress(Channel.EMAIL, "p3@example.com", "asked", "test")
    campaign = await store.draft()
    wanted = frozenset({"first_name", "city", "email", "contact_id"})
    for _ in ("draft", "frozen"):
        some, none = await store.campaigns.missing(campaign, wanted)
        assert (some.fields, some.count) == (frozenset({"first_name"}), 2)
        assert some.sample["email"] in ("p1@example.com", "p2@example.com")
        assert (none.fields, none.count, none.sample["first_name"]) == (frozenset(), 1, "A")
        assert await store.campaigns.field_names(campaign) - {"email", "contact_id"} == {"first_name", "city"}
        await store.move(campaign, C.RUNNING)
        await store.freeze(campaign)
    patterns = await store.campaigns.missing(campaign, frozenset({"first_name", "zip"}))
    assert {(tuple(sorted(p.fields)), p.count) for p in patterns} == {
        (("first_name", "zip"), 2),
        (("zip",), 1),
    }
    (everybody,) = await store.campaigns.missing(campaign, frozenset())
    assert (everybody.fields, everybody.count) == (frozenset(), 3)


async def test_a_field_that_is_no_name_never_reaches_the_sql(store: Store) -> None:
    campaign = await store.draft()
    with pytest.raises(BadInput):
        await store.campaigns.missing(campaign, frozenset({"x') IS NULL) FROM contact --"}))


# --- attachments, one-off messages, deleting ----------------------------------------------------


async def test_a_file_in_parts_is_whole_when_its_hash_is_right(store: Store) -> None:
    data = bytes(range(256)) * 10
    sha256 = hashlib.sha256(data).hexdigest()
    put = store.campaigns.put_blob_part
    assert not await put(sha256, 0, data[:1000], len(data))
    assert not await put(sha256, 0, data[:1000], len(data))  # again: the answer was lost
    with pytest.raises(BadInput):
        await put(sha256, 2000, data[2000:], len(data))  # a gap
    with pytest.raises(NotFound):
        await store.campaigns.blob(sha256)
    assert await put(sha256, 1000, data[1000:], len(data))
    assert await put(sha256, 1000, data[1000:], len(data))
    assert await store.campaigns.blob(sha256) == data


async def test_a_file_with_another_hash_is_forgotten(store: Store) -> None:
    sha256 = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(BadInput):
        await store.campaigns.put_blob_part(sha256, 0, b"wrong", 5)
    assert await store.campaigns.put_blob_part(sha256, 0, b"right", 5)


async def test_an_empty_file_is_a_file(store: Store) -> None:
    sha256 = hashlib.sha256(b"").hexdigest()
    assert await store.campaigns.put_blob_part(sha256, 0, b"", 0)
    assert await store.campaigns.blob(sha256) == b""


async def test_the_transactional_queue_of_a_provider_is_made_once(store: Store) -> None:
    first = await store.campaigns.transactional_queue("outbox", Channel.EMAIL)
    assert (first.state, first.transactional_queue, first.audience_ready) == (C.RUNNING, True, True)
    assert await store.campaigns.transactional_queue("outbox", Channel.EMAIL) == first
    assert (await store.campaigns.transactional_queue("outbox", Channel.SMS)).id != first.id
    assert await store.campaigns.list() == []
    assert len(await store.campaigns.list(queues=True)) == 2


async def test_deleting_takes_everything_of_a_campaign_and_frees_its_name(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    with pytest.raises(Conflict):
        await store.campaigns.delete("spring-sale")
    first, _ = await store.ids(campaign)
    await store.ledger.record([open_entry(first), close_entry(first, DeliveryState.FAILED, reason="x")])
    await store.move(campaign, C.STOPPED)
    await store.campaigns.delete("spring-sale")
    assert await store.campaigns.list() == []
    left = await store.db.read(
        lambda db: [db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("delivery", "attempt")]
    )
    assert left == [0, 0]
    assert (await store.draft()).id != campaign.id
