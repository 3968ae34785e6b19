"""The table of exit codes: each of them, in a situation that a script meets."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubctl.exits import Exit
from hubd.client import connect
from tests import launcher
from tests.apps.conftest import ROOT, TIMEOUT, Hub, new_hub

#: Makes a campaign of this name what a case needs.
Prepare = Callable[[Hub, str], None]
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def shared() -> Iterator[Hub]:
    """A hub with 50 contacts for all cases; each has a campaign of its own."""
    with new_hub() as hub:
        hub.contacts(50)
        yield hub


def nothing(hub: Hub, name: str) -> None:
    """No such campaign."""


def draft(hub: Hub, name: str, listed: str = "all") -> None:
    """A draft with 50 recipients, so slow that it runs as long as a case takes."""
    with connect(hub.socket) as client:
        spec = {
            "name": name, "channel": "email", "lists": [listed], "kind": "transactional", "rate": "10/minute",
            "sender": "news@acme.example", "subject": "Hi", "text": "Hi\n",
        }  # fmt: skip
        client.call("campaign.apply", spec=spec)


def running(hub: Hub, name: str) -> None:
    """The draft, started."""
    draft(hub, name)
    with connect(hub.socket) as client:
        client.call("campaign.start", name=name)


def stopped(hub: Hub, name: str) -> None:
    """The draft, started and stopped."""
    running(hub, name)
    with connect(hub.socket) as client:
        client.call("campaign.stop", name=name)


def unfit(hub: Hub, name: str) -> None:
    """A campaign for nobody."""
    draft(hub, name, "none")


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
    (Exit.CONFLICT, running, ("start", "spring", "--limit", "2")),
    (Exit.CONFLICT, draft, ("clone", "spring", "spring")),
    (Exit.CONFLICT, draft, ("archive", "spring")),
    (Exit.CONFLICT, running, ("delete", "spring", "--yes")),
    (Exit.TIMED_OUT, running, ("wait", "spring", "--timeout", "200ms")),
    (Exit.TIMED_OUT, running, ("watch", "spring", "--timeout", "200ms")),
    (Exit.TIMED_OUT, nothing, ("events", "-f", "--timeout", "200ms")),
    (Exit.PARTLY, nothing, ("import", "-", "--list", "all")),
    (Exit.NOT_RUNNING, draft, ("status", "spring", "--check")),
]
#: Shown by tests of their own: nobody to talk to, no permission, another version, an interruption.
ELSEWHERE = {Exit.UNREACHABLE, Exit.FORBIDDEN, Exit.VERSION, Exit.INTERRUPTED}


@pytest.mark.parametrize(
    ("code", "prepare", "arguments"),
    TABLE,
    ids=[f"{int(code)}-{prepare.__name__}-{'-'.join(arguments)}" for code, prepare, arguments in TABLE],
)
def test_exit_codes(shared: Hub, code: Exit, prepare: Prepare, arguments: tuple[str, ...]) -> None:
    name = f"spring-{next(NUMBERS)}"
    prepare(shared, name)
    named = [name if argument == "spring" else argument for argument in arguments]
    done = shared.run(*named, stdin="email\nann@example.com\nx\n" if "-" in arguments else None)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr


def test_exit_codes_without_a_daemon(hub: Hub) -> None:
    hub.end()
    assert hub.run("status").returncode == Exit.UNREACHABLE
    assert hub.run("log", "-f").returncode == Exit.UNREACHABLE
    assert hub.run("status", "--check").returncode == Exit.NOT_RUNNING


def test_every_exit_code_is_shown() -> None:
    assert {code for code, _, _ in TABLE} | ELSEWHERE == set(Exit)


def test_exit_code_130_ctrl_c_detaches_and_stops_nothing(hub: Hub) -> None:
    hub.contacts(50)
    running(hub, "spring")
    for command in (("watch", "spring"), ("log", "spring", "-f"), ("wait", "spring")):
        following = launcher.popen(
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
        following.communicate(timeout=TIMEOUT)
        assert following.returncode == 130, command
    assert hub.json("status", "spring")["campaign"]["state"] == "running"


def test_an_error_as_json_names_its_exit_code(shared: Hub) -> None:
    for arguments, code in ((("status", "nobody"), 3), (("start",), 2), (("delete", "x"), 3)):
        done = shared.run(*arguments, "--json")
        assert done.returncode == code
        told = json.loads(done.stderr)
        assert (told["schema"], told["error"]["exit"]) == ("hubctl.error/1", code)


def test_every_code_of_the_table_is_in_the_help_of_hubctl(shared: Hub) -> None:
    told = " ".join(shared.ok("--help").split())
    for code in Exit:
        assert f" {int(code)} " in told.replace(",", " ").replace("Exit codes:", "Exit codes: "), code


INTERRUPTED_IN_AN_IMPORT = """
import click
from hubctl.cli import hubctl

def imports():
    exec("raise KeyboardInterrupt")  # as a Ctrl-C does while a dataclass is made

hubctl.add_command(click.Command("begin", callback=imports))
hubctl.main(["begin"])
"""
INTERRUPTED_IN_A_DESTRUCTOR = """
import os, signal, time
import click
from hubctl.cli import hubctl

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

def destroys():
    Last()
    time.sleep(3600)

hubctl.add_command(click.Command("begin", callback=destroys))
hubctl.main(["begin"])
"""


@pytest.mark.parametrize("begins", [INTERRUPTED_IN_AN_IMPORT, INTERRUPTED_IN_A_DESTRUCTOR])
def test_130_is_the_status_wherever_ctrl_c_comes(tmp_path: Path, begins: str) -> None:
    """During an import Python would end itself by a signal, which looks like a crash; in a destructor it
    would report the interrupt and go on.
    """
    (tmp_path / "begins.py").write_text(begins)
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-m", "begins"],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stderr) == (130, "\ninterrupted\n")
