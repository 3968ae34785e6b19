"""Logins by XOAUTH2: a token server and a mail server over real sockets, and everything that they refuse."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest
import trio
from aiosmtpd.smtp import SMTP, AuthResult
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.bridge import Bridge
from hubd.core.model import Answer, Channel, Signal, Stage
from hubd.core.verdict import Action, judge
from hubd.errors import CredentialMissing
from hubd.providers.smtp.transport import SmtpSettings, SmtpTransport, open_smtp
from hubd.transports.oauth2 import OAuth2Settings, TokenRefused, TokenSource
from tests.shell.raw_http import HttpServer, Peer, answer, serve_http
from tests.shell.scripted_smtp import Say, serve_script
from tests.shell.smtp_peers import Mailbox, aiosmtpd_server, rendered, send

REFRESH, SECRET = "1//refresh-me", "app-s3cret"


def said(value: object, status: str = "200 OK") -> bytes:
    return answer(status, json.dumps(value).encode(), "Content-Type: application/json")


def token(name: str, life: object = 3600, **more: object) -> bytes:
    return said({"access_token": name, "token_type": "Bearer", "expires_in": life, **more})


def refused(error: str, status: str = "400 Bad Request", about: str = "") -> bytes:
    return said({"error": error, "error_description": about}, status)


def in_turn(responses: Sequence[bytes]) -> Callable[[Peer], Awaitable[None]]:
    """A token server that says these in turn, and the last one from then on; a connection for each."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        count = len(peer.server.requests)
        await peer.say(responses[min(count, len(responses)) - 1])

    return behave


async def refresh_token() -> str:
    return REFRESH


async def client_secret() -> str:
    return SECRET


def source(url: str, **more: float) -> TokenSource:
    made = OAuth2Settings(token_url=url + "/token", client_id="hub-app", **more)
    return TokenSource(made, refresh_token, client_secret)


def forms(server: HttpServer) -> list[dict[str, list[str]]]:
    return [parse_qs(seen.body.decode()) for seen in server.requests]


class TokenMailbox(Mailbox):
    """Takes logins of anna by XOAUTH2 with the tokens in `good`; `auth_XOAUTH2` is aiosmtpd's hook."""

    def __init__(self, *good: str) -> None:
        super().__init__()
        self.good = set(good)
        self.seen: list[str] = []

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> Any:  # noqa: N802
        login = base64.b64decode(args[1]).decode()
        user, _, rest = login.partition("\1")
        given = rest.removeprefix("auth=Bearer ").removesuffix("\1\1")
        self.seen.append(given)
        if user == "user=anna@acme.example" and given in self.good:
            return AuthResult(success=True, auth_data=user)
        await server.push("334 eyJzdGF0dXMiOiI0MDEifQ==")
        assert server._reader is not None
        assert await server._reader.readline() == b"\r\n", "the answer to the error is an empty line"
        return AuthResult(success=False, handled=False)


@asynccontextmanager
async def account(bridge: Bridge, port: int, tokens: TokenSource) -> AsyncIterator[SmtpTransport]:
    made = SmtpSettings(
        host="127.0.0.1", port=port, security="none", username="anna@acme.example", ehlo_name="me.example"
    )
    transport = open_smtp("office", made, bridge, tokens=tokens)
    with trio.fail_after(60):
        try:
            yield transport
        finally:
            await transport.aclose()


# -- when all is well --------------------------------------------------------------------------------


async def test_a_token_is_asked_for_once_and_serves_every_connection(bridge: Bridge) -> None:
    box = TokenMailbox("t1")
    with aiosmtpd_server(auth=True, auth_needs_tls=False, box=box):
        async with (
            serve_http(in_turn([token("t1")])) as server,
            account(bridge, box.port, source(server.url)) as transport,
        ):
            answers = [await send(transport.connection(), rendered(number)) for number in (1, 2, 3)]
    assert [each.code for each in answers] == [250, 250, 250]
    assert len(box.envelopes) == 3
    assert box.seen == ["t1"] * 3
    assert forms(server) == [
        {
            "grant_type": ["refresh_token"],
            "client_id": ["hub-app"],
            "refresh_token": [REFRESH],
            "client_secret": [SECRET],
        }
    ]
    assert server.requests[0].line == "POST /token HTTP/1.1"


async def test_connections_that_log_in_at_the_same_time_ask_for_one_token() -> None:
    async with serve_http(in_turn([token("t1"), token("t2")])) as server:
        tokens, found = source(server.url), []

        async def ask() -> None:
            found.append(await tokens.token())

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask)
    assert (found, len(server.requests)) == (["t1"] * 8, 1)


@pytest.mark.parametrize("life", [30, 0, -5, 60.0])
async def test_a_token_that_is_about_to_expire_is_not_used_again(life: float) -> None:
    async with serve_http(in_turn([token("t1", life), token("t2", life)])) as server:
        tokens = source(server.url)
        assert [await tokens.token(), await tokens.token()] == ["t1", "t2"]


@pytest.mark.parametrize("life", [None, "3600", True, 10**9, [1]])
async def test_a_life_that_is_no_number_is_a_short_one(life: object) -> None:
    async with serve_http(in_turn([token("t1", life)])) as server:
        tokens = source(server.url)
        assert [await tokens.token(), await tokens.token()] == ["t1", "t1"]
    assert len(server.requests) == 1


async def test_a_new_refresh_token_is_used_until_another_one_is_configured() -> None:
    configured = ["first"]

    async def read() -> str:
        return configured[0]

    replies = [token("t1", 0, refresh_token="second"), token("t2", 0), token("t3", 0)]
    async with serve_http(in_turn(replies)) as server:
        tokens = TokenSource(OAuth2Settings(token_url=server.url + "/", client_id="hub-app"), read)
        await tokens.token()
        await tokens.token()
        configured[0] = "third"
        await tokens.token()
    assert [form["refresh_token"] for form in forms(server)] == [["first"], ["second"], ["third"]]
    assert "client_secret" not in forms(server)[0]


# -- when the mail server refuses ----------------------------------------------------------------------


async def test_a_refused_token_is_replaced_once(bridge: Bridge) -> None:
    box = TokenMailbox("t2")
    with aiosmtpd_server(auth=True, auth_needs_tls=False, box=box):
        async with (
            serve_http(in_turn([token("t1"), token("t2")])) as server,
            account(bridge, box.port, source(server.url)) as transport,
        ):
            assert (await send(transport.connection(), rendered())).code == 250
    assert box.seen == ["t1", "t2"]


async def test_a_second_refused_token_stops_the_provider(bridge: Bridge) -> None:
    box = TokenMailbox()
    with aiosmtpd_server(auth=True, auth_needs_tls=False, box=box):
        async with (
            serve_http(in_turn([token("t1"), token("t2"), token("t3")])) as server,
            account(bridge, box.port, source(server.url)) as transport,
        ):
            found = await send(transport.connection(), rendered())
    assert (found.stage, found.code, box.seen) == (Stage.AUTH, 535, ["t1", "t2"])
    assert judge(found, Channel.EMAIL).action is Action.PROVIDER_STOP


async def test_a_server_without_xoauth2_does_not_see_the_token(bridge: Bridge) -> None:
    extensions = (b"AUTH PLAIN LOGIN",)
    async with (
        serve_http(in_turn([token("t1")])) as server,
        serve_script(extensions=extensions) as smtp,
        account(bridge, smtp.port, source(server.url)) as transport,
    ):
        found = await send(transport.connection(), rendered())
    assert (found.stage, found.code, found.text) == (Stage.AUTH, 504, "the server does not offer XOAUTH2")
    assert not any(line.startswith("AUTH") for line in smtp.commands)


async def test_a_server_that_quotes_the_login_gives_no_token_away(bridge: Bridge) -> None:
    login = base64.b64encode(b"user=anna@acme.example\1auth=Bearer t0ken\1\1").decode()
    script = {"auth": [Say(f"535 5.7.8 bad login {login} with t0ken\r\n".encode())] * 2}
    async with (
        serve_http(in_turn([token("t0ken")])) as server,
        serve_script(script, extensions=(b"AUTH XOAUTH2",)) as smtp,
        account(bridge, smtp.port, source(server.url)) as transport,
    ):
        found = await send(transport.connection(), rendered())
    assert found.code == 535
    assert "t0ken" not in found.text
    assert login not in found.text


# -- when the token server refuses ---------------------------------------------------------------------


async def failing(responses: Sequence[bytes], **more: float) -> tuple[Answer, HttpServer]:
    async with serve_http(in_turn(responses)) as server:
        with pytest.raises(TokenRefused) as caught, trio.fail_after(30):
            await source(server.url, **more).token()
    return caught.value.answer, server


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (refused("invalid_grant", about="AADSTS700082: The refresh token has expired."), "Sign in again"),
        (refused("invalid_client", "401 Unauthorized"), "Check oauth2"),
        (refused("unauthorized_client"), "Check oauth2"),
        (refused("invalid_scope"), "Check oauth2"),
        (answer("404 Not Found", b"<html>"), "Check oauth2"),
    ],
)
async def test_a_refusal_for_good_stops_the_provider_after_one_question(reply: bytes, advice: str) -> None:
    found, server = await failing([reply])
    verdict = judge(found, Channel.EMAIL)
    assert (found.stage, found.code, found.signal) == (Stage.AUTH, 535, Signal.REPLY)
    assert verdict.action is Action.PROVIDER_STOP
    assert advice in verdict.detail
    assert len(server.requests) == 1


async def test_the_token_servers_words_are_shown_without_secrets_and_addresses() -> None:
    about = f"token {REFRESH} of anna@acme.example and {SECRET} expired.\r\nTrace ID: 7"
    found, _ = await failing([refused("invalid_grant", about=about)])
    detail = judge(found, Channel.EMAIL).detail
    assert "invalid_grant: token *** of ***@acme.example and *** expired. Trace ID: 7." in detail


@pytest.mark.parametrize(
    "reply",
    [
        refused("temporarily_unavailable"),
        refused("slow_down", "429 Too Many Requests"),
        answer("503 Service Unavailable", b"later"),
        answer("500 Oops", b"{"),
        answer("302 Found", b"", "Location: http://elsewhere.example/"),
        said({"token_type": "Bearer"}),
        said(["access_token"]),
        said({"access_token": "with space"}),
        said({"access_token": ""}),
        answer("200 OK", b"\xff\xfe"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"",
    ],
)
async def test_what_may_pass_lets_the_provider_rest(reply: bytes) -> None:
    found, server = await failing([reply])
    verdict = judge(found, Channel.EMAIL)
    assert (found.stage, found.code) == (Stage.AUTH, 454)
    assert verdict.action is Action.PROVIDER
    assert verdict.detail.endswith(".")
    assert len(server.requests) == 1


async def test_a_refresh_token_that_cannot_be_read_stops_the_provider_and_asks_nobody() -> None:
    async def unreadable() -> str:
        raise CredentialMissing("providers.office.oauth2.refresh_token: there is no such file")

    async with serve_http(in_turn([token("t1")])) as server:
        tokens = TokenSource(OAuth2Settings(token_url=server.url, client_id="x"), unreadable)
        with pytest.raises(TokenRefused) as caught:
            await tokens.token()
    assert judge(caught.value.answer, Channel.EMAIL).action is Action.PROVIDER_STOP
    assert server.requests == []


@settings(max_examples=60)
@given(
    body=st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from(["access_token", "error", "error_description", "expires_in", "refresh_token"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.none()),
    ).map(lambda value: json.dumps(value).encode()),
    status=st.sampled_from(["200 OK", "400 Bad Request", "401 Unauthorized", "500 Oops"]),
)
def test_whatever_a_token_server_says_is_a_token_or_an_answer(body: bytes, status: str) -> None:
    async def ask() -> tuple[str, int]:
        async with serve_http(in_turn([answer(status, body)])) as server:
            try:
                return await source(server.url).token(), 0
            except TokenRefused as refusal:
                return refusal.answer.text, refusal.answer.code

    text, code = trio.run(ask)
    assert text.isprintable()
    assert code in (0, 454, 535)
