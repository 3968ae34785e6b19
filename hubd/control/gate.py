"""Accepts connections, checks their heads, and contains the failures of each.

The stock server of the websocket library ends as a whole when one connection misbehaves, so the accept loop
is our own: every connection is one task whose errors end that connection and nothing else.

How it stops: when `serve_control` is cancelled, it accepts no more connections and tells the sessions, which
say goodbye; they live in a shielded scope for at most `GRACE` seconds. Commands that have begun are finished
in the same scope, whether their client still listens or not.
"""

from __future__ import annotations

import errno
import hmac
import logging
import os
import secrets
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import trio
import trio_websocket
import wsproto.utilities

from hubd.control.connection_limits import ConnectionLimits
from hubd.control.dispatch import Dispatcher
from hubd.control.endpoints import Endpoint, open_tcp
from hubd.control.head import Handshake, Refusal, judge, page
from hubd.control.hub import Hub
from hubd.control.listener import LOOPBACK, endpoint_file
from hubd.control.opening import Prefixed, answer, read_head, refuse
from hubd.control.roles import Peer, Role
from hubd.control.scraping import SCRAPE_SECONDS, Scraping
from hubd.control.session import ServerContext, Session
from hubd.control.tickets import MAX_TTL, Admission, Grant, Tickets
from hubd.wire import MAX_MESSAGE, PATH, PROTOCOL, SUBPROTOCOL
from hubd.wire.proof import PROOF, proof_of

log = logging.getLogger(__name__)

MAX_VIEWER_MESSAGE = 256 * 1024  #: bytes; anything larger would change something
HEAD_SECONDS = 5.0  #: for the HTTP head
SCARCE_SECONDS = 0.05  #: first pause while no descriptors are free; it doubles ...
MAX_SCARCE_SECONDS = 0.5  #: ... up to this one
GUESS_SECONDS = 1.0  #: delay of the answer to a wrong token, once there were several
GRACE = 3.0  #: seconds for sessions and running commands when the daemon stops
_CONFIGURED_VIEWER = Grant(role=Role.VIEWER, origin=None, issuer="the viewer token of hubd.toml")
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


async def serve_control(
    path: Path | None,
    hub: Hub,
    *,
    observe: Path | None = None,
    inherited: Mapping[str, socket.socket] | None = None,
    tcp: tuple[str, int] | None = None,
    endpoint: Path | None = None,
    task_status: trio.TaskStatus[Path | None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve clients until cancelled. `started` means that all listeners can be connected to.

    Args:
        path: The control socket; None where there are no unix sockets.
        hub: What the methods work on.
        observe: A second socket, for viewers.
        inherited: Sockets that listen already, by the name of their endpoint: `control`, `observe`. They
            replace those that would be made at `path` and `observe`, and their files are left alone.
        tcp: A loopback address and a port (0 for a free one) for clients with a token.
        endpoint: Where to write the address of that listener and an operator's token.

    Raises:
        BadInput: A socket, address or file cannot be used.
        Conflict: One is taken.
    """
    async with (
        AsyncExitStack() as stack,
        hub.endpoints.open(path, observe, inherited or {}, tcp) as endpoints,
        trio.open_nursery() as nursery,
    ):

        async def listen() -> None:
            await nursery.start(gate.serve_pages, begun)

        gate = Gate(hub, listen)
        begun: trio.Nursery = await nursery.start(gate.hold)
        try:
            for each in endpoints:
                if each.port is not None:
                    gate.announce(each)
                    if endpoint is not None:
                        stack.enter_context(endpoint_file(endpoint, gate.endpoint()))
            for each in endpoints[1:]:
                nursery.start_soon(gate.accept, each, begun)
            task_status.started(path)
            await gate.accept(endpoints[0], begun)
        finally:
            gate.context.stopping.set()


class Gate:
    """Everything that the connections share. `listen` starts `serve_pages`, and returns once it listens."""

    context: ServerContext

    def __init__(self, hub: Hub, listen: Callable[[], Awaitable[None]]) -> None:
        self._hub = hub
        self._listen = listen
        self._opening = trio.Lock()
        self._tickets = Tickets(trio.current_time)
        self._stopping = trio.Event()
        self._limits = ConnectionLimits()
        self._secret = secrets.token_urlsafe(32)  #: of the endpoint file
        self._scraping = Scraping(hub)

    async def hold(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """The scope of the connections: they outlive the cancellation by a moment, to say goodbye."""
        with trio.CancelScope(shield=True) as scope:
            async with trio.open_nursery() as nursery:
                self.context = ServerContext(
                    hub=self._hub,
                    dispatcher=Dispatcher(self._hub),
                    tickets=self._tickets,
                    stopping=self._stopping,
                    begun=nursery,
                    listen=self._listen_once,
                )
                task_status.started(nursery)
                await self._stopping.wait()
                scope.deadline = trio.current_time() + GRACE

    def announce(self, endpoint: Endpoint) -> None:
        """Issue tickets for this TCP listener from now on."""
        host = endpoint.listener.socket.getsockname()[0]
        self.context.url = f"ws://{f'[{host}]' if ':' in host else host}:{endpoint.port}{PATH}"
        log.info("clients with a token are served at %s", self.context.url)

    async def _listen_once(self) -> None:
        """Listen on TCP if the daemon does not yet: an operator asked for it, for a web page."""
        async with self._opening:
            if not self.context.url and not self._stopping.is_set():
                await self._listen()

    async def serve_pages(
        self, begun: trio.Nursery, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen on a free port of this machine until nobody can connect to it any more.

        That is when no connection is open there and no ticket or session token is valid, so a page that is
        loaded again, or was cut off for a while, finds the port that it knows.
        """
        async with AsyncExitStack() as stack:
            opened = await open_tcp(stack, LOOPBACK[0], 0)  # what it raises is for the client that asked
            async with trio.open_nursery() as nursery:
                self.announce(opened)
                nursery.start_soon(self.accept, opened, begun)
                task_status.started()
                await self._until_unused(opened)
                log.info("no page is connected any longer: %s is closed", self.context.url)
                self.context.url = ""
                nursery.cancel_scope.cancel()

    async def _until_unused(self, endpoint: Endpoint) -> None:
        """Nothing is awaited between the last check and the return, so no ticket is issued in between."""
        first = trio.current_time() + MAX_TTL  # the ticket that the port is opened for comes after it
        while True:
            if endpoint.connections:
                await endpoint.left.park()
            elif (until := max(first, self._tickets.good_until())) > trio.current_time():
                await trio.sleep_until(until)
            else:
                return

    def endpoint(self) -> dict[str, object]:
        """The contents of an endpoint file: the address, and a token for programs of this user."""
        grant = Grant(
            role=Role.OPERATOR, origin=None, issuer="a reader of the endpoint file", gets_tickets=True
        )
        return {
            "url": self.context.url,
            "token": self._tickets.permanent(grant),
            "proof": self._secret,
            "protocol": PROTOCOL,
            "pid": os.getpid(),
        }

    async def accept(self, endpoint: Endpoint, nursery: trio.Nursery) -> None:
        """Accept connections for ever. While no descriptors are free, new clients wait in the backlog."""
        pause = 0.0
        while True:
            made_again = endpoint.made_again
            try:
                stream = await endpoint.listener.accept()
            except trio.ClosedResourceError:  # its socket file is being made again
                await made_again.wait()
            except OSError as exc:
                if exc.errno not in _SCARCE:
                    raise
                if not pause:
                    log.warning("no connection can be accepted: %s", exc.strerror)
                pause = min(2 * pause or SCARCE_SECONDS, MAX_SCARCE_SECONDS)
                await trio.sleep(pause)
            else:
                if pause:
                    log.warning("connections are accepted again")
                    pause = 0.0
                nursery.start_soon(self._contain, endpoint, stream)

    async def _contain(self, endpoint: Endpoint, stream: trio.SocketStream) -> None:
        """One connection, from accept to close. Nothing that happens in it gets out, except cancellation."""
        endpoint.connections += 1
        try:
            if endpoint.role is None:
                await self._authenticate(endpoint, stream)
            else:
                await self._recognise(endpoint, endpoint.role, stream)
        except* (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.BusyResourceError,
            trio.TooSlowError,
            trio_websocket.ConnectionClosed,
            trio_websocket.HandshakeError,
            wsproto.utilities.LocalProtocolError,  # an answer to a ping that came after our close frame
        ):
            log.debug("a connection was lost")
        except* Exception:
            log.exception("a connection failed, incident %s", secrets.token_hex(4))
        finally:
            endpoint.connections -= 1
            endpoint.left.unpark_all()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    # -- who it is -----------------------------------------------------------------------------------

    async def _recognise(self, endpoint: Endpoint, role: Role, stream: trio.SocketStream) -> None:
        """On a unix socket: the kernel names the user, so places are counted per user."""
        peer = peer_of(stream, role, endpoint.name)
        if endpoint.own and peer.uid not in (None, 0, os.geteuid()):
            await self._refuse(endpoint, stream, Refusal(403, f"uid {peer.uid} may not use this socket"))
            return
        head, refusal = await self._hear(stream, peer.uid)
        handshake = refusal or judge(head)
        if isinstance(handshake, Refusal):
            await self._refuse(endpoint, stream, handshake)
            return
        with self._limits.inside(role, peer.uid) as refusal:
            if refusal is not None:
                await self._send_away(stream, refusal)
                return
            await self._welcome(stream, head, peer, None)

    async def _authenticate(self, endpoint: Endpoint, stream: trio.SocketStream) -> None:
        """On TCP: any program on this machine may connect, but only a token is admitted."""
        head, refusal = await self._hear(stream, None)
        handshake = refusal or judge(head, endpoint.port)
        if isinstance(handshake, Refusal) and handshake.status != 401:
            await self._refuse(endpoint, stream, handshake)
            return
        if isinstance(handshake, Handshake) and handshake.health:
            well = not self._hub.database.trouble and not self._stopping.is_set()
            with self._limits.leaving() as politely:
                await answer(stream, page(200 if well else 503), wait=politely)
            return
        admission = await self._admit(handshake) if isinstance(handshake, Handshake) else None
        if admission is None:
            await self._doubt(endpoint, stream, handshake)
            return
        grant = admission.grant
        try:
            with self._limits.inside(grant.role) as refusal:
                if refusal is not None:
                    await self._send_away(stream, refusal)
                    return
                assert isinstance(handshake, Handshake)  # otherwise nobody would have been admitted
                if handshake.metrics:
                    await answer(stream, await self._scraping.answer(), seconds=SCRAPE_SECONDS)
                    return
                peer = Peer(
                    role=grant.role,
                    listener=endpoint.name,
                    issuer=grant.issuer,
                    gets_tickets=grant.gets_tickets,
                )
                shown = (
                    [(PROOF.encode(), proof_of(self._secret, handshake.nonce).encode())]
                    if handshake.nonce
                    else []
                )
                await self._welcome(stream, head, peer, admission, shown)
        finally:
            admission.end()

    async def _admit(self, handshake: Handshake) -> Admission | None:
        """By a token of ours, or by the one that the configuration has for viewers."""
        admission = self._tickets.admit(handshake.bearer, handshake.origin)
        if admission is None and handshake.origin is None:
            token = await self._hub.viewer_token()
            if token and hmac.compare_digest(token.encode(), handshake.bearer.encode()):
                return self._tickets.admission(_CONFIGURED_VIEWER)
        return admission

    async def _hear(self, stream: trio.SocketStream, uid: int | None) -> tuple[bytes, Refusal | None]:
        """The head, or the refusal if it did not arrive properly."""
        with self._limits.awaiting_request(lambda: not stream.socket.is_readable(), uid) as place, place:
            return await _read(stream)
        return b"", Refusal(408, "no request arrived, and too many other connections are waiting")

    async def _doubt(
        self, endpoint: Endpoint, stream: trio.SocketStream, handshake: Refusal | Handshake
    ) -> None:
        """Refuse a missing or wrong token. After several, the answers are slow, and one warning is logged."""
        tries = endpoint.wrong.count()
        if tries == endpoint.wrong.limit:
            log.warning("%d wrong or missing tokens within a minute at %s", tries, self.context.url)
        scrapes = isinstance(handshake, Handshake) and handshake.metrics
        unknown = Refusal(401, "" if scrapes else "unknown token: used, expired, or for another Origin")
        with self._limits.leaving() as politely:
            if tries >= endpoint.wrong.limit and politely:
                await trio.sleep(GUESS_SECONDS)
            elif tries >= endpoint.wrong.limit:
                unknown = handshake = Refusal(503, "too many connections with wrong tokens")
            await refuse(stream, handshake if isinstance(handshake, Refusal) else unknown, wait=politely)

    # -- what becomes of it --------------------------------------------------------------------------

    async def _send_away(self, stream: trio.SocketStream, refusal: Refusal) -> None:
        """Refuse a client. The number of refused clients that are waited for is limited, too."""
        with self._limits.leaving() as politely:
            await refuse(stream, refusal, wait=politely)

    async def _refuse(self, endpoint: Endpoint, stream: trio.SocketStream, refusal: Refusal) -> None:
        count = endpoint.refused.count()
        if count <= endpoint.refused.limit:
            log.info("a connection was refused with %d: %s", refusal.status, refusal.why)
        if count == endpoint.refused.limit:
            log.info("further refusals at %s within a minute are not logged", endpoint.name)
        await self._send_away(stream, refusal)

    async def _welcome(
        self,
        stream: trio.SocketStream,
        head: bytes,
        peer: Peer,
        admission: Admission | None,
        shown: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        most = MAX_MESSAGE if peer.role.may(Role.OPERATOR) else MAX_VIEWER_MESSAGE
        async with trio.open_nursery() as nursery:
            with trio.fail_after(HEAD_SECONDS):
                prefixed = Prefixed(stream, head, most)
                request = await trio_websocket.wrap_server_stream(
                    nursery, prefixed, message_queue_size=0, max_message_size=most
                )
                prefixed.socket = await request.accept(subprotocol=SUBPROTOCOL, extra_headers=list(shown))
            session = Session(
                prefixed.socket, prefixed, self.context, peer=peer, max_message=most, admission=admission
            )
            await session.run()
            nursery.cancel_scope.cancel()


async def _read(stream: trio.SocketStream) -> tuple[bytes, Refusal | None]:
    """The head, or the refusal if it did not arrive properly."""
    head = rest = b""
    with trio.move_on_after(HEAD_SECONDS) as scope:
        head, rest = await read_head(stream)
    if scope.cancelled_caught:
        return head, Refusal(408, f"the head did not arrive within {HEAD_SECONDS:g} seconds")
    # RFC 6455 4.1: a client waits for the answer; the websocket library would leave such frames unread.
    return head, Refusal(400, "wait for the answer to the handshake") if rest else None


def peer_of(stream: trio.SocketStream, role: Role, listener: str) -> Peer:
    """Who is at the other end of a unix socket, as far as the system says."""
    if not sys.platform.startswith("linux"):
        return Peer(role=role, listener=listener)
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    return Peer(role=role, listener=listener, pid=pid, uid=uid, gid=gid)
