"""Which daemon this run talks to: `--socket`, `$HUBCTL_SOCKET`, a context of hubctl.toml, else what is found.

hubctl.toml is read only when a context is wanted or the file may name a default one::

    context = "shop"                    # used when nothing else is said

    [contexts.shop]
    socket = "/run/messagehub/control.sock"

Two contexts are always there: `user` (the user's own daemon) and `system` (the system's).
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubctl.exits import Exit, Refused
from hubd.wire.places import SYSTEM_SOCKET, Place, find_socket

NAME = "hubctl.toml"


def choose(
    socket: str | None, context: str | None, config: str | None, environ: Mapping[str, str] = os.environ
) -> Place:
    """The socket to use and who named it. Raises Refused for a context or a file that cannot be used."""
    if socket or environ.get("HUBCTL_SOCKET"):
        return find_socket(socket, environ)
    file, must_exist = config_file(config, environ)
    known = _read(file, must_exist=must_exist)
    wanted = context or environ.get("HUBCTL_CONTEXT") or known.get("context")
    if not wanted:
        return find_socket(None, environ)
    return _place(str(wanted), file, known.get("contexts", {}), environ)


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


def _place(name: str, file: Path, contexts: Mapping[str, Any], environ: Mapping[str, str]) -> Place:
    if name in contexts:
        path = _socket(contexts[name]["socket"], file, environ)
        return Place(path=path, chosen=f"context {name} of {file}", tried=(path,))
    if name == "system":
        return Place(path=SYSTEM_SOCKET, chosen="context system", tried=(SYSTEM_SOCKET,))
    if name == "user":
        own = tuple(path for path in find_socket(None, environ).tried if path != SYSTEM_SOCKET)
        if own:
            there = [path for path in own if os.path.lexists(path)]
            return Place(path=there[0] if there else own[0], chosen="context user", tried=own)
    known = sorted({*contexts, "user", "system"})
    near = difflib.get_close_matches(name, known, 1)
    raise Refused(
        f"there is no context {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        code="no_such_context",
        status=Exit.USAGE,
        hint=f"there are {', '.join(known)}; more go into {file}",
    )


def _socket(text: str, file: Path, environ: Mapping[str, str]) -> Path:
    """`~/` is the home folder; anything else that is relative is beside the file."""
    home = environ.get("HOME", "")
    if text.startswith("~/") and home:
        return Path(home) / text[2:]
    return file.absolute().parent / text


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
    """The file as checked values; nothing when it is not there and was not named."""
    try:
        text = file.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if not must_exist and not isinstance(error, PermissionError):
            return {}
        raise _fault(file, f"it cannot be read: {(error.strerror or str(error)).lower()}") from None
    except OSError as error:
        raise _fault(file, f"it cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise _fault(file, "it is not UTF-8 text") from None
    import tomllib

    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _fault(file, f"this is not TOML: {error}") from None
    _check(file, "", found, {"context", "contexts"})
    if not isinstance(found.get("context", ""), str):
        raise _fault(file, "context: must be the name of a context")
    contexts = found.get("contexts", {})
    if not isinstance(contexts, dict):
        raise _fault(file, "contexts: must be tables such as [contexts.shop]")
    for name, context in contexts.items():
        if not isinstance(context, dict):
            raise _fault(file, f"contexts.{name}: must be a table with a socket")
        _check(file, f"contexts.{name}.", context, {"socket"})
        if not isinstance(context.get("socket"), str) or not context["socket"].strip():
            raise _fault(file, f"contexts.{name}.socket: is missing; it is the path of a daemon's socket")
    return found


def _check(file: Path, where: str, table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), 1)
            raise _fault(file, f"{where}{key}: unknown key" + (f"; did you mean {near[0]}?" if near else ""))


def _fault(file: Path, problem: str) -> Refused:
    return Refused(f"{file}: {problem}", code="bad_config", hint="see: hubctl --help")
