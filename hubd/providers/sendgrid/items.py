"""What SendGrid says about messages, as items: from its event webhook, its logs and its lists. Pure.

Sources: SendGrid's page "Event Webhook Reference", the API references of Email Logs and Suppressions. A
message has the same name everywhere, so what is reported twice counts once. Others may use the account: what
is about a message counts only if it is ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hubd.core.addresses import email_address
from hubd.core.inbound import Item, ItemKind, Reference
from hubd.errors import BadInput
from hubd.providers.sendgrid.answers import id_of_logs

#: Seconds for which an item that fits no message is tried again: longer than a lost answer is asked about.
LOOK_AGAIN = 7_200.0
_WORDS = 1_000  #: characters of a server's words that are kept
_CODES = re.compile(r"\s*([245][0-9]{2})?[ -]?\s*(?:#?([245]\.[0-9]{1,3}\.[0-9]{1,3})\b)?")
_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
#: Events of the webhook. Others (processed, open, click ...) are ignored.
_EVENTS: Mapping[str, ItemKind] = MappingProxyType(
    {
        "delivered": ItemKind.DELIVERED,
        "bounce": ItemKind.BOUNCE,
        "blocked": ItemKind.BOUNCE,
        "dropped": ItemKind.BOUNCE,
        "deferred": ItemKind.DELAYED,
        "spamreport": ItemKind.COMPLAINT,
        "unsubscribe": ItemKind.OPT_OUT,
        "group_unsubscribe": ItemKind.OPT_OUT,
    }
)
#: Final statuses in the logs.
_STATUSES: Mapping[str, ItemKind] = MappingProxyType(
    {
        "delivered": ItemKind.DELIVERED,
        "bounced": ItemKind.BOUNCE,
        "blocked": ItemKind.BOUNCE,
        "dropped": ItemKind.BOUNCE,
    }
)
#: The lists of addresses that SendGrid no longer sends to, or could not deliver to.
LISTS: Mapping[str, ItemKind] = MappingProxyType(
    {
        "bounces": ItemKind.BOUNCE,
        "blocks": ItemKind.BOUNCE,
        "invalid_emails": ItemKind.BOUNCE,
        "spam_reports": ItemKind.COMPLAINT,
        "unsubscribes": ItemKind.OPT_OUT,
    }
)


def event_item(event: Mapping[str, Any]) -> Item | None:
    """One event of the webhook; None if it does not matter, or does not say whom it is about."""
    word = _text(event, "event")
    kind = _EVENTS.get(word)
    at, address = _number(event.get("timestamp")), _address(_text(event, "email"))
    if kind is None or at is None or not address:
        return None
    name = id_of_logs(_text(event, "sg_message_id"))
    key = f"{name}/{kind}" if name else f"event/{_text(event, 'sg_event_id')}"
    if kind is ItemKind.DELAYED:
        key = f"{key}/{_text(event, 'sg_event_id')}"
    message = _text(event, "hub_message")
    hub = _text(event, "hub")
    blocked = word == "blocked" or (word == "bounce" and _text(event, "type") == "blocked")
    return Item(
        key=key[:200],
        kind=kind,
        at=at,
        about=Reference(
            delivery=int(hub) if hub.isascii() and hub.isdigit() and len(hub) <= 18 else None,
            message_ids=(f"<{message}>",) if message else (),
            provider_ids=(name,) if name else (),
            address=address,
        ),
        only_ours=word != "unsubscribe",  # which is for all messages of the account
        vendor="dropped" if word == "dropped" else "blocked" if blocked else "",
        permanent=None if kind is not ItemKind.BOUNCE else word == "bounce" and not blocked,
        **_said(_text(event, "reason") or _text(event, "response"), _text(event, "status")),
    )


def log_item(row: Mapping[str, Any], at: float) -> Item | None:
    """A message in the logs, created at that time; None if its status is not final."""
    status, name = _text(row, "status"), id_of_logs(_text(row, "sg_message_id"))
    kind, address = _STATUSES.get(status), _address(_text(row, "to_email"))
    if kind is None or not name or not address:
        return None
    return Item(
        key=f"{name}/{kind}",
        kind=kind,
        at=at,
        about=Reference(provider_ids=(name,), address=address),
        only_ours=True,
        look_again=LOOK_AGAIN,
        vendor=status if status in ("blocked", "dropped") else "",
        permanent=status == "bounced" if kind is ItemKind.BOUNCE else None,
        **_said(_text(row, "reason"), ""),
    )


def list_item(which: str, row: Mapping[str, Any]) -> Item | None:
    """An entry of one of `LISTS`; None if it is not one."""
    kind, at, address = LISTS[which], _number(row.get("created")), _address(_text(row, "email"))
    if at is None or not address:
        return None
    status = "5.1.3" if which == "invalid_emails" else _text(row, "status")
    return Item(
        key=f"{which}/{int(at)}/{address}"[:200],
        kind=kind,
        at=at,
        about=Reference(address=address),
        of_list=True,
        vendor="" if which == "bounces" else which,
        permanent=which != "blocks" if kind is ItemKind.BOUNCE else None,
        **_said(_text(row, "reason"), status),
    )


def _said(words: str, status: str) -> dict[str, Any]:
    """The codes in a server's reply, with the status that SendGrid derives from it."""
    found = _CODES.match(words)
    code, enhanced = (found[1], found[2]) if found else (None, None)
    if not _ENHANCED.fullmatch(status):
        status = enhanced or ""
    return {"code": int(code or 0), "enhanced": status, "words": " ".join(words.split())[:_WORDS]}


def _address(text: str) -> str:
    """The address as it is compared; "" for none."""
    try:
        return email_address(text.strip())[1]
    except BadInput:
        return ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 < value < 2**40 else None


def _text(row: Mapping[str, Any], key: str) -> str:
    found = row.get(key)
    return found if isinstance(found, str) else ""
