"""Where the config, the state and the socket are looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hubd.places import config_path, socket_path, state_dir

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
