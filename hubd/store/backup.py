"""A copy of the whole database while it is in use: one snapshot, checked, on disk before it has its name.

The copy is made by a connection of its own that only reads, in small steps within one read transaction, so
that no change of the writer makes it begin again; messages go out meanwhile. It grows under a temporary name
beside its place, so a file with the name that was asked for is always whole. What a killed backup left is
removed by the next one to the same place. The copy is marked as one: a daemon that is started on it knows
(see `watermark`).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import trio

from hubd.core.decide import Request
from hubd.core.records import Backup
from hubd.errors import BadInput, Conflict, StoreError, StoreUnavailable
from hubd.failpoints import reach
from hubd.files import sync_directory
from hubd.store import compaction
from hubd.store.batch import copy_log
from hubd.store.connection import lacks_disk_space, open_plain, trouble_of
from hubd.store.database import Database
from hubd.store.disk_space import DISK_FULL_ERRORS
from hubd.store.watermark import watermark_path

STEP = 256  #: pages copied before it is looked whether the backup is still wanted
LOOK = 100_000  #: instructions of SQLite's machine between such looks while the copy is checked

#: Marks the copy. It was not closed in order, so that the indexes are compared, too, when it is opened.
MARK_COPY = "UPDATE hub SET copied_at = ?, clean = 0"
#: When a copy was taken, if a request was under way then.
COPY_FOR = """
SELECT copied_at FROM hub WHERE copied_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM answer WHERE method = ? AND key = ? AND fingerprint = ?)"""
#: Begins the snapshot.
ANY_ROW = "SELECT only FROM hub"

_SUFFIXES = ("", "-wal", "-shm", "-journal")


class Backups:
    """Makes backups of an open database, one at a time."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self._clock = clock
        self._busy = False

    async def check(self, path: str) -> None:
        """Raise what `make` would raise before it begins."""
        if self._busy:
            raise _busy()
        self._db.check_file()  # or the copy would be one of another file

        def work() -> None:
            _check_disk_space(self._db, _judge(self._db.path, path))

        await trio.to_thread.run_sync(work)

    async def made_for(self, path: str, request: Request) -> Backup | None:
        """The backup at `path`, if it is there and was made for this request: it was begun before the copy.

        A daemon that was killed may have finished it without an answer.
        """
        return await trio.to_thread.run_sync(_made_for, Path(path), request)

    async def make(self, path: str) -> Backup:
        """Copy the database to `path`, an absolute one in a directory that is there; nothing is overwritten.

        Raises `BadInput` for a place that will not do, `Conflict` ("backup_running") while another backup is
        made, `StoreUnavailable` while another file has the database's name, `StoreError` ("backup_failed"),
        also when the copy would take room that sending needs; then nothing is left behind.
        """
        if self._busy:
            raise _busy()
        self._db.check_file()
        self._busy = True
        try:
            return await trio.to_thread.run_sync(partial(_make, self._db, path, self._clock))
        finally:
            self._busy = False


def _make(db: Database, path: str, clock: Callable[[], float]) -> Backup:
    source = db.path
    target = _judge(source, path)
    _check_disk_space(db, target)
    unfinished = target.with_name(f".{target.name}.unfinished")
    begun = time.monotonic()
    try:
        _clear(unfinished)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        taken_at = _copy(source, unfinished, clock)
        _mark(unfinished, taken_at)
        _check(unfinished)
        size = _sync(unfinished)
        reach("in_backup")
        _refuse_existing(target)
        unfinished.rename(target)
        sync_directory(target.parent)
    except BaseException as error:
        with suppress(OSError):
            _clear(unfinished)
        if isinstance(error, OSError):
            hint = _FREE_DISK_SPACE if error.errno in DISK_FULL_ERRORS else _PERMISSION
            raise _failed(target, (error.strerror or str(error)).lower(), hint) from error
        if isinstance(error, sqlite3.Error):
            raise _failed(
                target, trouble_of(error)[0], _FREE_DISK_SPACE if lacks_disk_space(error) else _PERMISSION
            ) from error
        raise
    return Backup(path=str(target), size=size, taken_at=taken_at, seconds=time.monotonic() - begun)


def _busy() -> Conflict:
    return Conflict(
        "another backup is in progress", code="backup_running", hint="try again when it is finished"
    )


def _made_for(path: Path, request: Request) -> Backup | None:
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            row = db.execute(COPY_FOR, (request.method, request.key, request.fingerprint)).fetchone()
        found = path.stat()
    except (sqlite3.Error, OSError):
        return None
    if row is None:
        return None
    seconds = max(0.0, found.st_mtime - row[0])
    return Backup(path=str(path), size=found.st_size, taken_at=row[0], seconds=seconds)


def _judge(source: Path, path: str) -> Path:
    """The place that `path` means. Raises `BadInput` when no backup may go there."""
    target = Path(path)
    if "\0" in path or not target.is_absolute() or not target.name or ".." in target.parts:
        raise BadInput.at("path", "must be the absolute path of a file", hint="hubctl makes it absolute")
    try:
        if not target.parent.is_dir():
            raise BadInput.at("path", f"there is no directory {target.parent}", hint="create it first")
        _refuse_existing(target)
        taken = {source.with_name(source.name + suffix).name for suffix in (*_SUFFIXES, ".new")}
        watermark = watermark_path(source)
        taken |= {watermark.name, watermark.name + ".new", source.with_suffix(".ballast").name}
        taken |= {compaction.copy_of(source).name}
        taken |= {"hubd.lock", "control.sock"}
        if target.name in taken and target.parent.samefile(source.parent):
            raise BadInput.at("path", "is a name that the daemon itself uses", hint="choose another one")
    except OSError as error:
        raise BadInput.at("path", f"cannot be used: {error.strerror}", hint=_PERMISSION) from error
    return target


def _check_disk_space(db: Database, target: Path) -> None:
    """Check that a copy on the disk of the database leaves the room that outcomes need."""
    try:
        if target.parent.stat().st_dev == db.path.stat().st_dev:
            db.check_disk_space(db.path.stat().st_size, another_file=True)
    except (StoreUnavailable, OSError) as error:
        raise _failed(target, str(error), _FREE_DISK_SPACE) from error


_PERMISSION = "the daemon writes the file, so its user needs write access there"
_FREE_DISK_SPACE = "free space there, or choose another disk; no incomplete copy was left behind"


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise BadInput.at(
            "path",
            f"{target} already exists",
            hint="choose another name; existing files are never overwritten",
        )


def _clear(unfinished: Path) -> None:
    for suffix in _SUFFIXES:
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)


def _copy(source: Path, copy: Path, clock: Callable[[], float]) -> float:
    """Copy one snapshot; when it was taken."""

    def still_wanted(status: int, remaining: int, total: int) -> None:
        trio.from_thread.check_cancelled()

    with closing(open_plain(source, writer=False)) as reader, closing(sqlite3.connect(copy)) as into:
        into.execute("PRAGMA synchronous = OFF")  # it is made durable as a whole, and not page by page
        reader.execute("BEGIN")
        reader.execute(ANY_ROW).fetchone()  # from here on it sees this instant, whatever is written
        taken_at = clock()
        reader.backup(into, pages=STEP, progress=still_wanted)
        reader.execute("COMMIT")
    return taken_at


def _mark(copy: Path, taken_at: float) -> None:
    with closing(open_plain(copy, writer=True)) as db:
        db.execute(MARK_COPY, (taken_at,))
        if not copy_log("TRUNCATE", db):
            raise StoreError(
                "the backup could not be finished: another program reads it",
                code="backup_failed",
                hint="leave the unfinished file alone and try again",
            )


def _check(copy: Path) -> None:
    """Read all of the copy once more. Raises `StoreError`."""

    def unwanted() -> bool:
        try:
            trio.from_thread.check_cancelled()
        except trio.Cancelled:
            return True
        return False

    uri = f"{copy.as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        db.set_progress_handler(unwanted, LOOK)
        try:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError:
            trio.from_thread.check_cancelled()
            raise
    if verdict != "ok":
        raise StoreError(
            "the copy is damaged, and the database may be as well",
            code="backup_failed",
            hint="check the database with: hubctl doctor",
        )


def _sync(copy: Path) -> int:
    handle = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(handle)
        return os.fstat(handle).st_size
    finally:
        os.close(handle)


def _failed(target: Path, why: str, hint: str) -> StoreError:
    return StoreError(f"the backup to {target} failed: {why}", code="backup_failed", hint=hint)
