"""Which addresses nothing is sent to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.transports.forbidden import is_forbidden_peer


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("169.254.169.254", True),  # where clouds hand out credentials
        ("168.63.129.16", True),  # Azure
        ("192.0.0.192", True),  # Oracle
        ("100.100.100.200", True),  # Alibaba
        ("fe80::1%eth0", True),
        ("fd00:ec2::254", True),
        ("0.0.0.0", True),
        ("224.0.0.1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.100.100.201", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("64:ff9b::c000:201", False),  # 192.0.2.1, on a network that has IPv6 only
        ("", True),
        ("/run/socket", True),
    ],
)
def test_addresses_that_nothing_is_sent_to(address: str, forbidden: bool) -> None:
    assert is_forbidden_peer((address, 443)) is forbidden


@pytest.mark.parametrize("peer", [None, "", "/run/socket", ()])
def test_a_peer_without_an_address_is_none_to_send_to(peer: object) -> None:
    assert is_forbidden_peer(peer)


@given(st.ip_addresses(v=4))
def test_a_translator_hides_no_address(address: ipaddress.IPv4Address) -> None:
    """NAT64 (RFC 6052, RFC 8215), addresses that are mapped, and 6to4 (RFC 3056)."""
    number, forbidden = int(address), is_forbidden_peer((str(address), 443))
    for prefix, shift in (("64:ff9b::", 0), ("64:ff9b:1::", 0), ("::ffff:0:0", 0), ("2002::", 80)):
        behind = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | number << shift)
        assert is_forbidden_peer((str(behind), 443)) is forbidden, behind


@pytest.mark.parametrize("prefix", ["64:ff9b::", "64:ff9b:1::", "::ffff:"])
def test_metadata_services_are_not_reached_through_a_translator(prefix: str) -> None:
    assert is_forbidden_peer((f"{prefix}169.254.169.254", 443))
    assert is_forbidden_peer((f"{prefix}168.63.129.16", 443))
