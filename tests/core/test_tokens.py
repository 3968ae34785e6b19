"""Names that go out and come back: each finds its delivery, and nobody can make one up."""

from __future__ import annotations

import re

from hypothesis import assume, given
from hypothesis import strategies as st

from hubd.core.tokens import TOKEN_LENGTH, Purpose, Tokens

TOKENS = Tokens(b"k" * 32)
deliveries = st.integers(1, 2**40 - 1)
purposes = st.sampled_from(Purpose)


@given(deliveries, purposes)
def test_a_token_names_its_delivery_whatever_a_mail_server_does_to_its_case(
    delivery: int, purpose: Purpose
) -> None:
    token = TOKENS.of(purpose, delivery)
    assert re.fullmatch("[a-z2-7]{24}", token), "a local part, an SES tag and a path take it as it is"
    assert len(token) == TOKEN_LENGTH
    assert TOKENS.read(purpose, token) == TOKENS.read(purpose, token.upper()) == delivery
    assert TOKENS.of(purpose, delivery) == token


@given(deliveries, st.integers(0, 119))
def test_a_token_with_one_bit_changed_is_none(delivery: int, bit: int) -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    token = TOKENS.of(Purpose.BOUNCE, delivery)
    at, within = divmod(bit, 5)
    other = alphabet[alphabet.index(token[at]) ^ 1 << within]
    assert TOKENS.read(Purpose.BOUNCE, token[:at] + other + token[at + 1 :]) is None


@given(deliveries)
def test_a_token_is_worthless_for_another_purpose_and_with_another_key(delivery: int) -> None:
    token = TOKENS.of(Purpose.UNSUBSCRIBE, delivery)
    assert TOKENS.read(Purpose.BOUNCE, token) is None
    assert Tokens(b"j" * 32).read(Purpose.UNSUBSCRIBE, token) is None


@given(st.text(max_size=40), purposes)
def test_no_text_is_taken_for_a_token(text: str, purpose: Purpose) -> None:
    assert TOKENS.read(purpose, text) is None


def test_tokens_of_deliveries_next_to_each_other_have_nothing_in_common() -> None:
    tokens = [TOKENS.of(Purpose.BOUNCE, delivery) for delivery in range(1, 200)]
    for place in range(TOKEN_LENGTH):
        assert len({token[place] for token in tokens}) > 16, "no place shows the number"


@given(deliveries, st.text("0123456789abcdef", min_size=1, max_size=64))
def test_a_message_id_finds_its_delivery(delivery: int, content_hash: str) -> None:
    name = TOKENS.message_id(delivery, content_hash, "acme.example")
    assert re.fullmatch(r"<[0-9a-f]{32}@acme\.example>", name)
    assert TOKENS.read_message_id(name) == TOKENS.read_message_id(f" {name.upper()}\r\n") == delivery


@given(deliveries, deliveries)
def test_message_ids_depend_on_delivery_content_and_key(one: int, other: int) -> None:
    assume(one != other)
    first = TOKENS.message_id(one, "ab", "acme.example")
    assert first == TOKENS.message_id(one, "ab", "acme.example")
    assert first != TOKENS.message_id(other, "ab", "acme.example")
    assert first != TOKENS.message_id(one, "ac", "acme.example")
    assert first != Tokens(b"j" * 32).message_id(one, "ab", "acme.example")


@given(st.text(max_size=80))
def test_other_message_ids_name_nothing(text: str) -> None:
    assume(re.fullmatch(r"\s*<[0-9a-fA-F]{32}@[^<>@\s]+>\s*", text) is None)
    assert TOKENS.read_message_id(text) is None


def test_a_provider_has_a_token_of_its_own() -> None:
    token = TOKENS.of_name("webhook", "grid")
    assert token == TOKENS.of_name("webhook", "grid")
    assert len({token, TOKENS.of_name("webhook", "text"), TOKENS.of_name("other", "grid")}) == 3
