"""hubview's window: GTK's WebKit on a virtual display, with the C locale that a bare system has."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, new_hub

#: The Python that has GTK: the system's, with our packages, or one that tests/run has made of it.
GTK_PYTHON = os.environ.get("MESSAGEHUB_GTK_PYTHON", "")
SYSTEM_PYTHON = "/usr/bin/python3"
STRIDE = 97  #: every so many pixels are looked at


class Display:
    """A virtual display: its number, and the colours that are on it."""

    def __init__(self, number: str, frame: Path) -> None:
        self.number = number
        self._frame = frame

    def pixels(self) -> list[bytes]:
        """Some pixels of what is shown. Xvfb keeps it in a file, as X Window Dump."""
        data = self._frame.read_bytes()
        header = struct.unpack(">25I", data[:100])
        start = header[0] + 12 * header[19]  # behind the header and its colour map
        return [data[at : at + 4] for at in range(start, len(data) - 3, 4 * STRIDE)]


@contextmanager
def open_display(folder: Path) -> Iterator[Display]:
    ours, theirs = os.pipe()
    command = ("Xvfb", "-displayfd", str(theirs), "-screen", "0", "1300x900x24", "-fbdir", str(folder))
    with subprocess.Popen(
        [*command, "-nolisten", "tcp"], pass_fds=[theirs], stderr=subprocess.DEVNULL
    ) as xvfb:
        os.close(theirs)
        try:
            with os.fdopen(ours) as told:
                number = told.readline().strip()
            yield Display(f":{number}", folder / "Xvfb_screen0")
        finally:
            xvfb.terminate()


def await_true(what: str, look: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + TIMEOUT
    while not look():
        assert process.poll() is None, f"hubview ended with {process.returncode}"
        assert time.monotonic() < end, what
        time.sleep(0.05)  # another program draws: there is no event to wait on


def test_the_window_shows_live_figures_notifies_and_ends_cleanly(tmp_path: Path) -> None:
    own = next(path for path in sys.path if path.endswith("site-packages"))
    with new_hub() as hub, open_display(tmp_path) as display:
        hub.contacts(300)
        hub.contacts(1, into="few")
        hub.campaign("live", rate="20/s")
        hub.ok("start", "live")
        environ = {
            **QUIET_ENV,
            "LANG": "C.UTF-8",
            "DISPLAY": display.number,
            **({} if GTK_PYTHON else {"PYTHONPATH": os.pathsep.join((str(ROOT), own))}),
            "XDG_RUNTIME_DIR": str(hub.folder),
            "XDG_STATE_HOME": str(tmp_path),
            "HOME": str(tmp_path),
            "GSETTINGS_BACKEND": "memory",
            "PATH": f"{tmp_path}:{QUIET_ENV['PATH']}",
        }
        notified = tmp_path / "notified"
        (tmp_path / "notify-send").write_text(f'#!/bin/sh\nfor each; do echo "$each"; done >>"{notified}"\n')
        (tmp_path / "notify-send").chmod(0o755)
        command = [GTK_PYTHON or SYSTEM_PYTHON, "-m", "hubview", "--socket", str(hub.socket), "live"]
        process = subprocess.Popen(
            command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            await_true("nothing was painted", lambda: len(Counter(display.pixels())) > 50, process)
            painted = display.pixels()
            await_true("the figures stand still", lambda: display.pixels() != painted, process)
            hub.campaign("quick", lists=["few"])
            hub.ok("start", "quick", "--wait")
            await_true(
                "no notification", lambda: notified.exists() and "quick" in notified.read_text(), process
            )
            told_first = notified.read_text().splitlines()[-2:]
            hub.ok("credits", "grant", "team", "5", "--warn-below", "9")
            await_true("credits are no news", lambda: "team" in notified.read_text(), process)
            process.send_signal(signal.SIGTERM)
            out, said = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, said.decode()
        assert b"Traceback" not in said
        assert out == b""
        assert hub.json("status", "live")["campaign"]["state"] == "running", "closing it stops nothing"
    assert told_first == ["quick is completed", "Every recipient has a final result."]
    assert "The account team has few credits left" in notified.read_text().splitlines()
    kept = json.loads((tmp_path / "messagehub" / "hubview.json").read_text())
    assert kept["width"] > 600
