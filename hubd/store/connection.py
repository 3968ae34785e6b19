"""One SQLite connection on aiosqlite's own thread, its settings, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from hubd.bridge import Bridge

T = TypeVar("T")

BUSY_TIMEOUT = 5.0  #: seconds to wait for a foreign process that holds the file

#: Settings of every connection; none of them is stored in the file.
COMMON_SETTINGS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA mmap_size = 0",
    "PRAGMA wal_autocheckpoint = 0",
)
#: FULL: an attempt that was recorded as open before a power cut is still there after it. What is removed is
#: overwritten in the file, as many builds of SQLite do by themselves.
WRITER_SETTINGS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -16000",
)
READER_SETTINGS = ("PRAGMA query_only = ON", "PRAGMA cache_size = -8000")

#: What the fault of a disk or a file is raised as. SQLITE_NOMEM comes as `MemoryError`.
DISK_ERRORS = (sqlite3.Error, MemoryError)
_DISK = {
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_BUSY: "another program has locked the database",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_READONLY: "the file is read-only",
    sqlite3.SQLITE_IOERR: "the disk reports an input/output error",
    sqlite3.SQLITE_CORRUPT: "the database is damaged or cannot be read",  # SQLite says it for EIO, too
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "a file of the database cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "file locks do not work on this file system",
    sqlite3.SQLITE_NOTADB: "the file is no longer a database",
}
#: After these a later write that succeeds proves nothing. The kernel reports a failed fsync once and may drop
#: the pages that it could not write: the next fsync succeeds without them. Only reading the file again helps.
_FINAL = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
    }
)
#: How a lack of room shows: a full disk; a quota or a limit on files; no page for the log's index.
_DISK_FULL_ERRORS = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})


class TakenOver(sqlite3.DatabaseError):
    """Another process has begun an epoch on the file: this one may no longer write to it."""


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a whole unit of work in one hop to its thread."""

    stopping: Awaitable[object] | None = None  #: the end of its thread, which answers to the loop

    def stop(self) -> Any:
        """End the thread."""
        self.stopping = super().stop()
        return self.stopping

    async def unit(self, bridge: Bridge, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work(connection)` in the connection's thread, to its end, also when the caller is cancelled.

        Trio's flavour. The queue of the thread is a protected attribute of aiosqlite (a test pins it): its
        public methods answer to an asyncio loop, which would cost two more changes of thread per unit.
        """
        if not self._running:
            raise ValueError("the connection is closed")
        return await bridge.hand_over(self._enqueue, partial(work, self._conn))

    def _enqueue(self, call: Callable[[], None]) -> None:
        self._tx.put_nowait((None, call))


async def connect(path: Path, *, writer: bool) -> Connection:
    """Open the file that must exist. asyncio-flavoured: call it by the bridge. Raises `sqlite3.Error`."""

    def connector() -> sqlite3.Connection:
        return open_plain(path, writer=writer)

    connection = Connection(connector, iter_chunk_size=64)
    try:
        await connection
    except BaseException:
        if connection.stopping is not None:
            await connection.stopping  # the library does not: its thread would answer to an ended loop
        raise
    return connection


def open_plain(path: Path, *, writer: bool) -> sqlite3.Connection:
    """The bare connection with its settings; never makes a file. Raises `sqlite3.Error`."""
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'rw' if writer else 'ro'}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,  # BEGIN and COMMIT are ours
        check_same_thread=False,  # opened here, used and closed in the connection's thread
        cached_statements=512,
    )
    try:
        db.row_factory = sqlite3.Row
        for setting in (*COMMON_SETTINGS, *(WRITER_SETTINGS if writer else READER_SETTINGS)):
            db.execute(setting)
    except BaseException:
        db.close()
        raise
    return db


def is_disk_error(error: BaseException) -> bool:
    """Whether the fault lies with the file or the disk, and not with one unit of work."""
    return isinstance(error, TakenOver) or (isinstance(error, DISK_ERRORS) and _primary(error) in _DISK)


def trouble_of(error: BaseException) -> tuple[str, bool]:
    """What to call one of `DISK_ERRORS`, and whether it is beyond waiting for."""
    if isinstance(error, TakenOver):
        return str(error), True
    primary = _primary(error)
    text = _DISK.get(primary, str(error))
    if primary == sqlite3.SQLITE_IOERR:
        text = f"{text} ({getattr(error, 'sqlite_errorname', 'SQLITE_IOERR')})"
    return text, primary in _FINAL or _code(error) in _FINAL


def lacks_disk_space(error: BaseException) -> bool:
    """Whether freeing disk space may help."""
    return _code(error) in _DISK_FULL_ERRORS


def _code(error: BaseException) -> int:
    if isinstance(error, MemoryError):
        return sqlite3.SQLITE_NOMEM
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


def _primary(error: BaseException) -> int:
    return _code(error) & 0xFF
