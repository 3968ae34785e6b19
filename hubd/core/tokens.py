"""Names of deliveries that go out into the world and come back: Message-IDs and tokens.

Each is a keyed hash of 80 bits, which only this installation can make, and the number of the delivery,
masked with another one (a synthetic initialisation vector, as in RFC 5297). So the delivery is found without
looking for the name among millions of others, nobody can guess or alter a name, and none of them shows how
many messages were sent.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import itertools
import re
from enum import Enum
from hashlib import blake2b

_HASH = 10  #: bytes
_NUMBER = {"name": 6, "token": 5}  #: bytes: deliveries up to 2**48, and 2**40
_NAME = re.compile(r"<([0-9a-f]{32})@[^<>@\s]+>")
#: base32 (RFC 4648, 6), two letters at once: half of the standard library's time, once for each message.
_PAIRS = [one + two for one, two in itertools.product("abcdefghijklmnopqrstuvwxyz234567", repeat=2)]
_SHIFTS = range(110, -1, -10)
TOKEN_LENGTH = 24  #: characters of a token: letters and digits, in any case


class Purpose(Enum):
    """What a token is for: one that was given out for one purpose is worthless for another."""

    #: The envelope sender (VERP), ENVID (RFC 3461, 4.4), and the number that a provider tells us again.
    BOUNCE = b"bounce"
    UNSUBSCRIBE = b"unsubscribe"  #: the unsubscribe link and address


class Tokens:
    """Makes and reads them with the key of this installation."""

    __slots__ = ("_key", "_mask_of_name", "_mask_of_token", "_name", "_of_purpose")

    def __init__(self, install_key: bytes) -> None:
        self._key = install_key[:64]
        self._name = self._hash(_HASH, b"name")
        self._mask_of_name = self._hash(_NUMBER["name"], b"name mask")
        self._of_purpose = {purpose: self._hash(_HASH, purpose.value) for purpose in Purpose}
        self._mask_of_token = self._hash(_NUMBER["token"], b"token mask")

    def message_id(self, delivery_id: int, content_hash: str, domain: str) -> str:
        """A delivery's Message-ID: the same on every attempt with this content.

        `read_message_id` finds the delivery.
        """
        name = self._name.copy()
        name.update(f"{delivery_id}|{content_hash}".encode("ascii"))
        digest = name.digest()
        return f"<{digest.hex()}{delivery_id ^ _masked(self._mask_of_name, digest):012x}@{domain}>"

    def read_message_id(self, message_id: str) -> int | None:
        """Which delivery may have this Message-ID, which others may have made up: compare it with its own."""
        found = _NAME.fullmatch(message_id.strip().lower())
        if found is None:
            return None
        data = bytes.fromhex(found[1])
        return _number(self._mask_of_name, data)

    def made(self, message_id: str, delivery_id: int, content_hash: str) -> bool:
        """Whether `message_id` made this Message-ID, whatever its domain."""
        name = self.message_id(delivery_id, content_hash, "")
        return hmac.compare_digest(message_id.strip().lower().partition("@")[0].encode(), name[:-2].encode())

    def of(self, purpose: Purpose, delivery_id: int) -> str:
        """The token of a delivery: `TOKEN_LENGTH` small letters and digits. It never changes."""
        digest = self._keyed(purpose, delivery_id)
        number = delivery_id ^ _masked(self._mask_of_token, digest)
        data = digest + number.to_bytes(_NUMBER["token"], "big")
        bits = int.from_bytes(data, "big")
        return "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])

    def read(self, purpose: Purpose, token: str) -> int | None:
        """The delivery that has this token for this purpose; None for what is not a token of ours."""
        if len(token) != TOKEN_LENGTH or not token.isascii():
            return None
        try:
            data = base64.b32decode(token, casefold=True)
        except binascii.Error:
            return None
        number = _number(self._mask_of_token, data)
        return number if hmac.compare_digest(self._keyed(purpose, number), data[:_HASH]) else None

    def of_name(self, what: str, name: str) -> str:
        """A token for a thing that has a name, such as the address at which a provider's webhook is served.

        Compare with `hmac.compare_digest`.
        """
        hashed = self._hash(15, b"of name")
        hashed.update(f"{what}\0{name}".encode())
        return base64.b32encode(hashed.digest()).decode("ascii").lower()

    def of_entry(self, key: str) -> str:
        """What is kept of the key of an entry of a list of addresses, which names the address."""
        return f"list/{self.of_name('list entry', key)}"

    def _hash(self, size: int, person: bytes) -> blake2b:
        return blake2b(key=self._key, digest_size=size, person=person)

    def _keyed(self, purpose: Purpose, delivery_id: int) -> bytes:
        hashed = self._of_purpose[purpose].copy()
        hashed.update(b"%d" % delivery_id)
        return hashed.digest()


def _masked(mask: blake2b, digest: bytes) -> int:
    mask = mask.copy()
    mask.update(digest)
    return int.from_bytes(mask.digest(), "big")


def _number(mask: blake2b, data: bytes) -> int:
    return int.from_bytes(data[_HASH:], "big") ^ _masked(mask, data[:_HASH])
