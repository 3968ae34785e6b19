"""Passwords, senders and certificates that are wrong: nothing is sent and nobody is given up or hammered.

A campaign that needs a person pauses with the reason, within seconds, and goes on where it was.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from tests.whole.conftest import Hub, reconcile, until
from tests.whole.world import Hostile, finish, hostile, how, provider, providers, secret

# -- logins ------------------------------------------------------------------------------------------


def test_a_wrong_password_is_tried_once_for_everybody_and_all_campaigns_pause(hub: Hub) -> None:
    names = ("one", "two", "three")
    with hostile(hub.folder, "hostile", "--login", "anna:s3cret") as server:
        server.mood(always={"banner": "421 4.3.2 not yet"})
        hub.config = provider("sink", server.port, username="anna", password="pass")
        secret(hub, "wr0ng")
        hub.boot()
        hub.contacts(50)
        for name in names:
            hub.apply(name, in_doubt="hold")
        for name in names:
            hub.hubctl("start", name)
        server.calm()  # all three want to send now
        for name in names:
            until(lambda name=name: hub.campaign(name)["state"] == "paused", f"{name} to pause")
            campaign = hub.campaign(name)
            assert "password" in campaign["reason"]
            assert campaign["counts"]["pending"] == 50
        assert how(hub, "sink")["state"] == "stopped"
        assert server.heard()["auth"] == 1
        assert server.heard()["mail"] == 0
        secret(hub, "s3cret")
        for name in names:
            hub.hubctl("resume", name)
        finish(hub, *names)
        assert set(server.accepted().values()) == {len(names)}
        assert sum(hub.campaign(name)["counts"]["sent"] for name in names) == 150
        assert {row["attempts"] for name in names for row in hub.deliveries(name)} == {1}
        assert "wr0ng" not in hub.log()


def test_a_password_that_is_revoked_in_the_middle_pauses_and_costs_nobody(hub: Hub) -> None:
    connections = 4
    with hostile(hub.folder, "hostile", "--login", "anna:s3cret") as server:
        server.mood(always={"dot": "late 0.01"})
        hub.config = provider(
            "sink",
            server.port,
            connections=connections,
            username="anna",
            password="pass",
        )
        secret(hub, "s3cret")
        hub.boot()
        hub.contacts(600)
        hub.apply("middle", in_doubt="hold")
        hub.hubctl("start", "middle")
        until(lambda: len(server.lines()) > 60, "messages")
        before = server.heard()["auth"]
        server.mood(always={"mail": "421 4.7.0 session ended", "auth": "535 5.7.8 bad credentials"})
        until(lambda: hub.campaign("middle")["state"] == "paused", "the pause")
        campaign = hub.campaign("middle")
        assert "password" in campaign["reason"]
        assert campaign["counts"]["failed"] == campaign["counts"]["in_doubt"] == 0
        assert server.heard()["auth"] - before <= connections, "at most one login for each connection it had"
        server.calm()
        hub.hubctl("resume", "middle")
        finish(hub, "middle")
        assert reconcile(hub, server, "middle", 600)["sent"] == 600
        assert set(server.accepted().values()) == {1}


def test_a_password_that_was_replaced_is_taken_over_by_a_reload_which_names_its_key(hub: Hub) -> None:
    with hostile(hub.folder, "hostile", "--login", "anna:s3cret") as server:
        hub.config = provider("sink", server.port, username="anna", password="pass")
        secret(hub, "0ld-one")
        hub.boot()
        hub.contacts(20)
        hub.apply("rotated", in_doubt="hold")
        secret(hub, "")
        refused = hub.ask("daemon", "reload")
        assert refused.returncode == 1
        assert "providers.sink.password: secret from file pass: it is empty" in refused.stderr
        secret(hub, "s3cret")
        assert hub.hubctl("daemon", "reload") == "applied: providers.sink.password (file pass)\n"
        hub.hubctl("start", "rotated")
        finish(hub, "rotated")
        assert reconcile(hub, server, "rotated", 20)["sent"] == 20
        events = hub.hubctl("events", "--json")
        for place in (events, hub.log()):
            assert "providers.sink.password" in place
            assert "0ld-one" not in place
            assert "s3cret" not in place


def test_a_sender_that_is_refused_pauses_the_campaign_and_costs_nobody(hub: Hub) -> None:
    with hostile(hub.folder) as server:
        server.mood(always={"mail": "550 5.7.1 not your address"})
        hub.config = provider("sink", server.port)
        hub.boot()
        hub.contacts(50)
        hub.apply("sender", in_doubt="hold")
        hub.hubctl("start", "sender")
        until(lambda: hub.campaign("sender")["state"] == "paused", "the pause")
        campaign = hub.campaign("sender")
        assert "sender" in campaign["reason"]
        assert campaign["counts"]["pending"] == 50
        assert how(hub, "sink")["state"] == "ready", "it is not the provider's trouble"
        server.calm()
        hub.hubctl("resume", "sender")
        finish(hub, "sender")
        assert reconcile(hub, server, "sender", 50)["sent"] == 50


# -- encryption --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certificates:
    """Certificates of all kinds, as files."""

    folder: Path
    authority: trustme.CA

    def made(self, name: str, certificate: trustme.LeafCert) -> str:
        path = self.folder / f"{name}.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(path)
        return str(path)

    def good(self) -> str:
        return self.made("good", self.authority.issue_cert("127.0.0.1"))

    def expired(self) -> str:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        return self.made("expired", self.authority.issue_cert("127.0.0.1", not_after=yesterday))

    def of_another_host(self) -> str:
        return self.made("other", self.authority.issue_cert("mail.acme.example"))

    def of_nobody(self) -> str:
        return self.made("nobody", trustme.CA().issue_cert("127.0.0.1"))


def paused(hub: Hub) -> set[str]:
    """The campaigns that are paused."""
    return {each["name"] for each in hub.json("status")["campaigns"] if each["state"] == "paused"}


def test_where_encryption_is_not_certain_nothing_is_sent(hub: Hub) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(hub.folder / "ca.pem")
    made = Certificates(hub.folder, authority)
    servers = {
        "expired": ("starttls", ["--certificate", made.expired()]),
        "nobodys-tls": ("tls", ["--certificate", made.of_nobody(), "--implicit"]),
        "other-host": ("starttls", ["--certificate", made.of_another_host()]),
        "not-offered": ("starttls", []),
        "not-tls": ("tls", []),
        "refused": ("starttls", ["--certificate", made.good()]),
        "unavailable": ("starttls", ["--certificate", made.good()]),
    }
    moods = {
        "refused": {"starttls": "554 5.7.3 no"},
        "unavailable": {"starttls": "454 4.7.0 TLS not available due to temporary reason"},
    }
    with ExitStack() as stack:
        running: dict[str, Hostile] = {}
        secret(hub, "s3cret")
        for name, (security, options) in servers.items():
            running[name] = stack.enter_context(hostile(hub.folder, name, "--login", "anna:s3cret", *options))
            running[name].mood(always=moods.get(name))
            hub.config += provider(
                name, running[name].port, security=security, ca_file="ca.pem",
                username="anna", password="pass",
            )  # fmt: skip
        hub.boot()
        hub.contacts(5)
        for name in servers:
            hub.apply(name, provider=name, in_doubt="hold")
            hub.hubctl("start", name)
        temporary = {"unavailable", "not-tls"}
        until(
            lambda: all(each["state"] != "ready" for each in providers(hub) if each["name"] in servers),
            "all their trouble to show",
        )
        until(lambda: paused(hub) == servers.keys() - temporary, "those that need a person to pause")
        campaigns = {each["name"]: each for each in hub.json("status")["campaigns"]}
        for found in providers(hub):
            if (name := found["name"]) in servers:
                assert found["reason"], found
                assert (found["state"] == "stopped") is (name not in temporary), found
                assert (campaigns[name]["state"] == "paused") is (name not in temporary), campaigns[name]
                assert campaigns[name]["counts"]["pending"] == 5, campaigns[name]
        for name, server in running.items():
            heard = server.heard()
            assert heard["mail"] == heard["auth"] == 0, f"{name}: not even the password"
            assert server.lines() == []
            if name not in temporary:
                assert heard["banner"] <= 1, f"{name}: it is not tried again and again"


def test_replies_that_were_slipped_in_before_the_handshake_are_not_believed(hub: Hub) -> None:
    # CVE-2021-38371 and its like: what comes in clear text behind "220 go ahead" is somebody else's.
    authority = trustme.CA()
    authority.cert_pem.write_to_path(hub.folder / "ca.pem")
    good = Certificates(hub.folder, authority).good()
    with hostile(hub.folder, "hostile", "--certificate", good) as server:
        server.mood(always={"starttls": "inject"})
        hub.config = provider("sink", server.port, security="starttls", ca_file="ca.pem")
        hub.boot()
        hub.contacts(5)
        hub.apply("slip", in_doubt="hold")
        hub.hubctl("start", "slip")
        finish(hub, "slip")
        assert reconcile(hub, server, "slip", 5)["sent"] == 5
        heard = server.heard()
        assert heard["ehlo"] == 2 * heard["banner"], "what the server offers is asked for again inside"
        assert heard["auth"] == 0


def test_a_test_at_the_limit_of_connections_says_that_the_others_work(hub: Hub) -> None:
    with hostile(hub.folder, "hostile") as server:
        server.mood(always={"dot": "late 0.01"}, surplus=(2, "421 4.7.0 too many connections"))
        hub.config = provider("sink", server.port, connections=4)
        hub.boot()
        hub.contacts(4000)
        hub.apply("long")
        hub.hubctl("start", "long")
        until(lambda: how(hub, "sink")["state"] == "slowed", "the limit to be found")
        shown = hub.hubctl("provider", "test", "sink")
        assert (
            "sink works. The server accepts no more connections at the moment; 2 are in use and working."
            in shown
        )
        tested = hub.json("provider", "test", "sink")
        assert (tested["ok"], tested["code"]) == (True, 421)
        hub.hubctl("stop", "long")
