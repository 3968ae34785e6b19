"""An SMTP server that behaves as badly as a test asks it to, over real sockets.

    async with serve_script({"rcpt": [Say(b"550 5.1.1 no\\r\\n"), OK]}) as server:
        ...  # server.port, server.messages, server.commands, server.connections

A script says, for each stage of the dialogue, what happens the first time it is reached, the second time
and so on, over all connections; when its list is used up the stage behaves well. Stages are the commands in
lower case, and `banner` (a connection), `body` (the first bytes after 354) and `dot` (the end of a message).
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio


@dataclass(frozen=True, slots=True)
class Say:
    """Send these bytes, then go on, or `close`, or `reset` the connection, or `stall` for ever."""

    data: bytes = b""
    then: str = ""
    packets: bool = False  #: one byte at a time


CLOSE = Say(then="close")
RESET = Say(then="reset")
STALL = Say(then="stall")

OK = Say(b"250 Ok\r\n")
GO = Say(b"354 go\r\n")

#: Ways to go wrong that can happen at any stage.
BEHAVIOURS = {
    "close": CLOSE,
    "reset": RESET,
    "stall": STALL,
    "421": Say(b"421 4.3.2 go away\r\n", then="close"),
    "450": Say(b"450 4.2.0 later\r\n"),
    "550": Say(b"550-5.7.1 never\r\n550 5.7.1 ever\r\n"),
    "garbage": Say(b"HTTP/1.1 400 Bad Request\r\n"),
    "code 999": Say(b"999 strange\r\n"),
    "code 100": Say(b"100 strange\r\n"),
    "misplaced": Say(b"300 strange\r\n"),
    "no code": Say(b"\r\n"),
    "endless line": Say(b"250 " + b"x" * 200_000),
    "endless reply": Say(b"250-x\r\n" * 50_000),
}

WELL = {
    "banner": b"220 script ESMTP\r\n",
    "helo": b"250 script\r\n",
    "mail": b"250 2.1.0 Ok\r\n",
    "rcpt": b"250 2.1.5 Ok\r\n",
    "data": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    "body": b"",
    "rset": b"250 2.0.0 Ok\r\n",
    "quit": b"221 2.0.0 Bye\r\n",
    "starttls": b"220 2.0.0 Ready\r\n",
    "auth": b"235 2.7.0 Welcome\r\n",
}
Script = Mapping[str, Sequence[Say]]


@dataclass(slots=True)
class Message:
    """What arrived between DATA and the dot, unstuffed, with the command lines of its envelope."""

    mail: str
    rcpt: list[str]
    body: bytes


@dataclass(slots=True)
class ScriptedServer:
    """The server and what it saw."""

    script: Script
    extensions: Sequence[bytes]
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)  #: accepted or not
    hung_up: int = 0  #: connections that the client ended
    reached: dict[str, int] = field(default_factory=dict)  #: how often each stage was
    _moved: trio.Event = field(default_factory=trio.Event)

    async def wait_for(self, stage: str, times: int = 1) -> None:
        """Until a stage was reached that many times."""
        while self.reached.get(stage, 0) < times:
            await self._moved.wait()

    async def wait_hung_up(self, times: int = 1) -> None:
        """Until the client has ended that many connections."""
        while self.hung_up < times:
            await self._moved.wait()

    def next_act(self, stage: str, well: bytes) -> Say:
        """What is due at a stage now; `well` is the right thing to say, if it is not the usual one."""
        count = self.reached.get(stage, 0)
        self.reached[stage] = count + 1
        self.tell()
        acts = self.script.get(stage, ())
        return acts[count] if count < len(acts) else Say(well or self._well(stage))

    def tell(self) -> None:
        """Wake the tests that wait for something."""
        self._moved.set()
        self._moved = trio.Event()

    def _well(self, stage: str) -> bytes:
        if stage == "ehlo":
            lines = [b"script", *self.extensions]
            marks = [b"-"] * (len(lines) - 1) + [b" "]
            return b"".join(b"250%s%s\r\n" % pair for pair in zip(marks, lines, strict=True))
        if stage == "dot":
            return b"250 2.0.0 Ok: queued as Q%d\r\n" % len(self.messages)
        return WELL.get(stage, b"502 5.5.2 what?\r\n")

    async def handle(self, stream: trio.SocketStream) -> None:
        """One connection."""
        self.connections += 1
        try:
            await _Dialogue(self, stream).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, _HungUp):
            self.hung_up += 1
            self.tell()
        except _Ended:
            pass


class _Ended(Exception):
    """The script ended the connection."""


class _HungUp(Exception):
    """The client ended the connection."""


class _Dialogue:
    def __init__(self, server: ScriptedServer, stream: trio.SocketStream) -> None:
        self.server = server
        self.socket = stream
        self.stream: trio.abc.Stream = stream
        self.rest = b""
        self.mail = ""
        self.rcpt: list[str] = []

    async def run(self) -> None:
        await self.act("banner")
        while True:
            line = await self.line()
            self.server.commands.append(line)
            verb = line.partition(" ")[0].lower()
            said = await self.act(verb, self.out_of_sequence(verb))
            if verb == "mail" and said.startswith(b"2"):
                self.mail, self.rcpt = line, []
            elif verb == "rcpt" and said.startswith(b"2"):
                self.rcpt.append(line)
            elif verb == "rset":
                self.mail, self.rcpt = "", []
            if verb == "data" and said.startswith(b"354"):
                await self.body()
            elif verb == "starttls" and said.startswith(b"220") and self.server.tls is not None:
                self.stream = trio.SSLStream(self.socket, self.server.tls, server_side=True)
                self.rest = b""
            elif verb == "quit":
                raise _Ended

    def out_of_sequence(self, verb: str) -> bytes:
        """What an honest server says to a command that has no place here (RFC 5321 section 4.1.4)."""
        if verb == "mail" and self.mail:
            return b"503 5.5.1 nested MAIL\r\n"
        if verb == "rcpt" and not self.mail:
            return b"503 5.5.1 need MAIL\r\n"
        if verb == "data" and not self.rcpt:
            return b"554 5.5.1 no valid recipients\r\n"
        return b""

    async def act(self, stage: str, well: bytes = b"") -> bytes:
        act = self.server.next_act(stage, well)
        if act.packets:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in act.data:
                await self.stream.send_all(bytes([octet]))
        elif act.data:
            await self.stream.send_all(act.data)
        if act.then == "reset":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if act.then in ("close", "reset"):
            self.socket.socket.close()
            raise _Ended
        if act.then == "stall":
            while True:
                await self.more()
        return act.data

    async def body(self) -> None:
        if not self.rest:
            await self.more()
        await self.act("body")
        text = b"\r\n"
        while True:
            text += self.rest
            self.rest = b""
            end = text.find(b"\r\n.\r\n")
            if end >= 0:
                break
            await self.more()
        text, self.rest = text[: end + 2], text[end + 5 :]
        body = text.replace(b"\r\n.", b"\r\n")[2:]
        self.server.messages.append(Message(self.mail, self.rcpt, body))
        self.mail, self.rcpt = "", []
        await self.act("dot")

    async def line(self) -> str:
        while b"\r\n" not in self.rest:
            await self.more()
        line, _, self.rest = self.rest.partition(b"\r\n")
        return line.decode("ascii")

    async def more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise _HungUp
        self.rest += data


@asynccontextmanager
async def serve_script(
    script: Script | None = None,
    *,
    pipelining: bool = True,
    extensions: Sequence[bytes] = (b"ENHANCEDSTATUSCODES",),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[ScriptedServer]:
    """A server on a free port of the loopback interface, for the length of the block."""
    offered = [*extensions, b"PIPELINING"] if pipelining else list(extensions)
    server = ScriptedServer(script or {}, offered, tls)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.handle, listeners)
        yield server
        nursery.cancel_scope.cancel()
