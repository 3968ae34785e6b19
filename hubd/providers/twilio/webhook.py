"""Twilio's webhooks: the status of a message, and a text that somebody sent to one of our numbers."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hubd.core.forms import form_fields
from hubd.core.inbound import Item, ItemKind
from hubd.core.webhooks import WebhookRequest
from hubd.providers.twilio.items import status_item, text_item

#: OptOutType, if Twilio itself recognized the word.
_TWILIO_WORDS = {"STOP": ItemKind.OPT_OUT, "START": ItemKind.OPT_IN}


def read_webhook(auth_token: str, request: WebhookRequest) -> Sequence[Item] | None:
    """What a request says; nothing for a status that is not final; None if Twilio did not sign it."""
    fields = form_fields(request.headers.get("content-type", ""), request.body)
    if not is_signed(auth_token, request.url, fields, request.headers.get("x-twilio-signature", "")):
        return None
    item = _item(dict(fields), request.at)
    return [] if item is None else [item]


def is_signed(auth_token: str, url: str, fields: Sequence[tuple[str, str]], signature: str) -> bool:
    """Whether Twilio sent this form to this address.

    HMAC-SHA1 of the whole address and the sorted fields (https://www.twilio.com/docs/usage/security).
    """
    values: dict[str, set[str]] = {}
    for name, value in fields:
        values.setdefault(name, set()).add(value)
    text = url + "".join(name + value for name in sorted(values) for value in sorted(values[name]))
    digest = hmac.digest(auth_token.encode(), text.encode("utf-8", "replace"), "sha1")
    return hmac.compare_digest(base64.b64encode(digest), signature.encode("utf-8", "replace"))


def _item(fields: Mapping[str, str], at: float) -> Item | None:
    """What a request from Twilio says; None for a status that is not final."""
    sid = fields.get("MessageSid") or fields.get("SmsSid") or ""
    if not sid:
        return None
    status = (fields.get("MessageStatus") or fields.get("SmsStatus") or "").lower()
    if status == "received" or (not status and "Body" in fields):
        kind = _TWILIO_WORDS.get(fields.get("OptOutType", "").upper(), ItemKind.REPLY)
        return text_item(sid, fields.get("From", ""), fields.get("Body", ""), at, kind=kind)
    error, words = fields.get("ErrorCode", ""), fields.get("ErrorMessage", "")
    item = status_item(sid, status, fields.get("To", ""), error, words, at)
    # The list repeats it: if it fits no message yet, it must not count as known then.
    return None if item is None else replace(item, only_ours=True)
