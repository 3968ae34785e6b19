"""What the answers of Amazon SNS mean when it is to send a text message.

Source: Amazon SNS API Reference, Publish. No answer to a message says whether it was sent at all, or what the
spending limit is.
"""

from __future__ import annotations

import re

from hubd.core.request_verdicts import RequestVerdicts, Wording
from hubd.core.verdict_tables import Action, Row
from hubd.providers.aws.verdicts import COMMON

#: What we refuse before a request.
TOO_LONG = "MessageTooLong"

_REFUSED = frozenset(range(400, 500))
#: Also the answer to each number where the region sends no texts, so that nobody is suppressed for it.
_NUMBER_REFUSED = Row(
    Action.FAIL,
    "recipient_refused",
    sentence="Amazon SNS does not send to this number; it may not be valid, or the region does not send "
    "to its country.",
)
_OPTED_OUT = Row(Action.SUPPRESS, "opted_out")
_OUR_FAULT = Row(
    Action.PAUSE,
    "request_refused",
    sentence="Amazon SNS does not accept a setting of this message; check sender, sms_type and max_price.",
)
_SANDBOX = Row(
    Action.PAUSE,
    "trial_account",
    sentence="The account is in the SMS sandbox of Amazon SNS and may only send to verified numbers.",
)
_TOO_LONG = Row(
    Action.FAIL,
    "message_too_large",
    sentence="The text is longer than the 1,600 bytes that Amazon SNS accepts.",
)
_NO_KEY = Row(Action.PROVIDER_STOP, "login_refused")


def _says(pattern: str, row: Row) -> Wording:
    return Wording(_REFUSED, re.compile(pattern, re.IGNORECASE), row)


VERDICTS = RequestVerdicts(
    accepted=frozenset({200}),
    texts=(
        _says(r"opted.?out", _OPTED_OUT),
        _says(r"\bsandbox\b", _SANDBOX),
        _says(r"^InvalidParameter\w*: .*\bphone ?number\b", _NUMBER_REFUSED),
        _says(r"^InvalidParameter\w*: .*\b(message too long|message length)", _TOO_LONG),
    ),
    words={
        **COMMON,
        "InvalidParameter": _OUR_FAULT,
        "InvalidParameterException": _OUR_FAULT,
        "InvalidParameterValue": _OUR_FAULT,
        "InvalidParameterValueException": _OUR_FAULT,
        "ParameterValueInvalid": _OUR_FAULT,
        "ValidationError": _OUR_FAULT,
        "ValidationException": _OUR_FAULT,
        "KMSAccessDenied": _NO_KEY,
        "KMSDisabled": _NO_KEY,
        "KMSInvalidState": _NO_KEY,
        "KMSNotFound": _NO_KEY,
        "KMSOptInRequired": _NO_KEY,
        "KMSThrottling": Row(Action.SLOW, "too_fast"),
        TOO_LONG: _TOO_LONG,
    },
)
