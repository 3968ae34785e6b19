"""A line typed at the terminal that is not shown, whatever signal arrives while it is typed.

A shell has terminal settings of its own: it takes the terminal when we are stopped (Ctrl-Z), and gives it
back with the echo on. So the echo is switched off again when we are continued, and what was typed so far is
thrown away when we stop or end, or the shell would read it as a command and show it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import click

from hubctl.keys import is_foreground

#: Signals that end a program that does not handle them.
_DEADLY = ("SIGTERM", "SIGHUP", "SIGQUIT")


def ask_hidden(question: str, problem_of: Callable[[str], str], *, empty: bool = False) -> str:
    """Ask until there is an answer in which `problem_of` finds no problem; with `empty` it may be "".

    Raises click.Abort for Ctrl-C and Ctrl-D.
    """
    prompt = f"{question}: "
    while True:
        try:
            answer = _read_line(prompt).decode()
        except UnicodeDecodeError:
            click.echo("Error: it is not UTF-8 text", err=True)
            continue
        if not answer and not empty:
            continue
        if not (problem := problem_of(answer)):
            return answer
        click.echo(f"Error: {problem}", err=True)


def _read_line(prompt: str) -> bytes:
    if sys.platform == "win32":
        import getpass

        return getpass.getpass(prompt).encode(errors="surrogatepass")
    fd = sys.stdin.fileno()
    try:
        sys.stderr.flush()
        with _no_echo(fd, prompt.encode(sys.stderr.encoding, "replace")):
            line = _line_from(fd)
    except (KeyboardInterrupt, EOFError):
        raise click.Abort from None
    finally:
        click.echo(err=True)  # the Enter that ended it was not shown either
    return line


def _line_from(fd: int) -> bytes:
    """One line without its end. Raises EOFError."""
    line = b""
    with _woken_by_signals() as woken:
        while not line.endswith(b"\n"):
            # In the background there is nothing to wait for: reading stops us until we are continued.
            if is_foreground(fd) and fd not in select.select([fd, woken], [], [])[0]:
                os.read(woken, 4096)
                continue
            came = os.read(fd, 4096)  # at most one line: the terminal delivers whole lines
            if not came and not line:
                raise EOFError
            line += came
    return line[:-1]


@contextmanager
def _woken_by_signals() -> Iterator[int]:
    """A file descriptor that becomes readable after a signal.

    One that arrives just before a system call does not interrupt it, and its handler would have to wait for
    what is typed next.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


@contextmanager
def _no_echo(fd: int, prompt: bytes) -> Iterator[None]:
    """Switch the echo off until the end of the block, and show the prompt now and after each interruption."""
    import termios

    before = termios.tcgetattr(fd)
    silent = [*before]
    silent[3] &= ~termios.ECHO

    def show_prompt() -> None:
        with suppress(OSError):  # nobody reads stderr
            os.write(2, prompt)  # unlike sys.stderr, safe when a signal handler prints meanwhile

    def hide() -> None:
        if is_foreground(fd):  # else the terminal is another job's, and SIGCONT comes once more with `fg`
            with suppress(termios.error):
                termios.tcsetattr(fd, termios.TCSADRAIN, silent)

    def show() -> None:
        if is_foreground(fd):
            with suppress(termios.error):
                termios.tcsetattr(fd, termios.TCSAFLUSH, before)

    def stop(number: int, frame: FrameType | None) -> None:
        show()
        _do_default(number)  # returns when we are continued
        hide()

    def go_on(number: int, frame: FrameType | None) -> None:
        hide()
        show_prompt()

    def end(number: int, frame: FrameType | None) -> None:
        show()
        _do_default(number)

    reactions = {"SIGTSTP": stop, "SIGCONT": go_on, **dict.fromkeys(_DEADLY, end)}
    with _handled(reactions):
        finished = False
        try:
            hide()
            show_prompt()
            yield
            finished = True
        finally:
            if finished and is_foreground(fd):
                # Pending input is kept: it was typed for the next question.
                termios.tcsetattr(fd, termios.TCSADRAIN, before)
            else:
                show()


def _do_default(number: int) -> None:
    """Let a signal do what it does to a program that has no handler for it."""
    handler = signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.signal(number, handler)


@contextmanager
def _handled(reactions: Mapping[str, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    """Handle these signals until the end of the block, except those that are ignored, as after `nohup`."""
    before: dict[int, Any] = {}
    try:
        for name, reaction in reactions.items():
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, reaction)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
