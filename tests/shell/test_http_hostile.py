"""The HTTP wire with servers that misbehave at every stage: what is in doubt, and what is bounded."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.model import Signal, Stage
from hubd.transports.http_protocol import (
    MAX_HEAD,
    MAX_INTERIM,
    CutOff,
    Malformed,
    Protocol,
    Request,
    Response,
)
from hubd.transports.http_wire import NoAnswer
from tests.shell.http_client import LARGEST, POST, connected, fail, post
from tests.shell.raw_http import Behave, Peer, answer, serve_http, then_close

HEAD = b"HTTP/1.1 201 Created\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
LENGTH = answer("201 Created", b"hello")
BIG = Request(method="POST", target="/", body=bytes(8_000_000))  #: more than the kernel takes at once


# -- the answer is cut off ---------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("whole", [LENGTH, CHUNKED], ids=["length", "chunked"])
async def test_an_answer_that_ends_after_any_byte_is_doubt_until_it_is_whole(whole: bytes, end: str) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(whole[: peer.number - 1])
        if end == "reset":
            peer.reset()

    async with serve_http(behave) as server, connected(server) as wire:
        for size in range(len(whole)):
            result = await fail(wire)
            assert (result.stage, result.signal) == (Stage.REQUEST, Signal.DROPPED), size
        if end == "close":
            assert (await post(wire)).body == b"hello"
    assert len(server.requests) == server.connections


@pytest.mark.parametrize("size", range(len(HEAD)))
async def test_an_answer_without_a_length_needs_its_head_whole(size: int) -> None:
    async with serve_http(then_close(HEAD[:size])) as server, connected(server) as wire:
        assert (await fail(wire)).signal is Signal.DROPPED


# -- the answer is none ------------------------------------------------------------------------------

GARBAGE = {
    "words": b"220 mail.example ESMTP\r\n\r\n",
    "no head": b"<html>hello</html>\r\n\r\n",
    "empty line": b"\r\n\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n",
    "no number": b"HTTP/1.1 OK\r\n\r\n",
    "number too long": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
    "switch": b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nwhat\r\n\r\n",
    "space in a name": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "continued at once": b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello1",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length of words": b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    "length of many digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "other coding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk of words": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n",
    "negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
    "chunk longer than it says": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n",
    "compressed": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
    "large": answer("201 Created", b"x" * (LARGEST + 1)),
    "large in chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + b"x" * 65535,
    "large by its length": HEAD + b"Content-Length: 99999999999999\r\n\r\n" + b"x" * (LARGEST + 1),
    "large without a length": HEAD + b"\r\n" + b"x" * (LARGEST + 1),
    "endless line": HEAD + b"X: " + b"x" * (MAX_HEAD + 70_000),
    "endless headers": HEAD + b"X-Y: z\r\n" * 20_000,
    "endless status": b"HTTP/1.1 200 " + b"x" * (MAX_HEAD + 70_000),
    "endless trailers": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-Y: z\r\n" * 20_000,
    "endless chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * (MAX_HEAD + 70_000),
    "endless interim": b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
async def test_an_answer_that_is_not_well_formed_or_has_no_end_is_doubt_and_ends_the_connection(
    name: str,
) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(GARBAGE[name])
        await peer.until_hung_up()

    async with serve_http(behave) as server, connected(server) as wire:
        result = await fail(wire)
    assert (result.stage, result.signal) == (Stage.REQUEST, Signal.GARBAGE)
    assert result.text.isprintable()
    assert len(server.requests) == 1


def endless(piece: bytes, start: bytes = b"") -> Behave:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(start)
        while True:
            await peer.say(piece)

    return behave


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (HEAD, b"X-Y: z\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 5000 + b"\r\nx\r\n"),
        (HEAD + b"\r\n", b"x" * 5000),
        (b"", b"\r\n" * 1000),
    ],
    ids=["interim", "headers", "chunk extensions", "body", "empty lines"],
)
async def test_a_server_that_never_stops_is_left(start: bytes, piece: bytes) -> None:
    async with serve_http(endless(piece, start)) as server, connected(server) as wire:
        assert (await fail(wire)).stage is Stage.REQUEST


# -- it takes its time -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [b"", HEAD, HEAD + b"Content-Length: 5\r\n\r\nhell", b"HTTP/1.1 100 Go\r\n\r\n"]
)
async def test_silence_is_doubt_once_the_time_is_over(said: bytes) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        await peer.until_hung_up()

    async with serve_http(behave) as server, connected(server, timeout=0.2) as wire:
        result = await fail(wire)
    assert (result.stage, result.signal, result.text) == (Stage.REQUEST, Signal.TIMEOUT, "no answer in time")


async def test_a_trickle_does_not_stretch_the_time() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        for byte in HEAD + b"X: " + b"x" * 30_000:
            await peer.say(bytes([byte]))
            await trio.sleep(0.01)

    async with serve_http(behave) as server, connected(server, timeout=0.3) as wire:
        assert (await fail(wire)).signal is Signal.TIMEOUT


async def test_a_server_that_reads_nothing_is_left_once_the_time_is_over() -> None:
    async def behave(peer: Peer) -> None:
        await peer.more()
        await over.wait()

    over = trio.Event()
    async with serve_http(behave) as server, connected(server, timeout=0.3) as wire:
        result = await fail(wire, BIG)
        assert (result.stage, result.signal) == (Stage.REQUEST, Signal.TIMEOUT)
        over.set()


# -- it answers before it was asked ------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "stay"])
async def test_a_refusal_that_comes_before_the_request_was_sent_whole_counts_and_ends_it(end: str) -> None:
    async def behave(peer: Peer) -> None:
        await peer.more()
        await peer.say(answer("413 Content Too Large", b"no"))
        if end == "stay":
            await peer.until_hung_up()

    async with serve_http(behave) as server, connected(server) as wire:
        assert (await post(wire, BIG)).status == 413
        assert wire.handed_over
        assert not wire.connected


async def test_an_acceptance_that_comes_before_the_request_was_sent_whole_is_doubt() -> None:
    async def behave(peer: Peer) -> None:
        await peer.more()
        await peer.say(LENGTH)
        await heard.wait()

    heard = trio.Event()
    async with serve_http(behave) as server, connected(server) as wire:
        result = await fail(wire, BIG)
        assert (result.stage, result.signal, result.code) == (Stage.REQUEST, Signal.GARBAGE, 201)
        heard.set()


async def test_an_interim_answer_while_the_request_is_sent_ends_nothing() -> None:
    async def behave(peer: Peer) -> None:
        await peer.more()
        await peer.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await peer.request()).body == BIG.body
        await peer.say(LENGTH)
        await peer.until_hung_up()

    async with serve_http(behave) as server, connected(server) as wire:
        assert (await post(wire, BIG)).status == 201
        assert wire.connected


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_server_that_ends_while_the_request_is_sent_leaves_doubt(end: str) -> None:
    async def behave(peer: Peer) -> None:
        await peer.more()
        if end == "reset":
            peer.reset()

    async with serve_http(behave) as server, connected(server) as wire:
        result = await fail(wire, BIG)
    assert (result.stage, result.signal) == (Stage.REQUEST, Signal.DROPPED)


@pytest.mark.parametrize("said", [b"", b"220 hello\r\n", LENGTH])
async def test_whether_a_byte_left_is_known_when_the_server_speaks_or_closes_first(said: bytes) -> None:
    """Which of the two comes first differs; what is said about it must be true."""

    async def behave(peer: Peer) -> None:
        await peer.say(said)
        peer.reset()

    async with serve_http(behave) as server, connected(server) as wire:
        for _ in range(100):
            try:
                assert (await post(wire)).body == b"hello"
                assert wire.handed_over
            except NoAnswer as failure:
                stage = failure.answer.stage
                assert wire.handed_over is (stage is Stage.REQUEST)
            assert not wire.connected


async def test_a_connection_can_be_used_again_after_any_trouble() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(list(GARBAGE.values())[peer.number - 1] if peer.number <= len(GARBAGE) else LENGTH)
        await peer.until_hung_up()

    async with serve_http(behave) as server, connected(server) as wire:
        for _ in GARBAGE:
            await fail(wire)
        assert (await post(wire)).status == 201


# -- the reader alone --------------------------------------------------------------------------------


def asked() -> Protocol:
    protocol = Protocol()
    protocol.request(POST, "api.example", largest=LARGEST)
    return protocol


@given(st.sampled_from([LENGTH, CHUNKED]), st.lists(st.integers(1, 120), max_size=12))
def test_how_an_answer_is_cut_into_packets_makes_no_difference(whole: bytes, cuts: list[int]) -> None:
    protocol, places = asked(), sorted({min(cut, len(whole)) for cut in cuts} | {len(whole)})
    found = [protocol.feed(whole[start:end]) for start, end in zip([0, *places], places, strict=False)]
    assert found[:-1] == [None] * (len(found) - 1)
    assert found[-1] is not None
    assert (found[-1].status, found[-1].body, protocol.reusable) == (201, b"hello", True)


pieces = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.sampled_from([LENGTH, CHUNKED, HEAD, *(said for said in GARBAGE.values() if len(said) < 500)]),
)


@given(st.lists(pieces, max_size=6))
@settings(deadline=None)
def test_whatever_comes_is_an_answer_or_malformed_or_cut_off(packets: list[bytes]) -> None:
    protocol = asked()
    with suppress(Malformed, CutOff):
        for data in [*packets, b""]:
            response = protocol.feed(data)
            if response is not None:
                assert isinstance(response, Response)
                assert 200 <= response.status <= 599
                return
        raise AssertionError("the end of the connection is the end of the answer")
