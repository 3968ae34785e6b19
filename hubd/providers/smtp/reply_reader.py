"""Reads the replies of a server during a login, where each command waits for the reply to the one before."""

from __future__ import annotations

from contextlib import suppress

from hubd.providers.smtp.replies import Garbage, Reply, ReplyParser
from hubd.transports.stream import Stream


class ReplyReader:
    """A server's replies, one to each command. Anything more does not answer a later command."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.unread = bytearray()  #: received, but not part of a reply that was asked for

    async def ask(self, command: bytes) -> tuple[Reply, bytes]:
        """Send a command and return its reply. If a 421 has already come, return that and send nothing.

        Raises as `next` does, and `Garbage` if the server sent something else that was not expected.
        """
        with suppress(OSError):  # reading will raise it, after what the server said before it closed
            self.unread += self._stream.receive_nowait() or b""
        unasked = bool(self.unread)
        if not unasked:
            with suppress(OSError):
                self._stream.send(command)
                await self._stream.flush()
        reply, raw = await self.next()
        if unasked and reply.code != 421:
            raise Garbage("an unexpected reply")
        return reply, raw

    async def next(self) -> tuple[Reply, bytes]:
        """The next reply, and its bytes. Raises `OSError` or `Garbage` if there is none."""
        parser, raw = ReplyParser(), bytearray()
        while True:
            end = self.unread.find(b"\n") + 1 or len(self.unread)
            piece = bytes(self.unread[:end])
            del self.unread[:end]
            raw += piece
            for reply in parser.feed(piece):
                return reply, bytes(raw)
            if not self.unread:
                data = await self._stream.receive()
                if not data:
                    raise ConnectionError("the server closed the connection")
                self.unread += data
