"""hubd as a service: which files systemd needs, where they go, what Windows needs instead. Writes nothing.

The files themselves are in `systemd/`; what is added here is the path of the hubd that is installed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath

#: What the files in `systemd/` call the daemon.
STOCK_HUBD = "/usr/bin/hubd"
#: A commented line in hubd.service, after which the lines of real credentials go.
_CREDENTIAL_LINE = "#LoadCredential=office:/etc/credstore/messagehub.office\n"
#: Folders that hubd.service hides from the daemon (ProtectHome=, PrivateTmp=).
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - names, nothing is written there
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")

_SYSTEM = {
    "hubd.service": "/etc/systemd/system/hubd.service",
    "hubd.socket": "/etc/systemd/system/hubd.socket",
    "hubd-observe.socket": "/etc/systemd/system/hubd-observe.socket",
    "messagehub.sysusers": "/etc/sysusers.d/messagehub.conf",
}
_USER = {"hubd-user.service": "hubd.service", "hubd-user.socket": "hubd.socket"}

NEXT_SYSTEM = (
    "systemd-sysusers",
    "systemctl daemon-reload",
    "systemctl enable --now hubd.socket hubd-observe.socket hubd.service",
    "usermod -aG messagehub-operators NAME   # users who may operate hubd; they must log in again",
)
NEXT_USER = (
    "systemctl --user daemon-reload",
    "systemctl --user enable --now hubd.socket hubd.service",
    "loginctl enable-linger   # keeps it running when you log out",
)
STOP_SYSTEM = (
    "systemctl stop hubd.socket hubd-observe.socket hubd.service",
    "systemctl daemon-reload",
)
STOP_USER = (
    "systemctl --user stop hubd.socket hubd.service",
    "systemctl --user daemon-reload",
)
#: In each file that is put in place; a file without it was written by somebody else.
MARK = "MessageHub"
_DATA_SYSTEM = {
    "/var/lib/messagehub": "the database and the outbox",
    "/etc/messagehub": "the configuration",
    "/var/backups/messagehub": "backups",
    "/etc/credstore/messagehub.*": "a credential",
    "/etc/systemd/system/hubd*.d": "your own settings of a unit",
}
_DATA_USER = {
    "XDG_STATE_HOME": (".local/state", "messagehub", "the database and the outbox"),
    "XDG_CONFIG_HOME": (".config", "messagehub", "the configuration"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """One file and where it goes."""

    path: PurePath
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What `service uninstall` leaves in place, and what it is."""

    path: Path
    what: str


def stock() -> Path:
    """The folder with the files: in the installed package, or beside it in a clone."""
    package = Path(__file__).parent
    installed = package / "systemd"
    return installed if installed.is_dir() else package.parent / "systemd"


def system_files(hubd: str, credentials: Sequence[str] = (), root: Path = Path("/")) -> list[UnitFile]:
    """The files of the system service, below `root`. Raises `ValueError` for what no unit file can hold."""
    return [
        UnitFile(path=root / path.lstrip("/"), text=_fitted(name, hubd, credentials))
        for name, path in _SYSTEM.items()
    ]


def user_files(hubd: str, environ: Mapping[str, str]) -> list[UnitFile]:
    """The files of one user's service. Raises `ValueError` for what no unit file can hold."""
    folder = _base_folder(environ, "XDG_CONFIG_HOME", ".config")
    return [
        UnitFile(path=folder / "systemd" / "user" / target, text=_fitted(name, hubd, ()))
        for name, target in _USER.items()
    ]


def enabled_links(file: UnitFile) -> list[Path]:
    """The links that `systemctl enable` makes for a unit (systemd.unit(5), WantedBy=)."""
    targets = [word for line in re.findall(r"^WantedBy=(.*)$", file.text, re.M) for word in line.split()]
    folder = Path(file.path.parent)
    return [folder / f"{target}.wants" / file.path.name for target in targets]


def system_data(root: Path = Path("/")) -> list[Kept]:
    """The data and settings of a system service below `root`, as far as they exist."""
    return [
        Kept(path=path, what=what)
        for pattern, what in _DATA_SYSTEM.items()
        for path in sorted(root.glob(pattern.lstrip("/")))
    ]


def user_data(environ: Mapping[str, str]) -> list[Kept]:
    """The data and settings of the service of one user, as far as they exist."""
    data = [
        Kept(path=_base_folder(environ, variable, below_home) / name, what=what)
        for variable, (below_home, name, what) in _DATA_USER.items()
    ]
    units = _base_folder(environ, "XDG_CONFIG_HOME", ".config") / "systemd" / "user"
    own = [Kept(path=path, what="your own settings of a unit") for path in sorted(units.glob("hubd.*.d"))]
    return [kept for kept in (*data, *own) if kept.path.exists()]


def _base_folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    """A base directory of one user; a relative one counts as unset (XDG Base Directory Specification)."""
    folder = environ.get(variable, "")
    home = Path(environ.get("HOME") or "~").expanduser()
    return Path(folder) if Path(folder).is_absolute() else home / below_home


def _fitted(name: str, hubd: str, credentials: Sequence[str]) -> str:
    text = (stock() / name).read_text(encoding="utf-8")
    text = text.replace(f"ExecStart={STOCK_HUBD}\n", f"ExecStart={quoted(hubd)}\n")
    for credential in reversed(credentials):
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", credential) or credential in (".", ".."):
            raise ValueError(
                f"{credential!r} is not a name for a credential: use only letters, digits and _ . -"
            )
        line = f"LoadCredential={credential}:/etc/credstore/messagehub.{credential}\n"
        text = text.replace(_CREDENTIAL_LINE, _CREDENTIAL_LINE + line)
    return text


def quoted(path: str) -> str:
    """A path as `ExecStart=` reads it (systemd.service(5), COMMAND LINES). Raises `ValueError`."""
    if not path.isprintable() or not path.startswith("/"):
        raise ValueError(f"{path!r} cannot be the path of a service: it must be absolute and a single line")
    path = path.replace("%", "%%")
    if _PLAIN.fullmatch(path):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def hidden_from_service(paths: Sequence[Path]) -> Path | None:
    """The first of these files that hubd.service would not see, because of the folder it is in."""
    for path in paths:
        if any(path.is_relative_to(folder) for folder in _HIDDEN):
            return path
    return None


def files_needed(hubd: Path) -> list[Path]:
    """The program, what it is a link to, and the interpreter that its first line names."""
    needed = [hubd, hubd.resolve()]
    try:
        with hubd.open("rb") as file:
            lines = [file.readline(1024).decode("utf-8", "replace") for _ in range(2)]
    except OSError:
        return needed
    for interpreter in _interpreters(*lines):
        needed += [interpreter, interpreter.resolve()]
    return needed


def _interpreters(first: str, second: str) -> list[Path]:
    """What a script's first lines name. pip writes `#!/bin/sh` and `exec` if the path has spaces."""
    if not first.startswith("#!"):
        return []
    words = first[2:].split()
    with suppress(ValueError):  # not a line of a shell
        command = shlex.split(second)
        if words == ["/bin/sh"] and len(command) > 1 and command[0] == "exec":
            words.append(command[1])
    return [Path(word) for word in words if word.startswith("/")]


def windows_script(hubd: PureWindowsPath) -> str:
    """What to type in an administrator's command prompt to make hubd a service of Windows."""
    place = r"%ProgramData%\MessageHub"
    return f"""\
rem MessageHub as a Windows service, wrapped by shawl (github.com/mtkennerly/shawl), one program with no
rem set-up of its own. Type these lines in a command prompt that was started as administrator, where
rem shawl.exe can be found. Nobody has run them on Windows yet: see docs/operating.md.
mkdir "{place}"
type nul >> "{place}\\hubd.toml"
shawl add --name hubd --cwd "{place}" --log-dir "{place}\\logs" ^
  --stop-timeout 90000 --restart-if-not 0,78 ^
  -- "{hubd}" ^
  --config "{place}\\hubd.toml" --state-dir "{place}\\state" --endpoint "{place}\\endpoint.json"
sc config hubd start= delayed-auto obj= "NT SERVICE\\hubd"
icacls "{place}" /inheritance:r ^
  /grant:r "SYSTEM:(OI)(CI)F" "Administrators:(OI)(CI)F" "NT SERVICE\\hubd:(OI)(CI)F"
sc start hubd
"""
