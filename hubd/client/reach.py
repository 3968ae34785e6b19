"""Connecting to the daemon, and why it cannot be reached: one error per cause, with the next step."""

from __future__ import annotations

import os
import socket as stdlib_socket
import struct
import sys
from pathlib import Path

import trio

from hubd.errors import BadInput, HubError, Unreachable, VersionSkew
from hubd.wire import SUBPROTOCOL
from hubd.wire.places import Place

SERVICE_USER = "messagehub"  #: owner of the system's daemon


async def connect(place: Place) -> trio.SocketStream:
    """A stream to a daemon that is run by somebody we may trust."""
    path = place.path
    try:
        stream = await trio.open_unix_socket(path)
    except FileNotFoundError:
        raise _missing(place) from None
    except (PermissionError, NotADirectoryError) as exc:
        raise Unreachable(
            f"you may not use the socket at {path}",
            code="permission_denied",
            hint=f"you are uid {os.getuid()}; use it as the user who runs hubd",
        ) from exc
    except ConnectionRefusedError:
        raise Unreachable(
            f"hubd is not running: the socket at {path} is left over from one that ended",
            code="refused",
            hint="start it with: hubd",
        ) from None
    except OSError as exc:
        if len(os.fsencode(path)) > 103:
            raise BadInput.at(
                "socket", "the path is too long for a socket", hint="use a shorter one"
            ) from None
        raise Unreachable(
            f"the socket at {path} cannot be used: {exc.strerror or exc}", code="refused"
        ) from exc
    if not _trusted(_server_uid(stream)):
        await trio.aclose_forcefully(stream)
        raise Unreachable(
            f"the socket at {path} belongs to another user's program",
            code="permission_denied",
            hint="nothing was sent to it; look at --socket and HUBCTL_SOCKET",
        )
    return stream


def _missing(place: Place) -> Unreachable:
    """No socket, in words that name every path that was looked at and who named it."""
    if place.chosen:
        where, start = f"{place.path} ({place.chosen})", f"hubd --socket {place.path}"
    else:
        where, start = " or ".join(map(str, place.tried)), "hubd"
    return Unreachable(
        f"hubd is not running: no socket at {where}",
        code="socket_missing",
        hint=f"start it with: {start}   (or see everything at once: hubctl demo)",
        data={"tried": [str(path) for path in place.tried]},
    )


def not_hubd(path: Path) -> Unreachable:
    """Somebody answers, in another language."""
    return Unreachable(
        f"what answers at {path} is not hubd",
        code="not_hubd",
        hint="look at --socket and HUBCTL_SOCKET",
    )


def rejection(path: Path, status: int, body: str) -> HubError:
    """The daemon answered the handshake with a status instead of a websocket."""
    words = body.strip()[:200]
    if status == 403:
        return Unreachable(
            f"the daemon at {path} does not let you in: {words}",
            code="permission_denied",
            hint="use it as the user who runs it",
        )
    if status == 503:
        return Unreachable(
            f"the daemon at {path} is busy: {words}",
            code="busy",
            hint="too many clients are connected; try again in a moment",
        )
    if SUBPROTOCOL.rsplit(".", 1)[0] in words:
        return VersionSkew(
            f"this client speaks {SUBPROTOCOL}; {words}", hint="install the same version on both sides"
        )
    return not_hubd(path)


def _server_uid(stream: trio.SocketStream) -> int | None:
    """Who listens, as the kernel says; None where it does not say."""
    if not sys.platform.startswith("linux"):
        return None
    raw = stream.socket.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", raw)[1]
    return uid


def _trusted(uid: int | None) -> bool:
    if uid is None or uid in (0, os.getuid()) or os.getuid() == 0:
        return True
    import pwd  # there is none on Windows

    try:
        return uid == pwd.getpwnam(SERVICE_USER).pw_uid
    except KeyError:
        return False
