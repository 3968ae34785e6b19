"""What an answer means: every row of the tables, and the three rules that stand above them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hubd.core.inbound_effects import _REASONS as REASONS
from hubd.core.model import Answer, Channel, DeliveryState, Signal, Stage
from hubd.core.reasons import SENTENCES, TRANSIENT, class_of
from hubd.core.request_verdicts import STATUSES
from hubd.core.verdict import (
    LONGEST_REST,
    SYSTEMIC,
    SYSTEMIC_WHEN_REPEATED,
    Action,
    Verdict,
    classify,
    is_ready,
    is_systemic,
    judge,
    refuses_connection,
    rest_delay,
    retry_delay,
)
from hubd.core.verdict_tables import (
    SENDING_LIMITS,
    SMTP,
    SMTP_CODES,
    SMTP_ENHANCED,
    SMTP_TEXTS,
    Class,
)
from hubd.providers.aws.verdicts import COMMON
from hubd.providers.ses.verdicts import VERDICTS as SES
from hubd.providers.sns.verdicts import VERDICTS as SNS
from hubd.providers.twilio.verdicts import VERDICTS as TWILIO

A = Action
ACCEPT, RETRY, FAIL, SUPPRESS, DOUBT = A.ACCEPT, A.RETRY, A.FAIL, A.SUPPRESS, A.DOUBT
PAUSE, PROVIDER, STOP, SLOW, DOMAIN = A.PAUSE, A.PROVIDER, A.PROVIDER_STOP, A.SLOW, A.DOMAIN

SMTP_STAGES = list(SMTP)
FOUR_HOURS = 4 * 3600.0
BEFORE_MAIL = ["connect", "tls", "banner", "ehlo", "auth"]
SILENCES = ["dropped", "timeout", "garbage"]


def smtp(stage: str, said: str, text: str = "") -> Verdict:
    """Judge "550 5.1.1", "421" or "dropped"."""
    if said in SILENCES:
        return judge(Answer(stage=Stage(stage), signal=Signal(said), text=text), Channel.EMAIL)
    code, _, enhanced = said.partition(" ")
    return judge(Answer(stage=Stage(stage), code=int(code), enhanced=enhanced, text=text), Channel.EMAIL)


def sms(http: int, vendor: str = "", sid: str = "", signal: Signal = Signal.REPLY) -> Verdict:
    return judge(
        Answer(stage=Stage.REQUEST, signal=signal, code=http, vendor=vendor, provider_id=sid),
        Channel.SMS,
        requests=TWILIO,
    )


# --- SMTP: one case a row, in the order of a conversation ------------------------------


@pytest.mark.parametrize("said", [*SILENCES, "220", "421", "554"])
def test_whatever_goes_wrong_while_connecting_is_the_providers_trouble(said: str) -> None:
    verdict = smtp("connect", said)
    assert (verdict.action, verdict.reason, verdict.close) == (PROVIDER, "provider_unreachable", True)


@pytest.mark.parametrize(
    ("stage", "said", "action", "reason"),
    [
        ("tls", "454 4.7.0", PROVIDER, "tls_unavailable"),
        ("tls", "421", SLOW, "provider_busy"),
        ("tls", "501", STOP, "tls_refused"),
        ("tls", "554 5.7.3", STOP, "tls_refused"),
        ("tls", "dropped", PROVIDER, "tls_unavailable"),
        ("tls", "timeout", PROVIDER, "tls_unavailable"),
        ("tls", "garbage", PROVIDER, "tls_unavailable"),
        ("tls", "220", PROVIDER, "provider_nonsense"),
        ("banner", "421", SLOW, "provider_busy"),
        ("banner", "450", PROVIDER, "provider_busy"),
        ("banner", "554", PROVIDER, "provider_refused"),
        ("banner", "521", PROVIDER, "provider_refused"),
        ("banner", "250", PROVIDER, "provider_nonsense"),
        ("banner", "dropped", PROVIDER, "provider_unreachable"),
        ("banner", "timeout", PROVIDER, "provider_unreachable"),
        ("banner", "garbage", PROVIDER, "provider_nonsense"),
        ("ehlo", "421", SLOW, "provider_busy"),
        ("ehlo", "450", PROVIDER, "provider_busy"),
        ("ehlo", "550", PROVIDER, "provider_refused"),
        ("ehlo", "250", PROVIDER, "provider_nonsense"),
        ("ehlo", "dropped", PROVIDER, "provider_unreachable"),
        ("ehlo", "timeout", PROVIDER, "provider_unreachable"),
        ("ehlo", "garbage", PROVIDER, "provider_nonsense"),
        ("auth", "454 4.7.0", PROVIDER, "login_unavailable"),
        ("auth", "432", PROVIDER, "login_unavailable"),
        ("auth", "421", SLOW, "provider_busy"),
        ("auth", "535 5.7.8", STOP, "bad_credentials"),
        ("auth", "534 5.7.9", STOP, "bad_credentials"),
        ("auth", "530 5.7.0", STOP, "bad_credentials"),
        ("auth", "538", STOP, "encryption_required"),
        ("auth", "504", STOP, "login_unsupported"),
        ("auth", "502", STOP, "login_unsupported"),
        ("auth", "550", STOP, "login_refused"),
        ("auth", "235", PROVIDER, "provider_nonsense"),
        ("auth", "dropped", PROVIDER, "provider_unreachable"),
        ("auth", "timeout", PROVIDER, "provider_unreachable"),
        ("auth", "garbage", PROVIDER, "provider_nonsense"),
    ],
)
def test_before_the_first_message_every_answer_is_about_the_provider(
    stage: str, said: str, action: Action, reason: str
) -> None:
    verdict = smtp(stage, said)
    assert (verdict.action, verdict.reason, verdict.close) == (action, reason, True)


@pytest.mark.parametrize(
    ("stage", "said", "text", "reason"),
    [
        ("tls", "garbage", "certificate verify failed: self-signed certificate", "tls_certificate"),
        ("tls", "garbage", "[SSL: CERTIFICATE_VERIFY_FAILED] hostname mismatch", "tls_certificate"),
        ("connect", "garbage", "certificate has expired", "tls_certificate"),
        ("tls", "502", "the server does not offer STARTTLS; nothing was sent", "starttls_missing"),
        ("tls", "garbage", "STARTTLS is not offered", "starttls_missing"),
        ("ehlo", "250", "no STARTTLS among the extensions", "starttls_missing"),
    ],
)
def test_missing_or_untrusted_encryption_waits_for_a_person(
    stage: str, said: str, text: str, reason: str
) -> None:
    verdict = smtp(stage, said, text)
    assert (verdict.action, verdict.reason, verdict.close) == (STOP, reason, True)


@pytest.mark.parametrize(
    ("stage", "said", "text", "action"),
    [
        ("banner", "421 4.7.0", "mx.example Error: too many connections from 192.0.2.1", SLOW),  # Postfix
        ("banner", "421", "Too many concurrent SMTP connections from this IP address", SLOW),  # Exim
        ("banner", "421 4.3.2", "Too many open connections.", SLOW),  # Sendmail
        ("banner", "554 5.7.0", "too many concurrent connections", PROVIDER),
        ("banner", "554", "Connection limit exceeded", PROVIDER),
        ("ehlo", "450", "maximum number of concurrent server connections has exceeded a limit", SLOW),
        ("auth", "432 4.3.2", "Concurrent connections limit exceeded. Visit example.com", SLOW),  # Office 365
        ("auth", "454 4.7.0", "Too many concurrent logins", SLOW),
        ("auth", "535", "[LIMIT] Maximum number of connections from user+IP exceeded", PROVIDER),  # Dovecot
        ("mail", "432 4.3.2", "Concurrent connections limit exceeded", SLOW),
        ("mail", "550", "too many concurrent sessions", SLOW),
    ],
)
def test_a_server_that_takes_no_more_connections_is_neither_a_bad_login_nor_a_bad_sender(
    stage: str, said: str, text: str, action: Action
) -> None:
    verdict = smtp(stage, said, text)
    assert (verdict.action, verdict.reason, verdict.close) == (action, "too_many_connections", True)
    code, _, enhanced = said.partition(" ")
    answer = Answer(stage=Stage(stage), code=int(code), enhanced=enhanced, text=text)
    assert refuses_connection(answer, verdict)


@pytest.mark.parametrize(
    "text", ["too many failed login attempts", "Too many login attempts", "bad password"]
)
def test_a_lockout_after_wrong_passwords_still_waits_for_a_person(text: str) -> None:
    assert smtp("auth", "535 5.7.8", text).action is STOP


@pytest.mark.parametrize("stage", BEFORE_MAIL)
@pytest.mark.parametrize("said", [*SILENCES, "421", "450", "550"])
def test_before_the_first_message_trouble_may_mean_too_many_connections_and_what_stops_may_not(
    stage: str, said: str
) -> None:
    verdict = smtp(stage, said)
    answer = (
        Answer(stage=Stage(stage), signal=Signal(said))
        if said in SILENCES
        else Answer(stage=Stage(stage), code=int(said))
    )
    assert refuses_connection(answer, verdict) is (verdict.action is not STOP)


def test_what_is_said_of_a_message_is_not_about_connections() -> None:
    for said in ("421", "450", "550", "dropped", "timeout"):
        answer = (
            Answer(stage=Stage.RCPT, signal=Signal(said))
            if said in SILENCES
            else Answer(stage=Stage.RCPT, code=int(said))
        )
        assert not refuses_connection(answer, judge(answer, Channel.EMAIL))


@pytest.mark.parametrize(
    ("said", "action", "reason", "close"),
    [
        ("421 4.7.0", SLOW, "provider_busy", True),
        ("454", SLOW, "provider_busy", False),
        ("454 4.7.0", SLOW, "provider_busy", False),
        ("450", RETRY, "refused_for_now", False),
        ("451 4.7.1", RETRY, "refused_for_now", False),
        ("452", RETRY, "storage_full", False),
        ("452 4.3.1", RETRY, "storage_full", False),
        ("503 5.5.1", RETRY, "out_of_sync", True),
        ("530 5.7.0", STOP, "login_required", True),
        ("534", STOP, "login_required", True),
        ("535 5.7.8", STOP, "login_required", True),
        ("538", STOP, "login_required", True),
        ("550", PAUSE, "sender_refused", False),
        ("553", PAUSE, "sender_refused", False),
        ("554", PAUSE, "sender_refused", False),
        ("501 5.1.7", PAUSE, "sender_refused", False),
        ("550 5.1.8", PAUSE, "sender_refused", False),
        ("553 5.7.1", PAUSE, "sender_refused", False),
        ("554 5.7.0", PAUSE, "sender_refused", False),
        ("550 5.7.25", PAUSE, "sender_unauthenticated", False),
        ("550 5.7.26", PAUSE, "sender_unauthenticated", False),
        ("550 5.7.27", PAUSE, "sender_unauthenticated", False),
        ("552", PAUSE, "message_too_large", False),
        ("552 5.3.4", PAUSE, "message_too_large", False),
        ("250", RETRY, "out_of_sync", True),
        ("dropped", RETRY, "connection_lost", True),
        ("timeout", RETRY, "no_answer", True),
        ("garbage", RETRY, "not_a_reply", True),
    ],
)
def test_an_answer_to_mail_is_about_the_sender_or_the_campaign(
    said: str, action: Action, reason: str, close: bool
) -> None:
    verdict = smtp("mail", said)
    assert (verdict.action, verdict.reason, verdict.close) == (action, reason, close)


@pytest.mark.parametrize(
    ("said", "action", "reason", "close"),
    [
        ("421", SLOW, "busy_at_recipient", True),
        ("450", RETRY, "greylisted", False),
        ("451", RETRY, "greylisted", False),
        ("451 4.7.1", RETRY, "greylisted", False),
        ("450 4.2.0", RETRY, "greylisted", False),
        ("450 4.2.1", RETRY, "mailbox_disabled", False),
        ("452 4.2.2", RETRY, "mailbox_full", False),
        ("452", RETRY, "storage_full", False),
        ("452 4.3.1", RETRY, "storage_full", False),
        ("451 4.4.3", RETRY, "routing_trouble", False),
        ("454", RETRY, "refused_for_now", False),
        ("454 4.7.1", RETRY, "refused_for_now", False),
        ("450 4.7.25", RETRY, "refused_for_now", False),
        ("450 4.7.26", RETRY, "refused_for_now", False),
        ("450 4.7.27", RETRY, "refused_for_now", False),
        ("452 4.5.3", SLOW, "too_many_recipients", False),
        ("552", RETRY, "storage_full", False),
        ("552 5.5.3", SLOW, "too_many_recipients", False),
        ("503 5.5.1", RETRY, "out_of_sync", True),
        ("530 5.7.0", STOP, "login_required", True),
        ("534", STOP, "login_required", True),
        ("535", STOP, "login_required", True),
        ("538", STOP, "login_required", True),
        ("550 5.1.1", SUPPRESS, "mailbox_unknown", False),
        ("550 5.1.2", SUPPRESS, "domain_unknown", False),
        ("501 5.1.3", SUPPRESS, "address_malformed", False),
        ("551 5.1.6", SUPPRESS, "mailbox_moved", False),
        ("556 5.1.10", SUPPRESS, "domain_takes_no_mail", False),
        ("556", SUPPRESS, "domain_takes_no_mail", False),
        ("521", FAIL, "domain_takes_no_mail", False),
        ("521 5.1.10", SUPPRESS, "domain_takes_no_mail", False),
        ("550 5.2.1", SUPPRESS, "mailbox_disabled", False),
        ("550 5.1.4", FAIL, "address_ambiguous", False),
        ("550 5.1.7", PAUSE, "sender_refused", False),
        ("550 5.1.8", PAUSE, "sender_refused", False),
        ("552 5.2.2", FAIL, "mailbox_full", False),
        ("552 5.2.3", FAIL, "message_too_large", False),
        ("552 5.3.4", FAIL, "message_too_large", False),
        ("550 5.7.1", FAIL, "refused_by_policy", False),
        ("554 5.7.1", FAIL, "refused_by_policy", False),
        ("550 5.7.17", FAIL, "mailbox_owner_changed", False),
        ("550 5.7.18", FAIL, "domain_owner_changed", False),
        ("550 5.7.25", PAUSE, "sender_unauthenticated", False),
        ("550 5.7.26", PAUSE, "sender_unauthenticated", False),
        ("550 5.7.27", PAUSE, "sender_unauthenticated", False),
        ("550", FAIL, "recipient_refused", False),
        ("550 5.4.1", FAIL, "recipient_refused", False),
        ("553 5.6.7", FAIL, "recipient_refused", False),
        ("251", RETRY, "out_of_sync", True),
        ("dropped", RETRY, "connection_lost", True),
        ("timeout", RETRY, "no_answer", True),
        ("garbage", RETRY, "not_a_reply", True),
    ],
)
def test_an_answer_to_rcpt_is_about_the_recipient(
    said: str, action: Action, reason: str, close: bool
) -> None:
    verdict = smtp("rcpt", said)
    assert (verdict.action, verdict.reason, verdict.close) == (action, reason, close)


@pytest.mark.parametrize(
    ("stage", "said", "action", "reason", "close"),
    [
        ("data", "421", RETRY, "refused_for_now", True),
        ("data", "451", RETRY, "refused_for_now", False),
        ("data", "503 5.5.1", RETRY, "out_of_sync", True),
        ("data", "530", STOP, "login_required", True),
        ("data", "534", STOP, "login_required", True),
        ("data", "535", STOP, "login_required", True),
        ("data", "538", STOP, "login_required", True),
        ("data", "554 5.5.1", FAIL, "message_refused", False),
        ("data", "550 5.6.0", FAIL, "content_refused", False),
        ("data", "554 5.7.1", FAIL, "content_refused", False),
        ("data", "550 5.7.26", PAUSE, "sender_unauthenticated", False),
        ("data", "550 5.7.25", PAUSE, "sender_unauthenticated", False),
        ("data", "550 5.7.27", PAUSE, "sender_unauthenticated", False),
        ("data", "552 5.3.4", FAIL, "message_too_large", False),
        ("data", "550 5.1.8", PAUSE, "sender_refused", False),
        ("data", "250", RETRY, "out_of_sync", True),
        ("data", "dropped", RETRY, "connection_lost", True),
        ("data", "timeout", RETRY, "no_answer", True),
        ("data", "garbage", RETRY, "not_a_reply", True),
        ("body", "421", RETRY, "refused_for_now", True),
        ("body", "451", RETRY, "refused_for_now", True),
        ("body", "550", FAIL, "message_refused", True),
        ("body", "552", FAIL, "message_too_large", True),
        ("body", "552 5.3.4", FAIL, "message_too_large", True),
        ("body", "550 5.1.8", PAUSE, "sender_refused", True),
        ("body", "554 5.7.1", FAIL, "content_refused", True),
        ("body", "554 5.6.0", FAIL, "content_refused", True),
        ("body", "550 5.7.25", PAUSE, "sender_unauthenticated", True),
        ("body", "550 5.7.26", PAUSE, "sender_unauthenticated", True),
        ("body", "550 5.7.27", PAUSE, "sender_unauthenticated", True),
        ("body", "250", RETRY, "out_of_sync", True),
        ("body", "dropped", RETRY, "connection_lost", True),
        ("body", "timeout", RETRY, "no_answer", True),
        ("body", "garbage", RETRY, "not_a_reply", True),
    ],
)
def test_until_the_dot_is_sent_nothing_is_in_doubt(
    stage: str, said: str, action: Action, reason: str, close: bool
) -> None:
    verdict = smtp(stage, said)
    assert (verdict.action, verdict.reason, verdict.close) == (action, reason, close)


@pytest.mark.parametrize(
    ("said", "action", "reason", "close"),
    [
        ("250", ACCEPT, "", False),
        ("250 2.0.0", ACCEPT, "", False),
        ("251", ACCEPT, "", False),
        ("252", ACCEPT, "", False),
        ("354", DOUBT, "answer_lost", True),
        ("421 4.3.2", RETRY, "refused_for_now", True),
        ("451 4.3.0", RETRY, "refused_for_now", False),
        ("452", RETRY, "storage_full", False),
        ("452 4.2.2", RETRY, "mailbox_full", False),
        ("550", FAIL, "message_refused", False),
        ("554 5.7.1", FAIL, "content_refused", False),
        ("550 5.6.0", FAIL, "content_refused", False),
        ("550 5.1.1", FAIL, "message_refused", False),
        ("552", FAIL, "message_too_large", False),
        ("552 5.2.2", FAIL, "mailbox_full", False),
        ("552 5.3.4", FAIL, "message_too_large", False),
        ("550 5.1.8", PAUSE, "sender_refused", False),  # Exchange Online: a bad outbound sender
        ("550 5.7.25", PAUSE, "sender_unauthenticated", False),
        ("550 5.7.26", PAUSE, "sender_unauthenticated", False),
        ("550 5.7.27", PAUSE, "sender_unauthenticated", False),
        ("dropped", DOUBT, "answer_lost", True),
        ("timeout", DOUBT, "answer_lost", True),
        ("garbage", DOUBT, "answer_lost", True),
        ("199", DOUBT, "answer_lost", True),
        ("999", DOUBT, "answer_lost", True),
    ],
)
def test_after_the_dot_any_2xx_is_an_acceptance_and_a_lost_answer_is_doubt(
    said: str, action: Action, reason: str, close: bool
) -> None:
    verdict = smtp("dot", said)
    assert (verdict.action, verdict.reason, verdict.close) == (action, reason, close)


@pytest.mark.parametrize(
    ("stage", "said", "text", "action", "reason"),
    [
        ("mail", "454", "Throttling failure: Maximum sending rate exceeded.", SLOW, "too_fast"),
        ("rcpt", "454", "Throttling failure: Maximum sending rate exceeded.", SLOW, "too_fast"),
        ("dot", "454", "Throttling failure: Maximum sending rate exceeded.", SLOW, "too_fast"),
        ("mail", "454", "Throttling failure: Daily message quota exceeded.", PAUSE, "daily_quota"),
        ("dot", "454", "Throttling failure: Daily message quota exceeded.", PAUSE, "daily_quota"),
        ("dot", "554", "Message rejected: Email address is not verified.", PAUSE, "sender_refused"),
        ("data", "554 5.5.1", "Error: no valid recipients", RETRY, "out_of_sync"),
        ("rcpt", "452", "Greylisted, come back later", RETRY, "greylisted"),
        ("mail", "450 4.7.1", "Error: too much mail from 192.0.2.1", SLOW, "too_fast"),
        ("rcpt", "450 4.7.1", "Error: too many recipients from 192.0.2.1", SLOW, "too_fast"),
    ],
)
def test_text_that_blames_us_is_heeded(stage: str, said: str, text: str, action: Action, reason: str) -> None:
    verdict = smtp(stage, said, text)
    assert (verdict.action, verdict.reason) == (action, reason)


@pytest.mark.parametrize("stage", ["rcpt", "data", "dot"])
@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("421 4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume"),
        ("450", "host mx.example said: 421 4.7.0 [TSS11] All messages from 192.0.2.1 will be retried later"),
        (
            "451 4.7.650",
            "The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.",
        ),
        ("450 4.7.28", "Our system has detected an unusual rate of unsolicited mail from your network"),
        ("450", "Too many connections from your IP address, try again later"),
        ("451", "too many messages received from this host"),
    ],
)
def test_text_that_speaks_of_one_domain_rests_that_domain_alone(stage: str, said: str, text: str) -> None:
    verdict = smtp(stage, said, text)
    assert (verdict.action, verdict.reason) == (DOMAIN, "domain_throttled")


@pytest.mark.parametrize(
    ("stage", "said"),
    [("rcpt", "550 5.1.1"), ("dot", "554"), ("dot", "250"), ("dot", "dropped"), ("mail", "450")],
)
def test_rule_a_the_same_text_changes_nothing_where_it_cannot_be_about_the_domain(
    stage: str, said: str
) -> None:
    text = "[TSS04] too many connections from your IP"
    assert smtp(stage, said, text) == smtp(stage, said)


def test_a_recipients_own_limit_does_not_pause_the_campaign() -> None:
    verdict = smtp("rcpt", "452 4.2.2", "The recipient has exceeded their daily receiving limit")
    assert (verdict.action, verdict.reason) == (RETRY, "mailbox_full")
    text = "The user you are trying to contact is receiving mail at a rate that prevents additional messages"
    assert smtp("rcpt", "450 4.2.1", text).action is RETRY


def test_a_421_closes_the_connection_even_when_its_text_asks_to_slow_down() -> None:
    verdict = smtp("mail", "421", "Throttling: too many messages")
    assert (verdict.action, verdict.close) == (SLOW, True)


@pytest.mark.parametrize(
    ("said", "action", "reason"),
    [
        ("450 5.1.1", RETRY, "greylisted"),
        ("550 4.1.1", FAIL, "recipient_refused"),
        ("550 2.1.5", FAIL, "recipient_refused"),
        ("550 nonsense", FAIL, "recipient_refused"),
        ("550 5.", FAIL, "recipient_refused"),
    ],
)
def test_rule_a_an_enhanced_code_that_contradicts_the_number_is_ignored(
    said: str, action: Action, reason: str
) -> None:
    verdict = smtp("rcpt", said)
    assert (verdict.action, verdict.reason) == (action, reason)


def _cases(test: object, stage: str = "") -> set[tuple[str, str]]:
    """(stage, what was said) of the rows that a parametrised test names."""
    found = set()
    for mark in test.pytestmark:  # type: ignore[attr-defined] # reason: pytest puts it there
        for row in mark.args[1]:
            found.add((stage, row[0]) if stage else (row[0], row[1]))
    return found


def test_the_tests_above_name_every_cell_every_code_and_every_enhanced_code() -> None:
    named = _cases(test_before_the_first_message_every_answer_is_about_the_provider)
    named |= _cases(test_an_answer_to_mail_is_about_the_sender_or_the_campaign, "mail")
    named |= _cases(test_an_answer_to_rcpt_is_about_the_recipient, "rcpt")
    named |= _cases(test_until_the_dot_is_sent_nothing_is_in_doubt)
    named |= _cases(test_after_the_dot_any_2xx_is_an_acceptance_and_a_lost_answer_is_doubt, "dot")
    named |= {("connect", said) for said in [*SILENCES, "220", "421", "554"]}
    cells, codes, enhanced = set(), set(), set()
    for stage, said in named:
        code, _, more = said.partition(" ")
        answer = Answer(stage=Stage(stage), code=int(code)) if said not in SILENCES else None
        cells.add((Stage(stage), classify(answer) if answer else Class(said)))
        codes.add((Stage(stage), int(code) if answer else 0))
        enhanced |= {(Stage(stage), more), (Stage(stage), more.rpartition(".")[0] + ".*")}
    assert cells >= {(stage, kind) for stage, table in SMTP.items() for kind in table}
    assert codes >= set(SMTP_CODES)
    assert enhanced >= {(stage, code) for stage, table in SMTP_ENHANCED.items() for code in table}


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


# --- for every answer ------------------------------------------------------------------

codes = st.one_of(
    st.integers(-1, 1000), st.sampled_from([250, 354, 421, 450, 452, 454, 503, 535, 550, 552, 556])
)
enhanced = st.one_of(
    st.just(""),
    st.builds("{}.{}.{}".format, st.integers(2, 5), st.integers(0, 9), st.integers(0, 30)),
    st.text(max_size=8),
)
answers = st.builds(
    Answer,
    stage=st.sampled_from(Stage),
    signal=st.sampled_from(Signal),
    code=codes,
    enhanced=enhanced,
    vendor=st.one_of(st.just(""), st.sampled_from(sorted(TWILIO.words)), st.text(max_size=5)),
    text=st.one_of(st.text(max_size=40), st.sampled_from(["certificate", "STARTTLS", "Throttling failure"])),
    provider_id=st.sampled_from(["", "SM1"]),
    retry_after=st.one_of(st.none(), st.floats()),
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


# --- the words ------------------------------------------------------------------


def _all_reasons() -> set[str]:
    rows = [row for table in SMTP.values() for row in table.values()]
    rows += [*SMTP_CODES.values(), *(row for table in SMTP_ENHANCED.values() for row in table.values())]
    rows += [
        *(wording.row for wording in SMTP_TEXTS),
        *SENDING_LIMITS.values(),
        *TWILIO.words.values(),
        *COMMON.values(),
        *(row for table in (SES, SNS) for row in table.words.values()),
        *(wording.row for table in (SES, SNS) for wording in table.texts),
        *STATUSES.values(),
    ]
    return {row.reason for row in rows} - {""} | {"outbox_unwritable", "request_refused", "answer_lost"}


#: Why a message came back, or an address is suppressed, beside the words for answers.
CAME_BACK = {"bounced", "bounced_often", "complaint", "expired"}


def test_every_reason_has_a_sentence_and_no_sentence_is_left_over() -> None:
    assert _all_reasons() | CAME_BACK == set(SENTENCES)
    assert set(REASONS.values()) <= set(SENTENCES)


def test_sentences_and_reasons_have_their_form() -> None:
    for reason, sentence in SENTENCES.items():
        assert re.fullmatch(r"[a-z_]+", reason)
        assert re.fullmatch(r"[A-Z][^@\n]+\.", sentence)


def test_an_sms_is_not_explained_in_the_words_of_mail() -> None:
    answer = Answer(stage=Stage.RCPT, code=550, enhanced="5.1.1")
    assert "mailbox" in judge(answer, Channel.EMAIL).detail
    assert not re.search("mail", judge(answer, Channel.SMS).detail)


@pytest.mark.parametrize("reason", ["greylisted", "mailbox_full", "gave_up"])
def test_another_try_may_help_where_nothing_was_wrong_for_good(reason: str) -> None:
    assert class_of(DeliveryState.FAILED, reason) == "transient"
    assert class_of(DeliveryState.UNDELIVERED, reason) == "permanent"
    assert class_of(DeliveryState.IN_DOUBT, reason) == "in_doubt"


@pytest.mark.parametrize("reason", ["mailbox_unknown", "a word from another time"])
def test_another_try_helps_nobody_whose_address_is_wrong(reason: str) -> None:
    assert class_of(DeliveryState.FAILED, reason) == "permanent"


def test_every_word_that_another_try_may_help_is_one_of_ours() -> None:
    assert set(SENTENCES) | {"gave_up"} >= TRANSIENT


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
