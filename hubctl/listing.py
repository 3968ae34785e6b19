"""Rows printed page by page, as people or programs want them: `--output` and `--fields`.

table   for people            json   one object, written as the pages come
ndjson  one object a line     tsv    tab-separated, a row a line, tabs in cells escaped
                              csv    for spreadsheets
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from hubctl import layout
from hubctl.app import App, Json, encode

FORMATS = ("table", "json", "ndjson", "tsv", "csv")
_TSV = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

F = TypeVar("F", bound=Callable[..., Any])


def listed(function: F) -> F:
    """Give a command the options `--output` and `--fields`."""
    fields = click.option("--fields", metavar="A,B", help="Only these fields (a.b goes deeper).")
    output = click.option(
        "--output",
        type=click.Choice(FORMATS),
        metavar="FORMAT",
        help=f"How to print: {', '.join(FORMATS)} [table].",
    )
    return output(fields(function))


@dataclass(slots=True, kw_only=True)
class Listing:
    """Prints rows in the format that was asked for. Call `rows` for each page and `end` once."""

    app: App
    key: str  #: the name of the list in the `--json` object
    columns: Sequence[str]  #: the fields of a row, for tsv and csv and to check `--fields`
    table: Callable[[Sequence[Json]], str]  #: rows for people, with a heading
    empty: str  #: said when there was nothing
    output: str | None = None
    fields: str | None = None
    head: Mapping[str, object] = field(default_factory=dict)  #: what the `--json` object has besides
    schema: bool = True  #: whether each line of ndjson names its schema
    count: int = 0
    _chosen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.output = self.output or ("json" if self.app.as_json else "table")
        for name in self.fields.split(",") if self.fields is not None else ():
            self._chosen.append(self._known(name.strip()))

    def _known(self, name: str) -> str:
        top = name.partition(".")[0]
        if top not in self.columns:
            near = difflib.get_close_matches(top, list(self.columns), 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(self.columns)}"
            raise click.UsageError(f"--fields: there is no field {name!r}{hint}")
        return name

    def rows(self, rows: Sequence[Json]) -> None:
        """Print a page."""
        if not rows:
            return
        match self.output:
            case "json":
                for row in rows:
                    self.app.data((",\n" if self.count else self._opening()) + encode(self._picked(row)))
                    self.count += 1
            case "ndjson":
                self.app.data("".join(encode(self._line(row)) + "\n" for row in rows))
            case "tsv" | "csv":
                if not self.count:
                    self._cells(self._chosen or self.columns)
                for row in rows:
                    self._cells([_cell(_dig(row, name)) for name in self._chosen or self.columns])
            case _:
                text = self._table(rows)
                self.app.out(text.partition("\n")[2] if self.count else text)
        if self.output != "json":
            self.count += len(rows)

    def end(self) -> None:
        """Close what is open, and say so when there was nothing."""
        if self.output == "json":
            self.app.data(("" if self.count else self._opening()) + "\n]}\n")
        elif self.output in ("tsv", "csv") and not self.count:
            self._cells(self._chosen or self.columns)
        elif self.output == "table" and not self.count:
            self.app.note(self.empty)

    @property
    def for_people(self) -> bool:
        """Whether remarks on stderr are welcome."""
        return self.output == "table"

    def _opening(self) -> str:
        head = encode({"schema": f"hubctl.{self.app.name}/1", **self.head})
        return f'{head[:-1]}, "{self.key}": [\n'

    def _picked(self, row: Json) -> Json:
        return {name: _dig(row, name) for name in self._chosen} if self._chosen else row

    def _line(self, row: Json) -> Json:
        if self._chosen:
            return self._picked(row)
        return {"schema": f"hubctl.{self.app.name}/1", **row} if self.schema else row

    def _table(self, rows: Sequence[Json]) -> str:
        if not self._chosen:
            return self.table(rows)
        headers = [name.upper().replace("_", " ") for name in self._chosen]
        cells = [[_shown(_dig(row, name)) for name in self._chosen] for row in rows]
        return layout.table(headers, cells, colour=self.app.coloured(), width=self.app.width())

    def _cells(self, values: Sequence[object]) -> None:
        if self.output == "csv":
            from hubctl.csv_out import line

            self.app.data(line(values))
        else:
            texts = ("" if value is None else str(value) for value in values)
            self.app.data("\t".join(text.translate(_TSV) for text in texts) + "\n")


def _dig(row: Any, name: str) -> Any:
    """The value at "counts.sent"; None where there is none."""
    for part in name.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def _cell(value: object) -> object:
    """A value in a cell of tsv or csv: lists joined, objects as JSON, truth in JSON's words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def _shown(value: object) -> object:
    return _cell(value) if isinstance(value, bool | list | dict) else value
