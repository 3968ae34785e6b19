"""hubctl and hubd that were not installed together: both are named, stdout is data, hubd can be replaced."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, short_folder

#: hubd, or hubctl, that speaks another protocol, and only that one.
OTHER_PROTOCOL = """
import sys
import hubd.wire
hubd.wire.PROTOCOL = 99
from {module} import {name}
{call}
"""
HUBD = OTHER_PROTOCOL.format(module="hubd.__main__", name="main", call="main(sys.argv[1:])")
HUBCTL = OTHER_PROTOCOL.format(module="hubctl.cli", name="hubctl", call="hubctl.main(sys.argv[1:])")
#: hubd of another release that speaks the same protocol.
OTHER_RELEASE = """
import sys
import hubd
hubd.__version__ = "99.0"
from hubd.__main__ import main
main(sys.argv[1:])
"""


THIS = "import sys; from {module} import {name}; {call}"
THIS_HUBD = THIS.format(module="hubd.__main__", name="main", call="main(sys.argv[1:])")
THIS_HUBCTL = THIS.format(module="hubctl.cli", name="hubctl", call="hubctl.main(sys.argv[1:])")

skewed = pytest.mark.parametrize(
    ("hubd", "hubctl"),
    [
        pytest.param(HUBD, THIS_HUBCTL, id="a newer daemon"),
        pytest.param(THIS_HUBD, HUBCTL, id="a newer command line"),
    ],
)


@contextmanager
def running(program: str) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A daemon; its socket and its process."""
    with short_folder() as folder:
        (folder / "hubd.toml").touch()
        path = folder / "state" / "control.sock"
        process = subprocess.Popen(
            [
                sys.executable, "-c", program,
                "--config", str(folder / "hubd.toml"), "--state-dir", str(folder / "state"),
            ],
            stderr=subprocess.DEVNULL, cwd=ROOT, env=QUIET_ENV,
        )  # fmt: skip
        try:
            end = time.monotonic() + TIMEOUT
            with socket.socket(socket.AF_UNIX) as probe:
                while probe.connect_ex(str(path)) != 0:
                    assert process.poll() is None, "hubd ended"
                    assert time.monotonic() < end, "hubd did not come up"
                    time.sleep(0.02)  # another process: there is no event to wait on
            yield path, process
        finally:
            process.kill()
            process.wait(TIMEOUT)


def run(program: str, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, "--socket", str(path), *arguments],
        capture_output=True, text=True, cwd=ROOT, env=QUIET_ENV, timeout=TIMEOUT, check=False,
    )  # fmt: skip


@skewed
def test_a_daemon_of_another_protocol_is_named_with_exit_code_8_and_can_be_shut_down(
    hubd: str, hubctl: str
) -> None:
    with running(hubd) as (path, process):
        for arguments in (("status",), ("list",), ("pause", "spring"), ("log",)):
            done = run(hubctl, path, *arguments, "--json")
            assert (done.returncode, done.stdout) == (8, ""), (arguments, done.stderr)
            error = json.loads(done.stderr)["error"]
            assert error["code"] == "protocol_unsupported"
            assert "protocol 1" in error["message"]
            assert "protocol 99" in error["message"]
            assert error["hint"]
        assert process.poll() is None
        found = run(hubctl, path, "daemon", "status", "--json")
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout)["pid"] == process.pid
        done = run(hubctl, path, "daemon", "shutdown", "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["schema"] == "hubctl.daemon.shutdown/1"
        assert process.wait(TIMEOUT) == 0


def test_with_another_release_of_the_same_protocol_everything_works_and_stdout_is_data_alone() -> None:
    with running(OTHER_RELEASE) as (path, _):
        for arguments in (("status",), ("daemon", "status"), ("list",), ("provider", "list")):
            done = run(THIS_HUBCTL, path, *arguments, "--json", "-v")
            assert done.returncode == 0, (arguments, done.stderr)
            assert json.loads(done.stdout)["schema"].startswith("hubctl.")
            assert "hubd 99.0" in done.stderr, "who wants to know which, is told beside the data"
