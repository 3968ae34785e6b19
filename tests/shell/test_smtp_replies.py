"""The reply parser: whatever a server sends, in whatever pieces, is replies or garbage, and bounded."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.provider_reply import one_line
from hubd.providers.smtp.replies import MAX_REPLY, Garbage, Reply, ReplyParser

_texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), max_size=40)


@given(
    st.lists(st.tuples(st.integers(200, 599), st.lists(_texts, min_size=1, max_size=4)), max_size=5),
    st.randoms(use_true_random=False),
    st.sampled_from([b"\r\n", b"\n"]),
)
def test_how_replies_are_cut_into_packets_makes_no_difference(
    replies: list[tuple[int, list[str]]], random: Random, ending: bytes
) -> None:
    wire = b"".join(
        b"%d%s%s%s" % (code, b" " if n == len(lines) else b"-", line.encode(), ending)
        for code, lines in replies
        for n, line in enumerate(lines, 1)
    )
    whole = list(ReplyParser().feed(wire))
    parser, cut = ReplyParser(), 0
    parts: list[object] = []
    while cut < len(wire):
        size = random.randint(1, 9)
        parts += parser.feed(wire[cut : cut + size])
        cut += size
    assert parts == whole
    assert [reply.code for reply in whole] == [code for code, _ in replies]
    assert not parser.midway


@given(st.lists(st.binary(max_size=60), max_size=30))
def test_anything_at_all_is_replies_or_garbage(chunks: list[bytes]) -> None:
    parser = ReplyParser()
    try:
        for chunk in chunks:
            for reply in parser.feed(chunk):
                assert 200 <= reply.code <= 599
                assert one_line(reply.text).isprintable()
    except Garbage:
        pass


def test_a_reply_is_bounded_whatever_its_lines() -> None:
    parser = ReplyParser()
    for _ in range(MAX_REPLY // 6):
        assert not list(parser.feed(b"250-\r\n"))
    with pytest.raises(Garbage, match="endless"):
        list(parser.feed(b"250-\r\n"))


@pytest.mark.parametrize(
    ("text", "queue_id"),
    [
        ("2.0.0 Ok: queued as 4XyZ12abc", "4XyZ12abc"),
        ("OK id=1rQ2ab-0004Ux-Ab", "1rQ2ab-0004Ux-Ab"),
        ("2.0.0 OK  1700000000 d9443c01a7336-1b8a.204 - gsmtp", "d9443c01a7336-1b8a.204"),
        ("2.6.0 <x@y> [InternalId=123456789, Hostname=H] 10 bytes Queued mail for delivery", "123456789"),
        ("2.0.0 4B2Cd5 Message accepted for delivery", "4B2Cd5"),
        (
            "Ok 0100018c1f2e3d4c-5b6a7988-1122-3344-5566-77889900aabb-000000",
            "0100018c1f2e3d4c-5b6a7988-1122-3344-5566-77889900aabb-000000",
        ),
        ("Great success", ""),
    ],
)
def test_the_servers_own_name_for_a_message_is_read_where_its_kind_is_known(text: str, queue_id: str) -> None:
    assert Reply(250, text).queue_id == queue_id


@pytest.mark.parametrize(
    ("code", "text", "enhanced"),
    [
        (550, "5.1.1 unknown", "5.1.1"),
        (250, "2.0.0", "2.0.0"),
        (450, "5.1.1 contradiction", ""),  # the numeric code wins
        (550, "5.1 short", ""),
        (550, "5.1.1000 long", ""),
    ],
)
def test_an_enhanced_code_counts_when_it_agrees_with_the_code(code: int, text: str, enhanced: str) -> None:
    assert Reply(code, text).enhanced == enhanced


def test_an_answers_text_is_one_short_printable_line_without_secrets() -> None:
    assert one_line("a\r\n\x1b[31mb\x00  c\u2028d") == "a [31mb c d"
    assert one_line("x" * 5000) == "x" * 997 + "..."
    assert one_line("you said hunter2", ["hunter2"]) == "you said ***"
