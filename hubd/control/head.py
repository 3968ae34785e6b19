"""The HTTP head of a new connection, checked before any websocket library sees it. Pure.

Every web page in the user's browser can try to open a websocket to a local program, and DNS rebinding makes
a foreign page look local. So a head that a browser would send (`Origin`, `Referer`, a foreign `Host`) is
refused on a unix socket; on TCP the Host must be this listener's own, and an Origin must be a loopback one,
which then has to match the token's. A single byte outside ASCII makes the websocket library raise, so such a
head is refused, too.

The token comes as `Authorization: Bearer TOKEN` or, because a web page cannot set headers, as a second
subprotocol `hub.bearer.TOKEN`. It never comes in the URL, which ends up in logs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from hubd.wire import BEARER, HEALTH_PATH, HOST, METRICS_PATH, PATH, SUBPROTOCOL
from hubd.wire.proof import NONCE

MAX_HEAD = 8 * 1024  #: bytes
END = b"\r\n\r\n"

_REQUEST = re.compile(r"([A-Z]{1,20}) (\S{1,2000}) HTTP/1\.1")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e]*)")  #: matches in one way only
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")
_LOOPBACK = re.compile(r"https?://(?:127\.0\.0\.1|localhost|\[::1\])(?::[1-9][0-9]{0,4})?")
_EXTRA = {
    401: "WWW-Authenticate: Bearer\r\n",  # RFC 9110 15.5.2 asks for it
    426: "Upgrade: websocket\r\n",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status instead of a websocket, and one sentence for people."""

    status: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """A valid handshake, and the credentials in it."""

    origin: str | None = None
    bearer: str = ""
    nonce: str = ""  #: to be answered by whoever has the secret of the endpoint file
    health: bool = False  #: it only asks whether the daemon is healthy
    metrics: bool = False  #: it asks for the metrics, over plain HTTP


def response(refusal: Refusal) -> bytes:
    """The refusal as bytes on the wire."""
    extra = _EXTRA.get(refusal.status, "")
    if not refusal.why:
        return _response(refusal.status, f"{extra}Cache-Control: no-store")
    text = (refusal.why + "\n").encode("ascii")
    return _response(refusal.status, f"{extra}Content-Type: text/plain; charset=us-ascii", text)


def page(status: int, content_type: str = "", body: bytes = b"") -> bytes:
    """An answer that must not be cached, as bytes on the wire; without a body, only its status."""
    kind = f"\r\nContent-Type: {content_type}" if content_type else ""
    return _response(status, f"Cache-Control: no-store{kind}", body)


def _response(status: int, headers: str, body: bytes = b"") -> bytes:
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close"
    return f"{first}\r\n{headers}\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii") + body


def is_local(origin: str) -> bool:
    """Whether an Origin is that of a page served by a program on this machine."""
    return _LOOPBACK.fullmatch(origin) is not None


def judge(head: bytes, port: int | None = None) -> Refusal | Handshake:
    """What is wrong with a head (up to and including its empty line), or what it contains.

    `port` is that of the TCP listener; None for a unix socket.
    """
    if len(head) > MAX_HEAD:
        return Refusal(431, f"the head is longer than {MAX_HEAD} bytes")
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
        headers.setdefault(header[1].lower(), []).append(header[2].strip(" \t"))
    if port is not None and (request[1], request[2]) == ("GET", HEALTH_PATH):
        return _judge_plain(headers, port) or Handshake(health=True)
    if port is not None and (request[1], request[2]) == ("GET", METRICS_PATH):
        return _judge_plain(headers, port) or _judge_scrape(headers)
    if request[1] != "GET" or request[2] != PATH:
        return Refusal(404, f"the only request here is GET {PATH}")
    refusal = _judge_where(headers, port) or _judge_upgrade(headers)
    return refusal or _handshake(headers, port)


def _judge_where(headers: dict[str, list[str]], port: int | None) -> Refusal | None:
    """Check where the request comes from and where it means to go."""
    if port is None:
        if "origin" in headers or "referer" in headers or "sec-fetch-mode" in headers:
            return Refusal(403, "browsers may not use this socket")
        hosts = [HOST]
    else:
        origins = headers.get("origin", [])
        if len(origins) > 1 or not all(is_local(origin) for origin in origins):
            return Refusal(403, "only pages on this machine may connect")
        hosts = [f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]
    if len(headers.get("host", ())) != 1 or headers["host"][0] not in hosts:
        return Refusal(403, f"the Host must be {' or '.join(hosts)}")
    return None


def _judge_plain(headers: dict[str, list[str]], port: int) -> Refusal | None:
    """Any program on this machine may ask, but no web page: it would tell somebody elsewhere."""
    if "origin" in headers or "referer" in headers:
        return Refusal(403, "browsers may not use this socket")
    return _judge_where(headers, port)


def _judge_scrape(headers: dict[str, list[str]]) -> Refusal | Handshake:
    """The token of a request for metrics. Without a valid one, only the status is answered."""
    shown = headers.get("authorization", [])
    scheme, _, token = "".join(shown).partition(" ")
    if len(shown) != 1 or scheme.lower() != "bearer" or not _TOKEN.fullmatch(token.strip()):
        return Refusal(401, "")
    return Handshake(bearer=token.strip(), metrics=True)


def _judge_upgrade(headers: dict[str, list[str]]) -> Refusal | None:
    """The opening handshake of RFC 6455 4.2.1."""
    if "content-length" in headers or "transfer-encoding" in headers:
        return Refusal(400, "the request has a body")
    connection = [word.lower() for word in _words(headers, "connection")]
    if [word.lower() for word in _words(headers, "upgrade")] != ["websocket"] or "upgrade" not in connection:
        return Refusal(426, "use the websocket protocol")
    if headers.get("sec-websocket-version") != ["13"]:
        return Refusal(426, "use websocket version 13")
    keys = headers.get("sec-websocket-key", ())
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        return Refusal(400, "one Sec-WebSocket-Key of 16 bytes in base64 is needed")
    if SUBPROTOCOL not in _words(headers, "sec-websocket-protocol"):
        return Refusal(400, f"this daemon speaks {SUBPROTOCOL}")
    return None


def _handshake(headers: dict[str, list[str]], port: int | None) -> Refusal | Handshake:
    """The handshake, which must have one token on TCP. On a unix socket the kernel says who calls."""
    if port is None:
        return Handshake()
    offered = _words(headers, "sec-websocket-protocol")
    bearers = [word.removeprefix(BEARER) for word in offered if word.startswith(BEARER)]
    for value in headers.get("authorization", ()):
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer":
            return Refusal(401, "authorise with a Bearer token")
        bearers.append(token.strip())
    if len(bearers) != 1 or not _TOKEN.fullmatch(bearers[0]):
        return Refusal(401, "one token is needed: get a ticket with auth.ticket over the unix socket")
    nonces = headers.get(NONCE, [])
    if len(nonces) > 1 or not all(_TOKEN.fullmatch(nonce) for nonce in nonces):
        return Refusal(400, f"{NONCE} is malformed")
    origin = next(iter(headers.get("origin", ())), None)
    return Handshake(origin=origin, bearer=bearers[0], nonce="".join(nonces))


def _words(headers: dict[str, list[str]], name: str) -> list[str]:
    """The comma-separated words of a header."""
    return [word.strip() for value in headers.get(name, ()) for word in value.split(",")]
