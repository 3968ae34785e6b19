"""What hubview remembers between two starts: the size of its window, and what was chosen on the page.

A web view keeps nothing by itself (its storage is private, and the Origin of the page changes with each
start), so the page hands its choices to its program. Losing the file loses nothing but comfort.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hubd.files import replace_file

MAX_TEXT = 200  #: characters of one choice
MAX_CHOICES = 20
SIZE = (1280, 860)  #: of a window that nobody has resized, in pixels
SMALLEST = (640, 480)
LARGEST = (10_000, 10_000)


class Settings:
    """The remembered values, in a file of this user; `path` None keeps them for this run only."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._values = _read(path) if path is not None else {}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the window, in pixels."""
        width, height = self._values.get("width"), self._values.get("height")
        if not isinstance(width, int) or not isinstance(height, int):
            return SIZE
        return (
            min(max(width, SMALLEST[0]), LARGEST[0]),
            min(max(height, SMALLEST[1]), LARGEST[1]),
        )

    @property
    def choices(self) -> dict[str, str]:
        """What was chosen on the page, such as its colours."""
        return checked_choices(self._values.get("choices"))

    def keep_size(self, width: int, height: int) -> None:
        """Remember the size of the window."""
        self._write({**self._values, "width": width, "height": height})

    def keep_choices(self, choices: object) -> None:
        """Remember what was chosen on the page; anything that is no choice is left out."""
        self._write({**self._values, "choices": checked_choices(choices)})

    def _write(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        if self._path is not None:
            with suppress(OSError):
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(self._path, json.dumps(self._values).encode())


def checked_choices(choices: object) -> dict[str, str]:
    """Short texts by name, whatever came."""
    if not isinstance(choices, dict):
        return {}
    short = {
        str(name): value
        for name, value in choices.items()
        if isinstance(value, str) and len(value) <= MAX_TEXT and len(str(name)) <= MAX_TEXT
    }
    return dict(list(short.items())[:MAX_CHOICES])


def settings_path(environ: Mapping[str, str]) -> Path | None:
    """Where they are kept: the user's folder for state; None where there is none."""
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if Path(state).is_absolute():
        return Path(state) / "messagehub" / "hubview.json"
    if home and os.name == "posix":
        return Path(home) / ".local" / "state" / "messagehub" / "hubview.json"
    local = environ.get("LOCALAPPDATA", "")
    return Path(local) / "MessageHub" / "hubview.json" if local else None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
