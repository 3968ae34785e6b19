"""How much of the daemon's memory requests and answers may use: per connection, and in all.

Counted in bytes: the messages that are being worked on, with an estimate of what their parsed form takes;
the answers that they are expected to get; and the answers that have not been sent yet. While a connection
holds its share it is not read from, so a client that does not read its answers cannot ask for more, and
nothing is computed for it. Each connection always has its share. What it holds beyond that (one large
request, or large answers) comes from a pool: one for viewers and one for operators. Those who wait for it
are served in turn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import trio

MIB = 1024 * 1024
CONNECTION_BYTES = MIB // 2  #: a connection may hold this much without asking the pool
POOL_BYTES = 16 * MIB  #: beyond their shares, held by all connections of a role together
VALUE_BYTES = 72  #: size of an empty array or object in Python, and of its slot in the enclosing one
EXPECTED_BYTES = 8 * 1024  #: assumed size of the answer to a method that has not been called yet
#: The same for methods whose first answers are known to be large: many may ask before the first is made.
LARGE_ANSWERS = {"rpc.discover": 256 * 1024}


def weight(text: str) -> int:
    """About how many bytes a JSON message takes once it is parsed; seldom less."""
    values = text.count(",") + text.count("[") + text.count("{")
    return sys.getsizeof(text) + VALUE_BYTES * values


class Pool:
    """Bytes beyond the shares of connections."""

    def __init__(self) -> None:
        self.used = 0
        self._line = trio.StrictFIFOLock()
        self._changed = trio.Event()

    def _fits(self, size: int) -> bool:
        """A size larger than the pool fits when nobody else uses the pool."""
        return not self.used or self.used + size <= POOL_BYTES

    def use(self, size: int) -> None:
        """Use `size` more (or fewer) bytes of it. Never waits."""
        self.used += size
        self.changed()

    def changed(self) -> None:
        """Let all that wait check again."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for_memory(self, memory: ConnectionMemory, size: int) -> None:
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
        """How many bytes of the pool it needs to hold `size` more."""
        return max(0, self.held + size - CONNECTION_BYTES) - self.lacking

    @property
    def lacking(self) -> int:
        """How many bytes of the pool it uses."""
        return max(0, self.held - CONNECTION_BYTES)

    async def take(self, size: int) -> None:
        """Reserve `size` more bytes; waits until they are free. Only one task at a time may wait."""
        while self.lacking:
            await self._changed.wait()
        if self.lacks(size):
            await self._pool.wait_for_memory(self, size)
        self.add(size)

    def add(self, size: int) -> None:
        """Hold `size` more bytes without waiting, because they exist already."""
        before = self.lacking
        self.held += size
        if self.lacking != before:
            self._pool.use(self.lacking - before)
        elif size < 0:
            self._pool.changed()

    def release(self, size: int) -> None:
        """Give back `size` bytes."""
        self.add(-size)
        self._changed.set()
        self._changed = trio.Event()


class AnswerSizes:
    """The size of the last answer to each method, which the next one is expected to have."""

    def __init__(self) -> None:
        self._last = dict(LARGE_ANSWERS)

    def note(self, method: str, size: int) -> None:
        """Note the answer to a method that exists."""
        self._last[method] = max(size, EXPECTED_BYTES)

    def expected(self, methods: Iterable[str], batch_bytes: int) -> int:
        """Expected bytes of one answer, or of the part of a batch that is kept before it is sent."""
        each = [self._last.get(method, EXPECTED_BYTES) for method in methods]
        return min(sum(each), batch_bytes + max(each, default=0))
