"""What something that came back leads to."""

from __future__ import annotations

import itertools
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.inbound_effects import AT_ONCE, Effect, effect_of, too_many
from hubd.core.inbound_matching import How, Match
from hubd.core.lifecycle import advance_delivery
from hubd.core.measures import Measure
from hubd.core.model import Channel, DeliveryState
from hubd.core.reasons import SENTENCES
from tests.core.test_inbound_matching import delivery

D: TypeAlias = DeliveryState
K: TypeAlias = ItemKind


def effect(
    kind: ItemKind,
    state: DeliveryState = D.SENT,
    how: How | None = How.TOKEN,
    *,
    doubtful: bool = False,
    opted_out: bool = False,
    address: str = "ann@example.com",
    channel: Channel = Channel.EMAIL,
    **values: object,
) -> Effect:
    about = Reference(address=address, channel=channel)
    item = Item(key="1", kind=kind, at=1.0, about=about, **values)  # type: ignore[arg-type]
    found = delivery(state=state, doubtful=doubtful, channel=channel)
    return effect_of(item, None if how is None else Match(delivery=found, how=how), opted_out=opted_out)


def end(kind: ItemKind, state: DeliveryState, how: How = How.TOKEN, *, doubtful: bool = False) -> D:
    for move in effect(kind, state, how, doubtful=doubtful).moves:
        state = advance_delivery(state, move)
    return state


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (K.DELIVERED, D.SENT, D.DELIVERED),
        (K.DELIVERED, D.IN_DOUBT, D.DELIVERED),
        (K.DELIVERED, D.SENDING, D.DELIVERED),
        (K.DELIVERED, D.UNDELIVERED, D.UNDELIVERED),
        (K.BOUNCE, D.SENT, D.UNDELIVERED),
        (K.BOUNCE, D.DELIVERED, D.DELIVERED),
        (K.BOUNCE, D.IN_DOUBT, D.UNDELIVERED),
        (K.DELAYED, D.SENT, D.SENT),
        (K.DELAYED, D.IN_DOUBT, D.SENT),
        (K.REPLY, D.IN_DOUBT, D.SENT),
        (K.COMPLAINT, D.SENT, D.SENT),
        (K.BOUNCE, D.FAILED, D.FAILED),
        (K.DELIVERED, D.PENDING, D.PENDING),
    ],
)
def test_states_move_forward(kind: ItemKind, before: D, after: D) -> None:
    assert end(kind, before) is after


def test_what_was_to_be_sent_again_after_a_doubt_is_not_if_it_had_arrived() -> None:
    assert end(K.DELIVERED, D.PENDING, doubtful=True) is D.DELIVERED
    assert end(K.BOUNCE, D.DEFERRED, doubtful=True) is D.UNDELIVERED


def test_a_recipient_alone_settles_no_doubt() -> None:
    assert end(K.DELIVERED, D.IN_DOUBT, How.RECIPIENT) is D.IN_DOUBT
    assert end(K.BOUNCE, D.SENT, How.RECIPIENT) is D.UNDELIVERED


def test_every_item_is_legal_in_every_state() -> None:
    for kind, state, how, doubtful in itertools.product(K, D, [*How, None], [True, False]):
        check_legal(kind, state, how, doubtful)


def check_legal(kind: ItemKind, state: D, how: How | None, doubtful: bool) -> None:
    found = effect(kind, state, how, doubtful=doubtful)
    for move in found.moves:
        state = advance_delivery(state, move)
    if how is None:
        assert found.moves == ()
        assert found.measure is None
    again = effect(kind, state, how, doubtful=doubtful).moves
    if how is not None and how is not How.RECIPIENT:
        assert not again, "the same item again changes nothing"


@pytest.mark.parametrize("code", AT_ONCE)
def test_an_address_that_does_not_exist_is_suppressed_at_once(code: str) -> None:
    found = effect(K.BOUNCE, enhanced=code)
    assert (found.suppress, found.soft, found.reason) == (AT_ONCE[code], False, AT_ONCE[code])


@pytest.mark.parametrize("code", ["5.2.1", "5.2.2", "5.7.1", "4.4.7", "5.0.0", ""])
def test_every_other_bounce_is_soft(code: str) -> None:
    found = effect(K.BOUNCE, enhanced=code, permanent=True)
    assert (found.suppress, found.soft) == ("", True)
    assert found.reason in SENTENCES


def test_a_bounce_of_somebody_elses_message_suppresses_nobody() -> None:
    found = effect(K.BOUNCE, how=None, enhanced="5.1.1")
    assert (found.suppress, found.soft, found.listed) == ("", False, True)


def test_a_report_that_anybody_could_write_suppresses_nobody_at_once() -> None:
    assert effect(K.BOUNCE, how=How.RECIPIENT, enhanced="5.1.1").soft
    assert effect(K.BOUNCE, enhanced="5.1.1", address="forwarded@example.net").soft
    assert effect(K.COMPLAINT, how=None).suppress == ""


def test_a_number_that_takes_no_texts_is_suppressed_at_once() -> None:
    assert effect(K.BOUNCE, channel=Channel.SMS, vendor="30006").suppress == "not_a_mobile_number"
    assert effect(K.BOUNCE, channel=Channel.SMS, vendor="21610").suppress == "opted_out"
    assert effect(K.BOUNCE, channel=Channel.SMS, vendor="30003").soft


def test_a_complaint_suppresses_at_once() -> None:
    found = effect(K.COMPLAINT)
    assert (found.suppress, found.measure) == ("complaint", Measure.COMPLAINTS)


def test_stop_alone_opts_out_whoever_sends_it() -> None:
    found = effect(K.REPLY, how=None, text="Stop.")
    assert (found.kind, found.suppress, found.hold) == (K.OPT_OUT, "opted_out", False)


def test_a_text_with_stop_in_it_holds_and_suppresses_nobody() -> None:
    found = effect(K.REPLY, text="please stop this")
    assert (found.kind, found.suppress, found.hold) == (K.REPLY, "", True)
    assert not effect(K.REPLY, text="please stop this", opted_out=True).hold, "nothing is sent anyway"


def test_yes_undoes_an_opt_out_and_is_else_a_reply() -> None:
    assert effect(K.REPLY, text="Yes").kind is K.REPLY
    found = effect(K.REPLY, text="Yes", opted_out=True)
    assert (found.kind, found.allow) == (K.OPT_IN, True)


def test_only_who_has_the_message_or_the_phone_undoes_an_opt_out() -> None:
    assert not effect(K.REPLY, how=How.RECIPIENT, text="START", opted_out=True).allow
    assert effect(K.REPLY, how=None, text="START", opted_out=True, channel=Channel.SMS).allow


@pytest.mark.parametrize("kind", [K.AUTOMATIC, K.DELIVERED, K.DELAYED])
def test_what_says_little_is_not_listed(kind: ItemKind) -> None:
    found = effect(kind)
    assert (found.listed, found.measure, found.suppress) == (False, None, "")


@given(st.lists(st.floats(0, 100), max_size=8), st.integers(2, 5), st.integers(1, 60))
def test_soft_bounces_suppress_when_enough_of_them_are_near(days: list[float], limit: int, span: int) -> None:
    times = [day * 86_400 for day in days]
    near = any(sum(0 <= other - first <= span * 86_400 for other in times) >= limit for first in times)
    assert too_many(times, limit=limit, days=span) is near
