"""Text bodies in their transfer encoding: what is the same in every message is encoded once.

A rendered template is a list of pieces: its constants, and between them what the fields hold. `BodyEncoder`
keeps each constant as it is encoded and joins the rest to it. What it writes is, byte for byte, the encoding
of the whole text, because both encodings start afresh somewhere: quoted-printable at every line, base64 after
every 57 octets. So for each message only the lines are encoded that are not constant as a whole. A constant
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

_OCTETS = 57  #: of a line of base64 (RFC 2045 §6.8: at most 76 characters)
#: Characters, or octets, of a constant below which it is quicker to encode it with what is beside it.
_WORTHWHILE = 80
#: Characters of a line from which on it is worth keeping it for every column at which it may begin.
_LONG = 200
_COLUMNS = 76  #: of a line of quoted-printable
#: Bytes that one encoder keeps of constants that begin at different places of a line.
_ROOM = 128 * 1024


def transfer_for(source: str) -> Transfer:
    """The shorter encoding for bodies like `source`: each octet above 127 costs 3 octets in quoted-printable
    and any octet 4/3 in base64, so they meet where one octet in six is above 127.
    """
    octets = source.encode("utf-8", "replace")
    high = len(octets.translate(None, bytes(range(128))))
    return "base64" if high * 6 > len(octets) else "quoted-printable"


class Encoded(NamedTuple):
    """Whole lines that end in CRLF."""

    octets: bytes
    dots: bool  #: whether a line begins with a dot


class _Part(NamedTuple):
    """A part of a constant as it is encoded when it begins at a certain column of a line."""

    octets: bytes
    column: int  #: at which the line goes on after it
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
class _Octets:
    """A constant of a base64 body, without its first character, which may be half of a line end."""

    first: str
    rest: bytes
    ends_line: bool
    cuts: dict[int, _Cut] = field(default_factory=dict)  #: by the octets that the open line still takes

    def cut(self, head: int) -> _Cut:
        end = len(self.rest) - (len(self.rest) - head) % _OCTETS
        return _Cut(self.rest[:head], _base64(self.rest[head:end]), self.rest[end:])


class BodyEncoder:
    """Encodes bodies that have `constants` among their pieces."""

    def __init__(self, transfer: Transfer, constants: Iterable[str]) -> None:
        self.transfer = transfer
        self._lines: dict[str, _Lines] = {}
        self._octets: dict[str, _Octets] = {}
        #: Bytes that the constants take when they are encoded, at most.
        self.size = 0
        room = 0
        for text in constants:
            # Before a NUL a dot is encoded differently.
            if "\r" in text or "\0" in text or len(text) < _WORTHWHILE:
                continue
            with suppress(UnicodeEncodeError):  # half of a surrogate pair: every message will be refused
                if transfer == "base64":
                    octets = _octets(text[1:])
                    self._octets[text] = _Octets(text[0], octets, text.endswith("\n"))
                    self.size += len(text) + len(octets)
                    room += _OCTETS * len(octets) * 3 // 2
                elif (lines := _cut_lines(text)) is not None:
                    self._lines[text] = lines
                    self.size += len(text) + (len(lines.lines.octets) if lines.lines else 0)
                    room += len(_part(lines.head, 0, goes_on=True).octets) * (_COLUMNS if lines.long else 1)
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
                octets = _whole_lines("".join(beside), column)
                dots = dots or _has_dots(octets, column)
            else:
                if beside:
                    octets, column, has = _part("".join(beside), column, goes_on=True)
                    found.append(octets)
                    dots = dots or has
                octets, column, has = heads.get(column) or self._head(constant, column)
                dots = dots or has
            found.append(octets)
            if lines is not None:
                octets, column, has = lines
                found.append(octets)
                dots = dots or has
            beside = [tail] if tail else []
        rest = "".join(beside)
        if rest or not found:
            octets = _whole_lines(_ended(rest), column)
            found.append(octets)
            dots = dots or _has_dots(octets, column)
        return Encoded(b"".join(found), dots)

    def _head(self, constant: _Lines, column: int) -> _Part:
        part = _part(constant.head, column, goes_on=constant.lines is None)
        if len(part.octets) <= self._room:
            self._room -= len(part.octets)
            constant.heads[column] = part
        return part

    def _base64(self, pieces: Sequence[str]) -> bytes:
        found: list[bytes] = []
        octets, beside = b"", []  # what the last line of base64 does not hold yet
        ends_line = False
        for piece in pieces:
            constant = self._octets.get(piece)
            if constant is None:
                beside.append(piece)
                continue
            beside.append(constant.first)
            octets += _octets("".join(beside))
            cut = self._cut(constant, -len(octets) % _OCTETS)
            found += (_base64(octets + cut.head), cut.lines)
            octets, beside, ends_line = cut.tail, [], constant.ends_line
        rest = "".join(beside)
        if rest or not ends_line:
            octets += _octets(_ended(rest))
        found.append(_base64(octets))
        return b"".join(found)

    def _cut(self, constant: _Octets, head: int) -> _Cut:
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
        return binascii.b2a_qp(_octets(text))
    return binascii.b2a_qp(b"\r\n" + b"x" * column + _octets(text))[2 + column :]


def _part(text: str, column: int, *, goes_on: bool) -> _Part:
    """Text that ends in a line end; or with `goes_on` anywhere, if neither a line end nor a NUL follows."""
    # With a line end in front: without any, `b2a_qp` would break long lines by LF alone.
    octets = b"\r\n" + b"x" * column + _octets(text) + (b"x" if goes_on else b"")
    octets = binascii.b2a_qp(octets)[2 + column : -1 if goes_on else None]
    end = octets.rfind(b"\n")
    after = len(octets) - end - 1 if end >= 0 else column + len(octets)
    return _Part(octets, after, _has_dots(octets, column))


def _has_dots(octets: bytes, column: int) -> bool:
    return b"." in octets and (b"\r\n." in octets or (not column and octets.startswith(b".")))


def has_dots(lines: bytes) -> bool:
    """Whether one of these whole lines begins with a dot."""
    return _has_dots(lines, 0)


def _ended(text: str) -> str:
    return text if text.endswith(("\n", "\r")) else text + "\n"


def _octets(text: str) -> bytes:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", "\r\n").encode("utf-8")


def _base64(octets: bytes) -> bytes:
    """In full lines and a rest, as the standard library's `email` package writes it."""
    encoded = binascii.b2a_base64(octets, newline=False)
    lines = [encoded[start : start + 76] for start in range(0, len(encoded), 76)]
    return b"\r\n".join([*lines, b""])
