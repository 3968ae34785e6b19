"""hubd as a service of this machine: service print|install|uninstall."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import click

from hubctl import layout, services
from hubctl.answer import dry, print_result
from hubctl.app import App
from hubctl.command import Nouns, command
from hubctl.exits import Exit, Refused
from hubctl.installed import find_program
from hubctl.services import UnitFile
from hubd.files import replace_file

_WINDOWS_HUBD = PureWindowsPath(r"C:\Program Files\MessageHub\Scripts\hubd.exe")


@click.group("service", cls=Nouns)
def service() -> None:
    """Print, install or uninstall hubd as a service of systemd or Windows.

    Example: hubctl service install --user
    """


@command("print", within=service, example="hubctl service print hubd.service")
@click.argument("unit", required=False)
@click.option("--user", is_flag=True, help="Use a service for one user instead of the system's.")
@click.option("--windows", is_flag=True, help="Print the commands that make it a Windows service.")
@click.option(
    "--credential", "credentials", multiple=True, metavar="NAME", help="A credential for the service."
)
@click.option("--hubd", metavar="PATH", help="The path of hubd [the one installed with this hubctl].")
def print_(
    app: App, unit: str | None, user: bool, windows: bool, credentials: Sequence[str], hubd: str | None
) -> None:
    """Print the files of the service, or only UNIT. Changes nothing."""
    if windows:
        if unit or user or credentials:
            raise click.UsageError("--windows cannot be combined with UNIT, --user or --credential")
        script = services.windows_script(_windows_hubd(hubd))
        if not print_result(app, {"script": script}):
            app.data(script)
        return
    program = _hubd(hubd)
    files = _files(program, user, credentials, Path("/"))
    if not user and (hidden := _hidden(program, named=bool(hubd))):
        app.note(f"warning: {hidden}; {hidden.hint}")
    if unit is not None:
        files = [_named(unit, files)]
    printed = {"files": [{"path": str(file.path), "text": file.text} for file in files]}
    if print_result(app, printed, rows="files", columns=("path", "text")):
        return
    if unit is not None:
        app.data(files[0].text)
    else:
        app.data("\n".join(f"# {file.path}\n{file.text}" for file in files))


@command("install", within=service, example="hubctl service install --user", changes=True)
@click.option("--user", is_flag=True, help="Install for this user only; does not need root.")
@click.option(
    "--credential", "credentials", multiple=True, metavar="NAME", help="A credential for the service."
)
@click.option("--hubd", metavar="PATH", help="The path of hubd [the one installed with this hubctl].")
@click.option("--root", metavar="DIR", help="Install below this folder, for building an image.")
def install(
    app: App, user: bool, credentials: Sequence[str], hubd: str | None, root: str | None, dry_run: bool
) -> None:
    """Write the files of the service and say what to run next. Starts nothing.

    Asks before it writes. Existing files are replaced; put your own settings into a drop-in, which
    `systemctl edit hubd` creates.
    """
    _check_place(user, root)
    program = _hubd(hubd)
    if not user and (hidden := _hidden(program, named=bool(hubd))):
        raise hidden
    files = _files(program, user, credentials, Path(root or "/"))
    new = [file for file in files if _text_at(Path(file.path)) != file.text]
    if new and not dry_run:
        names = ", ".join(layout.printable(str(file.path)) for file in new)
        app.confirm(f"write {names}", needed=True)
    for file in () if dry_run else new:
        _write(Path(file.path), file.text)
    following = services.NEXT_USER if user else services.NEXT_SYSTEM
    answer = {
        **dry(dry_run),
        "changed": bool(new) and not dry_run,
        "files": [{"path": str(file.path), "changed": file in new} for file in files],
        "next": list(following),
    }
    if print_result(app, answer, rows="files", columns=("path", "changed")):
        return
    done = "would be written" if dry_run else "written"
    for file in files:
        app.out(f"{done if file in new else 'unchanged'}: {layout.printable(str(file.path))}")
    if dry_run:
        app.note("nothing was changed")
        return
    app.out("\nNow run:\n" + "\n".join(f"  {line}" for line in following))


@command("uninstall", within=service, example="hubctl service uninstall --user", changes=True)
@click.option("--user", is_flag=True, help="Uninstall the service of this user; does not need root.")
@click.option("--root", metavar="DIR", help="Uninstall below this folder, from an image.")
def uninstall(app: App, user: bool, root: str | None, dry_run: bool) -> None:
    """Remove the files that `service install` wrote, and the links by which systemd starts them at boot.

    Asks before it removes anything. The database, the configuration, credentials, backups and your own
    settings of the units stay; the answer names them. Stops nothing: it says what to run next.
    """
    _check_place(user, root)
    below = Path(root or "/")
    files = _files(services.STOCK_HUBD, user, (), below)
    found = [file for file in files if os.path.lexists(file.path)]
    foreign = [file for file in found if services.MARK not in (_text_at(Path(file.path), "removed") or "")]
    away = [link for file in files if file not in foreign for link in _links(file)]
    away += [Path(file.path) for file in found if file not in foreign]
    if away and not dry_run:
        app.confirm(f"remove {', '.join(layout.printable(str(path)) for path in away)}", needed=True)
    for path in () if dry_run else away:
        _remove(path)
    left = [services.Kept(path=Path(file.path), what="not written by hubctl") for file in foreign]
    left += services.user_data(os.environ) if user else services.system_data(below)
    following = services.STOP_USER if user else services.STOP_SYSTEM
    every = list(dict.fromkeys([*away, *(Path(file.path) for file in files if file not in foreign)]))
    answer = {
        **dry(dry_run),
        "changed": bool(away) and not dry_run,
        "files": [{"path": str(path), "changed": path in away} for path in every],
        "left": [{"path": str(kept.path), "what": kept.what} for kept in left],
        "next": list(following) if away else [],
    }
    if print_result(app, answer, rows="files", columns=("path", "changed")):
        return
    done = "would be removed" if dry_run else "removed"
    for path in every:
        app.out(f"{done if path in away else 'not there'}: {layout.printable(str(path))}")
    for kept in left:
        app.out(f"left: {layout.printable(str(kept.path))} ({kept.what})")
    if dry_run:
        app.note("nothing was changed")
    elif away:
        app.out("\nNow run:\n" + "\n".join(f"  {line}" for line in following))


def _check_place(user: bool, root: str | None) -> None:
    """Raise what keeps the files of systemd from being written or removed here."""
    if sys.platform != "linux":
        raise Refused(
            "only systemd unit files can be installed",
            code="not_here",
            status=Exit.FAILED,
            hint="on Windows: hubctl service print --windows",
        )
    if user and root:
        raise click.UsageError("--root applies to the system service only")


def _links(file: UnitFile) -> list[Path]:
    """The links that were made when the unit was enabled."""
    links = services.enabled_links(file)
    return [path for path in links if path.is_symlink() and path.readlink().name == file.path.name]


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(path, error, "removed") from None


def _files(hubd: str, user: bool, credentials: Sequence[str], root: Path) -> list[UnitFile]:
    if user and credentials:
        raise click.UsageError("--credential is for the system service; for --user, use the keyring")
    try:
        return (
            services.user_files(hubd, os.environ) if user else services.system_files(hubd, credentials, root)
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _named(unit: str, files: Sequence[UnitFile]) -> UnitFile:
    found = next((file for file in files if file.path.name == unit), None)
    if found is None:
        names = ", ".join(file.path.name for file in files)
        raise Refused(f"no file {unit}", code="no_such_unit", status=Exit.MISSING, hint=f"there are: {names}")
    return found


def _hubd(named: str | None) -> str:
    """The program that the service runs: the one that was named, or the one installed with this hubctl."""
    if named:
        return named
    found = find_program("hubd")
    if found is None:
        raise Refused(
            "the hubd that was installed with this hubctl cannot be found",
            code="no_hubd",
            status=Exit.MISSING,
            hint="pass --hubd PATH",
        )
    return str(found)


def _windows_hubd(named: str | None) -> PureWindowsPath:
    if named:
        return PureWindowsPath(named)
    return PureWindowsPath(sys.executable).with_name("hubd.exe") if sys.platform == "win32" else _WINDOWS_HUBD


def _hidden(hubd: str, *, named: bool) -> Refused | None:
    """Why the system's service could not run this program; None when it can see it.

    If it was not named, it is part of this installation, so our own files are needed, too.
    """
    own = [] if named else [Path(__file__)]
    hidden = services.hidden_from_service([*services.files_needed(Path(hubd)), *own])
    if hidden is None:
        return None
    return Refused(
        f"the service could not run {hidden}: it cannot see home directories or /tmp",
        code="hidden_from_service",
        status=Exit.FAILED,
        hint="install MessageHub elsewhere with the system's Python (python3 -m venv /opt/messagehub) "
        "and use its hubctl, or pass --user",
    )


def _text_at(path: Path, done: str = "written") -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    except OSError as error:
        raise _refused(path, error, done) from None


def _write(path: Path, text: str) -> None:
    """Write a file atomically: systemd never sees half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode(), mode=0o644)
    except OSError as error:
        raise _refused(path, error) from None


def _refused(path: Path, error: OSError, done: str = "written") -> Refused:
    denied = isinstance(error, PermissionError)
    return Refused(
        f"{path} cannot be {done}: {(error.strerror or str(error)).lower()}",
        code="permission_denied" if denied else f"not_{done}",
        status=Exit.FORBIDDEN if denied else Exit.FAILED,
        hint="use sudo, or --user for a service of your own" if denied else "",
    )
