"""The plain text of an HTML template: a template of its own, which says the same without the looks.

Whoever reads mail as text, and some filters, want a text part (RFC 2046, 5.1.4, has both say the same).
Links stand behind their words, pictures are their alternative texts, and what is hidden stays hidden.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import unescape

from hubd.core.html_source import DEEPEST, RAW, VOID, Tag, tags, template_tags
from hubd.core.template import compile_template
from hubd.errors import BadTemplate

#: Elements with an empty line around them; elements on lines of their own.
_PARAGRAPHS = frozenset(
    {
        *("p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "dl", "blockquote", "pre"),
        *("hr", "form", "fieldset"),
    }
)
_LINES = frozenset(
    {
        *("div", "tr", "li", "dt", "dd", "section", "article", "header", "footer", "main", "nav"),
        *("address", "center", "figure", "figcaption", "body", "html", "br"),
    }
)
_HIDDEN = frozenset(RAW | {"head", "template", "svg", "object"})
_HIDES = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all", re.IGNORECASE)
#: A space, with the joiners beside it: between letters these have a meaning.
_SPACE = re.compile("[\u200c\u200d]{0,3}[ \\t\\r\\n\\f\xa0][ \\t\\r\\n\\f\xa0\u200c\u200d]*")
#: Characters that show nothing and fill up the preview of a mail program.
_INVISIBLE = re.compile("[\u00ad\u034f\u200b\u2007\ufeff]")
#: What stands for a tag of the template while the page is read: a private character around its number.
_PLACEHOLDER = re.compile("\ue000([0-9]+)\ue000")
_MARK = "\ue000"
_LONGEST_LINE = 4_000  #: characters, about; a page can be one line of any length


class _Unclear(Exception):
    """What the text would be depends on logic that a text cannot have, or on tags that never close."""


@lru_cache(maxsize=16)
def plain_text(html: str) -> str:
    """The text part for an HTML part; "" where none can be made that says the same.

    That is so for an HTML part that does not compile, or whose logic is inside of tags, for one without any
    text, and for one that hides more elements within each other than a page has.
    """
    if _MARK in html or re.search(r"\{%[-+]?\s*raw", html):
        return ""
    try:
        fields = compile_template(html, html=True).fields
        found: list[str] = []
        writer = _Writer(found)
        writer.read(_without_template(html, found))
        text = writer.text()
        shown = _PLACEHOLDER.sub(lambda match: found[int(match[1])].lstrip("{"), text)
        if not re.search(r"\w", shown):
            return ""
        text = _PLACEHOLDER.sub(lambda match: found[int(match[1])], text)
        return text if compile_template(text, html=False).fields <= fields else ""
    except (BadTemplate, _Unclear):
        return ""


def _without_template(html: str, found: list[str]) -> str:
    """The page with a placeholder for each tag of the template, which is added to `found`; no comments."""
    parts: list[str] = []
    at = 0
    for start, end in template_tags(html):
        parts.append(html[at:start])
        if not html.startswith("{#", start):
            parts.append(f"{_MARK}{len(found)}{_MARK}")
            found.append(html[start:end])
        at = end
    return "".join([*parts, html[at:]])


class _Writer:
    """Writes the text of a page, line by line."""

    def __init__(self, template: list[str]) -> None:
        self._template = template
        self._lines: list[str] = []
        self._line = ""
        self._hidden: list[str] = []  #: the elements that we are in since the first that is hidden
        self._links: list[tuple[str, int, int]] = []  #: address, and where its words begin: line, column

    def text(self) -> str:
        """What was written."""
        self._end_line()
        while self._lines and not self._lines[-1]:
            self._lines.pop()
        return "".join(f"{line}\n" for line in self._lines)

    def read(self, source: str) -> None:
        """Write a page."""
        at, raw = 0, False
        for tag in tags(source):
            if not raw:
                self._write(source[at : tag.start])
            self._tag(tag)
            at, raw = tag.end, tag.name in RAW and not (tag.closes or tag.empty)
        if not raw:
            self._write(source[at:])

    def _tag(self, tag: Tag) -> None:
        if self._hidden and not self._ends_hidden(tag):
            self._follow_hidden(tag)
        elif tag.name.startswith("!") or not tag.complete:
            return
        elif self._hides(tag):
            if not (tag.name in VOID or tag.empty):
                self._hidden.append(tag.name)
        elif tag.name in ("a", "img") and any(_MARK in name for name in tag.attributes):
            raise _Unclear
        elif tag.name == "a":
            self._link(tag)
        elif tag.name == "img":
            self._write(tag.attributes.get("alt", ""), decoded=True)
        elif tag.name in ("td", "th"):
            self._line += " " if self._line and not self._line.endswith(" ") else ""
        elif tag.name in _PARAGRAPHS:
            self._end_line()
            if tag.name == "hr":
                self._lines += ["", "-" * 30]
            self._gap()
        elif tag.name in _LINES:
            self._end_line(forced=tag.name == "br")
            if tag.name == "li" and not tag.closes:
                self._line = "- "

    def _hides(self, tag: Tag) -> bool:
        if tag.closes:
            return False
        style = tag.attributes.get("style", "")
        hidden = _HIDES.search(style) is not None
        if hidden and _MARK in style:
            raise _Unclear
        return hidden or tag.name in _HIDDEN or "hidden" in tag.attributes

    def _ends_hidden(self, tag: Tag) -> bool:
        """Whether a hidden element ends here, because its end tag may be left out."""
        if tag.closes or not (
            (tag.name == "body" and self._hidden[0] == "head")
            or (self._hidden == ["p"] and tag.name in _PARAGRAPHS | _LINES - {"br"})
        ):
            return False
        self._hidden.clear()
        return True

    def _follow_hidden(self, tag: Tag) -> None:
        """Follow the elements of a hidden one until it ends."""
        if tag.name in VOID or tag.empty or tag.name.startswith("!"):
            return
        if not tag.closes:
            if len(self._hidden) == DEEPEST:
                raise _Unclear
            self._hidden.append(tag.name)
        elif tag.name in self._hidden:
            del self._hidden[len(self._hidden) - 1 - self._hidden[::-1].index(tag.name) :]

    def _link(self, tag: Tag) -> None:
        if not tag.closes:
            self._links.append((tag.attributes.get("href", "").strip(), len(self._lines), len(self._line)))
        elif self._links:
            address, line, column = self._links.pop()
            words = self._line[column:] if line == len(self._lines) else "\n"
            address = address.removeprefix("mailto:")
            if not address or address.startswith("#") or _same(words, address):
                return
            self._write(f" ({address})" if words.strip() else address, decoded=True, literal=True)

    def _write(self, text: str, *, decoded: bool = False, literal: bool = False) -> None:
        """Add text to the line."""
        if self._hidden:
            return
        text = text if decoded else unescape(text)
        text = text if literal else _SPACE.sub(" ", _INVISIBLE.sub("", text))
        if not self._line or self._line.endswith(" "):
            text = text.lstrip(" ")
        if len(self._line) > _LONGEST_LINE:
            self._end_line()
        for part in _split(_braces(text)):
            self._add(part)

    def _add(self, part: str) -> None:
        """A piece of text, or a placeholder. A block gets a line of its own if it can: it takes it along."""
        if self._is_block(part) and not self._line.strip(" "):
            self._lines.append(part)
        else:
            self._line += part

    def _end_line(self, *, forced: bool = False) -> None:
        line = self._line.strip(" ")
        self._line = ""
        if line == "-":
            return
        if line:
            last = _split(line)[-1]  # the line end behind a block belongs to the block
            self._lines.append(f"{line}\n" if self._is_block(last) else line)
        elif forced:
            self._gap()

    def _gap(self) -> None:
        """One empty line, unless there is one already or nothing before it."""
        before = next((line for line in reversed(self._lines) if not self._is_block(line)), "")
        if before:
            self._lines.append("")

    def _is_block(self, line: str) -> bool:
        number = _PLACEHOLDER.fullmatch(line)
        return number is not None and self._template[int(number[1])].startswith("{%")


def _split(text: str) -> list[str]:
    """Texts and placeholders."""
    return [part for part in re.split(f"({_MARK}[0-9]+{_MARK})", text) if part]


def _braces(text: str) -> str:
    """Text of the page as text of a template: what stood in it as `&#123;` begins no tag."""
    return re.sub(rf"\{{(?=[{{%#{_MARK}]|$)", "{{ '{' }}", text)


def _same(words: str, address: str) -> bool:
    """Whether the words of a link are its address."""
    shown = re.sub(r"^(https?://)?(www\.)?|/$", "", words.strip())
    return shown == re.sub(r"^(https?://)?(www\.)?|/$", "", address)
