"""Whose turn it is under shared rates: on the mock clock, with as many gates as there are campaigns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.warmup import DAY, Warmup
from hubd.engine.turnstile import Gate, Turnstile
from hubd.errors import BadInput

Clock = trio.testing.MockClock


@dataclass(slots=True)
class Road:
    """Campaigns that send as fast as their gates let them, and when each message passed."""

    nursery: trio.Nursery
    passed: list[tuple[float, object, int]] = field(default_factory=list)

    def drive(
        self, gate: Gate, owner: object, *, cost: int = 1, workers: int = 4, work: float = 0.0, chain: int = 0
    ) -> trio.CancelScope:
        """Workers of one campaign. Each takes its slot as the runner does and, with `chain`, tries to take so
        many more without asking, as a connection does that has another message at once.
        """
        scope = trio.CancelScope()

        async def worker() -> None:
            while True:
                with gate.claim():
                    while True:
                        await gate.wait(cost)
                        if gate.try_take(cost):
                            break
                self.passed.append((trio.current_time(), owner, cost))
                for _ in range(chain):
                    await trio.sleep(work)
                    if not gate.try_take(cost):
                        break
                    self.passed.append((trio.current_time(), owner, cost))
                await trio.sleep(work)

        async def campaign() -> None:
            with scope:
                async with trio.open_nursery() as nursery:
                    for _ in range(workers):
                        nursery.start_soon(worker)

        self.nursery.start_soon(campaign)
        return scope

    def slots(self, since: float = 0.0, until: float = float("inf")) -> Counter[object]:
        """How many slots each owner was given in a stretch of time."""
        found: Counter[object] = Counter()
        for at, owner, cost in self.passed:
            if since <= at < until:
                found[owner] += cost
        return found


async def on_the_road(seconds: float, build: Callable[[Road], object]) -> Road:
    """Let the campaigns that `build` starts run for so many seconds."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        road = Road(nursery)
        build(road)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    road.passed = [(at - began, owner, cost) for at, owner, cost in road.passed]
    return road


def assert_never_more_than(amount: int, period: float, road: Road) -> None:
    times = sorted(at for at, _, cost in road.passed for _ in range(cost))
    for early, late in zip(times, times[amount:], strict=False):
        assert late - early >= period - 1e-6


# --- shares --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chain", [0, 3, 1000])
@pytest.mark.parametrize("owners", [2, 3, 7])
async def test_campaigns_on_one_provider_get_equal_shares_and_no_slot_is_idle(
    autojump_clock: Clock, owners: int, chain: int
) -> None:
    provider = Turnstile(("10/s",))

    def build(road: Road) -> None:
        for owner in range(owners):
            road.drive(
                Gate(provider, Turnstile(), owner=owner), owner, workers=2 + owner, work=0.01, chain=chain
            )

    road = await on_the_road(70.0, build)
    shares = road.slots()
    assert sum(shares.values()) >= 699
    assert max(shares.values()) - min(shares.values()) <= 2
    assert_never_more_than(10, 1.0, road)


async def test_a_capped_campaign_gets_its_cap_and_the_others_get_the_rest(autojump_clock: Clock) -> None:
    provider = Turnstile(("10/s",))

    def build(road: Road) -> None:
        road.drive(Gate(provider, Turnstile(("1/s",)), owner="capped"), "capped")
        road.drive(Gate(provider, Turnstile(("1/minute",)), owner="crawling"), "crawling")
        road.drive(Gate(provider, Turnstile(), owner="a"), "a", chain=50)
        road.drive(Gate(provider, Turnstile(), owner="b"), "b")

    road = await on_the_road(120.0, build)
    shares = road.slots()
    assert sum(shares.values()) >= 1199
    assert shares["crawling"] == 2
    assert 119 <= shares["capped"] <= 121
    assert abs(shares["a"] - shares["b"]) <= 2


async def test_who_comes_later_gets_a_share_from_then_on_and_no_credit_for_the_past(
    autojump_clock: Clock,
) -> None:
    provider = Turnstile(("10/s",))

    def build(road: Road) -> None:
        async def late() -> None:
            await trio.sleep(60.05)
            road.drive(Gate(provider, owner="late"), "late")

        road.drive(Gate(provider, owner="early"), "early")
        road.nursery.start_soon(late)

    road = await on_the_road(80.0, build)
    assert road.slots(0, 60)["early"] >= 599
    shares = road.slots(60, 80)
    assert abs(shares["early"] - shares["late"]) <= 2


async def test_a_campaign_that_goes_leaves_its_share_to_the_others(autojump_clock: Clock) -> None:
    provider = Turnstile(("10/s",))

    def build(road: Road) -> None:
        async def end(scope: trio.CancelScope) -> None:
            await trio.sleep(30)
            scope.cancel()

        road.drive(Gate(provider, owner="stays"), "stays")
        road.nursery.start_soon(end, road.drive(Gate(provider, owner="goes"), "goes"))

    road = await on_the_road(60.0, build)
    assert road.slots(30.2, 60.0)["stays"] >= 297
    assert sum(road.slots().values()) >= 599


async def test_a_campaign_that_waits_for_a_lane_holds_nobody_up(autojump_clock: Clock) -> None:
    provider = Turnstile(("10/s",))
    stuck = Gate(provider, owner="stuck")

    async def wait_for_a_lane() -> None:
        with stuck.claim():
            await stuck.wait()
            await trio.sleep_forever()

    def build(road: Road) -> None:
        road.nursery.start_soon(wait_for_a_lane)
        road.drive(Gate(provider, owner="free"), "free")

    road = await on_the_road(30.0, build)
    assert road.slots()["free"] >= 299


async def test_campaigns_under_one_senders_limit_share_it_while_others_have_the_rest(
    autojump_clock: Clock,
) -> None:
    provider, sender = Turnstile(("10/s",)), Turnstile(("2/s",))

    def build(road: Road) -> None:
        road.drive(Gate(provider, sender, owner="a"), "a")
        road.drive(Gate(provider, sender, owner="b"), "b")
        road.drive(Gate(provider, owner="c"), "c", chain=1000)

    road = await on_the_road(60.0, build)
    shares = road.slots()
    assert sum(shares.values()) >= 599
    assert shares["a"] + shares["b"] == pytest.approx(120, abs=2)
    assert abs(shares["a"] - shares["b"]) <= 2


async def test_shares_are_counted_in_slots_and_not_in_messages(autojump_clock: Clock) -> None:
    provider = Turnstile(("12/s",))

    def build(road: Road) -> None:
        road.drive(Gate(provider, owner="short"), "short", chain=20)
        road.drive(Gate(provider, owner="long"), "long", cost=3)

    road = await on_the_road(60.0, build)
    shares = road.slots()
    assert abs(shares["short"] - shares["long"]) <= 6
    assert_never_more_than(12, 1.0, road)


@pytest.mark.parametrize(("rate", "cost"), [("2/s", 5), ("4/s", 4), ("20/minute", 21)])
async def test_a_message_of_more_slots_than_there_are_goes_in_the_end_also_among_others(
    autojump_clock: Clock, rate: str, cost: int
) -> None:
    provider = Turnstile((rate,))

    def build(road: Road) -> None:
        road.drive(Gate(provider, owner="long"), "long", cost=cost, workers=1)
        road.drive(Gate(provider, owner="short"), "short", chain=1000)

    road = await on_the_road(1000.0, build)
    shares = road.slots()
    assert shares["long"] >= 3 * cost
    assert shares["short"] >= 3 * cost


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([(), ("1/s",), ("3/s",), ("30/minute", "7/s")]),
            st.integers(1, 3),
            st.integers(1, 3),
            st.sampled_from([0, 2, 100]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_the_campaigns_are_like_no_slot_is_idle_and_none_too_many(
    campaigns: list[tuple[tuple[str, ...], int, int, int]],
) -> None:
    async def check() -> None:
        provider = Turnstile(("10/s",))
        open_ended = any(not rates for rates, *_ in campaigns)

        def build(road: Road) -> None:
            for owner, (rates, cost, workers, chain) in enumerate(campaigns):
                gate = Gate(provider, Turnstile(rates), owner=owner)
                road.drive(gate, owner, cost=cost, workers=workers, chain=chain, work=0.003)

        road = await on_the_road(40.0, build)
        assert_never_more_than(10, 1.0, road)
        if open_ended:
            assert sum(road.slots().values()) >= 400 * (
                0.97 if all(c == 1 for _, c, *_ in campaigns) else 0.6
            )
        caps = {(): 10.0, ("1/s",): 1.0, ("3/s",): 3.0, ("30/minute", "7/s"): 0.5}
        for owner, (rates, cost, _, _) in enumerate(campaigns):
            fair = min(10.0 / len(campaigns), caps[rates])
            # A slot of its own that opens may come to stand behind one message of each other campaign.
            behind = sum(other for _, other, *_ in campaigns) / 10.0 / cost
            due = 40.0 / (1.0 / fair + behind) * 0.8
            assert road.slots()[owner] >= due - 2 * cost

    trio.run(check, clock=trio.testing.MockClock(autojump_threshold=0))


# --- one-off messages first ------------------------------------------------------------------------


async def test_a_one_off_message_takes_the_next_slot(autojump_clock: Clock) -> None:
    provider = Turnstile(("1/s",))
    waited: list[float] = []

    def build(road: Road) -> None:
        gate = Gate(provider, owner="single", urgent=True)

        async def now_and_then() -> None:
            for _ in range(10):
                await trio.sleep(3.7)
                began = trio.current_time()
                with gate.claim():
                    await gate.wait()
                    assert gate.try_take()
                waited.append(trio.current_time() - began)

        for owner in range(4):
            road.drive(Gate(provider, owner=owner), owner, chain=1000)
        road.nursery.start_soon(now_and_then)

    await on_the_road(60.0, build)
    assert len(waited) == 10
    assert max(waited) <= 1.0 + 1e-6


async def test_a_one_off_message_that_waits_for_a_lane_keeps_its_slot_from_bulk(
    autojump_clock: Clock,
) -> None:
    provider = Turnstile(("10/s",))
    urgent, bulk = Gate(provider, owner="single", urgent=True), Gate(provider, owner="bulk")
    with urgent.claim():
        await urgent.wait()
        assert not bulk.try_take()
        await trio.sleep(5)
        assert not bulk.try_take()
        assert urgent.try_take()
    await bulk.wait()
    assert bulk.try_take()


async def test_a_one_off_message_that_its_own_limit_holds_up_holds_nobody_else_up(
    autojump_clock: Clock,
) -> None:
    provider, sender = Turnstile(("10/s",)), Turnstile(("1/day",))
    single = Gate(provider, sender, owner="single", urgent=True)
    assert single.try_take()

    async def wait_for_tomorrow() -> None:
        with single.claim():
            await single.wait()

    def build(road: Road) -> None:
        road.nursery.start_soon(wait_for_tomorrow)
        road.drive(Gate(provider, owner="bulk"), "bulk")

    road = await on_the_road(60.0, build)
    assert road.slots()["bulk"] >= 598


# --- one turnstile ---------------------------------------------------------------------------------


async def test_all_turnstiles_are_passed_at_one_instant_or_none(autojump_clock: Clock) -> None:
    open_, closed, domain = Turnstile(("2/day",)), Turnstile(("1/day",)), Turnstile(("1/day",))
    gate = Gate(open_, closed)
    assert gate.try_take(also=domain)
    assert not gate.try_take()
    await trio.sleep(DAY - 1)
    assert not gate.try_take(also=domain)
    await trio.sleep(1)
    elsewhere = Gate(Turnstile())
    assert elsewhere.try_take(also=domain)
    assert not gate.try_take(also=domain)
    assert gate.try_take()


async def test_a_gate_knows_the_names_to_record_its_messages_under(autojump_clock: Clock) -> None:
    provider, campaign = Turnstile(name="provider/office"), Turnstile(("1/s",), name="campaign/17")
    assert Gate(provider, Turnstile(("1/s",)), campaign).limits == ("provider/office", "campaign/17")
    assert Gate().limits == ()
    assert Gate().try_take()


async def test_rates_changed_under_waiters_take_effect_at_once(autojump_clock: Clock) -> None:
    turnstile = Turnstile(("1/hour",))
    gate = Gate(turnstile)
    assert gate.try_take()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            await gate.wait()
            assert gate.try_take()

        nursery.start_soon(wait)
        await trio.sleep(10)
        turnstile.change(("100/hour",))
    assert trio.current_time() - began == 10


async def test_a_change_counts_what_was_granted_before_also_under_a_period_that_is_new(
    autojump_clock: Clock,
) -> None:
    turnstile = Turnstile()
    gate = Gate(turnstile)
    for _ in range(100):
        assert gate.try_take()
        await trio.sleep(60)
    turnstile.change(("101/day",))
    assert gate.try_take()
    assert not gate.try_take()
    await trio.sleep(11)
    turnstile.change(("1000/day", "5/s"))
    assert gate.try_take()
    turnstile.change(("102/day",))
    assert not gate.try_take()
    turnstile.change(())
    assert gate.try_take()
    turnstile.change(("104/day",))
    assert gate.try_take()
    assert not gate.try_take()


async def test_a_rate_that_cannot_be_read_changes_nothing(autojump_clock: Clock) -> None:
    turnstile = Turnstile(("1/day",))
    turnstile.take(trio.current_time())
    with pytest.raises(BadInput):
        turnstile.change(("5/s", "fast"))
    assert turnstile.rates == ("1/day",)
    assert not Gate(turnstile).try_take()


async def test_months_of_sending_are_remembered_in_bounded_memory(autojump_clock: Clock) -> None:
    turnstile = Turnstile()
    for _ in range(20_000):
        await trio.sleep(180)
        turnstile.take(trio.current_time())
    assert len(turnstile.steps) < 2500
    in_a_month = 31 * DAY / 180
    assert sum(slots for _, slots in turnstile.steps) == pytest.approx(in_a_month, rel=0.15)


# --- warm-up ---------------------------------------------------------------------------------------


async def test_a_warm_up_begins_with_the_first_message_and_doubles(autojump_clock: Clock) -> None:
    turnstile = Turnstile(("1000/day",))
    turnstile.warm_up(Warmup(start=2, double_every=2 * DAY))
    gate = Gate(turnstile)
    await trio.sleep(30 * DAY)

    def sent_now() -> int:
        sent = 0
        while gate.try_take():
            sent += 1
        return sent

    days = []
    for _ in range(24):
        days.append(sent_now())
        await trio.sleep(DAY)
    assert days == [2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512, *[1000] * 6]


async def test_a_growing_quota_is_noticed_by_who_waits_for_it(autojump_clock: Clock) -> None:
    turnstile = Turnstile()
    turnstile.warm_up(Warmup(start=1, double_every=7200.0))
    gate = Gate(turnstile)
    assert gate.try_take()
    began = trio.current_time()
    await gate.wait()
    assert gate.try_take()
    assert trio.current_time() - began == pytest.approx(7200.0, abs=Gate.NAP)


async def test_a_warm_up_can_be_given_and_taken_away_live(autojump_clock: Clock) -> None:
    turnstile = Turnstile()
    gate = Gate(turnstile)
    assert gate.try_take()
    turnstile.warm_up(Warmup(start=1, double_every=DAY), trio.current_time())
    assert not gate.try_take()
    turnstile.warm_up(None)
    assert gate.try_take()
