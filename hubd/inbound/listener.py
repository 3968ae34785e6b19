"""A small web server for what others send to hubd: unsubscribe links (RFC 8058) and webhooks of providers.

Off unless hubd.toml has a `[listener]`. It serves two kinds of addresses and nothing else:

    POST /u/TOKEN          unsubscribe; GET shows a page with a button and changes nothing
    POST /w/NAME/TOKEN     a webhook of the provider NAME, with the provider's signature

Each request is booked before it is answered, so a sender that got a 200 need not try again. Connections,
bytes and seconds are limited, and what cannot be booked in time is answered with 503.
"""

from __future__ import annotations

import hmac
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import urlsplit

import h11
import trio

from hubd.core.forms import form_fields
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.inbox import LISTENER, Booked
from hubd.core.unsubscribe_page import asking, done, is_one_click, language_of, nobody, unknown
from hubd.core.webhooks import ReadWebhook, WebhookRequest
from hubd.errors import CredentialMissing, SourceUnavailable
from hubd.inbound.source import Fetched

log = logging.getLogger(__name__)

#: Bytes of a request's head, and of its body: the form of an unsubscribe link is small.
HEAD_BYTES = 16 << 10
BODY_BYTES = {"u": 4 << 10, "w": 1 << 20}
#: Bytes of all bodies that are being read or booked.
ALL_BODIES = 16 << 20
CONNECTIONS = 500
#: Seconds for a request to arrive, for the next one on the same connection, and for booking.
REQUEST_SECONDS = 20.0
IDLE_SECONDS = 15.0
BOOK_SECONDS = 20.0
#: Items that wait to be booked, and how many are booked at once.
MOST_WAITING = 10_000
BATCH = 500
#: Seconds for which an item that fits no message is tried again, and between two tries: a provider may report
#: on a message before its answer to us is stored, and does so only once.
LEAVE_FOR = 2.0
AGAIN = 0.5
#: Seconds within which using an unsubscribe link again counts as the same use.
_SAME_USE = 60

_PAGE = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


_BUSY = Answer(503, headers=(("Retry-After", "30"),))
#: Twilio wants TwiML, and the others ignore it.
_THANKS = Answer(200, b"<Response></Response>", (("Content-Type", "text/xml"),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A provider's webhook."""

    token: str  #: part of its path; nobody can guess it
    secret: Callable[[], Awaitable[str]]  #: what requests are signed with; may raise `CredentialMissing`
    read: ReadWebhook


@dataclass(slots=True, eq=False)
class _Waiting:
    """An item whose sender waits for its booking."""

    item: Item
    ended: trio.Event = field(default_factory=trio.Event)
    booked: bool = False
    nobody: bool = False  #: it is an opt-out, but nothing says whose

    def end(self, *, booked: bool, nobody: bool = False) -> None:
        self.booked, self.nobody = booked, nobody
        self.ended.set()


class Listener:
    """The server (`serve`), and the source of what it receives: see `inbound.source.Source`."""

    name = LISTENER

    def __init__(
        self,
        address: tuple[str, int],
        public_url: str,
        *,
        is_ours: Callable[[str], bool] | None,
        webhooks: Mapping[str, Webhook],
        now: Callable[[], float],
    ) -> None:
        """`address`: the IP address and port to listen on. `is_ours` says whether a token is that of an
        unsubscribe link; None serves no such links. `now` gives seconds since the epoch.
        """
        self._address = address
        self._listeners: list[trio.SocketListener] = []
        self._listening = trio.Event()
        self._public_url = public_url
        self._prefix = urlsplit(public_url).path
        self._is_ours = is_ours
        self._webhooks = webhooks
        self._now = now
        self._queue: deque[_Waiting] = deque()
        self._under_way: list[_Waiting] = []
        self._news = trio.Event()
        self._connections = 0
        self._bytes = 0
        self._looked = False
        self.port = 0

    # -- the source ----------------------------------------------------------------------------------------

    async def fetch(self, cursor: str) -> Fetched:
        """What was received since the last look; waits until there is something.

        Nothing can be read again: what was not booked is answered with 503, and its sender tries again.
        Raises `SourceUnavailable` while it cannot listen; each look tries to listen again.
        """
        self._give_up(self._under_way)
        if not self._looked:
            await self.open()
            self._looked = True
            return Fetched(items=(), cursor="", wait=0.0)  # so that it shows at once that it listens
        while not self._queue:
            self._news = trio.Event()
            await self._news.wait()
        batch = self._under_way = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        return Fetched(
            items=[waiting.item for waiting in batch],
            cursor="",
            wait=0.0,
            leave_for=LEAVE_FOR,
            acknowledge=partial(self._booked, batch),
        )

    async def aclose(self) -> None:
        """Book nothing more."""
        self._give_up(self._under_way)
        self._give_up(self._queue)
        self._queue.clear()

    async def _booked(self, batch: Sequence[_Waiting], done: Booked) -> None:
        early = [waiting for waiting in batch if waiting.item.key in done.left]
        self._queue.extend(early)  # behind the others, which may fit a message
        self._under_way = []
        for waiting in batch:
            key = waiting.item.key
            if key not in done.left:
                waiting.end(booked=True, nobody=key in done.nobody)
        if early:
            await trio.sleep(AGAIN)

    def _give_up(self, waiting: Collection[_Waiting]) -> None:
        for each in waiting:
            each.end(booked=False)

    async def _book(self, item: Item) -> _Waiting:
        """Wait until it is booked; gives up if that takes too long."""
        waiting = _Waiting(item)
        if len(self._queue) >= MOST_WAITING:
            return waiting
        self._queue.append(waiting)
        self._news.set()
        with trio.move_on_after(BOOK_SECONDS):
            await waiting.ended.wait()
        return waiting

    # -- the server ----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Listen, if it does not yet. Raises `SourceUnavailable` if it cannot."""
        if self._listeners:
            return
        host, port = self._address
        try:
            self._listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as problem:
            why = (problem.strerror or str(problem)).lower()
            raise SourceUnavailable(f"{host} port {port}: {why}", data={"told": True}) from None
        self.port = self._listeners[0].socket.getsockname()[1]
        self._listening.set()

    async def serve(self) -> None:
        """Serve until cancelled, as soon as it listens."""
        try:
            await self._listening.wait()
            await trio.serve_listeners(self._connection, self._listeners)
        finally:
            for listener in self._listeners:
                listener.socket.close()

    async def _connection(self, stream: trio.SocketStream) -> None:
        async with stream:
            if self._connections >= CONNECTIONS:
                return
            self._connections += 1
            try:
                await self._talk(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError, h11.LocalProtocolError):
                pass  # the client is gone
            except Exception:
                log.exception("the listener failed on a request")
            finally:
                self._connections -= 1

    async def _talk(self, stream: trio.SocketStream) -> None:
        conn = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        seconds = REQUEST_SECONDS
        while True:
            answer: Answer | None = None
            request: object = None
            try:
                with trio.move_on_after(seconds):
                    request = await _event(conn, stream)
                if not isinstance(request, h11.Request):
                    return
                with trio.move_on_after(REQUEST_SECONDS + BOOK_SECONDS):
                    answer = await self._answer(conn, stream, request)
            except h11.RemoteProtocolError as error:
                answer = Answer(error.error_status_hint)
            head = isinstance(request, h11.Request) and request.method == b"HEAD"
            if answer is None or not await _reply(conn, stream, answer, head=head):
                return
            conn.start_next_cycle()
            seconds = IDLE_SECONDS

    async def _answer(self, conn: h11.Connection, stream: trio.SocketStream, request: h11.Request) -> Answer:
        method = request.method.decode("ascii")
        headers = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in request.headers}
        target = request.target.decode("ascii", "replace")
        path = target.partition("?")[0]
        if self._prefix and path.startswith(f"{self._prefix}/"):  # a proxy may keep it or remove it
            path = path.removeprefix(self._prefix)
        kind, _, rest = path.removeprefix("/").partition("/")
        if kind not in BODY_BYTES or not rest:
            return Answer(404)
        if method not in ("POST", "GET", "HEAD") or (kind == "w" and method != "POST"):
            allowed = "POST" if kind == "w" else "GET, HEAD, POST"
            return Answer(405, headers=(("Allow", allowed),))
        if kind == "u":
            language = language_of(headers.get("accept-language", ""))
            if self._is_ours is None or not self._is_ours(rest):
                return _page(404, unknown(language))
            if method != "POST":
                return _page(200, asking(language))
        elif not self._is_webhook(rest):
            return Answer(404)
        limit = BODY_BYTES[kind]
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > limit:
            return Answer(413)
        if self._bytes + limit > ALL_BODIES and self._bytes:
            return _BUSY
        self._bytes += limit
        try:
            body = await _body(conn, stream, limit)
            if body is None:
                return Answer(413)
            if kind == "u":
                fields = form_fields(headers.get("content-type", ""), body)
                return await self._unsubscribe(rest, fields, language)
            query = target.partition("?")[2]
            url = f"{self._public_url}/w/{rest}" + (f"?{query}" if query else "")
            asked = WebhookRequest(url=url, headers=headers, body=body, at=self._now())
            return await self._webhook(rest.partition("/")[0], asked)
        finally:
            self._bytes -= limit

    async def _unsubscribe(self, token: str, fields: Sequence[tuple[str, str]], language: str) -> Answer:
        if not is_one_click(fields):
            return _page(400, asking(language))
        at = self._now()
        token = token.lower()
        item = Item(
            key=f"u/{token}/{math.floor(at / _SAME_USE)}",
            kind=ItemKind.OPT_OUT,
            at=at,
            about=Reference(token=token),
        )
        told = await self._book(item)
        if not told.booked:
            return _BUSY
        return _page(200, nobody(language) if told.nobody else done(language))

    def _is_webhook(self, rest: str) -> bool:
        name, _, token = rest.partition("/")
        webhook = self._webhooks.get(name)
        return webhook is not None and hmac.compare_digest(webhook.token.encode(), token.lower().encode())

    async def _webhook(self, name: str, request: WebhookRequest) -> Answer:
        webhook = self._webhooks[name]
        try:
            items = webhook.read(await webhook.secret(), request)
        except CredentialMissing as problem:
            log.warning("a webhook call for the provider %s cannot be verified: %s", name, problem)
            return _BUSY
        if items is None:
            log.warning("a request for the provider %s was refused: the provider did not sign it", name)
            return Answer(403)
        if not items:
            return _THANKS
        booked: list[bool] = []

        async def book(item: Item) -> None:
            booked.append((await self._book(item)).booked)

        async with trio.open_nursery() as nursery:
            for item in items:
                nursery.start_soon(book, replace(item, source=f"provider {name}"))
        return _THANKS if all(booked) else _BUSY


async def _event(conn: h11.Connection, stream: trio.SocketStream) -> object:
    while True:
        event = conn.next_event()
        if event is not h11.NEED_DATA:
            return event
        if conn.they_are_waiting_for_100_continue:
            data = conn.send(h11.InformationalResponse(status_code=100, headers=[]))
            await stream.send_all(data or b"")
        conn.receive_data(await stream.receive_some(HEAD_BYTES))


async def _body(conn: h11.Connection, stream: trio.SocketStream, limit: int) -> bytes | None:
    """The body; None if it is too long."""
    parts: list[bytes] = []
    size = 0
    while isinstance(event := await _event(conn, stream), h11.Data):
        size += len(event.data)
        if size > limit:
            return None
        parts.append(bytes(event.data))
    return b"".join(parts)


async def _reply(conn: h11.Connection, stream: trio.SocketStream, answer: Answer, *, head: bool) -> bool:
    """Answer, to HEAD without the body. Returns whether the connection can take another request."""
    if conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return False
    headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
    if conn.their_state is not h11.DONE:  # some of the request was not read
        headers.append(("Connection", "close"))
    data = conn.send(h11.Response(status_code=answer.status, headers=headers)) or b""
    if not head:
        data += conn.send(h11.Data(data=answer.body)) or b""
    data += conn.send(h11.EndOfMessage()) or b""
    with trio.move_on_after(REQUEST_SECONDS):
        await stream.send_all(data)
        return {conn.our_state, conn.their_state} == {h11.DONE}
    return False


def _page(status: int, html: str) -> Answer:
    return Answer(status, html.encode(), _PAGE)
