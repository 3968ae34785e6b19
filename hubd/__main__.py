"""`hubd`: options -> where things are -> trio.run -> exit status.

Exit statuses are those of sysexits.h, which systemd prints by name: 64 usage, 69 unavailable,
73 cannot create, 75 try again, 77 no permission, 78 configuration.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hubd import __version__
from hubd.errors import BadConfig, BadInput, Conflict, CredentialMissing, HubError, StoreUnusable

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from hubd.config.file import HubConfig
    from hubd.notify import Manager

EX_USAGE, EX_UNAVAILABLE, EX_SOFTWARE, EX_CANTCREAT, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG = (
    64,
    69,
    70,
    73,
    75,
    77,
    78,
)
LEVELS = ("debug", "info", "warning", "error")


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if file is sys.stdout:  # argparse would ignore that it could not be written
            _answer(message)
        else:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"hubd: {message}\n")


def option_parser() -> argparse.ArgumentParser:
    """The options of hubd."""
    parser = _Parser(
        prog="hubd",
        description="The MessageHub daemon. Runs in the foreground; use hubctl to talk to it.",
    )
    parser.add_argument(
        "--config", metavar="FILE", type=_path, help="configuration file (default: this user's hubd.toml)"
    )
    parser.add_argument(
        "--state-dir", metavar="DIR", type=_path, help="where the database and the outbox live"
    )
    parser.add_argument("--socket", metavar="PATH", type=_path, help="the control socket")
    parser.add_argument(
        "--observe", metavar="PATH", type=_path, help="a second socket, for clients that may only read"
    )
    parser.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        type=_loopback,
        help="also serve clients with a ticket over TCP; 127.0.0.1 or [::1], port 0 for any",
    )
    parser.add_argument(
        "--endpoint", metavar="FILE", type=_path, help="write the TCP address and a token to this file"
    )
    parser.add_argument("--log-level", choices=LEVELS, help="how much to log")
    parser.add_argument(
        "--stop-on-stdin-eof",
        action="store_true",
        help="stop when stdin ends, for supervisors that cannot send signals",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the configuration and exit; with --restore, check FILE and change nothing",
    )
    parser.add_argument(
        "--restore",
        metavar="FILE",
        type=_path,
        help="put a backup in the place of the database and exit (see `hubctl daemon restore`)",
    )
    parser.add_argument(
        "--keys",
        action="store_true",
        help="print every key of hubd.toml as JSON and exit (see `hubctl config reference`)",
    )
    parser.add_argument("--version", action="version", version=f"hubd {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the daemon; exits with a status."""
    _open_closed_streams()
    try:
        _main(arguments)
    finally:
        _let_go_of_stderr()


def _main(arguments: Sequence[str] | None) -> NoReturn:
    parser = option_parser()
    options = parser.parse_args(arguments)
    if options.stop_on_stdin_eof and sys.stdin is None:
        parser.error("--stop-on-stdin-eof: there is no stdin")
    faulthandler.enable()
    if sys.platform != "win32":
        os.umask(0o077)
    sys.exit(_run(options))


def _open_closed_streams() -> None:
    """Open the standard streams that are closed, or a file of ours would get their descriptors."""
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)  # the first number that is free; sys.stdin stays None
    if sys.stdout is None:  # open for reading, so that each write fails and is reported
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115 - stays open
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - stays open


def _let_go_of_stderr() -> None:
    """A lost error message must not change the exit status: the interpreter's own flush would."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _answer(text: str) -> None:
    """Print what was asked for. If that cannot be written, exit with 1, or with 0 if the reader left."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        _complain(f"hubd: the output cannot be written: {(error.strerror or str(error)).lower()}")
        sys.exit(1)


def _complain(line: str) -> None:
    from hubd.journal import printable

    with suppress(OSError):  # stderr is lost; the exit status remains
        print(printable(line), file=sys.stderr, flush=True)  # noqa: T201 - there is no log yet


def _path(text: str) -> str:
    if not text:  # as a script's variable that is not set; without the option hubd would do something else
        raise argparse.ArgumentTypeError("the path is empty")
    return text


def _loopback(text: str) -> tuple[str, int]:
    from hubd.places import loopback

    try:
        return loopback(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(arguments: argparse.Namespace) -> int:
    import trio

    if arguments.keys:
        from hubd.config.reference import as_json

        _answer(as_json() + "\n")
        return 0

    from hubd import activation, daemon, journal, notify, places
    from hubd.config.file import load_config
    from hubd.late_errors import watch_for_late_errors

    manager = notify.service_manager(os.environ)
    try:
        if arguments.restore:
            return _restore(arguments)
        find_config = partial(places.config_path, arguments.config, os.environ)
        config_hint = places.own_config(os.environ)
        settings = load_config(find_config())
        if arguments.check:
            return _check(settings, find_config() or config_hint)
        journal.set_up(arguments.log_level or settings.log_level, os.environ)
        watch_for_late_errors()
        state_dir = places.state_dir(arguments.state_dir, os.environ)
        endpoint = places.endpoint_path(arguments.endpoint, os.environ)
        unix = sys.platform != "win32"
        options = daemon.Options(
            find_config=find_config,
            config_hint=config_hint,
            state_dir=state_dir,
            socket_path=(
                places.socket_path(arguments.socket, arguments.state_dir, os.environ) if unix else None
            ),
            log_level=arguments.log_level,
            manager=manager,
            sockets=activation.inherited(os.environ),
            observe_path=Path(arguments.observe) if arguments.observe else None,
            tcp=arguments.tcp,
            endpoint=endpoint,
            stop_on_stdin_eof=arguments.stop_on_stdin_eof,
        )
        trio.run(daemon.run, options)
    except HubError as error:
        manager.failed(str(error))
        return _explain(error)
    except BaseExceptionGroup as group:
        ours, others = group.split(HubError)
        if ours is None or others is not None:
            if not isinstance(group, Exception):
                raise
            return _give_up(manager, group)
        manager.failed(str(_first(ours)))
        return _explain(_first(ours))
    except Exception as error:
        return _give_up(manager, error)
    finally:
        manager.close()
    return 0


def _check(settings: HubConfig, path: Path) -> int:
    """The file could be read; now the secrets that it refers to."""
    from hubd.config.file import missing_secrets

    missing = missing_secrets(settings)
    for error in missing:
        _explain(error)
    if not missing:
        _answer(f"{path}: {'valid' if path.exists() else 'does not exist; the defaults apply'}\n")
    return EX_CONFIG if missing else 0


def _restore(arguments: argparse.Namespace) -> int:
    """Put a backup in the place of the database while no daemon runs; say on stdout what was done."""
    import json
    from dataclasses import asdict

    from hubd import places, state_dir
    from hubd.lock import sole_holder
    from hubd.store.restore_backup import put_back

    folder = places.state_dir(arguments.state_dir, os.environ)
    state_dir.check_state_dir(folder)
    state_dir.make_state_dir(folder)  # which looks at the folders above it, too
    database = (folder / "hub.db").absolute()
    try:
        with sole_holder(folder / "hubd.lock"):
            done = put_back(Path(arguments.restore).absolute(), database, dry_run=arguments.check)
    except Conflict as error:
        raise Conflict(
            str(error),
            code=error.code,
            hint="stop it first: hubctl daemon shutdown, or for a service of systemd: "
            "systemctl stop hubd.socket hubd-observe.socket hubd.service",
        ) from None
    _answer(json.dumps({"database": str(database), **asdict(done)}, default=str) + "\n")
    return 0


def _give_up(manager: Manager, error: Exception) -> int:
    """A fault of our own. Through the log, which shows nobody's address, not even out of a traceback."""
    from hubd.journal import Kind

    manager.failed("an internal error ended hubd; the log has the stack traces")
    logging.getLogger("hubd").critical("hubd cannot continue", exc_info=error, extra={"kind": Kind.FAILED})
    return EX_SOFTWARE


def _first(group: BaseExceptionGroup[HubError]) -> HubError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _explain(error: HubError) -> int:
    """Say what is wrong and what to do; the exit status that fits."""
    from hubd.journal import is_journal

    mark = "<3>" if is_journal(sys.stderr, os.environ) else ""
    for line in [*_sentences(error), error.hint]:
        if line:
            _complain(f"{mark}hubd: {line}")
    match error:
        case StoreUnusable():
            return error.exit_status
        case BadConfig() | CredentialMissing():
            return EX_CONFIG
        case BadInput():
            return EX_CANTCREAT  # the socket's path: all else was judged before
        case Conflict():
            return EX_TEMPFAIL
        case _ if error.code == "state_dir":
            return EX_CANTCREAT
        case _:
            return EX_UNAVAILABLE


def _sentences(error: HubError) -> list[str]:
    """Every fault of a configuration with its line, so that one look at the file mends them all."""
    faults = error.data.get("errors")
    if not isinstance(error, BadConfig) or not isinstance(faults, list):
        return [str(error)]
    file = error.data.get("file")
    return [
        ": ".join(
            str(part)
            for part in (
                _place(fault.get("file") or file, fault["line"]),
                fault["path"],
                fault["problem"],
            )
            if part
        )
        for fault in faults
    ]


def _place(file: object, line: object) -> str:
    return f"{file}, line {line}" if line else str(file)


if __name__ == "__main__":
    main(sys.argv[1:])
