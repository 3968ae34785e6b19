"""Logins that hang, each at another step: commands are answered, and nothing else is affected.

The name servers of `hang.example` are silent for longer than any test waits, so whatever is answered is
answered while the lookup still hangs.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from tests import launcher
from tests.interposed import Interposed
from tests.whole.conftest import ROOT, Hub, Witness, reconcile, sink_config, until
from tests.whole.world import finish, hostile, how, provider

FOREVER = "600"  #: seconds
SLOW = '[providers.slow]\ntype = "smtp"\nhost = "hang.example"\nport = 2525\nsecurity = "none"\n'
TEXT = (
    '[providers.text]\ntype = "twilio"\naccount_sid = "AC1"\nauth_token = { file = "token" }\nfrom = "ACME"\n'
    'base_url = "https://hang.example"\n'
)


@dataclass
class InterposedHub(Hub):
    """A hub whose daemon has a preloaded library that injects failures of the system."""

    environ: dict[str, str] = field(default_factory=dict)

    def launch(self, *options: str, fail: str = "") -> subprocess.Popen[bytes]:
        """Start hubd with the library and do not wait."""
        assert not fail
        (self.folder / "hubd.toml").write_text(self.config)
        with (self.folder / "hubd.log").open("ab") as log:
            self.daemon = launcher.popen(
                [
                    sys.executable, "-m", "hubd",
                    "--config", str(self.folder / "hubd.toml"), "--state-dir", str(self.state), *options,
                ],
                stderr=log, cwd=ROOT, env={**os.environ, **self.environ},
            )  # fmt: skip
        self.processes.append(self.daemon)
        return self.daemon

    def in_background(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command and do not wait."""
        process = launcher.popen(
            [sys.executable, "-m", "hubctl", "--socket", str(self.state / "control.sock"), *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
        self.processes.append(process)
        return process


@pytest.fixture
def failures(tmp_path: Path) -> Interposed:
    return Interposed.controlled_in(tmp_path)


@pytest.fixture
def slow_hub(tmp_path: Path, failures: Interposed) -> Iterator[InterposedHub]:
    """A hub that is not started yet; lookups of names with "hang" in them take for ever."""
    hub = InterposedHub(tmp_path, environ=failures.environment)
    failures.resolver.write_text(FOREVER)
    yield hub
    for process in hub.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def connecting(port: int) -> bool:
    """Whether somebody on this machine waits for the connection to a local port (SYN_SENT)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[2] == f"0100007F:{port:04X}" and line.split()[3] == "02" for line in lines)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["pause", "stop", "disable", "test", "reload"])
def test_a_name_that_does_not_resolve_holds_up_no_command_and_no_other_provider(
    slow_hub: InterposedHub, witness: Witness, command: str
) -> None:
    hub = slow_hub
    hub.config = sink_config(witness.port) + SLOW
    hub.boot()
    hub.contacts(300)
    hub.apply("other", in_doubt="hold")
    hub.apply("stuck", provider="slow", in_doubt="hold")
    hub.hubctl("start", "stuck")
    hub.hubctl("start", "other")
    match command:
        case "disable":
            hub.hubctl("provider", "disable", "slow")
        case "reload":
            (hub.folder / "hubd.toml").write_text(hub.config + "connections = 3\n")
            assert "providers.slow" in hub.hubctl("daemon", "reload")
        case "test":
            hub.in_background("provider", "test", "slow")
    hub.hubctl("stop", "stuck", "--yes") if command == "stop" else hub.hubctl("pause", "stuck")
    if command not in ("stop", "disable"):
        hub.hubctl("resume", "stuck")
        hub.hubctl("pause", "stuck")
    finish(hub, "other")
    assert reconcile(hub, witness, "other", 300)["sent"] == 300
    counts = hub.campaign("stuck")["counts"]
    assert counts["in_doubt"] == counts["sent"] == counts["failed"] == 0
    assert "late error" not in hub.log()
    assert hub.end() == 0


@pytest.mark.parametrize("how_often", [signal.SIGTERM, signal.SIGINT])
def test_a_name_that_does_not_resolve_does_not_hold_up_the_end(
    slow_hub: InterposedHub, witness: Witness, how_often: signal.Signals
) -> None:
    hub = slow_hub
    (hub.folder / "token").touch(mode=0o600)
    (hub.folder / "token").write_text("a token")
    hub.config = sink_config(witness.port) + SLOW + TEXT
    hub.boot()
    hub.contacts(300)
    hub.contacts(20, "phones", "phone")
    hub.apply("other", in_doubt="hold")
    hub.apply("stuck", provider="slow", in_doubt="hold")
    hub.apply("texts", provider="text", channel="sms", lists=["phones"], sender=None, subject=None, html=None)
    for name in ("stuck", "texts", "other"):
        hub.hubctl("start", name)
    hub.in_background("provider", "test", "slow")
    until(lambda: len(witness.lines()) > 50, "messages")
    assert hub.end(how_often) == 0
    hub.boot()
    finish(hub, "other")
    assert reconcile(hub, witness, "other", 300)["sent"] == 300
    assert hub.campaign("stuck")["counts"]["pending"] == 300
    assert hub.campaign("texts")["counts"]["in_doubt"] == 0
    assert hub.end() == 0


def test_a_provider_whose_name_does_not_resolve_rests_and_says_so(
    slow_hub: InterposedHub, failures: Interposed
) -> None:
    hub = slow_hub
    failures.resolver.write_text("0")  # at once, as when there is no such name
    (hub.folder / "token").touch(mode=0o600)
    (hub.folder / "token").write_text("a token")
    hub.config = SLOW + TEXT
    hub.boot()
    hub.contacts(5)
    hub.contacts(5, "phones", "phone")
    hub.apply("mail", provider="slow")
    hub.apply("texts", provider="text", channel="sms", lists=["phones"], sender=None, subject=None, html=None)
    reason = "the name hang.example does not resolve"
    for campaign, name in (("mail", "slow"), ("texts", "text")):
        hub.hubctl("start", campaign)
        until(lambda name=name: how(hub, name)["reason"] == reason, "the reason", hub.log)
        until(
            lambda campaign=campaign: reason in hub.campaign(campaign)["reason"], "the reason in the status"
        )
        assert how(hub, name)["state"] in ("resting", "half_open")
        tested = hub.json("provider", "test", name, code=1)
        assert reason in tested["text"]
        assert tested["detail"] == reason
        hub.hubctl("pause", campaign)
    assert hub.end() == 0


# -- the steps after the name ----------------------------------------------------------------------


@contextmanager
def silent_port(*, full: bool) -> Iterator[int]:
    """A port of this machine that accepts connections and says nothing, or does not even accept (`full`)."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0 if full else 64))
        port = int(server.getsockname()[1])
        while full and not connecting(port):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize("step", ["connect", "handshake", "banner", "ehlo", "starttls", "auth"])
def test_a_login_that_hangs_at_any_step_holds_up_no_command_and_no_end(
    slow_hub: InterposedHub, witness: Witness, tmp_path: Path, step: str
) -> None:
    hub = slow_hub
    with ExitStack() as stack:
        if step in ("connect", "handshake"):
            port = stack.enter_context(silent_port(full=step == "connect"))
            other = {"security": "tls" if step == "handshake" else "none"}
        else:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(tmp_path / "ca.pem")
            certificate = tmp_path / "server.pem"
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
            options = ("--certificate", str(certificate), "--login", "anna:s3cret")
            server = stack.enter_context(hostile(hub.folder, "hostile", *options))
            server.mood(always={step: "stall"})
            port = server.port
            other = {"security": "starttls", "ca_file": "ca.pem"} if step == "starttls" else {}
            other |= {"username": "anna", "password": "pass"}
            (hub.folder / "pass").touch(mode=0o600)
            (hub.folder / "pass").write_text("s3cret")
        hub.config = sink_config(witness.port) + provider("stuck", port, **other)
        hub.boot()
        hub.contacts(100)
        hub.apply("other", in_doubt="hold")
        hub.apply("hanging", provider="stuck", in_doubt="hold")
        for turn, command in enumerate(("start", "resume")):
            hub.hubctl(command, "hanging")
            if step not in ("connect", "handshake"):
                until(lambda turn=turn: server.heard()[step] > turn, f"the login to get to {step}", hub.log)
            hub.in_background("provider", "test", "stuck")
            hub.hubctl("pause", "hanging")
        hub.hubctl("provider", "disable", "stuck")
        hub.hubctl("provider", "enable", "stuck")
        hub.hubctl("daemon", "reload")
        hub.hubctl("start", "other")
        finish(hub, "other")
        assert reconcile(hub, witness, "other", 100)["sent"] == 100
        hub.hubctl("resume", "hanging")
        assert hub.end() == 0
        assert "late error" not in hub.log()
        hub.boot()
        counts = hub.campaign("hanging")["counts"]
        assert counts["pending"] == 100
        hub.hubctl("stop", "hanging", "--yes")
        assert hub.end() == 0
