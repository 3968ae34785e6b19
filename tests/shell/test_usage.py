"""What limits granted outlives a restart, and what nobody looks at any more is cleared away."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import trio

from hubd.bridge import Bridge
from hubd.core.limiter import RateLimiter, grants_of
from hubd.core.model import DeliveryState, InDoubt
from hubd.core.pacing import REMEMBERED
from hubd.core.warmup import DAY, Warmup
from hubd.engine.limits import LimiterRegistry
from hubd.engine.ports import Transport
from hubd.engine.provider import ProviderSpec
from hubd.errors import BadInput
from hubd.store.database import Database, Unit, open_database
from hubd.store.housekeeping import tidy
from hubd.store.usage import Usage
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.slots import take, taken

WALL = 1_800_000_000.0


class Clock:
    """A wall clock that goes with Trio's, and can be set."""

    def __init__(self) -> None:
        self.ahead = WALL - trio.current_time()

    def __call__(self) -> float:
        return trio.current_time() + self.ahead


async def spend(db: Database, name: str, steps: Sequence[tuple[float, int]]) -> None:
    def work(unit: Unit) -> None:
        for at, slots in steps:
            unit.spent([name], at, slots)

    await db.write(work)


async def everything(db: Database) -> list[tuple[str, int, int]]:
    rows = await db.read(
        lambda reader: reader.execute("SELECT name, at, slots FROM usage ORDER BY name, at").fetchall()
    )
    return [tuple(row) for row in rows]


# --- what is recorded ------------------------------------------------------------------------------


async def test_an_attempt_counts_under_its_limits_in_steps_of_ten_seconds(store: Store) -> None:
    campaign = await store.running("ann", "bob", "cid")
    first, second, third = await store.ids(campaign)
    limits = ("provider/office", f"campaign/{campaign.id}")
    for number, at, cost in ((first, 1000.0, 1), (second, 1009.9, 2), (third, 1010.0, 1)):
        entry = open_entry(number, at)
        values = {field: getattr(entry, field) for field in entry.__struct_fields__}
        await store.ledger.record([type(entry)(**{**values, "limits": limits, "cost": cost})])
    usage = Usage(store.db)
    assert await usage.spent("provider/office") == {"provider/office": [(1000.0, 3), (1010.0, 1)]}
    assert list(await usage.spent(f"campaign/{campaign.id}")) == [f"campaign/{campaign.id}"]


async def test_what_was_refused_before_it_was_opened_counts_too_and_what_was_closed_counts_once(
    store: Store,
) -> None:
    campaign = await store.running("ann")
    (number,) = await store.ids(campaign)
    refused = close_entry(
        number, DeliveryState.DEFERRED, opened=False, at=20.0, next_at=30.0, limits=("provider/office",)
    )
    await store.ledger.record([refused])
    assert await Usage(store.db).spent("provider/office") == {"provider/office": [(20.0, 1)]}


async def test_a_prefix_finds_what_is_below_it_and_no_neighbour(database: Database) -> None:
    for name in ("domain/a", "domain/a/x.example", "domain/a/y.example", "domain/ab/x.example", "domain/a-"):
        await spend(database, name, [(100.0, 1), (200.0, 2)])
    usage = Usage(database)
    both = [(100.0, 1), (200.0, 2)]
    assert await usage.spent("domain/a") == {
        "domain/a": both, "domain/a/x.example": both, "domain/a/y.example": both
    }  # fmt: skip
    assert await usage.spent("domain/a/x.example", since=150.0) == {"domain/a/x.example": [(200.0, 2)]}
    assert await usage.spent("nothing") == {}


async def test_a_warm_up_began_with_the_first_message_also_when_its_step_is_joined_or_forgotten(
    database: Database,
) -> None:
    usage = Usage(database)
    assert await usage.warmup_began("office") is None
    await spend(database, "provider/office", [(500.0, 1), (900.0, 1)])
    await spend(database, "provider/office2", [(100.0, 1)])
    assert await usage.warmup_began("office") == 500.0
    for now in (DAY, DAY + REMEMBERED):
        await tidy(database, now=now)
        assert await usage.warmup_began("office") == 500.0
    assert await everything(database) == []


# --- clearing away ---------------------------------------------------------------------------------


async def test_old_steps_are_joined_by_the_hour_and_the_oldest_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubd.store.usage.PAGE", 4)
    hour = WALL // 3600 * 3600 - 10 * 3600
    await spend(database, "campaign/1", [(hour + 10 * n, n + 1) for n in range(4)])
    await spend(database, "campaign/2", [(WALL - REMEMBERED - 60, 9), (WALL - REMEMBERED, 8)])
    await spend(database, "campaign/3", [(WALL - 60 + 10 * n, 1) for n in range(5)])
    found = await tidy(database, now=WALL)
    assert found.usage == 3 + 1
    assert await everything(database) == [
        ("campaign/1", hour + 30, 10),
        ("campaign/2", (WALL - REMEMBERED) // 10 * 10, 8),
        *[("campaign/3", WALL - 60 + 10 * n, 1) for n in range(5)],
    ]
    assert (await tidy(database, now=WALL)).usage == 0


async def test_steps_from_before_the_clock_was_set_back_count_from_now_on(database: Database) -> None:
    await spend(database, "campaign/1", [(WALL + DAY, 5), (WALL + 20 * DAY, 6), (WALL, 1)])
    await spend(database, "provider/office", [(WALL + DAY, 5)])
    await tidy(database, now=WALL)
    assert await everything(database) == [("campaign/1", WALL, 12), ("provider/office", WALL, 5)]
    assert await Usage(database).warmup_began("office") == WALL


async def test_the_first_message_of_a_provider_is_remembered_for_good(database: Database) -> None:
    await spend(database, "provider/office", [(WALL - 40 * DAY, 5), (WALL, 5)])
    await spend(database, "campaign/1", [(WALL - 50 * DAY, 5)])
    await tidy(database, now=WALL)
    assert await Usage(database).warmup_began("office") == WALL - 40 * DAY
    assert await everything(database) == [("provider/office", WALL, 5)]


@pytest.mark.parametrize("seed", range(4))
async def test_tidied_usage_never_counts_for_less(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    name = "provider/office"
    await spend(database, name, [(WALL - 10 ** rng.uniform(0, 6.4), rng.randint(1, 9)) for _ in range(250)])
    before = (await Usage(database).spent(name))[name]
    assert (await tidy(database, now=WALL)).usage > 0
    after = (await Usage(database).spent(name))[name]
    for rate in ("50/day", "100/day", "30/minute", "200/3days", "700/30days"):
        was, now = (RateLimiter((rate,), past=grants_of(steps, WALL, 0.0)) for steps in (before, after))
        for cost in (1, 10, 30):
            assert now.opens_at(0.0, cost) >= was.opens_at(0.0, cost) - 1e-6


# --- across a restart ------------------------------------------------------------------------------


async def test_a_restart_grants_no_fresh_quota(bridge: Bridge, database_path: Path) -> None:
    clock = Clock()
    async with open_database(database_path, bridge) as database:
        limiter = await LimiterRegistry(Usage(database), clock).limiter("provider/office", ["10/day"])
        assert limiter.name == "provider/office"
        assert [take(limiter) for _ in range(7)] == [True] * 7
        await spend(database, limiter.name, [(clock(), 7)])
    async with open_database(database_path, bridge) as database:
        limiter = await LimiterRegistry(Usage(database), clock).limiter("provider/office", ["10/day"])
        assert taken(limiter) == 3
        await spend(database, limiter.name, [(clock(), 3)])
        clock.ahead += DAY - 5
        limiter = await LimiterRegistry(Usage(database), clock).limiter("provider/office", ["10/day"])
        assert taken(limiter) == 0
        clock.ahead += 20
        limiter = await LimiterRegistry(Usage(database), clock).limiter("provider/office", ["10/day"])
        assert taken(limiter) == 10


async def test_a_clock_set_back_between_two_runs_grants_nothing_and_holds_up_for_one_period(
    database: Database,
) -> None:
    clock = Clock()
    await spend(database, "campaign/1", [(clock(), 10)])
    clock.ahead -= 3 * DAY
    limiter = await LimiterRegistry(Usage(database), clock).limiter("campaign/1", ["10/day"])
    now = trio.current_time()
    assert now < limiter.opens_at(now) <= now + DAY


async def test_a_limit_keeps_its_limiter_as_long_as_it_is_used(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LimiterRegistry, "KEPT", 2)
    registry = LimiterRegistry(Usage(database), Clock())
    first = await registry.limiter("campaign/1", ["1/day"])
    for number in range(2, 6):
        await registry.limiter(f"campaign/{number}", ["1/day"])
    again = await registry.limiter("campaign/1", ["5/day"])
    assert again is first
    assert first.rates == ("5/day",)


async def test_two_who_ask_at_once_get_the_same_limiter(database: Database) -> None:
    registry = LimiterRegistry(Usage(database), Clock())
    found = []

    async def ask() -> None:
        found.append(await registry.limiter("provider/office", ["1/day"]))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert len({id(limiter) for limiter in found}) == 1


async def test_a_rate_that_comes_later_counts_what_was_sent_without_it(database: Database) -> None:
    clock = Clock()
    await spend(database, "campaign/1", [(clock() - 7200, 4)])
    registry = LimiterRegistry(Usage(database), clock)
    limiter = await registry.limiter("campaign/1", [])
    assert take(limiter)
    await registry.limiter("campaign/1", ["8/day"])
    assert taken(limiter) == 3
    with pytest.raises(BadInput):
        await registry.limiter("campaign/1", ["8/fortnight"])
    assert taken(limiter) == 0


async def test_a_warm_up_goes_on_where_it_was(database: Database) -> None:
    clock, warmup = Clock(), Warmup(start=2, double_every=2 * DAY)
    registry = LimiterRegistry(Usage(database), clock)
    limiter = await registry.limiter("provider/office", ["1000/day"], warmup=warmup)
    assert taken(limiter) == 2
    await spend(database, "provider/office", [(clock(), 2)])
    quotas = []
    for _ in range(4):
        clock.ahead += 1.5 * DAY
        registry = LimiterRegistry(Usage(database), clock)
        quotas.append(taken(await registry.limiter("provider/office", ["1000/day"], warmup=warmup)))
    assert quotas == [2, 4, 8, 8 + 8]
    assert await Usage(database).warmup_began("office") == pytest.approx(WALL, abs=60)


async def test_a_provider_that_is_used_for_long_needs_little_warming(database: Database) -> None:
    clock, warmup = Clock(), Warmup(start=1, double_every=DAY)
    await spend(database, "provider/office", [(clock() - 5.5 * DAY, 3)])
    registry = LimiterRegistry(Usage(database), clock)
    assert taken(await registry.limiter("provider/office", [], warmup=warmup)) == 32


@pytest.mark.parametrize(
    ("sender", "rates", "allowed"),
    [
        ("News@Acme.example", {"news@acme.example": ("2/day",), "*": ("1/day",)}, 2),
        ("other@acme.example", {"news@acme.example": ("2/day",), "*": ("1/day",)}, 1),
        ("+15005550006", {"+15005550006": ("3/day",)}, 3),
        ("+15005550007", {"+15005550006": ("3/day",)}, None),
    ],
)
async def test_a_sender_has_its_own_rates_or_those_of_all_others(
    database: Database, sender: str, rates: Mapping[str, tuple[str, ...]], allowed: int | None
) -> None:
    found = await LimiterRegistry(Usage(database), Clock()).sender("office", sender, rates)
    assert found.name == f"sender/office/{sender.lower()}"
    assert found.limited is (allowed is not None)
    assert allowed is None or taken(found) == allowed


async def _not_opened() -> Transport:
    raise AssertionError("limits need no transport")


async def test_a_reload_changes_every_limit_of_a_provider_under_way(database: Database) -> None:
    registry = LimiterRegistry(Usage(database), Clock())
    provider = await registry.limiter("provider/office", ["100/day"])
    news = await registry.sender("office", "news@acme.example", {})
    elsewhere = await registry.sender("other", "news@acme.example", {})
    domains = await registry.domains("office", {"a.example": ("1/day",)})
    assert take(provider, news, domains.find("x@a.example"))
    spec = ProviderSpec(
        name="office",
        kind="fake",
        channels=frozenset(),
        connections=1,
        in_doubt=InDoubt.HOLD,
        open=_not_opened,
        rate=("50/day",),
        warmup=Warmup(start=5, double_every=DAY),
        sender_rates={"*": ("3/day",)},
        domain_rates={"a.example": ("2/day",), "*": ("1/s",)},
    )
    await registry.refit(spec)
    assert (provider.rates, news.rates, elsewhere.rates) == (("50/day",), ("3/day",), ())
    assert taken(provider, news) == 2
    assert taken(provider) == 2
    assert taken(domains.find("x@a.example")) == 1
    assert await registry.domains("office", {"a.example": ("2/day",), "*": ("1/s",)}) is domains


async def test_domains_remember_what_was_sent_before_the_restart(database: Database) -> None:
    clock = Clock()
    for domain, ago, slots in (("a.example", 60, 4), ("b.example", 60, 2), ("c.example", 2 * DAY, 2)):
        await spend(database, f"domain/office/{domain}", [(clock() - ago, slots)])
    rates = {"a.example": ("5/day",), "*": ("3/day",)}
    domains = await LimiterRegistry(Usage(database), clock).domains("office", rates)
    assert [taken(domains.find(f"x@{name}.example")) for name in "abcd"] == [1, 1, 3, 3]


async def test_a_longer_period_for_all_domains_counts_what_is_recorded_and_what_is_not_yet(
    database: Database,
) -> None:
    clock = Clock()
    await spend(database, "domain/office/a.example", [(clock() - 7200, 4)])
    registry = LimiterRegistry(Usage(database), clock)
    domains = await registry.domains("office", {"*": ("10/s",)})
    assert take(domains.find("x@a.example"))
    await registry.domains("office", {"*": ("10/s", "8/day")})
    assert taken(domains.find("x@a.example")) == 3


async def test_a_domain_that_gets_a_rate_of_its_own_looks_back_on_what_is_recorded(
    database: Database,
) -> None:
    clock = Clock()
    await spend(database, "domain/office/a.example", [(clock() - 7200, 4)])
    registry = LimiterRegistry(Usage(database), clock)
    domains = await registry.domains("office", {"*": ("10/s",)})
    assert take(domains.find("x@a.example"))
    await registry.domains("office", {"*": ("10/s",), "a.example": ("8/day",)})
    assert taken(domains.find("x@a.example")) == 3
    await registry.domains("office", {"*": ("8/day",)})
    assert taken(domains.find("x@a.example")) == 0
