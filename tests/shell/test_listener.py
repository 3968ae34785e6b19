"""The listener: unsubscribe links and webhooks, from whoever may be out there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from email import message_from_bytes
from email.policy import default
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from hubd.client import open_client
from hubd.config.file import load_config
from hubd.core.inbound import Item, ItemKind
from hubd.core.inbox import Booked, in_trouble
from hubd.core.model import Channel, Content, DueDelivery
from hubd.core.tokens import Purpose, Tokens
from hubd.core.unsubscribe_page import language_of
from hubd.engine.plan import MessagePlan
from hubd.errors import BadTemplate
from hubd.inbound import listener as module
from hubd.inbound.listener import Listener
from hubd.inbound.reader import Configured, Readers
from hubd.inbound.source import Source
from hubd.listening import listener_of, unsubscribe_links, webhook_urls
from hubd.providers.twilio.webhook import is_signed
from tests.shell.open_hub import open_hub

TOKENS = Tokens(b"key of this installation")
TOKEN = TOKENS.of(Purpose.UNSUBSCRIBE, 17)
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
SECRET = "d0fb7f2c8e5a4b6d"
CONFIG = """
[listener]
address = "127.0.0.1:0"
public_url = "https://hub.acme.example/out"
[providers.text]
type = "twilio"
account_sid = "AC00000000000000000000000000000000"
auth_token = { env = "TWILIO_TOKEN" }
from = "+15005550006"
"""


class World:
    """A listener with somebody who asks it, and what was booked."""

    def __init__(self, listener: Listener, client: httpx.AsyncClient, webhook: str) -> None:
        self.listener = listener
        self.client = client
        self.webhook = webhook  #: as Twilio was told
        self.items: list[Item] = []
        self.books = True
        self.nobody = False  #: nothing tells whose the links are
        self.early = 0  #: looks whose items fit no message yet

    async def book(self) -> None:
        source: Source = self.listener
        while True:
            found = await source.fetch("")
            if self.books and found.items:
                self.items += found.items
                assert found.acknowledge is not None
                assert found.leave_for > 0
                early, self.early = self.early > 0, max(self.early - 1, 0)
                keys = tuple(item.key for item in found.items)
                await found.acknowledge(
                    Booked(new={}, left=keys if early else (), nobody=keys if self.nobody else ())
                )

    async def tell(self, fields: Mapping[str, str], *, secret: str = SECRET) -> httpx.Response:
        """A request of Twilio's, signed by its own library."""
        signature = RequestValidator(secret).compute_signature(self.webhook, fields)
        path = self.webhook.removeprefix("https://hub.acme.example")
        return await self.client.post(path, data=dict(fields), headers={"X-Twilio-Signature": signature})


class Nothing:
    """An inbox in which nothing is booked."""

    async def cursor(self, source: str) -> str:
        return ""

    async def book(self, source: str, items: Sequence[Item], cursor: str, *, leave_for: float) -> Booked:
        return Booked(new={})


@asynccontextmanager
async def opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str = CONFIG
) -> AsyncIterator[World]:
    (tmp_path / "hubd.toml").write_text(config)
    monkeypatch.setenv("TWILIO_TOKEN", SECRET)
    loaded = load_config(tmp_path / "hubd.toml")
    listener = listener_of(loaded, TOKENS, time.time)
    assert listener is not None
    assert loaded.listener is not None
    async with trio.open_nursery() as nursery:
        await listener.open()
        nursery.start_soon(listener.serve)
        limits = httpx.Limits(max_connections=50)
        base = f"http://127.0.0.1:{listener.port}"
        async with httpx.AsyncClient(base_url=base, limits=limits, timeout=60, trust_env=False) as client:
            world = World(listener, client, webhook_urls(loaded, TOKENS).get("text", ""))
            nursery.start_soon(world.book)
            yield world
        nursery.cancel_scope.cancel()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with opened(tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.parametrize("path", [f"/u/{TOKEN}", f"/u/{TOKEN.upper()}", f"/out/u/{TOKEN}", f"/u/{TOKEN}?x=1"])
async def test_a_click_of_a_mail_program_unsubscribes(world: World, path: str) -> None:
    """RFC 8058, 3.1; behind a proxy that leaves the path of `public_url`, or takes it away."""
    answer = await world.client.post(path, data=ONE_CLICK)
    assert answer.status_code == 200
    (item,) = world.items
    assert (item.kind, item.about.token, item.about.channel) == (ItemKind.OPT_OUT, TOKEN, Channel.EMAIL)
    assert TOKENS.read(Purpose.UNSUBSCRIBE, item.about.token) == 17
    again = await world.client.post(
        f"/u/{TOKEN}", files={"List-Unsubscribe": (None, "One-Click")}
    )  # form-data
    assert again.status_code == 200
    same_minute = world.items[1].at // 60 == item.at // 60
    assert (world.items[1].key == item.key) is same_minute


async def test_who_is_not_known_any_more_is_told_so(world: World) -> None:
    world.nobody = True
    answer = await world.client.post(f"/u/{TOKEN}", data=ONE_CLICK, headers={"Accept-Language": "fr"})
    assert answer.status_code == 200, "RFC 8058 knows no other answer, and trying again does not help"
    assert "personne n'a donc été désabonné" in unescape(answer.text)
    assert "Vous êtes désabonné" not in answer.text


async def test_who_only_looks_unsubscribes_nobody(world: World) -> None:
    for language, word in (
        ("de-AT,en;q=0.5", "Abmelden"),
        ("xx", "Unsubscribe"),
        ("en;q=0,fr", "Se désabonner"),
    ):
        page = await world.client.get(f"/u/{TOKEN}", headers={"Accept-Language": language})
        assert page.status_code == 200
        assert page.text.count("<button>") == 1
        assert f"<button>{word}</button>" in page.text
        assert "no-store" in page.headers["Cache-Control"]
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    head = await world.client.head(f"/u/{TOKEN}")
    assert (head.status_code, head.content) == (200, b"")
    for form in ({}, {"List-Unsubscribe": "no"}):
        assert (await world.client.post(f"/u/{TOKEN}", data=form)).status_code == 400
    assert (await world.client.post(f"/u/{TOKEN}", json=ONE_CLICK)).status_code == 400
    assert world.items == []


@pytest.mark.parametrize(
    "token",
    [
        TOKEN[:-1],
        "a" * 24,
        TOKENS.of(Purpose.BOUNCE, 17),
        Tokens(b"other key").of(Purpose.UNSUBSCRIBE, 17),
        "%00",
    ],
)
async def test_a_made_up_link_is_none(world: World, token: str) -> None:
    assert (await world.client.get(f"/u/{token}")).status_code == 404
    answer = await world.client.post(f"/u/{token}", data=ONE_CLICK, headers={"Accept-Language": "fr"})
    assert answer.status_code == 404
    assert "pas valide" in answer.text
    assert world.items == []


async def test_nothing_else_is_served(world: World) -> None:
    for path in (
        "/",
        "/u",
        "/u/",
        "/rpc",
        "/metrics",
        "/w/text",
        "/w/text/",
        f"/w/text/{'a' * 24}",
        "/w//",
        "/../u",
    ):
        assert (await world.client.post(path, data=ONE_CLICK)).status_code == 404
    assert (await world.client.put(f"/u/{TOKEN}")).status_code == 405
    path = world.webhook.removeprefix("https://hub.acme.example")
    refused = await world.client.get(path)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


async def test_without_unsubscribe_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.replace("[providers", "unsubscribe = false\n[providers")
    async with opened(tmp_path, monkeypatch, config) as world:
        assert (await world.client.get(f"/u/{TOKEN}")).status_code == 404
    assert unsubscribe_links(load_config(tmp_path / "hubd.toml")) == ""


INBOUND = {"SmsStatus": "received", "From": "+15005550009"}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"MessageStatus": "delivered"}, ItemKind.DELIVERED),
        ({"MessageStatus": "undelivered", "ErrorCode": "30005"}, ItemKind.BOUNCE),
        ({"MessageStatus": "sent"}, None),
        ({"SmsStatus": "received", "From": "+15005550009", "Body": "When? äöü"}, ItemKind.REPLY),
        (
            {"SmsStatus": "received", "From": "+15005550009", "Body": "stop", "OptOutType": "STOP"},
            ItemKind.OPT_OUT,
        ),
        (
            {"SmsStatus": "received", "From": "+15005550009", "Body": "start", "OptOutType": "START"},
            ItemKind.OPT_IN,
        ),
    ],
)
async def test_what_twilio_tells_is_booked(
    world: World, fields: dict[str, str], kind: ItemKind | None
) -> None:
    answer = await world.tell({"MessageSid": "SM1", "To": "+15005550001", **fields})
    assert (answer.status_code, answer.text) == (200, "<Response></Response>")
    assert [item.kind for item in world.items] == ([kind] if kind else [])
    for item in world.items:
        assert item.about.channel is Channel.SMS
        if kind in (ItemKind.DELIVERED, ItemKind.BOUNCE):
            assert (item.about.provider_ids, item.about.address) == (("SM1",), "+15005550001")
            assert item.only_ours, "the list tells it again, when its message may be known"
        else:
            assert (item.about.address, item.text) == ("+15005550009", fields["Body"])
    again = await world.tell({"MessageSid": "SM1", "To": "+15005550001", **fields})
    assert again.status_code == 200
    assert len({item.key for item in world.items}) <= 1  # a replay is the same item


async def test_what_twilio_did_not_sign_is_refused(world: World) -> None:
    fields = {"MessageSid": "SM1", "To": "+15005550001", "MessageStatus": "delivered"}
    assert (await world.tell(fields, secret="guessed")).status_code == 403
    path = world.webhook.removeprefix("https://hub.acme.example")
    assert (await world.client.post(path, data=fields)).status_code == 403
    good = RequestValidator(SECRET).compute_signature(world.webhook, fields)
    for changed in ({**fields, "MessageStatus": "failed"}, {**fields, "More": "x"}):
        answer = await world.client.post(path, data=changed, headers={"X-Twilio-Signature": good})
        assert answer.status_code == 403
    answer = await world.client.post(path + "?x=1", data=fields, headers={"X-Twilio-Signature": good})
    assert answer.status_code == 403
    assert world.items == []


_words = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


@given(st.dictionaries(_words, _words, max_size=8), st.text(alphabet="abc/?=&1", max_size=20))
def test_signatures_are_those_of_twilios_own_library(fields: dict[str, str], path: str) -> None:
    url = f"https://hub.acme.example/{path}"
    signature = RequestValidator(SECRET).compute_signature(url, fields)
    assert is_signed(SECRET, url, list(fields.items()), signature)
    assert not is_signed(SECRET + "x", url, list(fields.items()), signature)
    assert not is_signed(SECRET, url + "x", list(fields.items()), signature)


async def test_what_is_not_booked_is_to_be_sent_again(world: World) -> None:
    world.books = False
    answer = await world.client.post(f"/u/{TOKEN}", data=ONE_CLICK)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    fields = {"MessageSid": "SM1", "To": "+15005550001", "MessageStatus": "delivered"}
    assert (await world.tell(fields)).status_code == 503
    world.books = True
    assert (await world.client.post(f"/u/{TOKEN}", data=ONE_CLICK)).status_code == 200
    assert len(world.items) == 1


async def test_what_is_told_before_its_message_is_known_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twilio tells a status once, whatever it is answered."""
    monkeypatch.setattr(module, "AGAIN", 0.01)
    world.early = 2
    answer = await world.tell({"MessageSid": "SM1", "To": "+15005550001", "MessageStatus": "delivered"})
    assert answer.status_code == 200
    assert [item.key for item in world.items] == ["SM1/delivered"] * 3
    assert len(world.listener._queue) == 0


async def said(world: World, *pieces: bytes) -> bytes:
    """What the listener answers to these bytes."""
    async with await trio.open_tcp_stream("127.0.0.1", world.listener.port) as stream:
        with suppress(trio.BrokenResourceError):  # it was cut while it was sending
            for piece in pieces:
                await stream.send_all(piece)
        with suppress(trio.BrokenResourceError):
            return await stream.receive_some()
    return b""


async def test_large_bodies_are_not_read(world: World) -> None:
    path = world.webhook.removeprefix("https://hub.acme.example")
    for where, length in ((path, (1 << 20) + 1), (path, 10**30), (f"/u/{TOKEN}", 5_000)):
        head = f"POST {where} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        assert (await said(world, head.encode())).startswith(b"HTTP/1.1 4")
    chunked = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = await said(world, chunked, *[chunk] * 17)
    assert not answer or answer.startswith(b"HTTP/1.1 413")
    assert (await world.client.post(path, content=b"x" * (1 << 20))).status_code == 403
    assert world.listener._bytes == 0


async def test_bodies_and_requests_beyond_the_bounds_are_to_be_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.webhook.removeprefix("https://hub.acme.example")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode()
    monkeypatch.setattr(module, "ALL_BODIES", 1 << 20)
    async with await trio.open_tcp_stream("127.0.0.1", world.listener.port) as stream:
        await stream.send_all(head)
        with trio.fail_after(30):
            while not world.listener._bytes:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert (await world.client.post(path, data={"a": "b"})).status_code == 503
        await stream.send_all(b"123456789")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 403")
    assert (await world.client.post(path, data={"a": "b"})).status_code == 403
    monkeypatch.setattr(module, "MOST_WAITING", 0)
    assert (await world.client.post(f"/u/{TOKEN}", data=ONE_CLICK)).status_code == 503
    monkeypatch.setattr(module, "CONNECTIONS", world.listener._connections)
    assert await said(world, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    assert world.items == []


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /u/x HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02",
        b"GET / HTTP/1.1\r\n" + b"a" * 40_000,
    ],
)
async def test_what_is_no_request_ends_the_connection_alone(world: World, data: bytes) -> None:
    answer = await said(world, data, b"\r\n\r\n")
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert (await world.client.get(f"/u/{TOKEN}")).status_code == 200


async def test_silent_connections_are_closed_and_do_no_harm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.2)
    async with await trio.open_tcp_stream("127.0.0.1", world.listener.port) as stream:
        await stream.send_all(b"POST /u/")
        assert [part async for part in stream] == []
    assert (await world.client.get(f"/u/{TOKEN}")).status_code == 200


async def test_many_requests_are_booked_in_few_turns(world: World) -> None:
    turns = 0
    book = world.listener.fetch

    async def counted(cursor: str) -> object:
        nonlocal turns
        turns += 1
        return await book(cursor)

    world.listener.fetch = counted  # type: ignore[method-assign, assignment]
    answers: list[int] = []

    async def click(number: int) -> None:
        token = TOKENS.of(Purpose.UNSUBSCRIBE, number)
        answers.append((await world.client.post(f"/u/{token}", content=urlencode(ONE_CLICK))).status_code)

    async with trio.open_nursery() as nursery:
        for number in range(120):
            nursery.start_soon(click, number)
    assert answers == [200] * 120
    assert {TOKENS.read(Purpose.UNSUBSCRIBE, item.about.token) for item in world.items} == set(range(120))
    assert turns < 120
    assert (world.listener._bytes, len(world.listener._queue)) == (0, 0)


async def test_a_port_that_is_taken_is_told_at_once_and_tried_again(world: World) -> None:
    """With the task that reads all sources, which waits longer each time."""
    told: list[tuple[str, Mapping[str, object]]] = []
    news = trio.Event()

    async def add(type: str, campaign: int | None, data: Mapping[str, object]) -> None:
        told.append((type, data))
        news.set()

    readers = Readers(
        Nothing(),
        add=add,
        attempts=lambda provider: 0,
        waiting_changed=lambda: None,
        now=time.time,
        random=lambda: 0.5,
    )
    taken = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = taken[0].socket.getsockname()
    other = Listener(address, "https://hub.acme.example", is_ours=None, webhooks={}, now=time.time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.serve)
        await nursery.start(readers.run)
        await readers.apply([Configured(source=other, settings=1)])
        await news.wait()
        (view,) = readers.views()
        assert (view.state, view.person) == ("broken", False)
        assert in_trouble(view.name, view.reason) == (
            f"the listener cannot accept connections: 127.0.0.1 port {address[1]}: address already in use"
        )
        assert view.next_at is not None
        await taken[0].aclose()
        news = trio.Event()
        readers.wake()  # what a reload does, and time
        await news.wait()
        assert [type for type, _ in told] == ["mailbox.broken", "mailbox.working"]
        assert readers.views()[0].state == "working"
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://127.0.0.1:{address[1]}/")).status_code == 404
        nursery.cancel_scope.cancel()


def test_languages() -> None:
    assert language_of("") == "en"
    assert language_of("*") == "en"
    assert language_of("pt-BR;q=0.2, sv;q=0.9") == "sv"
    assert language_of("de;q=9, it") == "it"
    assert language_of("," * 10_000) == "en"


def written(unsubscribe: str, links: str) -> bytes:
    """A message of a marketing campaign to delivery 17."""
    content = Content(
        channel=Channel.EMAIL,
        sender="Acme <news@acme.example>",
        subject="Hi",
        text="Hello",
        html="<p>Hello</p>",
        unsubscribe=unsubscribe,
        postal_address="1 Main St",
    )
    plan = MessagePlan(content, {}, b"key of this installation", TOKENS, 0, links)
    fields = {"email": "ann@example.org"}
    row = DueDelivery(
        id=17,
        recipient="ann@example.org",
        attempts=0,
        fields=fields,
        content_id=1,
        first_attempt_at=None,
        next_at=None,
    )
    return plan.write(row, "spring", 1_796_000_000).payload


def test_a_campaign_has_links_of_the_listener() -> None:
    """RFC 8058, 3.1: both header fields; and the link for people, in both bodies."""
    mail = message_from_bytes(written("listener", "https://hub.acme.example/u/"), policy=default)
    assert mail["List-Unsubscribe"] == f"<https://hub.acme.example/u/{TOKEN}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for part in mail.iter_parts():
        assert f"https://hub.acme.example/u/{TOKEN}" in part.get_content()


def test_links_that_nobody_serves_are_not_sent() -> None:
    with pytest.raises(BadTemplate) as caught:
        written("listener", "")
    assert "hubd.toml has no [listener] that serves such links" in str(caught.value)
    assert b"/u/" not in written("https://acme.example/out", "https://hub.acme.example/u/")


async def test_a_check_says_that_nobody_serves_the_links(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        row = {"line": 2, "values": {"email": "ann@example.org"}}
        await hub.call("contacts.import", list="customers", rows=[row], import_id="i")
        spec = {"name": "spring", "channel": "email", "lists": ["customers"], "sender": "news@acme.example"}
        spec |= {"subject": "Hi", "text": "Hello", "unsubscribe": "listener", "postal_address": "1 Main St"}
        await hub.call("campaign.apply", spec=spec)
        found = await hub.call("campaign.check", name="spring")
        assert "has no [listener] that serves such links" in str(found["problems"])
