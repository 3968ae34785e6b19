"""What requests and answers may take of the daemon's memory: of each connection, and of all.

Counted in bytes: the messages that are being worked on, with an estimate of what their parsed form takes;
the answers that they are expected to get; and the answers that have not been sent yet. While a connection
holds its share it is not read from, so a client that does not read its answers cannot ask for more, and
nothing is computed for it. Each connection always has its share. What it holds beyond that (one large
request, or large answers) comes from a pool: one for viewers and one for operators, and those who wait for
it get it in turn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import trio

MIB = 1024 * 1024
CONNECTION_BYTES = MIB // 2  #: held by one connection without asking for more
POOL_BYTES = 16 * MIB  #: beyond that, held by all connections of a role together
VALUE_BYTES = 72  #: of an empty array or object in Python, and its place in the one around it
EXPECTED_BYTES = 8 * 1024  #: of an answer to a method that was not called yet


def weight(text: str) -> int:
    """About how many bytes a message of JSON takes when it has been parsed; seldom less."""
    values = text.count(",") + text.count("[") + text.count("{")
    return sys.getsizeof(text) + VALUE_BYTES * values


class Pool:
    """Bytes beyond the shares of connections."""

    def __init__(self, size: int = POOL_BYTES) -> None:
        self.used = 0
        self._size = size
        self._line = trio.StrictFIFOLock()
        self._changed = trio.Event()

    def _fits(self, size: int) -> bool:
        """What is larger than the pool fits when nobody else has anything of it."""
        return not self.used or self.used + size <= self._size

    def use(self, size: int) -> None:
        """So much more (or less) of it is in use. Never waits."""
        self.used += size
        self.changed()

    def changed(self) -> None:
        """Whoever waits looks again."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for_room(self, memory: ConnectionMemory, size: int) -> None:
        """Wait in turn until a connection may hold `size` more."""
        async with self._line:
            while memory.lacks(size) and not self._fits(memory.lacks(size)):
                await self._changed.wait()


class ConnectionMemory:
    """What one connection holds, in bytes."""

    def __init__(self, pool: Pool) -> None:
        self.held = 0
        self._pool = pool
        self._changed = trio.Event()

    def lacks(self, size: int) -> int:
        """How much it would need of the pool to hold so much more."""
        return max(0, self.held + size - CONNECTION_BYTES) - self.lacking

    @property
    def lacking(self) -> int:
        """What it has of the pool."""
        return max(0, self.held - CONNECTION_BYTES)

    async def take(self, size: int) -> None:
        """Hold so much more; waits until there is room. One task at a time may wait."""
        while self.lacking:
            await self._changed.wait()
        if self.lacks(size):
            await self._pool.wait_for_room(self, size)
        self.add(size)

    def add(self, size: int) -> None:
        """Hold so much more, without waiting: it is there already."""
        before = self.lacking
        self.held += size
        if self.lacking != before:
            self._pool.use(self.lacking - before)
        elif size < 0:
            self._pool.changed()

    def release(self, size: int) -> None:
        """Give back so much."""
        self.add(-size)
        self._changed.set()
        self._changed = trio.Event()


class AnswerSizes:
    """How long the last answer to each method was: what the next one is expected to take."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def note(self, method: str, size: int) -> None:
        """The answer to a method that exists."""
        self._last[method] = max(size, EXPECTED_BYTES)

    def expected(self, methods: Iterable[str], batch_bytes: int) -> int:
        """Of one request, or of the part of a batch that is kept before it is sent."""
        each = [self._last.get(method, EXPECTED_BYTES) for method in methods]
        return min(sum(each), batch_bytes + max(each, default=0))
