"""hubd ends in the middle of a checkpoint, by a kill or because a file cannot grow, and starts again."""

from __future__ import annotations

import itertools
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import launcher
from tests.interposed import Interposed
from tests.whole.conftest import ROOT, TIMEOUT, Hub, until
from tests.whole.invariants import check_records, read_records
from tests.whole.test_failpoints import turn_into_version_1

FIRST_PAGE = 0  #: kill once the first page counts pages that are not there yet; n > 0: after the n-th write
UNLIMITED = resource.RLIM_INFINITY


@dataclass
class InterruptedHub(Hub):
    """A hub whose checkpoints can be cut off, and how many contacts the daemon has acknowledged."""

    failures: Interposed = field(init=False)
    imports: Iterator[int] = field(default_factory=itertools.count)
    acknowledged: int = 0

    def __post_init__(self) -> None:
        self.failures = Interposed.controlled_in(self.folder)

    def launch(self, *options: str, fail: str = "") -> subprocess.Popen[bytes]:
        """Start hubd with the library that can kill it and do not wait."""
        assert not fail
        (self.folder / "hubd.toml").write_text(self.config)
        with (self.folder / "hubd.log").open("ab") as log:
            self.daemon = launcher.popen(
                [
                    sys.executable, "-m", "hubd",
                    "--config", str(self.folder / "hubd.toml"), "--state-dir", str(self.state), *options,
                ],
                stderr=log, cwd=ROOT, env={**os.environ, **self.failures.environment},
            )  # fmt: skip
        self.processes.append(self.daemon)
        return self.daemon

    def kill_at(self, write: int | None) -> None:
        """From now on be killed at this write of a checkpoint; None: no more."""
        if write is None:
            self.failures.checkpoint.unlink(missing_ok=True)
        else:
            self.failures.checkpoint.write_text(str(write))

    def take_in(self, n: int) -> None:
        """Import n new contacts, as far as that works."""
        number = next(self.imports)
        path = self.folder / f"people{number}.csv"
        path.write_text("email\n" + "".join(f"p{number}.{i}@example.com\n" for i in range(n)))
        done = self.ask("import", str(path), "--list", "all")
        if done.returncode == 0:
            self.acknowledged += n
        elif told := re.search(r"([\d,]+) of the [\d,]+ rows are imported", done.stderr):
            self.acknowledged += int(told[1].replace(",", ""))

    def ended(self) -> int:
        """Wait for the end of the daemon, asked for unless it was killed already; its exit status."""
        assert self.daemon is not None
        if self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(TIMEOUT)

    def check(self) -> None:
        """The files together are whole, have all that was acknowledged, and hubd starts on them."""
        records = read_records(self.state)
        check_records(records)
        assert len(records.contacts) >= self.acknowledged
        self.kill_at(None)
        self.boot()
        assert len(read_contacts(self)) >= self.acknowledged
        assert self.json("doctor")["ok"]


def read_contacts(hub: Hub) -> list[str]:
    return hub.hubctl("contacts", "export").splitlines()[1:]


@pytest.fixture
def interrupted(tmp_path: Path) -> Iterator[InterruptedHub]:
    hub = InterruptedHub(tmp_path)
    yield hub
    for process in hub.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


# --- kills ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rounds", "seed"),
    [pytest.param(2, 1, id="2 rounds"), pytest.param(25, 2, id="25 rounds", marks=pytest.mark.soak)],
)
def test_a_kill_in_a_checkpoint_loses_nothing_and_the_next_start_finds_all(
    interrupted: InterruptedHub, rounds: int, seed: int
) -> None:
    """During an import with a backup beside it, at a stop, at a start, and at a migration."""
    hub, chance = interrupted, random.Random(seed)
    killed = 0
    hub.boot()
    for number in range(rounds):
        hub.kill_at(FIRST_PAGE if number % 2 == 0 else chance.randrange(1, 900))
        backup = start_backup(hub, hub.folder / f"backup{number}.db")
        hub.take_in(6_000)
        backup.wait(TIMEOUT)
        killed += hub.ended() == -signal.SIGKILL
        hub.check()
        hub.take_in(500)
        hub.kill_at(chance.randrange(1, 12))
        killed += hub.ended() == -signal.SIGKILL
        hub.check()
        hub.take_in(500)
        assert hub.end(signal.SIGKILL) == -signal.SIGKILL  # so that the next start has a log to copy
        for write in (1, chance.randrange(2, 40)):
            killed += killed_at_the_start(hub, write)
        hub.check()
    hub.ended()
    turn_into_version_1(hub.state)
    for write in (1, 2, chance.randrange(3, 40)):
        killed += killed_at_the_start(hub, write)
    hub.check()
    assert killed > 3 * rounds


def start_backup(hub: Hub, path: Path) -> subprocess.Popen[bytes]:
    client = launcher.popen(
        [
            sys.executable, "-m", "hubctl", "--socket", str(hub.state / "control.sock"),
            "daemon", "backup", str(path),
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    hub.processes.append(client)
    return client


def killed_at_the_start(hub: InterruptedHub, write: int) -> bool:
    """Start hubd; whether it was killed by this write of the first checkpoint. It runs no more after that."""
    hub.kill_at(write)
    before = hub.log().count("ready on")
    daemon = hub.launch()
    until(lambda: daemon.poll() is not None or hub.log().count("ready on") > before, "a start or its end")
    status = hub.ended()
    assert status in (0, -signal.SIGKILL), hub.log()
    return status == -signal.SIGKILL


# --- files that cannot grow -------------------------------------------------------------------------------


def test_a_stop_under_a_limit_on_file_sizes_loses_nothing_and_starts_when_there_is_room(
    interrupted: InterruptedHub,
) -> None:
    hub = interrupted
    hub.boot()
    hub.take_in(2_000)
    assert hub.ended() == 0
    daemon = hub.boot()
    size = (hub.state / "hub.db").stat().st_size
    database = f"{(hub.state / 'hub.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(database, uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT only FROM hub").fetchone()  # what comes after this stays in the log
        hub.take_in(1_500)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))
    until(lambda: "below the file size limit" in hub.trouble(), "the limit to be noticed")
    refused = hub.ask("import", str(hub.folder / "people0.csv"), "--list", "all")
    assert refused.returncode != 0
    assert "when there is space" in refused.stderr
    assert hub.ended() == 0
    assert (hub.state / "hub.db").stat().st_size == size
    assert (hub.state / "hub.db-wal").stat().st_size > 0
    hub.check()


# --- a disk that does not give a page ---------------------------------------------------------------------


def test_a_page_that_the_disk_does_not_give_is_told_as_that_and_not_as_damage(
    interrupted: InterruptedHub,
) -> None:
    """The status is one after which a service manager tries again."""
    hub = interrupted
    hub.boot()
    hub.take_in(1_000)
    assert hub.ended() == 0
    hub.failures.read.write_text("40960")
    assert hub.launch().wait(TIMEOUT) == 74
    assert "cannot be read: Input/output error" in hub.log()
    assert "damaged" not in hub.log()
    hub.failures.read.unlink()
    hub.check()


# --- what is really damaged -------------------------------------------------------------------------------


#: How a page begins that holds rows of a table (https://sqlite.org/fileformat2.html, 1.6).
LEAF = 0x0D


def test_a_file_that_is_really_damaged_is_refused_and_the_message_says_how_to_look(
    interrupted: InterruptedHub,
) -> None:
    """It stays as it is, and what the message says works: hubd starts on what `.dump` saved of a copy."""
    hub = interrupted
    hub.boot()
    hub.take_in(3_000)
    assert hub.ended() == 0
    database = hub.state / "hub.db"
    whole = database.read_bytes()
    pages = range(len(whole) // 2 // 4096 * 4096, len(whole), 4096)
    middle = next(at for at in pages if whole[at] == LEAF)
    database.write_bytes(whole[:middle] + random.Random(3).randbytes(4096) + whole[middle + 4096 :])
    assert hub.launch().wait(TIMEOUT) == 78
    said = " ".join(hub.log().split())
    for step in ("keep all files", "copy hub.db, hub.db-wal and hub.anchor", "integrity_check", ".recover"):
        assert step in said
    assert "start with an empty database" not in said
    assert database.read_bytes()[:middle] == whole[:middle]
    assert database.stat().st_size == len(whole)
    saved = saved_from(database, hub.folder / "look")
    database.write_bytes(saved.read_bytes())
    hub.boot()
    assert 2_000 < len(read_contacts(hub)) <= 3_000
    hub.hubctl("status")


def saved_from(database: Path, folder: Path) -> Path:
    """What docs/backup.md says to do about a damaged database, on a copy."""
    folder.mkdir(mode=0o700)
    copy, saved = folder / "hub.db", folder / "saved.db"
    shutil.copy(database, copy)
    assert ask_sqlite(copy, "PRAGMA integrity_check").stdout.strip() != "ok"
    saving = ask_sqlite(copy, ".recover").stdout
    if "COMMIT" not in saving:  # some builds of the program cannot do that
        saving = ask_sqlite(copy, ".dump").stdout.replace("ROLLBACK; -- due to errors", "COMMIT;")
    identity = ask_sqlite(
        copy,
        "SELECT 'PRAGMA application_id = ' || application_id || '; PRAGMA user_version = '"
        " || user_version || ';' FROM pragma_application_id, pragma_user_version",
    ).stdout
    subprocess.run(["sqlite3", str(saved)], input=saving + identity, text=True, check=True)
    assert ask_sqlite(saved, "PRAGMA integrity_check").stdout.strip() == "ok"
    return saved


def ask_sqlite(database: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sqlite3", str(database), command], capture_output=True, text=True, check=False)
