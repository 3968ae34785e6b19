"""Puts tables into docs/performance.md, between a pair of comments for each block."""

from __future__ import annotations

from tests.bench.processes import ROOT

PAGE = ROOT / "docs" / "performance.md"


def replace_block(page: str, name: str, content: str) -> str:
    """The page with a new content of one block. Raises ValueError when it has no such block."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{PAGE.name} has no block {name}")
    return f"{before}{begin}\n{content.strip()}\n{end}{after}"


def write(blocks: dict[str, str]) -> None:
    """Replace these blocks of docs/performance.md."""
    page = PAGE.read_text(encoding="utf-8")
    for name, content in blocks.items():
        page = replace_block(page, name, content)
    PAGE.write_text(page, encoding="utf-8")
