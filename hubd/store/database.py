"""The one SQLite file: one connection writes, a few read, and nobody else touches it.

`write` hands a unit of work to the group commit (see `writer`), `read` runs one on a read-only connection
that sees the last commit. Exactly one connection ever writes or checkpoints: SQLite before 3.51.3 can lose
transactions when two do. Readers are opened when first needed, kept, and closed before the writer.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from hubd.bridge import Bridge
from hubd.errors import StoreUnavailable
from hubd.store.connection import Connection, connect, is_disk_error, trouble_of
from hubd.store.opening import migrate, prepare, refusal
from hubd.store.writer import MAX_BATCH, Unit, Writer, checkpoint, roll_back

__all__ = ["Database", "Unit", "open_database"]

T = TypeVar("T")

READERS = 4  #: read-only connections, each with a thread of its own

#: A new boot: the epoch grows and the file counts as unclean until it is closed.
BEGIN_EPOCH = "UPDATE hub SET epoch = epoch + 1, clean = 0 RETURNING epoch, install_key, instance_id"
#: The newest event ever written, also when it has been pruned since.
HEAD_SEQ = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)"
#: The file was closed in order.
MARK_CLEAN = "UPDATE hub SET clean = 1"


class Database:
    """The open database. Get one from `open_database`.

    `epoch` is the number of this boot, `install_key` the secret from which Message-IDs are derived.
    """

    def __init__(
        self, path: Path, writer: Writer, readers: _Readers, *, epoch: int, key: bytes, instance_id: str
    ) -> None:
        self.path = path
        self.epoch = epoch
        self.install_key = key
        self.instance_id = instance_id
        self._writer = writer
        self._readers = readers

    @property
    def trouble(self) -> str:
        """Why writing fails now; "" when it works."""
        return self._writer.trouble

    @property
    def head_seq(self) -> int:
        """The seq of the newest committed event."""
        return self._writer.head_seq

    async def write(self, work: Callable[[Unit], T]) -> T:
        """Run `work` inside the next batch's transaction; returns when it is durable.

        `work` runs in the writer's thread, perhaps twice, and has effects on the database only. Raises what
        `work` raised (nothing of it was written then), or `StoreUnavailable` when the disk fails.
        """
        return await self._writer.submit(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a read-only connection, in one snapshot. Keep it short. Raises `StoreUnavailable`."""
        return await self._readers.run(work)

    async def wait_events(self, after_seq: int) -> int:
        """Wait until there is an event after `after_seq`; returns `head_seq`."""
        return await self._writer.wait_events(after_seq)

    async def wait_healthy(self) -> None:
        """Wait until writing works; returns at once when it does."""
        await self._writer.wait_healthy()


class _Readers:
    """A small pool of read-only connections, opened when needed."""

    def __init__(self, path: Path, bridge: Bridge) -> None:
        self._path = path
        self._bridge = bridge
        self._idle: list[Connection] = []
        self._free = trio.Semaphore(READERS)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._free:
            try:
                connection = self._idle.pop() if self._idle else await self._open()
                try:
                    return await self._bridge.finish(connection.unit, partial(_in_snapshot, work))
                finally:
                    self._idle.append(connection)
            except sqlite3.Error as error:
                if not is_disk_error(error):
                    raise
                raise StoreUnavailable(f"the database cannot be read: {trouble_of(error)[0]}") from error

    async def _open(self) -> Connection:
        return await self._bridge.finish(partial(connect, self._path, writer=False))

    async def aclose(self) -> None:
        """Close all, after the last work has ended."""
        with trio.CancelScope(shield=True):
            for _ in range(READERS):
                await self._free.acquire()
            for connection in self._idle:
                await self._bridge.finish(connection.close)


def _in_snapshot(work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
    db.execute("BEGIN")
    try:
        return work(db)
    finally:
        roll_back(db)


@asynccontextmanager
async def open_database(
    path: Path,
    bridge: Bridge,
    *,
    clock: Callable[[], float] = time.time,
    probe_interval: float = 5.0,
    max_batch: int = MAX_BATCH,
) -> AsyncIterator[Database]:
    """Open (or make) the database at `path` for the length of the block.

    `probe_interval` is how many seconds pass between tries to write while the disk is in trouble. Raises
    `StoreUnusable`, with nothing touched, when the file is not ours, damaged, from a newer version, empty,
    readable by others, or cannot be made or written.
    """
    await trio.to_thread.run_sync(prepare, path)
    try:
        connection = await bridge.finish(partial(connect, path, writer=True))
    except sqlite3.Error as error:
        raise refusal(path, error) from error
    try:
        try:
            row, head_seq = await bridge.finish(connection.unit, _boot)
        except sqlite3.Error as error:
            raise refusal(path, error) from error
        writer = Writer(
            connection,
            bridge,
            clock=clock,
            probe_interval=probe_interval,
            head_seq=head_seq,
            max_batch=max_batch,
        )
        readers = _Readers(path, bridge)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            try:
                yield Database(
                    path,
                    writer,
                    readers,
                    epoch=row["epoch"],
                    key=row["install_key"],
                    instance_id=row["instance_id"],
                )
            finally:
                writer.close()
                await readers.aclose()
        if not writer.trouble:
            await bridge.finish(connection.unit, _finish)
    finally:
        await bridge.finish(connection.close)


def _boot(db: sqlite3.Connection) -> tuple[sqlite3.Row, int]:
    migrate(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        row: sqlite3.Row = db.execute(BEGIN_EPOCH).fetchone()
        head_seq: int = db.execute(HEAD_SEQ).fetchone()[0]
        db.execute("COMMIT")
    except BaseException:
        roll_back(db)
        raise
    return row, head_seq


def _finish(db: sqlite3.Connection) -> None:
    """Leave one file that says that it was closed in order. A failure only costs the next open a check."""
    try:
        db.execute(MARK_CLEAN)
    except sqlite3.Error:
        return
    checkpoint("TRUNCATE", db)
