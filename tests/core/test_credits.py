"""What is reserved, granted and refused, as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core import decide
from hubd.core.changes import check_applicable
from hubd.core.credits import MOST, Cost, CreditAccount, check_grant, low_mark, needed, short_of
from hubd.core.model import Campaign, CampaignState, Channel, Counts
from hubd.core.spec_reading import parse_spec
from hubd.errors import BadInput, Conflict

AMOUNT = st.integers(0, 10**6)
SPEC = {"name": "spring", "channel": "sms", "text": "hi", "lists": ["customers"]}


def account(granted: int, held: int = 0, spent: int = 0) -> CreditAccount:
    return CreditAccount(name="team", granted=granted, held=held, spent=spent)


@given(st.lists(st.integers(1, 10), min_size=1), st.integers(0, 30))
def test_a_run_with_a_limit_reserves_enough_for_whomever_it_reaches(costs: list[int], limit: int) -> None:
    cost = Cost(messages=len(costs), total=sum(costs), most=max(costs))
    reserved = needed(cost, limit)
    assert reserved >= sum(sorted(costs, reverse=True)[:limit])
    assert reserved <= cost.total
    assert needed(cost, None) == cost.total


@given(AMOUNT, AMOUNT, AMOUNT, st.integers(-2 * MOST, 2 * MOST))
def test_a_grant_leaves_what_is_held_and_spent(available: int, held: int, spent: int, credits: int) -> None:
    before = account(available + held + spent, held, spent)
    if credits == 0 or before.granted + credits > MOST:
        with pytest.raises(BadInput):
            check_grant(before, credits)
    elif before.available + credits < 0:
        with pytest.raises(Conflict, match="can be taken back"):
            check_grant(before, credits)
    else:
        check_grant(before, credits)


def test_an_account_is_low_at_a_tenth_of_what_it_has() -> None:
    assert low_mark(account(1000)) == 100
    assert low_mark(account(10_000, spent=9_000)) == 100


def test_the_error_says_how_many_are_missing_and_how_to_add_them() -> None:
    error = short_of("spring", "team", 1200, 300)
    assert str(error) == "spring needs 1,200 credits, and the account team has 300 available: 900 are missing"
    assert error.hint == "to add them: hubctl credits grant team 900"
    assert error.data == {"account": "team", "needed": 1200, "available": 300, "missing": 900}


def test_a_canary_that_is_resumed_reserves_what_is_left_of_its_limit() -> None:
    campaign = Campaign(
        id=1, name="spring", channel=Channel.SMS, provider="outbox", state=CampaignState.PAUSED, reason="",
        revision=1, spec="{}", content_id=1, in_doubt=None, limit=10,
        counts=Counts(total=100, sent=4, pending=96),
    )  # fmt: skip
    cost = Cost(messages=96, total=192, most=2)
    assert decide.start(campaign, cost=cost).reserve == 12
    assert decide.start(campaign, cost=cost, limit=90).reserve == 180
    assert decide.start(campaign, cost=cost, limit=96).reserve == 192
    assert decide.start(campaign).reserve is None
    assert decide.retry(campaign, queued=True, cost=cost).reserve == 12


def test_the_account_of_a_campaign_is_named_like_a_campaign_and_stays() -> None:
    spec = parse_spec({**SPEC, "credits": "team"})
    assert spec.credits == "team"
    with pytest.raises(BadInput, match="credits"):
        parse_spec({**SPEC, "credits": "The Team"})
    begun = Campaign(
        id=1, name="spring", channel=Channel.SMS, provider="outbox", state=CampaignState.STOPPED, reason="",
        revision=1, spec="{}", content_id=1, in_doubt=None, started_at=1.0,
    )  # fmt: skip
    with pytest.raises(Conflict) as caught:
        check_applicable(begun, spec, parse_spec({**SPEC, "credits": "others"}))
    assert caught.value.code == "credits_fixed"
