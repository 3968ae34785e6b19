"""Puts a backup in the place of the database, while no daemon uses it.

The backup is copied beside the database and checked there as at a start of the daemon. Only then are the
files of the old database moved, `hub.db` first: without it no daemon starts beside what is left, so whenever
this is cut off, doing it again completes it. `hub.anchor` stays, and tells the next start what is missing.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from hubd.errors import StoreUnusable
from hubd.files import sync_directory
from hubd.store.connection import open_plain, trouble_of
from hubd.store.file_checks import check_content, check_files
from hubd.store.opening import migrations

EX_NOINPUT, EX_CANTCREAT, EX_IOERR, EX_NOPERM = 66, 73, 74, 77

#: The files of a database, in the order in which they are moved away.
SUFFIXES = ("", "-wal", "-shm")
#: When a backup was taken; NULL in a file that was not made as one.
TAKEN_AT = "SELECT copied_at FROM hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """What was, or would be, put in the place of the database."""

    size: int  #: bytes
    taken_at: float | None  #: when the backup was taken, in seconds since the epoch; None if it does not say
    moved_to: Path | None  #: where the files of the old database are; None if there were none


def put_back(
    backup: Path, database: Path, *, dry_run: bool = False, clock: Callable[[], float] = time.time
) -> PutBack:
    """Make a copy of `backup` the database; the old one is kept beside it.

    Hold the lock of the state directory meanwhile. With `dry_run` everything is checked and nothing changed.
    Raises `StoreUnusable`, and then the old database is in its place.
    """
    _check_source(backup, database)
    new = database.with_name(f"{database.name}.restoring")
    try:
        size = _copy(backup, new)
        taken_at = _examine(new, backup)
        old = [path for path in map(_beside(database), SUFFIXES) if os.path.lexists(path)]
        moved_to = _folder(database, clock()) if old else None
        if not dry_run:
            _replace(database, new, old, moved_to)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StoreUnusable(
            f"{backup} cannot be put into {database.parent}: {why}; nothing was changed",
            exit_status=EX_CANTCREAT,
            hint="free disk space, or use the user who owns that directory",
        ) from error
    finally:
        with suppress(OSError):
            for path in map(_beside(new), SUFFIXES):
                path.unlink(missing_ok=True)
    return PutBack(size=size, taken_at=taken_at, moved_to=moved_to)


def _beside(path: Path) -> Callable[[str], Path]:
    return lambda suffix: path.with_name(path.name + suffix)


def _check_source(backup: Path, database: Path) -> None:
    """Raise `StoreUnusable` for what is no finished file apart from the database."""
    try:
        about = backup.stat()
        log = backup.with_name(backup.name + "-wal")
        logged = log.exists() and log.stat().st_size > 0
        same = database.exists() and backup.samefile(database)
    except OSError as error:
        raise StoreUnusable(
            f"{backup} cannot be read: {(error.strerror or str(error)).lower()}",
            exit_status=EX_NOINPUT,
            hint="give the path of a backup that this user can read",
        ) from None
    if not stat.S_ISREG(about.st_mode) or not about.st_size:
        kind = "is empty" if stat.S_ISREG(about.st_mode) else "is not a file"
        raise StoreUnusable(f"{backup} {kind}", exit_status=EX_NOINPUT, hint="give the path of a backup")
    if same:
        raise StoreUnusable(
            f"{backup} is the database itself", exit_status=EX_NOINPUT, hint="give the path of a backup"
        )
    if logged:
        raise StoreUnusable(
            f"{backup} is not a backup: {log.name} beside it has changes that are not in it",
            exit_status=EX_NOINPUT,
            hint="use a file that `hubctl daemon backup` made; a whole state directory is copied as a whole",
        )


def _copy(backup: Path, new: Path) -> int:
    for path in map(_beside(new), SUFFIXES):  # of a restore that was cut off
        path.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    with backup.open("rb") as source, open(descriptor, "wb") as copy:
        shutil.copyfileobj(source, copy, 2**20)
        copy.flush()
        os.fsync(copy.fileno())
        return os.fstat(copy.fileno()).st_size


def _examine(new: Path, backup: Path) -> float | None:
    """Check the copy as a start of the daemon does; when the backup was taken. Raises `StoreUnusable`."""
    try:
        check_files(new)
        check_content(new, migrations()[-1][0])
        with closing(open_plain(new, writer=False)) as db:
            columns = {row["name"] for row in db.execute("PRAGMA table_info(hub)")}
            taken_at: float | None = None
            if "copied_at" in columns:  # since the second schema
                taken_at = db.execute(TAKEN_AT).fetchone()[0]
    except StoreUnusable as error:
        raise StoreUnusable(
            f"{str(error).replace(str(new), str(backup))}; nothing was changed",
            exit_status=error.exit_status,
            hint="choose another backup",
        ) from None
    except sqlite3.Error as error:
        raise StoreUnusable(
            f"{backup} cannot be used: {trouble_of(error)[0]}; nothing was changed",
            exit_status=EX_IOERR,
            hint="choose another backup",
        ) from None
    return taken_at


def _folder(database: Path, now: float) -> Path:
    """A name that is free, for the files of the old database."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    names = [f"replaced-{stamp}", *(f"replaced-{stamp}-{n}" for n in range(2, 1000))]
    return next(path for path in map(database.with_name, names) if not os.path.lexists(path))


def _replace(database: Path, new: Path, old: list[Path], moved_to: Path | None) -> None:
    """Move the old files away and the new one into its place. Raises `OSError`, and then all is as it was."""
    moved: list[tuple[Path, Path]] = []
    try:
        if moved_to is not None:
            moved_to.mkdir(mode=0o700)
            for path in old:
                path.rename(moved_to / path.name)
                moved.append((moved_to / path.name, path))
            sync_directory(moved_to)
            sync_directory(database.parent)
        new.rename(database)
    except OSError:
        for source, target in reversed(moved):
            source.rename(target)
        if moved_to is not None:
            with suppress(OSError):
                moved_to.rmdir()
        raise
    sync_directory(database.parent)
