"""People: import, contacts list|show|export|add|remove."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubctl import layout, render
from hubctl.answer import dry, print_result, show_dry_run
from hubctl.app import App
from hubctl.command import Nouns, command
from hubctl.exits import Exit, Refused
from hubctl.listing import Listing, Stream, read_pages
from hubctl.names import list_names
from hubctl.output import asked, output_of, write_cells
from hubd.errors import NotFound
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubctl.import_report import Report
    from hubd.client import Client
    from hubd.wire import contact_results as r

COLUMNS = ("contact_id", "email", "phone", "fields", "created_at", "updated_at")
FIRST_FIELDS = ("first_name", "last_name", "timezone")


@command("import", example="hubctl import customers.csv --list customers", changes=True)
@click.argument("file", metavar="FILE.csv", type=click.Path(path_type=Path))
@click.option(
    "--list",
    "into",
    required=True,
    metavar="NAME",
    help="The list to add them to; created if it does not exist.",
    shell_complete=list_names,
)
@click.option(
    "--map", "maps", multiple=True, metavar="COLUMN=FIELD", help="Use a column as a field (repeatable)."
)
@click.option("--skip", "skips", multiple=True, metavar="COLUMN", help="Leave a column out (repeatable).")
@click.option("--region", metavar="CC", help="The country of phone numbers without +, such as DE or US.")
@click.option(
    "--replace",
    is_flag=True,
    help="Make the list match the file: whoever is not in it is taken off the list, but stays a contact.",
)
@click.option(
    "--rejects", type=click.Path(path_type=Path), metavar="FILE", help="Write the refused rows to a CSV file."
)
@click.option(
    "--encoding",
    metavar="NAME",
    help="How the characters of the file are encoded, such as windows-1252 [UTF-8].",
)
@click.option("--dry-run", is_flag=True, help="Check every row; change nothing.")
def import_(
    app: App,
    file: Path,
    into: str,
    maps: tuple[str, ...],
    skips: tuple[str, ...],
    region: str | None,
    rejects: Path | None,
    replace: bool,
    encoding: str | None,
    dry_run: bool,
) -> int:
    """Import contacts from a CSV file (or - for standard input).

    The first line names the columns. The file is UTF-8, UTF-16 with a byte order mark, or what --encoding
    says; cells are separated by commas, semicolons, tabs or bars. The columns of common exports are
    recognised, and each also keeps its own name; the output says which column became which field.

    A cell that cannot be used is left out with a warning. A row without a valid address is refused with its
    line and the reason, and does not stop the others (exit code 9). A file that cannot be read completely
    changes nothing (exit code 1). Importing the same file again changes nothing either.
    """
    from hubctl import import_report
    from hubctl.csv_file import survey
    from hubctl.importing import chosen_columns, import_file, named_column, opened

    name = "standard input" if str(file) == "-" else str(file)
    question = f"take everybody who is not in {name} off list {into}"
    if replace and not dry_run and not app.may_ask():
        app.confirm(question, needed=True)
    with opened(file, encoding) as binary, ExitStack() as stack:
        found = survey(binary, name)
        columns = found.header.columns
        chosen = chosen_columns(columns, maps)
        skip = [named_column(columns, each, "--skip") for each in skips]
        report = import_report.Report()
        if rejects is not None:
            report.rejects = stack.enter_context(closing(import_report.Rejects(rejects, file, columns)))
        tell = _progress(app, stack)

        async def work(hub: Client) -> None:
            await import_file(
                *(hub, binary, name, found, report),
                into=into,
                maps=chosen,
                skip=skip,
                region=region,
                dry_run=dry_run,
                replace=replace,
                tell=tell,
            )

        app.talk(work)
    problems = report.error_lines(name)
    removed = _trim(app, into, report, question, problems, dry_run=dry_run) if replace else {}
    if not print_result(app, {"list": into, "dry_run": dry_run, **report.as_json(), **removed}):
        result = report.as_json()
        people = sum(int(result[key]) for key in ("imported", "updated", "unchanged"))
        went = f"{layout.number(people)} {'would go' if dry_run else 'went'} to list {into}"
        app.out(f"{layout.plural(report.rows, 'row')} of {name} read, {went}")
        app.out(
            layout.facts(
                (key, int(result[key]))
                for key in ("imported", "updated", "unchanged", "duplicates", "invalid")
            )
        )
        if replace:
            off = layout.plural(removed["removed"], "contact")
            app.out(f"{off} {'would be ' if dry_run else ''}taken off list {into}")
        for line in report.column_lines():
            app.out(line)
        for line in problems:
            app.complain(line)
    return Exit.PARTLY if report.invalid else Exit.DONE


def _trim(
    app: App, into: str, report: Report, question: str, problems: list[str], *, dry_run: bool
) -> dict[str, int]:
    """Take whoever is not in the file off the list, once that is confirmed; returns how many."""
    rows = sum(report.counts.values())
    if not rows:
        raise Refused(
            "no row of the file is valid, so nobody is taken off the list",
            code="no_valid_row",
            details=problems,
            hint="correct the file and import it again",
        )
    asked_for = {"name": into, "import_id": report.identity, "rows": rows}
    try:
        leaving = int(app.call(m.LIST_TRIM, **asked_for, dry_run=True)["removed"])
    except NotFound:
        if not dry_run:
            raise
        leaving = 0  # the list would be new
    if dry_run or not leaving:
        return {"removed": leaving}
    people = layout.plural(leaving, "contact")
    try:
        app.confirm(f"{question} ({people})", needed=True, name=into, people=leaving)
    except Refused as error:
        raise Refused(
            f"the file is imported, and nobody was taken off list {into}",
            code=error.code,
            details=problems,
        ) from None
    return {"removed": int(app.call(m.LIST_TRIM, **asked_for)["removed"])}


def _progress(app: App, stack: ExitStack) -> Callable[[int, int], None]:
    """A bar on a terminal, nothing elsewhere."""
    if app.quiet or not app.live(sys.stderr):
        return lambda done, total: None
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=sys.stderr, no_color=not app.coloured(sys.stderr))
    progress = stack.enter_context(Progress(console=console, transient=True))
    bar = progress.add_task("importing", total=None)
    return lambda done, total: progress.update(bar, completed=done, total=total)


@click.group("contacts", cls=Nouns)
def contacts() -> None:
    """List, show, export, add and remove contacts.

    Example: hubctl contacts export --list customers > customers.csv
    """


async def _read(
    hub: Client, of: str | None, take: Callable[[Sequence[r.ContactView]], object], limit: int | None = None
) -> None:
    """All contacts, or those of a list, a page at a time."""
    await read_pages(
        lambda after, size: hub.begin(m.CONTACTS_LIST, list=of, after=after or 0, limit=size),
        take,
        entries=lambda page: page["contacts"],
        limit=limit,
    )


@command("list", within=contacts, example="hubctl contacts list --list customers")
@click.option("--list", "of", metavar="NAME", help="Only contacts in this list.", shell_complete=list_names)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N.")
def list_(app: App, of: str | None, limit: int | None) -> None:
    """List contacts, oldest first."""
    _list(app, of, limit=limit, empty="no contacts; to import some: hubctl import FILE.csv --list NAME")


def _list(
    app: App, of: str | None, *, limit: int | None = None, empty: str = "", output: str | None = None
) -> None:
    listing: Listing[r.ContactView] = Listing(
        app=app,
        key="contacts",
        columns=COLUMNS,
        table=lambda rows: _table(app, rows),
        empty=empty,
        output=output,
    )
    app.talk(lambda hub: _read(hub, of, listing.rows, limit))
    listing.end()


def _table(app: App, rows: Sequence[r.ContactView]) -> str:
    shown = [(each["contact_id"], each.get("email"), each.get("phone"), _name(each)) for each in rows]
    return layout.table(("ID", "EMAIL", "PHONE", "NAME"), shown, colour=app.coloured(), width=app.width())


def _name(contact: r.ContactView) -> str:
    fields = contact.get("fields") or {}
    return " ".join(part for part in (fields.get("first_name"), fields.get("last_name")) if part)


@command("show", within=contacts, example="hubctl contacts show ann@example.com")
@click.argument("contact")
def show(app: App, contact: str) -> None:
    """Show one contact with all its fields. CONTACT is an email address, a phone number or a contact id."""
    found = app.call(m.CONTACTS_GET, key=contact)["contact"]
    if print_result(app, {"contact": found}, of="contact"):
        return
    app.out(
        layout.facts(
            [
                ("id", found["contact_id"]),
                ("email", found.get("email")),
                ("phone", found.get("phone")),
                *sorted((found.get("fields") or {}).items()),
                ("lists", ", ".join(found.get("lists") or ())),
                ("since", render.moment(found.get("created_at"))),
            ],
            indent="",
        )
    )


@command("export", within=contacts, example="hubctl contacts export --list customers > customers.csv")
@click.option("--list", "of", metavar="NAME", help="Only contacts in this list.", shell_complete=list_names)
def export(app: App, of: str | None) -> None:
    """Export contacts as CSV for a spreadsheet or for `hubctl import`; with --json, as JSON lines.

    With --fields or --output tsv you get the fields of `contacts list`; fields.city picks one of a contact's.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe, which import removes.
    """
    output = output_of(app)
    if asked().fields or output not in ("table", "csv"):
        _export_rows(app, of, "ndjson" if output == "json" else output)
        return

    async def work(hub: Client) -> None:
        names: set[str] = set()
        await _read(hub, of, lambda page: names.update(*(each["fields"] for each in page)))
        first = [name for name in FIRST_FIELDS if name in names]
        columns = [*first, *sorted(names - set(first))]
        write_cells(app, "csv", ["email", "phone", *columns])

        def write(page: Sequence[r.ContactView]) -> None:
            for each in page:
                fields = each["fields"]
                cells = [each["email"], each["phone"], *(fields.get(name, "") for name in columns)]
                write_cells(app, "csv", cells)

        await _read(hub, of, write)

    app.talk(work)


def _export_rows(app: App, of: str | None, output: str) -> None:
    """Rows as `contacts list` has them, a line each."""
    if output == "table":
        stream = Stream(app, COLUMNS, str)

        def show(page: Sequence[r.ContactView]) -> None:
            for each in page:
                stream.show(each)

        app.talk(lambda hub: _read(hub, of, show))
    else:
        _list(app, of, output=output)


@command(
    "add",
    within=contacts,
    example="hubctl contacts add ann@example.com --list customers --set first_name=Ann",
    changes=True,
)
@click.argument("address")
@click.option(
    "--list",
    "into",
    required=True,
    metavar="NAME",
    help="The list to add it to; created if it does not exist.",
    shell_complete=list_names,
)
@click.option("--phone", metavar="NUMBER", help="Its phone number, if ADDRESS is an email address.")
@click.option("--region", metavar="CC", help="The country of a phone number without +, such as DE or US.")
@click.option("--set", "given", multiple=True, metavar="FIELD=VALUE", help="A field (repeatable).")
def add(
    app: App,
    address: str,
    into: str,
    phone: str | None,
    region: str | None,
    given: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Add one contact to a list. ADDRESS is an email address or a phone number.

    A contact that is known keeps the fields that are not given.
    """
    fields: dict[str, str] = {}
    for each in given:
        field, equals, value = each.partition("=")
        if not equals or not field.strip():
            raise click.BadParameter(f"{each!r} is not FIELD=VALUE", param_hint="--set")
        fields[field.strip()] = value
    if "@" in address:
        addresses = {"email": address, "phone": phone}
    elif phone is None:
        addresses = {"phone": address}
    else:
        raise click.UsageError("ADDRESS is already a phone number; leave out --phone")
    params = {"list": into, **addresses, "fields": fields, "region": region}
    found = app.call(m.CONTACTS_ADD, **{key: each for key, each in params.items() if each}, **dry(dry_run))
    changed = found["would"]["change"] if dry_run else found["changed"]
    if dry_run:
        sentence = f"would add {address} to" if changed else f"{address} is already, with these fields, in"
        show_dry_run(app, {"list": into, "would": found["would"]}, f"{sentence} list {into}")
        return
    if not print_result(app, {"list": into, **found}):
        app.out(f"added to list {into}" if changed else f"was in list {into} already")


@command("remove", within=contacts, example="hubctl contacts remove ann@example.com --yes", changes=True)
@click.argument("contact")
@click.option(
    "--list",
    "of",
    metavar="NAME",
    help="Only take it off this list: it remains a contact, and still gets the messages that wait for it.",
    shell_complete=list_names,
)
def remove(app: App, contact: str, of: str | None, dry_run: bool) -> None:
    """Delete a contact, and cancel the messages that wait for it.

    That it was sent to stays in the history of the campaigns; its data and one-off messages to it do not.
    To stop messages to it for good, suppress the address instead: the next import may bring the contact back.
    To erase a person everywhere: hubctl contacts forget.
    """
    if of is not None:
        _take_off(app, contact, of, dry_run=dry_run)
        return
    if dry_run or (app.may_ask() and not app.yes):
        who = app.call(m.CONTACTS_GET, key=contact)["contact"]
        lists = who.get("lists") or []
        some = f"{layout.plural(len(lists), 'list')} ({', '.join(lists)})"
        one = f"the list {lists[0]}" if lists else ""
        kept = f", which is in {one if len(lists) == 1 else some}" if lists else ""
        question = f"remove {contact}{kept}"
        if dry_run:
            found = app.call(m.CONTACTS_REMOVE, key=contact, dry_run=True)
            cancelled = _cancelled(found)
            plan = {"contact": who, "would": found["would"], "cancelled": found.get("cancelled", 0)}
            show_dry_run(app, plan, f"would {question}" + (f"; {cancelled}" if cancelled else ""))
            return
    else:
        question = f"remove {contact}"
    app.confirm(question, needed=True)
    found = app.call(m.CONTACTS_REMOVE, key=contact)
    if not print_result(app, found):
        cancelled = _cancelled(found)
        removed = "removed" + (f"; {cancelled}" if cancelled else "")
        app.out(removed if found.get("changed", True) else "there was nothing to remove")


@command("forget", within=contacts, example="hubctl contacts forget ann@example.com --yes", changes=True)
@click.argument("contact")
def forget(app: App, contact: str, dry_run: bool) -> None:
    """Erase a person everywhere: an address, or the id of a contact.

    The contact goes, and from all messages to it the address, what they said, and their files in the outbox;
    only figures stay. What waits is cancelled. A suppressed address stays suppressed: of the address itself
    nothing but a keyed hash is kept. Backups that you made before still have it all.
    """
    if dry_run:
        found = app.call(m.CONTACTS_FORGET, key=contact, dry_run=True)
        messages = layout.plural(int(found["messages"]), "message")
        show_dry_run(app, dict(found), f"would erase {contact}, also from {messages}")
        return
    app.confirm(f"erase {contact} everywhere, which cannot be undone", needed=True)
    found = app.call(m.CONTACTS_FORGET, key=contact)
    if not print_result(app, found):
        messages = layout.plural(int(found["messages"]), "message")
        app.out(
            f"erased, also from {messages}" if found["changed"] else "nothing is known about this address"
        )


def _take_off(app: App, contact: str, of: str, *, dry_run: bool) -> None:
    if not dry_run:
        app.confirm(f"take {contact} off list {of}", needed=True)
    found = app.call(m.CONTACTS_REMOVE, key=contact, list=of, **dry(dry_run))
    if dry_run:
        there = found["would"]["change"]
        sentence = f"would take {contact} off list {of}" if there else f"{contact} is not in list {of}"
        show_dry_run(app, {"list": of, "would": found["would"]}, sentence)
    elif not print_result(app, {"list": of, **found}):
        app.out(f"taken off list {of}" if found["changed"] else f"was not in list {of}")


def _cancelled(found: r.RemovedResult) -> str:
    count = int(found.get("cancelled", 0))
    waiting = "a waiting message is" if count == 1 else f"{layout.number(count)} waiting messages are"
    return f"{waiting} cancelled" if count else ""
