"""How Sphinx builds these pages. `tests/run` builds them with each warning as an error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from docs.reference_pages import write  # noqa: E402 - the path is set above
from hubd import __version__  # noqa: E402 - likewise

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "MessageHub"
author = "The MessageHub authors"
copyright = "The MessageHub authors"
version = release = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
smartquotes = False  # a dash in front of an option stays one
html_theme = "furo"
html_title = f"MessageHub {version}"
nitpicky = True


def setup(app: Sphinx) -> None:
    """Write the reference before any page is read."""
    app.connect("builder-inited", lambda _: write(HERE / "reference"))
