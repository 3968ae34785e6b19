"""Who goes next on a provider that campaigns share: nobody starves, limits hold, priority is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubd.core.dispatch import FairOrder, choose
from hubd.core.limiter import RateLimiter


@dataclass(slots=True, eq=False)
class Campaign:
    """One that always has another message, from one moment until another."""

    name: object
    limits: tuple[RateLimiter, ...]
    cost: int = 1
    urgent: bool = False
    begins: float = 0.0
    ends: float = float("inf")
    every: float = 0.0  #: seconds from one message of it to the next
    next_at: float = field(init=False)
    waited: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.next_at = self.begins + self.every


@dataclass(slots=True)
class Road:
    """What went when."""

    went: list[tuple[float, object, int]] = field(default_factory=list)

    def slots(self, since: float = 0.0) -> Counter[object]:
        found: Counter[object] = Counter()
        for at, name, cost in self.went:
            if at >= since:
                found[name] += cost
        return found


def run(seconds: float, *campaigns: Campaign) -> Road:
    """Let everything go that may, as the dispatcher would with as many connections as it takes."""
    road, order, now = Road(), FairOrder[Campaign](), 0.0
    for campaign in campaigns:
        order.join(campaign, urgent=campaign.urgent)
    while now < seconds:
        here = [each for each in order if each.next_at <= now < each.ends]
        chosen, again = choose(here, now)
        if chosen is None:
            times = [each.next_at for each in campaigns if each.next_at > now and each.ends > now]
            now = min([again, *times], default=seconds)
            continue
        for limit in chosen.limits:
            limit.take(now, chosen.cost)
        order.serve(chosen, chosen.cost)
        road.went.append((now, chosen.name, chosen.cost))
        chosen.waited.append(now - chosen.next_at)
        chosen.next_at = max(chosen.next_at, now - chosen.every) + chosen.every if chosen.every else now
    return road


def assert_never_more_than(amount: int, period: float, road: Road, names: Callable[[object], bool]) -> None:
    times = sorted(at for at, name, cost in road.went if names(name) for _ in range(cost))
    for early, late in zip(times, times[amount:], strict=False):
        assert late - early >= period - 1e-6


# --- shares --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 3, 7, 50])
def test_campaigns_on_one_provider_get_equal_shares_and_no_slot_is_idle(number: int) -> None:
    provider = RateLimiter(("10/s",))
    shares = run(70.0, *(Campaign(n, (provider, RateLimiter())) for n in range(number))).slots()
    assert sum(shares.values()) >= 699
    assert max(shares.values()) - min(shares.values()) <= 1


def test_without_any_limit_the_order_alone_makes_shares_even() -> None:
    order = FairOrder[int]()
    for name in range(50):
        order.join(name)
    served: Counter[int] = Counter()
    for _ in range(10_000):
        first = next(iter(order))
        order.serve(first, 1)
        served[first] += 1
    assert set(served.values()) == {200}


def test_a_capped_campaign_gets_its_cap_and_the_others_get_the_rest() -> None:
    provider = RateLimiter(("10/s",))
    shares = run(
        120.0,
        Campaign("capped", (provider, RateLimiter(("1/s",)))),
        Campaign("crawling", (provider, RateLimiter(("1/minute",)))),
        Campaign("a", (provider, RateLimiter())),
        Campaign("b", (provider, RateLimiter())),
    ).slots()
    assert sum(shares.values()) >= 1199
    assert shares["crawling"] == 2
    assert 119 <= shares["capped"] <= 121
    assert abs(shares["a"] - shares["b"]) <= 2


def test_who_comes_later_gets_a_share_from_then_on_and_no_credit_for_the_past() -> None:
    provider = RateLimiter(("10/s",))
    road = run(90.0, Campaign("early", (provider,)), Campaign("late", (provider,), begins=60.0))
    shares = road.slots(since=60.0)
    assert sum(shares.values()) >= 299
    assert abs(shares["early"] - shares["late"]) <= 2


def test_a_campaign_that_its_own_limit_held_up_has_no_credit_when_it_is_lifted() -> None:
    provider, own = RateLimiter(("10/s",)), RateLimiter(("1/minute",))
    slow = Campaign("slow", (provider, own))
    fast = Campaign("fast", (provider,))
    order = FairOrder[Campaign]()
    for campaign in (slow, fast):
        order.join(campaign)
    for _ in range(1000):
        order.serve(fast, 1)
    order.serve(slow, 1)
    assert [next(iter(order)) for _ in range(1)] == [fast]
    order.serve(fast, 1)
    order.serve(slow, 1)
    assert next(iter(order)) is fast


def test_a_campaign_that_goes_leaves_its_share_to_the_others() -> None:
    provider = RateLimiter(("10/s",))
    road = run(60.0, Campaign("stays", (provider,)), Campaign("goes", (provider,), ends=30.0))
    assert road.slots(since=31.0)["stays"] >= 289


def test_campaigns_under_one_senders_limit_share_it_while_others_have_the_rest() -> None:
    provider, sender = RateLimiter(("10/s",)), RateLimiter(("2/s",))
    shares = run(
        60.0,
        Campaign("a", (provider, sender)),
        Campaign("b", (provider, sender)),
        Campaign("c", (provider,)),
    ).slots()
    assert sum(shares.values()) >= 599
    assert shares["a"] + shares["b"] == pytest.approx(120, abs=2)
    assert abs(shares["a"] - shares["b"]) <= 2


def test_shares_are_counted_in_slots_and_not_in_messages() -> None:
    provider = RateLimiter(("12/s",))
    road = run(60.0, Campaign("short", (provider,)), Campaign("long", (provider,), cost=3))
    shares = road.slots()
    assert abs(shares["short"] - shares["long"]) <= 6
    assert_never_more_than(12, 1.0, road, lambda name: True)


@pytest.mark.parametrize(("rate", "cost"), [("2/s", 5), ("4/s", 4), ("20/minute", 21)])
def test_a_message_of_more_slots_than_there_are_goes_in_the_end_also_among_others(
    rate: str, cost: int
) -> None:
    provider = RateLimiter((rate,))
    shares = run(1000.0, Campaign("long", (provider,), cost=cost), Campaign("short", (provider,))).slots()
    assert shares["long"] >= 3 * cost
    assert shares["short"] >= 3 * cost


def test_a_long_sms_that_waits_for_two_limits_gets_its_share_beside_short_ones() -> None:
    provider, sender = RateLimiter(("3/s",)), RateLimiter(("3/s",))
    long = Campaign("long", (provider, sender), cost=3)
    shares = run(60.0, long, Campaign("short", (provider, sender)), Campaign("third", (provider,))).slots()
    assert max(shares.values()) - min(shares.values()) <= 6
    assert sum(shares.values()) >= 145


CAPS = {(): 10.0, ("1/s",): 1.0, ("3/s",): 3.0, ("30/minute", "7/s"): 0.5}


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(CAPS)), st.integers(1, 3)), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.3, 2.0]),
)
def test_whatever_the_campaigns_are_like_no_slot_is_idle_none_too_many_and_nobody_starves(
    campaigns: list[tuple[tuple[str, ...], int]], urgent_every: float
) -> None:
    provider = RateLimiter(("10/s",))
    bulk = [
        Campaign(n, (provider, RateLimiter(rates)), cost=cost) for n, (rates, cost) in enumerate(campaigns)
    ]
    urgent = Campaign("urgent", (provider,), urgent=True, every=urgent_every, ends=40.0 * bool(urgent_every))
    road = run(40.0, *bulk, urgent)
    shares = road.slots()
    assert_never_more_than(10, 1.0, road, lambda name: True)
    for number, (rates, cost) in enumerate(campaigns):
        for rate in rates:
            amount, _, unit = rate.partition("/")
            period = {"s": 1.0, "minute": 60.0}[unit]
            assert_never_more_than(
                max(int(amount), cost), period, road, lambda name, number=number: name == number
            )
    single_slots = all(cost == 1 for _, cost in campaigns)
    if any(not rates for rates, _ in campaigns):
        assert sum(shares.values()) >= 400 * (0.97 if single_slots else 0.6)
    if urgent_every:
        most = max(cost for _, cost in campaigns)
        assert max(urgent.waited) <= 0.1 * most + 0.1 + 1e-6, "it takes the next slot"
    for number, (rates, cost) in enumerate(campaigns):
        left = 10.0 - shares["urgent"] / 40.0
        fair = min(left / len(campaigns), CAPS[rates])
        # A slot of its own that opens may come to stand behind one message of each other campaign.
        behind = sum(other for _, other in campaigns) / left / cost
        assert shares[number] >= 40.0 / (1.0 / fair + behind) * 0.8 - 2 * cost


# --- urgent messages first ---------------------------------------------------------------------------


def test_an_urgent_message_takes_the_next_slot() -> None:
    provider = RateLimiter(("1/s",))
    urgent = Campaign("urgent", (provider,), urgent=True, every=3.7)
    run(60.0, *(Campaign(n, (provider,)) for n in range(4)), urgent)
    assert len(urgent.waited) >= 10
    assert max(urgent.waited) <= 1.0 + 1e-6


def test_an_urgent_message_of_many_slots_is_not_overtaken_slot_by_slot() -> None:
    provider = RateLimiter(("4/s",))
    urgent = Campaign("urgent", (provider,), urgent=True, cost=4, every=10.0)
    run(60.0, Campaign("bulk", (provider,)), urgent)
    assert len(urgent.waited) >= 5
    assert max(urgent.waited) <= 1.25


def test_an_urgent_message_that_its_own_limit_holds_up_holds_nobody_else_up() -> None:
    provider, sender = RateLimiter(("10/s",)), RateLimiter(("1/day",))
    sender.take(0.0, 1)
    road = run(60.0, Campaign("urgent", (provider, sender), urgent=True), Campaign("bulk", (provider,)))
    assert road.slots() == {"bulk": 600}


def test_when_nothing_may_go_it_is_known_when_to_look_again() -> None:
    slow, slower = RateLimiter(("1/minute",)), RateLimiter(("1/hour",))
    for limit in (slow, slower):
        limit.take(0.0, 1)
    waiting = [Campaign("a", (slow, slower)), Campaign("b", (slow,))]
    assert choose(waiting, 1.0) == (None, 60.0)
    assert choose(waiting[:1], 1.0) == (None, 3600.0)
    assert choose([], 1.0) == (None, float("inf"))
    assert choose(waiting, 60.0) == (waiting[1], 60.0)
