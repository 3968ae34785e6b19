"""What `tests.launcher` forks cannot be told from what Python starts: tests with processes lean on that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, Hub

HUBCTL = (sys.executable, "-m", "hubctl")


def both(
    command: Sequence[str], environ: Mapping[str, str], stdin: str = ""
) -> list[subprocess.CompletedProcess[str]]:
    """What a fork says, and what Python says."""
    forked = launcher.run(list(command), stdin=stdin, timeout=TIMEOUT, cwd=ROOT, env=environ)
    plain = subprocess.run(
        command, input=stdin, capture_output=True, encoding="utf-8", cwd=ROOT, env=environ, check=False
    )
    return [forked, plain]


def start(command: list[str], **options: Any) -> subprocess.Popen[Any]:
    return launcher.popen(command, cwd=ROOT, env=QUIET_ENV, **options)


@pytest.mark.parametrize(
    ("arguments", "environ", "stdin"),
    [
        (("--version",), {}, ""),
        (("nonsense",), {}, ""),
        (("--help",), {"COLUMNS": "50"}, ""),
        (("status",), {"XDG_RUNTIME_DIR": "/nowhere"}, ""),
        (("rpc", "call", "hub.status", "-"), {}, "no JSON: Zoë"),
        (("list", "--socket", "/näh"), {"NO_COLOR": "1"}, ""),
    ],
    ids=["output", "usage", "width", "environment", "stdin", "texts"],
)
def test_a_fork_says_what_python_says(arguments: Sequence[str], environ: dict[str, str], stdin: str) -> None:
    assert launcher._can_fork(list(HUBCTL), {"cwd": ROOT, "env": QUIET_ENV | environ})
    forked, plain = both([*HUBCTL, *arguments], QUIET_ENV | environ, stdin)
    assert (forked.returncode, forked.stdout, forked.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_what_a_fork_cannot_write_at_its_end_it_says_as_python_does() -> None:
    ends = []
    for popen in (launcher.popen, subprocess.Popen):
        with open("/dev/full", "wb") as full:
            process = popen([*HUBCTL, "--help"], stdout=full, stderr=subprocess.PIPE, cwd=ROOT, env=QUIET_ENV)
            ends.append((process.communicate()[1], process.returncode))
    assert ends[0] == ends[1]
    assert ends[0] != (b"", 0)


def test_a_fork_is_a_child_with_its_own_files_and_ends_by_signals(hub: Hub) -> None:
    daemon = hub.process
    assert isinstance(daemon, launcher._Forked)
    files = Path(f"/proc/{daemon.pid}/fd")
    assert os.readlink(files / "2") == str(hub.folder / "hubd.log")
    inherited = kept_open()
    for each in files.iterdir():
        with suppress(FileNotFoundError):  # the daemon has closed it meanwhile
            assert os.readlink(each) not in inherited
    assert f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{daemon.pid}/status").read_text()
    daemon.send_signal(signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(daemon.pid, os.WUNTRACED)[1])
    daemon.kill()
    assert daemon.wait(TIMEOUT) == -signal.SIGKILL


def test_a_fork_on_a_terminal_is_what_python_is_there(
    on_terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*HUBCTL, "--help"]
    forked = on_terminal(command, QUIET_ENV)
    assert isinstance(forked.process, launcher._Forked)
    monkeypatch.setattr(launcher, "popen", subprocess.Popen)
    plain = on_terminal(command, QUIET_ENV)
    assert forked.rest() == plain.rest() != ""
    assert forked.process.returncode == plain.process.returncode == 0


def kept_open() -> set[str]:
    """Pipes and sockets of this process, which nobody else should have."""
    places = Path("/proc/self/fd")
    names = {os.readlink(path) for path in places.iterdir() if path.exists()}
    return {name for name in names if name.startswith(("pipe:", "socket:"))}


def test_ctrl_c_reaches_a_fork(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    command = hub.command("events", "--since", "0", "--follow", "--json")
    following = start(command, stdout=subprocess.PIPE, text=True)
    assert following.stdout is not None
    assert following.stdout.readline()
    following.send_signal(signal.SIGINT)
    assert following.wait(TIMEOUT) == 130
    following.stdout.close()


@pytest.mark.parametrize(
    "options",
    [
        {"cwd": Path("/")},
        {"env": QUIET_ENV | {"PYTHONIOENCODING": "ascii"}},
        {"env": QUIET_ENV | {"LD_PRELOAD": "failures.so"}},
        {"env": QUIET_ENV | {"LARGE": "x" * launcher.LONGEST}},
        {"preexec_fn": print, "start_new_session": True},
        {"start_new_session": True},
    ],
    ids=lambda options: ", ".join(options),
)
def test_what_a_fork_cannot_give_python_does(options: Mapping[str, Any]) -> None:
    assert not launcher._can_fork(list(HUBCTL), {"cwd": ROOT, "env": QUIET_ENV, **options})
