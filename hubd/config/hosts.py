"""Names and addresses of servers, as hubd.toml has them. What is wrong with one is a `BadInput`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from hubd.errors import BadInput

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?")
_LITERAL = re.compile(r"\[(IPv6:)?([0-9A-Fa-f:.]+)\]")


def host_name(text: str) -> str:
    """The name or the address of a server; an IPv6 address without brackets."""
    bare = text.removeprefix("[").removesuffix("]")
    if address_of(bare) is not None:
        return bare
    if re.fullmatch(r".*:[0-9]+", text):
        raise BadInput("give only the name; the port belongs in port")
    if _HOST.fullmatch(text) is None or ".." in text:
        raise BadInput("must be a host name such as smtp.acme.example, or an IP address")
    return text


def greeting_name(text: str) -> str:
    """A name for EHLO: a full name, or an address literal such as `[192.0.2.1]` (RFC 5321 4.1.1.1, 4.1.3)."""
    literal = _LITERAL.fullmatch(text)
    if literal is not None:
        address = address_of(literal[2])
        if address is not None and (address.version == 6) is bool(literal[1]):
            return text
    elif _HOST.fullmatch(text) is not None and "." in text.strip(".") and ".." not in text:
        return text
    raise BadInput("must be a full name such as mail.acme.example, or an address such as [192.0.2.1]")


def base_url(example: str) -> Callable[[str], str]:
    """A check for the address of an HTTP server: https, or http on this machine."""

    def check(text: str) -> str:
        try:
            url = urlsplit(text)
            host, has_port = url.hostname or "", url.port is None or url.port > 0
        except ValueError:
            host, has_port = "", False
        if not host or not has_port or url.scheme not in ("https", "http") or re.search(r"\s", text):
            raise BadInput(f"must be an address such as {example}")
        if "@" in url.netloc or url.query or url.fragment:
            raise BadInput("must have no user, query or fragment")
        if url.scheme == "http" and not is_loopback(host):
            raise BadInput("must be https:// except to a loopback address")
        return text.rstrip("/")

    return check


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a text is, if it is one."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: an address of 127.0.0.0/8, ::1, or `localhost` (RFC 6761 6.3)."""
    address = address_of(host)
    return address.is_loopback if address is not None else host.lower().rstrip(".") == "localhost"
