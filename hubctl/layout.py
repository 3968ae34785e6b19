"""Text laid out for people: cells, tables, facts. Pure.

Everything that came from outside goes through `printable` or a table cell, so that a contact's name cannot
move the cursor, ring the bell or colour the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

Row = Sequence[object]

STATE_COLOURS = {
    "running": "36",
    "completed": "32",
    "ready": "32",
    "sent": "32",
    "delivered": "32",
    "paused": "33",
    "resting": "33",
    "slowed": "33",
    "half_open": "33",
    "deferred": "33",
    "in_doubt": "35",
    "failed": "31",
    "undelivered": "31",
    "stopped": "2",
    "disabled": "2",
    "skipped": "2",
    "draft": "2",
    "scheduled": "34",
}


def printable(text: str) -> str:
    """Text without anything a terminal would act on; such characters are shown escaped."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape", "replace").decode()
        for char in text
    )


def one_line(value: object) -> str:
    """A table cell: printable, on one line; None is empty."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value)
    return printable(str(value).replace("\r\n", " ").replace("\n", " "))


def number(value: int) -> str:
    """12345 as 12,345."""
    return f"{value:,}"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """ "1 row", "2 rows", "48,212 deliveries"."""
    return f"{number(count)} {noun if count == 1 else nouns or noun + 's'}"


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def clip(text: str, width: int) -> str:
    """Text cut to `width` columns, with an ellipsis when something was lost."""
    if columns(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += columns(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


TIMES = "(UTC)"  #: what the head of a column of times ends with; they are not cut
_LEAST = 8  #: columns that a text keeps when a table has to be cut


def shown_columns(
    headers: Sequence[str], rows: Iterable[Row], drop: Iterable[str]
) -> tuple[list[str], list[Row]]:
    """Without the columns of `drop` in which every row has nothing, or 0."""
    listed = list(rows)
    away = set(drop)
    kept = [n for n, head in enumerate(headers) if head not in away or any(row[n] for row in listed)]
    return [headers[n] for n in kept], [[row[n] for n in kept] for row in listed]


def table(headers: Sequence[str], rows: Iterable[Row], *, colour: bool = False, width: int = 10_000) -> str:
    """A table without lines. Columns that hold only numbers are right-aligned; long texts are cut to fit."""
    listed = list(rows)
    cells = [[one_line(value) for value in row] for row in listed]
    numeric = [_numeric(listed, index) for index in range(len(headers))]
    widths = [
        max([columns(header), *(columns(row[index]) for row in cells)])
        for index, header in enumerate(headers)
    ]
    firm = [right or header.endswith(TIMES) for right, header in zip(numeric, headers, strict=True)]
    _fit(widths, [columns(header) for header in headers], firm, width)
    lines = [paint(_line(headers, widths, numeric), "1" if colour else "")]
    lines += [
        _line([clip(c, w) for c, w in zip(row, widths, strict=True)], widths, numeric, colour)
        for row in cells
    ]
    return "\n".join(lines)


def _fit(widths: list[int], heads: Sequence[int], firm: Sequence[bool], width: int) -> None:
    """Take what is too much from whichever column is the widest. Firm ones are not cut."""
    least = [max(_LEAST, head) for head in heads]
    for _ in range(sum(widths) + 2 * (len(widths) - 1) - width):
        loose = [n for n in range(len(widths)) if not firm[n] and widths[n] > least[n]]
        if not loose:
            return
        widths[max(loose, key=lambda n: (widths[n], n))] -= 1


def _numeric(rows: Sequence[Row], index: int) -> bool:
    values = [row[index] for row in rows if row[index] is not None and row[index] != ""]
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool], colour: bool = False) -> str:
    padded = []
    for cell, width, right in zip(cells, widths, numeric, strict=True):
        gap = " " * (width - columns(cell))
        shown = paint(cell, STATE_COLOURS.get(cell, "") if colour else "")
        padded.append(gap + shown if right else shown + gap)
    return "  ".join(padded).rstrip()


def paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def facts(pairs: Iterable[tuple[str, object]], *, indent: str = "  ") -> str:
    """Name and value on a line each, aligned; pairs without a value are left out."""
    listed = [(name, value) for name, value in pairs if value is not None and value != ""]
    kept = [(name, one_line(value)) for name, value in listed]
    if all(isinstance(value, int) for _, value in listed):
        widest = max((len(text) for _, text in kept), default=0)
        kept = [(name, text.rjust(widest)) for name, text in kept]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{indent}{name:<{width}}  {value}" for name, value in kept)
