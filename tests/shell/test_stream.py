"""The stream under SMTP, and the conversation on it, over real sockets and real TLS."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.model import Signal
from hubd.providers.smtp.pipeline import Conversation, Lost
from hubd.providers.smtp.replies import ReplyParser
from hubd.transports.stream import READ_SIZE, Stream

BOUND = 60.0  #: seconds for what must end
LARGE = 4_000_000  #: bytes: more than the kernel takes at once


class Pair:
    """A stream, and the bare socket at its other end."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.stream = Stream(ours)

    def reset(self) -> None:
        """End the connection by force where the kind of socket knows that."""
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.theirs.close()

    def close(self) -> None:
        self.stream.close()
        self.theirs.close()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


@asynccontextmanager
async def secured(pair: Pair) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    """The pair with TLS between them; the server's end."""
    authority = trustme.CA()
    client, server = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(client)
    authority.issue_cert("mail.example").configure_cert(server)
    wire = trio.SocketStream(trio.socket.from_stdlib_socket(pair.theirs))
    tls = trio.SSLStream(wire, server, server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tls.do_handshake)
        await pair.stream.start_tls(client, "mail.example")
    yield tls


async def secured_in_memory(
    pair: Pair, greeting: bytes = b"", *, then_end: bool = False
) -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    """The pair with TLS between them; the server's end, and what it has to send, to be sent at will.

    The greeting travels with the end of the handshake, and so does the end of TLS if asked for.
    """
    authority = trustme.CA()
    client, server = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(client)
    authority.issue_cert("mail.example").configure_cert(server)
    server.maximum_version = client.maximum_version = ssl.TLSVersion.TLSv1_2  # there the server ends it
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = server.wrap_bio(incoming, outgoing, server_side=True)
    wire = trio.SocketStream(trio.socket.from_stdlib_socket(pair.theirs))

    async def serve() -> None:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await wire.send_all(outgoing.read())
                incoming.write(await wire.receive_some())
        if greeting:
            tls.write(greeting)
        if then_end:
            with suppress(ssl.SSLWantReadError):
                tls.unwrap()
        await wire.send_all(outgoing.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await pair.stream.start_tls(client, "mail.example")
    return tls, outgoing


# -- bytes -------------------------------------------------------------------------------------------


async def test_what_the_kernel_does_not_take_at_once_is_kept_and_arrives_in_order(pair: Pair) -> None:
    data = b"".join(b"%07d\n" % number for number in range(LARGE // 8))
    got = bytearray()
    pair.stream.send(data)
    assert pair.stream.unsent > 0
    pair.stream.send(b"end")
    wire = trio.SocketStream(trio.socket.from_stdlib_socket(pair.theirs))
    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.stream.flush)
            while len(got) < len(data) + 3:
                got += await wire.receive_some()
    assert (bytes(got), pair.stream.unsent) == (data + b"end", 0)


async def test_reading_without_waiting_tells_nothing_yet_from_the_end(pair: Pair) -> None:
    assert pair.stream.receive_nowait() is None
    pair.theirs.send(b"220 hi\r\n")
    assert pair.stream.receive_nowait() == b"220 hi\r\n"
    pair.theirs.close()
    assert pair.stream.receive_nowait() == b""


@pytest.mark.parametrize("way", ["receive", "flush"])
async def test_who_waits_is_woken_when_the_stream_is_closed(pair: Pair, way: str) -> None:
    if way == "flush":
        pair.stream.send(b"x" * LARGE)
    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(OSError, match="closed on this side"):
                    await getattr(pair.stream, way)()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            pair.stream.close()


# -- TLS ---------------------------------------------------------------------------------------------


async def test_bytes_pass_in_both_directions_whatever_their_size(pair: Pair) -> None:
    data = bytes(range(256)) * (LARGE // 256)
    async with secured(pair) as server:
        assert pair.stream.secured
        got, back = bytearray(), bytearray()

        async def echo() -> None:
            while len(got) < len(data):
                got.extend(await server.receive_some(READ_SIZE))
            await server.send_all(data)

        with trio.fail_after(BOUND):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo)
                pair.stream.send(data)
                await pair.stream.flush()
                while len(back) < len(data):
                    back += await pair.stream.receive()
    assert bytes(got) == bytes(back) == data


async def test_what_comes_with_the_end_of_the_handshake_is_not_left_in_a_buffer(pair: Pair) -> None:
    """A server may greet in the same packet: no later packet would wake the reader."""
    with trio.fail_after(BOUND):
        await secured_in_memory(pair, b"220 hi\r\n")
        assert await pair.stream.receive() == b"220 hi\r\n"


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "stays"])
async def test_the_end_that_comes_with_the_end_of_the_handshake_is_not_left_in_a_buffer(
    pair: Pair, closes: bool
) -> None:
    with trio.fail_after(BOUND):
        await secured_in_memory(pair, b"421 4.3.2 closing\r\n", then_end=True)
        if closes:
            pair.theirs.shutdown(socket.SHUT_WR)
        assert await pair.stream.receive() == b"421 4.3.2 closing\r\n"
        assert await pair.stream.receive() == b""
        assert pair.stream.receive_nowait() == b"", "it stays at its end"


async def test_an_end_in_the_middle_of_a_record_is_an_end(pair: Pair) -> None:
    async with secured(pair) as server:
        await server.send_all(b"250 first\r\n")
        assert await pair.stream.receive() == b"250 first\r\n"
        pair.theirs.send(b"\x17\x03\x03\x00\x40half of a record")
        pair.theirs.close()
        assert await pair.stream.receive() == b""


async def test_an_end_behind_what_tls_says_to_itself_is_seen_without_waiting(pair: Pair) -> None:
    """The server's session tickets are still unread: they must not hide that it has closed."""
    async with secured(pair):
        pair.theirs.shutdown(socket.SHUT_WR)
        assert pair.stream.receive_nowait() == b""
        assert not pair.stream.ended, "TLS did not say so"


async def test_a_damaged_record_is_an_error_and_not_the_end(pair: Pair) -> None:
    async with secured(pair):
        pair.theirs.send(b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
        with pytest.raises(ssl.SSLError):
            await pair.stream.receive()


#: What may follow a reply in the packets that the server sends last; the end or the error that it is.
LAST = {
    "the end": b"",
    "a record that is cut off": b"\x17\x03\x03\x00\x40half of a record",
    "a damaged record": b"\x17\x03\x03\x00\x20" + b"\x00" * 32,
    "clear text": b"421 4.3.2 closing\r\n",
}


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "stays"])
@pytest.mark.parametrize("last", LAST)
async def test_a_reply_is_read_although_the_end_or_an_error_of_tls_came_with_it(
    pair: Pair, last: str, closes: bool
) -> None:
    """They arrive at once, and the connection may stay open behind them: no later packet wakes the reader."""
    server, outgoing = await secured_in_memory(pair)
    conversation = Conversation(pair.stream)
    conversation.write(b"NOOP\r\nNOOP\r\n", replies=2)
    server.write(b"250 2.0.0 accepted\r\n")
    if last == "the end":
        with suppress(ssl.SSLWantReadError):
            server.unwrap()
    pair.theirs.sendall(outgoing.read() + LAST[last])
    if closes:
        pair.theirs.shutdown(socket.SHUT_WR)
    with trio.fail_after(BOUND):
        assert (await conversation.reply(BOUND)).code == 250
        if closes or last != "a record that is cut off":
            with pytest.raises(Lost) as caught:
                await conversation.reply(BOUND)
            assert caught.value.signal is Signal.DROPPED
            assert not conversation.usable


async def test_the_name_in_the_certificate_must_be_the_one_that_was_asked_for(pair: Pair) -> None:
    authority = trustme.CA()
    client, server = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(client)
    authority.issue_cert("other.example").configure_cert(server)
    wire = trio.SocketStream(trio.socket.from_stdlib_socket(pair.theirs))
    tls = trio.SSLStream(wire, server, server_side=True)

    async def serve() -> None:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await tls.do_handshake()
        assert "bad certificate" in str(caught.value.__cause__)  # our alert says why

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"mail\.example"):
            await pair.stream.start_tls(client, "mail.example")
        pair.stream.close()
    assert not pair.stream.secured


# -- the conversation --------------------------------------------------------------------------------

happenings = st.lists(
    st.one_of(
        st.tuples(st.just("data"), st.one_of(st.binary(max_size=40), st.just(b"250 ok\r\n"))),
        st.tuples(st.just("data"), st.binary(max_size=5).map(lambda junk: b"2" + junk + b"\r\n")),
        st.tuples(st.just("write"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["look", "end", "reset", "abort"]), st.none()),
    ),
    max_size=12,
)


async def until_lost(conversation: Conversation) -> None:
    with suppress(Lost):
        while True:
            await conversation.reply(BOUND)


@given(happenings)
@settings(deadline=None)
def test_no_call_of_a_conversation_lets_an_exception_out(walk: list[tuple[str, object]]) -> None:
    """Whatever comes, in whatever order: the worst that happens is that the conversation is over."""

    async def main() -> None:
        pair = Pair()
        conversation = Conversation(pair.stream)
        for what, value in walk:
            match what, value:
                case "data", bytes() if pair.theirs.fileno() >= 0:
                    try:
                        pair.theirs.send(value)
                    except OSError:
                        assert not conversation.usable
                case "write", int():
                    conversation.write(b"NOOP\r\n" * value, replies=value)
                case "look", _:
                    assert conversation.usable or isinstance(conversation.loss, Lost)
                case "end", _:
                    pair.theirs.close()
                case "reset", _ if pair.theirs.fileno() >= 0:
                    pair.reset()
                case "abort", _:
                    conversation.abort()
        pair.theirs.close()
        with trio.fail_after(BOUND):
            await until_lost(conversation)
        conversation.abort()

    trio.run(main)


async def test_looking_how_things_stand_takes_no_reply_from_the_task_that_waits_for_it(pair: Pair) -> None:
    """The pool looks at connections that its workers are using."""
    conversation = Conversation(pair.stream)
    conversation.write(b"NOOP\r\n", replies=1)
    got: list[int] = []

    async def wait() -> None:
        got.append((await conversation.reply(BOUND / 2)).code)

    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            pair.theirs.send(b"250 ok\r\n")
            assert conversation.usable  # before the task that waits has run
            assert not conversation.quiet
    assert got == [250]


async def test_a_bug_in_reading_replies_is_not_taken_for_an_answer(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the task that asked, which cuts the connection: nothing else runs in between."""

    def broken(self: ReplyParser, data: bytes) -> None:
        raise RecursionError

    conversation = Conversation(pair.stream)
    conversation.write(b"NOOP\r\n", replies=1)
    monkeypatch.setattr(ReplyParser, "feed", broken)
    pair.theirs.send(b"250 ok\r\n")
    with pytest.raises(RecursionError):
        await conversation.reply(BOUND)


async def test_what_the_server_said_before_it_closed_is_read_although_writing_fails(pair: Pair) -> None:
    conversation = Conversation(pair.stream)
    conversation.write(b"MAIL FROM:<a@b.example>\r\n", replies=1)
    pair.theirs.send(b"421 4.3.2 closing\r\n")
    pair.theirs.shutdown(socket.SHUT_RDWR)
    conversation.write(b"RCPT TO:<c@d.example>\r\n", replies=1)
    assert (await conversation.reply(BOUND)).code == 421
    with pytest.raises(Lost) as caught:
        await conversation.reply(BOUND)
    assert caught.value.signal is Signal.DROPPED


async def test_a_reply_during_a_large_body_is_heard_while_the_server_reads_nothing(pair: Pair) -> None:
    """The writer waits for the server to read; the server waits for nobody and refuses the message."""
    conversation = Conversation(pair.stream)
    conversation.write(b"x" * LARGE, replies=0)
    pair.theirs.send(b"552 5.3.4 too large\r\n")
    with pytest.raises(Lost):
        await conversation.drain(BOUND)
    assert conversation.stray is not None
    assert conversation.stray.code == 552


async def test_a_refusal_is_told_although_the_server_does_not_read_the_rest(pair: Pair) -> None:
    """It is not kept until the timeout."""
    conversation = Conversation(pair.stream)
    conversation.write(b"x" * LARGE, replies=1)
    pair.theirs.send(b"552 5.3.4 too large\r\n")
    with trio.fail_after(BOUND):
        assert (await conversation.reply(10 * BOUND)).code == 552
    assert not conversation.quiet, "the rest still has to be written"
