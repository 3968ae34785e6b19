"""The client for programs that are not asynchronous: `with connect() as hub: hub.call("hub.status")`.

A thread runs Trio and the asynchronous client; everything here hands it something to do and waits. One
`Connection` may be used by several threads at once. It must not be carried over a fork: connect in the
process that uses it.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

import trio

from hubd.client.connection import Client
from hubd.client.following import Following
from hubd.client.opening import OPEN_SECONDS, close_client, dial
from hubd.errors import HubError, Unreachable
from hubd.wire.methods import Method, name_of
from hubd.wire.places import Place

T = TypeVar("T")

CLOSE_SECONDS = 5.0  #: in which the thread must end


class _Job(Generic[T]):
    """Something that the thread does for a waiting caller."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self.scope = trio.CancelScope()
        self.done: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()
        self.finished = threading.Event()
        self.outcome: T | Exception = _closed()  #: kept for a caller that was interrupted while taking it
        self._work = work

    async def run(self) -> None:
        """Do it and hand over the outcome. Raises nothing but cancellation."""
        outcome: T | Exception = _closed()
        try:
            with self.scope:
                outcome = await self._work()
        except Exception as error:
            outcome = error
        finally:
            self.finish(outcome)

    def finish(self, outcome: T | Exception) -> None:
        """Hand over the outcome."""
        self.outcome = outcome
        self.finished.set()
        self.done.put(outcome)


def _closed() -> Unreachable:
    return Unreachable("the connection was closed", code="closed", hint="connect again")


class Connection:
    """A daemon, for as long as the block lasts. Get one from `connect`.

    When the daemon is restarted, the next call reconnects. A call in progress is not repeated: it raises, and
    the caller decides whether to repeat it (see `idempotency_key`).
    """

    def __init__(
        self, socket: str | os.PathLike[str] | Place | None, *, client: tuple[str, str], timeout: float
    ) -> None:
        self._socket = socket
        self._client_info = client
        self._timeout = timeout
        self._client: Client | None = None
        self._dialling = trio.Lock()
        self._followings: set[Following] = set()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery
        self._live = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=trio.run, args=(self._serve,), name="hubd client", daemon=True)
        self._pid = os.getpid()

    @overload
    def call(self, method: Method[T], /, *, wait: float | None = None, **params: object) -> T: ...
    @overload
    def call(self, method: str, /, *, wait: float | None = None, **params: object) -> dict[str, Any]: ...
    def call(
        self, method: Method[T] | str, /, *, wait: float | None = None, **params: object
    ) -> T | dict[str, Any]:
        """Call a method with named parameters and return its result.

        One of `hubd.wire.methods` gives the result a type. Raises the `HubError` that the daemon answered
        with. `Unreachable` and `ShuttingDown` mean that the connection ended, or that the answer took longer
        than `wait` seconds (`code` "timeout"); the command may have taken effect.
        """
        return self.ask(lambda: self._call(name_of(method), params, wait))

    @property
    def hello(self) -> dict[str, Any]:
        """What the daemon reported when last connected: version, epoch, limits."""
        return dict(self._client.hello) if self._client is not None else {}

    def events(
        self,
        *topics: str,
        after: Mapping[str, int] | None = None,
        snapshot: bool = True,
        gauge_hz: float = 0,
        tell: Callable[[HubError | None], None] | None = None,
    ) -> Events:
        """Events as they happen, across restarts of the daemon: `for event in hub.events("campaign:x")`.

        Takes the arguments of `hubd.client.follow`. Without topics, follows everything.
        """
        following = Following(
            topics or ("*",),
            socket=self._socket,
            after=after,
            snapshot=snapshot,
            gauge_hz=gauge_hz,
            client=self._client_info,
            timeout=self._timeout,
            tell=tell,
        )
        events = Events(self, following)
        self._followings.add(following)
        weakref.finalize(events, self._release, following)  # a loop that was left by `break`
        return events

    def open(self) -> None:
        """Start the thread and connect. `connect` does it."""
        self._thread.start()
        self._live.wait()
        self.ask(self._connected)

    def close(self) -> None:
        """End the connection and the thread; calls waiting in other threads raise. Safe to call twice."""
        token, self._token = self._token, None
        if token is not None and self._pid == os.getpid():
            token.run_sync_soon(self._stop)
            self._thread.join(CLOSE_SECONDS)

    def ask(self, work: Callable[[], Awaitable[T]], late: Callable[[T], None] | None = None) -> T:
        """Let the thread do something and wait for it.

        Interrupting the wait gives up the work; if it has a result all the same, that goes to `late`.
        """
        token = self._token
        if token is None:
            raise _closed()
        if self._pid != os.getpid():
            raise Unreachable(
                "this connection belongs to another process", code="closed", hint="connect after the fork"
            )
        job = _Job(work)
        try:
            token.run_sync_soon(self._begin, job)
        except trio.RunFinishedError:
            raise _closed() from None
        try:
            outcome = job.done.get()
        except BaseException:  # KeyboardInterrupt, for one: nobody waits for it any more
            token.run_sync_soon(job.scope.cancel)
            job.finished.wait()
            outcome = job.outcome
            if late is not None and not isinstance(outcome, Exception):
                late(outcome)
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    # -- the thread --------------------------------------------------------------------------------

    async def _serve(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._live.set()
            try:
                await trio.sleep_forever()
            finally:
                await self._drop()
                for following in self._followings:
                    await following.aclose()
                self._followings.clear()

    def _begin(self, job: _Job[Any]) -> None:
        if self._stopping:
            job.finish(_closed())
        else:
            self._nursery.start_soon(job.run)

    def _release(self, following: Following) -> None:
        """End a `Following` that nobody iterates over any more. Waits for nothing; call it from anywhere."""
        token = self._token
        if token is not None and self._pid == os.getpid():
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._begin, _Job(partial(self._forget, following)))

    def _stop(self) -> None:
        self._stopping = True
        self._nursery.cancel_scope.cancel()

    # -- inside the thread -------------------------------------------------------------------------

    async def _connected(self) -> Client:
        """The client, reconnected if the connection has ended."""
        async with self._dialling:
            if self._client is not None:
                await self._client.catch_up()
            if self._client is None or self._client.ended:
                await self._drop()
                self._client = await dial(self._socket, client=self._client_info, timeout=self._timeout)
        return self._client

    async def _call(self, method: str, params: Mapping[str, object], wait: float | None) -> dict[str, Any]:
        with trio.move_on_after(float("inf") if wait is None else wait):
            hub = await self._connected()
            result: dict[str, Any] = await hub.ask(method, params, None)
            return result
        raise Unreachable(
            f"{method} was not answered within {wait:g} seconds",
            code="timeout",
            hint="it may still take effect: check, or repeat it with the same idempotency_key",
        )

    async def _forget(self, following: Following) -> None:
        self._followings.discard(following)
        await following.aclose()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await close_client(client)


class Events:
    """An iterator over events. `close` ends it; so does the end of the connection."""

    def __init__(self, connection: Connection, following: Following) -> None:
        self._connection = connection
        self._following = following
        self._kept: list[dict[str, Any]] = []  #: events that came just after the wait for them was given up

    @property
    def cursor(self) -> dict[str, int]:
        """Epoch and seq of the last event that was handed out: pass it as `after` to continue later."""
        return dict(self._following.cursor)

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> dict[str, Any]:
        return self._kept.pop(0) if self._kept else self._connection.ask(self._next, self._kept.append)

    def restart(self) -> None:
        """Forget the cursor: the next item is a snapshot. For after a `ResumeGap`."""
        self._following.restart()

    def close(self) -> None:
        """Ask for no more events. Safe on a connection that has ended."""
        with suppress(Unreachable):  # it was closed with its connection
            self._connection.ask(self._following.aclose)

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _next(self) -> dict[str, Any]:
        return await anext(self._following)


@contextmanager
def connect(
    socket: str | os.PathLike[str] | Place | None = None,
    *,
    client: tuple[str, str] = ("python", ""),
    timeout: float = OPEN_SECONDS,
) -> Iterator[Connection]:
    """Connect to the daemon, for programs that are not asynchronous.

    Args:
        socket: The daemon's socket, or its endpoint file (`.json`); by default where `find_socket` says.
        client: Name and version of the calling program, for the daemon's log.
        timeout: Seconds for connecting, and for each reconnecting.

    Raises:
        Unreachable: `code` is socket_missing, permission_denied, refused, timeout, busy or not_hubd; with an
            endpoint file also endpoint_exposed, bad_endpoint or unauthenticated.
        VersionSkew: Client and daemon speak different versions of the protocol.
    """
    connection = Connection(socket, client=client, timeout=timeout)
    try:
        connection.open()
        yield connection
    finally:
        connection.close()
