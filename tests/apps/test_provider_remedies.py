"""A new mail server without encryption or with a certificate of its own: a question, or what to type."""

from __future__ import annotations

from typing import Any

import pytest
import trustme

from hubctl.provider_remedies import advice
from hubd.core.reasons import SENTENCES
from tests.apps.conftest import Hub
from tests.whole.world import hostile


def test_a_relay_without_encryption_is_found_out_and_taken_as_it_is(hub: Hub, on_terminal: Any) -> None:
    with hostile(hub.folder, "server") as server:
        terminal = on_terminal(hub.command("provider", "add", "relay", "--type", "smtp"), hub.environ)
        terminal.until("Name of the mail server")
        terminal.type("127.0.0.1\n")
        terminal.until("Its port [587]:")
        terminal.type(f"{server.port}\n")
        terminal.until(
            "Encryption: starttls, tls, or none (only for your own server without TLS) [starttls]:"
        )
        terminal.type("ssl\n")
        terminal.until("one of starttls, tls, none")
        terminal.type("\n")
        terminal.until("User name, usually")
        terminal.type("\n")
        terminal.until("[Y/n]")
        terminal.type("\n")
        terminal.until("Use it without encryption (only for your own server)? [y/N]")
        terminal.type("y\n")
        seen = terminal.rest()
        assert terminal.process.returncode == 0, seen
        assert "relay works" in seen
    assert (hub.folder / "hubd.toml").read_text() == (
        f'[providers.relay]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\n'
    )


def test_a_certificate_of_its_own_can_be_named_in_the_dialogue(hub: Hub, on_terminal: Any) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(hub.folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(hub.folder / "server.pem")
    with hostile(hub.folder, "server", "--certificate", f"{hub.folder}/server.pem") as server:
        address = ("--host", "127.0.0.1", "--port", str(server.port), "--security", "starttls")
        terminal = on_terminal(hub.command("provider", "add", "own", *address), hub.environ)
        terminal.until("User name, usually")
        terminal.type("\n")
        terminal.until("[Y/n]")
        terminal.type("\n")
        terminal.until("File with the certificate to trust")
        terminal.type("/nonexistent.pem\n")
        terminal.until("the file does not exist or you cannot read it")
        terminal.type(f"{hub.folder}/ca.pem\n")
        seen = terminal.rest()
        assert terminal.process.returncode == 0, seen
        assert "own works" in seen


def test_what_may_help_is_told_as_the_command_to_type(hub: Hub) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(hub.folder / "server.pem")
    for options, words in (
        ((), "--security none"),
        (("--certificate", f"{hub.folder}/server.pem"), "--ca-file FILE"),
    ):
        with hostile(hub.folder, "server", *options) as server:
            address = ("--host", "127.0.0.1", "--port", str(server.port))
            done = hub.run("provider", "add", "relay", *address, "--rate", "5/s", "--test")
            assert done.returncode == 1
            again = f"hubctl provider add relay {' '.join(address)} --rate 5/s {words}"
            assert done.stderr.splitlines()[-1].strip() == again
        hub.ok("provider", "remove", "relay", "--yes")


@pytest.mark.parametrize(
    ("host", "username", "led"),
    [
        ("mail.acme.example", "me", False),
        ("mail.acme.example", "", True),
        ("127.0.0.1", "me", True),
        ("localhost", "me", True),
        ("127-0-0-1.acme.example", "me", False),
    ],
)
def test_nobody_is_led_to_send_a_password_in_the_clear(host: str, username: str, led: bool) -> None:
    settings = {"type": "smtp", "host": host, "port": 25} | ({"username": username} if username else {})
    told = advice("office", settings, SENTENCES["starttls_missing"])
    assert ("--security none" in told[-1]) is led
    assert told[-1].startswith(f"  hubctl provider add office --host {host} --port 25")
