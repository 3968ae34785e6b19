"""How many connections there may be: admitted, awaiting their request, and being refused.

On a unix socket the kernel says whose connection it is, and no single user can take everybody else's places:
each may have three connections for every place that is free. Connections that have not sent their request
yet prove nothing, so a new one is always accepted, and the oldest silent one (on a unix socket, of the same
user) is closed to make room for it.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from hubd.control.head import Refusal
from hubd.control.roles import Role
from hubd.control.tickets import Frequency

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
MAX_VIEWERS = 48  #: of them; those who only look must not keep an operator from stopping a campaign
MAX_TIMES_FREE = 3  #: connections that a user may have for each free place
MAX_AWAITING_REQUEST = 8  #: connections over TCP that have not sent their request yet
MAX_OF_USER_AWAITING_REQUEST = 64  #: the same for one user on unix sockets
MAX_LEAVING = 64  #: refused connections that may read the reason; further ones are cut off


@dataclass(slots=True, eq=False)
class Waiting:
    """A connection that has not sent its request yet."""

    silent: Callable[[], bool]  #: whether nothing from it is there to be read
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class ConnectionLimits:
    """Counts connections. A block yields the reason why there is no place, or None."""

    def __init__(self) -> None:
        self._inside = {Role.VIEWER: 0, Role.OPERATOR: 0}
        self._users: Counter[tuple[Role, int]] = Counter()  #: connections inside whose user is known
        self._awaiting_request: defaultdict[int | None, list[Waiting]] = defaultdict(list)
        self._pushed_out = Frequency(trio.current_time, limit=1)
        self._leaving = 0
        self._full = False

    @contextmanager
    def inside(self, role: Role, uid: int | None = None) -> Iterator[Refusal | None]:
        """A place for an admitted connection while the block runs; `uid` is the user, if known."""
        refusal = self._refusal(role, uid)
        if refusal is not None:
            if not self._full:
                log.warning("%s: further connections are refused", refusal.why)
            self._full = True
            yield refusal
            return
        self._full = self._full and sum(self._inside.values()) > MAX_CONNECTIONS // 2
        self._inside[role] += 1
        if uid is not None:
            self._users[role, uid] += 1
        try:
            yield None
        finally:
            self._inside[role] -= 1
            if uid is not None:
                self._users[role, uid] -= 1

    def _refusal(self, role: Role, uid: int | None) -> Refusal | None:
        free = MAX_CONNECTIONS - sum(self._inside.values())
        if free <= 0:
            return Refusal(503, f"{MAX_CONNECTIONS} clients are connected already")
        if role is Role.VIEWER:
            free = min(free, MAX_VIEWERS - self._inside[role])
        if free <= 0:
            return Refusal(503, f"{MAX_VIEWERS} clients are connected already")
        if uid is not None and self._users[role, uid] >= MAX_TIMES_FREE * free:
            return Refusal(503, f"{self._users[role, uid]} clients of uid {uid} are connected already")
        return None

    @contextmanager
    def awaiting_request(
        self, silent: Callable[[], bool], uid: int | None = None
    ) -> Iterator[trio.CancelScope]:
        """A place until the request has arrived; the scope is cancelled if another connection takes it."""
        others = self._awaiting_request[uid]
        most = MAX_AWAITING_REQUEST if uid is None else MAX_OF_USER_AWAITING_REQUEST
        if len(others) >= most:
            self._push_out(others, most, uid)
        waiting = Waiting(silent)
        others.append(waiting)
        try:
            yield waiting.scope
        finally:
            if waiting in others:
                others.remove(waiting)
            if not others:
                self._awaiting_request.pop(uid, None)

    def _push_out(self, others: list[Waiting], most: int, uid: int | None) -> None:
        """Close the oldest silent connection. The others are about to be read."""
        oldest = next((each for each in others if each.silent()), None)
        if oldest is None:
            return
        others.remove(oldest)
        oldest.scope.cancel()
        if self._pushed_out.count() == 1:
            whose = "over TCP" if uid is None else f"of uid {uid}"
            log.warning("%d connections %s have sent no request; the oldest are closed", most, whose)

    @contextmanager
    def leaving(self) -> Iterator[bool]:
        """Yields whether there is time to let a connection read why it is closed."""
        self._leaving += 1
        try:
            yield self._leaving <= MAX_LEAVING
        finally:
            self._leaving -= 1
