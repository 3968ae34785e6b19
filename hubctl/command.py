"""How a command of hubctl is declared: the global options everywhere, an example in every help text."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TextIO

import click
from click.shell_completion import CompletionItem

from hubctl import output, spans
from hubctl.app import App, report
from hubctl.exits import Detached, Exit, exit_of
from hubctl.interrupts import hear_no_more_signals, repeat_lost_interrupts
from hubctl.layout import harmless
from hubctl.streams import OutputLost
from hubd.errors import HubError, nearest


class Span(click.ParamType[float]):
    """A length of time on the command line; becomes seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds in "30s"; a usage error if it is not a length of time."""
        if isinstance(value, float):
            return value
        try:
            return spans.seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def common_options() -> list[click.Parameter]:
    """The options that every command takes, before or after its name."""
    return [
        click.Option(
            ["--socket"], metavar="PATH", help="The daemon's socket or endpoint file [$HUBCTL_SOCKET]."
        ),
        click.Option(
            ["--context"], metavar="NAME", help="A daemon named in hubctl.toml, or `user` or `system`."
        ),
        click.Option(
            ["--config"], metavar="FILE", help="Path of hubctl.toml [$HUBCTL_CONFIG, else your own]."
        ),
        click.Option(
            ["--json", "as_json"], is_flag=True, help="Print one JSON object; streams print JSON lines."
        ),
        click.Option(
            ["--output"],
            type=click.Choice(output.FORMATS),
            metavar="FORMAT",
            help=f"Output format: {', '.join(output.FORMATS)} [table].",
        ),
        click.Option(
            ["--fields", "only"], metavar="A,B", help="Print only these fields (a.b is the key b of a)."
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="Print no progress and no notes on stderr."),
        click.Option(
            ["-v", "--verbose"], is_flag=True, help="Show which daemon answers, and more about errors."
        ),
        click.Option(["--no-input"], is_flag=True, help="Never ask; fail if an answer is needed."),
        click.Option(["-y", "--yes"], is_flag=True, help="Answer yes to every question."),
        click.Option(
            ["--timeout"], type=Span(), metavar="TIME", help="Stop waiting after this time (30s, 5m)."
        ),
        click.Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            metavar="WHEN",
            help="Use colours: auto, always or never.",
        ),
    ]


class Command(click.Command):
    """A command whose function gets the `App` first; its own options are shown before the common ones.

    Args:
        changes: Whether it changes anything. Then it has done so before its answer is printed.
    """

    def __init__(self, *args: Any, example: str = "", changes: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.changes = changes
        own = {param.name for param in self.params}
        if changes and "dry_run" not in own:
            self.params.append(
                click.Option(["--dry-run"], is_flag=True, help="Show what would happen; change nothing.")
            )
        self.shared = [param for param in common_options() if param.name not in own]
        self.params += self.shared

    def invoke(self, ctx: click.Context) -> Any:
        """Hand the common options to the app before the command runs."""
        app = ctx.ensure_object(App)
        names = {param.name for param in self.shared}
        given = {key: ctx.params.pop(key) for key in list(ctx.params) if key in names}
        output.ask(ctx, given.pop("output"), given.pop("only"), lenient=self.changes)
        app.merge(given)
        app.changes = self.changes and not ctx.params.get("dry_run")
        app.name = ".".join(ctx.command_path.split(" ")[1:]) or "status"
        named: tuple[str, ...] = ctx.params.get("names") or ()
        app.subject = str(ctx.params.get("name") or (named[0] if len(named) == 1 else ""))
        for param in self.params:
            if (param.required or isinstance(param, click.Argument)) and _blank(
                ctx.params.get(param.name or "")
            ):
                raise click.BadParameter("it is empty", ctx, param)
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's own options, the example, and where the common options are described."""
        own = [param for param in self.get_params(ctx) if param not in self.shared]
        write_options(ctx, formatter, "Options", own)
        if self.example:
            with formatter.section("Example"):
                formatter.write_text(f"$ {self.example}")
        formatter.write_paragraph()
        formatter.write_text("For --json, --yes, --timeout and other common options: hubctl help options")


def write_options(
    ctx: click.Context, formatter: click.HelpFormatter, title: str, params: Iterable[click.Parameter]
) -> None:
    """A section of help with the options among these parameters; none if there are no options."""
    options = [param for param in params if isinstance(param, click.Option)]
    rows = [row for param in options if (row := param.get_help_record(ctx)) is not None]
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


def command(
    name: str, *, example: str, within: click.Group | None = None, changes: bool = False
) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command. The function's docstring is its help; its first parameter is the `App`.

    One that `changes` something has the option `--dry-run`, too: the parameter `dry_run` of the function.
    """

    def declare(function: Callable[..., Any]) -> Command:
        made = click.command(name, cls=Command, example=example, changes=changes)(click.pass_obj(function))
        if within is not None:
            within.add_command(made)
        return made

    return declare


def _blank(value: object) -> bool:
    """Whether a required value is given but empty, such as an unset "$NAME" in a script."""
    values = value if isinstance(value, tuple) else (value,)
    return any(isinstance(each, str) and not each.strip() for each in values)


class Nouns(click.Group):
    """A group whose commands are imported only when they are used, so that hubctl starts fast."""

    def __init__(
        self, *args: Any, lazy: dict[str, tuple[str, str, str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy or {}  #: name -> (module:attribute, section, one line of help)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands by their line of help, without importing any of them."""
        if not self.lazy:
            return super().shell_complete(ctx, incomplete)
        found = [
            CompletionItem(name, help=line)
            for name, (_, _, line) in self.lazy.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order of use."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module now."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name in the error."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = nearest(args[0], self.list_commands(ctx))
            hint = f" Did you mean {near}?" if near else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, without importing them."""
        if not self.lazy:
            super().format_commands(ctx, formatter)
            return
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, (_, section, line) in self.lazy.items():
            sections.setdefault(section, []).append((name, line))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)


class ShowingNouns(Nouns, Command):
    """A group that is a command itself, when none of its commands is named."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, invoke_without_command=True, **kwargs)


class Root(Nouns):
    """hubctl itself: the only place where errors become messages and exit codes."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands first: they are what people look for."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the options; one of them may print, such as the help, to a reader that has left."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError:
            _abandon(sys.stdout)
            raise click.exceptions.Exit(Exit.DONE) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that has left ends it before click turns that into a failure."""
        output.ask(ctx, ctx.params.pop("output"), ctx.params.pop("only"))
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _abandon(sys.stdout)
            return Exit.DONE

    def main(  # type: ignore[override]  # never returns: it ends the process itself
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        **extra: Any,
    ) -> NoReturn:
        """Run a command line and end the process with the right code."""
        repeat_lost_interrupts()
        given = list(sys.argv[1:] if args is None else args)
        extra.pop("standalone_mode", None)
        app = App()
        try:
            result = super().main(
                given, prog_name or "hubctl", complete_var, standalone_mode=False, obj=app, **extra
            )
            sys.stdout.flush()
            status = result if isinstance(result, int) else Exit.DONE
        except click.exceptions.Exit as done:
            status = done.exit_code
        except click.UsageError as error:
            status = _usage(error, as_json="--json" in given)
        except click.ClickException as error:
            report(HubError(error.format_message()), as_json="--json" in given, colour=False)
            status = Exit.FAILED
        except HubError as error:
            report(error, as_json=app.as_json, colour=app.coloured(sys.stderr), verbose=app.verbose)
            status = exit_of(error)
        except Detached as stop:
            _last_words(f"\n{stop.note}\n")
            status = Exit.INTERRUPTED
        except (KeyboardInterrupt, click.Abort):
            _last_words("interrupted\n")
            status = Exit.INTERRUPTED
        except BrokenPipeError:
            _abandon(sys.stdout)
            status = Exit.DONE  # the reader had enough, as `| head` does: that is no failure
        except OSError as error:
            if not isinstance(error, OutputLost) and _stdout_works():
                raise
            _abandon(sys.stdout)
            fault = HubError(
                f"the output cannot be written: {(error.strerror or str(error)).lower()}",
                code="output_lost",
                hint="the command took effect; only its output is incomplete" if app.changes else "",
            )
            report(fault, as_json=app.as_json or "--json" in given, colour=app.coloured(sys.stderr))
            status = Exit.FAILED
        if status == Exit.INTERRUPTED:
            hear_no_more_signals()
        _let_go_of_stderr()
        sys.exit(int(status))


#: What Click says about text where a number is expected.
_NO_NUMBER = re.compile(r"is not a valid integer(?: range)?")


def _usage(error: click.UsageError, *, as_json: bool) -> int:
    path = error.ctx.command_path if error.ctx else "hubctl"
    text = _NO_NUMBER.sub("is not a whole number", error.format_message())
    fault = HubError(text, code="usage", hint=f"see: {path} --help")
    if as_json:
        body = {
            "code": "usage",
            "message": str(fault),
            "hint": fault.hint,
            "exit": int(Exit.USAGE),
            "data": {},
        }
        from hubctl.app import encode

        _last_words(encode({"schema": "hubctl.error/1", "error": body}) + "\n")
    else:
        report(fault, as_json=False, colour=False)
    return int(Exit.USAGE)


def _last_words(text: str) -> None:
    try:
        sys.stderr.write(harmless(text))
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads it
        return


def _stdout_works() -> bool:
    """Whether what was printed can be written; what could not stays in the buffer, so it fails again."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        return False
    return True


def _let_go_of_stderr() -> None:
    """A lost error message must not change the exit code: the interpreter's own flush would."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _abandon(sys.stderr)


def _abandon(stream: TextIO) -> None:
    """Point a stream at nothing, so that the interpreter's own flush at exit stays quiet."""
    import os

    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError, AttributeError):
        return
