"""One run of hubctl: its options, its two output streams, its way to the daemon.

stdout carries data only. Everything else (progress, questions, warnings, errors) goes to stderr, so that a
pipe never sees it. Nothing is coloured, drawn or asked unless the stream in question is a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from hubctl import spans
from hubctl.exits import Exit, Refused, TimedOut
from hubctl.layout import printable
from hubd.errors import HubError
from hubd.wire.places import Place, find_socket

if TYPE_CHECKING:
    from hubd.client import Client

T = TypeVar("T")
Json = dict[str, Any]


@dataclass(slots=True)
class App:
    """What the global options say, and what every command needs."""

    socket: str | None = None
    as_json: bool = False
    quiet: bool = False
    no_input: bool = False
    yes: bool = False
    timeout: float | None = None
    color: str = "auto"
    name: str = ""  #: the command, as in the schema: "start", "contacts.list"

    def merge(self, options: Mapping[str, Any]) -> None:
        """Take over options given after the command's name; the later one wins."""
        for key, value in options.items():
            if value is not None and value is not False:
                setattr(self, key, value)

    # --- output -----------------------------------------------------------------------------------------

    def out(self, text: str = "") -> None:
        """One line (or several) of data to stdout."""
        _write(sys.stdout, text + "\n")

    def note(self, text: str) -> None:
        """Something for people to stderr, unless `--quiet`."""
        if not self.quiet:
            sys.stdout.flush()
            _write(sys.stderr, text + "\n")

    def data(self, text: str) -> None:
        """Data to stdout exactly as it is; it may stay in the buffer for now."""
        sys.stdout.write(text)

    def complain(self, text: str) -> None:
        """A fault that was found in what was handed in, to stderr, also with `--quiet`."""
        sys.stdout.flush()
        _write(sys.stderr, printable(text) + "\n")

    def record(self, values: Mapping[str, Any]) -> None:
        """The `--json` answer: one object whose first key is its schema."""
        self.out(encode({"schema": f"hubctl.{self.name}/1", **values}))

    def live(self, stream: TextIO) -> bool:
        """Whether `stream` is a terminal on which something may be drawn."""
        return not self.as_json and stream.isatty() and os.environ.get("TERM") != "dumb"

    def coloured(self, stream: TextIO | None = None) -> bool:
        """Whether text to `stream` (stdout when None) may carry colours."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("CLICOLOR_FORCE", "0") not in {"", "0"}:
            return True
        return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"

    def width(self) -> int:
        """Columns of the terminal; wide when there is none, so that nothing is cut in a pipe."""
        if not sys.stdout.isatty():
            return 10_000
        import shutil

        return shutil.get_terminal_size().columns

    # --- questions --------------------------------------------------------------------------------------

    def may_ask(self) -> bool:
        """Whether there is somebody to ask."""
        silent = self.no_input or bool(os.environ.get("HUBCTL_NO_INPUT"))
        return not silent and sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str, *, needed: bool) -> None:
        """Ask before something big. Raises Refused when the answer is no, or when an answer is `needed` but
        nobody can be asked (exit 2)."""
        if self.yes:
            return
        if not self.may_ask():
            if needed:
                raise Refused(
                    f"{question}: this needs an answer and there is no terminal to ask on",
                    code="prompt_needed",
                    status=Exit.USAGE,
                    hint="pass --yes",
                )
            return
        answer = click.prompt(
            f"{question}? [y/N]", default="n", show_default=False, prompt_suffix=" ", err=True
        )
        if str(answer).strip().lower() not in {"y", "yes"}:
            raise Refused("nothing was done", code="declined", status=Exit.FAILED)

    # --- the daemon -------------------------------------------------------------------------------------

    def place(self) -> Place:
        """The socket this run talks to."""
        return find_socket(self.socket)

    def talk(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Connect, run `work(hub)` within `--timeout`, disconnect. Raises HubError and its children."""
        from hubd.client import open_client

        place = self.place()

        async def session() -> T:
            async with open_client(place, client=("hubctl", version())) as hub:
                return await work(hub)

        return self.run(session)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something on Trio within `--timeout`; its errors come out plain, in our words."""
        import trio

        async def limited() -> T:
            with trio.move_on_after(self.timeout if self.timeout is not None else float("inf")):
                return await work()
            raise TimedOut(
                f"not done within {spans.spoken(self.timeout)}; the work goes on",
                hint="hubctl status shows how things stand",
            )

        try:
            return trio.run(limited)
        except BaseExceptionGroup as group:
            raise _single(group) from group

    def call(self, method: str, **params: Any) -> Json:
        """One call on a connection of its own."""

        async def work(hub: Client) -> Json:
            return await hub.call(method, **params)

        return self.talk(work)


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception that matters of a group: Ctrl-C before errors, our errors before bugs."""
    for kind in (KeyboardInterrupt, HubError, OSError):
        found = group.subgroup(kind)
        while found is not None:
            first = found.exceptions[0]
            if not isinstance(first, BaseExceptionGroup):
                return first
            found = first
    return group


def _write(stream: TextIO, text: str) -> None:
    """Write at once. A character the terminal's encoding lacks is shown escaped instead of failing.

    Raises OSError for data that is lost; a remark that nobody can read is not worth stopping for.
    """
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except OSError:
        if stream is not sys.stderr:
            raise


def encode(values: Mapping[str, Any]) -> str:
    """One JSON object on one line, in UTF-8 (lone surrogates escaped)."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def version() -> str:
    """The version of the installed distribution."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("messagehub")
    except PackageNotFoundError:
        return "unknown"


def report(error: HubError, *, as_json: bool, colour: bool) -> None:
    """An error on stderr: one sentence, its particulars, the next step; or one JSON object."""
    from hubctl.exits import exit_of, way_out

    hint = way_out(error)
    if as_json:
        body = {"code": error.code, "message": str(error), "hint": hint, "exit": int(exit_of(error))}
        details = getattr(error, "details", None)
        if details:
            body["details"] = details
        _write(sys.stderr, encode({"schema": "hubctl.error/1", "error": {**body, "data": error.data}}) + "\n")
        return
    red, dim, plain = ("\x1b[31m", "\x1b[2m", "\x1b[0m") if colour else ("", "", "")
    lines = [f"{red}error:{plain} {printable(str(error))}"]
    lines += [f"  {printable(line)}" for line in error_lines(error)]
    if hint:
        lines.append(f"{dim}{printable(hint)}{plain}")
    _write(sys.stderr, "\n".join(lines) + "\n")


def error_lines(error: HubError) -> list[str]:
    """The particulars of an error that are worth a line each."""
    details = getattr(error, "details", None)
    if details:
        return list(details)
    listed = error.data.get("errors")
    if isinstance(listed, list) and len(listed) > 1:
        return [_fault(each) for each in listed if isinstance(each, dict)]
    return []


def _fault(each: Mapping[str, Any]) -> str:
    path, problem = each.get("path", ""), each.get("problem", "")
    return f"{path}: {problem}" if path else str(problem)
