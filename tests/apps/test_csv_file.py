"""The CSV reader: hostile files give row errors with lines, or one clear refusal, and bounded memory."""

from __future__ import annotations

import csv
import io
import re
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubctl import csv_out
from hubctl.csv_file import CELL_LIMIT, LINES_LIMIT, BadRow, CsvFile, Damaged, GoodRow, recode, sniff, survey


def read(raw: bytes | str) -> tuple[tuple[str, ...], list[GoodRow | BadRow]]:
    reader = CsvFile(io.BytesIO(raw.encode() if isinstance(raw, str) else raw), "f.csv")
    return reader.header.columns, list(reader.rows())


def cells(raw: bytes | str) -> list[tuple[str, ...]]:
    rows = read(raw)[1]
    assert all(isinstance(row, GoodRow) for row in rows), rows
    return [row.cells for row in rows if isinstance(row, GoodRow)]


def damage(raw: bytes | str) -> str:
    with pytest.raises(Damaged) as caught:
        survey(io.BytesIO(raw.encode() if isinstance(raw, str) else raw), "f.csv")
    return str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_common_delimiter_is_found(delimiter: str) -> None:
    text = delimiter.join(["email", "first name"]) + "\n" + delimiter.join(["a@x.org", "Ann"]) + "\n"
    assert cells(text) == [("a@x.org", "Ann")]


def test_a_delimiter_inside_quotes_does_not_count() -> None:
    assert sniff('"a,b,c";d') == ";"
    assert sniff("email") == ","


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_understood(end: str) -> None:
    text = end.join(["email,n", "a@x.org,1", 'b@x.org,"two', 'lines"', "c@x.org,3"]) + end
    columns, rows = read(text)
    assert columns == ("email", "n")
    assert rows == [
        GoodRow(line=2, cells=("a@x.org", "1")),
        GoodRow(line=3, cells=("b@x.org", "two\nlines")),
        GoodRow(line=5, cells=("c@x.org", "3")),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_files_are_read_with_their_byte_order_mark(encoding: str) -> None:
    assert cells("email,n\nä@x.org,Ørsted\n".encode(encoding)) == [("ä@x.org", "Ørsted")]


def test_another_encoding_is_refused_with_its_line() -> None:
    assert damage("email,n\na@x.org,x\nb@x.org,Bø\n".encode("latin-1")).startswith(
        "f.csv:3: this is not UTF-8 (byte 0xF8)"
    )
    assert "UTF-16 without a byte order mark" in damage("email,n\n".encode("utf-16-le"))
    assert "UTF-32" in damage("email\n".encode("utf-32"))
    assert "not valid UTF-16" in damage("email,n\na@x.org,1\n".encode("utf-16")[:-1])


@given(st.text(st.characters(codec="cp1252"), max_size=50), st.sampled_from(["cp1252", "utf-16", "utf-8"]))
def test_a_file_whose_encoding_is_named_is_read_as_it(text: str, encoding: str) -> None:
    copy = io.BytesIO()
    recode(io.BytesIO(text.encode(encoding)), encoding, "f.csv", copy)
    assert copy.getvalue().decode() == text


def test_bytes_that_mean_nothing_in_the_named_encoding_are_refused_with_their_line() -> None:
    with pytest.raises(Damaged, match=r"f\.csv:2: this is not cp1252"):
        recode(io.BytesIO(b"email\na@x.org,\x81\n"), "cp1252", "f.csv", io.BytesIO())


@pytest.mark.parametrize("start", [b"PK\x03\x04\x14\x00", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_a_workbook_is_no_csv_and_is_told_as_what_it_is(start: bytes) -> None:
    with pytest.raises(Damaged) as caught:
        survey(io.BytesIO(start + bytes(range(256))), "list.xlsx")
    assert str(caught.value).startswith("list.xlsx:1: this is a spreadsheet's own file")
    assert "save it as CSV" in caught.value.hint
    assert "iconv" not in caught.value.hint


def test_an_unclosed_quote_is_named_by_the_line_it_opens_on() -> None:
    assert damage('email,n\na@x.org,1\nb@x.org,"Bob\nc@x.org,3\n').startswith(
        "f.csv:3: a quote is opened on this line and never closed; nothing was imported"
    )


def test_an_unclosed_quote_that_a_later_cell_seems_to_close_is_found() -> None:
    assert damage('email,n\na@x.org,"Ann\nb@x.org,"Bob"\n').startswith(
        "f.csv:2: a quote is opened on this line and not"
    )


def test_an_unclosed_quote_does_not_swallow_a_long_file() -> None:
    assert "still open 1,000 lines later" in damage('email,n\na@x.org,"Ann\n' + "b@x.org,1\n" * 2000)


def test_text_after_a_closing_quote_is_a_row_error() -> None:
    bad, good = read('email,n\na@x.org,"A"nn,\nb@x.org,B\n')[1]
    assert isinstance(bad, BadRow)
    assert (bad.line, "after a closing quote" in bad.problem) == (2, True)
    assert good == GoodRow(line=3, cells=("b@x.org", "B"))


def test_rows_with_too_many_cells_are_row_errors() -> None:
    rows = read("email,n\nb@x.org,1,2\nc@x.org,1,,\n\n,\nd@x.org,\n")[1]
    assert [(row.line, isinstance(row, GoodRow)) for row in rows] == [(2, False), (3, True), (6, True)]
    assert isinstance(rows[0], BadRow)
    assert rows[0].cells == ("b@x.org", "1", "2")


def test_empty_last_cells_may_be_missing() -> None:
    assert cells("email,n,m\na@x.org\nb@x.org,1\nc@x.org,1,2\n") == [
        ("a@x.org", "", ""),
        ("b@x.org", "1", ""),
        ("c@x.org", "1", "2"),
    ]


def test_columns_may_have_any_name_and_none_at_all() -> None:
    columns, rows = read("email,,n,Email,ann@x.org,12345678,,\na@x.org,,1,2,3,4,,5\n")
    assert columns == ("email", "", "n", "Email", "ann@x.org", "12345678", "", "")
    assert rows == [GoodRow(line=2, cells=("a@x.org", "", "1", "2", "3", "4", "", "5"))]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("email" + ",n" * 10_000 + "\n", "more than 10,000 columns"),
        ('email,"n\n', "never closed"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(text: str, problem: str) -> None:
    assert problem in damage(text)


def test_a_nul_is_a_row_error() -> None:
    rows = read(b"email,n\na@x.org,\0\nb@x.org,1\n")[1]
    assert isinstance(rows[0], BadRow)
    assert "NUL" in rows[0].problem
    assert isinstance(rows[1], GoodRow)


@pytest.mark.parametrize(
    "filling", ["y" * 5_000_000, '"' + "y" * 5_000_000 + '"', '"' + 'y""' * 100_000 + '"']
)
def test_a_huge_cell_costs_its_row_and_no_memory(filling: str) -> None:
    raw = io.BytesIO(f"email,n\na@x.org,{filling}\nb@x.org,1\n".encode())
    del filling
    tracemalloc.start()
    rows = list(CsvFile(raw, "f.csv").rows())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(rows[0], BadRow)
    assert f"more than {CELL_LIMIT:,} characters" in rows[0].problem
    assert rows[1] == GoodRow(line=3, cells=("b@x.org", "1"))
    assert peak < 2_000_000


def test_a_spreadsheets_sep_line_is_honoured() -> None:
    for line in ("sep=;", "SEP=;", '"sep=;"', "sep=;;", '"sep=;";;;'):
        assert cells(line + "\nemail;n\na@x.org;1,5\n") == [("a@x.org", "1,5")]
    assert cells("sep=\t\nemail\tn\na@x.org\t1,5\n") == [("a@x.org", "1,5")]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)


QUOTED = re.compile(r'"((?:[^"]|"")*)"(?!") *([^,\n]*)')
BARE = re.compile(r"([^,\n]*)()")
#: With some of these a text goes over the end of a block in every possible state.
PIECES = st.sampled_from(
    [
        "a@x.org",
        ",",
        ",",
        "\n",
        "\n",
        '"',
        '"',
        '""',
        " ",
        "'=1",
        "'",
        "\u2028",
        "Zoë",
        "y" * 16_000,
        "y\n" * 400,
    ]
)


def by_hand(text: str) -> Iterator[tuple[int, list[str] | None]]:
    """The records below a header, one cell after the other: line and cells, or None for what is no row.

    Raises LookupError with the line of a quote that is not closed.
    """
    at, line = 0, 2
    while at < len(text):
        first, cells, is_bad, goes_on = line, list[str](), False, True
        while goes_on:
            quoted = text.startswith('"', at)
            found = (QUOTED if quoted else BARE).match(text, at)
            if found is None or found[1].count("\n") > LINES_LIMIT or (found[2] and "\n" in found[1]):
                raise LookupError(line)
            line += found[1].count("\n")
            cells.append(found[1].replace('""', '"') if quoted else found[1])
            is_bad = is_bad or bool(found[2]) or len(cells[-1]) > CELL_LIMIT
            goes_on = text.startswith(",", found.end())
            at = found.end() + 1
        yield first, None if is_bad else cells
        line += 1


def rows_by_hand(text: str) -> Iterator[GoodRow | int]:
    """Rows with two cells, and the lines of bad ones."""
    for line, found in by_hand(text):
        while found and len(found) > 2 and not found[-1].strip():
            found.pop()
        if found is None or (len(found) > 2 and any(map(str.strip, found))):
            yield line
        elif any(map(str.strip, found)):
            yield GoodRow(line, tuple(map(csv_out.unguarded, [*found, ""][:2])))


@given(st.lists(PIECES, max_size=40).map("".join))
def test_a_file_in_blocks_is_read_as_cell_after_cell(text: str) -> None:
    expected: list[GoodRow | int] = []
    damaged = 0
    try:
        expected.extend(rows_by_hand(text))
    except LookupError as error:
        damaged = error.args[0]
    raw = f"email,n\n{text}".encode()
    rows = CsvFile(io.BytesIO(raw), "f.csv").rows()
    seen = [row if isinstance(row, GoodRow) else row.line for row in islice(rows, len(expected))]
    assert seen == expected
    if damaged:
        for read_on in (lambda: list(rows), lambda: survey(io.BytesIO(raw), "f.csv")):
            with pytest.raises(Damaged, match=f":{damaged}: a quote is opened on this line and"):
                read_on()
    else:
        assert not list(rows)
        assert survey(io.BytesIO(raw), "f.csv").rows == len(expected)


@given(st.lists(st.tuples(st.just("a@x.org"), TEXT, TEXT), max_size=8), st.sampled_from(",;\t|"))
def test_what_the_standard_writer_writes_is_read_back(
    rows: list[tuple[str, str, str]], delimiter: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["email", "one", "two"])
    writer.writerows(rows)
    expected = [tuple(map(csv_out.unguarded, row)) for row in rows]
    assert cells(out.getvalue()) == expected


@given(st.lists(st.tuples(st.just("a@x.org"), TEXT), max_size=8))
def test_our_export_is_read_back_unchanged_and_runs_nothing(rows: list[tuple[str, str]]) -> None:
    text = csv_out.line(["email", "n"]) + "".join(csv_out.line(row) for row in rows)
    for _, cell in csv.reader(io.StringIO(text, newline="")):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\0"))
    assert cells(text) == rows


@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_one_refusal(raw: bytes) -> None:
    with suppress(Damaged):
        found = survey(io.BytesIO(b"email,n\n" + raw), "f.csv")
        assert found.rows <= raw.count(b"\n") + raw.count(b"\r") + 1


def test_a_phone_number_survives_the_way_out_and_back() -> None:
    assert csv_out.line(["+12025550123"]) == '"\'+12025550123"\r\n'
    assert cells("phone\n" + csv_out.line(["+12025550123"])) == [("+12025550123",)]
