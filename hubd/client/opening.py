"""Opening a connection: connect, be admitted, greet."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from hubd.client.connection import Client
from hubd.client.reach import connect, is_outdated
from hubd.errors import Unreachable, VersionSkew
from hubd.wire import PROTOCOL
from hubd.wire.places import Place, find_socket, place_at

OPEN_SECONDS = 10.0  #: for connecting, the handshake and hub.hello together


def _place(socket: str | os.PathLike[str] | Place | None) -> Place:
    if isinstance(socket, Place):
        return socket
    return find_socket() if socket is None else place_at(socket)


async def _admitted(place: Place) -> Client:
    """A connection after its opening handshake."""
    for again in (False, True):
        hub = Client(await connect(place))
        admitted = False
        try:
            await hub.handshake()
            admitted = True
            return hub
        except Unreachable as error:
            if error.code != "unauthenticated" or again or not is_outdated(hub.reached):
                raise
        finally:
            if not admitted:
                await close_client(hub)
    raise AssertionError("the second try is the last")


async def dial(
    socket: str | os.PathLike[str] | Place | None = None,
    *,
    client: tuple[str, str] = ("python", ""),
    timeout: float = OPEN_SECONDS,
    any_version: bool = False,
) -> Client:
    """Connect and greet; the caller closes the client with `close_client`. See `open_client`."""
    place = _place(socket)
    hub: Client | None = None
    greeted = False
    try:
        with trio.move_on_after(timeout):
            hub = await _admitted(place)
            await _greet(hub, client, any_version=any_version)
            greeted = True
            return hub
        raise Unreachable(
            f"hubd does not answer at {place.path}",
            code="timeout",
            hint="it is starting or stuck, or another program listens there",
        )
    finally:
        if hub is not None and not greeted:
            await close_client(hub)


async def _greet(hub: Client, client: tuple[str, str], *, any_version: bool) -> None:
    try:
        hub.hello = await hub.call(
            "hub.hello", client={"name": client[0], "version": client[1]}, protocol=[PROTOCOL]
        )
    except VersionSkew as error:
        hub.skew = VersionSkew(
            f"{' '.join(client).strip()} speaks protocol {PROTOCOL}; {error}",
            hint="install the same version on both sides; to stop the running one: hubctl daemon shutdown",
            data=error.data,
        )
        if not any_version:
            raise hub.skew from None
        hub.hello = dict(error.data)


async def close_client(hub: Client) -> None:
    """Send a close frame and close, even when cancelled: it takes at most a second."""
    with trio.CancelScope(shield=True):
        await hub.aclose()


@asynccontextmanager
async def open_client(
    socket: str | os.PathLike[str] | Place | None = None,
    *,
    client: tuple[str, str] = ("python", ""),
    timeout: float = OPEN_SECONDS,
    any_version: bool = False,
) -> AsyncIterator[Client]:
    """Connect to the daemon and greet it.

    Args:
        socket: The daemon's socket, or its endpoint file (`.json`); by default where `find_socket` says.
        client: Name and version of the calling program, for the daemon's log.
        timeout: Seconds for connecting, the handshake and the greeting together.
        any_version: Whether a daemon with another protocol version will do. The client's `skew` then says
            so, and only `hub.status`, `hub.shutdown` and whatever else the daemon allows may be called.

    Raises:
        Unreachable: `code` is socket_missing, permission_denied, refused, timeout, busy or not_hubd; with an
            endpoint file also endpoint_exposed, bad_endpoint or unauthenticated.
        VersionSkew: Client and daemon speak different versions of the protocol.
    """
    hub = await dial(socket, client=client, timeout=timeout, any_version=any_version)
    try:
        yield hub
    finally:
        await close_client(hub)
