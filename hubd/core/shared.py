"""The constant end of a message, kept once and shared by all messages that end with it.

An attachment of 25 MiB is 34 MiB of base64. Copied for each message that is on its way, it would take as much
memory on every connection. So it is encoded once, in chunks that are never joined: a message is a short
beginning of its own and a reference to `SharedBytes`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Lines of base64 in one chunk, and bytes of the file in one line (RFC 2045 §6.8: at most 76 characters).
_LINES = 768
_LINE = 57
#: Bytes up to which neighbouring chunks become one.
_SHORT = 16 * 1024


def stuffed(lines: bytes) -> bytes:
    """Dot-stuff whole lines; returns the same object if no line begins with a dot."""
    lines = lines.replace(b"\r\n.", b"\r\n..")
    return b"." + lines if lines.startswith(b".") else lines


def has_bare_line_end(data: bytes) -> bool:
    """Whether a CR stands without LF or an LF without CR."""
    ends = data.count(b"\r\n")
    return data.count(b"\n") != ends or data.count(b"\r") != ends


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SharedBytes:
    """Whole lines, as chunks of at most some 64 KiB; constant text may be a longer one."""

    chunks: tuple[bytes, ...] = ()
    size: int = field(init=False)  #: in bytes, as SIZE counts them (RFC 1870): without dot-stuffing
    #: The same chunks after dot-stuffing (RFC 5321 §4.5.2): mostly the same objects.
    stuffed: tuple[bytes, ...] = field(init=False, repr=False)
    bare: bool = field(init=False)  #: whether it has a CR or an LF that is not half of a line end

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", sum(map(len, self.chunks)))
        object.__setattr__(self, "stuffed", tuple(map(stuffed, self.chunks)))
        object.__setattr__(self, "bare", any(map(has_bare_line_end, self.chunks)))

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks)


NOTHING = SharedBytes()


def joined(parts: Iterable[SharedBytes]) -> SharedBytes:
    """Concatenate. Only short chunks are copied, so that each chunk is worth its own write."""
    chunks: list[bytes] = []
    for part in parts:
        for chunk in part.chunks:
            if chunks and len(chunks[-1]) + len(chunk) <= _SHORT:
                chunks[-1] += chunk
            else:
                chunks.append(chunk)
    return SharedBytes(tuple(chunks))


def encode_file(data: bytes) -> SharedBytes:
    """A file in base64, as the standard library's `email` package writes it."""
    view, step = memoryview(data), _LINE * _LINES
    return SharedBytes(
        tuple(
            base64.encodebytes(view[at : at + step]).replace(b"\n", b"\r\n")
            for at in range(0, len(view), step)
        )
    )
