"""What an answer of a provider over HTTP and of the outbox means: every row of their tables."""

from __future__ import annotations

from typing import Any

import pytest

from hubd.core.model import Answer, Channel, Signal, Stage
from hubd.core.request_verdicts import STATUSES
from hubd.core.verdict import Action, judge
from hubd.providers.twilio.verdicts import VERDICTS as TWILIO
from tests.core.judged import ACCEPT, DOUBT, FAIL, PAUSE, PROVIDER, RETRY, SLOW, STOP, SUPPRESS, sms

# --- the SMS provider ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("http", "vendor", "action", "reason"),
    [
        (401, "20003", STOP, "bad_credentials"),
        (403, "20003", STOP, "bad_credentials"),
        (403, "20005", STOP, "account_suspended"),
        (404, "20404", STOP, "account_unknown"),
        (429, "20429", SLOW, "too_fast"),
        (400, "21211", SUPPRESS, "number_invalid"),
        (400, "21212", PAUSE, "sender_refused"),
        (400, "21401", PAUSE, "sender_refused"),
        (400, "21408", FAIL, "region_not_permitted"),
        (400, "21601", PAUSE, "sender_refused"),
        (400, "21602", PAUSE, "content_refused"),
        (400, "21603", PAUSE, "sender_refused"),
        (400, "21606", PAUSE, "sender_refused"),
        (400, "21608", PAUSE, "trial_account"),
        (400, "21610", SUPPRESS, "opted_out"),
        (400, "21611", PROVIDER, "sender_queue_full"),
        (400, "21612", FAIL, "route_missing"),
        (400, "21614", SUPPRESS, "not_a_mobile_number"),
        (400, "21617", PAUSE, "message_too_large"),
        (400, "21635", SUPPRESS, "not_a_mobile_number"),
        (400, "21659", PAUSE, "sender_refused"),
        (400, "21704", PAUSE, "sender_refused"),
        (400, "30001", SLOW, "too_fast"),
        (400, "30002", STOP, "account_suspended"),
        (400, "30003", RETRY, "handset_unreachable"),
        (400, "30004", FAIL, "blocked"),
        (400, "30005", RETRY, "number_unknown"),
        (400, "30006", SUPPRESS, "not_a_mobile_number"),
        (400, "30007", FAIL, "content_refused"),
        (400, "30008", RETRY, "refused_for_now"),
        (400, "30022", SLOW, "too_fast"),
        (400, "30034", STOP, "sender_unregistered"),
        (400, "30500", RETRY, "refused_for_now"),
        (400, "63038", PAUSE, "daily_quota"),
        (401, "", STOP, "bad_credentials"),
        (402, "", STOP, "account_suspended"),
        (403, "", STOP, "login_refused"),
        (404, "", STOP, "account_unknown"),
        (405, "", STOP, "account_unknown"),
        (408, "", DOUBT, "answer_lost"),
        (413, "", PAUSE, "message_too_large"),
        (429, "", SLOW, "too_fast"),
        (400, "", FAIL, "request_refused"),
        (418, "99999", FAIL, "request_refused"),
        (500, "", DOUBT, "answer_lost"),
        (500, "20500", DOUBT, "answer_lost"),
        (503, "20429", DOUBT, "answer_lost"),
        (502, "", DOUBT, "answer_lost"),
        (302, "", DOUBT, "answer_lost"),
        (100, "", DOUBT, "answer_lost"),
        (201, "", DOUBT, "answer_lost"),
        (204, "", DOUBT, "answer_lost"),
    ],
)
def test_an_http_answer_is_judged_by_the_vendors_number_and_then_by_the_status(
    http: int, vendor: str, action: Action, reason: str
) -> None:
    verdict = sms(http, vendor)
    assert (verdict.action, verdict.reason) == (action, reason)


@pytest.mark.parametrize("http", [200, 201, 202])
def test_an_acceptance_needs_the_providers_name_for_the_message(http: int) -> None:
    assert sms(http, sid="SM1").action is ACCEPT
    assert sms(http, sid="").action is DOUBT


@pytest.mark.parametrize("signal", [Signal.DROPPED, Signal.TIMEOUT, Signal.GARBAGE])
def test_a_lost_http_answer_is_doubt(signal: Signal) -> None:
    assert sms(0, signal=signal).action is DOUBT
    assert sms(201, sid="SM1", signal=signal).action is DOUBT


def test_a_connection_that_never_came_about_is_no_doubt_for_sms_either() -> None:
    verdict = judge(Answer(stage=Stage.CONNECT, signal=Signal.TIMEOUT), Channel.SMS)
    assert (verdict.action, verdict.reason) == (PROVIDER, "provider_unreachable")


def test_the_tests_above_name_every_row_of_the_providers_tables() -> None:
    judged: Any = test_an_http_answer_is_judged_by_the_vendors_number_and_then_by_the_status
    (mark,) = judged.pytestmark
    rows = {(http, vendor) for http, vendor, _, _ in mark.args[1]}
    assert {vendor for _, vendor in rows} >= set(TWILIO.words)
    assert {http for http, vendor in rows if not vendor} >= set(STATUSES)


# --- the outbox ------------------------------------------------------------------


@pytest.mark.parametrize("channel", list(Channel))
def test_the_outbox_accepts_with_250_and_is_in_trouble_otherwise(channel: Channel) -> None:
    assert judge(Answer(stage=Stage.LOCAL, code=250), channel).action is ACCEPT
    for answer in (Answer(stage=Stage.LOCAL, code=452), Answer(stage=Stage.LOCAL, signal=Signal.DROPPED)):
        verdict = judge(answer, channel)
        assert (verdict.action, verdict.reason) == (PROVIDER, "outbox_unwritable")
