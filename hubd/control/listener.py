"""The socket file: who may bind it, how a stale one is replaced, and that only ours is removed.

The order of events closes the races: the lock file is held before anything is looked at, so two daemons
never judge the same socket at once; the mode is set between bind and listen, so nobody can connect to a
socket that is still open to all.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from hubd.errors import BadInput, Conflict

BACKLOG = 128
MAX_PATH = 107 if sys.platform.startswith("linux") else 103  #: octets in sun_path without its NUL


@contextmanager
def open_listener(path: Path) -> Iterator[trio.SocketListener]:
    """A listening unix socket with mode 0600 at `path`. On exit the file is removed if it is still ours.

    Raises `BadInput` for a path that cannot be a socket and `Conflict` for one that is taken.
    """
    if len(os.fsencode(path)) > MAX_PATH:
        raise BadInput.at(
            "socket",
            f"the path has {len(os.fsencode(path))} octets; a socket's may have {MAX_PATH}",
            hint="choose a shorter one with --socket",
        )
    _ensure_directory(path.parent)
    with _locked(path):
        _remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mine = _bind(sock, path)
            try:
                yield trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            finally:
                _remove_ours(path, mine)
        finally:
            sock.close()


def _ensure_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)  # only the last one: a typo makes no tree
        mode = directory.stat().st_mode
    except OSError as exc:
        raise BadInput.at(
            "socket", f"the directory cannot be made: {exc.strerror}", hint="choose another with --socket"
        ) from exc
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise BadInput.at(
            "socket",
            "everybody may write to its directory and put another socket in its place",
            hint=f"chmod 0700 {directory}",
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold `path`.lock. The file stays: removing it would let a third one lock another file of its name."""
    lock = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise BadInput.at("socket", f"its lock file cannot be opened: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _taken() from None
        yield
    finally:
        os.close(fd)


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens to. Anything else is left alone."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(
            f"{path} is there and is not a socket",
            code="socket_path_taken",
            hint="choose another path with --socket, or move that file away",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(os.fspath(path))
    if answer not in (errno.ECONNREFUSED, errno.ENOENT):
        raise _taken()
    path.unlink(missing_ok=True)


def _taken() -> Conflict:
    return Conflict(
        "another program listens on this socket",
        code="socket_in_use",
        hint="stop it, or choose another path with --socket",
    )


def _bind(sock: socket.socket, path: Path) -> tuple[int, int]:
    """Bind, set the mode, listen. Returns which file it is."""
    try:
        sock.bind(os.fspath(path))
        os.chmod(path, 0o600)
        sock.listen(BACKLOG)
        made = path.lstat()
    except OSError as exc:
        raise BadInput.at("socket", f"{path} cannot be a socket: {exc.strerror}") from exc
    return made.st_dev, made.st_ino


def _remove_ours(path: Path, mine: tuple[int, int]) -> None:
    try:
        there = path.lstat()
        if (there.st_dev, there.st_ino) == mine:
            path.unlink()
    except OSError:
        pass  # gone already, or the directory is: nothing is left to clean
