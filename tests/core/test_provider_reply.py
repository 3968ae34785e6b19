"""What a provider said: kept in its own words, without anybody's address, and grouped by what it means."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hubd.core.model import Answer, Signal, Stage
from hubd.core.provider_reply import MASK, grouped_by, masked, provider_reply

_ATEXT = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$%&'*+/=?^_`{|}~-."
LOCAL = st.text(_ATEXT, min_size=3, max_size=30).filter(lambda text: text.strip(".") == text)
#: What no reply says by itself, so that finding it anywhere in a text means that it was left there.
NAME = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=9, max_size=20)
DOMAIN = st.sampled_from(["example.com", "mail.acme.example", "xn--bcher-kva.example", "[192.0.2.1]"])
AROUND = st.sampled_from(
    ["{}", "<{}>", "'{}'", '"{}"', "({})", "[{}]", "rfc822;{}", "smtp:{}", "<{}>:", "{},", "{}.", "to={}"]
).flatmap(lambda form: st.sampled_from([form, f"user:{form}", f"{form}... User unknown"])) | st.sampled_from(
    ["bounces+{}@acme.example", "https://bl.example/q?e={}&x=1"]
)
WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=80)


def answer(text: str, code: int = 550, *, verbatim: bool = True, **more: object) -> Answer:
    return Answer(stage=Stage.RCPT, code=code, text=text, verbatim=verbatim, **more)  # type: ignore[arg-type]


@given(before=WORDS, after=WORDS, around=AROUND, local=LOCAL, domain=DOMAIN)
def test_no_address_is_left_in_a_reply_wherever_it_stands(
    before: str, after: str, around: str, local: str, domain: str
) -> None:
    address = f"{local}@{domain}"
    text = masked(f"{before} {around.format(address)} {after}")
    assert address not in text
    assert MASK in text


@given(before=WORDS, after=WORDS, around=AROUND, local=NAME, domain=DOMAIN, upper=st.booleans())
@pytest.mark.parametrize("sign", ["@", "%40", "=40", "+40", "=", "\uff20", "#", "%", " at "])
def test_the_recipient_is_not_named_in_whatever_form(
    sign: str, before: str, after: str, around: str, local: str, domain: str, upper: bool
) -> None:
    assume(local not in before and local not in after)
    shown = (local.upper() if upper else local) + sign + domain
    text = masked(f"{before} {around.format(shown)} {after}", f"{local}@{domain}")
    assert local not in text.lower()


@given(before=WORDS, after=WORDS, number=st.integers(1_000_000_000, 999_999_999_999_999))
@pytest.mark.parametrize("form", ["+{}", "00{}", "%2B{}", "{}", "'{}'"])
def test_the_number_of_a_recipient_is_not_in_a_reply(form: str, before: str, after: str, number: int) -> None:
    assume(str(number) not in before + after)
    text = masked(f"{before} {form.format(number)} {after}", f"+{number}")
    assert str(number)[-7:] not in text or str(number)[-7:] in before + after


@given(text=WORDS, recipient=st.sampled_from(["", "ann.smith@example.com", "+15005550006"]))
@example(text="*** a@b.example", recipient="")
def test_masking_twice_is_masking_once(text: str, recipient: str) -> None:
    once = masked(text, recipient)
    assert masked(once, recipient) == once


@pytest.mark.parametrize(
    "text",
    [
        "5.7.1 Service unavailable; client [203.0.113.7] blocked using bl.example; see https://bl.example/q",
        "<DATA>: Data command rejected: limit of 400 rcpts per 24 hours reached",
        "5.4.5 Daily limit exceeded. See https://support.google.com/a/answer/166852 d94c01a7-si12.4 gsmtp",
        "max size=4096. Try later, 1+400=401",
        "User unknown (info)",
    ],
)
def test_what_is_no_address_stays_as_it_was_said(text: str) -> None:
    assert masked(text, "info@example.com") == text


@pytest.mark.parametrize(
    ("text", "recipient", "shown"),
    [
        ("<jane.doe@example.com>: no", "jane.doe@example.com", "<***@example.com>: no"),
        ("jane.doe... User unknown", "jane.doe@example.com", "***... User unknown"),
        ("No such user: JANE.DOE", "jane.doe@example.com", "No such user: ***"),
        ("e=jane%40example.com&x=1", "jane@example.com", "e=***%40example.com&x=1"),
        ('"jane doe"@example.com is not here', "x@y.example", "***@example.com is not here"),
        ("The 'To' number +15005550001 is not valid", "+15005550001", "The 'To' number *** is not valid"),
        ("(500) 555-0001 is a landline", "+15005550001", "*** is a landline"),
    ],
)
def test_only_what_names_a_person_is_masked(text: str, recipient: str, shown: str) -> None:
    assert masked(text, recipient) == shown


def test_a_reply_begins_with_its_code_or_the_providers_own_number() -> None:
    assert provider_reply(answer("5.1.1 no such user"), "a@b.example") == "550 5.1.1 no such user"
    refused = Answer(stage=Stage.REQUEST, code=400, vendor="21211", text="Invalid 'To'", verbatim=True)
    assert provider_reply(refused, "+15005550001") == "21211: Invalid 'To'"
    stray = answer("421 4.4.2 idle", 0, signal=Signal.DROPPED)
    assert provider_reply(stray, "a@b.example") == "421 4.4.2 idle"


def test_our_own_words_are_not_shown_as_the_providers() -> None:
    assert provider_reply(answer("the server closed the connection", 0, verbatim=False), "a@b.example") == ""


def test_an_address_that_was_cut_off_is_left_out() -> None:
    assert provider_reply(answer("rejected: jane.do..."), "jane.doe@b.example") == "550 rejected: ..."


@given(
    ids=st.tuples(*[st.text("0123456789ABCDEF", min_size=9, max_size=14)] * 2).filter(
        lambda both: all(any(char.isdigit() for char in each) for each in both)
    ),
    names=st.tuples(NAME, NAME),
    seconds=st.tuples(st.integers(0, 99_999), st.integers(0, 99_999)),
)
def test_ids_addresses_and_times_do_not_split_a_group(
    ids: tuple[str, str], names: tuple[str, str], seconds: tuple[int, int]
) -> None:
    first, second = (
        grouped_by(masked(f"450 4.2.0 <{name}@{domain}>: {number} greylisted for {wait} s ({number}.{wait})"))
        for number, name, wait, domain in zip(ids, names, seconds, ("a.example", "b.example"), strict=True)
    )
    assert first == second


def test_other_codes_and_other_words_are_other_groups() -> None:
    replies = [
        "550 5.1.1 no such user", "550 5.7.1 no such user", "554 5.1.1 no such user", "550 5.1.1 disabled",
        "21211: no such user", "21614: no such user",
    ]  # fmt: skip
    assert len({grouped_by(reply) for reply in replies}) == len(replies)


@given(text=WORDS)
def test_any_text_has_a_group_and_a_mask(text: str) -> None:
    assert isinstance(grouped_by(masked(text, "ann@example.com")), str)
    assert grouped_by(MASK) == MASK
