"""What a provider said, as it is kept and shown: its own words, without anybody's address.

A refusal's wording is often the only clue to its cause, so it is kept with the attempt, and people see it
beside our own sentence. Servers like to quote the addresses that they refuse. Those are masked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hubd.core.model import Answer

#: Characters of an answer's text that are kept: large servers explain themselves over several lines.
MAX_TEXT = 1000
#: What stands for the part of an address that names a person.
MASK = "***"

_NO_PART = r"\s<>()\[\]\",;:@"
_DOMAIN = rf"(?=\[[^\]\s]*\]|[^{_NO_PART}])"
#: RFC 5321 section 4.1.2; also with the full-width sign that some input methods type.
_ADDRESS = re.compile(rf'("(?:[^"\\]|\\.)*"|[^{_NO_PART}]+)(?=[@\uff20]{_DOMAIN})')
#: Addresses as they travel in a URL, in quoted-printable and in xtext (RFC 3461 section 4).
_ENCODED = re.compile(rf"[^{_NO_PART}/?&=]+(?=[%=+]40[A-Za-z0-9-]+\.[A-Za-z])")
_E164 = re.compile(r"(\+|%2B|00)[1-9][0-9]{6,14}(?![0-9])", re.IGNORECASE)
#: Local parts that servers use as words of their own: masking them would only hide what was said. They name
#: no person; many are the mailboxes of RFC 2142.
_WORDS = re.compile(
    r"abuse|account|address|admin|administrator|billing|blocked|box|bulk|client|contact|customer|domain|email"
    r"|error|ftp|hello|help|host|hostmaster|info|jobs|list|local|mail|mailbox|mailer-daemon|message|news"
    r"|newsletter|noc|no-?reply|office|orders?|policy|postmaster|receiver|recipient|reply|root|sales|security"
    r"|sender|server|service|shop|smtp|spam|support|system|team|test|unknown|usenet|users?|uucp|webmaster|www",
    re.IGNORECASE,
)
_LEAST_LOCAL = 3  #: characters: what is shorter is found everywhere, and says little
_LEAST_DIGITS = 7  #: by so many last digits a number is found in whatever form

_CODES = re.compile(r"[2-5][0-9]{2}(?: [245]\.[0-9]{1,3}\.[0-9]{1,3})?(?= |$)|[0-9]{5}(?=: |$)")
_TOKEN = re.compile(r"[^\s<>()\[\]\"',;:]+")
#: From so many characters on a mix of letters and digits is taken for a name of one message.
_LONG = 8


def one_line(text: str, secrets: Iterable[str] = ()) -> str:
    """A server's words made fit to be shown: one printable line of at most 1,000 characters, no secrets."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, "***")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def provider_reply(answer: Answer, recipient: str) -> str:
    """The provider's words about a message to `recipient`, one printable line; "" if it said none.

    Begins with the reply code, or with the provider's own error number. The enhanced status code is part of
    the text.
    """
    if not answer.verbatim:
        return ""
    text = answer.text
    if text.endswith("..."):  # it was cut off, perhaps in the middle of an address
        text = f"{text.removesuffix('...').rpartition(' ')[0]} ..."
    text = masked(text, recipient)
    if answer.vendor:
        return f"{answer.vendor}: {text}"
    return f"{answer.code} {text}" if answer.code else text


def masked(text: str, recipient: str = "") -> str:
    """The text with what names a person in its addresses replaced: "***@example.com", "***" for a number.

    Finds any address, and `recipient` also in part or in another form. Idempotent.
    """
    if "@" in text or "\uff20" in text:
        text = _ADDRESS.sub(MASK, text)
    if "40" in text:
        text = _ENCODED.sub(MASK, text)
    if "+" in text or "00" in text or "%2" in text:
        text = _E164.sub(MASK, text)
    local, at, _ = recipient.rpartition("@")
    return _without_name(text, local) if at else _without_number(text, recipient)


def _without_name(text: str, local: str) -> str:
    # A pattern of its own for each recipient takes longer to compile than a message to send: look first.
    if len(local) < _LEAST_LOCAL or local.lower() not in text.lower() or _WORDS.fullmatch(local):
        return text
    return re.sub(rf"(?<![A-Za-z0-9]){re.escape(local)}(?![A-Za-z0-9])", MASK, text, flags=re.IGNORECASE)


def _without_number(text: str, number: str) -> str:
    last = "".join(char for char in number if char.isdigit())[-_LEAST_DIGITS:]
    if len(last) < _LEAST_DIGITS or last not in "".join(char for char in text if char.isdigit()):
        return text
    spaced = r"[ ().-]{0,2}".join(last)
    return re.sub(rf"(\+?\(?[0-9][0-9 ().-]{{0,12}}?)?{spaced}(?![0-9])", MASK, text)


def grouped_by(reply: str) -> str:
    """What replies of one kind have in common: without addresses, ids of messages, times and numbers.

    The code in front stays: replies with different codes are of different kinds.
    """
    codes = _CODES.match(reply)
    start = codes.end() if codes else 0
    return reply[:start] + _TOKEN.sub(_kind_of, reply[start:])


def _kind_of(token: re.Match[str]) -> str:
    text = token[0]
    if "@" in text or text == MASK:
        return MASK
    digits = sum(char.isdigit() for char in text)
    return "#" if digits and (len(text) >= _LONG or digits * 2 >= len(text)) else text
