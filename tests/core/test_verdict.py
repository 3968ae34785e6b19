"""What an answer means: every row of the tables, and the three rules that stand above them."""

from __future__ import annotations

import pytest

from hubd.core.model import Answer, Channel, Signal, Stage
from hubd.core.verdict import Action, classify, judge, refuses_connection
from hubd.core.verdict_tables import SMTP, SMTP_CODES, SMTP_ENHANCED, Class
from tests.core.judged import (
    ACCEPT,
    BEFORE_MAIL,
    DOMAIN,
    DOUBT,
    FAIL,
    PAUSE,
    PROVIDER,
    RETRY,
    SILENCES,
    SLOW,
    STOP,
    SUPPRESS,
    smtp,
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
