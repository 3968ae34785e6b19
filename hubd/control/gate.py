"""The door: accepts connections, judges their heads, and contains what happens in each.

The stock server of the websocket library ends as a whole when one connection misbehaves, so the accept loop
is our own: every connection is one task whose errors end that connection and nothing else.

How it stops: when `serve_control` is cancelled it accepts nobody any more and tells the sessions, which say
good-bye; they live in a shielded scope for at most `GRACE` seconds. Commands that were begun are finished
in the same scope, whether their client still listens or not.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

import trio
import trio_websocket

from hubd.control.head import END, MAX_HEAD, Refusal, judge, response
from hubd.control.listener import open_listener
from hubd.control.needs import Hub
from hubd.control.session import Peer, Session
from hubd.wire import MAX_MESSAGE, SUBPROTOCOL

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
HEAD_SECONDS = 5.0  #: for the HTTP head
CROWDED_SECONDS = 1.0  #: for the head of one who is sent away because of the crowd
GRACE = 3.0  #: seconds for sessions and begun commands when the daemon stops
_PEER_AT_FAULT = (1002, 1007)  #: close codes: broken framing, text that is not UTF-8
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


class Prefixed(trio.abc.Stream):
    """A stream whose first bytes were read already and are read again.

    It also says good-bye where the websocket library does not: for a frame that breaks the protocol the
    library closes the stream without the close frame that RFC 6455 7.1.7 asks for.
    """

    def __init__(self, stream: trio.abc.Stream, head: bytes) -> None:
        self.socket: trio_websocket.WebSocketConnection | None = None
        self._stream = stream
        self._head = head

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._head:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = max_bytes or len(self._head)
        first, self._head = self._head[:size], self._head[size:]
        return first

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        reason = self.socket.closed if self.socket is not None else None
        if reason is not None and reason.code in _PEER_AT_FAULT:
            with (
                trio.move_on_after(CROWDED_SECONDS),
                suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                await self._stream.send_all(b"\x88\x02" + reason.code.to_bytes(2, "big"))
        await self._stream.aclose()


async def serve_control(
    path: Path, hub: Hub, *, task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the control socket at `path` until cancelled. `started` means that it can be connected to.

    Raises `BadInput` or `Conflict` when the socket cannot be had.
    """
    with open_listener(path) as listener:
        async with trio.open_nursery() as nursery:
            gate = Gate(hub)
            begun: trio.Nursery = await nursery.start(gate.hold)
            try:
                task_status.started(path)
                await gate.accept(listener, begun)
            finally:
                gate.stopping.set()


class Gate:
    """Everything that the connections share."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.stopping = trio.Event()
        self._connections = 0

    async def hold(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """The scope of the connections: they outlive the cancellation by a moment, to say good-bye."""
        with trio.CancelScope(shield=True) as scope:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await self.stopping.wait()
                scope.deadline = trio.current_time() + GRACE

    async def accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        """Take connections for ever. Being out of descriptors passes; then it waits a little."""
        while True:
            try:
                stream = await listener.accept()
            except OSError as exc:
                if exc.errno not in _SCARCE:
                    raise
                log.warning("no connection can be taken now: %s", exc.strerror)
                await trio.sleep(0.1)
            else:
                nursery.start_soon(self._contain, stream, nursery)

    async def _contain(self, stream: trio.SocketStream, nursery: trio.Nursery) -> None:
        """One connection, from accept to close. Nothing that happens in it gets out, except cancellation."""
        crowded = self._connections >= MAX_CONNECTIONS
        self._connections += not crowded
        try:
            if crowded:
                await self._send_away(stream)
            else:
                await self._welcome(stream, nursery)
        except* (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.BusyResourceError,
            trio.TooSlowError,
            trio_websocket.ConnectionClosed,
            trio_websocket.HandshakeError,
        ):
            log.debug("a connection broke off")
        except* Exception:
            log.exception("a connection failed, incident %s", secrets.token_hex(4))
        finally:
            self._connections -= not crowded
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _send_away(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(CROWDED_SECONDS):
            await read_head(stream)
        await refuse(stream, Refusal(503, f"{MAX_CONNECTIONS} clients are connected already"))

    async def _welcome(self, stream: trio.SocketStream, begun: trio.Nursery) -> None:
        head = rest = b""
        peer = peer_of(stream)
        with trio.move_on_after(HEAD_SECONDS) as scope:
            head, rest = await read_head(stream)
        if scope.cancelled_caught:
            refusal: Refusal | None = Refusal(408, f"the head did not come within {HEAD_SECONDS:g} seconds")
        elif peer is not None and peer.uid not in (0, os.getuid()):
            refusal = Refusal(403, f"uid {peer.uid} may not use this socket")
        else:
            refusal = judge(head) or (Refusal(400, "wait for the answer to the handshake") if rest else None)
        if refusal is not None:
            log.info("a connection was refused with %d: %s", refusal.status, refusal.why)
            await refuse(stream, refusal)
            return
        async with trio.open_nursery() as nursery:
            with trio.fail_after(HEAD_SECONDS):
                prefixed = Prefixed(stream, head)
                request = await trio_websocket.wrap_server_stream(
                    nursery, prefixed, max_message_size=MAX_MESSAGE
                )
                prefixed.socket = await request.accept(subprotocol=SUBPROTOCOL)
            session = Session(
                prefixed.socket, stream, self.hub, peer=peer, stopping=self.stopping, begun=begun
            )
            await session.run()
            nursery.cancel_scope.cancel()


async def refuse(stream: trio.SocketStream, refusal: Refusal) -> None:
    """Send a status and read what still comes, so that the peer sees it and not a reset connection."""
    with trio.move_on_after(CROWDED_SECONDS):
        await stream.send_all(response(refusal))
        await stream.send_eof()
        while await stream.receive_some():
            pass


async def read_head(stream: trio.abc.ReceiveStream) -> tuple[bytes, bytes]:
    """The HTTP head with its empty line, and what came after it. Without that line it is not complete."""
    data = b""
    while END not in data and len(data) <= MAX_HEAD:
        chunk = await stream.receive_some(MAX_HEAD)
        data += chunk
        if not chunk or not data[:1].isalpha():  # it ended, or it is no HTTP: TLS, for one, begins with 0x16
            break
    head, end, rest = data.partition(END)
    return head + end, rest


def peer_of(stream: trio.SocketStream) -> Peer | None:
    """Who is at the other end; None where the system does not say."""
    if not sys.platform.startswith("linux"):
        return None
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    return Peer(pid=pid, uid=uid, gid=gid)
