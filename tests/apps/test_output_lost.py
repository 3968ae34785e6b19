"""Output that cannot be written is reported in one line and by the exit code, whatever it is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, Hub

HUBCTL, HUBD = f"{sys.executable} -m hubctl", f"{sys.executable} -m hubd"
FULL, CLOSED = ">/dev/full", ">&-"
LOST = {
    FULL: "the output cannot be written: no space left on device",
    CLOSED: "the output cannot be written: bad file descriptor",
}


def shell(command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**QUIET_ENV, **environ},
        timeout=TIMEOUT,
    )


def full_disk(command: Sequence[str], stream: str = "stdout") -> subprocess.CompletedProcess[str]:
    """A program that writes one of its streams to a full disk."""
    with open("/dev/full", "w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        with launcher.popen(command, **streams, text=True, cwd=ROOT, env=QUIET_ENV) as process:
            out, err = process.communicate(timeout=TIMEOUT)
    return subprocess.CompletedProcess(command, process.returncode, out or "", err or "")


@pytest.mark.parametrize("redirection", LOST)
@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "import --help",
        "contacts --help",
        "help formatting",
        "completion bash",
        "completion fish --json",
        "service print --user",
    ],
)
def test_hubctl_that_asks_nobody(command: str, redirection: str) -> None:
    done = shell(f"{HUBCTL} {command} {redirection}")
    assert done.returncode == 1
    assert LOST[redirection] in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("redirection", LOST)
def test_hubctl_that_asks_the_daemon(hub: Hub, redirection: str) -> None:
    hub.contacts(3)
    for command in (
        "status",
        "list --json",
        "contacts list",
        "contacts list --output ndjson",
        "contacts list --output tsv",
        "contacts export",
        "events --output ndjson",
        "rpc call hub.status",
        "metrics",
    ):
        if redirection == FULL:
            done = full_disk(hub.command(*command.split()))
        else:
            done = shell(f"{HUBCTL} --socket {hub.socket} {command} {redirection}")
        assert done.returncode == 1, (command, done.stderr)
        assert LOST[redirection] in done.stderr, command
        assert len(done.stderr.splitlines()) == 1, (command, done.stderr)


def test_an_error_in_json_stays_json() -> None:
    done = shell(f"{HUBCTL} help --json {FULL}")
    assert json.loads(done.stderr)["error"]["code"] == "output_lost"


def test_the_shells_own_completion_is_told_too() -> None:
    done = shell(f"{HUBCTL} {FULL}", _HUBCTL_COMPLETE="bash_source")
    assert (done.returncode, LOST[FULL] in done.stderr) == (1, True)


@pytest.mark.parametrize("redirection", LOST)
@pytest.mark.parametrize("command", ["--help", "--version", "--check"])
def test_hubd_that_only_answers(command: str, redirection: str) -> None:
    if redirection == FULL:
        done = full_disk([*HUBD.split(), command])
    else:
        done = shell(f"{HUBD} {command} {redirection}")
    assert (done.returncode, done.stderr) == (1, f"hubd: {LOST[redirection]}\n")


@pytest.mark.parametrize("program", [HUBCTL, HUBD])
def test_a_reader_that_leaves_is_no_failure(program: str) -> None:
    done = shell(f"({program} --help; echo $? >&2) | :")
    assert done.stderr == "0\n"


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(
    ("command", "status"),
    [
        (f"{HUBCTL} nonsense", 2),
        (f"{HUBCTL} --socket /nonexistent/c.sock list", 6),
        (f"{HUBD} --nonsense", 64),
        (f"{HUBD} --check --config /nonexistent", 78),
        (f"{HUBD} --check", 0),
        (f"{HUBD} --state-dir /proc/none", 73),
    ],
)
def test_errors_that_nobody_reads_leave_the_exit_code(command: str, status: int, redirection: str) -> None:
    if redirection == "2>/dev/full":
        done = full_disk(command.split(), "stderr")
    else:
        done = shell(f"{command} {redirection}")
    assert (done.returncode, done.stderr) == (status, "")


def test_a_closed_stream_gives_its_number_to_no_file_of_the_daemon(place: Path) -> None:
    """Else what a library prints would go into the database."""
    script = f"{HUBD} --state-dir {place}/state <&- >&- 2>&- & echo $!; wait"
    with subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=QUIET_ENV
    ) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        hub = Hub(place)
        while not hub.answers():
            assert process.poll() is None, "hubd ended"
            time.sleep(0.02)  # another process: there is no event to wait on
        hub.ok("daemon", "status")
        for descriptor in (0, 1, 2):
            assert Path(f"/proc/{number}/fd/{descriptor}").readlink() == Path("/dev/null")
        hub.ok("daemon", "shutdown", "--yes")
