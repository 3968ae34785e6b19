"""What is probably not meant in a campaign's texts: each with its part, its line and what to do.

The texts compile (see `template`), so all of this would be sent. None of it keeps a campaign from starting.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from hubd.core.html_balance import unbalanced
from hubd.core.html_source import RAW, page_of, tags, template_tags
from hubd.core.html_text import plain_text
from hubd.core.links import private_host
from hubd.core.model import Channel, Content
from hubd.core.pictures import missing_pictures
from hubd.errors import nearest

_EACH = 3  #: so many warnings of one kind; who has fixed those sees the others
_PICTURES = (
    ("img", "src"),
    ("input", "src"),
    *((tag, "background") for tag in ("body", "table", "td", "th")),
)
_LINKS = (("a", "href"), ("area", "href"), ("form", "action"), *_PICTURES, ("img", "srcset"))
_URL = re.compile(r"https?://[^\s<>\"')\]]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
#: A comment that begins like the selector of an id in CSS: `{#box{...}`.
_SELECTOR = re.compile(r"\{#[\w\\-]")
_WORD = r"[A-Za-z][A-Za-z0-9_ -]{0,40}"
#: Fields as other systems write them, which is never anything else ...
_FOREIGN = re.compile(rf"\*\|(?P<a>[A-Za-z][A-Za-z0-9_:]*)\|\*|%%(?P<b>{_WORD})%%|\$\{{(?P<c>{_WORD})\}}")
#: ... or only if the word is the name of a field.
_BRACKETS = re.compile(
    rf"(?<![{{$])\{{\$?(?P<a>{_WORD})\}}(?!\}})|\[{{1,2}}(?P<b>{_WORD})\]{{1,2}}"
    rf"|<<(?P<c>{_WORD})>>|(?<!%)%(?P<d>{_WORD})%(?!%)"
)
#: Fields that every list may have, by the names that other systems give them.
_USUAL = {
    "fname": "first_name",
    "firstname": "first_name",
    "lname": "last_name",
    "lastname": "last_name",
    "email": "email",
    "emailaddress": "email",
    "phone": "phone",
    "contactid": "contact_id",
    "unsubscribeurl": "unsubscribe_url",
    "unsubscribe": "unsubscribe_url",
    "unsub": "unsubscribe_url",
}


@dataclass(frozen=True, slots=True)
class ContentWarning:
    """One warning. `part` is "subject", "text" or "html", `line` counts from 1 in it."""

    part: str
    line: int
    problem: str

    @property
    def path(self) -> str:
        """Where it is, as the errors of templates say it."""
        return f"{self.part} line {self.line}"

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def content_warnings(content: Content, fields: Iterable[str] = ()) -> list[ContentWarning]:
    """The warnings about a content whose templates compile. `fields` are names that its recipients have."""
    content = _as_written(content)
    known = {_squeezed(name): name for name in fields} | _USUAL
    found: list[ContentWarning] = []
    for part, source in (("subject", content.subject), ("text", content.text)):
        found += _at_lines(part, source, _foreign_fields(page_of(source), known, _FOREIGN, _BRACKETS))
    found += _at_lines("text", content.text, _private_addresses(content.text))
    if content.channel is Channel.EMAIL and content.html:
        found += _about_page(content, known)
    return found


def first_use(content: Content, field: str) -> str:
    """Where a content's templates first name a field: "html line 3"; "" if they do not."""
    content = _as_written(content)
    name = re.compile(rf"\b{re.escape(field)}\b")
    parts = [(part, getattr(content, part)) for part in ("subject", "text", "html", "unsubscribe", "footer")]
    for part, source in [*parts, *((f"headers.{header}", value) for header, value in content.headers)]:
        for start, end in template_tags(source):
            if name.search(source, start, end):
                return f"{part} line {source.count(chr(10), 0, start) + 1}"
    return ""


def _as_written(content: Content) -> Content:
    """Without a text that was made from the HTML: nobody can mend it but in the HTML."""
    made = content.html and content.text == plain_text(content.html)
    return replace(content, text="") if made else content


_Found = Iterator[tuple[int, str]]  #: the place in characters, and the problem


def _about_page(content: Content, known: dict[str, str]) -> Iterator[ContentWarning]:
    source, page = content.html, page_of(content.html)
    words = _words_of(page)
    kinds: tuple[Callable[[], _Found], ...] = (
        lambda: _swallowed(source),
        lambda: unbalanced(page),
        lambda: _unattached(content),
        lambda: _addresses(source),
        lambda: _foreign_fields(page, known, _FOREIGN),
        lambda: _foreign_fields(words, known, _BRACKETS),
    )
    for kind in kinds:
        yield from _at_lines("html", source, kind())


def _at_lines(part: str, source: str, found: _Found) -> Iterator[ContentWarning]:
    for at, problem in islice(found, _EACH):
        yield ContentWarning(part, source.count("\n", 0, at) + 1, problem)


def _swallowed(source: str) -> _Found:
    """CSS that the template takes for a comment, so that it is not sent."""
    found = list(tags(source))
    starts = [tag.start for tag in found]
    for start, end in template_tags(source):
        if not _SELECTOR.match(source, start):
            continue
        before = bisect(starts, start) - 1
        in_style = before >= 0 and found[before].name == "style" and not found[before].closes
        if in_style or "{" in source[start + 2 : end]:
            lost = end - start
            yield (
                start,
                f"`{{#` begins a comment, so {lost:,} characters are left out; in CSS, put a space between "
                "{ and #",
            )


def _unattached(content: Content) -> _Found:
    """Pictures that the message does not have."""
    attached = [file.name for file in content.files]
    for at, name in missing_pictures(content):
        if "{" in name:
            continue
        near, brief = nearest(name, attached), _short(name)
        what = f"did you mean {near}?" if near else f'add it to the campaign file: inline = ["{brief}"]'
        yield at, f'the picture "{brief}" is not attached, so nobody sees it; {what}'


def _addresses(source: str) -> _Found:
    """Links and pictures of a page that only the author's machine knows."""
    page = page_of(source)
    for tag in tags(page):
        for name, attribute in _LINKS:
            if tag.name != name or not (value := tag.attributes.get(attribute, "").strip()):
                continue
            if _FOREIGN.search(value):
                continue  # which is said as what it is
            if host := private_host(value):
                yield tag.start, _private(host)
            elif (name, attribute) in _PICTURES:
                yield from ((tag.start, problem) for problem in _local_picture(value))
            elif attribute == "href" and _leads_nowhere(value):
                yield tag.start, f'the link "{_short(value)}" names no server; write it in full: https://...'


def _local_picture(value: str) -> Iterator[str]:
    if value.lower().startswith("file:") or re.match(r"[A-Za-z]:[\\/]", value):
        yield f"the picture is a file on your machine, so nobody sees it; {_INLINE.format(_file(value))}"
    elif not _SCHEME.match(value) and not value.startswith("//") and not _is_field(value):
        yield (
            f'the picture "{_short(value)}" is not part of the message, so nobody sees it; '
            + _INLINE.format(_file(value))
        )


_INLINE = 'add inline = ["{0}"] to the campaign file and write src="cid:{0}"'


def _file(path: str) -> str:
    return _short(re.split(r"[/\\]", path)[-1])


def _leads_nowhere(value: str) -> bool:
    return not (_SCHEME.match(value) or value.startswith(("#", "//")) or _is_field(value))


def _is_field(value: str) -> bool:
    """Whether a field fills it or begins it: `page_of` writes it as a row of the same letter."""
    return value.startswith("xxxx")


def _private_addresses(source: str) -> _Found:
    for match in _URL.finditer(source):
        if host := private_host(match[0]):
            yield match.start(), _private(host)


def _private(host: str) -> str:
    return f"a link leads to {host}, which only machines on this network can reach; write the public address"


def _foreign_fields(source: str, known: dict[str, str], *patterns: re.Pattern[str]) -> _Found:
    """Fields in the notation of another system, which would be sent as they are."""
    for match in (match for pattern in patterns for match in pattern.finditer(source)):
        word = next(filter(None, match.groups()))
        field = known.get(_squeezed(word))
        if field is None and match.re is _BRACKETS:
            continue
        field = field or nearest(word, known.values())
        ours = f"write {{{{ {field} }}}}" if field else "a field is written like {{ first_name }}"
        yield match.start(), f"{match[0]} is a field of another system and would be sent unchanged; {ours}"


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _words_of(page: str) -> str:
    """The page with everything blank that is no text of it, as long as the page."""
    parts: list[str] = []
    at, raw = 0, False
    for tag in tags(page):
        text = page[at : tag.start]
        parts += (
            re.sub(r"[^\n]", " ", text) if raw else text,
            re.sub(r"[^\n]", " ", page[tag.start : tag.end]),
        )
        at, raw = tag.end, tag.name in RAW and not (tag.closes or tag.empty)
    parts.append("" if raw else page[at:])
    return "".join(parts)


def _short(value: str) -> str:
    return value if len(value) <= 60 else f"{value[:59]}…"
