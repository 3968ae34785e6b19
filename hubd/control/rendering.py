"""A message as one recipient gets it, decoded for people to look at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern

from hubd.control.hub import Hub
from hubd.core.model import Campaign, Channel, DueDelivery, RenderedMessage
from hubd.core.records import Contact
from hubd.core.sms import segments
from hubd.engine.plan import MessagePlan
from hubd.errors import NotFound
from hubd.wire.message_results import ContentView

#: Bytes of a message up to which its attachments are shown, as they are encoded.
SOURCE_LIMIT = 1024 * 1024
#: What an attachment holds: full lines of base64, and the rest.
_ENCODED = re.compile(rb"(?:[A-Za-z0-9+/]{76}\r\n)+(?:[A-Za-z0-9+/]{1,75}={0,2}\r\n)?")


def write(
    plan: MessagePlan, recipient: str, fields: Mapping[str, str], *, now: float, delivery_id: int = 0
) -> RenderedMessage:
    """The finished message for one recipient. Raises `BadTemplate` when it lacks a field."""
    row = DueDelivery(
        id=delivery_id,
        recipient=recipient,
        attempts=0,
        fields=fields,
        content_id=0,
        first_attempt_at=None,
        next_at=None,
    )
    return plan.write(row, "", now)


def view_rendered(rendered: RenderedMessage, pictures: int = 0) -> ContentView:
    """The parts of a finished message, decoded.

    `source` is the whole message when it has at most `SOURCE_LIMIT` bytes. In a larger one the contents of
    attachments are left out, as its last line says, but not the pictures of its HTML if they have at most
    `pictures` bytes (0: no pictures).
    """
    if rendered.channel is Channel.SMS:
        cost = segments(rendered.text)
        return {"text": rendered.text, "segments": cost.segments, "encoding": cost.encoding}
    whole = rendered.size <= SOURCE_LIMIT
    source = b"".join(_shown(rendered, SOURCE_LIMIT if whole else pictures * 3 // 2))
    message = message_from_bytes(source, policy=modern)
    assert isinstance(message, EmailMessage)
    view: ContentView = {
        "subject": str(message["Subject"] or ""),
        "headers": [
            [name, str(value)] for name, value in message.items() if not name.lower().startswith(_STRUCTURE)
        ],
        "text": _part(message, "plain"),
        "source": source.decode("utf-8", "replace")
        + ("" if whole else _left_out(rendered.size, len(source))),
    }
    if not whole:
        view["source_shortened"] = True
    html = _part(message, "html")
    if html:
        view["html"] = html
    return view


#: Headers that say how the message is built (RFC 2045).
_STRUCTURE = ("mime-version", "content-")


def _shown(rendered: RenderedMessage, kept: int) -> Iterator[bytes]:
    """The message, whose attachments are left out from byte `kept` of its shared part on, where pictures
    come first.
    """
    yield rendered.payload
    at = 0
    for chunk in rendered.shared.chunks:
        yield chunk if at < kept <= SOURCE_LIMIT else _ENCODED.sub(b"", chunk)
        at += len(chunk)


def part_of(rendered: RenderedMessage, offset: int, size: int) -> bytes:
    """At most `size` bytes of the whole email from `offset` on; no more than these are copied."""
    found, left = [], size
    for chunk in (rendered.payload, *rendered.shared.chunks):
        piece = chunk[offset : offset + left]
        found.append(piece)
        left -= len(piece)
        offset = max(0, offset - len(chunk))
        if not left:
            break
    return b"".join(found)


def _left_out(size: int, shown: int) -> str:
    return f"[encoded attachments are not shown: {size - shown} of {size} bytes]\r\n"


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


def contact_fields(contact: Contact) -> dict[str, str]:
    """What a message may say about a contact: its own fields and the ones that everybody has."""
    known = {"email": contact.email, "phone": contact.phone, "contact_id": contact.contact_id}
    return {**contact.fields, **{name: value for name, value in known.items() if value}}


def address_of(contact: Contact, channel: Channel) -> str | None:
    """Where messages of a channel go; None when the contact has no such address."""
    return contact.email if channel is Channel.EMAIL else contact.phone


async def first_reachable(hub: Hub, campaign: Campaign) -> Contact:
    """The first contact on its lists that would get the campaign if it started now. Raises `NotFound`."""
    found = await hub.campaigns.first_recipient(campaign)
    if found is not None:
        return await hub.contacts.get(found)
    raise NotFound(
        "no contact on its lists can get it",
        code="contact_not_found",
        hint=f"see why with: hubctl check {campaign.name}",
    )
