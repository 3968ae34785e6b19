"""Credits through the daemon's own methods: reserved, spent, refunded, and refused when there are too few."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.core.model import DeliveryState
from hubd.errors import BadInput, Conflict, CreditsShort, NotFound
from hubd.store.unit import Unit
from tests.shell.open_hub import PLAIN, Served

TEXT = {"name": "sms", "channel": "sms", "lists": ["phones"], "kind": "transactional", "credits": "team"}
WORDS = {"sender": "Acme <hello@acme.example>", "subject": "Your order", "text": "Thank you."}


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        rows = [{"line": n, "values": {"email": f"p{n}@example.com"}} for n in range(3)]
        await hub.call("contacts.import", list="customers", rows=rows, import_id="1")
        yield hub


async def account(hub: Client, name: str = "team") -> dict[str, int]:
    found = await hub.call("credits.list")
    (view,) = [each for each in found["accounts"] if each["name"] == name]
    return {key: view[key] for key in ("granted", "held", "spent", "available")}


async def until(hub: Client, name: str, state: str) -> dict[str, Any]:
    subscription = hub.subscribe([f"campaign:{name}"])
    with trio.fail_after(30):
        async for _ in subscription:
            view: dict[str, Any] = (await hub.call("campaign.get", name=name))["campaign"]
            if view["state"] == state:
                await subscription.aclose()
                return view
    raise AssertionError


async def test_a_campaign_is_paid_for_and_the_rest_goes_back(hub: Client) -> None:
    await hub.call("campaign.apply", spec=PLAIN | {"credits": "team"})
    check = await hub.call("campaign.check", name="spring")
    assert check["credits"] == {"account": "team", "needed": 3, "held": 0, "available": 0, "missing": 3}
    assert check["problems"][0]["problem"].startswith(
        "it needs 3 credits, and the account team has 0 available"
    )
    await hub.call("credits.grant", account="team", credits=2)
    with pytest.raises(CreditsShort) as caught:
        await hub.call("campaign.start", name="spring")
    assert caught.value.data == {
        "account": "team", "needed": 3, "available": 2, "missing": 1, "retryable": False,
    }  # fmt: skip
    assert (await hub.call("campaign.get", name="spring"))["campaign"]["state"] == "draft"
    await hub.call("credits.grant", account="team", credits=3, note="March")
    await hub.call("campaign.start", name="spring", limit=2)
    await until(hub, "spring", "paused")
    assert await account(hub) == {"granted": 5, "held": 0, "spent": 2, "available": 3}
    await hub.call("campaign.resume", name="spring")
    await until(hub, "spring", "completed")
    assert await account(hub) == {"granted": 5, "held": 0, "spent": 3, "available": 2}
    assert (await hub.call("campaign.get", name="spring"))["credits"] == {
        "account": "team", "held": 0, "spent": 3, "available": 2,
    }  # fmt: skip
    log = await hub.call("credits.history", account="team")
    assert [(each["kind"], each["credits"], each["note"]) for each in log["entries"]] == [
        ("reserved", 1, ""), ("reserved", 2, ""), ("granted", 3, "March"), ("granted", 2, ""),
    ]  # fmt: skip
    assert log["campaigns"] == [{"campaign": "spring", "held": 0, "spent": 3}]
    found = {each["check"]: each for each in (await hub.call("hub.check"))["checks"]}
    assert found["credits"]["ok"]
    await hub.call("campaign.delete", name="spring")
    assert (await account(hub))["spent"] == 3
    found = {each["check"]: each for each in (await hub.call("hub.check"))["checks"]}
    assert found["credits"]["ok"]


async def test_an_sms_costs_its_segments_and_a_stop_gives_back_what_is_left(hub: Client) -> None:
    rows = [
        {"line": n, "values": {"phone": f"+1415555012{n}", "text": text}}
        for n, text in enumerate(["short", "x" * 170])
    ]
    await hub.call("contacts.import", list="phones", rows=rows, import_id="2")
    await hub.call("campaign.apply", spec=TEXT | {"text": "{{ text }}"})
    await hub.call("credits.grant", account="team", credits=3)
    assert (await hub.call("campaign.check", name="sms"))["credits"]["needed"] == 3
    await hub.call("campaign.start", name="sms", limit=1)
    await until(hub, "sms", "paused")
    before = await account(hub)
    assert before["held"] + before["spent"] <= 3
    await hub.call("campaign.resume", name="sms")
    await until(hub, "sms", "completed")
    assert await account(hub) == {"granted": 3, "held": 0, "spent": 3, "available": 0}


async def test_of_two_starts_for_the_last_credits_one_wins(hub: Client) -> None:
    for name in ("spring", "autumn"):
        await hub.call("campaign.apply", spec=PLAIN | {"name": name, "credits": "team"})
    await hub.call("credits.grant", account="team", credits=5)
    short: list[str] = []

    async def start(name: str) -> None:
        try:
            await hub.call("campaign.start", name=name)
        except CreditsShort:
            short.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start, "spring")
        nursery.start_soon(start, "autumn")
    (loser,) = short
    (winner,) = {"spring", "autumn"} - {loser}
    await until(hub, winner, "completed")
    assert await account(hub) == {"granted": 5, "held": 0, "spent": 3, "available": 2}


async def test_recipients_who_join_are_paid_for_and_a_grant_resumes_what_has_run_out(
    served: Served, hub: Client
) -> None:
    await hub.call("credits.grant", account="team", credits=3, low_at=1)
    await hub.call("campaign.apply", spec=PLAIN | {"credits": "team", "rate": "1/hour"})
    await hub.call("campaign.start", name="spring")
    campaign = await served.hub.campaigns.get("spring")

    def join(unit: Unit) -> None:
        unit.db.execute(
            "INSERT INTO delivery (campaign_id, recipient, address_key, updated_at, fields) "
            "VALUES (?, 'eve@example.com', 'eve@example.com', 0, '{\"email\": \"eve@example.com\"}')",
            (campaign.id,),
        )
        unit.moved(campaign.id, None, DeliveryState.PENDING)

    await served.database.write(join)
    await hub.call("campaign.rate", name="spring", rate="1000/s")
    view = await until(hub, "spring", "paused")
    assert (view["reason"], view["last_error"], view["counts"]["sent"]) == ("credits", "", 3)
    assert "credits.low" in [event.type for event in await served.events.page(0, 1000)]
    await hub.call("credits.grant", account="team", credits=1)
    await until(hub, "spring", "completed")
    assert await account(hub) == {"granted": 4, "held": 0, "spent": 4, "available": 0}


async def test_a_scheduled_start_without_credits_waits_for_them(hub: Client) -> None:
    await hub.call("campaign.apply", spec=PLAIN | {"credits": "team"})
    at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.2)
    await hub.call("campaign.start", name="spring", at=at.isoformat())
    assert (await until(hub, "spring", "paused"))["reason"] == "credits"
    await hub.call("credits.grant", account="team", credits=2)
    assert (await hub.call("campaign.get", name="spring"))["campaign"]["state"] == "paused"
    await hub.call("credits.grant", account="team", credits=1)
    await until(hub, "spring", "completed")


async def test_who_pauses_what_waits_for_credits_resumes_it_too(hub: Client) -> None:
    at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.2)
    for name in ("spring", "summer"):
        await hub.call("campaign.apply", spec=PLAIN | {"name": name, "credits": "team"})
        await hub.call("campaign.start", name=name, at=at.isoformat())
    for name in ("spring", "summer"):
        assert (await until(hub, name, "paused"))["reason"] == "credits"
    assert [(await hub.call("campaign.pause", name="spring"))["changed"] for _ in range(2)] == [True, False]
    await hub.call("credits.grant", account="team", credits=100)
    await until(hub, "summer", "completed")  # it is looked at after the other one
    view = (await hub.call("campaign.get", name="spring"))["campaign"]
    assert (view["state"], view["reason"], view["counts"]["sent"]) == ("paused", "", 0)
    await hub.call("campaign.resume", name="spring")
    await until(hub, "spring", "completed")


async def test_who_pauses_it_while_a_grant_is_looked_at_is_not_overruled(
    served: Served, hub: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.2)
    await hub.call("campaign.apply", spec=PLAIN | {"credits": "team"})
    await hub.call("campaign.start", name="spring", at=at.isoformat())
    assert (await until(hub, "spring", "paused"))["reason"] == "credits"
    campaigns: Any = served.hub.campaigns
    granted, looked = trio.Event(), trio.Event()
    topped_up, list_all, looked_at = campaigns.topped_up, campaigns.list, campaigns.looked_at

    async def after_the_grant() -> dict[str, int]:
        found: dict[str, int] = await topped_up()
        if found:
            granted.set()
        return found

    async def paused_once_listed(**asked: bool) -> object:
        found = await list_all(**asked)
        if granted.is_set() and not looked.is_set():
            await hub.call("campaign.pause", name="spring")
        return found

    async def then(account: str, grants: int) -> None:
        await looked_at(account, grants)
        looked.set()

    for name, hooked in (("topped_up", after_the_grant), ("list", paused_once_listed), ("looked_at", then)):
        monkeypatch.setattr(campaigns, name, hooked)
    await hub.call("credits.grant", account="team", credits=100)
    with trio.fail_after(30):
        await looked.wait()
    view = (await hub.call("campaign.get", name="spring"))["campaign"]
    assert (view["state"], view["reason"], view["counts"]["sent"]) == ("paused", "", 0)


async def test_a_one_off_message_is_paid_for(hub: Client) -> None:
    asked: dict[str, Any] = {"provider": "outbox", "to": "ann@example.com", **WORDS, "credits": "team"}
    for dry_run in (True, False):
        with pytest.raises(CreditsShort, match="the message needs 1 credit"):
            await hub.call("message.send", **asked, dry_run=dry_run)
    await hub.call("credits.grant", account="team", credits=5)
    await hub.call("message.send", **asked)
    with trio.fail_after(10):
        while (await account(hub))["spent"] == 0:
            pass
    assert await account(hub) == {"granted": 5, "held": 0, "spent": 1, "available": 4}
    log = await hub.call("credits.history", account="team")
    assert log["campaigns"] == [{"campaign": "", "held": 0, "spent": 1}]


async def test_what_cannot_be_granted_is_refused(hub: Client) -> None:
    for credits in (1.5, "10", 0, 10**12 + 1, -(10**13), 10**400):
        with pytest.raises(BadInput):
            await hub.call("credits.grant", account="team", credits=credits)
    with pytest.raises(BadInput):
        await hub.call("credits.grant", account="The Team", credits=1)
    await hub.call("credits.grant", account="team", credits=10**12)
    with pytest.raises(BadInput, match="at most"):
        await hub.call("credits.grant", account="team", credits=1)
    with pytest.raises(Conflict, match="can be taken back"):
        await hub.call("credits.grant", account="new", credits=-1)
    with pytest.raises(NotFound) as caught:
        await hub.call("credits.history", account="nobody")
    assert caught.value.code == "account_not_found"
    would = await hub.call("credits.grant", account="team", credits=-4, dry_run=True)
    assert would["would"] == {"change": True}
    assert would["account"]["granted"] == 10**12 - 4
    assert (await account(hub))["granted"] == 10**12
    done = await hub.call("credits.grant", account="team", credits=-(10**12), idempotency_key="k")
    assert done["changed"]
    assert await hub.call("credits.grant", account="team", credits=-(10**12), idempotency_key="k") == done
