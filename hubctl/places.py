"""Which socket to use, and what to say when it is not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hubctl.exits import Exit, Refused
from hubd.errors import HubError

SYSTEM_SOCKET = Path("/run/messagehub/control.sock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The socket to use, and how it was chosen."""

    path: Path
    chosen: str  #: "--socket", "$HUBCTL_SOCKET", or "" when it was looked for
    tried: tuple[Path, ...]  #: every path that was looked at, in order


def find_socket(option: str | None, environ: Mapping[str, str] = os.environ) -> Place:
    """`--socket`, then `$HUBCTL_SOCKET`, then the user's socket if it is there, then the system's.

    When none is there, the first that was looked at: that is where the user's own hubd would listen.
    """
    if option:
        return Place(path=Path(option), chosen="--socket", tried=(Path(option),))
    named = environ.get("HUBCTL_SOCKET", "")
    if named:
        return Place(path=Path(named), chosen="$HUBCTL_SOCKET", tried=(Path(named),))
    users = [_runtime_socket(environ), _state_socket(environ)]
    tried = (*(path for path in users if path is not None), SYSTEM_SOCKET)
    there = [path for path in tried if os.path.lexists(path)]
    return Place(path=there[0] if there else tried[0], chosen="", tried=tried)


def _runtime_socket(environ: Mapping[str, str]) -> Path | None:
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) / "messagehub" / "control.sock" if Path(runtime).is_absolute() else None


def _state_socket(environ: Mapping[str, str]) -> Path | None:
    """Where hubd listens in a session that has no runtime directory (a container, cron)."""
    if _runtime_socket(environ) is not None:
        return None
    state = environ.get("XDG_STATE_HOME", "")
    home = environ.get("HOME", "")
    if Path(state).is_absolute():
        return Path(state) / "messagehub" / "control.sock"
    return Path(home) / ".local" / "state" / "messagehub" / "control.sock" if home else None


def explain(error: HubError, place: Place) -> HubError:
    """A missing socket in words that name every path that was looked at; other errors as they are."""
    if error.code != "socket_missing":
        return error
    if place.chosen:
        where, start = f"no socket at {place.path} ({place.chosen})", f"hubd --socket {place.path}"
    else:
        where, start = "no socket at " + " or ".join(map(str, place.tried)), "hubd"
    return Refused(
        f"hubd is not running: {where}",
        code=error.code,
        status=Exit.UNREACHABLE,
        hint=f"start it with: {start}   (or see everything at once: hubctl demo)",
    )
