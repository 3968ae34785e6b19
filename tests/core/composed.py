"""Contents, the messages that are composed of them, and how a message is read back."""

from __future__ import annotations

import dataclasses
import re
from email import message_from_bytes, policy
from email.message import EmailMessage

from hypothesis import strategies as st

from hubd.core.compose import Email, compile_email
from hubd.core.model import Attachment, Channel, Content, Kind
from hubd.core.shared import encode_file

NOW = 1_790_000_000.5
ID = "<abcdefghijklmnopqrstuvwxyz234567@acme.example>"
PDF = Attachment(name='Preisliste für "Ü".pdf', type="application/pdf", sha256="aa", size=300)
BLOBS = {
    "aa": bytes(range(256)) + b"\r\n.\r\n--=_0_" * 4,
    "bb": b"a,b\n1,2\n",
    "cc": bytes(range(251)) * 700,
    "dd": b"",
}
ENCODED = {name: encode_file(data) for name, data in BLOBS.items()}
CATALOGUE = Attachment(name="catalogue.pdf", type="application/pdf", sha256="cc", size=len(BLOBS["cc"]))
CONTENT = Content(
    channel=Channel.EMAIL,
    kind=Kind.TRANSACTIONAL,
    sender="Acme <news@acme.example>",
    subject="{{ greeting }} {{ name }}",
    text="Dear {{ name }},\n\n{{ story }}\n",
    html='<html><body title="{{ name }}"><p>{{ story }}</p></body></html>',
)
FIELDS = {"email": "ann@example.org", "name": "Ann", "greeting": "Hello", "story": "Once upon a time."}
# Any text, with the characters that break messages much more often than by chance.
NASTY = st.sampled_from(
    [
        "\r",
        "\n",
        "\r\n",
        "\x00",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x85",
        "\u2028",
        "\u2029",
        "\t",
        " ",
        "  ",
        ".",
        "\n.\n",
        "=?utf-8?q?x?=",
        "=?",
        "?=",
        "=",
        "=20",
        "--=_0_",
        "\r\nBcc: evil@example.net",
        "\r\n\r\n",
        "From ",
        "<",
        "&",
        '"',
        "\\",
        ",",
        ";",
        ":",
        "@",
        "(",
        ")",
        "é",
        "漢字",
        "😀",
        "👨\u200d👩\u200d👧",
        "שלום",
        "\u202e",
        "\u200b",
        "\ufeff",
        "\xa0",
        "x" * 80,
        "x" * 1200,
        "é" * 300,
        "a b " * 60,
    ]
)
TEXT = st.lists(NASTY | st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=12).map(
    "".join
)
LETTER = st.sampled_from("aé漢😀 ב\u0301")
HEADER_TEXT = st.text(LETTER, max_size=150) | TEXT


def escaped(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(character, entity)
    return text


def parsed(payload: bytes) -> EmailMessage:
    message = message_from_bytes(payload, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def parts(message: EmailMessage) -> list[tuple[object, ...]]:
    """Each part as type, disposition, file name and decoded content."""
    found: list[tuple[object, ...]] = []
    for part in message.walk():
        place = (part.get_content_type(), part.get_content_disposition(), part.get_filename())
        if part.is_multipart():
            found.append(place)
        elif part.get_content_disposition() is None:
            found.append((*place, part.get_content()))
        else:
            found.append((*place, part.get_payload(decode=True)))
    return found


def assert_clean(payload: bytes, *, line_limit: int = 78) -> None:
    """CRLF only, one header block, no control characters, no long line, every header one of ours."""
    assert payload.endswith(b"\r\n")
    lines = payload.split(b"\r\n")
    assert all(b"\r" not in line and b"\n" not in line for line in lines)
    assert all(len(line) <= line_limit for line in lines)
    assert all(re.fullmatch(rb"[\t\x20-\x7e]*", line) for line in lines)
    head = payload.partition(b"\r\n\r\n")[0].split(b"\r\n")
    names = [line.partition(b":")[0].decode() for line in head if not line.startswith(b" ")]
    assert len(names) == len(set(names))
    assert set(names) <= {
        *("From", "To", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"),
        *("Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post"),
    }


def send(content: Content, **fields: str) -> Email:
    return compile_email(content, ENCODED).render({**FIELDS, **fields}, message_id=ID, now=NOW)


def whole(email: Email) -> bytes:
    return email.payload + bytes(email.shared)


def change(**changes: object) -> Content:
    return dataclasses.replace(CONTENT, **changes)  # type: ignore[arg-type]  # a test names its own fields


# The unsubscribe link

LINK = change(
    kind=Kind.MARKETING, unsubscribe="https://acme.example/u/{{ token }}", postal_address="1 Main St\n<Town>"
)
