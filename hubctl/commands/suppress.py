"""Addresses that never get anything: suppress add|remove|list|import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from hubctl import layout, render
from hubctl.answer import dry, show_dry_run, told
from hubctl.app import App, Json
from hubctl.command import Nouns, command
from hubctl.exits import Exit, Refused
from hubctl.listing import Listing, read_pages
from hubctl.output import asked
from hubd.errors import BadInput

if TYPE_CHECKING:
    from hubd.client import Client


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
@click.option("--reason", default="", help="The reason to record.")
def add(app: App, address: str, channel: str | None, reason: str, dry_run: bool) -> None:
    """Never send to this address again, not even from a running campaign."""
    channel = channel or channel_of(address)
    found = app.call("suppression.add", channel=channel, address=address, reason=reason, **dry(dry_run))
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
def remove(app: App, address: str, channel: str | None, dry_run: bool) -> None:
    """Allow messages to this address again."""
    channel = channel or channel_of(address)
    if dry_run:
        found = app.call("suppression.remove", channel=channel, address=address, dry_run=True)
        change = found["would"]["change"]
        sentence = f"would allow messages to {address} again" if change else f"{address} is not suppressed"
        _show_plan(app, channel, address, found, sentence)
        return
    app.confirm(f"allow messages to {address} again", needed=True)
    found = app.call("suppression.remove", channel=channel, address=address)
    _tell(app, found, "not suppressed any more", "was not suppressed")


def _show_plan(app: App, channel: str, address: str, found: Json, sentence: str) -> None:
    would = {"change": found["would"]["change"]}
    show_dry_run(app, {"channel": channel, "address": address, "would": would}, sentence)


def _tell(app: App, found: Json, done: str, already: str) -> None:
    if not told(app, found):
        app.out(done if found.get("changed", True) else already)


@command("list", within=suppress, example="hubctl suppress list --channel email")
@click.option("--channel", type=click.Choice(["email", "sms"]), help="Only this channel.")
def list_(app: App, channel: str | None) -> None:
    """List suppressed addresses with the reason; with --json, as JSON lines."""
    listing = Listing(
        app=app,
        key="suppressions",
        columns=("channel", "address", "reason", "source", "created_at"),
        table=lambda rows: _table(app, rows),
        empty="nobody is suppressed",
        output=None if asked().output or not app.as_json else "ndjson",
    )

    app.talk(
        lambda hub: read_pages(
            lambda after, size: hub.begin("suppression.list", channel=channel, after=after, limit=size),
            listing.rows,
            entries="suppressions",
        )
    )
    listing.end()


def _table(app: App, rows: Sequence[Json]) -> str:
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
@click.option(
    "--channel", type=click.Choice(["email", "sms"]), help="The channel [recognised from each address]."
)
@click.option("--column", metavar="COLUMN", help="The column that holds the address [found by name].")
@click.option("--reason", default="imported", help="The reason to record.")
def import_(app: App, file: Path, channel: str | None, column: str | None, reason: str, dry_run: bool) -> int:
    """Suppress every address in a CSV file, such as the unsubscribes of another system.

    The first line names the columns. The address is in `address`, `email` or `phone`, or in --column.
    """
    from hubctl.csv_file import survey
    from hubctl.importing import Report, opened

    name = "standard input" if str(file) == "-" else str(file)
    counts = {"added": 0, "unchanged": 0}
    report = Report()

    tried: set[tuple[str, str]] = set()  #: what a dry run would have suppressed by then

    async def work(hub: Client, binary: BinaryIO) -> None:
        for line, address in _addresses(binary, name, column, report):
            report.rows += 1
            try:
                kind = channel or channel_of(address)
                found = await hub.call(
                    "suppression.add",
                    channel=kind,
                    address=address,
                    reason=reason,
                    imported=True,
                    **dry(dry_run),
                )
            except (BadInput, Refused) as error:
                problem = str(error).removeprefix("address: ")
                report.errors.append({"line": line, "field": "address", "problem": problem})
                continue
            new = bool(found.get("changed", True))
            if dry_run:
                key = (kind, str(found["would"]["address"]))
                new = bool(found["would"]["change"]) and key not in tried
                tried.add(key)
            counts["added" if new else "unchanged"] += 1

    with opened(file) as binary:
        survey(binary, name)
        app.talk(lambda hub: work(hub, binary))
    errors = report.as_json()["errors"]
    answer = {"rows": report.rows, **counts, "invalid": len(errors), "errors": errors}
    if not told(app, {**dry(dry_run), **answer}):
        app.out(
            f"{layout.plural(report.rows, 'row')} of {name} read" + ("; they would be:" if dry_run else "")
        )
        app.out(layout.facts([*counts.items(), ("invalid", len(report.errors))]))
        for text in report.error_lines(name):
            app.complain(text)
    return Exit.PARTLY if report.errors else Exit.DONE


def _addresses(binary: BinaryIO, name: str, column: str | None, report: Any) -> Iterator[tuple[int, str]]:
    from hubctl.csv_file import BadRow, CsvFile

    reader = CsvFile(binary, name)
    folded = [each.casefold() for each in reader.header.columns]
    wanted = [column.casefold()] if column else ["address", "email", "phone"]
    places = [folded.index(each) for each in wanted if each in folded]
    if not places:
        raise Refused(
            f"{name} has no column {' or '.join(wanted)}",
            hint=f"name one with --column; the columns are {', '.join(reader.header.columns)}",
        )
    for row in reader.rows():
        if isinstance(row, BadRow):
            report.add_bad_row(row)
            continue
        for place in places:
            if address := row.cells[place].strip():
                yield row.line, address
