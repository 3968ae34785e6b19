"""One limit: what a change, the past and a warm-up make of it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from hubd.core.warmup import DAY, Warmup
from hubd.engine.limiter import RateLimiter
from hubd.errors import BadInput
from tests.shell.slots import take, taken

Clock = trio.testing.MockClock


async def test_all_limits_of_a_message_are_taken_at_one_instant_or_none(autojump_clock: Clock) -> None:
    provider, campaign, domain = RateLimiter(("2/day",)), RateLimiter(("1/day",)), RateLimiter(("1/day",))
    assert take(provider, campaign, domain)
    assert not take(provider, campaign)
    await trio.sleep(DAY - 1)
    assert not take(provider, campaign, domain)
    await trio.sleep(1)
    assert take(domain)
    assert not take(provider, campaign, domain)
    assert take(provider, campaign)


async def test_a_change_counts_what_was_granted_before_also_under_a_period_that_is_new(
    autojump_clock: Clock,
) -> None:
    limiter = RateLimiter()
    for _ in range(100):
        assert take(limiter)
        await trio.sleep(60)
    limiter.change(("101/day",))
    assert take(limiter)
    assert not take(limiter)
    await trio.sleep(11)
    limiter.change(("1000/day", "5/s"))
    assert take(limiter)
    limiter.change(("102/day",))
    assert not take(limiter)
    limiter.change(())
    assert take(limiter)
    limiter.change(("104/day",))
    assert take(limiter)
    assert not take(limiter)


async def test_a_rate_that_cannot_be_read_changes_nothing(autojump_clock: Clock) -> None:
    limiter = RateLimiter(("1/day",))
    limiter.take(trio.current_time())
    with pytest.raises(BadInput):
        limiter.change(("5/s", "fast"))
    assert limiter.rates == ("1/day",)
    assert not take(limiter)


async def test_months_of_sending_are_remembered_in_bounded_memory(autojump_clock: Clock) -> None:
    limiter = RateLimiter()
    for _ in range(20_000):
        await trio.sleep(180)
        limiter.take(trio.current_time())
    assert len(limiter.steps) < 2500
    in_a_month = 31 * DAY / 180
    assert sum(slots for _, slots in limiter.steps) == pytest.approx(in_a_month, rel=0.15)


# --- warm-up ---------------------------------------------------------------------------------------


async def test_a_warm_up_begins_with_the_first_message_and_doubles(autojump_clock: Clock) -> None:
    limiter = RateLimiter(("1000/day",))
    limiter.warm_up(Warmup(start=2, double_every=2 * DAY))
    await trio.sleep(30 * DAY)

    days = []
    for _ in range(24):
        days.append(taken(limiter))
        await trio.sleep(DAY)
    assert days == [2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512, *[1000] * 6]


async def test_a_growing_quota_is_the_time_at_which_to_ask_again(autojump_clock: Clock) -> None:
    limiter = RateLimiter()
    limiter.warm_up(Warmup(start=1, double_every=7200.0))
    assert take(limiter)
    assert limiter.opens_at(trio.current_time()) == trio.current_time() + 7200.0
    await trio.sleep(7200.0)
    assert take(limiter)


async def test_a_warm_up_can_be_given_and_taken_away_live(autojump_clock: Clock) -> None:
    limiter = RateLimiter()
    assert take(limiter)
    limiter.warm_up(Warmup(start=1, double_every=DAY), trio.current_time())
    assert not take(limiter)
    limiter.warm_up(None)
    assert take(limiter)
