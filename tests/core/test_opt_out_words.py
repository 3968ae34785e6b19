"""Opt-out words: alone they count, among others they are for a person."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.opt_out_words import MOST_READ, OPT_IN, OPT_OUT, Wish, wish_of

OUT = [
    *("STOP", "stop.", " Stop! ", "STOPALL", "stop all", "Unsubscribe", "CANCEL", "End", "quit", "REVOKE"),
    *("OPTOUT", "opt-out", "Opt out", "REMOVE", "TD", "ARRET", "Arrêt", "ARRÊTER", "désabonner"),
    *("Abmelden", "ABBESTELLEN", "Kündigen", "STOPP!!!", "Baja", "Dar de baja", "¡BASTA!", "Cancellami"),
    *("ＳＴＯＰ", '"STOP"', "stop\n\nSent from my iPhone", "STOP\n-- \nAnn Smith\nAcme GmbH"),
    *("Stop\n\nVon meinem iPhone gesendet", "STOP\nGet Outlook for iOS", "\N{OCTAGONAL SIGN} STOP"),
]
IN = ["START", "unstop", "Yes", "YES!", "Ja", "oui", "Sí"]
UNCLEAR = [
    *("Please stop writing to me", "STOP please", "how do I unsubscribe?", "we meet at the bus stop"),
    *("Bitte abmelden, danke", "Je veux me désabonner", "quiero darme de baja", "please opt me out, opt out"),
]
NONE = [
    *("", "Thank you!", "See you at the end of the week", "nonstop flights", "I will call you", "12"),
    *("Start is at nine, yes?", "stopover", "\N{THUMBS UP SIGN}"),
]


@pytest.mark.parametrize("text", OUT)
def test_an_opt_out_is_the_whole_text(text: str) -> None:
    assert wish_of(text) is Wish.OPT_OUT


@pytest.mark.parametrize("text", IN)
def test_so_is_what_undoes_it(text: str) -> None:
    assert wish_of(text) is Wish.OPT_IN


@pytest.mark.parametrize("text", UNCLEAR)
def test_a_text_that_has_a_word_in_it_is_for_a_person(text: str) -> None:
    assert wish_of(text) is Wish.UNCLEAR


@pytest.mark.parametrize("text", NONE)
def test_other_texts_ask_for_nothing(text: str) -> None:
    assert wish_of(text) is Wish.NONE


@given(
    st.sampled_from(sorted(OPT_OUT)),
    st.text(st.characters(categories=["P", "Z"]), max_size=10),
    st.text(st.characters(categories=["P", "Z"]), max_size=10),
    st.booleans(),
)
def test_neither_case_nor_punctuation_around_it_changes_a_word(
    word: str, before: str, after: str, upper: bool
) -> None:
    decomposed = unicodedata.normalize("NFKD", before + after)
    if any(unicodedata.category(char)[0] not in "PZ" for char in decomposed) or before.endswith("-"):
        return  # such as a degree sign with a letter in it; or the mark of a signature
    assert wish_of(f"{before}{word.upper() if upper else word}{after}") is Wish.OPT_OUT


@given(st.text(max_size=300))
def test_any_text_has_a_meaning(text: str) -> None:
    assert wish_of(text) in Wish


def test_a_reply_of_any_length_is_read_only_so_far() -> None:
    assert wish_of("a " * MOST_READ + "stop") is Wish.NONE


def test_no_word_means_both() -> None:
    assert not OPT_OUT & OPT_IN
