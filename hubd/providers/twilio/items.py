"""What Twilio says about a message, as items: the same from a webhook and from its list. Pure.

Source: https://www.twilio.com/docs/messaging/api/message-resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hubd.core.inbound import Item, ItemKind, Reference
from hubd.core.model import Channel

_LONGEST_TEXT = 10_000  #: characters
#: Twilio's final statuses.
ENDS: Mapping[str, ItemKind] = MappingProxyType(
    {
        "delivered": ItemKind.DELIVERED,
        "read": ItemKind.DELIVERED,
        "undelivered": ItemKind.BOUNCE,
        "failed": ItemKind.BOUNCE,
    }
)


def text_item(sid: str, sender: str, text: str, at: float, *, kind: ItemKind = ItemKind.REPLY) -> Item:
    """A text that somebody sent to one of our numbers."""
    return Item(
        key=f"{sid}/received",
        kind=kind,
        at=at,
        about=Reference(channel=Channel.SMS, address=sender),
        sender=sender,
        text=text[:_LONGEST_TEXT],
    )


def status_item(sid: str, status: str, recipient: str, error: str, words: str, at: float) -> Item | None:
    """What became of one of our messages; None for a status that is not final."""
    end = ENDS.get(status)
    if end is None:
        return None
    return Item(
        key=f"{sid}/{end}",
        kind=end,
        at=at,
        about=Reference(provider_ids=(sid,), channel=Channel.SMS, address=recipient),
        code=int(error) if error.isascii() and error.isdigit() and len(error) < 7 else 0,
        vendor=error if end is ItemKind.BOUNCE else "",
        words=words[:300],
    )
