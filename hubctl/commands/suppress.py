"""Addresses that never get anything: suppress add|remove|list|import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from hubctl import layout, rehearsal, render
from hubctl.answer import told
from hubctl.app import App, Json
from hubctl.command import Nouns, command
from hubctl.exits import Exit, Refused
from hubctl.listing import Listing
from hubctl.output import asked
from hubd.errors import BadInput

if TYPE_CHECKING:
    from hubd.client import Client

PAGE = 500


@click.group("suppress", cls=Nouns)
def suppress() -> None:
    """Addresses that never get anything, whatever a campaign says.

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
@click.option("--channel", type=click.Choice(["email", "sms"]), help="Else by the look of the address.")
@click.option("--reason", default="", help="Why, for the record.")
def add(app: App, address: str, channel: str | None, reason: str, dry_run: bool) -> None:
    """Never write to this address again, also not in a campaign that runs now."""
    channel = channel or channel_of(address)
    if dry_run:
        _rehearse(app, channel, address, on=True)
        return
    found = app.call("suppression.add", channel=channel, address=address, reason=reason)
    _tell(app, found, "suppressed", "was suppressed already")


@command("remove", within=suppress, example="hubctl suppress remove ann@example.com --yes", changes=True)
@click.argument("address")
@click.option("--channel", type=click.Choice(["email", "sms"]), help="Else by the look of the address.")
def remove(app: App, address: str, channel: str | None, dry_run: bool) -> None:
    """This address may be written to again."""
    channel = channel or channel_of(address)
    if dry_run:
        _rehearse(app, channel, address, on=False)
        return
    app.confirm(f"write to {address} again", needed=True)
    found = app.call("suppression.remove", channel=channel, address=address)
    _tell(app, found, "not suppressed any more", "was not suppressed")


def _rehearse(app: App, channel: str, address: str, *, on: bool) -> None:
    """What `add` (on) or `remove` would do. Raises BadInput for an address that can be none."""
    wanted = (channel, address)

    async def work(hub: Client) -> bool:
        await rehearsal.check_address(hub, channel, address)
        return wanted in await rehearsal.suppressed(hub, [wanted])

    there = app.talk(work)
    sentence = f"would suppress {address}" if on else f"would let {address} be written to again"
    already = f"{address} {'is suppressed already' if on else 'is not suppressed'}"
    values = {"channel": channel, "address": address}
    rehearsal.rehearsed(app, values, already if there is on else sentence, change=there is not on)


def _tell(app: App, found: Json, done: str, already: str) -> None:
    if not told(app, found):
        app.out(done if found.get("changed", True) else already)


@command("list", within=suppress, example="hubctl suppress list --channel email")
@click.option("--channel", type=click.Choice(["email", "sms"]), help="Only this channel.")
def list_(app: App, channel: str | None) -> None:
    """All suppressed addresses with the reason; with --json as JSON lines."""
    listing = Listing(
        app=app,
        key="suppressions",
        columns=("channel", "address", "reason", "source", "created_at"),
        table=lambda rows: _table(app, rows),
        empty="nobody is suppressed",
        output=None if asked().output or not app.as_json else "ndjson",
    )

    async def work(hub: Client) -> None:
        after: Any = None
        while True:
            params = {
                "limit": PAGE,
                **({"channel": channel} if channel else {}),
                **({"after": after} if after else {}),
            }
            page = await hub.call("suppression.list", **params)
            listing.rows(page["suppressions"])
            after = page["next"]
            if after is None:
                return

    app.talk(work)
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
    return source if provider == source else f"a single message via {provider.removesuffix('.sms')}"


@command("import", within=suppress, example="hubctl suppress import unsubscribed.csv", changes=True)
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path))
@click.option("--channel", type=click.Choice(["email", "sms"]), help="Else by the look of each address.")
@click.option("--column", metavar="COLUMN", help="Which column holds the address; else found.")
@click.option("--reason", default="imported", help="Why, for the record.")
def import_(app: App, file: Path, channel: str | None, column: str | None, reason: str, dry_run: bool) -> int:
    """Suppress every address of a CSV file, such as another system's unsubscribes.

    The first line names the columns; the address is in `address`, `email` or `phone`, or in --column.
    """
    from hubctl.csv_file import survey
    from hubctl.importing import Report, opened

    name = "standard input" if str(file) == "-" else str(file)
    counts = {"added": 0, "unchanged": 0}
    report = Report()

    async def work(hub: Client, binary: BinaryIO) -> None:
        for line, address in _addresses(binary, name, column, report):
            report.rows += 1
            try:
                found = await hub.call(
                    "suppression.add",
                    channel=channel or channel_of(address),
                    address=address,
                    reason=reason,
                    imported=True,
                )
            except (BadInput, Refused) as error:
                problem = str(error).removeprefix("address: ")
                report.errors.append({"line": line, "field": "address", "problem": problem})
            else:
                counts["added" if found.get("changed", True) else "unchanged"] += 1

    async def trial(hub: Client, binary: BinaryIO) -> None:
        found = list(_addresses(binary, name, column, report))
        report.rows += len(found)
        good = await _usable(hub, found, channel, report)
        once = {(kind, rehearsal.folded(kind, address)): (kind, address) for kind, address in good}
        there = await rehearsal.suppressed(hub, once.values())
        counts["added"] = len(once) - len(there)
        counts["unchanged"] = len(good) - counts["added"]

    with opened(file) as binary:
        survey(binary, name)
        app.talk(lambda hub: (trial if dry_run else work)(hub, binary))
    errors = report.as_json()["errors"]
    answer = {"rows": report.rows, **counts, "invalid": len(errors), "errors": errors}
    if not told(app, {**({"dry_run": True} if dry_run else {}), **answer}):
        app.out(
            f"{layout.plural(report.rows, 'row')} of {name} read" + ("; they would be:" if dry_run else "")
        )
        app.out(layout.facts([*counts.items(), ("invalid", len(report.errors))]))
        for text in report.error_lines(name):
            app.complain(text)
    return Exit.PARTLY if report.errors else Exit.DONE


async def _usable(
    hub: Client, found: list[tuple[int, str]], channel: str | None, report: Any
) -> list[tuple[str, str]]:
    """The addresses that can be some, as (channel, address); what is wrong with others is told."""
    good: list[tuple[str, str]] = []
    by_channel: dict[str, list[tuple[int, str]]] = {"email": [], "sms": []}
    for line, address in found:
        try:
            by_channel[channel or channel_of(address)].append((line, address))
        except Refused as error:
            report.errors.append({"line": line, "field": "address", "problem": str(error)})
    for kind, listed in by_channel.items():
        for start in range(0, len(listed), PAGE):
            page = listed[start : start + PAGE]
            numbered = [(number, address) for number, (_, address) in enumerate(page, 1)]
            wrong = await rehearsal.refused(hub, kind, numbered)
            for number, (line, address) in enumerate(page, 1):
                if number in wrong:
                    report.errors.append({"line": line, "field": "address", "problem": wrong[number]})
                else:
                    good.append((kind, address))
    return good


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
