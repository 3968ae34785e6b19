"""Waiting and watching: watch, wait."""

from __future__ import annotations

import sys

import click

from hubctl.answer import print_result
from hubctl.app import App
from hubctl.command import command
from hubctl.exits import Exit
from hubctl.names import campaign_names


@command("watch", example="hubctl watch spring-sale")
@click.argument("names", nargs=-1, metavar="[NAME...]", shell_complete=campaign_names)
def watch(app: App, names: tuple[str, ...]) -> int:
    """Show live progress until all watched campaigns are finished.

    Without names, shows every campaign that is running, paused or scheduled, or starts in the meantime. Draws
    progress bars on a terminal; elsewhere prints a line for each change of state and each ten percent; with
    --json, a line for each change. Keys on a terminal: p pause, r resume, s stop (it asks); up and down
    choose a campaign. q or d detaches, Ctrl-C interrupts (exit code 130). The campaigns continue either way.
    """
    from hubctl.follow import watch_until

    board = watch_until(app, names, lambda board: not board.unfinished(), stream=sys.stdout)
    if not board.views:
        app.note("nothing is running, paused or scheduled")
    return Exit.DONE


@command("wait", example="hubctl wait spring-sale --for completed --timeout 2h")
@click.argument("name", shell_complete=campaign_names)
@click.option(
    "--for", "states", default="completed", metavar="STATE[,STATE]", help="The state to wait for [completed]."
)
def wait(app: App, name: str, states: str) -> int:
    """Wait until a campaign reaches a state.

    Exit code 0 if it is reached, 1 if the campaign ended in another state, 7 if --timeout passed first.
    """
    from hubctl import layout, render
    from hubctl.board import outcome, read_states
    from hubctl.follow import watch_until

    wanted = read_states(states)
    board = watch_until(
        app,
        [name],
        lambda board: outcome(board.views[name], wanted) is not None,
        stream=sys.stderr,
        shown=False,
    )
    view = board.views[name]
    if not print_result(app, {"name": name, "campaign": view}, of="campaign"):
        app.out(layout.wrapped(render.summary(view), app.width()))
    return int(outcome(view, wanted) or Exit.DONE)
