"""The HTTP head of a newcomer, judged before any websocket library sees it. Pure.

Every web page in the user's browser can try to open a websocket to a local program, and DNS rebinding makes
a foreign page look local; so a head that a browser would send (`Origin`, `Referer`, a foreign `Host`) is
refused. A single octet outside ASCII makes the websocket library raise; so such a head is refused too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hubd.wire import HOST, PATH, SUBPROTOCOL

MAX_HEAD = 8 * 1024  #: octets
END = b"\r\n\r\n"

_REQUEST = re.compile(r"([A-Z]{1,20}) (\S{1,2000}) HTTP/1\.1")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*")
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status instead of a websocket, and one sentence for people."""

    status: int
    why: str


def response(refusal: Refusal) -> bytes:
    """The refusal as bytes on the wire."""
    body = refusal.why.encode("ascii") + b"\n"
    extra = "Upgrade: websocket\r\n" if refusal.status == 426 else ""
    head = (
        f"HTTP/1.1 {refusal.status} {_REASONS[refusal.status]}\r\nConnection: close\r\n{extra}"
        f"Content-Type: text/plain; charset=us-ascii\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def judge(head: bytes) -> Refusal | None:
    """What is wrong with a head (up to and with its empty line); None for a client of ours."""
    if len(head) > MAX_HEAD:
        return Refusal(431, f"the head is longer than {MAX_HEAD} octets")
    if not head.endswith(END):
        return Refusal(400, "this is not an HTTP/1.1 request")
    try:
        lines = head.removesuffix(END).decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return Refusal(400, "the head is not ASCII")
    request = _REQUEST.fullmatch(lines[0])
    if request is None:
        return Refusal(400, "this is not an HTTP/1.1 request")
    headers: dict[str, list[str]] = {}
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header is None:
            return Refusal(400, "a header is malformed")
        headers.setdefault(header[1].lower(), []).append(header[2])
    if request[1] != "GET" or request[2] != PATH:
        return Refusal(404, f"there is only GET {PATH}")
    return _judge_headers(headers)


def _judge_headers(headers: dict[str, list[str]]) -> Refusal | None:
    if "origin" in headers or "referer" in headers or "sec-fetch-mode" in headers:
        return Refusal(403, "browsers do not belong here")
    if headers.get("host") != [HOST]:
        return Refusal(403, f"the Host must be {HOST}")
    if "content-length" in headers or "transfer-encoding" in headers:
        return Refusal(400, "the request has a body")
    if _tokens(headers, "upgrade") != ["websocket"] or "upgrade" not in _tokens(headers, "connection"):
        return Refusal(426, "speak websocket")
    if headers.get("sec-websocket-version") != ["13"]:
        return Refusal(426, "speak websocket version 13")
    keys = headers.get("sec-websocket-key", ())
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        return Refusal(400, "one Sec-WebSocket-Key of 16 octets in base64 is needed")
    if SUBPROTOCOL not in _tokens(headers, "sec-websocket-protocol"):
        return Refusal(400, f"this daemon speaks {SUBPROTOCOL}")
    return None


def _tokens(headers: dict[str, list[str]], name: str) -> list[str]:
    """The comma-separated words of a header; in lower case, as RFC 9110 compares these."""
    return [word.strip().lower() for value in headers.get(name, ()) for word in value.split(",")]
