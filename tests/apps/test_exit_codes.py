"""The table of exit codes: each of them, in a situation that a script meets."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable

import pytest

from hubctl.exits import Exit
from tests.apps.conftest import PATIENCE, ROOT, Hub

Prepare = Callable[[Hub], None]


def nothing(hub: Hub) -> None:
    """The hub as it is."""


def draft(hub: Hub) -> None:
    """A draft with 50 recipients, two a second."""
    hub.contacts(50)
    hub.campaign("spring", rate="2/s")


def running(hub: Hub) -> None:
    """The draft, started."""
    draft(hub)
    hub.ok("start", "spring")


def stopped(hub: Hub) -> None:
    """The draft, started and stopped."""
    running(hub)
    hub.ok("stop", "spring")


def unfit(hub: Hub) -> None:
    """A campaign for nobody."""
    hub.contacts(1)
    hub.campaign("spring", lists=["none"])


def gone(hub: Hub) -> None:
    """No daemon."""
    hub.end()


TABLE: list[tuple[Exit, Prepare, tuple[str, ...]]] = [
    (Exit.DONE, nothing, ("status",)),
    (Exit.DONE, nothing, ("status", "--check")),
    (Exit.DONE, draft, ("start", "spring")),
    (Exit.DONE, running, ("start", "spring")),
    (Exit.DONE, running, ("pause", "spring")),
    (Exit.DONE, stopped, ("stop", "spring")),
    (Exit.DONE, stopped, ("archive", "spring")),
    (Exit.DONE, draft, ("delete", "spring", "--yes")),
    (Exit.DONE, stopped, ("wait", "spring", "--for", "stopped")),
    (Exit.FAILED, stopped, ("wait", "spring")),
    (Exit.FAILED, unfit, ("start", "spring")),
    (Exit.FAILED, unfit, ("check", "spring")),
    (Exit.FAILED, nothing, ("apply", "/nonexistent.toml")),
    (Exit.FAILED, draft, ("rate", "spring", "fast")),
    (Exit.FAILED, draft, ("clone", "spring", "Not A Name")),
    (Exit.USAGE, nothing, ("start",)),
    (Exit.USAGE, nothing, ("strat", "spring")),
    (Exit.USAGE, draft, ("delete", "spring")),
    (Exit.USAGE, draft, ("delete", "spring", "--no-input")),
    (Exit.USAGE, nothing, ("--context", "nowhere", "rpc", "call", "hub.status", "[")),
    (Exit.MISSING, nothing, ("status", "nobody")),
    (Exit.MISSING, nothing, ("clone", "nobody", "x")),
    (Exit.MISSING, nothing, ("archive", "nobody")),
    (Exit.MISSING, nothing, ("message", "4711")),
    (Exit.MISSING, nothing, ("rpc", "call", "no.such")),
    (Exit.CONFLICT, draft, ("pause", "spring")),
    (Exit.CONFLICT, draft, ("clone", "spring", "spring")),
    (Exit.CONFLICT, draft, ("archive", "spring")),
    (Exit.CONFLICT, running, ("delete", "spring", "--yes")),
    (Exit.UNREACHABLE, gone, ("status",)),
    (Exit.UNREACHABLE, gone, ("log", "-f")),
    (Exit.TIMED_OUT, running, ("wait", "spring", "--timeout", "200ms")),
    (Exit.TIMED_OUT, running, ("watch", "spring", "--timeout", "200ms")),
    (Exit.TIMED_OUT, nothing, ("events", "-f", "--timeout", "200ms")),
    (Exit.NOT_RUNNING, draft, ("status", "spring", "--check")),
    (Exit.NOT_RUNNING, gone, ("status", "--check")),
]


@pytest.mark.parametrize(
    ("code", "prepare", "arguments"),
    TABLE,
    ids=[f"{int(code)}-{prepare.__name__}-{'-'.join(arguments)}" for code, prepare, arguments in TABLE],
)
def test_exit_codes(hub: Hub, code: Exit, prepare: Prepare, arguments: tuple[str, ...]) -> None:
    prepare(hub)
    done = hub.run(*arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr


def test_9_a_part_was_done(hub: Hub) -> None:
    assert (
        hub.run("import", hub.file("p.csv", "email\nann@example.com\nx\n"), "--list", "all").returncode == 9
    )


def test_130_ctrl_c_detaches_and_stops_nothing(hub: Hub) -> None:
    running(hub)
    for command in (("watch", "spring"), ("log", "spring", "-f"), ("wait", "spring")):
        following = subprocess.Popen(
            hub.command(*command, "-v"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=hub.environ,
        )
        assert following.stderr is not None
        assert following.stderr.readline()  # -v says who answers: it is connected now
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=PATIENCE)
        assert following.returncode == 130, command
    assert hub.json("status", "spring")["campaign"]["state"] == "running"


def test_an_error_as_json_names_its_exit_code(hub: Hub) -> None:
    for arguments, code in ((("status", "nobody"), 3), (("start",), 2), (("delete", "x"), 3)):
        done = hub.run(*arguments, "--json")
        assert done.returncode == code
        told = json.loads(done.stderr)
        assert (told["schema"], told["error"]["exit"]) == ("hubctl.error/1", code)


def test_every_code_of_the_table_is_in_the_help_of_hubctl(hub: Hub) -> None:
    told = " ".join(hub.ok("--help").split())
    for code in Exit:
        assert f" {int(code)} " in told.replace(",", " ").replace("Exit codes:", "Exit codes: "), code
