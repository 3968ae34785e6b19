"""SendGrid's event webhook, signed with ECDSA over P-256.

The signature covers the timestamp and the body as it came. A request is refused when its timestamp is more
than `OLDEST` seconds away, so that a recorded one is of no use later. Source: SendGrid's page "Event Webhook
Security Features".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubd.core.inbound import Item
from hubd.core.webhooks import WebhookRequest
from hubd.providers.sendgrid.items import event_item

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

#: Seconds. SendGrid signs each request anew, even when it tries again.
OLDEST = 600.0
MOST_EVENTS = 5_000  #: of one request
_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"


def read_webhook(public_key: str, request: WebhookRequest) -> Sequence[Item] | None:
    """What a request says; None if SendGrid did not sign it, or not recently."""
    timestamp = request.headers.get(_TIMESTAMP, "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return None
    if abs(request.at - int(timestamp)) > OLDEST:
        return None
    if not is_signed(public_key, timestamp, request.body, request.headers.get(_SIGNATURE, "")):
        return None
    try:
        events = json.loads(request.body)
    except (ValueError, RecursionError):
        return []
    rows = events if isinstance(events, list) else []
    found = (event_item(row) for row in rows[:MOST_EVENTS] if isinstance(row, dict))
    return [item for item in found if item is not None]


def is_signed(public_key: str, timestamp: str, body: bytes, signature: str) -> bool:
    """Whether the owner of the private key signed this body at that time."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = read_public_key(public_key)
    try:
        key.verify(
            base64.b64decode(signature, validate=True),
            timestamp.encode() + body,
            ec.ECDSA(hashes.SHA256()),
        )
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def read_public_key(text: str) -> EllipticCurvePublicKey:
    """The key that SendGrid shows beside the webhook. Raises `ValueError` if it is not a key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, UnsupportedAlgorithm, ValueError):
        raise ValueError("it is not a public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("it is not a key on the curve P-256")
    return key
