"""From a CSV file to pages for the daemon, and from its answers to one report."""

from __future__ import annotations

import stat
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from hubctl.csv_file import BadRow, CsvFile, Survey
from hubctl.exits import Exit, Refused, exit_of
from hubd.errors import HubError, ShuttingDown, StoreError, Unreachable, nearest
from hubd.wire import IMPORT_IN_ORDER

if TYPE_CHECKING:
    from hubd.client import Client

PAGE_ROWS = 500  #: that every daemon takes; those that take more say so
PAGE_BYTES = 900_000  #: of JSON; the daemon takes messages of a megabyte
ESCAPED = 6  #: bytes that a character takes at most in JSON
IN_FLIGHT = 3  #: pages that were sent and not answered yet
SHOWN_ERRORS = 20
_COUNTS = ("imported", "updated", "unchanged", "duplicates")

Row = dict[str, Any]


class Report:
    """What became of the rows, over all pages."""

    def __init__(self) -> None:
        self.identity = (
            uuid.uuid4().hex
        )  #: pages of one file belong together: the first row of an address wins
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.rows = 0
        self.errors: list[dict[str, Any]] = []
        self.warnings: list[dict[str, Any]] = []

    def add_page(self, answer: Mapping[str, Any]) -> None:
        """The daemon's answer to one page."""
        self.rows += int(answer["rows"])
        for name in _COUNTS:
            self.counts[name] += int(answer[name])
        self.errors += answer["errors"]
        self.warnings += answer["warnings"]

    def add_bad_row(self, row: BadRow) -> None:
        """A row that never reached the daemon."""
        self.rows += 1
        self.errors.append({"line": row.line, "field": row.field, "problem": row.problem})

    def as_json(self) -> dict[str, Any]:
        """The answer of `import --json`; errors in the order of the file."""
        errors = sorted(self.errors, key=lambda each: int(each["line"]))
        return {
            "rows": self.rows,
            **self.counts,
            "invalid": len(errors),
            "errors": errors,
            "warnings": sorted(self.warnings, key=lambda each: int(each["line"])),
        }

    def error_lines(self, name: str, *, limit: int = SHOWN_ERRORS) -> list[str]:
        """The first errors and warnings, one line each, and how many there are more."""
        report = self.as_json()
        errors = [*report["errors"], *report["warnings"]]
        lines = [
            f"{name}:{each['line']}: {each['field'] + ': ' if each['field'] else ''}{each['problem']}"
            for each in errors[:limit]
        ]
        if len(errors) > limit:
            lines.append(f"and {len(errors) - limit:,} more (--json lists all)")
        return lines


def rename(columns: Sequence[str], maps: Sequence[str]) -> dict[str, str]:
    """What each column is called after `--map COLUMN=FIELD`. Raises Refused (usage)."""
    names = {column: column for column in columns}
    folded = {column.casefold(): column for column in columns}
    for each in maps:
        column, equals, target = each.rpartition("=")
        if not equals or not column.strip() or not target.strip():
            raise Refused(f"--map {each!r} is not COLUMN=FIELD", code="usage", status=Exit.USAGE)
        found = folded.get(column.strip().casefold())
        if found is None:
            near = nearest(column, columns)
            hint = f"did you mean {near!r}?" if near else f"the columns are {', '.join(columns)}"
            raise Refused(
                f"--map: the file has no column {column.strip()!r}",
                code="usage",
                status=Exit.USAGE,
                hint=hint,
            )
        names[found] = target.strip()
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    if twice:
        raise Refused(
            f"--map: two columns would both become {sorted(twice)[0]!r}",
            code="usage",
            status=Exit.USAGE,
            hint="map one of them to another field",
        )
    return names


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A seekable binary file: the file named, or a copy of standard input for "-". Raises Refused."""
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


def pages(
    reader: CsvFile, names: Mapping[str, str], report: Report, most: int = PAGE_ROWS
) -> Iterator[list[Row]]:
    """Good rows in pages of at most `most` that fit a message; bad rows go to the report."""
    columns = [names[column] for column in reader.header.columns]
    frame = 1 + len(msgspec.json.encode({"line": 10**15, "values": dict.fromkeys(columns, "")}))
    page: list[Row] = []
    size = 0
    for row in reader.rows():
        if isinstance(row, BadRow):
            report.add_bad_row(row)
            continue
        values = dict(zip(columns, row.cells, strict=True))
        if "" in row.cells:
            values = {column: cell for column, cell in values.items() if cell}
        weight = frame + ESCAPED * sum(map(len, row.cells))  # at most, which is enough for short rows
        if weight > PAGE_BYTES // most:
            weight = len(msgspec.json.encode(values)) + 40
        if page and (len(page) >= most or size + weight > PAGE_BYTES):
            yield page
            page, size = [], 0
        if weight > PAGE_BYTES:
            report.add_bad_row(BadRow(line=row.line, field="", problem="the row is too long"))
            continue
        page.append({"line": row.line, "values": values})
        size += weight
    if page:
        yield page


def _cut_short(error: HubError, report: Report, total: int, *, dry_run: bool) -> HubError:
    """The daemon could take no more: how far it came, and that the same file can be imported again."""
    if dry_run:
        return error
    done = report.rows - len(report.errors)
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
    names: Mapping[str, str],
    *,
    into: str,
    region: str | None = None,
    dry_run: bool = False,
    replace: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Send a surveyed file page by page. `tell(done, total)` is called after each page.

    A few pages are sent ahead of their answers, if the daemon takes them in order. When one is not taken, no
    more are sent, and the error is raised when the others were answered.
    """
    await hub.call("contacts.columns", columns=[names[column] for column in found.header.columns])
    report = Report()
    errors: list[HubError] = []
    params = {"list": into, "dry_run": dry_run, "region": region, "import_id": report.identity}
    params |= {"replace": True} if replace else {}
    ahead = IN_FLIGHT if IMPORT_IN_ORDER in hub.hello["caps"] else 1
    unanswered: deque[Callable[[], Awaitable[dict[str, Any]]]] = deque()

    async def settle() -> None:
        try:
            report.add_page(await unanswered.popleft()())
        except HubError as error:
            errors.append(error)
        tell(report.rows, found.rows)

    most = hub.hello["limits"].get("import_rows", PAGE_ROWS)
    for page in pages(CsvFile(binary, name), names, report, most):
        if len(unanswered) == ahead:
            await settle()
        if errors:
            break
        try:
            unanswered.append(await hub.begin("contacts.import", rows=page, **params))
        except HubError as error:
            errors.append(error)
    while unanswered:
        await settle()
    if errors and isinstance(errors[0], StoreError | Unreachable | ShuttingDown):
        raise _cut_short(errors[0], report, found.rows, dry_run=dry_run) from errors[0]
    if errors:
        raise errors[0]
    return report
