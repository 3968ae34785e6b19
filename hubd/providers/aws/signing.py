"""Signature Version 4 of Amazon Web Services. Pure: no clock, no I/O.

A request is signed with a key that is derived from the secret access key for one day, one region and one
service. What is signed is the whole request: method, path, query, headers and a hash of the body. Source: AWS
General Reference, "Create a signed AWS API request". Services other than S3 encode the path once more.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import quote

from hubd.transports.http_protocol import Request

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who signs. A session token belongs to keys that expire."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


class Signer:
    """Signs requests to one service in one region with one pair of keys."""

    def __init__(self, keys: Keys, *, region: str, service: str) -> None:
        self.keys = keys
        self._region, self._service = region, service
        self._day, self._key = "", b""

    def sign(self, request: Request, host: str, at: float) -> Request:
        """The request with the headers that sign it. `host` is its Host header, `at` the time, epoch seconds.

        A service refuses a time that is more than a few minutes from its own.
        """
        stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = [*request.headers, ("X-Amz-Date", stamp)]
        if self.keys.session_token:
            headers.append(("X-Amz-Security-Token", self.keys.session_token))
        names, lines = _canonical_headers([*headers, ("Host", host)])
        path, _, query = request.target.partition("?")
        canonical = "\n".join(
            (
                request.method,
                quote(_without_dots(path), safe="/~"),
                _canonical_query(query),
                lines,
                names,
                hashlib.sha256(request.body).hexdigest(),
            )
        )
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = _hmac(self._key_of(stamp[:8]), f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}").hex()
        authorization = (
            f"{ALGORITHM} Credential={self.keys.access_key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return replace(request, headers=(*headers, ("Authorization", authorization)))

    def _key_of(self, day: str) -> bytes:
        """The key of one day, which is the same for all of its requests."""
        if day != self._day:
            key = f"AWS4{self.keys.secret_access_key}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = _hmac(key, part)
            self._day, self._key = day, key
        return self._key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _canonical_headers(headers: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The names of the headers and their lines, sorted, each name once, spaces folded."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(" ".join(value.split()))
    ordered = sorted(values)
    return ";".join(ordered), "".join(f"{name}:{','.join(values[name])}\n" for name in ordered)


def _canonical_query(query: str) -> str:
    """The parameters in order of their names, then of their values; each has an equals sign."""
    pairs = sorted(part.partition("=")[::2] for part in query.split("&")) if query else []
    return "&".join(f"{name}={value}" for name, value in pairs)


def _without_dots(path: str) -> str:
    """The path without `.`, `..` (RFC 3986 section 5.2.4) and empty segments."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")
