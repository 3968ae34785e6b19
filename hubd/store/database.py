"""The one SQLite file: one connection writes, a few read, and no other program uses it.

`write` hands a unit of work to the group commit (see `writer`), `read` runs one on a read-only connection
that sees the last commit. Exactly one connection ever writes or checkpoints: SQLite before 3.51.3 can lose
transactions when two do. Readers are opened when first needed, kept, and closed before the writer.

How it fails. A disk that is full or read-only, or that reports an error: `trouble` says so, every write
raises `StoreUnavailable`, reads continue, and it recovers automatically. Too little space: `trouble` says so,
what has begun is still written, and `wait_for_disk_space` holds back what is new. A failed fsync, or damage:
`wait_lost` returns, nothing more is written, and leaving the block raises `StoreUnusable`.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio

from hubd.bridge import Bridge
from hubd.core.steady import ClockReading
from hubd.errors import StoreUnavailable, StoreUnusable
from hubd.store.batch import NOTE_OPENED, checkpoint, copy_log, count_opened, roll_back
from hubd.store.compaction import compact
from hubd.store.connection import (
    DISK_ERRORS,
    Connection,
    connect,
    lacks_disk_space,
    open_plain,
    trouble_of,
)
from hubd.store.disk_space import DEFAULT_LIMITS, DiskSpace, DiskSpaceLimits
from hubd.store.file_checks import refusal
from hubd.store.opening import keep_log, migrate, prepare
from hubd.store.readers import Readers
from hubd.store.steady import Clocks, Moment, SteadyClock, look, resume, write_reading
from hubd.store.transaction import Transaction, newest
from hubd.store.unit import SharedWork, Unit, Work
from hubd.store.watermark import WatermarkFile, notice, watermark_path
from hubd.store.writer import MAX_BATCH, Writer

__all__ = ["Database", "Unit", "open_database"]

log = logging.getLogger(__name__)
A = TypeVar("A")
T = TypeVar("T")

EX_IOERR = 74  #: of sysexits.h: the exit status after a failed fsync or damage

#: A new boot: the epoch grows and the file counts as unclean until it is closed.
BEGIN_EPOCH = "UPDATE hub SET epoch = epoch + 1, clean = 0 RETURNING *"
#: The file was closed in order; so many attempts were opened by then.
MARK_CLEAN = "UPDATE hub SET clean = 1, opened = (SELECT coalesce(sum(attempts), 0) FROM opened)"


class Database:
    """The open database. Get one from `open_database`.

    `epoch` is the number of this boot, `install_key` the secret from which Message-IDs are derived.
    `steady()` is the time by which ages are measured, in seconds: it goes on where it was, and nobody can
    set it.
    """

    def __init__(
        self,
        path: Path,
        writer: Writer,
        readers: Readers,
        disk_space: DiskSpace,
        *,
        epoch: int,
        key: bytes,
        instance_id: str,
        named_after: int,
        steady: SteadyClock,
        probe_interval: float,
    ) -> None:
        self.path = path
        self.steady = steady
        self.epoch = epoch
        self.install_key = key
        self.instance_id = instance_id
        self.named_after = named_after  #: deliveries after it have Message-IDs of `core.tokens`
        self._writer = writer
        self._readers = readers
        self._disk_space = disk_space
        self._probe_interval = probe_interval

    @property
    def trouble(self) -> str:
        """Why nothing is sent now: writing fails, or disk space is low; "" when all is well."""
        return self._writer.trouble or self._disk_space.shortage

    @property
    def low_disk_space(self) -> bool:
        """Whether no new message may begin now, though the outcomes of old ones can be written. Cheap."""
        return bool(self._disk_space.shortage)

    @property
    def head_seq(self) -> int:
        """The seq of the newest committed event."""
        return self._writer.head_seq

    @property
    def low_disk_space_known(self) -> bool:
        """Whether `low_disk_space` or `trouble` has said so last. Asks nobody: for units of work."""
        return bool(self._disk_space.known_shortage)

    async def write(self, work: Work[T], *, bulk: bool = False) -> T:
        """Run `work` inside the next batch's transaction, alone; returns when it is durable.

        `work` runs in the writer's thread, perhaps twice, and has effects on the database only. Raises what
        `work` raised (nothing of it was written then), or `StoreUnavailable` when the disk fails. `bulk` is
        for whatever is neither an outcome nor a change of state: it is refused while disk space is low.
        """
        if bulk:
            self.check_disk_space()
        return await self._writer.submit(work, bulk=bulk)

    async def write_shared(self, work: SharedWork[A, T]) -> T:
        """As `write`, for one of the two units of work that may run beside others (see `unit`)."""
        return await self._writer.submit(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on a read-only connection, in one snapshot, perhaps twice. Keep it short.

        Raises what `work` raises, or `StoreUnavailable` when the file cannot be read.
        """
        return await self._readers.run(work, self._writer.lose)

    async def wait_events(self, after_seq: int) -> int:
        """Wait until there is an event after `after_seq`; returns `head_seq`."""
        return await self._writer.wait_events(after_seq)

    async def wait_healthy(self) -> None:
        """Wait until writing works; returns at once when it does.

        Raises `StoreUnavailable` when it will never work again in this process.
        """
        await self._writer.wait_healthy()

    async def wait_for_disk_space(self) -> None:
        """Wait until new messages may begin: writing works, and there is disk space.

        Returns at once when there is; the file system is asked at most once a second. Raises
        `StoreUnavailable` when writing will never work again.
        """
        await self._writer.wait_healthy()
        while self._disk_space.shortage:
            await self._writer.empty_log()  # perhaps it is the log that takes the room
            if not self._disk_space.look():
                break
            await trio.sleep(self._probe_interval)
            await self._writer.wait_healthy()

    def check_disk_space(self, size: int = 0, *, another_file: bool = False) -> None:
        """Raise `StoreUnavailable` while there is too little disk space for anything large.

        `size` is how many bytes it is going to take, if that is known; `another_file` says that it is not the
        database that takes them.
        """
        short = "" if another_file else self._disk_space.shortage
        if reason := short or (size and self._disk_space.lack(size, another_file=another_file)):
            raise StoreUnavailable(reason, hint=self._disk_space.remedy)

    def check_file(self) -> None:
        """Raise `StoreUnavailable` while the file was moved, or another one has its name."""
        self._disk_space.check_file()

    async def wait_lost(self) -> None:
        """Return when the file can no longer be trusted: end everything, and leave the block."""
        await self._writer.lost.wait()


@asynccontextmanager
async def open_database(
    path: Path,
    bridge: Bridge,
    *,
    clock: Callable[[], float] = time.time,
    probe_interval: float = 5.0,
    max_batch: int = MAX_BATCH,
    limits: DiskSpaceLimits = DEFAULT_LIMITS,
    ending: Callable[[], bool] = lambda: False,
) -> AsyncIterator[Database]:
    """Open (or make) the database at `path` for the length of the block.

    `probe_interval` is how many seconds pass between tries to write while the disk is in trouble. `ending`
    says whether the caller is to end: what takes long and need not be is left out then. Raises
    `StoreUnusable`, with nothing touched, when the file is not ours, damaged, from a newer version, empty,
    readable by others, or cannot be made or written; and at the end of the block when it was lost meanwhile.
    """
    disk_space, watermark = DiskSpace(path, limits), WatermarkFile(path)
    if disk_space.look():
        await disk_space.drop_reserve()  # opening it takes room too
    await trio.to_thread.run_sync(prepare, path)
    if given_back := await trio.to_thread.run_sync(
        compact, path, partial(disk_space.lack, another_file=True), ending
    ):
        log.info("%d MiB of the database were given back", given_back >> 20)
    disk_space.remember_file()
    try:
        connection = await bridge.finish(partial(connect, path, writer=True))
    except DISK_ERRORS as error:
        raise refusal(path, error) from error
    readers = Readers(path, bridge, disk_space.check_file)
    writer: Writer | None = None
    try:
        row, head_seq, begun = await _boot(
            partial(_begin_epoch, watermark, look(clock)), path, connection, bridge, disk_space
        )
        steady = SteadyClock(begun, clock)
        await disk_space.keep_reserve()
        writer = Writer(
            connection,
            bridge,
            clock=steady,
            probe_interval=probe_interval,
            epoch=row["epoch"],
            head_seq=head_seq,
            disk_space=disk_space,
            readers_away=readers.away,
            max_batch=max_batch,
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.run)
                database = Database(
                    path,
                    writer,
                    readers,
                    disk_space,
                    epoch=row["epoch"],
                    key=row["install_key"],
                    instance_id=row["instance_id"],
                    named_after=row["named_after"],
                    steady=steady,
                    probe_interval=probe_interval,
                )
                following = trio.CancelScope()
                nursery.start_soon(_follow, following, watermark, database, writer)
                try:
                    yield database
                finally:
                    following.cancel()
                    writer.close()
        finally:
            await readers.aclose()  # once the writer has ended, which may ask them to make way
        await disk_space.drop_reserve()  # every outcome is written: the last checkpoint may need that room
        if not writer.trouble:
            try:
                await connection.unit(bridge, partial(_finish, watermark, steady))
            except sqlite3.Error as error:
                writer.lose(error)
        if writer.lost.is_set():
            raise _lost(path, writer.trouble, taken_over=writer.taken_over)
    finally:
        if writer is not None and writer.lost.is_set():
            _leave_log_alone(path)
        await bridge.finish(connection.close)
        with trio.CancelScope(shield=True):
            await disk_space.drop_reserve()


async def _follow(
    scope: trio.CancelScope, watermark: WatermarkFile, database: Database, writer: Writer
) -> None:
    with scope:
        await watermark.follow(database.read, lambda: writer.changes)


async def _boot(
    begin: Callable[[sqlite3.Connection], _Begun],
    path: Path,
    connection: Connection,
    bridge: Bridge,
    disk_space: DiskSpace,
) -> _Begun:
    """Bring the file up to date and begin an epoch."""
    try:
        try:
            return await connection.unit(bridge, begin)
        except (sqlite3.Error, OSError) as error:
            full = isinstance(error, OSError) or lacks_disk_space(error)
            if not full or not await disk_space.free_reserve():
                raise
        return await connection.unit(bridge, begin)
    except DISK_ERRORS as error:
        why, final = trouble_of(error)
        raise (_lost(path, why) if final else refusal(path, error)) from error
    except OSError as error:
        raise StoreUnusable(
            f"{watermark_path(path)} cannot be written: {error.strerror}",
            exit_status=75,
            hint="the daemon needs disk space and write access for it",
        ) from error


class _Begun(NamedTuple):
    hub: sqlite3.Row
    head_seq: int  #: of the newest event
    begun: ClockReading  #: where the steady clock begins


def _begin_epoch(watermark: WatermarkFile, clocks: Clocks, db: sqlite3.Connection) -> _Begun:
    """As `_boot`. Nothing may be sent before the watermark and the file itself say how far the database
    is.
    """
    keep_log(watermark.database, db)
    migrate(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        begun = resume(db, clocks)
        unit = Unit(db, Moment(clocks.wall, begun.at))
        notice(unit, watermark.read())
        unit.flush()
        row: sqlite3.Row = db.execute(BEGIN_EPOCH).fetchone()
        count_opened(unit.attempts, row["epoch"], db)
        db.execute(NOTE_OPENED)
        head_seq = newest(db, "event")
        db.execute("COMMIT")
    except BaseException:
        roll_back(db)
        raise
    watermark.cast(db)
    if not copy_log("TRUNCATE", db):  # `file_checks` relies on it to know a log that is another file's
        raise StoreUnusable(
            f"{watermark.database} is in use by another program", exit_status=75, hint="stop that program"
        )
    return _Begun(row, head_seq, begun)


def _finish(watermark: WatermarkFile, steady: SteadyClock, db: sqlite3.Connection) -> None:
    """Leave one file that says that it was closed in order. A failure only costs the next open a check.

    Raises `sqlite3.Error` when the failure is one after which SQLite must not touch the file any more.
    """
    try:
        write_reading(db, steady.reading())
        db.execute(MARK_CLEAN)
    except sqlite3.Error as error:
        if trouble_of(error)[1]:
            raise
        return
    checkpoint("TRUNCATE", db)
    with suppress(OSError, sqlite3.Error):
        watermark.cast(db)


def _lost(path: Path, why: str, *, taken_over: bool = False) -> StoreUnusable:
    hint = "check the disk, then start hubd again: it recovers the database, or says how to restore it"
    if taken_over:
        hint = "the other hubd continues; never remove hubd.lock while hubd runs"
    return StoreUnusable(f"{path} was given up: {why}", exit_status=EX_IOERR, hint=hint)


#: Connections that stay open until the process ends; see below.
_left_open: list[sqlite3.Connection] = []


def _leave_log_alone(path: Path) -> None:
    """Keep SQLite from copying the log into the file when the writer closes.

    After a failed fsync the log may be there in memory and not on the disk; what is copied from it, and the
    log removed, could be neither old nor new. The last connection to close does that, so another one stays.
    """
    try:
        db = open_plain(path, writer=False)
        db.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error:
        return
    _left_open.append(db)
