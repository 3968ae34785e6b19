"""What is kept of an address that must not be readable."""

from __future__ import annotations

import hashlib
import hmac

from hubd.store.transaction import Transaction

#: The secret of this installation.
KEY = "SELECT install_key FROM hub"


def address_hash(db: Transaction, channel: str, key: str) -> bytes:
    """A keyed hash (HMAC-SHA-256) of an address as it is compared: nobody without the key can guess it."""
    return hash_with(db.execute(KEY).fetchone()[0], channel, key)


def hash_with(secret: bytes, channel: str, key: str) -> bytes:
    """The same for many, with the secret read once."""
    return hmac.digest(secret, f"{channel}\n{key}".encode(), hashlib.sha256)
