"""The words for what an answer means, and what they say of another try."""

from __future__ import annotations

import re

import pytest

from hubd.core.inbound_effects import _REASONS as REASONS
from hubd.core.model import Answer, Channel, DeliveryState, Stage
from hubd.core.reasons import SENTENCES, TRANSIENT, class_of
from hubd.core.request_verdicts import STATUSES
from hubd.core.verdict import judge
from hubd.core.verdict_tables import SENDING_LIMITS, SMTP, SMTP_CODES, SMTP_ENHANCED, SMTP_TEXTS
from hubd.providers.aws.verdicts import COMMON
from hubd.providers.ses.verdicts import VERDICTS as SES
from hubd.providers.sns.verdicts import VERDICTS as SNS
from hubd.providers.twilio.verdicts import VERDICTS as TWILIO


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
#: Why nobody may send a message again yet.
HELD = {"waits_for_provider"}


def test_every_reason_has_a_sentence_and_no_sentence_is_left_over() -> None:
    assert _all_reasons() | CAME_BACK | HELD == set(SENTENCES)
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
