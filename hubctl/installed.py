"""Where our programs were installed: beside this one, or wherever the installer put them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

DISTRIBUTION = "messagehubd"


def find_program(name: str) -> Path | None:
    """The absolute path of `hubd` or `hubctl` that was installed with the running code, or None.

    A program of that name elsewhere on the path is the last resort.
    """
    for path in _candidates(name):
        if path.is_file() and os.access(path, os.X_OK):
            return Path(os.path.abspath(path))
    return None


def _candidates(name: str) -> Iterator[Path]:
    called = Path(sys.argv[0])  # as this program was called; links are how pipx puts programs onto the path
    if called.name in ("hubctl", "hubd"):
        yield called.with_name(name)
        yield Path(os.path.realpath(called)).with_name(name)
    yield from _recorded(name)
    yield Path(sys.executable).with_name(name)
    if found := shutil.which(name):
        yield Path(found)


def _recorded(name: str) -> Iterator[Path]:
    """Where the installer says that it put the program: for `pip install --user` that is ~/.local/bin."""
    from importlib import metadata

    try:
        files = metadata.distribution(DISTRIBUTION).files or []
    except metadata.PackageNotFoundError:
        return
    yield from (Path(str(file.locate())) for file in files if file.name == name)
