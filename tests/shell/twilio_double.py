"""A local server that answers like the public Messages API of Twilio, and can misbehave on request.

It keeps what it accepted, checks the login, lists messages with the filters To, From and DateSent, and shows
the account. What it does with a message can be scripted per recipient (`behave`), or on the command line:

    python -m tests.shell.twilio_double --port 0 --record FILE --behave +12025550143=silence,accept

It prints its base URL as the first line. An accepted message is one line of JSON in the record, on the disk
before the answer leaves, so that a whole-process test can compare what was accepted with what was believed.
FILE.asked has a byte for each request to send one.

Behaviours: `accept`, `refuse:CODE` (HTTP 400 with that error number), `problem:CODE` (its newer form
RFC 9457), `status:CODE` (an HTTP status with a page instead of JSON), `busy` (429), `silence` (reads and
never answers), `drop` (reads and hangs up), `redirect`, `echo` (a refusal that quotes the login). With `+` in
front the message is accepted first and then the trouble comes: `+silence`, `+drop`, `+status:500`. These
accept, too: `garbage` (201 with a page), `nameless` (201 without a sid), `deep`, `endless`, `gzip`, `cut`,
`again` (201 with the sid of the message before).

The list can be scripted as well (`behave_listing`, or --list on the command line): `list`, `busy`,
`status:CODE`, `silence`, `drop`, `garbage`, `deep`, `elsewhere` (goes on at another host), `round` (the next
page is the same again, for ever), `faceless` (a message without sid and time). Messages can be made to appear
late, after so many questions (`hide_queries`), and to wait in a queue, without a date_sent (`queued`).

A question without a recipient is one that walks the whole list; `walking` scripts those. `receive` and
`settle` put a text from somebody, and the last status of a message, into the list.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import os
import re
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.shell.cloud_server import CloudServer

ACCOUNT = "AC" + "0" * 32
TOKEN = "token-of-the-double"
SENDER = "+15005550006"

#: The public test numbers: as recipients, and as senders.
MAGIC_TO = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
MAGIC_FROM = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}

WORDS = {
    20003: "Authenticate",
    20404: "The requested resource was not found",
    20429: "Too Many Requests",
    21211: "The 'To' number {to} is not a valid phone number.",
    21602: "Message body is required.",
    21603: "A 'From' phone number is required.",
    21604: "A 'To' phone number is required.",
    21606: "The 'From' phone number {from_} is not a valid, SMS-capable number for this account.",
    21610: "Attempt to send to unsubscribed recipient",
    21617: "The concatenated message body exceeds the 1600 character limit.",
}


@dataclass(slots=True)
class Book:
    """What the server knows, shared by its threads under one lock."""

    account: str = ACCOUNT
    token: str = TOKEN
    account_status: str = "active"
    record: Path | None = None
    messages: list[dict[str, object]] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)  #: form fields of every request to send
    behaviours: dict[str, list[str]] = field(default_factory=dict)
    listings: list[dict[str, str]] = field(default_factory=list)  #: the query of every question for messages
    listing: list[str] = field(default_factory=lambda: ["list"])
    walks: list[dict[str, str]] = field(default_factory=list)  #: the same, without a recipient
    becomes: dict[str, str] = field(default_factory=dict)  #: the last status of what is sent to a number
    answers: dict[str, str] = field(default_factory=dict)  #: what a number answers to what is sent to it
    walking: list[str] = field(default_factory=lambda: ["list"])
    most: int = 1000  #: messages of a page
    hide_queries: int = 0  #: a message appears in the list only after so many questions
    queued: bool = False  #: messages are accepted and wait: they have no date_sent
    trial: bool = False  #: as a trial account, which puts words in front of each text
    unseen: dict[str, int] = field(default_factory=dict)  #: questions until a message appears, by sid
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_behaviour(self, to: str, sender: str) -> str:
        """The next of the recipient's script; the last one stays."""
        script = self.behaviours.get(to) or self.behaviours.get("*")
        if script:
            return script.pop(0) if len(script) > 1 else script[0]
        code = MAGIC_TO.get(to) or MAGIC_FROM.get(sender)
        return f"refuse:{code}" if code else "accept"

    def note_request(self) -> None:
        """A request to send a message came, whatever will be answered."""
        if self.record is not None:
            with self.lock, self.record.with_name(f"{self.record.name}.asked").open("ab") as asked:
                asked.write(b".")

    def accept(self, form: dict[str, str]) -> dict[str, object]:
        """Keep a message; it is in the record, on the disk, when this returns."""
        now = format_datetime(datetime.now(UTC))
        sid = f"SM{secrets.token_hex(16)}"
        message: dict[str, object] = {
            "account_sid": self.account,
            "api_version": "2010-04-01",
            "body": f"Sent from your Twilio trial account - {form['Body']}" if self.trial else form["Body"],
            "date_created": now,
            "date_sent": None if self.queued else now,
            "date_updated": now,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "num_media": "0",
            "num_segments": "1",
            "price": None,
            "price_unit": "USD",
            "sid": sid,
            "status": "queued",
            "subresource_uris": {},
            "to": form["To"],
            "uri": f"/2010-04-01/Accounts/{self.account}/Messages/{sid}.json",
        }
        status, _, error = self.becomes.get(form["To"], "queued").partition(":")
        message |= {"status": status, "error_code": int(error) if error else None}
        self.messages.append(message)
        if answer := self.answers.get(form["To"]):
            self._receive(form["To"], answer, form.get("From", SENDER), 0.0)
        self.unseen[sid] = self.hide_queries + 1 if self.hide_queries else 0
        if self.record is not None:
            line = {key: message[key] for key in ("sid", "to", "from", "messaging_service_sid", "body")}
            with self.record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        return message

    def receive(self, sender: str, text: str, to: str = SENDER, ago: float = 0.0) -> str:
        """Somebody sends a text to a number of the account; its name."""
        with self.lock:
            return self._receive(sender, text, to, ago)

    def _receive(self, sender: str, text: str, to: str, ago: float) -> str:
        when = format_datetime(datetime.now(UTC) - timedelta(seconds=ago))
        sid = f"SM{secrets.token_hex(16)}"
        made = {"date_created": when, "date_sent": when, "date_updated": when, "direction": "inbound"}
        received = {"sid": sid, "status": "received", "to": to, "from": sender, "body": text}
        rest = {"error_code": None, "error_message": None, "messaging_service_sid": None, "uri": ""}
        self.unseen[sid] = 0
        self.messages.insert(0 if ago else len(self.messages), {**made, **received, **rest})
        return sid

    def settle(self, to: str, status: str, error: int | None = None) -> None:
        """What became of the messages to a number."""
        with self.lock:
            for message in self.messages:
                if message["to"] == to:
                    message |= {"status": status, "error_code": error}

    def list_messages(self, query: dict[str, str]) -> list[dict[str, object]]:
        """Messages that fit the filters and have appeared, newest first."""
        found = [message for message in reversed(self.messages) if not self.unseen[str(message["sid"])]]
        for name, key in (("To", "to"), ("From", "from")):
            if name in query:
                found = [message for message in found if message[key] == query[name]]
        for name in ("DateSent", "DateSent>", "DateSent<"):
            if name in query:
                found = [message for message in found if _fits(message, name[8:], query[name])]
        return found

    def next_listing(self, query: dict[str, str]) -> str:
        """What to do with a question for messages; it is remembered, and brings hidden ones nearer."""
        if "To" not in query:
            self.walks.append(query)
            return self.walking.pop(0) if len(self.walking) > 1 else self.walking[0]
        self.listings.append(query)
        if query.get("Page", "0") == "0" and "DateSent>" in query:  # the first list of a question
            self.unseen = {sid: max(0, left - 1) for sid, left in self.unseen.items()}
        return self.listing.pop(0) if len(self.listing) > 1 else self.listing[0]


def _fits(message: dict[str, object], relation: str, day: str) -> bool:
    if message["date_sent"] is None:
        return False
    sent = datetime.strptime(str(message["date_sent"]), "%a, %d %b %Y %H:%M:%S %z").date()
    wanted = date.fromisoformat(day[:10])
    return {"": sent == wanted, ">": sent >= wanted, "<": sent <= wanted}[relation]


class TwilioDouble(CloudServer):
    """The running server."""

    def __init__(self, port: int = 0, *, book: Book | None = None) -> None:
        self.book = book or Book()
        super().__init__(port, Handler, self.book.lock)

    @property
    def messages(self) -> list[dict[str, object]]:
        """Accepted messages, oldest first."""
        with self.book.lock:
            return list(self.book.messages)

    @property
    def requests(self) -> list[dict[str, str]]:
        """The form fields of every request to send, also of those that were refused."""
        with self.book.lock:
            return list(self.book.requests)

    def behave(self, to: str, *behaviours: str) -> None:
        """What to do with messages to this number ("*" for all), one after the other; the last one stays."""
        with self.book.lock:
            self.book.behaviours[to] = list(behaviours)

    @property
    def listings(self) -> list[dict[str, str]]:
        """The query of every question for messages."""
        with self.book.lock:
            return list(self.book.listings)

    def behave_listing(self, *behaviours: str) -> None:
        """What to do with questions for messages, one after the other; the last one stays."""
        with self.book.lock:
            self.book.listing = list(behaviours)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: TwilioDouble
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        rest = self._authenticated(url.path)
        book = self.server.book
        if rest is None:
            return
        if rest == ".json":
            status = {"sid": book.account, "status": book.account_status, "friendly_name": "Double"}
            self._json(200, {**status, "type": "Full", "date_created": None, "date_updated": None})
        elif rest == "/Messages.json":
            with book.lock:
                behaviour = book.next_listing(query)
            self._list(behaviour, query)
        elif match := re.fullmatch(r"/Messages/(\w+)\.json", rest):
            with book.lock:
                found = [message for message in book.messages if message["sid"] == match[1]]
            self._json(200, found[0]) if found else self._error(404, 20404)
        else:
            self._error(404, 20404)

    def _list(self, behaviour: str, query: dict[str, str]) -> None:
        if behaviour in ("busy", "silence", "drop") or behaviour.startswith("status:"):
            Handler._act(self, behaviour, {}, None)
            return
        page = self._page(query)
        match behaviour:
            case "list":
                self._json(200, page)
            case "garbage":
                self._send(200, b"<html>Welcome to the hotel wifi</html>", "text/html")
            case "deep":
                self._send(200, b"[" * 100_000)
            case "elsewhere":
                self._json(200, {**page, "meta": {"key": "messages", "next_page_url": _ELSEWHERE}})
            case "round":
                self._json(200, {**page, "next_page_uri": page["uri"]})
            case "faceless":
                self._json(200, {**page, "messages": [{"sid": None, "to": query["To"], "body": "Hello"}]})
            case _:
                raise AssertionError(f"no such behaviour: {behaviour}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self.server.book.note_request()
        rest = self._authenticated(urlsplit(self.path).path)
        if rest is None:
            return
        if rest != "/Messages.json":
            self._error(404, 20404)
            return
        form = {key: values[-1] for key, values in parse_qs(body, keep_blank_values=True).items()}
        book = self.server.book
        with book.lock:
            book.requests.append(form)
            if code := _fault(form):
                behaviour = f"refuse:{code}"
            else:
                behaviour = book.next_behaviour(form["To"], form.get("From", ""))
            accepted = behaviour.startswith("+") or behaviour in _ACCEPTING
            message = book.accept(form) if accepted else None
        self._act(behaviour.removeprefix("+"), form, message)

    def _act(self, behaviour: str, form: dict[str, str], message: dict[str, object] | None) -> None:
        name, _, argument = behaviour.partition(":")
        match name:
            case "accept":
                self._json(201, message)
            case "refuse":
                self._error(400, int(argument), form)
            case "busy":
                self._error(429, 20429, headers={"Retry-After": "2"})
            case "status":
                self._send(int(argument), b"<html>something is wrong</html>", "text/html")
            case "silence":
                self.rfile.read(1)  # until the client hangs up
                self.close_connection = True
            case "drop":
                self.close_connection = True
            case "garbage":
                self._send(201, b"<html>Welcome to the hotel wifi</html>", "text/html")
            case "again":
                with self.server.book.lock:
                    before = self.server.book.messages[-2:][0]
                self._json(201, {**(message or {}), "sid": before["sid"]})
            case "nameless":
                self._json(201, {**(message or {}), "sid": None})
            case "deep":
                self._send(201, b"[" * 100_000)
            case "endless":
                self._send(201, b" " * 2_000_000)
            case "gzip":
                self._send(201, b"\x1f\x8b" + bytes(100), headers={"Content-Encoding": "gzip"})
            case "cut":
                self._send(201, b'{"sid": "SM', headers={"Content-Length": "400"})
                self.close_connection = True
            case "redirect":
                self._send(307, b"", headers={"Location": f"{self.server.base_url}/elsewhere"})
            case "echo":
                self._error(400, 21211, {"to": str(self.headers["Authorization"]) + self.server.book.token})
            case "problem":  # the newer form of errors (RFC 9457)
                problem = {"type": "https://double.invalid", "title": "Bad number", "status": 400}
                self._json(400, {**problem, "code": int(argument)})
            case _:
                raise AssertionError(f"no such behaviour: {behaviour}")

    def _authenticated(self, path: str) -> str | None:
        """What follows the account in the path; None when the answer was given already."""
        book = self.server.book
        login = base64.b64encode(f"{book.account}:{book.token}".encode()).decode()
        if not hmac.compare_digest(self.headers.get("Authorization", ""), f"Basic {login}"):
            self._error(401, 20003)
            return None
        prefix = f"/2010-04-01/Accounts/{book.account}"
        if not path.startswith(prefix):
            self._error(404, 20404)
            return None
        return path.removeprefix(prefix)

    def _page(self, query: dict[str, str]) -> dict[str, object]:
        book = self.server.book
        size, page = min(int(query.get("PageSize", "50")), book.most), int(query.get("Page", "0"))
        with book.lock:
            found = book.list_messages(query)
        base = f"/2010-04-01/Accounts/{book.account}/Messages.json?"
        rest = {key: value for key, value in query.items() if key != "Page"}
        more = len(found) > (page + 1) * size
        return {
            "messages": found[page * size : (page + 1) * size],
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": min((page + 1) * size, len(found)) - 1,
            "uri": base + urlencode(query),
            "first_page_uri": base + urlencode({**rest, "Page": 0}),
            "next_page_uri": base + urlencode({**rest, "Page": page + 1}) if more else None,
            "previous_page_uri": base + urlencode({**rest, "Page": page - 1}) if page else None,
        }

    def _error(
        self,
        status: int,
        code: int,
        form: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        form = form or {}
        words = WORDS.get(code, "The request was refused.")
        words = words.format(to=form.get("To", form.get("to", "")), from_=form.get("From", ""))
        body = {"code": code, "message": words, "status": status}
        body["more_info"] = f"https://www.twilio.com/docs/errors/{code}"
        self._json(status, body, headers)

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), headers=headers)

    def _send(
        self, status: int, body: bytes, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Length": str(len(body))}
        for name, value in {**own, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: stdout is for the base URL."""


_ELSEWHERE = "http://198.51.100.7/Messages.json"  #: an address for documentation (RFC 5737)
_ACCEPTING = {"accept", "again", "garbage", "nameless", "deep", "endless", "gzip", "cut"}


def _fault(form: dict[str, str]) -> int:
    """The error number for a request that cannot be carried out, or 0."""
    if not form.get("To"):
        return 21604
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", form["To"]):
        return 21211
    if not (form.get("From") or form.get("MessagingServiceSid")):
        return 21603
    if not form.get("Body"):
        return 21602
    return 21617 if len(form["Body"]) > 1600 else 0


def main() -> None:
    parser = argparse.ArgumentParser(description="A local server that answers like Twilio's Messages API.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, help="append each accepted message here, as a line of JSON")
    parser.add_argument("--account", default=ACCOUNT)
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--behave", action="append", default=[], metavar="NUMBER=BEHAVIOUR,...")
    parser.add_argument("--list", default="list", metavar="BEHAVIOUR,...", help="of questions for messages")
    parser.add_argument("--hide-queries", type=int, default=0, metavar="N")
    parser.add_argument("--queued", action="store_true", help="accepted messages have no date_sent yet")
    parser.add_argument("--becomes", action="append", default=[], metavar="NUMBER=STATUS[:ERROR]")
    parser.add_argument("--answers", action="append", default=[], metavar="NUMBER=TEXT")
    options = parser.parse_args()
    book = Book(account=options.account, token=options.token, record=options.record)
    book.listing, book.hide_queries, book.queued = (
        options.list.split(","),
        options.hide_queries,
        options.queued,
    )
    book.becomes = dict(rule.split("=", 1) for rule in options.becomes)
    book.answers = dict(rule.split("=", 1) for rule in options.answers)
    server = TwilioDouble(options.port, book=book)
    for rule in options.behave:
        to, _, behaviours = rule.partition("=")
        server.behave(to, *behaviours.split(","))
    print(server.base_url, flush=True)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
