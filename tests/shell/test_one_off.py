"""Promise: one-off messages have what emails have, and are all listed, newest first, a page at a time."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from hubd.client import Client, open_client
from hubd.core.model import Channel, Content, DeliveryState
from hubd.errors import BadInput, Conflict, NotFound
from hubd.store import deliveries
from tests.shell.conftest import Store
from tests.shell.open_hub import Served

WORDS = {"sender": "Acme <hello@acme.example>", "subject": "Your order", "text": "Thank you."}
LOGO = b"\x89PNG logo"


@pytest.fixture
async def hub(served: Served) -> AsyncIterator[Client]:
    async with open_client(served.path) as hub:
        yield hub


def described(name: str, kind: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "type": kind, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


async def attach(hub: Client, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    part = b64encode(data).decode("ascii")
    await hub.call("campaign.attach", sha256=digest, offset=0, data=part, size=len(data))


async def sent(hub: Client, **params: Any) -> EmailMessage:
    queued = await hub.call("message.send", provider="outbox", to="ann@example.com", **{**WORDS, **params})
    source = (await hub.call("delivery.get", id=queued["delivery_id"]))["content"]["source"]
    message = message_from_bytes(source.encode(), policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


async def test_a_message_may_have_attachments_pictures_and_an_address_for_replies(hub: Client) -> None:
    bill = b"%PDF-1.7 bill"
    for data in (LOGO, bill):
        await attach(hub, data)
    message = await sent(
        hub,
        html='<p>Thank you.</p><img src="cid:logo.png">',
        reply_to="help@acme.example",
        attachments=[
            described("bill.pdf", "application/pdf", bill),
            described("logo.png", "image/png", LOGO),
        ],
    )
    assert message["Reply-To"] == "help@acme.example"
    kinds = [part.get_content_type() for part in message.walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "image/png", "application/pdf"]
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("bill.pdf", bill)


async def test_a_file_that_was_not_sent_to_the_daemon_is_refused_and_nothing_is_queued(hub: Client) -> None:
    files = [described("bill.pdf", "application/pdf", b"not here")]
    with pytest.raises(NotFound) as caught:
        await sent(hub, attachments=files)
    assert caught.value.code == "attachment_not_found"
    assert (await hub.call("message.list"))["messages"] == []
    would = await hub.call(
        "message.send", provider="outbox", to="ann@example.com", **WORDS, attachments=files, dry_run=True
    )
    assert would["would"] == {"change": True}


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"reply_to": "nobody"}, "reply_to"),
        ({"attachments": [described("../x", "text/plain", b"x")]}, "attachments[0].name"),
        ({"attachments": [described("x", "text", b"x")]}, "attachments[0].type"),
        ({"attachments": [{**described("x", "text/plain", b"x"), "size": 2**40}]}, "attachments[0].size"),
    ],
)
async def test_what_an_email_cannot_have_is_refused_by_its_key(
    hub: Client, params: dict[str, Any], path: str
) -> None:
    with pytest.raises(BadInput) as caught:
        await sent(hub, **params)
    listed = caught.value.data["errors"]
    assert isinstance(listed, list)
    assert [fault["path"] for fault in listed] == [path]


async def test_another_attachment_is_another_message_for_its_key(hub: Client) -> None:
    await attach(hub, LOGO)
    params = {"provider": "outbox", "to": "ann@example.com", **WORDS, "idempotency_key": "k"}
    first = await hub.call("message.send", **params)
    assert (await hub.call("message.send", **params, attachments=[]))["delivery_id"] == first["delivery_id"]
    with pytest.raises(Conflict):
        await hub.call("message.send", **params, attachments=[described("logo.png", "image/png", LOGO)])


async def test_they_are_listed_the_newest_first_with_the_subject_they_have(hub: Client) -> None:
    for number in range(3):
        await hub.call(
            "message.send",
            provider="outbox",
            to=f"p{number}@example.com",
            **{**WORDS, "subject": "Order {{ number }}"},
            fields={"number": str(number)},
        )
    await hub.call("message.send", provider="outbox", to="+14155552671", text="Your code is 4711")
    first = await hub.call("message.list", limit=3)
    assert [(row["recipient"], row["subject"], row["channel"]) for row in first["messages"]] == [
        ("+14155552671", "", "sms"),
        ("p2@example.com", "Order 2", "email"),
        ("p1@example.com", "Order 1", "email"),
    ]
    rest = await hub.call("message.list", limit=3, before=first["next"])
    assert [row["recipient"] for row in rest["messages"]] == ["p0@example.com"]
    assert rest["next"] is None
    assert {row["provider"] for row in first["messages"]} == {"outbox"}


async def test_of_a_removed_contact_no_subject_is_shown(hub: Client) -> None:
    rows = [{"line": 2, "values": {"email": "ann@example.com"}}]
    await hub.call("contacts.import", list="customers", rows=rows, import_id="one")
    await sent(hub, subject="Ann, your order")
    await hub.call("contacts.remove", key="ann@example.com")
    (row,) = (await hub.call("message.list"))["messages"]
    assert row["subject"] == ""


async def test_a_provider_that_does_not_exist_is_not_found(hub: Client) -> None:
    with pytest.raises(NotFound) as caught:
        await hub.call("message.list", provider="nowhere")
    assert caught.value.code == "provider_not_found"
    assert await hub.call("message.list", provider="outbox") == {"messages": [], "next": None}


async def add(store: Store, provider: str, count: int, channel: Channel = Channel.EMAIL) -> list[int]:
    queue = await store.campaigns.transactional_queue(provider, channel)
    content = await store.campaigns.add_content(Content(channel=channel, subject="Hi", text="x"), channel)
    return [
        await store.ledger.add_transactional(queue.id, f"p{n}@example.com", f"p{n}", {"a": "b"}, content)
        for n in range(count)
    ]


async def ids(store: Store, size: int, **asked: Any) -> list[int]:
    """All ids, page by page."""
    found: list[int] = []
    before: int | None = None
    while True:
        rows, before = await store.ledger.transactional(**asked, before=before, limit=size)
        found += [row.delivery.id for row in rows]
        if before is None:
            return found


async def test_pages_of_several_queues_have_every_message_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.running("ann")
    made = [await add(store, name, 3) for name in ("one", "two", "one")]
    made.append(await add(store, "one", 2, Channel.SMS))
    everything = sorted((id_ for each in made for id_ in each), reverse=True)
    ones = sorted(made[0] + made[2] + made[3], reverse=True)
    failed = everything[1::4]

    def fail(unit: Any) -> None:
        for delivery in failed:
            unit.db.execute("UPDATE delivery SET state = 'failed' WHERE id = ?", (delivery,))

    await store.db.write(fail)
    for size in (1, 2, 3, 100):
        assert await ids(store, size) == everything
        assert await ids(store, size, provider="one") == ones
        assert await ids(store, size, state=DeliveryState.FAILED) == failed
        assert await ids(store, size, provider="three") == []
    monkeypatch.setattr(deliveries, "LOOKED_THROUGH", 2)
    assert await ids(store, 1, state=DeliveryState.FAILED) == failed


async def test_a_page_is_found_without_looking_at_every_message(store: Store) -> None:
    queue = await store.campaigns.transactional_queue("one", Channel.EMAIL)

    def plan(db: Any) -> list[str]:
        statement = f"EXPLAIN QUERY PLAN {deliveries.OF_QUEUE}"
        return [row[3] for row in db.execute(statement, (queue.id, 2**62, 5))]

    steps = await store.db.read(plan)
    assert any("SEARCH delivery USING" in step and "campaign_id=? AND rowid<?" in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps)


WELCOME = {
    "name": "welcome",
    "channel": "email",
    "subject": "Welcome {{ name }}",
    "text": "Good to have you.",
}


async def test_a_message_has_the_content_of_a_stored_template(hub: Client) -> None:
    await hub.call("template.apply", specs=[WELCOME])
    await hub.call("template.apply", specs=[{**WELCOME, "subject": "Hello {{ name }}"}])
    params = {
        "provider": "outbox",
        "to": "ann@example.com",
        "sender": WORDS["sender"],
        "fields": {"name": "Ann"},
    }
    for template in ("welcome", "welcome@1"):
        await hub.call("message.send", **params, template=template, reply_to="help@acme.example")
    listed = (await hub.call("message.list"))["messages"]
    assert [row["subject"] for row in listed] == ["Welcome Ann", "Hello Ann"]
    wrong: dict[str, dict[str, Any]] = {
        "sender": {"sender": ""},
        "template": {"template": "Not A Name"},
        "text": {"text": "own words"},
    }
    for path, changes in wrong.items():
        with pytest.raises(BadInput) as caught:
            await hub.call("message.send", **{**params, "template": "welcome", **changes})
        listed_faults = caught.value.data["errors"]
        assert isinstance(listed_faults, list)
        assert listed_faults[0]["path"] == path
    for missing in ("goodbye", "welcome@9"):
        with pytest.raises(NotFound) as absent:
            await hub.call("message.send", **params, template=missing)
        assert absent.value.code == "template_not_found"


async def test_a_campaign_of_that_name_comes_before_the_template_and_keeps_its_own_files(hub: Client) -> None:
    campaign = {**WELCOME, "kind": "transactional", "sender": WORDS["sender"], "subject": "Of the campaign"}
    await hub.call("template.apply", specs=[WELCOME])
    await hub.call("campaign.apply", spec=campaign)
    params = {"provider": "outbox", "to": "ann@example.com", "template": "welcome"}
    await hub.call("message.send", **params)
    (row,) = (await hub.call("message.list"))["messages"]
    assert row["subject"] == "Of the campaign"
    with pytest.raises(BadInput, match="is a campaign"):
        await hub.call("message.send", **params, reply_to="help@acme.example")
