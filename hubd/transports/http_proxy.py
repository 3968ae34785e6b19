"""The proxy that the environment names for an address: HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

from __future__ import annotations

import base64
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from hubd.errors import BadConfig


class Proxy(NamedTuple):
    """Where to ask for a connection, and how to log in there."""

    host: str
    port: int
    authorization: str  #: the value of Proxy-Authorization; "" for no login


def proxy_for(host: str, port: int) -> Proxy | None:
    """The proxy for https to this host; None: connect to it directly. Raises `BadConfig`."""
    proxies = getproxies()
    named = proxies.get("https") or proxies.get("all")
    if not named or proxy_bypass(host if ":" in host else f"{host}:{port}"):
        return None
    try:
        url = urlsplit(named if "://" in named else f"http://{named}")
        at = url.hostname, url.port or 80
    except ValueError:  # not a valid port
        at = None, 0
    if at[0] is None or url.scheme != "http":  # the environment may hold a password: it is not quoted
        raise BadConfig(
            "the proxy from the environment cannot be used",
            hint="Set HTTPS_PROXY to an address like http://proxy.example:3128 or add the host to NO_PROXY.",
        )
    login = f"{unquote(url.username or '')}:{unquote(url.password or '')}".encode()
    authorization = f"Basic {base64.b64encode(login).decode()}" if url.username else ""
    return Proxy(at[0], at[1], authorization)
