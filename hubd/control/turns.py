"""How many reading requests are answered at a time: per connection, and per role.

A request whose answer is never read costs the database as much as any other. So their number at a time is
limited, and the next one is the one that has waited longest: a client that asks for much waits for itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

TURNS = 16  #: requests of all connections of a role that are answered at a time
CONNECTION_TURNS = 4  #: those of one connection
#: These need no turn: they read nothing, or (`hub.check`) for so long that others could not wait for it.
AT_ONCE = frozenset({"hub.hello", "hub.cancel", "hub.check", "events.unsubscribe"})


class Turns:
    """The turns of one connection; `shared` are those of its role."""

    def __init__(self, shared: trio.Semaphore) -> None:
        self._own = trio.Semaphore(CONNECTION_TURNS)
        self._shared = shared

    @asynccontextmanager
    async def turn(self, method: str) -> AsyncIterator[None]:
        """Wait for one, and have it for the length of the block."""
        if method in AT_ONCE:
            yield
            return
        async with self._own, self._shared:
            yield
