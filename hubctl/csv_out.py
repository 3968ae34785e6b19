"""Writing CSV that a spreadsheet may open safely and that `hubctl import` reads back unchanged.

A cell that begins with = + - @ TAB CR or NUL is run as a formula by spreadsheets, so it gets a leading
apostrophe (OWASP ASVS 1.2.10); that includes phone numbers, which begin with +. Reading takes the apostrophe
away again. So that this is exact, a cell that itself begins with an apostrophe and such a character gets
another one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\0")


def guarded(cell: str) -> str:
    """The cell in a form that is safe in a file that a spreadsheet opens."""
    return "'" + cell if cell.lstrip("'").startswith(_RISKY) else cell


def unguarded(cell: str) -> str:
    """The inverse of `guarded`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_RISKY) else cell


def line(cells: Iterable[object]) -> str:
    """One row, every cell quoted, with CRLF (RFC 4180)."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([guarded("" if cell is None else str(cell)) for cell in cells])
    return out.getvalue()
