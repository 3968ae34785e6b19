"""One connection: one task reads, one task writes, requests run concurrently.

A request that only reads is dropped with its connection, even in a batch, and `hub.cancel` drops it earlier.
A command that changes something runs in the scope of the gate and is always finished: a client that leaves
in the middle of it leaves nothing half done.

While a connection holds as much memory as it may, nothing more is read from it; see `memory`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio
import trio_websocket

from hubd.control.auth_methods import check_ticket, issue_ticket
from hubd.control.calls import BATCH_BYTES, TURNS, BatchAnswer, Call, Calls, Turns, overloaded
from hubd.control.dispatch import Dispatcher
from hubd.control.hub import Hub
from hubd.control.memory import AnswerSizes, ConnectionMemory, Pool, weight
from hubd.control.methods import METHODS
from hubd.control.opening import Prefixed
from hubd.control.roles import Peer, Role
from hubd.control.session_writer import SLOW, SessionWriter
from hubd.control.subscription import Pace, Subscription, open_subscription
from hubd.control.table import Method
from hubd.control.tickets import Admission, Tickets
from hubd.control.views import time_text
from hubd.errors import HubError, NotFound, ShuttingDown, VersionSkew
from hubd.wire import (
    IMPORT_IN_ORDER,
    MAX_BATCH,
    MAX_IN_FLIGHT,
    PROTOCOL,
    Batch,
    Rejected,
    Request,
    answer,
    dump,
    error_object,
    failure,
    internal_error,
    notification,
)
from hubd.wire.event_params import EventsSubscribe, EventsUnsubscribe
from hubd.wire.hub_params import AuthTicket, Hello, HubCancel
from hubd.wire.params import MAX_ROWS
from hubd.wire.reading import read_message, read_params

log = logging.getLogger(__name__)

HELLO_SECONDS = 10.0  #: for the greeting
FINISH_SECONDS = 1.0  #: for requests in flight when the daemon stops
LARGE = 64 * 1024  #: a message with at least this many characters is parsed in a thread
MAX_SUBSCRIPTIONS = 64

UNAUTHENTICATED, BAD_PROTOCOL = 4001, 4002  #: close codes

#: May be called once versions are compared, even if they do not match: an old daemon can be replaced.
ACROSS_VERSIONS = frozenset({"hub.status", "hub.shutdown", "hub.reload", "rpc.discover"})


@dataclass(slots=True, kw_only=True)
class ServerContext:
    """What all connections share."""

    hub: Hub
    dispatcher: Dispatcher
    tickets: Tickets
    stopping: trio.Event
    begun: trio.Nursery  #: where commands run, which are finished even if the client leaves
    paces: Mapping[Role, Pace] = field(default_factory=lambda: {role: Pace() for role in Role})
    pools: Mapping[Role, Pool] = field(default_factory=lambda: {role: Pool() for role in Role})
    turns: Mapping[Role, trio.Semaphore] = field(
        default_factory=lambda: {role: trio.Semaphore(TURNS) for role in Role}
    )
    sizes: AnswerSizes = field(default_factory=AnswerSizes)
    listen: Callable[[], Awaitable[None]]  #: makes the daemon listen on TCP if it does not; sets `url`
    url: str = ""  #: of the TCP listener; "" when there is none


class Session:
    """One connection after its handshake."""

    def __init__(
        self,
        websocket: trio_websocket.WebSocketConnection,
        stream: Prefixed,
        context: ServerContext,
        *,
        peer: Peer,
        max_message: int,
        admission: Admission | None = None,
    ) -> None:
        self._websocket = websocket
        self._context = context
        self._memory = ConnectionMemory(context.pools[peer.role])
        self._stream = stream
        self._writer = SessionWriter(websocket, stream, self._memory)
        self._turns = Turns(context.turns[peer.role])
        self._reading = trio.CancelScope()
        self._hub = context.hub
        self._peer = peer
        self._max_message = max_message
        self._admission = admission
        self._in_flight = 0
        self._quiet = trio.Event()
        self._calls = Calls()
        self._compared = trio.Event()  #: hub.hello came
        self._greeted = False  #: ... and the versions match
        self._expelled = ""  #: why this connection may not stay
        self._subscriptions: dict[str, Subscription] = {}
        self._page = trio.StrictFIFOLock()  #: one subscription at a time holds a page of events
        self._numbered = 0
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve until the connection is closed by either side."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._write)
            self._nursery.start_soon(self._writer.watch, self._must_answer)
            self._nursery.start_soon(self._expect_hello)
            self._nursery.start_soon(self._part)
            with self._reading:
                await self._read()
            if self._writer.closing and not self._stream.client_has_left():
                await self._writer.written.wait()  # bounded by the writer's deadlines
            self._nursery.cancel_scope.cancel()
        self._calls.drop_reads()  # in batches that continue because of their commands

    async def _write(self) -> None:
        await self._writer.write()
        self._reading.cancel()  # it may be waiting for memory that only others can release

    # -- reading -----------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Take messages one by one, each when there is memory for it and for its answer."""
        while True:
            try:
                message = await self._websocket.get_message()
            except trio_websocket.ConnectionClosed:
                return
            if self._writer.closing:
                continue
            if isinstance(message, bytes):
                await self._writer.close(1003, "text frames only")
                continue
            await self._parse(message)

    async def _parse(self, message: str) -> None:
        """Wait for memory: for a large message before it is parsed, for a small one before it is begun."""
        size, large = weight(message), len(message) >= LARGE
        if large:
            await self._memory.take(size)
        try:
            parsed = await trio.to_thread.run_sync(read_message, message) if large else read_message(message)
        except BaseException:
            self._memory.release(size)
            raise
        members = parsed.members if isinstance(parsed, Batch) else (parsed,)
        names = [member.method for member in members if isinstance(member, Request)]
        expected = self._context.sizes.expected(names, BATCH_BYTES)
        if large:
            self._memory.add(expected)
        elif set(names) == {"hub.cancel"}:
            self._memory.add(size + expected)  # it releases memory
        else:
            await self._memory.take(size + expected)
        await self._take(members, set(names), batch=isinstance(parsed, Batch), held=size + expected)

    async def _take(
        self, members: Sequence[Request | Rejected], names: set[str], *, batch: bool, held: int
    ) -> None:
        """Begin the requests of one message, which hold `held` bytes. Those of a batch run in turn."""
        calls = [Call(member) for member in members]
        if self._in_flight >= MAX_IN_FLIGHT and names != {"hub.cancel"}:
            self._memory.release(held)
            await self._answer([overloaded(member) for member in members], batch=batch)
            return
        self._in_flight += 1
        self._calls.add(calls)
        served = trio.Event()
        if any(call.mutates for call in calls):
            with trio.CancelScope(shield=True):  # it takes no time
                await self._context.begun.start(self._carry_out, calls, batch, held, served)
        else:
            self._nursery.start_soon(self._serve, calls, batch, held, served)
        if "hub.hello" in names or names == {"hub.cancel"}:
            await served.wait()  # before anything that follows

    # -- answering ---------------------------------------------------------------------------------

    async def _carry_out(
        self,
        calls: Sequence[Call],
        batch: bool,
        held: int,
        served: trio.Event,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Serve calls that change something: commands begin in the order in which they came."""
        task_status.started()
        await self._serve(calls, batch, held, served)

    async def _serve(self, calls: Sequence[Call], batch: bool, held: int, served: trio.Event) -> None:
        begun: list[Subscription] = []
        try:
            if batch:
                await self._answer_batch(calls, begun)
            else:
                await self._answer([await self._respond(call, begun) for call in calls], batch=False)
            if self._expelled:
                await self._writer.close(UNAUTHENTICATED, self._expelled)
            for subscription in begun:  # after the answer, so that no event comes before its snapshot
                if not self._writer.written.is_set():
                    self._nursery.start_soon(self._follow, subscription)
        finally:
            self._memory.release(held)
            self._calls.remove(calls)
            served.set()
            self._in_flight -= 1
            if not self._in_flight:
                self._quiet.set()
                self._quiet = trio.Event()

    async def _answer_batch(self, calls: Sequence[Call], begun: list[Subscription]) -> None:
        answer = BatchAnswer(self._writer, self._memory)
        try:
            for call in calls:
                text = await self._respond(call, begun)
                if text is not None:
                    await answer.add(text)
            await answer.end()
        finally:
            answer.close()

    async def _respond(self, call: Call, begun: list[Subscription]) -> str | None:
        """The answer to one request as text; None for a notification. Nothing but cancellation gets out."""
        member = call.member
        if isinstance(member, Rejected):
            return dump(member.response)
        try:
            text = answer(member.id, await self._result(call, member, begun))
            self._context.sizes.note(member.method, len(text))
        except HubError as error:
            text = dump(failure(member.id, error_object(error)))
            if error.code == "unauthenticated":
                self._expelled = str(error)
        except Exception:
            incident = secrets.token_hex(4)
            known = member.method if member.method in METHODS else "an unknown method"
            log.exception("%s failed, incident %s", known, incident)
            text = dump(failure(member.id, internal_error(incident)))
        return None if member.notification else text

    async def _result(self, call: Call, request: Request, begun: list[Subscription]) -> object:
        method = METHODS.get(request.method)
        if method is None:
            raise HubError("there is no such method", code="method_not_found")
        if not call.mutates and self._stream.client_has_left():
            call.cancel()
        call.begun = not call.cancelled
        if call.begun and call.mutates:
            return await self._call(method, request, begun)
        if call.begun:
            with call.scope:
                async with self._turns.turn(method.name):
                    with trio.move_on_after(method.seconds):
                        return await self._call(method, request, begun)
                raise HubError(
                    f"{method.name} took longer than {method.seconds:g} seconds", code="deadline_exceeded"
                )
        raise HubError("the request was cancelled", code="cancelled")

    async def _call(self, method: Method, request: Request, begun: list[Subscription]) -> object:
        self._check_allowed(method)
        params = read_params(method.params, request.params)
        if self._peer.role is Role.VIEWER and (instead := method.instead(params)):
            raise self._peer.forbidden(f"call {method.name} in this way", instead)
        if method.mutates:
            return await self._context.dispatcher.carry_out(method, params, self._peer)
        if method.handler is not None:
            return await method.handler(self._hub, params)
        match params:
            case Hello():
                return self._hello(params)
            case HubCancel():
                return {"changed": self._calls.cancel(params.id, by=request)}
            case EventsSubscribe():
                subscription = await self._subscribe(params)
                if not request.notification:
                    begun.append(subscription)
                return subscription.take_opening()
            case EventsUnsubscribe():
                return self._unsubscribe(params)
            case AuthTicket():
                check_ticket(self._peer, params)
                if params.listen:
                    await self._context.listen()
                ticket = issue_ticket(self._context.tickets, self._context.url, self._peer, params)
                issued = {"role": params.role, "origin": params.origin}
                await self._context.dispatcher.note(self._peer, method.name, issued)
                return ticket
        raise AssertionError(f"{method.name} has no handler")

    def _check_allowed(self, method: Method) -> None:
        across = method.name in ACROSS_VERSIONS
        greeted = self._greeted or (across and self._compared.is_set())
        if not greeted and method.name != "hub.hello":
            raise HubError("call hub.hello first", code="handshake_required")
        if not self._peer.role.may(method.role):
            raise self._peer.forbidden(f"call {method.name}")
        if self._context.stopping.is_set() and method.mutates and method.name != "hub.shutdown":
            raise ShuttingDown("the daemon is stopping", hint="try again when it is running again")

    # -- what belongs to a connection --------------------------------------------------------------

    def _hello(self, params: Hello) -> dict[str, object]:
        self._compared.set()
        info = self._hub.info
        if PROTOCOL not in params.protocol:
            raise VersionSkew(
                f"the daemon is version {info.version} and speaks protocol {PROTOCOL}",
                hint="install the same version on both sides and restart the daemon",
                data={"server_version": info.version, "protocol": [PROTOCOL]},
            )
        token = self._admission.renew() if self._admission is not None else None
        self._greeted = True
        log.debug("%s %s connected (%s)", params.client.name, params.client.version, self._peer)
        return {
            "server_version": info.version,
            "protocol": PROTOCOL,
            "role": self._peer.role.value,
            "caps": [IMPORT_IN_ORDER],
            "epoch": self._hub.database.epoch,
            "head_seq": self._hub.database.head_seq,
            "instance_id": info.instance_id,
            "started_at": time_text(info.started_at),
            "state_dir": info.state_dir,
            "limits": {
                "message_bytes": self._max_message,
                "batch": MAX_BATCH,
                "in_flight": MAX_IN_FLIGHT,
                "subscriptions": MAX_SUBSCRIPTIONS,
                "import_rows": MAX_ROWS,
            },
            **({"session_token": token} if token is not None else {}),
        }

    async def _expect_hello(self) -> None:
        with trio.move_on_after(HELLO_SECONDS):
            await self._compared.wait()
        if not self._compared.is_set():
            await self._writer.close(BAD_PROTOCOL, "hub.hello was not called in time")

    async def _subscribe(self, params: EventsSubscribe) -> Subscription:
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise HubError(
                f"a connection may hold {MAX_SUBSCRIPTIONS} subscriptions",
                code="overloaded",
                hint="one subscription may name several topics",
            )
        self._numbered += 1
        name = f"s{self._numbered}"
        subscription = await open_subscription(self._hub, name, params, self._context.paces[self._peer.role])
        self._subscriptions[name] = subscription
        return subscription

    async def _follow(self, subscription: Subscription) -> None:
        """Run until it is ended. If the next events have been pruned, close the connection.

        The client comes back with its cursor and is told about the gap.
        """
        if not await subscription.run(self._writer.post, self._page):
            log.info("a client was too slow: its next events have been pruned")
            await self._writer.close(SLOW, "too slow: the next events have been pruned")

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

    def _must_answer(self) -> bool:
        """Whether pings must be answered: by clients with subscriptions, and by those on TCP.

        The kernel says when the other end of a unix socket is gone; a client that only calls now and then may
        leave it unread in between.
        """
        return bool(self._subscriptions) or self._peer.listener == "tcp"

    async def _answer(self, answers: Sequence[str | None], *, batch: bool) -> None:
        texts = [text for text in answers if text is not None]
        if texts:
            await self._writer.post(f"[{','.join(texts)}]" if batch else texts[0])

    async def _part(self) -> None:
        """When the daemon stops: let running requests be answered, say why, and close."""
        await self._context.stopping.wait()
        with trio.move_on_after(FINISH_SECONDS):
            while self._in_flight:
                await self._quiet.wait()
        stopping = {"reason": "the daemon is stopping", "restart_expected": False}
        await self._writer.post(dump(notification("daemon.stopping", stopping)))
        await self._writer.close(1001, "the daemon is stopping")
