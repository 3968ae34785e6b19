"""What the errors mean that every service of AWS has: keys, rights, the clock, rates.

Source: the pages "Common errors" of the services' API references; the Query API (SNS) and the JSON protocols
(SES, SQS) spell some of them differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hubd.core.verdict_tables import Action, Row

#: The keys or what was signed with them. Certainly not carried out.
REFUSED_KEYS = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignature",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClient",
        "UnrecognizedClientException",
    }
)
#: Keys that were good, for a while. Certainly not carried out.
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
#: The time of the request. Certainly not carried out.
CLOCK_SKEW = frozenset(
    {"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed", "RequestTimeTooSkewedException"}
)
_REFUSED_RIGHTS = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "NotAuthorized",
        "OptInRequired",
        "UnauthorizedOperation",
    }
)
_THROTTLED = frozenset(
    {
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

_BAD_KEYS = Row(
    Action.PROVIDER_STOP,
    "bad_credentials",
    sentence="AWS does not accept the keys; check access_key_id, secret_access_key and region.",
)
_NO_RIGHTS = Row(
    Action.PROVIDER_STOP,
    "login_refused",
    sentence="AWS does not allow these keys to do this; check the policy of their user or role.",
)
_TOO_OLD = Row(
    Action.PROVIDER_STOP, "bad_credentials", sentence="The AWS session has expired; log in to AWS again."
)

COMMON: Mapping[str, Row] = MappingProxyType(
    {
        **dict.fromkeys(REFUSED_KEYS, _BAD_KEYS),
        **dict.fromkeys(EXPIRED, _TOO_OLD),
        **dict.fromkeys(CLOCK_SKEW, Row(Action.PROVIDER_STOP, "clock_skew")),
        **dict.fromkeys(_REFUSED_RIGHTS, _NO_RIGHTS),
        **dict.fromkeys(_THROTTLED, Row(Action.SLOW, "too_fast")),
    }
)
