"""Servers for sinks on this machine: one with Airtable's interface, and one that gets webhooks.

Both answer a request as a script says (`answers`), and else as the real one would. `test_sinks.py` drives
them with the vendors' own clients, too.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "pat-of-the-double"
BASE = "appDouble"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: Double

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        self._answer()

    do_GET = do_PATCH = do_POST  # noqa: N815 - the names that the library calls

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        with self.double.lock:
            status, said, headers = self.double.handle(self.command, self.path, dict(self.headers), body)
        if status == 0:
            self.close_connection = True
            return
        text = json.dumps(said).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(text)


Answer = tuple[int, Any, dict[str, str]]  #: status (0: hang up), JSON, headers


@dataclass(slots=True)
class Double:
    """What both have."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)  #: the next ones; then what the real one would say
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer one request."""
        self.requests.append((method, path, {name.lower(): value for name, value in headers.items()}, body))
        return self.answers.pop(0) if self.answers else self.usual(method, path, headers, body)

    def usual(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What the real one would say."""
        return 200, {}, {}


@dataclass(slots=True)
class AirtableDouble(Double):
    """One base with the fields that it is given (https://airtable.com/developers/web/api)."""

    fields: set[str] = field(default_factory=set)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)  #: by id
    writes: int = 0  #: requests that wrote something

    def rows(self) -> list[dict[str, Any]]:
        """The fields of each record."""
        with self.lock:
            return [dict(record) for record in self.records.values()]

    def usual(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Upsert or list records."""
        if headers.get("Authorization", headers.get("authorization")) != f"Bearer {TOKEN}":
            return (
                401,
                {"error": {"type": "AUTHENTICATION_REQUIRED", "message": "Authentication required"}},
                {},
            )
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        if parts[:2] != ["v0", BASE] or parts[2] != "Campaigns":
            return 404, {"error": "NOT_FOUND"}, {}
        if method == "GET":
            return 200, {"records": [self._record(number) for number in self.records]}, {}
        asked = json.loads(body)
        if method != "PATCH" or not 1 <= len(asked["records"]) <= 10:
            return 422, {"error": {"type": "INVALID_REQUEST_MISSING_FIELDS"}}, {}
        for each in asked["records"]:
            for name in each["fields"]:
                if name not in self.fields:
                    message = f'Unknown field name: "{name}"'
                    return 422, {"error": {"type": "UNKNOWN_FIELD_NAME", "message": message}}, {}
        (key,) = asked["performUpsert"]["fieldsToMergeOn"]
        self.writes += 1
        created, found = [], []
        for each in asked["records"]:
            wanted = each["fields"][key]
            number = next((n for n, record in self.records.items() if record.get(key) == wanted), None)
            if number is None:
                number = f"rec{len(self.records):014}"
                self.records[number] = {}
                created.append(number)
            self.records[number] |= each["fields"]
            found.append(number)
        updated = [number for number in found if number not in created]
        records = [self._record(number) for number in found]
        return 200, {"createdRecords": created, "updatedRecords": updated, "records": records}, {}

    def _record(self, number: str) -> dict[str, Any]:
        return {"id": number, "createdTime": "2026-12-01T00:00:00.000Z", "fields": self.records[number]}


@contextmanager
def serving(double: Double) -> Iterator[None]:
    """Serve it; its `url` is set."""
    handler = type("Handler", (_Handler,), {"double": double})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
