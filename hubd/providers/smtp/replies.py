"""SMTP replies: bytes in, values out. Pure: no socket, no clock.

A server is free to send anything at any speed. What is not a reply (RFC 5321 section 4.2), or is longer than
any honest reply, raises `Garbage`; how the bytes are cut into packets makes no difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

#: RFC 5321 section 4.5.3.1.5 says 512 bytes; servers in the wild go beyond it.
MAX_LINE = 4096
#: Bytes of all lines of one reply. Bounds the memory a server can make us use.
MAX_REPLY = 32 * 1024

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\n]*)|\r?)\n")
_START = re.compile(rb"[2-5](?:[0-9](?:[0-9][ \-\r]?)?)?")
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")
_QUEUE_IDS = (
    re.compile(r"\bqueued as (?:<)?([\w.@+=/-]+)", re.ASCII | re.IGNORECASE),  # Postfix, SendGrid
    re.compile(r"\bid=([\w.-]+)", re.ASCII),  # Exim
    re.compile(r"\[InternalId=(\d+)", re.ASCII),  # Exchange
    re.compile(r"\bOK\s+\d+ ([\w-]+\.[\w.-]+) - gsmtp", re.ASCII | re.IGNORECASE),  # Gmail
    re.compile(r"^(?:2\.\d\.\d )?([\w-]+) Message accepted for delivery", re.ASCII),  # sendmail, OpenSMTPD
    re.compile(r"^Ok ([0-9a-f]{8,}(?:-[0-9a-f]+)+)$", re.ASCII),  # Amazon SES
)


class Garbage(Exception):
    """What came is not a reply; `str()` says why."""


class Reply(NamedTuple):
    """One reply: its code (200 to 599) and the text of its lines, joined by spaces, not yet cleaned."""

    code: int
    text: str

    @property
    def enhanced(self) -> str:
        """The enhanced status code (RFC 3463) at the start of the text; "" if it contradicts the code."""
        match = _ENHANCED.match(self.text)
        return match[0] if match and int(match[1]) == self.code // 100 else ""

    @property
    def queue_id(self) -> str:
        """The server's own name for the message it accepted, if the text has a known format."""
        for pattern in _QUEUE_IDS:
            if match := pattern.search(self.text):
                return match[1][:100]
        return ""


class ReplyParser:
    """Collects bytes until they make replies. After `Garbage` it must not be fed again."""

    __slots__ = ("_lines", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def midway(self) -> bool:
        """Whether a reply has begun but not ended."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that `data` completes, one by one. Raises `Garbage` after those that precede it."""
        buffer = self._rest + data if self._rest else data
        at, end = 0, len(buffer)
        while at < end:
            match = _LINE.match(buffer, at)
            if match is None:
                _check_beginning(buffer[at:])
                break
            code, mark, text = match.groups()
            length = match.end() - at
            at = match.end()
            self._size += length
            if length > MAX_LINE or self._size > MAX_REPLY:
                raise Garbage("an endless reply")
            self._lines.append(text or b"")
            if mark != b"-":
                # If lines disagree about the code, the last one counts, as in Postfix.
                lines, self._lines, self._size = self._lines, [], 0
                yield Reply(int(code), _joined(lines))
        self._rest = buffer[at:]


def _check_beginning(rest: bytes) -> None:
    """Check that an unfinished line can still become a reply line. Raises `Garbage` if it cannot."""
    if b"\n" in rest or not _START.fullmatch(rest[:4]):
        raise Garbage("something that is not an SMTP reply")
    if len(rest) > MAX_LINE:
        raise Garbage("an endless reply")


def _joined(lines: list[bytes]) -> str:
    if len(lines) == 1:
        return lines[0].decode("utf-8", "replace").strip()
    texts = [line.decode("utf-8", "replace").strip() for line in lines]
    if match := _ENHANCED.match(texts[0]):
        # Servers repeat the enhanced code on every line (RFC 2034 section 4); once is enough for people.
        texts[1:] = [text.removeprefix(match[0]).lstrip() for text in texts[1:]]
    return " ".join(texts)
