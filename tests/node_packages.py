"""Packages of npm that the tests use: where tests/run has put them."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "MESSAGEHUB_NODE_MODULES"


def node_modules() -> Path:
    """The folder `node_modules`. tests/run installs it and says where it is."""
    default = Path(__file__).resolve().parent.parent / ".venv-test" / "node" / "node_modules"
    found = Path(os.environ.get(FOLDER) or default)
    assert found.is_dir(), f"{found} is not there: tests/run installs the packages of npm"
    return found


def node_package(name: str) -> Path:
    """The folder of one package."""
    found = node_modules() / name
    assert found.is_dir(), f"{found} is not there: tests/run installs the packages of npm"
    return found
