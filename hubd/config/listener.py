"""The listener in hubd.toml: where the world reaches hubd, if you want that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from hubd.config.hosts import address_of
from hubd.core.tables import Table
from hubd.errors import BadInput

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """A web server of hubd's own, for unsubscribe links and the webhooks of providers. Off without this."""

    address: Annotated[
        tuple[str, int],
        Meta(
            title="text",
            description='The IP address and port to listen on, such as `"127.0.0.1:8025"` behind a web '
            "server that does TLS. Required. The keys of this section take effect at the next start.",
        ),
    ]
    public_url: Annotated[
        str,
        Meta(
            description="The `https:` address at which the world reaches it, such as "
            "`https://hub.acme.example`. Required."
        ),
    ]
    unsubscribe: Annotated[
        bool,
        Meta(
            description='Serve unsubscribe links. A campaign with `unsubscribe = "listener"` has such links.'
        ),
    ] = True


def read_listener(table: Table) -> ListenerConfig | None:
    """What the table says; None if it is not complete, which is noted."""
    address = table.checked("address", _address, None, example="127.0.0.1:8025")
    public_url = table.checked("public_url", _public_url, "", example="https://hub.acme.example")
    unsubscribe = table.flag("unsubscribe", True)
    for key, example in (("address", "127.0.0.1:8025"), ("public_url", "https://hub.acme.example")):
        if not table.raw.get(key):
            table.fault(key, f'is missing; such as "{example}"')
    table.close()
    if address is None or not public_url:
        return None
    return ListenerConfig(address=address, public_url=public_url, unsubscribe=unsubscribe)


def _address(text: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(text)
    address = address_of(found[1] or found[2]) if found else None
    if found is None or address is None or int(found[3]) > 65535:
        raise BadInput('must be an IP address and a port, such as "127.0.0.1:8025" or "[::1]:8025"')
    return str(address), int(found[3])


def _public_url(text: str) -> str:
    try:
        url = urlsplit(text)
        host = url.hostname or ""
        has_port = url.port is None or url.port > 0
    except ValueError:
        host, has_port = "", False
    if not (host and has_port and url.scheme == "https" and text.isascii()) or re.search(r"[\s<>\"]", text):
        # RFC 8058, 3.1: a mail program unsubscribes by https only.
        raise BadInput("must be an https address such as https://hub.acme.example")
    if "@" in url.netloc or url.query or url.fragment:
        raise BadInput("must have no user, query or fragment")
    return text.rstrip("/")
