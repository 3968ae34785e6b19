"""Domains take what their rates allow, rest when they are in trouble, and hold up no other domain."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hubd.core.pacing import STEP, parse_rate
from hubd.core.warmup import DAY
from hubd.engine.domains import Domains
from hubd.engine.limits import LimiterRegistry
from hubd.errors import BadInput
from tests.shell.slots import take

Clock = trio.testing.MockClock
WALL = 1_800_000_000.0


def wall() -> float:
    return WALL + trio.current_time()


def domains(**rates: str | tuple[str, ...]) -> Domains:
    """`gmail="10/s"` is for gmail.example, `others=...` is for "*"."""
    texts = {name: (rate,) if isinstance(rate, str) else rate for name, rate in rates.items()}
    return Domains(
        "office", {"*" if name == "others" else f"{name}.example": of for name, of in texts.items()}, {}
    )


@dataclass(slots=True)
class Queue:
    """The rows of one campaign, by when they are due: what the database does for the engine."""

    rows: list[tuple[float, int, str]] = field(default_factory=list)
    sent: list[tuple[float, str]] = field(default_factory=list)
    writes: Counter[int] = field(default_factory=Counter)
    latest: float = 0.0  #: how far ahead a row was put off at most

    async def send_all(self, found: Domains, late: float = 0.0) -> None:
        """Send or put off every row when it is due, `late` seconds after."""
        while self.rows:
            await trio.sleep(max(0.0, self.rows[0][0] + late - wall()))
            _, number, domain = heapq.heappop(self.rows)
            address = f"r{number}@{domain}"
            held = found.held_until(address, wall())
            if held is not None:
                self.latest = max(self.latest, held[0] - wall())
                self.writes[number] += 1
                heapq.heappush(self.rows, (held[0], number, domain))
            elif take(found.find(address)):
                self.sent.append((trio.current_time(), domain))
            else:
                heapq.heappush(self.rows, (wall() + 0.01, number, domain))


def queue(*rows: str) -> Queue:
    return Queue(rows=[(0.0, number, domain) for number, domain in enumerate(rows)])


# --- rates -----------------------------------------------------------------------------------------


async def test_a_recipient_counts_under_its_domain_or_under_none(autojump_clock: Clock) -> None:
    found = domains(gmail="1/day", others="2/day")
    own = found.find("ann@gmail.example")
    assert own is not None
    assert (own.name, own.rates) == ("domain/office/gmail.example", ("1/day",))
    assert found.find("bob@gmail.example") is own
    other = found.find("bob@b.example")
    assert other is not None
    assert (other.name, other.rates) == ("domain/office/b.example", ("2/day",))
    assert found.find("cid@c.example") is not other
    assert found.find("+14155550000") is None
    assert domains(gmail="1/day").find("bob@b.example") is None
    assert domains().find("ann@gmail.example") is None


async def test_a_full_domain_holds_its_own_rows_only(autojump_clock: Clock) -> None:
    found = domains(gmail="1/minute")
    assert found.held_until("ann@gmail.example", wall()) is None
    assert take(found.find("ann@gmail.example"))
    held = found.held_until("bob@gmail.example", wall())
    assert held == (pytest.approx(wall() + 60.0, abs=0.01), "domain_rate")
    assert found.held_until("bob@other.example", wall()) is None


@pytest.mark.parametrize(
    ("rate", "rows"), [("10/s", 3000), ("1/s", 700), ("100/s", 6_000), ("30/minute", 400), ("5/2s", 900)]
)
@pytest.mark.parametrize("late", [0.0, 0.03])
async def test_rows_of_a_capped_domain_go_at_its_rate_and_are_written_once_or_twice(
    autojump_clock: Clock, rate: str, rows: int, late: float
) -> None:
    found = domains(gmail=rate)
    campaign = queue(*["gmail.example"] * rows)
    await campaign.send_all(found, late)
    times = [at for at, _ in campaign.sent]
    limit = parse_rate(rate)
    for early, at in zip(times, times[limit.amount :], strict=False):
        assert at >= early + limit.period - 1e-6
    assert times[-1] - times[0] <= rows * limit.interval * 1.12 + 5
    assert campaign.writes.total() <= 2 * rows
    assert max(campaign.writes.values()) <= 10


async def test_rows_to_other_domains_are_not_slowed(autojump_clock: Clock) -> None:
    found = domains(gmail="1/s")
    campaign = queue(*(["gmail.example"] * 9 + ["free.example"]) * 100)
    began = trio.current_time()
    await campaign.send_all(found)
    free = [at for at, domain in campaign.sent if domain == "free.example"]
    assert len(free) == 100
    assert max(free) == began


async def test_nothing_is_put_off_for_more_than_a_quarter_of_an_hour(autojump_clock: Clock) -> None:
    found = domains(gmail="100/day")
    campaign = queue(*["gmail.example"] * 150)
    began = trio.current_time()
    await campaign.send_all(found)
    assert campaign.latest == pytest.approx(900.0)
    times = [at - began for at, _ in campaign.sent]
    assert times[99] == 0.0
    assert times[100] >= DAY
    assert times[-1] <= DAY + 901.0
    assert max(campaign.writes.values()) <= DAY / 900 + 3


async def test_a_quota_that_opens_slot_by_slot_does_not_wake_all_rows_for_each(autojump_clock: Clock) -> None:
    found = domains(gmail="1000/hour")
    for _ in range(1000):
        assert take(found.find("x@gmail.example"))
        await trio.sleep(3.5)
    campaign = queue(*["gmail.example"] * 1500)
    began = trio.current_time()
    await campaign.send_all(found)
    assert max(campaign.writes.values()) <= 12
    assert campaign.sent[-1][0] - began <= 1500 * 3.6 * 1.12 + 900


async def test_changed_rates_count_what_was_sent(autojump_clock: Clock) -> None:
    found = domains(gmail="2/day", others="2/day")
    for address in ("a@gmail.example", "a@other.example"):
        assert take(found.find(address))
    found.change({"gmail.example": ("3/day",), "*": ("1/day",)}, {})
    taken = [take(found.find("a@gmail.example")) for _ in range(3)]
    assert taken == [True, True, False]
    assert not take(found.find("a@other.example"))
    found.change({"other.example": ("5/day",)}, {})
    taken = [take(found.find("a@other.example")) for _ in range(5)]
    assert taken == [True, True, True, True, False]
    assert found.find("a@gmail.example") is None
    with pytest.raises(BadInput):
        found.change({"*": ("fast",)}, {})
    assert not take(found.find("a@other.example"))


# --- trouble ---------------------------------------------------------------------------------------


async def test_a_domain_in_trouble_rests_a_minute_and_twice_as_long_each_time(autojump_clock: Clock) -> None:
    found, rests = domains(), []
    for _ in range(8):
        found.rest("ann@bad.example", "the mailbox provider defers everything")
        found.rest("bob@bad.example", "late news")
        began = trio.current_time()
        while (held := found.held_until("cid@bad.example", wall())) is not None:
            assert held[1] == "domain_resting"
            assert held[0] - wall() <= 900.0 + 1e-6
            await trio.sleep(held[0] - wall())
        rests.append(trio.current_time() - began)
    assert rests == pytest.approx([60, 120, 240, 480, 960, 1920, 3600, 3600], abs=0.1)
    assert found.held_until("ann@good.example", wall()) is None


async def test_a_domain_that_takes_a_message_is_well(autojump_clock: Clock) -> None:
    found = domains(bad="1/s")
    found.rest("ann@bad.example", "defers")
    assert found.resting(wall()) == {"bad.example": (pytest.approx(wall() + 60.0, abs=0.01), "defers")}
    found.well("bob@other.example")
    assert found.held_until("ann@bad.example", wall()) is not None
    found.well("bob@bad.example")
    assert found.held_until("ann@bad.example", wall()) is None
    assert found.resting(wall()) == {}
    found.rest("ann@bad.example", "defers")
    held = found.held_until("ann@bad.example", wall())
    assert held == (pytest.approx(wall() + 60.0, abs=0.01), "domain_resting")


# --- memory ----------------------------------------------------------------------------------------


async def test_a_million_domains_are_kept_in_bounded_memory(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Domains, "READY", 50)
    monkeypatch.setattr(Domains, "REMEMBERED", 200)
    found = domains(others=("2/s", "3/day"))
    for number in range(3000):
        domain = f"d{number % 700}.example"
        for _ in range(1 + number % 2):
            take(found.find(f"x@{domain}"))
        found.held_until(f"x@{domain}", wall())
        found.rest(f"x@{domain}", "defers")
        await trio.sleep(0.3)
    assert len(found._others) <= 50
    assert len(found._known) <= 200
    assert len(found._lines) <= 51
    await trio.sleep(4000)
    found.rest("x@last.example", "defers")
    assert len(found._resting) <= 51


async def test_a_domain_that_was_set_aside_has_not_forgotten_what_it_was_sent(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Domains, "READY", 5)
    found = domains(others="3/day")
    for number in range(40):
        assert take(found.find(f"x@d{number}.example"))
        assert take(found.find(f"x@d{number}.example"))
    await trio.sleep(DAY / 2)
    for number in range(40):
        assert take(found.find(f"x@d{number}.example"))
        assert not take(found.find(f"x@d{number}.example"))
    await trio.sleep(DAY + STEP)
    for number in range(40):
        assert [take(found.find(f"x@d{number}.example")) for _ in range(4)] == [True] * 3 + [False]
    assert len(found._known) <= 40


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from(["a.example", "b.example", "c.example"]), min_size=1, max_size=120),
    st.sampled_from([("2/s",), ("20/minute",), ("5/s", "40/hour"), ("1/10s",)]),
    st.floats(0, 0.2),
)
def test_every_row_is_sent_and_no_domain_gets_too_much(
    rows: list[str], rates: tuple[str, ...], late: float
) -> None:
    async def check() -> None:
        found = domains(a=rates, others="10/s")
        campaign = queue(*rows)
        await campaign.send_all(found, late)
        assert Counter(domain for _, domain in campaign.sent) == Counter(rows)
        for domain, limits in (("a.example", rates), ("b.example", ("10/s",)), ("c.example", ("10/s",))):
            times = [at for at, where in campaign.sent if where == domain]
            for limit in map(parse_rate, limits):
                for early, at in zip(times, times[limit.amount :], strict=False):
                    assert at >= early + limit.period - 1e-6

    trio.run(check, clock=trio.testing.MockClock(autojump_threshold=0))


@dataclass(slots=True)
class Recorded:
    """What the database knows: a `UsageStore`."""

    steps: dict[str, Counter[float]] = field(default_factory=dict)

    async def spent(self, prefix: str, since: float = 0.0) -> dict[str, list[tuple[float, int]]]:
        return {
            name: [(at, slots) for at, slots in sorted(steps.items()) if at >= since]
            for name, steps in self.steps.items()
            if name == prefix or name.startswith(prefix + "/")
        }

    async def warmup_began(self, provider: str) -> float | None:
        return None


some_rates = st.lists(
    st.sampled_from(["1/2s", "2/10s", "3/minute", "5/hour", "4/day", "300/day"]), min_size=1, max_size=2
)
domain_rates = st.dictionaries(st.sampled_from(["*", "a.example", "b.example"]), some_rates, max_size=3)
#: Wait so long, and send to a domain if it has room; it is recorded after a delay.
tries = st.tuples(
    st.sampled_from([0.0, 0.7, 5.0, 45.0, 2000.0, 30_000.0]),
    st.sampled_from(["a.example", "b.example", "c.example"]),
    st.sampled_from([0.0, 0.01, 8.0]),
)


@settings(max_examples=60)
@given(domain_rates, st.lists(st.one_of(tries, tries, tries, domain_rates, st.just("restart")), max_size=60))
@example(
    {"*": ["5/hour"]},
    [
        *[(0.0, "a.example", delay) for delay in (0.0, 8.0)],
        (0.7, "b.example", 0.0),
        {"*": ["4/day"]},
        *[(0.0, "a.example", 0.0)] * 4,
    ],
)
def test_no_change_no_restart_and_no_lack_of_room_grants_a_domain_more_than_its_rates(
    rates: dict[str, list[str]], events: list[tuple[float, str, float] | dict[str, list[str]] | str]
) -> None:
    """Held against every grant of the past; only one domain under "*" has its limiter at the ready."""
    recorded, sent = Recorded(), list[tuple[float, str]]()

    async def record(name: str, delay: float) -> None:
        await trio.sleep(delay)
        recorded.steps.setdefault(name, Counter())[wall() // STEP * STEP] += 1

    async def check() -> None:
        wanted = rates
        registry = LimiterRegistry(recorded, wall)
        async with trio.open_nursery() as nursery:
            for event in events:
                if event == "restart":
                    await trio.sleep(10)  # what is on the wire is settled
                    registry = LimiterRegistry(recorded, wall)
                elif isinstance(event, dict):
                    wanted = event  # a domain without rates is not counted
                    sent[:] = [each for each in sent if each[1] in wanted or "*" in wanted]
                found = await registry.domains("office", {name: tuple(of) for name, of in wanted.items()})
                found.READY = 1
                if not isinstance(event, tuple):
                    continue
                pause, domain, delay = event
                await trio.sleep(pause)
                limiter = found.find(f"x@{domain}")
                if limiter is None or not take(limiter):
                    continue
                now = trio.current_time()
                sent.append((now, domain))
                for rate in map(parse_rate, wanted.get(domain) or wanted["*"]):
                    inside = sum(at > now - rate.period + 1e-5 for at, where in sent if where == domain)
                    assert inside <= rate.amount
                nursery.start_soon(record, limiter.name, delay)

    trio.run(check, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_one_off_message_takes_the_next_slot_of_a_domain_and_stands_in_no_line(
    autojump_clock: Clock,
) -> None:
    found = Domains("office", {"gmail.example": ("1/s",)}, {})
    slot = found.find("ann@gmail.example")
    assert slot is not None
    slot.take(trio.current_time())
    far = [found.held_until(f"p{n}@gmail.example", wall(), owner=1) for n in range(500)]
    assert far[-1] is not None
    assert far[-1][0] > wall() + 400
    urgent = found.held_until("vip@gmail.example", wall(), owner=9, urgent=True)
    assert urgent is not None
    assert urgent[0] <= wall() + 1.1
    await trio.sleep(urgent[0] - wall())
    assert found.held_until("bob@gmail.example", wall(), owner=1) is not None, "the slot is the one-off's"
    assert found.held_until("vip@gmail.example", wall(), owner=9, urgent=True) is None


async def test_a_one_off_message_holds_a_domain_up_for_one_slot_and_no_longer(autojump_clock: Clock) -> None:
    found = Domains("office", {"gmail.example": ("2/hour",), "gmx.example": ("1/s",)}, {})
    assert take(
        found.find("ann@gmail.example"), found.find("bob@gmail.example"), found.find("ann@gmx.example")
    )
    for name in ("gmail", "gmx"):
        assert found.held_until(f"vip@{name}.example", wall(), urgent=True) is not None
        assert found.held_until(f"bob@{name}.example", wall(), owner=1) is not None
    await trio.sleep(1.5)
    assert found.held_until("bob@gmx.example", wall(), owner=2) is not None
    await trio.sleep(0.6)
    assert found.held_until("bob@gmx.example", wall(), owner=2) is None, "it came to nothing"
    await trio.sleep(3000.0)
    assert found.held_until("vip@gmail.example", wall(), urgent=True) is not None
    await trio.sleep(600.0)
    assert found.held_until("vip@gmail.example", wall(), urgent=True) is None
    assert take(found.find("vip@gmail.example"))
    assert found.held_until("bob@gmail.example", wall(), owner=2) is None, "there is another slot"


async def test_a_campaign_whose_line_has_ended_shares_a_domain_no_more(autojump_clock: Clock) -> None:
    found = domains(gmail="1/s")
    assert take(found.find("ann@gmail.example"))
    assert found.held_until("x@gmail.example", wall(), owner="short") is not None
    await trio.sleep(5)
    assert take(found.find("ann@gmail.example"))
    held = [found.held_until("x@gmail.example", wall(), owner="long") for _ in range(3)]
    places = [each[0] - wall() for each in held if each is not None]
    assert places == pytest.approx([1.0, 2.05, 3.1], abs=0.01)


async def test_a_campaign_that_comes_later_has_a_line_of_its_own_at_a_domain(autojump_clock: Clock) -> None:
    found = Domains("office", {"gmail.example": ("1/s",)}, {})
    slot = found.find("ann@gmail.example")
    assert slot is not None
    slot.take(trio.current_time())
    for n in range(800):
        found.held_until(f"p{n}@gmail.example", wall(), owner="long")
    first = found.held_until("x@gmail.example", wall(), owner="short")
    assert first is not None
    assert first[0] <= wall() + 2


async def test_what_one_domain_took_is_known_to_all_campaigns_for_half_a_minute(
    autojump_clock: Clock,
) -> None:
    found = Domains("office", {}, {})
    found.well("ann@a.example")
    assert found.accepted_elsewhere("a.example") == 0
    assert found.accepted_elsewhere("b.example") == 1
    await trio.sleep(31)
    assert found.accepted_elsewhere("b.example") == 0
