"""One daemon per state directory.

The lock is a file of its own, apart from the database: closing any descriptor of the database file would drop
the locks that SQLite holds on it. The kernel lets go of it when the process ends, however it ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hubd.errors import Conflict, HubError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def sole_holder(path: Path) -> Iterator[None]:
    """Hold the lock for the length of the block.

    Raises `Conflict` (code `already_running`) naming the holder's process id; the holder is not affected.
    Raises `HubError` (code `state_dir`) when the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HubError(
            f"the lock {path} cannot be opened: {error.strerror}",
            code="state_dir",
            hint="the daemon needs to write to it and to its directory",
        ) from None
    try:
        try:
            _try_lock(descriptor)
        except OSError:
            holder = os.pread(descriptor, 64, 1).decode("ascii", "replace").strip() or "unknown"
            raise Conflict(
                f"another hubd (process {holder}) already runs on {path.parent}",
                code="already_running",
                hint="talk to it with hubctl, or give this one another --state-dir",
            ) from None
        with suppress(OSError):  # the number is only for people; a full disk is told of elsewhere
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f" {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
