"""The delivery side of an SMTP connection: takes over the socket once a client library has logged in.

`Conversation` is an asyncio protocol whose callbacks run in the Trio thread (see `hubd.bridge`). It knows how
many replies are owed for what was written, so that a reply nobody asked for is never taken for the answer to
the next command: it ends the conversation. Trio tasks wait for replies through a `trio.Event`.
"""

from __future__ import annotations

import asyncio
from collections import deque

import trio

from hubd.core.model import Signal
from hubd.transports.replies import Garbage, Reply, ReplyParser

#: Octets that may wait in the transport before `room` makes the writer wait.
HIGH_WATER = 64 * 1024

_CLOSED = "the server closed the connection"


class Lost(Exception):
    """The conversation cannot go on. `signal` says in what way, `str()` says it for people."""

    def __init__(self, signal: Signal, text: str) -> None:
        super().__init__(text)
        self.signal = signal


class Conversation(asyncio.Protocol):
    """Commands and replies on a connection that is past EHLO and AUTH. Used by one Trio task at a time.

    After any `Lost`, and after a reply of 421, the connection is of no more use: `abort` it.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._owed = 0
        self._lost: tuple[Signal, str] | None = None
        self._aborted = False
        self._paused = False
        self._news: trio.Event | None = None
        #: A reply that nobody asked for, such as 421 to an idle connection or an early 552 to a large body.
        self.stray: Reply | None = None
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        if transport.is_closing():
            self._end(Signal.DROPPED, _CLOSED)

    @property
    def usable(self) -> bool:
        """Whether a command may be written: alive, and nothing came that nobody asked for."""
        return self._lost is None and (self._owed > 0 or not self._parser.midway)

    @property
    def smooth(self) -> bool:
        """Whether it is usable, every reply that was owed has come, and none of them is a refusal."""
        return self.usable and self._owed == 0 and all(reply.code < 400 for reply in self._replies)

    @property
    def quiet(self) -> bool:
        """Whether it is usable and every reply that was owed has been read."""
        return self.usable and self._owed == 0 and not self._replies

    @property
    def loss(self) -> Lost:
        """Why it is not usable."""
        signal, text = self._lost or (Signal.GARBAGE, "part of a reply that nobody asked for")
        return Lost(signal, text)

    def write(self, data: bytes, *, replies: int) -> None:
        """Hand octets to the transport, to which the server owes that many replies."""
        if self._lost is None:
            self._owed += replies
            self._transport.write(data)

    async def reply(self, timeout: float) -> Reply:
        """The next reply, waiting for at most `timeout` seconds. Raises `Lost`."""
        if not self._replies:
            with trio.CancelScope(deadline=trio.current_time() + timeout):
                while not self._replies and self._lost is None:
                    await self._wait()
        if self._replies:
            return self._replies.popleft()
        if self._lost is None:
            raise Lost(Signal.TIMEOUT, f"no reply within {timeout:g} seconds")
        raise self.loss

    async def room(self, timeout: float) -> None:
        """Wait until more may be written. Raises `Lost`, also when a stray reply came in between."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(timeout):
            while self._paused and self._lost is None:
                await self._wait()
        if not self.usable:
            raise self.loss
        if self._paused:
            raise Lost(Signal.TIMEOUT, f"the server read nothing for {timeout:g} seconds")

    def abort(self) -> None:
        """Cut the connection at once. What still waits to be written is not written."""
        self._end(Signal.DROPPED, "the connection was cut on this side")
        if not self._aborted:
            self._aborted = True
            self._transport.abort()

    async def _wait(self) -> None:
        self._news = trio.Event()
        await self._news.wait()

    def _end(self, signal: Signal, text: str) -> None:
        if self._lost is None:
            self._lost = (signal, text)
        self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()

    # -- asyncio callbacks: none of them may let an exception out ------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what came. The conversation ends when it is not a reply, or one that nobody asked for."""
        if self._lost is not None:
            return
        try:
            for reply in self._parser.feed(data):
                if not self._owed:
                    self.stray = reply
                    signal = Signal.DROPPED if reply.code == 421 else Signal.GARBAGE
                    self._end(signal, f"a reply that nobody asked for: {reply.code} {reply.text}")
                    self.abort()
                    return
                self._owed -= 1
                self._replies.append(reply)
            if self._replies:
                self._tell()
        except Garbage as problem:
            self._end(Signal.GARBAGE, f"the server sent {problem}")
            self.abort()
        except Exception as problem:  # one that left this callback would end the program
            self._end(Signal.GARBAGE, f"a reply could not be read: {type(problem).__name__}")
            self.abort()

    def eof_received(self) -> bool:
        """The server will say no more. The transport closes itself."""
        self._end(Signal.DROPPED, _CLOSED)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._end(Signal.DROPPED, _CLOSED if exc is None else f"the connection broke: {_why(exc)}")

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        self._paused = False
        self._tell()


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
