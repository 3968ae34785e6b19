"""Text laid out for people: cells, tables, facts. Pure.

Everything that came from outside goes through `printable` or a table cell, so that a contact's name cannot
move the cursor, ring the bell or colour the terminal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

Row = Sequence[object]
_COLOUR = re.compile("(\x1b\\[[0-9;]{0,8}m)")  #: SGR, as `paint` writes it

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


def printable(text: str, *, keep: str = "\n") -> str:
    """Text without anything a terminal would act on: controls, and marks that change the direction of text.

    Such characters are shown escaped, except those in `keep`.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape", "replace").decode()
        for char in text
    )


def harmless(text: str) -> str:
    """Escape text that is laid out already: like `printable`, but keep our own colours and tabs."""
    if text.isprintable():
        return text
    parts = _COLOUR.split(text)
    return "".join(part if at % 2 else printable(part, keep="\n\t") for at, part in enumerate(parts))


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


def wrapped(text: str, width: int, *, hanging: str = "") -> str:
    """Text broken between words so that it fits `width` columns; lines after the first begin with `hanging`.

    What has no blank, such as a path or a web address, stays whole, however long it is.
    """
    return "\n".join(_wrapped_line(line, width, hanging) for line in text.split("\n"))


def _wrapped_line(line: str, width: int, hanging: str) -> str:
    if columns(line) <= width:
        return line
    first, *words = line[len(line) - len(line.lstrip(" ")) :].split(" ")
    lines, current = [], line[: len(line) - len(line.lstrip(" "))] + first
    for word in words:
        if columns(current) + 1 + columns(word) <= width:
            current += f" {word}"
        else:
            lines.append(current)
            current = hanging + word
    return "\n".join([*lines, current])


TIMES = frozenset({"BEGUN", "SINCE", "UNTIL", "UPDATED"})  #: heads of columns of times, which are not cut
_LEAST = 8  #: columns that a text keeps when a table has to be cut
_TIGHT = 3  #: ... and when even that is too much; then heads are cut as well
_SENTENCE = 28  #: columns that a sentence needs beside the others; with fewer it stands below its row
_BELOW = "    "  #: its indent there


def shown_columns(
    headers: Sequence[str], rows: Iterable[Row], drop: Iterable[str]
) -> tuple[list[str], list[Row]]:
    """Without the columns of `drop` that are empty or 0 in every row."""
    listed = list(rows)
    away = set(drop)
    kept = [n for n, head in enumerate(headers) if head not in away or any(row[n] for row in listed)]
    return [headers[n] for n in kept], [[row[n] for n in kept] for row in listed]


def table_width(headers: Sequence[str], rows: Sequence[Row]) -> int:
    """How many columns a table takes when nothing of it is cut."""
    return sum(_widths(headers, [[one_line(value) for value in row] for row in rows])) + 2 * len(headers) - 2


def fitting_columns(
    headers: Sequence[str], rows: Sequence[Row], spare: Iterable[str], width: int
) -> tuple[list[str], list[Row]]:
    """Without as many columns of `spare`, in that order, as it takes for the table to fit."""
    heads, kept = list(headers), list(rows)
    for head in spare:
        if table_width(heads, kept) <= width:
            break
        if head in heads:
            away = heads.index(head)
            heads = [*heads[:away], *heads[away + 1 :]]
            kept = [[*row[:away], *row[away + 1 :]] for row in kept]
    return heads, kept


def table(
    headers: Sequence[str],
    rows: Iterable[Row],
    *,
    colour: bool = False,
    width: int = 10_000,
    whole: Iterable[str] = (),
) -> str:
    """A table without lines. Columns that hold only numbers are right-aligned; long texts are cut to fit,
    except times and the columns of `whole`.
    """
    listed = list(rows)
    cells = [[one_line(value) for value in row] for row in listed]
    numeric = [_numeric(listed, index) for index in range(len(headers))]
    widths = _widths(headers, cells)
    firm = [right or header in {*TIMES, *whole} for right, header in zip(numeric, headers, strict=True)]
    _fit(widths, [columns(header) for header in headers], firm, width)
    lines = [paint(_line(_clipped(headers, widths), widths, numeric), "1" if colour else "")]
    lines += [_line(_clipped(row, widths), widths, numeric, colour) for row in cells]
    return "\n".join(lines)


def sentences(
    headers: Sequence[str], rows: Iterable[Row], *, colour: bool = False, width: int = 10_000
) -> str:
    """A table whose last column holds sentences, which are never cut.

    Where there is room they wrap within their column; otherwise each stands below its row, and the column has
    no head.
    """
    listed = [list(row) for row in rows]
    if table_width(headers, listed) <= width:
        return table(headers, listed, colour=colour, width=width)
    front = [row[:-1] for row in listed]
    ends = [one_line(row[-1]) for row in listed]
    room = width - table_width(headers[:-1], front) - 2
    longest = max((columns(word) for end in ends for word in end.split(" ")), default=0)
    if room < max(_SENTENCE, columns(headers[-1]), longest):
        head, *lines = table(headers[:-1], front, colour=colour, width=width).split("\n")
        below = [_below(end, width) for end in ends]
        return "\n".join([head, *(line + end for line, end in zip(lines, below, strict=True))])
    broken = [wrapped(end, room).split("\n") for end in ends]
    begun = [[*row, lines[0]] for row, lines in zip(front, broken, strict=True)]
    shown = table(headers, begun, colour=colour)
    indent = " " * (width - room)
    head, *lines = shown.split("\n")
    rest = ["".join(f"\n{indent}{more}" for more in found[1:]) for found in broken]
    return "\n".join([head, *(line + more for line, more in zip(lines, rest, strict=True))])


def _below(sentence: str, width: int) -> str:
    return "\n" + wrapped(_BELOW + sentence, width, hanging=_BELOW) if sentence else ""


def _widths(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [
        max([columns(header), *(columns(row[index]) for row in cells)])
        for index, header in enumerate(headers)
    ]


def _clipped(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [clip(cell, width) for cell, width in zip(row, widths, strict=True)]


def _fit(widths: list[int], heads: Sequence[int], firm: Sequence[bool], width: int) -> None:
    """Take the excess from whichever column is the widest. Firm ones are not cut."""
    for least in ([max(_LEAST, head) for head in heads], [_TIGHT] * len(heads)):
        for _ in range(sum(widths) + 2 * (len(widths) - 1) - width):
            loose = [n for n in range(len(widths)) if not firm[n] and widths[n] > least[n]]
            if not loose:
                break
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


def facts(pairs: Iterable[tuple[str, object]], *, indent: str = "  ", width: int = 10_000) -> str:
    """Name and value on a line each, aligned; pairs without a value are left out.

    A value that does not fit `width` wraps below itself.
    """
    listed = [(name, value) for name, value in pairs if value is not None and value != ""]
    kept = [(one_line(name), one_line(value)) for name, value in listed]
    if all(isinstance(value, int) for _, value in listed):
        widest = max((len(text) for _, text in kept), default=0)
        kept = [(name, text.rjust(widest)) for name, text in kept]
    names = max((columns(name) for name, _ in kept), default=0)
    below = "\n" + " " * (len(indent) + names + 2)
    room = max(_SENTENCE, width - len(below) + 1)
    return "\n".join(
        f"{indent}{name}{' ' * (names - columns(name))}  " + wrapped(value, room).replace("\n", below)
        for name, value in kept
    )
