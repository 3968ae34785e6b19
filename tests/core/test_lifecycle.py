"""What may happen to a campaign and to a delivery: every state x event pair of both tables."""

from __future__ import annotations

import itertools
import re
from typing import TypeAlias

import pytest

from hubd.core.lifecycle import (
    CAMPAIGN,
    DELIVERY,
    CampaignEvent,
    DeliveryEvent,
    advance_campaign,
    advance_delivery,
)
from hubd.core.model import CampaignState, Counts, DeliveryState
from hubd.errors import InvalidTransition

C: TypeAlias = CampaignState
E: TypeAlias = CampaignEvent
D: TypeAlias = DeliveryState
V: TypeAlias = DeliveryEvent

CAMPAIGN_PAIRS = list(itertools.product(C, E))
DELIVERY_PAIRS = list(itertools.product(D, V))


@pytest.mark.parametrize(("state", "event"), CAMPAIGN_PAIRS)
def test_every_pair_of_a_campaign_goes_where_the_table_says_or_is_refused(state: C, event: E) -> None:
    if event in CAMPAIGN[state]:
        assert advance_campaign(state, event) is CAMPAIGN[state][event]
    else:
        with pytest.raises(InvalidTransition) as refused:
            advance_campaign(state, event)
        _assert_names_what_is_allowed(refused.value, state, event, sorted(CAMPAIGN[state]))


@pytest.mark.parametrize(("state", "event"), DELIVERY_PAIRS)
def test_every_pair_of_a_delivery_goes_where_the_table_says_or_is_refused(state: D, event: V) -> None:
    if event in DELIVERY[state]:
        assert advance_delivery(state, event) is DELIVERY[state][event]
    else:
        with pytest.raises(InvalidTransition) as refused:
            advance_delivery(state, event)
        _assert_names_what_is_allowed(refused.value, state, event, sorted(DELIVERY[state]))


def _assert_names_what_is_allowed(
    error: InvalidTransition, state: C | D, event: E | V, allowed: list[E] | list[V]
) -> None:
    assert error.code == "invalid_transition"
    assert error.data == {
        "from": state.value,
        "requested": event.value,
        "allowed": [a.value for a in allowed],
    }
    assert state.value in str(error)
    assert re.search("|".join(allowed) if allowed else "nothing", error.hint)


def test_a_refused_event_leaves_the_tables_as_they_were() -> None:
    before = ({s: dict(row) for s, row in CAMPAIGN.items()}, {s: dict(row) for s, row in DELIVERY.items()})
    for state, event in CAMPAIGN_PAIRS:
        if event not in CAMPAIGN[state]:
            with pytest.raises(InvalidTransition):
                advance_campaign(state, event)
    for row, happening in DELIVERY_PAIRS:
        if happening not in DELIVERY[row]:
            with pytest.raises(InvalidTransition):
                advance_delivery(row, happening)
    assert before == (
        {s: dict(row) for s, row in CAMPAIGN.items()},
        {s: dict(r) for s, r in DELIVERY.items()},
    )


def test_the_tables_are_total_and_cannot_be_written_to() -> None:
    assert set(CAMPAIGN) == set(C)
    assert set(DELIVERY) == set(D)
    with pytest.raises(TypeError):
        CAMPAIGN[C.DRAFT] = {}  # type: ignore[index]
    with pytest.raises(TypeError):
        DELIVERY[D.SENT] = {}  # type: ignore[index]


def _arrows_into(goal: C) -> set[tuple[C, E]]:
    return {(s, e) for s, row in CAMPAIGN.items() for e, to in row.items() if to is goal and s is not goal}


def _arrows_into_delivery(goal: D) -> set[tuple[D, V]]:
    return {(s, e) for s, row in DELIVERY.items() for e, to in row.items() if to is goal and s is not goal}


def test_completed_is_reachable_only_from_running() -> None:
    assert _arrows_into(C.COMPLETED) == {(C.RUNNING, E.COMPLETE)}


def test_failed_is_reachable_only_from_running() -> None:
    assert _arrows_into(C.FAILED) == {(C.RUNNING, E.FAIL)}


def test_paused_is_reachable_only_from_running() -> None:
    assert _arrows_into(C.PAUSED) == {(C.RUNNING, E.PAUSE)}


def test_a_draft_never_runs_by_itself_and_a_stopped_campaign_never_resumes() -> None:
    assert E.DUE not in CAMPAIGN[C.DRAFT]
    assert not {E.RESUME, E.DUE} & set(CAMPAIGN[C.STOPPED])


def test_a_completed_campaign_runs_again_only_by_retry() -> None:
    assert {e for e, to in CAMPAIGN[C.COMPLETED].items() if to is not C.COMPLETED} == {E.RETRY}


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (C.RUNNING, E.START),
        (C.RUNNING, E.RESUME),
        (C.PAUSED, E.PAUSE),
        (C.STOPPED, E.STOP),
        (C.COMPLETED, E.COMPLETE),
        (C.FAILED, E.FAIL),
        (C.SCHEDULED, E.SCHEDULE),
        (C.DRAFT, E.UNSCHEDULE),
    ],
)
def test_asking_for_the_state_it_is_in_is_success_without_change(state: C, event: E) -> None:
    assert advance_campaign(state, event) is state


def test_every_campaign_state_is_reachable_from_a_draft() -> None:
    seen, todo = {C.DRAFT}, [C.DRAFT]
    while todo:
        todo += (fresh := set(CAMPAIGN[todo.pop()].values()) - seen)
        seen |= fresh
    assert seen == set(C)


def test_sent_is_never_left_except_by_a_receipt() -> None:
    assert DELIVERY[D.SENT] == {V.RECEIPT_ARRIVED: D.DELIVERED, V.RECEIPT_LOST: D.UNDELIVERED}


def test_sent_is_reached_only_by_an_acceptance_a_persons_word_or_what_came_back() -> None:
    found = {(state, V.FOUND_SENT) for state in (D.PENDING, D.DEFERRED, D.SENDING, D.IN_DOUBT)}
    assert _arrows_into_delivery(D.SENT) == {(D.SENDING, V.ACCEPT), (D.IN_DOUBT, V.SETTLE_SENT), *found}


def test_an_attempt_is_opened_only_where_none_is_open_and_nothing_was_sent() -> None:
    assert _arrows_into_delivery(D.SENDING) == {(D.PENDING, V.OPEN), (D.DEFERRED, V.OPEN)}


def test_doubt_arises_from_an_open_attempt_or_an_older_database_and_is_never_tried_again_by_itself() -> None:
    arrows = {(D.SENDING, V.DOUBT), (D.PENDING, V.HOLD), (D.DEFERRED, V.HOLD)}
    assert _arrows_into_delivery(D.IN_DOUBT) == arrows
    assert set(DELIVERY[D.IN_DOUBT]) == {V.RESEND, V.SETTLE_SENT, V.SETTLE_FAILED, V.FOUND_SENT}


def test_what_was_delivered_is_final() -> None:
    assert set(DELIVERY[D.DELIVERED].values()) == {D.DELIVERED}


def test_an_open_attempt_cannot_be_skipped_over() -> None:
    assert V.SKIP not in DELIVERY[D.SENDING]
    assert V.OPEN not in DELIVERY[D.SENDING]


def test_every_delivery_state_is_counted_and_those_at_rest_are_settled() -> None:
    assert {state.value for state in D} <= set(Counts.__dataclass_fields__)
    for state in D:
        at_work = state in (D.PENDING, D.DEFERRED, D.SENDING)
        assert Counts(**{"total": 1, state.value: 1}).finished == (0 if at_work else 1)
