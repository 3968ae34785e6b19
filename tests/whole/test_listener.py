"""An unsubscribe link from the message to the suppression, through hubd as it runs."""

from __future__ import annotations

import http.client
import re
import signal
import socket

from tests.ports import own_port
from tests.whole.conftest import Hub, until

CONFIG = '[listener]\naddress = "127.0.0.1:{port}"\npublic_url = "https://hub.acme.example"\n'


def ask(port: int, method: str, path: str, body: str = "") -> int:
    """The status of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_link_of_a_message_unsubscribes_who_got_it(hub: Hub) -> None:
    port = own_port()
    hub.config = CONFIG.format(port=port)
    hub.boot()
    hub.contacts(3)
    keys = {
        "provider": "outbox",
        "kind": "marketing",
        "postal_address": "1 Main St",
        "unsubscribe": "listener",
    }
    hub.apply("spring", **keys)
    hub.hubctl("start", "spring")
    until(lambda: hub.campaign("spring")["state"] == "completed", "the end of sending", hub.log)
    (mail,) = [text for path in hub.state.glob("outbox/**/*.eml") if "To: p1@" in (text := path.read_text())]
    (path,) = set(re.findall(r"https://hub\.acme\.example(/u/[a-z2-7]{24})", mail.replace("=\n", "")))
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in mail

    assert ask(port, "GET", path) == 200
    assert suppressed(hub) == []
    assert ask(port, "POST", path, "List-Unsubscribe=One-Click") == 200
    hub.end(signal.SIGKILL)  # what was answered with 200 is on the disk
    hub.boot()
    assert suppressed(hub) == ["p1@example.com"]
    assert ask(port, "POST", path, "List-Unsubscribe=One-Click") == 200
    assert suppressed(hub) == ["p1@example.com"]


def test_a_port_that_is_taken_keeps_no_campaign_waiting(hub: Hub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        hub.config = CONFIG.format(port=port)
        hub.boot()
        assert f"127.0.0.1 port {port}: address already in use" in hub.hubctl("doctor", code=1)
        assert "the listener cannot accept connections" in hub.hubctl("daemon", "status")
        assert "The listener cannot accept connections" in hub.hubctl("notifications")
        hub.contacts(2)
        hub.apply("spring", provider="outbox")
        hub.hubctl("start", "spring", "--wait")
    hub.hubctl("daemon", "reload")
    until(lambda: "can be read" in hub.ask("doctor").stdout, "the listener to listen")
    assert ask(port, "GET", "/u/none") == 404


def suppressed(hub: Hub) -> list[str]:
    return [row["address"] for row in hub.told("suppression.list", "suppress", "list")["suppressions"]]


def test_links_that_nobody_serves_any_more_hold_the_campaign(hub: Hub) -> None:
    hub.boot()
    hub.contacts(1)
    hub.apply(
        "spring", provider="outbox", kind="marketing", postal_address="1 Main St", unsubscribe="listener"
    )
    assert "[listener]" in hub.hubctl("check", "spring", code=1)
    assert hub.ask("start", "spring").returncode != 0
    assert hub.campaign("spring")["state"] == "draft"
