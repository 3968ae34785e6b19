"""A week of campaigns in a moment: the store in memory, and a mock clock that jumps to what is due next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
import trio
import trio.testing

from hubd.core.model import (
    Answer,
    CampaignState,
    Channel,
    Content,
    DeliveryState,
    InDoubt,
    RenderedMessage,
    Signal,
    Stage,
)
from hubd.core.outcome import RetryPolicy
from hubd.engine import worker
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.provider import ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.supervisor import Supervisor, open_supervisor
from hubd.errors import InvalidTransition
from tests.fakes import ACCEPTED, FakeStore, FakeTransport

pytestmark = pytest.mark.slow

C, D = CampaignState, DeliveryState

HOUR, DAY = 3600.0, 86_400.0
MONDAY = datetime(2027, 3, 22, tzinfo=UTC).timestamp()  #: on its Sunday the clocks of Europe go forward
OUTAGE = (MONDAY + 2 * DAY + 6 * HOUR, MONDAY + 2 * DAY + 12 * HOUR)
RESTARTS = (MONDAY + 8 * HOUR, MONDAY + 3 * DAY + 26 * HOUR)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "Pacific/Auckland")
EMAIL = Content(
    channel=Channel.EMAIL, sender="Acme <news@acme.example>", subject="Hello", text="Hi {{ email }}"
)

DOWN = Answer(stage=Stage.CONNECT, signal=Signal.DROPPED, text="connection refused")
BUSY = Answer(stage=Stage.AUTH, code=454, enhanced="4.7.0", text="temporary authentication failure")
LATER = Answer(stage=Stage.DOT, code=451, enhanced="4.3.0", text="try later")
UNKNOWN = Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1", text="no such user")
LOST = Answer(stage=Stage.DOT, signal=Signal.DROPPED, text="connection closed")


class Taken(NamedTuple):
    """A message that the provider has."""

    at: float
    campaign: str
    delivery_id: int
    message_id: str


@dataclass(slots=True)
class Week:
    """The provider's side of it: `refuse` and `answer` are scripts of a `FakeTransport`."""

    store: FakeStore
    now: Callable[[], float]
    taken: list[Taken] = field(default_factory=list)
    command: Supervisor = field(init=False)  #: of the present life
    _tries: Counter[int] = field(default_factory=Counter)

    def refuse(self, rendered: RenderedMessage) -> Answer | None:
        if OUTAGE[0] <= self.now() < OUTAGE[1]:
            return BUSY if self.now() < OUTAGE[0] + 3 * HOUR else DOWN
        if rendered.campaign == "strangers" and rendered.delivery_id % 4 == 0:
            return UNKNOWN
        return None

    def answer(self, rendered: RenderedMessage) -> Answer:
        self._tries[rendered.delivery_id] += 1
        tries = self._tries[rendered.delivery_id]
        if rendered.campaign == "greylisted" and tries <= rendered.delivery_id % 4:
            return LATER
        self.taken.append(Taken(self.now(), rendered.campaign, rendered.delivery_id, rendered.message_id))
        lost = rendered.campaign in ("held", "tried") and rendered.delivery_id % 9 == 0 and tries == 1
        return LOST if lost else ACCEPTED

    def times(self, campaign: str) -> list[float]:
        return [each.at for each in self.taken if each.campaign == campaign]


def fill(store: FakeStore) -> None:
    """The campaigns of the week."""

    def add(name: str, people: int, **columns: object) -> None:
        campaign = store.add_campaign(name, 0, EMAIL, **columns)
        for number in range(people):
            store.add_row(campaign.id, timezone=ZONES[number % len(ZONES)])

    for day in range(5):
        at = MONDAY + day * DAY + 5 * HOUR
        add(f"morning-{day}", 30, window="08:00-20:00", state=C.SCHEDULED, scheduled_at=at)
    add("weekend", 20, window="09:00-17:00", state=C.SCHEDULED, scheduled_at=MONDAY + 5 * DAY + 22 * HOUR)
    add("drip", 90, rate=("15/day",))
    add("steady", 150, rate=("20/hour", "2/minute"))
    add("greylisted", 40)
    add("held", 45, in_doubt=InDoubt.HOLD)
    add("tried", 45, in_doubt=InDoubt.RETRY)
    add("office", 150, rate=("2/hour",))
    add("ended", 100, rate=("2/hour",))
    add("canary", 40, limit=5)
    add("strangers", 40)


async def work_office_hours(week: Week) -> None:
    """A person pauses a campaign each evening at eight and lets it go on each morning at six."""
    for day in range(7):
        await trio.sleep(MONDAY + day * DAY + 20 * HOUR - week.now())
        try:
            await week.command.pause("office")
        except InvalidTransition:
            return  # it is completed
        await trio.sleep(MONDAY + (day + 1) * DAY + 6 * HOUR - week.now())
        await week.command.resume("office")


async def intervene(week: Week) -> None:
    """On Monday a quota that is used up is paused and goes on, which makes it no larger. On Tuesday at noon
    one campaign is stopped; on Wednesday a canary that looked well goes on.
    """
    await trio.sleep(MONDAY + HOUR - week.now())
    await week.command.pause("drip")
    await week.command.resume("drip")
    await trio.sleep(MONDAY + DAY + 12 * HOUR - week.now())
    await week.command.stop("ended")
    await trio.sleep(DAY)
    await week.command.start("canary")


async def live_through(store: FakeStore) -> Week:
    """A week in the time that the computing takes; the engine is ended and started anew twice."""
    began = trio.current_time()

    def now() -> float:
        return MONDAY + trio.current_time() - began

    week = Week(store, now)
    transport = FakeTransport(connections=6, latency=0.2, refuse=week.refuse, answer=week.answer)

    async def opened() -> FakeTransport:
        return transport

    spec = ProviderSpec(
        name="fake", kind="fake", channels=transport.channels, connections=transport.connections,
        in_doubt=transport.in_doubt, rate=("20/s", "2000/day"), open=opened,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work_office_hours, week)
        nursery.start_soon(intervene, week)
        for until in (*RESTARTS, MONDAY + 7 * DAY):
            async with open_supervisor(
                campaigns=store, ledger=store, health=store, plans=TemplateCache(store, b"key"), doubts=store,
                providers=Providers({"fake": spec}, lambda: 0.5), limits=LimiterRegistry(store, now),
                now=now, random=lambda: 0.5, retry_policy=RetryPolicy(),
            ) as week.command:  # fmt: skip
                await trio.sleep(until - now())
        nursery.cancel_scope.cancel()
    return week


def most_within(times: list[float], period: float) -> int:
    times = sorted(times)
    return max((sum(start <= each < start + period for each in times) for start in times), default=0)


async def test_in_a_week_of_campaigns_every_promise_is_kept(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "IDLE", HOUR)  # unused connections are not what this is about
    store = FakeStore()
    fill(store)
    week = await live_through(store)
    _everybody_is_accounted_for(store, week)
    _nothing_came_too_soon_or_too_late(store, week)
    _no_rate_was_exceeded(week)
    _what_was_halted_was_silent(week)
    _the_outage_cost_nobody_anything(store, week)


def _states(store: FakeStore, name: str) -> dict[DeliveryState, int]:
    return store.states(next(c.id for c in store.campaigns.values() if c.name == name))


def _everybody_is_accounted_for(store: FakeStore, week: Week) -> None:
    states = {campaign.name: campaign.state for campaign in store.campaigns.values()}
    assert states.pop("ended") is C.STOPPED
    assert set(states.values()) == {C.COMPLETED}, states
    got = Counter(each.delivery_id for each in week.taken)
    doubted = {n for n, row in store.rows.items() if row.doubts}
    for number, row in store.rows.items():
        campaign = store.campaigns[row.campaign_id].name
        lost = number % 9 == 0
        if campaign == "held":
            assert (row.state, got[number]) == (D.IN_DOUBT if lost else D.SENT, 1)
        elif campaign == "tried":
            assert (row.state, got[number]) == (D.SENT, 2 if lost else 1)
            assert lost == (number in doubted)
        elif campaign == "strangers" and number % 4 == 0:
            assert (row.state, got[number]) == (D.FAILED, 0)
        elif campaign == "ended":
            assert got[number] == (row.state is D.SENT)
        else:
            assert (row.state, got[number]) == (D.SENT, 1), (campaign, row)
    names: dict[int, set[str]] = {}
    for each in week.taken:
        names.setdefault(each.delivery_id, set()).add(each.message_id)
    assert all(len(ids) == 1 for ids in names.values())


def _nothing_came_too_soon_or_too_late(store: FakeStore, week: Week) -> None:
    columns = {campaign.name: campaign for campaign in store.campaigns.values()}
    hours = {"weekend": (9, 17), **{f"morning-{day}": (8, 20) for day in range(5)}}
    for each in week.taken:
        campaign = columns[each.campaign]
        if each.campaign not in hours:
            continue
        zone = ZoneInfo(store.rows[each.delivery_id].due.fields["timezone"])
        local = datetime.fromtimestamp(each.at, zone) - timedelta(seconds=1)  # it left a moment before
        opens, closes = hours[each.campaign]
        assert opens - 1 <= local.hour < closes, (campaign.name, local)
        assert datetime.fromtimestamp(each.at, zone).hour >= opens
    for day in range(5):
        at = MONDAY + day * DAY + 5 * HOUR
        assert at <= min(week.times(f"morning-{day}"))
        assert max(week.times(f"morning-{day}")) < at + 1.5 * DAY


def _no_rate_was_exceeded(week: Week) -> None:
    wire = 1.0  # seconds by which two messages may have come closer on the wire than they were let go
    assert most_within(week.times("drip"), DAY - wire) == 15
    assert most_within(week.times("steady"), HOUR - wire) == 20
    assert most_within(week.times("steady"), 60 - wire) == 2
    assert most_within(week.times("office"), HOUR - wire) == 2
    assert most_within([each.at for each in week.taken], DAY) <= 2000


def _what_was_halted_was_silent(week: Week) -> None:
    for at in week.times("office"):
        day, second = divmod(at - MONDAY, DAY)
        assert second < 20 * HOUR + 1
        assert second >= 6 * HOUR or day == 0, "on the first day it was started at midnight"
    assert max(week.times("ended")) < MONDAY + DAY + 12 * HOUR + 1
    canary = sorted(week.times("canary"))
    assert canary[4] < MONDAY + HOUR
    assert canary[5] >= MONDAY + 2 * DAY + 12 * HOUR


def _the_outage_cost_nobody_anything(store: FakeStore, week: Week) -> None:
    assert not [each for each in week.taken if OUTAGE[0] + 1 <= each.at < OUTAGE[1]]
    assert [each for each in week.taken if OUTAGE[1] <= each.at < OUTAGE[1] + 120], "it came back by itself"
    failed = {store.campaigns[row.campaign_id].name for row in store.rows.values() if row.state is D.FAILED}
    assert failed == {"strangers"}
