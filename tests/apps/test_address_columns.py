"""Which column of a file has addresses, by its cells: for lists of addresses to suppress."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubctl.address_columns import address_column, is_address, names_for
from hubctl.csv_file import BadRow, CsvFile, survey


@pytest.mark.parametrize(
    "cell", ["ann@example.com", " ann+x@example.co.uk ", "+49 30 901820", "030/901820", "'+4930901820"]
)
def test_addresses_are_known_by_their_look(cell: str) -> None:
    assert is_address(cell)


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "email",
        "Ann",
        "4711",
        "01.02.24",
        "2024-02-01",
        "@",
        "a@b",
        "12345678",
        "a b@example.com",
        "0" * 40,
    ],
)
def test_other_cells_are_no_addresses(cell: str) -> None:
    assert not is_address(cell)


@pytest.mark.parametrize(
    ("first", "names"),
    [
        (["ann@example.com"], ["address"]),
        (["+49 30 901820"], ["address"]),
        (["1", "ann@example.com", "x"], ["column 1", "address", "column 3"]),
        (["ann@example.com", "030 901820"], ["email", "phone"]),
        (["030 901820", "ann@example.com", "bob@example.com"], ["phone", "email", "column 3"]),
        (["email", "phone"], []),
        (["Contact", ""], []),
    ],
)
def test_a_first_line_with_an_address_is_a_row(first: list[str], names: list[str]) -> None:
    assert names_for(first) == names


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("id,who\n1,ann@example.com\n2,\n3,bob@example.com\n", "who"),
        ("a,b\nann@example.com,030 901820\n,030 901821\n", "b"),
        ("note,who\nann@example.com wrote,+49 30 901820\n", "who"),
        ("who\nann\nbob@example.com\ncid\n", None),
        (",name\nann@example.com,Ann\n", None),
        ("who\n", None),
    ],
)
def test_the_column_whose_cells_are_mostly_addresses_is_taken(text: str, column: str | None) -> None:
    assert address_column(io.BytesIO(text.encode()), "f.csv") == column


ROWS = st.lists(st.tuples(st.sampled_from(["ann@example.com", "x", "a;b"]), st.text("ab,\n", max_size=5)))


@given(ROWS)
def test_a_file_without_a_header_loses_no_row(rows: list[tuple[str, str]]) -> None:
    lines = [('"{}","{}"\n').format(*row) for row in [("ann@example.com", "first"), *rows]]
    binary = io.BytesIO("".join(lines).encode())
    found = survey(binary, "f.csv", ["address", "note"])
    read = list(CsvFile(binary, "f.csv", found.named).rows())
    assert not any(isinstance(row, BadRow) for row in read)
    assert [row.cells for row in read] == [("ann@example.com", "first"), *rows]
    assert found.rows == len(read)
    assert read[0].line == 1
