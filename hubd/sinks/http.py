"""Requests of sinks, on the wire that providers use: sent once, no redirect followed, answers capped."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from hubd.transports.http_protocol import Request
from hubd.transports.http_wire import Endpoint, NoAnswer

LARGEST_ANSWER = 64 * 1024  #: bytes
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 20.0


class Unreachable(Exception):
    """There is no answer; `str()` says why, in words for people."""


class Server:
    """One server. Used by one task at a time.

    With `guarded` nothing is sent to addresses that only this machine's network has for itself: the ones that
    are link-local, such as those at which clouds hand out credentials.

    Raises `BadConfig` and `OSError`.
    """

    def __init__(self, url: str, *, guarded: bool = False) -> None:
        parts = urlsplit(url)
        self._endpoint = Endpoint(
            f"{parts.scheme}://{parts.netloc}",
            connect_timeout=CONNECT_SECONDS,
            timeout=ANSWER_SECONDS,
            refused=is_forbidden_peer if guarded else None,
        )
        self._connection = self._endpoint.connection()
        self.target = target_of(parts)

    def close(self) -> None:
        """Cut the connection."""
        self._endpoint.close()

    async def request(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer. Raises `Unreachable`."""
        try:
            answer = await self._connection.request(
                Request(method=method, target=target, headers=headers, body=body), largest=LARGEST_ANSWER
            )
        except NoAnswer as problem:
            if 200 <= self._connection.status < 300:  # the rest of it says nothing that matters
                return self._connection.status, {}, b""
            raise Unreachable(problem.answer.text) from None
        return answer.status, dict(answer.headers), answer.body


def target_of(parts: SplitResult) -> str:
    """The path and the query of an address."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def is_forbidden_peer(peer: object) -> bool:
    """Whether a socket's peer name is an address that a webhook never has."""
    if not isinstance(peer, tuple) or not peer:
        return True
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return True
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    metadata = address in (ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200"))
    return address.is_link_local or address.is_multicast or address.is_unspecified or metadata
