"""The endpoint file: the address of a TCP listener on this machine, and a token to connect with.

Whoever can read the token may use the daemon, so the file is only trusted if nobody else can read it: its
mode and its owner are checked before its contents. The address must be on this machine, so that the token
never leaves it. A token dies with the daemon that issued it: if another program takes the port of a daemon
that has ended, the token it is shown is useless; and nothing else is said to a program that cannot prove that
it wrote the file (`hubd.wire.proof`).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubd.client.starting import start_command
from hubd.client.trust import distrust
from hubd.errors import Unreachable
from hubd.wire import PATH
from hubd.wire.places import Place

MAX_FILE = 64 * 1024  #: bytes
_URL = re.compile(rf"ws://(127\.0\.0\.1|\[::1\]):([1-9][0-9]{{0,4}}){re.escape(PATH)}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A TCP listener on this machine, and the credentials for it."""

    host: str  #: "127.0.0.1" or "::1"
    port: int
    token: str = field(repr=False)
    proof: str = field(repr=False, default="")  #: a secret that only the daemon that wrote the file has, too

    @property
    def authority(self) -> str:
        """Host and port, as in the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_endpoint(place: Place) -> Endpoint:
    """Read the endpoint file.

    Raises `Unreachable`: socket_missing, permission_denied, endpoint_exposed (others could read the token),
    bad_endpoint, or unauthenticated (there is no token).
    """
    record = _record(place)
    found = _URL.fullmatch(str(record.get("url")))
    if found is None or int(found[2]) > 65535:
        raise _damaged(place.path, "it contains no address of this machine")
    token = record.get("token") if place.token_file is None else _token_of(place)
    if not isinstance(token, str) or not token:
        raise Unreachable(
            f"there is no token in the endpoint file {place.path}",
            code="unauthenticated",
            hint="name a file with one: HUBCTL_TOKEN_FILE=FILE",
        )
    if not _TOKEN.fullmatch(token):
        raise _damaged(place.path, "its token contains characters that are not allowed")
    proof = record.get("proof", "")
    if not isinstance(proof, str) or not proof.isascii():
        raise _damaged(place.path, "its proof is not text")
    return Endpoint(host=found[1].strip("[]"), port=int(found[2]), token=token, proof=proof)


def _record(place: Place) -> dict[str, Any]:
    try:
        text = _read_private(place.path, "endpoint file", named=not place.found)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(place) from None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise _damaged(place.path, "it was not written by hubd")
    return record


def _token_of(place: Place) -> str:
    """The token in a separate file, which holds nothing else."""
    file = place.token_file
    assert file is not None, "only for a place that has one"
    try:
        text = _read_private(file, "token file", named=True)
    except (FileNotFoundError, NotADirectoryError):
        raise Unreachable(
            f"the token file {file} does not exist",
            code="unauthenticated",
            hint="check $HUBCTL_TOKEN_FILE and token_file of the context",
        ) from None
    token = text.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise Unreachable(
            f"the token file {file} holds no token",
            code="unauthenticated",
            hint="it must contain only the token, on one line",
        )
    return token


def _read_private(path: Path, what: str, *, named: bool) -> bytes:
    """Read a small file that nobody else can read. On Windows its folder's access list ensures that.

    Raises `FileNotFoundError`, `NotADirectoryError`, and `Unreachable` for everything else.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)  # a pipe does not block
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as stream:
            about = os.fstat(stream.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise _damaged(path, "it is not a file")
            if sys.platform != "win32":
                _check_private(path, what, about, named=named)
            return stream.read(MAX_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError:
        raise _damaged(path, "it is a directory") from None
    except OSError as exc:
        raise Unreachable(
            f"you may not read the {what} {path}"
            if isinstance(exc, PermissionError)
            else f"the {what} {path} cannot be read: {exc.strerror}",
            code="permission_denied",
            hint="run it as the user who runs hubd",
        ) from None


def _check_private(path: Path, what: str, about: os.stat_result, *, named: bool) -> None:
    if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Unreachable(
            f"other users can read the {what} {path}, so its token was not used",
            code="endpoint_exposed",
            hint=f"chmod 600 {shlex.quote(str(path))}, and restart hubd: somebody may know the token",
        )
    weakness = distrust(about.st_uid, path, named=named, stranger="it belongs to another user")
    if weakness is not None:
        raise Unreachable(
            f"the {what} {path} was not used: {weakness.problem}",
            code="permission_denied",
            hint=f"nothing was sent; {weakness.remedy}",
        )


def _missing(place: Place) -> Unreachable:
    where = f"{place.path} ({place.chosen})" if place.chosen else " or ".join(map(str, place.tried))
    return Unreachable(
        f"hubd is not running: no endpoint file at {where}",
        code="socket_missing",
        hint=f"start it with: {start_command(place)}",
        data={"tried": [str(path) for path in place.tried]},
    )


def _damaged(path: Path, why: str) -> Unreachable:
    return Unreachable(
        f"{path} cannot be used as an endpoint file: {why}",
        code="bad_endpoint",
        hint="create a valid one with: hubd --endpoint FILE",
    )
