"""What is wrong with an answer about a new provider, in words; "" for nothing. Pure."""

from __future__ import annotations

import re

MOST_SECRET = 64 * 1024  #: bytes of a secret that hubd reads at most
GMAIL_A_DAY = "500/day"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def name(text: str) -> str:
    return (
        ""
        if NAME.fullmatch(text)
        else "a name has up to 64 characters from A-Z a-z 0-9 . _ - and no leading dot"
    )


def rate(text: str) -> str:
    ok = not text or re.fullmatch(r"[1-9][0-9]{0,9}\s*/\s*[0-9A-Za-z ]+", text)
    return "" if ok else f'write it like "{GMAIL_A_DAY}"'


def secret(text: str) -> str:
    if not text:
        return "is empty"
    if any(char in text for char in "\0\r\n"):
        return "has more than one line"
    return "is too long" if len(text.encode(errors="replace")) > MOST_SECRET else ""
