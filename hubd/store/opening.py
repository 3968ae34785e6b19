"""Is this a file that we may and can use? Judged before the first byte is changed.

A missing file is a new installation: it is built beside its place and renamed into it, so that a crash in
the middle leaves nothing half made. Everything else that is not a healthy database of ours is refused with
`StoreUnusable` and left exactly as it is: an empty file is a lost database, not a new one.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sqlite3
import stat
import time
from contextlib import closing
from importlib import resources
from pathlib import Path

from hubd.errors import StoreUnusable
from hubd.failpoints import reach
from hubd.files import sync_directory
from hubd.store.connection import open_plain, trouble_of
from hubd.store.file_checks import APPLICATION_ID, check_content, check_files
from hubd.store.watermark import watermark_path

EX_CANTCREAT, EX_NOPERM = 73, 77

#: The one row of `hub` in a new installation.
FIRST_ROW = "INSERT INTO hub (only, install_key, instance_id, created_at) VALUES (1, ?, ?, ?)"
#: A migration of a backup records in the log that the log was begun on this very file (see `file_checks`).
BEGUN_ON_COPY = "UPDATE hub SET restoring = 0 WHERE copied_at IS NOT NULL;"
COPIES_SINCE = 2  #: the migration that gave `hub` these columns


def prepare(path: Path) -> None:
    """Make sure that `path` is a database of ours, healthy, and of a version we can bring up to date.

    Raises `StoreUnusable`, with nothing changed. Blocking: the whole file is read, a second or so for 500 MB
    that are in the system's cache, and as long as the disk takes for them when they are not.
    """
    if sqlite3.sqlite_version_info < (3, 37, 0):
        raise StoreUnusable("the SQLite library is too old: version 3.37 or newer is needed")
    _check_directory(path.parent)
    if not os.path.lexists(path):
        _create(path)
    check_files(path)
    check_content(path, migrations()[-1][0])


def migrate(db: sqlite3.Connection) -> None:
    """Run the migrations that the file has not seen, each in one transaction with its version number.

    Raises `sqlite3.Error`; the file is then at the last version that was reached.
    """
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute("PRAGMA foreign_keys = OFF")  # a table that others refer to may be replaced
    try:
        for number, script in migrations():
            if number > version:
                _migrate_to(number, script, db)
    finally:
        db.execute("PRAGMA foreign_keys = ON")


def _migrate_to(number: int, script: str, db: sqlite3.Connection) -> None:
    try:
        begun = BEGUN_ON_COPY if number > COPIES_SINCE else ""
        db.executescript(f"BEGIN IMMEDIATE;\n{script}\n{begun}\nPRAGMA user_version = {number};")
        reach("in_migration")
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    if db.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        # The number must be in the file itself: an older program looks there before it touches anything.
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def migrations() -> list[tuple[int, str]]:
    """Number and text of each migration, in order; `sql/0001_name.sql` is number 1."""
    files = (entry for entry in resources.files("hubd.store").joinpath("sql").iterdir())
    named = sorted((entry.name, entry) for entry in files if entry.name.endswith(".sql"))
    return [(int(name.split("_", 1)[0]), entry.read_text(encoding="utf-8")) for name, entry in named]


def _check_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
    except OSError as error:
        raise StoreUnusable(
            f"the directory {directory} cannot be created: {error.strerror}",
            exit_status=EX_CANTCREAT,
            hint="choose another place with --state-dir",
        ) from error
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise StoreUnusable(
            f"the directory {directory} is writable by everybody",
            exit_status=EX_NOPERM,
            hint=f"chmod o-w {shlex.quote(str(directory))}, or choose another place with --state-dir",
        )


def _create(path: Path) -> None:
    companions = (
        path.with_name(path.name + "-wal"),
        path.with_name(path.name + "-journal"),
        watermark_path(path),
    )
    for left in companions:
        if os.path.lexists(left):
            raise StoreUnusable(
                f"{path} is missing, but {left.name} exists: the database was moved or lost",
                hint=f"put {path.name} back; to start with an empty database, "
                f"move {left.name} to another directory and keep it",
            )
    building = path.with_name(path.name + ".new")
    try:
        for suffix in ("", "-wal", "-shm", "-journal"):  # of an interrupted creation
            building.with_name(building.name + suffix).unlink(missing_ok=True)
        os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _build(building)
        building.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreUnusable(
            f"{path} cannot be created: {error.strerror}",
            exit_status=EX_CANTCREAT,
            hint="choose another place with --state-dir",
        ) from error
    except sqlite3.Error as error:
        raise StoreUnusable(
            f"{path} cannot be created: {trouble_of(error)[0]}",
            exit_status=EX_CANTCREAT,
            hint="free disk space, or choose another place with --state-dir",
        ) from error


def _build(path: Path) -> None:
    with closing(open_plain(path, writer=True)) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(db)
        db.execute(FIRST_ROW, (secrets.token_bytes(32), secrets.token_hex(8), time.time()))
        keep_log(path, db)


def keep_log(path: Path, db: sqlite3.Connection) -> None:
    """Use a write-ahead log from now on: a repaired file has none. Raises `StoreUnusable`."""
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StoreUnusable(
            f"the file system of {path.parent} cannot hold the database (no write-ahead log)",
            exit_status=EX_CANTCREAT,
            hint="choose a local disk with --state-dir",
        )
