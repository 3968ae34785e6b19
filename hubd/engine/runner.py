"""One campaign, from its first recipient to its last.

Read `Runner.run` and follow it down. Rows that are due are read ahead (see `backlog`); workers take them, and
each holds one lane of the provider at a time. On a lane, messages form a chain:

    wait for a slot and a lane -> write the message -> prepare it (all but the irrevocable byte)
    -> ledger: open, durable -> deliver -> ledger: close this one and open the next, durable -> deliver ...

Pausing is not a flag that workers poll. `stop` cancels the scope that everything here runs in. The only
places a cancellation cannot enter are a delivery whose attempt is open and the writing of its outcome; they
are shielded, with a deadline that `stop` sets. When `run` has returned, nothing more leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum

import trio

from hubd.core.ledger import Close, Entry, Open, Refusal, Requeue
from hubd.core.model import Answer, Campaign, Due, InDoubt, Parcel
from hubd.core.outcome import (
    NOT_ABOUT_RECIPIENT,
    close_for,
    close_until,
    close_unwritable,
    lost_answer,
)
from hubd.core.pacing import window_opens
from hubd.core.streak import Streak
from hubd.core.verdict import Action, judge
from hubd.engine.backlog import READ_AHEAD, Backlog
from hubd.engine.lanes import Berth, LanePool, ProviderStopped
from hubd.engine.ports import Surroundings
from hubd.engine.turnstile import Gate
from hubd.errors import BadInput, InvalidTransition, StoreUnavailable
from hubd.failpoints import reach

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

    entry: Entry | None = None
    needs_person: str = ""


class NeedsPerson(Exception):
    """The campaign cannot go on without a person; `str()` is the reason."""


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
        self._scope = trio.CancelScope()
        self._shields: set[trio.CancelScope] = set()
        self._deadline = float("inf")
        self._backlog = Backlog(campaign, around, in_doubt)
        self._streak = Streak()
        self.watched: dict[int, trio.Event] = {}  #: set and forgotten when the delivery's outcome is booked

    # -- from outside ------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """Begin no more messages; cut those on the wire after `grace` seconds. Then `run` returns."""
        self._deadline = min(self._deadline, trio.current_time() + grace)
        for shield in self._shields:
            shield.deadline = min(shield.deadline, self._deadline)
        self._scope.cancel()

    def wake(self) -> None:
        """There are new rows, or rows became due."""
        self._backlog.wake()

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
        await self._forgive()
        return ending

    async def _forgive(self) -> None:
        """Put those back who were failed by a refusal that turned out to be about all of us."""
        now = self._around.now()
        for number in self._streak.failed():
            with suppress(InvalidTransition):  # a person was quicker
                await self._book([Requeue(delivery_id=number, at=now)])

    async def _send_all(self) -> Ending:
        while not self.campaign.single and await self._around.campaigns.freeze_page(
            self.campaign.id, FREEZE_PAGE
        ):
            pass
        rows_in, rows_out = trio.open_memory_channel[Due](READ_AHEAD)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._backlog.read, rows_in)
            async with rows_out:
                for _ in range(self._pool.transport.lanes):
                    nursery.start_soon(self._work, rows_out.clone())
        if (
            self._backlog.limit_reached
            and await self._around.ledger.next_due_at(self.campaign.id) is not None
        ):
            return Ending(how=How.NEEDS_PERSON, reason="limit")
        return Ending(how=How.COMPLETED)

    # -- one worker --------------------------------------------------------------------------------

    async def _work(self, rows: trio.MemoryReceiveChannel[Due]) -> None:
        async with rows:
            async for row in rows:
                if await self._put_off(row):
                    continue  # costs no slot
                async with self._held_lane() as berth:
                    current = await self._begin(row, berth)
                    while current is not None:
                        current = await self._deliver(current, berth, rows)

    @asynccontextmanager
    async def _held_lane(self) -> AsyncIterator[Berth]:
        """A lane, with a slot under every rate taken for its first message."""
        with self._gate.claim():
            while True:
                await self._gate.wait()
                try:
                    berth = await self._pool.borrow(self.campaign.id, urgent=self.campaign.single)
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
        refused = await berth.lane.prepare(ready.parcel)
        if refused is None and self._pool.in_trouble(berth):
            self._backlog.put_back(row.id)
            berth.lane.drop()
            return None
        ruling = self._rule_refusal(ready, refused, berth)
        reach("before_open")
        await self._book([ruling.entry])
        reach("after_open")
        return self._may_go(ready, ruling, berth)

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
            reach("after_reply")
        if answer is None:
            berth.lane.drop()
            answer = lost_answer()
        closing = self._rule(ready, answer, berth, opened=True)
        unbooked: list[Entry | None] = [closing.entry]
        if following is not None and berth.lane.waits(following.parcel):
            await self._book(unbooked)  # what is known is not kept in memory while a server thinks
            unbooked = []
        opening: Ruling | None = None
        try:
            if following is not None and not self._pool.in_trouble(berth) and not closing.needs_person:
                refused = await berth.lane.prepare(following.parcel)
                if not self._scope.cancel_called and not self._pool.in_trouble(berth):
                    opening = self._rule_refusal(following, refused, berth)
        finally:
            await self._book([*unbooked, opening.entry if opening else None])
            if following is not None and opening is None:
                self._backlog.put_back(following.row.id)
                berth.lane.drop()  # its envelope was announced and will not be used
        if closing.needs_person:
            raise NeedsPerson(closing.needs_person)
        if following is None or opening is None:
            return None
        return self._may_go(following, opening, berth)

    def _may_go(self, ready: Ready, ruling: Ruling, berth: Berth) -> Ready | None:
        """The message, if its booked ruling says that it is to be delivered."""
        if ruling.needs_person:
            raise NeedsPerson(ruling.needs_person)
        if not isinstance(ruling.entry, Open):
            return None
        if not self._backlog.in_hand(ready.row.id):  # the ledger refused to open it
            berth.lane.drop()
            return None
        return ready

    async def _following(self, berth: Berth, rows: trio.MemoryReceiveChannel[Due]) -> Ready | None:
        """The next message for this lane, if there is one that may follow at once."""
        if self._scope.cancel_called or self._pool.wanted(berth, self.campaign.id):
            return None
        if not rows.statistics().current_buffer_used or not self._gate.try_take():
            return None
        return await self._write(rows.receive_nowait())

    async def _write(self, row: Due) -> Ready | None:
        """The message for a row. None when it cannot be written or may not go now; that is booked."""
        if await self._put_off(row):
            return None
        now = self._around.now()
        plan = await self._around.plans.get(row.content_id)
        try:
            parcel = plan.write(row, self.campaign.name, now)
        except BadInput as problem:
            await self._book([close_unwritable(row, problem, self._pool.transport.name, now)])
            return None
        return Ready(row=row, parcel=parcel, content_hash=plan.content_hash)

    async def _put_off(self, row: Due) -> bool:
        """Whether the recipient's sending window is closed; then the row waits until it opens."""
        if not self.campaign.window:
            return False
        now = self._around.now()
        opens = window_opens(self.campaign.window, row.fields.get("timezone"), now)
        if opens > now:
            await self._book([close_until(row, opens, now)])
        return opens > now

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

    def _rule(self, ready: Ready, answer: Answer, berth: Berth, *, opened: bool) -> Ruling:
        """The entry that an answer leads to; tells the pool how the provider is."""
        verdict = judge(answer, ready.parcel.channel, attempts=ready.row.attempts)
        if not self.campaign.single:
            verdict = self._streak.see(ready.row.id, verdict)
        elif verdict.action is Action.PAUSE:
            verdict = replace(verdict, action=Action.FAIL)  # there is nothing to pause but this message
        needs_person = ""
        match verdict.action:
            case Action.PROVIDER | Action.SLOW:
                self._pool.trouble(berth, verdict.detail, verdict.retry_after)
            case Action.PROVIDER_STOP:
                if not self._pool.in_trouble(berth):  # else late news of earlier settings
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
            self._backlog.put_back(ready.row.id)
            return Ruling(needs_person=needs_person)
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
            if refusal is not None and refusal.why == "campaign_state":
                raise NeedsPerson("the campaign does not run any more")
            if isinstance(entry, Close):
                self._backlog.done(entry.delivery_id, entry.to if refusal is None else None)
            elif refusal is not None:
                self._backlog.done(entry.delivery_id)
            if isinstance(entry, Close) and entry.delivery_id in self.watched:
                self.watched.pop(entry.delivery_id).set()

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
                except Exception:
                    # One faulty entry must not take the outcome of another message with it.
                    if len(entries) > 1:
                        await self._around.ledger.record(entries[:1])
                    raise
        raise AssertionError("a shield without a deadline is not cancelled")

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
