"""What is wrong with an answer about a new provider, in words; "" for nothing. Pure."""

from __future__ import annotations

import re

MOST_SECRET = 64 * 1024  #: bytes that hubd reads of a secret at most
GMAIL_A_DAY = "500/day"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def name(text: str) -> str:
    return "" if NAME.fullmatch(text) else "a name has up to 64 of A-Z a-z 0-9 . _ - and no leading dot"


def anything(text: str) -> str:
    return "" if text.isprintable() else "it contains characters that are not allowed"


def something(text: str) -> str:
    return anything(text) if text else "it is empty"


def address(text: str) -> str:
    return "" if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) else "that is not an email address"


def host(text: str) -> str:
    if ":" in text and not text.startswith("[") and "/" not in text and text.count(":") == 1:
        return "give only the name; the port is asked for next"
    if not text or "/" in text or "@" in text or not text.isprintable() or " " in text:
        return "that is not the name of a server such as smtp.acme.example"
    return ""


def port(text: str) -> str:
    return "" if re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= 65535 else "from 1 to 65535"


def account(text: str) -> str:
    return (
        ""
        if re.fullmatch(r"AC[0-9A-Za-z]{1,62}", text)
        else "it starts with AC, followed by letters and digits"
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
