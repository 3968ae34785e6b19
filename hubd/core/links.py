"""Where a link leads, as far as its address shows."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import unquote

#: Where an http:, https: or mailto: link leads to.
_HOST = re.compile(r"https?://(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:]*)|mailto:[^?]*@([^?]*)", re.IGNORECASE)
#: Names that are kept for documentation, tests and networks of one's own (RFC 2606, 6761, 6762, 8375).
_NOWHERE = ("example", "invalid", "test", "example.com", "example.net", "example.org")
_PRIVATE = ("localhost", "local", "internal", "lan", "home.arpa")
_HOLE = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)


def private_host(link: str) -> str:
    """The host of a link that only machines near this one can reach; "" for every other link."""
    host = _host(link)
    if not host or _is_below(host, _NOWHERE):
        return ""
    try:
        private = not ip_address(host).is_global
    except ValueError:
        private = _is_below(host, _PRIVATE) or "." not in host
    return host if private else ""


def example_host(link: str) -> str:
    """The host of a link if its name is kept for examples, so that nobody serves it; else ""."""
    host = _host(link)
    return host if _is_below(host, _NOWHERE) else ""


def _host(link: str) -> str:
    """The host in lower case; "" if there is none, or if a field is a part of it."""
    found = _HOST.match(_HOLE.sub("\0", link.strip()))
    host = unquote((found[1] or found[2] or "") if found else "").strip("[]").rstrip(".").lower()
    return "" if "\0" in host else host


def _is_below(host: str, names: tuple[str, ...]) -> bool:
    return any(host == name or host.endswith(f".{name}") for name in names)
