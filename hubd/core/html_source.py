"""The tags and the text of an HTML template, found in one pass over whatever somebody wrote.

The standard library's parser would do, but it differs from one version of Python to the next, and on some
inputs its time grows with the square of their length. This one finds less: it knows where tags, comments and
raw text (scripts, styles) begin and end (HTML Living Standard, 13.2.5), and builds no document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape

#: Elements that have no content and no end tag (HTML Living Standard, 13.1.2).
VOID = frozenset(
    {
        *("area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img"),
        *("input", "keygen", "link", "meta", "param", "source", "track", "wbr"),
    }
)
#: Elements whose content is text and no tags.
RAW = frozenset(("script", "style", "title", "textarea", "xmp", "noscript", "iframe", "noframes"))
#: So many elements within each other are a mistake; browsers give up after a few hundred.
DEEPEST = 1_000
_OPENS = re.compile(r"\{[{%#]")
_ENDS = {"{{": "}}", "{%": "%}", "{#": "#}"}
_BLOCK = re.compile(r"\{%[-+]?\s*(\w+)")
_BEGINS = re.compile(r"</?[A-Za-z]")
_TAG = re.compile(r"<(/?)([A-Za-z][^\s/>]*)((?:[^>\"']|\"[^\"]*\"|'[^']*')*+)>")
_ATTRIBUTE = re.compile(r"([^\s=/>\"']+)(?:\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s\"'>]+))?")


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag. `start` and `end` are its place in the source, in characters."""

    name: str  #: in lower case; "!--" is a comment, "!" a declaration
    start: int
    end: int
    closes: bool = False  #: "</name>"
    empty: bool = False  #: "<name/>"
    attributes: Mapping[str, str] = field(default_factory=dict)  #: by names in lower case, decoded
    complete: bool = True  #: False where its end is missing: nothing is found after it


def tags(source: str) -> Iterator[Tag]:
    """The tags in their order. What is in raw elements and in comments is passed over."""
    at = 0
    while (start := source.find("<", at)) >= 0:
        tag = _tag(source, start)
        if tag is None:  # "a < b"
            at = start + 1
            continue
        yield tag
        if not tag.complete:
            return
        at = tag.end
        if tag.name in RAW and not (tag.closes or tag.empty):
            found = re.compile(rf"</{tag.name}(?=[\s/>])", re.IGNORECASE).search(source, at)
            if found is None:
                return
            at = found.start()


def _tag(source: str, start: int) -> Tag | None:
    """The tag that begins at `start`; None if the `<` there is text."""
    if source.startswith("<!--", start):
        return _until(source, start, "-->", start + 2, "!--")  # "<!-->" is a whole comment
    if source.startswith(("<!", "<?"), start):
        return _until(source, start, ">", start + 2, "!")
    if not _BEGINS.match(source, start):
        return None
    found = _TAG.match(source, start)
    if found is None:
        return Tag(_name_at(source, start), start, len(source), complete=False)
    inside = found[3]
    return Tag(
        found[2].lower(),
        start,
        found.end(),
        closes=bool(found[1]),
        empty=inside.endswith("/"),
        attributes=_attributes(inside) if not found[1] else {},
    )


def _until(source: str, start: int, end: str, after: int, name: str) -> Tag:
    at = source.find(end, after)
    return Tag(name, start, at + len(end)) if at >= 0 else Tag(name, start, len(source), complete=False)


def _name_at(source: str, start: int) -> str:
    found = re.compile(r"</?([A-Za-z0-9:-]*)").match(source, start)
    return found[1].lower() if found else ""


def _attributes(inside: str) -> dict[str, str]:
    """The first of the same name counts, as for a browser."""
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(inside):
        value = match[2] or ""
        if value[:1] in ("'", '"'):
            value = value[1:-1]
        found.setdefault(match[1].lower(), unescape(value))
    return found


def template_tags(template: str) -> Iterator[tuple[int, int]]:
    """Where the fields, tags and comments of a template begin and end."""
    at = 0
    while (found := _OPENS.search(template, at)) is not None:
        end = template.find(_ENDS[found[0]], found.end())
        if end < 0:
            return
        at = end + 2
        yield found.start(), at


def page_of(template: str) -> str:
    """The page that a template makes, about, as long as the template and with the same lines: fields are
    letters, of each `if` the first branch is there, and everything else of the template is blank.
    """
    parts: list[str] = []
    at, skipped = 0, 0  # `skipped` is how many ifs deep we are in a branch that is not taken
    for start, end in template_tags(template):
        text, tag = template[at:start], template[start:end]
        parts.append(_blank(text) if skipped else text)
        at = end
        block = _BLOCK.match(tag)
        word = block[1] if block else ""
        if word == "if" and skipped:
            skipped += 1
        elif word in ("else", "elif"):
            skipped = max(skipped, 1)
        elif word == "endif" and skipped:
            skipped -= 1
        parts.append(_blank(tag, "x") if tag.startswith("{{") and not skipped else _blank(tag))
    parts.append(template[at:])
    return "".join(parts)


_VISIBLE = re.compile(r"[^\n]")


def _blank(text: str, filler: str = " ") -> str:
    return _VISIBLE.sub(filler, text)
