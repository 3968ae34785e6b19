"""Making a campaign, looking at it before it goes out, tidying up: apply, check, preview, test,
archive, delete.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App
from hubctl.command import command
from hubctl.exits import Exit, Refused
from hubctl.names import campaign_names
from hubctl.output import for_people
from hubctl.selection import Choice, Outcome, choose, find, for_each, of_campaigns, print_rows
from hubd.errors import BadInput, HubError
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubctl.campaign_file import CampaignFile, Enclosure
    from hubd.client import Client
    from hubd.wire import campaign_results as r
    from hubd.wire.message_results import DeliveryLife, PreviewResult
    from hubd.wire.provider_results import ProviderStatus

_APPLIED = ("file", "campaign", "created", "changed")
PART = 512 * 1024  #: bytes of an attachment in one call


@command("apply", example="hubctl apply spring.toml", changes=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
def apply(app: App, files: tuple[Path, ...], dry_run: bool) -> int:
    """Create or update campaigns from their files.

    All files are read and checked first; if one of them is invalid, none is applied. Texts and attachments
    are read on this machine, relative to the file. A running campaign keeps the content it was started with.
    """
    from hubctl.campaign_file import read_campaign

    read = [read_campaign(path) for path in files]
    done: list[tuple[CampaignFile, r.ApplyResult]] = []

    async def work(hub: Client) -> None:
        if len(read) > 1 and not dry_run:
            for each in read:
                await apply_file(hub, each, dry_run=True)
        for each in read:
            done.append((each, await apply_file(hub, each, dry_run=dry_run)))

    try:
        app.talk(work)
    except HubError as error:
        if done and not dry_run and for_people(app):
            _tell_applied(app, done)
        if done and not dry_run:
            raise Refused(
                str(error),
                code=error.code,
                status=Exit.PARTLY,
                hint=f"{len(done)} of {len(read)} files were applied",
            ) from error
        raise
    applied = [{"file": str(file.path), **each} for file, each in done]
    if print_result(app, {**dry(dry_run), "applied": applied}, rows="applied", columns=_APPLIED):
        return Exit.DONE
    if dry_run:
        for file, each in done:
            app.out(_would_apply(file, each))
        _warn(app, done)
        app.note("nothing was changed")
    else:
        _tell_applied(app, done)
        _warn(app, done)
        if len(done) == 1 and (done[0][1]["created"] or done[0][1]["changed"]):
            app.note(f"next: hubctl check {done[0][0].spec['name']}")
    return Exit.DONE


async def apply_file(hub: Client, file: CampaignFile, *, dry_run: bool = False) -> r.ApplyResult:
    """Upload the attachments, then apply; a dry run only asks whether that would work.

    Raises Refused with FILE:LINE for what the daemon refuses.
    """
    from hubctl.campaign_file import located, template_guess, zone_for

    for enclosure in () if dry_run else file.enclosures:
        await upload(hub, enclosure)
    try:
        spec = dict(file.spec)
        return await hub.call(m.CAMPAIGN_APPLY, spec=spec, dry_run=dry_run, **zone_for(spec))
    except BadInput as error:
        listed = error.data.get("errors")
        faults = (
            [(str(each["path"]), str(each["problem"])) for each in listed] if isinstance(listed, list) else []
        )
        strip = [(path.removeprefix("spec.").removeprefix("spec"), problem) for path, problem in faults]
        hint = error.hint or template_guess([problem for _, problem in faults])
        faults = strip or [("", str(error))]
        raise located(file.path, file.source, faults, hint=hint, texts=file.texts) from error


async def upload(hub: Client, enclosure: Enclosure) -> None:
    """Give the daemon the bytes of a file."""
    size = len(enclosure.content)
    for offset in range(0, size, PART):
        part = base64.b64encode(enclosure.content[offset : offset + PART]).decode("ascii")
        answer = await hub.call(
            m.CAMPAIGN_ATTACH, sha256=enclosure.sha256, offset=offset, data=part, size=size
        )
        if answer.get("complete"):
            return


def _would_apply(file: CampaignFile, each: r.ApplyResult) -> str:
    name = str(file.spec["name"])
    if each["created"]:
        return f"{name}: would be created from {file.path}"
    return f"{name}: would change {', '.join(each['changed'])}" if each["changed"] else f"{name}: no change"


def _warn(app: App, done: Sequence[tuple[CampaignFile, r.ApplyResult]]) -> None:
    """Print what is probably a mistake in the texts of the files, and which texts were made for them."""
    for file, each in done:
        for found in each["warnings"]:
            app.complain(f"warning: {file.place(found['path'])}: {found['problem']}")
        if file.spec.get("html") and not file.spec.get("text") and "html" in each["changed"]:
            name = file.spec["name"]
            app.note(f"{name} has no text, so one was made from the HTML; to see it: hubctl preview {name}")


def _tell_applied(app: App, done: Sequence[tuple[CampaignFile, r.ApplyResult]]) -> None:
    for file, each in done:
        name = str(file.spec["name"])
        if each["created"]:
            app.out(f"{name}: created from {file.path}")
        elif each["changed"]:
            app.out(f"{name}: changed {', '.join(each['changed'])}")
            campaign = each["campaign"]
            if campaign and campaign["state"] == "scheduled" and "schedule.at" in each["changed"]:
                app.note(f"its schedule has not changed; to change it: hubctl start {name} --at TIME")
        else:
            app.out(f"{name}: nothing changed")


@command("check", example="hubctl check spring-sale")
@click.argument("name", shell_complete=campaign_names)
def check(app: App, name: str) -> int:
    """Check whether a campaign is ready to start.

    Shows how many recipients would get it, who would be skipped, which fields contacts lack, the SMS segments
    and how long it will take. Sends nothing. Exit code 1 if something has to be fixed first.
    """
    from hubctl import render, render_credits

    async def work(hub: Client) -> tuple[r.CheckResult, list[ProviderStatus]]:
        found = await hub.call(m.CAMPAIGN_CHECK, name=name)
        return found, (await hub.call(m.PROVIDER_LIST))["providers"] if for_people(app) else []

    found, providers = app.talk(work)
    ended = Exit.DONE if found["ok"] else Exit.FAILED
    if print_result(app, {"name": name, **found}):
        return ended
    app.out(f"{name} is {'' if found['ok'] else 'not '}ready to start")
    lines = [
        *([] if found["ok"] else render.problems(found["problems"])),
        render.check(found, render_credits.need(found["credits"])),
    ]
    if any(each["name"] == found["provider"] and each["type"] == "outbox" for each in providers):
        lines.append(f"  {found['provider']} only writes files; nothing leaves this machine")
    app.out("\n".join(lines))
    if found["ok"]:
        app.note(f"next: hubctl preview {name}, then hubctl start {name} --follow")
    return ended


@command("preview", example="hubctl preview spring-sale --to ann@example.com")
@click.argument("name", required=False, shell_complete=campaign_names)
@click.option(
    "--to", "contact", metavar="CONTACT", help="An address or a contact id (default: the first recipient)."
)
@click.option(
    "--html",
    "html",
    is_flag=False,
    flag_value="-",
    metavar="FILE",
    help="Write the HTML part with its pictures to FILE, for a browser; without FILE, print the HTML part.",
)
@click.option("--open", "browser", is_flag=True, help="Show the HTML part with its pictures in your browser.")
@click.option(
    "--source",
    is_flag=True,
    help="Print the message as it is sent, without attachments above 1 MiB.",
)
def preview(
    app: App, name: str | None, contact: str | None, html: str | None, browser: bool, source: bool
) -> None:
    """Show one message as a contact would receive it: its headers, its text and its files. Sends nothing."""
    from hubctl import layout, render, render_messages

    if name is None and html not in (None, "-"):
        name, html = html, "-"  # as in `hubctl preview --html spring-sale`
    if name is None:
        raise click.UsageError("Missing argument 'NAME'.")
    found = app.call(m.CAMPAIGN_PREVIEW, name=name, to=contact)
    part = found.get("source") if source else found.get("html")
    if (source or html or browser) and not part:
        raise Refused(f"this message has no {'source' if source else 'HTML part'}")
    written = _show_page(name, found, html if html != "-" else None, browser=browser)
    if print_result(app, {"name": name, **found}):
        return
    if part and (source or html == "-"):
        app.out(layout.printable(part.replace("\r\n", "\n").rstrip("\n")))
    elif written:
        app.out("\n".join(written))
    else:
        app.out(render_messages.preview(found, colour=app.coloured()))
        if found.get("html"):
            app.note(f"it also has an HTML part; to see it: hubctl preview {name} --open")
        if found.get("segments"):
            app.note(render.cost(found["segments"], found["encoding"]))


def _show_page(name: str, found: PreviewResult, html: str | None, *, browser: bool) -> list[str]:
    """Write the page into the file `html`, and show it in the browser; what was done, in words."""
    if html is None and not browser:
        return []
    from hubctl.browser_page import browser_page, open_page, write_page

    page, done = browser_page(found["html"], found["source"]), []
    if html is not None:
        write_page(Path(html), page)
        done.append(f"written: {html}")
    if browser:
        done.append(f"opened: {open_page(name, page)}")
    return done


@command("test", example="hubctl test spring-sale --to me@example.com", changes=True)
@click.argument("name", shell_complete=campaign_names)
@click.option("--to", "address", required=True, metavar="ADDRESS", help="Your own address or phone number.")
@click.option(
    "--as",
    "contact",
    metavar="CONTACT",
    help="Send what this contact would get: an address or a contact id (default: the first recipient).",
)
def test(app: App, name: str, address: str, contact: str | None, dry_run: bool) -> int:
    """Send one message of a campaign to your own address, through its provider.

    The address does not have to be a contact. The campaign's recipients and counts do not change. The link to
    unsubscribe has no contact in it, so that you can press it.
    """
    asked = {"name": name, "to": address, **({"as": contact} if contact else {})}
    if dry_run:
        view = app.call(m.CAMPAIGN_GET, name=name)["campaign"]
        found = app.call(m.CAMPAIGN_TEST, **asked, dry_run=True)
        sentence = f"would send one message of {name} to {address} via {view['provider']}"
        values = {"name": name, "to": address, "campaign": view, "would": found["would"]}
        show_dry_run(app, values, sentence)
        return Exit.DONE

    async def work(hub: Client) -> tuple[r.TestSendResult, r.TestSendResult | DeliveryLife]:
        found = await hub.call(m.CAMPAIGN_TEST, **asked)
        number = int(found["delivery_id"])
        return found, (await hub.call(m.DELIVERY_GET, id=number))["delivery"] if for_people(app) else found

    found, life = app.talk(work)
    sent = found["state"] in {"sent", "delivered"}
    if not print_result(app, {"name": name, **found}):
        from hubctl.render_messages import ending

        app.out(ending(life))
        app.note(f"more: hubctl message {found['delivery_id']}")
    return Exit.DONE if sent else Exit.FAILED


@command("archive", example="hubctl archive spring-sale", changes=True)
@of_campaigns
@click.option("--undo", is_flag=True, help="Undo: show it in lists again.")
def archive(app: App, names: tuple[str, ...], label: str | None, undo: bool, dry_run: bool) -> int:
    """Hide a campaign that has ended from lists, or several. Nothing is deleted.

    `hubctl list --all` still shows it, and its history stays. Starting it again brings it back. With --undo,
    patterns and labels choose among archived campaigns.
    """
    choice = choose(names, label)
    name = choice.one
    if not name:
        return _archive_each(app, choice, undo=undo, dry_run=dry_run)
    found = app.call(m.CAMPAIGN_ARCHIVE, name=name, archived=not undo, **dry(dry_run))
    sentence = _archived(name, found, undo=undo, dry_run=dry_run)
    if dry_run:
        show_dry_run(app, {"name": name, "archived": not undo, **found}, sentence)
    elif not print_result(app, {"name": name, "archived": not undo, **found}, of="campaign"):
        app.out(sentence)
    return Exit.DONE


def _archive_each(app: App, choice: Choice, *, undo: bool, dry_run: bool) -> int:
    async def act(hub: Client, name: str) -> Outcome:
        found = await hub.call(m.CAMPAIGN_ARCHIVE, name=name, archived=not undo, **dry(dry_run))
        text = _archived(name, found, undo=undo, dry_run=dry_run)
        return Outcome(answer={"archived": not undo, **found}, text=text)

    chosen = find(app, choice, archived=undo)
    return print_rows(app, for_each(app, chosen, act, dry_run=dry_run), dry_run=dry_run)


def _archived(name: str, found: r.ChangeResult, *, undo: bool, dry_run: bool) -> str:
    what = "listed" if undo else "archived"
    if not dry_run:
        return f"{name} is {what}{'' if found['changed'] else ' already'}"
    verb = "list" if undo else "archive"
    return f"would {verb} {name}" if found["would"]["change"] else f"{name} is already {what}"


@command("delete", example="hubctl delete spring-sale --yes", changes=True)
@of_campaigns
def delete(app: App, names: tuple[str, ...], label: str | None, dry_run: bool) -> int:
    """Delete a campaign with its deliveries and history, or several. Contacts and suppressions stay."""
    choice = choose(names, label)
    name = choice.one
    if not name:
        return _delete_each(app, choice, dry_run=dry_run)
    if dry_run:
        view = app.call(m.CAMPAIGN_GET, name=name)["campaign"]
        found = app.call(m.CAMPAIGN_DELETE, name=name, dry_run=True)
        values = {"name": name, "campaign": view, "would": found["would"]}
        show_dry_run(app, values, f"would {_deletion(view)}")
        return Exit.DONE
    if not app.yes:
        view = app.call(m.CAMPAIGN_GET, name=name)["campaign"]
        people = int(view["counts"]["total"])
        app.confirm(_deletion(view), needed=True, name=name, people=people)
    found = app.call(m.CAMPAIGN_DELETE, name=name)
    if not print_result(app, {"name": name, **found}):
        app.out(f"{name} is deleted")
    return Exit.DONE


def _delete_each(app: App, choice: Choice, *, dry_run: bool) -> int:
    from hubctl import layout

    chosen = find(app, choice)
    views = [chosen.views[name] for name in chosen.names if name in chosen.views]
    total = sum(view["counts"]["total"] for view in views)
    if not dry_run:
        history = f" and their history of {layout.plural(total, 'delivery', 'deliveries')}" if total else ""
        app.confirm(f"delete {chosen.brief}{history}", needed=True, name=choice.words, people=total)

    async def act(hub: Client, name: str) -> Outcome:
        view = (await hub.call(m.CAMPAIGN_GET, name=name))["campaign"]
        found = await hub.call(m.CAMPAIGN_DELETE, name=name, **dry(dry_run))
        if dry_run:
            answer = {"campaign": view, "would": found["would"]}
            return Outcome(answer=answer, text=f"would {_deletion(view)}")
        return Outcome(answer=dict(found), text=f"{name} is deleted")

    return print_rows(app, for_each(app, chosen, act, dry_run=dry_run), dry_run=dry_run)


def _deletion(view: r.CampaignView) -> str:
    """ "delete spring-sale and its history of 48,212 deliveries"."""
    from hubctl import layout

    total = int(view["counts"]["total"])
    history = f" and its history of {layout.plural(total, 'delivery', 'deliveries')}" if total else ""
    return f"delete {view['name']}{history}"
