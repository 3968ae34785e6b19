"""Rows printed page by page, or one by one as they come, in the format that was asked for (see `output`)."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from hubctl import layout
from hubctl import output as formats
from hubctl.app import App, encode

R = TypeVar("R", bound=Mapping[str, object])
A = TypeVar("A", bound=Mapping[str, Any])

PAGE = 1000  #: entries asked for at once: the daemon gives no more


@dataclass(slots=True, kw_only=True)
class Listing(Generic[R]):
    """Prints rows in the format that was asked for. Call `rows` for each page and `end` once.

    Raises a usage error for `--fields` that do not exist, before any row is fetched.
    """

    app: App
    key: str  #: the name of the list in the `--json` object
    columns: Sequence[str]  #: the fields of a row, for tsv and csv and to check `--fields`
    table: Callable[[Sequence[R]], str]  #: rows for people, with a heading
    empty: str  #: said when there was nothing
    output: str | None = None  #: None: as the options say
    fields: str | None = None  #: None: as the options say
    head: Mapping[str, object] = field(default_factory=dict)  #: what else the `--json` object has
    schema: bool = True  #: whether each line of ndjson names its schema
    count: int = 0
    _chosen: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.output = self.output or formats.output_of(self.app)
        names = formats.asked().fields if self.fields is None else formats.read_fields(self.fields)
        self._chosen = [formats.known(name, self.columns) for name in names]

    def rows(self, rows: Sequence[R]) -> None:
        """Print a page."""
        if not rows:
            return
        match self.output:
            case "json":
                for row in rows:
                    self.app.data((",\n" if self.count else self._opening()) + _encode(self._picked(row)))
                    self.count += 1
            case "ndjson":
                self.app.data("".join(_encode(self._line(row)) + "\n" for row in rows))
            case "tsv" | "csv":
                if not self.count:
                    self._cells(self._chosen or self.columns)
                for row in rows:
                    names = self._chosen or self.columns
                    self._cells([formats.cell(formats.dig(row, name)) for name in names])
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

    def _picked(self, row: Mapping[str, object]) -> Mapping[str, object]:
        return formats.pick(row, self._chosen) if self._chosen else row

    def _line(self, row: Mapping[str, object]) -> Mapping[str, object]:
        if self._chosen:
            return self._picked(row)
        return {"schema": f"hubctl.{self.app.name}/1", **row} if self.schema else row

    def _table(self, rows: Sequence[R]) -> str:
        if not self._chosen:
            return self.table(rows)
        headers = [formats.heading(name) for name in self._chosen]
        cells = [[formats.shown(formats.dig(row, name)) for name in self._chosen] for row in rows]
        return layout.table(headers, cells, colour=self.app.coloured(), width=self.app.width())

    def _cells(self, values: Sequence[object]) -> None:
        formats.write_cells(self.app, str(self.output), values)


def _encode(row: Mapping[str, object]) -> str:
    """Like `encode`, in a quarter of the time where everything is ASCII."""
    import msgspec  # only here: it would slow down every start

    try:
        text = msgspec.json.format(msgspec.json.encode(row), indent=0)
    except ValueError:  # a lone surrogate
        return encode(row)
    return text.decode() if text.isascii() and b"\x7f" not in text else encode(row)


async def read_pages(
    ask: Callable[[Any, int], Awaitable[Callable[[], Awaitable[A]]]],
    take: Callable[[Sequence[R]], object],
    *,
    entries: Callable[[A], Sequence[R]],
    limit: int | None = None,
) -> None:
    """Read a listing to its end or to `limit` entries, requesting a page before `take` gets the previous one.

    Args:
        ask: Requests so many entries after the `next` of a page, or from the first one if that is None, and
            returns a function that waits for them.
        take: Does something with a page.
        entries: The list in an answer.
    """
    left = limit if limit is not None else sys.maxsize
    answer = await (await ask(None, min(PAGE, left)))()
    while True:
        page, after = entries(answer), answer["next"]
        left -= len(page)
        coming = await ask(after, min(PAGE, left)) if after is not None and left > 0 else None
        take(page)
        if coming is None:
            return
        answer = await coming()


class Stream(Generic[R]):
    """Prints things as they happen, a line each: JSON lines for `json` and `ndjson`, rows for tsv and csv.

    Args:
        columns: The fields of a row, for tsv and csv and to check `--fields`.
        text: A row for people.

    Raises a usage error for `--fields` that do not exist.
    """

    def __init__(self, app: App, columns: Sequence[str], text: Callable[[R], str]) -> None:
        self._app = app
        self._text = text
        self._output = formats.output_of(app)
        self._chosen = [formats.known(name, columns) for name in formats.asked().fields]
        self._columns = self._chosen or columns
        self._begun = False

    def show(self, row: R, *, within: str = "") -> None:
        """Print one now. In JSON it stands under the key `within`, if any, unless fields are picked."""
        if self._output in ("json", "ndjson"):
            body = formats.pick(row, self._chosen) if self._chosen else {within: row} if within else row
            self._app.out(encode({"schema": f"hubctl.{self._app.name}/1", **body}))
        elif self._output in ("tsv", "csv"):
            self._head()
            cells = [formats.cell(formats.dig(row, name)) for name in self._columns]
            formats.write_cells(self._app, self._output, cells)
        elif self._chosen:
            cells = [formats.shown(formats.dig(row, name)) for name in self._chosen]
            self._app.out("  ".join(layout.one_line(each) for each in cells).rstrip())
        else:
            self._app.out(self._text(row))
        sys.stdout.flush()

    def end(self) -> None:
        """The heading, when nothing came."""
        if self._output in ("tsv", "csv"):
            self._head()

    def _head(self) -> None:
        if not self._begun:
            self._begun = True
            formats.write_cells(self._app, self._output, self._columns)
