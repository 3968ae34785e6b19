"""`events -f` and `log -f`: over a restart of the daemon nothing is missed, nothing is told twice, and what
cannot be told any more is said."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests import launcher
from tests.apps.conftest import ROOT, TIMEOUT, Hub


@contextmanager
def tail(hub: Hub, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = launcher.popen(
        hub.command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=hub.environ,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=TIMEOUT)


def until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Lines of stdout up to the one that has `text`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError((text, lines))


def test_events_are_told_once_each_over_kills_and_restarts(hub: Hub) -> None:
    hub.contacts(60)
    hub.campaign("spring", rate="30/s")
    with tail(hub, "events", "-f", "--json") as process:
        lines = until(process, "campaign.applied")
        for name in ("one", "two"):
            hub.campaign(name)
            lines += until(process, f'"{name}"')
            assert hub.process is not None
            hub.process.send_signal(signal.SIGKILL if name == "one" else signal.SIGTERM)
            hub.process.wait(TIMEOUT)
            hub.boot()
        hub.ok("start", "spring", "--wait")
        lines += until(process, "notification.added")  # that it is completed
    told = [json.loads(line) for line in lines]
    assert all(event["schema"] == "hubctl.events/1" for event in told)
    stored = [json.loads(line) for line in hub.ok("events", "--json").splitlines()]
    assert [event["seq"] for event in told] == [event["seq"] for event in stored]
    assert [event["type"] for event in told] == [event["type"] for event in stored]


def test_the_log_of_a_campaign_goes_on_after_a_restart(hub: Hub) -> None:
    hub.contacts(3)
    hub.campaign("spring")
    with tail(hub, "log", "spring", "-f") as process:
        until(process, "created")
        hub.end()
        hub.boot()
        hub.campaign("other")
        hub.ok("start", "spring", "--wait")
        lines = until(process, "running -> completed")
        assert not any("other" in line for line in lines)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert "hubd is back" in told
    assert "detached; the campaigns continue" in told


def forget_events(hub: Hub, up_to: int) -> None:
    """What housekeeping does after a long time; the daemon is down."""
    with closing(sqlite3.connect(hub.folder / "state/hub.db")) as db, db:
        db.execute("DELETE FROM event WHERE seq <= ?", (up_to,))


def test_events_that_are_not_kept_any_more_are_told_as_a_gap(hub: Hub) -> None:
    for name in ("one", "two", "three", "four"):
        hub.campaign(name)
    stored = [json.loads(line) for line in hub.ok("events", "--json").splitlines()]
    first, last = stored[0]["seq"], stored[-1]["seq"]
    hub.end()
    forget_events(hub, last - 1)
    hub.boot()
    done = hub.run("events", "--json", "--since", str(first))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0] == {"schema": "hubctl.events/1", "type": "gap", "after": first, "next": last}
    assert lines[1]["seq"] == last
    assert f"the events {first + 1} to {last - 1} have been pruned" in done.stderr
    assert hub.run("events", "--since", str(last - 1)).stderr == "", "there is no gap before the next one"
    assert hub.run("events").stderr == "", "who asks for all asks for what there is"


def test_a_gap_that_opens_during_a_restart_is_told_and_passed(hub: Hub) -> None:
    hub.campaign("one")
    with tail(hub, "events", "-f", "--json") as process:
        first = json.loads(until(process, "campaign.applied")[-1])["seq"]
        process.send_signal(signal.SIGSTOP)
        hub.end()  # its connection is gone: what comes now is not even in the buffer of its socket
        hub.boot()
        for name in ("two", "three"):
            hub.campaign(name)
        hub.end()
        last = newest(hub)
        forget_events(hub, last - 1)
        hub.boot()
        process.send_signal(signal.SIGCONT)
        hub.campaign("four")
        lines = [json.loads(line) for line in until(process, '"four"')]
    assert [line["type"] for line in lines] == ["gap", "campaign.applied", "campaign.applied"]
    assert (lines[0]["after"], lines[0]["next"], lines[1]["seq"]) == (first, last, last)
    assert lines[-1]["campaign"] == "four"


def newest(hub: Hub) -> int:
    with closing(sqlite3.connect(hub.folder / "state/hub.db")) as db:
        return int(db.execute("SELECT max(seq) FROM event").fetchone()[0])


def test_a_database_that_is_older_than_the_cursor_is_told(hub: Hub) -> None:
    hub.campaign("one")
    with tail(hub, "events", "-f", "--json", "--since", "100000") as process:
        lines = until(process, "gap")
        hub.campaign("two")
        lines += until(process, '"two"')
    told = [json.loads(line) for line in lines]
    assert [event["type"] for event in told] == ["gap", "campaign.applied"]
    assert told[0]["after"] == 100_000
    assert told[0]["next"] == told[1]["seq"]
