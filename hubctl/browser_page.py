"""The HTML part of a message as a page of its own, for the browser."""

from __future__ import annotations

import base64
import re
import webbrowser
from email import message_from_string
from email.policy import default as modern
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import unquote

from hubctl.exits import Refused

#: The beginning of every page written here, so that nothing else is ever overwritten.
MARK = "<!-- written by hubctl preview -->\n"
#: No mail program runs scripts, so the page shows what they would show.
_NO_SCRIPTS = """<meta http-equiv="Content-Security-Policy" content="script-src 'none'">"""
_HEAD = re.compile(r"<head(\s[^>]*)?>", re.IGNORECASE)
_CID = re.compile(r"""cid:([^\s"'()<>]+)""", re.IGNORECASE)


def browser_page(html: str, source: str) -> str:
    """The page with the pictures of the message in it. `source` is the message as it is sent."""
    pictures = {}
    for part in message_from_string(source, policy=modern).walk():
        content_id = str(part["Content-ID"] or "").strip("<> ")
        if content_id and not part.is_multipart():
            content = part.get_payload(decode=True)
            data = base64.b64encode(content if isinstance(content, bytes) else b"").decode("ascii")
            pictures[content_id] = f"data:{part.get_content_type()};base64,{data}"
    page = _CID.sub(lambda found: pictures.get(unquote(found[1]), found[0]), html)
    head = _HEAD.search(page)
    return MARK + (page[: head.end()] + _NO_SCRIPTS + page[head.end() :] if head else page)


def write_page(path: Path, page: str) -> None:
    """Write a page into a file, with a byte order mark: the page may name an encoding other than UTF-8.

    Raises Refused if the file exists and was not written here.
    """
    try:
        if path.exists() and not path.read_text("utf-8-sig", errors="replace").startswith(MARK):
            raise Refused(
                f"{path} exists and was not written by hubctl preview; it was not changed",
                hint="name another file",
            )
        path.write_text(page, encoding="utf-8-sig")
    except OSError as error:
        raise Refused(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None


def open_page(name: str, page: str) -> Path:
    """Show a page in the desktop's browser; return its file. Raises Refused if there is no browser."""
    path = Path(mkdtemp(prefix="hubctl-")) / f"{name}.html"
    write_page(path, page)
    if not webbrowser.open(path.as_uri()):
        raise Refused(
            "no browser could be opened here", code="no_browser", hint=f"open this file yourself: {path}"
        )
    return path
