"""Failed deliveries that a server reports in its own words, without a report that a program could read.

Which words these are, flufl.bounce knows. It finds the recipients only, so the codes are looked for beside
them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hubd.core.delivery_report import codes_in, read_statuses
from hubd.core.inbound import ItemKind
from hubd.core.mail_parts import Part, field_groups

_MOST_RECIPIENTS = 50
_MOST_BYTES = 200_000  #: of a mail whose words are searched, in all of its parts
_MOST_LINES = 2_000
_LONGEST_LINE = 998  #: characters
_NEAR = 8  #: lines below a recipient in which its codes are looked for
_LONGEST_WORDS = 500

_SERVERS = re.compile(
    r"mailer-?daemon|postmaster|mail[ -]?delivery|mail[ -]?administrator|mailadmin|daemon"
    r"|system administrator",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"undeliver|not be delivered|not delivered|non[- ]?(?:delivery|remis)"
    r"|deliver(?:y|ed)?\b.{0,40}(?:fail|problem|status|notification|error|delay|report)"
    r"|(?:fail|return)(?:ed|ure|ing)?\b.{0,40}\b(?:mail|message|deliver|sender|notice)"
    r"|mail (?:error|system error|status report|delivery)|unzustellbar|nicht zugestellt|warning.{0,40}message"
    r"|could not (?:be )?(?:send|sent|deliver)|cannot (?:be )?(?:send|sent|deliver)|unknown user|user unknown"
    r"|mailbox.{0,20}(?:full|unavailable)|nondeliverable|rejected|failure|bounce|returned",
    re.IGNORECASE,
)
_ONLY_SERVERS = re.compile(r"mailer-?daemon|postmaster|mail[ -]?delivery (?:sub)?system", re.IGNORECASE)
_REPORT_FIELD = re.compile(r"(?:action|status|(?:final|original)-recipient):\s*\S", re.IGNORECASE)
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a server says about one recipient."""

    recipient: str
    delayed: bool  #: it will be tried again
    code: int = 0
    enhanced: str = ""
    permanent: bool | None = None
    words: str = ""


def failures_in_words(mail: Part) -> list[Failure]:
    """The recipients that this mail calls failed or delayed; none for a mail that no server wrote."""
    if not _a_server_wrote(mail):
        return []
    temporary, permanent = _found_by_flufl(mail)
    lines = _lines(mail)
    if not (temporary or permanent):
        return _fields_in_text(lines) or _beside_a_code(mail, lines)
    return [
        _failure(recipient, lines, delayed=recipient not in permanent)
        for recipient in sorted(temporary | permanent)[:_MOST_RECIPIENTS]
    ]


def _a_server_wrote(mail: Part) -> bool:
    """The rules of flufl.bounce are loose enough to match what people write."""
    return bool(
        mail.header("return-path").strip() == "<>"
        or mail.content_type == "multipart/report"
        or mail.headers("x-failed-recipients")
        or _SERVERS.search(mail.header("from") or "mailer-daemon")
        or _SUBJECT.search(mail.header("subject"))
    )


def _found_by_flufl(mail: Part) -> tuple[set[str], set[str]]:
    message = mail.message()
    left = _MOST_BYTES
    for part in message.walk():
        payload = part.get_payload()
        if isinstance(payload, str):
            # Its rules take quadratic time on long lines; RFC 5322 2.1.1 allows 998 characters.
            lines = [line[:_LONGEST_LINE] for line in payload[:left].split("\n")[:_MOST_LINES]]
            part.set_payload("\n".join(lines))
            left = max(left - len(payload), 0)
    if not message.get("from"):
        del message["from"]
        message["From"] = "unknown"  # one of its rules needs a sender
    from flufl.bounce import all_failures  # here: few mails need its rules, and no start waits for them

    try:
        temporary, permanent = all_failures(message)
    except Exception:  # what its rules do with broken mails is not specified
        return set(), set()
    return _texts(temporary), _texts(permanent)


def _fields_in_text(lines: list[str]) -> list[Failure]:
    """The fields of a report of delivery (RFC 3464) where a server writes them for people."""
    at = next((at for at, line in enumerate(lines) if _REPORT_FIELD.match(line)), None)
    if at is None:
        return []
    groups = field_groups("\n".join(lines[at : at + 3 * _NEAR]).encode())
    return [
        Failure(
            recipient=status.recipients[0],
            delayed=status.kind is ItemKind.DELAYED,
            code=status.code,
            enhanced=status.enhanced,
            permanent=status.permanent,
            words=status.words[:_LONGEST_WORDS],
        )
        for status in read_statuses(groups)[1]
        if status.recipients and status.kind in (ItemKind.BOUNCE, ItemKind.DELAYED)
    ]


def _beside_a_code(mail: Part, lines: list[str]) -> list[Failure]:
    """The first address with a server's refusal near it, in a mail whose sender can only be a server."""
    if not _ONLY_SERVERS.search(mail.header("from")):
        return []
    ours = mail.header("to").casefold()
    for at, line in enumerate(lines):
        for address in _ADDRESS.findall(line):
            if address.casefold() in ours or _ONLY_SERVERS.match(address):
                continue
            failure = _failure(address, lines[at : at + 2 * _NEAR], delayed=False)
            if failure.permanent is not None:
                return [failure]
    return []


def _texts(addresses: object) -> set[str]:
    assert isinstance(addresses, set | frozenset)
    return {
        address.decode("utf-8", "replace") if isinstance(address, bytes) else str(address)
        for address in addresses
        if address
    }


def _lines(mail: Part) -> list[str]:
    """The server's own words: what is before the returned mail."""
    found: list[str] = []
    for part in mail.walk(into_mails=False):
        if not part.parts and part.content_type.startswith(("text/", "multipart/", "message/delivery")):
            found += part.text()[:_MOST_BYTES].split("\n")
        if len(found) > _MOST_LINES:
            break
    return [line.strip()[:_LONGEST_LINE] for line in found[:_MOST_LINES] if line.strip()]


def _failure(recipient: str, lines: list[str], *, delayed: bool) -> Failure:
    named = recipient.casefold()
    at = next((at for at, line in enumerate(lines) if named in line.casefold()), None)
    near = lines[at : at + _NEAR] if at is not None else lines
    words, code, enhanced = near[0] if near else "", 0, ""
    for line in near:
        code, enhanced = codes_in(line)
        if code >= 400 or enhanced[:1] in ("4", "5"):
            words = line
            break
        code, enhanced = 0, ""
    permanent = None
    if enhanced or code:
        permanent = enhanced.startswith("5") if enhanced else code >= 500
    return Failure(
        recipient=recipient,
        delayed=delayed,
        code=code,
        enhanced=enhanced,
        permanent=permanent,
        words=words[:_LONGEST_WORDS],
    )
