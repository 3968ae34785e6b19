"""Packages of npm that the tests use: where tests/run has put them."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "MESSAGEHUB_NODE_MODULES"
PAGE_FOLDER = "MESSAGEHUB_PAGE_MODULES"


def node_modules() -> Path:
    """The folder `node_modules` of foreign clients. tests/run installs it and says where it is."""
    return _folder(FOLDER, "node")


def page_modules() -> Path:
    """The folder `node_modules` of what the page of hubview is made of and checked with."""
    return _folder(PAGE_FOLDER, "page")


def _folder(variable: str, name: str) -> Path:
    default = Path(__file__).resolve().parent.parent / ".venv-test" / name / "node_modules"
    found = Path(os.environ.get(variable) or default)
    assert found.is_dir(), f"{found} is not there: tests/run installs the packages of npm"
    return found


def node_package(name: str) -> Path:
    """The folder of one package."""
    found = node_modules() / name
    assert found.is_dir(), f"{found} is not there: tests/run installs the packages of npm"
    return found
