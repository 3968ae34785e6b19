"""Places for connections: those of one user are counted, and silent ones are closed for newcomers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from hubd.client import open_client
from hubd.control import connection_limits
from hubd.control.connection_limits import ConnectionLimits
from hubd.control.gate import serve_control
from hubd.control.roles import Role
from hubd.errors import Unreachable
from tests.shell.open_hub import Served
from tests.shell.raw_client import head

STRANGER = 65534
MAX_OF_USER = (
    connection_limits.MAX_CONNECTIONS
    * connection_limits.MAX_TIMES_FREE
    // (connection_limits.MAX_TIMES_FREE + 1)
)
#: A program of another user: connects so often, says so much, tells how often it was let in, and stays.
CROWD = """
import os, socket, sys
count, said = int(sys.argv[1]), bytes.fromhex(sys.argv[2])
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
kept, inside = [], 0
for _ in range(count):
    kept.append(socket.socket(socket.AF_UNIX))
    kept[-1].connect("shared.sock")
    if said:
        kept[-1].sendall(said)
        inside += kept[-1].recv(12).endswith(b" 101")
print(inside, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket that every user may connect to, as a service manager makes it for a group."""
    (tmp_path / "shared").mkdir(mode=0o755)
    path = tmp_path / "shared" / "shared.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(path))
        path.chmod(0o666)
        sock.listen(128)
        yield sock


def connections_of_a_stranger(folder: Path, count: int, said: bytes) -> tuple[subprocess.Popen[str], int]:
    """Started in the folder of the socket, as the way to it is closed to others."""
    program = subprocess.Popen(
        [sys.executable, "-c", CROWD, str(count), said.hex()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip
    assert program.stdout is not None
    return program, int(program.stdout.readline())


@pytest.mark.parametrize(
    ("count", "said", "let_in"),
    [
        (2 * connection_limits.MAX_CONNECTIONS, b"", 0),
        (connection_limits.MAX_CONNECTIONS, head(), MAX_OF_USER),
    ],
    ids=["silent", "let in"],
)
async def test_the_connections_of_one_user_do_not_keep_another_out(
    served: Served, shared: socket.socket, tmp_path: Path, count: int, said: bytes, let_in: int
) -> None:
    """Only root can become another user; without root, only the same user is kept out."""
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, inherited={"control": shared}), None, served.hub)
        program, inside = await trio.to_thread.run_sync(
            connections_of_a_stranger, tmp_path / "shared", count, said
        )
        with program:
            assert inside == let_in
            path = tmp_path / "shared" / "shared.sock"
            if os.geteuid() == 0 or not said:
                async with open_client(path) as operator:
                    assert await operator.call("hub.status")
            else:
                with pytest.raises(Unreachable, match="busy"):
                    async with open_client(path):
                        pass
            assert program.stdin is not None
            program.stdin.close()
        nursery.cancel_scope.cancel()


def test_no_user_takes_all_places_whatever_comes_first() -> None:
    """Three users who take as many as they can leave one for a fourth."""
    counts = ConnectionLimits()
    with ExitStack() as stack:
        let_in = [
            [
                stack.enter_context(counts.inside(Role.OPERATOR, uid))
                for _ in range(connection_limits.MAX_CONNECTIONS)
            ]
            for uid in (1, 2, 3)
        ]
        assert [each.count(None) for each in let_in] == [MAX_OF_USER, 12, 3]
        with counts.inside(Role.OPERATOR, 4) as refusal:
            assert refusal is None


def test_viewers_of_one_user_leave_places_for_viewers_of_another() -> None:
    counts = ConnectionLimits()
    with ExitStack() as stack:
        let_in = [
            stack.enter_context(counts.inside(Role.VIEWER, 1))
            for _ in range(connection_limits.MAX_CONNECTIONS)
        ]
        assert let_in.count(None) == connection_limits.MAX_VIEWERS * 3 // 4
        with counts.inside(Role.VIEWER, 2) as refusal:
            assert refusal is None
        with counts.inside(Role.OPERATOR, 1) as refusal:
            assert refusal is None


async def test_a_newcomer_takes_the_place_of_the_oldest_silent_connection_of_its_user() -> None:
    counts = ConnectionLimits()
    with ExitStack() as stack:
        spoke, silent = (lambda: False), (lambda: True)
        mine = [stack.enter_context(counts.awaiting_request(spoke, 1))]
        for _ in range(connection_limits.MAX_OF_USER_AWAITING_REQUEST - 1):
            mine.append(stack.enter_context(counts.awaiting_request(silent, 1)))
        other = stack.enter_context(counts.awaiting_request(lambda: True, 2))
        stack.enter_context(counts.awaiting_request(lambda: True, 1))
        assert [number for number, scope in enumerate(mine) if scope.cancel_called] == [1]
        assert not other.cancel_called
