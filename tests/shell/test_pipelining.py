"""Servers that offer PIPELINING and cannot do it: noticed before anybody waits long, and remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import pytest
import trio

from hubd.bridge import Bridge
from hubd.core.model import Answer, Signal, Stage
from hubd.providers.smtp import connection as smtp_connection
from hubd.providers.smtp import pipelining
from hubd.providers.smtp.pipelining import DROPS, Pipelining
from hubd.providers.smtp.transport import SmtpConnection, SmtpSettings, SmtpTransport, open_smtp
from tests.shell.smtp_peers import rendered, send_in_a_row

#: What the server does about commands that came in one packet.
Fault = Literal[
    "", "loses the rest", "loses what follows the dot", "503", "554", "500", "closes", "closes after the dot"
]
#: Seconds. The real patience is for real servers.
SHORT = 0.05


@dataclass(slots=True)
class Server:
    fault: Fault
    delay: float = 0.0  #: before each reply to RCPT
    port: int = 0
    connections: int = 0
    accepted: int = 0
    at_once: int = 0  #: packets with more than one command
    packets: list[bytes] = field(default_factory=list)

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._talk(stream)

    async def _talk(self, stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 broken ESMTP\r\n")
        body = False
        while data := await stream.receive_some():
            self.packets.append(data)
            if body:
                while b"\r\n.\r\n" not in data:
                    data += await stream.receive_some()
                self.accepted += 1
                _, _, data = data.partition(b"\r\n.\r\n")
                await stream.send_all(b"250 2.0.0 ok\r\n")
                body = False
                if self.fault.startswith("loses"):
                    continue
                if data and self.fault == "closes after the dot":
                    return
            lines = data.splitlines(keepends=True)
            if len(lines) > 1:
                self.at_once += 1
                if self.fault == "closes":
                    return
                if self.fault.isdigit():
                    words = {"503": "5.5.1 bad sequence", "554": "SMTP synchronization error", "500": "what?"}
                    await stream.send_all(f"{self.fault} {words[self.fault]}\r\n".encode())
                    if self.fault == "554":
                        return
                    lines = []
                if self.fault == "loses the rest":
                    del lines[1:]
            for line in lines:
                verb = line[:4].upper()
                if verb == b"RCPT" and self.delay:
                    await trio.sleep(self.delay)
                said = {b"EHLO": "250-broken\r\n250 PIPELINING", b"DATA": "354 go"}.get(verb, "250 ok")
                await stream.send_all(f"{said}\r\n".encode())
                body = body or verb == b"DATA"


@asynccontextmanager
async def serving(fault: Fault, *, delay: float = 0.0) -> AsyncIterator[Server]:
    server = Server(fault, delay)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.handle, [listener])
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(
    server: Server, bridge: Bridge, *, pipelining: bool = True
) -> AsyncIterator[tuple[SmtpTransport, SmtpConnection]]:
    settings = SmtpSettings(
        host="127.0.0.1",
        port=server.port,
        security="none",
        ehlo_name="me.example",
        pipelining=pipelining,
    )
    transport = open_smtp("office", settings, bridge)
    with trio.fail_after(30):
        try:
            yield transport, transport.connection()
        finally:
            await transport.aclose()


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pipelining, smtp_connection):
        monkeypatch.setattr(module, "UNPROVEN_TIMEOUT", SHORT)


@pytest.mark.parametrize("fault", ["loses the rest", "loses what follows the dot", "503", "554", "500"])
async def test_a_server_that_cannot_pipeline_gets_every_message_once_and_is_remembered(
    fault: Fault, bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    messages = [rendered(number) for number in range(1, 6)]
    async with serving(fault) as server, connected(server, bridge) as (transport, connection):
        answers = await send_in_a_row(connection, messages)
        assert [answer.code for answer in answers] == [250] * 5
        assert server.accepted == 5
        assert not transport.pipelining.usable
        tried = server.at_once
        again = transport.connection()
        assert [answer.code for answer in await send_in_a_row(again, messages)] == [250] * 5
        assert server.at_once == tried, "a packet with several commands, after it was known"
    (record,) = [each for each in caplog.records if "PIPELINING" in each.getMessage()]
    assert "pipelining = false" in record.getMessage()


async def test_a_server_that_hangs_up_is_tried_without_after_the_second_time(bridge: Bridge) -> None:
    async with serving("closes") as server, connected(server, bridge) as (transport, connection):
        first, second, third = await send_in_a_row(connection, [rendered(n) for n in (1, 2, 3)])
    assert (first.stage, first.signal) == (Stage.MAIL, Signal.DROPPED)
    assert (second.code, third.code, server.accepted) == (250, 250, 2)
    assert (server.at_once, transport.pipelining.usable) == (DROPS, False)


async def test_a_server_that_hangs_up_on_what_follows_a_body_gets_one_message_after_the_other(
    bridge: Bridge,
) -> None:
    async with (
        serving("closes after the dot") as server,
        connected(server, bridge) as (transport, connection),
    ):
        answers = await send_in_a_row(connection, [rendered(number) for number in range(1, 7)])
        assert [answer.code for answer in answers] == [250] * 6
        assert not transport.pipelining.usable
    assert (server.accepted, server.connections) == (6, 1 + DROPS)


async def test_a_slow_server_is_not_taken_for_one_that_cannot_pipeline(bridge: Bridge) -> None:
    async with serving("", delay=3 * SHORT) as server, connected(server, bridge) as (transport, connection):
        answers = await send_in_a_row(connection, [rendered(number) for number in (1, 2, 3)])
        assert [answer.code for answer in answers] == [250] * 3
        assert transport.pipelining.usable
    assert server.accepted == 3


async def test_without_the_key_no_two_commands_travel_together(bridge: Bridge) -> None:
    async with serving("") as server, connected(server, bridge, pipelining=False) as (_, connection):
        answers = await send_in_a_row(connection, [rendered(number) for number in (1, 2, 3)])
    assert [answer.code for answer in answers] == [250] * 3
    assert server.at_once == 0


# -- the judgement by itself -------------------------------------------------------------------------

SILENT = Answer(stage=Stage.RCPT, signal=Signal.TIMEOUT)
SEQUENCE = Answer(stage=Stage.RCPT, code=503, text="5.5.1 bad sequence")


def test_a_server_that_once_answered_such_a_group_is_not_suspected_later() -> None:
    known = Pipelining("office", wanted=True)
    known.answered(announced=False)
    assert known.proven(announced=False)
    assert not known.suspects(SEQUENCE, announced=False, impatient=True)
    assert not known.suspects(SILENT, announced=False, impatient=True)
    assert known.suspects(SILENT, announced=True, impatient=True)


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(stage=Stage.RCPT, code=550, text="5.1.1 no such user"),
        Answer(stage=Stage.MAIL, code=421, text="4.3.2 busy"),
        Answer(stage=Stage.RCPT, code=450, text="4.2.0 greylisted"),
        Answer(stage=Stage.DATA, signal=Signal.GARBAGE, text="junk"),  # the first of its kind
    ],
)
def test_a_refusal_with_another_cause_raises_no_suspicion(refusal: Answer) -> None:
    assert not Pipelining("office", wanted=True).suspects(refusal, announced=False, impatient=False)


def test_what_is_refused_one_at_a_time_as_well_was_not_about_pipelining() -> None:
    known = Pipelining("office", wanted=True)
    known.tried_without(SEQUENCE, SEQUENCE, slowest=0.0)
    known.tried_without(SILENT, SILENT, slowest=0.0)
    assert known.usable
    known.tried_without(SEQUENCE, Answer(stage=Stage.RCPT, code=550, text="no such user"), slowest=0.0)
    assert not known.usable
