"""Is the other end this very machine? Only there may a password travel in clear text."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host is an address of this machine that no network carries, or `localhost`."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def is_loopback_peer(peer: object) -> bool:
    """The same for a socket's peer name: an address with its port, or nothing."""
    return isinstance(peer, tuple) and bool(peer) and isinstance(peer[0], str) and is_loopback(peer[0])
