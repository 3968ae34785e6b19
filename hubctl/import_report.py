"""What became of the rows of a file: counts, problems by kind, and a file of the rows that were refused.

It takes bounded memory: of each kind of problem the first lines are kept, and of all problems the first ones.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hubctl import csv_out, layout
from hubctl.csv_file import BadRow
from hubctl.exits import Exit, Refused

if TYPE_CHECKING:
    from hubd.wire import contact_results as r

SHOWN_KINDS = 20
SHOWN_LINES = 5  #: of each kind
KEPT_PROBLEMS = 20_000  #: refused rows, and as many warnings, that `--json` lists
KEPT_KINDS = 1_000
OTHER_KINDS = "other problems"
REJECT_COLUMNS = ("import_line", "import_problem")  #: which a later import leaves out

Json = dict[str, Any]


class Rejects:
    """A CSV file with the refused rows as they were, each preceded by its line number and the problem.

    Raises Refused when it cannot be written, now or later.
    """

    def __init__(self, path: Path, source: Path, columns: Sequence[str]) -> None:
        self._path = path
        with suppress(OSError):
            if path.samefile(source):
                raise Refused(
                    f"--rejects: {path} is the file to import",
                    code="usage",
                    status=Exit.USAGE,
                    hint="name another file",
                )
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file: IO[str] = open(descriptor, "w", encoding="utf-8-sig", newline="")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise self._unwritable(error) from None
        self._write([*REJECT_COLUMNS, *columns])

    def add(self, line: int, problem: str, cells: Sequence[str]) -> None:
        """One refused row."""
        self._write([line, problem, *cells])

    def close(self) -> None:
        """Write what is left."""
        try:
            self._file.close()
        except OSError as error:
            raise self._unwritable(error) from None

    def _write(self, cells: Iterable[object]) -> None:
        try:
            self._file.write(csv_out.line(cells))
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> Refused:
        reason = (error.strerror or str(error)).lower()
        return Refused(f"--rejects: {self._path} cannot be written: {reason}", code="unwritable")


class Report:
    """What became of the rows, over all pages. `counts` are the keys of counts in the daemon's answers."""

    def __init__(self, counts: Sequence[str] = ("imported", "updated", "unchanged", "duplicates")) -> None:
        #: Pages of one file belong together: the first row of an address wins.
        self.identity = uuid.uuid4().hex
        self.counts = dict.fromkeys(counts, 0)
        self.rows = self.invalid = 0
        self.columns: list[r.ColumnStatus] = []  #: what the daemon made of the header
        self.rejects: Rejects | None = None
        self._errors: list[Json] = []
        self._warnings: list[Json] = []
        self._kinds: dict[tuple[str, str, bool], Json] = {}
        self._last: dict[tuple[str, str, bool], int] = {}  #: the line that was counted last, by kind

    def add_page(self, answer: Mapping[str, Any], cells: Mapping[int, Sequence[str]] | None = None) -> None:
        """The daemon's answer to one page, and, for the file of rejects, its rows by line."""
        self.rows += int(answer["rows"])
        for name in self.counts:
            self.counts[name] += int(answer[name])
        for each in answer["errors"]:
            self._refuse(each, (cells or {}).get(each["line"], ()))
        for each in answer["warnings"]:
            _keep(self._warnings, each)
            self._count_kind(each, refused=False)

    def add_bad_row(self, row: BadRow) -> None:
        """A row that never reached the daemon."""
        self.rows += 1
        self._refuse({"line": row.line, "field": row.field, "problem": row.problem}, row.cells)

    def _refuse(self, error: Json, cells: Sequence[str]) -> None:
        self.invalid += 1
        _keep(self._errors, error)
        self._count_kind(error, refused=True)
        if self.rejects is not None:
            self.rejects.add(error["line"], _sentence(error), cells)

    def _count_kind(self, each: Json, *, refused: bool) -> None:
        key = (each["field"], each["problem"], refused)
        if key not in self._kinds and len(self._kinds) >= KEPT_KINDS:
            key = ("", OTHER_KINDS, refused)
        kind = self._kinds.setdefault(
            key, {"field": key[0], "problem": key[1], "refused": refused, "rows": 0, "lines": []}
        )
        if self._last.get(key) == each["line"]:
            return  # two cells of one row, such as two phone numbers
        self._last[key] = each["line"]
        kind["rows"] += 1
        if len(kind["lines"]) < SHOWN_LINES:
            kind["lines"].append(each["line"])

    def problems(self) -> list[Json]:
        """The kinds of problems: those that refused rows first, the most frequent first."""
        found = [{**kind, "lines": sorted(kind["lines"])} for kind in self._kinds.values()]
        return sorted(found, key=lambda kind: (not kind["refused"], -kind["rows"], kind["lines"]))

    def as_json(self) -> Json:
        """The answer of `import --json`; errors in the order of the file."""
        return {
            "rows": self.rows,
            **self.counts,
            "invalid": self.invalid,
            "errors": sorted(self._errors, key=lambda each: int(each["line"])),
            "warnings": sorted(self._warnings, key=lambda each: int(each["line"])),
            "problems": self.problems(),
            "columns": [
                {"column": each["column"], "field": each["field"], "own": each["key"], "note": each["note"]}
                for each in self.columns
            ],
        }

    def error_lines(self, name: str, *, limit: int = SHOWN_KINDS) -> list[str]:
        """The kinds of problems, one line each, with the lines of the file where they are."""
        kinds = self.problems()
        lines = [f"{name}:{kind['lines'][0]}: {_sentence(kind)}{_places(kind)}" for kind in kinds[:limit]]
        if len(kinds) > limit:
            lines.append(f"and {len(kinds) - limit:,} more kinds of problems (--json lists them)")
        return lines

    def column_lines(self) -> list[str]:
        """What became of every column: those that fill another field, then those that keep their name."""
        pairs, plain, unnamed = list[tuple[str, object]](), list[str](), 0
        for each in self.columns:
            field, key, note = each["field"], each["key"], each["note"]
            if not each["column"].strip() and key is None:
                unnamed += 1
            elif field is None:
                pairs.append((each["column"], note))
            elif field == key and not note and field not in _FIELDS:
                plain.append(field)
            else:
                also = f"also {key}" if key != field else ""
                pairs.append((each["column"], ", ".join(filter(None, [field, also, note]))))
        lines = ["columns:", *layout.facts(pairs).splitlines()]
        if plain:
            lines.append("  under their own names: " + ", ".join(plain))
        if unnamed:
            lines.append(f"  {layout.plural(unnamed, 'column')} without a name left out")
        return lines


_FIELDS = ("email", "phone", "first_name", "last_name", "timezone", "birthday")


def _keep(problems: list[Json], each: Json) -> None:
    if len(problems) < KEPT_PROBLEMS:
        problems.append(each)


def _sentence(problem: Mapping[str, Any]) -> str:
    return f"{problem['field']}: {problem['problem']}" if problem["field"] else str(problem["problem"])


def _places(kind: Mapping[str, Any]) -> str:
    """Where a kind of problem is, when it is in more than one place."""
    count, lines = kind["rows"], kind["lines"]
    if count == 1:
        return ""
    more = f" and {count - len(lines):,} more" if count > len(lines) else ""
    return f" ({count:,} rows: {', '.join(map(str, lines))}{more})"
