"""Users who could replace the file at a path, and what the daemon and its clients do about it."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from hubd.client import Place, connect, find_socket, open_client
from hubd.client.trust import tcp_server_uids
from hubd.config.file import load_config
from hubd.control.listener import endpoint_file, open_listener
from hubd.errors import BadConfig, BadInput, CredentialMissing, HubError, StoreUnusable, Unreachable
from hubd.ownership import find_weakness
from hubd.secrets import Place as SecretPlace
from hubd.secrets import SecretRef
from hubd.state_dir import make_state_dir
from tests import launcher
from tests.apps.conftest import ROOT, short_folder
from tests.shell.open_hub import open_hub

NOBODY, DAEMON = 65534, 1
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away and be another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of ours that everybody may look into."""
    with short_folder() as folder:
        folder.chmod(0o755)
        yield folder


def made(path: Path, mode: int = 0o755, uid: int = -1) -> Path:
    path.mkdir()
    os.chown(path, uid, -1)
    path.chmod(mode)
    return path


def linked(path: Path, target: Path | str, uid: int = -1) -> Path:
    path.symlink_to(target)
    os.lchown(path, uid, -1)
    return path


# -- the way to a path -------------------------------------------------------------------------------------


def problem(path: Path, also: tuple[int, ...] = ()) -> str:
    found = find_weakness(path, also=also)
    assert found is None or found.remedy
    return "" if found is None else found.problem


def test_a_path_below_folders_of_our_own_is_sound(folder: Path) -> None:
    made(folder / "a", 0o700)
    for path in ("a/x", "a/../a/x", "none/x"):
        assert problem(folder / path) == ""


def test_a_relative_path_is_judged_by_where_it_leads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made(folder / "open", 0o777))
    assert problem(Path("x")).startswith(f"the folder {folder}/open is writable by everybody")


@pytest.mark.parametrize("path", ["open/x", "open/in/x", "open/in/../in/x", "link/x"])
def test_a_folder_that_everybody_may_write_to_is_named(folder: Path, path: str) -> None:
    made(folder / "open", 0o777)
    made(folder / "open/in", 0o700)
    linked(folder / "link", "open/in")
    assert problem(folder / path).startswith(f"the folder {folder}/open is writable by everybody")


def test_a_folder_of_ours_in_a_sticky_one_is_ours(folder: Path) -> None:
    made(folder / "sticky", 0o1777)
    made(folder / "sticky/ours", 0o700)
    assert problem(folder / "sticky/ours/x") == ""
    assert problem(folder / "sticky/new") == ""


def test_links_that_go_in_circles_are_a_weakness(folder: Path) -> None:
    linked(folder / "a", "b")
    linked(folder / "b", "a")
    assert "cannot be checked" in problem(folder / "a/x")


@needs_root
@pytest.mark.parametrize("mode", [0o1777, 0o775], ids=["sticky", "of a group"])
def test_what_another_user_put_into_a_shared_folder_is_named(folder: Path, mode: int) -> None:
    shared = made(folder / "shared", mode)
    made(shared / "theirs", uid=NOBODY)
    made(folder / "ours")
    linked(shared / "link", folder / "ours", uid=NOBODY)
    for name in ("theirs", "link"):
        said = problem(shared / name / "x", also=(NOBODY,))
        assert said.startswith(f"{shared}/{name} belongs to another user (uid {NOBODY}), and anybody could")
        assert said.endswith(f"placed it in {shared}")


@needs_root
def test_a_folder_that_was_given_to_a_user_is_sound_if_that_user_was_meant(folder: Path) -> None:
    made(folder / "theirs", uid=NOBODY)
    made(folder / "theirs/in", uid=NOBODY)
    assert problem(folder / "theirs/in/x", also=(NOBODY,)) == ""
    said = problem(folder / "theirs/in/x")
    assert said.startswith(f"the folder {folder}/theirs belongs to another user (uid {NOBODY}), who can")
    assert said.endswith(f"replace {folder}/theirs/in")
    os.chown(folder / "theirs/in", DAEMON, -1)
    assert f"(uid {NOBODY})" in problem(folder / "theirs/in/x", also=(DAEMON,))


# -- clients -----------------------------------------------------------------------------------------------

_LISTENER = """
import os, socket, sys
kind, where, uid = sys.argv[1:]
os.setgroups([])
os.setgid(int(uid))
os.setuid(int(uid))
if kind == "unix":
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(where)
    os.chmod(where, 0o666)
else:
    sock = socket.create_server((kind, int(where)), family=socket.AF_INET6 if ":" in kind else socket.AF_INET,
                                dualstack_ipv6=kind == "::")
sock.listen()
print(sock.getsockname()[1] if kind != "unix" else where, flush=True)
taken, _ = sock.accept()
taken.settimeout(20)
print("got", taken.recv(100), flush=True)
"""


@contextmanager
def stranger(kind: str, where: Path | int, uid: int = NOBODY) -> Iterator[subprocess.Popen[str]]:
    """Another user's program that listens, and tells what the first caller says."""
    command = [sys.executable, "-c", _LISTENER, kind, str(where), str(uid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        yield listener
        listener.kill()


def told(listener: subprocess.Popen[str]) -> str:
    assert listener.stdout is not None
    return listener.stdout.readline().strip()


def refused(place: Path | Place) -> HubError:
    with pytest.raises(Unreachable) as caught, connect(place):
        pass
    assert caught.value.code == "permission_denied"
    assert "nothing was sent" in caught.value.hint
    return caught.value


@needs_root
@pytest.mark.parametrize("where", ["theirs/c.sock", "theirs/deep/c.sock", "link/c.sock", "c.sock"])
def test_nothing_is_sent_to_a_socket_that_anybody_could_have_made(folder: Path, where: str) -> None:
    sticky = made(folder / "sticky", 0o1777)
    made(sticky / "theirs", uid=NOBODY)
    made(sticky / "theirs/deep", uid=NOBODY)
    linked(sticky / "link", "theirs/deep", uid=NOBODY)
    with stranger("unix", sticky / where) as listener:
        assert told(listener) == str(sticky / where)
        error = refused(sticky / where)
        assert told(listener) == "got b''"
    assert f"(uid {NOBODY})" in str(error)
    assert f"anybody could have placed it in {sticky}" in str(error)


@needs_root
def test_whoever_owns_the_folder_of_a_socket_that_was_named_was_meant(folder: Path) -> None:
    theirs = made(folder / "theirs", uid=NOBODY)
    with stranger("unix", theirs / "c.sock") as listener:
        told(listener)
        with pytest.raises(Unreachable) as caught, connect(theirs / "c.sock"):
            pass
        assert caught.value.code == "disconnected", "it was asked, and hung up"
        assert "GET /rpc" in told(listener)


@needs_root
def test_a_runtime_directory_of_another_user_is_not_used_unless_it_is_named(folder: Path) -> None:
    """As after `sudo -E`: the variable is still that of the other user."""
    runtime = made(folder / "runtime", 0o700, uid=NOBODY)
    path = made(runtime / "messagehub", 0o700, uid=NOBODY) / "control.sock"
    place = find_socket(environ={"XDG_RUNTIME_DIR": str(runtime)})
    assert (place.path, place.found) == (path, True)
    with stranger("unix", path) as listener:
        told(listener)
        error = refused(place)
        assert told(listener) == "got b''"
    assert f"the folder {runtime} belongs to another user" in str(error)
    assert "pass it as --socket" in error.hint


@needs_root
def test_another_users_program_at_our_own_path_is_refused_by_who_listens(folder: Path) -> None:
    """The folder is ours; the socket's file was made by us, and what listens is not: the kernel says who."""
    place = made(folder / "ours", 0o777)
    with stranger("unix", place / "c.sock") as listener:
        told(listener)
        place.chmod(0o755)
        error = refused(place / "c.sock")
        assert told(listener) == "got b''"
    assert f"another user's program listens on it (uid {NOBODY})" in str(error)


async def test_a_socket_of_our_own_below_a_folder_open_to_all_is_refused(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served:
        os.chmod(tmp_path, 0o777)
        with pytest.raises(Unreachable) as caught:
            async with open_client(served.path):
                pass
        os.chmod(tmp_path, 0o700)
    assert caught.value.code == "permission_denied"
    assert f"chmod o-w {tmp_path}" in caught.value.hint


# -- clients of an endpoint file ---------------------------------------------------------------------------


def endpoint(path: Path, port: int, host: str = "127.0.0.1", uid: int = -1) -> Path:
    path.write_text(json.dumps({"url": f"ws://{host}:{port}/rpc", "token": "t0ken"}))
    path.chmod(0o600)
    os.chown(path, uid, -1)
    return path


@needs_root
@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_the_token_is_not_sent_to_another_user_who_has_the_port_now(folder: Path, bound: str) -> None:
    """A daemon that was killed leaves its endpoint file, and anybody can listen on its port."""
    with stranger(bound, 0) as listener:
        port = int(told(listener))
        error = refused(endpoint(folder / "e.json", port, "[::1]" if bound == "::1" else "127.0.0.1"))
        assert told(listener) == "got b''"
    assert f"another user's program (uid {NOBODY}) listens on port {port}" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_kernel_says_who_listens_on_a_port(host: str) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    async with await trio.open_tcp_stream(host, listener.socket.getsockname()[1]) as stream:
        assert os.getuid() in tcp_server_uids(stream.socket)
        async with await listener.accept():
            assert tcp_server_uids(stream.socket) == {os.getuid()}
    await listener.aclose()


@needs_root
@pytest.mark.parametrize("name", ["e.json", "theirs/e.json"])
def test_an_endpoint_file_that_anybody_could_have_made_is_not_used(folder: Path, name: str) -> None:
    sticky = made(folder / "sticky", 0o1777)
    made(sticky / "theirs", uid=NOBODY)
    with stranger("127.0.0.1", 0) as listener:
        error = refused(endpoint(sticky / name, int(told(listener)), uid=NOBODY))
    assert "the endpoint file" in str(error)
    assert f"anybody could have placed it in {sticky}" in str(error)


@needs_root
def test_a_token_file_that_anybody_could_have_made_is_not_used(folder: Path) -> None:
    sticky = made(folder / "sticky", 0o1777)
    token = made(sticky / "theirs", uid=NOBODY) / "token"
    token.write_text("t0ken")
    token.chmod(0o600)
    place = Place(path=endpoint(folder / "e.json", 1), endpoint=True, token_file=token)
    assert "the token file" in str(refused(place))


# -- the daemon --------------------------------------------------------------------------------------------


def open_to_all(folder: Path) -> Path:
    return made(made(folder / "open", 0o777) / "in", 0o700)


def squatted(folder: Path) -> Path:
    return made(made(folder / "sticky", 0o1777) / "hub", uid=NOBODY)


UNSAFE = [
    pytest.param(open_to_all, "writable by everybody", id="open to all"),
    pytest.param(squatted, "anybody could have placed it", id="squatted", marks=needs_root),
]
Unsafe = Callable[[Path], Path]


@pytest.mark.parametrize(("unsafe", "words"), UNSAFE)
def test_no_socket_is_made_where_others_could_replace_it(folder: Path, unsafe: Unsafe, words: str) -> None:
    place = unsafe(folder)
    with pytest.raises(BadInput, match=words) as caught, open_listener(place / "c.sock"):
        pass
    assert "with --socket" in caught.value.hint
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("unsafe", "words"), UNSAFE)
def test_no_token_is_written_where_others_could_replace_it(folder: Path, unsafe: Unsafe, words: str) -> None:
    place = unsafe(folder)
    with pytest.raises(BadInput, match=words), endpoint_file(place / "e.json", {"token": "t0ken"}):
        pass
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("unsafe", "words"), UNSAFE)
def test_no_state_is_kept_where_others_could_replace_it(folder: Path, unsafe: Unsafe, words: str) -> None:
    place = unsafe(folder)
    for state in (place, place / "state"):
        with pytest.raises(StoreUnusable, match=words) as caught:
            make_state_dir(state)
        assert (caught.value.exit_status, "with --state-dir" in caught.value.hint) == (77, True)
    assert list(place.iterdir()) == []


@needs_root
def test_a_state_directory_of_another_user_is_refused(folder: Path) -> None:
    theirs = made(folder / "theirs", uid=NOBODY)
    with pytest.raises(StoreUnusable, match=f"the folder {theirs} belongs to another user"):
        make_state_dir(theirs)


@needs_root
def test_a_socket_that_another_user_left_in_a_shared_folder_is_refused_in_words(folder: Path) -> None:
    sticky = made(folder / "sticky", 0o1777)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(sticky / "c.sock"))
    os.chown(sticky / "c.sock", NOBODY, -1)
    with pytest.raises(BadInput, match="belongs to another user"), open_listener(sticky / "c.sock"):
        pass
    assert stat.S_ISSOCK((sticky / "c.sock").stat().st_mode)


@needs_root
def test_a_lock_that_another_user_left_in_a_shared_folder_is_refused_in_words(folder: Path) -> None:
    sticky = made(folder / "sticky", 0o1777)
    (sticky / "c.sock.lock").touch()
    os.chown(sticky / "c.sock.lock", NOBODY, -1)
    with pytest.raises(BadInput), open_listener(sticky / "c.sock"):
        pass


@pytest.mark.parametrize(("unsafe", "words"), UNSAFE)
@pytest.mark.parametrize("name", ["hubd.toml", "hubd.toml.d/10.toml"])
def test_no_configuration_is_read_where_others_could_replace_it(
    folder: Path, unsafe: Unsafe, words: str, name: str
) -> None:
    place = unsafe(folder)
    (place / name).parent.mkdir(exist_ok=True)
    for file in ("hubd.toml", name):
        (place / file).write_text('[hub]\nlog_level = "info"\n')
    with pytest.raises(BadConfig, match=words):
        load_config(place / "hubd.toml")


@pytest.mark.parametrize("name", ["hubd.toml", "hubd.toml.d/10.toml"])
def test_a_configuration_that_everybody_may_write_is_refused(folder: Path, name: str) -> None:
    (folder / "hubd.toml.d").mkdir()
    (folder / "hubd.toml").touch()
    (folder / name).touch()
    load_config(folder / "hubd.toml")
    (folder / name).chmod(0o666)
    with pytest.raises(BadConfig, match="is writable by everybody") as caught:
        load_config(folder / "hubd.toml")
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize(("unsafe", "words"), UNSAFE)
def test_no_secret_is_read_where_others_could_replace_it(folder: Path, unsafe: Unsafe, words: str) -> None:
    place = unsafe(folder)
    (place / "office.pass").write_text("hunter2\n")
    (place / "office.pass").chmod(0o600)
    with pytest.raises(CredentialMissing, match=words) as caught:
        SecretRef(SecretPlace.FILE, "office.pass").resolve(place)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(("unsafe", "words"), UNSAFE)
def test_no_context_is_taken_from_a_file_that_others_could_replace(
    folder: Path, unsafe: Unsafe, words: str
) -> None:
    place = unsafe(folder)
    (place / "hubctl.toml").write_text('[contexts.shop]\nsocket = "/nowhere/c.sock"\n')
    command = [
        sys.executable,
        "-m",
        "hubctl",
        "--config",
        str(place / "hubctl.toml"),
        "--context",
        "shop",
        "list",
    ]
    done = launcher.run(command, timeout=60, cwd=ROOT)
    assert done.returncode == 4
    assert words in done.stderr
    (place / "hubctl.toml").rename(folder / "hubctl.toml")
    command[4] = str(folder / "hubctl.toml")
    assert launcher.run(command, timeout=60, cwd=ROOT).returncode == 6
    (folder / "hubctl.toml").chmod(0o666)
    done = launcher.run(command, timeout=60, cwd=ROOT)
    assert (done.returncode, "writable by everybody" in done.stderr) == (4, True)
