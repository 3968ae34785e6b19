"""The daemon ends, or is stopped for too long, at exactly the wrong moment: at each named point, one by one.

What happens by chance in test_crash happens here on purpose. `hubd.failpoints` has the points, and the
program `crashing_hubd` arms them.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from hubd import failpoints
from hubd.store import opening
from hubd.store.file_checks import APPLICATION_ID
from hubd.wire.params import MAX_ROWS
from tests import launcher
from tests.whole.conftest import ROOT, TIMEOUT, Hub, until
from tests.whole.crashing_hubd import effect_of
from tests.whole.invariants import (
    Records,
    check_accepted,
    check_crash,
    check_doubts,
    check_records,
    check_settled,
    read_records,
)
from tests.whole.outside import CAMPAIGN, Outside, open_outside

CONNECTIONS = 8
RECIPIENTS = 240  #: even if each transaction held one message for each connection, it would take 30 of them
#: The points that every message passes on its way.
ON_THE_WAY = (
    "before_open", "after_open", "before_dot", "after_dot", "after_reply", "mid_commit", "after_commit",
)  # fmt: skip
#: Where an attempt is open: the one whose task is there.
OPEN_AT = ("after_open", "before_dot", "after_dot", "after_reply")
AT = [20, *(pytest.param(n, marks=pytest.mark.soak) for n in (12, 17, 23, 28))]
POLICIES = ["hold", pytest.param("retry", marks=pytest.mark.soak)]


def killed(hub: Hub) -> Records:
    """Wait until the daemon has killed itself; the records it left."""
    assert hub.daemon is not None
    assert hub.daemon.wait(TIMEOUT) == -signal.SIGKILL, hub.log()
    return read_records(hub.state)


def start_and_die(hub: Hub, fail: str) -> Records:
    """Start the campaign in a daemon that ends at a point; the records it left."""
    assert hub.end() == 0
    hub.boot(fail=fail)
    hub.ask("start", CAMPAIGN)  # whose answer may not come any more
    return killed(hub)


def finish(hub: Hub, outside: Outside) -> Records:
    """Let a daemon without failpoints finish the campaign, end it, and wait for the provider's last word."""
    hub.boot()
    if hub.campaign(CAMPAIGN)["state"] == "draft":
        hub.hubctl("start", CAMPAIGN)
    hub.hubctl("wait", CAMPAIGN, "--for", "completed", "--timeout", "60s")
    assert hub.end() == 0
    outside.over()
    return read_records(hub.state)


@pytest.mark.parametrize("n", AT)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("point", ON_THE_WAY)
@pytest.mark.parametrize("channel", ["email", "sms"])
def test_an_end_at_any_point_of_a_messages_way_leaves_exact_records(
    hub: Hub, tmp_path: Path, channel: str, point: str, policy: str, n: int
) -> None:
    with open_outside(tmp_path, channel, connections=CONNECTIONS, delay=0.01) as outside:
        audience = outside.set_up(hub, RECIPIENTS, policy)
        left = start_and_die(hub, f"{point}:{n}")
        check_crash(left, CONNECTIONS)
        assert left.open >= (point in OPEN_AT)
        records = finish(hub, outside)
        check_settled(records, outside.copies(), policy, audience)
        check_doubts(records, left.open)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_end_in_the_middle_of_recovery_is_recovered_from(hub: Hub, tmp_path: Path, policy: str) -> None:
    with open_outside(tmp_path, "email", connections=CONNECTIONS, delay=0.06) as outside:
        audience = outside.set_up(hub, RECIPIENTS, policy)
        left = start_and_die(hub, "after_dot:12")
        for orphan in range(1, left.open + 1):
            hub.launch(fail=f"in_recovery:{orphan}")
            again = killed(hub)
            check_crash(again, CONNECTIONS)
            assert again.attempts == left.attempts, "all of it was recovered, or nothing"
        records = finish(hub, outside)
        check_settled(records, outside.copies(), policy, audience)
        check_doubts(records, left.open)


def test_an_end_while_the_first_database_is_made_leaves_none(hub: Hub) -> None:
    for count, _ in enumerate(opening.migrations(), 1):
        assert hub.launch(fail=f"in_migration:{count}").wait(TIMEOUT) == -signal.SIGKILL
        assert not (hub.state / "hub.db").exists()
    hub.boot()
    hub.hubctl("status")
    assert hub.end() == 0
    check_records(read_records(hub.state))


def test_an_end_in_the_middle_of_a_migration_is_migrated_from_without_a_loss(
    hub: Hub, tmp_path: Path
) -> None:
    with open_outside(tmp_path, "email", connections=CONNECTIONS, delay=0.05) as outside:
        audience = outside.set_up(hub, RECIPIENTS, "hold")
        left = start_and_die(hub, "after_dot:40")
        turn_into_version_1(hub.state)
        versions = [version for version, _ in opening.migrations()]
        for step, reached in enumerate(versions[:-1], 1):
            second = min(step, 2)  # each start but the first finishes what the one before it died in
            assert hub.launch(fail=f"in_migration:{second}").wait(TIMEOUT) == -signal.SIGKILL
            assert version_of(hub.state) == reached
        records = finish(hub, outside)
        assert version_of(hub.state) == versions[-1]
        check_settled(records, outside.copies(), "hold", audience)
        check_doubts(records, left.open)


def version_of(state: Path) -> int:
    with closing(sqlite3.connect(f"{(state / 'hub.db').as_uri()}?mode=ro", uri=True)) as db:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        return version


#: Campaigns, as they were, with their counters in their own rows.
COUNTED = "(SELECT * FROM now.campaign JOIN now.campaign_count ON campaign_id = id)"


def turn_into_version_1(state: Path) -> None:
    """The same data as the first version of the program would have kept it, alone in its directory."""
    now, then = state / "hub.db", state / "then.db"
    number, script = opening.migrations()[0]
    with closing(sqlite3.connect(then, isolation_level=None)) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT; PRAGMA journal_mode = WAL")
        db.execute("ATTACH ? AS now", (str(now),))
        db.execute("DELETE FROM main.sqlite_sequence")
        tables = db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
            source = COUNTED if table == "campaign" else f"now.{table}"
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM {source}")
    for path in state.iterdir():
        if path.is_file() and path != then:
            path.unlink()
    then.chmod(0o600)
    then.rename(now)


def test_an_end_while_the_audience_is_frozen_leaves_nobody_out_and_nobody_in_twice(
    hub: Hub, tmp_path: Path
) -> None:
    with open_outside(tmp_path, "email", connections=CONNECTIONS, delay=0.0) as outside:
        outside.set_up(hub, 100, "hold")
        hub.contacts(140, listed="more")  # the same hundred and forty others: frozen list by list
        hub.apply(CAMPAIGN, in_doubt="hold", lists=["all", "more"])
        left = start_and_die(hub, "in_freeze:1")
        check_crash(left, 0)
        assert not left.deliveries
        hub.launch(fail="in_freeze:2")
        left = killed(hub)
        check_crash(left, 0)
        assert len(left.deliveries) == 100
        records = finish(hub, outside)
        check_settled(records, outside.copies(), "hold", {f"p{i}@example.com" for i in range(140)})
        assert records.states["sent"] == 140


def test_an_end_in_the_middle_of_an_import_is_mended_by_importing_again(hub: Hub) -> None:
    path = hub.folder / "people.csv"
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["email", "first_name"])
        out.writerows([f"p{i}@example.com", f"Zoë {i}"] for i in range(5000))
    hub.boot(fail="in_import:2")
    assert hub.ask("import", str(path), "--list", "all").returncode != 0
    left = killed(hub)
    assert len(left.contacts) == left.members < 5000
    assert len(left.contacts) % MAX_ROWS == 0, "a page is taken whole or not at all"
    hub.boot()
    report = hub.json("import", str(path), "--list", "all")
    assert report["unchanged"] == len(left.contacts)
    assert report["imported"] == 5000 - len(left.contacts)
    again = hub.json("import", str(path), "--list", "all")
    assert (again["imported"], again["updated"], again["unchanged"]) == (0, 0, 5000)
    assert hub.end() == 0
    records = read_records(hub.state)
    check_records(records)
    assert {str(email) for email, _, _ in records.contacts} == {f"p{i}@example.com" for i in range(5000)}
    assert len(records.contacts) == records.members == 5000


def test_an_end_while_free_pages_are_given_back_loses_nothing_and_the_next_run_goes_on(hub: Hub) -> None:
    hub.boot()
    hub.contacts(100)
    (hub.folder / "flyer.bin").write_bytes(os.urandom(4 << 20))
    (hub.folder / "sale.toml").write_text(
        'name = "sale"\nchannel = "email"\nlists = ["all"]\nkind = "transactional"\n'
        'sender = "Acme <news@acme.example>"\nsubject = "Sale"\ntext = "Hi"\nattachments = ["flyer.bin"]\n'
    )
    hub.hubctl("apply", str(hub.folder / "sale.toml"))
    assert hub.end() == 0
    with closing(sqlite3.connect(hub.state / "hub.db", isolation_level=None)) as db:  # as once written anew
        db.executescript("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
    size = (hub.state / "hub.db").stat().st_size
    hub.boot(fail="in_giving_back:5")
    hub.hubctl("delete", "sale", "--yes")
    left = killed(hub)
    check_records(left)
    assert len(left.contacts) == 100
    hub.boot()
    until(lambda: (hub.state / "hub.db").stat().st_size < size - (2 << 20), "the file to be shorter")
    assert hub.end() == 0
    check_records(read_records(hub.state))


def test_an_end_while_the_database_is_written_anew_leaves_it_whole(hub: Hub) -> None:
    hub.boot()
    hub.contacts(100)
    assert hub.end() == 0
    file = hub.state / "hub.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("INSERT INTO probe (filler) VALUES (zeroblob(?))", (70 << 20,))
        db.execute("DELETE FROM probe")
    hub.launch(fail="in_compaction:1")
    left = killed(hub)
    check_records(left)
    assert len(left.contacts) == 100
    assert file.stat().st_size > 70 << 20
    assert (hub.state / "hub.db.compact").exists()
    hub.boot()
    assert file.stat().st_size < 2 << 20
    assert not (hub.state / "hub.db.compact").exists()
    assert hub.end() == 0
    again = read_records(hub.state)
    check_records(again)
    assert again.contacts == left.contacts


def test_an_end_in_the_middle_of_a_backup_leaves_no_file_that_looks_like_one(hub: Hub) -> None:
    backup = hub.folder / "backup.db"
    hub.boot(fail="in_backup:1")
    hub.contacts(100)
    assert hub.ask("daemon", "backup", str(backup)).returncode != 0
    check_records(killed(hub))
    assert not backup.exists()
    hub.boot()
    hub.hubctl("daemon", "backup", str(backup))
    assert hub.end() == 0
    assert {path.name for path in hub.folder.iterdir() if "backup" in path.name} == {"backup.db"}
    put_back(hub, backup)
    assert len(read_records(hub.state).contacts) == 100


def test_an_end_while_a_restore_is_taken_in_sends_nothing_twice(hub: Hub, tmp_path: Path) -> None:
    with open_outside(tmp_path, "email", connections=CONNECTIONS, delay=0.05) as outside:
        audience = outside.set_up(hub, RECIPIENTS, "retry")
        hub.hubctl("start", CAMPAIGN)
        until(lambda: len(outside.lines()) > 20, "messages")
        hub.hubctl("daemon", "backup", str(hub.folder / "backup.db"))
        hub.hubctl("wait", CAMPAIGN, "--for", "completed", "--timeout", "60s")
        assert hub.end() == 0
        put_back(hub, hub.folder / "backup.db")
        for _ in range(2):
            hub.launch(fail="in_restore:1")
            check_records(killed(hub))
        hub.boot()
        hub.hubctl("resume", CAMPAIGN)
        hub.hubctl("wait", CAMPAIGN, "--for", "completed", "--timeout", "60s")
        assert hub.end() == 0
        outside.over()
        assert outside.accepted() == Counter(audience)
        records = read_records(hub.state)
        check_records(records)
        assert set(records.states) == {"sent", "in_doubt"}
        assert records.states.total() == RECIPIENTS


def put_back(hub: Hub, backup: Path) -> None:
    """As docs/backup.md says: all three files go, and the backup takes their place."""
    for name in ("hub.db", "hub.db-wal", "hub.db-shm"):
        (hub.state / name).unlink(missing_ok=True)
    shutil.copy(backup, hub.state / "hub.db")


# --- stopped for too long -----------------------------------------------------------------------


def stopped(hub: Hub) -> bool:
    """Whether the daemon has been stopped by a signal since this was last asked."""
    assert hub.daemon is not None
    pid, status = os.waitpid(hub.daemon.pid, os.WUNTRACED | os.WNOHANG)
    return pid != 0 and os.WIFSTOPPED(status)


@pytest.mark.parametrize("point", ["after_open", "before_dot", "after_dot", "after_reply"])
@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_daemon_that_slept_longer_than_the_server_waits_knows_what_it_does_not_know(
    hub: Hub, tmp_path: Path, channel: str, point: str
) -> None:
    with open_outside(tmp_path, channel, connections=4, delay=0.01, idle=1.0) as outside:
        audience = outside.set_up(hub, RECIPIENTS, "hold")
        assert hub.end() == 0
        daemon = hub.boot(fail=f"{point}:20:stop")
        command = [sys.executable, "-m", "hubctl", "--socket", str(hub.state / "control.sock")]
        with launcher.popen([*command, "start", CAMPAIGN], cwd=ROOT, stdout=subprocess.DEVNULL) as start:
            until(lambda: stopped(hub), "the daemon to stop itself")
            until(outside.gave_up, "the server to hang up on everybody")
            daemon.send_signal(signal.SIGCONT)
            assert start.wait(TIMEOUT) == 0
        until(lambda: all_tried(hub), "everybody to be tried")
        cut = len(outside.hung_up())
        assert hub.end() == 0
        outside.over()
        records = read_records(hub.state)
        check_accepted(records, outside.copies(), "hold", audience)
        assert records.states["in_doubt"] <= cut, "one for each connection that ended"


def all_tried(hub: Hub) -> bool:
    """Whether nobody waits but those whose connection broke before their message was through."""
    counts = hub.campaign(CAMPAIGN)["counts"]
    return bool(counts["pending"] + counts["sending"] == 0)


# --- only in tests ------------------------------------------------------------------------------


def test_the_daemon_itself_has_no_failpoints(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBD_FAIL", "before_dot:1")
    with open_outside(tmp_path, "email", connections=CONNECTIONS, delay=0.0) as outside:
        audience = outside.set_up(hub, 50, "hold")
        hub.hubctl("start", CAMPAIGN, "--wait")
        assert hub.end() == 0
        outside.over()
        records = read_records(hub.state)
        check_settled(records, outside.copies(), "hold", audience)
        assert records.states["sent"] == 50
    for path in (ROOT / "hubd").rglob("*.py"):
        assert "failpoints.arm" not in path.read_text()
        assert "HUBD_FAIL" not in path.read_text()


@pytest.mark.parametrize("plan", ["", "nowhere:1", "after_open", "after_open:x", "after_open:1:sleep"])
def test_a_plan_that_makes_no_sense_is_an_error(plan: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one of int's own among them
        effect_of(plan)


def test_every_point_has_a_test() -> None:
    folder = Path(__file__).parent
    here = "".join(
        (folder / name).read_text()
        for name in (
            Path(__file__).name,
            "test_commands.py",
            "test_series.py",
            "test_triggers.py",
            "test_sinks_killed.py",
            "test_notifications.py",
        )
    )
    assert [point for point in failpoints.POINTS if here.count(point) == 0] == []
