"""Whether two requests with the same key ask for the same."""

from __future__ import annotations

import hashlib

import msgspec

from hubd.wire.params import CampaignApply, Params

_NOT_DRY = b',"dry_run":false}'


def fingerprint(params: Params) -> bytes:
    """What was asked for, but for the key, as a hash."""
    bare = msgspec.structs.replace(params, idempotency_key=None)
    asked = msgspec.json.encode(bare, order="deterministic")
    # Version 0.1 kept fingerprints without it, but for this one; they are still compared.
    if asked.endswith(_NOT_DRY) and not isinstance(params, CampaignApply):
        asked = asked.removesuffix(_NOT_DRY) + b"}"
    return hashlib.sha256(asked).digest()
