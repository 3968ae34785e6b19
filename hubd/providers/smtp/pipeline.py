"""The delivery side of an SMTP connection: takes over the stream once a client library has logged in.

`Conversation` knows how many replies are owed for what was written, so that an unexpected reply is never
taken for the answer to the next command: it ends the conversation. Whenever it is asked for its state it
reads what has arrived; it waits only for what has not.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Sequence

import trio

from hubd.core.model import Signal
from hubd.providers.smtp.replies import Garbage, Reply, ReplyParser
from hubd.transports.stream import Stream

#: Bytes that may wait for the kernel before `room` makes the writer wait.
HIGH_WATER = 64 * 1024

_CLOSED = "the server closed the connection"


class Lost(Exception):
    """The conversation cannot continue. `signal` says why, `str()` says so for people.

    `stray` is the reply that nobody asked for, if that ended it.
    """

    def __init__(self, signal: Signal, text: str, stray: Reply | None = None) -> None:
        super().__init__(text)
        self.signal = signal
        self.stray = stray


class Conversation:
    """Commands and replies on a connection that is past EHLO and AUTH. Used by one Trio task at a time.

    `unread` is what was received before, beyond the replies that were asked for.

    After any `Lost`, and after a 421 reply, the connection is useless: `abort` it.
    """

    def __init__(self, stream: Stream, unread: bytes = b"") -> None:
        self._stream = stream
        self._parser = ReplyParser()
        self._replies: deque[Reply] = deque()
        self._owed = 0
        self._lost: tuple[Signal, str] | None = None
        self._aborted = False
        self._listening = False  # a task waits for data, and takes it
        #: A reply that nobody asked for, such as 421 to an idle connection or an early 552 to a large body.
        self.stray: Reply | None = None
        if unread:
            self._take(unread)

    @property
    def usable(self) -> bool:
        """Whether a command may be written: alive, and nothing unexpected came."""
        self._look()
        return self.was_usable

    @property
    def was_usable(self) -> bool:
        """Whether it was usable when it was last looked at. Makes no system call."""
        return self._lost is None and (self._owed > 0 or not self._parser.midway)

    @property
    def smooth(self) -> bool:
        """Whether every reply that was owed has come, and none of them is a refusal."""
        if self._owed:
            self._look()
        return self.was_usable and self._owed == 0 and not self.refused

    @property
    def refused(self) -> bool:
        """Whether there is a refusal among the replies that have come and have not been read."""
        return max([reply.code for reply in self._replies], default=0) >= 400

    @property
    def quiet(self) -> bool:
        """Whether it is usable, everything is written, and every reply that was owed has been read."""
        self._look()
        return self.was_quiet

    @property
    def was_quiet(self) -> bool:
        """Whether it was quiet when it was last looked at. Makes no system call."""
        return self.was_usable and self._owed == 0 and not self._replies and not self._stream.unsent

    @property
    def loss(self) -> Lost:
        """Why it is not usable."""
        signal, text = self._lost or (Signal.GARBAGE, "part of an unexpected reply")
        return Lost(signal, text, self.stray)

    def write(self, data: bytes, *, replies: int) -> None:
        """Send bytes, to which the server owes that many replies."""
        if self._lost is not None:
            return
        self._owed += replies
        try:
            self._stream.send(data)
        except OSError as problem:
            self._take_what_came()  # the server may have said why before it closed
            self._broken(problem)

    async def reply(self, timeout: float) -> Reply:
        """The next reply, waiting for at most `timeout` seconds. Raises `Lost`."""
        if not self._replies:
            # It often comes while other tasks run: then it needs no timer and no registration.
            await trio.lowlevel.checkpoint()
            self._look()
            if not self._replies:
                with trio.CancelScope(deadline=trio.current_time() + timeout):
                    await self._next()
        if self._replies:
            return self._replies.popleft()
        if self._lost is None:
            raise Lost(Signal.TIMEOUT, f"no reply within {timeout:g} seconds")
        raise self.loss

    def take(self, classes: Sequence[int]) -> bool:
        """Read all replies that were owed, if all have come and their codes begin with these digits. If not,
        none is read.
        """
        if self._owed:
            self._look()
        if not self.was_usable or self._owed or self._stream.unsent:
            return False
        if [reply.code // 100 for reply in self._replies] != classes:
            return False
        self._replies.clear()
        return True

    async def drain(self, timeout: float) -> None:
        """Wait until more may be written. Raises `Lost`, even when a stray reply came in between."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(timeout):
            await self._flush(HIGH_WATER, lambda: False)
        if not self.usable:
            raise self.loss
        if self._stream.unsent > HIGH_WATER:
            raise Lost(Signal.TIMEOUT, f"the server read nothing for {timeout:g} seconds")

    def abort(self) -> None:
        """Cut the connection at once. What still waits to be written is not written."""
        self._end(Signal.DROPPED, "the connection was closed on this side")
        if not self._aborted:
            self._aborted = True
            self._stream.close()

    async def _next(self) -> None:
        """Wait until there is a reply, or none will come."""
        if self._stream.unsent:
            await self._flush(0, lambda: self.refused)  # it may never read what it has refused
        await self._listen(lambda: bool(self._replies))

    async def _flush(self, leave: int, enough: Callable[[], bool]) -> None:
        """Wait until the server has read, or until what it sends meanwhile is `enough`."""
        if self._lost is not None or self._stream.unsent <= leave:
            return
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                await self._listen(enough)
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            try:
                await self._stream.flush(leave)
            except OSError as problem:
                self._take_what_came()  # the server may have said why before it closed
                self._broken(problem)
            nursery.cancel_scope.cancel()

    async def _listen(self, enough: Callable[[], bool]) -> None:
        """Take what comes until it is `enough`, or nothing more will come."""
        self._listening = True
        try:
            while self._lost is None and not enough():
                self._take(await self._stream.receive())
        except OSError as problem:
            self._broken(problem)
        finally:
            self._listening = False

    def _look(self) -> None:
        """Take what has arrived, unless a task is waiting for it: nothing would wake that task any more."""
        if self._lost is None and not self._listening:
            self._take_what_came()

    def _take_what_came(self) -> None:
        try:
            data = self._stream.receive_nowait()
        except OSError as problem:
            self._broken(problem)
        else:
            if data is not None:
                self._take(data)

    def _take(self, data: bytes) -> None:
        """Parse what came. Anything but a reply that is owed ends the conversation."""
        if not data:
            self._end(Signal.DROPPED, _CLOSED)
            return
        try:
            for reply in self._parser.feed(data):
                if not self._owed:
                    self.stray = reply
                    signal = Signal.DROPPED if reply.code == 421 else Signal.GARBAGE
                    self._end(signal, f"an unexpected reply: {reply.code} {reply.text}")
                    self.abort()
                    return
                self._owed -= 1
                self._replies.append(reply)
        except Garbage as problem:
            self._end(Signal.GARBAGE, f"the server sent {problem}")
            self.abort()

    def _broken(self, problem: OSError) -> None:
        self._end(Signal.DROPPED, f"the connection broke: {_why(problem)}")

    def _end(self, signal: Signal, text: str) -> None:
        if self._lost is None:
            self._lost = (signal, text)


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS failed"
    return error.strerror or type(error).__name__
