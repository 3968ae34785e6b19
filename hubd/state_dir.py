"""The directory that everything of a daemon lives in: for its owner only, and nobody else can replace it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from hubd.errors import HubError, StoreUnusable
from hubd.ownership import find_weakness

EX_NOINPUT, EX_NOPERM = 66, 77


def make_state_dir(path: Path) -> None:
    """Make the directory that everything lives in, for the owner only.

    Raises `HubError`, and `StoreUnusable` if others could put another one in its place.
    """
    _check_folders(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reachable = os.access(path, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise HubError(
            f"the state directory {path} cannot be created: {error.strerror}",
            code="state_dir",
            hint="choose another one with --state-dir, or create it and give it to this user",
        ) from None
    if not reachable:
        raise HubError(
            f"the state directory {path} cannot be written by this user",
            code="state_dir",
            hint=f"take ownership of it: chown {_user()} {shlex.quote(str(path))}",
        )
    _check_folders(path)


def check_state_dir(path: Path) -> None:
    """Raise `StoreUnusable` for a state directory that is not there, or that another user's daemon has."""
    if not path.is_dir():
        raise StoreUnusable(
            f"there is no state directory {path}",
            exit_status=EX_NOINPUT,
            hint="pass the one of your hubd with --state-dir, "
            f"or create it: mkdir -m 700 {shlex.quote(str(path))}",
        )
    if sys.platform != "win32" and (owner := path.stat().st_uid) != os.geteuid():
        raise StoreUnusable(
            f"the state directory {path} belongs to another user",
            exit_status=EX_NOPERM,
            hint=f"run this as that user: sudo -u '#{owner}' hubctl daemon restore ...",
        )


def _check_folders(path: Path) -> None:
    weakness = find_weakness(path / "hub.db")
    if weakness is not None:
        raise StoreUnusable(
            f"the state directory {path} cannot be used: {weakness.problem}",
            exit_status=EX_NOPERM,
            hint=f"{weakness.remedy} with --state-dir",
        )


def _user() -> str:
    return os.environ.get("USER", "USER") if sys.platform == "win32" else str(os.getuid())
