"""A client that says exactly what it is told, through the websocket library or in bare bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio_websocket

MAX_ANSWER = 64 * 1024 * 1024
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HELLO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": "hello",
    "method": "hub.hello",
    "params": {"client": {"name": "test"}, "protocol": [1]},
}


class OneAtATime(trio.abc.Stream):
    """A stream on which a test may write although the websocket library does: one waits for the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sending = trio.Lock()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._sending:
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class Raw:
    """One websocket, spoken to in JSON."""

    def __init__(self, socket: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        self.socket = socket
        self.stream = stream
        self.hello: dict[str, Any] = {}

    async def say(self, message: object) -> None:
        await self.socket.send_message(message if isinstance(message, str | bytes) else json.dumps(message))

    async def hear(self) -> Any:
        with trio.fail_after(20):
            return json.loads(await self.socket.get_message())

    async def ask(self, method: str, request_id: object = 1, **params: object) -> Any:
        await self.say({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        return await self.hear()

    async def closed(self) -> int:
        """Read until the daemon closes; the code."""
        with trio.fail_after(20):
            try:
                while True:
                    await self.socket.get_message()
            except trio_websocket.ConnectionClosed as closed:
                return int(closed.reason.code) if closed.reason else 0


async def connect(where: Path | int) -> trio.SocketStream:
    """A connection to a socket, or to a port of this machine."""
    if isinstance(where, Path):
        return await trio.open_unix_socket(where)
    return await trio.open_tcp_stream("127.0.0.1", where)


@asynccontextmanager
async def open_raw(
    where: Path | int,
    *,
    greet: bool = True,
    origin: str | None = None,
    bearer: str = "",
    header: str = "",
) -> AsyncIterator[Raw]:
    """Connect as a client of ours does, as a page with a ticket, or as a program with a token in a header."""
    extra = [(b"origin", origin.encode())] if origin is not None else []
    if header:
        extra.append((b"authorization", f"Bearer {header}".encode()))
    async with trio.open_nursery() as nursery, OneAtATime(await connect(where)) as stream:
        socket = await trio_websocket.wrap_client_stream(
            nursery,
            stream,  # type: ignore[arg-type]  # any stream will do
            "hubd.sock" if isinstance(where, Path) else f"127.0.0.1:{where}",
            "/rpc",
            subprotocols=["hub.jsonrpc.v1", *([f"hub.bearer.{bearer}"] if bearer else [])],
            extra_headers=extra,
            max_message_size=MAX_ANSWER,
        )
        raw = Raw(socket, stream)
        if greet:
            await raw.say(HELLO)
            answer = await raw.hear()
            assert answer["id"] == "hello"
            raw.hello = answer.get("result", {})
        yield raw
        nursery.cancel_scope.cancel()


def head(*, line: str = "GET /rpc HTTP/1.1", **changes: str | None) -> bytes:
    """The head of a good client of the unix socket; None leaves a header out."""
    headers: Mapping[str, str | None] = {
        "Host": "hubd.sock",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "hub.jsonrpc.v1",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1")


async def answer_to(where: Path | int, data: bytes, *, end: bool = False) -> bytes:
    """What the daemon says to these bytes, until it closes or has accepted."""
    with trio.fail_after(20):
        async with await connect(where) as stream:
            said = b""
            try:
                await stream.send_all(data)
                if end:
                    await stream.send_eof()
                while chunk := await stream.receive_some():
                    said += chunk
                    if said.startswith(b"HTTP/1.1 101"):
                        break
            except trio.BrokenResourceError:
                pass
            return said


def frame(text: bytes) -> bytes:
    """A text frame of a client, masked with zeros (RFC 6455 5.2)."""
    size = len(text)
    length = bytes([0x80 | min(size, 126 if size < 2**16 else 127)])
    if size > 125:
        length += size.to_bytes(2 if size < 2**16 else 8, "big")
    return b"\x81" + length + bytes(4) + text
