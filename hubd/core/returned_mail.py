"""What a mail that came back says: a bounce, a receipt, a complaint, an opt-out, a reply.

The kinds are looked for in this order: a feedback report (RFC 5965), a report of delivery (RFC 3464), an
unsubscribe address, another server's words about a failed delivery, mail that a machine wrote (RFC 3834), the
word "unsubscribe" as subject, a reply. Nothing here believes the mail: whose message an item is about is
checked by whoever books it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace

from hubd.core.addresses import email_address
from hubd.core.bounce_words import Failure, failures_in_words
from hubd.core.delivery_report import Status, read_complaint, read_statuses
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.mail_parts import MOST_BYTES, Part, read_mail
from hubd.core.page_text import text_of_page
from hubd.core.quoted_text import split_reply
from hubd.core.tokens import TOKEN_LENGTH
from hubd.errors import BadInput

_MOST_IDS = 20  #: Message-IDs of one mail that are looked up
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,300}@[^<>\s]{1,300}>")
_ID_LINE = re.compile(rb"^[> \t]{0,20}message-id:[ \t]{0,20}(<[^<>\s]{3,600}>)", re.IGNORECASE | re.MULTILINE)
#: Where servers write whom a mail was really delivered to. To and Cc come last: the sender writes these.
_DELIVERED_TO = (
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "x-envelope-to",
    "x-delivered-to",
    "to",
    "cc",
)
#: `bounces+TOKEN@` and `news+u-TOKEN@`.
_PLUS = re.compile(rf"[^\s<>@,;:]{{1,200}}?\+(u-)?([a-z2-7]{{{TOKEN_LENGTH}}})@[A-Za-z0-9.-]", re.IGNORECASE)
_UNSUBSCRIBE = re.compile(
    r"(?:re:\s*)?(?:unsubscribe|abmelden|abmeldung|désabonnement|desuscribir|baja)", re.IGNORECASE
)
_MACHINES = re.compile(r"bulk|auto_reply|auto-reply|junk|list", re.IGNORECASE)  # of Precedence
_MACHINE_FIELDS = ("x-autoreply", "x-autorespond", "x-auto-reply", "x-autoresponder", "list-id")


def read_returned_mail(data: bytes, *, received: float) -> list[Item]:
    """What a mail says, one item for each recipient that it speaks of. Never raises.

    `received` is when it arrived, in seconds since the epoch. The keys of the items follow from the bytes, so
    a mail that is read again, or copied into another mailbox, has the same ones.
    """
    data = data[:MOST_BYTES]
    mail = read_mail(data)
    name = hashlib.blake2b(data, digest_size=16).hexdigest()
    items = _items(mail, data, received)
    return [replace(item, key=f"{name}/{number}") for number, item in enumerate(items)]


def _items(mail: Part, data: bytes, at: float) -> list[Item]:
    reports = {part.content_type: part for part in reversed(list(mail.walk(into_mails=False)))}
    feedback = reports.get("message/feedback-report")
    if feedback is not None:
        return _complaint(mail, feedback, data, at)
    status = reports.get("message/delivery-status") or reports.get("message/global-delivery-status")
    if status is not None and (found := _statuses(mail, status, data, at)):
        return found
    unsubscribes, token = _token(mail)
    if unsubscribes:
        return [_written(mail, ItemKind.OPT_OUT, token, at)]
    if failures := failures_in_words(mail):
        return [_failure(failure, _about_returned(mail, data, token), at) for failure in failures]
    if _machine_wrote(mail):
        return [_written(mail, ItemKind.AUTOMATIC, token, at)]
    if _UNSUBSCRIBE.fullmatch(mail.header("subject").strip(" .!")):
        return [_written(mail, ItemKind.OPT_OUT, token, at)]
    own, quoted = _reply_text(mail)
    own_id = next(iter(_ids(mail.headers("message-id"))), "")
    return [replace(_written(mail, ItemKind.REPLY, token, at), text=own, quoted=quoted, message_id=own_id)]


def _complaint(mail: Part, feedback: Part, data: bytes, at: float) -> list[Item]:
    said = read_complaint([part.fields for part in feedback.parts])
    unsubscribes, token = _token(mail)
    found = _PLUS.match(said.envelope_sender)
    about = _about_returned(mail, data, found[2] if found else "" if unsubscribes else token)
    about = _with_envelope(about, said.envelope_id)
    return [
        Item(key="", kind=said.kind, at=at, about=replace(about, address=address), vendor=said.vendor)
        for address in _addresses(said.recipients) or _returned_to(mail) or [""]
    ]


def _statuses(mail: Part, status: Part, data: bytes, at: float) -> list[Item]:
    envelope_id, said = read_statuses([part.fields for part in status.parts])
    about = _with_envelope(_about_returned(mail, data, _token(mail)[1]), envelope_id)
    alone = _returned_to(mail) if len(said) == 1 else []
    return [_reported(one, about, alone, at) for one in said]


def _reported(said: Status, about: Reference, otherwise: list[str], at: float) -> Item:
    address = next(iter(_addresses(said.recipients) or otherwise), "")
    return Item(
        key="",
        kind=said.kind,
        at=at,
        about=replace(about, address=address),
        code=said.code,
        enhanced=said.enhanced,
        permanent=said.permanent,
        words=said.words,
    )


def _failure(failure: Failure, about: Reference, at: float) -> Item:
    return Item(
        key="",
        kind=ItemKind.DELAYED if failure.delayed else ItemKind.BOUNCE,
        at=at,
        about=replace(about, address=next(iter(_addresses((failure.recipient,))), "")),
        code=failure.code,
        enhanced=failure.enhanced,
        permanent=failure.permanent,
        words=failure.words,
    )


def _written(mail: Part, kind: ItemKind, token: str, at: float) -> Item:
    """An item about the message that this mail answers."""
    sender = mail.header("from")
    ids = _ids(mail.headers("in-reply-to")), _ids(mail.headers("references"))[::-1]
    message_ids = _unique(identifier for group in ids for identifier in group)
    return Item(
        key="",
        kind=kind,
        at=at,
        about=Reference(
            token=token,
            message_ids=message_ids,
            provider_ids=_provider_ids(message_ids),
            address=next(iter(_addresses((_address_in(sender),))), ""),
        ),
        sender=sender,
        subject=mail.header("subject"),
    )


def _about_returned(mail: Part, data: bytes, token: str) -> Reference:
    """The message that a report is about, by the part of it that was returned."""
    returned = [
        identifier
        for part in mail.walk()
        if part is not mail
        for identifier in _ids([*part.headers("message-id"), *part.headers("x-original-message-id")])
    ]
    in_text = [found.decode("ascii", "replace") for found in _ID_LINE.findall(data)][:_MOST_IDS]
    own = set(_ids(mail.headers("message-id")))
    answered = _ids(mail.headers("in-reply-to", "references"))
    message_ids = _unique([*returned, *answered, *(name for name in in_text if name not in own)])
    return Reference(token=token, message_ids=message_ids, provider_ids=_provider_ids(message_ids))


def _with_envelope(about: Reference, envelope_id: str) -> Reference:
    """With what we gave as ENVID: the Message-ID, or a token."""
    message_id = f"<{envelope_id}>"
    if not _MESSAGE_ID.fullmatch(message_id):
        return replace(about, envelope_id=envelope_id)
    message_ids = _unique([message_id, *about.message_ids])
    return replace(about, envelope_id=envelope_id, message_ids=message_ids)


def _returned_to(mail: Part) -> list[str]:
    """Whom the returned mail was written to: each of ours has one recipient."""
    mails = [inner for part in mail.walk(into_mails=False) if part.encloses_mail for inner in part.parts]
    return _addresses(tuple(_address_in(inner.header("to")) for inner in mails))[:1]


def _token(mail: Part) -> tuple[bool, str]:
    """Whether the mail was sent to an unsubscribe address, and the token of the address; "" without one."""
    first = ""
    for value in mail.headers(*_DELIVERED_TO):
        for found in _PLUS.finditer(value[:2_000]):
            if found[1]:
                return True, found[2]
            first = first or found[2]
    return False, first


def _machine_wrote(mail: Part) -> bool:
    """RFC 3834, 2 and 5, and what programs wrote before it."""
    submitted = mail.header("auto-submitted").partition(";")[0].strip().lower()
    if submitted not in ("", "no"):
        return True
    return bool(_MACHINES.fullmatch(mail.header("precedence").strip()) or any(mail.headers(*_MACHINE_FIELDS)))


def _reply_text(mail: Part) -> tuple[str, str]:
    return split_reply(_text(mail).strip("\n"))


def _text(part: Part) -> str:
    """What a person reads first: plain text where there is some, else the text of the page."""
    if part.encloses_mail or part.header("content-disposition").lower().startswith("attachment"):
        return ""
    kind = part.content_type
    if kind == "multipart/alternative":
        texts = {inner.content_type: _text(inner) for inner in reversed(part.parts)}
        plain = texts.get("text/plain", "")
        return plain if plain.strip() else next((text for text in texts.values() if text.strip()), "")
    if part.parts:
        return "\n".join(text for inner in part.parts if (text := _text(inner)))
    if kind == "text/html":
        return text_of_page(part.text())
    # A boundary that never comes leaves a multipart without parts.
    return part.text() if kind == "text/plain" or kind.startswith("multipart/") else ""


def _address_in(written: str) -> str:
    """The address of `Ann Example <ann@example.org>`, of the first one where there are several."""
    found = re.search(r"<([^<>]*)>", written)
    return found[1].strip() if found else written.partition(",")[0].strip()


def _ids(values: list[str]) -> list[str]:
    return [identifier for value in values for identifier in _MESSAGE_ID.findall(value)]


def _unique(identifiers: list[str] | Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(identifiers))[:_MOST_IDS]


def _provider_ids(message_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Amazon SES replaces the Message-ID by one whose first part is its own name for the message."""
    return tuple(
        name[1:].partition("@")[0] for name in message_ids if name.lower().endswith((".amazonses.com>",))
    )


def _addresses(written: tuple[str, ...]) -> list[str]:
    """Those that are addresses, in the form in which they are compared."""
    found = []
    for text in written:
        try:
            found.append(email_address(text)[1])
        except BadInput:
            continue
    return found
