"""One daemon per state directory.

The lock is a file of its own, apart from the database: closing any descriptor of the database file would drop
the locks that SQLite holds on it. The kernel lets go of it when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hubd.errors import Conflict, HubError

#: Errors of a file system without locks, such as NFS without its lock service.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_now(descriptor: int) -> bool:
    """Lock an open file without waiting; whether that succeeded. The lock ends with the process.

    Raises `OSError` if the file cannot be locked at all; `lock_problem` explains it.
    """
    try:
        _try_lock(descriptor)
    except (BlockingIOError, PermissionError):  # EWOULDBLOCK of flock; EACCES of Windows
        return False
    return True


def lock_problem(error: OSError, folder: Path) -> str:
    """A sentence for people: why files in `folder` cannot be locked."""
    if error.errno in _NO_LOCKS:
        return f"the file system of {folder} does not support file locks"
    return f"files in {folder} cannot be locked: {error.strerror}"


@contextmanager
def sole_holder(path: Path) -> Iterator[None]:
    """Hold the lock for the length of the block.

    Raises `Conflict` (code `already_running`) naming the holder's process id; the holder is not affected.
    Raises `HubError` (code `state_dir`) when the file cannot be opened, or when its file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HubError(
            f"the lock {path} cannot be opened: {error.strerror}",
            code="state_dir",
            hint="the daemon needs write access to it and to its directory",
        ) from None
    try:
        try:
            locked = lock_now(descriptor)
        except OSError as error:
            raise HubError(
                lock_problem(error, path.parent),
                code="state_dir",
                hint="choose a local disk with --state-dir",
            ) from None
        if not locked:
            holder = os.pread(descriptor, 64, 1).decode("ascii", "replace").strip() or "unknown"
            raise Conflict(
                f"another hubd (process {holder}) is already using {path.parent}",
                code="already_running",
                hint="talk to it with hubctl, or start this one with another --state-dir",
            ) from None
        with suppress(OSError):  # the number is only for people; a full disk is told of elsewhere
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f" {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
