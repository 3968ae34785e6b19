"""The rows of one campaign that are still to be sent: read ahead in id order, handed out once each.

A row is handed to one worker at a time. It is in somebody's hands from then until its outcome is booked or
it is put back. A page is read as of one moment, so a row that left somebody's hands since that moment is not
handed out from that page: what the page says of it is old.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from hubd.core.ledger import Close
from hubd.core.model import Campaign, DeliveryState, Due, InDoubt
from hubd.core.outcome import close_until
from hubd.core.windows import window_opens
from hubd.engine.domains import Domains
from hubd.engine.inquest import Inquest
from hubd.engine.ports import Surroundings

READ_AHEAD = 256
ASK_EVERY = 60.0  #: seconds between looks for doubtful rows that the provider can be asked about


class Backlog:
    """Run `read` in a task; workers say what became of a row with `done` and `put_back`."""

    def __init__(
        self,
        campaign: Campaign,
        around: Surroundings,
        in_doubt: InDoubt,
        domains: Domains,
        inquest: Inquest | None = None,
    ) -> None:
        self._campaign = campaign
        self._around = around
        self._in_doubt = in_doubt
        self._domains = domains
        self._inquest = inquest
        self._in_hand: set[int] = set()
        self._left_hand: set[int] = set()  # since the page that is being handed out was read
        self._news = trio.Event()
        self._asking = trio.Lock()
        counts = campaign.counts
        self._accepted = counts.arrived

    # -- what workers say --------------------------------------------------------------------------

    def wake(self) -> None:
        """There are new rows, or rows became due."""
        self._news.set()

    def done(self, delivery_id: int, to: DeliveryState | None = None) -> None:
        """A row's outcome is booked: it went `to` that state, or the ledger refused to open it (None)."""
        if to in (DeliveryState.SENT, DeliveryState.IN_DOUBT):
            self._accepted += 1
        self.put_back(delivery_id)

    def put_back(self, delivery_id: int) -> None:
        """A row was not tried after all; it will be handed out again."""
        self._in_hand.discard(delivery_id)
        self._left_hand.add(delivery_id)
        self._news.set()

    def not_now(self, row: Due) -> Close | None:
        """The entry that puts a row off while its sending window is closed or its domain takes no more."""
        now = self._around.now()
        if self._campaign.window:
            opens = window_opens(self._campaign.window, row.fields.get("timezone"), now)
            if opens > now:
                return close_until(row, opens, now)
        held = self._domains.held_until(
            row.recipient, now, owner=self._campaign.id, urgent=self._campaign.single
        )
        return None if held is None else close_until(row, held[0], now, held[1])

    def in_hand(self, delivery_id: int) -> bool:
        """Whether a worker has this row."""
        return delivery_id in self._in_hand

    async def ask_about_doubts(self) -> None:
        """Ask about doubtful rows beside the sending, until cancelled: also while rows wait for a quota."""
        while self._inquest is not None:
            await trio.sleep(ASK_EVERY)
            await self._settle_doubts()

    # -- the reader --------------------------------------------------------------------------------

    async def read(self, rows_in: trio.MemorySendChannel[Due]) -> None:
        """Hand out rows that are due until none is left or the limit is reached."""
        with suppress(trio.BrokenResourceError):  # the last worker ended with an error: nobody takes rows
            await self._read(rows_in)

    async def _read(self, rows_in: trio.MemorySendChannel[Due]) -> None:
        ledger, campaign_id = self._around.ledger, self._campaign.id
        cursor = 0
        async with rows_in:
            while not self.limit_reached or await self._release_doubts():
                self._news = trio.Event()
                self._left_hand.clear()
                page = await ledger.due(campaign_id, self._around.now(), READ_AHEAD, cursor)
                if page:
                    cursor = page[-1].id
                    await self._hand_out(page, rows_in)
                    continue
                cursor = 0
                if not self._in_hand and await self._release_doubts():
                    continue
                ask_again = None if self._in_hand else await self._settle_doubts()
                again = await ledger.next_due_at(campaign_id)
                if self._news.is_set():
                    continue  # something changed since the page was read: look again
                if again is None and ask_again is None and not self._in_hand and not self._campaign.single:
                    return
                await self._wait_news(min((at for at in (again, ask_again) if at is not None), default=None))

    async def _hand_out(self, page: list[Due], rows_in: trio.MemorySendChannel[Due]) -> None:
        closed = []
        for row in page:
            if self._known(row.id):
                continue
            if (entry := self.not_now(row)) is not None:
                closed.append(entry)
                continue
            while self._allowance_used:
                if self.limit_reached:
                    return
                await self._wait_news(None)
            if not self._known(row.id):
                self._in_hand.add(row.id)
                await rows_in.send(row)
        if closed:
            await self._around.ledger.record(closed)

    def _known(self, delivery_id: int) -> bool:
        """Whether somebody has, or had, this row since the page was read."""
        return delivery_id in self._in_hand or delivery_id in self._left_hand

    async def _release_doubts(self) -> bool:
        """Doubtful rows are tried again, but not at once: some servers hang up on content they dislike."""
        if self._in_doubt is not InDoubt.RETRY:
            return False
        again_at = self._around.now() + self._around.patience(self._campaign).floor
        released = await self._around.ledger.release_doubts(self._campaign.id, again_at)
        self._accepted -= released
        return released > 0

    async def _settle_doubts(self) -> float | None:
        """Ask the provider about doubtful rows; when to ask again, None when there is nothing to ask."""
        if self._inquest is None:
            return None
        async with self._asking:
            before = self._inquest.released
            try:
                return await self._inquest.settle()
            finally:
                if released := self._inquest.released - before:
                    self._accepted -= released
                    self.wake()

    async def _wait_news(self, until: float | None) -> None:
        """Wait until a row was settled or came back, new rows came, or the time `until` has come.

        A row that is due but still in somebody's hands does not count: its settling is the news.
        """
        pause = float("inf") if until is None else until - self._around.now()
        if pause <= 0 and not self._in_hand:
            return
        with trio.move_on_after(pause if pause > 0 else float("inf")):
            await self._news.wait()
        self._news = trio.Event()

    @property
    def _allowance_used(self) -> bool:
        limit = self._campaign.limit
        return limit is not None and self._accepted + len(self._in_hand) >= limit

    @property
    def limit_reached(self) -> bool:
        """Whether as many are sent as this run may send."""
        limit = self._campaign.limit
        return limit is not None and self._accepted >= limit
