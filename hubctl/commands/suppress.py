"""Addresses that never get anything: suppress add|remove|list|import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubctl import layout, render
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App
from hubctl.command import Nouns, command
from hubctl.exits import Exit, Refused
from hubctl.listing import Listing, read_pages
from hubctl.output import asked
from hubd.errors import BadInput
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import contact_results as r
    from hubd.wire.results import Done


@click.group("suppress", cls=Nouns)
def suppress() -> None:
    """Manage addresses that never get a message from any campaign.

    Example: hubctl suppress add ann@example.com --reason "asked by phone"
    """


def channel_of(address: str) -> str:
    """By the look of an address. Raises Refused (usage) for what looks like neither kind."""
    if "@" in address:
        return "email"
    if any(char.isalpha() for char in address) or not any(char.isdigit() for char in address):
        raise Refused("this is neither an email address nor a phone number", code="usage", status=Exit.USAGE)
    return "sms"


@command("add", within=suppress, example="hubctl suppress add ann@example.com", changes=True)
@click.argument("address")
@click.option(
    "--channel", type=click.Choice(["email", "sms"]), help="The channel [recognised from the address]."
)
@click.option("--region", metavar="CC", help="The country of a phone number without +, such as DE or US.")
@click.option("--reason", default="", help="The reason to record.")
def add(app: App, address: str, channel: str | None, region: str | None, reason: str, dry_run: bool) -> None:
    """Never send to this address again, not even from a running campaign."""
    channel = channel or channel_of(address)
    asked_for = {"channel": channel, "address": address, "reason": reason, **_where(region)}
    found = app.call(m.SUPPRESSION_ADD, **asked_for, **dry(dry_run))
    if dry_run:
        sentence = (
            f"would suppress {address}" if found["would"]["change"] else f"{address} is already suppressed"
        )
        _show_plan(app, channel, address, found, sentence)
        return
    _tell(app, found, "suppressed", "was suppressed already")


@command("remove", within=suppress, example="hubctl suppress remove ann@example.com --yes", changes=True)
@click.argument("address")
@click.option(
    "--channel", type=click.Choice(["email", "sms"]), help="The channel [recognised from the address]."
)
@click.option("--region", metavar="CC", help="The country of a phone number without +, such as DE or US.")
def remove(app: App, address: str, channel: str | None, region: str | None, dry_run: bool) -> None:
    """Allow messages to this address again."""
    channel = channel or channel_of(address)
    asked_for = {"channel": channel, "address": address, **_where(region)}
    if dry_run:
        found = app.call(m.SUPPRESSION_REMOVE, **asked_for, dry_run=True)
        change = found["would"]["change"]
        sentence = f"would allow messages to {address} again" if change else f"{address} is not suppressed"
        _show_plan(app, channel, address, found, sentence)
        return
    app.confirm(f"allow messages to {address} again", needed=True)
    found = app.call(m.SUPPRESSION_REMOVE, **asked_for)
    _tell(app, found, "no longer suppressed", "was not suppressed")


def _where(region: str | None) -> dict[str, str]:
    return {"region": region} if region else {}


def _show_plan(app: App, channel: str, address: str, found: Done, sentence: str) -> None:
    would = {"change": found["would"]["change"]}
    show_dry_run(app, {"channel": channel, "address": address, "would": would}, sentence)


def _tell(app: App, found: Done, done: str, already: str) -> None:
    if not print_result(app, found):
        app.out(done if found.get("changed", True) else already)


@command("list", within=suppress, example="hubctl suppress list --channel email")
@click.option("--channel", type=click.Choice(["email", "sms"]), help="Only this channel.")
def list_(app: App, channel: str | None) -> None:
    """List suppressed addresses with the reason; with --json, as JSON lines."""
    listing: Listing[r.SuppressionView] = Listing(
        app=app,
        key="suppressions",
        columns=("channel", "address", "reason", "source", "created_at"),
        table=lambda rows: _table(app, rows),
        empty="nobody is suppressed",
        output=None if asked().output or not app.as_json else "ndjson",
    )

    app.talk(
        lambda hub: read_pages(
            lambda after, size: hub.begin(m.SUPPRESSION_LIST, channel=channel, after=after, limit=size),
            listing.rows,
            entries=lambda page: page["suppressions"],
        )
    )
    listing.end()


def _table(app: App, rows: Sequence[r.SuppressionView]) -> str:
    shown = [
        (
            each["address"],
            each["channel"],
            str(each.get("reason") or "").replace("_", " "),
            _source(str(each.get("source") or "")),
            render.clock(each["created_at"]),
        )
        for each in rows
    ]
    headers = ("ADDRESS", "CHANNEL", "REASON", "SOURCE", "SINCE")
    return layout.table(headers, shown, colour=app.coloured(), width=app.width())


def _source(source: str) -> str:
    """What put an address on the list. One-off messages are in a campaign ~PROVIDER, or ~PROVIDER.sms."""
    provider = source.removeprefix("campaign ~")
    return source if provider == source else f"a transactional message via {provider.removesuffix('.sms')}"


@command("import", within=suppress, example="hubctl suppress import unsubscribed.csv", changes=True)
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path))
@click.option("--channel", type=click.Choice(["email", "sms"]), help="Only addresses of this channel [both].")
@click.option("--column", metavar="COLUMN", help="The column that holds the address [found by name].")
@click.option("--region", metavar="CC", help="The country of phone numbers without +, such as DE or US.")
@click.option(
    "--encoding",
    metavar="NAME",
    help="How the characters of the file are encoded, such as windows-1252 [UTF-8].",
)
@click.option("--reason", default="imported", help="The reason to record.")
def import_(
    app: App,
    file: Path,
    channel: str | None,
    column: str | None,
    region: str | None,
    encoding: str | None,
    reason: str,
    dry_run: bool,
) -> int:
    """Suppress every address in a CSV file, such as the unsubscribes of another system.

    The first line names the columns, which are recognised as by `hubctl import`; a file that begins with an
    address needs no such line. Every email address and every phone number of a row is suppressed. If no name
    is recognised, the column that has addresses is taken.
    """
    from hubctl.address_columns import address_column, names_for
    from hubctl.csv_file import survey
    from hubctl.import_report import Report
    from hubctl.importing import ask_columns, named_column, opened, send_pages

    name = "standard input" if str(file) == "-" else str(file)
    report = Report(("added", "unchanged"))
    params = {"channel": channel, "region": region, "reason": reason, **dry(dry_run)}
    with opened(file, encoding) as binary:
        found = survey(binary, name)
        columns: dict[str, Any] = {"addresses": True}
        if column is not None:
            chosen = named_column(found.header.columns, column, "--column")
            others = [each for each in found.header.columns if each != chosen]
            columns |= {"maps": {chosen: "address"}, "skip": others}
        elif named := names_for(found.header.columns):
            found = survey(binary, name, named)
            app.note(f"{name} does not name its columns, so its first line was read as a row")

        async def work(hub: Client) -> None:
            try:
                report.columns = await ask_columns(hub, found, **columns)
            except BadInput:
                guess = None if column else address_column(binary, name, found.named)
                if guess is None:
                    raise
                app.note(f"the addresses were taken from the column {layout.printable(guess)}")
                report.columns = await ask_columns(hub, found, **columns, maps={guess: "address"})
            await send_pages(hub, "suppression.import", params, binary, name, found, report)

        app.talk(work)
    answer = report.as_json()
    if not print_result(app, {**dry(dry_run), **answer}):
        app.out(
            f"{layout.plural(report.rows, 'row')} of {name} read" + ("; they would be:" if dry_run else "")
        )
        app.out(layout.facts([*report.counts.items(), ("invalid", report.invalid)]))
        for text in report.error_lines(name):
            app.complain(text)
    return Exit.PARTLY if report.invalid else Exit.DONE
