"""Where figures and events are copied to: sink list|test|resume."""

from __future__ import annotations

import click

from hubctl import layout
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App
from hubctl.command import Nouns, command
from hubctl.exits import Exit
from hubctl.listing import Listing
from hubctl.render import clock
from hubd.wire import methods as m
from hubd.wire import sink_results as r

COLUMNS = ("name", "type", "content", "state", "reason", "failures", "behind", "told_at")


@click.group("sink", cls=Nouns)
def sink() -> None:
    """The sinks in hubd.toml, which figures and events are copied to: list, test, resume.

    Example: hubctl sink list
    """


@command("list", within=sink, example="hubctl sink list")
def list_(app: App) -> None:
    """List all sinks, what each was told last, and why one fails or is paused."""
    listing: Listing[r.SinkStatus] = Listing(
        app=app,
        key="sinks",
        columns=COLUMNS,
        table=lambda rows: layout.sentences(
            ("SINK", "TYPE", "CONTENT", "STATE", "BEHIND", "UPDATED", "REASON"),
            [
                (
                    each["name"],
                    each["type"],
                    each["content"],
                    each["state"],
                    each["behind"],
                    clock(each["told_at"]),
                    each["reason"],
                )
                for each in rows
            ],
            colour=app.coloured(),
            width=app.width(),
        ),
        empty="no sinks; to add one to hubd.toml, see docs/sinks.md",
    )
    listing.rows(app.call(m.SINK_LIST)["sinks"])
    listing.end()


@command("test", within=sink, example="hubctl sink test figures")
@click.argument("name")
def test(app: App, name: str) -> int:
    """Try a sink once. A webhook is told about an event of the type sink.test; a table is only read."""
    found = app.call(m.SINK_TEST, name=name)
    if not print_result(app, {"name": name, **found}):
        works = f"{name} works"
        app.out(works if found["ok"] else layout.one_line(f"{name} does not work: {found['detail']}"))
    return Exit.DONE if found["ok"] else Exit.FAILED


@command("resume", within=sink, example="hubctl sink resume figures", changes=True)
@click.argument("name")
def resume(app: App, name: str, dry_run: bool) -> None:
    """Have a sink that is paused tried again. It goes on where it was."""
    found = app.call(m.SINK_RESUME, name=name, **dry(dry_run))
    if dry_run:
        change = found["would"]["change"]
        sentence = f"would resume {name}" if change else f"{name} is not paused"
        show_dry_run(app, {"name": name, **found}, sentence)
    elif not print_result(app, {"name": name, **found}):
        app.out(f"{name} will be tried again" if found["changed"] else f"{name} is not paused")
