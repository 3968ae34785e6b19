"""What the answers of Amazon SES mean.

Source: Amazon SES API v2 Reference, SendEmail, and Developer Guide, "Errors related to the sending quotas"
and "Amazon SES email sending errors".
"""

from __future__ import annotations

import re

from hubd.core.request_verdicts import RequestVerdicts, Wording
from hubd.core.verdict_tables import Action, Row
from hubd.providers.aws.verdicts import COMMON

#: What we refuse before a request: SES takes no address whose local part is not ASCII.
NOT_ASCII = "LocalPartNotAscii"

#: The quota counts the last 24 hours, so a part of it becomes free all the time.
_DAY_WAIT = 1800.0
_REFUSED = frozenset(range(400, 500))

_DAILY_QUOTA = Row(
    Action.PROVIDER,
    "daily_quota",
    least_wait=_DAY_WAIT,
    sentence="The quota of Amazon SES for 24 hours is used up; sending continues as the window frees.",
)
_NOT_VERIFIED = Row(
    Action.PAUSE,
    "sender_refused",
    sentence="Amazon SES has not verified an address of this message. Verify the sender or its domain; while "
    "the account is in the sandbox, each recipient must also be verified; or ask AWS for production access.",
)
_PAUSED = Row(
    Action.PROVIDER_STOP,
    "account_suspended",
    sentence="Amazon SES has stopped this account or configuration set from sending; see its console.",
)


def _says(pattern: str, row: Row) -> Wording:
    return Wording(_REFUSED, re.compile(pattern, re.IGNORECASE), row)


VERDICTS = RequestVerdicts(
    accepted=frozenset({200}),
    texts=(
        _says(r"daily (message|sending) quota", _DAILY_QUOTA),
        _says(r"^MessageRejected: .*not verified", _NOT_VERIFIED),
        _says(
            r"^MessageRejected: .*(message length|too (large|long))", Row(Action.PAUSE, "message_too_large")
        ),
        _says(r"^(MessageRejected|AccountSendingPausedException): .*sending (is )?paused", _PAUSED),
    ),
    words={
        **COMMON,
        "AccountSuspendedException": _PAUSED,
        "AccountSendingPausedException": _PAUSED,
        "ConfigurationSetSendingPausedException": _PAUSED,
        "SendingPausedException": _PAUSED,
        "MailFromDomainNotVerifiedException": Row(
            Action.PAUSE,
            "sender_refused",
            sentence="Amazon SES has not verified the MAIL FROM domain of the sender; check its DNS records.",
        ),
        "NotFoundException": Row(
            Action.PAUSE,
            "request_refused",
            sentence="Amazon SES does not know the configuration set, at least not in this region; check "
            "configuration_set and region.",
        ),
        "LimitExceededException": Row(Action.PAUSE, "sending_limit"),
        "MessageRejected": Row(Action.FAIL, "message_refused", sentence="Amazon SES refused the message."),
        "BadRequestException": Row(Action.FAIL, "request_refused"),
        NOT_ASCII: Row(
            Action.FAIL,
            "address_malformed",
            sentence="Amazon SES sends only to addresses that have nothing but ASCII before the @.",
        ),
    },
)
