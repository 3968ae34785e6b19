"""One window for one daemon: a second start shows the first one's window and ends.

The first holds a lock, and listens on a socket beside it in a folder that is this user's alone.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from hubd.client import Place

MAX_PATH = 1000  #: bytes of what is asked: a path of the page
MAX_FOLDER = 70  #: bytes: with the name of a socket it has to fit in 107 (unix(7)), or 103 on macOS
SECONDS = 5.0  #: for the first one to answer


class First:
    """The only window for its daemon. `show` is called, in a thread, with the path a second start wants."""

    def __init__(self, listener: socket.socket | None) -> None:
        self._listener = listener
        self.show: Callable[[str], None] = lambda _path: None

    def listen(self) -> None:
        """Serve second starts until the listener is closed."""
        if self._listener is not None:
            threading.Thread(target=self._serve, name="instance", daemon=True).start()

    def _serve(self) -> None:
        assert self._listener is not None
        with suppress(OSError):  # closed: the program ends
            while True:
                asked, _ = self._listener.accept()
                with asked, suppress(OSError, UnicodeDecodeError):
                    asked.settimeout(SECONDS)
                    self.show(asked.recv(MAX_PATH).decode())
                    asked.sendall(b"shown")


@contextmanager
def only_instance(place: Place, path: str, environ: Mapping[str, str]) -> Iterator[First | None]:
    """The first one, or None when another one runs and has been asked to show `path`."""
    folder = _folder(environ)
    if folder is None:
        yield First(None)
        return
    name = f"hubview-{hashlib.sha256(os.fsencode(place.path.absolute())).hexdigest()[:12]}"
    lock = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if not _lock(lock):
            _ask(folder / f"{name}.sock", path)
            yield None
            return
        with socket.socket(socket.AF_UNIX) as listener:
            where = folder / f"{name}.sock"
            where.unlink(missing_ok=True)  # of one that was killed: we hold its lock
            listener.bind(os.fspath(where))
            listener.listen()
            try:
                yield First(listener)
            finally:
                where.unlink(missing_ok=True)
                with suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
    finally:
        os.close(lock)


def _folder(environ: Mapping[str, str]) -> Path | None:
    """A folder for this user only; None where there is none, and then each start has its window."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if sys.platform == "win32" or not Path(runtime).is_absolute():
        return None
    folder = Path(runtime) / "messagehub"
    if len(os.fsencode(folder)) > MAX_FOLDER:
        return None
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            return None
    except OSError:
        return None
    return folder


def _lock(fd: int) -> bool:
    import fcntl  # there is none on Windows

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _ask(where: Path, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(SECONDS)
        with suppress(OSError):  # it is starting or ending: its window is what the user sees
            asking.connect(os.fspath(where))
            asking.sendall(path.encode())
            asking.recv(16)
