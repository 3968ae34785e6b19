"""One connection: one task reads, one task writes, requests run beside each other.

Only the writer writes. Each of its sends has a deadline, and a send that misses it ends the connection: the
websocket library leaves half a frame behind a cancelled send and would go on as if nothing had happened.
What waits to be written is bounded, so a client that does not read stops its own requests and no other's.

A request that only reads is dropped with its connection. A command that changes something runs in the
scope of the gate and is finished, whoever listens: a client that goes away in the middle of it leaves
nothing half done.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import trio
import trio_websocket

from hubd.control.methods import METHODS
from hubd.control.needs import Hub
from hubd.control.subscription import Subscription, open_subscription
from hubd.control.table import Method
from hubd.control.views import time_text
from hubd.errors import HubError, NotFound, ShuttingDown, VersionSkew
from hubd.wire import (
    MAX_BATCH,
    MAX_IN_FLIGHT,
    MAX_MESSAGE,
    PROTOCOL,
    Batch,
    Rejected,
    Request,
    dump,
    error_object,
    failure,
    internal_error,
    notification,
    parse,
    success,
)
from hubd.wire.params import EventsSubscribe, EventsUnsubscribe, Hello
from hubd.wire.reading import read_params

log = logging.getLogger(__name__)

SEND_SECONDS = 10.0  #: for one message to be taken by the client
CLOSE_SECONDS = 2.0  #: for the closing handshake
FINISH_SECONDS = 1.0  #: for requests in flight when the daemon stops
QUEUED = 8  #: messages that wait to be written
LARGE = 64 * 1024  #: characters from which a message is parsed in a thread
MAX_SUBSCRIPTIONS = 64

#: May be called once versions were compared, even if they do not fit: an old daemon can be replaced.
ACROSS_VERSIONS = frozenset({"hub.status", "hub.shutdown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class _Close:
    """Asks the writer to close, after all that was queued before."""

    code: int
    reason: str


class Session:
    """One connection after its handshake."""

    def __init__(
        self,
        websocket: trio_websocket.WebSocketConnection,
        stream: trio.abc.AsyncResource,
        hub: Hub,
        *,
        peer: Peer | None,
        stopping: trio.Event,
        begun: trio.Nursery,
    ) -> None:
        self._websocket = websocket
        self._stream = stream
        self._hub = hub
        self._peer = peer
        self._stopping = stopping
        self._begun = begun
        self._queue, self._queued = trio.open_memory_channel[str | _Close](QUEUED)
        self._written = trio.Event()
        self._in_flight = 0
        self._quiet = trio.Event()
        self._compared = False  #: hub.hello came
        self._greeted = False  #: ... and the versions fit
        self._closing = False
        self._subscriptions: dict[str, Subscription] = {}
        self._numbered = 0
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve until the connection is closed by either side."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._write)
            self._nursery.start_soon(self._part)
            await self._read()
            if self._closing:
                await self._written.wait()  # bounded: the writer's deadlines
            self._nursery.cancel_scope.cancel()

    # -- reading -----------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            try:
                message = await self._websocket.get_message()
            except trio_websocket.ConnectionClosed:
                return
            if self._closing:
                continue
            if isinstance(message, bytes):
                await self._close(1003, "text frames only")
                continue
            parsed = parse(message) if len(message) < LARGE else await trio.to_thread.run_sync(parse, message)
            if isinstance(parsed, Batch):
                await self._take(parsed.members, batch=True)
            else:
                await self._take((parsed,), batch=False)

    async def _take(self, members: Sequence[Request | Rejected], *, batch: bool) -> None:
        """Begin the requests of one message. The members of a batch run one after the other."""
        if self._in_flight >= MAX_IN_FLIGHT:
            await self._answer([_overloaded(member) for member in members], batch=batch)
            return
        self._in_flight += 1
        names = {member.method for member in members if isinstance(member, Request)}
        if "hub.hello" in names:
            await self._serve(members, batch)  # before anything that follows it
        elif any(name in METHODS and METHODS[name].mutates for name in names):
            self._begun.start_soon(self._serve, members, batch)
        else:
            self._nursery.start_soon(self._serve, members, batch)

    # -- answering ---------------------------------------------------------------------------------

    async def _serve(self, members: Sequence[Request | Rejected], batch: bool) -> None:
        begun: list[Subscription] = []
        try:
            answers = [await self._respond(member, begun) for member in members]
            await self._answer(answers, batch=batch)
            for subscription in begun:  # after the answer, so that no event comes before its snapshot
                if not self._written.is_set():
                    self._nursery.start_soon(subscription.run, self._post)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._quiet.set()
                self._quiet = trio.Event()

    async def _respond(self, member: Request | Rejected, begun: list[Subscription]) -> str | None:
        """The answer to one request as text; None for a notification. Nothing but cancellation gets out."""
        if isinstance(member, Rejected):
            return dump(member.response)
        try:
            text = dump(success(member.id, await self._call(member, begun)))
        except HubError as error:
            text = dump(failure(member.id, error_object(error)))
        except Exception:
            incident = secrets.token_hex(4)
            known = member.method if member.method in METHODS else "an unknown method"
            log.exception("%s failed, incident %s", known, incident)
            text = dump(failure(member.id, internal_error(incident)))
        return None if member.notification else text

    async def _call(self, request: Request, begun: list[Subscription]) -> object:
        method = METHODS.get(request.method)
        if method is None:
            raise HubError(
                "there is no such method", code="method_not_found", hint="rpc.discover lists all of them"
            )
        self._check_allowed(method)
        params = read_params(method.params, request.params)
        if method.handler is not None:
            return await method.handler(self._hub, params)
        match params:
            case Hello():
                return self._hello(params)
            case EventsSubscribe():
                subscription = await self._subscribe(params)
                if not request.notification:
                    begun.append(subscription)
                return subscription.opening
            case EventsUnsubscribe():
                return self._unsubscribe(params)
        raise AssertionError(f"{method.name} has no handler")

    def _check_allowed(self, method: Method) -> None:
        across = method.name in ACROSS_VERSIONS
        if not (self._greeted or method.name == "hub.hello" or (self._compared and across)):
            raise HubError("say hub.hello first", code="handshake_required")
        if self._stopping.is_set() and method.mutates and not across:
            raise ShuttingDown("the daemon is stopping", hint="try again when it is back")

    # -- what belongs to a connection --------------------------------------------------------------

    def _hello(self, params: Hello) -> dict[str, object]:
        self._compared = True
        info = self._hub.info
        if PROTOCOL not in params.protocol:
            raise VersionSkew(
                f"the daemon is version {info.version} and speaks protocol {PROTOCOL}",
                hint="install the same version on both sides and restart the daemon",
                data={"server_version": info.version, "protocol": [PROTOCOL]},
            )
        self._greeted = True
        log.debug("%s %s connected (%s)", params.client.name, params.client.version, self._peer)
        return {
            "server_version": info.version,
            "protocol": PROTOCOL,
            "role": "operator",
            "caps": [],
            "epoch": self._hub.database.epoch,
            "head_seq": self._hub.database.head_seq,
            "instance_id": info.instance_id,
            "started_at": time_text(info.started_at),
            "state_dir": info.state_dir,
            "limits": {"message_bytes": MAX_MESSAGE, "batch": MAX_BATCH, "in_flight": MAX_IN_FLIGHT},
        }

    async def _subscribe(self, params: EventsSubscribe) -> Subscription:
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise HubError(
                f"a connection may hold {MAX_SUBSCRIPTIONS} subscriptions",
                code="overloaded",
                hint="one subscription may name several topics",
            )
        self._numbered += 1
        name = f"s{self._numbered}"
        subscription = await open_subscription(self._hub, name, params)
        self._subscriptions[name] = subscription
        return subscription

    def _unsubscribe(self, params: EventsUnsubscribe) -> dict[str, object]:
        subscription = self._subscriptions.pop(params.subscription, None)
        if subscription is None:
            if params.subscription[:1] == "s" and params.subscription[1:].isdecimal():
                number = int(params.subscription[1:10])
                if 0 < number <= self._numbered:
                    return {"changed": False}
            raise NotFound("there is no such subscription", code="subscription_not_found")
        subscription.scope.cancel()
        return {"changed": True}

    # -- writing -----------------------------------------------------------------------------------

    async def _answer(self, answers: Sequence[str | None], *, batch: bool) -> None:
        texts = [text for text in answers if text is not None]
        if texts:
            await self._post(f"[{','.join(texts)}]" if batch else texts[0])

    async def _post(self, text: str) -> None:
        """Queue a message; waits while the queue is full. A connection that has ended swallows it."""
        try:
            await self._queue.send(text)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()

    async def _close(self, code: int, reason: str) -> None:
        self._closing = True
        try:
            await self._queue.send(_Close(code, reason))
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()

    async def _write(self) -> None:
        try:
            async with self._queued:
                async for item in self._queued:
                    if isinstance(item, _Close):
                        with trio.move_on_after(CLOSE_SECONDS):
                            await self._websocket.aclose(item.code, item.reason)
                        return
                    with trio.move_on_after(SEND_SECONDS) as scope:
                        await self._websocket.send_message(item)
                    if scope.cancelled_caught:
                        log.info("a client took nothing for %g seconds and was cut off", SEND_SECONDS)
                        await trio.aclose_forcefully(self._stream)
                        return
        except trio_websocket.ConnectionClosed:
            pass  # the reader has seen it too
        finally:
            self._written.set()

    async def _part(self) -> None:
        """When the daemon stops: let begun requests be answered, say why, and close."""
        await self._stopping.wait()
        with trio.move_on_after(FINISH_SECONDS):
            while self._in_flight:
                await self._quiet.wait()
        stopping = {"reason": "the daemon is stopping", "restart_expected": False}
        await self._post(dump(notification("daemon.stopping", stopping)))
        await self._close(1001, "the daemon is stopping")


def _overloaded(member: Request | Rejected) -> str | None:
    if isinstance(member, Rejected):
        return dump(member.response)
    if member.notification:
        return None
    error = HubError(
        f"{MAX_IN_FLIGHT} requests of this connection are being worked on",
        code="overloaded",
        hint="wait for answers before asking more",
    )
    return dump(failure(member.id, error_object(error)))
