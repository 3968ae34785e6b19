"""Reports of mail servers: what happened to each recipient (RFC 3464), and complaints (RFC 5965)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message

from hubd.core.inbound import ItemKind
from hubd.core.mail_parts import decoded_words

_MOST_RECIPIENTS = 50  #: of one report: each of our mails has one
_LONGEST_WORDS = 1_000  #: characters

_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_REPLY_CODE = re.compile(r"(?<![\d.])([245]\d\d)(?=[ -])")
#: Statuses that say no more than the class (RFC 3463, 3.1): the server's own words may know better.
_VAGUE = re.compile(r"[245]\.(0|\d+)\.0|[45]\.0\.\d+")
#: RFC 3464, 2.3.3. `relayed` and `expanded` say that nobody will tell.
_ACTIONS = {
    "failed": ItemKind.BOUNCE,
    "delayed": ItemKind.DELAYED,
    "delivered": ItemKind.DELIVERED,
    "relayed": ItemKind.AUTOMATIC,
    "expanded": ItemKind.AUTOMATIC,
}
#: What a server writes where RFC 3464 wants one of five words.
_OTHER_ACTIONS = {
    "failure": "failed",
    "fail": "failed",
    "error": "failed",
    "delay": "delayed",
    "success": "delivered",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a report says about one recipient."""

    kind: ItemKind
    recipients: tuple[str, ...]  #: the address that it was sent to first, then the one that it ended at
    code: int = 0  #: SMTP reply code, 0 without one
    enhanced: str = ""  #: RFC 3463
    permanent: bool | None = None
    words: str = ""  #: one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What a feedback report says."""

    kind: ItemKind  #: COMPLAINT, or AUTOMATIC for a report about something else
    recipients: tuple[str, ...]
    envelope_sender: str  #: Original-Mail-From, as written; "" without it
    envelope_id: str
    vendor: str  #: Feedback-Type


def read_statuses(groups: Sequence[Message]) -> tuple[str, list[Status]]:
    """The Original-Envelope-Id, "" without one, and what is said about each recipient."""
    envelope_id = ""
    found: list[Status] = []
    for group in groups:
        envelope_id = envelope_id or _value(group, "original-envelope-id")
        action = _first_word(_value(group, "action"))
        recipients = tuple(
            dict.fromkeys(
                address
                for name in ("original-recipient", "final-recipient", "x-actual-recipient")
                if (address := _typed_address(_value(group, name)))
            )
        )
        if not (action or recipients) or len(found) >= _MOST_RECIPIENTS:
            continue
        status = _value(group, "status")
        words = _value(group, "diagnostic-code")
        kind = _kind(action, status)
        if kind is not None:
            found.append(_status(kind, recipients, status, words))
    return envelope_id, found


def _kind(action: str, status: str) -> ItemKind | None:
    kind = _ACTIONS.get(_OTHER_ACTIONS.get(action, action))
    if kind is None and (known := _ENHANCED.search(status)):  # an action that RFC 3464 does not know
        kind = {"2": ItemKind.DELIVERED, "4": ItemKind.DELAYED, "5": ItemKind.BOUNCE}[known[1][0]]
    return kind


def _status(kind: ItemKind, recipients: tuple[str, ...], status: str, diagnostic: str) -> Status:
    words = re.sub(r"^[\w.-]{1,30}\s*;\s*", "", diagnostic)
    code, said = codes_in(words)
    known = _ENHANCED.search(status)
    enhanced = known[1] if known else ""
    if said and (not enhanced or _VAGUE.fullmatch(enhanced)) and not _VAGUE.fullmatch(said):
        enhanced = said
    permanent = None
    if kind is ItemKind.BOUNCE and (enhanced or code):
        permanent = enhanced.startswith("5") if enhanced else code >= 500
    return Status(
        kind=kind, recipients=recipients, code=code, enhanced=enhanced, permanent=permanent, words=words
    )


def codes_in(words: str) -> tuple[int, str]:
    """The reply code and the enhanced status code in a server's words; 0 and "" without them."""
    enhanced = _ENHANCED.search(words)
    code = _REPLY_CODE.search(words)
    return (int(code[1]) if code else 0), (enhanced[1] if enhanced else "")


def kind_of_feedback(feedback_type: str) -> ItemKind:
    """What a feedback report of this type is (RFC 5965, 7.3).

    Of the types that are no complaints, not-spam is the opposite, and auth-failure (RFC 6591) is about
    signatures.
    """
    complains = feedback_type in ("abuse", "fraud", "virus", "other", "opt-out", "opt-out-list", "")
    return ItemKind.COMPLAINT if complains else ItemKind.AUTOMATIC


def read_complaint(groups: Sequence[Message]) -> Complaint:
    """What the machine-readable part of a feedback report says."""
    fields = groups[0] if groups else Message()
    vendor = _first_word(_value(fields, "feedback-type"))
    return Complaint(
        kind=kind_of_feedback(vendor),
        recipients=tuple(
            dict.fromkeys(
                address
                for name in ("original-rcpt-to", "removal-recipient")
                for value in fields.get_all(name, [])[:_MOST_RECIPIENTS]
                if (address := _typed_address(decoded_words(str(value))))
            )
        ),
        envelope_sender=_typed_address(_value(fields, "original-mail-from")),
        envelope_id=_value(fields, "original-envelope-id"),
        vendor=vendor,
    )


def _value(group: Message, name: str) -> str:
    found = group.get(name)
    return "" if found is None else decoded_words(str(found))[:_LONGEST_WORDS].strip()


def _first_word(value: str) -> str:
    found = re.match(r"[A-Za-z-]+", value)
    return found[0].lower() if found else ""


def _typed_address(value: str) -> str:
    """The address of `rfc822; ann@example.org`, without its type, its brackets and comments."""
    kind, separator, address = value.partition(";")
    if separator and kind.strip().lower() not in ("rfc822", "utf-8", "unknown", "x-local", "dns", "smtp"):
        return ""  # an X.400 name or the like
    address = (address if separator else value).strip()
    inner = re.search(r"<([^<>]*)>", address)
    address = inner[1] if inner else address.split(" ")[0]
    return _from_xtext(address.strip("<>\"' ")) if "@" in address or "+40" in address else ""


def _from_xtext(address: str) -> str:
    """Some servers give the ORCPT back as it travels (RFC 3461, 4)."""
    if "@" in address:
        return address
    return re.sub(r"\+([2-7][0-9A-F])", lambda found: chr(int(found[1], 16)), address)
