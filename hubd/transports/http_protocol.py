"""HTTP/1.1 as a client speaks it: requests to bytes, bytes to responses. Pure: no socket, no clock.

h11 does the parsing. This module adds limits, so that a server can neither fill the memory nor keep the
reader busy for ever, and the rule that only a whole, well-formed response counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import h11

#: Bytes of a response's head. Bounds the memory a server can make us use.
MAX_HEAD = 32 * 1024
#: Interim (1xx) responses to one request.
MAX_INTERIM = 20

#: Headers that say where a message ends, or where it goes: only we write them.
_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer"}
    | {"proxy-connection", "transfer-encoding", "upgrade"}
)
_METHOD = re.compile(r"[A-Z]+")
_TARGET = re.compile(r"/[!-~]*")
_KEEP_ALIVE = re.compile(r"\btimeout=(\d{1,9})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `target` is the path and the query; the wire adds the headers that frame the message."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    shared: Sequence[bytes] = field(default=(), repr=False)  #: the rest of the body; not copied

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return len(self.body) + sum(map(len, self.shared))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole response. Header names are in lower case; values of repeated headers are joined by commas."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Malformed(Exception):
    """What came is not a usable response; `str()` says why."""


class CutOff(Exception):
    """The other end closed before the response was whole."""


class Protocol:
    """One connection. After `Malformed` or `CutOff` it cannot be used any more."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._tunnel = False
        self._head: Response | None = None
        self._body = bytearray()
        self._largest = 0
        self._interim = 0

    @property
    def status(self) -> int:
        """The status of the response under way; 0 before its head has arrived."""
        return self._head.status if self._head else 0

    @property
    def surplus(self) -> bool:
        """Whether more than the response came."""
        return bool(self._h11.trailing_data[0])

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this connection."""
        states = self._h11.our_state, self._h11.their_state
        return states == (h11.DONE, h11.DONE) and self._h11.trailing_data == (b"", False)

    def request(self, request: Request, host: str, *, largest: int) -> bytes:
        """The head of a request; its body follows as it is. A body of more than `largest` bytes is refused.

        Raises `ValueError` for what cannot be a header, a method or a target.
        """
        if not _METHOD.fullmatch(request.method) or not _TARGET.fullmatch(request.target):
            raise ValueError("not a method, or not the path of a request")
        headers = [("Host", host), ("Accept-Encoding", "identity"), *request.headers]
        if any(name.lower() in _OURS for name, _ in request.headers):
            raise ValueError("a header that callers may not set")
        if request.length or request.method in ("POST", "PUT", "PATCH"):
            headers.append(("Content-Length", str(request.length)))
        self._begin(largest)
        try:
            head = self._h11.send(h11.Request(method=request.method, target=request.target, headers=headers))
        except h11.LocalProtocolError:  # its text quotes the header
            raise ValueError("a header that cannot be sent") from None
        for piece in (request.body, *request.shared):
            if piece:
                self._h11.send_with_data_passthrough(h11.Data(data=piece))
        self._h11.send(h11.EndOfMessage())
        return head

    def tunnel(self, authority: str, headers: Sequence[tuple[str, str]]) -> bytes:
        """The request that asks a proxy for a connection to `authority`, a host and a port."""
        self._begin(0)
        self._tunnel = True
        request = h11.Request(method="CONNECT", target=authority, headers=[("Host", authority), *headers])
        return self._h11.send(request) + self._h11.send(h11.EndOfMessage())

    def feed(self, data: bytes) -> Response | None:
        """Take what came; b"" is the end. Returns the response once it is whole.

        Raises `Malformed` and `CutOff`.
        """
        try:
            self._h11.receive_data(data)
            while (event := self._h11.next_event()) is not h11.NEED_DATA:
                if (response := self._see(event)) is not None:
                    return response
        except h11.RemoteProtocolError:  # its text may quote what came
            if not data:
                raise CutOff("the server closed the connection before its answer was complete") from None
            raise Malformed("the answer is not well-formed HTTP") from None
        return None

    def _begin(self, largest: int) -> None:
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        self._head, self._largest, self._interim = None, largest, 0
        self._body.clear()

    def _see(self, event: object) -> Response | None:
        if isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > self._largest:
                raise Malformed("the answer is too large")
        elif isinstance(event, h11.EndOfMessage) and self._head is not None:
            return Response(status=self._head.status, headers=self._head.headers, body=bytes(self._body))
        elif isinstance(event, h11.Response):
            self._head = _head(event)
            _check(self._head)
            if self._tunnel:  # what follows is the other side's, or the proxy's reason, which nobody needs
                return self._head
        elif isinstance(event, h11.InformationalResponse):
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise Malformed("the server sends too many interim answers")
        else:
            raise Malformed("the answer is not well-formed HTTP")
        return None


def kept_for(response: Response) -> float:
    """How many seconds the server promises to keep the connection open; infinity if it does not say."""
    match = _KEEP_ALIVE.search(response.headers.get("keep-alive", ""))
    return float(match[1]) if match else float("inf")


def _head(event: h11.Response) -> Response:
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Response(status=event.status_code, headers=headers, body=b"")


def _check(head: Response) -> None:
    """Raise `Malformed` for a head that h11 accepts although its meaning is in doubt."""
    if head.status > 599:
        raise Malformed("the answer has a status that HTTP does not know")
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise Malformed("the answer is compressed although that was not requested")
    if "transfer-encoding" in head.headers and "content-length" in head.headers:
        raise Malformed("the answer gives two lengths")
