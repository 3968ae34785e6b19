"""A password at a prompt is not shown, whatever signal arrives while it is typed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.apps.conftest import ROOT, TIMEOUT, Hub, Terminal
from tests.whole.conftest import until

PROMPT = "Password (not shown while you type): "
USER = ("--security", "none", "--username", "u@example.com")
OFFICE = ("provider", "add", "office", "--host", "127.0.0.1", "--port", "9", *USER)
SHELL = ["bash", "--norc", "--noprofile", "-i"]


def in_a_shell(hub: Hub, on_terminal: Any) -> Terminal:
    """hubctl at its prompt, as a job of an interactive shell."""
    environ = {**hub.environ, "PS1": "shell> ", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    terminal: Terminal = on_terminal(SHELL, environ)
    terminal.until("shell> ")
    terminal.type(f"{' '.join(hub.command(*OFFICE))}\n")
    terminal.until(PROMPT)
    return terminal


def job_of(terminal: Terminal) -> int:
    """The process that the shell runs in the foreground."""
    return os.tcgetpgrp(terminal.master)


def state_of(process: int) -> str:
    """R (runs), S (sleeps), T (stopped) ...: proc_pid_stat(5)."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]


def test_what_is_typed_after_ctrl_z_and_fg_is_not_shown(hub: Hub, on_terminal: Any) -> None:
    terminal = in_a_shell(hub, on_terminal)
    for half in ("fIrst", "sEcond"):
        terminal.type(half)
        terminal.type("\x1a")
        terminal.after("Stopped")
        terminal.until("shell> ")
        assert half not in terminal.seen
        terminal.type("fg\n")
        terminal.after(PROMPT)
        assert not terminal.echoes
    terminal.type("whOle\n")
    terminal.after("? [Y/n]")
    assert "whOle" not in terminal.seen
    terminal.type("n\n")
    terminal.after("shell> ")
    assert (hub.folder / "office.pass").read_text() == "whOle\n", "what was typed before Ctrl-Z is gone"


def test_what_is_typed_before_a_stop_by_signal_does_not_reach_the_shell(hub: Hub, on_terminal: Any) -> None:
    terminal = in_a_shell(hub, on_terminal)
    # The kernel hands over later what is written to the terminal: the answer to the first line shows that it
    # did so with all of it.
    os.write(terminal.master, b"\xff\nhAlf")
    terminal.after("it is not UTF-8 text")
    terminal.until(PROMPT)
    os.kill(job_of(terminal), signal.SIGTSTP)
    terminal.after("Stopped")
    terminal.type("\necho done\n")
    terminal.until("\ndone")
    assert "hAlf" not in terminal.seen
    terminal.type("kill %1; fg\n")
    terminal.after("Terminated")


def test_what_is_typed_after_it_was_stopped_without_notice_is_not_shown(hub: Hub, on_terminal: Any) -> None:
    """SIGSTOP cannot be handled; SIGCONT can."""
    terminal = in_a_shell(hub, on_terminal)
    job = job_of(terminal)
    os.kill(job, signal.SIGSTOP)
    terminal.after("Stopped")
    terminal.until("shell> ")
    terminal.type("bg\n")
    terminal.after(PROMPT)
    # The kernel stops a job that reads in the background, even one that comes to the foreground that moment.
    until(lambda: state_of(job) == "T", "the job is stopped for reading in the background")
    terminal.type("fg\n")
    terminal.after(PROMPT)
    # The prompt may be the one that it showed in the background.
    until(lambda: job_of(terminal) == job and not terminal.echoes, "the prompt of the foreground")
    terminal.type("whOle\n")
    terminal.after("? [Y/n]")
    assert "whOle" not in terminal.seen


def at_the_prompt(hub: Hub, on_terminal: Any) -> Terminal:
    terminal: Terminal = on_terminal(hub.command(*OFFICE), hub.environ)
    terminal.until(PROMPT)
    assert not terminal.echoes
    return terminal


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_signal_that_ends_it_leaves_the_echo_on(hub: Hub, on_terminal: Any, name: str) -> None:
    terminal = at_the_prompt(hub, on_terminal)
    terminal.type("hAlf")
    number = getattr(signal, name)
    terminal.process.send_signal(number)
    assert terminal.process.wait(TIMEOUT) == -number
    assert terminal.echoes


_SIGNALLED_ELSEWHERE = """
import os, signal, sys, threading
from hubctl.hidden_input import ask_hidden

def when_told():
    open(sys.argv[1]).close()
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=when_told, daemon=True).start()
ask_hidden("Secret", lambda answer: "")
"""


def test_a_signal_that_does_not_interrupt_the_read_is_not_missed(
    hub: Hub, on_terminal: Any, tmp_path: Path
) -> None:
    """As one that arrives just before it: here another thread gets it."""
    told = tmp_path / "told"
    os.mkfifo(told)
    command = [sys.executable, "-c", _SIGNALLED_ELSEWHERE, str(told)]
    terminal: Terminal = on_terminal(command, {**hub.environ, "PYTHONPATH": str(ROOT)})
    terminal.until("Secret: ")
    until(lambda: state_of(terminal.process.pid) == "S", "it waits for what is typed")
    told.write_text("")
    assert terminal.process.wait(TIMEOUT) == -signal.SIGTERM
    assert terminal.echoes


@pytest.mark.parametrize(("key", "said"), [("\x03", "interrupted"), ("\x04", "interrupted")])
def test_ctrl_c_and_ctrl_d_leave_the_echo_on(hub: Hub, on_terminal: Any, key: str, said: str) -> None:
    terminal = at_the_prompt(hub, on_terminal)
    terminal.type(key)
    terminal.until(said)
    assert terminal.process.wait(TIMEOUT) == 130
    assert terminal.echoes
    assert not (hub.folder / "office.pass").exists()


def test_a_signal_that_was_ignored_stays_ignored(hub: Hub, on_terminal: Any) -> None:
    """As after `nohup`."""
    trap = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *hub.command(*OFFICE)]
    terminal = on_terminal(trap, hub.environ)
    terminal.until(PROMPT)
    terminal.process.send_signal(signal.SIGHUP)
    terminal.type("whOle\n")
    terminal.until("? [Y/n]")
    assert "whOle" not in terminal.seen


def test_what_is_no_password_is_asked_for_again(hub: Hub, on_terminal: Any) -> None:
    terminal = at_the_prompt(hub, on_terminal)
    terminal.type("\n")
    terminal.after(PROMPT)
    os.write(terminal.master, b"\xff\xfe\n")
    terminal.after("it is not UTF-8 text")
    terminal.until(PROMPT)
    terminal.type("gOod\n")
    terminal.after("? [Y/n]")
    assert "gOod" not in terminal.seen
