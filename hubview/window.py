"""The window: pywebview with the page in it, on the web view that this system has."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hubctl.exits import Exit, Refused
from hubview.settings import SMALLEST, Settings

TITLE = "MessageHub"
GTK = "gtkwebkit2"  #: what pywebview calls it
INSTALL = {
    "linux": "apt install python3-gi gir1.2-webkit2-4.1 (with a Python that sees the system's packages), "
    "or: pip install 'messagehubd[qt]'",
}
INSTALL_ELSEWHERE = "pip install 'messagehubd[qt]'"


def load_webview() -> Any:
    """The module pywebview, prepared for this system. Raises `Refused` when there is no web view to use."""
    if sys.platform.startswith("linux"):
        # Without a GPU, WebKitGTK composes in memory: ten times the work, and blank windows on some drivers.
        os.environ.setdefault("WEBKIT_DISABLE_DMABUF_RENDERER", "1")
        if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            raise Refused(
                "there is no display to show a window on",
                code="no_display",
                status=Exit.FAILED,
                hint="hubview --browser opens the page in a browser; hubctl works in any terminal",
            )
    import webview

    if sys.platform.startswith("linux") and not _has_toolkit():
        raise _no_toolkit()
    return webview


def _has_toolkit() -> bool:
    """Whether GTK with WebKit, or Qt with its web engine, can be loaded."""
    try:
        import gi

        gi.require_version("Gtk", "3.0")
        for version in ("4.1", "4.0"):
            try:
                gi.require_version("WebKit2", version)
            except ValueError:
                continue
            return True
    except (ImportError, ValueError):
        pass
    from importlib.util import find_spec

    return find_spec("PySide6") is not None and find_spec("PySide6.QtWebEngineWidgets") is not None


def _no_toolkit() -> Refused:
    return Refused(
        "there is no toolkit for the window: neither GTK with WebKit nor Qt can be loaded",
        code="no_toolkit",
        status=Exit.FAILED,
        hint=f"{INSTALL.get(sys.platform, INSTALL_ELSEWHERE)}; or use: hubview --browser",
    )


def show_window(webview: Any, address: str, settings: Settings, serve: Callable[[Any], None]) -> int:
    """Show the page until the window is closed. Returns the exit code.

    Args:
        webview: From `load_webview`.
        address: The page's, with its key.
        settings: Where the size of the window is kept.
        serve: Called with the window once it is there, in a thread.
    """
    width, height = settings.size
    window = webview.create_window(
        TITLE, address, width=width, height=height, min_size=SMALLEST, text_select=True
    )
    sizes = [(width, height)]  # asking a window for its size while it closes hangs on GTK

    def resized(width: int, height: int) -> None:
        sizes[:] = [(int(width), int(height))]

    window.events.resized += resized
    with _Signals(window.destroy) as signals:
        try:
            webview.start(serve, (window,), private_mode=True)
        except webview.errors.WebViewException:
            raise _no_toolkit() from None
    settings.keep_size(*sizes[0])
    return signals.exit_code


def file_chooser(webview: Any, window: Any) -> Callable[[str], Path | None]:
    """What asks in this window where to save a file of a name; it returns None when the person cancels."""

    def choose(name: str) -> Path | None:
        downloads = Path.home() / "Downloads"
        folder = os.fspath(downloads if downloads.is_dir() else Path.home())
        chosen = window.create_file_dialog(webview.FileDialog.SAVE, directory=folder, save_filename=name)
        if not chosen:
            return None
        path = Path(chosen if isinstance(chosen, str) else chosen[0])
        if webview.renderer == GTK and path.exists():  # pywebview has the other dialogs ask this themselves
            replace = window.create_confirmation_dialog(TITLE, f"{path.name} exists. Replace it?")
            return path if replace else None
        return path

    return choose


class _Signals:
    """SIGINT and SIGTERM close the window, whatever main loop runs.

    A handler of Python runs only when the main loop lets Python run. GTK does that by itself; for other loops
    a thread reads the wake-up descriptor, which is written at once.
    """

    def __init__(self, close: Callable[[], object]) -> None:
        self.exit_code = int(Exit.DONE)
        self._close = close
        self._closing = False
        self._ours, self._theirs = socket.socketpair()

    def __enter__(self) -> _Signals:
        self._theirs.setblocking(False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: self._end(number))
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._read, name="signals", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        signal.set_wakeup_fd(-1)
        self._theirs.close()

    def _read(self) -> None:
        for number in self._ours.recv(1):
            self._end(number)

    def _end(self, number: int) -> None:
        if self._closing:
            return
        self._closing = True
        if number == signal.SIGINT:
            self.exit_code = int(Exit.INTERRUPTED)
        # Closing a window that is not shown yet has to wait, which the main loop must not.
        threading.Thread(target=self._close, name="closing", daemon=True).start()
