"""hubview's page in Debian's Chromium, on a real daemon: what the tests of it share."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from hubd.wire.places import place_at
from hubview.daemon import Daemon
from hubview.requests import PageRequests
from hubview.server import PageServer, serve_page
from hubview.settings import Settings

CHROMIUM = "/usr/bin/chromium"
#: Root has no sandbox of its own, and nothing may be fetched or drawn by a GPU.
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
expect.set_options(timeout=30_000)  # milliseconds; both processors may be busy
WIDE: ViewportSize = {"width": 1400, "height": 900}
NARROW: ViewportSize = {"width": 900, "height": 900}


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


class _Dropping(socketserver.StreamRequestHandler):
    """A mail server that takes a message and hangs up before it answers: nobody knows what became of it."""

    def handle(self) -> None:
        self.wfile.write(b"220 drops\r\n")
        for line in self.rfile:
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                return
            self.wfile.write(b"250 fine\r\n")


@contextmanager
def serve_dropping() -> Iterator[int]:
    """The port of a mail server that leaves every message in doubt."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Dropping) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def serve_dashboard(socket: Path) -> Iterator[PageServer]:
    """The page for the daemon at `socket`, served as hubview serves it."""
    with serve_page(PageRequests(Daemon(place_at(socket)), Settings(None))) as server:
        yield server


@contextmanager
def open_page(browser: Browser, server: PageServer, path: str = "/", *, key: bool = True) -> Iterator[Page]:
    """The page in a browser context of its own. At the end nothing may have been reported or refused."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    try:
        page.goto(server.address(path) if key else f"{server.origin}/#{path}")
        yield page
    finally:
        context.close()
    unexpected = [fault for fault in faults if not _expected(fault)]
    assert not unexpected, unexpected


def _expected(fault: str) -> bool:
    """What the browser reports of connections that were refused, and of what a preview may not do."""
    return "/preview/" in fault or any(
        words in fault for words in ("ERR_CONNECTION", "WebSocket connection", "status of 403")
    )
