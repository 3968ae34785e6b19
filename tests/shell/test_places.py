"""Where the daemon puts its things, and where a client looks for the daemon."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hubd.__main__ import option_parser
from hubd.places import config_path, endpoint_path, socket_path, state_dir
from hubd.wire.places import SYSTEM_SOCKET, Place, find_socket, place_at

HOME = {"HOME": "/home/ann"}
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG directories")


def test_the_config_is_where_it_was_named(tmp_path: Path) -> None:
    own = tmp_path / "messagehub" / "hubd.toml"
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert config_path(None, environ) is None
    own.parent.mkdir()
    own.touch()
    assert config_path(None, environ) == own
    assert config_path(None, {**environ, "HUBD_CONFIG": "/etc/hub.toml"}) == Path("/etc/hub.toml")
    assert config_path("my.toml", {**environ, "HUBD_CONFIG": "/etc/hub.toml"}) == Path("my.toml")


@linux_only
@pytest.mark.parametrize(
    ("flag", "environ", "where"),
    [
        ("x", {"STATE_DIRECTORY": "/var/lib/messagehub"}, "x"),
        (None, {"STATE_DIRECTORY": "/var/lib/messagehub"}, "/var/lib/messagehub"),
        (None, {"STATE_DIRECTORY": "/var/lib/messagehub:/var/lib/more"}, "/var/lib/messagehub"),
        (None, {"XDG_STATE_HOME": "/data/state"}, "/data/state/messagehub"),
        (None, {"XDG_STATE_HOME": "relative", **HOME}, "/home/ann/.local/state/messagehub"),
        (None, HOME, "/home/ann/.local/state/messagehub"),
    ],
)
def test_where_the_state_is(flag: str | None, environ: dict[str, str], where: str) -> None:
    assert state_dir(flag, environ) == Path(where)


@linux_only
@pytest.mark.parametrize(
    ("flag", "state_flag", "environ", "where"),
    [
        ("x.sock", "d", {"XDG_RUNTIME_DIR": "/run/user/1"}, "x.sock"),
        (None, "d", {"XDG_RUNTIME_DIR": "/run/user/1"}, "d/control.sock"),
        (None, None, {"XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1/messagehub/control.sock"),
        (None, None, {"RUNTIME_DIRECTORY": "/run/messagehub"}, "/run/messagehub/control.sock"),
        (None, None, HOME, "/home/ann/.local/state/messagehub/control.sock"),
    ],
)
def test_where_the_socket_is(
    flag: str | None, state_flag: str | None, environ: dict[str, str], where: str
) -> None:
    assert socket_path(flag, state_flag, environ) == Path(where)


# -- where a client looks ----------------------------------------------------------------------------------


def test_the_order_of_places(tmp_path: Path) -> None:
    users = tmp_path / "messagehub" / "control.sock"
    environ = {"HUBCTL_SOCKET": "/a.sock", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert find_socket("/b.sock", environ).path == Path("/b.sock")
    assert find_socket(None, environ).path == Path("/a.sock")
    assert find_socket("", {"XDG_RUNTIME_DIR": str(tmp_path)}).path == users
    assert find_socket(None, {}).path == SYSTEM_SOCKET


def test_the_state_directory_comes_after_the_runtime_directory(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "HOME": str(tmp_path)}
    system, viewers = tmp_path / "etc/control.sock", tmp_path / "etc/observe.sock"
    state = tmp_path / ".local/state/messagehub/control.sock"
    run = tmp_path / "run/messagehub/control.sock"
    assert find_socket(None, environ, system=system) == Place(path=run, tried=(run, state, system, viewers))
    state.parent.mkdir(parents=True)
    state.touch()
    assert find_socket(None, environ, system=system).path == state
    run.parent.mkdir(parents=True)
    run.touch()
    assert find_socket(None, environ, system=system).path == run
    other = tmp_path / "s/messagehub/control.sock"
    assert find_socket(None, {**environ, "XDG_STATE_HOME": str(tmp_path / "s")}).tried[1] == other
    assert find_socket(None, {**environ, "XDG_STATE_HOME": "s", "XDG_RUNTIME_DIR": "r"}).path == state


@pytest.mark.parametrize("there", ["control.sock", "observe.sock"])
def test_the_systems_socket_for_viewers_belongs_to_the_systems_only(tmp_path: Path, there: str) -> None:
    """One of the two is enough to know that the system has a daemon; the user's own still comes first."""
    system = tmp_path / "run/control.sock"
    system.parent.mkdir()
    system.with_name(there).touch()
    environ = {"HOME": str(tmp_path)}
    found = find_socket(None, environ, system=system)
    assert (found.path, found.viewers) == (system, system.with_name("observe.sock"))
    own = tmp_path / ".local/state/messagehub/control.sock"
    own.parent.mkdir(parents=True)
    own.touch()
    found = find_socket(None, environ, system=system)
    assert (found.path, found.viewers) == (own, None)
    assert find_socket(str(system), environ, system=system).viewers is None, "it was named: nothing else is"


def test_a_path_that_ends_in_json_is_an_endpoint_file() -> None:
    environ = {"HUBCTL_TOKEN_FILE": "/t"}
    place = Place(path=Path("/e.json"), tried=(Path("/e.json"),), endpoint=True, token_file=Path("/t"))
    assert place_at("/e.json", environ=environ) == place
    assert find_socket("/e.json", environ).endpoint
    assert find_socket(None, {"HUBCTL_SOCKET": "/e.json"}).endpoint
    unix = place_at("/e.sock", environ=environ)
    assert (unix.endpoint, unix.token_file) == (False, None), "the kernel says who calls"


def test_on_windows_the_endpoint_file_is_where_the_daemon_writes_it(tmp_path: Path) -> None:
    environ = {"LOCALAPPDATA": str(tmp_path / "own"), "ProgramData": str(tmp_path / "all")}
    own = endpoint_path(None, environ, "win32")
    service = endpoint_path(None, {"ProgramData": str(tmp_path / "all")}, "win32")
    assert own is not None
    assert service is not None
    found = find_socket(None, environ, platform="win32")
    assert (found.path, found.tried, found.endpoint) == (own, (own, service), True)
    service.parent.mkdir(parents=True)
    service.touch()
    assert find_socket(None, environ, platform="win32").path == service
    assert find_socket("C:/x", environ, platform="win32").endpoint, "there is nothing else"
    assert find_socket(None, {}, platform="win32").path.is_relative_to("C:/ProgramData")


@pytest.mark.parametrize("option", ["config", "state-dir", "socket", "observe", "endpoint", "restore"])
def test_an_empty_path_is_refused_and_stands_for_no_default(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        option_parser().parse_args([f"--{option}", ""])
    assert ended.value.code == 64
    assert f"argument --{option}: the path is empty" in capsys.readouterr().err
