"""Doubts settled by asking: the real store, Twilio's real library and the double; minutes in a moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from hubd.core.compose import content_hash
from hubd.core.ledger import Close, Open
from hubd.core.model import Campaign, CampaignState, DeliveryState, InDoubt
from hubd.core.outcome import RetryPolicy
from hubd.core.reconcile import APART
from hubd.core.spec import spec_json
from hubd.core.verdict import Action, judge
from hubd.engine.breaker import CircuitBreaker, ProviderStopped
from hubd.engine.health import HealthReporter, tell_nobody
from hubd.engine.plan import TemplateCache
from hubd.engine.pool import WorkerPool
from hubd.engine.ports import RunContext, Transport
from hubd.engine.reconciler import Reconciler
from hubd.providers.twilio.transport import TwilioSettings, TwilioTransport, open_twilio
from hubd.store.database import Database
from hubd.store.doubts import Doubts
from tests.fakes import FakeTransport
from tests.shell.conftest import Store
from tests.shell.twilio_double import ACCOUNT, SENDER, TOKEN, TwilioDouble

D = DeliveryState


@pytest.fixture
def clock() -> MockClock:
    """It stands still but for `Scene.later`; what a thread or a socket does takes no time on it."""
    return MockClock()


@pytest.fixture
def double() -> Iterator[TwilioDouble]:
    with TwilioDouble() as server:
        yield server


@pytest.fixture
async def twilio(double: TwilioDouble) -> AsyncIterator[TwilioTransport]:
    settings = TwilioSettings(account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url=double.base_url)
    transport = open_twilio("text", settings)
    yield transport
    await transport.aclose()


@dataclass
class Scene:
    """An account, a store, and a wall clock that goes with the still one."""

    clock: MockClock
    store: Store
    double: TwilioDouble
    twilio: TwilioTransport
    pool: WorkerPool
    began: float

    @property
    def context(self) -> RunContext:
        return RunContext(
            campaigns=self.store.campaigns,
            ledger=self.store.ledger,
            health=self.store.db,
            plans=TemplateCache(self.store.campaigns, b"key"),
            now=self.now,
            steady=self.now,
            random=lambda: 0.5,
            retry_policy=lambda campaign: RetryPolicy(give_up_after=campaign.give_up_after),
        )

    def now(self) -> float:
        return self.began + self.clock.current_time()

    def later(self, seconds: float) -> None:
        self.clock.jump(seconds)

    async def campaign(self, *names: str, name: str = "texts", **changes: str) -> Campaign:
        """A running campaign to these people, "Hi Ann" and so on; none of it is sent yet."""
        await self.store.people(*names, list_name=name, phone=True)
        sms = {"channel": "sms", "sender": None, "subject": None, "provider": "text", "in_doubt": "reconcile"}
        spec = self.store.spec(name=name, lists=[name], **sms, **changes)
        content = spec.content()
        draft, _, _ = await self.store.campaigns.apply(spec, spec_json(spec), content, content_hash(content))
        await self.store.move(draft, CampaignState.RUNNING)
        await self.store.freeze(draft)
        found = await self.store.campaigns.by_id(draft.id)
        assert found.in_doubt is InDoubt.RECONCILE
        return found

    async def send(self, campaign: Campaign, *behaviours: str) -> list[int]:
        """Send to everybody as a worker does; what Twilio does is scripted. The delivery ids."""
        rows = await self.store.ledger.due(campaign.id, self.now(), 100)
        plan = await self.context.plans.get(campaign.content_id)
        for row, behaviour in zip(rows, behaviours, strict=True):
            self.double.behave(row.recipient, behaviour)
            opening = Open(
                delivery_id=row.id, provider="text", message_id="", content_hash=plan.content_hash,
                at=self.now(), account=self.twilio.account,
            )  # fmt: skip
            await self.store.ledger.record([opening])
            rendered = plan.write(row, campaign.name, self.now())
            answer = await self.twilio.connection().deliver(rendered)
            verdict = judge(answer, rendered.channel)
            assert verdict.action in (Action.DOUBT, Action.ACCEPT)
            closing = Close(
                delivery_id=row.id, to=D.IN_DOUBT if verdict.action is Action.DOUBT else D.SENT,
                reason=verdict.reason, stage=answer.stage.value, provider_id=answer.provider_id,
                provider="text", at=self.now(),
            )  # fmt: skip
            await self.store.ledger.record([closing])
        return [row.id for row in rows]

    def reconciler(self, campaign: Campaign) -> Reconciler:
        return Reconciler(campaign, self.pool, self.context, Doubts(self.store.db))

    async def finish(self, reconciler: Reconciler) -> int:
        """Settle until there is nothing to ask; how many rounds it took."""
        rounds = 1
        while (again := await reconciler.settle()) is not None:
            assert again > self.now()
            self.later(again - self.now())
            rounds += 1
            assert rounds < 50
        return rounds

    def sids(self) -> list[str]:
        return [str(message["sid"]) for message in self.double.messages]


def make_pool(transport: Transport) -> WorkerPool:
    reporter = HealthReporter(transport.name, tell_nobody)
    return WorkerPool(transport, CircuitBreaker(transport, lambda: 0.0, reporter, trio.current_time))


@pytest.fixture
async def scene(
    clock: MockClock,
    database: Database,
    double: TwilioDouble,
    twilio: TwilioTransport,
    nursery: trio.Nursery,
) -> Scene:
    pool = make_pool(twilio)
    scene = Scene(clock, Store(database), double, twilio, pool, datetime.now(UTC).timestamp())
    nursery.start_soon(pool.run, scene.context)
    return scene


async def test_a_lost_answer_is_settled_by_asking_a_minute_later(clock: MockClock, scene: Scene) -> None:
    campaign = await scene.campaign("ann", "bob")
    await scene.send(campaign, "+drop", "accept")
    reconciler = scene.reconciler(campaign)
    again = await reconciler.settle()
    assert again == pytest.approx(scene.now() + APART, abs=0.1)
    assert scene.double.listings == [], "the list may not have it yet"
    assert await scene.finish(reconciler) == 2
    assert await scene.store.states(campaign) == [D.SENT, D.SENT]
    rows = await scene.store.ledger.deliveries(campaign.id)
    assert [row.provider_id for row in rows] == scene.sids()
    assert len(scene.double.requests) == 2, "nothing was sent again"
    await scene.store.check_counters(campaign)


async def test_what_was_not_accepted_is_asked_for_twice_a_minute_apart_and_then_sent_again(
    clock: MockClock,
    scene: Scene,
) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "drop")
    reconciler = scene.reconciler(campaign)
    asked: list[tuple[float, int]] = []
    while (again := await reconciler.settle()) is not None:
        asked.append((scene.clock.current_time(), len(scene.double.listings)))
        assert reconciler.released == 0
        scene.later(again - scene.now())
    assert asked == [(0.0, 0), (pytest.approx(APART, abs=0.1), 2)]
    assert len(scene.double.listings) == 4
    assert reconciler.released == 1
    (row,) = await scene.store.ledger.deliveries(campaign.id)
    assert (row.state, row.reason, row.doubts) == (D.PENDING, "reconciled_absent", 0)
    scene.later(600)
    await scene.send(campaign, "accept")
    assert await scene.store.states(campaign) == [D.SENT]
    assert len(scene.double.messages) == 1


async def test_a_message_that_appears_after_the_first_question_is_not_sent_again(
    clock: MockClock, scene: Scene
) -> None:
    scene.double.book.hide_queries = 1
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "+drop")
    assert await scene.finish(scene.reconciler(campaign)) == 3
    assert await scene.store.states(campaign) == [D.SENT]


async def test_nothing_is_decided_before_two_questions_however_often_the_engine_looks(
    clock: MockClock, scene: Scene
) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "drop")
    reconciler = scene.reconciler(campaign)
    scene.later(APART)
    for _ in range(5):
        await reconciler.settle()
    assert await scene.store.states(campaign) == [D.IN_DOUBT]
    assert len(scene.double.listings) == 2


@pytest.mark.parametrize(
    ("accepted", "states"),
    [(2, [D.SENT, D.SENT]), (1, [D.SENT, D.PENDING]), (0, [D.PENDING, D.PENDING])],
)
async def test_the_same_words_to_the_same_number_twice_need_a_message_each(
    clock: MockClock, scene: Scene, accepted: int, states: list[D]
) -> None:
    first = await scene.campaign("ann")
    second = await scene.campaign("ann", name="once-more")
    await scene.send(first, "+drop" if accepted > 0 else "drop")
    await scene.send(second, "+drop" if accepted > 1 else "drop")
    await scene.finish(scene.reconciler(first))
    await scene.finish(scene.reconciler(second))
    assert [*await scene.store.states(first), *await scene.store.states(second)] == states
    names = [
        row.provider_id
        for campaign in (first, second)
        for row in await scene.store.ledger.deliveries(campaign.id, D.SENT)
    ]
    assert sorted(names) == sorted(scene.sids())  # in one second the list has no order


async def test_another_account_under_the_same_name_is_not_asked_and_the_doubt_is_held(
    clock: MockClock, scene: Scene
) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "+drop")
    scene.twilio.account = "another"
    await scene.finish(scene.reconciler(campaign))
    assert await scene.store.states(campaign) == [D.IN_DOUBT]
    assert scene.double.listings == []


async def test_a_doubt_of_a_provider_that_gave_way_is_left_until_that_one_sends_again(
    clock: MockClock, scene: Scene
) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "+drop")
    (before,) = await scene.store.ledger.deliveries(campaign.id)
    pool, doubts = make_pool(FakeTransport(name="other", can_reconcile=True)), Doubts(scene.store.db)
    other = Reconciler(campaign, pool, scene.context, doubts, not_now=("text",))
    assert await other.settle() is None
    (after,) = await scene.store.ledger.deliveries(campaign.id)
    assert (after.state, after.reason) == (D.IN_DOUBT, before.reason)
    await scene.finish(scene.reconciler(campaign))
    assert await scene.store.states(campaign) == [D.SENT]


@pytest.mark.parametrize(
    ("text", "state", "reason"),
    [
        ("Hi {{ first_name | default('you') }}", D.IN_DOUBT, "provider_cannot_say"),
        ("The sale ends today", D.SENT, "reconciled_sent"),
    ],
)
async def test_a_message_whose_contact_was_removed_is_asked_for_only_if_it_is_known_what_it_said(
    clock: MockClock, scene: Scene, text: str, state: D, reason: str
) -> None:
    campaign = await scene.campaign("ann", text=text)
    await scene.send(campaign, "+drop")
    await scene.store.contacts.remove("+14155550000")
    await scene.finish(scene.reconciler(campaign))
    (row,) = await scene.store.ledger.deliveries(campaign.id)
    assert (row.state, row.reason) == (state, reason)


async def test_an_earlier_message_of_the_same_words_does_not_hide_that_this_one_is_missing(
    clock: MockClock,
    scene: Scene,
) -> None:
    first = await scene.campaign("ann")
    second = await scene.campaign("ann", name="once-more")
    await scene.send(first, "accept")
    await scene.send(second, "drop")
    await scene.finish(scene.reconciler(second))
    assert await scene.store.states(second) == [D.PENDING]


async def test_a_provider_that_never_says_leaves_the_decision_to_a_person(
    clock: MockClock, scene: Scene
) -> None:
    scene.double.behave_listing("status:500")
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "+drop")
    reconciler = scene.reconciler(campaign)
    assert await scene.finish(reconciler) == 6
    assert len(scene.double.listings) == 5
    (row,) = await scene.store.ledger.deliveries(campaign.id)
    assert (row.state, row.reason) == (D.IN_DOUBT, "provider_cannot_say")
    assert "500" in row.detail
    assert await reconciler.settle() is None
    assert len(scene.double.listings) == 5, "it is not asked for ever"
    scene.double.behave_listing("list")
    await scene.finish(scene.reconciler(campaign))
    assert await scene.store.states(campaign) == [D.SENT], "another run asks again"


async def test_a_provider_that_is_busy_is_asked_again_when_it_wants(clock: MockClock, scene: Scene) -> None:
    scene.double.behave_listing("busy", "garbage", "list")
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "+drop")
    assert await scene.finish(scene.reconciler(campaign)) == 4
    assert await scene.store.states(campaign) == [D.SENT]


async def test_many_doubts_are_settled_a_few_at_once_and_none_is_forgotten(
    clock: MockClock, scene: Scene
) -> None:
    names = [f"p{n}" for n in range(30)]
    campaign = await scene.campaign(*names)
    await scene.send(campaign, *("+drop" if n % 3 else "drop" for n in range(30)))
    reconciler = scene.reconciler(campaign)
    await scene.finish(reconciler)
    states = await scene.store.states(campaign)
    assert states == [D.SENT if n % 3 else D.PENDING for n in range(30)]
    assert reconciler.released == 10
    await scene.store.check_counters(campaign)


async def test_a_person_who_decides_meanwhile_is_right(clock: MockClock, scene: Scene) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "drop")
    reconciler = scene.reconciler(campaign)
    again = await reconciler.settle()
    assert again is not None
    await scene.store.ledger.resolve_doubt(campaign.id, "sent")
    scene.later(600)
    assert await reconciler.settle() is None
    assert scene.double.listings == []
    assert await scene.store.states(campaign) == [D.SENT]


async def test_a_new_attempt_is_a_new_question(clock: MockClock, scene: Scene) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "drop")
    reconciler = scene.reconciler(campaign)
    scene.later(APART)
    await reconciler.settle()  # absent, once
    await scene.store.ledger.resolve_doubt(campaign.id, "resend")
    await scene.send(campaign, "+drop")
    asked = len(scene.double.listings)
    await reconciler.settle()
    assert len(scene.double.listings) == asked, "this attempt has its own minute"
    await scene.finish(reconciler)
    assert await scene.store.states(campaign) == [D.SENT]


async def test_what_went_through_another_provider_is_left_to_a_person(clock: MockClock, scene: Scene) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "+drop")
    scene.twilio.name = "other"
    scene.later(APART)
    assert await scene.reconciler(campaign).settle() is None
    (row,) = await scene.store.ledger.deliveries(campaign.id)
    assert (row.state, row.reason) == (D.IN_DOUBT, "provider_cannot_say")
    assert scene.double.listings == []


async def test_a_provider_that_cannot_be_asked_leaves_it_to_a_person(clock: MockClock, scene: Scene) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "+drop")
    scene.pool = make_pool(FakeTransport(name="text"))
    scene.later(APART)
    assert await scene.reconciler(campaign).settle() is None
    (row,) = await scene.store.ledger.deliveries(campaign.id)
    assert (row.state, row.detail) == (D.IN_DOUBT, "This provider cannot say what it accepted.")


async def test_a_stopped_provider_ends_the_asking_and_decides_nothing(clock: MockClock, scene: Scene) -> None:
    campaign = await scene.campaign("ann", "bob")
    await scene.send(campaign, "+drop", "drop")
    reconciler = scene.reconciler(campaign)
    scene.later(APART)
    scene.pool.breaker.stop("bad credentials")
    with pytest.raises(ProviderStopped):
        await reconciler.settle()
    assert await scene.store.states(campaign) == [D.IN_DOUBT, D.IN_DOUBT]


async def test_a_pause_in_the_middle_of_a_question_decides_nothing_and_ends_its_lease(
    clock: MockClock, scene: Scene
) -> None:
    scene.double.behave_listing("silence", "list")
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "+drop")
    reconciler = scene.reconciler(campaign)
    scene.later(APART)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconciler.settle)
        while not scene.double.listings:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert scene.pool.unused
    assert await scene.store.states(campaign) == [D.IN_DOUBT]
    await scene.finish(reconciler)
    assert await scene.store.states(campaign) == [D.SENT]


async def test_asking_goes_on_where_a_restart_left_it_and_can_decide_nothing_wrongly(
    clock: MockClock, scene: Scene
) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "drop")
    scene.later(APART)
    await scene.reconciler(campaign).settle()  # absent, once
    again = await scene.reconciler(campaign).settle()
    assert again == pytest.approx(scene.now() + APART, abs=0.1)
    assert await scene.store.states(campaign) == [D.IN_DOUBT]


async def test_the_words_that_were_sent_are_asked_for_and_not_those_of_a_later_version(
    clock: MockClock, scene: Scene
) -> None:
    campaign = await scene.campaign("ann")
    await scene.send(campaign, "+drop")
    await scene.store.move(campaign, CampaignState.PAUSED)
    sms = {"channel": "sms", "sender": None, "subject": None, "provider": "text", "in_doubt": "reconcile"}
    spec = scene.store.spec(name="texts", lists=["texts"], text="Other words", **sms)
    content = spec.content()
    changed, _, _ = await scene.store.campaigns.apply(spec, spec_json(spec), content, content_hash(content))
    assert changed.content_id != campaign.content_id
    await scene.finish(scene.reconciler(replace(changed, state=CampaignState.RUNNING)))
    assert await scene.store.states(campaign) == [D.SENT]
