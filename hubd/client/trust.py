"""Whose daemon we talk to: nothing is sent to a program that any other user could have put there."""

from __future__ import annotations

import os
import socket as stdlib_socket
import struct
import sys
from pathlib import Path

import trio

SERVICE_USER = "messagehub"  #: owner of the system's daemon


def server_uid(sock: trio.socket.SocketType, path: Path, platform: str = sys.platform) -> int | None:
    """Who listens at `path`: as the kernel says; where it does not say, the owner of the socket's file.

    None when that is gone, too.
    """
    if platform.startswith("linux"):
        raw = sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_PEERCRED, struct.calcsize("3i"))
        uid: int = struct.unpack("3i", raw)[1]
        return uid
    try:
        return path.stat().st_uid
    except OSError:
        return None


def is_trusted(uid: int | None, path: Path) -> bool:
    """Whether `uid` may be behind `path`: the administrator, ourselves, the service, or who owns its folder.

    The owner of the folder decides what is in it, so who named the path meant that one.
    """
    return uid is not None and (
        uid in (0, os.getuid(), _owner(path.parent)) or uid == _service_uid(SERVICE_USER)
    )


def _owner(folder: Path) -> int | None:
    try:
        return folder.stat().st_uid
    except OSError:
        return None


def _service_uid(name: str) -> int | None:
    import pwd  # there is none on Windows

    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None
