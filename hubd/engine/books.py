"""What a run writes into the ledger, and what must not be cut off before it is written.

Cancellation stops a run everywhere but here and in a delivery whose attempt is open. Those are shielded, with
a deadline that `cut_after` sets; an outcome that is known is written down even after that deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import trio

from hubd.core.ledger import Close, Entry, Refusal, Requeue
from hubd.engine.backlog import Backlog
from hubd.engine.ports import Surroundings
from hubd.errors import InvalidTransition, StoreUnavailable


class NeedsPerson(Exception):
    """The campaign cannot go on without a person; `str()` is the reason."""


class Books:
    """The ledger as one run uses it."""

    def __init__(self, around: Surroundings, backlog: Backlog) -> None:
        self.watched: dict[int, trio.Event] = {}  #: set and forgotten when the delivery's outcome is booked
        self._around = around
        self._backlog = backlog
        self._shields: set[trio.CancelScope] = set()
        self._deadline = float("inf")

    def cut_after(self, grace: float) -> None:
        """What is on the wire has `grace` seconds left. A later, longer grace changes nothing."""
        self._deadline = min(self._deadline, trio.current_time() + grace)
        for shield in self._shields:
            shield.deadline = min(shield.deadline, self._deadline)

    @contextmanager
    def shield(self) -> Iterator[trio.CancelScope]:
        """Cancellation waits outside, until the deadline that `cut_after` sets."""
        with trio.CancelScope(shield=True, deadline=self._deadline) as scope:
            self._shields.add(scope)
            try:
                yield scope
            finally:
                self._shields.discard(scope)

    async def book(self, proposed: Sequence[Entry | None]) -> None:
        """Write entries durably, and note which rows are done with.

        While the disk is full or failing this waits: an outcome stays in memory and is written first when
        the cause is gone. Raises `StoreUnavailable` if the grace runs out before that, and `NeedsPerson`
        when the campaign does not run any more.
        """
        entries = [entry for entry in proposed if entry is not None]
        if not entries:
            return
        for entry, refusal in zip(entries, await self._write(entries), strict=True):
            if refusal is not None and refusal.why == "campaign_state":
                raise NeedsPerson("the campaign does not run any more")
            if isinstance(entry, Close):
                self._backlog.done(entry.delivery_id, entry.to if refusal is None else None)
            elif refusal is not None:
                self._backlog.done(entry.delivery_id)
            if isinstance(entry, Close) and entry.delivery_id in self.watched:
                self.watched.pop(entry.delivery_id).set()

    async def forgive(self, deliveries: Iterable[int]) -> None:
        """Put those back whose refusal turned out to be about all of us."""
        for number in deliveries:
            with suppress(InvalidTransition):  # a person was quicker
                await self.book([Requeue(delivery_id=number, at=self._around.now())])
                self._backlog.wake()

    async def _write(self, entries: Sequence[Entry]) -> list[Refusal | None]:
        with trio.CancelScope(shield=True):
            while True:
                try:
                    return await self._around.ledger.record(entries)
                except StoreUnavailable:
                    with self.shield() as patience:
                        await self._around.health.wait_healthy()
                    if patience.cancelled_caught:
                        raise
                except Exception:
                    # One faulty entry must not take the outcome of another message with it.
                    if len(entries) > 1:
                        await self._around.ledger.record(entries[:1])
                    raise
        raise AssertionError("a shield without a deadline is not cancelled")
