"""The one place where asyncio libraries are called from Trio.

One asyncio loop runs in a thread of its own, opened first and closed last. It serves what is rare: opening
and closing an aiosqlite connection, and the dialogue of a login by aiosmtplib. `ask` runs a coroutine that a
Trio cancellation cancels, `finish` one that it does not. `hand_over` is for what is frequent: a unit of work
goes straight into the queue of a library's own thread.

An error in that loop that belongs to no call, such as one in a callback, is a line in the log: see
`hubd.late_errors`. It cannot reach Trio.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple

import outcome
import trio

from hubd.late_errors import log_from_loop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Bridge:
    """Runs coroutines of asyncio libraries on one loop in a side thread. Get one from `open_bridge`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    async def ask(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run `fn(*args)` and wait for its end.

        A Trio cancellation cancels the coroutine, which may have had an effect all the same. If it ended
        before the cancellation reached it, its result is returned. Raises what the coroutine raised.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._run(fn, args, cancellable=True)

    async def finish(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run `fn(*args)` to its end, even when the caller is cancelled meanwhile."""
        return await self._run(fn, args, cancellable=False)

    async def hand_over(self, enqueue: Callable[[Callable[[], None]], object], work: Callable[[], T]) -> T:
        """Run `work()` in the thread that takes calls from a queue, to its end: no loop has a part in it.

        `enqueue` puts a call into that queue. A cancelled caller waits for the end, too.
        """
        caller, soon = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token().run_sync_soon

        def call() -> None:
            soon(trio.lowlevel.reschedule, caller, outcome.capture(work))

        enqueue(call)
        result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return result

    async def _run(self, fn: Callable[[*Ts], Awaitable[T]], args: tuple[*Ts], *, cancellable: bool) -> T:
        loop, caller = self.loop, trio.lowlevel.current_task()
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        task: asyncio.Task[T] | None = None
        raise_cancelled: Callable[[], Any] = _cancelled_by_itself

        async def call() -> T:
            return await fn(*args)

        def start() -> None:  # here and in `cancel` the loop's thread
            nonlocal task
            task = loop.create_task(call())
            task.add_done_callback(lambda task: soon(resume, task))

        def cancel() -> None:
            if task is not None:
                task.cancel()

        def resume(task: asyncio.Task[T]) -> None:  # here and in `abort` Trio's
            ended = raise_cancelled if task.cancelled() else task.result
            trio.lowlevel.reschedule(caller, outcome.capture(ended))

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            nonlocal raise_cancelled
            if cancellable:
                raise_cancelled = raise_cancel
                loop.call_soon_threadsafe(cancel)
            return trio.lowlevel.Abort.FAILED

        loop.call_soon_threadsafe(start)
        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result


@asynccontextmanager
async def open_bridge() -> AsyncIterator[Bridge]:
    """Run an asyncio loop in a thread for the length of the block. Open it first and close it last."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(log_from_loop)
    # A daemon thread makes daemon threads: a connection that was left open cannot keep the process alive.
    thread = threading.Thread(target=_run_loop, args=(loop,), name="asyncio", daemon=True)
    thread.start()
    try:
        yield Bridge(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped; then cancel what is left on it and close it."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
    finally:
        loop.close()


def _cancelled_by_itself() -> None:
    raise RuntimeError("a library cancelled its own call")
