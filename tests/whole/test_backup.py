"""Backup and restore with real processes: a backup in the middle of a campaign, put back when it is over."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import launcher
from tests.whole.conftest import ROOT, TIMEOUT, Hub, Witness, reconcile, sink_config, until

TOTAL = 300


def restore(hub: Hub, backup: Path) -> None:
    """As docs/backup.md says: hubd is stopped, all three files go, the backup takes their place."""
    for name in ("hub.db", "hub.db-wal", "hub.db-shm"):
        (hub.state / name).unlink(missing_ok=True)
    shutil.copy(backup, hub.state / "hub.db")


def in_the_middle(hub: Hub, witness: Witness, name: str) -> None:
    hub.contacts(TOTAL)
    hub.apply(name)
    hub.hubctl("start", name)
    until(lambda: len(witness.lines()) > TOTAL // 4, "a quarter of the messages")


def copy_backup(hub: Hub, path: Path) -> None:
    made = hub.json("daemon", "backup", str(path))
    assert made["path"] == str(path)
    assert made["size"] == path.stat().st_size


@pytest.mark.parametrize("witness", [("--delay", "0.02")], indirect=True)
def test_after_a_restore_nothing_is_sent_until_a_person_decides_and_the_counts_add_up(
    hub: Hub, witness: Witness
) -> None:
    hub.config = sink_config(witness.port, 4)
    hub.boot()
    in_the_middle(hub, witness, "story")
    backup = hub.folder / "backup.db"
    copy_backup(hub, backup)
    hub.hubctl("wait", "story", "--for", "completed", "--timeout", "120s")
    assert hub.end() == 0
    accepted = witness.accepted()
    assert sum(accepted.values()) == TOTAL

    restore(hub, backup)
    hub.boot()
    assert "committed history is missing" in hub.log()
    told = hub.json("status")["restored"]
    campaign = hub.campaign("story")
    counts = campaign["counts"]
    assert campaign["state"] == "paused"
    assert "hubctl retry story --in-doubt" in campaign["reason"]
    assert told["in_doubt"] == {"story": counts["in_doubt"]}
    assert counts["total"] == TOTAL == counts["sent"] + counts["in_doubt"]
    assert counts["in_doubt"] > 0
    assert reconcile(hub, witness, "story", TOTAL) == counts
    assert {row["reason"] for row in hub.deliveries("story") if row["state"] == "in_doubt"} == {"restored"}

    assert hub.end() == 0  # neither a restart nor a resume sends any of it
    hub.boot()
    hub.hubctl("resume", "story", "--json")
    hub.hubctl("wait", "story", "--for", "completed", "--timeout", "120s")
    assert witness.accepted() == accepted
    assert hub.json("doctor")["ok"]

    decided = hub.json("retry", "story", "--in-doubt", "sent")
    assert decided["changed"] == counts["in_doubt"]
    assert hub.campaign("story")["counts"]["sent"] == TOTAL
    assert hub.json("status")["restored"] is None
    assert witness.accepted() == accepted
    assert hub.end() == 0


def test_a_copy_without_its_log_does_not_send_everything_again(hub: Hub, witness: Witness) -> None:
    """What somebody makes who has not read the manual: only the main file of a hub that runs."""
    hub.config = sink_config(witness.port, 4)
    hub.boot()
    hub.contacts(20)
    hub.apply("copied")
    assert hub.end() == 0
    hub.boot()
    hub.hubctl("start", "copied")
    shutil.copy(hub.state / "hub.db", hub.folder / "copy.db")
    hub.hubctl("wait", "copied", "--for", "completed", "--timeout", "120s")
    assert hub.end() == 0
    restore(hub, hub.folder / "copy.db")
    hub.boot()
    assert "committed history is missing" in hub.log()
    assert hub.campaign("copied")["state"] == "draft"
    hub.hubctl("start", "copied", code=1)
    assert sum(witness.accepted().values()) == 20
    hub.hubctl("start", "copied", "--accept-risk", "restored", "--wait")
    assert sum(witness.accepted().values()) == 40
    assert hub.end() == 0


def test_a_kill_of_a_hub_that_sends_is_no_restore(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port, 4)
    hub.boot()
    in_the_middle(hub, witness, "killed")
    for _ in range(3):
        hub.end(signal.SIGKILL)
        hub.boot()
    hub.hubctl("wait", "killed", "--for", "completed", "--timeout", "120s")
    reconcile(hub, witness, "killed", TOTAL, "retry")
    assert "committed history" not in hub.log()
    assert hub.json("status")["restored"] is None
    assert hub.end() == 0


@pytest.mark.parametrize("witness", [("--delay", "0.05")], indirect=True)
def test_backups_while_sending_hold_nothing_up_and_each_is_whole(hub: Hub, witness: Witness) -> None:
    hub.config = sink_config(witness.port, 4)
    hub.boot()
    in_the_middle(hub, witness, "busy")
    made: list[Path] = []
    while hub.campaign("busy")["state"] == "running" and len(made) < 5:
        made.append(hub.folder / f"backup{len(made)}.db")
        copy_backup(hub, made[-1])
    hub.hubctl("wait", "busy", "--for", "completed", "--timeout", "120s")
    reconcile(hub, witness, "busy", TOTAL)
    assert hub.end() == 0
    assert made
    sent = []
    for backup in made:
        other = Hub(hub.folder / backup.stem)
        other.folder.mkdir()
        other.state.mkdir(mode=0o700)
        restore(other, backup)
        hub.processes.append(other.boot())
        counts = other.campaign("busy")["counts"]
        assert counts["sent"] + counts["in_doubt"] == TOTAL
        sent.append(counts["sent"])
        assert other.end() == 0
    assert sent == sorted(sent)


def test_a_backup_that_cannot_be_made_says_why(hub: Hub) -> None:
    hub.boot()
    assert refused(hub, str(hub.folder / "nowhere" / "backup.db"))["code"] == "bad_input"
    hub.hubctl("daemon", "backup", str(hub.folder / "one.db"))
    assert "already" in refused(hub, str(hub.folder / "one.db"))["message"]
    assert "daemon itself uses" in refused(hub, str(hub.state / "hub.db-journal"))["message"]
    assert hub.end() == 0


def refused(hub: Hub, path: str) -> dict[str, Any]:
    """What hubctl says of a backup that must not be made."""
    socket = str(hub.state / "control.sock")
    done = launcher.run(
        [sys.executable, "-m", "hubctl", "--socket", socket, "daemon", "backup", path, "--json"],
        timeout=TIMEOUT,
        cwd=ROOT,
    )
    assert done.returncode == 1
    error: dict[str, Any] = json.loads(done.stderr)["error"]
    assert error["hint"]
    return error


def test_a_lost_database_is_not_replaced_by_an_empty_one(hub: Hub) -> None:
    hub.boot()
    assert hub.end() == 0
    (hub.state / "hub.db").unlink()
    with pytest.raises(AssertionError, match="hubd ended with 78"):
        hub.boot()
    assert not (hub.state / "hub.db").exists()
    assert "hub.anchor exists" in hub.log()
