"""A wall clock that a file sets, for a program that asks Python for the time."""

from __future__ import annotations

import time
from pathlib import Path

#: It holds how many seconds the wall clock is ahead of the system's, and is read each time somebody asks.
file: Path | None = None
_true_time = time.time


def settable_time() -> float:
    """`time.time` by the other clock."""
    return _true_time() + (0.0 if file is None else float(file.read_text()))


def install() -> None:
    """Replace `time.time`. Who has it already, as the default of a parameter, keeps the true one."""
    time.time = settable_time
