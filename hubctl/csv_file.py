"""Reading a CSV file of people, row by row, in constant memory, whatever is in it.

It is read in blocks of whole lines, and nearly all of them go through the standard reader in its strict mode.
Where that one stops, our own scanner reads the record again. The standard reader alone would not do: an
unclosed quote makes it swallow the rest of the file as one cell, it cannot say on which line the quote was
opened, and it keeps a 50 MB cell in memory. The scanner knows the line of everything, keeps at most
`CELL_LIMIT` characters of a cell, and distinguishes two kinds of fault:

- damage (`Damaged`): the file cannot be read beyond this place without guessing (an unclosed quote, bytes of
  another encoding, no usable header). Nothing is imported: `survey` walks the whole file first.
- a bad row (`BadRow`): one row cannot be used (too many cells, a huge cell, a NUL). It is reported with its
  line and the reason, and the rows around it are used. Empty last cells may be missing.

Understood: UTF-8 with and without a byte order mark, UTF-16 with one; the delimiters , ; tab and |; line ends
LF, CRLF and CR; quoted cells with line ends and doubled quotes (RFC 4180); Excel's `sep=;` line, also in
quotes and with separators after it; the apostrophe that our own export puts before what a spreadsheet would
run as a formula.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import BinaryIO, NamedTuple

from hubctl.csv_out import unguarded
from hubctl.exits import Refused

CELL_LIMIT = 65_536  #: characters kept of one cell; a longer one makes its row a bad row
LINES_LIMIT = 1_000  #: lines one quoted cell may span; more means that its quote was never closed
COLUMNS_LIMIT = 10_000  #: columns that the daemon is asked about at once
_BLOCK = CELL_LIMIT // 2  #: characters of a block, which then extends to the end of its last line ...
_CHUNK = CELL_LIMIT  #: ... but by at most this many, so that a line without an end costs no memory
_DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=(?P<one>.)"?(?P=one)*\n?', re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  #: how .xlsx and .ods files begin, and .xls files


class Damaged(Refused):
    """The file cannot be read without guessing. The message begins with file and line."""

    def __init__(self, name: str, line: int, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{name}:{line}: {problem}; nothing was imported", code="bad_csv", hint=hint)
        self.line = line


class GoodRow(NamedTuple):
    """A row with a cell for every column."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that cannot be used, and why."""

    line: int
    field: str
    problem: str
    cells: tuple[str, ...] = ()  #: as far as they were read


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of the file: what the columns are called, and what divides them."""

    columns: tuple[str, ...]
    delimiter: str
    line: int


@dataclass(slots=True)
class _Record:
    line: int
    cells: list[str] = field(default_factory=list)
    problem: str = ""


class _Lines:
    """The physical lines of a file with their numbers, in pieces of at most `_CHUNK` characters.

    They are read in blocks. A caller may read a plain block from `block` itself, and then counts its lines.
    """

    def __init__(self, binary: BinaryIO, name: str) -> None:
        self.name = name
        self.number = 0  #: of the line that `piece` returned last
        self.line_is_over = True
        self.is_detached = False
        self.block = io.StringIO()  #: what is read next
        self.is_plain = False  #: the block has whole lines, no long cell, and no character that is damage
        self._size = 0
        self._text = self._decoded(binary)

    def _decoded(self, binary: BinaryIO) -> io.TextIOWrapper:
        start = binary.read(4)
        binary.seek(0)
        if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            raise Damaged(self.name, 1, "this file is UTF-32", hint="save it as UTF-8")
        if start.startswith(_WORKBOOKS):
            raise Damaged(
                self.name,
                1,
                "this is a spreadsheet's own file (such as .xlsx), not CSV",
                hint="open it in the spreadsheet program and save it as CSV (in Excel: 'CSV UTF-8')",
            )
        wide = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        # A byte that is not UTF-8 arrives as a lone surrogate, so that its line can be named.
        encoding, errors = ("utf-16", "strict") if wide else ("utf-8-sig", "surrogateescape")
        return io.TextIOWrapper(binary, encoding=encoding, errors=errors, newline=None)

    def fill(self) -> bool:
        """Whether there is more to read. When a block is used up, the next one takes its place."""
        if self.block.tell() < self._size:
            return True
        try:
            text = self._text.read(_BLOCK)
            if not text.endswith("\n"):
                text += self._text.readline(_CHUNK)
        except UnicodeError as error:
            raise Damaged(
                self.name, self.number + 1, "this is not valid UTF-16", hint="save it as UTF-8"
            ) from error
        self.block, self._size = io.StringIO(text), len(text)
        whole = text.endswith("\n") and len(text) <= CELL_LIMIT
        self.is_plain = whole and (text.isascii() or not _SURROGATE.search(text)) and "\0" not in text
        return bool(text)

    def piece(self) -> str:
        """The next piece: a whole line with its end, or a part of a long one; "" at the end of the file."""
        text = self.block.readline(_CHUNK) if self.fill() else ""
        if text:
            self.number += self.line_is_over
            self.line_is_over = text.endswith("\n")
            if not self.is_plain:
                self._check(text)
        return text

    def _check(self, text: str) -> None:
        if found := _SURROGATE.search(text):
            code = ord(found[0])
            what = f"byte 0x{code - 0xDC00:02X}" if 0xDC80 <= code <= 0xDCFF else "half a character"
            raise Damaged(
                self.name,
                self.number,
                f"this is not UTF-8 ({what})",
                hint="save the file as UTF-8 ('CSV UTF-8' in a spreadsheet), or name its encoding; a "
                "file that Excel saves as plain CSV usually needs: --encoding windows-1252",
            )

    def detach(self) -> None:
        """Leave the binary file open, for its owner to close."""
        self.is_detached = True
        self._text.detach()


def recode(binary: BinaryIO, encoding: str, name: str, into: BinaryIO) -> None:
    """Copy a file into one in UTF-8. Raises Damaged for bytes that are invalid in its encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    while True:
        chunk = binary.read(_BLOCK)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            start = error.start if isinstance(error, UnicodeDecodeError) else 0
            raise Damaged(
                name,
                line + chunk.count(b"\n", 0, start),
                f"this is not {encoding}",
                hint="name another encoding, or save the file as UTF-8",
            ) from None
        into.write(text.encode("utf-8", "surrogatepass"))
        line += text.count("\n")
        if not chunk:
            return


class CsvFile:
    """One pass over a CSV file. `header` is read at once; `rows` yields the rest, good and bad.

    `binary` must be seekable and is not closed. `named` names the columns of a file whose first line is a
    row. Raises Damaged for a header that cannot be used.
    """

    def __init__(self, binary: BinaryIO, name: str, named: Sequence[str] = ()) -> None:
        binary.seek(0)
        self._first: list[tuple[int, list[str], str]] = []  #: a row where the header should be
        self._lines = _Lines(binary, name)
        self._name = name
        self._delimiter = ","
        self._text = ""
        self._at = 0
        self.header = self._read_header()
        if named:
            self._first = [(self.header.line, list(self.header.columns), "")]
            self.header = replace(self.header, columns=tuple(named))

    def rows(self) -> Iterator[GoodRow | BadRow]:
        """Every row after the header. Raises Damaged where the file cannot be read any further."""
        wanted = len(self.header.columns)
        while self._first or self._lines.fill():
            for line, cells, problem in [self._first.pop()] if self._first else self._some():
                text = "".join(cells)
                if not problem and not text.strip():
                    continue  # an empty line, or one of nothing but delimiters
                while len(cells) > wanted and not cells[-1].strip():
                    cells.pop()
                if not problem and len(cells) > wanted:
                    problem = f"{len(cells)} cells, but the header names {wanted}"
                if "'" in text:
                    cells = list(map(unguarded, cells))
                if problem:
                    yield BadRow(line=line, field="", problem=problem, cells=tuple(cells))
                else:
                    if len(cells) < wanted:
                        cells = [*cells, *[""] * (wanted - len(cells))]
                    yield GoodRow(line, tuple(cells))
        self._lines.detach()

    def count(self) -> int:
        """How many rows there are, good and bad, without building any. Raises Damaged."""
        lines, found = self._lines, len(self._first)
        while lines.fill():
            if lines.is_plain and '"' not in lines.block.getvalue():
                text = lines.block.read().replace(self._delimiter, "")
                found += sum(map(bool, map(str.strip, text.split("\n"))))
                lines.number += text.count("\n")
            else:
                found += sum(bool(problem or "".join(cells).strip()) for _, cells, problem in self._some())
        lines.detach()
        return found

    def sample(self, most: int) -> list[GoodRow]:
        """The first good rows, up to `most`; this object can then read no further."""
        good = (row for row in self.rows() if isinstance(row, GoodRow))
        found = list(islice(good, most))
        if not self._lines.is_detached:
            self._lines.detach()
        return found

    # --- header -----------------------------------------------------------------------------------------

    def _read_header(self) -> Header:
        first = self._skip_blank()
        if found := _SEP_LINE.fullmatch(first):
            self._delimiter = found["one"]
            first = self._skip_blank()
        else:
            self._delimiter = sniff(first)
        line = self._lines.number
        record = self._record(first)
        if record.problem:
            raise Damaged(self._name, line, f"the header cannot be used: {record.problem}")
        columns = [cell.strip() for cell in record.cells]
        if len(columns) > COLUMNS_LIMIT:
            raise Damaged(self._name, line, f"it names more than {COLUMNS_LIMIT:,} columns")
        return Header(columns=tuple(columns), delimiter=self._delimiter, line=line)

    def _skip_blank(self) -> str:
        while piece := self._lines.piece():
            if piece.strip():
                return piece
        raise Damaged(
            self._name, 1, "the file is empty", hint="the first line names the columns: email,first_name,..."
        )

    # --- records ----------------------------------------------------------------------------------------

    def _some(self) -> Iterator[tuple[int, list[str], str]]:
        """The next records: those of a block, or a single one that extends beyond it or is faulty."""
        lines = self._lines
        if lines.is_plain and self._delimiter in _DELIMITERS:
            start, before = lines.block.tell(), lines.number
            reader = csv.reader(lines.block, delimiter=self._delimiter, strict=True)
            try:
                for cells in reader:
                    line, lines.number = lines.number + 1, before + reader.line_num
                    if lines.number - line > LINES_LIMIT:
                        lines.number = line - 1
                        break
                    yield line, cells, ""
                else:
                    return
            except csv.Error:
                pass
            lines.block.seek(start)
            for _ in range(lines.number - before):
                lines.block.readline()
        record = self._record(lines.piece())
        yield record.line, record.cells, record.problem

    def _record(self, piece: str) -> _Record:
        """The record that starts with `piece`, read by the scanner if it needs one."""
        if piece.endswith("\n") and '"' not in piece and "\0" not in piece:
            return _Record(self._lines.number, piece[:-1].split(self._delimiter))
        record = _Record(self._lines.number)
        self._text, self._at = piece, 0
        self._scan(record)
        if not record.problem and any("\0" in cell for cell in record.cells):
            record.problem = "a NUL character (is this file UTF-16 without a byte order mark?)"
        return record

    # The scanner below works on `_text` from `_at` on. Positions instead of slices: a piece may hold tens of
    # thousands of quotes or delimiters, and must not be copied for each.

    def _scan(self, record: _Record) -> None:
        """Cells one by one, fetching further pieces as a long or quoted cell needs them."""
        while True:
            cell = self._quoted(record) if self._next() == '"' else self._plain(record)
            if len(record.cells) <= COLUMNS_LIMIT:
                record.cells.append(cell)
            if self._next() != self._delimiter:
                return
            self._at += 1

    def _next(self) -> str:
        """The next character of this line, not consumed; "" when the line is over."""
        if self._at >= len(self._text) and not self._lines.line_is_over:
            self._text, self._at = self._lines.piece(), 0
        char = self._text[self._at : self._at + 1]
        return "" if char == "\n" else char

    def _plain(self, record: _Record) -> str:
        """A cell up to the next delimiter or the end of the line."""
        kept: list[str] = []
        size = 0
        while self._next():
            end = self._text.find(self._delimiter, self._at)
            stop = end if end >= 0 else len(self._text) - self._text.endswith("\n")
            size += stop - self._at
            if size <= CELL_LIMIT:
                kept.append(self._text[self._at : stop])
            self._at = stop
            if end >= 0:
                break
        self._judge_size(record, size)
        return "".join(kept)

    def _quoted(self, record: _Record) -> str:
        """A cell in quotes, which may span several lines."""
        opened, kept, size = self._lines.number, list[str](), 0
        self._at += 1
        while True:
            end = self._text.find('"', self._at)
            stop = end if end >= 0 else len(self._text)
            size += stop - self._at
            if size <= CELL_LIMIT:
                kept.append(self._text[self._at : stop])
            self._at = stop + 1
            if end < 0:
                self._text, self._at = self._lines.piece(), 0
                if not self._text:
                    raise self._unclosed(opened, "never closed")
                if self._lines.number - opened > LINES_LIMIT:
                    raise self._unclosed(opened, f"still open {LINES_LIMIT:,} lines later")
            elif self._next() == '"':
                self._at += 1
                size += 1
                if size <= CELL_LIMIT:
                    kept.append('"')
            else:
                break
        self._judge_size(record, size)
        self._after_quote(record, opened)
        return "".join(kept)

    def _after_quote(self, record: _Record, opened: int) -> None:
        """Nothing but a delimiter or the end of the line may follow a closing quote."""
        while self._next() == " ":
            self._at += 1
        if self._next() in ("", self._delimiter):
            return
        if self._lines.number > opened:
            raise self._unclosed(
                opened, f"not closed before line {self._lines.number}, where other text follows it"
            )
        record.problem = (
            record.problem or "text after a closing quote (a quote inside a quoted cell is written twice)"
        )
        self._plain(record)

    def _unclosed(self, line: int, how: str) -> Damaged:
        return Damaged(
            self._name,
            line,
            f"a quote is opened on this line and {how}",
            hint="close the quote, or remove it",
        )

    def _judge_size(self, record: _Record, size: int) -> None:
        if size > CELL_LIMIT and not record.problem:
            record.problem = f"cell {len(record.cells) + 1} has more than {CELL_LIMIT:,} characters"


def sniff(line: str) -> str:
    """The delimiter of a header line: the candidate that occurs most often outside quotes, or a comma."""
    outside = "".join(line.split('"')[::2])
    best = max(_DELIMITERS, key=outside.count)
    return best if outside.count(best) else ","


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a first pass over a file found."""

    header: Header
    rows: int
    named: tuple[str, ...] = ()  #: see `CsvFile`


def survey(binary: BinaryIO, name: str, named: Sequence[str] = ()) -> Survey:
    """Walk the whole file once, so that a damaged one is refused before anything is done with it."""
    reader = CsvFile(binary, name, named)
    return Survey(header=reader.header, rows=reader.count(), named=tuple(named))
