"""A small pool of read-only connections, each with a thread of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from hubd.bridge import Bridge
from hubd.errors import StoreUnavailable
from hubd.store.batch import roll_back
from hubd.store.connection import DISK_ERRORS, Connection, connect, is_disk_error, trouble_of
from hubd.store.transaction import Transaction

T = TypeVar("T")

READERS = 4  #: connections at most


class Readers:
    """Read-only connections, opened when needed and kept."""

    def __init__(self, path: Path, bridge: Bridge, check_file: Callable[[], None]) -> None:
        """`check_file` raises `StoreUnavailable` while `path` is not the file that the writer has open."""
        self._path = path
        self._bridge = bridge
        self._check_file = check_file
        self._idle: list[Connection] = []
        self._free = trio.Semaphore(READERS)

    async def run(self, work: Callable[[Transaction], T], damaged: Callable[[Exception], None]) -> T:
        """Run `work`. What fails for the disk's sake is tried once more, on a new connection.

        Calls `damaged` when the file itself is found to be damaged.
        """
        async with self._free:
            try:
                return await self._try(work)
            except DISK_ERRORS as error:
                if not is_disk_error(error):
                    raise
            try:
                return await self._try(work)
            except DISK_ERRORS as error:
                if not is_disk_error(error):
                    raise
                text, final = trouble_of(error)
                if final:
                    damaged(error)
                hint = "" if final else "every request tries again"
                raise StoreUnavailable(f"the database cannot be read: {text}", hint=hint) from error

    async def _try(self, work: Callable[[Transaction], T]) -> T:
        connection = self._idle.pop() if self._idle else await self._open()
        fit = False
        try:
            result = await connection.unit(self._bridge, partial(_in_snapshot, work))
            fit = True
            return result
        except BaseException as error:
            fit = not is_disk_error(error)
            raise
        finally:
            if fit:
                self._idle.append(connection)
            else:
                await self._bridge.finish(connection.close)

    async def _open(self) -> Connection:
        self._check_file()
        return await self._bridge.finish(partial(connect, self._path, writer=False))

    @asynccontextmanager
    async def away(self, timeout: float) -> AsyncIterator[bool]:
        """A block in which no work runs. False when some still does after `timeout` seconds."""
        held = 0
        try:
            with trio.move_on_after(timeout):
                while held < READERS:
                    await self._free.acquire()
                    held += 1
            yield held == READERS
        finally:
            for _ in range(held):
                self._free.release()

    async def aclose(self) -> None:
        """Close all, after the last work has ended."""
        with trio.CancelScope(shield=True):
            for _ in range(READERS):
                await self._free.acquire()
            for connection in self._idle:
                await self._bridge.finish(connection.close)


def _in_snapshot(work: Callable[[Transaction], T], db: sqlite3.Connection) -> T:
    db.execute("BEGIN")
    try:
        return work(db)
    finally:
        roll_back(db)
