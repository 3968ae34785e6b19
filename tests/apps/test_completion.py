"""Completion in the three shells, with names asked of the daemon."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hubctl.commands.completion import INSTALL
from tests import launcher
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, Hub
from tests.apps.test_command_line import run


def complete(
    hub: Hub | None, *words: str, program: tuple[str, ...] = ("-m", "hubctl")
) -> subprocess.CompletedProcess[str]:
    """What bash would be offered for the last of `words`."""
    line = " ".join(["hubctl", *words])
    asked = {"_HUBCTL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    base = dict(QUIET_ENV) if hub is None else {**hub.environ, "HUBCTL_SOCKET": str(hub.socket)}
    return launcher.run([sys.executable, *program], timeout=TIMEOUT, cwd=ROOT, env={**base, **asked})


def offered(hub: Hub | None, *words: str) -> list[str]:
    """What is offered at last: on a busy machine the answer may come after the cap, and then it is none."""
    end = time.monotonic() + TIMEOUT
    found = [""]
    while found == [""] and time.monotonic() < end:
        done = complete(hub, *words)
        assert done.stderr == ""
        found = [line.partition(",")[2] for line in done.stdout.splitlines()]
    return found


def test_commands_and_options_need_no_daemon() -> None:
    assert offered(None, "arch") == ["archive"]
    assert offered(None, "provider", "en") == ["enable"]
    assert offered(None, "start", "--fol") == ["--follow"]
    assert offered(None, "wait", "x", "--j") == ["--json"]


def test_names_of_campaigns_lists_and_providers_come_from_the_daemon(hub: Hub) -> None:
    hub.contacts(1, into="customers")
    for name in ("spring-sale", "summer"):
        hub.campaign(name, lists=["customers"])
    assert offered(hub, "start", "s") == ["spring-sale", "summer"]
    assert offered(hub, "start", "spr") == ["spring-sale"]
    assert offered(hub, "watch", "summer", "s") == ["spring-sale"]
    assert offered(hub, "contacts", "list", "--list", "c") == ["customers"]
    assert offered(hub, "send", "--provider", "o") == ["outbox"]
    assert offered(hub, "--json", "--socket", str(hub.socket), "pause", "sum") == ["summer"]


def test_without_a_daemon_nothing_is_offered_and_nothing_is_said() -> None:
    done = complete(None, "--socket", "/nonexistent/x.sock", "start", "s")
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("", "", 0)
    done = complete(None, "--context", "nowhere", "start", "s")
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("", "", 0)


def test_a_daemon_that_does_not_answer_is_given_up(place: Path) -> None:
    """The limit on connecting is lifted, so nothing but the cap ends it before PATIENCE does."""
    program = (
        "import hubctl.app; hubctl.app.CONNECT_SECONDS = 1e9; "
        "from hubctl.cli import hubctl; hubctl(prog_name='hubctl')"
    )
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place / "s"))
        silent.listen()
        done = complete(None, "--socket", str(place / "s"), "start", "s", program=("-c", program))
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_it_can_read(shell: str) -> None:
    made = run("completion", shell)
    assert made.exit_code == 0
    assert "_HUBCTL_COMPLETE" in made.stdout
    found = shutil.which(shell)
    assert found is not None, f"{shell} is missing: tests/run installs it"
    subprocess.run([found, "-n"], input=made.stdout, text=True, check=True, timeout=TIMEOUT)


def test_bash_completes_with_the_script(hub: Hub, place: Path) -> None:
    hub.campaign("spring-sale")
    (place / "bin").mkdir()
    (place / "bin" / "hubctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m hubctl "$@"\n')
    (place / "bin" / "hubctl").chmod(0o755)
    program = (
        'eval "$(hubctl completion bash)"\n'
        "COMP_WORDS=(hubctl pause spr) COMP_CWORD=2\n"
        f"end=$((SECONDS + {TIMEOUT:.0f}))\n"
        'until [ -n "${COMPREPLY[*]}" ] || [ $SECONDS -gt $end ]; do\n'  # the cap may be too short
        "  _hubctl_completion hubctl spr pause\n"
        "done\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    environ = {**hub.environ, "HUBCTL_SOCKET": str(hub.socket), "PYTHONPATH": str(ROOT)}
    environ["PATH"] = f"{place}/bin:{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", program],
        capture_output=True,
        text=True,
        env=environ,
        cwd=place,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.stdout == "spring-sale\n", done.stderr


def test_the_help_has_the_line_for_each_shell() -> None:
    shown = run("completion", "--help").output
    for line in INSTALL.values():
        assert line in shown


def test_an_unknown_shell_is_a_usage_error() -> None:
    assert run("completion", "tcsh").exit_code == 2
