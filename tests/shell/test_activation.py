"""Sockets from the service manager: by number and name, for this process only, and nothing else is taken."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
#: Asks for its sockets and says what it got, what is left for children, and who may inherit the descriptors.
ASKING = """
import json, os, sys
from hubd.activation import inherited
from hubd.errors import HubError
try:
    found = inherited(os.environ)
except HubError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
print(json.dumps({
    "found": {name: [sock.fileno(), sock.getsockname()] for name, sock in found.items()},
    "inheritable": [os.get_inheritable(sock.fileno()) for sock in found.values()],
    "left": [name for name in os.environ if name.startswith("LISTEN_")],
}))
"""


def started(descriptors: list[int], environ: dict[str, str]) -> dict[str, object]:
    """Run `ASKING` in a process that has these descriptors as 3, 4, ...; `$$` is its own number."""
    setting = "".join(f"export {name}={value}; " for name, value in environ.items())
    moves = " ".join(f"{3 + index}<&{fd}" for index, fd in enumerate(descriptors))
    script = f'{setting}exec "$@" {moves}'
    done = subprocess.run(
        ["/bin/bash", "-c", script, "bash", sys.executable, "-c", ASKING],
        pass_fds=descriptors, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60,
    )  # fmt: skip
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def listening(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(str(path))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    # High numbers, so that the shell can move them to 3 and 4 in any order.
    return socket.socket(fileno=os.dup2(sock.detach(), 100 + len(os.listdir(path.parent))))


def test_both_sockets_come_by_name_and_nothing_is_left_for_children(tmp_path: Path) -> None:
    with listening(tmp_path / "c") as control, listening(tmp_path / "o") as observe:
        answer = started(
            [observe.fileno(), control.fileno()],
            {"LISTEN_PID": "$$", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "observe:control"},
        )
    assert answer == {
        "found": {"observe": [3, str(tmp_path / "o")], "control": [4, str(tmp_path / "c")]},
        "inheritable": [False, False],
        "left": [],
    }


@pytest.mark.parametrize("names", ["control", "hubd.socket", "unknown", ""])
def test_a_single_socket_is_the_control_socket_whatever_it_is_called(tmp_path: Path, names: str) -> None:
    with listening(tmp_path / "c") as control:
        environ = {"LISTEN_PID": "$$", "LISTEN_FDS": "1", "LISTEN_FDNAMES": names}
        answer = started([control.fileno()], environ)
    assert answer["found"] == {"control": [3, str(tmp_path / "c")]}


def test_a_lone_observer_socket_keeps_its_name(tmp_path: Path) -> None:
    """It must never become the one through which everything may be done."""
    with listening(tmp_path / "o") as observe:
        environ = {"LISTEN_PID": "$$", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "observe"}
        answer = started([observe.fileno()], environ)
    assert answer["found"] == {"observe": [3, str(tmp_path / "o")]}


def test_sockets_of_another_process_are_not_ours(tmp_path: Path) -> None:
    with listening(tmp_path / "c") as control:
        answer = started([control.fileno()], {"LISTEN_PID": "1", "LISTEN_FDS": "1"})
    assert answer["found"] == {}
    assert answer["left"] == []


def test_without_a_service_manager_there_are_none() -> None:
    assert started([], {})["found"] == {}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("control:control", "got 2 sockets whose names are not control and observe"),
        ("control", "got 2 sockets"),
        ("", "got 2 sockets"),
        ("control:http", "got 2 sockets"),
        ("control:observe:", "got 2 sockets"),
    ],
)
def test_names_that_say_nothing_are_refused(tmp_path: Path, names: str, says: str) -> None:
    with listening(tmp_path / "a") as one, listening(tmp_path / "b") as two:
        environ = {"LISTEN_PID": "$$", "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
        answer = started([one.fileno(), two.fileno()], environ)
    assert says in str(answer["error"])


@pytest.mark.parametrize("count", ["9" * 5000, "-1", "one", "²", "9"])
def test_a_count_that_is_wrong_is_refused(tmp_path: Path, count: str) -> None:
    with listening(tmp_path / "a") as one:
        environ = {"LISTEN_PID": "$$", "LISTEN_FDS": count, "LISTEN_FDNAMES": "control"}
        answer = started([one.fileno()], environ)
    assert "the inherited socket" in str(answer["error"])


def test_what_is_no_listening_unix_socket_is_refused(tmp_path: Path) -> None:
    """A file, a datagram socket, one that is not bound, TCP, and one without a file that has a mode."""
    environ = {"LISTEN_PID": "$$", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "control"}
    (tmp_path / "file").touch()
    with (tmp_path / "file").open() as file:
        assert "is not a socket" in str(started([os.dup2(file.fileno(), 120)], environ)["error"])
    with (
        listening(tmp_path / "d", socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as unbound,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        abstract.bind(f"\0{tmp_path}")
        abstract.listen()
        for sock in (datagrams, unbound, tcp, abstract):
            answer = started([os.dup2(sock.fileno(), 121)], environ)
            assert "does not listen on a unix socket" in str(answer["error"])
    os.close(120)
    os.close(121)


def test_systemds_own_tool_hands_over_two_named_sockets(tmp_path: Path) -> None:
    """systemd-socket-activate starts the program with the first connection."""
    program = shutil.which("systemd-socket-activate")
    assert program is not None, "systemd-socket-activate is missing: tests/run installs the package systemd"
    control, observe = tmp_path / "control.sock", tmp_path / "observe.sock"
    process = subprocess.Popen(
        [
            program, "-l", str(control), "-l", str(observe), "--fdname=control:observe",
            sys.executable, "-c", ASKING,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stderr is not None
    assert f"Listening on {control}" in process.stderr.readline()
    assert f"Listening on {observe}" in process.stderr.readline()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(control))
        out, _ = process.communicate(timeout=60)
    assert json.loads(out) == {
        "found": {"control": [3, str(control)], "observe": [4, str(observe)]},
        "inheritable": [False, False],
        "left": [],
    }
