"""What SendGrid's answers mean: every row of its table, and its words as values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.model import Answer, Channel, Signal, Stage
from hubd.core.verdict import Action, Verdict, judge
from hubd.providers.sendgrid.answers import account_of, error_of, id_of_logs, provider_id, retry_after
from hubd.providers.sendgrid.verdicts import VERDICTS
from hubd.transports.http_protocol import Response

A = Action


def verdict(code: int, word: str = "", text: str = "", **more: Any) -> Verdict:
    answer = Answer(stage=Stage.REQUEST, code=code, vendor=word, text=text, **more)
    return judge(answer, Channel.EMAIL, requests=VERDICTS)


@pytest.mark.parametrize(
    ("code", "word", "text", "action", "reason"),
    [
        (202, "", "", A.ACCEPT, ""),
        (
            400,
            "personalizations.0.to.0.email",
            "no valid address",
            A.FAIL,
            "recipient_refused",
        ),
        (400, "personalizations.0.to", "", A.FAIL, "recipient_refused"),
        (400, "from.email", "", A.PAUSE, "sender_refused"),
        (400, "subject", "The subject is required.", A.PAUSE, "request_refused"),
        (400, "content.0.value", "", A.PAUSE, "request_refused"),
        (400, "personalizations.0.custom_args", "", A.PAUSE, "request_refused"),
        (400, "", "Bad Request", A.PAUSE, "request_refused"),
        (401, "", "The provided authorization grant is invalid", A.PROVIDER_STOP, "bad_credentials"),
        (401, "", "Maximum credits exceeded", A.PROVIDER_STOP, "daily_quota"),
        (401, "", "You've exceeded your messaging limits", A.PROVIDER_STOP, "daily_quota"),
        (403, "from", "does not match a verified Sender Identity", A.PAUSE, "sender_refused"),
        (403, "", "The from address does not match a verified Sender Identity", A.PAUSE, "sender_refused"),
        (403, "", "access forbidden", A.PROVIDER_STOP, "login_refused"),
        (404, "", "not found", A.PROVIDER_STOP, "account_unknown"),
        (405, "", "method not allowed", A.PROVIDER_STOP, "account_unknown"),
        (408, "", "", A.DOUBT, "answer_lost"),
        (413, "", "content too large", A.PAUSE, "message_too_large"),
        (429, "", "too many requests", A.SLOW, "too_fast"),
        (451, "", "", A.PROVIDER_STOP, "login_refused"),
        (418, "", "", A.FAIL, "request_refused"),
        (500, "", "internal server error", A.DOUBT, "answer_lost"),
        (503, "personalizations.0.to", "", A.DOUBT, "answer_lost"),
        (200, "", "", A.DOUBT, "answer_lost"),
        (201, "", "", A.DOUBT, "answer_lost"),
        (204, "", "", A.DOUBT, "answer_lost"),
        (302, "", "", A.DOUBT, "answer_lost"),
    ],
)
def test_each_answer_means_what_its_row_says(
    code: int, word: str, text: str, action: Action, reason: str
) -> None:
    found = verdict(code, word, text)
    assert (found.action, found.reason) == (action, reason)


def test_an_acceptance_needs_no_name_and_a_lost_answer_is_in_doubt() -> None:
    assert verdict(202, provider_id="abc").action is A.ACCEPT
    for signal in (Signal.DROPPED, Signal.TIMEOUT, Signal.GARBAGE):
        assert verdict(202, signal=signal).action is A.DOUBT


def test_what_credits_are_for_is_said() -> None:
    assert "credits" in verdict(401, text="Maximum credits exceeded").detail


def response(status: int, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, headers=named, body=b"")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"x_ratelimit_reset": "1000007"}, 7.0),
        ({"x_ratelimit_reset": "999000"}, 0.0),
        ({"x_ratelimit_reset": "1601", "date": "Thu, 01 Jan 1970 00:26:40 GMT"}, 1.0),  # its clock, not ours
        ({"x_ratelimit_reset": "nan", "retry_after": "3"}, 3.0),
        ({"retry_after": "3"}, 3.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_requests_are_taken_again_when_the_limit_is_reset(
    headers: dict[str, str], wait: float | None
) -> None:
    assert retry_after(response(429, **headers), 1_000_000.0) == wait
    assert retry_after(response(400, **headers), 1_000_000.0) is None


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"errors": [{"message": "no", "field": "from.email", "help": None}]}, ("from.email", "no")),
        ({"errors": [{"message": "a", "field": None}, {"message": "b"}]}, ("", "a; b")),
        ({"errors": [{"message": "a", "field": "null"}]}, ("", "a")),
        ({"errors": [{"message": 7, "field": ["x"]}]}, ("", "")),
        ({"errors": [{"field": "from\r\nX"}]}, ("", "")),
        ({"errors": "x"}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_the_field_and_the_words_of_an_error_are_read(body: dict[str, Any], found: tuple[str, str]) -> None:
    assert error_of(body) == found


KEYS = st.sampled_from(["errors", "message", "field", "used", "total", "remain"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_whatever_comes_is_read_without_an_error(body: Any) -> None:
    word, text = error_of(body if isinstance(body, dict) else {"errors": body})
    assert isinstance(word, str)
    assert isinstance(text, str)
    account_of(body if isinstance(body, dict) else {})


def test_the_name_of_the_answer_and_that_of_the_logs_are_the_same() -> None:
    assert provider_id({"x-message-id": "5Z8DTTD1T4a4UF6Fb_nIYg"}) == "5Z8DTTD1T4a4UF6Fb_nIYg"
    assert provider_id({"x-message-id": "a b"}) == provider_id({}) == ""
    assert id_of_logs("5Z8DTTD1T4a4_nIYg.filterdrecv-5645d9c87f-78xhc-1-61E5.0") == "5Z8DTTD1T4a4_nIYg"
    assert id_of_logs("14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0") == "14c5d75ce93.dfd.64b469"
    assert id_of_logs("JYCAhexxQ-2g.recvd-canary-86f-q9r.0") == "JYCAhexxQ-2g"


def test_the_credits_of_an_account_are_told() -> None:
    daily = {"remain": 88, "total": 100, "used": 12, "next_reset": "2026-12-02", "reset_frequency": "daily"}
    account = account_of(daily)
    assert (account.sending, account.quota, account.used) == (True, 100, 12)
    assert account.lines == ("88 of 100 messages are left until 2026-12-02.",)
    assert account_of({**daily, "remain": 0}).sending is False
    assert account_of({**daily, "reset_frequency": "monthly"}).quota is None
    assert account_of({}).lines == ()
    assert json.dumps(account.lines)
