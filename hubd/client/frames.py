"""The messages on the wire, for debugging: the log `hubd.client.frames`, at the level DEBUG.

Values of members that hold secrets are masked, wherever they stand. Everything else is logged as it is,
including addresses and the texts of messages.
"""

from __future__ import annotations

import json
import logging
import re

log = logging.getLogger(__name__)

MASK = "********"
#: Names of members whose values are secrets: "password", "auth_token", "session_token", "api-key", ...
_SECRET = re.compile(r"(?:.*[^a-z])?(?:password|passwd|passphrase|secret|token|ticket|bearer|api[_-]?key)")


def masked(value: object) -> object:
    """A JSON value with a mask in place of every secret. An empty value (`null` or "") is not a secret."""
    if isinstance(value, dict):
        return {
            name: MASK if each and _SECRET.fullmatch(str(name).lower()) else masked(each)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    return value


def tell(direction: str, message: object) -> None:
    """Log one message, "->" if it is sent and "<-" if it was received. Only ASCII is written."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("%s %s", direction, json.dumps(masked(message), default=str))


def remark(text: str) -> None:
    """Log something about the connection."""
    log.debug("%s", text)
