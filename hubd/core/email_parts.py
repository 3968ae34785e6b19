"""A message in pieces: what an API wants that builds the email itself, instead of its bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from hubd.core.shared import SharedBytes


class Mailbox(NamedTuple):
    """A display name, which may be "", and an ASCII address."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A file of the message."""

    name: str
    type: str  #: MIME type
    data: SharedBytes  #: in base64, in lines that end in CRLF
    content_id: str = ""  #: of a picture that the HTML shows, without angle brackets


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Files:
    """The files of every message of one content: the same object for all of them."""

    parts: tuple[FilePart, ...] = ()


class EmailParts(msgspec.Struct, frozen=True, kw_only=True):
    """One finished message. Texts are as people read them: nothing is folded or encoded."""

    sender: Mailbox
    reply_to: Mailbox | None
    recipient: str
    subject: str
    headers: list[tuple[str, str]]  #: all others but Date: Message-ID, List-Unsubscribe, own ones
    text: str | None  #: None if the message has no such part
    html: str | None
    files: Files


#: Gives the pieces of a message that was rendered before, so that it raises nothing.
Parts = Callable[[], EmailParts]
