"""Text bodies in their transfer encoding: what is the same in every message is encoded once.

A rendered template is a list of pieces: its constants, and between them what the fields hold. `BodyEncoder`
keeps each constant as it is encoded and joins the rest to it. What it writes is, byte for byte, the encoding
of the whole text, because both encodings start afresh somewhere: quoted-printable at every line, base64 after
every 57 bytes. So for each message only the lines are encoded that are not constant as a whole. A constant
that shares a long line with a field is kept for every place of the line at which it may begin. A short
constant, or one with a CR or a NUL, is treated like a field.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Transfer = Literal["quoted-printable", "base64"]

_LINE_BYTES = 57  #: of a line of base64 (RFC 2045 §6.8: at most 76 characters)
#: Characters, or bytes, of a constant below which it is quicker to encode it with what is beside it.
_WORTHWHILE = 80
#: Characters of a line from which on it is worth keeping it for every column at which it may begin.
_LONG = 200
_COLUMNS = 76  #: of a line of quoted-printable
#: Bytes that one encoder keeps of constants that begin at different places of a line.
_ROOM = 128 * 1024


def transfer_for(source: str) -> Transfer:
    """The shorter encoding for bodies like `source`: each byte above 127 costs 3 bytes in quoted-printable
    and any byte 4/3 in base64, so they meet where one byte in six is above 127.
    """
    data = source.encode("utf-8", "replace")
    high = len(data.translate(None, bytes(range(128))))
    return "base64" if high * 6 > len(data) else "quoted-printable"


class Encoded(NamedTuple):
    """Whole lines that end in CRLF."""

    data: bytes
    dots: bool  #: whether a line begins with a dot


class _Part(NamedTuple):
    """A part of a constant as it is encoded when it begins at a certain column of a line."""

    data: bytes
    column: int  #: at which the line continues after it
    dots: bool


class _Lines(NamedTuple):
    """A constant of a quoted-printable body, cut at its first and at its last line end."""

    head: str  #: with the first line end; of a constant without any, all but the last character
    long: bool  #: whether the head is worth being kept for every column at which it may begin
    lines: _Part | None  #: from the second line on; None if the first does not end
    tail: str  #: what is left of the last line
    heads: dict[int, _Part]  #: the head by the column at which it begins


class _Cut(NamedTuple):
    """A constant of a base64 body, cut at the first and at the last end of a line of base64."""

    head: bytes
    lines: bytes
    tail: bytes


@dataclass(slots=True)
class _Base64Constant:
    """A constant of a base64 body, without its first character, which may be half of a line end."""

    first: str
    rest: bytes
    ends_line: bool
    cuts: dict[int, _Cut] = field(default_factory=dict)  #: by the bytes that the open line still takes

    def cut(self, head: int) -> _Cut:
        end = len(self.rest) - (len(self.rest) - head) % _LINE_BYTES
        return _Cut(self.rest[:head], _base64(self.rest[head:end]), self.rest[end:])


class BodyEncoder:
    """Encodes bodies that have `constants` among their pieces."""

    def __init__(self, transfer: Transfer, constants: Iterable[str]) -> None:
        self.transfer = transfer
        self._lines: dict[str, _Lines] = {}
        self._base64_constants: dict[str, _Base64Constant] = {}
        #: Bytes that the constants take when they are encoded, at most.
        self.size = 0
        room = 0
        for text in constants:
            # Before a NUL a dot is encoded differently.
            if "\r" in text or "\0" in text or len(text) < _WORTHWHILE:
                continue
            with suppress(UnicodeEncodeError):  # half of a surrogate pair: every message will be refused
                if transfer == "base64":
                    data = _encoded(text[1:])
                    self._base64_constants[text] = _Base64Constant(text[0], data, text.endswith("\n"))
                    self.size += len(text) + len(data)
                    room += _LINE_BYTES * len(data) * 3 // 2
                elif (lines := _cut_lines(text)) is not None:
                    self._lines[text] = lines
                    self.size += len(text) + (len(lines.lines.data) if lines.lines else 0)
                    room += len(_part(lines.head, 0, goes_on=True).data) * (_COLUMNS if lines.long else 1)
        self._room = min(room, _ROOM)
        self.size += self._room

    def encode(self, pieces: Sequence[str]) -> Encoded:
        """The joined pieces as they travel. Every line end (CRLF, CR, LF) becomes CRLF, the last line gets
        one too.

        Raises UnicodeEncodeError for half of a surrogate pair.
        """
        if self.transfer == "base64":
            return Encoded(self._base64(pieces), dots=False)
        known = self._lines
        found: list[bytes] = []
        beside: list[str] = []  # the line that has not ended yet,
        column = 0  # from here on
        dots = False
        for piece in pieces:
            constant = known.get(piece)
            if constant is None:
                beside.append(piece)
                continue
            head, long, lines, tail, heads = constant
            if beside and not long:
                beside.append(head)
                data = _whole_lines("".join(beside), column)
                dots = dots or _has_dots(data, column)
            else:
                if beside:
                    data, column, has = _part("".join(beside), column, goes_on=True)
                    found.append(data)
                    dots = dots or has
                data, column, has = heads.get(column) or self._head(constant, column)
                dots = dots or has
            found.append(data)
            if lines is not None:
                data, column, has = lines
                found.append(data)
                dots = dots or has
            beside = [tail] if tail else []
        rest = "".join(beside)
        if rest or not found:
            data = _whole_lines(_ended(rest), column)
            found.append(data)
            dots = dots or _has_dots(data, column)
        return Encoded(b"".join(found), dots)

    def _head(self, constant: _Lines, column: int) -> _Part:
        part = _part(constant.head, column, goes_on=constant.lines is None)
        if len(part.data) <= self._room:
            self._room -= len(part.data)
            constant.heads[column] = part
        return part

    def _base64(self, pieces: Sequence[str]) -> bytes:
        found: list[bytes] = []
        data, beside = b"", []  # what the last line of base64 does not hold yet
        ends_line = False
        for piece in pieces:
            constant = self._base64_constants.get(piece)
            if constant is None:
                beside.append(piece)
                continue
            beside.append(constant.first)
            data += _encoded("".join(beside))
            cut = self._cut(constant, -len(data) % _LINE_BYTES)
            found += (_base64(data + cut.head), cut.lines)
            data, beside, ends_line = cut.tail, [], constant.ends_line
        rest = "".join(beside)
        if rest or not ends_line:
            data += _encoded(_ended(rest))
        found.append(_base64(data))
        return b"".join(found)

    def _cut(self, constant: _Base64Constant, head: int) -> _Cut:
        cut = constant.cuts.get(head)
        if cut is None:
            cut = constant.cut(head)
            if len(cut.lines) <= self._room:
                self._room -= len(cut.lines)
                constant.cuts[head] = cut
        return cut


def _cut_lines(text: str) -> _Lines | None:
    """None if it is not worthwhile."""
    start, end = text.find("\n") + 1, text.rfind("\n") + 1
    if not start:
        return _Lines(text[:-1], True, None, text[-1], {}) if len(text) > _LONG else None
    if len(text) - end > _LONG:
        end = len(text) - 1
    if start <= _LONG and end - start < _WORTHWHILE:
        return None
    lines = _part(text[start:end], 0, goes_on=end < len(text))
    return _Lines(text[:start], start > _LONG, lines, text[end:], {})


def _whole_lines(text: str, column: int) -> bytes:
    """Text that ends in a line end in quoted-printable, from a column of a line on."""
    if not column:
        return binascii.b2a_qp(_encoded(text))
    return binascii.b2a_qp(b"\r\n" + b"x" * column + _encoded(text))[2 + column :]


def _part(text: str, column: int, *, goes_on: bool) -> _Part:
    """Text that ends in a line end; or with `goes_on` anywhere, if neither a line end nor a NUL follows."""
    # With a line end in front: without any, `b2a_qp` would break long lines by LF alone.
    data = b"\r\n" + b"x" * column + _encoded(text) + (b"x" if goes_on else b"")
    data = binascii.b2a_qp(data)[2 + column : -1 if goes_on else None]
    end = data.rfind(b"\n")
    after = len(data) - end - 1 if end >= 0 else column + len(data)
    return _Part(data, after, _has_dots(data, column))


def _has_dots(data: bytes, column: int) -> bool:
    return b"." in data and (b"\r\n." in data or (not column and data.startswith(b".")))


def has_dots(lines: bytes) -> bool:
    """Whether one of these whole lines begins with a dot."""
    return _has_dots(lines, 0)


def _ended(text: str) -> str:
    return text if text.endswith(("\n", "\r")) else text + "\n"


def _encoded(text: str) -> bytes:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", "\r\n").encode("utf-8")


def _base64(data: bytes) -> bytes:
    """In full lines and a rest, as the standard library's `email` package writes it."""
    encoded = binascii.b2a_base64(data, newline=False)
    lines = [encoded[start : start + 76] for start in range(0, len(encoded), 76)]
    return b"\r\n".join([*lines, b""])
