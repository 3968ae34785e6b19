"""One worker of a run: it takes rows and sends them, message after message, on one lane at a time.

wait for a slot and a lane -> write the message -> prepare it (all but the irrevocable byte)
-> ledger: open, durable -> deliver -> ledger: close this one and open the next, durable -> deliver ...
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from hubd.core.ledger import Entry, Open
from hubd.core.model import Answer, Campaign, Channel, Due
from hubd.core.outcome import close_until, close_unwritable, lost_answer
from hubd.engine.backlog import Backlog
from hubd.engine.books import Books, NeedsPerson
from hubd.engine.domains import Domains
from hubd.engine.gates import Gates
from hubd.engine.lanes import Berth, LanePool, ProviderStopped
from hubd.engine.plan import Held
from hubd.engine.ports import Surroundings
from hubd.engine.rulings import Ready, Ruling, Rulings
from hubd.engine.turnstile import Gate
from hubd.errors import BadInput
from hubd.failpoints import reach

#: Seconds that a worker waits for the limit of a one-off message's sender.
PATIENCE = 5.0
#: Seconds after which such a message is looked at again: its sender may have another limit by then.
LOOK_AGAIN = 900.0


@dataclass(slots=True, eq=False, kw_only=True)
class Worker:
    """Call `work` in as many tasks as the provider has lanes."""

    campaign: Campaign
    pool: LanePool
    gates: Gates
    domains: Domains
    around: Surroundings
    backlog: Backlog
    books: Books
    rulings: Rulings
    scope: trio.CancelScope  #: the run's: once it is cancelled nothing more begins

    async def work(self, rows: trio.MemoryReceiveChannel[Due]) -> None:
        """Send rows until there are no more. Raises `NeedsPerson` and `StoreUnavailable`."""
        async with rows:
            async for row in rows:
                berth = await self._lane(row)
                if berth is None:
                    continue
                try:
                    with self.around.rendered.hold() as held:
                        current = await self._begin(row, berth, held)
                        while current is not None:
                            held.only(len(current.parcel.payload))
                            current = await self._deliver(current, berth, rows, held)
                finally:
                    self.pool.give_back(berth)

    async def _lane(self, row: Due) -> Berth | None:
        """A lane, and a slot under every rate, for a message to this row. None: the row was put off."""
        if await self._put_off(row):
            return None  # costs no slot
        cost, gate = await self._cost(row), await self._gate(row)
        with gate.claim():
            while True:
                await self.around.health.wait_room()
                if await self._sender_full(row):
                    return None
                with trio.move_on_after(PATIENCE if self.campaign.single else float("inf")) as waiting:
                    await gate.wait(cost)
                if waiting.cancelled_caught:
                    continue  # another one of its sender may have been quicker
                try:
                    berth = await self.pool.borrow(self.campaign.id, urgent=self.campaign.single)
                except ProviderStopped as stopped:
                    raise NeedsPerson(str(stopped)) from None
                keep = False
                try:
                    if await self._put_off(row):  # it may have waited for hours
                        return None
                    keep = not self.around.health.short_of_room and gate.try_take(
                        cost, self.domains.find(row.recipient)
                    )
                    if keep:
                        return berth
                finally:
                    if not keep:
                        self.pool.give_back(berth)
                await trio.lowlevel.checkpoint()

    async def _begin(self, row: Due, berth: Berth, held: Held) -> Ready | None:
        """Write, prepare and open the first message of a chain. None: it is settled or put back."""
        ready = await self._write(row, held)
        if ready is None:
            return None
        refused = await berth.lane.prepare(ready.parcel)
        if refused is None and self.pool.in_trouble(berth):
            self.backlog.put_back(row.id)
            berth.lane.drop()
            return None
        ruling = self.rulings.prepared(ready, refused, berth)
        reach("before_open")
        await self._book([ruling.entry])
        reach("after_open")
        return self._may_go(ready, ruling, berth)

    async def _deliver(
        self, ready: Ready, berth: Berth, rows: trio.MemoryReceiveChannel[Due], held: Held
    ) -> Ready | None:
        """Deliver an open message, announce the next along with it, and book both. Returns the next.

        There is no checkpoint between the durable open and the shield: an open attempt is always tried.
        """
        following: Ready | None = None
        answer: Answer | None = None
        with self.books.shield():
            following = await self._following(berth, rows, held)
            answer = await berth.lane.deliver(ready.parcel, following.parcel if following else None)
            reach("after_reply")
        if answer is None:
            berth.lane.drop()
            answer = lost_answer()
        closing = self.rulings.answered(ready, answer, berth, opened=True)
        unbooked: list[Entry | None] = [closing.entry]
        if following is not None and berth.lane.waits(following.parcel):
            await self._book(unbooked)  # what is known is not kept in memory while a server thinks
            unbooked = []
        opening: Ruling | None = None
        try:
            if following is not None and not self.pool.in_trouble(berth) and not closing.needs_person:
                refused = await berth.lane.prepare(following.parcel)
                if not self.scope.cancel_called and not self.pool.in_trouble(berth):
                    opening = self.rulings.prepared(following, refused, berth)
        finally:
            if opening is not None:
                reach("before_open")
            await self._book([*unbooked, opening.entry if opening else None])
            if opening is not None:
                reach("after_open")
            if following is not None and opening is None:
                self.backlog.put_back(following.row.id)
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
        if not self.backlog.in_hand(ready.row.id):  # the ledger refused to open it
            berth.lane.drop()
            return None
        return ready

    async def _following(
        self, berth: Berth, rows: trio.MemoryReceiveChannel[Due], held: Held
    ) -> Ready | None:
        """The next message for this lane, if there is one that may follow at once."""
        if self.scope.cancel_called or self.pool.wanted(berth, self.campaign.id):
            return None
        if not rows.statistics().current_buffer_used or self.around.health.short_of_room:
            return None
        if not self.gates.open or self.around.rendered.full:
            return None
        row = rows.receive_nowait()
        if await self._put_off(row):
            return None
        gate = await self._gate(row)
        if not gate.try_take(await self._cost(row), self.domains.find(row.recipient)):
            self.backlog.put_back(row.id)
            return None
        return await self._write(row, held, wait=False)

    async def _write(self, row: Due, held: Held, *, wait: bool = True) -> Ready | None:
        """The message for a row. None when it cannot be written for this recipient; that is booked.

        It waits while the budget for rendered messages is used up, unless the caller holds one of them.
        """
        plan = await self.around.plans.get(row.content_id)
        if wait:
            await self.around.rendered.room()
        now = self.around.now()
        try:
            parcel = plan.write(row, self.campaign.name, now)
        except BadInput as problem:
            await self._book([close_unwritable(row, problem, self.pool.transport.name, now)])
            return None
        held.add(len(parcel.payload))
        own, limits = self.domains.find(row.recipient), (await self._gate(row)).limits
        if own is not None:
            limits = (*limits, own.name)
        return Ready(row=row, parcel=parcel, content_hash=plan.content_hash, limits=limits)

    async def _gate(self, row: Due) -> Gate:
        """The gate that the message to this row has to pass: one-off messages each have their sender."""
        if not self.campaign.single:
            return self.gates.usual
        plan = await self.around.plans.get(row.content_id)
        return await self.gates.of(plan.sender)

    async def _cost(self, row: Due) -> int:
        """How many slots the message will take: an SMS as many as it has segments."""
        if self.campaign.channel is Channel.EMAIL:
            return 1
        plan = await self.around.plans.get(row.content_id)
        try:
            return plan.write(row, self.campaign.name, self.around.now()).segments
        except BadInput:
            return 1  # it will not be sent

    async def _put_off(self, row: Due) -> bool:
        """Whether the recipient's window is closed or its domain is full; then the row waits until then."""
        entry = self.backlog.not_now(row)
        if entry is not None:
            await self._book([entry])
        return entry is not None

    async def _sender_full(self, row: Due) -> bool:
        """Whether a one-off message is put off: those of other senders must not wait behind it."""
        if not self.campaign.single:
            return False
        plan = await self.around.plans.get(row.content_id)
        full_for = await self.gates.full_for(plan.sender)
        if full_for > PATIENCE:
            now = self.around.now()
            await self._book([close_until(row, now + min(full_for, LOOK_AGAIN), now, "sender_rate")])
        return full_for > PATIENCE

    async def _book(self, entries: list[Entry | None]) -> None:
        await self.books.book(entries)
        if forgiven := self.rulings.take_back():
            await self.books.forgive(forgiven)
