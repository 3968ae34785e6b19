"""Where things are: the config file, the state directory, the control socket, or what stands for it.

The rules of the XDG base directories on Linux, what `platformdirs` says elsewhere. All of it follows from the
arguments: command line options, and the environment as a mapping.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import platformdirs

APP = "messagehub"
SOCKET_NAME = "control.sock"


class _Elsewhere(Protocol):
    def __call__(self, appname: str, appauthor: Literal[False]) -> Path: ...


def config_path(flag: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    """hubd.toml: `--config`, `$HUBD_CONFIG`, else the user's own if there is one. None: use the defaults.

    A file that was named must exist, which is for the reader to find out; the user's own need not.
    """
    named = flag or environ.get("HUBD_CONFIG")
    if named:
        return Path(named)
    own = own_config(environ)
    return own if own.exists() else None


def own_config(environ: Mapping[str, str]) -> Path:
    """Where the user's own hubd.toml is, or would be."""
    return _xdg(environ, "XDG_CONFIG_HOME", ".config", platformdirs.user_config_path) / "hubd.toml"


def state_dir(flag: str | Path | None, environ: Mapping[str, str]) -> Path:
    """Where hub.db and outbox/ are: `--state-dir`, systemd's `$STATE_DIRECTORY`, else the user's own."""
    given = flag or environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd may list several
    return (
        Path(given)
        if given
        else _xdg(environ, "XDG_STATE_HOME", ".local/state", platformdirs.user_state_path)
    )


def socket_path(
    flag: str | Path | None, state_dir_flag: str | Path | None, environ: Mapping[str, str]
) -> Path:
    """The control socket: `--socket`, in the directory of `--state-dir`, else where clients look for it.

    That is `$XDG_RUNTIME_DIR/messagehub`, else systemd's `$RUNTIME_DIRECTORY` (/run/messagehub for a system
    service), else the state directory when a session has neither.
    """
    if flag:
        return Path(flag)
    if state_dir_flag:
        return Path(state_dir_flag) / SOCKET_NAME
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if Path(runtime).is_absolute():
        return Path(runtime) / APP / SOCKET_NAME
    service = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return (Path(service) if service else state_dir(None, environ)) / SOCKET_NAME


def loopback(text: str) -> tuple[str, int]:
    """A listener's address as it is written: "127.0.0.1:8765", "[::1]:0". Raises `ValueError` in words.

    "localhost" is not taken: what it stands for is up to a file.
    """
    host, _, port = text.rpartition(":")
    if host not in ("127.0.0.1", "[::1]"):
        raise ValueError("the address must be 127.0.0.1:PORT or [::1]:PORT: other machines must not reach it")
    if not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError("the port must be a number up to 65535; 0 means any free port")
    return host.strip("[]"), int(port)


def endpoint_path(
    flag: str | Path | None, environ: Mapping[str, str], platform: str = sys.platform
) -> Path | None:
    """The file with the address of the TCP listener and a token: `--endpoint`, else only where it is needed.

    That is on Windows, which has no unix sockets for us: `%LOCALAPPDATA%\\MessageHub`, or `%ProgramData%` for
    a service that has no folder of its own.
    """
    if flag:
        return Path(flag)
    if platform != "win32":
        return None
    folder = environ.get("LOCALAPPDATA") or environ.get("ProgramData") or ""
    return Path(folder) / "MessageHub" / "endpoint.json" if folder else None


def _xdg(environ: Mapping[str, str], variable: str, below_home: str, elsewhere: _Elsewhere) -> Path:
    """The application's folder in a base directory. A relative one counts as unset, as XDG says."""
    folder = environ.get(variable, "")
    if Path(folder).is_absolute():
        return Path(folder) / APP
    if not sys.platform.startswith("linux"):
        return elsewhere(APP, appauthor=False)
    home = environ.get("HOME", "")
    return (Path(home) if home else Path.home()) / below_home / APP
