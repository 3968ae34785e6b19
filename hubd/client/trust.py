"""Whose daemon we talk to: nothing is sent to a program that another user could have put there."""

from __future__ import annotations

import ipaddress
import os
import socket as stdlib_socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import trio

from hubd.errors import Unreachable
from hubd.ownership import Weakness, administrators, find_weakness, folder_owner
from hubd.wire.places import SYSTEM_SOCKET, Place

SERVICE_USER = "messagehub"  #: owner of the system's daemon
_LISTEN = "0A"  #: a state in /proc/net/tcp
_TCP_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  #: proc_net_tcp.rst of the kernel

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def server_uid(sock: trio.socket.SocketType, path: Path, platform: str = sys.platform) -> int | None:
    """Who listens at `path`, according to the kernel; if it does not say, the owner of the socket's file.

    None if that is gone, too.
    """
    if platform.startswith("linux"):
        raw = sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_PEERCRED, struct.calcsize("3i"))
        uid: int = struct.unpack("3i", raw)[1]
        return uid
    try:
        return path.stat().st_uid
    except OSError:
        return None


def trusted_users(path: Path, *, named: bool) -> frozenset[int]:
    """Who may run the daemon at `path`: root, ourselves, and the service user in the system's own folder.

    If the user `named` the path, the owner of its folder is trusted, too.
    """
    trusted = set(administrators())
    if named and (owner := folder_owner(path)) is not None:
        trusted.add(owner)
    if Path(os.path.realpath(path)).parent == SYSTEM_SOCKET.parent:
        trusted |= _service_uids(SERVICE_USER)
    return frozenset(trusted)


def distrust(uid: int | None, path: Path, *, named: bool, stranger: str) -> Weakness | None:
    """Why the thing at `path`, which `uid` runs or owns, must not be used; None if it may be.

    `stranger` is the problem to report if we do not trust that user.

    Call this after connecting or opening: then later changes of the path do not matter.
    """
    trusted = trusted_users(path, named=named)
    weakness = find_weakness(path, also=trusted)
    if weakness is None and uid not in trusted:
        weakness = Weakness(
            problem=stranger if uid is None else f"{stranger} (uid {uid})",
            remedy="check --socket and HUBCTL_SOCKET",
        )
    if weakness is not None and not named:
        return Weakness(
            problem=weakness.problem,
            remedy=f"if it is the right one, pass it as --socket; otherwise {weakness.remedy}",
        )
    return weakness


def check_socket(sock: trio.socket.SocketType, path: Path, place: Place) -> None:
    """Check that a user we trust runs the program at the other end of a connected socket.

    Raises `Unreachable`.
    """
    uid = server_uid(sock, path)
    weakness = distrust(uid, path, named=not place.found, stranger="another user's program listens on it")
    if weakness is not None:
        raise Unreachable(
            f"the socket at {path} was not used: {weakness.problem}",
            code="permission_denied",
            hint=f"nothing was sent to it; {weakness.remedy}",
        )


def check_tcp(sock: trio.socket.SocketType, place: Place) -> None:
    """Check that only root, we or the owner of the endpoint file listen at the other end.

    A daemon that was killed leaves its endpoint file behind, and any user can take its port. If the kernel
    does not say who listens, only the proof in the handshake remains. Raises `Unreachable`.
    """
    strangers = tcp_server_uids(sock) - trusted_users(place.path, named=not place.found)
    if strangers:
        port = sock.getpeername()[1]
        raise Unreachable(
            f"another user's program (uid {min(strangers)}) listens on port {port}, which {place.path} names",
            code="permission_denied",
            hint="nothing was sent to it; the daemon that wrote this file has ended: start it again",
        )


def tcp_server_uids(sock: trio.socket.SocketType) -> frozenset[int]:
    """Who listens at the other end of a connected TCP socket on this machine, and who accepted it.

    Empty if the kernel does not say.
    """
    server, ours = (
        (ipaddress.ip_address(name[0]), int(name[1])) for name in (sock.getpeername(), sock.getsockname())
    )
    accepted, exact, wildcard = set(), set(), set()
    for local, remote, state, uid in _tcp_rows():
        if local[1] != server[1]:
            continue
        if state != _LISTEN and (local, remote) == (server, ours):
            accepted.add(uid)
        elif state == _LISTEN and local == server:
            exact.add(uid)
        elif state == _LISTEN and local[0].is_unspecified:
            wildcard.add(uid)
    return frozenset(accepted | (exact or wildcard))


def _tcp_rows() -> Iterator[tuple[tuple[_Address, int], tuple[_Address, int], str, int]]:
    """Each TCP socket on this machine: its address, its peer's, its state, its owner."""
    for table in _TCP_TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            yield _address(columns[1]), _address(columns[2]), columns[3], int(columns[7])


def _address(text: str) -> tuple[_Address, int]:
    """ "0100007F:1F90": words of 32 bits in the machine's byte order, in hexadecimal, and a port."""
    words, _, port = text.partition(":")
    packed = b"".join(
        int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8)
    )
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address, int(port, 16)


def _service_uids(name: str) -> set[int]:
    import pwd  # there is none on Windows

    try:
        return {pwd.getpwnam(name).pw_uid}
    except KeyError:
        return set()
