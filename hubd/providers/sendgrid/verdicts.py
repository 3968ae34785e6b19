"""What SendGrid's answers mean.

Source: its Mail Send page, https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send, and the
page of its error messages. An error is identified by the request field that it is about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from hubd.core.request_verdicts import STATUSES, RequestVerdicts, Wording
from hubd.core.verdict_tables import Action, Row

A = Action


def _says(status: int, pattern: str, row: Row) -> Wording:
    return Wording(frozenset({status}), re.compile(pattern, re.IGNORECASE), row)


_SENDER = Row(A.PAUSE, "sender_refused")
_OUT_OF_ORDER = Row(A.PROVIDER_STOP, "account_unknown")

_TEXTS = (
    _says(400, r"^personalizations\.\d+\.to\b", Row(A.FAIL, "recipient_refused")),
    _says(400, r"^from\b", _SENDER),
    # "Maximum credits exceeded" comes with the status of a wrong key.
    _says(
        401,
        r"credits? exceeded|exceeded .{0,20}(credits|messaging limits)",
        Row(
            A.PROVIDER_STOP,
            "daily_quota",
            sentence="The SendGrid account has used up its credits; it can send again when they are renewed.",
        ),
    ),
    _says(403, r"^from\b|\bfrom address\b|verified sender", _SENDER),
)

#: A 400 about anything but the recipient would be the same for everybody.
_STATUSES: Mapping[int, Row] = MappingProxyType(
    {
        **STATUSES,
        400: Row(A.PAUSE, "request_refused"),
        404: _OUT_OF_ORDER,
        405: _OUT_OF_ORDER,
        451: Row(A.PROVIDER_STOP, "login_refused"),  # the account is kept in another region
    }
)

#: A 202 is an acceptance even if it does not name the message. Any other 2xx is in doubt.
VERDICTS = RequestVerdicts(accepted=frozenset({202}), needs_id=False, texts=_TEXTS, statuses=_STATUSES)
