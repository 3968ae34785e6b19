"""One connection to the daemon."""

from __future__ import annotations

import io
import itertools
import json
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, overload

import trio
import wsproto
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from hubd.client.frames import MASK, remark, tell
from hubd.client.reach import Reached, for_operators, not_hubd, rejection
from hubd.client.starting import start_command
from hubd.client.subscription import Subscription
from hubd.errors import BadInput, HubError, ShuttingDown, Unreachable, VersionSkew
from hubd.wire import BEARER, PATH, SUBPROTOCOL, dump, to_exception
from hubd.wire.methods import Method, name_of
from hubd.wire.proof import NONCE, PROOF, is_proof, new_nonce

R = TypeVar("R")

_CHUNK = 64 * 1024
MAX_ANSWER = 64 * 1024 * 1024  #: characters in one message from the daemon; no page comes near it
PAGE = 32 * 1024  #: longer answers are parsed by msgspec, in half the time
MAX_REFUSAL = 64 * 1024  #: bytes in the body of a refusal


def _loads(text: str) -> Any:
    if len(text) < PAGE:
        return json.loads(text)
    import msgspec  # here, because it would slow down every start

    try:
        return msgspec.json.decode(text)
    except ValueError:
        return json.loads(text)  # accepts a lone surrogate, for one


def _dumps(message: object) -> str:
    """As `dump`, in a fifth of the time, and not in ASCII."""
    import msgspec

    try:
        return msgspec.json.encode(message).decode()
    except UnicodeEncodeError:
        return dump(message)  # escapes a lone surrogate, and the daemon says where it is


class _Waiting:
    """A call whose answer has not come yet."""

    __slots__ = ("error", "finished", "result", "subscription")

    def __init__(self, subscription: Subscription | None) -> None:
        self.finished = False
        self.result: Any = None
        self.error: HubError | None = None
        self.subscription = subscription


class Client:
    """One connection. Get it from `open_client`."""

    def __init__(self, reached: Reached) -> None:
        self.hello: dict[str, Any] = {}  #: what `hub.hello` answered
        self.skew: VersionSkew | None = None  #: the versions do not match, which the caller tolerates
        self.reached = reached
        self._stream = reached.stream
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._subscriptions: weakref.WeakValueDictionary[str, Subscription] = weakref.WeakValueDictionary()
        #: An incomplete message or refusal; not a list, because parts may be empty.
        self._text = io.StringIO()
        self._nonce = new_nonce()
        self._heard = False  #: whether anything has arrived
        self._accepted = False
        self._reading = False
        self._moved = trio.Event()
        self._sending = trio.Lock()
        self._status = 0  #: the HTTP status, if the daemon refused the handshake
        self._ended: HubError | None = None
        self._stopping = ""

    @property
    def ended(self) -> bool:
        """Whether the connection has ended, as far as anybody has noticed."""
        return self._ended is not None

    @overload
    async def call(self, method: Method[R], /, **params: object) -> R: ...
    @overload
    async def call(self, method: str, /, **params: object) -> dict[str, Any]: ...
    async def call(self, method: Method[R] | str, /, **params: object) -> R | dict[str, Any]:
        """Call a method with named parameters and return its result.

        One of `hubd.wire.methods` gives the result a type. Raises the `HubError` that the daemon answered
        with, and `Unreachable` or `ShuttingDown` when the connection ends before the answer; the command may
        have taken effect.
        """
        result: dict[str, Any] = await self.ask(name_of(method), params, None)
        return result

    @overload
    async def begin(self, method: Method[R], /, **params: object) -> Callable[[], Awaitable[R]]: ...
    @overload
    async def begin(self, method: str, /, **params: object) -> Callable[[], Awaitable[dict[str, Any]]]: ...
    async def begin(self, method: Method[R] | str, /, **params: object) -> Callable[[], Awaitable[Any]]:
        """Send a request, and return a function that waits for its answer, as `call` does.

        For a few requests at a time, which may be large. No number in one may be NaN or infinite.
        """
        return partial(self._answer_to, *await self._request(name_of(method), params, None, _dumps))

    def subscribe(
        self,
        topics: Sequence[str],
        *,
        after: Mapping[str, int] | None = None,
        snapshot: bool = True,
        gauge_hz: float = 4,
    ) -> Subscription:
        """Events as they happen: `async for event in hub.subscribe(["campaign:x"])`.

        The first item is `{"type": "snapshot", "epoch", "seq", "campaigns"}`. `after` is the `cursor` of an
        earlier subscription: everything since then is replayed, or `ResumeGap` is raised.
        """
        params: dict[str, object] = {"topics": list(topics), "snapshot": snapshot, "gauge_hz": gauge_hz}
        if after is not None:
            params["after"] = dict(after)
        return Subscription(self, params)

    def forget(self, subscription: str) -> None:
        """Deliver no more events of the subscription with this id."""
        self._subscriptions.pop(subscription, None)

    async def catch_up(self) -> None:
        """Read what has arrived in the meantime, without waiting; notices the end of the connection."""
        while self._ended is None and not self._reading and self._is_readable():
            await self._read()

    def _is_readable(self) -> bool:
        return isinstance(self._stream, trio.SocketStream) and self._stream.socket.is_readable()

    async def aclose(self) -> None:
        """Send a close frame and close, without waiting for an answer."""
        try:
            if self._ended is None and self._accepted:
                with trio.move_on_after(1):
                    await self._write(CloseConnection(code=1000))
        finally:
            self._end(Unreachable("the connection was closed", code="closed"))
            await trio.aclose_forcefully(self._stream)

    # -- requests ----------------------------------------------------------------------------------

    async def ask(self, method: str, params: Mapping[str, object], subscription: Subscription | None) -> Any:
        """One request and its answer; the events of what it opens go to `subscription`."""
        return await self._answer_to(*await self._request(method, params, subscription))

    async def _request(
        self,
        method: str,
        params: Mapping[str, object],
        subscription: Subscription | None,
        encode: Callable[[object], str] = dump,
    ) -> tuple[int, _Waiting]:
        number = next(self._ids)
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        waiting = self._waiting[number] = _Waiting(subscription)
        try:
            text = encode(message)
            self._check_size(text)
            tell("->", message)
            await self._send(TextMessage(data=text))
        except BaseException:
            self._waiting.pop(number, None)
            raise
        return number, waiting

    def _check_size(self, text: str) -> None:
        """Raise BadInput for a message that would make the daemon end the connection."""
        limit = self.hello.get("limits", {}).get("message_bytes")
        if isinstance(limit, int) and len(text) * 4 > limit and (size := len(text.encode())) > limit:
            raise BadInput(
                f"this request has {size:,} bytes, and hubd takes {limit:,} at most",
                hint="send less at a time: fewer files, or shorter texts",
            )

    async def _answer_to(self, number: int, waiting: _Waiting) -> Any:
        try:
            await self.until(lambda: waiting.finished)
        finally:
            self._waiting.pop(number, None)
        if waiting.error is not None:
            if waiting.error.code == "forbidden":
                hints = (waiting.error.hint, for_operators(self.reached))
                waiting.error.hint = "; ".join(hint for hint in hints if hint)
            raise waiting.error
        return waiting.result

    async def handshake(self) -> None:
        """Do the websocket's opening handshake; `open_client` calls this."""
        reached = self.reached
        bearer = [BEARER + reached.token] if reached.token else []
        remark(f"-> GET {PATH} at {reached.describe()}" + (f", {BEARER}{MASK}" if bearer else ""))
        nonce = [(NONCE.encode(), self._nonce.encode())] if reached.proof else []
        await self._send(
            Request(host=reached.host, target=PATH, subprotocols=[SUBPROTOCOL, *bearer], extra_headers=nonce)
        )
        await self.until(lambda: self._accepted)

    # -- one reader for all ------------------------------------------------------------------------

    async def until(self, ready: Callable[[], bool]) -> None:
        """Read, or let another task read, until `ready()`. Raises when the connection has ended."""
        while not ready():
            if self._ended is not None:
                raise self._ended
            if self._reading:
                await self._moved.wait()
            else:
                await self._read()

    def _wake(self) -> None:
        """Make the tasks that wait for the reader look again."""
        self._moved.set()
        self._moved = trio.Event()

    async def _read(self) -> None:
        """Read once, for all."""
        self._reading = True
        try:
            await self._take_bytes()
        finally:
            self._reading = False
            self._wake()

    async def _take_bytes(self) -> None:
        """Take what the socket has and hand it out. Cancelling loses nothing: bytes are taken or not."""
        try:
            data = await self._stream.receive_some(_CHUNK)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            self._end(self._lost())
            return
        self._heard = True
        try:
            self._protocol.receive_data(bytes(data))
            answers = [answer for event in self._protocol.events() if (answer := self._take(event))]
        except ProtocolError:
            self._end(not_hubd(self.reached.where))
            return
        for answer in answers:
            await self._write(answer)

    def _take(self, event: wsproto.events.Event) -> wsproto.events.Event | None:
        """Handle a frame. Returns a frame to send in answer, if one is due."""
        match event:
            case Ping():
                return event.response()
            case TextMessage() | BytesMessage():
                self._take_text(event)
            case AcceptConnection():
                if event.subprotocol == SUBPROTOCOL and self._is_proved(event):
                    self._accepted = True
                else:
                    self._end(not_hubd(self.reached.where))
            case RejectConnection():
                self._status = event.status_code
                if not event.has_body:
                    self._end(rejection(self.reached, self._status, ""))
            case RejectData():
                self._text.write(bytes(event.data).decode("ascii", "replace"))
                if event.body_finished or self._text.tell() > MAX_REFUSAL:
                    self._end(rejection(self.reached, self._status, self._text.getvalue()))
            case CloseConnection():
                self._end(self._lost(event.code))
        return None

    def _is_proved(self, event: AcceptConnection) -> bool:
        """Whether the answer is from the daemon that wrote the endpoint file (a socket's owner is known)."""
        if not self.reached.proof:
            return True
        shown = [value for name, value in event.extra_headers if name.lower() == PROOF.encode()]
        return len(shown) == 1 and is_proof(
            self.reached.proof, self._nonce, shown[0].decode("ascii", "replace")
        )

    def _take_text(self, event: TextMessage | BytesMessage) -> None:
        if not isinstance(event.data, str):
            self._end(not_hubd(self.reached.where))
            return
        self._text.write(event.data)
        if self._text.tell() > MAX_ANSWER:
            self._end(not_hubd(self.reached.where))
            return
        if not event.message_finished:
            return
        text, self._text = self._text.getvalue(), io.StringIO()
        try:
            message = _loads(text)
        except ValueError:
            message = None
        tell("<-", message if isinstance(message, dict) else f"{len(text)} characters that are not a message")
        if not isinstance(message, dict):
            self._end(not_hubd(self.reached.where))
        elif "method" in message:
            self._take_notification(message["method"], message.get("params"))
        else:
            self._take_response(message)

    def _take_response(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        waiting = self._waiting.get(number) if isinstance(number, int) else None
        if waiting is None:
            return  # the answer to a call that nobody waits for any more
        error = message.get("error")
        if isinstance(error, dict):
            waiting.error = to_exception(error)
        else:
            waiting.result = message.get("result")
            if waiting.subscription is not None:
                # Here, not in the waiting task: its first events may follow in the same read.
                self._subscriptions[waiting.result["subscription"]] = waiting.subscription
        waiting.finished = True

    def _take_notification(self, method: object, params: object) -> None:
        if not isinstance(params, dict):
            return
        if method == "daemon.stopping":
            self._stopping = str(params.get("reason") or "the daemon is stopping")
        elif method == "event":
            subscription = self._subscriptions.get(params.get("subscription", ""))
            if subscription is not None:
                subscription.put(params)

    async def _send(self, event: wsproto.events.Event) -> None:
        """Write one frame, or raise why the connection has ended."""
        if not await self._write(event):
            # The daemon reads no more; its last words (a rejection, a close frame) may be there to be read.
            await self.until(lambda: False)

    async def _write(self, event: wsproto.events.Event) -> bool:
        """Write one frame; False when nobody takes it. A write that is cut short ends the connection,
        because half a frame cannot be repaired.
        """
        async with self._sending:
            if self._ended is not None:
                return False
            try:
                data = self._protocol.send(event)
            except ProtocolError:
                return False
            cut = True
            try:
                await self._stream.send_all(data)
                cut = False
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                cut = False
                return False
            finally:
                if cut:
                    self._end(self._lost())
        return True

    # -- how it ends -------------------------------------------------------------------------------

    def _end(self, error: HubError) -> HubError:
        """End the connection, unless it has ended. The first reason counts."""
        if self._ended is None:
            self._ended = error
        self._wake()
        return self._ended

    def _lost(self, code: int = 0) -> HubError:
        if self._stopping:
            return ShuttingDown(
                self._stopping, hint=f"start it again with: {start_command(self.reached.place)}"
            )
        if not self._heard:
            return Unreachable(
                f"the daemon at {self.reached.where} closed the connection before it answered",
                code="disconnected",
                hint="it is starting or stopping: try again",
            )
        if not self._accepted:
            return not_hubd(self.reached.where)
        why = {1003: ": it takes text frames only", 1009: ": the message was too large"}.get(code, "")
        return Unreachable(
            f"the daemon closed the connection{why}",
            code="disconnected",
            hint="check whether it still runs: hubctl daemon status",
            data={"close_code": code} if code else {},
        )
