"""Bad inputs by their numbers, of the kind that needs a machine: disks, clocks, time that stands still."""

from __future__ import annotations

import csv
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import launcher
from tests.whole.conftest import ROOT, Hub, Witness, reconcile, sink_config, until
from tests.whole.outside import CAMPAIGN, open_outside
from tests.whole.world import ClockedHub, Hostile, finish, hostile, hurried, provider

DAY = 86_400.0

# -- 75: a disk that is full, in error or read-only, and no descriptors ------------------------------------


class BrokenHub(ClockedHub):
    """A hub on a disk that fails as the file `sign` says while it is there."""

    @property
    def sign(self) -> Path:
        return self.folder / "sign"

    def launch(self, *options: str, fail: str = "") -> subprocess.Popen[bytes]:
        """Start hubd, under its clocks, and do not wait."""
        assert not fail
        (self.folder / "hubd.toml").write_text(self.config)
        with (self.folder / "hubd.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.shell.broken_disk", str(self.sign),
                    "--config", str(self.folder / "hubd.toml"), "--state-dir", str(self.state), *options,
                ],
                stderr=log, cwd=ROOT, env={**os.environ, **hurried(self.hurry)},
            )  # fmt: skip
        self.processes.append(self.daemon)
        return self.daemon


@contextmanager
def failing(sign: Path, what: int) -> Iterator[None]:
    """Writing fails in this way for the length of the block."""
    sign.with_suffix(".new").write_text(f"write {what}")
    sign.with_suffix(".new").replace(sign)
    yield
    sign.unlink()


@contextmanager
def without_descriptors(pid: int) -> Iterator[None]:
    """Nothing can be opened for the length of the block."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("witness", [("--delay", "0.002")], indirect=True)
def test_bad_input_75_one_trouble_after_the_other_stops_sending_and_loses_and_doubles_nobody(
    hub: Hub, witness: Witness
) -> None:
    """ENOSPC, EIO, a read-only file system, EMFILE: the daemon says what it is, and goes on after it."""
    hub = BrokenHub(hub.folder, sink_config(witness.port), processes=hub.processes, hurry=10)
    pid = hub.boot().pid
    hub.contacts(800)
    hub.apply("big", in_doubt="hold", rate="40/s")
    hub.hubctl("start", "big")
    for what, says in (
        (sqlite3.SQLITE_FULL, "disk is full"),
        (sqlite3.SQLITE_IOERR_WRITE, "input/output error"),
        (sqlite3.SQLITE_READONLY, "read-only"),
    ):
        goal = len(witness.lines()) + 50
        until(lambda goal=goal: len(witness.lines()) >= goal, "messages")
        with failing(hub.sign, what):
            until(lambda says=says: says in hub.trouble(), f"trouble: {says}")
            assert hub.campaign("big")["state"] == "running"
        until(lambda: not hub.trouble(), "the trouble to end by itself")
    with without_descriptors(pid):
        waiting = launcher.popen(
            [sys.executable, "-m", "hubctl", "--socket", str(hub.state / "control.sock"), "status"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
        hub.processes.append(waiting)
        until(lambda: "no connection can be accepted" in hub.log(), "the daemon to notice")
    assert waiting.wait(60) == 0, "who called meanwhile was served after it"
    finish(hub, "big")
    assert reconcile(hub, witness, "big", 800)["sent"] == 800
    assert "Traceback" not in hub.log()


# -- 76: the clock on the wall -----------------------------------------------------------------------------


@pytest.fixture
def server(hub: Hub) -> Iterator[Hostile]:
    with hostile(hub.folder) as server:
        yield server


@pytest.fixture
def clocked(hub: Hub, server: Hostile) -> ClockedHub:
    """A daemon whose wall clock can be set."""
    return ClockedHub(hub.folder, provider("sink", server.port), processes=hub.processes, hurry=30)


def daemon_time(hub: ClockedHub) -> datetime:
    """What time it is for the daemon."""
    started = datetime.fromisoformat(hub.json("daemon", "status")["started_at"])
    return started.astimezone(UTC) + timedelta(seconds=hub.age())


def set_clock(hub: ClockedHub, text: str) -> None:
    """Set the daemon's wall clock to a time of UTC, later than it is."""
    now = daemon_time(hub) if hub.daemon is not None else datetime.now(UTC)
    hub.shift(hub.shifted + (datetime.fromisoformat(text + "+00:00") - now).total_seconds())


def run_free(hub: Hub, name: str) -> None:
    """Send a campaign that nothing limits: then the daemon had time for everything else, too."""
    hub.apply(name, lists=["free"], in_doubt="hold")
    hub.hubctl("start", name)
    finish(hub, name)


def test_bad_input_76_a_clock_set_a_day_forward_and_back_while_scheduled_makes_no_burst_and_starves_nobody(
    clocked: ClockedHub, server: Hostile
) -> None:
    clocked.boot()
    clocked.contacts(20)
    clocked.contacts(1, "free")
    clocked.apply("timed", in_doubt="hold", rate=["5/day"])
    booted = daemon_time(clocked)
    clocked.hubctl("start", "timed", "--at", (booted + timedelta(hours=12)).isoformat())
    clocked.shift(-DAY)
    run_free(clocked, "behind")
    assert clocked.campaign("timed")["state"] == "scheduled"
    clocked.shift(DAY)
    until(lambda: clocked.campaign("timed")["counts"]["sent"] == 5, "the start, and the quota of a day")
    for name, shift in (("forward", 2 * DAY), ("back", -DAY), ("again", DAY)):
        clocked.shift(shift)
        run_free(clocked, name)
        assert clocked.campaign("timed")["counts"]["sent"] == 5, "no burst"
    clocked.hubctl("rate", "timed", "none")
    finish(clocked, "timed")
    assert clocked.campaign("timed")["counts"]["sent"] == 20
    accepted = server.accepted()
    assert accepted.pop("p0@example.com") == 5, "once by each campaign"
    assert (len(accepted), set(accepted.values())) == (19, {1})


def test_bad_input_76_a_window_in_the_nights_of_summer_time_opens_and_nobody_is_sent_to_twice(
    clocked: ClockedHub, server: Hostile
) -> None:
    """In Berlin 02:00 to 03:00 is not there on 2026-03-29, and is there twice on 2026-10-25."""
    set_clock(clocked, "2026-03-28T12:00:00")
    clocked.boot()
    path = clocked.folder / "berlin.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("email", "timezone"), *((f"b{n}@example.com", "Europe/Berlin") for n in range(10))]
        )
    clocked.hubctl("import", str(path), "--list", "berlin")
    clocked.contacts(1, "free")
    night = {"lists": ["berlin"], "in_doubt": "hold", "text": "Hi", "html": None, "subject": "Hi"}

    set_clock(clocked, "2026-03-29T01:05:00")  # 03:05: the window would have been in the hour before
    clocked.apply("spring", **{"schedule.window": "02:30-02:45"}, **night)
    clocked.hubctl("start", "spring")
    run_free(clocked, "waiting")
    assert clocked.campaign("spring")["counts"]["pending"] == 10, "it is not sent outside of its window"
    set_clock(clocked, "2026-03-30T00:31:00")  # 02:31 of the next night
    finish(clocked, "spring")

    clocked.apply("autumn", **{"schedule.window": "02:45-02:59"}, **night)
    set_clock(clocked, "2026-10-25T01:00:30")  # 02:00 for the second time
    clocked.hubctl("start", "autumn")
    run_free(clocked, "between")
    assert clocked.campaign("autumn")["counts"]["pending"] == 10
    set_clock(clocked, "2026-10-25T01:46:00")  # 02:46 for the second time
    finish(clocked, "autumn")
    accepted = server.accepted()
    assert [accepted[f"b{n}@example.com"] for n in range(10)] == [2] * 10, "once by each campaign"


# -- 77: time that stands still ----------------------------------------------------------------------------


def test_bad_input_77_stopped_until_the_server_and_the_clients_have_given_up_the_ledger_is_exact(
    hub: Hub, tmp_path: Path
) -> None:
    """SIGSTOP in the middle, and SIGCONT when all deadlines of the others have passed."""
    with open_outside(tmp_path, "email", connections=4, delay=0.01, idle=0.5) as outside:
        outside.set_up(hub, 400, "hold")
        hub.hubctl("start", CAMPAIGN)
        until(lambda: len(outside.lines()) > 50, "messages")
        assert hub.daemon is not None
        os.kill(hub.daemon.pid, signal.SIGSTOP)
        until(outside.gave_up, "the server to hang up on everybody")
        asked = hub.ask("--timeout", "1s", "status")
        assert (asked.returncode, "does not answer" in asked.stderr) == (6, True)
        os.kill(hub.daemon.pid, signal.SIGCONT)
        until(lambda: all_tried(hub), "everybody to be tried")
        cut = len(outside.hung_up())  # more than four on a machine that is too busy to go on in time
        counts = reconcile(hub, outside, CAMPAIGN, 400)
        assert counts["sent"] + counts["in_doubt"] + counts["deferred"] == 400
        assert counts["in_doubt"] + counts["deferred"] <= cut, "one for each connection that ended"
        assert set(outside.accepted().values()) == {1}
        assert hub.end() == 0
        outside.over()


def all_tried(hub: Hub) -> bool:
    """Whether nobody waits but those whose connection broke before their message was through."""
    counts = hub.campaign(CAMPAIGN)["counts"]
    return bool(counts["pending"] + counts["sending"] == 0)
