"""What real servers say when an account has sent enough: nobody fails for it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.core.model import Answer, Channel, Stage
from hubd.core.verdict import Action, judge

_REPLY = re.compile(r"(\d{3})[ -](?:([45]\.\d{1,3}\.\d{1,3}) )?(.*)", re.DOTALL)

DAILY = [
    # Gmail and Google Workspace, support.google.com/a/answer/3726730
    "550 5.4.5 Daily user sending limit exceeded. See https://support.google.com/a/answer/166852",
    "550 5.4.5 Daily user sending quota exceeded. o65sm25351206pga.71 - gsmtp",
    "550 5.4.5 Daily SMTP relay sending limit exceeded for this user.",
    "550 5.4.6 Daily SMTP relay sending limit exceeded for this customer.",
    "421 4.3.0 Daily user sending limit exceeded. a17si3 - gsmtp",
    "452 4.5.3 Daily SMTP relay sending limit exceeded for this customer.",
    # Exchange Online, learn.microsoft.com "Email non-delivery reports"
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
    "550 5.7.232 Your message can't be sent because your trial tenant has exceeded its daily limit for "
    "sending email to external recipients",
    "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email "
    "to external recipients (tenant external recipient rate limit)",
    # Amazon SES
    "454 4.7.0 Throttling failure: Daily message quota exceeded.",
    # postfwd and other policy servers of Postfix
    "554 5.7.1 <DATA>: Data command rejected: limit of 400 rcpts per 24 hours reached",
    "450 4.7.1 <DATA>: Data command rejected: only 10 messages per day",
    # GoDaddy
    "550 <a@b.example> has exceeded its 24-hour sending limit. Messages to 250 recipients out of 250 allowed "
    "have been sent. Relay quota will reset in 3.86 hours.",
]
REACHED = [
    "552 Message would take you over your relay quota of 500",
    # Exchange Online
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due "
    "to a permanent exception with message The message can't be submitted because the sender's submission "
    "quota was exceeded.",
    "550 5.7.705 Access denied, tenant has exceeded threshold",
    "550 5.7.508 Access denied, 203.0.113.7 has exceeded permitted limits within its range",
    # Outlook.com
    "554 5.2.0 OutboundSpamException; Failed to process message due to a permanent exception with message "
    "[BeginDiagnosticData]WASCL UserAction verdict is not None. Actual verdict is Suspend, ShowTierUpgrade.",
    # Gmail, in the words of its own bounces
    "550 5.4.5 You have reached a limit for sending mail. Your message was not sent.",
    # GMX, WEB.DE, IONOS
    "450 Requested mail action not taken: mailbox unavailable Mail send limit exceeded",
    "554 5.7.1 Reached address outgoing limits for a@b.example",
    "554 5.7.1 <a@b.example>: Recipient address rejected: You have exceeded your Outmail quota.",
    "451 Authentication failed: Maximum credits exceeded",
    "451 You have exceeded your messaging limits",
    "554 5.7.1 <a@b.example>: Recipient address rejected: Policy rejection; Message count quota exceeded",
    "550 Message rejected since outgoing message limit exceeded",
    "451 4.7.1 You've reached your sending limit. You can send again soon.",
]
SOON = [
    # cPanel
    "550 Domain b.example has exceeded the max emails per hour (150/150 (100%)) allowed. Message discarded.",
    "451 Domain b.example has exceeded the max emails per hour (25/25 (100%)) allowed.",
    # OVH
    "550 5.7.1 sorry, too many emails (#5.7.1)",
    "450 4.7.1 Too many emails sent, retry later",
    # Zoho
    "550 5.4.6 mail rate exceeded limit",
    "550 5.4.6 Unusual sending activity detected. Please try after sometime",
    # Mailcow, rspamd
    '451 4.7.1 Ratelimit "user" exceeded',
    # postfwd
    "450 4.7.1 <a@b.example>: Recipient address rejected: Number messages per hour exceeded",
    "554 5.7.1 <a@b.example>: Recipient address rejected: only 5 recipients per 5 minutes allowed",
    # Exchange Online
    "550 5.2.252 Sender throttled due to continuous send as denied errors.",
    "451 4.7.1 Hourly sending quota exceeded",
]
#: About the recipient, or the size of this message.
OTHERS = [
    "452 4.2.2 The email account that you tried to reach is over quota.",
    "552 5.2.2 The email account that you tried to reach is over quota.",
    "450 4.2.1 The user you are trying to contact is receiving mail too quickly.",
    "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional "
    "messages from being delivered.",
    "550 5.2.121 Recipient's per hour message receive limit from this sender exceeded",
    "550 5.2.122 Recipient's per hour message receive limit exceeded",
    "452 4.2.2 Mailbox full",
    "452 4.2.2 user has exceeded his daily message quota",
    "550 5.2.0 The mailbox is over its limit of messages per day",
    "421 4.7.0 Maximum number of messages per connection exceeded",
    "450 4.2.1 Too many messages for this mailbox",
    "552 5.2.2 <a@b.example>: Quota exceeded (mailbox for user is full)",
    "550 5.2.2 Mailbox size limit exceeded",
    "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown in relay recipient table",
    "550 No such user here",
    "451 4.3.2 Please try again in 24 hours",
    "450 4.2.0 <a@b.example>: Recipient address rejected: Greylisted, try again in 300 seconds",
    "554 5.7.1 <a@b.example>: Relay access denied",
    "552 5.3.4 Message size exceeds fixed limit",
]
_LIMITS = frozenset({"daily_quota", "sending_limit", "too_fast"})


def verdict_of(reply: str, stage: Stage) -> tuple[Action, str]:
    match = _REPLY.fullmatch(reply)
    assert match
    code, enhanced, _ = match.groups()
    text = reply[4:]
    found = judge(
        Answer(stage=stage, code=int(code), enhanced=enhanced or "", text=text, verbatim=True), Channel.EMAIL
    )
    return found.action, found.reason


STAGES = st.sampled_from([Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY, Stage.DOT])


@pytest.mark.parametrize("reply", DAILY)
@given(stage=STAGES)
def test_a_daily_limit_pauses_the_campaign_at_any_stage(reply: str, stage: Stage) -> None:
    assert verdict_of(reply, stage) == (Action.PAUSE, "daily_quota")


@pytest.mark.parametrize("reply", REACHED)
@given(stage=STAGES)
def test_a_limit_of_unknown_length_pauses_the_campaign_at_any_stage(reply: str, stage: Stage) -> None:
    assert verdict_of(reply, stage) == (Action.PAUSE, "sending_limit")


@pytest.mark.parametrize("reply", SOON)
@given(stage=STAGES)
def test_an_hourly_limit_slows_the_provider_at_any_stage(reply: str, stage: Stage) -> None:
    assert verdict_of(reply, stage) == (Action.SLOW, "too_fast")


def test_after_an_hourly_limit_nothing_is_sent_for_a_minute() -> None:
    answer = Answer(stage=Stage.DATA, code=451, text="Hourly sending quota exceeded")
    assert judge(answer, Channel.EMAIL).retry_after == 60.0


@given(stage=STAGES)
def test_a_limit_per_second_is_no_reason_to_wait_that_long(stage: Stage) -> None:
    text = "Throttling failure: Maximum sending rate exceeded."
    verdict = judge(Answer(stage=stage, code=454, text=text), Channel.EMAIL)
    assert (verdict.action, verdict.reason, verdict.retry_after) == (Action.SLOW, "too_fast", None)


@pytest.mark.parametrize("reply", OTHERS)
def test_the_limits_of_a_recipient_or_of_a_size_are_not_taken_for_the_accounts(reply: str) -> None:
    for stage in (Stage.RCPT, Stage.DOT):
        assert verdict_of(reply, stage)[1] not in _LIMITS


@given(st.text(max_size=1000))
def test_no_text_is_beyond_judging(text: str) -> None:
    judge(Answer(stage=Stage.RCPT, code=550, text=text), Channel.EMAIL)


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname", Action.PROVIDER_STOP),
        ("550 5.7.1 <pc>: Helo command rejected: Invalid name", Action.PROVIDER_STOP),
        ("501 Syntactically invalid HELO argument(s)", Action.PROVIDER_STOP),
        ("450 4.7.1 <pc.acme.example>: Helo command rejected: Host not found", Action.PROVIDER),
    ],
)
@pytest.mark.parametrize("stage", [Stage.EHLO, Stage.MAIL, Stage.RCPT])
def test_a_refused_greeting_stops_the_provider_and_costs_no_recipient(
    reply: str, action: Action, stage: Stage
) -> None:
    assert verdict_of(reply, stage) == (action, "greeting_refused")


@pytest.mark.parametrize(
    ("reply", "action", "reason"),
    [
        ("535 5.7.8 Authentication failed: Maximum credits exceeded", Action.PROVIDER_STOP, "sending_limit"),
        ("451 4.7.1 Daily message quota exceeded", Action.PROVIDER, "daily_quota"),
        ("535 5.7.8 Username and Password not accepted", Action.PROVIDER_STOP, "bad_credentials"),
    ],
)
def test_a_limit_that_is_told_at_the_login_is_not_taken_for_a_wrong_password(
    reply: str, action: Action, reason: str
) -> None:
    assert verdict_of(reply, Stage.AUTH) == (action, reason)
