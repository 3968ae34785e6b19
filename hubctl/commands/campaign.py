"""Making a campaign, looking at it before it goes out, tidying up: apply, check, preview, test, clone,
archive, delete.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubctl.app import App, Json
from hubctl.command import command
from hubctl.exits import Exit, Refused
from hubctl.names import campaign_names
from hubd.errors import BadInput, HubError

if TYPE_CHECKING:
    from hubctl.campaign_file import CampaignFile, Enclosure
    from hubd.client import Client

PART = 512 * 1024  #: octets of an attachment in one call


@command("apply", example="hubctl apply spring.toml")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
def apply(app: App, files: tuple[Path, ...]) -> int:
    """Create or update campaigns from their files.

    All files are read and checked first: when one of them is bad, none is applied. Texts and attachments
    are read here, relative to the file. A campaign that is running keeps the content it was started with.
    """
    from hubctl.campaign_file import read_campaign

    read = [read_campaign(path) for path in files]
    done: list[Json] = []

    async def work(hub: Client) -> None:
        if len(read) > 1:
            for each in read:
                await apply_file(hub, each, dry_run=True)
        for each in read:
            done.append({"file": str(each.path), **await apply_file(hub, each)})

    try:
        app.talk(work)
    except HubError as error:
        if done and not app.as_json:
            _tell_applied(app, done)
        if done:
            raise Refused(
                str(error),
                code=error.code,
                status=Exit.PARTLY,
                hint=f"{len(done)} of {len(read)} files were applied",
            ) from error
        raise
    if app.as_json:
        app.record({"applied": done})
    else:
        _tell_applied(app, done)
        if len(done) == 1 and done[0]["created"]:
            app.note(f"next: hubctl check {done[0]['campaign']['name']}")
    return Exit.DONE


async def apply_file(hub: Client, file: CampaignFile, *, dry_run: bool = False) -> Json:
    """Upload the attachments, then apply; a dry run only asks whether that would work.

    Raises Refused with FILE:LINE for what the daemon refuses.
    """
    from hubctl.campaign_file import located

    for enclosure in () if dry_run else file.enclosures:
        await _upload(hub, enclosure)
    try:
        return await hub.call("campaign.apply", spec=dict(file.spec), dry_run=dry_run)
    except BadInput as error:
        listed = error.data.get("errors")
        faults = (
            [(str(each["path"]), str(each["problem"])) for each in listed] if isinstance(listed, list) else []
        )
        strip = [(path.removeprefix("spec.").removeprefix("spec"), problem) for path, problem in faults]
        raise located(file.path, file.source, strip or [("", str(error))], hint=error.hint) from error


async def _upload(hub: Client, enclosure: Enclosure) -> None:
    size = len(enclosure.content)
    for offset in range(0, size, PART):
        part = base64.b64encode(enclosure.content[offset : offset + PART]).decode("ascii")
        answer = await hub.call(
            "campaign.attach", sha256=enclosure.sha256, offset=offset, data=part, size=size
        )
        if answer.get("complete"):
            return


def _tell_applied(app: App, done: Sequence[Json]) -> None:
    for each in done:
        name = each["campaign"]["name"]
        if each["created"]:
            app.out(f"{name}: created from {each['file']}")
        elif each["changed"]:
            app.out(f"{name}: changed {', '.join(each['changed'])}")
        else:
            app.out(f"{name}: nothing changed")


@command("check", example="hubctl check spring-sale")
@click.argument("name", shell_complete=campaign_names)
def check(app: App, name: str) -> int:
    """Is a campaign fit to start?

    Tells how many would get it and who would be skipped, fields that contacts lack, SMS segments and how long
    it will take. Sends nothing. Exit code 1 when something has to be put right first.
    """
    from hubctl import render

    found = app.call("campaign.check", name=name)
    if app.as_json:
        app.record({"name": name, **found})
    elif found["ok"]:
        app.out(f"{name} is fit to start\n{render.check(found)}")
        app.note(f"next: hubctl preview {name}, then hubctl start {name} --follow")
    else:
        app.out(
            "\n".join(
                [f"{name} is not fit to start", *render.problems(found["problems"]), render.check(found)]
            )
        )
    return Exit.DONE if found["ok"] else Exit.FAILED


@command("preview", example="hubctl preview spring-sale --to ann@example.com")
@click.argument("name", shell_complete=campaign_names)
@click.option(
    "--to", "contact", metavar="CONTACT", help="An address or contact id; else the first recipient."
)
@click.option("--html", "part", flag_value="html", help="The HTML part alone.")
@click.option("--source", "part", flag_value="source", help="The whole message as it goes over the wire.")
def preview(app: App, name: str, contact: str | None, part: str | None) -> None:
    """Show one message as a contact would get it. Sends nothing."""
    from hubctl import layout, render, render_messages

    found = app.call("campaign.preview", name=name, to=contact)
    if app.as_json:
        app.record({"name": name, **found})
    elif part is not None:
        if not found.get(part):
            raise Refused(f"this message has no {part}")
        app.out(layout.printable(str(found[part]).replace("\r\n", "\n").rstrip("\n")))
    else:
        app.out(
            f"To: {layout.one_line(found['recipient'])}\n{render_messages.body(found, colour=app.coloured())}"
        )
        if found.get("segments"):
            app.note(render.segments_line(found))


@command("test", example="hubctl test spring-sale --to me@example.com")
@click.argument("name", shell_complete=campaign_names)
@click.option("--to", "address", required=True, metavar="ADDRESS", help="Your own address or number.")
def test(app: App, name: str, address: str) -> int:
    """Send one message of a campaign to an address of yours, through its provider.

    The address need not be a contact, and the campaign's recipients and counts are not touched.
    """
    found = app.call("campaign.test", name=name, to=address)
    sent = found["state"] in {"sent", "delivered"}
    if app.as_json:
        app.record({"name": name, **found})
    else:
        why = f": {found['reason'].replace('_', ' ')}" if found.get("reason") else ""
        code = f" ({found['code']})" if found.get("code") else ""
        app.out(f"{found['state']}{why}{code}")
        app.note(f"more: hubctl message {found['delivery_id']}")
    return Exit.DONE if sent else Exit.FAILED


@command("clone", example="hubctl clone spring-sale summer-sale")
@click.argument("name", shell_complete=campaign_names)
@click.argument("new", metavar="NEW")
def clone(app: App, name: str, new: str) -> None:
    """Make a draft NEW that says the same as NAME, to the same lists, with the settings that NAME has now."""
    found = app.call("campaign.clone", name=name, new=new)
    if app.as_json:
        app.record({"name": name, "new": new, **found})
        return
    app.out(f"{new} is a draft like {name}" + ("" if found["changed"] else " already"))
    app.note(f"next: hubctl check {new}")


@command("archive", example="hubctl archive spring-sale")
@click.argument("name", shell_complete=campaign_names)
@click.option("--undo", is_flag=True, help="Bring it back.")
def archive(app: App, name: str, undo: bool) -> None:
    """Leave a campaign that has ended out of the lists. Nothing of it is removed.

    `hubctl list --all` shows it, its history stays, and it comes back by itself when it is started again.
    """
    found = app.call("campaign.archive", name=name, archived=not undo)
    if app.as_json:
        app.record({"name": name, "archived": not undo, **found})
    else:
        app.out(f"{name} is {'in the lists' if undo else 'archived'}{'' if found['changed'] else ' already'}")


@command("delete", example="hubctl delete spring-sale --yes")
@click.argument("name", shell_complete=campaign_names)
def delete(app: App, name: str) -> None:
    """Forget a campaign with its deliveries and history. Contacts and suppressions stay."""
    from hubctl import layout

    if not app.yes:
        view: dict[str, Any] = app.call("campaign.get", name=name)["campaign"]
        total = int(view["counts"]["total"])
        history = f" and its history of {layout.plural(total, 'delivery', 'deliveries')}" if total else ""
        app.confirm(f"delete {name}{history}", needed=True, name=name, people=total)
    found = app.call("campaign.delete", name=name)
    if app.as_json:
        app.record({"name": name, **found})
    else:
        app.out(f"{name} is deleted")
