"""The requests of one connection that are under way, and the answer to a batch of them.

A read request whose answer is never read costs the database as much as any other. So only a few run at a
time, and the one that has waited longest is next: a client that asks for a lot only delays itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from hubd.control.memory import ConnectionMemory
from hubd.control.methods import METHODS
from hubd.control.session_writer import SessionWriter
from hubd.errors import HubError
from hubd.wire import MAX_IN_FLIGHT, Id, Rejected, Request, dump, error_object, failure

BATCH_BYTES = 256 * 1024  #: an answer to a batch that is larger than this is sent in fragments
TURNS = 16  #: read requests answered at a time, over all connections of a role
CONNECTION_TURNS = 4  #: the same for one connection
#: These need no turn: they read nothing, or (`hub.check`) for so long that others could not wait for it.
AT_ONCE = frozenset({"hub.hello", "hub.cancel", "hub.check", "events.unsubscribe"})


@dataclass(slots=True, eq=False)
class Call:
    """A request, and how to drop it."""

    member: Request | Rejected
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    begun: bool = False
    cancelled: bool = False

    @property
    def mutates(self) -> bool:
        name = self.member.method if isinstance(self.member, Request) else ""
        return name in METHODS and METHODS[name].mutates

    def cancel(self) -> bool:
        """Drop it; False for a command that has begun, which is always finished."""
        if self.begun and self.mutates:
            return False
        self.cancelled = True
        self.scope.cancel()
        return True


class Calls:
    """The requests under way, by id. An id may occur more than once."""

    def __init__(self) -> None:
        self._calls: dict[tuple[bool, Id], list[Call]] = {}
        self._all: set[Call] = set()  #: notifications, too

    def add(self, calls: Sequence[Call]) -> None:
        """Note that they are under way."""
        self._all.update(calls)
        for call in calls:
            if isinstance(call.member, Request) and not call.member.notification:
                self._calls.setdefault(_key(call.member.id), []).append(call)

    def remove(self, calls: Sequence[Call]) -> None:
        """Note that they have been answered."""
        self._all.difference_update(calls)
        for call in calls:
            if isinstance(call.member, Request) and not call.member.notification:
                same = self._calls[_key(call.member.id)]
                same.remove(call)
                if not same:
                    del self._calls[_key(call.member.id)]

    def drop_reads(self) -> None:
        """Cancel all those that change nothing: their client has left."""
        for call in self._all:
            if not call.mutates:
                call.cancel()

    def cancel(self, request_id: Id, by: Request) -> bool:
        """Drop the requests with this id. Returns whether there was one to drop.

        The request that asks for this may name its own id; it is under way, but is not dropped.
        """
        named = [call for call in self._calls.get(_key(request_id), ()) if call.member is not by]
        return sum(call.cancel() for call in named) > 0


class Turns:
    """The turns of one connection; `shared` are those of its role."""

    def __init__(self, shared: trio.Semaphore) -> None:
        self._own = trio.Semaphore(CONNECTION_TURNS)
        self._shared = shared

    @asynccontextmanager
    async def turn(self, method: str) -> AsyncIterator[None]:
        """Wait for a turn, and keep it until the block ends."""
        if method in AT_ONCE:
            yield
            return
        async with self._own, self._shared:
            yield


class BatchAnswer:
    """The answers of a batch as one array.

    A short one is sent whole. A long one is sent in fragments, each before the next members are answered, so
    it needs memory for one fragment only, and a client that does not read delays only its own batch.
    """

    def __init__(self, writer: SessionWriter, memory: ConnectionMemory) -> None:
        self._writer = writer
        self._memory = memory
        self._kept: list[str] = []
        self._size = 0  #: of what is kept
        self._fragments: trio.MemorySendChannel[tuple[bytes, bool]] | None = None

    async def add(self, text: str) -> None:
        """Add the next answer; waits if a fragment has to be sent."""
        self._kept.append(text)
        self._size += len(text)
        self._memory.add(len(text))
        if self._size >= BATCH_BYTES:
            await self._send(last=False)

    async def end(self) -> None:
        """Finish the array. If there was no answer, nothing is sent."""
        if self._fragments is not None:
            await self._send(last=True)
        elif self._kept:
            await self._writer.post(f"[{','.join(self._kept)}]")

    def close(self) -> None:
        """Release its memory, however it ended."""
        self._memory.release(self._size)
        if self._fragments is not None:
            self._fragments.close()

    async def _send(self, *, last: bool) -> None:
        begin = "," if self._fragments is not None else "["
        text = (begin if self._kept else "") + ",".join(self._kept) + ("]" if last else "")
        if self._fragments is None:
            self._fragments = await self._writer.open_message()
        try:
            await self._fragments.send((text.encode("ascii"), last))
        except trio.BrokenResourceError:  # the client has left; the remaining commands are still carried out
            await trio.lowlevel.checkpoint()
        self._memory.release(self._size)
        self._kept, self._size = [], 0


def overloaded(member: Request | Rejected) -> str | None:
    """The answer to a request beyond the limit."""
    if isinstance(member, Rejected):
        return dump(member.response)
    if member.notification:
        return None
    error = HubError(
        f"{MAX_IN_FLIGHT} requests of this connection are in progress",
        code="overloaded",
        hint="wait for answers before sending more",
    )
    return dump(failure(member.id, error_object(error)))


def _key(request_id: Id) -> tuple[bool, Id]:
    """The key of an id: "1" and 1 are different ids."""
    return isinstance(request_id, str), request_id
