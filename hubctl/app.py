"""One run of hubctl: its options, its two output streams, its connection to the daemon.

stdout carries data only. Everything else (progress, questions, warnings, errors) goes to stderr, so that a
pipe never sees it. Nothing is coloured, drawn or asked unless the stream in question is a terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, overload

import click

from hubctl import spans
from hubctl.exits import Detached, Exit, Refused, TimedOut
from hubctl.layout import harmless, printable
from hubd import __version__
from hubd.errors import HubError, NotFound, Unreachable, VersionSkew, did_you_mean
from hubd.wire import methods as m
from hubd.wire.methods import Method, name_of
from hubd.wire.places import Place

if TYPE_CHECKING:
    from hubd.client import Client

T = TypeVar("T")
#: What JSON does not escape but a terminal or an editor acts on: C1 controls, line separators, direction
#: marks and other invisible characters (Unicode category Cf).
_UNSAFE = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
FORCE_TTY = "HUBCTL_FORCE_TTY"  #: take output for a terminal; a number above 1 is its width in columns
MANY = 10_000  #: people; to reach more, a reflexive "y" is not enough
CONNECT_SECONDS = 10.0  #: for reaching the daemon, unless `--timeout` is shorter
#: Commands that work with a daemon of another version, by these methods.
_ACROSS_VERSIONS = {"daemon.status", "daemon.reload", "daemon.shutdown", "rpc.discover"}
_METHODS_ACROSS = {"hub.status", "hub.reload", "hub.shutdown", "rpc.discover"}
Json = dict[str, Any]


@dataclass(slots=True)
class App:
    """What the global options say, and what every command needs."""

    socket: str | None = None
    context: str | None = None
    config: str | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    no_input: bool = False
    yes: bool = False
    timeout: float | None = None
    color: str = "auto"
    name: str = ""  #: the command, as in the schema: "start", "contacts.list"
    changes: bool = False  #: whether the command changes something before it prints its answer
    subject: str = ""  #: the campaign that was named, if any
    answered: str = ""  #: where the last daemon to answer is, and why that one; "" before any answered
    summary: Callable[[], str] | None = None  #: the state of what was waited for, once waiting is given up
    _place: Place | None = None
    _warned: bool = False  #: about a daemon of another version

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
        """A fault found in the input, to stderr, even with `--quiet`."""
        sys.stdout.flush()
        _write(sys.stderr, printable(text) + "\n")

    def record(self, values: Mapping[str, Any]) -> None:
        """The `--json` answer: one object whose first key is its schema."""
        self.out(encode({"schema": f"hubctl.{self.name}/1", **values}))

    def live(self, stream: TextIO) -> bool:
        """Whether `stream` is a terminal on which something may be drawn."""
        return not self.as_json and is_terminal(stream) and os.environ.get("TERM") != "dumb"

    def coloured(self, stream: TextIO | None = None) -> bool:
        """Whether text to `stream` (stdout when None) may carry colours."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("CLICOLOR_FORCE", "0") not in {"", "0"}:
            return True
        return is_terminal(stream or sys.stdout) and os.environ.get("TERM") != "dumb"

    def width(self) -> int:
        """Columns of the terminal; wide when there is none, so that nothing is cut in a pipe."""
        if not is_terminal(sys.stdout):
            return 10_000
        forced = os.environ.get(FORCE_TTY, "")
        if forced.isascii() and forced.isdecimal() and int(forced[:5]) > 1:
            return int(forced[:5])
        import shutil

        return shutil.get_terminal_size().columns

    # --- questions --------------------------------------------------------------------------------------

    def may_ask(self) -> bool:
        """Whether there is somebody to ask."""
        silent = self.no_input or bool(os.environ.get("HUBCTL_NO_INPUT"))
        return not silent and sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str, *, needed: bool, name: str = "", people: int = 0) -> None:
        """Ask before something big. With very many `people` a "y" is not enough: `name` has to be typed.

        Raises Refused when the answer is no, or when an answer is `needed` but nobody can be asked (exit 2).
        """
        if self.yes:
            return
        if not self.may_ask():
            if needed:
                raise Refused(
                    f"{question}? An answer is needed, but there is no terminal to ask on",
                    code="prompt_needed",
                    status=Exit.USAGE,
                    hint="pass --yes",
                )
            return
        type_back = name if people > MANY else ""
        wanted = f"Type {type_back} to continue:" if type_back else "[y/N]"
        shown = printable(f"{question}? {wanted}")
        answer = click.prompt(shown, default="n", show_default=False, prompt_suffix=" ", err=True)
        if str(answer).strip().lower() not in ({type_back} if type_back else {"y", "yes"}):
            raise Refused("nothing was done", code="declined", status=Exit.FAILED)

    # --- the daemon -------------------------------------------------------------------------------------

    def place(self) -> Place:
        """The socket this run talks to. Raises Refused for a context that cannot be used."""
        if self._place is None:
            from hubctl.contexts import choose

            self._place = choose(self.socket, self.context, self.config)
            if self.context and self._place.chosen == "$HUBCTL_SOCKET":
                self.note(f"warning: $HUBCTL_SOCKET is set, so --context {self.context} is not used")
        return self._place

    def talk(self, work: Callable[[Client], Awaitable[T]], *, any_version: bool = False) -> T:
        """Connect, run `work(hub)` within `--timeout`, disconnect. Raises HubError and its children."""
        from hubd.client import open_client

        place = self.place()
        reached = False

        async def session() -> T:
            nonlocal reached
            async with open_client(
                place, client=("hubctl", version()), timeout=CONNECT_SECONDS, any_version=any_version
            ) as hub:
                reached = True
                self.greet(hub)
                try:
                    return await work(hub)
                except NotFound as error:
                    raise await self.nearest(hub, error) from None
                except HubError as error:
                    if hub.skew is None or error.code != "handshake_required":
                        raise
                    raise hub.skew from None  # this daemon wants the same version for this method

        try:
            return self.run(session)
        except HubError as error:
            if error.code == "method_not_found" and not isinstance(error, Refused):
                raise VersionSkew(
                    f"the hubd at {place.path} does not support this command of hubctl {version()}",
                    hint="install the same version on both sides, then restart hubd",
                ) from None
            if reached or not isinstance(error, TimedOut):
                raise
            raise Unreachable(
                f"hubd does not answer at {place.path}",
                code="timeout",
                hint="it is starting or stuck, or another program listens there",
            ) from None

    async def nearest(self, hub: Client, error: NotFound) -> NotFound:
        """The error, with the nearest name when it is about the campaign that was named."""
        if error.code != "campaign_not_found" or not self.subject:
            return error
        listed = await hub.call(m.CAMPAIGN_LIST, all=True, archived=True)
        near = did_you_mean(self.subject, (view["name"] for view in listed["campaigns"]))
        words = f"there is no campaign {self.subject}{near}"
        return NotFound(words, code=error.code, hint=error.hint, data=error.data)

    def greet(self, hub: Client) -> None:
        """Remember which daemon answers, and why that one; say so if `--verbose`. Warn of another version."""
        self.answered = hub.reached.describe()
        if self.verbose:
            role = f" as {hub.hello['role']}" if hub.hello.get("role") == "viewer" else ""
            answers = f"hubd {hub.hello.get('server_version', '')} at {self.answered}"
            self.note(f"hubctl {version()} talks to {answers}{role}")
        if hub.skew is not None and not self._warned:
            self._warned = True
            self.note(f"warning: {hub.skew}")

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something on Trio within `--timeout`; its errors are raised as they are, not in a group."""
        import trio

        async def limited() -> T:
            with trio.move_on_after(self.timeout if self.timeout is not None else float("inf")):
                return await work()
            stands = self.summary() if self.summary is not None else ""
            raise TimedOut(
                f"not finished within {spans.spoken(self.timeout)}; {stands or 'the work continues'}",
                hint="see the current state with: hubctl status",
            )

        try:
            return trio.run(limited)
        except BaseExceptionGroup as group:
            raise _first_error(group) from group

    @overload
    def call(self, method: Method[T], **params: Any) -> T: ...
    @overload
    def call(self, method: str, **params: Any) -> Json: ...
    def call(self, method: Method[T] | str, **params: Any) -> T | Json:
        """One call on a connection of its own."""

        async def work(hub: Client) -> T | Json:
            return await hub.call(method, **params)

        any_version = self.name in _ACROSS_VERSIONS and name_of(method) in _METHODS_ACROSS
        return self.talk(work, any_version=any_version)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether `stream` is a terminal, or $HUBCTL_FORCE_TTY treats it as one. None is a closed stream."""
    return stream is not None and (stream.isatty() or os.environ.get(FORCE_TTY, "0") not in {"", "0"})


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in a group that matters: Ctrl-C before errors, our errors before bugs."""
    for kind in (KeyboardInterrupt, Detached, HubError, OSError):
        found = group.subgroup(kind)
        while found is not None:
            first = found.exceptions[0]
            if not isinstance(first, BaseExceptionGroup):
                return first
            found = first
    return group


def _write(stream: TextIO, text: str) -> None:
    """Write at once. A character the terminal's encoding lacks is shown escaped instead of failing.

    Text from outside that has not been escaped yet is escaped here. Raises OSError if data is lost; a lost
    note is no reason to stop.
    """
    text = harmless(text)
    if stream is sys.stderr:
        with suppress(OSError):
            _put(stream, text)
        return
    _put(stream, text)


def _put(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def encode(values: Mapping[str, Any], *, indent: int | None = None) -> str:
    """One JSON object on one line, in UTF-8.

    It escapes lone surrogates, what some readers take for the end of a line, and what a terminal acts on.
    """
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, indent=indent)
    if text.isascii():
        return text
    text = _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return text.encode("utf-8", "backslashreplace").decode()


def version() -> str:
    """The version of the package, which also contains hubd. No search of the installed packages is needed."""
    return __version__


def report(error: HubError, *, as_json: bool, colour: bool, verbose: bool = False) -> None:
    """An error on stderr: one sentence, its particulars, the next step; or one JSON object.

    `verbose` adds its code and its data.
    """
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
    if verbose:
        lines.append(f"{dim}code {error.code}, exit {int(exit_of(error))}, data {encode(error.data)}{plain}")
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
