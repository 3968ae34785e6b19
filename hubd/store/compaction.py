"""Rewrites the database, at the start of the daemon, when much of its file is empty.

A copy is made beside the file, checked, and put in its place. It has no free pages, and none that are half
empty because their rows lost their words. From then on `free_pages` gives back pages while the file is used.
Whenever it is interrupted, one whole file is there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import trio

from hubd.errors import StoreError
from hubd.failpoints import reach
from hubd.files import sync_directory
from hubd.store.connection import DISK_ERRORS, open_plain, trouble_of
from hubd.store.free_pages import number

log = logging.getLogger(__name__)

LEAST = 64 * 2**20  #: bytes that must be empty for it to be worth the time ...
SHARE = 3  #: ... and this part of the file: a third
LOOK = 100_000  #: instructions of SQLite's machine between looks at whether the daemon is to end

#: Bytes that pages do not use: for what was written in order a few per cent, in an index up to a third.
UNUSED = "SELECT coalesce(sum(unused), 0) FROM dbstat('main', 1)"
#: Whether rows lost their words.
THINNED = "SELECT EXISTS (SELECT 1 FROM thinning)"
#: Compared between the file and its copy.
_SAME = (
    "SELECT * FROM hub",
    "SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2",
    "PRAGMA user_version",
)

_SUFFIXES = ("", "-wal", "-shm", "-journal")


def compact(path: Path, lack: Callable[[int], str], ending: Callable[[], bool]) -> int:
    """Rewrite the file if that frees enough; how many bytes it is shorter.

    `lack` says why there is no room for so many bytes, and `ending` whether the daemon is to end: then the
    file is used as it is. In a thread of Trio's. Nobody else uses the file; one that was not closed in order
    is left as it is. What fails is logged, and the file stays as it was.
    """
    copy = copy_of(path)
    try:
        _clear(copy)
        if any(_holds_something(path, suffix) for suffix in ("-wal", "-journal")):
            return 0
        size = path.stat().st_size
        with closing(open_plain(path, writer=True)) as db:
            db.set_progress_handler(partial(_unwanted, ending), LOOK)
            empty = empty_bytes(db)
            if not is_worth_it(empty, size) or ending():
                return 0
            if why := lack(size - empty):
                log.info("the database is not compacted: %s", why)
                return 0
            log.info("compacting the database: about %d of %d MiB are unused", empty >> 20, size >> 20)
            os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of the copy
            db.execute("VACUUM INTO ?", (str(copy),))
            wanted = [[tuple(row) for row in db.execute(statement)] for statement in _SAME]
        _check(copy, wanted, ending)
        _sync(copy)
        reach("in_compaction")
        copy.replace(path)
        sync_directory(path.parent)
        return size - path.stat().st_size
    except (*DISK_ERRORS, OSError, StoreError) as error:
        trio.from_thread.check_cancelled()
        what = trouble_of(error)[0] if isinstance(error, DISK_ERRORS) else str(error)
        log.warning("the database could not be compacted and is used as it is: %s", what)
        return 0
    finally:
        with suppress(OSError):
            _clear(copy)


def copy_of(path: Path) -> Path:
    """Where the copy is made."""
    return path.with_name(path.name + ".compact")


def empty_bytes(db: sqlite3.Connection) -> int:
    """How many bytes of the file hold nothing: its free pages and, once rows were thinned, what others leave.

    Some builds of SQLite do not tell the latter.
    """
    empty = number(db, "freelist_count") * number(db, "page_size")
    with suppress(sqlite3.OperationalError):  # no `dbstat`, or no such table in an earlier version
        if db.execute(THINNED).fetchone()[0]:
            empty += db.execute(UNUSED).fetchone()[0]
    return empty


def is_worth_it(empty: int, size: int) -> bool:
    """Whether a file of `size` bytes is rewritten at the next start."""
    return empty >= LEAST and empty >= size // SHARE


def _unwanted(ending: Callable[[], bool]) -> bool:
    if ending():
        return True
    try:
        trio.from_thread.check_cancelled()
    except trio.Cancelled:
        return True
    return False


def _holds_something(path: Path, suffix: str) -> bool:
    try:
        return path.with_name(path.name + suffix).stat().st_size > 0
    except FileNotFoundError:
        return False


def _check(copy: Path, wanted: list[list[tuple[object, ...]]], ending: Callable[[], bool]) -> None:
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        db.set_progress_handler(partial(_unwanted, ending), LOOK)
        found = [[tuple(row) for row in db.execute(statement)] for statement in _SAME]
        if found != wanted or db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise StoreError("the copy is not the same", code="compaction_failed")


def _sync(copy: Path) -> None:
    handle = os.open(copy, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _clear(copy: Path) -> None:
    for suffix in _SUFFIXES:
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
