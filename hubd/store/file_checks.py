"""Checks that a file is our database, undamaged, and of a known version. Changes nothing.

The main file alone says little while there is a log. An interrupted checkpoint leaves pages from two points
in time in the main file, and its first page counts pages that are not there yet; the log still has all of
them. So only the header is read from the main file alone, and SQLite reads the rest together with the log.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
import struct
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from hubd.errors import StoreUnusable
from hubd.store.connection import DISK_ERRORS, is_disk_error, lacks_disk_space, open_plain, trouble_of
from hubd.store.watermark import watermark_path

APPLICATION_ID = 0x4D487562  #: "MHub": marks the file as ours (see `PRAGMA application_id`)
EX_IOERR, EX_TEMPFAIL, EX_NOPERM = 74, 75, 77

#: How the header of each database begins; see https://sqlite.org/fileformat2.html.
_MAGIC = b"SQLite format 3\0"
_HEADER_SIZE = 100
_PIECE = 2**20  #: bytes read at once
#: At offset 60 of the header: the user version; at offset 68: the application id.
_IDENTITY = struct.Struct(">i4xI")

#: At offset 16 of the log's index, in the byte order of the machine: the last frame that is committed.
_LAST_FRAME = struct.Struct("=16xI")

#: The row about the database, and where its table is: a repair may have moved it.
_HUB = "SELECT hub.*, (SELECT rootpage FROM sqlite_master WHERE name = 'hub') AS root FROM hub"

#: How many attempts were opened, with the log. In the row it is some seconds old, but on the page of `clean`.
_OPENED = "SELECT coalesce(sum(attempts), 0) FROM opened"
_COUNTS_OPENED = "SELECT 1 FROM sqlite_master WHERE name = 'opened'"


def look_first(path: Path) -> str:
    """What to do about a file that seems to be damaged: examine a copy before discarding anything."""
    files = f"{path.name}, {path.name}-wal and {watermark_path(path).name}"
    return (
        f"keep all files in {path.parent}; copy {files}, then examine the copy: "
        "sqlite3 COPY 'PRAGMA integrity_check', "
        "and sqlite3 COPY .recover (or .dump) to save what can be read; "
        "if that fails, restore a backup (docs/backup.md)"
    )


def check_files(path: Path) -> None:
    """Check kind, owner and mode of the database and its companion files. Raises `StoreUnusable`."""
    size = _check_private(path).st_size
    if os.path.lexists(watermark_path(path)):
        _check_private(watermark_path(path))
    for companion in _companions(path):
        if os.path.lexists(companion):
            _check_writable(companion)
    if size == 0:  # SQLite removes a log that lies beside an empty file
        raise StoreUnusable(f"{path} is an empty file, not a database", hint=look_first(path))


def check_content(path: Path, newest: int) -> None:
    """Check that it is our database, of a version up to `newest`, with its own log, and undamaged.

    Raises `StoreUnusable`. Reads the whole file.
    """
    _check_header(path, newest)
    if _holds_something(_log(path)):
        _check_log(path)
    _check_health(path, newest)


def _check_private(path: Path) -> os.stat_result:
    """Check that it is a regular file of ours that nobody else can read or write."""
    about = _check_writable(path)
    if os.name == "posix" and about.st_mode & 0o077:
        raise StoreUnusable(
            f"other users can read or write {path}",
            exit_status=EX_NOPERM,
            hint=f"chmod 600 {shlex.quote(str(path))}",
        )
    return about


def _check_writable(path: Path) -> os.stat_result:
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
    if not os.access(path, os.W_OK):  # SQLite would create companion files that cannot be written either
        raise StoreUnusable(
            f"{path} cannot be written by this user",
            exit_status=EX_NOPERM,
            hint=f"chmod 600 {shlex.quote(str(path))}",
        )
    return about


def _check_header(path: Path, newest: int) -> None:
    """Check program and version as the main file has them; the log may have a newer first page.

    Read as bytes: an older program must refuse a newer file before SQLite touches it.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_SIZE)
    except OSError as error:
        raise _cannot_be_read(path, error.strerror) from error
    if len(header) == _HEADER_SIZE and header.startswith(_MAGIC):
        version, application_id = _IDENTITY.unpack_from(header, 60)
        _judge_identity(path, application_id, version, newest)
    elif not _holds_something(_log(path)):  # whose first page may be intact
        if header.startswith(_MAGIC[: len(header)]):
            raise StoreUnusable(f"{path} is damaged: most of it is missing", hint=look_first(path))
        raise _no_database(path)


def _judge_identity(path: Path, application_id: int, version: int, newest: int) -> None:
    if application_id != APPLICATION_ID:
        raise StoreUnusable(
            f"{path} is the database of another program",
            hint="choose another place with --state-dir",
        )
    if version > newest:
        raise StoreUnusable(
            f"{path} was written by a newer version of this program (schema {version}, known is {newest})",
            hint="install the newer version again",
        )
    if version < 1:
        raise StoreUnusable(f"{path} is damaged: it has no schema version", hint=look_first(path))


def _check_log(path: Path) -> None:
    """A log beside the file must be this file's own, or pages of two databases would be mixed.

    Each start brings the main file up to date before anything is sent. So if the main file says that it is
    a backup, or that it was closed in order, the log can hold only what a start wrote that ended at once.
    A main file that cannot be read alone was being written by a checkpoint: it is not a replacement.
    """
    try:
        with closing(_alone(path)) as main, closing(open_plain(path, writer=False)) as whole:
            main.row_factory = sqlite3.Row
            alone, logged = (dict(db.execute(_HUB).fetchone() or {}) for db in (main, whole))
            if whole.execute(_COUNTS_OPENED).fetchone() is not None:  # else this was the row's
                logged["opened"] = whole.execute(_OPENED).fetchone()[0]
            torn = main.execute("PRAGMA integrity_check(hub)").fetchone()[0] != "ok"
            empty = not _committed_frames(path)
    except DISK_ERRORS as error:
        if is_disk_error(error) and not trouble_of(error)[1]:
            raise refusal(path, error) from error  # not known yet whether they belong together
        return  # the check of the whole reports the damage
    except (UnicodeDecodeError, OSError, struct.error):
        return
    if not (empty or torn or _is_torn(alone, logged) or _fits(alone, logged)):
        log = _log(path)
        raise StoreUnusable(
            f"{path} and {log.name} do not belong together: one was replaced but the other was not",
            hint=f"keep both; if {path.name} is a backup, move {log.name} to another directory; "
            f"or put the old {path.name} back",
        )


def _committed_frames(path: Path) -> int:
    """How many frames of the log are committed, by its index: 0 if it was cut off before its first commit.

    Call it while a connection is open that has read; see https://sqlite.org/walformat.html.
    """
    with _index(path).open("rb") as index:
        found: int = _LAST_FRAME.unpack(index.read(_LAST_FRAME.size))[0]
    return found


#: Columns of the row that are never NULL, and those that never change.
_ALWAYS, _FIXED = ("epoch", "clean", "opened", "anchored"), ("install_key", "instance_id", "created_at")


def _is_torn(alone: Mapping[str, object], logged: Mapping[str, object]) -> bool:
    """Whether the row of the main file is torn: the power failed in the middle of writing its page.

    A file that somebody put there has an intact row.
    """
    if any(type(alone.get(key)) is not type(logged.get(key)) for key in (*_FIXED, *_ALWAYS)):
        return True
    same = [alone.get(key) == logged.get(key) for key in _FIXED]
    return alone["clean"] not in (0, 1) or (any(same) and not all(same))


def _fits(alone: Mapping[str, object], logged: Mapping[str, object]) -> bool:
    """Whether the `hub` rows of the main file alone and with the log belong to the same database."""
    if alone.get("root") != logged.get("root"):
        return True  # the table was moved: its old place says nothing
    if alone.get("instance_id") != logged.get("instance_id"):
        return False
    begun = logged.get("restoring") is not None  # on this very file: only a start on a copy sets it
    if alone.get("copied_at") is not None:
        return begun
    if not alone.get("anchored"):
        return True  # of a version whose starts did not bring the main file up to date
    if alone["clean"] and alone["opened"] != logged["opened"] and not begun:
        return False
    return all(_number(alone[key]) <= _number(logged[key]) for key in ("epoch", "opened"))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _check_health(path: Path, newest: int) -> None:
    """Read the whole file: even one that was closed in order may have been damaged or truncated since.

    SQLite calls a file damaged, too, when the disk does not give a page (EIO). So every byte is read before
    the second check, which finds no damage if the error has passed.
    """
    if _is_healthy(path, newest):
        return
    for file in (path, _log(path)):
        try:
            _read_through(file)
        except OSError as error:
            raise _cannot_be_read(file, error.strerror) from error
    if not _is_healthy(path, newest):
        raise StoreUnusable(f"{path} is damaged", hint=look_first(path))


def _is_healthy(path: Path, newest: int) -> bool:
    """Whether SQLite finds nothing wrong. Raises `StoreUnusable` when it cannot look.

    After an unclean end each index is compared with its table, too. A file without a log beside it is read
    alone, so that no companion files are made. A rollback journal is played back, which takes a writer.
    """
    journaled = _holds_something(_journal(path))
    logged = journaled or _holds_something(_log(path))
    try:
        with closing(open_plain(path, writer=journaled) if logged else _alone(path)) as db:
            application_id: int = db.execute("PRAGMA application_id").fetchone()[0]
            version: int = db.execute("PRAGMA user_version").fetchone()[0]
            _judge_identity(path, application_id & 0xFFFFFFFF, version, newest)
            pages, page_size = (
                db.execute(f"PRAGMA {size}").fetchone()[0] for size in ("page_count", "page_size")
            )
            rows = db.execute("SELECT clean FROM hub").fetchall()
            check = "quick_check" if [row[0] for row in rows] == [1] else "integrity_check"
            verdict: str = db.execute(f"PRAGMA {check}(1)").fetchone()[0]
    except UnicodeDecodeError:  # SQLite quotes the file in its messages
        return False
    except DISK_ERRORS as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
            return False
        raise refusal(path, error) from error
    # SQLite reads the missing end of a last page as zeros, in which the check finds nothing.
    cut_off = not logged and path.stat().st_size < pages * page_size
    return verdict == "ok" and len(rows) == 1 and not cut_off


def _read_through(file: Path) -> None:
    """Read a file to its end, if it is there. Raises `OSError`."""
    with suppress(FileNotFoundError), file.open("rb", buffering=0) as stream:
        while stream.read(_PIECE):
            pass


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _journal(path: Path) -> Path:
    return path.with_name(path.name + "-journal")


def _index(path: Path) -> Path:
    return path.with_name(path.name + "-shm")


def _companions(path: Path) -> tuple[Path, ...]:
    return _log(path), _index(path), _journal(path)


def _holds_something(companion: Path) -> bool:
    """Whether there may be data outside the main file, because the last end was unclean."""
    try:
        return companion.stat().st_size > 0
    except FileNotFoundError:
        return False


def _alone(path: Path) -> sqlite3.Connection:
    """Open the main file without its log: no lock, no companion file. Reliable only if there is no log."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def refusal(path: Path, error: sqlite3.Error | MemoryError) -> StoreUnusable:
    """Explain an error of SQLite at opening to the person who started the daemon."""
    if isinstance(error, MemoryError):
        return StoreUnusable(
            f"{path} cannot be opened: out of memory",
            exit_status=EX_TEMPFAIL,
            hint="free some memory, then start hubd again; nothing is lost",
        )
    what, final = trouble_of(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return _no_database(path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreUnusable(
            f"{path} cannot be opened for writing: {what}",
            exit_status=EX_NOPERM,
            hint="the daemon needs write access to the file and its directory",
        )
    if code == sqlite3.SQLITE_BUSY:
        return StoreUnusable(
            f"{path} is locked by another program", exit_status=EX_TEMPFAIL, hint="stop that program"
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreUnusable(
            f"{path} cannot be opened: the disk is full",
            exit_status=EX_TEMPFAIL,
            hint="free disk space, then start hubd again; nothing is lost",
        )
    if lacks_disk_space(error):
        return StoreUnusable(
            f"{path} cannot be written: {what}",
            exit_status=EX_IOERR,
            hint="check the disk, and whether a quota or a limit on file size has been reached; "
            "nothing is lost",
        )
    if code == sqlite3.SQLITE_IOERR and not final:
        return _cannot_be_read(path, what)
    return StoreUnusable(f"{path} is damaged ({what})", hint=look_first(path))


def _cannot_be_read(path: Path, why: str | None) -> StoreUnusable:
    return StoreUnusable(
        f"{path} cannot be read: {why}", exit_status=EX_IOERR, hint="check the disk; nothing was changed"
    )


def _no_database(path: Path) -> StoreUnusable:
    return StoreUnusable(
        f"{path} is not a database",
        hint=f"if it is another program's file, choose another place with --state-dir; if not, "
        f"{look_first(path)}",
    )
