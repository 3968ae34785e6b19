"""By which way a client gets in: the socket for viewers, whose program listens, how it would be started."""

from __future__ import annotations

import grp
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from hubd.client import Place, connect, open_client
from hubd.client.starting import start_command
from hubd.client.trust import distrust, server_uid, trusted_users
from hubd.control.gate import serve_control
from hubd.errors import HubError, Unreachable
from hubd.wire.places import SYSTEM_SOCKET
from tests.apps.conftest import ROOT, short_folder
from tests.shell.open_hub import open_hub
from tests.shell.test_tcp import serve

pytestmark = pytest.mark.slow

NOBODY = 65534


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder in which everybody may look for a socket."""
    with short_folder() as folder:
        folder.chmod(0o755)
        yield folder


@contextmanager
def listening(path: Path, mode: int, backlog: int = 128) -> Iterator[socket.socket]:
    """A socket as a service manager makes it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(path))
        path.chmod(mode)
        sock.listen(backlog)
        yield sock


# -- a socket at which too many wait ------------------------------------------------------------------------


async def test_a_socket_at_which_too_many_wait_is_told_as_one_that_does_not_answer(tmp_path: Path) -> None:
    with listening(tmp_path / "hubd.sock", 0o600, backlog=0) as sock, ExitStack() as stack:
        fill(sock, stack)
        with pytest.raises(Unreachable) as caught:
            async with open_client(tmp_path / "hubd.sock", timeout=0.2):
                pass
    assert caught.value.code == "timeout"


async def test_who_comes_while_too_many_wait_at_the_socket_waits_too(tmp_path: Path) -> None:
    path = tmp_path / "hubd.sock"
    with listening(path, 0o600, backlog=0) as sock, ExitStack() as stack:
        fill(sock, stack)
        async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:

            async def come() -> None:
                async with open_client(path, timeout=20) as hub:
                    assert await hub.call("hub.status")
                nursery.cancel_scope.cancel()

            nursery.start_soon(come)
            await trio.testing.wait_all_tasks_blocked()
            await nursery.start(partial(serve_control, None, served.hub, inherited={"control": sock}))


def fill(listener: socket.socket, stack: ExitStack) -> None:
    """Connect to it until nobody else can, for as long as the stack lasts."""
    full = False
    while not full:
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.setblocking(False)
        full = sock.connect_ex(listener.getsockname()) != 0


# -- the socket for viewers --------------------------------------------------------------------------------

_LOOK = """
import encodings.idna, grp, os, sys  # all of it now: nobody may not read root's interpreter
from pathlib import Path
from hubd.client import Place, connect
from hubd.errors import HubError
if os.getuid() == 0:  # root may open everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
control, viewers = map(Path, sys.argv[1:])
try:
    with connect(Place(path=control, viewers=viewers)) as hub:
        print(hub.hello["role"], hub.call("hub.status")["trouble"])
        hub.call("hub.reload")
except HubError as error:
    print(error.code, "|", error, "|", error.hint)
"""


async def look(control: Path, viewers: Path) -> list[str]:
    """What somebody who is not in the operators' group gets to see."""
    command = [sys.executable, "-c", _LOOK, str(control), str(viewers)]
    done = await trio.run_process(command, capture_stdout=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize("control_is", ["not yours to use", "not there"])
async def test_who_may_not_operate_looks_on_through_the_socket_for_viewers(
    tmp_path: Path, open_folder: Path, control_is: str
) -> None:
    control, viewers = open_folder / "control.sock", open_folder / "observe.sock"
    async with open_hub(tmp_path) as served:
        with listening(viewers, 0o666) as observing, listening(open_folder / "x", 0) as closed:
            if control_is == "not yours to use":
                (open_folder / "x").rename(control)
            async with serve(served, tmp_path, inherited={"control": closed, "observe": observing}):
                told = await look(control, viewers)
    assert told[0] == "viewer "
    assert told[1].startswith("forbidden | ")
    assert f"; you have read-only access through {viewers}, because {control} is {control_is}; " in told[1]
    way_out = {
        "not yours to use": "run it as the user who runs hubd",
        "not there": f"hubd --socket {control}",
    }
    assert told[1].endswith(way_out[control_is])


async def test_who_may_neither_operate_nor_look_on_is_told_of_the_control_socket(open_folder: Path) -> None:
    control, viewers = open_folder / "control.sock", open_folder / "observe.sock"
    group = os.getgid()
    with listening(control, 0o060), listening(viewers, 0):
        (told,) = await look(control, viewers)
    assert told.startswith(f"permission_denied | you may not use the socket at {control} | you are uid ")
    assert f"its group is {grp.getgrgid(group).gr_name}: usermod -aG" in told


async def test_with_neither_socket_there_the_control_socket_is_missing(tmp_path: Path) -> None:
    place = Place(path=tmp_path / "control.sock", viewers=tmp_path / "observe.sock")
    with pytest.raises(Unreachable) as caught:
        async with open_client(place):
            pass
    assert caught.value.code == "socket_missing"


async def test_a_socket_for_viewers_is_not_taken_when_the_other_one_works(tmp_path: Path) -> None:
    path = tmp_path / "s" / "control.sock"
    async with open_hub(tmp_path), open_client(Place(path=path, viewers=tmp_path / "none")) as hub:
        assert hub.hello["role"] == "operator"
        assert hub.reached.describe() == f"{path} (found there)"


# -- whose program listens ---------------------------------------------------------------------------------

_LISTEN = """
import os, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
os.setuid(65534)
sock.listen()
print("listening", flush=True)
taken, _ = sock.accept()
print("got", taken.recv(100), flush=True)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="another user's program can only be started by root")
def test_nothing_is_sent_to_a_program_of_another_user(open_folder: Path) -> None:
    path = open_folder / "control.sock"
    command = [sys.executable, "-c", _LISTEN, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listening\n"
        with pytest.raises(Unreachable) as caught, connect(path):
            pass
        assert listener.stdout.readline() == "got b''\n"
    assert caught.value.code == "permission_denied"
    assert "another user's program" in str(caught.value)


def test_who_may_be_behind_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    for named in (True, False):
        assert {0, os.getuid()} <= trusted_users(path, named=named)
        assert distrust(os.getuid(), path, named=named, stranger="x") is None
    stranger = distrust(54_321, path, named=True, stranger="it is not ours")
    assert stranger is not None
    assert stranger.problem == "it is not ours (uid 54321)"
    assert distrust(54_321, tmp_path / "none" / "control.sock", named=True, stranger="x") is not None
    assert distrust(None, path, named=True, stranger="x") is not None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_who_owns_the_folder_may_be_behind_the_socket(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, -1)
    path = tmp_path / "control.sock"
    assert distrust(NOBODY, path, named=True, stranger="x") is None
    assert distrust(NOBODY, path, named=False, stranger="x") is not None, "nobody meant that user"


@pytest.mark.parametrize("platform", ["linux", "darwin"])
async def test_who_listens_is_known_also_where_the_kernel_does_not_say(tmp_path: Path, platform: str) -> None:
    path = tmp_path / "c.sock"
    with listening(path, 0o600):
        async with await trio.open_unix_socket(path) as stream:
            assert server_uid(stream.socket, path, platform) == os.getuid()
            path.unlink()
            expected = os.getuid() if platform == "linux" else None
            assert server_uid(stream.socket, path, platform) == expected


# -- how it would be started -------------------------------------------------------------------------------


def unit(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "hubd.service").touch()


def test_how_a_daemon_is_started_that_no_service_runs(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    own = tmp_path / ".local/state/messagehub/control.sock"
    assert start_command(Place(path=own), environ, root=tmp_path) == "hubd"
    assert start_command(Place(path=own, chosen="$HUBCTL_SOCKET"), environ, root=tmp_path) == "hubd"
    other = Place(path=Path("/srv/my hub/c.sock"), chosen="--socket")
    assert start_command(other, environ, root=tmp_path) == "hubd --socket '/srv/my hub/c.sock'"
    endpoint = Place(path=Path("/srv/e.json"), chosen="--socket", endpoint=True)
    assert start_command(endpoint, environ, root=tmp_path) == "hubd --endpoint /srv/e.json"
    windows = {"LOCALAPPDATA": str(tmp_path)}
    found = Place(path=tmp_path / "MessageHub/endpoint.json", endpoint=True)
    assert start_command(found, windows, root=tmp_path) == "hubd"


@pytest.mark.parametrize("by", ["", "--socket", "context system"])
def test_the_systems_daemon_is_started_by_the_system(tmp_path: Path, by: str) -> None:
    for path in (SYSTEM_SOCKET, SYSTEM_SOCKET.with_name("observe.sock")):
        assert start_command(Place(path=path, chosen=by), {}, root=tmp_path) == "systemctl start hubd"


@pytest.mark.parametrize(
    ("folder", "variable"),
    [
        (".config/systemd/user", ""),
        ("c/systemd/user", "XDG_CONFIG_HOME"),
        (".local/share/systemd/user", ""),
        ("etc/systemd/user", ""),
        ("usr/lib/systemd/user", ""),
    ],
)
def test_a_daemon_with_a_unit_of_the_user_is_started_by_it(
    tmp_path: Path, folder: str, variable: str
) -> None:
    environ = {"HOME": str(tmp_path), **({variable: str(tmp_path / "c")} if variable else {})}
    unit(tmp_path / folder)
    own = tmp_path / ".local/state/messagehub/control.sock"
    for by in ("", "context user"):
        started = start_command(Place(path=own, chosen=by), environ, root=tmp_path)
        assert started == "systemctl --user start hubd"
    other = Place(path=tmp_path / "c.sock", chosen="--socket")
    assert start_command(other, environ, root=tmp_path).startswith("hubd --socket")


def test_where_only_the_system_has_a_unit_it_is_the_one_that_was_meant(tmp_path: Path) -> None:
    unit(tmp_path / "etc/systemd/system")
    environ = {"HOME": str(tmp_path)}
    own = tmp_path / ".local/state/messagehub/control.sock"
    assert start_command(Place(path=own), environ, root=tmp_path) == "systemctl start hubd"
    assert start_command(Place(path=own, chosen="context user"), environ, root=tmp_path) == "hubd"


# -- another version ---------------------------------------------------------------------------------------


async def test_with_any_version_the_skew_is_told_and_two_methods_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a client of a later release, which speaks another protocol over the same websocket."""
    monkeypatch.setattr("hubd.client.opening.PROTOCOL", 2)
    async with open_hub(tmp_path) as served:
        with pytest.raises(HubError) as caught:
            async with open_client(served.path, client=("shop", "9.1")):
                pass
        assert (caught.value.code, caught.value.data["protocol"]) == ("protocol_unsupported", [1])
        assert str(caught.value) == "shop 9.1 speaks protocol 2; " + (
            "the daemon is version 0.0.1 and speaks protocol 1"
        )
        async with open_client(served.path, any_version=True) as hub:
            assert str(hub.skew).startswith("python speaks protocol 2")
            assert (await hub.call("hub.status"))["version"] == "0.0.1"
            with pytest.raises(HubError) as refused:
                await hub.call("campaign.list")
            assert refused.value.code == "handshake_required"
            await hub.call("hub.shutdown")
        assert served.stopped.is_set()
