"""The HTTP wire up to the first byte: TLS, proxies, addresses, and cancellation at every step."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from hubd.core.model import Signal, Stage
from hubd.errors import BadConfig
from hubd.transports.http_protocol import Request
from hubd.transports.http_proxy import proxy_for
from hubd.transports.http_wire import Endpoint
from tests.shell.http_client import LARGEST, POST, Authority, authority, connected, fail, post
from tests.shell.raw_http import Behave, HttpServer, Peer, always, answer, relay, serve_http, then_close

__all__ = ["authority"]


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Addresses of names that end in .example; what is an address goes to the real resolver."""
    found: dict[str, list[str]] = {"api.example": ["127.0.0.1"]}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *more: Any, **others: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in found:
            return [(0, 0, 0, "", (address, 0)) for address in found[name]]
        return real(host, port, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return found


# -- TLS ---------------------------------------------------------------------------------------------


async def test_over_tls_the_certificate_is_checked_and_the_host_is_named(
    authority: Authority, names: dict[str, list[str]]
) -> None:
    asked: list[str | None] = []
    authority.server.sni_callback = lambda tls, name, context: asked.append(name)
    try:
        async with serve_http(always(answer()), tls=authority.server) as server:
            url = f"https://api.example:{server.port}"
            async with connected(server, url=url, ca_file=authority.file) as wire:
                for _ in range(3):
                    assert (await post(wire)).body == b"hello"
                    assert wire.connected
    finally:
        authority.server.sni_callback = None
    assert (server.connections, asked) == (1, ["api.example"])
    assert server.requests[0].headers["host"] == f"api.example:{server.port}"


async def test_the_authorities_of_the_system_are_asked_unless_others_are_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with serve_http(always(answer()), tls=authority.server) as server, connected(server) as wire:
        assert (await post(wire)).status == 200


async def test_a_certificate_that_is_not_trusted_is_certainly_not_sent(
    authority: Authority, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    async with (
        serve_http(always(answer()), tls=authority.server) as server,
        connected(server, ca_file=other) as wire,
    ):
        result = await fail(wire)
    assert (result.stage, result.signal) == (Stage.TLS, Signal.GARBAGE)
    assert result.text.startswith("certificate verify failed")
    assert server.received == 0


async def test_a_certificate_of_another_host_is_certainly_not_sent(
    authority: Authority, names: dict[str, list[str]]
) -> None:
    names["other.example"] = ["127.0.0.1"]
    async with serve_http(always(answer()), tls=authority.server) as server:
        url = f"https://other.example:{server.port}"
        async with connected(server, url=url, ca_file=authority.file) as wire:
            result = await fail(wire)
    assert (result.stage, result.signal, server.received) == (Stage.TLS, Signal.GARBAGE, 0)


@pytest.mark.parametrize("end", ["close", "garbage", "reset", "silence"])
async def test_a_handshake_that_fails_is_certainly_not_sent(authority: Authority, end: str) -> None:
    async def behave(peer: Peer) -> None:
        await peer.more()
        if end == "garbage":
            await peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif end == "reset":
            peer.reset()
        elif end == "silence":
            await peer.until_hung_up()

    limit = {"connect_timeout": 0.3} if end == "silence" else {}
    async with serve_http(behave) as server:
        url = f"https://127.0.0.1:{server.port}"
        async with connected(server, url=url, ca_file=authority.file, **limit) as wire:
            result = await fail(wire)
    assert result.stage is Stage.CONNECT
    assert result.signal is (Signal.TIMEOUT if end == "silence" else Signal.DROPPED)


@pytest.mark.parametrize(
    ("version", "said_so"), [(v, s) for v in ("TLSv1_2", "TLSv1_3") for s in (True, False)]
)
async def test_over_tls_an_answer_ends_with_the_connection_only_if_the_server_says_that_it_ends(
    authority: Authority, version: str, said_so: bool, tmp_path: Path
) -> None:
    """Otherwise somebody on the way may have cut the rest off."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\nhel")
        await peer.say(b"lo")
        if not said_so:
            peer.close()

    made = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    made.issue_cert("127.0.0.1").configure_cert(context)
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with (
        serve_http(behave, tls=context) as server,
        connected(server, ca_file=tmp_path / "ca.pem") as wire,
    ):
        if said_so:
            assert (await post(wire)).body == b"hello"
        else:
            result = await fail(wire)
            assert (result.stage, result.signal) == (Stage.REQUEST, Signal.DROPPED)


@pytest.mark.parametrize("said_so", [True, False])
async def test_over_tls_a_connection_that_ended_while_it_was_idle_is_replaced(
    authority: Authority, said_so: bool
) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer())
        if peer.number == 2:
            await peer.until_hung_up()
        if not said_so:
            peer.close()

    async with (
        serve_http(behave, tls=authority.server) as server,
        connected(server, ca_file=authority.file) as wire,
    ):
        assert (await post(wire)).status == 200
        await server.quiet()
        assert (await post(wire)).status == 200
    assert server.connections == 2


async def test_a_large_body_arrives_whole_over_tls(authority: Authority) -> None:
    body = bytes(range(256)) * 20_000
    async with (
        serve_http(always(answer()), tls=authority.server) as server,
        connected(server, ca_file=authority.file) as wire,
    ):
        await post(wire, Request(method="POST", target="/", body=body))
    assert server.requests[0].body == body


# -- proxies -----------------------------------------------------------------------------------------


@asynccontextmanager
async def behind(
    behave: Behave, monkeypatch: pytest.MonkeyPatch, login: str = ""
) -> AsyncIterator[HttpServer]:
    """A proxy that the environment names."""
    async with serve_http(behave) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{login}127.0.0.1:{proxy.port}")
        yield proxy


async def test_the_proxy_of_the_environment_is_asked_for_a_tunnel_and_sees_nothing_inside(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        serve_http(always(answer()), tls=authority.server) as server,
        behind(relay(server.port), monkeypatch, login="me:p%40ss@") as proxy,
        connected(proxy, url="https://api.example", ca_file=authority.file) as wire,
    ):
        for _ in range(2):
            assert (await post(wire)).status == 200
    (tunnel,) = proxy.requests
    assert (tunnel.line, tunnel.headers) == (
        "CONNECT api.example:443 HTTP/1.1",
        {"host": "api.example:443", "proxy-authorization": "Basic bWU6cEBzcw=="},
    )
    assert [seen.headers["host"] for seen in server.requests] == ["api.example"] * 2
    assert "proxy-authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (answer("407 Proxy Authentication Required", b"who are you?"), "requires a login"),
        (answer("502 Bad Gateway", b"no"), "answered 502"),
        (answer("302 Found", b"", "Location: http://x"), "answered 302"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 201 Created\r\n\r\n", "sent data before the request"),
        (b"220 mail.example ESMTP\r\n\r\n", "not well-formed"),
        (b"HTTP/1.1 2", "closed"),
        (b"", "closed"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, "too many interim"),
    ],
)
async def test_a_proxy_that_makes_no_tunnel_means_certainly_not_sent(
    monkeypatch: pytest.MonkeyPatch, said: bytes, word: str
) -> None:
    async with (
        behind(then_close(said), monkeypatch) as proxy,
        connected(proxy, url="https://api.example") as wire,
    ):
        result = await fail(wire)
    assert result.stage is Stage.CONNECT
    assert word in result.text
    assert [seen.line for seen in proxy.requests] == ["CONNECT api.example:443 HTTP/1.1"]


async def test_a_proxy_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(peer: Peer) -> None:
        await peer.until_hung_up()

    async with (
        behind(behave, monkeypatch) as proxy,
        connected(proxy, url="https://api.example", connect_timeout=0.3) as wire,
    ):
        result = await fail(wire)
    assert (result.stage, result.signal) == (Stage.CONNECT, Signal.TIMEOUT)


P = ("p.example", 3128)
NAMED = {"HTTPS_PROXY": "http://p.example:3128"}


@pytest.mark.parametrize(
    ("environment", "host", "proxy"),
    [
        ({}, "api.example", None),
        (NAMED, "api.example", P),
        ({"https_proxy": "p.example:3128"}, "api.example", P),
        ({"ALL_PROXY": "http://p.example"}, "api.example", ("p.example", 80)),
        ({"ALL_PROXY": "http://other.example", **NAMED}, "api.example", P),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, "api.example", ("::1", 3128)),
        ({"HTTP_PROXY": "http://p.example:3128"}, "api.example", None),
        ({"NO_PROXY": "api.example", **NAMED}, "api.example", None),
        ({"NO_PROXY": ".example", **NAMED}, "api.example", None),
        ({"NO_PROXY": "a.example, api.example:443", **NAMED}, "api.example", None),
        ({"NO_PROXY": "api.example:444", **NAMED}, "api.example", P),
        ({"NO_PROXY": "pi.example", **NAMED}, "api.example", P),
        ({"NO_PROXY": "*", **NAMED}, "api.example", None),
        ({"NO_PROXY": "::1", **NAMED}, "::1", None),
    ],
)
def test_which_proxy_is_meant(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], host: str, proxy: tuple[str, int] | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(host, 443)
    assert (found and found[:2]) == proxy


@pytest.mark.parametrize(
    "named", ["socks5://u:secret@p.example", "http://u:secret@p.example:port", "http://"]
)
def test_a_proxy_that_cannot_be_used_is_told_and_not_passed_by(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", named)
    with pytest.raises(BadConfig) as refused:
        Endpoint("https://api.example", connect_timeout=1, timeout=1)
    assert "secret" not in f"{refused.value} {refused.value.hint}"
    assert "HTTPS_PROXY" in refused.value.hint


# -- addresses ---------------------------------------------------------------------------------------


async def test_each_address_of_a_name_is_tried(names: dict[str, list[str]]) -> None:
    names["api.example"] = ["127.0.0.2", "::1", "127.0.0.1"]
    async with serve_http(always(answer())) as server:
        url = f"http://api.example:{server.port}"
        async with connected(server, url=url) as wire:
            assert (await post(wire)).status == 200


async def test_a_name_without_an_address_is_the_reason() -> None:
    async with (
        serve_http(always(answer())) as server,
        connected(server, url="http://no-such-host.invalid") as wire,
    ):
        result = await fail(wire)
    assert (result.stage, result.signal) == (Stage.CONNECT, Signal.DROPPED)
    assert result.detail == "the name no-such-host.invalid does not resolve"


# -- cancellation ------------------------------------------------------------------------------------


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when the tasks of this run have taken so many steps."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self.scope, self.left = scope, steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("way", ["plain", "tls", "proxy", "kept", "large", "addresses"])
async def test_a_cancellation_at_any_step_leaves_no_socket_and_it_is_known_whether_a_byte_left(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]], way: str
) -> None:
    names["api.example"] = ["127.0.0.2", "127.0.0.1"]
    body = bytes(3_000_000) if way == "large" else POST.body
    request = Request(method="POST", target="/", body=body)
    tls = authority.server if way in ("tls", "proxy") else None
    async with serve_http(always(answer()), tls=tls) as server, serve_http(relay(server.port)) as proxy:
        if way == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        url = server.url.replace("127.0.0.1", "api.example") if way in ("tls", "addresses") else server.url
        endpoint = Endpoint(url, connect_timeout=30, timeout=30, ca_file=authority.file)
        wire = endpoint.connection()
        await server.quiet()
        before = open_files()
        finished, steps = False, 0
        while not finished:
            steps += 1
            if way == "kept":
                await wire.request(request, largest=LARGEST)
            seen = server.received
            with trio.CancelScope() as scope:
                step = CancelAt(scope, steps)
                trio.lowlevel.add_instrument(step)
                try:
                    await wire.request(request, largest=LARGEST)
                    finished = True
                finally:
                    trio.lowlevel.remove_instrument(step)
            if not finished:
                assert scope.cancelled_caught
                assert not wire.connected
                assert not endpoint.open
                await server.quiet()
                await proxy.quiet()
                assert open_files() <= before
                assert wire.handed_over or server.received == seen
        endpoint.close()
        assert steps > 1
