"""One worker of a provider: one connection, one message after another.

take -> render -> prepare (all but the irrevocable byte) -> ledger: open, durable -> deliver
-> ledger: close this one and open the next, durable -> deliver ...

While a message is on the wire nothing but its answer is awaited. The next one is taken and rendered before,
without waiting for anything, and its envelope travels behind the body.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import trio

from hubd.core.ledger import Entry, Open, Rejection
from hubd.core.model import Answer
from hubd.core.outcome import close_withdrawn, lost_answer
from hubd.engine.breaker import CircuitBreaker, Lease
from hubd.engine.ports import Connection, Ledger, RunContext, StoreHealth, Transport
from hubd.engine.results import Outcome
from hubd.engine.source import Source, Taken
from hubd.engine.wakeup import Wakeup
from hubd.errors import StoreUnavailable
from hubd.failpoints import reach

log = logging.getLogger(__name__)

#: Seconds after which an unused connection is closed.
IDLE = 30.0
#: Seconds that closing it politely may take.
GOODBYE = 5.0


class Dispatcher(Protocol):
    """Who gives a worker its messages."""

    def take(self, lease: Lease) -> Taken | None:
        """The message that may follow the one on the wire; None: nothing may follow at once."""
        ...

    def idle(self, worker: Worker) -> None:
        """The worker has nothing to send any more, and waits for `Worker.give`."""
        ...

    def gone(self, worker: Worker) -> None:
        """The worker ends; its connection is about to be closed."""
        ...


Item = tuple[Source, Entry]


class Worker:
    """Run `run` in a task, and `give` it messages, the next one when it is idle."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        breaker: CircuitBreaker,
        transport: Transport,
        recorder: AttemptRecorder,
        context: RunContext,
    ) -> None:
        self.transport = transport
        self.connection: Connection = transport.connection()
        self._dispatcher = dispatcher
        self._breaker = breaker
        self._recorder = recorder
        self._context = context
        self._lease: Lease | None = None
        self._given: Taken | None = None
        self._news = Wakeup()
        self._held = context.rendered.hold()
        self._taken: deque[Taken] = deque(maxlen=2)  # the one on the wire and the next
        breaker.connections.add(self.connection)

    # -- from outside ------------------------------------------------------------------------------

    def give(self, taken: Taken, lease: Lease) -> None:
        """Send this message, and then others as long as the dispatcher has some."""
        self._given, self._lease = taken, lease
        self._hold(taken)
        self._news.set()

    def dismiss(self) -> None:
        """End, once idle."""
        self._news.set()

    # -- the loop ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send what is given. Ends after a while without anything to send, or when it is dismissed."""
        try:
            while True:
                await self._news.wait(trio.current_time() + IDLE)
                given, self._given = self._given, None
                if given is None:
                    return
                with trio.CancelScope(shield=True), self._held:
                    try:
                        await self._send(given)
                    except Exception as bug:
                        self._fail(bug)
                self._end_lease()
                self._dispatcher.idle(self)
        finally:
            self._dispatcher.gone(self)
            try:
                with trio.move_on_after(GOODBYE):
                    await self.connection.aclose()
            except Exception:
                log.exception("an unused connection of %s did not close", self.transport.name)
            finally:
                self.connection.drop()
                self._breaker.connections.discard(self.connection)

    async def _send(self, given: Taken) -> None:
        current = await self._begin(given)
        while current is not None:
            current = await self._send_until_cut(current)

    async def _send_until_cut(self, current: Taken | None) -> Taken | None:
        """Deliver an open message and those that follow it. Returns the next one, if there is one, after a
        message was cut off.

        All of them share a cancel scope: to make one for every message takes as long as to render it.
        """
        following: Taken | None = None
        answer: Answer | None = None
        with trio.CancelScope() as scope:
            while current is not None:
                if current.source.cut:  # while its attempt was opened
                    await self._withdraw(current)
                    return None
                self._held.only(len(current.message.rendered.payload))
                following, answer = self._next(), None
                current.source.on_the_wire(scope)
                try:
                    answer = await self._deliver(current, following)
                finally:
                    current.source.off_the_wire(scope)
                if not current.source.is_open and scope.cancel_called:
                    break  # nothing more can be awaited here
                current = await self._settle(current, answer, following)
        return None if current is None else await self._settle(current, answer, following)

    async def _begin(self, given: Taken) -> Taken | None:
        """Prepare and open the first message. None: it is settled or put back."""
        opening = await self._prepare(given, waits=True)
        if opening is None:
            self._give_up(given)
            return None
        reach("before_open")
        await self._record(given, opening)
        reach("after_open")
        return self._to_deliver(given, opening)

    def _next(self) -> Taken | None:
        """The message that follows the one whose attempt is open now: nothing here may wait, or raise."""
        if self._context.health.low_disk_space or self._context.rendered.full:
            return None
        try:
            following = self._dispatcher.take(self._now)
        except Exception:
            log.exception("the next message could not be chosen")
            return None
        if following is not None:
            self._hold(following)
            following.source.announced(following.message.row.id)
        return following

    async def _deliver(self, current: Taken, following: Taken | None) -> Answer | None:
        """The provider's answer; None after a bug. Raises `trio.Cancelled` when it is cut off."""
        try:
            answer = await self.connection.deliver(
                current.message.rendered, following.message.rendered if following else None
            )
            reach("after_reply")
        except Exception as bug:
            current.source.fail(bug, current.message.row.id)
            return None
        return answer

    async def _settle(self, current: Taken, answer: Answer | None, following: Taken | None) -> Taken | None:
        """Record the outcome of a message together with the opening of the next. Returns that one."""
        closing: Outcome | None = self._judge(current, answer)
        waits = following is not None and self.connection.waits(following.message.rendered)
        if closing is not None and waits:
            await self._record(current, closing)  # what is known is not kept in memory while a server thinks
            closing = None
        opening: Outcome | None = None
        if following is not None and self._may_open(following):
            following.source.begun(following.message.row.id)
            opening = await self._prepare(following, waits=waits)
        if following is not None and opening is None:
            self._give_up(following)
        if opening is not None:
            reach("before_open")
        items = self._items(current, closing)
        if following is not None and opening is not None:
            items += self._items(following, opening)
        await self._recorder.record(items)
        if following is None or opening is None:
            return None
        reach("after_open")
        return self._to_deliver(following, opening)

    # -- steps -------------------------------------------------------------------------------------

    def _hold(self, taken: Taken) -> None:
        self._taken.append(taken)
        self._held.add(len(taken.message.rendered.payload))

    async def _prepare(self, current: Taken, *, waits: bool) -> Outcome | None:
        """What follows from preparing the message. None when it is not to be begun now.

        `waits`: whether preparing it has to wait for the provider.
        """
        source, message = current
        try:
            if waits:
                with source.preparing() as scope:
                    refused = await self.connection.prepare(message.rendered)
                if scope.cancelled_caught:
                    return None
            else:
                refused = await self.connection.prepare(message.rendered)
            if refused is None and not self._may_open(current):
                return None
            return source.results.prepared(message, refused, self._now)
        except Exception as bug:
            source.fail(bug, message.row.id)
            return None

    def _judge(self, current: Taken, answer: Answer | None) -> Outcome | None:
        """What the answer to an open message leads to. None when its run has failed."""
        source, message = current
        if answer is None:
            self.connection.drop()
            answer = lost_answer()
        if not source.has(message.row.id):
            return None
        try:
            outcome = source.results.answered(message, answer, self._now, opened=True)
        except Exception as bug:
            source.fail(bug, message.row.id)
            return None
        if outcome.needs_person:
            source.pause(outcome.needs_person)
        return outcome

    def _may_open(self, current: Taken) -> bool:
        """Whether the message may still begin."""
        return current.source.is_open and not self._breaker.in_trouble(self._now)

    def _give_up(self, current: Taken) -> None:
        """A message is not begun; its envelope may be announced, and will not be used."""
        current.source.put_back(current.message.row.id)
        self.connection.drop()

    async def _record(self, current: Taken, outcome: Outcome) -> None:
        await self._recorder.record(self._items(current, outcome))

    def _items(self, current: Taken, outcome: Outcome | None) -> list[tuple[Source, Entry]]:
        if outcome is None:
            return []
        if outcome.entry is None:
            current.source.put_back(current.message.row.id)
            return []
        return [(current.source, outcome.entry)]

    async def _withdraw(self, current: Taken) -> None:
        """An open attempt whose time is over before it has begun: it is known that nothing was sent."""
        self.connection.drop()
        entry = close_withdrawn(current.message.row, self._context.now(), self._context.steady())
        await self._recorder.record([(current.source, entry)])

    def _to_deliver(self, current: Taken, outcome: Outcome) -> Taken | None:
        """The message, if its attempt is open now."""
        if outcome.needs_person:
            current.source.pause(outcome.needs_person)
        if not isinstance(outcome.entry, Open):
            return None
        if not current.source.has(current.message.row.id):  # the ledger refused to open it
            self.connection.drop()
            return None
        return current

    @property
    def _now(self) -> Lease:
        """The lease that it sends under."""
        assert self._lease is not None
        return self._lease

    def _fail(self, bug: Exception) -> None:
        """A bug in the worker itself: it ends the runs of the campaigns whose messages it had."""
        self.connection.drop()
        for source, message in self._taken:
            if source.has(message.row.id):
                source.fail(bug, message.row.id)

    def _end_lease(self) -> None:
        self._breaker.end(self._now)
        self._lease = None


class AttemptRecorder:
    """Writes entries into the ledger, maybe of two campaigns, and tells each what became of its own.

    Raises nothing: what goes wrong ends the run of the campaign.
    """

    def __init__(self, ledger: Ledger, health: StoreHealth) -> None:
        self._ledger = ledger
        self._health = health

    async def record(self, items: Sequence[Item]) -> None:
        """Write these entries durably, as one unit.

        While the disk is full or failing an outcome stays in memory and is written first when the cause is
        gone, or until the time that `Source.close` grants is over. An attempt that could not be opened is put
        back: it will not be opened for a message whose connection has been kept waiting.
        """
        while items:
            try:
                refusals = await self._ledger.record([entry for _, entry in items])
            except StoreUnavailable as error:
                items = await self._outcomes_once_healthy(items, error)
            except Exception as bug:
                await self._one_by_one(items, bug)
                return
            else:
                _tell(items, refusals)
                return

    async def _outcomes_once_healthy(self, items: Sequence[Item], error: StoreUnavailable) -> Sequence[Item]:
        kept: list[Item] = []
        async with trio.open_nursery() as nursery:  # each source has its own time limit
            for source, entry in items:
                if isinstance(entry, Open):
                    source.put_back(entry.delivery_id)
                else:
                    nursery.start_soon(self._once_healthy, source, entry, error, kept)
        return kept

    async def _once_healthy(
        self, source: Source, entry: Entry, error: StoreUnavailable, kept: list[Item]
    ) -> None:
        try:
            with trio.CancelScope() as scope:
                source.on_the_wire(scope)
                await self._health.wait_healthy()
        except StoreUnavailable as lost:
            source.fail(lost, entry.delivery_id)
            return
        finally:
            source.off_the_wire(scope)
        if scope.cancelled_caught:
            source.fail(error, entry.delivery_id)
        else:
            kept.append((source, entry))

    async def _one_by_one(self, items: Sequence[Item], bug: Exception) -> None:
        """One faulty entry must not take the outcome of another message with it."""
        if len(items) > 1:
            for item in items:
                await self.record([item])
        else:
            ((source, entry),) = items
            source.fail(bug, entry.delivery_id)


def _tell(items: Sequence[Item], refusals: Sequence[Rejection | None]) -> None:
    for (source, entry), refusal in zip(items, refusals, strict=True):
        source.recorded(entry, refusal)
