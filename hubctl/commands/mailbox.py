"""What is read for bounces and replies: mailbox list|test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubctl import layout, render_inbox
from hubctl.answer import print_result
from hubctl.app import App
from hubctl.command import Nouns, command
from hubctl.exits import Exit
from hubctl.listing import Listing
from hubctl.render_inbox import MAILBOX_COLUMNS
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.wire import inbox_results as r


@click.group("mailbox", cls=Nouns)
def mailbox() -> None:
    """The mailboxes in hubd.toml that bounces and replies are read from.

    Example: hubctl mailbox test bounces
    """


@command("list", within=mailbox, example="hubctl mailbox list")
def list_(app: App) -> None:
    """List everything that is read for what comes back: mailboxes, and the queues and lists of providers."""
    listing: Listing[r.MailboxStatus] = Listing(
        app=app,
        key="mailboxes",
        columns=MAILBOX_COLUMNS,
        table=lambda rows: render_inbox.mailboxes(rows, colour=app.coloured(), width=app.width()),
        empty="nothing is read; to add a mailbox, write [mailboxes.NAME] in hubd.toml",
    )
    listing.rows(app.call(m.MAILBOX_LIST)["mailboxes"])
    listing.end()


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
        app.note("The server does not announce new mail (IDLE), so hubd checks once a minute.")
    if not found["move"]:
        app.note("The server cannot move mails (MOVE), so they are marked as seen where they are.")
    return Exit.DONE
