"""How things stand: status, list, show."""

from __future__ import annotations

import click

from hubctl import render
from hubctl.app import App
from hubctl.command import command
from hubctl.exits import Exit
from hubd.errors import HubError


def show_everything(app: App) -> None:
    """The daemon, its campaigns, and providers that are in trouble."""
    found = app.call("hub.status")
    if app.as_json:
        app.record(found)
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
@click.argument("name", required=False)
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
    view = app.call("campaign.get", name=name)["campaign"]
    if app.as_json:
        app.record({"campaign": view})
    else:
        app.out(render.campaign(view, colour=app.coloured()))
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
    if app.as_json:
        app.record({"running": running})
    return Exit.DONE if running else Exit.NOT_RUNNING


@command("list", example="hubctl list")
def list_(app: App) -> None:
    """All campaigns, the finished ones too."""
    found = app.call("campaign.list", all=True)
    if app.as_json:
        app.record(found)
    elif found["campaigns"]:
        app.out(render.campaigns(found["campaigns"], colour=app.coloured(), width=app.width()))
    else:
        app.note("no campaigns yet; hubctl apply FILE makes one")


@command("show", example="hubctl show spring-sale")
@click.argument("name")
def show(app: App, name: str) -> None:
    """One campaign with all its settings and its text."""
    found = app.call("campaign.get", name=name)
    if app.as_json:
        app.record(found)
        return
    spec = {**(found.get("spec") or {}), "rate": found["campaign"]["rates"]}  # as it is now, not as applied
    app.out(render.campaign(found["campaign"], colour=app.coloured()))
    app.out()
    app.out(render.settings(spec))
