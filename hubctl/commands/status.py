"""How things stand: status, list, show."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from hubctl import layout, render, render_credits, render_series
from hubctl.answer import print_result
from hubctl.app import App
from hubctl.command import command
from hubctl.exits import Exit
from hubctl.listing import Listing
from hubctl.names import campaign_names
from hubctl.output import for_people
from hubd.errors import HubError
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import campaign_results as r
    from hubd.wire.provider_results import ProviderStatus

_PAGE = 500  #: skipped deliveries that are searched for their reasons
_FEW = 20  #: deliveries that are asked for one by one

_NONE_YET = "no campaigns yet: hubctl import contacts.csv --list customers, then hubctl apply campaign.toml"


def show_everything(app: App) -> None:
    """The daemon, its campaigns, and providers that are in trouble."""
    found = app.call(m.HUB_STATUS)
    if print_result(app, found, rows="campaigns", columns=render.CAMPAIGN_COLUMNS):
        return
    colour, width = app.coloured(), app.width()
    blocks = [layout.wrapped(render.daemon(found), width, hanging="  ")]
    views = found.get("campaigns") or []
    blocks.append(
        render.campaigns(views, colour=colour, width=width) if views else layout.wrapped(_NONE_YET, width)
    )
    troubled = [each for each in found.get("providers") or [] if each["state"] != "ready"]
    if troubled:
        blocks.append(render.providers(troubled, colour=colour, width=width))
    if accounts := found.get("credits"):
        blocks.append(render_credits.accounts(accounts, colour=colour, width=width))
    app.out("\n\n".join(blocks))


@command("status", example="hubctl status spring-sale --json")
@click.argument("name", shell_complete=campaign_names, required=False)
@click.option("--check", is_flag=True, help="Print nothing; exit code 0 if running, 10 if not.")
def status(app: App, name: str | None, check: bool) -> int:
    """Show the status of everything, or of one campaign.

    With --check: is the campaign running, or, without a name, is the daemon running?
    """
    if check:
        return _check(app, name)
    if name is None:
        show_everything(app)
        return Exit.DONE

    async def work(hub: Client) -> tuple[r.CampaignResult, list[ProviderStatus], dict[str, str]]:
        found = await hub.call(m.CAMPAIGN_GET, name=name)
        if not for_people(app):
            return found, [], {}
        providers = (await hub.call(m.PROVIDER_LIST))["providers"]
        return found, providers, await _about(hub, found["campaign"])

    found, providers, about = app.talk(work)
    view = found["campaign"]
    repeating = (
        {"upcoming": found["upcoming"], "occurrences": found["occurrences"]} if view.get("repeats") else {}
    )
    if print_result(app, {"campaign": view, **_paid(found), **repeating}, of="campaign"):
        return Exit.DONE
    width, credits = app.width(), render_credits.of_campaign(found.get("credits"))
    app.out(render.campaign(view, colour=app.coloured(), width=width, about=about, credits=credits))
    for each in providers:
        if each["name"] == view["provider"] and each["state"] != "ready":
            app.out(layout.wrapped(f"  {render.troubled(each)}", width, hanging="    "))
    _tell_occurrences(app, found)
    return Exit.DONE


def _paid(found: r.CampaignResult) -> dict[str, object]:
    """What it has of its credit account, for programs; nothing from an older daemon."""
    return {"credits": found["credits"]} if "credits" in found else {}


def _tell_occurrences(app: App, found: r.CampaignResult) -> None:
    if told := render_series.occurrences(found, colour=app.coloured(), width=app.width()):
        app.out(f"\n{told}")


async def _about(hub: Client, view: r.CampaignView) -> dict[str, str]:
    """Why recipients are skipped, and when a deferred one is tried next, as far as a few deliveries tell;
    nothing for a viewer, who may not see them.
    """
    found: dict[str, str] = {}
    name, counts = view["name"], view["counts"]
    if hub.hello.get("role") == "viewer":
        return found
    if 0 < counts["skipped"] <= _PAGE:
        listed = (await hub.call(m.DELIVERY_LIST, campaign=name, state="skipped", limit=_PAGE))["deliveries"]
        found["skipped"] = render.skips(Counter(each["reason"] for each in listed), view["channel"])
    if 0 < counts["deferred"] <= _FEW:
        listed = (await hub.call(m.DELIVERY_LIST, campaign=name, state="deferred", limit=_FEW))["deliveries"]
        lives = [(await hub.call(m.DELIVERY_GET, id=each["id"]))["delivery"] for each in listed]
        times = [life["next_at"] for life in lives if life["next_at"]]  # it may have been tried meanwhile
        found["deferred"] = f"next try {render.moment(min(times))}" if times else ""
    return found


def _check(app: App, name: str | None) -> int:
    try:
        if name is None:
            running = bool(app.call(m.HUB_STATUS))
        else:
            running = app.call(m.CAMPAIGN_GET, name=name)["campaign"]["state"] == "running"
    except HubError as error:
        from hubctl.exits import exit_of

        if exit_of(error) is not Exit.UNREACHABLE:
            raise
        running = False
    print_result(app, {"running": running})
    return Exit.DONE if running else Exit.NOT_RUNNING


@command("list", example="hubctl list --fields name,state,counts.sent --output tsv")
@click.option("--all", "everything", is_flag=True, help="Include archived campaigns.")
@click.option("--label", metavar="LABEL", help="Only campaigns that have this label.")
def list_(app: App, everything: bool, label: str | None) -> None:
    """List all campaigns, including finished ones, except archived ones."""
    asked = {} if label is None else {"label": label}
    found = app.call(m.CAMPAIGN_LIST, all=True, archived=everything, **asked)
    away = set(found["archived"])
    listing: Listing[r.CampaignView] = Listing(
        app=app,
        key="campaigns",
        columns=render.CAMPAIGN_COLUMNS,
        table=lambda rows: render.campaigns(rows, colour=app.coloured(), width=app.width(), archived=away),
        empty="no campaigns yet; to create one: hubctl apply FILE"
        if label is None
        else "no campaign has this label; labels are given in campaign files",
        head={"archived": found["archived"]},
    )
    listing.rows(found["campaigns"])
    listing.end()


@command("show", example="hubctl show spring-sale")
@click.argument("name", shell_complete=campaign_names)
@click.option("--toml", "as_file", is_flag=True, help="Print the campaign file that makes this campaign.")
def show(app: App, name: str, as_file: bool) -> None:
    """Show one campaign with all its settings and its text.

    With --toml: a file for hubctl apply. It names the attachments; the files themselves are not given back.
    """
    if as_file and not for_people(app):
        raise click.UsageError("--toml prints a campaign file, in no other format")
    found = app.call(m.CAMPAIGN_GET, name=name)
    if as_file:
        from hubctl.campaign_toml import campaign_toml

        app.data(campaign_toml({**found["spec"], "rate": found["campaign"]["rates"]}))
        return
    if print_result(app, found, of="campaign"):
        return
    spec = {**(found.get("spec") or {}), "rate": found["campaign"]["rates"]}  # as it is now, not as applied
    credits = render_credits.of_campaign(found.get("credits"))
    app.out(render.campaign(found["campaign"], colour=app.coloured(), width=app.width(), credits=credits))
    _tell_occurrences(app, found)
    app.out()
    app.out(render.settings(spec))
