"""How a daemon shows that it is the one that wrote an endpoint file (an HMAC, RFC 2104).

The file has a secret that is never sent. The client sends random bytes with the handshake, and only a program
that has the secret can answer them: one that took over the port of a daemon that has ended cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

NONCE = "hub-nonce"  #: the header of the client
PROOF = "hub-proof"  #: the header of the answer


def new_nonce() -> str:
    """Random bytes of the client, as text."""
    return secrets.token_urlsafe(16)


def proof_of(secret: str, nonce: str) -> str:
    """The answer to a nonce."""
    return hmac.new(secret.encode("ascii"), nonce.encode("ascii"), hashlib.sha256).hexdigest()


def is_proof(secret: str, nonce: str, shown: str) -> bool:
    """Whether the answer came from a holder of the secret."""
    return hmac.compare_digest(proof_of(secret, nonce).encode("ascii"), shown.encode("utf-8", "replace"))
