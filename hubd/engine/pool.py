"""One provider's workers, and the dispatcher that gives them their messages.

The campaigns that run through the provider are its sources. The dispatcher picks synchronously: transactional
messages first, then the least served campaign whose limits allow a message now (`core.dispatch`). A worker
that has a message on the wire takes the next one itself (`take`). The others are woken, or started, by `run`,
as many as the provider may be used with now (see `breaker`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from hubd.core.dispatch import FairOrder, choose
from hubd.engine.breaker import CircuitBreaker, Lease, ProviderStopped
from hubd.engine.health import OFF
from hubd.engine.ports import RunContext, Transport
from hubd.engine.source import QueuedMessage, Source, Taken
from hubd.engine.wakeup import Wakeup
from hubd.engine.worker import AttemptRecorder, Worker
from hubd.errors import StoreUnavailable

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Question:
    """Somebody who wants to ask the provider something, in the place of a message."""

    ready: trio.Event = field(default_factory=trio.Event)
    lease: Lease | None = None


class WorkerPool:
    """Everything that is sent through one provider. Start `run` in a task; it ends with `aclose`."""

    def __init__(self, transport: Transport, breaker: CircuitBreaker) -> None:
        self.transport = transport
        self.breaker = breaker
        self._order: FairOrder[Source] = FairOrder()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._questions: deque[_Question] = deque()
        self._question_next = True  # questions and campaigns take turns
        self._old: list[Transport] = []  # replaced, with messages still on the wire
        self._news = Wakeup()
        self._scope = trio.CancelScope()
        breaker.changed = self._news.set

    # -- from outside ------------------------------------------------------------------------------

    def add(self, source: Source) -> None:
        """Send this campaign's messages from now on."""
        source.changed = self._news.set
        if self._scope.cancel_called:
            source.pause(self.breaker.reason)
        self._order.join(source, urgent=source.ahead)
        self._news.set()

    def remove(self, source: Source) -> None:
        """A campaign's run has ended."""
        self._order.leave(source)

    def wake(self) -> None:
        """Something changed that messages may wait for, such as a limit."""
        self._news.set()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Transport]:
        """The right to ask the provider something; waits as a message does. Raises `ProviderStopped`."""
        question = _Question()
        self._questions.append(question)
        self._news.set()
        try:
            await question.ready.wait()
            if question.lease is None:
                raise ProviderStopped(self.breaker.reason)
            yield question.lease.transport
        finally:
            if question in self._questions:
                self._questions.remove(question)
            if question.lease is not None:
                self.breaker.end(question.lease)

    def revive(self, transport: Transport | None = None) -> None:
        """Try again, with a new transport if one is given, and that one at full speed.

        What is on the wire through the old transport ends in its own time; then the old one is closed.
        """
        if transport is not None:
            self._old.append(self.transport)
            self.transport = transport
            self.breaker.replace(transport)
            self._dismiss_idle()
        self.breaker.revive()

    @property
    def unused(self) -> bool:
        """Whether nothing is on any wire."""
        return not self.breaker.leases

    async def tidy(self) -> None:
        """Close transports that were replaced, once nothing is on their wire, and forget old trouble."""
        for transport in list(self._old):
            if transport not in {each.transport for each in self.breaker.leases} and not any(
                worker.transport is transport for worker in self._workers
            ):
                self._old.remove(transport)
                await transport.aclose()
        self.breaker.relax(unused=not self._workers and self.unused)

    async def aclose(self) -> None:
        """Cut every connection and close the transport. Campaigns that still send through it pause."""
        self._stop()
        self._scope.cancel()
        for worker in self._workers:
            worker.connection.drop()
        for transport in (*self._old, self.transport):
            await transport.aclose()

    # -- for workers -------------------------------------------------------------------------------

    def take(self, lease: Lease) -> Taken | None:
        """The message that may follow the one that is sent under this lease; None if none may at once."""
        if lease.transport is not self.transport or not self.breaker.may_go_on(lease):
            return None
        sources = list(self._order)
        if self._questions:
            sources = [each for each in sources if each.urgent]
        return self._pick(sources)[0]

    def idle(self, worker: Worker) -> None:
        """A worker has nothing left to send."""
        if worker.transport is self.transport:
            self._idle.append(worker)
        else:
            worker.dismiss()
        self._news.set()

    def gone(self, worker: Worker) -> None:
        """A worker ends."""
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        self._news.set()

    # -- the dispatcher ----------------------------------------------------------------------------

    async def run(self, context: RunContext) -> None:
        """Give messages to workers until the pool is closed."""
        recorder = AttemptRecorder(context.ledger, context.health)
        context.rendered.when_freed(self._news.set)
        with self._scope:
            async with trio.open_nursery() as nursery:
                while True:
                    await self._wait_for_the_disk(context)
                    until = float("inf")
                    try:
                        until = self._assign(context, recorder, nursery)
                    except Exception as bug:
                        log.exception("the dispatcher of %s failed", self.transport.name)
                        for source in list(self._order):
                            source.fail(bug)
                    self.breaker.report()
                    await self._news.wait(until)

    def _assign(self, context: RunContext, recorder: AttemptRecorder, nursery: trio.Nursery) -> float:
        """Give out what may be sent now; until when there is nothing to do, on Trio's clock."""
        if self.breaker.health in OFF:
            self._stop()
            return float("inf")
        while self._questions or len(self._order):
            if not self.breaker.may_begin():
                return self.breaker.opens_at()
            taken, until = None, float("inf")
            if context.health.low_disk_space:
                until = trio.current_time() + 1.0  # it waits for room then, if there still is none
            elif not context.rendered.full:
                taken, until = self._pick(self._asked())
            if taken is not None:
                self._question_next = True
                self._give(taken, context, recorder, nursery)
            elif self._questions:
                self._question_next = False
                question = self._questions.popleft()
                question.lease = self.breaker.begin(None, self.transport)
                question.ready.set()
            else:
                return until
        return float("inf")

    def _give(
        self, taken: Taken, context: RunContext, recorder: AttemptRecorder, nursery: trio.Nursery
    ) -> None:
        worker = self._worker()
        if worker is None:
            try:
                worker = Worker(self, self.breaker, self.transport, recorder, context)
            except Exception as bug:  # of the transport
                taken.source.fail(bug, taken.message.row.id)
                return
            self._workers.add(worker)
            nursery.start_soon(worker.run)
        worker.give(taken, self.breaker.begin(worker.connection, self.transport))

    async def _wait_for_the_disk(self, context: RunContext) -> None:
        """While nothing can be recorded nothing is begun. Lost for good: the runs of all sources end."""
        try:
            while context.health.trouble or (context.health.low_disk_space and len(self._order)):
                await context.health.wait_healthy()
                await context.health.wait_for_disk_space()
        except StoreUnavailable as lost:
            for source in list(self._order):
                source.fail(lost)

    def _pick(self, sources: list[Source]) -> tuple[Taken | None, float]:
        """The next message; without one, when to look again on Trio's clock."""
        now = trio.current_time()
        while True:
            queued, until = choose(self._heads(sources, now), now)
            if queued is None:
                return None, until
            source = queued.source
            self._order.serve(source, queued.cost)
            message = source.take(queued, now)
            if message is not None:
                return Taken(source, message), now

    def _heads(self, sources: list[Source], now: float) -> Iterator[QueuedMessage]:
        for source in sources:
            try:
                head = source.head(now)
            except Exception as bug:  # of this campaign; the others continue
                source.fail(bug)
                continue
            if head is not None:
                yield head

    def _asked(self) -> list[Source]:
        """The sources in the order in which they are asked. A connection that may be refused is not tried
        with a transactional message if there is another. Only those go before a question whose turn it is.
        """
        sources = list(self._order)
        if self._question_next and self._questions:
            sources = [source for source in sources if source.urgent]
        if self.breaker.probing:
            sources.sort(key=lambda source: source.urgent)
        return sources

    def _worker(self) -> Worker | None:
        """An idle worker, preferably a connected one: one more connection might exceed the limit."""
        for number in reversed(range(len(self._idle))):
            if self._idle[number].connection.connected:
                return self._idle.pop(number)
        return self._idle.pop() if self._idle else None

    def _stop(self) -> None:
        for source in list(self._order):
            source.pause(self.breaker.reason)
        while self._questions:
            self._questions.popleft().ready.set()

    def _dismiss_idle(self) -> None:
        while self._idle:
            self._idle.pop().dismiss()
