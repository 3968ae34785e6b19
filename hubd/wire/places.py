"""Where a client finds the daemon: the one rule for hubctl and for programs. Quick to import.

A place is a socket or, where there are none (Windows) or on request, an endpoint file: that names a
TCP listener of this machine and has a token for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM_SOCKET = Path("/run/messagehub/control.sock")
VIEWERS_NAME = "observe.sock"  #: beside the system's socket, for who may only look
ENDPOINT_SUFFIX = ".json"  #: by which a path is known to be that of an endpoint file
TOKEN_FILE = "HUBCTL_TOKEN_FILE"  # noqa: S105 - the name of a variable that names a file
_BELOW = Path("messagehub") / "control.sock"
_BELOW_WINDOWS = Path("MessageHub") / "endpoint.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What to connect to, and how it was chosen."""

    path: Path  #: of a socket or of an endpoint file
    chosen: str = ""  #: "--socket", "$HUBCTL_SOCKET", or "" when it was looked for
    tried: tuple[Path, ...] = ()  #: every path that was looked at, in order
    viewers: Path | None = None  #: a socket for viewers, taken when the other is missing or not for us
    endpoint: bool = False  #: whether the path is that of an endpoint file
    token_file: Path | None = None  #: has the token, in the place of the one in the endpoint file
    #: Whether it was found by searching and not named: then it must be ours or the system's.
    found: bool = field(default=False, compare=False)


def find_socket(
    explicit: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    system: Path = SYSTEM_SOCKET,
    platform: str = sys.platform,
) -> Place:
    """The explicit one, then `$HUBCTL_SOCKET`, then the first that exists of the default places.

    Those are the user's runtime directory, the user's state directory (a hubd that was started without a
    runtime directory listens there, whatever this process has), and the system's, where a second socket lets
    viewers in. When none is there, the first that was looked at: that is where the user's own hubd would
    listen. On Windows it is the endpoint file of the user, then that of the system.
    """
    if explicit:
        return place_at(explicit, chosen="--socket", environ=environ, platform=platform)
    if named := environ.get("HUBCTL_SOCKET", ""):
        return place_at(named, chosen="$HUBCTL_SOCKET", environ=environ, platform=platform)
    if platform == "win32":
        tried = tuple(default_endpoints(environ))
        return Place(
            path=_first(tried) or tried[0],
            tried=tried,
            endpoint=True,
            token_file=_token_file(environ),
            found=True,
        )
    tried = (*users_sockets(environ), system)
    viewers = system.with_name(VIEWERS_NAME)
    path = _first(tried) or (system if os.path.lexists(viewers) else tried[0])
    return Place(path=path, tried=(*tried, viewers), viewers=viewers if path == system else None, found=True)


def place_at(
    path: str | os.PathLike[str],
    *,
    chosen: str = "",
    environ: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
) -> Place:
    """A place that was named. A path that ends in `.json` is an endpoint file; on Windows all are."""
    there = Path(path)
    endpoint = platform == "win32" or there.suffix == ENDPOINT_SUFFIX
    token_file = _token_file(environ) if endpoint else None
    return Place(path=there, chosen=chosen, tried=(there,), endpoint=endpoint, token_file=token_file)


def users_sockets(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where a hubd of this user listens by default.

    A relative directory counts as unset, as the XDG base directory specification says.
    """
    runtime, state, home = (environ.get(name, "") for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"))
    if Path(runtime).is_absolute():
        yield Path(runtime) / _BELOW
    if Path(state).is_absolute():
        yield Path(state) / _BELOW
    elif home:
        yield Path(home) / ".local" / "state" / _BELOW


def default_endpoints(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where a hubd on Windows writes its endpoint file by default: the user's, then the system's."""
    if local := environ.get("LOCALAPPDATA", ""):
        yield Path(local) / _BELOW_WINDOWS
    yield Path(environ.get("ProgramData") or "C:/ProgramData") / _BELOW_WINDOWS


def _token_file(environ: Mapping[str, str]) -> Path | None:
    named = environ.get(TOKEN_FILE, "")
    return Path(named) if named else None


def _first(paths: tuple[Path, ...]) -> Path | None:
    return next((path for path in paths if os.path.lexists(path)), None)
