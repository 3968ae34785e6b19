"""`hubctl inbox` on a whole hub: list, show, answer, decide; and the figures of a campaign."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from hubd.client import Client, open_client
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.tokens import Purpose, Tokens
from hubd.store.inbox import Inbox
from tests.apps.test_command_line import run
from tests.shell.open_hub import PERSONAL, Served


async def hubctl(served: Served, *words: str, code: int = 0) -> str:
    done = await trio.to_thread.run_sync(lambda: run(*words, HUBCTL_SOCKET=str(served.path)))
    assert done.exit_code == code, done.stderr
    return done.stdout if code == 0 else done.stderr


async def answer(served: Served, *words: str) -> Any:
    return json.loads(await hubctl(served, *words, "--json"))


@pytest.fixture
async def sent(served: Served) -> list[int]:
    """The deliveries of a campaign that was sent to Ann and Bob."""
    async with open_client(served.path) as hub:
        rows = [
            {"line": n, "values": {"email": f"{name}@example.com", "first_name": name}}
            for n, name in enumerate(("ann", "bob"), 1)
        ]
        await hub.call("contacts.import", list="customers", rows=rows, import_id="1")
        await hub.call("campaign.apply", spec=PERSONAL)
        await hub.call("campaign.start", name="spring")
        await completed(hub, "spring")
        listed = (await hub.call("delivery.list", campaign="spring"))["deliveries"]
        return [each["id"] for each in listed]


async def completed(hub: Client, name: str) -> None:
    subscription = hub.subscribe([f"campaign:{name}"])
    async for _ in subscription:
        if (await hub.call("campaign.get", name=name))["campaign"]["state"] == "completed":
            break
    await subscription.aclose()


async def come_back(served: Served, *items: Item) -> None:
    await Inbox(served.database, Tokens(served.database.install_key)).book("mailbox replies", items, "1")


def about(served: Served, delivery: int, **values: Any) -> Reference:
    tokens = Tokens(served.database.install_key)
    return Reference(token=tokens.of(Purpose.BOUNCE, delivery), **values)


def reply(served: Served, delivery: int, text: str, **values: Any) -> Item:
    reference = about(served, delivery, address="ann@example.com")
    given = {"sender": "Ann <ann@example.com>", "subject": "Re: Hello", "message_id": "<7@example.com>"}
    return Item(
        key=text, kind=ItemKind.REPLY, at=served.hub.now(), about=reference, text=text, **{**given, **values}
    )


async def test_a_reply_is_read_answered_and_decided(served: Served, sent: list[int]) -> None:
    await come_back(served, reply(served, sent[0], "please stop {{ first_name }}"))
    (row,) = (await answer(served, "inbox", "spring"))["items"]
    assert (row["kind"], row["decision"], row["campaign"]) == ("reply", "waiting", "spring")
    assert "(!)" in await hubctl(served, "inbox")
    assert "1 reply waits" in json.dumps(await answer(served, "status"))
    shown = await hubctl(served, "inbox", "show", "1")
    assert "please stop {{ first_name }}" in shown
    assert "waits for your decision" in shown

    key = ("--key", "once")
    first = await answer(served, "inbox", "reply", "1", "--text", "Is {{ this }} better?", *key)
    again = await answer(served, "inbox", "reply", "1", "--text", "Is {{ this }} better?", *key)
    assert first["delivery_id"] == again["delivery_id"]
    async with open_client(served.path) as hub:
        life = await hub.call("delivery.get", id=first["delivery_id"])
        ours = (await hub.call("delivery.get", id=sent[0]))["delivery"]["message_id"]
    content = life["content"]
    assert content is not None
    headers = dict(map(tuple, content["headers"]))
    assert headers["To"] == "ann@example.com"
    assert headers["From"] == "Acme <news@acme.example>"
    assert headers["Subject"] == "Re: Hello"
    assert headers["In-Reply-To"] == "<7@example.com>"
    assert headers["References"].split() == [ours, "<7@example.com>"]
    assert content["text"].strip() == "Is {{ this }} better?"
    assert (await answer(served, "inbox", "show", "1"))["item"]["answer_id"] == first["delivery_id"]

    assert (await answer(served, "inbox", "decide", "1", "opt_out", "--dry-run"))["would"]["change"] is True
    assert (await answer(served, "inbox", "decide", "1", "opt_out"))["changed"] is True
    assert (await answer(served, "inbox", "decide", "1", "opt_out"))["changed"] is False
    await hubctl(served, "inbox", "decide", "1", "continue", code=5)
    refused = await hubctl(served, "inbox", "reply", "1", "--text", "Really?", code=5)
    assert "suppressed" in refused


async def test_the_figures_of_a_campaign_say_what_is_known(served: Served, sent: list[int]) -> None:
    view = (await answer(served, "status", "spring"))["campaign"]
    assert (view["delivery_rate"], view["opt_out_rate"], view["bounced"]) == (None, None, 0)
    receipt = Item(key="r", kind=ItemKind.DELIVERED, at=1.0, about=about(served, sent[0]))
    bounce = Item(
        key="b", kind=ItemKind.BOUNCE, at=1.0, about=about(served, sent[1]), enhanced="5.1.1", code=550,
        words="550 5.1.1 <bob@example.com>: unknown",
    )  # fmt: skip
    await come_back(served, receipt, bounce, reply(served, sent[0], "STOP"))
    view = (await answer(served, "status", "spring"))["campaign"]
    assert (view["counts"]["delivered"], view["counts"]["undelivered"]) == (1, 1)
    assert (view["bounced"], view["opt_outs"], view["delivery_rate"], view["opt_out_rate"]) == (
        1,
        1,
        0.5,
        0.5,
    )
    assert "1 bounced, 1 opt-out; 50.0 % delivered, 50.0 % opted out" in await hubctl(
        served, "status", "spring"
    )
    (row,) = (await answer(served, "inbox", "--kind", "bounce"))["items"]
    assert (row["reason"], row["provider_reply"]) == (
        "mailbox_unknown",
        "550 5.1.1 <***@example.com>: unknown",
    )
    (told,) = (await answer(served, "message", str(sent[1])))["came_back"]
    assert told["id"] == row["id"]
    metrics = await hubctl(served, "metrics")
    assert 'messagehub_campaign_came_back_total{campaign="spring",kind="bounced"} 1' in metrics
    await hubctl(served, "inbox", "nobody", code=3)
    await hubctl(served, "inbox", "show", "99", code=3)


async def test_a_person_who_may_want_no_more_gets_nothing_until_somebody_decides(
    served: Served, sent: list[int]
) -> None:
    await come_back(served, reply(served, sent[0], "how do I stop this?"))
    async with open_client(served.path) as hub:
        await hub.call("campaign.apply", spec={**PERSONAL, "name": "second"})
        await hub.call("campaign.start", name="second")
        with trio.fail_after(30):
            while not (waiting := await in_state(hub, "pending", "held")):
                await trio.testing.wait_all_tasks_blocked()
        assert waiting == ["ann@example.com"]
        assert (await hub.call("campaign.get", name="second"))["campaign"]["state"] == "running"
        await hubctl(served, "inbox", "decide", "1", "continue")
        with trio.fail_after(30):
            await completed(hub, "second")
        assert await in_state(hub, "sent") == ["ann@example.com", "bob@example.com"]


async def in_state(hub: Client, state: str, reason: str = "") -> list[str]:
    found = (await hub.call("delivery.list", campaign="second", state=state))["deliveries"]
    return [each["recipient"] for each in found if each["reason"] == reason]
