"""Which daemon this run talks to: `--socket`, `$HUBCTL_SOCKET`, a context of hubctl.toml, else what is found.

hubctl.toml is read only when a context is wanted or the file may name a default one::

    context = "shop"                    # used when nothing else is said

    [contexts.shop]
    socket = "/run/messagehub/control.sock"
    observe = "/run/messagehub/observe.sock"    # if the other is missing or not for us; may be left out

    [contexts.office]
    endpoint = "~/messagehub/endpoint.json"     # a TCP listener of this machine
    token_file = "~/messagehub/token"           # if the token is not in the endpoint file

Two contexts are always there: `user` (the user's own daemon) and `system` (the system's).
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubctl.exits import Exit, Refused
from hubd.errors import did_you_mean
from hubd.ownership import Weakness, find_weakness, folder_owner
from hubd.wire.places import (
    SYSTEM_SOCKET,
    TOKEN_FILE,
    VIEWERS_NAME,
    Place,
    find_socket,
    place_at,
    users_sockets,
)

NAME = "hubctl.toml"
_WAY = 'write a context as [contexts.NAME], and on the next line socket = "PATH"; --socket PATH needs none'
#: The keys that name a daemon in a context, and the key that may accompany each.
_GOES_WITH = {"socket": "observe", "endpoint": "token_file"}


def choose(
    socket: str | None,
    context: str | None,
    config: str | None,
    environ: Mapping[str, str] = os.environ,
    *,
    platform: str = sys.platform,
) -> Place:
    """The place to use and who named it. Raises Refused for a context or a file that cannot be used."""
    found = find_socket(socket, environ, platform=platform)
    if found.chosen:
        return found
    file, must_exist = config_file(config, environ)
    known = _read(file, must_exist=must_exist)
    wanted = context or environ.get("HUBCTL_CONTEXT") or known.get("context")
    if not wanted:
        return found
    contexts = known.get("contexts", {})
    if wanted in contexts:
        return _of_file(f"context {wanted} of {file}", file, contexts[wanted], environ)
    place = _always_there(str(wanted), found, environ)
    if place is None:
        raise _unknown(str(wanted), file, contexts)
    return place


def config_file(config: str | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """hubctl.toml, and whether it was named: `--config`, `$HUBCTL_CONFIG`, else the user's own."""
    named = config or environ.get("HUBCTL_CONFIG")
    if named:
        return Path(named), True
    folder = environ.get("XDG_CONFIG_HOME", "")
    if Path(folder).is_absolute():
        return Path(folder) / "messagehub" / NAME, False
    if not sys.platform.startswith("linux"):
        import platformdirs

        return platformdirs.user_config_path("messagehub", appauthor=False) / NAME, False
    home = environ.get("HOME", "")
    return (Path(home) if home else Path.home()) / ".config" / "messagehub" / NAME, False


def _always_there(name: str, found: Place, environ: Mapping[str, str]) -> Place | None:
    """`user` or `system`, which no file has to name; None for any other. `found` is what a search finds."""
    by = f"context {name}"
    if found.endpoint and name in ("user", "system"):
        path = found.tried[0 if name == "user" else -1]
        return replace(found, path=path, chosen=by, tried=(path,))
    if name == "system":
        viewers = SYSTEM_SOCKET.with_name(VIEWERS_NAME)
        return Place(
            path=SYSTEM_SOCKET, chosen=by, tried=(SYSTEM_SOCKET, viewers), viewers=viewers, found=True
        )
    own = tuple(users_sockets(environ)) if name == "user" else ()
    there = [path for path in own if os.path.lexists(path)]
    return Place(path=(there or own)[0], chosen=by, tried=own, found=True) if own else None


def _unknown(name: str, file: Path, contexts: Mapping[str, Any]) -> Refused:
    known = sorted({*contexts, "user", "system"})
    return Refused(
        f"there is no context {name!r}{did_you_mean(name, known)}",
        code="no_such_context",
        status=Exit.USAGE,
        hint=f"known contexts: {', '.join(known)}; add others to {file}",
    )


def _of_file(by: str, file: Path, context: Mapping[str, str], environ: Mapping[str, str]) -> Place:
    """A context as a place; $HUBCTL_TOKEN_FILE wins over what the context says."""
    named = {key: _path(text, file, environ) for key, text in context.items()}
    place = place_at(named.get("socket") or named["endpoint"], chosen=by, environ=environ)
    if "endpoint" in named:
        token_file = Path(environ[TOKEN_FILE]) if environ.get(TOKEN_FILE) else named.get("token_file")
        return replace(place, endpoint=True, token_file=token_file)
    viewers = named.get("observe")
    return replace(place, viewers=viewers, tried=(place.path, viewers)) if viewers else place


def _path(text: str, file: Path, environ: Mapping[str, str]) -> Path:
    """`~/` is the home folder; anything else that is relative is beside the file."""
    home = environ.get("HOME", "")
    if text.startswith("~/") and home:
        return Path(home) / text[2:]
    return file.absolute().parent / text


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
    """The file as checked values; nothing when it is not there and was not named."""
    try:
        with file.open("rb") as stream:
            _check_owner(file, os.fstat(stream.fileno()))
            text = stream.read().decode()
    except OSError as error:
        if not must_exist and isinstance(error, FileNotFoundError | NotADirectoryError):
            return {}
        raise _fault(file, f"it cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise _fault(file, "it is not UTF-8 text") from None
    from hubd.toml_text import TomlFault, read_toml

    try:
        found = read_toml(text)
    except TomlFault as fault:
        where = f" (line {fault.line})" if fault.line else ""
        raise _fault(file, f"this is not TOML: {fault}{where}") from None
    _check(file, "", found, {"context", "contexts"})
    if not isinstance(found.get("context", ""), str):
        raise _fault(file, "context: must be the name of a context")
    contexts = found.get("contexts", {})
    if not isinstance(contexts, dict):
        raise _fault(file, "contexts: must be tables such as [contexts.shop]")
    for name, context in contexts.items():
        if not isinstance(context, dict):
            raise _fault(file, f"contexts.{name}: must be a table with a socket")
        _check_context(file, f"contexts.{name}", context)
    return found


def _check_owner(file: Path, status: os.stat_result) -> None:
    """Whoever writes this file decides which program gets the messages. Raises Refused."""
    if sys.platform == "win32":
        return
    weakness = find_weakness(file, also=[folder_owner(file)])
    if status.st_mode & stat.S_IWOTH:
        weakness = Weakness(
            problem=f"{file} is writable by everybody", remedy=f"chmod o-w {shlex.quote(str(file))}"
        )
    if weakness is not None:
        raise Refused(
            f"{file} was not used: {weakness.problem}",
            code="permission_denied",
            status=Exit.FORBIDDEN,
            hint=f"{weakness.remedy}; --socket PATH works without this file",
        )


def _check_context(file: Path, where: str, context: Mapping[str, Any]) -> None:
    _check(file, f"{where}.", context, {*_GOES_WITH, *_GOES_WITH.values()})
    for key, value in context.items():
        if not isinstance(value, str) or not value.strip():
            raise _fault(file, f"{where}.{key}: must be a path")
    if len(_GOES_WITH.keys() & context.keys()) > 1:
        raise _fault(file, f"{where}: has both a socket and an endpoint; give only one")
    if not _GOES_WITH.keys() & context.keys():
        raise _fault(file, f"{where}.socket: is missing; give the path of a daemon's socket")
    for key, other in _GOES_WITH.items():
        if other in context and key not in context:
            raise _fault(file, f"{where}.{other}: applies only together with {key}")


def _check(file: Path, where: str, table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise _fault(file, f"{where}{key}: unknown key{did_you_mean(key, sorted(known))}")


def _fault(file: Path, problem: str) -> Refused:
    return Refused(f"{file}: {problem}", code="bad_config", hint=_WAY)
