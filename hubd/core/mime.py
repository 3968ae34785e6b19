"""The bytes of a message: header lines, and the skeleton that holds the bodies (see `bodies`).

Header lines follow RFC 5322 (§2.2.3 folding) and RFC 2047 (encoded words); a value is first made one line by
`one_line`. The skeleton, everything of a message that is the same for all recipients, is built once by
the standard library and cut at the places where the bodies go.

**Why no body can end its part.** Every boundary starts with `=_` (the advice of RFC 2045 §6.7). In
quoted-printable text `=` is always followed by two hexadecimal digits or a line end, and base64 has no `_`,
so the delimiter line `--=_...` cannot occur in a body whatever a field contains.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import encodebytes
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache
from urllib.parse import quote

from hubd.core.bodies import Transfer
from hubd.core.shared import SharedBytes, joined
from hubd.errors import BadInput

LINE_LIMIT = 998  #: bytes of a line without its CRLF (RFC 5322 §2.1.1)
_FOLD_AT = 76  #: bytes; a line with an encoded word must not be longer (RFC 2047 §2)

_HOSTILE = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_MIME_TYPE = re.compile(r"([A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126})/([A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126})")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An attachment, or a picture that the HTML shows, with its encoded bytes."""

    name: str
    type: str
    data: SharedBytes  #: in base64, see `shared.encode_file`
    content_id: str = ""  #: of a picture, without angle brackets


def one_line(text: str) -> str:
    """What a header shows of a text: each run of spaces, control characters and line separators (C0, DEL, C1,
    U+2028, U+2029) becomes one space, none at the ends. So no field can start a second header.
    """
    return _HOSTILE.sub(" ", text).strip(" ")


def header(name: str, text: str, *, long_words: bool = False) -> bytes:
    """One unstructured header with its CRLF, folded at 76 bytes, in encoded words where it is not ASCII.

    Words that do not fit in 76 bytes are encoded, too; with `long_words`, only those that fit in no line at
    all: programs that read a header know no encoded words. Raises UnicodeEncodeError for half of a surrogate
    pair.
    """
    value = one_line(text)
    if _is_plain(value):
        if len(name) + 2 + len(value) <= _FOLD_AT:
            return f"{name}: {value}\r\n".encode("ascii")
        folded = _fold(len(name) + 2, value, LINE_LIMIT if long_words else _FOLD_AT)
        if folded is not None:
            return f"{name}: {folded}\r\n".encode("ascii")
    return f"{name}: {_encoded_words(len(name) + 2, value)}\r\n".encode("ascii")


def mailbox_header(name: str, display_name: str, address: str) -> bytes:
    """A From or Reply-To header with one mailbox (RFC 5322 §3.4). `address` is ASCII and valid."""
    if not one_line(display_name):
        return f"{name}: {address}\r\n".encode("ascii")
    return phrase_header(name, display_name, address)


def phrase_header(name: str, display_name: str, address: str) -> bytes:
    """A header with something in angle brackets, after a phrase if there is one: a mailbox, a List-Id."""
    display = one_line(display_name)
    if not display:
        return f"{name}: <{address}>\r\n".encode("ascii")
    if _is_plain(display) and len(name) + 4 + len(display) <= _FOLD_AT:
        phrase = display if _ATOMS.fullmatch(display) else _quoted(display)
    else:
        phrase = _encoded_words(len(name) + 2, display)
    last_line = len(phrase) - phrase.rfind("\n")
    space = " " if len(name) + 5 + last_line + len(address) <= _FOLD_AT else "\r\n "
    return f"{name}: {phrase}{space}<{address}>\r\n".encode("ascii")


def url_of(text: str) -> str:
    """A rendered URL in plain ASCII: whatever may not stand in a URL, line ends too, is percent-encoded."""
    return text if _URL.fullmatch(text) else quote(text.strip(), safe="-._~:/?#[]@!$&'()*+,;=%")


@lru_cache(maxsize=4)
def date_header(second: int) -> bytes:
    """`Date:` for a second since the epoch, in UTC (RFC 5322 §3.3)."""
    return f"Date: {format_datetime(datetime.fromtimestamp(second, UTC))}\r\n".encode("ascii")


def skeleton(
    bodies: Sequence[tuple[str, Transfer]], files: Sequence[File], seed: str
) -> tuple[tuple[bytes, ...], SharedBytes]:
    """The constant bytes in front of each body, and what follows the last: the files, the end.

    `bodies` are subtype and transfer encoding in order of preference, the last is the best ("plain", "html").
    `files` begin with the pictures, which become one part with the last body (multipart/related, RFC 2387).
    The first piece starts with the MIME headers that end the message's header block. `seed` makes the
    boundaries: the same plan always has the same ones, nobody can guess them without its whole content.
    Raises BadInput for an attachment whose MIME type is none.
    """
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()
    holes = [f"hole{number}{digest}" for number in range(len(bodies))]
    message = EmailMessage(policy=SMTP)
    message.set_content(holes[0], subtype=bodies[0][0], cte="7bit")
    for hole, (subtype, _) in zip(holes[1:], bodies[1:], strict=True):
        message.add_alternative(hole, subtype=subtype, cte="7bit")
    texts = [part for part in message.walk() if not part.is_multipart()]
    for part, (_, transfer) in zip(texts, bodies, strict=True):
        part.replace_header("Content-Transfer-Encoding", transfer)
    body = texts[-1]
    assert isinstance(body, EmailMessage)
    stands_for = [f"file{number}{digest[:32]}".encode("ascii") for number in range(len(files))]
    for file, data in zip(files, stands_for, strict=True):
        maintype, subtype = _mime_type(file)
        name, cid = file_name(file.name), f"<{file.content_id}>"
        if file.content_id:
            body.add_related(
                data, maintype=maintype, subtype=subtype, filename=name, cid=cid, disposition="inline"
            )
            body.set_param("type", f"text/{bodies[-1][0]}")  # required by RFC 2387 §3.1
        else:
            message.add_attachment(data, maintype=maintype, subtype=subtype, filename=name)
    for number, part in enumerate(part for part in message.walk() if part.is_multipart()):
        part.set_boundary(f"=_{number}_{digest[:40]}")
    rest = message.as_bytes()
    pieces = []
    for hole in holes:
        piece, _, rest = rest.partition(f"{hole}\r\n".encode("ascii"))
        pieces.append(piece)
    end: list[SharedBytes] = []
    for file, data in zip(files, stands_for, strict=True):
        piece, _, rest = rest.partition(encodebytes(data).replace(b"\n", b"\r\n"))
        end += (SharedBytes((piece,)), file.data)
    return tuple(pieces), joined([*end, SharedBytes((rest,))])


def file_name(name: str) -> str:
    """An attachment's name as a header may carry it: one line, without path separators, and without `=?`,
    which readers take for the start of an encoded word even here.
    """
    return one_line(name).replace("/", "_").replace("\\", "_").replace("=?", "=_").strip() or "attachment"


def _mime_type(file: File) -> tuple[str, str]:
    match = _MIME_TYPE.fullmatch(file.type)
    if match is None:
        raise BadInput.at("attachments", f"{file.name!r} has no usable MIME type")
    maintype, subtype = match[1].lower(), match[2].lower()
    # RFC 2046 §5 allows no base64 in these two; the recipient still gets the file as it is.
    return ("application", "octet-stream") if maintype in ("multipart", "message") else (maintype, subtype)


def _is_plain(value: str) -> bool:
    """One line of ASCII that no reader can take for an encoded word."""
    return value.isascii() and "=?" not in value


def _quoted(phrase: str) -> str:
    escaped = phrase.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _fold(used: int, value: str, longest: int) -> str | None:
    """Break an ASCII value at its spaces; None when a word does not fit in a line of `longest` bytes."""
    lines: list[str] = []
    line = ""
    room = _FOLD_AT - used
    for word in value.split(" "):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line, room = "", _FOLD_AT - 1
        if len(word) > room + longest - _FOLD_AT:
            return None
        line = f"{line} {word}" if line else word
    return "\r\n ".join([*lines, line])


def _encoded_words(used: int, value: str) -> str:
    """RFC 2047 base64 words of at most 75 bytes, a character never cut between two (§5 (3))."""
    data = value.encode("utf-8")
    words: list[str] = []
    start = 0
    room = _FOLD_AT - used
    while start < len(data):
        end = start + (room - len("=?utf-8?b??=")) // 4 * 3
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(f"=?utf-8?b?{binascii.b2a_base64(data[start:end], newline=False).decode('ascii')}?=")
        start, room = end, _FOLD_AT - 1
    return "\r\n ".join(words)
