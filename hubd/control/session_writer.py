"""What a connection sends: one task writes, with a deadline on every send, and one checks that it is alive.

Only the writer writes messages. A send that misses its deadline ends the connection: the websocket library
leaves half a frame behind a cancelled send and would go on as if nothing had happened. What waits to be
written is bounded, so a client that does not read stops its own requests and nobody else's.

A message whose end is not known yet is written in fragments (RFC 6455 5.4); no other message can be written
before its last one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import trio
import trio_websocket

from hubd.control.memory import ConnectionMemory
from hubd.control.opening import Prefixed

log = logging.getLogger(__name__)

SEND_SECONDS = 10.0  #: for one message to be taken by the client
CLOSE_SECONDS = 2.0  #: for the closing handshake
PING_SECONDS = 20.0  #: between signs of life asked of the client
MISSED = 2  #: pings that may be unanswered
QUEUED = 8  #: messages that wait to be written

SLOW = 4008  #: close code: it does not read, or does not answer pings


@dataclass(frozen=True, slots=True)
class _Close:
    """Asks the writer to close, after everything queued before."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Fragments:
    """A message that is handed over in fragments."""

    fragments: trio.MemoryReceiveChannel[tuple[bytes, bool]]


class SessionWriter:
    """Writes what one connection sends. Run `write` and `watch` as tasks of its nursery."""

    def __init__(
        self,
        websocket: trio_websocket.WebSocketConnection,
        stream: Prefixed,
        memory: ConnectionMemory,
    ) -> None:
        self.closing = False  #: somebody asked to close: requests that come now get no answer
        self.written = trio.Event()  #: nothing will be written any more
        self._websocket = websocket
        self._stream = stream
        self._memory = memory
        self._queue, self._queued = trio.open_memory_channel[bytes | _Fragments | _Close](QUEUED)
        self._writing = trio.CancelScope()
        self._unanswered = 0

    async def post(self, text: str) -> None:
        """Queue a message; waits while the queue is full. A connection that has ended swallows it."""
        data = text.encode("ascii")
        self._memory.add(len(data))
        queued = False
        try:
            await self._queue.send(data)
            queued = True
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()
        finally:
            if not queued:
                self._memory.release(len(data))

    async def open_message(self) -> trio.MemorySendChannel[tuple[bytes, bool]]:
        """Queue a message that is handed over in fragments, each with whether it is the last.

        A fragment is taken when the one before it has been written; `BrokenResourceError` when the connection
        has ended.
        """
        fragments, taken = trio.open_memory_channel[tuple[bytes, bool]](0)
        try:
            await self._queue.send(_Fragments(taken))
        except trio.BrokenResourceError:
            taken.close()
            await trio.lowlevel.checkpoint()
        return fragments

    async def close(self, code: int, reason: str) -> None:
        """Close once everything queued has been written."""
        self.closing = True
        try:
            await self._queue.send(_Close(code, reason))
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()

    async def write(self) -> None:
        """Write what is queued until the connection ends."""
        try:
            with self._writing:
                await self._write_queued()
        except trio_websocket.ConnectionClosed:
            pass  # the reader has seen it too
        finally:
            self._drop_queued()
            self.written.set()

    async def _write_queued(self) -> None:
        async for item in self._queued:
            match item:
                case _Close():
                    await self._part(item.code, item.reason)
                    return
                case _Fragments():
                    taken = await self._send_fragments(item)
                case _:
                    try:
                        taken = await self._send(item)
                    finally:
                        self._memory.release(len(item))
            if not taken:
                return

    def _drop_queued(self) -> None:
        """Discard what is queued, and whatever would be queued later."""
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                item = self._queued.receive_nowait()
                if isinstance(item, bytes):
                    self._memory.release(len(item))
                elif isinstance(item, _Fragments):
                    item.fragments.close()
        self._queued.close()

    async def _send_fragments(self, message: _Fragments) -> bool:
        """Send all of them. Returns whether they all came and were written."""
        first = last = True
        with message.fragments:
            async for data, last in message.fragments:
                if not await self._send(data, first=first, last=last):
                    return False
                first = False
                if last:
                    return True
        if first:
            return True  # it never began
        await trio.aclose_forcefully(self._stream)  # half a message cannot be repaired
        return False

    async def _send(self, data: bytes, *, first: bool = True, last: bool = True) -> bool:
        """Whether the client took it in time; if not, the connection is over.

        A client that is only late, and takes the rest within `CLOSE_SECONDS`, is told why.
        """
        begun = trio.current_time()
        with trio.move_on_after(SEND_SECONDS + CLOSE_SECONDS) as scope:
            await self._stream.send_text(data, first=first, last=last)
        if scope.cancelled_caught:
            log.info("a client read nothing for %g seconds; its connection was cut", SEND_SECONDS)
            await trio.aclose_forcefully(self._stream)
            return False
        if trio.current_time() - begun > SEND_SECONDS:
            log.info("a client read nothing for %g seconds; its connection was closed", SEND_SECONDS)
            await self._part(SLOW, "too slow: you read nothing for a while")
            return False
        return True

    async def _part(self, code: int, reason: str) -> None:
        self.closing = True
        with trio.move_on_after(CLOSE_SECONDS):
            await self._websocket.aclose(code, reason)

    # -- signs of life -----------------------------------------------------------------------------

    async def watch(self, must_answer: Callable[[], bool]) -> None:
        """Ping now and then, and close if a client that must answer leaves two pings unanswered.

        One that need not may simply not be reading, between one call and the next.
        """
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(PING_SECONDS)
                if self._unanswered >= MISSED and not must_answer():
                    continue
                if self._unanswered >= MISSED:
                    log.info("a client left %d pings unanswered; its connection was closed", MISSED)
                    await self._part(SLOW, "no answer to pings")
                    await trio.aclose_forcefully(self._stream)
                    self._writing.cancel()  # it may have nothing to write, and so not see the end
                    nursery.cancel_scope.cancel()
                    return
                nursery.start_soon(self._ping)

    async def _ping(self) -> None:
        """One ping. An answer answers those before it too, as RFC 6455 5.5.3 allows."""
        self._unanswered += 1
        try:
            await self._websocket.ping()
        except trio_websocket.ConnectionClosed:
            pass  # the reader has seen it too
        else:
            self._unanswered -= 1
