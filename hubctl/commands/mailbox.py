"""The mailboxes that bounces and replies are read from: mailbox test."""

from __future__ import annotations

import click

from hubctl import layout
from hubctl.answer import print_result
from hubctl.app import App
from hubctl.command import Nouns, command
from hubctl.exits import Exit
from hubd.wire import methods as m


@click.group("mailbox", cls=Nouns)
def mailbox() -> None:
    """The mailboxes in hubd.toml that bounces and replies are read from.

    Example: hubctl mailbox test bounces
    """


@command("test", within=mailbox, example="hubctl mailbox test bounces")
@click.argument("name")
def test(app: App, name: str) -> int:
    """Log in and open the folder; read and change nothing."""
    found = app.call(m.MAILBOX_TEST, name=name)
    if print_result(app, {"name": name, **found}):
        return Exit.DONE if found["ok"] else Exit.FAILED
    if not found["ok"]:
        app.out(layout.one_line(f"{name} cannot be read: {found['text']}"))
        return Exit.FAILED
    app.out(f"{name} works: the folder has {layout.plural(found['mails'], 'mail')}")
    if not found["idle"]:
        app.note("The server does not tell of new mail (IDLE); hubd looks once a minute.")
    if not found["move"]:
        app.note("The server cannot move mails (MOVE), so they are marked as seen where they are.")
    return Exit.DONE
