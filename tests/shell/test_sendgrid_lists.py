"""What comes back from SendGrid: its lists, logs and webhook, with the double and the real store."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sendgrid
import trio
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sendgrid.helpers.eventwebhook import EventWebhook

from hubd.config.file import load_config
from hubd.core.inbound import Item, ItemKind
from hubd.core.inbox import Booked
from hubd.core.model import DeliveryState
from hubd.core.tokens import Tokens
from hubd.core.webhooks import WebhookRequest
from hubd.errors import BadConfig, SourceUnavailable
from hubd.inbound.source import ReadFirst
from hubd.listening import listener_of, webhook_urls
from hubd.providers.sendgrid.lists import MOST_ASKED, ListsSource
from hubd.providers.sendgrid.transport import SendGridTransport
from hubd.providers.sendgrid.walk import Cursor
from hubd.providers.sendgrid.webhook import OLDEST, is_signed, read_webhook
from hubd.store.database import Database
from hubd.store.forgetting import forget
from hubd.store.inbox import Inbox
from hubd.transports.http_wire import Endpoint
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.sendgrid_double import KEY, LISTS, SendGridDouble

ANN, BOB, CHO = (f"{name}@example.com" for name in ("ann", "bob", "cho"))
D = DeliveryState
OTHER = "somebody@elsewhere.example"


@pytest.fixture
def double() -> Iterator[SendGridDouble]:
    with SendGridDouble() as running:
        yield running


@asynccontextmanager
async def reading(
    double: SendGridDouble, key: str = KEY, now: Callable[[], float] = time.time
) -> AsyncIterator[ListsSource]:
    async def read() -> str:
        await trio.lowlevel.checkpoint()
        return key

    endpoint = Endpoint(double.base_url, connect_timeout=10.0, timeout=10.0)
    source = ListsSource("grid", SendGridTransport("grid", endpoint, read), now)
    try:
        with trio.fail_after(20):
            yield source
    finally:
        await source.aclose()


async def round_of(
    source: ListsSource, inbox: Inbox | None = None, cursor: str = ""
) -> tuple[list[Item], str]:
    """One round, booked look by look; what it found."""
    items: list[Item] = []
    while True:
        fetched = await source.fetch(cursor)
        booked = Booked(new={})
        if inbox is not None:
            booked = await inbox.book(source.name, fetched.items, fetched.cursor, leave_for=fetched.leave_for)
        if fetched.acknowledge is not None:
            await fetched.acknowledge(booked)
        items += fetched.items
        cursor = fetched.cursor
        if fetched.wait:
            return items, cursor


@pytest.fixture
async def mails(database: Database) -> Callable[..., Any]:
    """Makes a campaign whose messages the double has, under names that the ledger knows."""
    store = Store(database)

    async def make(double: SendGridDouble) -> tuple[Store, Any]:
        campaign = await store.running("ann", "bob", "cho")
        for number, to in zip(await store.ids(campaign), (ANN, BOB, CHO), strict=True):
            body = {
                "personalizations": [{"to": [{"email": to}], "custom_args": {"hub": str(number)}}],
                "from": {"email": "news@acme.example"},
                "subject": "Hello",
            }
            with double.book.lock:
                name = double.book.accept(body)
            now = time.time()
            await store.ledger.record(
                [
                    open_entry(number, at=now - 1),
                    close_entry(number, stage="request", provider_id=name, at=now),
                ]
            )
        return store, campaign

    return make


async def suppressions(store: Store) -> list[tuple[str, str]]:
    statement = "SELECT address_key, reason FROM suppression ORDER BY 1"
    return [tuple(row) for row in await store.db.read(lambda db: db.execute(statement).fetchall())]


def test_the_library_of_sendgrid_reads_the_lists_of_the_double(double: SendGridDouble) -> None:
    client = sendgrid.SendGridAPIClient(KEY, host=double.base_url).client
    double.book.suppress("bounces", ANN, ago=60, reason="550 5.1.1 no", status="5.1.1")
    double.book.suppress("bounces", BOB, ago=10, reason="550 5.1.1 no", status="5.1.1")
    since = {"start_time": int(time.time()) - 30}
    for query, expected in ((since, [BOB]), ({"limit": 1, "offset": 1}, [ANN]), ({}, [BOB, ANN])):
        found = json.loads(client.suppression.bounces.get(query_params=query).body)
        assert [row["email"] for row in found] == expected
    for path in ("blocks", "invalid_emails", "spam_reports", "unsubscribes"):
        assert json.loads(client.suppression._(path).get().body) == []


async def test_lists_and_logs_say_what_became_of_messages_once(
    double: SendGridDouble, database: Database, mails: Callable[..., Any]
) -> None:
    store, campaign = await mails(double)
    inbox = Inbox(database, Tokens(database.install_key))
    double.book.settle(ANN, "delivered", "250 2.0.0 OK")
    double.book.settle(BOB, "bounced", "550 5.1.1 no such user")
    double.book.settle(CHO, "blocked", "550 5.7.1 not now")
    double.book.suppress("bounces", BOB, reason="550 5.1.1 no such user", status="5.1.1")
    double.book.suppress("blocks", CHO, reason="550 5.7.1 not now", status="5.7.1")
    double.book.suppress("spam_reports", ANN, ip="192.0.2.1")
    double.book.suppress("unsubscribes", OTHER)
    double.book.suppress("bounces", "soft@elsewhere.example", reason="554 no", status="5.0.0")
    async with reading(double) as source:
        assert isinstance(source, ReadFirst)
        assert source.read_first
        found, cursor = await round_of(source, inbox)
        assert Counter(item.kind for item in found) == {
            ItemKind.BOUNCE: 5,
            ItemKind.COMPLAINT: 1,
            ItemKind.OPT_OUT: 1,
            ItemKind.DELIVERED: 1,
        }
        before = [await inbox.page(), (await store.campaigns.by_id(campaign.id)).counts]
    async with reading(double) as restarted:
        await round_of(restarted, inbox, cursor)
    async with reading(double) as anew:
        await round_of(anew, inbox)
    assert [await inbox.page(), (await store.campaigns.by_id(campaign.id)).counts] == before
    assert await store.states(campaign) == [D.DELIVERED, D.UNDELIVERED, D.UNDELIVERED]
    assert await suppressions(store) == [
        (ANN, "complaint"),
        (BOB, "mailbox_unknown"),
        (OTHER, "opted_out"),
    ]
    listed = sorted((row.kind.value, row.campaign) for row in await inbox.page())
    assert listed == [
        *[("bounce", "spring-sale")] * 2, ("complaint", "spring-sale"), ("opt_out", None),
    ]  # fmt: skip
    await store.check_counters(campaign)


async def test_what_a_list_names_is_forgotten_with_the_person_and_stays_suppressed(
    double: SendGridDouble, database: Database, mails: Callable[..., Any]
) -> None:
    """The key under which an entry is kept says nothing of whom; reading it again brings nothing back."""
    store, _ = await mails(double)
    inbox = Inbox(database, Tokens(database.install_key))
    double.book.suppress("unsubscribes", BOB)
    double.book.suppress("bounces", CHO, reason="550 5.1.1 no", status="5.1.1")
    async with reading(double) as source:
        await round_of(source, inbox)
    await database.write(lambda unit: forget(unit, [BOB, CHO]))
    async with reading(double) as source:
        await round_of(source, inbox)
    assert await suppressions(store) == []
    rows = await store.db.read(lambda db: db.execute("SELECT * FROM inbox").fetchall())
    assert [row["kind"] for row in rows] == ["bounce", "opt_out"]
    text = repr([tuple(row) for row in rows])
    assert "example.com" not in text
    for which, address in (("unsubscribes", BOB), ("bounces", CHO)):
        plain = f"{which}/{double.book.lists[which][0]['created']}/{address}"
        assert hashlib.sha256(plain.encode()).hexdigest() not in text


async def test_a_part_that_the_key_may_not_read_is_left_out_and_all_of_them_are_trouble(
    double: SendGridDouble, caplog: pytest.LogCaptureFixture
) -> None:
    double.book.suppress("unsubscribes", OTHER)
    double.book.walking = {name: "status:403" for name in (*LISTS, "logs") if name != "unsubscribes"}
    async with reading(double) as source:
        with caplog.at_level(logging.WARNING):
            found, cursor = await round_of(source)
        assert [item.about.address for item in found] == [OTHER]
        assert len([record for record in caplog.records if "may not read" in record.message]) == 5
        assert len(double.book.walks) == 6
    double.book.walking["unsubscribes"] = "status:403"
    async with reading(double) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await round_of(source, cursor=cursor)
    assert caught.value.data["person"] is True
    assert "Suppressions and Email Activity" in str(caught.value)


async def test_logs_that_want_to_be_asked_less_often_hold_up_no_list(double: SendGridDouble) -> None:
    double.book.walking = {"logs": "busy"}
    async with reading(double) as source:
        _, cursor = await round_of(source)
        fetched = await source.fetch(cursor)
        assert (fetched.items, fetched.cursor) == ((), cursor), "not again at once"
        assert 0 < fetched.wait <= 60
    assert len(double.book.walks) == 6
    assert Cursor.parse(cursor).rest, "what was not read of them is kept for the next round"
    double.book.walking = {}
    async with reading(double) as source:
        _, cursor = await round_of(source, cursor=cursor)
    assert (Cursor.parse(cursor).rest, len(double.book.walks)) == ((), 12)


async def test_a_round_leaves_requests_to_the_logs_for_others(
    double: SendGridDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Cursor, "halves", lambda cursor, _: cursor.windows[-1][1] - cursor.windows[-1][0] > 9e4
    )
    async with reading(double) as source:
        _, cursor = await round_of(source)
    assert len([walk for walk in double.book.walks if "suppression" not in walk]) == MOST_ASKED
    assert Cursor.parse(cursor).rest


async def test_a_part_that_the_key_may_read_later_is_read_from_where_it_ended(
    double: SendGridDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = [0.0]
    async with reading(double, now=lambda: time.time() + 3_600 * hours[-1]) as source:

        async def later(hour: float, cursor: str) -> tuple[list[Item], str]:
            hours.append(hour)
            source._not_before = -math.inf  # the next round is due
            return await round_of(source, cursor=cursor)

        _, cursor = await later(0, "")
        double.book.suppress("unsubscribes", OTHER)
        double.book.walking = {"unsubscribes": "status:403"}
        _, cursor = await later(1, cursor)
        asked = len(double.book.walks)
        found, cursor = await later(1.5, cursor)
        assert (found, len(double.book.walks) - asked) == ([], 5), "not asked for again yet"
        double.book.walking = {}
        monkeypatch.setattr(source, "_ask_again", -math.inf)  # an hour later
        found, _ = await later(2, cursor)
        assert [item.about.address for item in found] == [OTHER]


@pytest.mark.parametrize(
    ("behaviour", "person"),
    [("status:500", False), ("busy", False), ("drop", False), ("garbage", False), ("status:401", True)],
)
async def test_a_list_that_cannot_be_read_is_trouble(
    double: SendGridDouble, behaviour: str, person: bool
) -> None:
    double.book.walking = {"bounces": behaviour}
    async with reading(double) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await source.fetch("")
    assert caught.value.data["person"] is person
    assert KEY not in str(caught.value)


# -- the webhook -----------------------------------------------------------------------------------

PRIVATE = ec.derive_private_key(20_261_130, ec.SECP256R1())


def public(key: Any = PRIVATE) -> str:
    der = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_key().public_bytes(*der)).decode()


def signed(body: bytes, at: float, key: Any = PRIVATE) -> dict[str, str]:
    timestamp = str(int(at))
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }


def bounce(name: str, to: str) -> bytes:
    event = {
        "email": to, "timestamp": int(time.time()), "event": "bounce", "type": "bounce", "status": "5.1.1",
        "reason": "550 5.1.1 no such user", "sg_event_id": "e1", "sg_message_id": f"{name}.recvd-1-2-3",
    }  # fmt: skip
    return json.dumps([event, {**event, "event": "open"}], indent=1).encode()


def asked(body: bytes, headers: dict[str, str], at: float) -> WebhookRequest:
    return WebhookRequest(url="https://hub.acme.example/w/grid/x", headers=headers, body=body, at=at)


def test_what_we_take_for_signed_is_what_sendgrids_library_takes_for_it() -> None:
    body, now = bounce("n", ANN), time.time()
    headers = signed(body, now)
    signature, timestamp = headers.values()
    assert EventWebhook(public()).verify_signature(body.decode(), signature, timestamp)
    assert is_signed(public(), timestamp, body, signature)
    for other in (body + b" ", body.replace(b"5.1.1", b"5.1.2"), b""):
        assert not EventWebhook(public()).verify_signature(other.decode(), signature, timestamp)
        assert not is_signed(public(), timestamp, other, signature)
    for bad in ("", "x", "AAAA", signature[:-8], f"{signature}\N{SNOWMAN}"):
        assert not is_signed(public(), timestamp, body, bad)


def test_a_request_that_is_old_or_not_signed_by_this_key_is_refused() -> None:
    body, now = bounce("n", ANN), time.time()
    items = read_webhook(public(), asked(body, signed(body, now), now))
    assert items is not None
    assert [item.kind for item in items] == [ItemKind.BOUNCE]
    for late in (OLDEST + 1, -OLDEST - 2):
        assert read_webhook(public(), asked(body, signed(body, now), now + late)) is None, "a replay"
    other = ec.derive_private_key(7, ec.SECP256R1())
    assert read_webhook(public(), asked(body, signed(body, now, other), now)) is None
    moved = {**signed(body, now), "x-twilio-email-event-webhook-timestamp": str(int(now) + 1)}
    for headers in ({}, moved):
        assert read_webhook(public(), asked(body, headers, now)) is None
    for strange in (b"", b"{}", b"[7, null]", b"[" * 10_000, b"\xff"):
        assert read_webhook(public(), asked(strange, signed(strange, now), now)) == []


async def test_webhook_and_logs_together_double_nothing(
    double: SendGridDouble, database: Database, mails: Callable[..., Any]
) -> None:
    store, campaign = await mails(double)
    inbox = Inbox(database, Tokens(database.install_key))
    name = double.book.messages[0]["sg_message_id"].partition(".")[0]
    body, now = bounce(name, ANN), time.time()
    for _ in range(3):  # SendGrid tells the same several times
        items = read_webhook(public(), asked(body, signed(body, now), now))
        assert items
        await inbox.book("listener", [replace(item, source="provider grid") for item in items], "")
    double.book.settle(ANN, "bounced", "550 5.1.1 no such user")
    double.book.suppress("bounces", ANN, reason="550 5.1.1 no such user", status="5.1.1")
    async with reading(double) as source:
        await round_of(source, inbox)
    (row,) = await inbox.page()
    assert (row.kind, row.campaign, row.source) == (ItemKind.BOUNCE, "spring-sale", "provider grid")
    assert (await store.states(campaign))[0] is D.UNDELIVERED
    assert await suppressions(store) == [(ANN, "mailbox_unknown")]
    assert (await store.types()).count("delivery.bounced") == 1
    await store.check_counters(campaign)


CONFIG = """
[listener]
address = "127.0.0.1:0"
public_url = "https://hub.acme.example"
[providers.grid]
type = "sendgrid"
api_key = { env = "GRID_KEY" }
"""


async def test_the_listener_takes_what_sendgrid_signs(tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text(f'{CONFIG}verification_key = "{public()}"\n')
    loaded, tokens = load_config(path), Tokens(b"key of this installation")
    listener = listener_of(loaded, tokens, time.time)
    assert listener is not None
    assert loaded.listener is not None
    items: list[Item] = []

    async def book() -> None:
        while True:
            fetched = await listener.fetch("")
            items.extend(fetched.items)
            assert fetched.acknowledge is not None
            await fetched.acknowledge(Booked(new={}))

    async with trio.open_nursery() as nursery:
        await listener.fetch("")  # it listens then
        nursery.start_soon(listener.serve)
        nursery.start_soon(book)
        target = webhook_urls(loaded, tokens)["grid"].removeprefix("https://hub.acme.example")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.port}", trust_env=False) as client:
            body = bounce("n", ANN)
            good = await client.post(target, content=body, headers=signed(body, time.time()))
            bad = await client.post(target, content=body + b" ", headers=signed(body, time.time()))
        nursery.cancel_scope.cancel()
    assert (good.status_code, bad.status_code) == (200, 403)
    assert [(item.kind, item.source) for item in items] == [(ItemKind.BOUNCE, "provider grid")]


@pytest.mark.parametrize("key", ["x", "AAAA", public(ec.derive_private_key(7, ec.SECP384R1()))])
def test_a_verification_key_that_is_none_is_a_fault_of_the_configuration(tmp_path: Path, key: str) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text(f'{CONFIG}verification_key = "{key}"\n')
    with pytest.raises(BadConfig) as caught:
        load_config(path)
    assert "verification_key" in str(caught.value)


def test_without_a_verification_key_no_webhook_is_served(tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text(CONFIG)
    loaded, tokens = load_config(path), Tokens(b"key of this installation")
    listener = listener_of(loaded, tokens, time.time)
    assert listener is not None
    assert listener._webhooks == {}
    assert "grid" in webhook_urls(loaded, tokens), "it is what SendGrid wants to know before it shows the key"
