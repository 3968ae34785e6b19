"""The text of an HTML page that somebody sent us, without its looks, and with the marks of quoted lines."""

from __future__ import annotations

import re
from html import unescape

from hubd.core.html_source import DEEPEST, RAW, tags

_LONGEST_PAGE = 200_000  #: characters
_LINES = frozenset(
    {
        *("p", "div", "br", "tr", "li", "ul", "ol", "table", "blockquote", "hr", "pre", "dt", "dd"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "body", "html"),
    }
)
_HIDDEN = RAW | {"head"}
_SPACE = re.compile("[ \t\r\n\f\xa0]+")


def text_of_page(html: str) -> str:
    """What a reader sees, line by line; lines of a `blockquote` begin with ">" (RFC 3676, 4.5)."""
    lines: list[str] = []
    line = ""
    depth = 0
    at, hidden = 0, ""
    html = html[:_LONGEST_PAGE]

    def end_line(*, gap: bool = False) -> None:
        nonlocal line
        text = _SPACE.sub(" ", unescape(line)).strip()
        mark = "> " if depth else ""
        if text or (gap and lines and lines[-1] != mark):
            lines.append(mark + text)
        line = ""

    for tag in tags(html):
        if not hidden:
            line += html[at : tag.start]
        at = tag.end
        if hidden:
            hidden = "" if tag.closes and tag.name == hidden else hidden
            continue
        if not tag.complete:
            at = len(html)
            break
        if tag.name in _LINES:
            end_line(gap=tag.name == "br")
            if tag.name == "p" and not tag.closes:
                end_line(gap=True)
        if tag.name == "blockquote":
            depth = max(0, min(DEEPEST, depth + (-1 if tag.closes else 1)))
        elif tag.name in _HIDDEN and not (tag.closes or tag.empty):
            hidden = tag.name
        elif tag.name in ("td", "th"):
            line += " "
    if not hidden:
        line += html[at:]
    end_line()
    return "\n".join(lines).strip()
