"""The messages of one running campaign, as its provider's dispatcher takes them.

The campaign's own task fills the queue (see `campaign`). The dispatcher takes the head of it (see `pool`);
the row is then in the hands of one worker until its outcome is recorded or it is put back.

Everything here is synchronous and never waits: it is called between a durable open and the body of a message.
What has to be written, such as that a row is put off, is left to the campaign's task. A bug in a campaign, in
its template or its plan, ends its run and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import trio

from hubd.core.credits import PAUSED
from hubd.core.ledger import Close, Entry, Open, Rejection
from hubd.core.limiter import RateLimiter
from hubd.core.model import Campaign, Channel, DeliveryState, DueDelivery, RenderedMessage
from hubd.core.outcome import close_cancelled, close_until, close_unwritable
from hubd.core.windows import window_opens
from hubd.engine.breaker import CircuitBreaker
from hubd.engine.domains import Domains
from hubd.engine.plan import MessagePlan
from hubd.engine.ports import RunContext
from hubd.engine.results import PreparedMessage, ResultHandler
from hubd.engine.wakeup import Wakeup
from hubd.errors import BadInput

LOW = 128  #: rows in the queue below which more are wanted
#: Bytes of the attachments of transactional messages that are queued at most; one always is.
PLAN_BYTES = 32 * 2**20
#: Seconds that a transactional message waits in the queue for its sender's limit; then it is put off ...
SENDER_WAIT = 5.0
#: ... for so long at most: its sender may have another limit by then.
LOOK_AGAIN = 900.0


class Taken(NamedTuple):
    """A message in a worker's hands."""

    source: Source
    message: PreparedMessage


class QueuedMessage(msgspec.Struct, eq=False, kw_only=True):
    """A row that waits for its turn, with what it takes to render it."""

    source: Source
    row: DueDelivery
    plan: MessagePlan
    limits: tuple[RateLimiter, ...]  #: what it counts under, without its domain's; the provider's comes first
    cost: int = 1  #: how many slots of each: an SMS as many as it has segments
    rendered: RenderedMessage | None = None  #: an SMS is rendered to know its cost


class Source:
    """The messages of one run of a campaign, from its beginning until it is closed."""

    def __init__(
        self,
        campaign: Campaign,
        context: RunContext,
        *,
        provider: str,
        breaker: CircuitBreaker,
        domains: Domains,
        watched: dict[int, trio.Event],
    ) -> None:
        """`watched` are deliveries whose event is set when their outcome is recorded."""
        self.campaign = campaign
        self.urgent = campaign.transactional_queue
        self.ahead = self.urgent or bool(campaign.trigger_list)  #: of other campaigns
        self.results = ResultHandler(campaign, provider, breaker, domains, context)
        self.news = Wakeup()  #: for the campaign's task
        self.scope = trio.CancelScope()  #: cancelled when it is closed
        self.changed: Callable[[], None] = lambda: None  #: called when there may be something to take
        self.unwritten: list[Entry] = []  #: what the campaign's task has to record
        self.needs_person: str | None = None  #: why it cannot continue on its own
        self.error: Exception | None = None  #: what ended it
        self.outdated = False  #: messages were cancelled since `begin_page`
        self.accepted = campaign.counts.accepted  #: deliveries that were accepted, or may have been
        self._context = context
        self._provider = provider
        self._domains = domains
        self._watched = watched
        self._queue: deque[QueuedMessage] = deque()
        self._held: set[int] = set()  # in the queue or in a worker's hands
        self._in_hand: set[int] = set()
        self._let_go: set[int] = set()  # since `begin_page`
        self._announced: set[int] = set()  # in hand, behind a message that is on the wire
        self._next: QueuedMessage | None = None  # transactional, and waits for its sender's limits ...
        self._next_opens = float("inf")  # ... until then, on Trio's clock
        self._closed = False
        self._cut_at = float("inf")
        self._preparing: set[trio.CancelScope] = set()
        self._on_the_wire: set[trio.CancelScope] = set()

    # -- its end -----------------------------------------------------------------------------------

    def close(self, grace: float = float("inf")) -> None:
        """Begin no more messages; cut those on the wire after `grace` seconds."""
        self._cut_at = min(self._cut_at, trio.current_time() + grace)
        for scope in self._on_the_wire:
            scope.deadline = min(scope.deadline, self._cut_at)
        for scope in self._preparing:
            scope.cancel()
        if not self._closed:
            self._closed = True
            self.changed()  # others may go that a message of this campaign held up
        for delivery_id in list(self._announced):
            self.put_back(delivery_id)  # the message before it may be another campaign's
        self.scope.cancel()
        self.news.set()

    def pause(self, reason: str) -> None:
        """The campaign needs a person; messages on the wire finish."""
        self.needs_person = self.needs_person or reason
        self.close()

    def fail(self, error: Exception, delivery_id: int | None = None) -> None:
        """End the run with an error; an attempt of that delivery that is open is in doubt."""
        self.error = self.error or error
        if delivery_id is not None:
            self.put_back(delivery_id)
        self.close()

    @property
    def cut(self) -> bool:
        """Whether the time of what is on the wire is over."""
        return self._closed and trio.current_time() >= self._cut_at

    @property
    def is_open(self) -> bool:
        """Whether messages may begin."""
        return not self._closed

    @contextmanager
    def preparing(self) -> Iterator[trio.CancelScope]:
        """Around what goes before the irrevocable byte: cancelled as soon as the campaign is closed."""
        with trio.CancelScope() as scope:
            if self._closed:
                scope.cancel()
            self._preparing.add(scope)
            try:
                yield scope
            finally:
                self._preparing.discard(scope)

    def on_the_wire(self, scope: trio.CancelScope) -> None:
        """Something that goes after the irrevocable byte is done in a scope of the caller's: from now on it
        is cancelled when the time that `close` grants is over.
        """
        self._on_the_wire.add(scope)
        if self._closed:
            scope.deadline = self._cut_at

    def off_the_wire(self, scope: trio.CancelScope) -> None:
        """It is done; the scope, if it is not cancelled yet, will no longer be cancelled for this."""
        self._on_the_wire.discard(scope)
        if self._closed:
            scope.deadline = float("inf")

    # -- the queue ---------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether enough rows are queued."""
        return len(self._queue) >= LOW or self._too_many_bytes

    @property
    def busy(self) -> bool:
        """Whether a worker has a row."""
        return bool(self._in_hand)

    @property
    def empty(self) -> bool:
        """Whether no row is queued or in anybody's hands."""
        return not self._held

    def begin_page(self) -> None:
        """Rows are read as of now: `wants` and `queue` pass over those that change later."""
        self._let_go.clear()
        self.outdated = False

    def wants(self, row: DueDelivery) -> bool:
        """Whether a row of the page may be queued; one that may not be sent to now is put off."""
        if row.id in self._held or row.id in self._let_go:
            return False
        entry = self._not_now(row)
        if entry is not None:
            self.unwritten.append(entry)
        return entry is None

    def queue(self, row: DueDelivery, plan: MessagePlan, limits: tuple[RateLimiter, ...]) -> None:
        """Queue a row that `wants` said yes to, unless messages were cancelled since it was read."""
        if self.outdated:
            return
        self._held.add(row.id)
        self._queue.append(QueuedMessage(source=self, row=row, plan=plan, limits=limits))
        self._next = None
        if len(self._queue) == 1 or self.urgent:
            self.changed()

    def read_again(self) -> None:
        """Messages were cancelled: whatever no worker has yet is read again."""
        self._held -= {message.row.id for message in self._queue}
        self._queue.clear()
        self._next = None
        self.outdated = True
        self.news.set()

    @property
    def limit_reached(self) -> bool:
        """Whether as many were accepted as this run may send."""
        return self.campaign.limit is not None and self.accepted >= self.campaign.limit

    # -- what the dispatcher takes -----------------------------------------------------------------

    def head(self, now: float) -> QueuedMessage | None:
        """The message that goes next; None while there is none. Rows that may not be sent to are put off."""
        if self._closed or self._allowance_used:
            return None
        if self.urgent:
            return self._first_of_any_sender(now)
        while self._queue:
            message = self._queue[0]
            if self._may_go(message):
                return message
            self._queue.popleft()
        return None

    def take(self, queued: QueuedMessage, now: float) -> PreparedMessage | None:
        """Take what `head` returned, and its slots, into a worker's hands, and render it.

        None when that is not possible: it is settled then, or the run has failed.
        """
        row = queued.row
        self._queue.remove(queued)
        self._next = None
        domain = self._domains.find(row.recipient)
        limits = queued.limits if domain is None else (*queued.limits, domain)
        for limiter in limits:
            limiter.take(now, queued.cost)
        self._in_hand.add(row.id)
        if len(self._queue) < LOW:
            self.news.set()
        try:
            rendered = queued.rendered or self._render(queued)
        except Exception as bug:
            self.fail(bug, row.id)
            return None
        if rendered is None:
            return None
        return PreparedMessage(
            row=row,
            rendered=rendered,
            content_hash=queued.plan.content_hash,
            limits=tuple([limiter.name for limiter in limits if limiter.name]),
        )

    def announced(self, delivery_id: int) -> None:
        """A row follows a message that is on the wire: until it is `begun`, `close` puts it back."""
        self._announced.add(delivery_id)

    def begun(self, delivery_id: int) -> None:
        """It is the turn of a row that was `announced`."""
        self._announced.discard(delivery_id)

    def put_back(self, delivery_id: int) -> None:
        """No worker holds the row any longer: it is finished, or will be queued again."""
        self._announced.discard(delivery_id)
        self._in_hand.discard(delivery_id)
        self._held.discard(delivery_id)
        self._let_go.add(delivery_id)
        limited = self.campaign.limit is not None
        if self._closed or limited or len(self._queue) < LOW:
            self.news.set()
        if limited:
            self.changed()  # what was not accepted makes room under the limit

    def has(self, delivery_id: int) -> bool:
        """Whether a worker has this row."""
        return delivery_id in self._in_hand

    # -- what became of it -------------------------------------------------------------------------

    def recorded(self, entry: Entry, refusal: Rejection | None) -> None:
        """An entry is in the ledger, or was refused."""
        if refusal is not None and refusal.why == "campaign_state":
            self.put_back(entry.delivery_id)
            self.pause("the campaign is no longer running")
        elif isinstance(entry, Close):
            if refusal is None and entry.to in (DeliveryState.SENT, DeliveryState.IN_DOUBT):
                self.accepted += 1
            self.put_back(entry.delivery_id)
            if self._watched and entry.delivery_id in self._watched:
                self._watched.pop(entry.delivery_id).set()
        elif isinstance(entry, Open) and refusal is not None:
            self.put_back(entry.delivery_id)
            if refusal.why == "credits" and not self.urgent:
                self.pause(PAUSED)
        if self.results.misjudged:
            self.news.set()  # now that the refusals are recorded they can be requeued

    def released(self, number: int) -> None:
        """This many deliveries are no longer in doubt but queued again, which frees places under the
        limit.
        """
        self.accepted -= number
        self.news.set()
        self.changed()

    # -- whether a row may go ----------------------------------------------------------------------

    def _may_go(self, message: QueuedMessage) -> bool:
        """Whether the message can be sent as far as its recipient is concerned; its cost is known then.

        If not, it is no longer held, and what is to be written is noted.
        """
        entry = self._not_now(message.row)
        if entry is not None:
            self._put_off(entry)
            return False
        if self.campaign.channel is Channel.SMS and message.rendered is None:
            message.rendered = self._render(message)
            if message.rendered is None:
                return False
            message.cost = message.rendered.segments
        return True

    def _first_of_any_sender(self, now: float) -> QueuedMessage | None:
        """The first transactional message that its sender's limits let go now, or the one that goes next."""
        if (
            self._next is not None
            and now < self._next_opens  # until then the others need not be looked at again
            and _own_limits_open(self._next, now) > now
        ):
            return self._next
        self._next, self._next_opens = None, float("inf")
        for message in list(self._queue):
            if not self._may_go(message):
                self._queue.remove(message)
                continue
            opens = _own_limits_open(message, now)
            if opens <= now:
                self._next = None
                return message
            if opens - now > SENDER_WAIT:
                self._queue.remove(message)
                wall = self._context.now()
                at = wall + min(opens - now, LOOK_AGAIN)
                self._put_off(close_until(message.row, at, wall, "sender_rate"))
            elif opens < self._next_opens:
                self._next, self._next_opens = message, opens
        return self._next

    def _not_now(self, row: DueDelivery) -> Close | None:
        """The entry that skips a row, or puts it off while its window is closed or its domain is full."""
        now = self._context.now()
        if not row.fields:  # erased, because the contact was removed: see `hubd.store.cancelling`
            return close_cancelled(row, now)
        if self.campaign.window:
            zone = row.fields.get("timezone")
            opens = window_opens(self.campaign.window, zone, now, self.campaign.zone)
            if opens > now:
                return close_until(row, opens, now)
        held = self._domains.held_until(row.recipient, now, owner=self.campaign.id, urgent=self.urgent)
        return None if held is None else close_until(row, held[0], now, held[1])

    def _put_off(self, entry: Close) -> None:
        self.unwritten.append(entry)
        self.news.set()

    def _render(self, message: QueuedMessage) -> RenderedMessage | None:
        """None when it cannot be rendered for this recipient; that is to be written down."""
        now = self._context.now()
        try:
            return message.plan.write(message.row, self.campaign.name, now)
        except BadInput as problem:
            self._in_hand.discard(message.row.id)
            self.unwritten.append(close_unwritable(message.row, problem, self._provider, now))
            self.news.set()
            return None

    @property
    def _too_many_bytes(self) -> bool:
        """Whether queued transactional messages, each with a content of its own, take too much memory."""
        if not self.urgent or not self._queue:
            return False
        encoded = {part for message in self._queue for part in message.plan.encoded}
        return sum(part.size for part in encoded) > PLAN_BYTES

    @property
    def _allowance_used(self) -> bool:
        limit = self.campaign.limit
        return limit is not None and self.accepted + len(self._in_hand) >= limit


def _own_limits_open(message: QueuedMessage, now: float) -> float:
    """When its limits let a message go, without the provider's, which comes first and holds up all."""
    return max((limiter.opens_at(now, message.cost) for limiter in message.limits[1:]), default=now)
