"""Which column of a file has addresses, by what its cells look like. For lists of addresses to suppress."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import BinaryIO

from hubctl.csv_file import CsvFile

SAMPLE = 100  #: rows that are looked at
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}\.[^\s@]{1,63}")
_PHONE = re.compile(r"(?:\+|0)[0-9 ()./-]{6,24}")


def is_address(cell: str) -> bool:
    """Whether a cell looks like an email address or a phone number, as people write it."""
    text = cell.strip().strip("'\ufeff\u200b\u00a0")
    if "@" in text:
        return _EMAIL.fullmatch(text) is not None
    return _PHONE.fullmatch(text) is not None and sum(map(str.isdigit, text)) >= 7


def names_for(first: Sequence[str]) -> list[str]:
    """Names for the columns of a file whose first line is a row; empty if that line may well be a header.

    A single column of addresses may hold both kinds.
    """
    addresses = [at for at, cell in enumerate(first) if is_address(cell)]
    names = [f"column {at + 1}" for at in range(len(first))]
    for kind, found in (
        ("email", [at for at in addresses if "@" in first[at]]),
        ("phone", [at for at in addresses if "@" not in first[at]]),
    ):
        if found:
            names[found[0]] = "address" if len(addresses) == len(found) else kind
    return names if addresses else []


def address_column(binary: BinaryIO, name: str, named: Sequence[str] = ()) -> str | None:
    """The column in which most cells are addresses; None if there is none. Raises Damaged."""
    reader = CsvFile(binary, name, named)
    columns = reader.header.columns
    rows = reader.sample(SAMPLE)
    best: tuple[int, str] | None = None
    for at, column in enumerate(columns):
        cells = [row.cells[at] for row in rows if row.cells[at].strip()]
        found = sum(map(is_address, cells))
        if column and 2 * found > len(cells) and (best is None or found > best[0]):
            best = (found, column)
    return best[1] if best else None
