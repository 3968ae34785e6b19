"""A local server that answers like SendGrid's Web API v3, and can misbehave on request.

It keeps what it accepted, checks the key, searches its logs, and shows permissions and credits. What it does
with a message can be scripted per recipient (`behave`), or on the command line:

    python -m tests.shell.sendgrid_double --port 0 --record FILE --behave ann@example.com=silence,accept

It prints its base URL as the first line. An accepted message is one line of JSON in the record, on the disk
before the answer leaves, so that a whole-process test can compare what was accepted with what was believed.
FILE.asked has a byte for each request.

Behaviours: `accept`, `nameless` (202 without a name), `field:NAME` (400 about that field), `from` (403 about
the sender), `credits` (401), `status:CODE` (with a page instead of JSON), `busy` (429 with a reset in
`reset_in` seconds), `silence` (reads and never answers), `drop` (reads and hangs up). With `+` in front the
message is accepted first and then the trouble comes: `+silence`, `+drop`, `+status:500`; `other`
accepts, too, and answers 200.

The logs can be scripted as well (`logging`): `list`, `busy`, `garbage`, `drop`, `status:CODE`. Messages
can be made to appear in them late, after so many questions (`hide_queries`).

A question of the logs without a recipient walks all of them; `walking` scripts those and the lists of
suppressions (`suppress`), each by its name, "logs" or that of the list. `settle` is the last status of
messages.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import re
import secrets
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

KEY = "SG.key-of-the-double"
SCOPES = ["mail.send", "messages.read", "user.credits.read"]
#: Headers that a request may not have (the page of Mail Send).
FORBIDDEN = re.compile(
    r"x-sg-.*|received|dkim-signature|content-.*|to|from|subject|reply-to|cc|bcc", re.IGNORECASE
)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_QUERY = re.compile(
    r"(?:to_email = '(?P<to>[^'\"\\]+)' AND )?"
    r'sg_message_id_created_at >= TIMESTAMP "(?P<since>[0-9TZ:-]+)" '
    r'AND sg_message_id_created_at <= TIMESTAMP "(?P<until>[0-9TZ:-]+)"'
    r"(?: AND status IN \((?P<statuses>'[a-z]+'(?:, '[a-z]+')*)\))?"
)
LISTS = ("bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes")


@dataclass(slots=True)
class Book:
    """What the server knows, shared by its threads under one lock."""

    key: str = KEY
    scopes: list[str] = field(default_factory=lambda: list(SCOPES))
    record: Path | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)  #: accepted, as the logs have them
    requests: list[dict[str, Any]] = field(default_factory=list)  #: bodies of every request to send
    asked: int = 0  #: requests of every kind
    queries: list[str] = field(default_factory=list)
    behaviours: dict[str, list[str]] = field(default_factory=dict)
    logging: list[str] = field(default_factory=lambda: ["list"])
    hide_queries: int = 0
    unseen: dict[str, int] = field(default_factory=dict)  #: questions until a message appears, by name
    reset_in: float = 1.0
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in LISTS})
    walks: list[str] = field(default_factory=list)  #: paths of lists, and conditions of the logs
    walking: dict[str, str] = field(default_factory=dict)  #: what to do with those, by name
    most: int = 500  #: entries of a list's page at most
    limit: int = 1000  #: messages of one answer at most
    lock: threading.Lock = field(default_factory=threading.Lock)

    def suppress(self, which: str, email: str, ago: float = 0.0, **more: Any) -> None:
        """An entry of a list."""
        with self.lock:
            self.lists[which].append({"created": int(time.time() - ago), "email": email, **more})

    def settle(self, to: str, status: str, reason: str = "") -> None:
        """What became of the messages to somebody."""
        with self.lock:
            for message in self.messages:
                if message["to_email"] == to:
                    message |= {"status": status, "reason": reason}

    def next_behaviour(self, to: str) -> str:
        """The next of the recipient's script; the last one stays."""
        script = self.behaviours.get(to) or self.behaviours.get("*") or ["accept"]
        return script.pop(0) if len(script) > 1 else script[0]

    def accept(self, body: dict[str, Any]) -> str:
        """Keep a message; it is in the record, on the disk, when this returns. Its name."""
        name = secrets.token_urlsafe(16).replace("-", "_")
        (envelope,) = body["personalizations"]
        message = {
            "from_email": body["from"]["email"],
            "sg_message_id": f"{name}.filterdrecv-5645d9c87f-78xhc-1-{secrets.token_hex(4)}.0",
            "subject": body["subject"],
            "to_email": envelope["to"][0]["email"],
            "status": "processed",
            "sg_message_id_created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "custom_args": envelope.get("custom_args", {}),
        }
        self.messages.append(message)
        self.unseen[message["sg_message_id"]] = self.hide_queries
        if self.record is not None:
            line = json.dumps({"id": name, "to": message["to_email"], **message["custom_args"]})
            with self.record.open("a") as record:
                record.write(line + "\n")
                record.flush()
                os.fsync(record.fileno())
        return name


def fault_of(body: Any) -> tuple[str, str] | None:
    """The field that a request is wrong about, and in what way: what the page of Mail Send demands."""
    if not isinstance(body, dict):
        return "null", "Bad Request"
    envelopes = body.get("personalizations")
    if not isinstance(envelopes, list) or not 1 <= len(envelopes) <= 1000:
        return "personalizations", "The personalizations field is required and must have at least one."
    for number, envelope in enumerate(envelopes):
        for at, to in enumerate(envelope.get("to") or [{}]):
            if not _ADDRESS.fullmatch(str(to.get("email", ""))):
                return f"personalizations.{number}.to.{at}.email", "Does not contain a valid address."
        arguments = envelope.get("custom_args", {})
        if any(not isinstance(value, str) for value in arguments.values()):
            return f"personalizations.{number}.custom_args", "must be strings"
    if not _ADDRESS.fullmatch(str((body.get("from") or {}).get("email", ""))):
        return "from.email", "The from email does not contain a valid address."
    if not str(body.get("subject", "")):
        return "subject", "The subject is required."
    content = body.get("content")
    if not isinstance(content, list) or not content or any(not part.get("value") for part in content):
        return "content", "The content value must be a string at least one character in length."
    if [part["type"] for part in content] not in (["text/plain"], ["text/html"], ["text/plain", "text/html"]):
        return "content", "If present, text/plain must be first, followed by text/html."
    for name, value in body.get("headers", {}).items():
        if FORBIDDEN.fullmatch(name):
            return "headers", f"The header {name} is reserved."
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            return f"headers.{name}", "must be one line of ASCII"
    for number, file in enumerate(body.get("attachments", [])):
        if not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", file.get("content", "")):
            return f"attachments.{number}.content", "The attachment content must be base64 encoded."
        if not file.get("filename") or re.search(r"[;\r\n]", file.get("type", "")):
            return f"attachments.{number}", "The attachment needs a name and a type."
    unknown = body.keys() - {
        *("personalizations", "from", "reply_to", "subject", "content", "attachments", "headers"),
        "tracking_settings",
    }
    return (min(unknown), "is not known here") if unknown else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v3/mail/send":
            self._send_mail(data)
        elif self.path == "/v3/logs":
            self._search(json.loads(data))
        else:
            self._say(404, error("not found"))

    def do_GET(self) -> None:
        book = self.server.book
        if not self._authorized():
            return
        if self.path.startswith("/v3/suppression/"):
            self._list(urlsplit(self.path))
        elif self.path == "/v3/scopes":
            self._say(200, {"scopes": book.scopes})
        elif self.path == "/v3/user/credits":
            self._say(
                200,
                {
                    "remain": 88,
                    "total": 100,
                    "overage": 0,
                    "used": 12,
                    "last_reset": "2026-12-01",
                    "next_reset": "2026-12-02",
                    "reset_frequency": "daily",
                },
            )
        elif self.path.startswith("/v3/logs/"):
            name = unquote(self.path.removeprefix("/v3/logs/"))
            found = [each for each in book.messages if each["sg_message_id"] == name]
            more = {"events": [], "api_key_id": "k", "client_ip": "192.0.2.1"}
            self._say(*((200, {**found[0], **more}) if found else (404, error("not found"))))
        else:
            self._say(404, error("not found"))

    def _list(self, url: SplitResult) -> None:
        book, which = self.server.book, url.path.rpartition("/")[2]
        query = {key: int(values[-1]) for key, values in parse_qs(url.query).items()}
        with book.lock:
            book.walks.append(self.path)
            behaviour = book.walking.get(which, "")
            rows = book.lists.get(which)
        if behaviour:
            self._misbehave(behaviour)
        elif rows is None or not 1 <= query.get("limit", 500) <= 500:
            self._say(400, error("invalid", "limit"))
        else:
            start, end = query.get("start_time", 0), query.get("end_time", 2**40)
            found = [row for row in reversed(rows) if start <= row["created"] <= end]
            offset, limit = query.get("offset", 0), min(query.get("limit", 500), book.most)
            self._say(200, found[offset : offset + limit])

    def _misbehave(self, behaviour: str) -> None:
        kind, _, value = behaviour.partition(":")
        match kind:
            case "busy":
                self._say(429, error("too many requests"))
            case "garbage":
                self._say(200, b"<html>no</html>")
            case "drop":
                self._hang_up()
            case "status":
                self._say(int(value), error("access forbidden"))

    def _authorized(self) -> bool:
        book = self.server.book
        with book.lock:
            reads = self.path.startswith(("/v3/suppression/", "/v3/logs"))
            book.asked += not reads
            if book.record is not None and not reads:
                with book.record.with_name(f"{book.record.name}.asked").open("ab") as asked:
                    asked.write(b".")
        if hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {book.key}"):
            return True
        self._say(401, error("The provided authorization grant is invalid, expired, or revoked"))
        return False

    def _send_mail(self, data: bytes) -> None:
        book = self.server.book
        if not self._authorized():
            return
        body = json.loads(data)
        fault = fault_of(body)
        if fault is not None:
            self._say(400, error(fault[1], fault[0]))
            return
        to = body["personalizations"][0]["to"][0]["email"]
        name = ""
        with book.lock:
            book.requests.append(body)
            behaviour = book.next_behaviour(to)
            if behaviour.startswith("+") or behaviour in ("accept", "nameless", "other"):
                name = book.accept(body)
        kind, _, value = behaviour.removeprefix("+").partition(":")
        match kind:
            case "accept":
                self._say(202, None, ("X-Message-Id", name))
            case "nameless":
                self._say(202, None)
            case "other":
                self._say(200, {"message": "success"})
            case "field":
                self._say(400, error("is not valid", value))
            case "from":
                words = "The from address does not match a verified Sender Identity."
                self._say(403, error(words, "from"))
            case "credits":
                self._say(401, error("Maximum credits exceeded"))
            case "status":
                self._say(int(value), b"<html>no</html>")
            case "busy":
                reset = ("X-RateLimit-Reset", str(int(time.time() + book.reset_in)))
                self._say(429, error("too many requests"), reset)
            case "silence":
                self.server.over.wait()
                self._hang_up()
            case "drop":
                self._hang_up()
            case _:
                raise AssertionError(behaviour)

    def _search(self, body: dict[str, Any]) -> None:
        book = self.server.book
        if not self._authorized():
            return
        if "to_email" not in body["query"] and "status IN" in body["query"]:
            with book.lock:
                book.walks.append(body["query"])
                behaviour = book.walking.get("logs", "")
            self._misbehave(behaviour) if behaviour else self._say(*self._found(body))
            return
        with book.lock:
            book.queries.append(body["query"])
            script = book.logging
            behaviour = script.pop(0) if len(script) > 1 else script[0]
        kind, _, value = behaviour.partition(":")
        match kind:
            case "busy":
                self._say(429, error("too many requests"))
            case "garbage":
                self._say(200, b"<html>no</html>")
            case "drop":
                self._hang_up()
            case "status":
                self._say(int(value), error("no"))
            case _:
                self._say(*self._found(body))

    def _found(self, body: dict[str, Any]) -> tuple[int, Any]:
        query = _QUERY.fullmatch(body["query"])
        limit = body.get("limit", 10)
        if query is None or not 1 <= limit <= 1000:
            return 400, error("invalid query", "query")
        book, found = self.server.book, []
        with book.lock:
            for each in book.messages:
                if query["to"] not in (None, each["to_email"]):
                    continue
                if not query["since"] <= each["sg_message_id_created_at"] <= query["until"]:
                    continue
                if query["statuses"] and f"'{each['status']}'" not in query["statuses"].split(", "):
                    continue
                if book.unseen.get(each["sg_message_id"], 0) > 0:
                    book.unseen[each["sg_message_id"]] -= 1
                    continue
                found.append({key: value for key, value in each.items() if key != "custom_args"})
        return 200, {"messages": found[: min(limit, book.limit)]}

    def _say(self, status: int, body: Any, *headers: tuple[str, str]) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", "text/html" if isinstance(body, bytes) else "application/json")
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(2)


def error(message: str, field: str | None = None) -> dict[str, object]:
    """The body of a refusal."""
    return {"errors": [{"message": message, "field": field, "help": None}]}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, book: Book) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.book = book
        self.over = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class SendGridDouble:
    """The server in this process, for the length of a `with` block."""

    def __init__(self, port: int = 0) -> None:
        self.book = Book()
        self._server = _Server(port, self.book)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> SendGridDouble:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.over.set()
        self._server.shutdown()
        self._server.server_close()

    def behave(self, to: str, *behaviours: str) -> None:
        """What happens to messages for somebody, or with "*" for everybody without a script."""
        with self.book.lock:
            self.book.behaviours[to] = list(behaviours)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--behave", action="append", default=[])
    options = parser.parse_args()
    book = Book(record=options.record)
    for rule in options.behave:
        to, _, script = rule.partition("=")
        book.behaviours[to] = script.split(",")
    server = _Server(options.port, book)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever(0.05)


if __name__ == "__main__":
    main()
