"""The one door between Trio and the asyncio libraries (aiosqlite, aiosmtplib).

One asyncio loop runs inside the Trio program, opened first and closed last. Everything asyncio-flavoured
goes through `ask`, which can be cancelled, or `finish`, which cannot: a database transaction that has begun
must end, whatever happens to the task that asked for it.

Callbacks of asyncio protocols run in the Trio thread, so they may set a `trio.Event` directly. An exception
that leaves a callback, and one that nobody retrieves from a future, is a line in the log: see
`hubd.late_errors`. By itself trio-asyncio would end the loop and with it the program.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, TypeVarTuple

import trio
import trio_asyncio

from hubd.late_errors import log_from_loop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Bridge:
    """Calls asyncio-flavoured coroutine functions from Trio. Get one from `open_bridge`."""

    async def ask(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run `fn(*args)`; a Trio cancellation cancels it, and it may have had an effect all the same."""
        result: T = await trio_asyncio.aio_as_trio(fn)(*args)
        return result

    async def finish(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run `fn(*args)` to its end, even when the caller is cancelled meanwhile."""
        with trio.CancelScope(shield=True):
            result: T = await trio_asyncio.aio_as_trio(fn)(*args)
        return result


@asynccontextmanager
async def open_bridge() -> AsyncIterator[Bridge]:
    """Run an asyncio loop for the length of the block. Open it first and close it last."""
    async with trio_asyncio.open_loop() as loop:
        loop.set_exception_handler(log_from_loop)
        yield Bridge()
