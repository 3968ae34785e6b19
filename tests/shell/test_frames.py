"""Frames are counted before the websocket library sees them, and written in the way that RFC 6455 says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from hubd.control.frames import (
    BYTES_PER_FRAME,
    PIECE,
    FrameCounter,
    MessageTooLarge,
    close_frame,
    text_header,
)

LIMIT = 64 * 1024
TEXT, CONTINUATION, PING = 0x1, 0x0, 0x9

frames = st.lists(
    st.tuples(st.sampled_from([0x81, 0x01, 0x00, 0x80, 0x89, 0x8A]), st.integers(0, 1_000)), max_size=20
)


def masked(size: int, opcode: int = TEXT, *, last: bool = False, length: int | None = None) -> bytes:
    """A frame of a client; `length` is what it says that it has."""
    length = size if length is None else length
    short = bytes([0x80 | min(length, 127)])
    if length > 125:
        short = b"\xfe" + length.to_bytes(2, "big") if length < 2**16 else b"\xff" + length.to_bytes(8, "big")
    return bytes([opcode | (0x80 if last else 0)]) + short + bytes(4) + b"x" * size


@given(frames, st.lists(st.integers(1, 3_000), min_size=1))
def test_everything_is_passed_on_in_order_whatever_the_pieces_are(
    sent: list[tuple[int, int]], sizes: list[int]
) -> None:
    data = b"".join(
        masked(size if first & 0x8 == 0 else size % 126, first & 0xF, last=first > 0x7F)
        for first, size in sent
    )
    counter, passed_on, at, turn = FrameCounter(LIMIT), b"", 0, 0
    while at < len(data):
        piece = data[at : at + sizes[turn % len(sizes)]]
        passed_on += counter.feed(piece)
        at, turn = at + len(piece), turn + 1
    assert passed_on == data


def test_an_unfinished_frame_is_passed_on_in_large_pieces() -> None:
    """Byte by byte the library would keep a list of single characters."""
    counter = FrameCounter(LIMIT)
    pieces = [counter.feed(bytes([byte])) for byte in masked(3 * PIECE)]
    assert [len(piece) for piece in pieces if piece][:2] == [PIECE, PIECE]
    assert sum(map(len, pieces)) == len(masked(3 * PIECE))


def test_a_message_at_the_limit_passes_and_one_byte_more_is_refused_before_it_comes() -> None:
    FrameCounter(LIMIT).feed(masked(LIMIT, last=True))
    with pytest.raises(MessageTooLarge, match="bytes"):
        FrameCounter(LIMIT).feed(masked(0, length=LIMIT + 1))
    counter = FrameCounter(LIMIT)
    counter.feed(masked(LIMIT))
    with pytest.raises(MessageTooLarge, match="bytes"):
        counter.feed(masked(1, CONTINUATION))


@pytest.mark.parametrize("size", [0, 1])
def test_fragments_are_counted_also_when_they_are_empty_and_control_frames_come_between(size: int) -> None:
    counter = FrameCounter(LIMIT)
    counter.feed(masked(size))
    for _ in range(LIMIT // BYTES_PER_FRAME - 1):
        counter.feed(masked(size, CONTINUATION) + masked(5, PING, last=True))
    with pytest.raises(MessageTooLarge, match="frames"):
        counter.feed(masked(size, CONTINUATION))


def test_the_next_message_is_counted_anew() -> None:
    counter = FrameCounter(LIMIT)
    for _ in range(3):
        counter.feed(masked(LIMIT, last=True))
        for _ in range(LIMIT):
            counter.feed(masked(0, last=True))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_client_reads_what_is_written(size: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    text = "x" * size
    parts = [text[: size // 2], text[size // 2 :], ""]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        client.receive_data(text_header(len(part), first=index == 0, last=last) + part.encode())
    client.receive_data(text_header(size) + text.encode() + close_frame(1009, "too large"))
    *messages, closed = client.events()
    read = "".join(event.data for event in messages if isinstance(event, TextMessage))
    assert read == 2 * text
    assert isinstance(closed, CloseConnection)
    assert (closed.code, closed.reason) == (1009, "too large")
