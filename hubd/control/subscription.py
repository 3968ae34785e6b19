"""One subscription: a cursor over the durable events of the database, and gauges beside it.

There is no queue that could overflow. The subscription remembers the number of the last event it sent and
reads the next page when the connection has taken the one before; a client that is slow, or that comes back
after the daemon was killed, finds what it missed in the database. Gauges (live figures) have no number: the
newest is read when it can be sent, so a slow client gets fewer of them and not older ones.

A gauge follows every change of state, so that the last figures a client sees are the final ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from hubd.control.campaign_views import view_of
from hubd.control.needs import Hub
from hubd.control.rows import EventRow
from hubd.control.views import event_view, progress_event
from hubd.core.model import Campaign, CampaignState
from hubd.errors import BadInput, NotFound, ResumeGap
from hubd.wire import dump, notification
from hubd.wire.params import Cursor, EventsSubscribe
from hubd.wire.results import CampaignView, EventView, SubscribeResult

PAGE = 256  #: events read at once

Post = Callable[[str], Awaitable[None]]


async def open_subscription(hub: Hub, name: str, params: EventsSubscribe) -> Subscription:
    """Register where the subscriber stands. Raises `BadInput`, `NotFound` and `ResumeGap`."""
    wanted, daemon, everything = _topics(params.topics)
    campaigns, gone = await _find(hub, wanted, returning=params.after is not None)
    if params.after is not None:
        await _check_cursor(hub, params.after)
    taken = await hub.events.snapshot(None if everything else [campaign.id for campaign in campaigns])
    opening: SubscribeResult = {
        "subscription": name,
        "epoch": hub.database.epoch,
        "seq": taken.seq if params.after is None else params.after.seq,
        "snapshot": {"campaigns": [await view_of(hub, campaign) for campaign in taken.campaigns]}
        if params.snapshot
        else None,
    }
    return Subscription(
        hub,
        opening,
        campaign_ids=None if everything or daemon or gone else tuple(each.id for each in campaigns),
        names=None if everything else frozenset(wanted),
        daemon=daemon,
        running={campaign.name for campaign in taken.campaigns if campaign.state is CampaignState.RUNNING},
        gauge_hz=params.gauge_hz,
    )


def _topics(topics: list[str]) -> tuple[list[str], bool, bool]:
    """Names of campaigns, whether the daemon's own events are wanted, whether all are."""
    wanted: list[str] = []
    for index, topic in enumerate(topics):
        kind, _, name = topic.partition(":")
        if kind == "campaign" and name:
            wanted.append(name)
        elif topic not in ("daemon", "*"):
            raise BadInput.at(f"topics[{index}]", 'a topic is "campaign:NAME", "daemon" or "*"')
    return wanted, "daemon" in topics, "*" in topics


async def _find(hub: Hub, names: list[str], *, returning: bool) -> tuple[list[Campaign], bool]:
    """The campaigns of these names, and whether some are gone: one who returns hears of that by events."""
    found: list[Campaign] = []
    for name in names:
        try:
            found.append(await hub.campaigns.get(name))
        except NotFound:
            if not returning:
                raise
    return found, len(found) < len(names)


async def _check_cursor(hub: Hub, after: Cursor) -> None:
    """Refuse a cursor of another life of the database, or one whose next events were pruned."""
    oldest = await hub.events.oldest_seq()
    restored = hub.restores.found
    lost = restored is not None and after.epoch < restored.epoch  # its numbers may have been used twice
    if (
        lost
        or after.epoch > hub.database.epoch
        or after.seq > hub.database.head_seq
        or after.seq + 1 < oldest
    ):
        raise ResumeGap(
            "the events after this cursor are not here",
            hint="subscribe without a cursor and take the snapshot",
            data={"oldest_seq": oldest, "epoch": hub.database.epoch, "head_seq": hub.database.head_seq},
        )


class Subscription:
    """A cursor and what it follows. `run` ends when it is cancelled through `scope`."""

    def __init__(
        self,
        hub: Hub,
        opening: SubscribeResult,
        *,
        campaign_ids: tuple[int, ...] | None,
        names: frozenset[str] | None,
        daemon: bool,
        running: set[str],
        gauge_hz: float,
    ) -> None:
        self.opening = opening  #: the answer to the request
        self.scope = trio.CancelScope()
        self._hub = hub
        self._seq = opening["seq"]
        self._ids = campaign_ids  #: what the database filters by; None for no filter
        self._names = names  #: what is filtered here; None for all campaigns
        self._daemon = daemon
        self._running = running  #: campaigns whose figures move
        self._started = trio.Event()
        self._period = 1 / gauge_hz if gauge_hz else 0.0

    async def run(self, post: Post) -> None:
        """Send events and figures through `post`, which waits while the client is slow."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, post)
                if self._period:
                    nursery.start_soon(self._gauge, post)

    # -- durable events ----------------------------------------------------------------------------

    async def _follow(self, post: Post) -> None:
        database = self._hub.database
        while True:
            head = database.head_seq
            page = await self._hub.events.page(self._seq, PAGE, self._ids)
            for row in page:
                self._seq = row.seq
                if self._wants(row):
                    await self._send(post, event_view(row, self._hub.database.epoch))
                    await self._note_state(row, post)
            if len(page) < PAGE:
                # What others' events lie between is passed over, or waiting would end at once.
                self._seq = max(self._seq, head)
                await database.wait_events(self._seq)

    def _wants(self, row: EventRow) -> bool:
        if not row.campaign:
            return self._daemon or self._names is None
        return self._names is None or row.campaign in self._names

    async def _note_state(self, row: EventRow, post: Post) -> None:
        if row.type == "campaign.deleted":
            self._ids = None  # its name may come again, with another number
        if row.type != "campaign.state":
            return
        if row.data.get("to") == CampaignState.RUNNING:
            self._running.add(row.campaign)
            self._started.set()
        else:
            self._running.discard(row.campaign)
        if self._period:
            await self._send_progress(row.campaign, post)

    # -- gauges ------------------------------------------------------------------------------------

    async def _gauge(self, post: Post) -> None:
        last: dict[str, CampaignView] = {}
        while True:
            if not self._running:
                self._started = trio.Event()
                await self._started.wait()
            for name in sorted(self._running):
                await self._send_progress(name, post, last)
            await trio.sleep(self._period)

    async def _send_progress(
        self, name: str, post: Post, last: dict[str, CampaignView] | None = None
    ) -> None:
        """Send a campaign's figures; with `last`, only if they are not those."""
        try:
            view = await view_of(self._hub, await self._hub.campaigns.get(name))
        except NotFound:
            self._running.discard(name)
            return
        if last is not None:
            if last.get(name) == view:
                return
            last[name] = view
        event = progress_event(view, self._hub.database.epoch, self._seq, self._hub.now())
        await self._send(post, event)

    async def _send(self, post: Post, event: EventView) -> None:
        await post(dump(notification("event", {"subscription": self.opening["subscription"], **event})))
