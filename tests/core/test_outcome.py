"""From a verdict to the entry that is written: every action, the next try, the end of the retries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.ledger import Close
from hubd.core.model import Answer, Channel, DeliveryState, DueDelivery, Signal, Stage
from hubd.core.outcome import (
    NOT_ABOUT_RECIPIENT,
    RetryPolicy,
    close_accepted,
    close_for,
    close_until,
    close_unwritable,
    lost_answer,
)
from hubd.core.verdict import ACCEPTED, Action, Verdict, judge
from hubd.errors import BadInput, BadTemplate

A, D = Action, DeliveryState
NOW = 1_000_000.0
POLICY = RetryPolicy(give_up_after=86_400.0, floor=300.0, ceiling=4_000.0)
REPLY = Answer(
    stage=Stage.RCPT, code=550, enhanced="5.1.1", vendor="7", text="No ann@example.com", provider_id="q1"
)


def row(*, attempts: int = 0, first_attempt_at: float | None = None) -> DueDelivery:
    return DueDelivery(
        id=5, recipient="ann@example.com", attempts=attempts, fields={}, content_id=1,
        first_attempt_at=first_attempt_at, next_at=None,
    )  # fmt: skip


def closed(
    action: Action, *, due: DueDelivery | None = None, retry_after: float | None = None, jitter: float = 0.5,
    opened: bool = True, retry_policy: RetryPolicy = POLICY, now: float = NOW,
    steady: float | None = None,
) -> Close:  # fmt: skip
    reason = "" if action is A.ACCEPT else "why"
    verdict = Verdict(action=action, reason=reason, detail="A sentence.", retry_after=retry_after)
    return close_for(
        due or row(),
        REPLY,
        verdict,
        opened=opened,
        provider="p",
        message_id="<m@x>",
        retry_policy=retry_policy,
        now=now,
        steady=NOW if steady is None else steady,
        jitter=jitter,
    )


@pytest.mark.parametrize(
    ("action", "to", "suppress"),
    [
        (A.ACCEPT, D.SENT, ""),
        (A.RETRY, D.DEFERRED, ""),
        (A.FAIL, D.FAILED, ""),
        (A.SUPPRESS, D.FAILED, "why"),
        (A.DOUBT, D.IN_DOUBT, ""),
        (A.PAUSE, D.PENDING, ""),
        (A.PROVIDER, D.PENDING, ""),
        (A.PROVIDER_STOP, D.PENDING, ""),
        (A.SLOW, D.PENDING, ""),
    ],
)
@pytest.mark.parametrize("opened", [True, False])
def test_every_action_has_its_entry(action: Action, to: DeliveryState, suppress: str, opened: bool) -> None:
    entry = closed(action, opened=opened)
    assert (entry.to, entry.suppress, entry.opened) == (to, suppress, opened)
    assert (entry.next_at is not None) is (action is A.RETRY)
    assert (entry.reason, entry.detail) == (("", "") if action is A.ACCEPT else ("why", "A sentence."))


@given(
    code=st.integers(200, 299),
    text=st.text(max_size=60),
    vendor=st.sampled_from(["", "7"]),
    enhanced=st.sampled_from(["", "2.0.0"]),
    provider_id=st.sampled_from(["", "q1"]),
    verbatim=st.booleans(),
    stage=st.sampled_from([Stage.DOT, Stage.REQUEST, Stage.LOCAL]),
    cost=st.integers(1, 3),
)
def test_an_acceptance_is_written_alike_on_the_short_way(
    code: int,
    text: str,
    vendor: str,
    enhanced: str,
    provider_id: str,
    verbatim: bool,
    stage: Stage,
    cost: int,
) -> None:
    answer = Answer(
        stage=stage, code=code, text=text, vendor=vendor, enhanced=enhanced, provider_id=provider_id,
        verbatim=verbatim,
    )  # fmt: skip
    usual = close_for(
        row(), answer, ACCEPTED, opened=True, provider="p", message_id="<m@x>", retry_policy=POLICY, now=NOW,
        steady=NOW + 1, jitter=0.5, limits=("l",), cost=cost,
    )  # fmt: skip
    short = close_accepted(
        row(), answer, provider="p", message_id="<m@x>", now=NOW, steady=NOW + 1, cost=cost
    )
    assert short == usual


def test_no_action_is_without_a_row_above() -> None:
    assert {closed(action).to for action in Action} == {D.SENT, D.DEFERRED, D.FAILED, D.IN_DOUBT, D.PENDING}
    assert {action for action in Action if closed(action).to is D.PENDING} == NOT_ABOUT_RECIPIENT


def test_the_entry_has_all_that_was_said_but_the_words_that_may_quote_an_address() -> None:
    entry = closed(A.FAIL)
    said = (entry.delivery_id, entry.stage, entry.code, entry.enhanced, entry.vendor, entry.provider_id)
    assert said == (5, "rcpt", 550, "5.1.1", "7", "q1")
    assert (entry.provider, entry.message_id, entry.at) == ("p", "<m@x>", NOW)
    assert "ann@" not in repr(entry)


def test_the_first_retry_comes_after_the_floor_and_later_ones_after_the_age() -> None:
    assert closed(A.RETRY).next_at == pytest.approx(NOW + 300, rel=0.1)
    old = row(attempts=3, first_attempt_at=NOW - 2_000)
    assert closed(A.RETRY, due=old).next_at == NOW + 2_000
    older = row(attempts=9, first_attempt_at=NOW - 50_000)
    assert closed(A.RETRY, due=older).next_at == NOW + 4_000


def test_the_provider_may_ask_for_more_time_but_not_for_less() -> None:
    assert closed(A.RETRY, retry_after=3_600.0).next_at == NOW + 3_600
    assert closed(A.RETRY, retry_after=1.0) == closed(A.RETRY)


def test_one_whose_next_try_would_be_too_late_is_given_up_now() -> None:
    late = row(attempts=20, first_attempt_at=NOW - POLICY.give_up_after + 3_999)
    entry = closed(A.RETRY, due=late)
    assert (entry.to, entry.next_at, entry.reason) == (D.FAILED, None, "why")
    assert entry.detail == "given up, last answer: A sentence."
    in_time = row(attempts=20, first_attempt_at=NOW - POLICY.give_up_after + 4_000)
    assert closed(A.RETRY, due=in_time).to is D.DEFERRED


@pytest.mark.parametrize("wall", [0.0, NOW - 86_400.0, NOW + 2.3e9])
def test_a_clock_that_was_set_gives_nobody_up_and_lets_nobody_be_tried_for_ever(wall: float) -> None:
    young = row(attempts=1, first_attempt_at=NOW - 600)
    entry = closed(A.RETRY, due=young, now=wall)
    assert (entry.to, entry.next_at) == (D.DEFERRED, wall + 600)
    assert (entry.at, entry.steady) == (wall, NOW)
    old = row(attempts=20, first_attempt_at=NOW - POLICY.give_up_after)
    assert closed(A.RETRY, due=old, now=wall).to is D.FAILED


def test_the_first_try_begins_the_time() -> None:
    impatient = RetryPolicy(give_up_after=60.0)
    assert closed(A.RETRY, retry_policy=impatient).to is D.FAILED  # the first pause is longer than that
    assert closed(A.RETRY, retry_policy=RetryPolicy(give_up_after=400.0)).to is D.DEFERRED


ages = st.floats(-1e6, 1e6)
jitters = st.floats(0.0, 1.0, exclude_max=True)


@given(ages, jitters, st.integers(0, 50), st.one_of(st.none(), st.floats(0.0, 3_600.0)))
def test_a_retry_is_never_sooner_than_the_floor_nor_after_the_retries_end(
    age: float, jitter: float, attempts: int, retry_after: float | None
) -> None:
    """Also when the clock was set back: the age is negative then."""
    due = row(attempts=attempts, first_attempt_at=NOW - age)
    entry = closed(A.RETRY, due=due, retry_after=retry_after, jitter=jitter)
    if entry.to is D.DEFERRED:
        assert entry.next_at is not None
        longest = max(POLICY.ceiling * 1.1, retry_after or 0.0)
        assert NOW + POLICY.floor <= entry.next_at <= NOW + longest
        assert entry.next_at <= NOW - age + POLICY.give_up_after
    else:
        assert entry.to is D.FAILED
        assert age > POLICY.give_up_after - POLICY.ceiling * 1.1


@given(jitters)
def test_jitter_spreads_a_pause_by_a_tenth_both_ways(jitter: float) -> None:
    due = row(attempts=3, first_attempt_at=NOW - 1_000)
    entry = closed(A.RETRY, due=due, jitter=jitter)
    assert entry.next_at is not None
    assert 900 <= entry.next_at - NOW <= 1_100


def test_a_delivery_that_was_cut_off_is_in_doubt() -> None:
    assert lost_answer().signal is Signal.TIMEOUT
    for channel in Channel:
        assert judge(lost_answer(), channel).action is A.DOUBT


@pytest.mark.parametrize("code", ["missing_field", "bad_template"])
def test_a_message_that_cannot_be_written_fails_without_an_attempt(code: str) -> None:
    entry = close_unwritable(row(), BadTemplate("text: no field 'city'", code=code), "p", NOW)
    assert (entry.to, entry.reason, entry.stage, entry.opened) == (D.FAILED, code, "local", False)
    assert entry.detail == "text: no field 'city'"


def test_an_unusable_address_fails_with_its_own_word() -> None:
    assert close_unwritable(row(), BadInput("is not an address"), "p", NOW).reason == "bad_input"


def test_a_closed_window_leaves_the_recipient_untouched_until_it_opens() -> None:
    entry = close_until(row(), NOW + 60, NOW)
    assert (entry.to, entry.next_at, entry.opened, entry.suppress) == (D.PENDING, NOW + 60, False, "")
