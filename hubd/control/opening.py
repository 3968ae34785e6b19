"""The bytes of an opening handshake: read with a limit, given back to the websocket library, or refused."""

from __future__ import annotations

from contextlib import suppress

import trio
import trio_websocket

from hubd.control.head import END, MAX_HEAD, Refusal, response

CROWDED_SECONDS = 1.0  #: for who is sent away: to send the head, and to take the answer
_PEER_AT_FAULT = (1002, 1007)  #: close codes: broken framing, text that is not UTF-8


class Prefixed(trio.abc.Stream):
    """A stream whose first bytes were read already and are read again.

    It also says good-bye where the websocket library does not: for a frame that breaks the protocol the
    library closes the stream without the close frame that RFC 6455 7.1.7 asks for.
    """

    def __init__(self, stream: trio.abc.Stream, head: bytes) -> None:
        self.socket: trio_websocket.WebSocketConnection | None = None
        self._stream = stream
        self._head = head

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._head:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = max_bytes or len(self._head)
        first, self._head = self._head[:size], self._head[size:]
        return first

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        reason = self.socket.closed if self.socket is not None else None
        if reason is not None and reason.code in _PEER_AT_FAULT:
            with (
                trio.move_on_after(CROWDED_SECONDS),
                suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                await self._stream.send_all(b"\x88\x02" + reason.code.to_bytes(2, "big"))
        await self._stream.aclose()


async def read_head(stream: trio.abc.ReceiveStream) -> tuple[bytes, bytes]:
    """The HTTP head with its empty line, and what came after it. Without that line it is not complete."""
    data = b""
    while END not in data and len(data) <= MAX_HEAD:
        chunk = await stream.receive_some(MAX_HEAD)
        data += chunk
        if not chunk or not data[:1].isalpha():  # it ended, or it is no HTTP: TLS, for one, begins with 0x16
            break
    head, end, rest = data.partition(END)
    return head + end, rest


async def refuse(stream: trio.SocketStream, refusal: Refusal, *, wait: bool = True) -> None:
    """Send a status; see `answer`."""
    await answer(stream, response(refusal), wait=wait)


async def answer(stream: trio.SocketStream, data: bytes, *, wait: bool = True) -> None:
    """Send the last octets and read what still comes, so that the peer sees them and no reset connection."""
    with trio.move_on_after(CROWDED_SECONDS):
        await stream.send_all(data)
        await stream.send_eof()
        while wait and await stream.receive_some():
            pass
