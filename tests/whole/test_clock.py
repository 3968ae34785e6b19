"""The wall clock is set a day forward or back while the daemon runs: no burst, no starvation, no wrong state.

What is measured in stretches of time (rates, deferrals) goes by the monotonic clock; what is meant as a time
of day (a schedule, a window) goes by the wall clock as it is now.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.whole.conftest import Hub, reconcile, until
from tests.whole.world import ClockedHub, Hostile, finish, hostile, provider

DAY = 86_400.0
HOUR = 3_600.0
YEAR = 365.25 * DAY

both_ways = pytest.mark.parametrize("shift", [DAY, -DAY], ids=["a day forward", "a day back"])


@pytest.fixture
def server(hub: Hub) -> Iterator[Hostile]:
    with hostile(hub.folder) as server:
        yield server


@pytest.fixture
def clocked(hub: Hub, server: Hostile) -> ClockedHub:
    """A daemon whose clocks can be set, with ten contacts in the list `few` and a hundred in `all`."""
    clocked = ClockedHub(hub.folder, provider("sink", server.port), processes=hub.processes)
    clocked.boot()
    clocked.contacts(100)
    clocked.contacts(10, listed="few")
    return clocked


def run_free(hub: Hub, name: str) -> None:
    """Send a campaign that nothing limits, which shows that the daemon had time for everything else, too."""
    hub.apply(name, in_doubt="hold")
    hub.hubctl("start", name)
    finish(hub, name)


def daemon_time(hub: ClockedHub) -> datetime:
    """What time it is for the daemon."""
    started = datetime.fromisoformat(hub.json("daemon", "status")["started_at"])
    return started.astimezone(UTC) + timedelta(seconds=hub.age())


def test_a_clock_that_jumps_about_while_messages_go_out_loses_and_doubles_nobody(
    clocked: ClockedHub, server: Hostile
) -> None:
    server.mood(always={"dot": "late 0.02"})
    clocked.apply("jump", in_doubt="hold", rate=["600/minute"])
    clocked.hubctl("start", "jump")
    for goal, shift in itertools.takewhile(
        lambda each: each[0] < 100,
        zip(itertools.count(5, 15), itertools.cycle((DAY, -DAY, 0.0)), strict=False),
    ):
        until(lambda goal=goal: len(server.lines()) >= goal, "messages")
        clocked.shift(shift)
    finish(clocked, "jump")
    counts = reconcile(clocked, server, "jump", 100)
    assert (counts["sent"], set(server.accepted().values())) == (100, {1})
    assert clocked.end() == 0
    clocked.boot()
    assert clocked.campaign("jump")["state"] == "completed"


@both_ways
def test_a_quota_is_neither_renewed_nor_taken_away_when_the_clock_is_set(
    clocked: ClockedHub, server: Hostile, shift: float
) -> None:
    clocked.apply("quota", in_doubt="hold", rate=["5/day"])
    clocked.hubctl("start", "quota")
    until(lambda: clocked.campaign("quota")["counts"]["sent"] == 5, "the quota to be used")
    clocked.shift(shift)
    run_free(clocked, "free")
    assert clocked.campaign("quota")["counts"]["sent"] == 5
    clocked.apply("paced", in_doubt="hold", rate=["60/minute"])
    clocked.hubctl("start", "paced")
    finish(clocked, "paced")
    assert clocked.campaign("quota")["counts"]["sent"] == 5


def test_a_quota_is_not_renewed_by_a_restart_with_the_clock_a_day_back(clocked: ClockedHub) -> None:
    clocked.apply("quota", in_doubt="hold", rate=["5/day"])
    clocked.hubctl("start", "quota")
    until(lambda: clocked.campaign("quota")["counts"]["sent"] == 5, "the quota to be used")
    assert clocked.end() == 0
    clocked.shift(-DAY)
    clocked.boot()
    run_free(clocked, "free")
    assert clocked.campaign("quota")["counts"]["sent"] == 5


def test_a_restart_with_the_clock_a_day_forward_grants_one_day_and_not_more(clocked: ClockedHub) -> None:
    clocked.apply("quota", in_doubt="hold", rate=["5/day"])
    clocked.hubctl("start", "quota")
    until(lambda: clocked.campaign("quota")["counts"]["sent"] == 5, "the quota to be used")
    assert clocked.end() == 0
    clocked.shift(DAY + HOUR)
    clocked.boot()
    until(lambda: clocked.campaign("quota")["counts"]["sent"] >= 10, "the next day's quota to be used")
    run_free(clocked, "free")
    assert clocked.campaign("quota")["counts"]["sent"] == 10


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("years", [-56, -1, 73], ids=["1970", "a year back", "2099"])
def test_a_clock_that_is_years_wrong_for_one_start_renews_no_quota_and_takes_none_away(
    clocked: ClockedHub, years: int, how: signal.Signals
) -> None:
    clocked.apply("quota", in_doubt="hold", rate=["5/day"])
    clocked.hubctl("start", "quota")
    until(lambda: clocked.campaign("quota")["counts"]["sent"] == 5, "the quota to be used")
    for number, ahead in enumerate((years * YEAR, 0.0)):
        clocked.end(how)
        clocked.shift(ahead)
        clocked.boot()
        run_free(clocked, f"free-{number}")
        assert clocked.campaign("quota")["counts"]["sent"] == 5
    clocked.end(how)
    clocked.shift(DAY + HOUR)
    clocked.boot()
    until(lambda: clocked.campaign("quota")["counts"]["sent"] >= 10, "the next day's quota to be used")
    run_free(clocked, "free")
    assert clocked.campaign("quota")["counts"]["sent"] == 10


def test_nobody_is_given_up_because_the_clock_was_set_decades_forward(
    clocked: ClockedHub, server: Hostile
) -> None:
    later = ["p0@example.com", "p50@example.com"]  # fewer than look like the trouble of the provider
    server.mood(to=dict.fromkeys(later, LATER))
    clocked.apply("grey", in_doubt="hold")
    clocked.hubctl("start", "grey")
    until(lambda: clocked.campaign("grey")["counts"]["deferred"] == len(later), "the deferrals")
    clocked.shift(73 * YEAR)
    tries = {
        row["recipient"]: row["attempts"] for row in clocked.deliveries("grey") if row["recipient"] in later
    }
    until(
        lambda: all(
            row["attempts"] > tries[row["recipient"]]
            for row in clocked.deliveries("grey")
            if row["recipient"] in later and row["state"] != "failed"
        ),
        "another try of each",
    )
    campaign = clocked.campaign("grey")
    assert campaign["state"] == "running"  # the next try of each is more than an hour away
    assert (campaign["counts"]["sent"], waiting(campaign["counts"])) == (100 - len(later), len(later))


GREY = [f"p{n}@example.com" for n in range(0, 100, 20)]
LATER = {"rcpt": ["451 4.7.1 greylisted"] * 1000}


def defer(hub: Hub, server: Hostile, name: str) -> None:
    """Start a campaign and wait until some of its recipients, and nobody else, are to be tried again later.

    They are refused until the server is calm.
    """
    server.mood(to=dict.fromkeys(GREY, LATER))
    hub.apply(name, in_doubt="hold")
    hub.hubctl("start", name)
    until(lambda: hub.campaign(name)["counts"]["sent"] == 100 - len(GREY), "the others to be sent")
    # At this speed they may be tried, and refused, again before anybody looks.
    until(lambda: waiting(hub.campaign(name)["counts"]) == len(GREY), "the deferrals")


def waiting(counts: dict[str, int]) -> int:
    return counts["deferred"] + counts["pending"]


def test_those_who_were_refused_for_now_are_tried_again_when_the_clock_is_set_forward(
    clocked: ClockedHub, server: Hostile
) -> None:
    defer(clocked, server, "grey")
    clocked.shift(DAY)
    server.calm()
    finish(clocked, "grey")
    assert reconcile(clocked, server, "grey", 100)["sent"] == 100


def test_those_who_were_refused_for_now_do_not_wait_a_day_longer_when_the_clock_is_set_back(
    clocked: ClockedHub, server: Hostile
) -> None:
    defer(clocked, server, "down")
    assert clocked.end() == 0
    clocked.shift(-DAY)  # while the daemon is down ...
    clocked.boot()
    defer(clocked, server, "running")
    clocked.shift(-2 * DAY)  # ... and while it runs
    server.calm()
    for name in ("down", "running"):
        finish(clocked, name)
        assert clocked.campaign(name)["counts"]["sent"] == 100
    assert set(server.accepted().values()) == {2}, "once by each campaign"


def test_a_schedule_goes_by_the_clock_on_the_wall(clocked: ClockedHub, server: Hostile) -> None:
    clocked.apply("timed", in_doubt="hold")
    clocked.hubctl("start", "timed", "--at", (daemon_time(clocked) + timedelta(hours=12)).isoformat())
    clocked.shift(-DAY)
    run_free(clocked, "before")
    assert clocked.campaign("timed")["state"] == "scheduled"
    clocked.shift(DAY)
    until(lambda: clocked.campaign("timed")["state"] == "completed", "the start when the clock says so")
    assert reconcile_one(clocked, "timed") == 100
    assert set(server.accepted().values()) == {2}, "once by each campaign"


def reconcile_one(hub: Hub, name: str) -> int:
    """How many of a campaign are sent; its counts add up."""
    counts: dict[str, int] = hub.campaign(name)["counts"]
    assert sum(n for state, n in counts.items() if state != "total") == counts["total"]
    return counts["sent"]


def test_a_window_opens_when_the_clock_is_set_into_it_and_shuts_when_it_is_set_out_of_it(
    clocked: ClockedHub, server: Hostile
) -> None:
    opens = daemon_time(clocked) + timedelta(hours=12)
    window = f"{opens:%H:%M}-{opens + timedelta(hours=6):%H:%M}"
    clocked.apply("window", in_doubt="hold", **{"schedule.window": window})
    clocked.hubctl("start", "window")
    run_free(clocked, "before")
    assert clocked.campaign("window")["counts"]["pending"] == 100
    clocked.shift((opens - daemon_time(clocked)).total_seconds() + HOUR)
    until(lambda: clocked.campaign("window")["state"] == "completed", "the window to open")
    clocked.apply("late", in_doubt="hold", **{"schedule.window": window})
    clocked.shift(clocked.shifted + 8 * HOUR)
    clocked.hubctl("start", "late")
    run_free(clocked, "after")
    assert clocked.campaign("late")["counts"]["pending"] == 100
