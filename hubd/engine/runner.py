"""One campaign, from its first recipient to its last.

Read `Runner.run` and follow it down. Rows that are due are read ahead into a bounded channel; workers take
them, and each holds one lane of the provider at a time. On a lane, messages form a chain:

    wait for a slot and a lane -> write the message -> prepare it (all but the irrevocable byte)
    -> ledger: open, durable -> deliver -> ledger: close this one and open the next, durable -> deliver ...

Pausing is not a flag that workers poll. `stop` cancels the scope that everything here runs in. The only
places a cancellation cannot enter are a delivery whose attempt is open and the writing of its outcome; they
are shielded, with a deadline that `stop` sets. When `run` has returned, nothing more leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

import trio

from hubd.core.ledger import Close, Entry, Open, Refusal
from hubd.core.model import Answer, Campaign, DeliveryState, Due, InDoubt, Parcel
from hubd.core.outcome import (
    NOT_ABOUT_RECIPIENT,
    Patience,
    close_for,
    close_until,
    close_unwritable,
    lost_answer,
)
from hubd.core.pacing import window_opens
from hubd.core.verdict import Action, judge
from hubd.engine.lanes import Berth, LanePool, ProviderStopped
from hubd.engine.plan import PlanShelf
from hubd.engine.ports import Campaigns, Ledger, StoreHealth
from hubd.engine.turnstile import Gate
from hubd.errors import BadInput, StoreUnavailable

READ_AHEAD = 256
FREEZE_PAGE = 5_000


class How(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"  #: every delivery is settled
    CANCELLED = "cancelled"  #: `stop` was called
    NEEDS_PERSON = "needs_person"  #: it should be paused, with the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, and why."""

    how: How
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A message that is written and may go: its envelope stands and its attempt is open."""

    row: Due
    parcel: Parcel
    content_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What an answer leads to: an entry for the ledger, and whether the campaign can go on."""

    entry: Entry | None
    needs_person: str = ""


class NeedsPerson(Exception):
    """The campaign cannot go on without a person; `str()` is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a runner is given to work with."""

    campaigns: Campaigns
    ledger: Ledger
    health: StoreHealth
    plans: PlanShelf
    now: Callable[[], float]  #: seconds since the epoch
    dice: Callable[[], float]  #: random numbers in [0, 1)
    patience: Callable[[Campaign], Patience]


class Runner:
    """Sends one campaign. `run` it once; `stop` it from another task."""

    def __init__(
        self,
        campaign: Campaign,
        pool: LanePool,
        gate: Gate,
        around: Surroundings,
        in_doubt: InDoubt,
    ) -> None:
        self.campaign = campaign
        self._pool = pool
        self._gate = gate
        self._around = around
        self._in_doubt = in_doubt
        self._urgent = campaign.single
        self._scope = trio.CancelScope()
        self._shields: set[trio.CancelScope] = set()
        self._deadline = float("inf")
        self._taken: set[int] = set()  # rows handed to workers and not recorded yet
        self._news = trio.Event()
        self._watched: dict[int, trio.Event] = {}
        self._accepted = campaign.counts.sent + campaign.counts.delivered + campaign.counts.undelivered

    # -- from outside ------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """Begin no more messages; cut those on the wire after `grace` seconds. Then `run` returns."""
        self._deadline = min(self._deadline, trio.current_time() + grace)
        for shield in self._shields:
            shield.deadline = min(shield.deadline, self._deadline)
        self._scope.cancel()

    def wake(self) -> None:
        """There are new rows, or rows became due."""
        self._news.set()

    def watch(self, delivery_id: int) -> trio.Event:
        """An event that is set when this delivery's next outcome is booked."""
        return self._watched.setdefault(delivery_id, trio.Event())

    # -- the run -----------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Send until every delivery is settled, `stop` is called, or a person is needed.

        Raises `StoreUnavailable` when the database cannot be used, and whatever a bug raises; the attempts
        that are open then are in doubt.
        """
        ending = Ending(how=How.CANCELLED)
        broken: StoreUnavailable | None = None
        with self._scope:
            try:
                ending = await self._send_all()
            except* NeedsPerson as group:
                ending = Ending(how=How.NEEDS_PERSON, reason=_first_reason(group))
            except* StoreUnavailable as group:
                broken = StoreUnavailable(_first_reason(group))
        if broken is not None:
            raise broken
        return ending

    async def _send_all(self) -> Ending:
        while not self.campaign.single and await self._around.campaigns.freeze_page(
            self.campaign.id, FREEZE_PAGE
        ):
            pass
        rows_in, rows_out = trio.open_memory_channel[Due](READ_AHEAD)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_ahead, rows_in)
            async with rows_out:
                for _ in range(self._pool.transport.lanes):
                    nursery.start_soon(self._work, rows_out.clone())
        if self._limit_reached():
            return Ending(how=How.NEEDS_PERSON, reason="limit")
        return Ending(how=How.COMPLETED)

    async def _read_ahead(self, rows_in: trio.MemorySendChannel[Due]) -> None:
        """Hand out rows that are due, in id order, until none is left or the limit is reached."""
        ledger, campaign_id = self._around.ledger, self.campaign.id
        cursor = 0
        async with rows_in:
            while not self._limit_reached():
                self._news = trio.Event()
                page = await ledger.due(campaign_id, self._around.now(), READ_AHEAD, cursor)
                for row in page:
                    while self._allowance_used():
                        if self._limit_reached():
                            return
                        await self._wait_news()
                    if row.id not in self._taken:
                        self._taken.add(row.id)
                        await rows_in.send(row)
                if page:
                    cursor = page[-1].id
                    continue
                cursor = 0
                if not self._taken and self._in_doubt is InDoubt.RETRY:
                    await ledger.release_doubts(campaign_id)
                again = await ledger.next_due_at(campaign_id)
                if again is None and not self._taken and not self.campaign.single:
                    return
                await self._wait_news(until=again)

    async def _wait_news(self, until: float | None = None) -> None:
        """Wait until a row was settled or came back, new rows came, or the time `until` has come.

        A row that is already due but still in a worker's hands does not count: its settling is the news.
        """
        if self._limit_reached():
            return
        pause = float("inf") if until is None else until - self._around.now()
        if pause <= 0 and not self._taken:
            return
        with trio.move_on_after(pause if pause > 0 else float("inf")):
            await self._news.wait()
        self._news = trio.Event()

    def _allowance_used(self) -> bool:
        limit = self.campaign.limit
        return limit is not None and self._accepted + len(self._taken) >= limit

    def _limit_reached(self) -> bool:
        limit = self.campaign.limit
        return limit is not None and self._accepted >= limit

    # -- one worker --------------------------------------------------------------------------------

    async def _work(self, rows: trio.MemoryReceiveChannel[Due]) -> None:
        async with rows:
            async for row in rows:
                async with self._held_lane() as berth:
                    current = await self._begin(row, berth)
                    while current is not None:
                        current = await self._deliver(current, berth, rows)

    @asynccontextmanager
    async def _held_lane(self) -> AsyncIterator[Berth]:
        """A lane, with a slot under every rate taken for its first message."""
        while True:
            await self._gate.wait()
            try:
                berth = await self._pool.borrow(self.campaign.id, urgent=self._urgent)
            except ProviderStopped as stopped:
                raise NeedsPerson(str(stopped)) from None
            if self._gate.try_take():
                break
            self._pool.give_back(berth)
        try:
            yield berth
        finally:
            self._pool.give_back(berth)

    async def _begin(self, row: Due, berth: Berth) -> Ready | None:
        """Write, prepare and open the first message of a chain. None: it is settled or put back."""
        ready = await self._write(row)
        if ready is None:
            return None
        ruling = self._rule_refusal(ready, await berth.lane.prepare(ready.parcel), berth)
        await self._book([ruling.entry])
        if ruling.needs_person:
            raise NeedsPerson(ruling.needs_person)
        if not isinstance(ruling.entry, Open):
            return None
        if row.id not in self._taken:  # the ledger refused to open it
            berth.lane.drop()
            return None
        return ready

    async def _deliver(
        self, ready: Ready, berth: Berth, rows: trio.MemoryReceiveChannel[Due]
    ) -> Ready | None:
        """Deliver an open message, announce the next along with it, and book both. Returns the next.

        There is no checkpoint between the durable open and the shield: an open attempt is always tried.
        """
        following: Ready | None = None
        answer: Answer | None = None
        with self._shield():
            following = await self._following(berth, rows)
            answer = await berth.lane.deliver(ready.parcel, following.parcel if following else None)
        if answer is None:
            berth.lane.drop()
            answer = lost_answer()
        closing = self._rule_answer(ready, answer, berth)
        opening: Ruling | None = None
        try:
            if following is not None and not self._pool.in_trouble(berth) and not closing.needs_person:
                refused = await berth.lane.prepare(following.parcel)
                if not self._scope.cancel_called:
                    opening = self._rule_refusal(following, refused, berth)
        finally:
            await self._book([closing.entry, opening.entry if opening else None])
            if following is not None and opening is None:
                self._put_back(following.row)
                berth.lane.drop()  # its envelope was announced and will not be used
        needs_person = closing.needs_person or (opening.needs_person if opening else "")
        if needs_person:
            raise NeedsPerson(needs_person)
        if following is None or opening is None or not isinstance(opening.entry, Open):
            return None
        if following.row.id not in self._taken:  # the ledger refused to open it
            berth.lane.drop()
            return None
        return following

    async def _following(self, berth: Berth, rows: trio.MemoryReceiveChannel[Due]) -> Ready | None:
        """The next message for this lane, if there is one that may follow at once."""
        while not self._scope.cancel_called and not self._pool.wanted(berth, self.campaign.id):
            if not rows.statistics().current_buffer_used or not self._gate.try_take():
                return None
            ready = await self._write(rows.receive_nowait())
            if ready is not None:
                return ready
        return None

    async def _write(self, row: Due) -> Ready | None:
        """The message for a row. None when it cannot be written or may not go now; that is booked."""
        now = self._around.now()
        if self.campaign.window:
            opens = window_opens(self.campaign.window, row.fields.get("timezone"), now)
            if opens > now:
                await self._book([close_until(row, opens, now)])
                return None
        plan = await self._around.plans.get(row.content_id)
        try:
            parcel = plan.write(row, self.campaign.name, now)
        except BadInput as problem:
            await self._book([close_unwritable(row, problem, self._pool.transport.name, now)])
            return None
        return Ready(row=row, parcel=parcel, content_hash=plan.content_hash)

    # -- what an answer leads to -------------------------------------------------------------------

    def _rule_refusal(self, ready: Ready, refused: Answer | None, berth: Berth) -> Ruling:
        """What follows from `prepare`: open the attempt, or the entry for the refusal."""
        if refused is not None:
            return self._rule(ready, refused, berth, opened=False)
        self._pool.ready(berth)
        return Ruling(
            entry=Open(
                delivery_id=ready.row.id,
                provider=self._pool.transport.name,
                message_id=ready.parcel.message_id,
                content_hash=ready.content_hash,
                at=self._around.now(),
            )
        )

    def _rule_answer(self, ready: Ready, answer: Answer, berth: Berth) -> Ruling:
        return self._rule(ready, answer, berth, opened=True)

    def _rule(self, ready: Ready, answer: Answer, berth: Berth, *, opened: bool) -> Ruling:
        """The entry that an answer leads to; tells the pool how the provider is."""
        verdict = judge(answer, ready.parcel.channel)
        if self.campaign.single and verdict.action is Action.PAUSE:
            verdict = replace(verdict, action=Action.FAIL)  # there is nothing to pause but this message
        needs_person = ""
        match verdict.action:
            case Action.PROVIDER | Action.SLOW:
                self._pool.trouble(berth, verdict.detail, verdict.retry_after)
            case Action.PROVIDER_STOP:
                self._pool.stop(verdict.detail)
                needs_person = verdict.detail
            case Action.PAUSE:
                needs_person = verdict.detail
            case Action.DOUBT:
                self._pool.lost(berth, verdict.detail)
            case _:
                self._pool.answered(berth)
        if verdict.close:
            berth.lane.drop()
        if not opened and verdict.action in NOT_ABOUT_RECIPIENT:
            self._put_back(ready.row)
            return Ruling(entry=None, needs_person=needs_person)
        entry = close_for(
            ready.row,
            answer,
            verdict,
            opened=opened,
            provider=self._pool.transport.name,
            message_id=ready.parcel.message_id,
            patience=self._around.patience(self.campaign),
            now=self._around.now(),
            jitter=self._around.dice(),
        )
        return Ruling(entry=entry, needs_person=needs_person)

    async def _book(self, proposed: Sequence[Entry | None]) -> None:
        """Write entries durably, and note which rows are done with.

        While the disk is full or failing this waits: an outcome stays in memory and is written first when
        the cause is gone. Raises `StoreUnavailable` if `stop` runs out of grace before that.
        """
        entries = [entry for entry in proposed if entry is not None]
        if not entries:
            return
        for entry, refusal in zip(entries, await self._write_down(entries), strict=True):
            if isinstance(entry, Close) and entry.to is DeliveryState.SENT:
                self._accepted += 1
            if isinstance(entry, Close) or refusal is not None:
                self._taken.discard(entry.delivery_id)
                self._news.set()
                if self._watched and entry.delivery_id in self._watched:
                    self._watched.pop(entry.delivery_id).set()

    async def _write_down(self, entries: Sequence[Entry]) -> list[Refusal | None]:
        with trio.CancelScope(shield=True):
            while True:
                try:
                    return await self._around.ledger.record(entries)
                except StoreUnavailable:
                    with self._shield() as patience:
                        await self._around.health.wait_healthy()
                    if patience.cancelled_caught:
                        raise
        raise AssertionError("a shield without a deadline is not cancelled")

    def _put_back(self, row: Due) -> None:
        self._taken.discard(row.id)
        self._news.set()

    @contextmanager
    def _shield(self) -> Iterator[trio.CancelScope]:
        """Cancellation waits outside, until the deadline that `stop` sets."""
        with trio.CancelScope(shield=True, deadline=self._deadline) as scope:
            self._shields.add(scope)
            try:
                yield scope
            finally:
                self._shields.discard(scope)


def _first_reason(group: BaseExceptionGroup[Exception]) -> str:
    for error in group.exceptions:
        return _first_reason(error) if isinstance(error, BaseExceptionGroup) else str(error)
    return ""
