"""Connecting to the daemon, and why it cannot be reached: one error per cause, with the next step."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import trio

from hubd.client.endpoint import Endpoint, read_endpoint
from hubd.client.holder import holder_of
from hubd.client.starting import start_command
from hubd.client.trust import check_socket, check_tcp
from hubd.errors import BadInput, HubError, Unreachable, VersionSkew
from hubd.wire import HOST, SUBPROTOCOL
from hubd.wire.places import VIEWERS_NAME, Place

FULL_SECONDS = 0.05  #: until a socket with a full backlog is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A stream to a daemon, how it was found, and the credentials for it."""

    stream: trio.abc.Stream = field(repr=False)
    place: Place
    where: str  #: for people: the socket, or an address and the file that names it
    because: str = ""  #: why it is not the first choice
    endpoint: Endpoint | None = None

    def describe(self) -> str:
        """Where it is and why it was chosen, in words; never the token."""
        why = self.because or self.place.chosen or "found there"
        if self.endpoint is None:
            return f"{self.where} ({why})"
        return f"{self.endpoint.authority} ({self.place.path}, {why})"

    @property
    def host(self) -> str:
        """The Host header."""
        return HOST if self.endpoint is None else self.endpoint.authority

    @property
    def proof(self) -> str:
        """The secret that the daemon must prove it has; "" where something else says who listens."""
        return "" if self.endpoint is None else self.endpoint.proof

    @property
    def token(self) -> str:
        """The token to connect with where the kernel does not say who calls; "" elsewhere."""
        return "" if self.endpoint is None else self.endpoint.token


async def connect(place: Place) -> Reached:
    """Open a stream to a daemon run by a trusted user. Raises `Unreachable` or `BadInput`."""
    if place.endpoint:
        return await _connect_endpoint(place)
    try:
        stream = await _open_socket(place.path)
    except (FileNotFoundError, PermissionError) as exc:
        because = f"{place.path} is {'not yours to use' if isinstance(exc, PermissionError) else 'not there'}"
        viewers = await _connect_viewers(place)
        if viewers is None:
            raise _why(place, exc) from None
        stream, where = viewers, place.viewers or place.path
    except OSError as exc:
        raise _why(place, exc) from None
    else:
        because, where = "", place.path
    try:
        check_socket(stream.socket, where, place)
    except Unreachable:
        await trio.aclose_forcefully(stream)
        raise
    return Reached(stream=stream, place=place, where=str(where), because=because)


async def _open_socket(path: Path) -> trio.SocketStream:
    """A stream to a unix socket; waits while its backlog is full.

    Linux then refuses with EAGAIN, which Trio takes for a connection that is being made.
    """
    while True:
        stream = await trio.open_unix_socket(path)
        try:
            stream.socket.getpeername()
        except OSError:
            await trio.aclose_forcefully(stream)
            await trio.sleep(FULL_SECONDS)
        else:
            return stream


async def _connect_viewers(place: Place) -> trio.SocketStream | None:
    """A stream to the socket for viewers, if there is one that may be used."""
    if place.viewers is None:
        return None
    try:
        return await _open_socket(place.viewers)
    except OSError:
        return None


async def _connect_endpoint(place: Place) -> Reached:
    endpoint = read_endpoint(place)
    sock = trio.socket.socket(trio.socket.AF_INET6 if ":" in endpoint.host else trio.socket.AF_INET)
    try:
        await sock.connect((endpoint.host, endpoint.port))
        check_tcp(sock, place)
    except OSError as exc:
        sock.close()
        raise Unreachable(
            f"hubd is not running: nothing listens at {endpoint.authority}, named in {place.path}"
            if isinstance(exc, ConnectionRefusedError)
            else f"{endpoint.authority}, named in {place.path}, cannot be used: {exc.strerror or exc}",
            code="refused",
            hint=f"start it with: {start_command(place)}",
        ) from None
    except BaseException:
        sock.close()
        raise
    where = f"{endpoint.authority} ({place.path})"
    return Reached(stream=trio.SocketStream(sock), place=place, where=where, endpoint=endpoint)


def is_outdated(reached: Reached) -> bool:
    """Whether the endpoint file has changed: the daemon was restarted meanwhile.

    A new daemon writes the file before it accepts connections, so a refused client finds the new file.
    """
    return reached.endpoint is not None and read_endpoint(reached.place) != reached.endpoint


# -- why not -----------------------------------------------------------------------------------------------


def _why(place: Place, exc: OSError) -> HubError:
    """The error for a socket that cannot be connected to."""
    path = place.path
    if isinstance(exc, FileNotFoundError):
        return _missing(place)
    if isinstance(exc, PermissionError | NotADirectoryError):
        return Unreachable(
            f"you may not use the socket at {path}", code="permission_denied", hint=_how_to_be_let_in(place)
        )
    if isinstance(exc, ConnectionRefusedError):
        return Unreachable(
            f"hubd is not running: the socket at {path} is left over from an earlier one",
            code="refused",
            hint=f"start it with: {start_command(place)}",
        )
    if len(os.fsencode(path)) > 103:
        return BadInput.at("socket", "the path is too long for a socket", hint="use a shorter one")
    return Unreachable(
        f"the socket at {path} cannot be used: {exc.strerror or exc}",
        code="refused",
        hint="check --socket and HUBCTL_SOCKET",
    )


def _missing(place: Place) -> Unreachable:
    """The error for a missing socket, with every path that was tried and where it was named."""
    for path in dict.fromkeys((place.path, *place.tried)):
        if (holder := holder_of(path)) is not None:
            return Unreachable(
                f"hubd (process {holder}) is running, but its socket {path} was removed",
                code="socket_missing",
                hint=f"to create the socket again: kill -HUP {holder}",
                data={"tried": [str(path) for path in place.tried]},
            )
    if place.chosen:
        where = f"{place.path} ({place.chosen})"
    else:
        looked = [path for path in place.tried if path.name != VIEWERS_NAME]
        where = " or ".join(map(str, looked or place.tried))
    return Unreachable(
        f"hubd is not running: no socket at {where}",
        code="socket_missing",
        hint=f"start it with: {start_command(place)}   (or try everything with: hubctl demo)",
        data={"tried": [str(path) for path in place.tried]},
    )


def _how_to_be_let_in(place: Place) -> str:
    """A hint at who may use the socket: its group, or if it has none, only its owner."""
    group = group_of(place.path)
    if not group:
        return f"you are uid {os.getuid()}; run it as the user who runs hubd"
    viewers = place.path.with_name(VIEWERS_NAME)
    look = (
        f"; for read-only access, use {viewers}"
        if os.path.lexists(viewers) and viewers != place.viewers
        else ""
    )
    return f"you are uid {os.getuid()}; {_join(group)}{look}"


def group_of(path: Path) -> str:
    """The group whose members may use a socket; "" when it is for its owner only, or cannot be seen."""
    try:
        about = path.stat()
    except OSError:
        return ""
    if not about.st_mode & stat.S_IWGRP:
        return ""
    import grp  # there is none on Windows

    try:
        return grp.getgrgid(about.st_gid).gr_name
    except KeyError:
        return str(about.st_gid)


def _join(group: str) -> str:
    return f"its group is {group}: usermod -aG {group} NAME, then log in again"


def not_hubd(where: str) -> Unreachable:
    """The error for an answer from another program."""
    return Unreachable(
        f"the program at {where} is not hubd",
        code="not_hubd",
        hint="check --socket and HUBCTL_SOCKET",
    )


def rejection(reached: Reached, status: int, body: str) -> HubError:
    """The error when the daemon answered the handshake with a status instead of a websocket."""
    words = body.strip()[:200]
    where = reached.where
    if status == 401 and reached.endpoint is not None:
        return _unknown_token(reached)
    if status == 403:
        return Unreachable(
            f"the daemon at {where} refused you: {words}",
            code="permission_denied",
            hint="use it as the user who runs it",
        )
    if status in (408, 503):
        return Unreachable(
            f"the daemon at {where} is busy: {words}",
            code="busy",
            hint="too many clients are connected; try again in a moment",
        )
    if SUBPROTOCOL.rsplit(".", 1)[0] in words:
        return VersionSkew(
            f"this client speaks {SUBPROTOCOL}; {words}",
            hint="install the same version on both sides, then end the hubd that runs as it was started",
        )
    return not_hubd(where)


def _unknown_token(reached: Reached) -> Unreachable:
    place = reached.place
    if place.token_file is not None:
        data, hint = (
            f"in {place.token_file} ",
            "put a token of the running daemon there; a ticket works only once",
        )
    else:
        data, hint = "", f"{place.path} does not belong to the hubd that listens there: restart hubd"
    return Unreachable(
        f"the daemon at {reached.where} does not know the token {data}".rstrip(),
        code="unauthenticated",
        hint=hint,
    )


def for_operators(reached: Reached) -> str:
    """What a viewer can do to become an operator, besides what the daemon itself says."""
    if reached.endpoint is not None:
        return "the token in the endpoint file of hubd is an operator's"
    if reached.because:
        control = reached.place.path
        if (holder := holder_of(control)) is not None and not os.path.lexists(control):
            way_out = f"to create that socket again: kill -HUP {holder}"
        elif not os.path.lexists(control):
            way_out = f"start it with: {start_command(reached.place)}"
        else:
            group = group_of(control)
            way_out = _join(group) if group else "run it as the user who runs hubd"
        return f"you have read-only access through {reached.where}, because {reached.because}; {way_out}"
    return ""
