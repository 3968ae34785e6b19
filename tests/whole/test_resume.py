"""A subscriber over the end of the daemon, stopped or killed: nothing is missed and nothing comes twice."""

from __future__ import annotations

import itertools
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from typing import Any

import pytest

from hubd.client import Connection, connect
from hubd.errors import HubError, ResumeGap, Unreachable
from tests import launcher
from tests.whole.conftest import ROOT, TIMEOUT, Hub, until

ENDS = 3  #: how often the daemon is ended under the reader


class Reader:
    """A thread that writes down every event it is told, until one of a campaign that is deleted."""

    def __init__(self, hub: Hub) -> None:
        self.events: list[dict[str, Any]] = []
        self.told: list[str] = []
        self.problem: Exception | None = None
        self._hub = hub
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        assert self._began.wait(TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with at(self._hub) as hub, hub.events("*", tell=self._tell) as events:
                next(events)  # the snapshot
                self._began.set()
                for event in events:
                    self.events.append(event)
                    if event["type"] == "campaign.deleted":
                        return
        except Exception as error:
            self.problem = error
        finally:
            self._began.set()

    def _tell(self, error: HubError | None) -> None:
        self.told.append("back" if error is None else "lost")


def at(hub: Hub) -> AbstractContextManager[Connection]:
    return connect(hub.state / "control.sock")


def apply(hub: Connection, name: str) -> None:
    hub.call(
        "campaign.apply",
        spec={
            "name": name, "channel": "email", "lists": ["all"], "kind": "transactional",
            "sender": "news@acme.example", "subject": "Hi", "text": "Hi\n",
        },
    )  # fmt: skip


def log_of(hub: Hub) -> list[dict[str, Any]]:
    """Every event that the daemon has."""
    found: list[dict[str, Any]] = []
    after: int | None = 0
    with at(hub) as client:
        while after is not None:
            page = client.call("events.list", after=after, limit=1000)
            found += page["events"]
            after = page["next"]
    return found


def apply_until_cut(hub: Hub, turn: int) -> None:
    """Make campaigns, each an event, until nobody answers any more."""
    try:
        with at(hub) as client:
            for number in itertools.count():
                apply(client, f"t{turn}-{number}")
    except HubError:
        return


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_event_is_missed_or_told_twice_over_the_end_of_the_daemon(hub: Hub, how: signal.Signals) -> None:
    """It is ended in the middle of the stream, while others make events."""
    hub.boot()
    with Reader(hub) as reader:
        for turn in range(ENDS):
            seen = len(reader.events)
            busy = threading.Thread(target=apply_until_cut, args=(hub, turn))
            busy.start()
            until(lambda seen=seen: reader.problem or len(reader.events) > seen + 5, "events")
            hub.end(how)
            busy.join()
            hub.boot()
        with at(hub) as client:
            client.call("campaign.delete", name="t0-0")
    assert reader.problem is None, reader.problem
    log = log_of(hub)
    assert [event["seq"] for event in reader.events] == [event["seq"] for event in log]
    assert [event["data"] for event in reader.events] == [event["data"] for event in log]
    assert len({event["epoch"] for event in reader.events}) == ENDS + 1
    assert reader.told == ["lost", "back"] * ENDS


def test_hubctl_watch_goes_on_over_kills_and_tells_each_figure_once(hub: Hub) -> None:
    hub.boot()
    hub.contacts(60)
    hub.apply("spring", provider="outbox", rate="20/s")
    watching = launcher.popen(
        [sys.executable, "-m", "hubctl", "--socket", str(hub.state / "control.sock"), "watch", "spring"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    hub.processes.append(watching)  # it is ended with them
    assert watching.stdout is not None
    assert "spring is draft" in watching.stdout.readline()
    hub.hubctl("start", "spring")
    for goal in (5, 25):
        until(lambda goal=goal: len(list((hub.state / "outbox").rglob("*.eml"))) >= goal, "messages")
        hub.end(signal.SIGKILL)
        hub.boot()
    out, told = watching.communicate(timeout=TIMEOUT)
    assert watching.returncode == 0, told
    assert told.count("hubd is back") == 2
    assert out.splitlines()[-1].startswith("spring is completed: ")
    figures = [int(found) for found in re.findall(r"(\d+) sent of", out)]
    assert figures, out
    assert figures == sorted(set(figures)), "forwards only, and none twice"


def test_a_restored_database_is_a_gap_and_not_a_silent_skip(hub: Hub) -> None:
    """The numbers that a reader has seen are given again, to other events: it has to be told."""
    hub.boot()
    copy = hub.folder / "copy.db"
    with at(hub) as client:
        apply(client, "before")
        client.call("hub.backup", path=str(copy))
        with client.events("*") as events:
            next(events)
            for number in range(5):
                apply(client, f"lost-{number}")
            cursor = [next(events) and events.cursor for _ in range(5)][-1]
        assert cursor["seq"] == 6
    hub.end()
    for path in hub.state.glob("hub.db*"):
        path.unlink()
    shutil.copy(copy, hub.state / "hub.db")
    hub.boot()
    with at(hub) as client:
        for number in range(10):  # its newest number is beyond the cursor again
            apply(client, f"other-{number}")
        events = client.events("*", after=cursor)
        with pytest.raises(ResumeGap):
            next(events)
        events.restart()
        snapshot = next(events)
        names = {view["name"] for view in snapshot["campaigns"]}
        assert names == {"before", *(f"other-{number}" for number in range(10))}


def test_a_reader_outlives_the_daemon_and_says_so(hub: Hub) -> None:
    """It waits; a program that does not want to wait sees why in `tell`."""
    hub.boot()
    told: list[str] = []
    with at(hub) as client, client.events("*", tell=lambda e: told.append(e.code if e else "back")) as events:
        next(events)
        hub.end(signal.SIGKILL)
        with pytest.raises(Unreachable):
            client.call("hub.status")
        waiting = threading.Thread(target=lambda: told.append(next(events)["type"]))
        waiting.start()
        until(lambda: told, "the loss")
        hub.boot()
        apply(client, "after")
        waiting.join(TIMEOUT)
        assert told[1:] == ["back", "campaign.applied"]
