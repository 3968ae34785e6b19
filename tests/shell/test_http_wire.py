"""The HTTP wire with servers that mean well: what is sent, how answers are read, what is kept."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from hubd.core.model import Signal, Stage
from hubd.errors import BadConfig
from hubd.transports.http_protocol import Request
from hubd.transports.http_wire import IDLE, Endpoint
from tests.shell.http_client import GET, connected, fail, post
from tests.shell.raw_http import Peer, Seen, always, answer, serve_http, then_close

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX: y\r\n\r\n"

# -- what is sent ------------------------------------------------------------------------------------


async def test_a_request_arrives_as_it_was_meant_and_asks_for_no_compression() -> None:
    async with serve_http(always(answer("201 Created", b'{"sid": 1}'))) as server, connected(server) as wire:
        response = await post(wire)
        host = f"127.0.0.1:{server.port}"
    assert (response.status, response.body) == (201, b'{"sid": 1}')
    framing = {"host": host, "accept-encoding": "identity", "content-length": "7"}
    assert server.requests == [
        Seen("POST /messages?x=1 HTTP/1.1", {**framing, "x-key": "secret"}, b"to=anna")
    ]
    assert wire.handed_over
    assert wire.status == 201


async def test_a_request_without_a_body_has_no_length_unless_its_method_expects_one() -> None:
    async with serve_http(always(answer())) as server, connected(server) as wire:
        await post(wire, GET)
        await post(wire, Request(method="POST", target="/"))
    assert [seen.headers.get("content-length") for seen in server.requests] == [None, "0"]


async def test_a_large_body_arrives_whole() -> None:
    body = bytes(range(256)) * 40_000
    async with serve_http(always(answer())) as server, connected(server) as wire:
        for _ in range(2):
            await post(wire, Request(method="POST", target="/", body=body))
    assert [seen.body == body for seen in server.requests] == [True, True]
    assert server.connections == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": (("X-Key", "a\r\nX-Other: b"),)},
        {"headers": (("X-Key", "a\nb"),)},
        {"headers": (("X-Key", "a\rb"),)},
        {"headers": (("X-Key", "a\0b"),)},
        {"headers": (("X-Key", "Zoë"),)},
        {"headers": (("X-Key\r\nX-Other", "a"),)},
        {"headers": (("X Key", "a"),)},
        {"headers": (("", "a"),)},
        {"headers": (("Host", "other.example"),)},
        {"headers": (("content-length", "3"),)},
        {"headers": (("Transfer-Encoding", "chunked"),)},
        {"headers": (("Connection", "upgrade"),)},
        {"headers": (("Accept-Encoding", "gzip"),)},
        {"headers": (("Expect", "100-continue"),)},
        {"target": "/a HTTP/1.1\r\nX-Other: b"},
        {"target": "/a b"},
        {"target": "/Zoë"},
        {"target": "http://other.example/"},
        {"target": ""},
        {"method": "POST /x HTTP/1.1\r\nX: "},
        {"method": ""},
    ],
)
async def test_nothing_of_a_request_that_would_be_two_or_go_elsewhere_is_sent(
    changes: dict[str, object],
) -> None:
    fields: dict[str, object] = {"method": "POST", "target": "/", "body": b"x", **changes}
    async with serve_http(always(answer())) as server, connected(server) as wire:
        with pytest.raises(ValueError, match=r"header|path|ascii"):
            await post(wire, Request(**fields))  # type: ignore[arg-type]
        assert not wire.handed_over
        assert (await post(wire)).status == 200
    assert len(server.requests) == 1


# -- answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packets", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(
    ("said", "status", "body", "connections"),
    [
        (answer("200 OK", b"hello"), 200, b"hello", 1),
        (answer("200 OK", b""), 200, b"", 1),
        (CHUNKED, 200, b"hello", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", 1),
        (b"HTTP/1.1 304\r\nContent-Length: 5\r\n\r\n", 304, b"", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + answer(), 200, b"hello", 1),
        (answer("200 OK", b"hello", "Connection: close"), 200, b"hello", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", 2),
        (answer("429 Too Many Requests", b"slow"), 429, b"slow", 1),
        (answer("503 Unavailable", b"no"), 503, b"no", 1),
        (answer("307 Moved", b"", "Location: /elsewhere"), 307, b"", 1),
    ],
    ids=[
        *("length", "empty", "chunked", "204", "304", "interim", "close", "HTTP/1.0", "429", "503"),
        "redirect that is not followed",
    ],
)  # fmt: skip
async def test_a_well_formed_answer_is_read_whole_and_the_connection_kept_if_it_may_be(
    said: bytes, status: int, body: bytes, connections: int, packets: bool
) -> None:
    async with serve_http(always(said, packets=packets)) as server, connected(server) as wire:
        for _ in range(2):
            response = await post(wire)
            assert (response.status, response.body, wire.status) == (status, body, status)
            assert wire.connected is (connections == 1)
    assert (len(server.requests), server.connections) == (2, connections)


async def test_an_answer_may_end_with_the_connection() -> None:
    async with serve_http(then_close(b"HTTP/1.1 200 OK\r\n\r\nhello")) as server, connected(server) as wire:
        for _ in range(2):
            assert (await post(wire)).body == b"hello"
            assert not wire.connected
    assert server.connections == 2


async def test_headers_are_found_in_lower_case_and_joined_when_they_come_twice() -> None:
    said = answer("200 OK", b"", "Retry-After: 7", "X-Two: a", "x-two: b")
    async with serve_http(always(said)) as server, connected(server) as wire:
        headers = (await post(wire)).headers
    assert (headers["retry-after"], headers["x-two"]) == ("7", "a, b")


# -- kept connections --------------------------------------------------------------------------------


@pytest.mark.parametrize("farewell", [b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"\0", answer()])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_the_server_ended_while_it_was_idle_is_replaced_before_the_first_byte(
    farewell: bytes, reset: bool
) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer())
        if peer.number == 1:
            await said.wait()
            await peer.say(farewell)
            if reset:
                peer.reset()
        else:
            await peer.until_hung_up()

    said = trio.Event()
    async with serve_http(behave) as server, connected(server) as wire:
        assert (await post(wire)).status == 200
        assert wire.connected
        said.set()
        await server.quiet()
        assert (await post(wire)).body == b"hello"
    assert (len(server.requests), server.connections) == (2, 2)


async def test_a_second_answer_to_one_request_is_not_the_answer_to_the_next() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer("201 Created", b"one") + answer("201 Created", b"two"))
        await peer.until_hung_up()

    async with serve_http(behave) as server, connected(server) as wire:
        for _ in range(2):
            assert (await post(wire)).body == b"one"
            assert not wire.connected
    assert server.connections == 2


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock()


@pytest.mark.parametrize(
    ("headers", "after", "connections"),
    [
        ((), IDLE - 1, 1),
        ((), IDLE + 1, 2),
        (("Keep-Alive: timeout=5",), 3, 1),
        (("Keep-Alive: timeout=5, max=9",), 5, 2),
        (("Keep-Alive: timeout=600",), IDLE + 1, 2),
        (("Keep-Alive: timeout=0",), 0, 2),
        (("Keep-Alive: what",), IDLE - 1, 1),
    ],
)
async def test_a_connection_is_not_used_when_the_server_may_be_about_to_close_it(
    clock: trio.testing.MockClock, headers: tuple[str, ...], after: float, connections: int
) -> None:
    async with (
        serve_http(always(answer("200 OK", b"", *headers))) as server,
        connected(server, timeout=1e6) as wire,
    ):
        await post(wire)
        clock.jump(after)
        await post(wire)
        assert server.connections == connections


async def test_connections_share_nothing() -> None:
    async def behave(peer: Peer) -> None:
        while True:
            seen = await peer.request()
            await peer.say(answer("200 OK", seen.body))

    async with serve_http(behave) as server, connected(server) as wire:
        bodies: list[bytes] = []

        async def work(number: int) -> None:
            own = wire._endpoint.connection()
            for _ in range(5):
                body = b"%d" % number
                bodies.append((await post(own, Request(method="POST", target="/", body=body))).body)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(work, number)
        assert sorted(bodies) == sorted([b"%d" % number for number in range(10)] * 5)
        assert server.connections == 10


async def test_closing_the_endpoint_ends_what_is_under_way_and_nothing_is_opened_any_more() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.until_hung_up()

    async with serve_http(behave) as server, connected(server) as wire:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                result = await fail(wire)
                assert (result.stage, result.signal) == (Stage.REQUEST, Signal.DROPPED)

            nursery.start_soon(ask)
            await server.until(lambda: bool(server.requests))
            wire._endpoint.close()
        result = await fail(wire)
        assert (result.stage, result.signal) == (Stage.CONNECT, Signal.DROPPED)


# -- before the first byte ---------------------------------------------------------------------------


async def test_nobody_listening_is_certainly_not_sent() -> None:
    async with serve_http(always(answer())) as server:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            async with connected(server, url=f"http://127.0.0.1:{unused.getsockname()[1]}") as wire:
                result = await fail(wire)
    assert (result.stage, result.signal, result.text) == (Stage.CONNECT, Signal.DROPPED, "Connection refused")


async def test_a_write_of_which_the_kernel_takes_nothing_is_certainly_not_sent() -> None:
    async with serve_http(always(answer())) as server, connected(server) as wire:
        await post(wire)
        assert wire._stream is not None
        wire._stream._socket.shutdown(socket.SHUT_WR)
        result = await fail(wire)
    assert (result.stage, result.signal) == (Stage.CONNECT, Signal.DROPPED)
    assert len(server.requests) == 1


def addresses_of_this_machine() -> list[str]:
    """Those that networks carry, if it has any."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        if unused.connect_ex(("192.0.2.1", 9)):  # an address for documentation; nothing is sent there
            return []
        return [unused.getsockname()[0]]


async def test_plain_http_goes_to_no_address_that_networks_carry() -> None:
    async with serve_http(always(answer())) as server:
        for address in addresses_of_this_machine():
            with socket.create_server((address, 0)) as listener:
                async with connected(server, url=f"http://{address}:{listener.getsockname()[1]}") as wire:
                    result = await fail(wire)
            assert result.stage is Stage.CONNECT
            assert "plain http" in result.text


@pytest.mark.parametrize(
    "url", ["", "api.example", "ftp://x", "https://", "http://127.0.0.1:99999", "https://a..b"]
)
def test_what_is_no_address_of_a_server_is_a_bad_config(url: str) -> None:
    with pytest.raises(BadConfig):
        Endpoint(url, connect_timeout=1, timeout=1)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://API.example", "api.example"),
        ("https://api.example:443/v1", "api.example"),
        ("https://api.example:8443", "api.example:8443"),
        ("http://[::1]:80", "[::1]"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_host_header_names_the_port_only_if_it_is_another_one(url: str, host: str) -> None:
    assert Endpoint(url, connect_timeout=1, timeout=1).header == host
