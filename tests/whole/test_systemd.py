"""hubd under a service manager: a socket of ours hears what it says, systemd's own tool starts it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests import launcher
from tests.whole.conftest import ROOT, TIMEOUT, Hub, Witness, sink_config, until

#: hubd whose database writer hangs in the middle of a commit from the first SIGUSR1 on.
WEDGED = """
import signal, sys, threading
from hubd import failpoints
from hubd.__main__ import main
wedge = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: wedge.set())
failpoints.arm(lambda point: point == "mid_commit" and wedge.is_set() and threading.Event().wait())
main(sys.argv[1:])
"""
#: hubd whose first migration does not go on before SIGUSR1.
SLOW_TO_START = """
import signal, sys, threading
from hubd import failpoints
from hubd.__main__ import main
go_on = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: go_on.set())
failpoints.arm(lambda point: point == "in_migration" and go_on.wait())
main(sys.argv[1:])
"""
#: hubd with a bug in the middle of its first migration.
FAULTY = """
import sys
from hubd import failpoints
from hubd.__main__ import main
def fault(point):
    raise RuntimeError("no way to ada@example.com")
failpoints.arm(fault)
main(sys.argv[1:])
"""


def tool(name: str) -> str:
    """One of systemd's own programs."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: tests/run installs the package systemd"
    return found


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT, check=False,
        env={**os.environ, **environ},
    )  # fmt: skip


# -- what the manager hears --------------------------------------------------------------------------------


class FakeManager:
    """The socket that systemd would listen on, and a hubd that speaks to it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.said: list[dict[str, str]] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.settimeout(TIMEOUT)
        self._sock.bind(str(hub.folder / "notify"))

    def start(self, *options: str, program: str = "", watchdog: float = 0.0) -> subprocess.Popen[bytes]:
        """Start hubd as systemd would: with its variables, and stdin on /dev/null."""
        hub = self.hub
        (hub.folder / "hubd.toml").write_text(hub.config)
        environ = {**os.environ, "NOTIFY_SOCKET": str(hub.folder / "notify")}
        if watchdog:
            environ["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        what = ["-c", program] if program else ["-m", "hubd"]
        with (hub.folder / "hubd.log").open("ab") as log:
            hub.daemon = launcher.popen(
                [
                    sys.executable, *what, "--config", str(hub.folder / "hubd.toml"),
                    "--state-dir", str(hub.state), *options,
                ],
                stdin=subprocess.DEVNULL, stderr=log, cwd=ROOT, env=environ,
            )  # fmt: skip
        hub.processes.append(hub.daemon)
        return hub.daemon

    def hear(self) -> dict[str, str]:
        """The next message, as its lines."""
        message = dict(line.split("=", 1) for line in self._sock.recv(65536).decode().split("\n"))
        self.said.append(message)
        return message

    def until(self, name: str, value: str = "") -> dict[str, str]:
        """Listen until a message has such a line; `value` may be a part of it."""
        end = time.monotonic() + TIMEOUT
        while True:
            assert time.monotonic() < end, f"{name}={value} was never said: {self.said[-5:]}"
            message = self.hear()
            if name in message and value in message[name]:
                return message

    def rest(self) -> None:
        """Hear what is left after hubd ended."""
        self._sock.setblocking(False)
        try:
            while True:
                self.hear()
        except BlockingIOError:
            pass

    def order(self) -> list[str]:
        """The first word of each message that changes what the manager thinks of us."""
        words = (next(iter(message)) for message in self.said)
        return [word for word in words if word in ("READY", "RELOADING", "STOPPING")]

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def manager(hub: Hub) -> Iterator[FakeManager]:
    made = FakeManager(hub)
    yield made
    made.close()


def test_ready_is_said_last_and_stopping_first(manager: FakeManager) -> None:
    daemon = manager.start()
    manager.until("READY")
    assert manager.hub.answers(), "whoever waits for READY can connect"
    before = manager.said[:-1]
    assert any("EXTEND_TIMEOUT_USEC" in message for message in before)
    assert any("database" in message["STATUS"] for message in before)
    assert manager.order() == ["READY"]
    assert manager.until("STATUS") == {"STATUS": "nothing to send"}
    daemon.send_signal(signal.SIGTERM)
    manager.until("STOPPING")
    assert daemon.wait(TIMEOUT) == 0
    manager.rest()
    assert manager.order() == ["READY", "STOPPING"]
    assert manager.said[-1] == {"STATUS": "closing the database"}


def test_a_shutdown_that_was_asked_for_over_the_socket_is_told_too(manager: FakeManager) -> None:
    daemon = manager.start()
    manager.until("READY")
    manager.hub.hubctl("daemon", "shutdown", "--yes")
    manager.until("STOPPING")
    assert daemon.wait(TIMEOUT) == 0


def test_a_daemon_that_is_stopped_while_it_starts_never_claims_to_be_ready(manager: FakeManager) -> None:
    daemon = manager.start(program=SLOW_TO_START)
    manager.until("STATUS", "opening the database")
    until(lambda: list(manager.hub.state.glob("hub.db.new*")), "the migration to begin")
    daemon.send_signal(signal.SIGTERM)
    manager.until("STOPPING")
    daemon.send_signal(signal.SIGUSR1)
    assert daemon.wait(TIMEOUT) == 0
    manager.rest()
    assert manager.order() == ["STOPPING"]


def test_a_daemon_that_cannot_start_says_why(manager: FakeManager) -> None:
    (manager.hub.state).mkdir(mode=0o700)
    (manager.hub.state / "hub.db").touch(mode=0o600)
    assert manager.start().wait(TIMEOUT) == 78
    manager.rest()
    assert manager.order() == []
    assert "empty file, not a database" in manager.said[-1]["STATUS"]


def test_a_reload_is_told_and_one_that_was_refused_stays_in_the_status(manager: FakeManager) -> None:
    daemon = manager.start()
    manager.until("READY")
    daemon.send_signal(signal.SIGHUP)
    assert int(manager.until("RELOADING")["MONOTONIC_USEC"]) > 0
    assert manager.until("READY")["STATUS"] == "reload ended"
    (manager.hub.folder / "hubd.toml").write_text("[hub]\nlog_levl = 'info'\n")
    daemon.send_signal(signal.SIGHUP)
    manager.until("RELOADING")
    assert "log_levl" in manager.until("READY")["STATUS"]
    assert manager.hub.end() == 0
    manager.rest()
    assert manager.order() == ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]


@pytest.mark.parametrize("witness", [("--delay", "1000")], indirect=True)
def test_the_status_says_how_it_goes_and_stopping_is_said_while_messages_are_on_the_wire(
    manager: FakeManager, witness: Witness
) -> None:
    hub = manager.hub
    hub.config = sink_config(witness.port, 3)
    hub.boot()
    hub.contacts(20)
    hub.apply("stuck", in_doubt="hold")
    hub.hubctl("start", "stuck")
    hub.end(signal.SIGKILL)
    daemon = manager.start()
    assert manager.until("STATUS", "running") == {"STATUS": "1 running, 0 msg/s"}
    until(lambda: hub.campaign("stuck")["counts"]["sending"] == 3, "three messages on the wire")
    daemon.send_signal(signal.SIGTERM)
    manager.until("STOPPING")
    manager.until("STATUS", "finishing messages on the wire")
    assert daemon.poll() is None
    assert hub.end(signal.SIGTERM) == 0  # the second one does not wait for the wire


# -- the watchdog ------------------------------------------------------------------------------------------


def test_the_watchdog_hears_nothing_more_when_the_database_writer_hangs(manager: FakeManager) -> None:
    """Then the manager sends SIGABRT, and every thread's stack is in the log."""
    daemon = manager.start(program=WEDGED, watchdog=2.0)
    for _ in range(3):
        manager.until("WATCHDOG")
    daemon.send_signal(signal.SIGUSR1)
    manager.until("STATUS", "no heartbeat from the database writer")
    silent_from = len(manager.said)
    for _ in range(3):
        manager.until("STATUS", "no heartbeat from the database writer")
    assert not [message for message in manager.said[silent_from:] if "WATCHDOG" in message]
    assert manager.hub.answers(), "the loop itself goes on, so it is not the loop that the watchdog missed"
    daemon.send_signal(signal.SIGABRT)
    assert daemon.wait(TIMEOUT) == -signal.SIGABRT
    log = manager.hub.log()
    assert "no heartbeat from the database writer" in log
    assert "Fatal Python error: Aborted" in log
    assert log.count("Thread 0x") > 1


def test_a_full_disk_is_no_reason_to_be_killed(manager: FakeManager, witness: Witness) -> None:
    hub = manager.hub
    hub.config = sink_config(witness.port)
    daemon = manager.start(watchdog=2.0)
    manager.until("READY")
    hub.contacts(4000)
    hub.apply("full")
    hub.hubctl("start", "full")
    until(lambda: hub.campaign("full")["counts"]["sent"], "the first messages")
    size = sum(path.stat().st_size for path in hub.state.glob("hub.db*"))
    # A limit on the size of files stands in for a full disk; the daemon sees EFBIG instead of ENOSPC.
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size + 200_000, resource.RLIM_INFINITY))
    until(lambda: hub.trouble(), "the daemon to say that it is in trouble")
    manager.rest()
    manager._sock.settimeout(TIMEOUT)
    heard = len(manager.said)
    for _ in range(3):
        manager.until("WATCHDOG")
    assert "no heartbeat" not in str(manager.said[heard:])
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    hub.hubctl("wait", "full", "--for", "completed", "--timeout", "100s")
    assert hub.end() == 0


# -- socket activation -------------------------------------------------------------------------------------


@pytest.fixture
def activated(hub: Hub) -> Callable[[], subprocess.Popen[bytes]]:
    """Start hubd through systemd-socket-activate, with two named sockets, at the first connection."""

    def start() -> subprocess.Popen[bytes]:
        (hub.folder / "hubd.toml").write_text(hub.config)
        with (hub.folder / "hubd.log").open("ab") as log:
            hub.daemon = subprocess.Popen(
                [
                    tool("systemd-socket-activate"), "--fdname=control:observe",
                    "-l", str(hub.folder / "control.sock"), "-l", str(hub.folder / "observe.sock"),
                    sys.executable, "-m", "hubd", "--config", str(hub.folder / "hubd.toml"),
                    "--state-dir", str(hub.state),
                ],
                stderr=log, cwd=ROOT,
            )  # fmt: skip
        hub.processes.append(hub.daemon)
        until(lambda: hub.log().count("Listening on") % 2 == 0 and "Listening on" in hub.log(), "the sockets")
        return hub.daemon

    return start


def test_a_call_starts_the_daemon_and_the_sockets_outlive_it(
    hub: Hub, activated: Callable[[], subprocess.Popen[bytes]]
) -> None:
    daemon = activated()
    call = (sys.executable, "-m", "hubctl", "--socket")
    for name in ("control.sock", "observe.sock"):
        done = run(*call, str(hub.folder / name), "status")
        assert done.returncode == 0, (done.stderr, hub.log())
    assert not (hub.state / "control.sock").exists(), "nobody asked for a third socket"
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(TIMEOUT) == 0
    for name in ("control.sock", "observe.sock"):
        assert (hub.folder / name).is_socket(), "they are the service manager's to remove"


# -- the ways to stop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "end of stdin"])
@pytest.mark.parametrize("witness", [("--delay", "0.05")], indirect=True)
def test_every_way_to_stop_settles_what_is_on_the_wire_and_nothing_is_sent_twice(
    hub: Hub, witness: Witness, how: str
) -> None:
    hub.config = sink_config(witness.port, 4)
    (hub.folder / "hubd.toml").write_text(hub.config)
    with (hub.folder / "hubd.log").open("ab") as log:
        hub.daemon = daemon = launcher.popen(
            [
                sys.executable, "-m", "hubd", "--config", str(hub.folder / "hubd.toml"),
                "--state-dir", str(hub.state), "--stop-on-stdin-eof",
            ],
            stdin=subprocess.PIPE, stderr=log, cwd=ROOT,
        )  # fmt: skip
    hub.processes.append(daemon)
    until(hub.answers, "hubd")
    assert daemon.stdin is not None
    daemon.stdin.write(b"what is written there is not looked at\n")
    daemon.stdin.flush()
    hub.contacts(120)
    hub.apply("busy", in_doubt="hold")
    hub.hubctl("start", "busy")
    until(lambda: len(witness.lines()) > 10, "some messages")
    if how == "end of stdin":
        daemon.stdin.close()
    else:
        daemon.send_signal(signal.Signals[how])
    assert daemon.wait(TIMEOUT) == 0
    daemon.stdin.close()
    assert len(witness.lines()) < 120
    hub.boot()
    hub.hubctl("wait", "busy", "--for", "completed", "--timeout", "100s")
    counts = hub.campaign("busy")["counts"]
    assert (counts["sent"], counts["in_doubt"]) == (120, 0)
    assert set(witness.accepted().values()) == {1}


def test_the_end_of_stdin_means_nothing_unless_it_was_asked_for(hub: Hub, manager: FakeManager) -> None:
    """Under systemd stdin is /dev/null."""
    daemon = manager.start()
    manager.until("STATUS", "nothing to send")
    assert hub.hubctl("status") is not None
    assert daemon.poll() is None
    assert hub.end() == 0


def test_without_a_stdin_its_end_cannot_be_waited_for() -> None:
    done = run("/bin/sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "hubd", "--stop-on-stdin-eof")
    assert done.returncode == 64
    assert "there is no stdin" in done.stderr


# -- the log -----------------------------------------------------------------------------------------------


def test_whoever_collects_the_log_can_read_the_priority_of_each_line(hub: Hub) -> None:
    """stderr is a pipe: `<6>`, and no time, which the collector adds."""
    (hub.folder / "hubd.toml").touch()
    hub.daemon = launcher.popen(
        [
            sys.executable, "-m", "hubd", "--config", str(hub.folder / "hubd.toml"),
            "--state-dir", str(hub.state),
        ],
        stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    hub.processes.append(hub.daemon)
    until(hub.answers, "hubd")
    hub.daemon.terminate()
    _, log = hub.daemon.communicate(timeout=TIMEOUT)
    lines = log.decode().splitlines()
    assert any(line.startswith("<6>hubd.daemon: ready on ") for line in lines)
    assert all(line[:1] == "<" and line[2:3] == ">" for line in lines)


def test_a_fault_of_our_own_is_told_without_anybodys_address(manager: FakeManager) -> None:
    """An exception that nobody foresaw ends the daemon with status 70; its traceback goes through the log."""
    daemon = manager.start(program=FAULTY)
    assert daemon.wait(TIMEOUT) == 70
    manager.rest()
    assert "an internal error" in manager.said[-1]["STATUS"]
    log = manager.hub.log()
    assert "hubd cannot continue" in log
    assert "RuntimeError: no way to <address" in log
    assert "ada@" not in log
