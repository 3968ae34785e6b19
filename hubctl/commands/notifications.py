"""What happened that somebody should know: notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubctl import layout, render
from hubctl.answer import dry, show_dry_run
from hubctl.app import App
from hubctl.command import command
from hubctl.listing import Listing
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.wire.notification_results import NotificationView

RECENT = 50  #: notifications that are shown on a terminal
_COLUMNS = ("id", "at", "kind", "about", "reason", "headline", "text", "figures", "read")


@command("notifications", example="hubctl notifications --unread --mark-read", changes=True)
@click.option("--unread", is_flag=True, help="Only those that nobody has read.")
@click.option("--mark-read", is_flag=True, help="Mark those that are shown, and all before them, as read.")
def notifications(app: App, unread: bool, mark_read: bool, dry_run: bool) -> None:
    """Show what campaigns and the daemon reported, newest first.

    A notification is written when a campaign is completed, fails, pauses itself or misses one of its times,
    when messages are in doubt, when credits run low, and when a mailbox, the listener or a sink has a
    problem. [notify] in hubd.toml has them sent by email, too.
    """
    found = app.call(m.NOTIFICATION_LIST, unread=unread)
    first = found["notifications"][0]["id"] if found["notifications"] else 0
    if dry_run:
        would = app.call(m.NOTIFICATION_READ, through=first, dry_run=True) if mark_read else None
        values = {"would": would["would"] if would else {"change": False}}
        marked = layout.plural(would["marked"] if would else 0, "notification")
        show_dry_run(app, values, f"would mark {marked} as read")
        return
    listing: Listing[NotificationView] = Listing(
        app=app,
        key="notifications",
        columns=_COLUMNS,
        table=lambda rows: layout.sentences(
            ("AT", "", "WHAT"),
            [[render.clock(each["at"]), "" if each["read"] else "new", each["text"]] for each in rows],
            colour=app.coloured(),
            width=app.width(),
        ),
        empty="no unread notifications" if unread else "no notifications yet",
        head={"unread": found["unread"]},
    )
    listing.rows(found["notifications"])
    while found["next"] and not (listing.for_people and listing.count >= RECENT):
        found = app.call(m.NOTIFICATION_LIST, unread=unread, before=found["next"])
        listing.rows(found["notifications"])
    listing.end()
    if mark_read and first:
        app.call(m.NOTIFICATION_READ, through=first, **dry(dry_run))
