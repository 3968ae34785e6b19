"""Addresses that we send no request to: those at which clouds hand out credentials, and the like.

A host name in a configuration may resolve to any of them, so it is the peer of the connection that counts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Metadata services that are not link-local: Amazon's over IPv6, Alibaba's, Azure's and Oracle's.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
#: Translators to IPv4 (RFC 6052 section 2.1, RFC 8215): the last four bytes are the address behind them.
_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48")))


def is_forbidden_peer(peer: object) -> bool:
    """Whether a socket's peer name is an address that nothing is sent to.

    Those are link-local ones, multicast, the unspecified one, and `_METADATA`, also when IPv6 reaches them
    through a translator.
    """
    if not isinstance(peer, tuple) or not peer:
        return True
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return True
    return any(map(_is_forbidden, _meant(address)))


def _meant(address: _Address) -> Iterator[_Address]:
    """The address, and the IPv4 addresses that it stands for."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _TRANSLATED):
            yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        for embedded in (address.ipv4_mapped, address.sixtofour):
            if embedded is not None:
                yield embedded


def _is_forbidden(address: _Address) -> bool:
    return address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA
