"""Requests of sinks, over the HTTP wire of providers: sent once, no redirect followed, answers capped."""

from __future__ import annotations

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
    """One server. Used by one task at a time. Raises `BadConfig` and `OSError`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._endpoint = Endpoint(
            f"{parts.scheme}://{parts.netloc}",
            connect_timeout=CONNECT_SECONDS,
            timeout=ANSWER_SECONDS,
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
