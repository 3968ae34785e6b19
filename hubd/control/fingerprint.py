"""Whether two requests with the same key ask for the same."""

from __future__ import annotations

import hashlib

import msgspec

from hubd.wire.params import Params


def fingerprint(params: Params) -> bytes:
    """What was asked for, but for the key, as a hash."""
    bare = msgspec.structs.replace(params, idempotency_key=None)
    return hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).digest()
