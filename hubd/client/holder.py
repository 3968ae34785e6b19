"""Finds a running daemon whose socket file somebody removed: it still holds the lock beside it."""

from __future__ import annotations

from pathlib import Path

#: Who holds which lock, see proc_locks(5). Reading it changes nothing, unlike trying to lock the file.
_LOCKS = Path("/proc/locks")


def holder_of(socket: Path, locks: Path = _LOCKS) -> int | None:
    """The process that serves a socket whose file is gone; None if there is none, or if it cannot be seen.

    Its lock file and the kernel must name the same process, so that nobody is told to signal the wrong one.
    """
    lock = socket.with_name(socket.name + ".lock")
    try:
        holder = int(lock.read_text(encoding="ascii"))
        inode = lock.stat().st_ino
        held = [line.split() for line in locks.read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):
        return None
    wanted = ["FLOCK", str(holder), str(inode)]
    found = [[words[1], words[4], words[5].rpartition(":")[2]] for words in held if len(words) > 5]
    return holder if wanted in found else None
