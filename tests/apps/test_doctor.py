"""`hubctl doctor`: what it looks at, what it says of what is wrong, and how it exits."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests import launcher
from tests.apps.conftest import ROOT, TIMEOUT, Hub

CHECKS = [
    "writing",
    "sockets",
    "mailboxes",
    "file",
    "links",
    "counts",
    "attempts",
    "figures",
    "audit",
    "space",
    "anchor",
    "room",
    "history",
]


def test_a_hub_that_is_well(hub: Hub) -> None:
    hub.contacts(5)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    found = hub.json("doctor")
    assert next(iter(found)) == "schema"
    assert (found["reachable"], found["ok"]) == (True, True)
    assert [each["check"] for each in found["checks"]] == CHECKS
    assert all(each["ok"] and each["found"] and not each["advice"] for each in found["checks"])
    told = hub.ok("doctor")
    assert "the counts of 1 campaign match a recount" in told
    assert "WRONG" not in told


def count_wrongly(db: sqlite3.Connection) -> None:
    db.execute("UPDATE campaign_count SET n_sent = n_sent - 1, n_failed = n_failed + 1")


def leave_an_attempt_open(db: sqlite3.Connection) -> None:
    db.execute("UPDATE attempt SET outcome = NULL, closed_at = NULL WHERE id = 1")


def change_a_decision(db: sqlite3.Connection) -> None:
    db.execute(
        "INSERT INTO audit (at, actor, action, hash) VALUES (1, 'operator', 'doubt.sent', zeroblob(32))"
    )


def name_what_is_not_there(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("UPDATE delivery SET content_id = 4711")


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (count_wrongly, "counts"),
        (leave_an_attempt_open, "attempts"),
        (change_a_decision, "audit"),
        (name_what_is_not_there, "links"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(
    hub: Hub, spoil: Callable[[sqlite3.Connection], None], check: str
) -> None:
    hub.contacts(3)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    with closing(sqlite3.connect(hub.folder / "state" / "hub.db", isolation_level=None)) as db:
        spoil(db)
    hub.ok(
        "suppress", "add", "nobody@example.com"
    )  # a commit of the daemon's own, which its watermark follows
    found = hub.json("doctor", code=1)
    wrong = [each for each in found["checks"] if not each["ok"]]
    assert [each["check"] for each in wrong] == [check]
    assert wrong[0]["advice"]
    told = hub.ok("doctor", code=1)
    assert "WRONG" in told
    assert wrong[0]["advice"] in told


def test_a_watermark_that_cannot_be_kept_is_told(hub: Hub) -> None:
    watermark = hub.folder / "state" / "hub.anchor"
    watermark.unlink()
    watermark.with_name("hub.anchor.new").mkdir()
    wrong = [each for each in hub.json("doctor", code=1)["checks"] if not each["ok"]]
    assert [each["check"] for each in wrong] == ["anchor"]
    assert "missing" in wrong[0]["found"]
    watermark.with_name("hub.anchor.new").rmdir()
    hub.contacts(1)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")  # the next change writes it again
    end = time.monotonic() + TIMEOUT
    while not watermark.exists():
        assert time.monotonic() < end
        time.sleep(0.02)  # another process: there is no event to wait on
    assert hub.json("doctor")["ok"]


def test_a_removed_socket_is_told_and_a_hangup_creates_it_again(hub: Hub) -> None:
    assert hub.process is not None
    hub.socket.unlink()
    done = hub.run("doctor")
    assert done.returncode == 6
    assert (
        f"hubd (process {hub.process.pid}) is running, but its socket {hub.socket} was removed" in done.stderr
    )
    assert f"kill -HUP {hub.process.pid}" in done.stderr
    hub.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + TIMEOUT
    while not hub.socket.exists():
        assert time.monotonic() < end
        time.sleep(0.02)  # another process: there is no event to wait on
    assert hub.json("doctor")["ok"]


@pytest.mark.parametrize("replaced", [False, True], ids=["moved", "replaced"])
def test_a_database_that_was_moved_or_replaced_is_told_with_what_to_do(hub: Hub, replaced: bool) -> None:
    hub.contacts(3)
    database = hub.folder / "state" / "hub.db"
    away = database.rename(database.with_name("away.db"))
    if replaced:
        shutil.copy(away, database)
    found = hub.json("doctor", code=1)
    wrong = {each["check"]: each for each in found["checks"] if not each["ok"]}
    assert {"file"} <= wrong.keys() <= {"writing", "file"}
    assert f"{database} was moved, removed or replaced" in wrong["file"]["found"]
    assert "put it back" in wrong["file"]["advice"]
    assert "put it back" in hub.ok("doctor", code=1)
    away.replace(database)
    end = time.monotonic() + TIMEOUT
    while not hub.json("doctor", code=None)["ok"]:
        assert time.monotonic() < end
        time.sleep(0.02)  # the file system is asked once a second


def test_a_hub_that_waits_for_a_message_to_be_answered_is_well(hub: Hub) -> None:
    """An attempt that is open because it is on the wire is no fault."""
    hub.contacts(2000)
    hub.campaign("spring", rate="500/s")
    hub.ok("start", "spring")
    assert all(hub.json("doctor")["ok"] for _ in range(3))


def test_no_daemon_is_exit_code_6_and_says_where_it_was_looked_for(place: Path) -> None:
    hub = Hub(place)
    done = hub.run("doctor")
    assert done.returncode == 6
    assert str(hub.socket) in done.stdout
    assert "nothing" in done.stdout
    assert "hubd is not running" in done.stderr
    (place / "state").mkdir()
    hub.socket.touch()
    done = hub.run("doctor", "--json")
    assert done.returncode == 6
    found = json.loads(done.stdout)
    assert (found["schema"], found["reachable"], found["ok"]) == ("hubctl.doctor/1", False, False)
    assert found["looked_at"] == [{"path": str(hub.socket), "found": "a file that is not a socket"}]


def test_it_says_which_daemon_it_took_and_why(hub: Hub) -> None:
    assert re.search(r"chosen +by --socket\n", hub.ok("doctor"))
    hub.environ |= {"XDG_STATE_HOME": str(hub.folder / "home"), "HOME": str(hub.folder)}
    own = hub.folder / "home" / "messagehub" / "control.sock"
    own.parent.mkdir(parents=True)
    own.symlink_to(hub.socket)
    command = [part for part in hub.command("doctor") if part not in ("--socket", str(hub.socket))]
    done = launcher.run(command, timeout=TIMEOUT, cwd=ROOT, env=hub.environ)
    assert done.returncode == 0, done.stderr
    assert f"{own} (found there)" in done.stdout
    assert "no daemon is chosen by --socket, $HUBCTL_SOCKET or a context: this is your own" in done.stdout


def test_every_socket_that_was_looked_at_is_named(place: Path) -> None:
    hub = Hub(place)
    hub.environ["HOME"] = str(place)
    command = [part for part in hub.command("doctor", "--json") if part not in ("--socket", str(hub.socket))]
    done = launcher.run(command, timeout=TIMEOUT, cwd=ROOT, env=hub.environ)
    assert done.returncode == 6
    looked = [each["path"] for each in json.loads(done.stdout)["looked_at"]]
    assert f"{place}/.local/state/messagehub/control.sock" in looked
    assert "/run/messagehub/control.sock" in looked
