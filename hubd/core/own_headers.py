"""Headers of an email that its author writes: which names are free, and the List-Id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from hubd.core.tables import Table, shown
from hubd.errors import BadInput

MAX_HEADERS = 50
MAX_VALUE = 8_000  #: characters of one value
#: RFC 5322 §3.6.8, without the marks that some servers refuse in a name.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,75}")
#: RFC 2919 §3, in the letters of a host name.
_LIST_ID = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")

_BODIES = "it is set from the bodies and files of the message"
_SERVERS = "the mail servers on the way add it"
_ONE_RECIPIENT = "every message has exactly one recipient; to reach another person, put it on a list"
#: Why a name is not free.
_TAKEN: Mapping[str, str] = MappingProxyType(
    {
        "from": "the key sender sets it",
        "sender": "the key sender sets who the message comes from",
        "reply-to": "the key reply_to sets it",
        "subject": "the key subject sets it",
        "return-path": "the key return_path sets it",
        "list-id": "the key list_id sets it",
        "list-unsubscribe": "the key unsubscribe sets it",
        "list-unsubscribe-post": "the key unsubscribe sets it",
        "date": "hubd sets it",
        "message-id": "hubd sets it",
        **dict.fromkeys(("to", "cc", "bcc", "apparently-to"), _ONE_RECIPIENT),
        **dict.fromkeys(("delivered-to", "envelope-to", "x-original-to"), _SERVERS),
        **dict.fromkeys(("received", "received-spf", "authentication-results"), _SERVERS),
        **dict.fromkeys(("dkim-signature", "domainkey-signature"), _SERVERS),
    }
)
_TAKEN_PREFIXES = {"content-": _BODIES, "mime-": _BODIES, "arc-": _SERVERS, "resent-": _ONE_RECIPIENT}


def read_headers(table: Table) -> dict[str, str]:
    """The headers of a campaign file, in its order: names and the templates of their values."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for name in table.raw:
        if problem := _name_problem(name, seen):
            table.fault(shown(name), problem)
            continue
        assert isinstance(name, str)
        seen.add(name.lower())
        value = table.checked(name, _value, "", example="broadcast")
        if table.raw[name] == "" or value.isspace():
            table.fault(name, "is empty; leave the header out")
        if value:
            found[name] = value
        if len(seen) == MAX_HEADERS < len(table.raw):
            table.fault("", f"has more than {MAX_HEADERS} headers")
            break
    return found


def _name_problem(name: object, seen: set[str]) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        return "is not a header name: a letter, then up to 75 letters, digits, - and _"
    lower = name.lower()
    if why := _TAKEN.get(lower) or next(
        (why for prefix, why in _TAKEN_PREFIXES.items() if lower.startswith(prefix)), ""
    ):
        return f"cannot be set here: {why}"
    return (
        "is given twice; upper and lower case make no difference in a header's name" if lower in seen else ""
    )


def _value(text: str) -> str:
    if len(text) > MAX_VALUE:
        raise BadInput(f"is longer than {MAX_VALUE:,} characters")
    return text


def list_id(text: str) -> str:
    """A List-Id (RFC 2919), `news.acme.example` or `Acme News <news.acme.example>`. Raises BadInput."""
    name, identifier = split_list_id(text)
    if _LIST_ID.fullmatch(identifier) is None:
        raise BadInput(
            "must be a name in a domain of yours, such as news.acme.example, from letters, digits, - and _; "
            "or a title and that name: Acme News <news.acme.example>"
        )
    if "{{" in name or "{%" in name:
        raise BadInput("is the same for every recipient and cannot contain a template")
    return f"{name} <{identifier}>" if name else identifier


def split_list_id(text: str) -> tuple[str, str]:
    """The title, which may be "", and the identifier without its angle brackets."""
    name, bracket, rest = text.strip().rpartition("<")
    return (name.strip().strip('"'), rest.removesuffix(">")) if bracket else ("", rest)
