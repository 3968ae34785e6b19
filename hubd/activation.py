"""Sockets that the service manager opened before it started us (sd_listen_fds(3)).

systemd binds the sockets, sets their mode and group, and hands them over as descriptors from number 3 on. It
keeps them while the daemon is down: a client that calls in the meantime waits and is not refused. Their files
belong to systemd, so hubd must not remove them.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import MutableMapping

from hubd.errors import BadInput

CONTROL, OBSERVE = "control", "observe"
FIRST = 3  #: SD_LISTEN_FDS_START
_DIGITS = 4  #: of a count of descriptors that can be meant
_VARIABLES = ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "LISTEN_PIDFDID")
_AT = "the inherited socket"


def inherited(environ: MutableMapping[str, str]) -> dict[str, socket.socket]:
    """The sockets that were handed to this process, by their names: `control`, `observe`; {} for none.

    A single socket that has no name of ours is `control`. The variables are taken out of `environ` and the
    descriptors are closed on exec, so that no child believes that they are its own. Raises `BadInput` for
    descriptors that are no listening unix sockets, or whose names say nothing to us.
    """
    count, names, owner, _ = (environ.pop(name, "") for name in _VARIABLES)
    if not count or owner != str(os.getpid()):
        return {}
    if not count.isascii() or not count.isdecimal() or len(count) > _DIGITS:
        raise BadInput.at(_AT, "LISTEN_FDS is not a number", hint="start hubd through its socket unit")
    descriptors = range(FIRST, FIRST + int(count))
    for descriptor in descriptors:
        _keep_from_children(descriptor)
    named = _named(names.split(":") if names else [], len(descriptors))
    found: dict[str, socket.socket] = {}
    for name, descriptor in zip(named, descriptors, strict=True):
        found[name] = _listening(name, descriptor)
    return found


def _named(names: list[str], count: int) -> list[str]:
    """A name of ours for each descriptor, no two alike."""
    if count == 1 and (not names or names[0] not in (CONTROL, OBSERVE)):
        return [CONTROL]
    if len(names) != count or len(set(names)) != count or not set(names) <= {CONTROL, OBSERVE}:
        raise BadInput.at(
            _AT,
            f"got {count} sockets whose names are not {CONTROL} and {OBSERVE}",
            hint=f"give each socket unit FileDescriptorName={CONTROL} or {OBSERVE}",
        )
    return names


def _keep_from_children(descriptor: int) -> None:
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        raise BadInput.at(
            _AT, f"descriptor {descriptor} is not open", hint="start hubd through its socket unit"
        ) from None


def _listening(name: str, descriptor: int) -> socket.socket:
    """The socket of a descriptor that listens on a unix socket. Raises `BadInput` for any other."""
    hint = "the socket unit needs ListenStream= with a path"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        raise BadInput.at(_AT, f"{name} is not a socket", hint=hint) from None
    fits = (
        sys.platform != "win32"
        and sock.family == socket.AF_UNIX
        and sock.type == socket.SOCK_STREAM
        and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        # One in the abstract namespace has no mode and no owner: everybody would be an operator.
        and str(sock.getsockname()).startswith("/")
    )
    if not fits:
        sock.detach()  # it is somebody else's to close
        raise BadInput.at(_AT, f"{name} does not listen on a unix socket with a path", hint=hint)
    return sock
