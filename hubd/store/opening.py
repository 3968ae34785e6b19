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
from collections.abc import Mapping
from contextlib import closing
from importlib import resources
from pathlib import Path

from hubd.errors import StoreUnusable
from hubd.failpoints import reach
from hubd.store.anchor import HUB, anchor_path, sync_directory
from hubd.store.connection import open_plain, trouble_of

APPLICATION_ID = 0x4D487562  #: "MHub": marks the file as ours (see `PRAGMA application_id`)
EX_CANTCREAT, EX_IOERR, EX_NOPERM, EX_CONFIG = 73, 74, 77, 78

#: The one row of `hub` in a new installation.
FIRST_ROW = "INSERT INTO hub (only, install_key, instance_id, created_at) VALUES (1, ?, ?, ?)"

#: How damage shows. SQLite quotes the file in its messages, and what it quotes need not be text any more.
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)

_RESTORE = "restore it from a backup, or move it and its anchor file away to start with an empty one"


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
    _check_file(path)
    if os.path.lexists(anchor_path(path)):
        _check_private(anchor_path(path))
    _check_log(path)
    _check_health(path)


def migrate(db: sqlite3.Connection) -> None:
    """Run the migrations that the file has not seen, each in one transaction with its version number.

    Raises `sqlite3.Error`; the file is then at the last version that was reached.
    """
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    for number, script in migrations():
        if number <= version:
            continue
        try:
            db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};")
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
            f"the directory {directory} cannot be made: {error.strerror}",
            exit_status=EX_CANTCREAT,
            hint="choose another place with --state-dir",
        ) from error
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise StoreUnusable(
            f"everybody may write to the directory {directory}",
            exit_status=EX_NOPERM,
            hint=f"chmod o-w {shlex.quote(str(directory))}, or choose another place with --state-dir",
        )


def _check_file(path: Path) -> None:
    """What can be known without reading a table: kind, owner, mode, whose file, which version."""
    about = _check_private(path)
    if about.st_size == 0:
        raise StoreUnusable(f"{path} is an empty file, not a database", hint=_RESTORE)
    _check_identity(path)


def _check_private(path: Path) -> os.stat_result:
    """A file itself and no link to one, ours, and nobody else's to read or write."""
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode):
        raise StoreUnusable(
            f"{path} is not a regular file", exit_status=EX_NOPERM, hint="give the path of the file itself"
        )
    if os.name == "posix" and about.st_uid != os.geteuid():
        raise StoreUnusable(
            f"{path} belongs to another user",
            exit_status=EX_NOPERM,
            hint="run the daemon as the user who owns it",
        )
    if os.name == "posix" and about.st_mode & 0o077:
        raise StoreUnusable(
            f"others may read or write {path}",
            exit_status=EX_NOPERM,
            hint=f"chmod 600 {shlex.quote(str(path))}",
        )
    if not os.access(path, os.W_OK):  # SQLite would make companions that cannot be written either
        raise StoreUnusable(
            f"{path} cannot be written by this user",
            exit_status=EX_NOPERM,
            hint=f"chmod 600 {shlex.quote(str(path))}",
        )
    return about


def _check_identity(path: Path) -> None:
    try:
        with closing(_glance(path)) as db:
            application_id: int = db.execute("PRAGMA application_id").fetchone()[0]
            version: int = db.execute("PRAGMA user_version").fetchone()[0]
    except _UNREADABLE as error:
        raise refusal(path, error) from error
    _judge_identity(path, application_id, version)


def _judge_identity(path: Path, application_id: int, version: int) -> None:
    if application_id != APPLICATION_ID:
        raise StoreUnusable(
            f"{path} is the database of another program",
            hint="choose another place with --state-dir",
        )
    newest = migrations()[-1][0]
    if version > newest:
        raise StoreUnusable(
            f"{path} was written by a newer version of this program (schema {version}, known is {newest})",
            hint="install the newer version again",
        )
    if version < 1:
        raise StoreUnusable(f"{path} is damaged: it has no schema version", hint=_RESTORE)


def _check_health(path: Path) -> None:
    """Read the whole file: also one that was closed in order may have rotted or been cut off since.

    After an unclean end each index is compared with its table, too. Nothing is changed: the connection can
    only read, and a file without a log beside it is read alone, so that no companion files are made.
    """
    logged = _has_log(path)
    try:
        with closing(open_plain(path, writer=False) if logged else _glance(path)) as db:
            pages, octets = (
                db.execute(f"PRAGMA {size}").fetchone()[0] for size in ("page_count", "page_size")
            )
            application_id: int = db.execute("PRAGMA application_id").fetchone()[0]
            version: int = db.execute("PRAGMA user_version").fetchone()[0]
            rows = db.execute("SELECT clean FROM hub").fetchall()
            check = "quick_check" if [row[0] for row in rows] == [1] else "integrity_check"
            verdict: str = db.execute(f"PRAGMA {check}(1)").fetchone()[0]
    except _UNREADABLE as error:
        raise refusal(path, error) from error
    _judge_identity(path, application_id, version)
    # SQLite takes the end of a last page that is not there for zeros, and the check finds nothing in those.
    cut_off = not logged and path.stat().st_size < pages * octets
    if verdict != "ok" or len(rows) != 1 or cut_off:
        raise StoreUnusable(f"{path} is damaged", hint=_RESTORE)


def _check_log(path: Path) -> None:
    """A log beside the file must be this file's own, or pages of two databases would be mixed.

    Each boot brings the main file up to date before anything is sent. So when the main file says that it is
    a backup, or that it was closed in order, the log can hold only what a boot wrote that ended at once.
    """
    if not _has_log(path):
        return
    try:
        with closing(_glance(path)) as main, closing(open_plain(path, writer=False)) as whole:
            main.row_factory = sqlite3.Row
            alone, logged = (dict(db.execute(HUB).fetchone() or {}) for db in (main, whole))
    except _UNREADABLE:
        return  # damage, which the check of the whole file puts into words
    if not _fits(alone, logged):
        log = path.with_name(path.name + "-wal")
        raise StoreUnusable(
            f"{path} and {log.name} do not belong together: the one was replaced and the other was not",
            hint=f"if {path.name} is a backup, move {log.name} away; or put the old {path.name} back",
        )


def _fits(alone: Mapping[str, object], logged: Mapping[str, object]) -> bool:
    """Whether the `hub` row of the main file alone and the one with the log are of one life."""
    if alone.get("instance_id") != logged.get("instance_id"):
        return False
    if alone.get("copied_at") is not None:
        return logged.get("copied_at") is None and logged.get("restoring") is not None
    if not alone.get("anchored"):
        return True  # of a version whose boots did not bring the main file up to date
    if alone["clean"] and alone["opened"] != logged["opened"]:
        return False
    return all(_number(alone[key]) <= _number(logged[key]) for key in ("epoch", "opened"))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _has_log(path: Path) -> bool:
    """Whether committed work may be outside the main file, because the last end was unclean."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _glance(path: Path) -> sqlite3.Connection:
    """Look at the main file alone: no lock, no write-ahead log, no file made beside it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _create(path: Path) -> None:
    companions = (
        path.with_name(path.name + "-wal"),
        path.with_name(path.name + "-journal"),
        anchor_path(path),
    )
    for left in companions:
        if os.path.lexists(left):
            raise StoreUnusable(
                f"{path} is missing, but {left.name} is there: the database was moved or lost",
                hint=f"put {path.name} back, or move {left.name} away to start with an empty one",
            )
    building = path.with_name(path.name + ".new")
    try:
        for suffix in ("", "-wal", "-journal"):  # of a creation that was interrupted
            building.with_name(building.name + suffix).unlink(missing_ok=True)
        os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _build(building)
        building.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreUnusable(
            f"{path} cannot be made: {error.strerror}",
            exit_status=EX_CANTCREAT,
            hint="choose another place with --state-dir",
        ) from error
    except sqlite3.Error as error:
        raise StoreUnusable(
            f"{path} cannot be made: {trouble_of(error)[0]}",
            exit_status=EX_CANTCREAT,
            hint="make room, or choose another place with --state-dir",
        ) from error


def _build(path: Path) -> None:
    with closing(open_plain(path, writer=True)) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(db)
        db.execute(FIRST_ROW, (secrets.token_bytes(32), secrets.token_hex(8), time.time()))
        mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnusable(
            f"the file system of {path.parent} cannot hold the database (no write-ahead log)",
            exit_status=EX_CANTCREAT,
            hint="choose a local disk with --state-dir",
        )


def refusal(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> StoreUnusable:
    """What an error of SQLite at opening means for the person who started the daemon."""
    if isinstance(error, UnicodeDecodeError):
        return StoreUnusable(f"{path} is damaged", hint=_RESTORE)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return StoreUnusable(
            f"{path} is not a database", hint="choose another place with --state-dir, or move the file away"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreUnusable(
            f"{path} cannot be opened for writing: {trouble_of(error)[0]}",
            exit_status=EX_NOPERM,
            hint="the daemon needs to write to the file and its directory",
        )
    if code == sqlite3.SQLITE_BUSY:
        return StoreUnusable(f"{path} is held by another program", exit_status=75, hint="stop that program")
    if code == sqlite3.SQLITE_FULL:
        return StoreUnusable(f"{path} cannot be opened: the disk is full", exit_status=75, hint="make room")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM) and not trouble_of(error)[1]:
        return StoreUnusable(
            f"{path} cannot be read: {trouble_of(error)[0]}",
            exit_status=EX_IOERR,
            hint="check the disk; nothing was changed",
        )
    return StoreUnusable(f"{path} is damaged ({trouble_of(error)[0]})", hint=_RESTORE)
