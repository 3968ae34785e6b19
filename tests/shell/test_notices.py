"""Notifications: written with what they tell of, listed, and sent by email once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from hubd.client import Client, open_client
from hubd.config.file import load_config
from hubd.core.model import CampaignState
from hubd.core.notices import NoticeKind
from hubd.errors import BadInput
from hubd.reports.notifier import AGAIN, Notifier, Recipients
from hubd.store.notices import Notices
from hubd.wire.inbox_events import MailboxTold
from tests.shell.conftest import Store
from tests.shell.open_hub import PLAIN, Served
from tests.shell.test_paying import until

OPS = {"ops@acme.example": "ops@acme.example", "Boss@acme.example": "boss@acme.example"}


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        rows = [{"line": n, "values": {"email": f"p{n}@example.com"}} for n in range(3)]
        await hub.call("contacts.import", list="customers", rows=rows, import_id="1")
        yield hub


class Working:
    """Which providers send email now."""

    names: tuple[str, ...] = ("outbox",)


def notifier(served: Served, working: Working, *kinds: NoticeKind, provider: str = "outbox") -> Notifier:
    to = Recipients(
        addresses=OPS,
        provider=provider,
        sender="Hub <hub@acme.example>",
        kinds=frozenset(kinds or NoticeKind),
    )
    return Notifier(
        Notices(served.database),
        served.hub.supervisor,
        recipients=lambda: to,
        working=lambda: working.names,
        news=served.database.wait_events,
        now=served.hub.now,
    )


async def mails(hub: Client) -> list[tuple[str, str]]:
    listed = (await hub.call("message.list"))["messages"]
    return [(each["recipient"], each["subject"]) for each in reversed(listed)]


async def test_a_completed_campaign_is_told_once_also_by_email(served: Served, hub: Client) -> None:
    await hub.call("campaign.apply", spec=PLAIN)
    await hub.call("campaign.start", name="spring")
    await until(hub, "spring", "completed")
    listed = await hub.call("notification.list", unread=True)
    (told,) = listed["notifications"]
    assert (told["kind"], told["about"], told["read"], listed["unread"]) == ("completed", "spring", False, 1)
    assert told["figures"] == {"total": 3, "sent": 3}
    events = await served.events.page(0, 1000)
    (event,) = [each for each in events if each.type == "notification.added"]
    assert event.data["headline"] == "spring is completed"
    told_by = notifier(served, Working())
    for _ in range(2):
        assert await told_by.look() == float("inf")
    assert await mails(hub) == [(address, "spring is completed") for address in OPS]
    first = (await hub.call("message.list"))["messages"][-1]["id"]
    source = (await hub.call("delivery.get", id=first))["content"]["source"]
    assert "The campaign spring is completed." in source
    assert "Auto-Submitted: auto-generated" in source
    done = await hub.call("notification.read", through=told["id"])
    assert (done["changed"], done["marked"]) == (True, 1)
    assert (await hub.call("notification.list", unread=True))["notifications"] == []
    assert (await hub.call("notification.list"))["notifications"][0]["read"]


async def test_nothing_goes_through_a_provider_that_does_not_work(served: Served, hub: Client) -> None:
    await hub.call("campaign.apply", spec=PLAIN)
    await hub.call("campaign.start", name="spring", limit=1)
    await until(hub, "spring", "paused")
    working = Working()
    working.names = ()
    told_by = notifier(served, working, provider="relay")
    assert await told_by.look() == AGAIN
    assert await mails(hub) == []
    working.names = ("outbox",)  # another one that sends email
    await told_by.look()
    assert [subject for _, subject in await mails(hub)] == ["spring is paused"] * 2


async def test_what_nobody_wants_to_hear_is_not_mailed_later(served: Served, hub: Client) -> None:
    await hub.call("campaign.apply", spec=PLAIN)
    await hub.call("campaign.start", name="spring")
    await until(hub, "spring", "completed")
    await notifier(served, Working(), NoticeKind.FAILED).look()
    await notifier(served, Working()).look()
    assert await mails(hub) == []
    assert (await hub.call("notification.list"))["unread"] == 1


async def test_more_than_three_at_once_are_one_email(served: Served, hub: Client) -> None:
    for name in ("a", "b", "c", "d"):
        await hub.call("campaign.apply", spec=PLAIN | {"name": name})
        await hub.call("campaign.start", name=name)
        await until(hub, name, "completed")
    await notifier(served, Working()).look()
    assert [subject for _, subject in await mails(hub)] == ["4 notifications from MessageHub"] * 2


async def test_it_runs_by_itself_and_sends_what_happens(served: Served, hub: Client) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier(served, Working()).run)
        await hub.call("campaign.apply", spec=PLAIN)
        await hub.call("campaign.start", name="spring")
        await until(hub, "spring", "completed")
        with trio.fail_after(30):
            while not await mails(hub):
                pass
        nursery.cancel_scope.cancel()


async def test_a_mailbox_that_cannot_be_read_is_told(served: Served, hub: Client) -> None:
    told: MailboxTold = {"source": "mailbox bounces", "reason": "the password was refused", "person": True}
    await served.events.add("mailbox.broken", None, {**told})
    (found,) = (await hub.call("notification.list"))["notifications"]
    assert (found["kind"], found["figures"]) == ("mailbox_broken", {})
    assert found["text"] == (
        "The mailbox bounces cannot be read: the password was refused. Replies and bounces wait there. "
        "Test it: hubctl mailbox test bounces"
    )


async def test_each_run_is_told_and_what_an_operator_does_is_not(store: Store) -> None:
    campaign = await store.running("ann")
    notices = Notices(store.db)
    await store.move(campaign, CampaignState.PAUSED)
    await store.move(campaign, CampaignState.RUNNING)
    for reason in ("limit", "the login was refused"):
        await store.move(campaign, CampaignState.PAUSED, reason=reason)
        await store.move(campaign, CampaignState.RUNNING)
    await store.move(campaign, CampaignState.FAILED, reason="an internal error stopped it")
    found, unread = await notices.page(unread=True, before=0, limit=10)
    assert [(each.kind.value, each.reason) for each in found] == [
        ("failed", "an internal error stopped it"),
        ("paused", "the login was refused"),
        ("paused", "limit"),
    ]
    assert unread == 3
    assert len({each.key for each in found}) == 3


async def test_each_start_that_fails_is_told(store: Store) -> None:
    campaign = await store.draft()
    why = "it could not start on time: the list is empty"
    for _ in range(2):
        await store.move(campaign, CampaignState.SCHEDULED)
        await store.move(campaign, CampaignState.STOPPED, reason=why)
    found, _ = await Notices(store.db).page(unread=True, before=0, limit=10)
    assert [(each.kind.value, each.reason) for each in found] == [("failed", why)] * 2


def test_the_settings_are_read_and_judged(tmp_path: Any) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text(
        '[notify]\nemail = ["ops@acme.example"]\nprovider = "outbox"\nsender = "Hub <h@acme.example>"\n'
    )
    settings = load_config(path).notify
    assert settings is not None
    assert (settings.keys, settings.kinds) == (
        {"ops@acme.example": "ops@acme.example"},
        frozenset(NoticeKind),
    )
    path.write_text('[notify]\nemail = ["no address"]\nprovider = "nowhere"\non = ["everything"]\n')
    with pytest.raises(BadInput) as caught:
        load_config(path)
    errors: Any = caught.value.data["errors"]
    assert {each["path"] for each in errors} == {
        "notify.email[0]", "notify.provider", "notify.sender", "notify.on[0]",
    }  # fmt: skip
