"""Which requests that read are answered at once, and which wait: of a connection, and of all of a role.

A request whose answer nobody reads costs the database as much as any other. Only so many are answered at
once, and the next one is that which has waited longest, so a client that asks for much waits for its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

TURNS = 16  #: requests of all connections of a role that are answered at once
CONNECTION_TURNS = 4  #: those of one connection
#: They take no turn: they read nothing, or (`hub.check`) for so long that nobody can wait for it.
AT_ONCE = frozenset({"hub.hello", "hub.cancel", "hub.check", "events.unsubscribe"})


class Turns:
    """Those of one connection; `shared` are those of its role."""

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
