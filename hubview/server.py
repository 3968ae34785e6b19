"""The server of the page: its files, tickets for the daemon, and previews that can do nothing.

It listens on 127.0.0.1 and ends with the program. Any program of this machine can fetch the files of the
page; for everything else the page has to show the key, which it finds in the fragment of its address: a
fragment is never sent, so no other page and no log learns it. Where the kernel tells who called (Linux), only
this user is answered, because another user could read the address in the arguments of the browser.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from importlib.resources.abc import Traversable
from typing import IO, Any
from urllib.parse import quote, unquote

from hubd.client.trust import tcp_server_uids

HOST = "127.0.0.1"
MAX_BODY = 64 * 1024 * 1024  #: bytes of a request; a file of contacts is the largest
MAX_PREVIEWS = 8  #: kept at once, the newest ones
MAX_FILES = 4  #: kept at once for the browser to fetch, the newest ones
KEY_HEADER = "Hubview-Key"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: Only the ticket tells the port of the daemon, which changes with a restart: any of this machine is allowed.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; frame-src 'self'; "
    "connect-src 'self' ws://127.0.0.1:* ws://localhost:*; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types lit-html"
)
NOTHING = "default-src 'none'"
#: Foreign HTML: no script, no form, no origin, nothing from the network.
PREVIEW_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What the page asked for, after its key was accepted."""

    path: str
    body: Any  #: the JSON that came with it, or the bytes of a file
    name: str  #: of the file


Handler = Callable[["PageServer", Request], Mapping[str, object]]


@contextmanager
def serve_page(handler: Handler) -> Iterator[PageServer]:
    """Serve the page for the length of the block. `handler` answers its requests."""
    server = PageServer(_read_files(), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="page", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class PageServer(ThreadingHTTPServer):
    """The server, at a free port."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, tuple[str, bytes]], handler: Handler) -> None:
        self.files = files
        self.handler = handler
        self.key = secrets.token_urlsafe(32)
        self._previews: OrderedDict[str, bytes] = OrderedDict()
        self._to_save: OrderedDict[str, tuple[str, IO[bytes]]] = OrderedDict()
        self._lock = threading.Lock()
        super().__init__((HOST, 0), _Connection)
        self.authority = f"{HOST}:{self.server_address[1]}"
        self.origin = f"http://{self.authority}"

    def address(self, path: str = "/") -> str:
        """Where the page is, with its key, opened at one of its views."""
        return f"{self.origin}/#key={self.key}&at={path}"

    def keep_preview(self, html: str) -> str:
        """Keep HTML for a frame of the page; returns its path, which cannot be guessed."""
        path = f"/preview/{secrets.token_urlsafe(16)}"
        with self._lock:
            self._previews[path] = html.encode("utf-8", "replace")
            while len(self._previews) > MAX_PREVIEWS:
                self._previews.popitem(last=False)
        return path

    def preview(self, path: str) -> bytes | None:
        """The HTML that was kept at this path."""
        with self._lock:
            return self._previews.get(path)

    def keep_file(self, name: str, file: IO[bytes]) -> str:
        """Keep a file until the browser fetches it; returns its path, which cannot be guessed."""
        path = f"/saved/{secrets.token_urlsafe(16)}"
        with self._lock:
            self._to_save[path] = (name, file)
            while len(self._to_save) > MAX_FILES:
                self._to_save.popitem(last=False)[1][1].close()
        return path

    def take_file(self, path: str) -> tuple[str, IO[bytes]] | None:
        """The name and the content of the file that was kept at this path, once."""
        with self._lock:
            return self._to_save.pop(path, None)

    def handle_error(self, request: object, client_address: object) -> None:
        """A page that went away in the middle of an answer is no reason for a traceback."""


class _Connection(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        """A file of the page, or a preview."""
        if not self._is_for_us():
            return
        path = self.path.partition("?")[0]
        if (preview := self.server.preview(path)) is not None:
            self._send(200, "text/html; charset=utf-8", preview, PREVIEW_POLICY)
        elif (found := self.server.files.get("/index.html" if path == "/" else path)) is not None:
            self._send(200, *found, PAGE_POLICY)
        elif (kept := self.server.take_file(path)) is not None:
            self._send_file(*kept)
        else:
            self._refuse(404, "there is no such file")

    def _send_file(self, name: str, file: IO[bytes]) -> None:
        """A file that the browser saves and does not show."""
        with file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            saved_as = f"attachment; filename*=UTF-8''{quote(name)}"  # RFC 6266
            self._head(200, "application/octet-stream", size, more={"Content-Disposition": saved_as})
            shutil.copyfileobj(file, self.wfile)

    def do_POST(self) -> None:
        """A request of the page."""
        if not self._is_for_us():
            return
        if self.headers.get("Origin") != self.server.origin or _is_foreign(self.connection):
            self._refuse(403, "only the page of hubview may ask this")
            return
        if not hmac.compare_digest(self.headers.get(KEY_HEADER, "").encode(), self.server.key.encode()):
            self._refuse(403, "this key does not belong to this hubview")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self._refuse(413, f"a request may have at most {MAX_BODY} bytes")
            return
        body: Any = self.rfile.read(int(length))
        if self.headers.get("Content-Type") == "application/json":
            try:
                body = json.loads(body)
            except (ValueError, RecursionError):
                self._refuse(400, "this is not JSON")
                return
        path, _, name = self.path.partition("?")
        answer = self.server.handler(self.server, Request(path, body, unquote(name)))
        self._send(200, "application/json", json.dumps(answer).encode())

    def _is_for_us(self) -> bool:
        """A foreign name that leads to this address is a page elsewhere (DNS rebinding)."""
        if self.headers.get_all("Host") == [self.server.authority]:
            return True
        self._refuse(403, f"the Host must be {self.server.authority}")
        return False

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True  # a body that was not read would be taken for the next request
        self._send(status, "text/plain; charset=utf-8", f"{why}\n".encode())

    def _send(self, status: int, kind: str, body: bytes, policy: str = NOTHING) -> None:
        self._head(status, kind, len(body), policy)
        self.wfile.write(body)

    def _head(
        self, status: int, kind: str, size: int, policy: str = NOTHING, more: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        for name, value in (more or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def version_string(self) -> str:
        """The Server header: nothing about this Python."""
        return "hubview"

    def log_message(self, format: str, *args: object) -> None:
        """Requests of the page are not worth logging."""


def _is_foreign(connection: Any) -> bool:
    """Whether a program of another user is at the other end."""
    return bool(tcp_server_uids(connection) - {os.getuid(), 0}) if hasattr(os, "getuid") else False


def _read_files() -> dict[str, tuple[str, bytes]]:
    """Path -> content type and bytes, of every file of the page."""
    found: dict[str, tuple[str, bytes]] = {}

    def collect(folder: Traversable, below: str) -> None:
        for each in folder.iterdir():
            if each.is_dir():
                collect(each, f"{below}/{each.name}")
            elif kind := _TYPES.get(os.path.splitext(each.name)[1]):
                found[f"{below}/{each.name}"] = (kind, each.read_bytes())

    collect(resources.files("hubview") / "page", "")
    return found
