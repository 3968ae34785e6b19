"""One subscription: a cursor over the durable events of the database, and gauges.

There is no queue that could overflow. The subscription remembers the number of the last event it sent and
reads the next page when the connection has taken the one before; a client that is slow, or that comes back
after the daemon was killed, finds what it missed in the database. Gauges (live figures) have no number: the
newest is read when it can be sent, so a slow client gets fewer of them, but not older ones.

A gauge follows every change of state, so that the last figures a client sees are the final ones.

If a client is so slow that its next events have been pruned, none are skipped: the subscription ends, and
`run` says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from hubd.control.campaign_views import view_of, views_of
from hubd.control.hub import Hub
from hubd.control.views import event_view, progress_event
from hubd.core.model import TRANSACTIONAL_PREFIX, Campaign, CampaignState
from hubd.core.records import EventRow
from hubd.errors import BadInput, NotFound, ResumeGap, did_you_mean
from hubd.wire import dump, notification
from hubd.wire.event_params import Cursor, EventsSubscribe
from hubd.wire.event_results import EventView, SubscribeResult
from hubd.wire.events import EVENTS

PAGE = 256  #: events read at once
PROGRESS = "campaign.progress"  #: the type of a gauge
FIGURES = 60.0  #: live figures looked up per second, for all subscribers of a role together

Post = Callable[[str], Awaitable[None]]


class Pace:
    """Turns, at a fixed rate; a subscription beyond its share gets its figures later, and newer ones."""

    def __init__(self) -> None:
        self._line = trio.Lock()

    async def turn(self) -> None:
        """Wait for a turn, behind those who asked before."""
        async with self._line:
            await trio.sleep(1 / FIGURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Topics:
    """What is followed."""

    names: frozenset[str]  #: of campaigns
    campaigns: bool  #: all campaigns, future ones included
    daemon: bool  #: what belongs to no campaign
    everything: bool  #: one-off messages, too
    types: frozenset[str] | None  #: None: all

    def hold(self, row: EventRow) -> bool:
        """Whether this event is about what is followed."""
        if self.everything:
            return True
        if not row.campaign:
            return self.daemon
        return row.campaign in self.names or (
            self.campaigns and not row.campaign.startswith(TRANSACTIONAL_PREFIX)
        )

    def wanted(self, kind: str) -> bool:
        """Whether events of this type are wanted."""
        return self.types is None or kind in self.types


async def open_subscription(hub: Hub, name: str, params: EventsSubscribe, pace: Pace) -> Subscription:
    """Open a subscription at the subscriber's cursor. Raises `BadInput`, `NotFound` and `ResumeGap`."""
    topics = _topics(params)
    campaigns = await _find(hub, sorted(topics.names), returning=params.after is not None)
    if params.after is not None:
        await _check_cursor(hub, params.after)
    many = topics.everything or topics.campaigns
    taken = await hub.events.snapshot(None if many else [campaign.id for campaign in campaigns])
    opening: SubscribeResult = {
        "subscription": name,
        "epoch": hub.database.epoch,
        "seq": taken.seq if params.after is None else params.after.seq,
        # No current snapshot with past events: it would already contain what they tell.
        "snapshot": {"campaigns": await views_of(hub, taken.campaigns)}
        if params.snapshot and params.after is None
        else None,
    }
    return Subscription(
        hub,
        opening,
        topics,
        # Since the cursor, a name may have belonged to another campaign, whose events count, too.
        campaign_ids=None
        if many or topics.daemon or params.after is not None
        else tuple(each.id for each in campaigns),
        running={campaign.name for campaign in taken.campaigns if campaign.state is CampaignState.RUNNING},
        gauge_hz=params.gauge_hz if topics.wanted(PROGRESS) else 0.0,
        pace=pace,
    )


def _topics(params: EventsSubscribe) -> _Topics:
    names: set[str] = set()
    for index, topic in enumerate(params.topics):
        kind, _, name = topic.partition(":")
        if kind == "campaign" and name:
            names.add(name)
        elif topic not in ("campaigns", "daemon", "*"):
            raise BadInput.at(f"topics[{index}]", 'a topic is "campaign:NAME", "campaigns", "daemon" or "*"')
    for index, each in enumerate(params.types or ()):
        if each not in EVENTS:
            raise BadInput.at(f"types[{index}]", f"there is no such event type{did_you_mean(each, EVENTS)}")
    return _Topics(
        names=frozenset(names),
        campaigns="campaigns" in params.topics,
        daemon="daemon" in params.topics,
        everything="*" in params.topics,
        types=frozenset(params.types) if params.types is not None else None,
    )


async def _find(hub: Hub, names: list[str], *, returning: bool) -> list[Campaign]:
    """The campaigns with these names. For a returning client some may be gone, which events will tell."""
    found: list[Campaign] = []
    for name in names:
        try:
            found.append(await hub.campaigns.get(name))
        except NotFound:
            if not returning:
                raise
    return found


async def _check_cursor(hub: Hub, after: Cursor) -> None:
    """Refuse a cursor from before a restore of the database, or one whose next events were pruned."""
    oldest = await hub.events.oldest_seq()
    restored = hub.restores.found
    lost = restored is not None and after.epoch < restored.epoch  # its event numbers may have been used twice
    if (
        lost
        or after.epoch > hub.database.epoch
        or after.seq > hub.database.head_seq
        or after.seq + 1 < oldest
    ):
        raise ResumeGap(
            "the events after this cursor are not available",
            hint="subscribe without a cursor and use the snapshot",
            data={"oldest_seq": oldest, "epoch": hub.database.epoch, "head_seq": hub.database.head_seq},
        )


class Subscription:
    """A cursor and what it follows. `run` ends when it is cancelled through `scope`."""

    def __init__(
        self,
        hub: Hub,
        opening: SubscribeResult,
        topics: _Topics,
        *,
        campaign_ids: tuple[int, ...] | None,
        running: set[str],
        gauge_hz: float,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self._opening: SubscribeResult | None = opening
        self._id = opening["subscription"]
        self.scope = trio.CancelScope()
        self._hub = hub
        self._seq = opening["seq"]
        self._ids = campaign_ids  #: what the database filters by; None for no filter
        self._topics = topics  #: what is filtered here
        self._gap = False
        self._running = running  #: campaigns whose figures move
        self._started = trio.Event()
        self._period = 1 / gauge_hz if gauge_hz else 0.0

    def take_opening(self) -> SubscribeResult:
        """The answer to the request; its snapshot is not kept."""
        assert self._opening is not None
        opening, self._opening = self._opening, None
        return opening

    async def run(self, post: Post, page: trio.StrictFIFOLock) -> bool:
        """Send events and figures through `post`, which waits while the client is slow.

        Pages of events are read and sent while `page` is held, which the subscriptions of a connection share:
        for a client that does not read there is one page in memory, however many subscriptions it has.

        False: the next events have been pruned.
        """
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, post, page)
                if self._period:
                    nursery.start_soon(self._gauge, post)
        return not self._gap

    # -- durable events ----------------------------------------------------------------------------

    async def _follow(self, post: Post, page: trio.StrictFIFOLock) -> None:
        while not self._gap:
            async with page:
                more = await self._send_page(post)
            if not (more or self._gap):
                await self._hub.database.wait_events(self._seq)
        self.scope.cancel()

    async def _send_page(self, post: Post) -> bool:
        """Send the next events. Returns whether there may be more already."""
        head = self._hub.database.head_seq
        ids = self._ids
        page = await self._hub.events.page(self._seq, PAGE, ids)
        self._gap = await self._passed_over(page, head)
        if self._gap:
            return False
        for row in page:
            self._seq = row.seq
            if not self._topics.hold(row):
                continue
            if self._topics.wanted(row.type):
                await self._send(post, event_view(row, self._hub.database.epoch))
            await self._note_state(row, post)
            if self._ids is not ids:
                return True  # the page was read with a filter that no longer applies: read on from here
        if len(page) == PAGE:
            return True
        # Skip events of others in between, or waiting would end at once.
        self._seq = max(self._seq, head)
        return False

    async def _passed_over(self, page: Sequence[EventRow], head: int) -> bool:
        """Whether events between the cursor and this page may have been removed as too old.

        Only the oldest are removed, so a page that begins right behind the cursor lacks none.
        """
        if head <= self._seq or (page and page[0].seq == self._seq + 1):
            return False
        return self._seq + 1 < await self._hub.events.oldest_seq()

    async def _note_state(self, row: EventRow, post: Post) -> None:
        if row.type == "campaign.deleted":
            self._ids = None  # its name may be used again, with another id
        if row.type != "campaign.state":
            return
        if row.data.get("to") == CampaignState.RUNNING:
            self._running.add(row.campaign)
            self._started.set()
        else:
            self._running.discard(row.campaign)
        if self._period:
            await self._send_progress(row.campaign, str(row.data.get("to")), post)

    # -- gauges ------------------------------------------------------------------------------------

    async def _gauge(self, post: Post) -> None:
        last: dict[str, int] = {}
        while True:
            if not self._running:
                self._started = trio.Event()
                await self._started.wait()
            for name in sorted(self._running):
                await self._pace.turn()
                await self._send_progress(name, CampaignState.RUNNING, post, last)
            await trio.sleep(self._period)

    async def _send_progress(
        self, name: str, state: str, post: Post, last: dict[str, int] | None = None
    ) -> None:
        """Send a campaign's figures; with `last`, only if they have changed.

        `state` is the one that the client was told last. If the campaign has left it, the event that says so
        comes first, and figures follow it.
        """
        try:
            view = await view_of(self._hub, await self._hub.campaigns.get(name))
        except NotFound:
            self._running.discard(name)
            return
        if view["state"] != state:
            return
        if last is not None:
            data = hash(dump(view))
            if last.get(name) == data:
                return
            last[name] = data
        event = progress_event(view, self._hub.database.epoch, self._seq, self._hub.now())
        await self._send(post, event)

    async def _send(self, post: Post, event: EventView) -> None:
        await post(dump(notification("event", {"subscription": self._id, **event})))
