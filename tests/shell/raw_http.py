"""An HTTP server that does exactly what a test says, over real sockets, with TLS or without.

    async with serve_http(behave) as server:
        ...  # server.url, server.requests, server.connections

`behave(peer)` is called for each connection and may do anything with it; when it returns, the connection is
closed. A `Proxy` is another kind of server: it connects whoever asks to the port it is given.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes


class HungUp(Exception):
    """The client ended the connection."""


@dataclass(slots=True, eq=False)
class Peer:
    """The server's end of a connection."""

    server: HttpServer
    socket: trio.SocketStream
    stream: trio.abc.Stream
    number: int  #: of the connection, from 1
    rest: bytes = b""

    async def request(self) -> Seen:
        """The next request, whole."""
        while b"\r\n\r\n" not in self.rest:
            await self.more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        pairs = [field.partition(": ")[::2] for field in fields]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), "a header came twice"
        length = int(headers.get("content-length", "0"))
        while len(self.rest) < length:
            await self.more()
        body, self.rest = self.rest[:length], self.rest[length:]
        seen = Seen(line, headers, body)
        self.server.requests.append(seen)
        self.server.tell()
        return seen

    async def more(self) -> bytes:
        """Whatever comes next of the request."""
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise HungUp
        self.rest += data
        self.server.received += len(data)
        self.server.tell()
        return bytes(data)

    async def say(self, data: bytes, *, packets: bool = False) -> None:
        """Send this; each byte in a packet of its own if asked to."""
        try:
            for piece in [bytes([byte]) for byte in data] if packets else [data]:
                await self.stream.send_all(piece)
        except trio.BrokenResourceError:
            raise HungUp from None

    async def until_hung_up(self) -> None:
        """Read until the client closes."""
        with suppress(HungUp):
            while True:
                await self.more()

    def reset(self) -> None:
        """End the connection by force."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.socket.close()

    def close(self) -> None:
        """End the TCP connection without a word, also not of TLS."""
        self.socket.socket.close()


Behave = Callable[[Peer], Awaitable[None]]


@dataclass(slots=True, eq=False)
class HttpServer:
    """The server and what it saw."""

    behave: Behave
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0
    ended: int = 0  #: connections that are over
    received: int = 0  #: bytes of requests, without TLS
    requests: list[Seen] = field(default_factory=list)
    _moved: trio.Event = field(default_factory=trio.Event)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so."""
        while not true():
            await self._moved.wait()

    async def quiet(self) -> None:
        """Wait until all connections are over."""
        await self.until(lambda: self.ended == self.connections)

    def tell(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        layer: trio.abc.Stream = stream
        if self.tls is not None:
            layer = trio.SSLStream(stream, self.tls, server_side=True)
        try:
            async with stream:
                with suppress(HungUp, trio.BrokenResourceError, trio.ClosedResourceError):
                    await self.behave(Peer(self, stream, layer, self.connections))
                    if stream.socket.fileno() >= 0:
                        await layer.aclose()
        finally:
            self.ended += 1
            self.tell()


@asynccontextmanager
async def serve_http(behave: Behave, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpServer]:
    """A server on a free port of the loopback interface, for the length of the block."""
    server = HttpServer(behave, tls)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.handle, listeners)
        yield server
        nursery.cancel_scope.cancel()


def answer(status: str = "200 OK", body: bytes = b"hello", *headers: str) -> bytes:
    """A well-formed answer of stated length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def always(data: bytes, *, packets: bool = False) -> Behave:
    """Answer every request of every connection like this."""

    async def behave(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(data, packets=packets)

    return behave


def then_close(data: bytes) -> Behave:
    """Answer one request of each connection like this and close."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.say(data)

    return behave


def relay(port: int) -> Behave:
    """A proxy that connects everybody to this port, whatever they ask for."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        async with await trio.open_tcp_stream("127.0.0.1", port) as there:
            await peer.say(b"HTTP/1.1 200 Connection established\r\n\r\n")

            async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    async for data in source:
                        await sink.send_all(data)
                nursery.cancel_scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, peer.stream, there)
                nursery.start_soon(pump, there, peer.stream)

    return behave
