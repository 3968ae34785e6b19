"""Topics that apply to every command: help [TOPIC]."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from hubctl.answer import print_result
from hubctl.app import App
from hubctl.command import command, common_options, write_options
from hubctl.exits import Exit, Refused

_EXIT_CODES = """\
Exit codes never change their meaning.

    0  done, or already so
    1  ran and failed: a campaign did not complete, a bad file, a failed test
    2  usage, or an answer was needed and there is no terminal (pass --yes)
    3  no such campaign, contact, message, list or provider
    4  not authorised
    5  not possible in this state, or a conflict
    6  the daemon cannot be reached
    7  timed out; the work continues
    8  the versions of hubctl and hubd are incompatible
    9  partly done: an import with invalid rows, or some of several campaigns
   10  status --check: not running
  130  interrupted; Ctrl-C detaches and never stops a campaign

With --dry-run you get the exit code that the command itself would end with,
as far as it can be known in advance."""

_ENVIRONMENT = """\
Options on the command line come first, then the environment, then hubctl.toml,
then the default places.

  HUBCTL_SOCKET     the daemon's socket, as --socket
  HUBCTL_CONTEXT    a daemon named in hubctl.toml, as --context
  HUBCTL_CONFIG     where hubctl.toml is, as --config; else
                    $XDG_CONFIG_HOME/messagehub/hubctl.toml
  HUBCTL_TOKEN_FILE the file with the token for a daemon reached over TCP
  HUBCTL_NO_INPUT   when set: never ask, as --no-input
  HUBCTL_FORCE_TTY  when set: treat the output as a terminal; a number above 1
                    is its width in columns
  HUBCTL_DEBUG=rpc  print the protocol messages on stderr
  NO_COLOR          when set: no colours
  CLICOLOR_FORCE    when set and not 0: use colours without a terminal
  XDG_RUNTIME_DIR   where the user's own daemon has its socket"""

_FORMATTING = """\
Only data goes to stdout. Progress, questions, notes and errors go to stderr;
-q shows questions and errors only. Without a terminal there are no colours,
no progress bars and no questions.

  --output table    for people; the default
  --output json     one JSON object; streams (watch, log, events) are JSON
                    lines
  --output ndjson   one JSON object per line, one line per listed item
  --output tsv      a header line, then one line per item, cells separated by
                    tabs; within a cell \\t, \\n, \\r and \\\\ are escapes
  --output csv      the same for spreadsheets; a cell that would run as a
                    formula gets a leading apostrophe
  --fields a,b.c    only these, in this order; b.c is the key c of b
  --json            as --output json; errors on stderr are JSON, too

The first key of a JSON object is its schema, such as "hubctl.status/1". Keys
may be added but are never removed. Times are RFC 3339 in UTC.

  hubctl list --fields name,state,counts.sent --output tsv
  hubctl deliveries spring-sale --state failed --output csv > failed.csv
  hubctl status spring-sale --json | jq .campaign.counts"""


def _options() -> str:
    """The options that every command has, as its help would show them."""
    ctx = click.get_current_context()
    formatter = ctx.make_formatter()
    write_options(ctx, formatter, "Every command accepts", common_options())
    return formatter.getvalue().rstrip("\n")


#: What there is to read, by its name: one line about it, and the text, or what makes it.
TOPICS: dict[str, tuple[str, str | Callable[[], str]]] = {
    "options": ("The options that every command accepts.", _options),
    "exit-codes": ("What each exit code means.", _EXIT_CODES),
    "environment": ("The environment variables that hubctl reads.", _ENVIRONMENT),
    "formatting": ("Output for people and for programs: --output, --fields, --json.", _FORMATTING),
}


def _words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The topics and the commands."""
    found = {name: line for name, (line, _) in TOPICS.items()}
    root = ctx.find_root().command
    if isinstance(root, click.Group):
        found |= dict.fromkeys(root.list_commands(ctx), "")
    given = ctx.params.get("words") or ()
    return [
        CompletionItem(name, help=line)
        for name, line in found.items()
        if not given and name.startswith(incomplete)
    ]


@command("help", example="hubctl help exit-codes")
@click.argument("words", nargs=-1, metavar="[TOPIC|COMMAND...]", shell_complete=_words)
def help_(app: App, words: tuple[str, ...]) -> int:
    """Show a topic (options, exit codes, formats ...) or the help of a COMMAND."""
    if not words:
        listed = [{"topic": name, "about": line} for name, (line, _) in TOPICS.items()]
        if not print_result(app, {"topics": listed}, rows="topics", columns=("topic", "about")):
            rows = "\n".join(f"  hubctl help {each['topic']:<13} {each['about']}" for each in listed)
            app.out(f"{rows}\n\nAll commands: hubctl --help. One of them: hubctl help COMMAND.")
        return Exit.DONE
    if len(words) == 1 and words[0] in TOPICS:
        about = TOPICS[words[0]][1]
        text = about if isinstance(about, str) else about()
        if not print_result(app, {"topic": words[0], "text": text}):
            app.out(text)
        return Exit.DONE
    text = _of_command(words)
    if not print_result(app, {"topic": " ".join(words), "text": text}):
        app.out(text)
    return Exit.DONE


def _of_command(words: tuple[str, ...]) -> str:
    """What `hubctl WORDS --help` prints. Raises Refused for what is neither a command nor a topic."""
    here = click.get_current_context().find_root()
    found: click.Command | None = here.command
    ctx = here
    for word in words:
        found = found.get_command(ctx, word) if isinstance(found, click.Group) else None
        if found is None:
            raise Refused(
                f"there is no command and no topic {' '.join(words)!r}",
                code="no_such_topic",
                status=Exit.USAGE,
                hint=f"topics are {', '.join(TOPICS)}; hubctl --help lists the commands",
            )
        ctx = click.Context(found, info_name=word, parent=ctx)
    assert found is not None, "there is at least one word"
    return found.get_help(ctx)
