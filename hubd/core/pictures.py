"""Pictures that an HTML body shows from within its own message, by `cid:` URLs (RFC 2392).

An author writes the name of a file: `<img src="cid:logo.png">`. In the message stands the Content-ID of the
part, which has the form of an address and is unique in the world: it is made from the hash of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from unicodedata import normalize
from urllib.parse import unquote

from hubd.core.model import Attachment, Content
from hubd.errors import BadInput

#: In quotes a name may have spaces; without them it ends at the first.
_CID = re.compile(
    r"""(?P<before>(?P<quote>["'])\s*)cid:(?P<quoted>[^"'<>]+)(?=(?P=quote))"""
    r"""|(?<=[=(])cid:(?P<bare>[^\s"'<>()]+)""",
    re.IGNORECASE,
)


def pictures_of(content: Content) -> tuple[Attachment, ...]:
    """The files that its HTML shows: those of `inline`, and attached pictures that a `cid:` URL names.

    Each content of a file once. Raises BadInput for a file of `inline` that no such URL names.
    """
    shown = {key for found in _CID.finditer(content.html) for key in _keys(found)}
    for file in content.inline:
        if _key(file.name) not in shown:
            problem = f'{file.name} is not shown; write <img src="cid:{file.name}"> in the HTML'
            raise BadInput.at("inline", problem)
    found = {file.sha256: file for file in content.inline}
    for file in content.attachments:
        if file.type.startswith("image/") and _key(file.name) in shown:
            found.setdefault(file.sha256, file)
    return tuple(found.values())


def missing_pictures(content: Content) -> Iterator[tuple[int, str]]:
    """The pictures that its HTML shows and the message does not have: the place of each URL, and its name."""
    there = {_key(file.name) for file in content.inline}
    there |= {_key(file.name) for file in content.attachments if file.type.startswith("image/")}
    for found in _CID.finditer(content.html):
        if there.isdisjoint(_keys(found)):
            yield found.start(), next(_names(found))


def content_id(file: Attachment, domain: str) -> str:
    """The Content-ID of a file, without its angle brackets."""
    return f"{file.sha256[:32]}@{domain}"


def with_content_ids(content: Content, domain: str) -> str:
    """The HTML with Content-IDs in place of the names of its pictures; every other URL stays as it is."""
    attached = (file for file in content.attachments if file.type.startswith("image/"))
    ids = {_key(file.name): content_id(file, domain) for file in (*attached, *content.inline)}

    def linked(found: re.Match[str]) -> str:
        known = next((ids[key] for key in _keys(found) if key in ids), None)
        return found[0] if known is None else f"{found['before'] or ''}cid:{known}"

    return _CID.sub(linked, content.html) if ids else content.html


def _keys(found: re.Match[str]) -> Iterator[str]:
    """What the name is compared with."""
    return map(_key, _names(found))


def _names(found: re.Match[str]) -> Iterator[str]:
    """The name; pages from Outlook say `cid:image001.png@01D9A3B4.5C6D7E80`."""
    name = unquote(unescape(found["quoted"] or found["bare"]))
    yield name
    if "@" in name:
        yield name.partition("@")[0]


def _key(name: str) -> str:
    return normalize("NFC", name.strip()).casefold()
