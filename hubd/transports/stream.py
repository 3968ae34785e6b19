"""A TCP connection in plain calls, with or without TLS: two system calls per message instead of four tasks.

Bytes are written at once as far as the kernel takes them, and what has arrived is read without waiting.
Waiting is Trio's, on the socket, and can be cancelled. TLS is the standard library's, over memory buffers, so
that the socket stays ours and nothing is read ahead of what we ask for.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

#: Bytes asked of the kernel at once.
READ_SIZE = 64 * 1024
#: How often in a row it is asked without waiting while only TLS's own records arrive.
MOST_READS = 16


class Stream:
    """A connected socket, read by one task at a time.

    Reading and writing raise `OSError`, of which `ssl.SSLError` is a subclass. After any error the connection
    is useless: `close` it.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._tls: _Tls | None = None
        self._unsent = bytearray()
        self.taken = 0  #: how many bytes the kernel has taken, after encryption
        self._early: bytes | None = None  # decrypted along with the end of the handshake

    @property
    def peer(self) -> object:
        """The address and port of the other end."""
        return self._socket.getpeername()

    @property
    def secured(self) -> bool:
        """Whether TLS has been established."""
        return self._tls is not None

    @property
    def unsent(self) -> int:
        """How many bytes wait for the kernel to take them."""
        return len(self._unsent)

    @property
    def ended(self) -> bool:
        """After b"" was received: whether the other end closed on purpose, as far as that can be known. TLS
        announces its end; without it, the rest may have been cut off on the way.
        """
        return self._tls is None or self._tls.ended

    def send(self, data: bytes) -> None:
        """Write at once what the kernel takes; the rest is kept for `flush`."""
        if self._tls is not None:
            data = self._tls.encrypt(data)
        if self._unsent:
            self._unsent += data
        elif (sent := self._write(data)) < len(data):
            self._unsent += memoryview(data)[sent:]

    async def flush(self, leave: int = 0) -> None:
        """Wait until the kernel has taken all but `leave` bytes."""
        while len(self._unsent) > leave:
            await self._wait(trio.lowlevel.wait_writable)
            del self._unsent[: self._write(self._unsent)]

    def receive_nowait(self) -> bytes | None:
        """What has arrived; None: nothing yet; b"": the other end has closed."""
        if self._early is not None:
            early, self._early = self._early, None
            return early
        if self._tls is not None and self._tls.over:
            return self._tls.read()
        for _ in range(MOST_READS):
            try:
                data = self._socket.recv(READ_SIZE)
            except (BlockingIOError, InterruptedError):
                return None
            if self._tls is None:
                return data
            plain = self._tls.decrypt(data)
            self._send_pending(self._tls)
            if plain is not None:
                return plain
        return None

    async def readable(self) -> None:
        """Wait until something has arrived, or the other end has closed."""
        if self._tls is not None and self._tls.over:
            await trio.lowlevel.checkpoint()
        else:
            await self._wait(trio.lowlevel.wait_readable)

    async def receive(self) -> bytes:
        """What has arrived, waiting for it if need be; b"": the other end has closed."""
        while True:
            if self._early is None:
                await self.readable()
            if (data := self.receive_nowait()) is not None:
                return data

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str) -> None:
        """Establish TLS and check the certificate. Raises `ssl.SSLError`, or another `OSError`."""
        tls = _Tls(context, server_hostname)
        try:
            while not tls.handshake():
                self._send_pending(tls)
                await self.flush()
                await self._wait(trio.lowlevel.wait_readable)
                try:
                    tls.feed(self._socket.recv(READ_SIZE))
                except (BlockingIOError, InterruptedError):
                    continue
        finally:
            self._send_pending(tls)  # also the alert that says why we refuse
        await self.flush()
        self._tls = tls
        self._early = tls.read()

    def close(self) -> None:
        """End the connection at once; what is unsent is not sent. Wakes the tasks that wait for it."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def _wait(self, until: Callable[[socket.socket], Awaitable[None]]) -> None:
        with suppress(trio.ClosedResourceError):
            if self._socket.fileno() >= 0:
                await until(self._socket)
        if self._socket.fileno() < 0:
            raise ConnectionAbortedError(errno.ECONNABORTED, "closed on this side")

    def _send_pending(self, tls: _Tls) -> None:
        """Send TLS's own records. If that fails, the next read or write notices: what was read along with it
        must not be lost, nor the reason why a certificate was refused.
        """
        if data := tls.pending():
            self._unsent += data
            with suppress(OSError):
                del self._unsent[: self._write(self._unsent)]

    def _write(self, data: bytes | bytearray) -> int:
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        self.taken += sent
        return sent


class _Tls:
    """The client's side of TLS between memory buffers."""

    def __init__(self, context: ssl.SSLContext, server_hostname: str) -> None:
        self.ended = False  #: the other end said that nothing follows
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self.over = False  #: nothing more can be read: each `read` returns the end, or raises the error
        self._problem: ssl.SSLError | None = None

    def handshake(self) -> bool:
        """Continue the handshake; False: it needs more from the other end. Raises `ssl.SSLError`."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        """Take what came from the socket; b"" is its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def pending(self) -> bytes:
        """What must be sent on the socket."""
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt `data` for the socket."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes | None:
        """The plain text of what came from the socket; None: not yet a whole record; b"": the end."""
        self.feed(data)
        return self.read()

    def read(self) -> bytes | None:
        """The plain text of all whole records; None: there is none; b"": the end.

        Raises `ssl.SSLError`. What came before an end or an error in the same bytes is returned first.
        """
        plain = bytearray()
        try:
            while not self.over and (piece := self._tls.read(READ_SIZE)):
                plain += piece
            self.ended = self.ended or not self.over
        except ssl.SSLWantReadError:
            return bytes(plain) or None
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLEOFError:
            pass  # an end in the middle of a record is an end, too: replies themselves say where they stop
        except ssl.SSLError as problem:
            self._problem = problem
        self.over = True
        if self._problem is not None and not plain:
            raise self._problem
        return bytes(plain)
