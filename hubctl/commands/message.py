"""Single messages: send, sends, deliveries, message, failures."""

from __future__ import annotations

import codecs
import io
import sys
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from hubctl import layout, render, render_messages
from hubctl.answer import print_result, show_dry_run
from hubctl.app import App, Json, is_terminal
from hubctl.command import command
from hubctl.exits import Exit, Refused
from hubctl.listing import Listing, read_pages
from hubctl.names import account_names, campaign_names, content_names, provider_names
from hubctl.output import for_people
from hubd.wire import methods as m
from hubd.wire.words import DELIVERY_STATES, SENT, UNFINISHED

RECENT = 50  #: one-off messages that are shown on a terminal

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import message_results as r
    from hubd.wire.campaign_results import CampaignView


@command(
    "send",
    example="hubctl send --provider office --to ann@example.com --template welcome --field code=4711",
    changes=True,
)
@click.option(
    "--provider",
    required=True,
    metavar="NAME",
    help="The provider to send through.",
    shell_complete=provider_names,
)
@click.option(
    "--to", "address", required=True, metavar="ADDRESS", help="An email address or a phone number (+...)."
)
@click.option(
    "--template",
    metavar="NAME",
    help="Send a stored template (NAME or NAME@VERSION), or the content of a campaign that has this name.",
    shell_complete=content_names,
)
@click.option("--subject", default="", help="Email: the subject.")
@click.option("--text", default="", help="The text.")
@click.option("--html", default="", help="Email: the HTML part.")
@click.option("--html-file", default="", metavar="FILE", help="Email: a file with the HTML part.")
@click.option(
    "--attach",
    "attached",
    multiple=True,
    metavar="FILE",
    help="Email: attach a file (repeatable); a picture that the HTML shows by cid:NAME becomes a part of it.",
)
@click.option("--sender", default="", metavar="ADDRESS", help="Email: the sender.")
@click.option("--reply-to", default="", metavar="ADDRESS", help="Email: where replies go.")
@click.option(
    "--field", "fields", multiple=True, metavar="KEY=VALUE", help="A field for the template (repeatable)."
)
@click.option(
    "--idempotency-key",
    "--key",
    "key",
    metavar="KEY",
    help="Calls with the same key send the message only once.",
)
@click.option(
    "--credits",
    "account",
    metavar="ACCOUNT",
    help="The credit account that pays.",
    shell_complete=account_names,
)
@click.option("--wait", is_flag=True, help="Wait for the provider's answer; exit code 1 if it was not sent.")
def send(
    app: App,
    provider: str,
    address: str,
    template: str | None,
    fields: tuple[str, ...],
    attached: tuple[str, ...],
    html_file: str,
    key: str | None,
    account: str | None,
    wait: bool,
    dry_run: bool,
    **words: str,
) -> int:
    """Send one message now, ahead of all campaigns, and print its id.

    When this command returns, the message is stored safely; it is sent even if the power fails now.
    """
    from hubctl.campaign_file import read_attachments, read_text
    from hubctl.commands.campaign import upload

    given = {name: text for name, text in words.items() if text}
    if template and (given.keys() & {"subject", "text", "html"} or html_file):
        raise click.UsageError("--template has its own content; leave out --subject, --text and --html")
    if html_file and "html" in given:
        raise click.UsageError("pass either --html or --html-file")
    if not template and not (given.get("text") or given.get("html") or html_file):
        raise click.UsageError(
            "no content given: pass --template NAME, or --text or --html-file (with --subject for email)"
        )
    if html_file:
        given["html"] = read_text(html_file)
    files = read_attachments(attached)
    params: Json = {"provider": provider, "to": address, "fields": _fields(fields), **given}
    named = (("template", template), ("idempotency_key", key), ("credits", account))
    params |= {name: value for name, value in named if value}
    if files:
        params["attachments"] = [each.described() for each in files]

    async def work(hub: Client) -> tuple[r.SendResult, r.DeliveryLife | None]:
        for each in files:
            await upload(hub, each)
        found = await hub.call(m.MESSAGE_SEND, **params)
        return found, await _finished(hub, int(found["delivery_id"])) if wait else None

    if dry_run:
        _show_plan(app, params)
        return Exit.DONE
    found, life = app.talk(work)
    told_of = {**found, **({"delivery": life} if life else {}), "state": (life or found)["state"]}
    if not print_result(app, told_of):
        app.out(str(found["delivery_id"]))
        if life:
            app.note(render_messages.ending(life))
    return Exit.FAILED if life and life["state"] not in SENT else Exit.DONE


def _show_plan(app: App, params: Json) -> None:
    found = app.call(m.MESSAGE_SEND, dry_run=True, **params)
    what = f"the content of {params['template']}" if "template" in params else "one message"
    sentence = f"would send {what} to {params['to']} via {params['provider']}"
    values = {"provider": params["provider"], "to": params["to"], "would": found["would"]}
    show_dry_run(app, values, sentence if found["would"]["change"] else "this message has already been sent")


def _fields(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--field {pair!r} is not KEY=VALUE")
        found[name] = value
    return found


async def _finished(hub: Client, delivery: int) -> r.DeliveryLife:
    """The delivery once nothing more happens to it by itself, or once it is deferred (an answer, too)."""
    import trio

    while True:
        life = (await hub.call(m.DELIVERY_GET, id=delivery))["delivery"]
        if life["state"] not in UNFINISHED or life["state"] == "deferred":
            return life
        await trio.sleep(0.05)


@command("sends", example="hubctl sends --provider office --state failed")
@click.option("--provider", metavar="NAME", help="Only through this provider.", shell_complete=provider_names)
@click.option(
    "--state", type=click.Choice(DELIVERY_STATES), metavar="STATE", help="Only messages in this state."
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most N; on a terminal 50 if not given."
)
def sends(app: App, provider: str | None, state: str | None, limit: int | None) -> None:
    """List one-off messages, newest first: those of `send`, of `test` and of other programs.

    Show one with: hubctl message ID. Messages of campaigns are listed by: hubctl deliveries NAME
    """
    listing: Listing[r.MessageView] = Listing(
        app=app,
        key="messages",
        columns=render_messages.SENDS_COLUMNS,
        table=lambda rows: render_messages.sends(rows, colour=app.coloured(), width=app.width()),
        empty="no one-off messages",
        schema=False,
    )
    cut = limit is None and listing.for_people and is_terminal(sys.stdout)

    async def work(hub: Client) -> None:
        await read_pages(
            lambda before, size: hub.begin(
                m.MESSAGE_LIST, provider=provider, state=state, before=before or 0, limit=size
            ),
            listing.rows,
            entries=lambda page: page["messages"],
            limit=RECENT if cut else limit,
        )

    app.talk(work)
    listing.end()
    if cut and listing.count == RECENT:
        app.note(f"the newest {RECENT}; for more: --limit N")


@command("deliveries", example="hubctl deliveries spring-sale --state failed --output csv > failed.csv")
@click.argument("name", shell_complete=campaign_names)
@click.option(
    "--state", type=click.Choice(DELIVERY_STATES), metavar="STATE", help="Only deliveries in this state."
)
@click.option("--refused", is_flag=True, help="Only waiting recipients whose refusals paused the campaign.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N.")
def deliveries(app: App, name: str, state: str | None, refused: bool, limit: int | None) -> None:
    """Show who got it and who did not, one line per recipient.

    Any number of recipients: they are fetched and printed page by page. States: sent delivered undelivered
    failed in_doubt deferred sending pending skipped. For recipients in doubt the answer was lost while the
    message was on the wire, so they may have got it. Decide with: hubctl retry NAME --in-doubt
    resend|sent|failed
    """
    if refused and state:
        raise click.UsageError(
            "--refused and --state cannot be combined: refused recipients wait to be tried again"
        )
    asked = {"campaign": name, "state": state, **({"refused": True} if refused else {})}
    listing: Listing[r.DeliveryView] = Listing(
        app=app,
        key="deliveries",
        columns=render_messages.DELIVERY_COLUMNS,
        table=lambda rows: render_messages.deliveries(rows, colour=app.coloured(), width=app.width()),
        empty="no deliveries",
        head={"name": name},
        schema=False,
    )

    async def work(hub: Client) -> None:
        await read_pages(
            lambda after, size: hub.begin(m.DELIVERY_LIST, after=after or 0, limit=size, **asked),
            listing.rows,
            entries=lambda page: page["deliveries"],
            limit=limit,
        )

    app.talk(work)
    listing.end()
    if state == "in_doubt" and listing.for_people and listing.count:
        app.note(f"look them up at the provider, then: hubctl retry {name} --in-doubt resend|sent|failed")


@command("message", example="hubctl message 4711")
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@click.option("--html", "part", flag_value="html", help="Print only the HTML part.")
@click.option(
    "--source",
    "part",
    flag_value="source",
    help="Print the message as it was sent (on a terminal, without attachments above 1 MiB).",
)
def message(app: App, id_: int, part: str | None) -> None:
    """Show one message: every attempt with the provider's answer, and its content."""
    if part == "source" and for_people(app) and not is_terminal(sys.stdout):
        app.talk(lambda hub: _write_source(app, hub, id_))
        return
    found = app.call(m.DELIVERY_GET, id=id_)
    if print_result(app, found, of="delivery"):
        return
    if part:
        content: Mapping[str, object] = found["content"] or {}
        text = content.get(part)
        if not text:
            raise Refused(f"message {id_} has no {part}")
        app.out(layout.printable(str(text).replace("\r\n", "\n").rstrip("\n")))
        if part == "source" and content.get("source_shortened"):
            app.note(f"with its attachments: hubctl message {id_} --source > message.eml")
    else:
        app.out(render_messages.message(found, colour=app.coloured(), width=app.width()))


async def _write_source(app: App, hub: Client, id_: int) -> None:
    """The whole email to stdout, a part at a time, with the line ends of files on this system."""
    text = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
    offset: int | None = 0
    first: r.SourcePart | None = None
    while offset is not None:
        part = await hub.call(m.DELIVERY_SOURCE, id=id_, offset=offset)
        if not part["size"]:
            raise Refused(f"message {id_} has no source")
        first = first or part
        if any(part[name] != first[name] for name in ("size", "attempts")):
            raise Refused(
                f"message {id_} was tried again in the meantime, so the output is incomplete",
                hint="run the command again",
            )
        offset = part["next"]
        app.data(text.decode(b64decode(part["data"]), final=offset is None))


@command("failures", example="hubctl failures spring-sale")
@click.argument("name", shell_complete=campaign_names)
def failures(app: App, name: str) -> None:
    """Show what went wrong, grouped by reason, and what to do about it."""

    async def work(hub: Client) -> tuple[list[r.FailureGroup], CampaignView]:
        groups = (await hub.call(m.DELIVERY_FAILURES, campaign=name))["groups"]
        return groups, (await hub.call(m.CAMPAIGN_GET, name=name))["campaign"]

    groups, view = app.talk(work)
    answer = {"name": name, "groups": groups, "state": view["state"], "reason": view["reason"]}
    if print_result(app, answer, rows="groups", columns=render_messages.FAILURE_COLUMNS):
        return
    colour, width = app.coloured(), app.width()
    if groups:
        app.out(render_messages.failures(name, groups, colour=colour, width=width))
    halted, refused = render_messages.halted(view), render.refusals(view)
    if halted:
        app.out("\n" * bool(groups) + "\n".join(layout.wrapped(line, width) for line in halted))
    if not groups and not halted and not refused and not view["counts"]["deferred"]:
        app.note(f"nothing went wrong with {name}")
    for line in render_messages.set_aside(view):
        app.note(layout.wrapped(line, width, hanging="  "))
    for line in refused:
        app.note(line)
