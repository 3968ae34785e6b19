"""Promise: the audience is who meets the condition; who cannot be compared is skipped and counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from hubd.core.intake import ContactRow
from hubd.core.model import Campaign, CampaignState, Channel, DeliveryState
from hubd.store import conditions
from tests.shell.conftest import Store

WHERE = "city == 'Koeln' and orders > 3"


async def people(store: Store, *, list_name: str = "customers", **orders: str | None) -> None:
    """Contacts of Koeln by their names, with so many orders; None for none."""
    rows = [
        ContactRow(
            line=line,
            email=f"{name}@example.com",
            email_key=f"{name}@example.com",
            fields={"city": "Koeln", **({"orders": count} if count is not None else {})},
        )
        for line, (name, count) in enumerate(orders.items(), start=2)
    ]
    await store.contacts.import_rows(list_name, rows, import_id=list_name)


async def frozen(store: Store, **changes: Any) -> Campaign:
    campaign = await store.draft(**changes)
    await store.move(campaign, CampaignState.RUNNING)
    await store.freeze(campaign, size=2)
    return await store.campaigns.by_id(campaign.id)


async def test_the_count_before_the_start_is_the_audience_after_it(store: Store) -> None:
    await people(store, ann="4", bob="3", cy=None, dee="10", eve="n/a", fay="")
    await people(store, list_name="vip", ann="4", gil="99", hal="many")
    await store.people("ida", list_name="vip")
    await store.contacts.suppress(Channel.EMAIL, "dee@example.com", "mailbox_unknown", "test")
    await store.contacts.suppress(Channel.EMAIL, "hal@example.com", "opted_out", "test")
    draft = await store.draft(lists=["customers", "vip"], where=WHERE)
    before = await store.campaigns.audience(draft)
    assert before.matching is not None
    assert (before.matching.contacts, before.matching.matched) == (9, 3)
    assert before.matching.not_comparable == {"orders": 2}
    assert before.matching.absent == ()
    assert before.recipients == 2
    assert before.skipped == {"suppressed": 1, "opted_out": 1, "not_comparable": 1}
    campaign = await frozen(store, lists=["customers", "vip"], where=WHERE)
    rows = {row.recipient.partition("@")[0]: row for row in await store.ledger.deliveries(campaign.id)}
    assert sorted(rows) == ["ann", "dee", "eve", "gil", "hal"]
    assert [name for name, row in rows.items() if row.state is DeliveryState.PENDING] == ["ann", "gil"]
    assert (rows["eve"].state, rows["eve"].reason) == (DeliveryState.SKIPPED, "not_comparable")
    assert rows["eve"].detail == "where compares a number with a field that holds none: orders"
    assert not any(row.detail for name, row in rows.items() if name != "eve")
    after = await store.campaigns.audience(campaign)
    assert (after.recipients, after.skipped, after.matching) == (2, before.skipped, None)
    await store.check_counters(campaign)


async def test_without_a_condition_everybody_is_in_the_audience(store: Store) -> None:
    await people(store, ann="4", bob="n/a")
    draft = await store.draft()
    audience = await store.campaigns.audience(draft)
    assert (audience.recipients, audience.matching) == (2, None)


async def test_a_field_that_nobody_on_the_lists_has_is_found(store: Store) -> None:
    await people(store, ann="4")
    draft = await store.draft(where="citty == 'Koeln' or email == 'ann@example.com' or contact_id == 'x'")
    audience = await store.campaigns.audience(draft)
    assert audience.matching is not None
    assert audience.matching.absent == ("citty",)
    assert audience.matching.known == ("city", "contact_id", "email", "orders")
    assert audience.recipients == 1


async def test_only_those_whom_it_chooses_are_looked_at_before_the_start(store: Store) -> None:
    await people(store, ann="3", bob="4", cy="n/a")
    draft = await store.draft(where="orders > 3", text="Hi {{ nick }}")
    (pattern,) = await store.campaigns.missing(draft, frozenset({"nick"}))
    assert (pattern.count, pattern.sample["email"]) == (1, "bob@example.com")
    assert await store.campaigns.zones(draft) == {"": 1}
    counted: list[tuple[dict[str, str], int]] = []
    await store.campaigns.fold(
        draft, frozenset({"orders"}), lambda values, n: counted.append((dict(values), n))
    )
    assert counted == [({"orders": "4"}, 1)]
    first = await store.campaigns.first_recipient(draft)
    assert first == (await store.contacts.get("bob@example.com")).contact_id
    nobody = await store.draft(name="none", where="orders > 400")
    assert await store.campaigns.first_recipient(nobody) is None


async def known(store: Store, campaign: Campaign) -> list[object]:
    """All that is said of a campaign's people before it is started, or while it runs."""
    folded: Counter[str] = Counter()

    def fold(values: Mapping[str, str], n: int) -> None:
        folded[json.dumps(sorted(values.items()))] += n

    await store.campaigns.fold(campaign, frozenset({"city", "orders"}), fold)
    wanted = frozenset({"orders", "nick"})
    return [
        await store.campaigns.audience(campaign),
        await store.campaigns.audience_size(campaign.id),
        await store.campaigns.missing(campaign, wanted),
        await store.campaigns.zones(campaign),
        await store.campaigns.field_names(campaign),
        await store.campaigns.first_recipient(campaign),
        folded,
    ]


@pytest.mark.parametrize("where", ["", "orders > 3 and nick == ''"])
async def test_what_is_said_of_people_does_not_depend_on_the_pages_they_are_read_in(
    store: Store, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    await people(store, ann="3", bob="4", cy=None, dee="n/a", eve="4", fay="9", gil="5")
    await people(store, list_name="vip", hal="4", bob="4", ida="7", jo="1")
    await store.contacts.suppress(Channel.EMAIL, "eve@example.com", "opted_out", "test")
    campaign = await store.draft(lists=["customers", "vip"], **({"where": where} if where else {}))
    for state in (CampaignState.DRAFT, CampaignState.RUNNING):
        if state is CampaignState.RUNNING:
            await store.move(campaign, state)
            await store.freeze(campaign)
        at_once = await known(store, campaign)
        with monkeypatch.context() as patch:
            patch.setattr(conditions, "PAGE_IDS", 2)
            patch.setattr(conditions, "PAGE_JUDGED", 2)
            assert await known(store, campaign) == at_once
        assert all(at_once[2:])
