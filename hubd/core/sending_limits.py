"""What servers say when an account has sent as much as it may: for today, for this hour, or at all for now.

It is said at any stage, with temporary and with permanent codes, and is never about the recipient. A sentence
needs a word of sending, because recipients have limits as well; what speaks of receiving, of a message's size
or of connections is something else. Where the words come from is in `tests/core/test_sending_limits`.
"""

from __future__ import annotations

import re
from typing import Literal

#: "daily_quota" for today or longer, "too_fast" for this hour or less, "sending_limit" if it does not say.
Limit = Literal["", "daily_quota", "too_fast", "sending_limit"]

_SENTENCE = re.compile(r"(?<=[.;!])\s+")


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_HINT = _any(r"limit|quota|exceed|reached|too (many|much)|only [0-9]|throttled|credits|unusual|WASCL")
_OTHERS = _any(
    r"\breceiv|\binbound|\bincoming|\bmessage size|\bsize (limit|exceed)|recipient.s per ",
    r"\b(connection|session|login)s?\b",
)
#: Faster than so many a second, as Amazon SES says it: that is over in a second.
_THROTTLED = _any(r"\bthrottling\b|\bmaximum sending rate\b")
#: "The user has exceeded his daily quota" is said of recipients, too; "you have exceeded" is not.
_THEIRS = _any(r"\b(user|mailbox|recipient|account)('s)? (has |have |is |was )?(exceed|over|reached|at )")
_A_DAY = _any(r"\b(daily|monthly|per (day|month)|a day|each day|24[ -]?(h\b|hours?|hrs?)|per 24)\b")
_SOON = _any(
    r"\b(hourly|per (hour|minute|second)|an hour|a minute)\b",
    r"\b(in|per|within|last) [0-9]+ ?(minutes?|mins?|hours?|seconds?|h|m|s)\b",
)
_WHAT = _any(
    r"\b(e-?mails?|messages?|rcpts?|recipients?|send(ing|s)?|sent|relay|outgoing|submissions?)\b",
)
_MOST = _any(r"\b(limits?|quotas?|max(imum)?|allowed|allowance|exceed(s|ed|ing)?|reached|only [0-9]+)\b")
_SENDING = _any(
    r"\b(send(ing)?|sent|outgoing|outbound|outmail|relay(ing)?|submission|smtp|messaging) ?"
    r"(\w+ ){0,2}(limits?|quotas?|credits?|allowance)\b"
)
_OVER = _any(r"\b(exceed(s|ed|ing)?|reached|over|used up|hit)\b")
_TOO_FAST = _any(
    r"\brate ?-?limit\b.{0,40}\b(exceed|reached|hit)",
    r"\b(mail|sending|message|recipient) rate\b.{0,20}\bexceed",
    r"\bexceed\w* .{0,30}\b(mail|sending|message|recipient) rate",
    r"\b(sent|sending) too (many|much)\b",
    r"\btoo many (e-?mails|mails|messages)\b(?!.{0,40}\b(recipient|mailbox|user)\b)",
    r"\bsender (is )?throttled|\bunusual sending activity",
)
_REACHED = _any(
    r"\byou('ve| have)? (reached|exceeded) (your|a|the) .{0,30}(limit|quota)",
    r"\b(limit|quota) (for|of|on) (sending|outgoing|sent)\b",
    r"\b(tenant|account|domain|user) has exceeded (its |the )?(threshold|sending|permitted)",
    r"\bWASCL\b|\bexceeded permitted limits\b|\bmaximum credits exceeded\b|\bSubmissionQuotaExceeded",
    r"\bmessage (count |limit )?quota exceeded\b|\brecipient ?rate ?limit ?exceeded",
)


def sending_limit(text: str) -> Limit:
    """Which limit of the account a refusal speaks of; "" for none."""
    if not _HINT.search(text):
        return ""
    for sentence in _SENTENCE.split(text):
        if found := _limit_of(sentence):
            return found
    return ""


def _limit_of(sentence: str) -> Limit:
    if _OTHERS.search(sentence) or (_THEIRS.search(sentence) and not _SENDING.search(sentence)):
        return ""
    how_many = _WHAT.search(sentence) and _MOST.search(sentence)
    if how_many and _A_DAY.search(sentence):
        return "daily_quota"
    if _THROTTLED.search(sentence):
        return ""
    if (how_many and _SOON.search(sentence)) or _TOO_FAST.search(sentence):
        return "too_fast"
    if (_SENDING.search(sentence) and _OVER.search(sentence)) or _REACHED.search(sentence):
        return "sending_limit"
    return ""
