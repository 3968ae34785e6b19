"""Promise: a text message costs what the network and Twilio's calculator say it costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.addresses import sms_sender
from hubd.core.model import Channel, Content
from hubd.core.sms import TEXT_LIMIT, Segments, _clusters, _units, compile_sms, segments
from hubd.errors import BadInput, BadTemplate

# 3GPP TS 23.038 §6.2.1, code by code: written apart from the program's own table.
ALPHABET = {
    0x00: "@", 0x01: "£", 0x02: "$", 0x03: "¥", 0x04: "è", 0x05: "é", 0x06: "ù", 0x07: "ì",
    0x08: "ò", 0x09: "Ç", 0x0A: "\n", 0x0B: "Ø", 0x0C: "ø", 0x0D: "\r", 0x0E: "Å", 0x0F: "å",
    0x10: "Δ", 0x11: "_", 0x12: "Φ", 0x13: "Γ", 0x14: "Λ", 0x15: "Ω", 0x16: "Π", 0x17: "Ψ",
    0x18: "Σ", 0x19: "Θ", 0x1A: "Ξ", 0x1C: "Æ", 0x1D: "æ", 0x1E: "ß", 0x1F: "É",
    0x24: "¤", 0x40: "¡", 0x5B: "Ä", 0x5C: "Ö", 0x5D: "Ñ", 0x5E: "Ü", 0x5F: "§",
    0x60: "¿", 0x7B: "ä", 0x7C: "ö", 0x7D: "ñ", 0x7E: "ü", 0x7F: "à",
}  # fmt: skip
BASIC = "".join(ALPHABET.get(code, chr(code)) for code in range(128) if code != 0x1B)
EXTENSION = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
EXTENDED = "".join(EXTENSION.values())


@pytest.mark.parametrize("character", BASIC)
def test_a_character_of_the_default_alphabet_is_one_septet(character: str) -> None:
    assert segments(character) == Segments("gsm7", 1, 1)


@pytest.mark.parametrize("character", EXTENDED)
def test_a_character_of_the_extension_table_is_two_septets(character: str) -> None:
    assert segments(character) == Segments("gsm7", 2, 1)


@pytest.mark.parametrize("character", "ç`ÀêěЖ漢\x1b\t\0\u00a0’")
def test_any_other_character_makes_the_whole_text_ucs2(character: str) -> None:
    assert segments("abc" + character) == Segments("ucs2", 4, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Segments("gsm7", 0, 0)),
        ("a" * 160, Segments("gsm7", 160, 1)),
        ("a" * 161, Segments("gsm7", 161, 2)),
        ("a" * 306, Segments("gsm7", 306, 2)),
        ("a" * 307, Segments("gsm7", 307, 3)),
        ("€" * 80, Segments("gsm7", 160, 1)),
        ("€" * 81, Segments("gsm7", 162, 2)),
        ("a" * 152 + "€" + "a" * 152, Segments("gsm7", 306, 3)),  # the pair moves whole: 152 | 2 + 151 | 1
        ("a" * 151 + "€" + "a" * 153, Segments("gsm7", 306, 2)),
        ("a" * 158 + "€", Segments("gsm7", 160, 1)),
        ("a" * 159 + "€", Segments("gsm7", 161, 2)),
        ("é" * 160, Segments("gsm7", 160, 1)),
        ("漢" * 70, Segments("ucs2", 70, 1)),
        ("漢" * 71, Segments("ucs2", 71, 2)),
        ("漢" * 134, Segments("ucs2", 134, 2)),
        ("漢" * 135, Segments("ucs2", 135, 3)),
        ("😀" * 35, Segments("ucs2", 70, 1)),
        ("😀" * 36, Segments("ucs2", 72, 2)),
        ("😀" * 66, Segments("ucs2", 132, 2)),
        ("😀" * 67, Segments("ucs2", 134, 3)),  # 33 pairs fit in 67 units, not 33 and a half
        ("漢" + "€" * 69, Segments("ucs2", 70, 1)),  # one unit each in UCS-2
        ("漢" * 66 + "e\u0301" + "漢" * 66, Segments("ucs2", 134, 3)),  # an accent stays with its letter
        ("漢" * 66 + "🇩🇪" + "漢" * 64, Segments("ucs2", 134, 3)),  # a flag is two regional letters
        ("漢" * 60 + "👨\u200d👩\u200d👧" + "漢" * 66, Segments("ucs2", 134, 3)),
        ("漢" * 65 + "👍🏽" + "漢" * 65, Segments("ucs2", 134, 3)),
        ("e" + "\u0301" * 200, Segments("ucs2", 201, 3)),  # cut where no segment could hold it
    ],
    ids=range(26),
)
def test_segments_at_the_edges(text: str, expected: Segments) -> None:
    assert segments(text) == expected


@pytest.mark.parametrize("text", ["a" * 1601, "漢" * 1601, "😀" * 801])
def test_a_text_above_1600_characters_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="1600"):
        segments(text)
    assert segments(text[:800]).segments > 1


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(BadInput, match="surrogate"):
        segments("a\ud83d")


GSM_TEXT = st.text(st.sampled_from(BASIC + EXTENDED), max_size=500)
ANY_TEXT = st.text(
    st.sampled_from("ab€é漢字😀🇩🇪👍🏽\u200d\u0301\n") | st.characters(exclude_categories=["Cs"]), max_size=400
)


def cut(text: str, size: dict[str, int], capacity: int) -> list[str]:
    """The segments themselves, filled one character at a time."""
    found = [""]
    for character in text:
        if sum(size.get(each, 1) for each in found[-1] + character) > capacity:
            found.append("")
        found[-1] += character
    return found


@given(text=GSM_TEXT)
def test_gsm_segments_are_those_of_a_message_cut_without_splitting_a_pair(text: str) -> None:
    size = dict.fromkeys(EXTENDED, 2)
    units = sum(size.get(character, 1) for character in text)
    cost = segments(text)
    assert (cost.encoding, cost.units) == ("gsm7", units)
    assert cost.segments == (0 if not text else 1 if units <= 160 else len(cut(text, size, 153)))


@given(text=ANY_TEXT)
def test_ucs2_segments_hold_all_units_and_waste_less_than_a_cluster_each(text: str) -> None:
    cost = segments(text)
    if cost.encoding == "gsm7":
        assert set(text) <= set(BASIC + EXTENDED)
        return
    assert cost.units == len(text.encode("utf-16-be")) // 2
    if cost.units <= 70:
        assert cost.segments == 1
    else:
        pairs_only = cut(text, {character: 2 for character in text if character > "\uffff"}, 67)
        assert cost.segments >= len(pairs_only) > 1
        assert cost.segments <= cost.units // 34 + 2 or any(mark in text for mark in "\u200d\u0301")


@given(text=ANY_TEXT, more=ANY_TEXT)
def test_a_longer_text_never_costs_less(text: str, more: str) -> None:
    assert segments(text + more).segments >= segments(text).segments


@given(text=st.text(st.sampled_from("abcЖ漢字é\nक"), max_size=400) | ANY_TEXT)
def test_ucs2_segments_are_those_of_its_clusters_in_turn(text: str) -> None:
    cost = segments(text)
    if cost.encoding == "gsm7" or cost.units <= 70:
        return
    count, free = 1, 67
    for size in map(_units, _clusters(text)):
        count, free = (count, free - size) if size <= free else (count + 1, 67 - size)
    assert cost.segments == count


# The plan


def content(text: str) -> Content:
    return Content(channel=Channel.SMS, text=text)


def test_a_plan_renders_the_text_and_counts_its_segments() -> None:
    plan = compile_sms(content("Hi {{ first_name }}, {{ offer | default('see you') }}"))
    assert plan.fields == {"first_name", "offer"}
    sms = plan.render({"first_name": "Ann & Bob"})
    assert (sms.text, sms.encoding, sms.segments) == ("Hi Ann & Bob, see you", "gsm7", 1)
    assert plan.render({"first_name": "安娜" * 40}).segments == 2


def test_a_missing_field_fails_this_recipient() -> None:
    with pytest.raises(BadTemplate) as caught:
        compile_sms(content("{{ first_name }}")).render({})
    assert caught.value.code == "missing_field"


@pytest.mark.parametrize(
    ("value", "problem"), [("x" * (TEXT_LIMIT + 1), "1600"), (" \n", "empty"), ("\ud800", "surrogate")]
)
def test_a_text_that_cannot_be_sent_fails_this_recipient(value: str, problem: str) -> None:
    with pytest.raises(BadTemplate, match=problem):
        compile_sms(content("{{ x }}")).render({"x": value})


def test_an_empty_text_is_refused_when_it_is_compiled() -> None:
    with pytest.raises(BadTemplate, match="empty"):
        compile_sms(content(" "))


@pytest.mark.parametrize(
    "sender",
    ["+15005550006", "12345", "ACME", "Acme Shop", "A-B_C&D+E", "4you", "R&D 24-7", "ElevenChars"],
)
def test_a_text_comes_from_what_twilio_takes_as_a_sender(sender: str) -> None:
    assert sms_sender(sender) == sender


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "TwelveLetter",
        "12 34",
        "&-_+",
        " ACME",
        "ACME ",
        "Caf\u00e9",
        "a.b",
        "Acme!",
        "+1",
        "ACME\n",
        "123456789",
    ],
)
def test_a_sender_that_twilio_refuses_is_refused(sender: str) -> None:
    with pytest.raises(BadInput):
        sms_sender(sender)
