"""`hubctl daemon restore`: with a real hubd before and after it."""

from __future__ import annotations

from pathlib import Path

from tests.apps.conftest import Hub


def test_a_backup_is_restored_while_hubd_is_stopped_and_only_then(hub: Hub) -> None:
    assert hub.process is not None
    hub.contacts(5)
    hub.campaign("spring", rate="1/minute")
    hub.ok("start", "spring")
    backup, state = str(hub.folder / "monday.db"), str(hub.folder / "state")
    hub.ok("daemon", "backup", backup)
    hub.ok("lists", "rename", "all", "everybody")
    refused = hub.run("daemon", "restore", backup, "--state-dir", state, "--yes")
    assert refused.returncode == 5
    assert f"another hubd (process {hub.process.pid}) is already using {state}" in refused.stderr
    assert "stop it first: hubctl daemon shutdown" in refused.stderr
    hub.end()
    asked = hub.run("daemon", "restore", backup, "--state-dir", state)
    assert (asked.returncode, "pass --yes" in asked.stderr) == (2, True)
    assert f"replace {state}/hub.db by the backup of 20" in asked.stderr
    said = hub.ok("daemon", "restore", backup, "--state-dir", state, "--yes")
    assert f"restored {state}/hub.db" in said
    (kept,) = Path(state).glob("replaced-*")
    assert f"the old database is in {kept}" in said
    hub.boot()
    assert "RESTORED" in hub.ok("status")
    assert [each["name"] for each in hub.json("lists")["lists"]] == ["all"]
    view = hub.json("status", "spring")["campaign"]
    assert (view["state"], view["counts"]["in_doubt"] > 0) == ("paused", True)


def test_a_state_directory_that_is_not_there_is_not_created(place: Path) -> None:
    hub = Hub(place)
    backup = hub.file("monday.db", "no database")
    done = hub.run("daemon", "restore", backup, "--state-dir", str(place / "typo"), "--yes")
    assert done.returncode == 3
    assert f"there is no state directory {place}/typo" in done.stderr
    assert not (place / "typo").exists()
    (place / "state").mkdir(mode=0o700)
    done = hub.run("daemon", "restore", backup, "--state-dir", str(place / "state"), "--yes")
    assert done.returncode == 1
    assert f"{backup} is not a database; nothing was changed" in done.stderr
    assert [path.name for path in (place / "state").iterdir()] == ["hubd.lock"]
