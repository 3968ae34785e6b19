"""The parts of a mail that somebody sent us, whatever its bytes are, in bounded time and memory.

The parser of the standard library follows nested parts without end, and its time grows with lines times
depth. This one divides a mail by its boundaries (RFC 2046, 5.1), a few levels deep, and leaves to the
standard library what it does well: header fields (RFC 5322), encoded words (RFC 2047) and transfer encodings.
It never raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

MOST_BYTES = 1 << 20  #: of a mail are read; what is behind is attachments
_MOST_HEAD = 64 << 10  #: bytes of one header section
_MOST_FIELDS = 500  #: header fields of one part
_LONGEST_VALUE = 8_000  #: characters of a header field
_LONGEST_PARAMETERS = 1_000  #: characters of fields with parameters, which take quadratic time
_DEEPEST = 6  #: parts within parts; a returned mail in a report is at depth 2
_MOST_PARTS = 60  #: of the whole mail
_LONGEST_TEXT = 200_000  #: characters of one part's text

_BLANK_LINE = re.compile(rb"\n\r?\n|\A\r?\n")
_ENCODED = {"quoted-printable", "base64"}
#: Python's codecs that are no charsets: slow, or different on each system.
_NOT_CHARSETS = re.compile(r"idna|punycode|undefined|(raw.)?unicode.escape|mbcs|oem|ansi", re.IGNORECASE)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ud800-\udfff]")


@dataclass(slots=True)
class Part:
    """A mail, or a part of one: its header fields, and its body or the parts that it consists of."""

    fields: Message
    body: bytes
    parts: list[Part] = field(default_factory=list)

    @property
    def content_type(self) -> str:
        """In lower case, such as "text/plain"."""
        return self.fields.get_content_type()

    def parameter(self, name: str) -> str:
        """A parameter of Content-Type in lower case; "" without it."""
        value = self.fields.get_param(name, "")
        return (value[2] if isinstance(value, tuple) else str(value)).lower()

    def header(self, name: str) -> str:
        """The first header field of that name, decoded, on one line; "" without it."""
        value = self.fields.get(name)
        return "" if value is None else decoded_words(str(value))

    def headers(self, *names: str) -> list[str]:
        """All header fields of these names, in the order of the names."""
        return [decoded_words(str(value)) for name in names for value in self.fields.get_all(name, [])]

    def decoded(self) -> bytes:
        """The body without its transfer encoding."""
        return _decoded(self.body, _transfer_encoding(self.fields))

    def text(self) -> str:
        """The body as text, with `\\n` at the ends of its lines and without control characters."""
        text = _in_charset(self.decoded()[: 4 * _LONGEST_TEXT], self.parameter("charset"))
        return clean_text(text[:_LONGEST_TEXT])

    def walk(self, *, into_mails: bool = True) -> Iterator[Part]:
        """This part and all in it, in their order; without `into_mails`, none of a mail that is enclosed."""
        yield self
        if into_mails or not self.encloses_mail:
            for part in self.parts:
                yield from part.walk(into_mails=into_mails)

    @property
    def encloses_mail(self) -> bool:
        return self.content_type in _MAILS

    def message(self) -> Message:
        """The same for libraries that want a message of the standard library."""
        found: Message = Message(policy=compat32)
        for name, value in self.fields.items():
            found[name] = value
        found.set_default_type(self.fields.get_default_type())
        if self.parts or self.fields.get_content_maintype() == "multipart":
            found.set_payload([part.message() for part in self.parts])
        else:
            found.set_payload(self.body.decode("ascii", "surrogateescape"))
        return found


#: Parts whose body is a mail, or its header section alone (RFC 2046 5.2.1, RFC 6522, RFC 6532).
_MAILS = {"message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers"}
#: Parts whose body is groups of fields (RFC 3464, RFC 6533, RFC 5965).
FIELD_GROUPS = {"message/delivery-status", "message/global-delivery-status", "message/feedback-report"}


def read_mail(data: bytes) -> Part:
    """The mail in these bytes. Whatever is wrong with them, as much as can be read is returned."""
    data = data[:MOST_BYTES]
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    return _Reader().read(data, 0, "text/plain")


class _Reader:
    def __init__(self) -> None:
        self._left = _MOST_PARTS

    def read(self, data: bytes, depth: int, default_type: str) -> Part:
        self._left -= 1
        fields, body = split_head(data)
        fields.set_default_type(default_type)
        part = Part(fields, body)
        if depth >= _DEEPEST:
            return part
        kind = part.content_type
        if kind.startswith("multipart/"):
            boundary = fields.get_boundary("")
            inner = "message/rfc822" if kind == "multipart/digest" else "text/plain"
            for piece in _pieces(body, boundary) if boundary else ():
                if self._left <= 0:
                    break
                part.parts.append(self.read(piece, depth + 1, inner))
        elif kind in _MAILS and self._left > 0:
            part.parts.append(self.read(part.decoded(), depth + 1, "text/plain"))
        elif kind in FIELD_GROUPS:
            # As the standard library has them: one part for each group of fields.
            part.parts = [Part(group, b"") for group in field_groups(part.decoded())]
        return part


def split_head(data: bytes) -> tuple[Message, bytes]:
    """The header fields that these bytes begin with, and what is behind the empty line that ends them."""
    found = _BLANK_LINE.search(data, 0, _MOST_HEAD)
    head, body = (data[: found.end()], data[found.end() :]) if found else (data[:_MOST_HEAD], b"")
    if found is None and len(data) > _MOST_HEAD:
        body = data[_MOST_HEAD:]
    try:
        parsed = BytesParser(policy=compat32).parsebytes(head, headersonly=True)
        rest = parsed.get_payload()
    except (ValueError, IndexError, AttributeError):  # which versions of Python raise on some broken lines
        return Message(policy=compat32), data
    if isinstance(rest, str) and rest.strip():  # a line that is no field ends the section
        body = rest.encode("utf-8", "surrogateescape") + body
    fields: Message = Message(policy=compat32)
    for count, (name, value) in enumerate(parsed.raw_items()):
        if count >= _MOST_FIELDS:
            break
        with_parameters = name.lower().startswith("content-")
        fields[name] = str(value)[: _LONGEST_PARAMETERS if with_parameters else _LONGEST_VALUE]
    return fields, body


def field_groups(data: bytes) -> list[Message]:
    """Groups of fields with empty lines between them (RFC 3464, 2.1)."""
    groups: list[Message] = []
    for block in re.split(rb"\n[ \t]*\r?\n\s*", data.strip() + b"\n\n", maxsplit=_MOST_PARTS):
        if block.strip() and len(groups) < _MOST_PARTS:
            groups.append(split_head(block + b"\n\n")[0])
    return groups


def _pieces(body: bytes, boundary: str) -> Iterator[bytes]:
    """What is between the lines with the boundary; the last of them may be missing."""
    mark = b"--" + boundary.encode("ascii", "surrogateescape" if boundary.isascii() else "replace")
    begin, at = -1, 0
    while (at := body.find(mark, at)) >= 0:
        end = at + len(mark)
        after = body[end : end + 2]
        if (at and body[at - 1 : at] != b"\n") or not (
            after == b"--" or after[:1] in (b"\r", b"\n", b" ", b"\t", b"")
        ):
            at = end
            continue
        if begin >= 0:
            yield body[begin:at]
        if after == b"--":
            return
        line = body.find(b"\n", end)
        if line < 0:
            return
        begin = at = line + 1
    if begin >= 0:
        yield body[begin:]


def _transfer_encoding(fields: Message) -> str:
    found = str(fields.get("content-transfer-encoding", "")).strip().lower()
    return found if found in _ENCODED else ""


def _decoded(body: bytes, encoding: str) -> bytes:
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if encoding == "base64":
        letters = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
        return binascii.a2b_base64(letters[: len(letters) // 4 * 4])
    return body


def decoded_words(value: str) -> str:
    """A header field's value as people read it (RFC 2047), on one line."""
    value = value[:_LONGEST_VALUE]
    if "=?" in value:
        try:
            pieces = decode_header(value[:2_000])
        except (HeaderParseError, ValueError):
            pieces = [(value, None)]
        value = "".join(
            _in_charset(piece, charset or "") if isinstance(piece, bytes) else piece
            for piece, charset in pieces
        )
    elif not value.isascii():
        value = _in_charset(value.encode("utf-8", "surrogateescape"), "")
    return " ".join(clean_text(value).split())


def _in_charset(data: bytes, charset: str) -> str:
    """In the charset that is named if Python knows it, else in UTF-8, else in what nearly everybody uses."""
    if charset and not _NOT_CHARSETS.match(charset):
        try:
            return data.decode(charset, "replace")
        except (LookupError, ValueError):
            pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def clean_text(text: str) -> str:
    """Without control characters, and with one kind of line end."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
