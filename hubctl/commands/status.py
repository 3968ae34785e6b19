"""How things stand: status, list, show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubctl import render
from hubctl.answer import told
from hubctl.app import App, Json
from hubctl.command import command
from hubctl.exits import Exit
from hubctl.listing import Listing
from hubctl.names import campaign_names
from hubctl.output import for_people
from hubd.errors import HubError

if TYPE_CHECKING:
    from hubd.client import Client


def show_everything(app: App) -> None:
    """The daemon, its campaigns, and providers that are in trouble."""
    found = app.call("hub.status")
    if told(app, found, rows="campaigns", columns=render.CAMPAIGN_COLUMNS):
        return
    colour, width = app.coloured(), app.width()
    blocks = [render.daemon(found)]
    views = found.get("campaigns") or []
    blocks.append(
        render.campaigns(views, colour=colour, width=width)
        if views
        else "no campaigns yet: hubctl import contacts.csv --list customers, then hubctl apply campaign.toml"
    )
    troubled = [each for each in found.get("providers") or [] if each["state"] != "ready"]
    if troubled:
        blocks.append(render.providers(troubled, colour=colour, width=width))
    app.out("\n\n".join(blocks))


@command("status", example="hubctl status spring-sale --json")
@click.argument("name", shell_complete=campaign_names, required=False)
@click.option("--check", is_flag=True, help="Print nothing; exit code 0 when running, 10 when not.")
def status(app: App, name: str | None, check: bool) -> int:
    """How everything stands, or one campaign.

    With --check: is the campaign running, or without a name, does the daemon run?
    """
    if check:
        return _check(app, name)
    if name is None:
        show_everything(app)
        return Exit.DONE

    async def work(hub: Client) -> tuple[Json, list[Json]]:
        view = (await hub.call("campaign.get", name=name))["campaign"]
        return view, (await hub.call("provider.list"))["providers"] if for_people(app) else []

    view, providers = app.talk(work)
    if told(app, {"campaign": view}, of="campaign"):
        return Exit.DONE
    app.out(render.campaign(view, colour=app.coloured()))
    for each in providers:
        if each["name"] == view["provider"] and each["state"] != "ready":
            app.out(f"  {render.troubled(each)}")
    return Exit.DONE


def _check(app: App, name: str | None) -> int:
    try:
        if name is None:
            running = bool(app.call("hub.status"))
        else:
            running = app.call("campaign.get", name=name)["campaign"]["state"] == "running"
    except HubError as error:
        from hubctl.exits import exit_of

        if exit_of(error) is not Exit.UNREACHABLE:
            raise
        running = False
    told(app, {"running": running})
    return Exit.DONE if running else Exit.NOT_RUNNING


@command("list", example="hubctl list --fields name,state,counts.sent --output tsv")
@click.option("--all", "everything", is_flag=True, help="Those that were archived, too.")
def list_(app: App, everything: bool) -> None:
    """All campaigns, the finished ones too, but not those that were archived."""
    found = app.call("campaign.list", all=True, archived=everything)
    away = set(found["archived"])
    listing = Listing(
        app=app,
        key="campaigns",
        columns=render.CAMPAIGN_COLUMNS,
        table=lambda rows: render.campaigns(rows, colour=app.coloured(), width=app.width(), archived=away),
        empty="no campaigns yet; hubctl apply FILE makes one",
        head={"archived": found["archived"]},
    )
    listing.rows(found["campaigns"])
    listing.end()


@command("show", example="hubctl show spring-sale")
@click.argument("name", shell_complete=campaign_names)
def show(app: App, name: str) -> None:
    """One campaign with all its settings and its text."""
    found = app.call("campaign.get", name=name)
    if told(app, found, of="campaign"):
        return
    spec = {**(found.get("spec") or {}), "rate": found["campaign"]["rates"]}  # as it is now, not as applied
    app.out(render.campaign(found["campaign"], colour=app.coloured()))
    app.out()
    app.out(render.settings(spec))
