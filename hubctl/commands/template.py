"""Stored templates: template apply|list|show|history|delete."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubctl import layout, render
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App
from hubctl.command import Nouns, command
from hubctl.listing import Listing
from hubctl.names import template_names
from hubd.errors import BadInput
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubctl.campaign_file import CampaignFile
    from hubd.wire import template_results as r

_COLUMNS = ("name", "version", "channel", "created_at", "campaigns")
_APPLIED = ("name", "version", "changed")


@click.group("template", cls=Nouns)
def template() -> None:
    """Manage stored templates: content that several campaigns share.

    A campaign file names one in place of its texts: template = "welcome" for the newest version when the
    campaign starts, or template = "welcome@3".
    """


@command("apply", within=template, example="hubctl template apply layout.toml welcome.toml", changes=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
def apply(app: App, files: tuple[Path, ...], dry_run: bool) -> None:
    """Create templates from their files, or new versions of them; all of the files, or none.

    A file has name, channel, subject, text and html; text_file and html_file name files beside it. A new
    version is made only if something differs. Campaigns that have not begun and name no version use it.
    """
    from hubctl.campaign_file import read_campaign

    read = [read_campaign(path) for path in files]
    try:
        found = app.call(m.TEMPLATE_APPLY, specs=[dict(each.spec) for each in read], **dry(dry_run))
    except BadInput as error:
        raise _located(read, error) from error
    if print_result(app, {**found, **dry(dry_run)}, rows="templates", columns=_APPLIED):
        return
    for each in found["templates"]:
        made = "would be a new version" if dry_run else "is a new version"
        app.out(f"{each['name']}@{each['version']} {made if each['changed'] else 'already has this content'}")
    if campaigns := ", ".join(found["campaigns"]):
        app.note(f"{'would have' if dry_run else 'have'} the new content: {campaigns}")
    if dry_run:
        app.note("nothing was changed")


def _located(read: Sequence[CampaignFile], error: BadInput) -> BaseException:
    """The error at the file and line that it is about."""
    from hubctl.campaign_file import located

    listed = error.data.get("errors")
    faults = (
        [(str(each["path"]), str(each["problem"])) for each in listed] if isinstance(listed, list) else []
    )
    for at, file in enumerate(read):
        inside = [
            (path.partition(".")[2], problem) for path, problem in faults if path.startswith(f"specs[{at}]")
        ]
        if inside:
            return located(file.path, file.source, inside, hint=error.hint, texts=file.texts)
    return error


@command("list", within=template, example="hubctl template list")
def list_(app: App) -> None:
    """List all templates with their newest versions and the campaigns that use any version."""
    listing = _listing(app, "templates", "no templates yet; to create one: hubctl template apply FILE")
    listing.rows(app.call(m.TEMPLATE_LIST)["templates"])
    listing.end()


@command("history", within=template, example="hubctl template history welcome")
@click.argument("name", shell_complete=template_names)
def history(app: App, name: str) -> None:
    """List all versions of a template, newest first, and the campaigns that use each."""
    listing = _listing(app, "versions", "no versions")
    listing.rows(app.call(m.TEMPLATE_HISTORY, name=name)["versions"])
    listing.end()


def _listing(app: App, key: str, empty: str) -> Listing[r.TemplateVersion]:
    def table(rows: Sequence[r.TemplateVersion]) -> str:
        cells = [
            (
                each["name"],
                each["version"],
                each["channel"],
                render.clock(each["created_at"]),
                each["campaigns"],
            )
            for each in rows
        ]
        heads = ("TEMPLATE", "VERSION", "CHANNEL", "APPLIED", "CAMPAIGNS")
        told = [[*cell[:4], ", ".join(cell[4])] for cell in cells]
        return layout.sentences(heads, told, colour=app.coloured(), width=app.width())

    return Listing(app=app, key=key, columns=_COLUMNS, table=table, empty=empty)


@command("show", within=template, example="hubctl template show welcome@3")
@click.argument("name", metavar="NAME[@VERSION]", shell_complete=template_names)
def show(app: App, name: str) -> None:
    """Show a template as it was applied: its newest version, or the one that is named."""
    found = app.call(m.TEMPLATE_GET, name=name)
    if print_result(app, found, of="template"):
        return
    view = found["template"]
    pairs = [
        ("channel", view["channel"]),
        ("applied", render.moment(view["created_at"])),
        ("campaigns", ", ".join(view["campaigns"])),
    ]
    words = {key: view[key] for key in ("subject", "text", "html") if view[key]}
    app.out(f"{view['name']}@{view['version']}\n{layout.facts(pairs)}\n\n{render.settings(words)}".rstrip())


@command("delete", within=template, example="hubctl template delete welcome --yes", changes=True)
@click.argument("name", shell_complete=template_names)
def delete(app: App, name: str, dry_run: bool) -> None:
    """Delete a template with all its versions.

    Refused while a campaign that has not begun, or another template, uses it. Campaigns that have begun keep
    their content.
    """
    would = app.call(m.TEMPLATE_DELETE, name=name, dry_run=True)
    if dry_run:
        show_dry_run(app, {"name": name, **would}, f"would delete the template {name}")
        return
    app.confirm(f"delete the template {name} with all its versions", needed=True, name=name, people=0)
    found = app.call(m.TEMPLATE_DELETE, name=name)
    if not print_result(app, {"name": name, **found}):
        app.out(f"the template {name} is deleted")
