"""Events across restarts of the daemon: a subscription that reconnects and resumes where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import trio

from hubd.client.connection import Client
from hubd.client.opening import OPEN_SECONDS, close_client, dial
from hubd.client.subscription import Subscription
from hubd.errors import HubError, ResumeGap, ShuttingDown, Unreachable
from hubd.wire.places import Place

FIRST_PAUSE = 0.05  #: seconds before the first try to reconnect; it doubles ...
LONGEST_PAUSE = 2.0  #: ... up to this

#: Told why the connection was lost, and None when it is back.
Tell = Callable[[HubError | None], None]

#: Errors that waiting does not cure.
_LASTING = frozenset({"permission_denied", "not_hubd", "unauthenticated", "endpoint_exposed", "bad_endpoint"})


class Following:
    """Every event once and in order. Use it as `async with`.

    It has its own connection. When that ends, because the daemon was stopped or killed, it waits for the
    daemon, connects again and continues after `cursor`: nothing is missed or repeated. When that is
    impossible, because the events have been pruned or the database is an older copy, `ResumeGap` is raised;
    `restart` then takes a snapshot and continues from there.
    """

    def __init__(
        self,
        topics: Sequence[str],
        *,
        socket: str | os.PathLike[str] | Place | None = None,
        after: Mapping[str, int] | None = None,
        snapshot: bool = True,
        gauge_hz: float = 0,
        client: tuple[str, str] = ("python", ""),
        timeout: float = OPEN_SECONDS,
        tell: Tell | None = None,
    ) -> None:
        """
        Args:
            topics: `campaign:NAME`, `campaigns`, `daemon` or, for operators, `*`.
            socket: The daemon's socket or endpoint file; by default where `find_socket` says.
            after: An earlier `cursor`; None begins now.
            snapshot: Whether the first item is a snapshot; only without `after`. A reconnection brings none.
            gauge_hz: The most live figures per second; 0 for durable events only.
            client: Name and version of the program, for the daemon's log.
            timeout: Seconds for each try to connect.
            tell: Called with the reason when the connection is lost, and with None when it is back.
        """
        self.cursor: dict[str, int] = dict(
            after or {}
        )  #: epoch and seq of the last event that was handed out
        self._topics = list(topics)
        self._socket = socket
        self._snapshot = snapshot and not after  # no current snapshot with past events
        self._gauge_hz = gauge_hz
        self._client_info = client
        self._timeout = timeout
        self._tell = tell
        self._client: Client | None = None
        self._subscription: Subscription | None = None
        self._pause = 0.0
        self._lost = False

    async def __aenter__(self) -> Following:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while True:
            try:
                item = await self._next()
            except (Unreachable, ShuttingDown) as error:
                await self._note_loss(error)
            except ResumeGap as gap:
                await self._drop()
                if gap.code != "fell_behind":  # that is about this program's memory, not about the daemon
                    raise
            else:
                if item is not None:
                    return item

    def restart(self) -> None:
        """Forget the cursor: the next item is a snapshot. For after a `ResumeGap`."""
        self.cursor = {}
        self._snapshot = True

    async def aclose(self) -> None:
        """End it. Safe to call twice."""
        await self._drop()

    # -- connections -------------------------------------------------------------------------------

    async def _next(self) -> dict[str, Any] | None:
        """The next item; None for a snapshot that nobody asked for."""
        if self._client is None:
            await trio.sleep(self._pause)
            self._client = await dial(self._socket, client=self._client_info, timeout=self._timeout)
        if self._subscription is None:
            self._subscription = self._client.subscribe(
                self._topics,
                after=self.cursor or None,
                snapshot=self._snapshot,
                gauge_hz=self._gauge_hz,
            )
        item = await anext(self._subscription)
        self.cursor = dict(self._subscription.cursor)
        self._pause = 0.0
        if self._lost:
            self._lost = False
            if self._tell is not None:
                self._tell(None)
        if item["type"] != "snapshot":
            return item
        wanted, self._snapshot = self._snapshot, False
        return item if wanted else None

    async def _note_loss(self, error: HubError) -> None:
        """Wait a little longer each time. Raises what waiting does not cure, and any error before success."""
        await self._drop()
        if not self.cursor or error.code in _LASTING:
            raise error
        if not self._lost and self._tell is not None:
            self._tell(error)
        self._lost = True
        self._pause = min(2 * self._pause or FIRST_PAUSE, LONGEST_PAUSE)

    async def _drop(self) -> None:
        client, self._client, self._subscription = self._client, None, None
        if client is not None:
            await close_client(client)


#: `async with follow(["campaign:x"]) as events: async for event in events: ...`
follow = Following
