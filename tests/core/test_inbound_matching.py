"""Whose message it is: what proves most comes first, and nothing is guessed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.inbound_matching import Candidate, How, Match, named_by, whose
from hubd.core.model import Channel, DeliveryState
from hubd.core.tokens import Purpose, Tokens

TOKENS = Tokens(b"k" * 32)
BOUNCE, REPLY = ItemKind.BOUNCE, ItemKind.REPLY


def delivery(number: int = 7, **values: object) -> Candidate:
    known: dict[str, object] = {
        "campaign_id": 1,
        "channel": Channel.EMAIL,
        "address_key": "ann@example.com",
        "state": DeliveryState.SENT,
        "doubtful": False,
        "content_hashes": frozenset({"ab"}),
        "tried_at": 100.0 + number,
    }
    return Candidate(delivery_id=number, **{**known, **values})  # type: ignore[arg-type]


def item(kind: ItemKind = BOUNCE, **about: object) -> Item:
    return Item(key="1", kind=kind, at=200.0, about=Reference(**about))  # type: ignore[arg-type]


def match(what: Item, *known: Candidate, recent: Sequence[Candidate] = ()) -> Match | None:
    by_id = {each.delivery_id: each for each in known}
    return whose(what, named_by(what, TOKENS), by_id, recent, TOKENS)


def how(what: Item, *known: Candidate, recent: Sequence[Candidate] = ()) -> tuple[int, How] | None:
    found = match(what, *known, recent=recent)
    return None if found is None else (found.delivery.delivery_id, found.how)


TOKEN = TOKENS.of(Purpose.BOUNCE, 7)
NAME = TOKENS.message_id(7, "ab", "acme.example")


def test_each_way_finds_the_delivery() -> None:
    seven = delivery(provider_ids=frozenset({"SM7"}))
    assert how(item(token=TOKEN), seven) == (7, How.TOKEN)
    assert how(item(envelope_id=TOKEN.upper()), seven) == (7, How.TOKEN)
    assert how(item(message_ids=("<other@x.example>", NAME)), seven) == (7, How.MESSAGE_ID)
    assert how(item(provider_ids=("SM7",)), seven) == (7, How.PROVIDER)
    assert how(item(delivery=7, address="ann@example.com"), delivery()) == (7, How.PROVIDER)
    assert how(item(address="ann@example.com"), recent=[seven]) == (7, How.RECIPIENT)


def test_a_token_counts_before_everything_else() -> None:
    what = item(token=TOKEN, message_ids=(TOKENS.message_id(8, "ab", "acme.example"),))
    assert how(what, delivery(7), delivery(8)) == (7, How.TOKEN)


def test_what_was_ours_and_is_gone_is_about_no_other_message() -> None:
    other = delivery(8)
    assert match(item(token=TOKEN, address="ann@example.com"), recent=[other]) is None


def test_a_message_id_that_somebody_made_up_is_none() -> None:
    guessed = "<" + "0" * 32 + "@acme.example>"
    number = TOKENS.read_message_id(guessed)
    assert number is not None
    assert match(item(message_ids=(guessed,)), delivery(number)) is None


def test_a_message_id_of_an_earlier_content_or_version_is_known() -> None:
    earlier = "<" + "1" * 32 + "@acme.example>"
    seven = delivery(content_hashes=frozenset({"cd", "ab"}), message_ids=frozenset({earlier}))
    assert how(item(message_ids=(NAME,)), seven) == (7, How.MESSAGE_ID)
    assert how(item(message_ids=(earlier,), address="ann@example.com"), recent=[seven]) == (7, How.MESSAGE_ID)


def test_an_unsubscribe_link_proves_no_bounce() -> None:
    link = TOKENS.of(Purpose.UNSUBSCRIBE, 7)
    assert how(item(ItemKind.OPT_OUT, token=link), delivery()) == (7, How.TOKEN)
    assert match(item(token=link), delivery()) is None


@pytest.mark.parametrize(
    "about",
    [
        {"delivery": 7, "address": "bob@example.com"},
        {"delivery": 7, "address": "ann@example.com", "provider_ids": ("another",)},
        {"provider_ids": ("SM7",), "address": "bob@example.com"},
    ],
)
def test_another_program_on_the_same_account_reports_nothing_of_ours(about: dict[str, object]) -> None:
    assert match(item(BOUNCE, **about), delivery(provider_ids=frozenset({"SM7"}))) is None


def test_a_report_about_somebody_elses_message_is_not_about_ours_to_the_same_person() -> None:
    theirs = item(message_ids=("<x@else.example>",), address="ann@example.com")
    assert match(theirs, recent=[delivery()]) is None
    by_mail = dataclasses.replace(theirs, kind=REPLY)
    assert match(by_mail, recent=[delivery()]) is None


def test_a_provider_that_renames_messages_names_them_after_its_answer() -> None:
    what = item(message_ids=("<0102018@eu-west-1.amazonses.com>",), address="ann@example.com")
    assert how(what, recent=[delivery(provider_ids=frozenset({"0102018"}))]) == (7, How.PROVIDER)


def test_of_several_messages_a_report_means_none_and_a_reply_the_newest() -> None:
    both = [delivery(7), delivery(8)]
    assert match(item(address="ann@example.com"), recent=both) is None
    assert how(item(REPLY, address="ann@example.com"), recent=both) == (8, How.RECIPIENT)


@pytest.mark.parametrize("state", ["pending", "deferred", "failed", "skipped"])
def test_what_never_left_is_not_reported_on(state: str) -> None:
    waiting = delivery(state=DeliveryState(state))
    assert match(item(address="ann@example.com"), recent=[waiting]) is None


ids = st.integers(1, 4)
abouts = st.builds(
    Reference,
    token=st.one_of(st.just(""), ids.map(lambda n: TOKENS.of(Purpose.BOUNCE, n)), st.text(max_size=24)),
    message_ids=st.lists(
        st.one_of(st.text(max_size=8), ids.map(lambda n: TOKENS.message_id(n, "ab", "a.example"))), max_size=3
    ).map(tuple),
    delivery=st.one_of(st.none(), ids),
    provider_ids=st.lists(st.sampled_from(["p1", "p2", "px"]), max_size=2).map(tuple),
    address=st.sampled_from(["", "ann@example.com", "bob@example.com"]),
)


@given(abouts, st.sampled_from(ItemKind), st.lists(ids, unique=True, max_size=4))
def test_a_match_is_one_of_the_candidates_and_certain_only_with_evidence(
    about: Reference, kind: ItemKind, numbers: list[int]
) -> None:
    candidates = [delivery(n, provider_ids=frozenset({f"p{n}"})) for n in numbers]
    what = Item(key="k", kind=kind, at=1.0, about=about)
    found = match(what, *candidates, recent=candidates)
    if found is not None:
        assert found.delivery in candidates
        if found.certain:
            assert about.token or about.message_ids or about.delivery or about.provider_ids
