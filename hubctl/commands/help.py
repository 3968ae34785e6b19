"""What holds for every command, told once: help [TOPIC]."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from hubctl.answer import told
from hubctl.app import App
from hubctl.command import command, common_options, write_options
from hubctl.exits import Exit, Refused

_EXIT_CODES = """\
Exit codes never change their meaning.

    0  done, or already so
    1  ran and failed: a campaign ended otherwise, a bad file, a failed test
    2  usage, or an answer was needed and there is no terminal (pass --yes)
    3  no such campaign, contact, message, list or provider
    4  not authorised
    5  not possible in this state, or a conflict
    6  the daemon cannot be reached
    7  timed out; the work goes on
    8  hubctl and hubd are of versions that do not fit
    9  partly done: an import with invalid rows
   10  status --check: not running
  130  interrupted; Ctrl-C detaches and never stops a campaign

With --dry-run the exit code is the one that the command itself would end with,
as far as that can be known before."""

_ENVIRONMENT = """\
What is said on the command line comes first, then the environment, then
hubctl.toml, then what is found.

  HUBCTL_SOCKET     the daemon's socket, as --socket
  HUBCTL_CONTEXT    a daemon of hubctl.toml, as --context
  HUBCTL_CONFIG     where hubctl.toml is, as --config; else
                    $XDG_CONFIG_HOME/messagehub/hubctl.toml
  HUBCTL_TOKEN_FILE the file with the token for a daemon that is reached by TCP
  HUBCTL_NO_INPUT   when set: never ask, as --no-input
  HUBCTL_FORCE_TTY  when set: take the output for a terminal; a number above 1
                    is its width in columns
  HUBCTL_DEBUG=rpc  show what goes over the wire on stderr
  NO_COLOR          when set: no colours
  CLICOLOR_FORCE    when set and not 0: colours without a terminal, too
  XDG_RUNTIME_DIR   where the user's own daemon has its socket"""

_FORMATTING = """\
Only data go to stdout. Progress, questions, remarks and errors go to stderr;
-q leaves out all but questions and errors. Without a terminal there are no
colours, no bars and no questions.

  --output table    for people; this is what you get when you say nothing
  --output json     one JSON object; what streams (watch, log, events) is JSON
                    lines
  --output ndjson   one JSON object a line: a line for each thing that is listed
  --output tsv      a line of names, then a line a thing, tabs between cells;
                    within a cell \\t, \\n, \\r and \\\\ stand for what they mean
  --output csv      the same for spreadsheets; a cell that would be run as a
                    formula has an apostrophe in front
  --fields a,b.c    only these, in this order; b.c goes deeper
  --json            as --output json, and errors on stderr are JSON, too

The first key of a JSON object is its schema, such as "hubctl.status/1". Keys
may be added to it; none is taken away. Times are RFC 3339 in UTC.

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
    "environment": ("The variables that hubctl listens to.", _ENVIRONMENT),
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
    """What holds for every command (options, exit codes, formats ...), or the help of a COMMAND."""
    if not words:
        listed = [{"topic": name, "about": line} for name, (line, _) in TOPICS.items()]
        if not told(app, {"topics": listed}, rows="topics", columns=("topic", "about")):
            rows = "\n".join(f"  hubctl help {each['topic']:<13} {each['about']}" for each in listed)
            app.out(f"{rows}\n\nAll commands: hubctl --help. One of them: hubctl help COMMAND.")
        return Exit.DONE
    if len(words) == 1 and words[0] in TOPICS:
        about = TOPICS[words[0]][1]
        text = about if isinstance(about, str) else about()
        if not told(app, {"topic": words[0], "text": text}):
            app.out(text)
        return Exit.DONE
    text = _of_command(words)
    if not told(app, {"topic": " ".join(words), "text": text}):
        app.out(text)
    return Exit.DONE


def _of_command(words: tuple[str, ...]) -> str:
    """What `hubctl WORDS --help` prints. Raises Refused for what is no command and no topic."""
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
