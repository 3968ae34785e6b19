"""Servers that offer DSN and refuse its parameters: noticed at once, and nobody fails because of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import trio

from hubd.bridge import Bridge
from hubd.core.model import Answer, Signal, Stage
from hubd.providers.smtp.dsn import Dsn
from hubd.providers.smtp.transport import SmtpConnection, SmtpSettings, SmtpTransport, open_smtp
from tests.shell.smtp_peers import rendered, send_in_a_row

PARAMETERS = {"MAIL": (b"RET=", b"ENVID="), "RCPT": (b"NOTIFY=", b"ORCPT=")}


@dataclass(slots=True)
class Server:
    """Refuses the parameters of DSN at one command; `bad` is a recipient whom it always refuses like that."""

    refuses: str  #: MAIL, RCPT or ""
    reply: bytes = b"501 5.5.4 unknown parameter"
    pipelining: bool = True
    bad: bytes = b"-"
    port: int = 0
    connections: int = 0
    accepted: list[bytes] = field(default_factory=list)  #: lines of RCPT
    refused: int = 0

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._talk(stream)

    async def _talk(self, stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 odd ESMTP\r\n")
        rest, body, mail, rcpt = b"", False, False, b""
        while True:
            end = b"\r\n.\r\n" if body else b"\r\n"
            while end not in rest:
                data = await stream.receive_some()
                if not data:
                    return
                rest += data
            line, _, rest = rest.partition(end)
            verb = "" if body else line[:4].decode().upper()
            said = b"250 2.0.0 ok"
            if body:
                body, mail = False, False
                self.accepted.append(rcpt)
            elif verb == "EHLO":
                pipelining = b"250-PIPELINING\r\n" if self.pipelining else b""
                said = b"250-odd\r\n" + pipelining + b"250 DSN"
            elif verb == "RSET":
                mail, rcpt = False, b""
            elif (
                verb == self.refuses and any(word in line for word in PARAMETERS[verb])
            ) or self.bad in line:
                said = self.reply
                self.refused += 1
            elif verb == "MAIL":
                mail, rcpt = True, b""
            elif verb == "RCPT":
                said, rcpt = (said, line) if mail else (b"503 5.5.1 MAIL first", b"")
            elif verb == "DATA":
                said, body = (b"354 go", True) if rcpt else (b"503 5.5.1 RCPT first", False)
            await stream.send_all(said + b"\r\n")


@asynccontextmanager
async def account(server: Server, bridge: Bridge) -> AsyncIterator[tuple[SmtpTransport, SmtpConnection]]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.handle, [listener])
        settings = SmtpSettings(host="127.0.0.1", port=server.port, security="none", ehlo_name="me.example")
        transport = open_smtp("office", settings, bridge)
        try:
            with trio.fail_after(30):
                yield transport, transport.connection()
        finally:
            await transport.aclose()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize(
    "reply",
    [b"501 5.5.4 unknown parameter", b"504 no", b"555 no", b"550 5.5.4 no", b"550 unsupported parameter RET"],
)
async def test_a_server_that_refuses_what_it_offers_gets_every_message_once(
    pipelining: bool, command: str, reply: bytes, bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(command, reply, pipelining)
    async with account(server, bridge) as (transport, connection):
        with caplog.at_level(logging.WARNING):
            answers = await send_in_a_row(connection, [rendered(n) for n in range(6)])
        another = transport.connection()
        answers += await send_in_a_row(another, [rendered(n) for n in range(6, 9)])
    assert [answer.code for answer in answers] == [250] * 9
    assert len(server.accepted) == len(set(server.accepted)) == 9
    assert not any(word in line for line in server.accepted for word in PARAMETERS["RCPT"])
    assert 1 <= server.refused <= 2, "of the first message; perhaps of the one announced behind it"
    assert server.connections == 2, "each on its own connection"
    assert [record.message for record in caplog.records if "DSN" in record.message] == [
        f"office offers DSN but refuses its parameters ({reply[:3].decode()}): email is sent without them, "
        "until the provider's settings change or hubd restarts"
    ]


async def test_a_recipient_whom_the_server_refuses_in_any_case_is_no_sign(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server("", bad=b"to1@")
    async with account(server, bridge) as (transport, connection):
        answers = await send_in_a_row(connection, [rendered(n) for n in range(3)])
        assert transport.dsn.usable
    assert [answer.code for answer in answers] == [250, 501, 250]
    assert all(b"NOTIFY=" in line for line in server.accepted)
    assert "DSN" not in caplog.text


async def test_what_was_announced_before_another_connection_found_out_does_not_fail(bridge: Bridge) -> None:
    server = Server("")
    async with account(server, bridge) as (transport, connection):
        one, two = rendered(1), rendered(2)
        assert await connection.prepare(one) is None
        server.refuses = "MAIL"
        assert (await connection.deliver(one, two)).code == 250
        transport.dsn.usable = False
        assert await connection.prepare(two) is None
        assert (await connection.deliver(two)).code == 250
    assert (server.refused, len(server.accepted)) == (1, 2)


@pytest.mark.parametrize(
    ("answer", "suspected"),
    [
        (Answer(stage=Stage.RCPT, code=501, text="syntax error"), True),
        (Answer(stage=Stage.MAIL, code=455, text="later"), True),
        (Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1", text="no such user"), False),
        (Answer(stage=Stage.RCPT, code=450, text="parameter"), False),
        (Answer(stage=Stage.DATA, code=501, text="no"), False),
        (Answer(stage=Stage.MAIL, code=501, signal=Signal.DROPPED, text="gone"), False),
        (None, False),
    ],
)
def test_what_may_mean_that_the_parameters_are_refused(answer: Answer | None, suspected: bool) -> None:
    assert Dsn("office").suspects(answer) is suspected


def test_what_is_no_lasting_answer_proves_nothing_about_the_parameters() -> None:
    known, before = Dsn("office"), Answer(stage=Stage.MAIL, code=501, text="no")
    known.tried_without(before, Answer(stage=Stage.MAIL, signal=Signal.DROPPED, text="gone"))
    known.tried_without(before, before)
    known.tried_without(before, Answer(stage=Stage.RCPT, code=450, enhanced="4.2.0", text="greylisted"))
    assert known.usable
    known.tried_without(before, Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1", text="no such user"))
    assert not known.usable
