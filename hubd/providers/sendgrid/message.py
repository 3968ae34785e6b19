"""A message as a request to `POST /v3/mail/send`. Pure.

One request is one message to one recipient: an answer covers all recipients of a request, so a lost one
would leave them all in doubt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hubd.core.email_parts import EmailParts, FilePart, Files, Mailbox

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """What SendGrid may add to a message."""

    clicks: bool = False
    opens: bool = False

    def settings(self) -> dict[str, object]:
        """Their part of a request. All is set: what is left out would follow the account's settings."""
        return {
            "click_tracking": {"enable": self.clicks, "enable_text": self.clicks},
            "open_tracking": {"enable": self.opens},
            "subscription_tracking": {"enable": False},
            "ganalytics": {"enable": False},
        }


def body_of(parts: EmailParts, delivery_id: int, tracking: Tracking) -> bytes:
    """The request without its files: JSON, whose last brace `files_of` replaces if there are any.

    `custom_args` come back in events and in the logs: the number of the delivery, and the Message-ID, which
    distinguishes it from another installation's delivery with the same number.
    """
    headers = dict(parts.headers)
    names = {"hub": str(delivery_id), "hub_message": headers.get("Message-ID", "").strip("<>")}
    request: dict[str, Any] = {
        "personalizations": [{"to": [{"email": parts.recipient}], "custom_args": names}],
        "from": _mailbox(parts.sender),
        "subject": parts.subject,
        "content": [
            {"type": f"text/{kind}", "value": text}
            for kind, text in (("plain", parts.text), ("html", parts.html))
            if text
        ],
        "headers": headers,
        "tracking_settings": tracking.settings(),
    }
    if parts.reply_to is not None:
        request["reply_to"] = _mailbox(parts.reply_to)
    return _encode(request)


def files_of(files: Files) -> tuple[bytes, ...]:
    """The end of a request with these files, as pieces that all messages of a content share."""
    return tuple(_pieces(files)) if files.parts else (b"}",)


def _pieces(files: Files) -> Iterator[bytes]:
    before = b',"attachments":['
    for file in files.parts:
        head = _encode(_described(file))
        yield before + head[:-1] + b',"content":"'
        for chunk in file.data.chunks:
            yield chunk.replace(b"\r\n", b"")
        yield b'"}'
        before = b","
    yield b"]}"


def _described(file: FilePart) -> Mapping[str, str]:
    described = {"type": file.type, "filename": file.name}
    if file.content_id:
        return {**described, "disposition": "inline", "content_id": file.content_id}
    return {**described, "disposition": "attachment"}


def _mailbox(mailbox: Mailbox) -> dict[str, str]:
    named = {"name": mailbox.name} if mailbox.name else {}
    return {"email": mailbox.address, **named}
