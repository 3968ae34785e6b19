"""Secrets with values of their own, real servers that know them or not, and everything searched for them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import trustme

from hubd.client import connect
from tests import launcher
from tests.shell.twilio_double import ACCOUNT, Book, TwilioDouble
from tests.whole.conftest import ROOT, Hub, until
from tests.whole.world import hostile, how, provider

ANN = "k4nari/+=%ann"  # each has signs that look different in base64, in a URL and in TOML
WRONG = "k4nari/+=%wrong"
QUOTED = "k4nari/+=%quoted"
OVER_TLS = "k4nari/+=%tls"
ADDED = "k4nari/+=%added"
LITERAL = "k4nari/+=%literal"
TOKEN = "k4nari-token-right"
WRONG_TOKEN = "k4nari-token-wrong"
SECRETS = (ANN, WRONG, QUOTED, OVER_TLS, ADDED, LITERAL, TOKEN, WRONG_TOKEN)


def forms(secret: str) -> set[bytes]:
    """A secret in every form in which it travels or may be written down."""
    texts = {secret, quote(secret), quote_plus(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
    for around in ("{}", "\0ann\0{}", "ann:{}", f"{ACCOUNT}:{{}}"):
        whole = around.format(secret).encode()
        texts |= {base64.b64encode(whole).decode(), base64.urlsafe_b64encode(whole).decode(), whole.hex()}
    return {text.encode() for text in texts}


NEEDLES = {needle: secret for secret in SECRETS for needle in forms(secret)}


def leaks(data: bytes) -> set[str]:
    return {secret for needle, secret in NEEDLES.items() if needle in data}


def test_the_search_finds_what_it_is_for() -> None:
    for secret in SECRETS:
        login = base64.b64encode(f"\0ann\0{secret}".encode())
        assert leaks(b"AUTH PLAIN " + login) == leaks(f'"{secret}"'.encode()) == {secret}
    assert leaks(b"nothing") == set()


def private(folder: Path, name: str, secret: str) -> str:
    (folder / name).write_text(secret + "\n")
    (folder / name).chmod(0o600)
    return name


def command_lines() -> bytes:
    """What everybody on this machine can see of our processes. (The servers of this test are told their
    logins in that way; they are not ours.)
    """
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(path.read_bytes())
    ours = [line for line in found if b"\0-m\0hubd\0" in line or b"\0-m\0hubctl\0" in line]
    assert ours
    return b"\n".join(ours)


def watched(hub: Hub, arguments: tuple[str, ...], secret: str) -> Iterator[bytes]:
    """Run hubctl with a secret on stdin: what was seen of all processes meanwhile, then what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hubctl", "--socket", str(hub.state / "control.sock"), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(secret.encode() + b"\n")
    process.stdin.close()
    yield command_lines()
    while process.poll() is None:
        yield command_lines()
    assert process.stdout is not None
    said = process.stdout.read()
    process.stdout.close()
    assert process.returncode == 0, said
    yield said


def twilio(name: str, url: str, token: str) -> str:
    return (
        f'[providers.{name}]\ntype = "twilio"\naccount_sid = "{ACCOUNT}"\nfrom = "+15005550006"\n'
        f'auth_token = {{ file = "{token}" }}\nbase_url = "{url}"\n\n'
    )


def test_a_secret_appears_nowhere(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "PROGRAMS", ("hubctl",))  # the list of processes has to show the daemon
    said: list[bytes] = []
    ask = hub.ask

    def heard(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = ask(*arguments)
        assert done.returncode != 2, "what was not understood leaks nothing"
        said.append(f"{arguments}\n{done.stdout}\n{done.stderr}".encode())
        return done

    hub.ask = heard  # type: ignore[method-assign]
    folder = hub.folder
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    with ExitStack() as stack:
        plain = stack.enter_context(hostile(folder, "plain", "--login", f"ann:{ANN}"))
        telltale = stack.enter_context(hostile(folder, "telltale", "--login", f"ann:{ANN}"))
        login = base64.b64encode(f"\0ann\0{QUOTED}".encode()).decode()
        telltale.mood(always={"auth": f"535 5.7.8 {QUOTED} is not it, nor is {login}"})
        secure = stack.enter_context(
            hostile(folder, "secure", "--login", f"ann:{OVER_TLS}", "--certificate", f"{folder}/server.pem")
        )
        double = stack.enter_context(TwilioDouble(book=Book(token=TOKEN)))
        double.behave("+14155552001", "echo")  # a refusal that quotes the login
        smtp = {"username": "ann", "connections": 2}
        hub.config = '[hub]\nlog_level = "debug"\n\n' + "".join(
            [
                provider("right", plain.port, **smtp, password=private(folder, "p1", ANN)),
                provider("wrong", plain.port, **smtp, password=private(folder, "p2", WRONG)),
                provider("telltale", telltale.port, **smtp, password=private(folder, "p3", QUOTED)),
                provider("secure", secure.port, **smtp, password=private(folder, "p4", OVER_TLS),
                         security="starttls", ca_file="ca.pem"),
                twilio("text", double.base_url, private(folder, "t1", TOKEN)),
                twilio("badtext", double.base_url, private(folder, "t2", WRONG_TOKEN)),
            ]
        )  # fmt: skip
        hub.boot()
        hub.contacts(3)
        hub.contacts(3, "phones", column="phone")

        email = {"right": "completed", "wrong": "paused", "telltale": "paused", "secure": "completed"}
        texts = {"text": "completed", "badtext": "paused"}
        for name, state in {**email, **texts}.items():
            hub.ask("provider", "test", name)
            if name in email:
                hub.apply(name, provider=name, in_doubt="hold")
            else:
                hub.apply(name, provider=name, in_doubt="hold", channel="sms", lists=["phones"],
                          sender=None, subject=None, html=None)  # fmt: skip
            hub.hubctl("start", name)
            until(lambda name=name, state=state: hub.campaign(name)["state"] == state, name, hub.log)
        assert (how(hub, "telltale")["state"], how(hub, "wrong")["state"]) == ("stopped", "stopped")
        assert len(plain.lines()) == len(secure.lines()) == 3
        assert len(double.messages) == 2

        add_one(hub, said.append, plain.port)
        refuse_some(hub)
        look_at_everything(hub)
        said.append(ask_for_everything(hub, [*email, *texts]))
        said.append(command_lines())
        assert hub.end() == 0

    found = {"what hubctl and ps said": leaks(b"\n".join(said)), "the log": leaks(hub.log().encode())}
    kept = {"p1", "p2", "p3", "p4", "t1", "t2", "added.pass", "telltale.mood"}
    written = [path for path in folder.rglob("*") if path.is_file() and path.name not in kept]
    found |= {str(path): leaks(path.read_bytes()) for path in written}
    assert not {where: secrets for where, secrets in found.items() if secrets}
    assert {path.name for path in written} >= {"hub.db", "hubd.log", "hubd.toml", "copy.db"}
    assert "<7>" in hub.log(), "what is logged for debugging was searched, too"
    assert "535" in hub.log() + b"".join(said).decode(), "the server's words are told, but for the secret"
    assert leaks((folder / "p1").read_bytes()) == {ANN}


def add_one(hub: Hub, note: Callable[[bytes], None], port: int) -> None:
    """A provider with a password that comes on stdin, and one that does not get in."""
    server = ("--host", "127.0.0.1", "--port", str(port), "--security", "none", "--username", "ann")
    for seen in watched(
        hub, ("provider", "add", "added", *server, "--password-stdin", "--secret-in", "file"), ADDED
    ):
        note(seen)
    assert leaks((hub.folder / "added.pass").read_bytes()) == {ADDED}
    hub.ask("provider", "test", "added")


def refuse_some(hub: Hub) -> None:
    """What is refused must not be quoted."""
    path = hub.folder / "hubd.toml"
    good = path.read_text()
    for line in (f'password = "{LITERAL}"', f'rate = "{LITERAL}"', f'host = "{LITERAL}"', f"x = {LITERAL}"):
        path.write_text(good.replace("[providers.right]\n", f"[providers.right]\n{line}\n", 1))
        assert hub.ask("daemon", "reload").returncode == 1
    path.write_text(good)
    (hub.folder / "p1").chmod(0o644)
    hub.ask("provider", "test", "right")
    (hub.folder / "p1").chmod(0o600)
    hub.hubctl("daemon", "reload")


def look_at_everything(hub: Hub) -> None:
    """Every command that reads."""
    for arguments in (
        ("config", "show", "--show-source"), ("config", "show", "--json"), ("provider", "list", "--json"),
        ("status", "--json"), ("daemon", "status"), ("doctor", "--json"), ("log",), ("log", "--json"),
        ("events", "--since", "0", "--json"), ("rpc", "discover", "--json"), ("contacts", "list", "--json"),
        ("rpc", "call", "config.show"), ("rpc", "call", "provider.test", '{"name": "telltale"}'),
        ("rpc", "call", "provider.test", '{"name": 5}'), ("daemon", "backup", str(hub.folder / "copy.db")),
        ("-v", "provider", "test", "wrong"), ("send", "--provider", "telltale", "--to", "p9@example.com",
         "--subject", "x", "--text", "x"),
    ):  # fmt: skip
        hub.ask(*arguments)
    for command in ("show", "failures", "log", "status", "deliveries"):
        hub.ask(command, "telltale", "--json")
    hub.ask("message", str(hub.deliveries("telltale")[0]["id"]), "--json")


def ask_for_everything(hub: Hub, names: list[str]) -> bytes:
    """Every method that reads, for every campaign, provider and delivery: what the daemon answered."""
    said: list[object] = []
    with connect(hub.state / "control.sock") as client:
        for method in ("hub.status", "hub.metrics", "config.show", "provider.list", "campaign.list",
                       "contacts.list", "suppression.list", "events.list", "rpc.discover"):  # fmt: skip
            said.append(client.call(method))
        for name in names:
            said.append(client.call("campaign.get", name=name))
            said.append(client.call("campaign.check", name=name))
            said.append(client.call("delivery.failures", campaign=name))
            said.append(client.call("events.list", campaign=name))
            rows = client.call("delivery.list", campaign=name)
            said.append(rows)
            said += [client.call("delivery.get", id=row["id"]) for row in rows["deliveries"]]
        with client.events("*") as events:
            said.append(next(events))
    return json.dumps(said).encode()
