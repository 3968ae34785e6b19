"""Email through SendGrid: its own library checks the double, and the double checks ours."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sendgrid
import trio
from python_http_client.exceptions import HTTPError
from sendgrid.helpers.mail import CustomArg, Mail, ReplyTo

from hubd.core.model import Answer, Channel, Content, DueDelivery, Kind, RenderedMessage, Signal, Stage
from hubd.core.reconcile import Found
from hubd.core.tokens import Tokens
from hubd.core.verdict import Action, judge
from hubd.engine.plan import MessagePlan
from hubd.errors import CredentialMissing
from hubd.providers.sendgrid import logs
from hubd.providers.sendgrid.transport import SendGridConnection, SendGridTransport
from hubd.transports.http_wire import Endpoint
from tests.shell.raw_http import HungUp, Peer, answer, serve_http
from tests.shell.sendgrid_double import KEY, SendGridDouble

CONTENT = Content(
    channel=Channel.EMAIL,
    kind=Kind.TRANSACTIONAL,
    sender="Acme <news@acme.example>",
    subject="Hello {{ first_name }}",
    text="Hi {{ first_name }}",
)
PLAN = MessagePlan(CONTENT, {}, b"k" * 32, Tokens(b"k" * 32), 0)
TO = "ann@example.com"


def rendered(to: str = TO, number: int = 7) -> RenderedMessage:
    row = DueDelivery(
        id=number, recipient=to, attempts=0, fields={"email": to, "first_name": "Ann"}, content_id=1,
        first_attempt_at=None, next_at=None,
    )  # fmt: skip
    return PLAN.write(row, "spring", time.time())


@pytest.fixture
def double() -> Iterator[SendGridDouble]:
    with SendGridDouble() as running:
        yield running


@asynccontextmanager
async def account(url: str, *keys: str, **settings: Any) -> AsyncIterator[SendGridTransport]:
    """A transport whose key is read anew each time: the last of `keys` stays."""
    left = list(keys or [KEY])

    async def read() -> str:
        await trio.lowlevel.checkpoint()
        return left.pop(0) if len(left) > 1 else left[0]

    timeouts = {"connect_timeout": 10.0, "timeout": settings.pop("timeout", 10.0)}
    transport = SendGridTransport("grid", Endpoint(url, **timeouts), read, **settings)
    try:
        yield transport
    finally:
        await transport.aclose()


async def send(connection: SendGridConnection, message: RenderedMessage) -> Answer:
    return await connection.prepare(message) or await connection.deliver(message)


def action_of(answer: Answer) -> Action:
    return judge(answer, Channel.EMAIL, requests=SendGridTransport.verdicts).action


# --- the double, by SendGrid's own library --------------------------------------------------------


def library(double: SendGridDouble, key: str = KEY) -> Any:
    return sendgrid.SendGridAPIClient(key, host=double.base_url)


def test_the_library_of_sendgrid_and_ours_send_what_the_double_takes_for_the_same(
    double: SendGridDouble,
) -> None:
    mail = Mail("news@acme.example", TO, "Hello Ann", plain_text_content="Hi Ann")
    mail.reply_to = ReplyTo("answers@acme.example")
    mail.add_custom_arg(CustomArg("hub", "7", p=0))
    said = library(double).send(mail)
    assert (said.status_code, said.body) == (202, b"")
    assert said.headers["X-Message-Id"]
    (request,) = double.book.requests
    assert request["personalizations"][0]["to"] == [{"email": TO}]
    assert request["content"] == [{"type": "text/plain", "value": "Hi Ann"}]


@pytest.mark.parametrize(
    ("key", "behaviour", "status"),
    [("wrong", "accept", 401), (KEY, "from", 403), (KEY, "busy", 429), (KEY, "field:subject", 400)],
)
def test_the_library_takes_the_refusals_of_the_double_for_sendgrids(
    double: SendGridDouble, key: str, behaviour: str, status: int
) -> None:
    double.behave("*", behaviour)
    mail = Mail("news@acme.example", TO, "Hello", plain_text_content="Hi")
    with pytest.raises(HTTPError) as caught:
        library(double, key).send(mail)
    assert caught.value.status_code == status
    assert caught.value.to_dict["errors"][0]["message"]
    answer = caught.value.__context__  # the library leaves it open
    assert isinstance(answer, urllib.error.HTTPError)
    answer.close()


def test_the_library_reads_scopes_and_logs_of_the_double(double: SendGridDouble) -> None:
    client = library(double).client
    assert "mail.send" in json.loads(client.scopes.get().body)["scopes"]
    library(double).send(Mail("news@acme.example", TO, "Hello", plain_text_content="Hi"))
    since = 'sg_message_id_created_at >= TIMESTAMP "2020-01-01T00:00:00Z"'
    query = (
        f"to_email = '{TO}' AND {since} AND sg_message_id_created_at <= TIMESTAMP \"2099-01-01T00:00:00Z\""
    )
    found = json.loads(client.logs.post(request_body={"query": query, "limit": 5}).body)
    (message,) = found["messages"]
    details = json.loads(client.logs._(message["sg_message_id"]).get().body)
    assert (details["to_email"], details["status"]) == (TO, "processed")


# --- sending --------------------------------------------------------------------------------------


async def test_a_message_is_accepted_under_the_name_that_sendgrid_gives_it(double: SendGridDouble) -> None:
    async with account(double.base_url) as transport:
        connection = transport.connection()
        answers = [await send(connection, rendered(f"p{n}@example.com", n)) for n in range(3)]
    assert [answer.code for answer in answers] == [202] * 3
    listed = [message["sg_message_id"].partition(".")[0] for message in double.book.messages]
    assert [answer.provider_id for answer in answers] == listed
    assert [message["custom_args"]["hub"] for message in double.book.messages] == ["0", "1", "2"]
    headers = double.book.requests[0]["headers"]
    assert headers["Message-ID"] == rendered("p0@example.com", 0).message_id


@pytest.mark.parametrize(
    ("behaviour", "action", "word"),
    [
        ("nameless", Action.ACCEPT, ""),
        ("field:personalizations.0.to.0.email", Action.FAIL, "personalizations.0.to.0.email"),
        ("field:from.email", Action.PAUSE, "from.email"),
        ("field:content", Action.PAUSE, "content"),
        ("from", Action.PAUSE, "from"),
        ("credits", Action.PROVIDER_STOP, ""),
        ("busy", Action.SLOW, ""),
        ("status:404", Action.PROVIDER_STOP, ""),
        ("status:413", Action.PAUSE, ""),
        ("status:500", Action.DOUBT, ""),
        ("+status:503", Action.DOUBT, ""),
        ("other", Action.DOUBT, ""),
        ("drop", Action.DOUBT, ""),
        ("+drop", Action.DOUBT, ""),
        ("+silence", Action.DOUBT, ""),
    ],
)
async def test_each_answer_is_read_for_what_it_says(
    double: SendGridDouble, behaviour: str, action: Action, word: str
) -> None:
    double.behave(TO, behaviour)
    async with account(double.base_url, timeout=1.0) as transport:
        said = await send(transport.connection(), rendered())
    assert action_of(said) is action
    assert said.vendor == word
    assert said.stage is Stage.REQUEST


async def test_a_throttle_lasts_until_the_reset_that_the_answer_names(double: SendGridDouble) -> None:
    double.behave(TO, "busy")
    double.book.reset_in = 40
    async with account(double.base_url) as transport:
        said = await send(transport.connection(), rendered())
    assert said.retry_after is not None
    assert 37 <= said.retry_after <= 41


async def test_a_wrong_key_costs_one_request_and_a_replaced_one_is_used(double: SendGridDouble) -> None:
    async with account(double.base_url, "wrong") as transport:
        said = await send(transport.connection(), rendered())
    assert (said.code, double.book.asked) == (401, 1)
    assert "wrong" not in said.text
    async with account(double.base_url, "old", KEY) as transport:
        assert (await send(transport.connection(), rendered())).code == 202
    assert double.book.asked == 3


async def test_without_its_key_nothing_is_sent(double: SendGridDouble) -> None:
    async def missing() -> str:
        await trio.lowlevel.checkpoint()
        raise CredentialMissing("providers.grid.api_key: file grid.key is missing", hint="make it")

    transport = SendGridTransport("grid", Endpoint(double.base_url, connect_timeout=5, timeout=5), missing)
    refused = await transport.connection().prepare(rendered())
    await transport.aclose()
    assert refused is not None
    assert "api_key" in refused.detail
    assert (action_of(refused), double.book.asked) == (Action.PROVIDER_STOP, 0)


@pytest.mark.parametrize("accepts", [True, False])
async def test_whatever_byte_the_connection_is_lost_at_nobody_is_taken_for_sent_or_refused(
    accepts: bool,
) -> None:
    """Cut after each byte of the request, or of the answer: a message is in doubt unless all has come."""
    whole = answer("202 Accepted", b"", "X-Message-Id: abc")
    left = 0

    async def cut(peer: Peer) -> None:
        if accepts:
            await peer.request()
            await peer.say(whole[:left])
            return
        with contextlib.suppress(HungUp):
            while peer.server.received < left:
                await peer.more()

    lengths = range(len(whole) + 1) if accepts else [1, 2, 17, 100, 400, 600]
    for left in lengths:
        async with serve_http(cut) as server, account(server.url) as transport:
            said = await send(transport.connection(), rendered())
        complete = accepts and left == len(whole)
        assert action_of(said) is (Action.ACCEPT if complete else Action.DOUBT), (left, said)


async def test_a_server_that_cannot_be_reached_has_certainly_nothing() -> None:
    async with account("http://127.0.0.1:1") as transport:
        said = await send(transport.connection(), rendered())
    assert (said.stage, action_of(said)) == (Stage.CONNECT, Action.PROVIDER)


# --- the account ----------------------------------------------------------------------------------


async def test_a_probe_says_whether_the_key_may_send_and_what_is_left(double: SendGridDouble) -> None:
    async with account(double.base_url) as transport:
        said, found = await transport.ask_account()
    assert said.code == 200
    assert found is not None
    assert (found.sending, found.quota, found.used) == (True, 100, 12)
    double.book.scopes.remove("mail.send")
    async with account(double.base_url) as transport:
        said = await transport.probe()
    assert (said.code, action_of(said)) == (403, Action.PROVIDER_STOP)
    assert "Mail Send" in said.detail


@pytest.mark.parametrize("body", [b"", b"[]", b'{"scopes": 7}', b"[" * 100_000])
async def test_a_probe_that_makes_no_sense_is_no_good_news(body: bytes) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer("200 OK", body))

    async with serve_http(behave) as server, account(server.url) as transport:
        said = await transport.probe()
    assert said.signal is Signal.GARBAGE


# --- asking the logs ------------------------------------------------------------------------------


async def found_in(double: SendGridDouble, message: RenderedMessage) -> Any:
    async with account(double.base_url) as transport:
        return await transport.reconcile(message, time.time())


async def test_a_message_whose_answer_was_lost_is_found_in_the_logs(double: SendGridDouble) -> None:
    double.behave(TO, "+drop")
    async with account(double.base_url) as transport:
        assert action_of(await send(transport.connection(), rendered())) is Action.DOUBT
    finding = await found_in(double, rendered())
    assert finding.kind is Found.FOUND
    assert double.book.messages[0]["sg_message_id"].startswith(finding.provider_id + ".")


async def test_another_message_to_the_same_person_is_not_taken_for_it(double: SendGridDouble) -> None:
    async with account(double.base_url) as transport:
        await send(transport.connection(), rendered(number=8))
    finding = await found_in(double, rendered())
    assert (finding.kind, finding.apart) == (Found.ABSENT, logs.APART)


async def test_a_message_without_our_arguments_that_may_be_it_leaves_the_doubt(
    double: SendGridDouble,
) -> None:
    async with account(double.base_url) as transport:
        await send(transport.connection(), rendered())
    double.book.messages[0]["custom_args"] = None
    finding = await found_in(double, rendered())
    assert finding.kind is Found.UNKNOWN
    assert "not certain" in finding.detail


@pytest.mark.parametrize("behaviour", ["busy", "garbage", "drop", "status:403", "status:500"])
async def test_logs_that_cannot_be_read_prove_nothing(double: SendGridDouble, behaviour: str) -> None:
    double.book.logging = [behaviour]
    finding = await found_in(double, rendered())
    assert finding.kind is Found.UNKNOWN
    assert TO not in finding.detail


async def test_a_window_with_too_many_messages_is_halved(
    double: SendGridDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LIMIT", 4)
    to = "o'brien@example.com"  # whom no query can name: everybody's messages are read
    async with account(double.base_url) as transport:
        connection = transport.connection()
        for number in range(6):
            await send(connection, rendered(f"p{number}@example.com", number))
        await send(connection, rendered(to, 99))
    now = time.time()
    for number, message in enumerate(double.book.messages):
        at = time.gmtime(now - 200 + 60 * number)
        message["sg_message_id_created_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", at)
    finding = await found_in(double, rendered(to, 99))
    assert finding.kind is Found.FOUND
    assert len(double.book.queries) > 2
    assert not [query for query in double.book.queries if "to_email" in query]
    monkeypatch.setattr(logs, "MOST_LISTS", 2)
    assert (await found_in(double, rendered(to, 98))).kind is Found.UNKNOWN


async def test_an_address_in_capitals_is_looked_for_in_both_spellings(double: SendGridDouble) -> None:
    await found_in(double, rendered("Ann@example.com"))
    named = {query.partition("'")[2].partition("'")[0] for query in double.book.queries}
    assert named == {"Ann@example.com", "ann@example.com"}
