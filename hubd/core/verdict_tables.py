"""The tables behind `verdict.judge`: what each kind of answer means, cell by cell.

Sources: RFC 5321 (reply codes), RFC 3463 and the IANA registry (enhanced codes), RFC 4954 (AUTH), and what
large servers were seen to say. Which table goes before which is in `verdict`; the tables of providers that
speak HTTP are theirs (see `request_verdicts`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from hubd.core.model import Stage
from hubd.core.sending_limits import Limit


class Action(StrEnum):
    """What to do about an answer."""

    ACCEPT = "accept"  #: the provider has it: sent
    RETRY = "retry"  #: definitely not accepted; counts as an attempt, due again later
    FAIL = "fail"  #: refused for good
    SUPPRESS = "suppress"  #: refused for good, and the address is to be suppressed
    DOUBT = "doubt"  #: it may have been accepted
    PAUSE = "pause"  #: the campaign needs a person; the recipient goes back untouched
    PROVIDER = "provider"  #: provider trouble: the recipient goes back, the provider rests with backoff
    PROVIDER_STOP = "provider_stop"  #: provider trouble that needs a person
    SLOW = "slow"  #: too fast: not an attempt; the provider is used more slowly, after `retry_after`
    DOMAIN = "domain"  #: trouble with one destination domain: it rests, the recipient goes back untouched


class Class(StrEnum):
    """The column of the tables: what kind of answer it is."""

    POSITIVE = "positive"  #: 2xx, 3xx
    TRANSIENT = "transient"  #: 4xx
    PERMANENT = "permanent"  #: 5xx
    DROPPED = "dropped"
    TIMEOUT = "timeout"
    GARBAGE = "garbage"  #: not a reply, or a code outside 200 to 599


class Row(NamedTuple):
    """One cell of a table."""

    action: Action
    reason: str
    close: bool = False
    most_tries: int = 0  #: after so many tries `then` holds; 0: the campaign's retry policy alone ends them
    then: Action = Action.FAIL
    least_wait: float = 0.0  #: seconds until another try makes sense
    sentence: str = ""  #: for people, where it says more than the sentence of the reason


A = Action
K = Class
S = Stage

# --- SMTP, stage x class: what holds when nothing more particular does

_DESYNC = Row(A.RETRY, "out_of_sync", close=True)
_UNREACHABLE = Row(A.PROVIDER, "provider_unreachable", close=True)
_BUSY = Row(A.PROVIDER, "provider_busy", close=True)
_TOO_BUSY = Row(A.SLOW, "provider_busy", close=True)
_REFUSED = Row(A.PROVIDER, "provider_refused", close=True)
_NONSENSE = Row(A.PROVIDER, "provider_nonsense", close=True)
_TLS = Row(A.PROVIDER, "tls_unavailable", close=True)
_LOST = Row(A.RETRY, "connection_lost", close=True)
_SILENT = Row(A.RETRY, "no_answer", close=True)
_NOT_A_REPLY = Row(A.RETRY, "not_a_reply", close=True)
_RETRY = Row(A.RETRY, "refused_for_now")
_IN_DOUBT = Row(A.DOUBT, "answer_lost", close=True)


def _stage(
    positive: Row, transient: Row, permanent: Row, dropped: Row, timeout: Row, garbage: Row
) -> Mapping[Class, Row]:
    return MappingProxyType(
        dict(zip(Class, (positive, transient, permanent, dropped, timeout, garbage), strict=True))
    )


#: A positive reply before the dot is never an acceptance: it means that the conversation is out of step.
SMTP: Mapping[Stage, Mapping[Class, Row]] = MappingProxyType(
    {
        S.CONNECT: _stage(_UNREACHABLE, _UNREACHABLE, _UNREACHABLE, _UNREACHABLE, _UNREACHABLE, _UNREACHABLE),
        S.TLS: _stage(_NONSENSE, _TLS, Row(A.PROVIDER_STOP, "tls_refused", close=True), _TLS, _TLS, _TLS),
        S.BANNER: _stage(_NONSENSE, _BUSY, _REFUSED, _UNREACHABLE, _UNREACHABLE, _NONSENSE),
        S.EHLO: _stage(_NONSENSE, _BUSY, _REFUSED, _UNREACHABLE, _UNREACHABLE, _NONSENSE),
        S.AUTH: _stage(
            _NONSENSE,
            Row(A.PROVIDER, "login_unavailable", close=True),
            Row(A.PROVIDER_STOP, "login_refused", close=True),
            _UNREACHABLE,
            _UNREACHABLE,
            _NONSENSE,
        ),
        # MAIL does not know the recipient: a refusal here would be the same for everybody.
        S.MAIL: _stage(_DESYNC, _RETRY, Row(A.PAUSE, "sender_refused"), _LOST, _SILENT, _NOT_A_REPLY),
        S.RCPT: _stage(_DESYNC, _RETRY, Row(A.FAIL, "recipient_refused"), _LOST, _SILENT, _NOT_A_REPLY),
        S.DATA: _stage(_DESYNC, _RETRY, Row(A.FAIL, "message_refused"), _LOST, _SILENT, _NOT_A_REPLY),
        # A reply before the whole body was written leaves the connection in the middle of a message.
        S.BODY: _stage(
            _DESYNC,
            Row(A.RETRY, "refused_for_now", close=True),
            Row(A.FAIL, "message_refused", close=True),
            _LOST,
            _SILENT,
            _NOT_A_REPLY,
        ),
        S.DOT: _stage(
            Row(A.ACCEPT, ""), _RETRY, Row(A.FAIL, "message_refused"), _IN_DOUBT, _IN_DOUBT, _IN_DOUBT
        ),
    }
)

# --- SMTP, reply codes ------------------------------------------------------------------

_BAD_LOGIN = Row(A.PROVIDER_STOP, "bad_credentials", close=True)
_NO_METHOD = Row(A.PROVIDER_STOP, "login_unsupported", close=True)
_LOGIN_FIRST = Row(A.PROVIDER_STOP, "login_required", close=True)
_TOO_LARGE = Row(A.PAUSE, "message_too_large")
_TOO_LARGE_HERE = Row(A.FAIL, "message_too_large")
_FULL = Row(A.RETRY, "storage_full")

SMTP_CODES: Mapping[tuple[Stage, int], Row] = MappingProxyType(
    {
        **{(S.AUTH, code): _BAD_LOGIN for code in (530, 534, 535)},
        **{(S.AUTH, code): _NO_METHOD for code in (502, 504)},
        (S.AUTH, 538): Row(A.PROVIDER_STOP, "encryption_required", close=True),
        **{(s, code): _LOGIN_FIRST for s in (S.MAIL, S.RCPT, S.DATA) for code in (530, 534, 535, 538)},
        **{(s, 421): _TOO_BUSY for s in (S.TLS, S.BANNER, S.EHLO, S.AUTH, S.MAIL)},
        (S.RCPT, 421): Row(A.SLOW, "busy_at_recipient", close=True),
        # From here on a 421 may be about this very message, which would then slow the provider for all.
        **{(s, 421): Row(A.RETRY, "refused_for_now", close=True) for s in (S.DATA, S.BODY, S.DOT)},
        # RFC 4954 and RFC 3207 have 454 for AUTH and STARTTLS. At MAIL it cannot be about the recipient;
        # at RCPT it is what Postfix says to those whom it does not relay for, for now.
        (S.MAIL, 454): Row(A.SLOW, "provider_busy"),
        (S.RCPT, 454): _RETRY,
        **{(s, 503): _DESYNC for s in (S.MAIL, S.RCPT, S.DATA)},
        (S.MAIL, 552): _TOO_LARGE,  # RFC 1870 section 6.1: the declared size is too large
        (S.MAIL, 452): _FULL,
        (S.RCPT, 452): _FULL,
        (S.RCPT, 552): _FULL,  # RFC 5321 section 4.5.3.1.10: treat as 452
        (S.RCPT, 556): Row(A.SUPPRESS, "domain_takes_no_mail"),  # RFC 7504 section 4, RFC 7505
        (S.RCPT, 521): Row(A.FAIL, "domain_takes_no_mail"),  # some servers block senders with it
        (S.BODY, 552): Row(A.FAIL, "message_too_large", close=True),
        (S.DOT, 452): _FULL,
        (S.DOT, 552): _TOO_LARGE_HERE,
    }
)

#: Codes that say what is wrong with the conversation, whatever enhanced code comes along.
SMTP_CODE_FIRST = frozenset({421, 454, 503, 530, 534, 535, 538})

# --- SMTP, enhanced codes: "*" as the last part stands for the whole subject

_UNAUTHENTICATED = Row(A.PAUSE, "sender_unauthenticated")
_SENDER = Row(A.PAUSE, "sender_refused")
_MAILBOX_FULL = Row(A.RETRY, "mailbox_full", most_tries=3)
_TOO_MANY = Row(A.SLOW, "too_many_recipients")
_POLICY = Row(A.FAIL, "refused_by_policy")
_CONTENT = Row(A.FAIL, "content_refused")

_AUTHENTICATION_OF_OURS = {f"5.7.{n}": _UNAUTHENTICATED for n in (25, 26, 27)}  # RFC 7372, RFC 7505
_AFTER_RCPT = {
    **_AUTHENTICATION_OF_OURS,
    "5.1.8": _SENDER,
    "5.3.4": _TOO_LARGE_HERE,
    "5.6.*": _CONTENT,
    "5.7.*": _CONTENT,
}

SMTP_ENHANCED: Mapping[Stage, Mapping[str, Row]] = MappingProxyType(
    {
        S.MAIL: {
            **_AUTHENTICATION_OF_OURS,
            "5.1.7": _SENDER,
            "5.1.8": _SENDER,
            "5.7.*": _SENDER,
            "5.3.4": _TOO_LARGE,
            "4.3.1": _FULL,
        },
        S.RCPT: {
            "5.1.1": Row(A.SUPPRESS, "mailbox_unknown"),
            "5.1.2": Row(A.SUPPRESS, "domain_unknown"),
            "5.1.3": Row(A.SUPPRESS, "address_malformed"),
            "5.1.6": Row(A.SUPPRESS, "mailbox_moved"),
            "5.1.10": Row(A.SUPPRESS, "domain_takes_no_mail"),
            "5.2.1": Row(A.SUPPRESS, "mailbox_disabled"),
            "5.1.4": Row(A.FAIL, "address_ambiguous"),
            "5.1.7": _SENDER,  # servers that hold a refusal of the sender back until RCPT
            "5.1.8": _SENDER,
            "5.2.2": Row(A.FAIL, "mailbox_full"),
            "5.2.3": _TOO_LARGE_HERE,
            "5.3.4": _TOO_LARGE_HERE,
            "5.5.3": _TOO_MANY,
            "5.7.17": Row(A.FAIL, "mailbox_owner_changed"),  # RFC 7293
            "5.7.18": Row(A.FAIL, "domain_owner_changed"),
            **_AUTHENTICATION_OF_OURS,
            "5.7.*": _POLICY,
            "4.2.1": Row(A.RETRY, "mailbox_disabled"),
            "4.2.2": _MAILBOX_FULL,
            "4.3.1": _FULL,
            "4.4.*": Row(A.RETRY, "routing_trouble"),
            "4.5.3": _TOO_MANY,
            **{f"4.7.{n}": _RETRY for n in (25, 26, 27)},  # our authentication, refused softly
            "4.7.*": Row(A.RETRY, "greylisted"),
        },
        S.DATA: _AFTER_RCPT,
        S.BODY: _AFTER_RCPT,
        S.DOT: {**_AFTER_RCPT, "5.2.2": Row(A.FAIL, "mailbox_full"), "4.2.2": _MAILBOX_FULL},
    }
)

# --- SMTP, what an account may send: said with temporary and with permanent codes

SENDING_LIMITS: Mapping[Limit, Row] = MappingProxyType(
    {
        "daily_quota": Row(A.PAUSE, "daily_quota"),
        "sending_limit": Row(A.PAUSE, "sending_limit"),
        "too_fast": Row(A.SLOW, "too_fast", least_wait=60.0),
    }
)

# --- SMTP, text: only ever blames the provider or ourselves (rule A)


class Wording(NamedTuple):
    """A row of the table of texts."""

    stages: frozenset[Stage]
    classes: frozenset[Class]
    pattern: re.Pattern[str]
    row: Row


_LOGGING_IN = frozenset({S.TLS, S.BANNER, S.EHLO, S.AUTH})
#: From the first command that is about a message.
MESSAGE = frozenset({S.MAIL, S.RCPT, S.DATA, S.BODY, S.DOT})
_ABOUT_US = MESSAGE - {S.RCPT}
_FROM_BEYOND = MESSAGE - {S.MAIL}  # where a relay may repeat what the recipient's server said


def _says(stages: frozenset[Stage], classes: tuple[Class, ...], pattern: str, row: Row) -> Wording:
    return Wording(stages, frozenset(classes), re.compile(pattern, re.IGNORECASE), row)


_CONCURRENCY = (
    r"too many (concurrent|simultaneous|open|active|parallel) (smtp )?(connections?|sessions?|logins?)\b"
    r"|(maximum|max\.?) (allowed )?(number of )?(concurrent |simultaneous )?(server |smtp )?"
    r"(connections?|sessions?|logins?)\b"
    r"|(connections?|sessions?) (count )?limit"
    r"|(concurrent|simultaneous) (smtp )?(connections?|sessions?|logins?) .{0,20}(exceeded|reached)"
)
_GREETED = frozenset({S.EHLO, S.MAIL, S.RCPT})
_GREETING = (
    r"\b(helo|ehlo)\b.{0,60}(reject|refus|invalid|not accept|denied|fully.qualified|syntax|bad\b)"
    r"|(invalid|bad|illegal|malformed|forged) (helo|ehlo)\b|need fully.qualified (host|domain)"
)
_TOO_MANY_CONNECTIONS = r"too many (smtp )?(connections|sessions|logins)\b|" + _CONCURRENCY

SMTP_TEXTS: tuple[Wording, ...] = (
    _says(
        frozenset({S.TLS, S.CONNECT}),
        (K.GARBAGE, K.DROPPED),
        r"certificate|hostname mismatch",
        Row(A.PROVIDER_STOP, "tls_certificate", close=True),
    ),
    _says(
        frozenset({S.TLS, S.EHLO}),
        (K.GARBAGE, K.POSITIVE, K.PERMANENT),
        r"STARTTLS",
        Row(A.PROVIDER_STOP, "starttls_missing", close=True),
    ),
    # Postfix speaks of us: "450 4.7.1 Error: too much mail from ..." (its limits per client).
    _says(
        frozenset({S.MAIL, S.RCPT}),
        (K.TRANSIENT,),
        r"^error: too (much mail|many (recipients|messages|connections)) from",
        Row(A.SLOW, "too_fast"),
    ),
    # Exim: "Too many concurrent SMTP connections from this IP"; Sendmail: "Too many open connections";
    # Exchange: "The maximum number of concurrent connections has exceeded a limit"; Office 365: "432 4.3.2
    # Concurrent connections limit exceeded"; Dovecot: "Maximum number of connections from user+IP exceeded".
    _says(
        _LOGGING_IN, (K.TRANSIENT,), _TOO_MANY_CONNECTIONS, Row(A.SLOW, "too_many_connections", close=True)
    ),
    _says(
        _LOGGING_IN,
        (K.PERMANENT,),
        _TOO_MANY_CONNECTIONS,
        Row(A.PROVIDER, "too_many_connections", close=True),
    ),
    _says(
        frozenset({S.MAIL}),
        (K.TRANSIENT, K.PERMANENT),
        _CONCURRENCY,
        Row(A.SLOW, "too_many_connections", close=True),
    ),
    # Postfix: "504 5.5.2 <pc>: Helo command rejected: need fully-qualified hostname", and 450 4.7.1 for a
    # name that does not resolve. It is said at RCPT, and the same for everybody.
    _says(_GREETED, (K.PERMANENT,), _GREETING, Row(A.PROVIDER_STOP, "greeting_refused", close=True)),
    _says(_GREETED, (K.TRANSIENT,), _GREETING, Row(A.PROVIDER, "greeting_refused", close=True)),
    # Yahoo: "[TSS04] Messages from ... temporarily deferred due to unexpected volume or user complaints";
    # Google: "4.7.28 ... an unusual rate of unsolicited mail"; Microsoft: "... rate limited due to IP ...".
    _says(
        _FROM_BEYOND,
        (K.TRANSIENT,),
        r"\[TSS\d\d\]|deferred due to (unexpected volume|user complaints)|unusual rate of .{0,20}mail"
        r"|rate limited due to IP reputation"
        r"|too many (concurrent |simultaneous )?(connections|sessions|messages) .{0,9}from (your|this) ",
        Row(A.DOMAIN, "domain_throttled"),
    ),
    # Amazon SES: "454 Throttling failure: Daily message quota exceeded", "... Maximum sending rate exceeded".
    # At RCPT such words may speak of the recipient's own limits, so there only the exact ones count.
    _says(
        _ABOUT_US,
        (K.TRANSIENT, K.PERMANENT),
        r"^(?!.*\b(user|mailbox|recipient) (has|is)\b).*daily .{0,20}(quota|limit)",
        Row(A.PAUSE, "daily_quota"),
    ),
    _says(_ABOUT_US, (K.TRANSIENT,), r"throttl|sending rate", Row(A.SLOW, "too_fast")),
    _says(frozenset({S.RCPT}), (K.TRANSIENT,), r"^throttling|maximum sending rate", Row(A.SLOW, "too_fast")),
    # Amazon SES: "554 Message rejected: Email address is not verified" is about the account, at any stage.
    _says(MESSAGE, (K.PERMANENT,), r"address(es)? (is|are) not verified", _SENDER),
    # Postfix: "554 5.7.1 Service unavailable; Client host [...] blocked using zen.spamhaus.org"; Outlook.com:
    # "550 5.7.1 Unfortunately, messages from [...] weren't sent ... part of their network is on our block
    # list".
    _says(
        MESSAGE,
        (K.PERMANENT,),
        r"\b(client|host|ip|server|network|sender)\b.{0,80}\b(blocked|listed|rejected) (using|by|in|on|at) "
        r"|\b(block|black|deny) ?-?list(ed)?\b",
        Row(A.FAIL, "block_listed"),
    ),
    # Exchange Online, where the directory has no such recipient. More of the kind is in `recipient_texts`.
    _says(
        frozenset({S.RCPT}),
        (K.PERMANENT,),
        r"all recipient addresses rejected ?: access denied",
        Row(A.FAIL, "address_rejected"),
    ),
    # After refused recipients DATA has nothing to carry; the verdict on them was given at RCPT (RFC 2920).
    _says(frozenset({S.DATA}), (K.PERMANENT,), r"no valid recipients", _DESYNC),
    _says(frozenset({S.RCPT}), (K.TRANSIENT,), r"gr[ae]y-?list", Row(A.RETRY, "greylisted")),
)
