"""Websocket frames (RFC 6455 5.2) as bytes: what a message may cost, and the headers we send. Pure.

The websocket library counts the characters of a message once they are decoded, and keeps a list of the
pieces in which they came. It never finds a message of empty fragments too long, and one that arrives byte by
byte takes a hundred times its size. So the bytes and the frames of a message are counted before the library
sees them, and it gets them in larger pieces.
"""

from __future__ import annotations

from hubd.wire import MAX_MESSAGE

BYTES_PER_FRAME = 64  #: a message may have one frame per this many bytes of its size limit
MANY_FRAMES = 32  #: in one piece; beyond that only a little is read at a time, because others wait meanwhile
PIECE = 4 * 1024  #: bytes of an unfinished frame that are enough to pass on

_TEXT, _CONTINUATION, _CLOSE = 0x1, 0x0, 0x8
_FIN, _CONTROL, _MASKED, _LENGTH = 0x80, 0x8, 0x80, 0x7F


class MessageTooLarge(Exception):
    """A message has more bytes, or comes in more frames, than it may."""


class FrameCounter:
    """Follows the frames that a client sends."""

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self._max_bytes = max_message
        self._max_frames = max(1, max_message // BYTES_PER_FRAME)
        self.many = False  #: the last piece had many frames
        self._header = bytearray()  #: of the next frame, as far as it has arrived
        self.missing = 0  #: bytes of the payload of the frame that are still to come
        self._held = bytearray()  #: not passed on yet
        self._bytes = 0  #: of the message, as its frames announce them
        self._frames = 0

    def feed(self, data: bytes | bytearray) -> bytes:
        """The bytes to pass on now: whole frames, and large pieces of unfinished ones; often none.

        Raises `MessageTooLarge`; nothing of the connection can be used after that.
        """
        view, at, whole, begun = memoryview(data), 0, 0, 0
        while at < len(view):
            if self.missing:
                piece = view[at : at + self.missing]
                self.missing -= len(piece)
            else:
                piece = view[at : at + self._header_length() - len(self._header)]
                self._header += piece
                if len(self._header) == self._header_length():
                    self._begin_frame()
                    begun += 1
            at += len(piece)
            self._held += piece
            if not self.missing and not self._header:
                whole = len(self._held)
        self.many = begun > MANY_FRAMES
        size = len(self._held) if len(self._held) - whole >= PIECE else whole
        passed_on = bytes(self._held[:size])
        del self._held[:size]
        return passed_on

    def _header_length(self) -> int:
        if len(self._header) < 2:
            return 2
        second = self._header[1]
        extended = {126: 2, 127: 8}.get(second & _LENGTH, 0)
        return 2 + extended + (4 if second & _MASKED else 0)

    def _begin_frame(self) -> None:
        """Begin a frame: its header is complete."""
        opcode, length = self._header[0] & 0xF, self._header[1] & _LENGTH
        if length > 125:
            length = int.from_bytes(self._header[2 : 4 if length == 126 else 10], "big")
        self._header.clear()
        self.missing = length
        if opcode & _CONTROL:
            return
        if opcode != _CONTINUATION:
            self._bytes = self._frames = 0
        self._bytes += length
        self._frames += 1
        if self._bytes > self._max_bytes:
            raise MessageTooLarge(f"a message may have at most {self._max_bytes} bytes")
        if self._frames > self._max_frames:
            raise MessageTooLarge(f"a message may have at most {self._max_frames} frames")


def text_header(size: int, *, first: bool = True, last: bool = True) -> bytes:
    """The header of a frame with `size` bytes of a text message, as a server sends it."""
    begin = bytes([(_FIN if last else 0) | (_TEXT if first else _CONTINUATION)])
    if size < 126:
        return begin + bytes([size])
    return begin + (b"\x7e" + size.to_bytes(2, "big") if size < 2**16 else b"\x7f" + size.to_bytes(8, "big"))


def close_frame(code: int, reason: str = "") -> bytes:
    """A whole close frame; the reason is ASCII and short."""
    payload = code.to_bytes(2, "big") + reason.encode("ascii")[:123]
    return bytes([_FIN | _CLOSE, len(payload)]) + payload
