"""What Amazon SES says about a message afterwards: its events, as items. Pure.

An event comes through SNS or EventBridge into an SQS queue, so the body may be the event itself, an SNS
notification around it (`Message` is the event as text), or an EventBridge event (`detail`). Source: Amazon
SES Developer Guide, "Contents of event data that Amazon SES publishes to Amazon SNS" and "Contents of
notifications".

Bounce, Complaint, Delivery, DeliveryDelay and Reject become items, one for each recipient. Others (Send,
Open, Click ...) are ignored. The message is named by our tag, by the Message-ID that we gave it, and by the
name that SES gave it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from email.utils import parseaddr
from typing import Any

from hubd.core.addresses import email_address
from hubd.core.delivery_report import kind_of_feedback
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.errors import BadInput
from hubd.providers.aws.answers import Unreadable

#: The name of our tag. Its value is the number of the delivery.
TAG = "hub"
#: Envelopes around an event: it may pass both SNS and EventBridge.
MOST_ENVELOPES = 4
MOST_RECIPIENTS = 50  #: of one message, the limit of SES
_WORDS = 1_000  #: characters of a server's reply that are kept
#: SES sends this once to a topic when it begins to publish to it.
_GREETING = "Successfully validated SNS topic"
_SMTP = re.compile(
    r"\s*(?:smtp;)?\s*([245][0-9]{2})[ -]?(?:([245]\.[0-9]{1,3}\.[0-9]{1,3})\b)?", re.IGNORECASE
)
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


def items_of(body: str) -> list[Item]:
    """The items of one message of the queue; none for an event that does not matter. Raises `Unreadable`."""
    event = _unpacked(body)
    if event is None:
        return []
    mail = _table(event, "mail")
    kind = event.get("eventType") or event.get("notificationType")
    if not isinstance(kind, str):
        raise Unreadable("it does not say what happened")
    reader = _READERS.get(kind)
    return list(reader(event, mail)) if reader is not None else []


def _unpacked(body: str) -> Mapping[str, Any] | None:
    """The event inside its envelopes; None for the greeting of a new topic."""
    text: object = body
    for _ in range(MOST_ENVELOPES):
        if isinstance(text, str):
            if text.startswith(_GREETING):
                return None
            try:
                text = json.loads(text)
            except (ValueError, RecursionError):
                raise Unreadable("it is not JSON") from None
        if not isinstance(text, dict):
            raise Unreadable("it is not an object of JSON")
        if "mail" in text:
            return text
        text = text.get("detail") if "detail" in text else text.get("Message")
    raise Unreadable("it contains no event of SES")


def _bounces(event: Mapping[str, Any], mail: Mapping[str, Any]) -> Iterator[Item]:
    bounce = _table(event, "bounce")
    kind = _text(bounce, "bounceType")
    permanent = {"Permanent": True, "Transient": False}.get(kind)
    vendor = "/".join(word for word in (kind, _text(bounce, "bounceSubType")) if word)
    name = _text(bounce, "feedbackId")
    for number, recipient in enumerate(_rows(bounce, "bouncedRecipients")):
        yield _item(
            ItemKind.BOUNCE, mail, bounce, _text(recipient, "emailAddress"), name, number,
            words=_text(recipient, "diagnosticCode"), enhanced=_text(recipient, "status"),
            vendor=vendor, permanent=permanent,
        )  # fmt: skip


def _complaints(event: Mapping[str, Any], mail: Mapping[str, Any]) -> Iterator[Item]:
    complaint = _table(event, "complaint")
    said = _text(complaint, "complaintFeedbackType")
    vendor = "/".join(word for word in (said, _text(complaint, "complaintSubType")) if word)
    kind = kind_of_feedback(said.lower())
    name = _text(complaint, "feedbackId")
    for number, recipient in enumerate(_rows(complaint, "complainedRecipients")):
        address = _text(recipient, "emailAddress")
        yield _item(kind, mail, complaint, address, name, number, vendor=vendor)


def _deliveries(event: Mapping[str, Any], mail: Mapping[str, Any]) -> Iterator[Item]:
    delivery = _table(event, "delivery")
    for number, address in enumerate(_texts(delivery, "recipients")):
        words = _text(delivery, "smtpResponse")
        yield _item(ItemKind.DELIVERED, mail, delivery, address, "", number, words=words)


def _delays(event: Mapping[str, Any], mail: Mapping[str, Any]) -> Iterator[Item]:
    delay = _table(event, "deliveryDelay")
    for number, recipient in enumerate(_rows(delay, "delayedRecipients")):
        yield _item(
            ItemKind.DELAYED, mail, delay, _text(recipient, "emailAddress"), "", number,
            words=_text(recipient, "diagnosticCode"), enhanced=_text(recipient, "status"),
            vendor=_text(delay, "delayType"),
        )  # fmt: skip


def _rejects(event: Mapping[str, Any], mail: Mapping[str, Any]) -> Iterator[Item]:
    """SES accepted the message and then found a virus in it: nobody got it, and no recipient is to blame.
    5.6.0 is a fault of the content (RFC 3463 section 3.7).
    """
    reject = _table(event, "reject")
    for number, address in enumerate(_texts(mail, "destination")):
        yield _item(
            ItemKind.BOUNCE, mail, reject, address, "", number,
            words=_text(reject, "reason"), enhanced="5.6.0", vendor="Reject", permanent=True,
        )  # fmt: skip


_READERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[Item]]] = {
    "Bounce": _bounces,
    "Complaint": _complaints,
    "Delivery": _deliveries,
    "DeliveryDelay": _delays,
    "Reject": _rejects,
}


def _item(
    kind: ItemKind,
    mail: Mapping[str, Any],
    details: Mapping[str, Any],
    address: str,
    name: str,
    number: int,
    *,
    words: str = "",
    enhanced: str = "",
    vendor: str = "",
    permanent: bool | None = None,
) -> Item:
    """One item. `name` is what SES calls this event, if it has a name; `number` is the recipient's."""
    said = _SMTP.match(words)
    at = _text(details, "timestamp") or _text(mail, "timestamp")
    message = _text(mail, "messageId")
    if not message:
        raise Unreadable("it does not name the message")
    return Item(
        key=f"{message}/{kind.value}/{name or at}/{number}",
        kind=kind,
        at=_time(at),
        about=Reference(
            delivery=_number(next(iter(_texts(_table(mail, "tags"), TAG)), "")),
            message_ids=tuple(_message_ids(mail)),
            provider_ids=(message,),
            address=_normal(address),
        ),
        code=int(said[1]) if said else 0,
        enhanced=enhanced if _ENHANCED.fullmatch(enhanced) else (said[2] or "") if said else "",
        vendor=vendor[:128],
        permanent=permanent,
        words=" ".join(words.split())[:_WORDS],
    )


def _message_ids(mail: Mapping[str, Any]) -> Iterator[str]:
    """The Message-ID that the message was handed over with: SES gives it another one."""
    for header in _rows(mail, "headers"):
        if _text(header, "name").lower() == "message-id" and (value := _text(header, "value").strip()):
            yield value[:998]


def _number(text: str) -> int | None:
    """The number in a tag; None if the tag is not ours."""
    return int(text) if 0 < len(text) <= 18 and text.isascii() and text.isdigit() else None


def _normal(address: str) -> str:
    """The address as it is compared; "" for one that cannot be ours."""
    try:
        return email_address(parseaddr(address)[1])[1]
    except BadInput:
        return ""


def _time(text: str) -> float:
    """ "2026-11-30T17:10:00.000Z" as seconds since the epoch. Raises `Unreadable`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Unreadable("it does not say when it happened") from None
    if moment.tzinfo is None:
        raise Unreadable("its time has no zone")
    try:
        return moment.timestamp()
    except OverflowError:
        raise Unreadable("its time is out of range") from None


def _table(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key)
    return found if isinstance(found, dict) else {}


def _rows(parent: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    found = parent.get(key)
    rows = found if isinstance(found, list) else []
    most = MOST_RECIPIENTS if key != "headers" else 1_000
    return (row for row in rows[:most] if isinstance(row, dict))


def _texts(parent: Mapping[str, Any], key: str) -> Iterator[str]:
    found = parent.get(key)
    rows = found if isinstance(found, list) else []
    return (row for row in rows[:MOST_RECIPIENTS] if isinstance(row, str))


def _text(parent: Mapping[str, Any], key: str) -> str:
    found = parent.get(key)
    return found if isinstance(found, str) else ""
