"""What comes back by Twilio's list, without a public address: the double, our source, the real store."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trio
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from hubd.core.inbound import ItemKind
from hubd.core.inbox import Booked
from hubd.core.model import CampaignState, Channel, DeliveryState
from hubd.core.tokens import Tokens
from hubd.core.webhooks import WebhookRequest
from hubd.errors import CredentialMissing, SourceUnavailable
from hubd.inbound.source import Fetched, ReadFirst
from hubd.providers.twilio.listed import ListSource
from hubd.providers.twilio.walk import LOOK_AGAIN
from hubd.providers.twilio.webhook import read_webhook
from hubd.store.database import Database
from hubd.store.inbox import Inbox
from hubd.transports.http_wire import Endpoint
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.twilio_double import ACCOUNT, SENDER, TOKEN, TwilioDouble

BOUND = 20
PEOPLE = ("+14155550000", "+14155550001", "+14155550002")


@pytest.fixture
def double() -> Iterator[TwilioDouble]:
    with TwilioDouble() as server:
        yield server


@asynccontextmanager
async def reading(double: TwilioDouble, *tokens: str, ours: str = SENDER) -> AsyncIterator[ListSource]:
    """A source whose token is read anew each time: the last of `tokens` stays."""
    left = list(tokens or (TOKEN,))

    async def read() -> str:
        await trio.lowlevel.checkpoint()
        token = left.pop(0) if len(left) > 1 else left[0]
        if not token:
            raise CredentialMissing("providers.text.auth_token is missing")
        return token

    def now() -> float:
        return datetime.now(UTC).timestamp()

    endpoint = Endpoint(double.base_url, connect_timeout=10.0, timeout=10.0)
    source = ListSource("text", endpoint, ACCOUNT, read, ours=(ours,), now=now)
    try:
        with trio.fail_after(BOUND):
            yield source
    finally:
        await source.aclose()


def library(double: TwilioDouble) -> Client:
    client = Client(ACCOUNT, TOKEN)
    client.api.base_url = double.base_url
    return client


async def walk(source: ListSource, inbox: Inbox | None = None, cursor: str = "") -> tuple[list[Fetched], str]:
    """One walk, booked page by page."""
    pages = []
    while True:
        fetched = await source.fetch(cursor)
        booked = Booked(new={})
        if inbox is not None:
            booked = await inbox.book(source.name, fetched.items, fetched.cursor, leave_for=fetched.leave_for)
        assert fetched.acknowledge is not None
        await fetched.acknowledge(booked)
        pages.append(fetched)
        cursor = fetched.cursor
        if fetched.wait:
            return pages, cursor


def kinds(pages: list[Fetched]) -> Counter[ItemKind]:
    return Counter(item.kind for page in pages for item in page.items)


def test_the_library_of_twilio_reads_the_list_of_the_double(double: TwilioDouble) -> None:
    """Received texts, last statuses and pages are what Twilio's own library takes for them."""
    client = library(double)
    for number in PEOPLE:
        client.messages.create(to=number, from_=SENDER, body="Hello")
    double.book.settle(PEOPLE[1], "undelivered", 30003)
    double.book.receive(PEOPLE[0], "Stop", ago=60)
    double.book.most = 2
    listed = client.messages.list(page_size=2, date_sent_after=datetime.now(UTC).date() - timedelta(days=1))
    assert [(each.direction, each.status, each.error_code) for each in listed] == [
        ("outbound-api", "queued", None),
        ("outbound-api", "undelivered", 30003),
        ("outbound-api", "queued", None),
        ("inbound", "received", None),
    ]


async def test_statuses_and_texts_come_in_one_walk_page_by_page(double: TwilioDouble) -> None:
    client = library(double)
    for number in PEOPLE:
        await trio.to_thread.run_sync(
            lambda number=number: client.messages.create(to=number, from_=SENDER, body="Hello")
        )
    double.book.settle(PEOPLE[0], "delivered")
    double.book.settle(PEOPLE[1], "failed", 30005)
    double.book.receive(PEOPLE[2], "STOP")
    double.book.receive(PEOPLE[2], "too old", ago=5 * 86_400)
    double.book.most = 2
    async with reading(double) as source:
        assert isinstance(source, ReadFirst)
        assert source.read_first
        pages, cursor = await walk(source)
    assert kinds(pages) == {ItemKind.DELIVERED: 1, ItemKind.BOUNCE: 1, ItemKind.REPLY: 1}, "each once"
    assert [page.wait for page in pages[:-1]] == [0.0] * (len(pages) - 1)
    assert 15 <= pages[-1].wait < 20
    assert double.book.walks[0] == {"PageSize": "1000"}
    assert double.listings == [], "no question about one recipient"
    (bounce,) = [item for page in pages for item in page.items if item.kind is ItemKind.BOUNCE]
    assert (bounce.vendor, bounce.code, bounce.about.address) == ("30005", 30005, PEOPLE[1])
    assert "DateSent>" in double.book.walks[1]
    async with reading(double) as restarted:
        pages, _ = await walk(restarted, cursor=cursor)
    assert kinds(pages) == {ItemKind.DELIVERED: 1, ItemKind.BOUNCE: 1, ItemKind.REPLY: 1}


@pytest.fixture
async def texts(database: Database) -> Callable[..., Any]:
    """Makes a campaign whose messages the double has, under names that the ledger knows."""
    store = Store(database)

    async def make(double: TwilioDouble) -> tuple[Store, Any]:
        await store.people("ann", "bob", "cho", phone=True)
        campaign = await store.draft(channel="sms", sender=None, subject=None, html=None, text="Hi")
        campaign = await store.move(campaign, CampaignState.RUNNING)
        await store.freeze(campaign)
        for number, recipient in zip(await store.ids(campaign), PEOPLE, strict=True):
            with double.book.lock:
                message = double.book.accept({"To": recipient, "From": SENDER, "Body": "Hi"})
            await store.ledger.record(
                [
                    open_entry(number, at=datetime.now(UTC).timestamp() - 1),
                    close_entry(
                        number, stage="request", provider_id=message["sid"], at=datetime.now(UTC).timestamp()
                    ),
                ]
            )
        return store, campaign

    return make


async def test_fetching_twice_changes_nothing_and_the_webhook_doubles_nothing(
    double: TwilioDouble, database: Database, texts: Callable[..., Any]
) -> None:
    store, campaign = await texts(double)
    inbox = Inbox(database, Tokens(database.install_key))
    double.book.settle(PEOPLE[0], "delivered")
    double.book.settle(PEOPLE[1], "undelivered", 30006)
    reply = double.book.receive(PEOPLE[2], "Thanks a lot!")
    with double.book.lock:
        double.book.accept({"To": "+12025550199", "From": SENDER, "Body": "of another program"})
    double.book.settle("+12025550199", "undelivered", 30006)
    # what the webhook told before, as the listener books it
    fields = {"MessageSid": reply, "From": PEOPLE[2], "To": SENDER, "Body": "Thanks a lot!"}
    url = "https://hub.acme.example/w/text/x"
    request = WebhookRequest(
        url=url,
        headers={
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": RequestValidator(TOKEN).compute_signature(url, fields),
        },
        body="&".join(f"{key}={value.replace('+', '%2B')}" for key, value in fields.items()).encode(),
        at=datetime.now(UTC).timestamp(),
    )
    items = read_webhook(TOKEN, request)
    assert items
    await inbox.book("listener", [replace(item, source="provider text") for item in items], "")
    async with reading(double) as source:
        _, cursor = await walk(source, inbox)
        before = [await inbox.page(), (await store.campaigns.by_id(campaign.id)).counts]
        pages, cursor = await walk(source, inbox, cursor)
        assert kinds(pages) == {ItemKind.BOUNCE: 1}, "only that of the other program, which may be ours yet"
    async with reading(double) as restarted:
        await walk(restarted, inbox, cursor)
        await walk(restarted, inbox)
    await inbox.book("listener", [replace(item, source="provider text") for item in items], "")
    assert [await inbox.page(), (await store.campaigns.by_id(campaign.id)).counts] == before
    listed = await inbox.page()
    assert sorted((row.kind, row.campaign, row.source) for row in listed) == [
        (ItemKind.BOUNCE, campaign.name, "provider text"),
        (ItemKind.REPLY, campaign.name, "provider text"),
    ]
    states = await store.states(campaign)
    assert states == [DeliveryState.DELIVERED, DeliveryState.UNDELIVERED, DeliveryState.SENT]
    await store.check_counters(campaign)


async def test_a_text_that_an_earlier_version_kept_is_known(
    double: TwilioDouble, database: Database, texts: Callable[..., Any]
) -> None:
    """It was kept as the listener's, and not as the provider's."""
    await texts(double)
    inbox = Inbox(database, Tokens(database.install_key))
    double.book.receive(PEOPLE[0], "Thanks")
    async with reading(double) as source:
        fetched = await source.fetch("")
        await inbox.book("listener", fetched.items, "")
        await walk(source, inbox)
    assert [row.source for row in await inbox.page()] == ["listener"]


async def test_a_stop_counts_from_whomever_and_a_text_to_another_number_only_as_an_answer(
    double: TwilioDouble, database: Database, texts: Callable[..., Any]
) -> None:
    store, _ = await texts(double)
    inbox = Inbox(database, Tokens(database.install_key))
    double.book.receive("+12025550111", "stop", to=SENDER)
    double.book.receive("+12025550122", "stop", to="+15005550099")  # of another program
    double.book.receive(PEOPLE[0], "STOP", to="+15005550099")
    async with reading(double) as source:
        await walk(source, inbox)
    rows = await store.db.read(
        lambda db: db.execute("SELECT channel, address_key, reason FROM suppression ORDER BY 2").fetchall()
    )
    assert [tuple(row) for row in rows] == [
        (Channel.SMS, "+12025550111", "opted_out"),
        (Channel.SMS, PEOPLE[0], "opted_out"),
    ]


async def test_a_status_that_is_nobodys_is_looked_at_again_only_for_a_while(
    double: TwilioDouble, database: Database
) -> None:
    inbox = Inbox(database, Tokens(database.install_key))
    with double.book.lock:
        double.book.accept({"To": PEOPLE[0], "From": SENDER, "Body": "Hi"})
        old = double.book.accept({"To": PEOPLE[1], "From": SENDER, "Body": "Hi"})
        old["date_updated"] = format_datetime(datetime.now(UTC) - timedelta(seconds=LOOK_AGAIN + 60))
    for number in PEOPLE[:2]:
        double.book.settle(number, "undelivered")
    async with reading(double) as source:
        seen = [sorted(item.about.address for item in (await walk(source, inbox))[0][0].items) for _ in "ab"]
    assert seen == [list(PEOPLE[:2]), [PEOPLE[0]]]
    assert await inbox.page() == [], "others use the account"


@pytest.mark.parametrize(
    ("behaviour", "person", "words"),
    [
        ("status:500", False, ""),
        ("busy", False, "Too Many Requests"),
        ("drop", False, "the connection"),
        ("garbage", False, "cannot be read"),
        ("deep", False, "cannot be read"),
        ("status:403", True, ""),
    ],
)
async def test_a_list_that_cannot_be_read_says_why_and_changes_nothing(
    double: TwilioDouble, behaviour: str, person: bool, words: str
) -> None:
    double.book.walking = [behaviour]
    async with reading(double) as source:
        with pytest.raises(SourceUnavailable) as caught:
            await source.fetch("")
    assert caught.value.data["person"] is person
    assert words in str(caught.value)
    assert TOKEN not in str(caught.value)


async def test_a_token_that_was_replaced_is_read_again_once(double: TwilioDouble) -> None:
    async with reading(double, "old", TOKEN) as source:
        assert (await source.fetch("")).items == []
    async with reading(double, "wrong") as source:
        with pytest.raises(SourceUnavailable) as caught:
            await source.fetch("")
    assert caught.value.data["person"] is True
    async with reading(double, "") as source:
        with pytest.raises(SourceUnavailable) as caught:
            await source.fetch("")
    assert "auth_token is missing" in str(caught.value)
