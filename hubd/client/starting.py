"""How to start a daemon that is not running: by its service if there is one, else by hand."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from hubd.wire.places import SYSTEM_SOCKET, VIEWERS_NAME, Place, default_endpoints, users_sockets

_UNIT = "hubd.service"
_BY_SYSTEM = "systemctl start hubd"
_BY_USER = "systemctl --user start hubd"
#: Where systemd looks for units of packages and administrators, systemd.unit(5).
_ROOTS = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd")


def start_command(place: Place, environ: Mapping[str, str] = os.environ, *, root: Path = Path("/")) -> str:
    """The command that starts the daemon which would listen at `place`.

    Args:
        place: Where no daemon listens.
        environ: The variables that say where the user's own files are.
        root: The folder below which the system's units are looked for.
    """
    if place.endpoint:
        by_itself = place.path in default_endpoints(environ)
        return "hubd" if by_itself else f"hubd --endpoint {shlex.quote(str(place.path))}"
    if place.path in (SYSTEM_SOCKET, SYSTEM_SOCKET.with_name(VIEWERS_NAME)):
        return _BY_SYSTEM
    if place.path not in users_sockets(environ):
        return f"hubd --socket {shlex.quote(str(place.path))}"
    if _is_there(_users_units(environ, root)):
        return _BY_USER
    if not place.chosen and _is_there(root / folder / "system" for folder in _ROOTS):
        return _BY_SYSTEM
    return "hubd"


def _users_units(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    home = environ.get("HOME", "")
    for name, below_home in (("XDG_CONFIG_HOME", ".config"), ("XDG_DATA_HOME", ".local/share")):
        named = environ.get(name, "")
        if Path(named).is_absolute():
            yield Path(named) / "systemd/user"
        elif home:
            yield Path(home) / below_home / "systemd/user"
    yield from (root / folder / "user" for folder in _ROOTS)


def _is_there(folders: Iterator[Path]) -> bool:
    return any(os.path.lexists(folder / _UNIT) for folder in folders)
