"""How the daemon is asked to stop or to reload from outside: signals, and the end of stdin."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import trio

from hubd.notify import Manager


@dataclass(slots=True, eq=False)
class Stopping:
    """Somebody asked the daemon to stop; asking again means at once."""

    manager: Manager
    asked: trio.Event = field(default_factory=trio.Event)
    again: trio.Event = field(default_factory=trio.Event)

    def ask(self) -> None:
        self.manager.stopping()
        (self.again if self.asked.is_set() else self.asked).set()


async def watch_signals(
    stopping: Stopping, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Stop at SIGTERM or SIGINT; on Windows at Ctrl-Break, too."""
    asking = [signal.SIGTERM, signal.SIGINT]
    if sys.platform == "win32":
        asking.append(signal.SIGBREAK)
    with trio.open_signal_receiver(*asking) as signals:
        task_status.started()
        async for _ in signals:
            stopping.ask()


async def watch_stdin(stopping: Stopping) -> None:
    """Stop when the other end of stdin is closed, for systems where signals do not arrive."""
    with suppress(OSError):  # nothing to read is as good as its end
        while await trio.to_thread.run_sync(os.read, 0, 4096, abandon_on_cancel=True):
            pass
    stopping.ask()


@contextmanager
def hangups_from_now_on() -> Iterator[AsyncIterator[int]]:
    """Each SIGHUP from now on: one that comes while the database is still being opened must end nothing."""
    if sys.platform == "win32":
        yield _nothing()
        return
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        yield signals


async def _nothing() -> AsyncIterator[int]:
    none: tuple[int, ...] = ()
    for signum in none:
        yield signum


async def reload_on_hangup(
    hangups: AsyncIterator[int], reload: Callable[[], Awaitable[Sequence[str]]]
) -> None:
    """Call `reload`, which says in the log how it went, at each of `hangups`. No failure of it ends this."""
    async for _ in hangups:
        with suppress(Exception):
            await reload()
