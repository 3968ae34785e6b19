"""The daemon itself: daemon status|reload|shutdown|backup."""

from __future__ import annotations

import os

import click

from hubctl import layout, render
from hubctl.app import App
from hubctl.command import Nouns, command


@click.group("daemon", cls=Nouns)
def daemon() -> None:
    """The daemon itself: status, reload, shutdown, backup.

    Example: hubctl daemon status
    """


@command("status", within=daemon, example="hubctl daemon status")
def status(app: App) -> None:
    """Whether hubd runs, since when, and where its state is."""
    found = app.call("hub.status")
    if app.as_json:
        app.record({key: value for key, value in found.items() if key != "campaigns"})
        return
    socket = app.place().path
    app.out(render.daemon(found))
    app.out(layout.facts([("socket", str(socket)), ("started", render.moment(found.get("started_at")))]))
    app.out("\n" + render.providers(found.get("providers") or [], colour=app.coloured(), width=app.width()))


@command("reload", within=daemon, example="hubctl daemon reload")
def reload(app: App) -> None:
    """Read hubd.toml again. A bad file changes nothing and is told with its line."""
    found = app.call("hub.reload")
    if app.as_json:
        app.record(found)
        return
    app.out("applied: " + (", ".join(found["applied"]) or "nothing changed"))
    if found.get("needs_restart"):
        app.out(f"needs a restart: {', '.join(found['needs_restart'])}")


@command("shutdown", within=daemon, example="hubctl daemon shutdown --yes")
def shutdown(app: App) -> None:
    """End hubd. What is on the wire is settled first; running campaigns go on when it starts again."""
    app.confirm("shut hubd down", needed=True)
    found = app.call("hub.shutdown")
    if app.as_json:
        app.record(found)
    else:
        app.out("hubd is shutting down")


@command("backup", within=daemon, example="hubctl daemon backup /var/backups/hub-monday.db")
@click.argument("file", metavar="FILE")
def backup(app: App, file: str) -> None:
    """Copy the whole database to FILE while messages go out. FILE must not be there yet.

    hubd writes it, so FILE is a place where the user of hubd may write. How to restore it: docs/backup.md.
    """
    path = os.path.abspath(file)
    found = app.call("hub.backup", path=path)
    if app.as_json:
        app.record(found)
    else:
        app.out(
            f"backed up to {layout.printable(found['path'])}: {layout.number(found['size'])} octets, checked"
        )
    if not os.path.lexists(path):
        app.note("hubd wrote it, but it is not visible here: hubd may have a /tmp of its own")
