"""The bytes of an opening handshake: read with a limit, given back to the websocket library, or refused."""

from __future__ import annotations

import select
import sys
from contextlib import suppress

import trio
import trio_websocket

from hubd.control.frames import FrameCounter, MessageTooLarge, close_frame, text_header
from hubd.control.head import END, MAX_HEAD, Refusal, response

LITTLE = 512  #: bytes read at a time from a client that sends many short frames
JOINED = 64 * 1024  #: bytes of a frame that are sent together with its header, or read at once
CROWDED_SECONDS = 1.0  #: for a refused client: to send the head, and to take the answer
_PEER_AT_FAULT = (1002, 1007)  #: close codes: broken framing, text that is not UTF-8


class Prefixed(trio.abc.Stream):
    """The stream below a websocket: bytes that were read already are read again, and frames are counted.

    A message that is too large is refused here, before the websocket library has any of it; see `frames`.
    Text is written here, too: without copying it, and in fragments, which the library does not offer. And
    when a frame breaks the protocol, the library closes the stream without the close frame that RFC 6455
    7.1.7 asks for; this stream sends one.
    """

    def __init__(self, stream: trio.SocketStream, head: bytes, max_message: int) -> None:
        self.socket: trio_websocket.WebSocketConnection | None = None
        self._stream = stream
        self._head = head
        self._max_message = max_message
        self._frames = FrameCounter(max_message)
        self._sending = trio.StrictFIFOLock()  #: one frame after the other
        self._ended = False  #: by us, because a message was too large

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._head:
            await trio.lowlevel.checkpoint()
            size = max_bytes or len(self._head)
            first, self._head = self._head[:size], self._head[size:]
            return first
        while not self._ended:
            data = await self._stream.receive_some(self._read_size(max_bytes))
            if not data:
                break
            try:
                counted = self._frames.feed(data)
            except MessageTooLarge as exc:
                self._ended = True
                await self._part(1009, str(exc), drain=2 * self._max_message)
                break
            if counted:
                return counted
        return b""

    def _read_size(self, max_bytes: int | None) -> int | None:
        """How much to read: the rest of a large frame in few pieces, since no other frame can be in it."""
        if self._frames.many:
            return LITTLE
        return max_bytes and max(max_bytes, min(self._frames.missing, JOINED))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._sending:
            await self._stream.send_all(data)

    async def send_text(self, data: bytes, *, first: bool = True, last: bool = True) -> None:
        """Send a text message, or a fragment of one. Cancelling it leaves half a frame behind.

        Raises `trio_websocket.ConnectionClosed`.
        """
        assert self.socket is not None
        header = text_header(len(data), first=first, last=last)
        async with self._sending:
            if self.socket.closed is not None or self._ended:
                raise trio_websocket.ConnectionClosed(self.socket.closed)
            try:
                if len(data) <= JOINED:
                    await self._stream.send_all(header + data)
                else:
                    await self._stream.send_all(header)
                    await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise trio_websocket.ConnectionClosed(self.socket.closed) from None

    def client_has_left(self) -> bool:
        """Whether the client has closed the connection, even if there is still something to read.

        False where the system cannot tell.
        """
        if sys.platform == "win32":
            return False
        if (fd := self._stream.socket.fileno()) < 0:
            return True
        ended = select.poll()
        ended.register(fd, getattr(select, "POLLRDHUP", 0))  # and POLLHUP, which is always reported
        return bool(ended.poll(0))

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        reason = self.socket.closed if self.socket is not None else None
        try:
            if reason is not None and reason.code in _PEER_AT_FAULT and not self._ended:
                await self._part(reason.code)
        finally:
            await self._stream.aclose()

    async def _part(self, code: int, reason: str = "", *, drain: int = 0) -> None:
        """Send a close frame and read up to `drain` bytes, so that the peer sees it instead of a reset."""
        with (
            trio.move_on_after(CROWDED_SECONDS),
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            async with self._sending:
                await self._stream.send_all(close_frame(code, reason))
            while drain > 0 and (data := await self._stream.receive_some()):
                drain -= len(data)


async def read_head(stream: trio.abc.ReceiveStream) -> tuple[bytes, bytes]:
    """The HTTP head with its empty line, and what came after it. Without that line it is not complete."""
    data = b""
    while END not in data and len(data) <= MAX_HEAD:
        chunk = await stream.receive_some(MAX_HEAD)
        data += chunk
        if not chunk or not data[:1].isalpha():  # it ended, or it is not HTTP: TLS, for one, begins with 0x16
            break
    head, end, rest = data.partition(END)
    return head + end, rest


async def refuse(stream: trio.SocketStream, refusal: Refusal, *, wait: bool = True) -> None:
    """Send a status; see `answer`."""
    await answer(stream, response(refusal), wait=wait)


async def answer(
    stream: trio.SocketStream, data: bytes, *, wait: bool = True, seconds: float = CROWDED_SECONDS
) -> None:
    """Send the last bytes and read what still comes, so that the peer sees them instead of a reset."""
    with trio.move_on_after(seconds):
        await stream.send_all(data)
        await stream.send_eof()
        while wait and await stream.receive_some():
            pass
