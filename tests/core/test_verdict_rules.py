"""What holds for every answer, and how long a retry waits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hubd.core.model import Answer, Channel, Signal, Stage
from hubd.core.reasons import SENTENCES
from hubd.core.verdict import (
    LONGEST_REST,
    SYSTEMIC,
    SYSTEMIC_WHEN_REPEATED,
    Action,
    classify,
    is_ready,
    is_systemic,
    judge,
    rest_delay,
    retry_delay,
)
from hubd.core.verdict_tables import Class
from hubd.providers.twilio.verdicts import VERDICTS as TWILIO
from tests.core.judged import (
    ACCEPT,
    BEFORE_MAIL,
    DOUBT,
    FAIL,
    FOUR_HOURS,
    RETRY,
    SMTP_STAGES,
    SUPPRESS,
    answers,
)


@given(answers, st.sampled_from(Channel))
def test_every_answer_has_a_verdict_with_a_known_reason_and_a_sentence(
    answer: Answer, channel: Channel
) -> None:
    verdict = judge(answer, channel, requests=TWILIO)
    assert (verdict.reason == "") == (verdict.action is ACCEPT)
    assert verdict.action is ACCEPT or verdict.reason in SENTENCES
    assert verdict.detail.endswith(".")
    assert verdict.retry_after is None or 0 <= verdict.retry_after <= max(LONGEST_REST, FOUR_HOURS)
    assert (verdict.retry_after or 0) <= LONGEST_REST or verdict.action is RETRY


@given(answers, st.sampled_from(Channel))
def test_only_what_was_handed_over_can_be_accepted_or_in_doubt(answer: Answer, channel: Channel) -> None:
    verdict = judge(answer, channel, requests=TWILIO)
    if verdict.action in (ACCEPT, DOUBT):
        assert answer.stage in (Stage.DOT, Stage.REQUEST, Stage.LOCAL)
    if verdict.action is ACCEPT:
        assert answer.signal is Signal.REPLY
        assert 200 <= answer.code < 300


@given(answers, st.sampled_from(Channel))
def test_a_lost_answer_after_the_handover_is_never_taken_for_a_refusal(
    answer: Answer, channel: Channel
) -> None:
    if answer.stage in (Stage.DOT, Stage.REQUEST) and answer.signal is not Signal.REPLY:
        assert judge(answer, channel, requests=TWILIO).action is DOUBT


@given(answers)
def test_rule_a_text_and_enhanced_code_never_turn_a_refusal_into_success(answer: Answer) -> None:
    if answer.stage in SMTP_STAGES and 400 <= answer.code < 600:
        assert judge(answer, Channel.EMAIL).action is not ACCEPT


@given(answers, st.sampled_from(Channel))
def test_rule_c_only_a_reply_about_the_address_suppresses_it(answer: Answer, channel: Channel) -> None:
    if judge(answer, channel, requests=TWILIO).action is not SUPPRESS:
        return
    assert answer.signal is Signal.REPLY
    if answer.stage is Stage.REQUEST:
        assert 400 <= answer.code < 500
        assert answer.vendor in TWILIO.words
    else:
        assert answer.stage is Stage.RCPT
        assert 500 <= answer.code < 600
        assert answer.code == 556 or re.match(r"5\.[12]\.", answer.enhanced)
        assert not answer.enhanced.startswith("5.7.") or answer.code == 556


@given(answers)
def test_after_silence_garbage_or_a_421_the_connection_is_not_used_again(answer: Answer) -> None:
    if answer.stage not in SMTP_STAGES:
        return
    verdict = judge(answer, Channel.EMAIL)
    if answer.signal is not Signal.REPLY or answer.code == 421 or not 200 <= answer.code < 600:
        assert verdict.close
    if answer.stage.value in BEFORE_MAIL:
        assert verdict.close


def test_a_phone_that_was_off_is_tried_again_hours_later() -> None:
    off = Answer(stage=Stage.REQUEST, code=400, vendor="30003")
    assert judge(off, Channel.SMS, requests=TWILIO).retry_after == FOUR_HOURS
    assert judge(replace(off, retry_after=7.5), Channel.SMS, requests=TWILIO).retry_after == FOUR_HOURS
    assert (
        judge(off, Channel.SMS, attempts=1, requests=TWILIO).retry_after is None
    )  # it failed: there is no other try


@pytest.mark.parametrize("retry_after", [float("nan"), -1.0, float("-inf")])
def test_a_wait_that_is_no_wait_is_ignored(retry_after: float) -> None:
    slow = Answer(stage=Stage.REQUEST, code=429)
    assert judge(replace(slow, retry_after=retry_after), Channel.SMS).retry_after is None


def test_a_provider_cannot_ask_for_a_rest_without_end() -> None:
    slow = Answer(stage=Stage.REQUEST, code=429, retry_after=7.5)
    assert judge(slow, Channel.SMS).retry_after == 7.5
    assert judge(replace(slow, retry_after=1e12), Channel.SMS).retry_after == LONGEST_REST


@pytest.mark.parametrize(
    ("answer", "tries", "reason", "then"),
    [
        (Answer(stage=Stage.RCPT, code=452, enhanced="4.2.2"), 3, "mailbox_full", FAIL),
        (Answer(stage=Stage.DOT, code=452, enhanced="4.2.2"), 3, "mailbox_full", FAIL),
        (Answer(stage=Stage.REQUEST, code=400, vendor="30003"), 2, "handset_unreachable", FAIL),
        (Answer(stage=Stage.REQUEST, code=400, vendor="30005"), 2, "number_unknown", SUPPRESS),
        (Answer(stage=Stage.REQUEST, code=400, vendor="30008"), 2, "refused_for_now", FAIL),
    ],
)
def test_some_refusals_are_worth_only_so_many_tries(
    answer: Answer, tries: int, reason: str, then: Action
) -> None:
    verdicts = [judge(answer, Channel.EMAIL, attempts=n, requests=TWILIO) for n in range(tries + 1)]
    assert [verdict.action for verdict in verdicts] == [RETRY] * (tries - 1) + [then, then]
    assert {verdict.reason for verdict in verdicts} == {reason}


@given(answers, st.sampled_from(Channel), st.integers(0, 20))
def test_the_number_of_tries_only_ever_ends_retries(answer: Answer, channel: Channel, attempts: int) -> None:
    first, later = (
        judge(answer, channel, requests=TWILIO),
        judge(answer, channel, attempts=attempts, requests=TWILIO),
    )
    assert later == first or (first.action is RETRY and later.action in (FAIL, SUPPRESS))


def test_what_in_a_row_means_that_the_trouble_is_ours() -> None:
    assert set(SENTENCES) >= SYSTEMIC
    assert is_systemic("refused_by_policy")
    assert is_systemic("answer_lost")
    assert is_systemic("storage_full")
    assert not is_systemic("greylisted")
    assert "greylisted" in SYSTEMIC_WHEN_REPEATED
    assert not is_systemic("mailbox_unknown")


def test_a_probe_is_ready_when_it_was_answered_with_success() -> None:
    assert is_ready(Answer(stage=Stage.AUTH, code=235))
    assert is_ready(Answer(stage=Stage.REQUEST, code=200))
    assert not is_ready(Answer(stage=Stage.AUTH, code=535))
    assert not is_ready(Answer(stage=Stage.AUTH, signal=Signal.DROPPED, code=235))
    assert not is_ready(Answer(stage=Stage.DATA, code=354))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (200, Class.POSITIVE),
        (399, Class.POSITIVE),
        (400, Class.TRANSIENT),
        (599, Class.PERMANENT),
        (199, Class.GARBAGE),
        (600, Class.GARBAGE),
        (0, Class.GARBAGE),
        (-1, Class.GARBAGE),
    ],
)
def test_the_first_digit_is_the_class(code: int, kind: Class) -> None:
    assert classify(Answer(stage=Stage.DOT, code=code)) is kind


# --- delays ------------------------------------------------------------------

jitters = st.floats(0, 1, exclude_max=True)


@given(st.floats(), st.integers(), jitters)
def test_a_retry_never_comes_before_the_floor_nor_much_after_the_ceiling(
    age: float, attempts: int, jitter: float
) -> None:
    assert 300.0 <= retry_delay(age, attempts, jitter) <= 4400.0


@given(st.floats(334, 4000), jitters)
def test_a_retry_waits_about_as_long_as_the_message_has_waited(age: float, jitter: float) -> None:
    assert age * 0.9 <= retry_delay(age, 1, jitter) <= age * 1.1


def test_retries_of_many_recipients_are_spread_although_none_is_early() -> None:
    assert retry_delay(0.0, 1, 0.0) == 300.0
    assert retry_delay(0.0, 1, 0.5) == pytest.approx(315.0)
    assert retry_delay(1e9, 9, 0.5) == pytest.approx(4000.0)


def test_a_clock_that_was_set_back_does_not_make_retries_hasty() -> None:
    assert [retry_delay(-5.0, n, 0.5) for n in (3, 4, 5)] == pytest.approx([600.0, 1200.0, 2400.0])


def test_floor_and_ceiling_can_be_smaller() -> None:
    assert retry_delay(0.0, 1, 0.0, floor=0.01, ceiling=0.1) == 0.01
    assert retry_delay(100.0, 1, 0.5, floor=0.01, ceiling=0.1) == pytest.approx(0.1)


def test_a_provider_rests_one_second_doubling_to_a_minute() -> None:
    rests = [rest_delay(n, 0.5) for n in range(1, 9)]
    assert rests == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])


@given(st.integers(), jitters)
def test_a_rest_is_bounded_for_any_number_of_failures(failures: int, jitter: float) -> None:
    assert 0.9 <= rest_delay(failures, jitter) <= 66.0
