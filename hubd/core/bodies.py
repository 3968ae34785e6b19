"""Text bodies in their transfer encoding: what is the same in every message is encoded once.

A rendered template is a list of pieces: its constants, and between them what the fields hold. `BodyEncoder`
has each constant encoded in advance and joins the rest to it. What it writes is, byte for byte, what
`encode_body` writes for the whole text, because both encodings start afresh somewhere: quoted-printable at
every line, base64 after every 57 octets. So only the lines that are not constant as a whole are encoded for
each message. A constant without a whole line in it, or with a CR, is treated like a field.
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
#: Bytes of base64 that one encoder keeps for constants that begin at different places of a line.
_CUTS_LIMIT = 1024 * 1024


def transfer_for(source: str) -> Transfer:
    """The shorter encoding for bodies like `source`: each octet above 127 costs 3 octets in quoted-printable
    and any octet 4/3 in base64, so they meet where one octet in six is above 127.
    """
    octets = source.encode("utf-8", "replace")
    high = len(octets.translate(None, bytes(range(128))))
    return "base64" if high * 6 > len(octets) else "quoted-printable"


def encode_body(text: str, transfer: Transfer) -> bytes:
    """A text body for the wire. Every line end (CRLF, CR, LF) becomes CRLF, the last line gets one too.

    Raises UnicodeEncodeError for half of a surrogate pair.
    """
    return _base64(_octets(_ended(text))) if transfer == "base64" else _quoted_printable(text)


class Encoded(NamedTuple):
    """Whole lines that end in CRLF."""

    octets: bytes
    dots: bool  #: whether a line begins with a dot


class _Lines(NamedTuple):
    """A constant of a quoted-printable body, cut at its first and at its last line end."""

    head: str
    head_encoded: bytes
    lines: bytes
    tail: str
    dots: bool  #: whether a line of `head_encoded` or `lines` begins with a dot


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

    @property
    def cut_size(self) -> int:
        """Bytes of one cut, at most."""
        return len(self.rest) * 3 // 2 + 2 * _OCTETS

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
        for text in constants:
            if "\r" in text or len(text) < _WORTHWHILE:
                continue
            with suppress(UnicodeEncodeError):  # half of a surrogate pair: every message will be refused
                if transfer == "base64":
                    octets = _octets(text[1:])
                    self._octets[text] = _Octets(text[0], octets, text.endswith("\n"))
                    self.size += 2 * len(octets)
                elif (found := _cut_lines(text)) is not None:
                    self._lines[text] = found
                    self.size += len(text) + len(found.head_encoded) + len(found.lines)
        cuts = sum(_OCTETS * constant.cut_size for constant in self._octets.values())
        self._cuts_left = min(cuts, _CUTS_LIMIT)
        self.size += self._cuts_left

    def encode(self, pieces: Sequence[str]) -> Encoded:
        """What `encode_body` makes of the joined pieces. Raises UnicodeEncodeError like it."""
        if self.transfer == "base64":
            return Encoded(self._base64(pieces), dots=False)
        known = self._lines
        found: list[bytes] = []
        beside: list[str] = []  # the line that has not ended yet
        dots = False
        for piece in pieces:
            constant = known.get(piece)
            if constant is None:
                beside.append(piece)
                continue
            head, octets, lines, tail, constant_dots = constant
            if beside:
                beside.append(head)
                octets = _quoted_printable("".join(beside))
                dots = dots or has_dots(octets)
            found += (octets, lines)
            dots = dots or constant_dots
            beside = [tail] if tail else []
        rest = "".join(beside)
        if rest or not found:
            octets = _quoted_printable(rest)
            dots = dots or has_dots(octets)
            found.append(octets)
        return Encoded(b"".join(found), dots)

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
            if constant.cut_size <= self._cuts_left:
                self._cuts_left -= constant.cut_size
                constant.cuts[head] = cut
        return cut


def _cut_lines(text: str) -> _Lines | None:
    start, end = text.find("\n") + 1, text.rfind("\n") + 1
    if end - start < _WORTHWHILE:
        return None
    head, lines = text[:start], text[start:end]
    before, octets = _quoted_printable(head), _quoted_printable(lines)
    return _Lines(head, before, octets, text[end:], has_dots(before) or has_dots(octets))


def has_dots(lines: bytes) -> bool:
    """Whether one of these whole lines begins with a dot."""
    return b"." in lines and (lines.startswith(b".") or b"\r\n." in lines)


def _ended(text: str) -> str:
    return text if text.endswith(("\n", "\r")) else text + "\n"


def _octets(text: str) -> bytes:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n", "\r\n").encode("utf-8")


def _quoted_printable(text: str) -> bytes:
    # Every line ends in CRLF here; in a piece without one `b2a_qp` would break long lines by LF alone.
    return binascii.b2a_qp(_octets(_ended(text)))


def _base64(octets: bytes) -> bytes:
    """In full lines and a rest, as the standard library's `email` package writes it."""
    encoded = binascii.b2a_base64(octets, newline=False)
    lines = [encoded[start : start + 76] for start in range(0, len(encoded), 76)]
    return b"\r\n".join([*lines, b""])
