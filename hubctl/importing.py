"""From a CSV file to pages for the daemon, and from its answers to one report."""

from __future__ import annotations

import stat
import sys
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from hubctl.csv_file import BadRow, CsvFile, Survey, recode
from hubctl.exits import Exit, Refused, exit_of
from hubctl.import_report import Report
from hubd.errors import HubError, ShuttingDown, StoreError, Unreachable, nearest
from hubd.wire import IMPORT_IN_ORDER
from hubd.wire import methods as m

if TYPE_CHECKING:
    from hubd.client import Client
    from hubd.wire import contact_results as r

PAGE_ROWS = 500  #: which every daemon takes; those that take more say so
PAGE_BYTES = 900_000  #: of JSON; the daemon takes messages of a megabyte
ESCAPED = 6  #: bytes that a character takes at most in JSON
IN_FLIGHT = 3  #: pages that were sent and not answered yet
SHOWN_COLUMNS = 40  #: in a hint

Row = dict[str, Any]


def chosen_columns(columns: Sequence[str], maps: Sequence[str]) -> dict[str, str]:
    """The columns that `--map COLUMN=FIELD` gives a field. Raises Refused (usage)."""
    chosen: dict[str, str] = {}
    for each in maps:
        column, equals, target = each.rpartition("=")
        if not equals or not column.strip() or not target.strip():
            raise Refused(f"--map {each!r} is not COLUMN=FIELD", code="usage", status=Exit.USAGE)
        chosen[named_column(columns, column, "--map")] = target.strip()
    twice = {name for name in chosen.values() if list(chosen.values()).count(name) > 1}
    if twice:
        raise Refused(
            f"--map: two columns would both become {sorted(twice)[0]!r}",
            code="usage",
            status=Exit.USAGE,
            hint="map one of them to another field",
        )
    return chosen


def named_column(columns: Sequence[str], column: str, option: str) -> str:
    """The column that an option names, without regard to case. Raises Refused (usage)."""
    wanted = column.strip().casefold()
    found = next((each for each in columns if each.casefold() == wanted), None)
    if found is None:
        near = nearest(column, columns)
        shown = ", ".join(filter(None, columns[:SHOWN_COLUMNS]))
        raise Refused(
            f"{option}: the file has no column {column.strip()!r}",
            code="usage",
            status=Exit.USAGE,
            hint=f"did you mean {near!r}?" if near else f"the columns are {shown}",
        )
    return found


@contextmanager
def opened(path: Path, encoding: str | None = None) -> Iterator[BinaryIO]:
    """A seekable binary file: the file named, or a copy of standard input for "-". Raises Refused.

    With an encoding, a copy in UTF-8 of a file in that encoding.
    """
    if encoding is not None:
        try:
            "".encode(encoding)
        except LookupError:
            hint = "try windows-1252, iso-8859-15 or utf-8"
            raise Refused(
                f"no such encoding: {encoding}", code="usage", status=Exit.USAGE, hint=hint
            ) from None
    with _opened(path) as binary:
        if encoding is None:
            yield binary
            return
        with tempfile.TemporaryFile() as copy:
            recode(binary, encoding, str(path), cast("BinaryIO", copy))
            yield cast("BinaryIO", copy)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        with tempfile.TemporaryFile() as copy:
            while chunk := sys.stdin.buffer.read(1 << 20):
                copy.write(chunk)
            yield cast("BinaryIO", copy)
        return
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            what = "a directory" if stat.S_ISDIR(kind) else "not a regular file"
            raise Refused(
                f"{path} is {what}",
                hint="for a pipe, use - and redirect it: ... | hubctl import - --list NAME",
            )
        file: IO[bytes] = path.open("rb")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Refused(f"{path} cannot be read: {reason}", code="unreadable") from None
    with file:
        yield cast("BinaryIO", file)


@dataclass(slots=True)
class Page:
    """Rows that go to the daemon in one message."""

    rows: list[Row] = field(default_factory=list)
    cells: dict[int, tuple[str, ...]] = field(default_factory=dict)  #: by line, when they may be needed again


def pages(
    reader: CsvFile, keys: Sequence[str | None], report: Report, most: int = PAGE_ROWS
) -> Iterator[Page]:
    """Good rows in pages of at most `most` that fit a message; bad rows go to the report.

    `keys` says under which name the cells of each column are sent; those without one are left out.
    """
    names = [key for key in keys if key is not None]
    sent = None if len(names) == len(keys) else [key is not None for key in keys]
    frame = 1 + len(msgspec.json.encode({"line": 10**15, "values": dict.fromkeys(names, "")}))
    page = Page()
    size = 0
    for row in reader.rows():
        if isinstance(row, BadRow):
            report.add_bad_row(row)
            continue
        cells = row.cells if sent is None else tuple(compress(row.cells, sent))
        values = dict(zip(names, cells, strict=True))
        if "" in cells:
            values = {name: cell for name, cell in values.items() if cell}
        weight = frame + ESCAPED * sum(map(len, cells))  # an upper bound, good enough for short rows
        if weight > PAGE_BYTES // most:
            weight = len(msgspec.json.encode(values)) + 40
        if page.rows and (len(page.rows) >= most or size + weight > PAGE_BYTES):
            yield page
            page, size = Page(), 0
        if weight > PAGE_BYTES:
            report.add_bad_row(
                BadRow(line=row.line, field="", problem="the row is too long", cells=row.cells)
            )
            continue
        page.rows.append({"line": row.line, "values": values})
        if report.rejects is not None:
            page.cells[row.line] = row.cells
        size += weight
    if page.rows:
        yield page


def _cut_short(error: HubError, report: Report, total: int, *, dry_run: bool) -> HubError:
    """The daemon could take no more: how far the import got, and that the file can be imported again."""
    if dry_run:
        return error
    done = report.rows - report.invalid
    when = "there is space" if isinstance(error, StoreError) else "hubd is back"
    return Refused(
        f"{error}; {done:,} of the {total:,} rows are imported",
        code=error.code,
        status=Exit.PARTLY if done and isinstance(error, StoreError) else exit_of(error),
        hint=f"import the same file again when {when}: rows already imported stay as they are",
        data={**error.data, "rows_in": done, "rows": total},
    )


async def import_file(
    hub: Client,
    binary: BinaryIO,
    name: str,
    found: Survey,
    report: Report,
    *,
    into: str,
    maps: Mapping[str, str] | None = None,
    skip: Sequence[str] = (),
    region: str | None = None,
    dry_run: bool = False,
    replace: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Import a surveyed file into a list. `tell(done, total)` is called after each page."""
    report.columns = await ask_columns(hub, found, maps=maps or {}, skip=list(skip))
    params = {"list": into, "region": region, "dry_run": dry_run, **({"replace": True} if replace else {})}
    await send_pages(hub, "contacts.import", params, binary, name, found, report, tell)


async def ask_columns(hub: Client, found: Survey, **more: Any) -> list[r.ColumnStatus]:
    """What the daemon makes of the header. Raises BadInput when no column has an address."""
    given = {name: value for name, value in more.items() if value}
    answer = await hub.call(m.CONTACTS_COLUMNS, columns=list(found.header.columns), **given)
    return list(answer["columns"])


async def send_pages(
    hub: Client,
    method: str,
    params: Mapping[str, Any],
    binary: BinaryIO,
    name: str,
    found: Survey,
    report: Report,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Send a surveyed file page by page, and add up the answers.

    A few pages are sent ahead of their answers, if the daemon takes them in order. When one is refused, no
    more are sent, and the error is raised once the others are answered.
    """
    errors: list[HubError] = []
    ahead = IN_FLIGHT if IMPORT_IN_ORDER in hub.hello["caps"] else 1
    unanswered: deque[tuple[Page, Callable[[], Awaitable[dict[str, Any]]]]] = deque()

    async def settle() -> None:
        page, answer = unanswered.popleft()
        try:
            report.add_page(await answer(), page.cells)
        except HubError as error:
            errors.append(error)
        tell(report.rows, found.rows)

    most = hub.hello["limits"].get("import_rows", PAGE_ROWS)
    keys = [each["key"] for each in report.columns]
    for page in pages(CsvFile(binary, name, found.named), keys, report, most):
        if len(unanswered) == ahead:
            await settle()
        if errors:
            break
        try:
            answer = await hub.begin(method, rows=page.rows, import_id=report.identity, **params)
        except HubError as error:
            errors.append(error)
        else:
            page.rows = []
            unanswered.append((page, answer))
    while unanswered:
        await settle()
    if errors and isinstance(errors[0], StoreError | Unreachable | ShuttingDown):
        raise _cut_short(errors[0], report, found.rows, dry_run=bool(params.get("dry_run"))) from errors[0]
    if errors:
        raise errors[0]
