"""Promise: what a message needs in memory does not grow with its attachments times the connections."""

from __future__ import annotations

import random
import re
from email import message_from_string
from pathlib import Path

import pytest
import trustme

from tests.whole.conftest import Hub, until
from tests.whole.world import hostile, provider

MIB = 1024 * 1024
CONNECTIONS = 24
ATTACHED = 16 * MIB


def peak(hub: Hub) -> int:
    """The most memory that the daemon has had resident so far, in bytes, as the kernel says."""
    assert hub.daemon is not None
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{hub.daemon.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.parametrize("security", ["none", "starttls"])
def test_many_connections_to_servers_that_stop_reading_hold_one_copy_of_an_attachment(
    hub: Hub, security: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(hub.folder / "ca.pem")
    pem = hub.folder / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    options = ("--certificate", str(pem)) if security == "starttls" else ()
    with hostile(hub.folder, "slow", *options) as server:
        server.mood(always={"body": "late 86400"})  # it reads nothing more until the test is over
        hub.config = provider(
            "sink",
            server.port,
            security=security,
            connections=CONNECTIONS,
            ca_file=str(hub.folder / "ca.pem"),
        )
        hub.boot()
        hub.contacts(3 * CONNECTIONS)
        catalogue = random.Random(1).randbytes(ATTACHED)
        (hub.folder / "catalogue.pdf").write_bytes(catalogue)
        before = peak(hub)
        hub.apply("large", attachments=["catalogue.pdf"])
        load = hub.json("check", "large")["load"]
        assert "are not shown" in hub.json("preview", "large")["source"]
        hub.hubctl("start", "large")
        until(lambda: server.heard()["body"] == CONNECTIONS, "a message on each connection")
        grown = peak(hub) - before
        assert grown < 6 * ATTACHED, f"{grown / MIB:.0f} MiB"
        assert ATTACHED < load["message"] < 2 * ATTACHED
        assert load["upload"] == load["message"] * 3 * CONNECTIONS
        assert load["message"] <= load["memory"] < 2 * load["message"]
        first = hub.deliveries("large")[0]["id"]
        source = message_from_string(hub.hubctl("message", str(first), "--source"))
        (attached,) = (part for part in source.walk() if part.get_filename() == "catalogue.pdf")
        assert attached.get_payload(decode=True) == catalogue
        assert peak(hub) - before < 6 * ATTACHED
