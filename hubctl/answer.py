"""The answer of a command that returns a single object, for programs; for people the command itself writes
the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from hubctl import layout
from hubctl import output as formats
from hubctl.app import App, Json, encode


def print_result(
    app: App, values: Mapping[str, Any], *, of: str = "", rows: str = "", columns: Sequence[str] = ()
) -> bool:
    """Print an answer as `--output` and `--fields` ask. False for a person: the caller then prints the text.

    Args:
        values: The answer, as `--json` has it.
        of: The key of the object that it is about, whose fields can be picked without this prefix.
        rows: The key of the list that it is about: then the rows of tsv, csv and ndjson are its items.
        columns: The fields of such an item.

    Raises a usage error for a field that does not exist, unless something has been done already.
    """
    if formats.for_people(app):
        return False
    if rows:
        _print_rows(app, values, rows, columns)
    else:
        _print_one(app, values, values[of] if of else values)
    return True


def dry(dry_run: bool) -> Json:
    """The parameter that makes a request a dry run; otherwise none, as an older daemon does not know it."""
    return {"dry_run": True} if dry_run else {}


def show_dry_run(app: App, values: Mapping[str, Any], sentence: str) -> None:
    """Say what a dry run found: to a program with `dry_run` and `would`, to a person as `sentence`."""
    would = {"change": True, **values.get("would", {})}
    if not print_result(app, {**values, "dry_run": True, "changed": False, "would": would}):
        app.out(sentence)
        app.note("nothing was changed")


def _print_one(app: App, values: Mapping[str, Any], subject: Mapping[str, Any]) -> None:
    wanted, output = formats.asked(), formats.output_of(app)
    picked = {name: _found(app, name, subject, values) for name in wanted.fields}
    match output:
        case "json" | "ndjson":
            app.record(picked or values)
        case "tsv" | "csv":
            row = picked or formats.flat(subject)
            formats.write_cells(app, output, list(row))
            formats.write_cells(app, output, [formats.cell(value) for value in row.values()])
        case _:
            app.out(layout.facts([(key, formats.shown(value)) for key, value in picked.items()], indent=""))


def _found(app: App, name: str, subject: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    top = name.partition(".")[0]
    for place in (subject, values):
        if top in place:
            return formats.dig(place, name)
    problem = formats.no_field(name, list(dict.fromkeys([*subject, *values])))
    if not formats.asked().lenient:
        raise click.UsageError(f"--fields: {problem}")
    app.complain(f"warning: --fields: {problem}")
    return None


def _print_rows(app: App, values: Mapping[str, Any], key: str, columns: Sequence[str]) -> None:
    output = formats.output_of(app)
    names = [formats.known(name, columns) for name in formats.asked().fields]
    listed: list[Json] = list(values[key])
    picked = [formats.pick(row, names) for row in listed] if names else listed
    match output:
        case "json":
            app.record({**values, key: picked})
        case "ndjson":
            head = {} if names else {"schema": f"hubctl.{app.name}/1"}
            for row in picked:
                app.out(encode({**head, **row}))
        case "tsv" | "csv":
            shown = names or columns
            formats.write_cells(app, output, shown)
            for row in listed:
                formats.write_cells(app, output, [formats.cell(formats.dig(row, name)) for name in shown])
        case _:
            cells = [[formats.shown(row[name]) for name in names] for row in picked]
            headers = [formats.heading(name) for name in names]
            app.out(layout.table(headers, cells, colour=app.coloured(), width=app.width()))
