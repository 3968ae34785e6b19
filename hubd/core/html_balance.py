"""Tags of a page that are never closed, and those that close nothing.

A mail program that gets such a page guesses, each in its own way: a table that is not closed swallows the
rest of the mail in one and shows it in another. End tags that HTML lets everybody leave out (HTML Living
Standard, 13.1.2.4), and formatting that is closed in another order, are no faults.
"""

from __future__ import annotations

from collections.abc import Iterator

from hubd.core.html_source import DEEPEST, VOID, Tag, tags

#: Elements whose end tag may be left out.
_OPTIONAL = frozenset(
    {
        *("html", "head", "body", "p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th"),
        *("thead", "tbody", "tfoot", "colgroup", "caption", "rt", "rp"),
    }
)
#: Elements that browsers close and open again where they overlap with others.
_FORMATTING = frozenset(
    {
        *("a", "abbr", "acronym", "b", "bdo", "big", "cite", "code", "del", "dfn", "em", "font"),
        *("i", "ins", "kbd", "mark", "nobr", "q", "s", "samp", "small", "span", "strike", "strong"),
        *("sub", "sup", "tt", "u", "var"),
    }
)
#: End tags that do no harm where they close nothing.
_HARMLESS = frozenset(("p", "html", "head", "body", "tbody", "thead", "tfoot", "option"))
#: These end tags close nothing outside of their table, and all others nothing outside of their cell.
_TABLE_PARTS = frozenset(["tr", "td", "th", "thead", "tbody", "tfoot", "caption", "colgroup"])
_CELLS = frozenset(("td", "th", "caption"))


def unbalanced(page: str) -> Iterator[tuple[int, str]]:
    """The place of each fault, in characters, and the fault with its remedy."""
    open_tags: list[Tag] = []
    for tag in tags(page):
        if not tag.complete:
            yield tag.start, _unfinished(tag)
            return
        if tag.name.startswith("!") or tag.name in VOID or tag.empty or ":" in tag.name:
            continue
        if not tag.closes:
            if len(open_tags) == DEEPEST:
                yield tag.start, f"more than {DEEPEST:,} tags are open here; close those before it"
                return
            open_tags.append(tag)
            continue
        at = _opener(open_tags, tag.name)
        if at is None:
            if tag.name not in _HARMLESS:
                yield tag.start, f"</{tag.name}> closes nothing; remove it, or open <{tag.name}> before it"
            continue
        inside = open_tags[at + 1 :]
        del open_tags[at:]
        for each in inside:
            if each.name in _FORMATTING:
                open_tags.append(each)
            elif each.name not in _OPTIONAL:
                yield each.start, _never_closed(each, f" before </{tag.name}>")
    for each in open_tags:
        if each.name not in _OPTIONAL:
            yield each.start, _never_closed(each, "")


def _opener(open_tags: list[Tag], name: str) -> int | None:
    """Which of the open tags an end tag closes."""
    for at in range(len(open_tags) - 1, -1, -1):
        there = open_tags[at].name
        if there == name:
            return at
        if there == "table" if name in _TABLE_PARTS else there in _CELLS and name != "table":
            return None
    return None


def _never_closed(tag: Tag, before: str) -> str:
    return f"<{tag.name}> is never closed; add </{tag.name}>{before}"


def _unfinished(tag: Tag) -> str:
    if tag.name == "!--":
        return "this comment never ends, so what follows is not shown; add -->"
    return f"the tag <{tag.name} never ends, so what follows is not shown; look for a missing > or quote"
