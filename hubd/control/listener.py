"""What clients connect to: socket files, inherited sockets, and a loopback port with its endpoint file.

Socket files: who may bind one, how a stale one is replaced, and that only ours is removed. The order of
steps closes the races: the lock file is held before anything is looked at, so two daemons never judge the
same socket at once; the mode is set between bind and listen, so no client can connect to a socket that is
still open to all.

Where there are no unix sockets (Windows), an endpoint file replaces the socket file: it holds the address
of the TCP listener and a token, and whoever can read it may use the daemon. That file and that listener were
tested on Linux; nothing here was tested on Windows.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from hubd.errors import BadInput, Conflict
from hubd.files import replace_file
from hubd.lock import lock_now, lock_problem
from hubd.ownership import administrators, find_weakness, folder_owner

BACKLOG = 128
MAX_PATH = 107 if sys.platform.startswith("linux") else 103  #: bytes in sun_path without its NUL
LOOPBACK = ("127.0.0.1", "::1")


@contextmanager
def open_listener(path: Path) -> Iterator[trio.SocketListener]:
    """A listening unix socket with mode 0600 at `path`. On exit the file is removed if it is still ours.

    Raises `BadInput` for a path that cannot be a socket and `Conflict` for one that is taken.
    """
    if len(os.fsencode(path)) > MAX_PATH:
        raise BadInput.at(
            "socket",
            f"the path has {len(os.fsencode(path))} bytes; a socket path may have {MAX_PATH}",
            hint="choose a shorter one with --socket",
        )
    _ensure_directory(path, "socket")
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


@contextmanager
def adopt_listener(sock: socket.socket) -> Iterator[trio.SocketListener]:
    """A socket that another program made and that listens already: its file is never looked at or removed.

    The socket is left open at the end: clients that connect while no daemon runs wait in its backlog.
    """
    with sock.dup() as ours:
        yield trio.SocketListener(trio.socket.from_stdlib_socket(ours))


async def open_loopback(host: str, port: int) -> trio.SocketListener:
    """A TCP listener on a loopback address; port 0 takes a free one.

    Raises `BadInput` for an address that others can reach, and `Conflict` for a port that is taken.
    """
    if host not in LOOPBACK:
        raise BadInput.at(
            "tcp",
            f"{host} can be reached from elsewhere",
            hint="use 127.0.0.1 or [::1]; from another machine, forward the unix socket with ssh -L",
        )
    try:
        (listener,) = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise Conflict(
                f"another program listens on port {port}",
                code="port_in_use",
                hint="choose another one with --tcp, or port 0 for any free one",
            ) from exc
        raise BadInput.at("tcp", f"port {port} of {host} cannot be used: {exc.strerror}") from exc
    return listener


@contextmanager
def endpoint_file(path: Path, record: Mapping[str, object]) -> Iterator[None]:
    """A file with the address of a listener and a token, for the owner only, until the block ends.

    It appears whole or not at all, and is removed if it is still ours. Raises `BadInput`. On Windows the mode
    means nothing: there the directory's access list keeps others out.
    """
    _ensure_directory(path, "endpoint")
    text = json.dumps(record)
    try:
        replace_file(path, text.encode("ascii"))
    except OSError as exc:
        raise BadInput.at("endpoint", f"{path} cannot be written: {exc.strerror}") from exc
    try:
        yield
    finally:
        with suppress(OSError, UnicodeDecodeError):  # gone already, or another's
            if path.read_text(encoding="ascii") == text:
                path.unlink()


def _ensure_directory(path: Path, what: str) -> None:
    """Make the folder of `path` if needed, and check that no other user can replace a file in it."""
    _check_folders(path, what)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)  # only the last one: a typo must not create a tree
    except OSError as exc:
        raise BadInput.at(
            what, f"the directory cannot be created: {exc.strerror}", hint=f"choose another with --{what}"
        ) from exc
    _check_folders(path, what)  # the check that counts: now nobody else can change it


def _check_folders(path: Path, what: str) -> None:
    """Accept another user's folder, because it was named, unless anybody could have made it."""
    if (weakness := find_weakness(path, also=[folder_owner(path)])) is not None:
        raise BadInput.at(what, weakness.problem, hint=f"{weakness.remedy} with --{what}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold `path`.lock. The file stays: if it were removed, a third daemon could lock a new file there."""
    if sys.platform == "win32":
        raise BadInput.at("socket", "this system has no unix sockets", hint="use --tcp 127.0.0.1:0")
    lock = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise BadInput.at("socket", f"its lock file cannot be opened: {exc.strerror}") from exc
    try:
        if os.fstat(fd).st_uid not in administrators():
            raise BadInput.at(
                "socket", f"{lock} belongs to another user", hint="choose another path with --socket"
            )
        try:
            locked = lock_now(fd)
        except OSError as exc:
            raise BadInput.at(
                "socket", lock_problem(exc, lock.parent), hint="choose a path on a local disk with --socket"
            ) from None
        if not locked:
            raise _taken()
        with suppress(OSError):  # the number is only for people
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
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
            f"{path} exists and is not a socket",
            code="socket_path_taken",
            hint="choose another path with --socket, or move that file away",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(os.fspath(path))
    if answer not in (errno.ECONNREFUSED, errno.ENOENT):
        raise _taken()
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise BadInput.at(
            "socket",
            f"{path} was left behind and cannot be removed: {exc.strerror}",
            hint="remove it, or choose another path with --socket",
        ) from None


def _taken() -> Conflict:
    return Conflict(
        "another program listens on this socket",
        code="socket_in_use",
        hint="stop it, or choose another path with --socket",
    )


def _bind(sock: socket.socket, path: Path) -> tuple[int, int]:
    """Bind, set the mode, listen. Returns the identity of the file."""
    try:
        sock.bind(os.fspath(path))
        os.chmod(path, 0o600)
        sock.listen(BACKLOG)
        made = path.lstat()
    except OSError as exc:
        raise BadInput.at("socket", f"{path} cannot be used for a socket: {exc.strerror}") from exc
    return made.st_dev, made.st_ino


def _remove_ours(path: Path, mine: tuple[int, int]) -> None:
    try:
        there = path.lstat()
        if (there.st_dev, there.st_ino) == mine:
            path.unlink()
    except OSError:
        pass  # it or its directory is gone already: nothing is left to clean up
