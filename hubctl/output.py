"""How an answer is to be printed, for every command the same: `--output` and `--fields`.

table   for people            json   one object; what streams is JSON lines
ndjson  one object a line     tsv    tab-separated, a row a line, tabs in cells escaped
                              csv    for spreadsheets
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from hubctl.app import App, Json, is_terminal
from hubctl.layout import printable
from hubd.errors import did_you_mean

FORMATS = ("table", "json", "ndjson", "tsv", "csv")
_TSV = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_META = f"{__name__}.Format"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What this run's options ask for."""

    output: str = ""  #: one of FORMATS; "" when none was asked for
    fields: tuple[str, ...] = ()  #: empty for all of them
    lenient: bool = False  #: a missing field is not an error, because the work is done already


def ask(ctx: click.Context, output: str | None, fields: str | None, *, lenient: bool = False) -> None:
    """Keep what the options say; those after the name of the command win. Raises a usage error."""
    before: Format = ctx.meta.get(_META, Format())
    names = before.fields if fields is None else read_fields(fields)
    ctx.meta[_META] = Format(output=output or before.output, fields=names, lenient=lenient)


def read_fields(text: str) -> tuple[str, ...]:
    """ "a,b.c" as names. Raises a usage error for an empty one."""
    names = tuple(name.strip() for name in text.split(","))
    if "" in names:
        raise click.UsageError("--fields: there is no field ''; separate names by commas: --fields a,b")
    return names


def asked() -> Format:
    """What this run's options ask for."""
    ctx = click.get_current_context(silent=True)
    found: Format = ctx.meta.get(_META, Format()) if ctx is not None else Format()
    return found


def output_of(app: App) -> str:
    """The format to print in, one of FORMATS."""
    return asked().output or ("json" if app.as_json else "table")


def for_people(app: App) -> bool:
    """Whether a person reads it: no format for programs and no single fields were asked for."""
    return output_of(app) == "table" and not asked().fields


def known(name: str, columns: Sequence[str]) -> str:
    """The name, when its first part is one of the columns. Raises a usage error with the nearest one."""
    top = name.partition(".")[0]
    if top not in columns:
        raise click.UsageError(f"--fields: {no_field(name, columns)}")
    return name


def no_field(name: str, columns: Sequence[str]) -> str:
    """ "there is no field 'stat'; did you mean state?" """
    near = did_you_mean(name.partition(".")[0], columns) or f"; there are {', '.join(columns)}"
    return f"there is no field {name!r}{near}"


def dig(row: Any, name: str) -> Any:
    """The value at "counts.sent"; None where there is none."""
    for part in name.split("."):
        row = row.get(part) if isinstance(row, Mapping) else None
    return row


def pick(row: Mapping[str, object], names: Iterable[str]) -> Json:
    """These fields of a row, by the names that were asked for."""
    return {name: dig(row, name) for name in names}


def flat(values: Mapping[str, Any], above: str = "") -> Json:
    """Objects within objects as "counts.sent", so that all of it fits into one row."""
    found: Json = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{key}.")
        else:
            found[above + key] = value
    return found


def cell(value: object) -> object:
    """A value in a cell of tsv or csv: lists joined, objects as JSON, booleans as in JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def shown(value: object) -> object:
    """A value in a table for people."""
    return cell(value) if isinstance(value, bool | list | dict) else value


def heading(name: str) -> str:
    """A field as the head of a column."""
    return name.upper().replace("_", " ")


def write_cells(app: App, output: str, values: Sequence[object]) -> None:
    """A row of tsv or csv: the data unchanged, except that a terminal gets controls escaped."""
    texts = ["" if value is None else str(value) for value in values]
    if output != "csv":
        texts = [text.translate(_TSV) for text in texts]
    if is_terminal(sys.stdout):
        texts = [printable(text, keep="") for text in texts]
    if output == "csv":
        from hubctl.csv_out import line

        app.data(line(texts))
    else:
        app.data("\t".join(texts) + "\n")
