"""The daemon on disks that are full, in error or lost, and without descriptors, against a witness."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import launcher
from tests.whole.conftest import ROOT, Hub, Witness, reconcile, sink_config, until

N = 1500  #: recipients
MIB = 2**20
UNLIMITED = resource.RLIM_INFINITY


@dataclass
class SmallDisk:
    """A hub whose state lies on a disk that a test can fill.

    It is a small file system of its own, in a mount namespace of its own, so that nothing is left of it when
    the daemon has ended. Where the system allows no such namespace, not even to root of a user namespace, a
    limit on the size of files stands in for it.
    """

    hub: Hub
    unshare: list[str]
    place: Path = field(init=False)

    def __post_init__(self) -> None:
        self.place = self.hub.folder / "disk"
        self.place.mkdir()
        self.hub.state.mkdir(mode=0o700)

    @property
    def mounted(self) -> bool:
        return bool(self.unshare)

    @property
    def inside(self) -> Path:
        """The disk as the daemon sees it."""
        assert self.hub.daemon is not None
        return Path(f"/proc/{self.hub.daemon.pid}/root{self.place}") if self.mounted else self.place

    def boot(self) -> None:
        (self.hub.folder / "hubd.toml").write_text(self.hub.config)
        hubd = [
            sys.executable, "-m", "hubd", "--config", str(self.hub.folder / "hubd.toml"),
            "--state-dir", str(self.place / "state"), "--socket", str(self.hub.state / "control.sock"),
        ]  # fmt: skip
        mount = ["sh", "-c", 'mount -t tmpfs -o size=24m tmpfs "$0" && exec "$@"', str(self.place)]
        with (self.hub.folder / "hubd.log").open("ab") as log:
            self.hub.daemon = launcher.popen(
                [*self.unshare, *mount, *hubd] if self.mounted else hubd, stderr=log, cwd=ROOT
            )
        self.hub.processes.append(self.hub.daemon)
        until(self.hub.answers, "hubd", self.hub.log)

    def fill(self, leave: int) -> None:
        """Take all room but so many bytes."""
        assert self.hub.daemon is not None
        if not self.mounted:
            largest = max(path.stat().st_size for path in (self.place / "state").glob("hub.db*"))
            limit = largest + leave
            resource.prlimit(self.hub.daemon.pid, resource.RLIMIT_FSIZE, (limit, UNLIMITED))
            return
        with (self.inside / "filler").open("ab") as filler:
            piece = MIB
            while (free := self.free() - leave) > 0 and piece:
                try:
                    os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), min(free, piece))
                except OSError as error:  # the daemon took some of it meanwhile
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2

    def clear(self) -> None:
        """Give it back."""
        assert self.hub.daemon is not None
        if self.mounted:
            (self.inside / "filler").unlink()
        else:
            resource.prlimit(self.hub.daemon.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))

    def free(self) -> int:
        about = os.statvfs(self.inside)
        return about.f_bavail * about.f_frsize


def mount_namespace() -> list[str]:
    """A command that runs another in a mount namespace of its own; [] where the system allows none."""
    for unshare in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        trial = [*unshare, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        try:
            if subprocess.run(trial, capture_output=True, check=False).returncode == 0:
                return unshare
        except FileNotFoundError:
            break
    return []


@pytest.fixture(params=["file system", "limit"])
def small_disk(hub: Hub, request: pytest.FixtureRequest) -> SmallDisk:
    """Both kinds; without a namespace both times the limit."""
    return SmallDisk(hub, mount_namespace() if request.param == "file system" else [])


def stands_still(witness: Witness, hub: Hub, refill: Callable[[], object] = lambda: None) -> int:
    """How many messages were accepted, once that is so of all that have begun. No more may begin.

    Call it when the daemon has said that it is in trouble. What it says holds until it says that it goes on:
    it may have emptied its log, and then there is space again; so `refill` takes that, too. A message whose
    opening was being committed just then has begun: what is written (or refused) after that waits for it.
    """
    while True:
        until(lambda: (refill(), hub.trouble())[1], "the daemon to be in trouble")
        went_on = times_gone_on(hub)
        hub.ask("suppress", "remove", "nobody@example.com")

        def finished() -> bool:
            counts = hub.campaign("big")["counts"]
            return bool(len(witness.lines()) == counts["sent"] + counts["sending"])

        until(lambda: finished() or times_gone_on(hub) > went_on, "the wire to be empty")  # noqa: B023
        accepted = len(witness.lines())
        sending = hub.campaign("big")["counts"]["sending"]
        afterwards = len(witness.lines())
        if times_gone_on(hub) == went_on and hub.trouble():
            assert sending <= 8  # connections: outcomes that wait in memory
            assert afterwards == accepted
            return accepted


def times_gone_on(hub: Hub) -> int:
    """How often the daemon has said that it goes on."""
    return hub.log().count("there is enough disk space again") + hub.log().count(
        "the database can be written again"
    )


@pytest.mark.parametrize("witness", [("--delay", "0.002")], indirect=True)
def test_a_disk_that_fills_up_stops_sending_keeps_answering_and_goes_on_by_itself(
    small_disk: SmallDisk, witness: Witness
) -> None:
    hub = small_disk.hub
    hub.config = sink_config(witness.port)
    small_disk.boot()
    hub.contacts(N)
    hub.apply("big", in_doubt="hold")
    hub.hubctl("start", "big")
    until(lambda: len(witness.lines()) > 100, "some messages")
    small_disk.fill(leave=0)
    accepted = stands_still(witness, hub, lambda: small_disk.fill(leave=0))
    assert accepted < N
    assert hub.campaign("big")["state"] == "running"
    assert hub.deliveries("big")
    small_disk.clear()
    hub.hubctl("wait", "big", "--for", "completed", "--timeout", "100s")
    assert reconcile(hub, witness, "big", N)["sent"] == N
    until(lambda: not hub.trouble(), "the daemon to notice the room")


@pytest.mark.parametrize("witness", [("--delay", "0.002")], indirect=True)
@pytest.mark.parametrize("small_disk", ["file system"], indirect=True)
def test_little_room_is_said_before_the_disk_is_full_and_outcomes_are_written(
    small_disk: SmallDisk, witness: Witness
) -> None:
    hub = small_disk.hub
    hub.config = sink_config(witness.port)
    small_disk.boot()
    assert (small_disk.inside / "state" / "hub.ballast").stat().st_size > 100_000
    hub.contacts(N)
    hub.apply("big", in_doubt="hold", rate="20/s")  # or what is left is used up before anybody looks
    hub.hubctl("start", "big")
    until(lambda: len(witness.lines()) > 20, "some messages")

    def fills_up() -> bool:
        small_disk.fill(leave=MIB)  # again and again: the log gives room back
        return "MiB are left" in hub.trouble()

    until(fills_up, "the daemon to say how little is left")
    accepted = stands_still(witness, hub, fills_up)
    assert accepted < N
    assert hub.campaign("big")["counts"]["sent"] == accepted
    assert "MiB are left" in hub.log()
    small_disk.clear()
    hub.hubctl("rate", "big", "2000/s")
    hub.hubctl("wait", "big", "--for", "completed", "--timeout", "100s")
    assert reconcile(hub, witness, "big", N)["sent"] == N


@pytest.mark.parametrize("witness", [("--delay", "0.002")], indirect=True)
def test_a_start_without_room_for_the_audience_is_refused_and_what_runs_can_be_paused(
    small_disk: SmallDisk, witness: Witness
) -> None:
    """The reserve is for outcomes and changes of state: what is large or new is refused before it."""
    hub = small_disk.hub
    hub.config = sink_config(witness.port)
    small_disk.boot()
    hub.contacts(50, listed="few")
    hub.contacts(4000, listed="many")
    hub.apply("small", lists=["few"], rate="2/s")
    hub.apply("big", lists=["many"], in_doubt="hold")
    hub.hubctl("start", "small")
    until(lambda: witness.lines(), "a message")
    log = small_disk.inside / "state" / "hub.db-wal"

    def nothing_to_give_back() -> bool:
        empty = log.stat().st_size == 0  # before the filling: what it gives back is then taken, too
        small_disk.fill(leave=MIB // 16)
        return "MiB are left" in hub.trouble() and empty

    until(nothing_to_give_back, "the daemon to say how little is left")
    assert "waiting: only" in hub.campaign("small")["reason"]
    for command in (
        ("start", "big"),
        ("import", str(hub.folder / "many.csv"), "--list", "more"),
        ("suppress", "import", str(hub.folder / "many.csv")),
        ("send", "--to", "p1@example.com", "--provider", "sink", "--template", "big"),
        ("apply", str(hub.folder / "big.toml")),
        *([("daemon", "backup", str(small_disk.place / "copy.db"))] if small_disk.mounted else []),
    ):
        refused = hub.ask(*command)
        assert refused.returncode != 0, command
        assert "MiB are left" in refused.stderr, (command, refused.stderr)
        assert "space" in refused.stderr.partition("\n")[2], (command, refused.stderr)
    assert hub.campaign("big")["state"] == "draft"
    assert hub.campaign("big")["counts"]["total"] == 0
    small_disk.fill(leave=0)
    reserve = small_disk.inside / "state" / "hub.ballast"
    assert reserve.exists()
    hub.hubctl("pause", "small")
    assert hub.campaign("small")["state"] == "paused"
    hub.hubctl("stop", "small")
    assert hub.campaign("small")["state"] == "stopped"
    hub.hubctl("suppress", "add", "opted-out@example.com")
    assert "opted-out@example.com" in hub.hubctl("suppress", "list")
    assert "MiB are left" in hub.hubctl("status")
    small_disk.clear()
    until(lambda: not hub.trouble(), "the daemon to notice the room")
    hub.hubctl("start", "big")
    hub.hubctl("wait", "big", "--for", "completed", "--timeout", "100s")
    assert hub.campaign("big")["counts"]["sent"] == 4000


@pytest.mark.parametrize("witness", [("--delay", "0.002")], indirect=True)
@pytest.mark.parametrize("policy", ["hold", "retry"])
def test_a_failed_fsync_ends_the_daemon_and_the_next_one_knows_what_is_in_doubt(
    hub: Hub, witness: Witness, policy: str
) -> None:
    hub.config = sink_config(witness.port)
    sign = hub.folder / "sign"
    daemon = boot_on_broken_disk(hub, sign)
    hub.contacts(N)
    hub.apply("big", in_doubt=policy)
    hub.hubctl("start", "big")
    until(lambda: len(witness.lines()) > 100, "some messages")
    sign.write_text(f"sync {sqlite3.SQLITE_IOERR_FSYNC}")
    assert daemon.wait(60) == 74
    log = hub.log()
    assert "this process can no longer use the database" in log
    assert "SQLITE_IOERR_FSYNC" in log
    assert "start hubd again" in log
    assert "Traceback" not in log
    accepted = len(witness.lines())
    assert accepted < N
    sign.unlink()
    hub.boot()
    hub.hubctl("wait", "big", "--for", "completed", "--timeout", "100s")
    counts = reconcile(hub, witness, "big", N, policy)
    doubtful = counts["in_doubt"] if policy == "hold" else sum(witness.accepted().values()) - N
    assert doubtful <= 8  # connections
    assert counts["sent"] == N - counts["in_doubt"]


@pytest.mark.parametrize("witness", [("--delay", "0.002")], indirect=True)
@pytest.mark.parametrize(
    ("what", "says"),
    [
        (f"write {sqlite3.SQLITE_IOERR_WRITE}", "input/output error"),
        (f"write {sqlite3.SQLITE_READONLY}", "read-only"),
    ],
    ids=["error", "read-only"],
)
def test_a_disk_in_error_is_waited_for(hub: Hub, witness: Witness, what: str, says: str) -> None:
    hub.config = sink_config(witness.port)
    sign = hub.folder / "sign"
    boot_on_broken_disk(hub, sign)
    hub.contacts(N)
    hub.apply("big", in_doubt="hold")
    hub.hubctl("start", "big")
    until(lambda: len(witness.lines()) > 100, "some messages")
    sign.write_text(what)
    until(lambda: says in hub.trouble(), "the daemon to say what the trouble is")
    assert stands_still(witness, hub) < N
    assert hub.campaign("big")["state"] == "running"
    sign.unlink()
    hub.hubctl("wait", "big", "--for", "completed", "--timeout", "100s")
    assert reconcile(hub, witness, "big", N)["sent"] == N


def boot_on_broken_disk(hub: Hub, sign: Path) -> subprocess.Popen[bytes]:
    (hub.folder / "hubd.toml").write_text(hub.config)
    with (hub.folder / "hubd.log").open("ab") as log:
        hub.daemon = subprocess.Popen(
            [
                sys.executable, "-m", "tests.shell.broken_disk", str(sign),
                "--config", str(hub.folder / "hubd.toml"), "--state-dir", str(hub.state),
            ],
            stderr=log, cwd=ROOT,
        )  # fmt: skip
    hub.processes.append(hub.daemon)
    until(hub.answers, "hubd", hub.log)
    return hub.daemon


# --- descriptors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("witness", [("--delay", "0.002")], indirect=True)
def test_without_descriptors_nothing_ends_and_everything_goes_on_when_there_are_some(
    hub: Hub, witness: Witness
) -> None:
    """The clients wait in line. What the provider cannot be sent now is nobody's failure."""
    hub.config = sink_config(witness.port)
    daemon = hub.boot()
    hub.contacts(N)
    hub.apply("big", in_doubt="hold", rate=["300/s"])
    hub.hubctl("start", "big")
    until(lambda: len(witness.lines()) > 100, "some messages")
    hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, hard))
    waiting = [hub_status(hub) for _ in range(3)]
    until(lambda: "no connection can be accepted" in hub.log(), "the daemon to notice")
    assert daemon.poll() is None
    assert all(client.poll() is None for client in waiting)
    assert hub.log().count("no connection can be accepted") == 1
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (min(hard, 1024), hard))
    assert [client.wait(60) for client in waiting] == [0, 0, 0]
    hub.hubctl("wait", "big", "--for", "completed", "--timeout", "100s")
    assert reconcile(hub, witness, "big", N)["sent"] == N


def hub_status(hub: Hub) -> subprocess.Popen[bytes]:
    client = launcher.popen(
        [sys.executable, "-m", "hubctl", "--socket", str(hub.state / "control.sock"), "status"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    hub.processes.append(client)
    return client
