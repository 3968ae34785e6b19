"""report.get: by name, label and provider, over time, and for viewers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubd.client import Client, open_client
from hubd.errors import BadInput, NotFound
from hubd.store.reports import Reports
from tests.shell.open_hub import PLAIN, Served
from tests.shell.test_methods import import_people, until


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        yield hub


async def run(hub: Client, name: str, **changes: Any) -> None:
    await hub.call("campaign.apply", spec={**PLAIN, "name": name, **changes})
    await hub.call("campaign.start", name=name)
    await until(hub, name, "completed")


def names(found: Any) -> list[str]:
    return [each["name"] for each in found["campaigns"]]


async def test_campaigns_are_reported_by_name_label_and_provider_and_all_together(hub: Client) -> None:
    await import_people(hub)
    people = (await hub.call("contacts.lists"))["lists"][0]["contacts"]
    await run(hub, "spring", labels=["portfolio"])
    await run(hub, "autumn")
    await hub.call("campaign.apply", spec={**PLAIN, "name": "draft"})
    await hub.call("campaign.archive", name="autumn")

    found = await hub.call("report.get", by="day", timezone="Asia/Kolkata")
    assert names(found) == ["spring", "autumn"]
    assert [each["sent"] for each in found["campaigns"]] == [people, people]
    total = found["total"]
    assert (total["sent"], total["cost"], total["failed"]) == (2 * people, 2 * people, 0)
    assert total["delivery_rate"] is total["opt_out_rate"] is None
    assert total["last_run_result"] == f"completed: {people} sent"
    assert total["completed_at"] == found["campaigns"][1]["completed_at"]
    assert sum(each["sent"] for each in found["series"]) == 2 * people
    assert {each["at"][11:16] for each in found["series"]} == {"18:30"}  # midnight there
    assert found["uncounted"] == 0

    assert names(await hub.call("report.get", label="portfolio")) == ["spring"]
    assert names(await hub.call("report.get", provider="outbox")) == ["spring", "autumn"]
    none = await hub.call("report.get", provider="elsewhere", by="day")
    assert (none["campaigns"], none["series"], none["total"]["last_run_at"]) == ([], [], None)
    named = await hub.call("report.get", names=["draft", "spring", "spring"])
    assert names(named) == ["draft", "spring"]
    assert (named["campaigns"][0]["last_run_result"], named["series"]) == (None, [])
    with pytest.raises(NotFound):
        await hub.call("report.get", names=["nobody"])


async def test_a_period_leaves_out_what_was_sent_before_and_after(hub: Client) -> None:
    await import_people(hub)
    await run(hub, "spring")
    before = await hub.call("report.get", until="2 hours")
    assert before["total"]["sent"] == 0
    assert before["campaigns"][0]["last_run_result"].startswith("completed")
    since = await hub.call("report.get", since="2 hours", until="2099-01-01", by="hour")
    assert sum(each["sent"] for each in since["series"]) == since["total"]["sent"] > 0
    assert len(since["series"]) == 3
    with pytest.raises(BadInput, match="since"):
        await hub.call("report.get", since="a while")


async def test_one_off_messages_are_in_no_report_but_that_of_their_queue(hub: Client, served: Served) -> None:
    message = {"sender": "a@acme.example", "subject": "Your code", "text": "4711"}
    sent = await hub.call("message.send", provider="outbox", to="dora@example.com", **message)
    while (await hub.call("delivery.get", id=sent["delivery_id"]))["delivery"]["state"] != "sent":
        pass  # there is no event for a message that goes well
    assert (await hub.call("report.get"))["total"]["sent"] == 0
    assert (await hub.call("report.get", names=["~outbox"]))["total"]["sent"] == 1


async def test_it_is_said_while_figures_are_not_complete(hub: Client, served: Served) -> None:
    await import_people(hub)
    await run(hub, "spring")
    await served.database.write(
        lambda unit: unit.db.execute("INSERT INTO rollup_pending SELECT id FROM campaign")
    )
    assert (await hub.call("report.get"))["uncounted"] == 1
    assert isinstance(served.hub.reports, Reports)
