"""A file system that cannot lock files, such as NFS without its lock service, is reported as such."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT
from tests.interposed import Interposed

#: hubd's control socket alone: its lock lies in the folder of the socket.
_SOCKET = """
import sys
from pathlib import Path
from hubd.control.listener import open_listener
from hubd.errors import HubError
try:
    with open_listener(Path(sys.argv[1])):
        print("open")
except HubError as error:
    print(error, error.hint, sep="|")
"""
_HUBD = ("-m", "hubd", "--state-dir")


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Interposed:
    return Interposed.controlled_in(tmp_path_factory.mktemp("flock"))


def without_locks(failures: Interposed, failure: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    failures.flock.write_text(str(failure))
    environ = {**QUIET_ENV, **failures.environment}
    return launcher.run([sys.executable, *arguments], timeout=TIMEOUT, cwd=ROOT, env=environ)


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL"])
def test_a_state_directory_without_locks_is_told_as_that(
    failures: Interposed, place: Path, name: str
) -> None:
    done = without_locks(failures, getattr(errno, name), *_HUBD, str(place / "state"))
    assert done.returncode == 73
    assert f"the file system of {place}/state does not support file locks" in done.stderr
    assert "choose a local disk with --state-dir" in done.stderr
    assert "another hubd" not in done.stderr


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL"])
def test_a_folder_for_the_socket_without_locks_is_told_as_that(
    failures: Interposed, place: Path, name: str
) -> None:
    done = without_locks(failures, getattr(errno, name), "-c", _SOCKET, str(place / "c.sock"))
    assert done.stdout == (
        f"socket: the file system of {place} does not support file locks|"
        "choose a path on a local disk with --socket\n"
    )
    assert os.listdir(place) == ["c.sock.lock"]


def test_another_failure_of_a_lock_is_told_with_its_reason(failures: Interposed, place: Path) -> None:
    done = without_locks(failures, errno.EIO, *_HUBD, str(place / "state"))
    assert done.returncode == 73
    assert f"files in {place}/state cannot be locked: {os.strerror(errno.EIO)}" in done.stderr


def test_a_lock_that_somebody_holds_is_still_told_as_another_hubd(place: Path) -> None:
    (place / "state").mkdir(mode=0o700)
    with (place / "state/hubd.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        command = [sys.executable, *_HUBD, str(place / "state")]
        done = launcher.run(command, timeout=TIMEOUT, cwd=ROOT, env=QUIET_ENV)
    assert (done.returncode, "another hubd" in done.stderr) == (75, True)
