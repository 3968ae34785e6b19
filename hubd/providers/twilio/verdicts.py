"""What Twilio's answers mean. Source: its pages of error codes, https://www.twilio.com/docs/api/errors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hubd.core.request_verdicts import RequestVerdicts
from hubd.core.verdict_tables import Action, Row

A = Action

_NOT_A_SENDER = Row(A.PAUSE, "sender_refused")
_NO_ACCOUNT = Row(A.PROVIDER_STOP, "account_unknown")
_SUSPENDED = Row(A.PROVIDER_STOP, "account_suspended")
_NOT_MOBILE = Row(A.SUPPRESS, "not_a_mobile_number")

_ERRORS: Mapping[str, Row] = MappingProxyType(
    {
        "20003": Row(A.PROVIDER_STOP, "bad_credentials"),
        "20005": _SUSPENDED,
        "20404": _NO_ACCOUNT,
        "20429": Row(A.SLOW, "too_fast"),  # never processed, always safe to try again
        "21211": Row(A.SUPPRESS, "number_invalid"),
        "21212": _NOT_A_SENDER,
        "21401": _NOT_A_SENDER,
        "21408": Row(A.FAIL, "region_not_permitted"),
        "21601": _NOT_A_SENDER,
        "21602": Row(A.PAUSE, "content_refused"),
        "21603": _NOT_A_SENDER,
        "21606": _NOT_A_SENDER,
        "21608": Row(A.PAUSE, "trial_account"),
        "21610": Row(A.SUPPRESS, "opted_out"),
        "21611": Row(A.PROVIDER, "sender_queue_full"),
        "21612": Row(A.FAIL, "route_missing"),
        "21614": _NOT_MOBILE,
        "21617": Row(A.PAUSE, "message_too_large"),
        "21635": _NOT_MOBILE,
        "21659": _NOT_A_SENDER,
        "21704": _NOT_A_SENDER,
        "30001": Row(A.SLOW, "too_fast"),
        "30002": _SUSPENDED,
        "30003": Row(A.RETRY, "handset_unreachable", most_tries=2, least_wait=4 * 3600.0),
        "30004": Row(A.FAIL, "blocked"),
        "30005": Row(A.RETRY, "number_unknown", most_tries=2, then=A.SUPPRESS),
        "30006": _NOT_MOBILE,
        "30007": Row(A.FAIL, "content_refused"),
        "30008": Row(A.RETRY, "refused_for_now", most_tries=2),
        "30022": Row(A.SLOW, "too_fast"),
        "30034": Row(A.PROVIDER_STOP, "sender_unregistered"),
        "30500": Row(A.RETRY, "refused_for_now"),
        "63038": Row(A.PAUSE, "daily_quota"),
    }
)

#: Twilio names each message that it has accepted.
VERDICTS = RequestVerdicts(words=_ERRORS)
