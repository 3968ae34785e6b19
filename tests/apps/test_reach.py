"""Each way in which the daemon cannot be reached has a message of its own, with the next step."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT

HELLO = b"HTTP/1.1 "


@contextmanager
def answering(path: Path, answer: bytes | None) -> Iterator[None]:
    """A listener that gives every connection the same answer; None: it never says anything."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        over = threading.Event()

        def serve() -> None:
            taken, _ = listener.accept()
            with taken:
                if answer is None:
                    over.wait(TIMEOUT)
                    return
                taken.recv(65536)
                taken.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield
        finally:
            over.set()
            server.join(TIMEOUT)


@contextmanager
def missing(path: Path) -> Iterator[None]:
    """Nothing is there."""
    yield


@contextmanager
def left_behind(path: Path) -> Iterator[None]:
    """A socket that nobody listens at."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    yield


@contextmanager
def a_file(path: Path) -> Iterator[None]:
    """A file that is no socket."""
    path.write_text("hello")
    yield


@contextmanager
def a_folder_is_a_file(path: Path) -> Iterator[None]:
    """The folder of the socket is none."""
    path.parent.joinpath("x").write_text("")
    yield


def says(status: str, words: str = "", *headers: str) -> Callable[[Path], object]:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(words)}", "", words])
    return lambda path: answering(path, head.encode())


WAYS: dict[str, tuple[Callable[[Path], object], int, str, str]] = {
    "missing": (missing, 6, "socket_missing", "hubd is not running: no socket at"),
    "left behind": (left_behind, 6, "refused", "is left over from an earlier one"),
    "no socket": (a_file, 6, "refused", "is left over"),
    "another program": (lambda path: answering(path, b"220 mail ESMTP\r\n"), 6, "not_hubd", "is not hubd"),
    "a web server": (says("404 Not Found", "nope"), 6, "not_hubd", "is not hubd"),
    "not let in": (says("403 Forbidden", "not you"), 4, "permission_denied", "refused you: not you"),
    "busy": (says("503 Service Unavailable", "too many"), 6, "busy", "is busy: too many"),
    "silent": (lambda path: answering(path, None), 6, "timeout", "hubd does not answer at"),
    "another protocol": (
        says("400 Bad Request", "speak hub.jsonrpc.v9"),
        8,
        "protocol_unsupported",
        "hub.jsonrpc.v9",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_not_reaching_it_is_told_apart(place: Path, way: str) -> None:
    prepare, exit_code, code, words = WAYS[way]
    path = place / "s"
    command = [sys.executable, "-m", "hubctl", "--socket", str(path), "--timeout", "2s", "status"]
    with prepare(path):  # type: ignore[attr-defined]  # each is a context manager
        done = launcher.run([*command, "--json"], timeout=TIMEOUT, cwd=ROOT, env=QUIET_ENV)
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"]) == (exit_code, code), error
    assert words in error["message"]
    assert str(path) in error["message"] or way == "another protocol"
    assert error["hint"], "each comes with the next step"
    assert done.stdout == ""


def test_a_time_limit_that_passes_before_the_daemon_answers_is_not_work_that_goes_on(place: Path) -> None:
    with answering(place / "s", None):
        done = launcher.run(
            [sys.executable, "-m", "hubctl", "--socket", str(place / "s"), "--timeout", "300ms", "status"],
            timeout=TIMEOUT,
            cwd=ROOT,
            env=QUIET_ENV,
        )
    assert done.returncode == 6
    assert "does not answer" in done.stderr
    assert "the work continues" not in done.stderr
