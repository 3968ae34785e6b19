"""Which socket a client uses: the one rule for hubctl and for programs. Quick to import."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SYSTEM_SOCKET = Path("/run/messagehub/control.sock")
_BELOW = Path("messagehub") / "control.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The socket to use, and how it was chosen."""

    path: Path
    chosen: str = ""  #: "--socket", "$HUBCTL_SOCKET", or "" when it was looked for
    tried: tuple[Path, ...] = ()  #: every path that was looked at, in order


def find_socket(
    explicit: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
) -> Place:
    """As told, then `$HUBCTL_SOCKET`, then the first that is there of those where a hubd listens by itself.

    Those are the user's runtime directory, the user's state directory (a hubd that was started without a
    runtime directory listens there, whatever this process has), and the system's. When none is there, the
    first that was looked at: that is where the user's own hubd would listen.
    """
    if explicit:
        return Place(path=Path(explicit), chosen="--socket", tried=(Path(explicit),))
    if named := environ.get("HUBCTL_SOCKET", ""):
        return Place(path=Path(named), chosen="$HUBCTL_SOCKET", tried=(Path(named),))
    tried = (*_users(environ), SYSTEM_SOCKET)
    there = [path for path in tried if os.path.lexists(path)]
    return Place(path=there[0] if there else tried[0], tried=tried)


def _users(environ: Mapping[str, str]) -> Iterator[Path]:
    """A relative directory counts as unset, as the XDG base directory specification says."""
    runtime, state, home = (environ.get(name, "") for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"))
    if Path(runtime).is_absolute():
        yield Path(runtime) / _BELOW
    if Path(state).is_absolute():
        yield Path(state) / _BELOW
    elif home:
        yield Path(home) / ".local" / "state" / _BELOW
