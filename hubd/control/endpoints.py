"""The listeners of the daemon, and what happens when somebody removes a socket file.

Nobody can connect to a socket whose file is gone, although it still listens. `Endpoints` notices that,
reports it in the log and as an event, and creates the file again when asked to (SIGHUP); open connections
stay open.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from hubd.control.listener import adopt_listener, open_listener, open_loopback
from hubd.control.roles import Role
from hubd.control.tickets import Frequency
from hubd.errors import BadInput, HubError, StoreUnavailable

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0  #: seconds between looks at the socket files
Record = Callable[[str, None, Mapping[str, object]], Awaitable[object]]  #: appends an event
_ROLES = {"control": Role.OPERATOR, "observe": Role.VIEWER}


@dataclass(slots=True, kw_only=True, eq=False)
class Endpoint:
    """One listener, and what it says about the clients that use it."""

    name: str  #: "control", "observe" or "tcp"
    listener: trio.SocketListener
    role: Role | None  #: None: the token decides
    own: bool = True  #: we made the socket, so it is for our own user; else its mode and group decide
    port: int | None = None
    path: Path | None = None  #: of a socket file
    file: tuple[int, int] | None = None  #: which file it is, according to `os.stat`; None: not watched
    made: ExitStack = field(default_factory=ExitStack)  #: what removes our socket file
    made_again: trio.Event = field(default_factory=trio.Event)  #: there is another listener now
    connections: int = 0  #: open ones, including those that have not said yet who they are
    left: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)  #: woken when one ends
    wrong: Frequency = field(
        default_factory=lambda: Frequency(trio.current_time)
    )  #: refusals because of the token
    refused: Frequency = field(default_factory=lambda: Frequency(trio.current_time))  #: all other refusals

    @property
    def remedy(self) -> str:
        """What brings back a socket file that is gone."""
        if self.own:
            return f"to create it again, run: kill -HUP {os.getpid()}"
        return "restart its systemd units: systemctl restart hubd.socket hubd-observe.socket hubd.service"


class Endpoints:
    """All listeners of this daemon, while `open` is entered; none before."""

    def __init__(self) -> None:
        self.listed: list[Endpoint] = []

    @asynccontextmanager
    async def open(
        self,
        control: Path | None,
        observe: Path | None,
        inherited: Mapping[str, socket.socket],
        tcp: tuple[str, int] | None,
    ) -> AsyncIterator[list[Endpoint]]:
        """Keep them open until the block ends; see `serve_control`. Raises `BadInput`, `Conflict`."""
        async with AsyncExitStack() as stack:
            opened: list[Endpoint] = []
            for name, path in (("control", control), ("observe", observe)):
                made = stack.enter_context(ExitStack())
                if sock := inherited.get(name):
                    listener, path = made.enter_context(adopt_listener(sock)), _path_of(sock)
                elif path is not None:
                    listener = made.enter_context(open_listener(path))
                else:
                    continue
                opened.append(
                    Endpoint(
                        name=name,
                        listener=listener,
                        role=_ROLES[name],
                        own=name not in inherited,
                        path=path,
                        file=_file_at(path),
                        made=made,
                    )
                )
            if tcp is not None:
                opened.append(await open_tcp(stack, *tcp))
            if not opened:
                raise BadInput.at(
                    "socket", "there is no socket to listen on", hint="start hubd with --tcp 127.0.0.1:0"
                )
            self.listed += opened
            try:
                yield opened
            finally:
                self.listed = [each for each in self.listed if each not in opened]

    def gone(self) -> list[Endpoint]:
        """Those whose socket file was removed, or replaced by another."""
        return [each for each in self.listed if each.file is not None and _file_at(each.path) != each.file]

    @property
    def trouble(self) -> str:
        """Which socket files are gone, in a sentence with what to do; "" for none."""
        return "; ".join(f"the socket {each.path} was removed; {each.remedy}" for each in self.gone())

    def make_again(self) -> None:
        """Create again those of our own socket files that are gone. Failures are logged."""
        for endpoint in self.gone():
            if not endpoint.own or endpoint.path is None:
                log.error("the socket %s was removed; %s", endpoint.path, endpoint.remedy)
                continue
            endpoint.listener.socket.close()  # by Trio, so that `accept` ends
            endpoint.made.close()
            try:
                endpoint.listener = endpoint.made.enter_context(open_listener(endpoint.path))
            except HubError as error:
                log.error("the socket %s cannot be created again: %s", endpoint.path, error)
                continue
            endpoint.file = _file_at(endpoint.path)
            endpoint.made_again.set()
            endpoint.made_again = trio.Event()

    async def watch(self, record: Record) -> None:
        """Report when a socket file is gone, and when it is back, until cancelled.

        `record` appends an event.
        """
        known: set[Path | None] = set()
        while True:
            gone = {each.path: each for each in self.gone()}
            for path in gone.keys() - known:
                log.error("the socket %s was removed: clients cannot connect; %s", path, gone[path].remedy)
                await _add(record, "hub.socket_removed", path=str(path), remedy=gone[path].remedy)
            for path in known - gone.keys():
                log.warning("the socket %s is back", path)
                await _add(record, "hub.socket_restored", path=str(path))
            known = set(gone)
            await trio.sleep(LOOK_EVERY)


async def _add(record: Record, kind: str, **data: object) -> None:
    try:
        await record(kind, None, data)
    except StoreUnavailable as error:
        log.warning("an event about a socket could not be recorded: %s", error)


async def open_tcp(stack: AsyncExitStack, host: str, port: int) -> Endpoint:
    """A listener on a loopback address, closed with the stack. Raises `BadInput` and `Conflict`."""
    listener = await stack.enter_async_context(await open_loopback(host, port))
    return Endpoint(name="tcp", listener=listener, role=None, port=listener.socket.getsockname()[1])


def _path_of(sock: socket.socket) -> Path | None:
    """The file of an inherited socket; None for one without a file."""
    address = sock.getsockname()
    return Path(address) if isinstance(address, str) and address.startswith("/") else None


def _file_at(path: Path | None) -> tuple[int, int] | None:
    try:
        about = path.lstat() if path is not None else None
    except OSError:
        return None
    return (about.st_dev, about.st_ino) if about is not None else None
