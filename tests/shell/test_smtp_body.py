"""Bodies, limits, cancellation and closing of the SMTP transport, against a server that obeys a script."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiosmtplib
import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hubd.bridge import Bridge, open_bridge
from hubd.core.model import Answer, Signal, Stage
from hubd.core.shared import SharedBytes, encode_file, joined
from hubd.providers.smtp.login import _Attempt
from hubd.providers.smtp.transport import SmtpSettings, open_smtp
from hubd.transports.stream import Stream
from hubd.transports.tcp_connect import connect
from tests.shell.scripted_smtp import BEHAVIOURS, STALL, Say, ScriptedServer, serve_script
from tests.shell.smtp_peers import BODY, open_connection, rendered, send, send_in_a_row

# -- the body ----------------------------------------------------------------------------------------

LARGE = b"x" * 76 + b"\r\n"


async def test_a_large_message_arrives_byte_for_byte_with_flow_control() -> None:
    payload = BODY + LARGE * 100_000 + b".\r\n"
    async with serve_script() as server, open_connection(server) as (_, connection):
        answers = await send_in_a_row(connection, [rendered(1, payload), rendered(2)])
    assert [answer.code for answer in answers] == [250, 250]
    assert server.messages[0].body == payload


@pytest.mark.parametrize("size", [65_533, 65_534, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073])
async def test_no_octet_is_lost_where_one_write_ends_and_the_next_begins(size: int) -> None:
    payload = (b"." * 62 + b"\r\n") * (size // 64)
    payload += b"y" * (size - len(payload) - 2) + b"\r\n"
    async with serve_script() as server, open_connection(server) as (_, connection):
        assert (await send(connection, rendered(1, payload), rendered(2))).code == 250
    assert server.messages[0].body == payload


async def test_what_many_messages_share_follows_each_and_is_stuffed_counted_and_ended_like_the_rest() -> None:
    end = joined([SharedBytes((b".one\r\n..\r\n.\r\n" + LARGE * 200,)), encode_file(bytes(300_000))])
    script = {"ehlo": [Say(b"250-script\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n")]}
    messages = [replace(rendered(number), shared=end) for number in (1, 2)]
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        answers = await send_in_a_row(connection, [*messages, rendered(3)])
    assert [answer.code for answer in answers] == [250, 250, 250]
    assert [message.body for message in server.messages] == [BODY + bytes(end)] * 2 + [BODY]


async def test_a_message_that_is_too_large_with_what_it_shares_is_not_announced() -> None:
    script = {"ehlo": [Say(b"250-script\r\n250-PIPELINING\r\n250 SIZE 100000\r\n")]}
    async with serve_script(script) as server, open_connection(server) as (transport, connection):
        assert transport.largest_message is None
        answer = await send(connection, replace(rendered(1), shared=encode_file(bytes(80_000))))
        assert transport.largest_message == 100_000
    assert (answer.code, answer.enhanced) == (552, "5.3.4")
    assert server.messages == []


async def test_a_bare_line_end_in_what_messages_share_is_not_shown_to_a_server() -> None:
    async with serve_script() as server, open_connection(server) as (_, connection):
        answer = await send(connection, replace(rendered(1), shared=SharedBytes((b"a\rb\r\n",))))
    assert (answer.code, answer.enhanced) == (554, "5.6.0")
    assert server.messages == []


@pytest.mark.parametrize(
    ("behaviour", "signal", "code"),
    [
        ("close", Signal.DROPPED, 0),
        ("reset", Signal.DROPPED, 0),
        ("421", Signal.REPLY, 421),
        ("450", Signal.REPLY, 450),
        ("550", Signal.REPLY, 550),
        ("garbage", Signal.GARBAGE, 0),
        ("misplaced", Signal.GARBAGE, 0),
    ],
)
async def test_what_happens_during_the_body_is_certain_not_to_be_an_acceptance(
    behaviour: str, signal: Signal, code: int
) -> None:
    """The dot was not written yet, so the server must not have accepted anything (RFC 5321 4.1.1.4)."""
    act = BEHAVIOURS[behaviour]
    # A server that replies and closes at once resets the connection, and the reply may be lost with it.
    script = {"body": [Say(act.data, "stall" if code else act.then or "stall")]}
    async with serve_script(script) as server, open_connection(server) as (_, connection):
        answer = await send(connection, rendered(1, LARGE * 400_000))
        assert (answer.stage, answer.signal, answer.code) == (Stage.BODY, signal, code)
        assert (await send(connection, rendered(2))).code == 250
    assert len(server.messages) == 1


async def test_a_server_that_stops_reading_times_out_in_the_body() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def deaf(stream: trio.SocketStream) -> None:
            for said in (b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 go\r\n"):
                await stream.send_all(said)
                if not said.startswith(b"354"):
                    await stream.receive_some()
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, deaf, listeners)
        server = ScriptedServer({}, (), port=listeners[0].socket.getsockname()[1])
        async with open_connection(server, reply=0.5) as (_, connection):
            answer = await send(connection, rendered(1, LARGE * 400_000))
        nursery.cancel_scope.cancel()
    assert (answer.stage, answer.signal) == (Stage.BODY, Signal.TIMEOUT)


async def test_a_reply_to_the_dot_has_its_own_longer_timeout() -> None:
    """A server that takes long to accept is not put in doubt by the timeout of other replies."""
    async with (
        serve_script({"dot": [Say(then="")]}) as server,
        open_connection(server, reply=5, dot=0.2) as (_, connection),
    ):
        answer = await send(connection, rendered())
    assert (answer.stage, answer.signal) == (Stage.DOT, Signal.TIMEOUT)
    assert "0.2" in answer.text


@pytest.mark.parametrize("payload", [b"", b"no end of line", b".", b"\r\n", b".\r\n.\r\n"])
async def test_odd_bodies_end_with_exactly_one_dot(payload: bytes) -> None:
    async with serve_script() as server, open_connection(server) as (_, connection):
        answers = await send_in_a_row(connection, [rendered(1, payload), rendered(2)])
    assert [answer.code for answer in answers] == [250, 250]
    whole = payload if payload.endswith(b"\r\n") or not payload else payload + b"\r\n"
    assert [message.body for message in server.messages] == [whole, BODY]


_PIECES = [b"\r\n", b".", b"..", b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r", b"\n", b"a"]
_COMMANDS = [b"\r\nMAIL FROM:<evil@example.com>\r\n", b"QUIT\r\n", b"DATA\r\n"]


@settings(max_examples=80)
@given(st.lists(st.sampled_from([*_PIECES, *_COMMANDS]), max_size=12).map(b"".join))
@example(b"one\r\n.\r\nMAIL FROM:<a@example.com>\r\n")
@example(b"one\n.\r\nMAIL FROM:<a@example.com>\r\n")
def test_a_body_arrives_as_it_is_or_not_at_all(payload: bytes) -> None:
    """Nothing in a body is taken for the end of it: mail smuggling has no way in."""

    async def run() -> None:
        async with serve_script() as server, open_connection(server) as (_, connection):
            answer = await send(connection, rendered(1, payload))
            after = await send(connection, rendered(2))
        bodies = [message.body for message in server.messages]
        assert after.code == 250
        if b"\r" in payload.replace(b"\r\n", b"") or b"\n" in payload.replace(b"\r\n", b""):
            assert (answer.stage, answer.code, answer.enhanced) == (Stage.DATA, 554, "5.6.0")
            assert bodies == [BODY]
        else:
            whole = payload if payload.endswith(b"\r\n") or not payload else payload + b"\r\n"
            assert bodies == [whole, BODY]

    trio.run(run)


# -- what is refused before it is sent ---------------------------------------------------------------


_BAD_ADDRESSES = ["a b@x.example", "a@x.example>\r\nRCPT TO:<b@x.example", "a\0@x.example", "ä@x.example"]


@pytest.mark.parametrize(
    ("who", "address"),
    [
        ("recipient", ""),  # as a sender it is the null reverse-path
        *[(who, address) for who in ("recipient", "sender") for address in _BAD_ADDRESSES],
    ],
)
async def test_an_address_that_could_be_read_as_a_command_is_never_sent(who: str, address: str) -> None:
    message = (
        replace(rendered(), recipient=address) if who == "recipient" else replace(rendered(), sender=address)
    )
    async with serve_script() as server, open_connection(server) as (_, connection):
        answer = await send(connection, message)
        assert (await send(connection, rendered(1), message)).code == 250  # and it is not announced either
        assert server.commands.count("DATA") == 1
    stage, enhanced = (Stage.RCPT, "5.1.3") if who == "recipient" else (Stage.MAIL, "5.1.7")
    assert (answer.stage, answer.code, answer.enhanced) == (stage, 553, enhanced)


async def test_the_size_is_declared_and_what_is_too_large_is_refused_here() -> None:
    """RFC 1870."""
    async with serve_script(extensions=[b"SIZE 100"]) as server, open_connection(server) as (_, connection):
        answer = await send(connection, rendered(1, b"x" * 99 + b"\r\n"))
        assert (answer.stage, answer.code, answer.enhanced) == (Stage.MAIL, 552, "5.3.4")
        answers = await send_in_a_row(
            connection, [rendered(2), rendered(3, b"x" * 99 + b"\r\n"), rendered(4)]
        )
    assert [answer.code for answer in answers] == [250, 552, 250]
    assert server.commands[1] == f"MAIL FROM:<from@example.org> SIZE={len(BODY)}"
    assert len(server.messages) == 2


@pytest.mark.parametrize("limit", [b"SIZE", b"SIZE 0", b"SIZE lots"])
async def test_a_size_without_a_limit_limits_nothing(limit: bytes) -> None:
    async with serve_script(extensions=[limit]) as server, open_connection(server) as (_, connection):
        assert (await send(connection, rendered())).code == 250
    assert f"SIZE={len(BODY)}" in server.commands[1]


# -- cancellation, closing, probing ------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
async def test_a_cancelled_message_cuts_the_connection_at_once(stage: str) -> None:
    async with serve_script({stage: [STALL]}) as server, open_connection(server) as (_, connection):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, connection, rendered(1))
            await server.wait_for(stage)
            nursery.cancel_scope.cancel()
        await server.wait_hung_up()
        assert (await send(connection, rendered(2))).code == 250
    assert server.connections == 2


async def test_a_cancelled_large_body_is_cut_before_its_dot() -> None:
    async with serve_script({"body": [STALL]}) as server, open_connection(server) as (_, connection):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, connection, rendered(1, LARGE * 400_000))
            await server.wait_for("body")
            nursery.cancel_scope.cancel()
        await server.wait_hung_up()
    assert server.messages == []


async def test_a_connection_cut_by_another_task_answers_instead_of_raising() -> None:
    async with serve_script({"dot": [STALL]}) as server, open_connection(server) as (transport, connection):
        answers: list[Answer] = []

        async def deliver() -> None:
            answers.append(await send(connection, rendered()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver)
            await server.wait_for("dot")
            await transport.aclose()
        assert (answers[0].stage, answers[0].signal) == (Stage.DOT, Signal.DROPPED)
        closed = await send(connection, rendered())
    assert (closed.stage, closed.signal) == (Stage.CONNECT, Signal.DROPPED)


async def test_no_goodbye_is_written_into_a_body_that_is_due() -> None:
    async with serve_script() as server, open_connection(server) as (_, connection):
        assert await connection.prepare(rendered()) is None
        await connection.aclose()
        await server.wait_hung_up()
    assert "body" not in server.reached


async def test_no_goodbye_is_written_into_a_body_that_is_under_way() -> None:
    """Another task closes the transport while the server has not read all pieces of a large body."""
    got = bytearray()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        begun, cut, read_all = trio.Event(), trio.Event(), trio.Event()

        async def slow(stream: trio.SocketStream) -> None:
            for said in (b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 go\r\n"):
                await stream.send_all(said)
                if not said.startswith(b"354"):
                    await stream.receive_some()
            got.extend(await stream.receive_some(1))
            begun.set()
            await cut.wait()
            with suppress(trio.BrokenResourceError):
                async for data in stream:
                    got.extend(data)
            read_all.set()

        nursery.start_soon(trio.serve_listeners, slow, listeners)
        server = ScriptedServer({}, (), port=listeners[0].socket.getsockname()[1])
        async with open_connection(server) as (transport, connection):
            answers: list[Answer] = []

            async def deliver() -> None:
                answers.append(await send(connection, rendered(1, LARGE * 400_000)))

            async with trio.open_nursery() as sending:
                sending.start_soon(deliver)
                await begun.wait()
                await trio.testing.wait_all_tasks_blocked()
                await transport.aclose()
                cut.set()
            await read_all.wait()
        nursery.cancel_scope.cancel()
    assert (answers[0].stage, answers[0].signal) == (Stage.BODY, Signal.DROPPED)
    assert b"QUIT" not in got


async def test_a_body_without_its_envelope_is_never_sent() -> None:
    async with serve_script() as server, open_connection(server) as (_, connection):
        assert await connection.prepare(rendered(1)) is None
        answer = await connection.deliver(rendered(2))
        assert (answer.stage, answer.signal) == (Stage.BODY, Signal.DROPPED)
    assert server.messages == []


@pytest.mark.parametrize("behaviour", ["close", "stall", "garbage", "550"])
async def test_a_goodbye_that_fails_is_no_matter(behaviour: str) -> None:
    async with (
        serve_script({"quit": [BEHAVIOURS[behaviour]]}) as server,
        open_connection(server) as (_, connection),
    ):
        assert (await send(connection, rendered())).code == 250
        await connection.aclose()
        assert server.commands[-1] == "QUIT"


async def test_a_probe_logs_in_and_sends_nothing() -> None:
    async with serve_script() as server, open_connection(server) as (transport, _):
        answer = await transport.probe()
        assert (answer.signal, answer.code) == (Signal.REPLY, 250)
        await server.wait_for("quit")
    assert [line.split()[0] for line in server.commands] == ["EHLO", "QUIT"]


async def test_a_probe_says_when_nobody_listens() -> None:
    async with serve_script() as server:
        pass
    async with open_connection(server) as (transport, _):
        answer = await transport.probe()
    assert (answer.stage, answer.signal) == (Stage.CONNECT, Signal.DROPPED)
    assert "refused" in answer.text.lower()


async def test_a_name_that_does_not_resolve_is_a_connect_failure() -> None:
    async with open_bridge() as bridge:
        made = SmtpSettings(host="no-such-host.invalid", security="none", ehlo_name="c.example")
        answer = await open_smtp("x", made, bridge).probe()
    assert (answer.stage, answer.signal) == (Stage.CONNECT, Signal.DROPPED)


async def test_ten_thousand_extensions_are_refused_and_not_collected() -> None:
    """A hostile EHLO must not cost memory or hang."""
    async with (
        serve_script(extensions=[b"X-%d" % n for n in range(10_000)]) as server,
        open_connection(server) as (transport, _),
    ):
        answer = await transport.probe()
    assert (answer.stage, answer.signal) == (Stage.EHLO, Signal.GARBAGE)


async def test_a_cancelled_login_ends_although_asyncio_lost_the_cancellation(bridge: Bridge) -> None:
    """As `asyncio.wait_for` does before Python 3.12 when its own wait has just ended."""
    begun = trio.Event()
    token = trio.lowlevel.current_trio_token()

    async def stubborn(client: aiosmtplib.SMTP) -> aiosmtplib.SMTPResponse:
        token.run_sync_soon(begun.set)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return await client.ehlo()

    async with serve_script({"ehlo": [STALL]}) as server:
        stream = Stream(await connect("127.0.0.1", server.port, 30))
        login = _Attempt(bridge, stream, SmtpSettings(host="127.0.0.1", security="none"), "me.example.org")
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(login._talk, stubborn)
                await begun.wait()
                nursery.cancel_scope.cancel()
        stream.close()
