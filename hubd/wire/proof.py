"""How a daemon shows that it is the one that wrote an endpoint file (an HMAC, RFC 2104).

The file holds a secret that never travels. The client sends octets of its own with the handshake, and only
who has the secret can answer them: a program that got the port of a daemon that has ended cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

NONCE = "hub-nonce"  #: the header of the client
PROOF = "hub-proof"  #: the header of the answer


def new_nonce() -> str:
    """Octets of the client's own, as text."""
    return secrets.token_urlsafe(16)


def proof_of(secret: str, nonce: str) -> str:
    """What answers a nonce."""
    return hmac.new(secret.encode("ascii"), nonce.encode("ascii"), hashlib.sha256).hexdigest()


def is_proof(secret: str, nonce: str, shown: str) -> bool:
    """Whether it was answered by who has the secret."""
    return hmac.compare_digest(proof_of(secret, nonce).encode("ascii"), shown.encode("utf-8", "replace"))
