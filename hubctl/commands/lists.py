"""Lists: lists, lists rename|delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hubctl import layout
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App
from hubctl.command import ShowingNouns, command
from hubctl.listing import Listing
from hubctl.names import list_names
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.wire import contact_results as r


@click.command("lists", cls=ShowingNouns, example="hubctl lists")
@click.pass_context
def lists(ctx: click.Context, /, **_: Any) -> None:
    """Show the lists and how many contacts each has; or rename or delete one."""
    if ctx.invoked_subcommand is None:
        _show(ctx.ensure_object(App))


def _show(app: App) -> None:
    listing: Listing[r.ListStatus] = Listing(
        app=app,
        key="lists",
        columns=("name", "contacts"),
        table=lambda rows: layout.table(
            ("LIST", "CONTACTS"),
            [(each["name"], int(each["contacts"])) for each in rows],
            colour=app.coloured(),
            width=app.width(),
        ),
        empty="no lists yet; to create one: hubctl import FILE.csv --list NAME",
    )
    listing.rows(app.call(m.CONTACTS_LISTS)["lists"])
    listing.end()


@command("rename", within=lists, example="hubctl lists rename customers buyers", changes=True)
@click.argument("name", shell_complete=list_names)
@click.argument("new")
def rename(app: App, name: str, new: str, dry_run: bool) -> None:
    """Give a list another name. Campaign files that have the old one have to be changed."""
    found = app.call(m.LIST_RENAME, name=name, new=new, **dry(dry_run))
    if dry_run:
        show_dry_run(app, {"list": name, **found}, f"would rename list {name} to {new}")
    elif not print_result(app, {"list": new, **found}):
        app.out(f"renamed to {new}" if found["changed"] else f"is already called {new}")
    _warn(app, name, found)


@command("delete", within=lists, example="hubctl lists delete customers --yes", changes=True)
@click.argument("name", shell_complete=list_names)
def delete(app: App, name: str, dry_run: bool) -> None:
    """Delete a list. The contacts on it stay, and so do the recipients that campaigns have from it."""
    would = app.call(m.LIST_DELETE, name=name, dry_run=True)
    people = layout.plural(int(would["contacts"]), "contact")
    if dry_run:
        show_dry_run(
            app, {"list": name, **would}, f"would delete list {name} of {people}, who remain contacts"
        )
        _warn(app, name, would)
        return
    app.confirm(
        f"delete list {name} of {people}, who remain contacts",
        needed=True,
        name=name,
        people=int(would["contacts"]),
    )
    found = app.call(m.LIST_DELETE, name=name)
    if not print_result(app, {"list": name, **found}):
        app.out(f"deleted; the {people} that were on it remain")
    _warn(app, name, found)


def _warn(app: App, name: str, found: r.ListRenamedResult | r.ListDeletedResult) -> None:
    """Say which campaigns have to be changed."""
    if campaigns := ", ".join(found["campaigns"]):
        app.note(f"the list {name} is in the files of {campaigns}: change these and apply them again")
