"""Files that are replaced whole, names that survive a power cut, and text as editors leave it."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def replace_file(
    path: Path,
    data: bytes,
    *,
    mode: int = 0o600,
    new: Path | None = None,
    before: Callable[[], object] = lambda: None,
) -> None:
    """Put a file with these bytes in the place of `path`, durably: no reader ever sees a part of it.

    Until it is complete it is called `new`: a name that no other process uses, in the same directory.
    `before` is called just before the old file is replaced; what it raises ends the attempt.
    Raises `OSError`. Whatever is raised, the old file stays, unless only its directory could not be flushed.
    """
    new = new or path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with open(descriptor, "wb") as stream:
            if mode != 0o600 and hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)  # `os.open` leaves out what the umask forbids
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        before()
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises `OSError`."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def decoded(data: bytes) -> str:
    """The text of a small file that a person wrote: editors on Windows begin it with a byte order mark, and
    PowerShell writes UTF-16. Raises `UnicodeDecodeError`.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")
