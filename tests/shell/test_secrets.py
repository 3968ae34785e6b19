"""Secrets: where they are read from, when they are refused, and that they never show."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import keyring.errors
import msgspec
import pytest
import trio
import trustme

import hubd.secrets as secrets_of_hubd
from hubd.bridge import open_bridge
from hubd.config.file import HubConfig
from hubd.errors import CredentialMissing
from hubd.providers.smtp.login import LoginRefused, SmtpSettings, log_in
from hubd.providers.smtp.settings import SmtpConfig
from hubd.secrets import Place, Secret, SecretRef
from hubd.transports.tcp_connect import connect
from tests.shell.scripted_smtp import Say, serve_script

CANARY = "s3cr3t-canary-7f"
ROOT = Path(__file__).resolve().parent.parent.parent


def private(path: Path, text: str = CANARY + "\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_is_read_from_a_private_file_next_to_the_config(tmp_path: Path) -> None:
    private(tmp_path / "office.pass")
    ref = SecretRef(Place.FILE, "office.pass")
    assert ref.resolve(tmp_path).reveal() == CANARY
    assert SecretRef(Place.FILE, str(tmp_path / "office.pass")).resolve(Path("/")).reveal() == CANARY


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_file_may_begin_with_a_byte_order_mark(tmp_path: Path, encoding: str, end: str) -> None:
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    path = tmp_path / "office.pass"
    path.write_bytes(f"{mark}gehe\u00efm{end}".encode(encoding))
    path.chmod(0o600)
    assert SecretRef(Place.FILE, "office.pass").resolve(tmp_path).reveal() == "gehe\u00efm"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_secret_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    private(tmp_path / "p", mode=mode)
    with pytest.raises(CredentialMissing, match="can be read by others") as caught:
        SecretRef(Place.FILE, "p").resolve(tmp_path)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.symlink_to(private(path.parent / "real")), "symbolic link"),
        (lambda path: path.symlink_to(path.parent / "nowhere"), "symbolic link"),
        (lambda path: path.mkdir(), "directory|regular"),
        (lambda path: os.mkfifo(path, 0o600), "not a regular file"),
        (lambda path: private(path, ""), "empty"),
        (lambda path: private(path, "\n"), "empty"),
        (lambda path: private(path, f"{CANARY}\n{CANARY}\n"), "more than one line"),
        (lambda path: private(path, f"{CANARY}\0"), "more than one line"),
        (lambda path: private(path, CANARY * 5000), "larger than 64 KiB"),
        (lambda path: private(path, "").write_bytes(CANARY.encode() + b"\xff"), "not UTF-8"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_refused(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "p")
    with pytest.raises(CredentialMissing, match=words) as caught:
        SecretRef(Place.FILE, "p").resolve(tmp_path)
    assert CANARY not in str(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_secret_from_a_systemd_credential(tmp_path: Path) -> None:
    (tmp_path / "twilio").write_text(CANARY + "\n")
    ref = SecretRef(Place.CREDENTIAL, "twilio")
    assert ref.resolve(Path("/"), environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}).reveal() == CANARY
    with pytest.raises(CredentialMissing, match="CREDENTIALS_DIRECTORY") as caught:
        ref.resolve(Path("/"), environ={})
    assert "LoadCredential=twilio" in caught.value.hint
    with pytest.raises(CredentialMissing, match="No such file"):
        SecretRef(Place.CREDENTIAL, "other").resolve(
            Path("/"), environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}
        )


def test_a_secret_from_the_environment_is_warned_about(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets_of_hubd, "_warned", set())  # each variable is warned about once
    ref = SecretRef(Place.ENV, "OFFICE_PASS")
    with caplog.at_level(logging.WARNING):
        assert ref.resolve(Path("/"), environ={"OFFICE_PASS": CANARY}).reveal() == CANARY
    assert "OFFICE_PASS" in caplog.text
    assert CANARY not in caplog.text
    with pytest.raises(CredentialMissing, match="OFFICE_PASS: not set"):
        ref.resolve(Path("/"), environ={})


class Ring(keyring.backend.KeyringBackend):
    """A keyring with one entry."""

    priority = 1.0
    answered = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        if username == "locked":
            raise keyring.errors.KeyringLocked(CANARY)
        if username == "asks a person":
            self.answered.wait()
        return CANARY if (service, username) == ("messagehub", "office") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


def test_a_secret_from_the_keyring() -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())  # type: ignore[no-untyped-call]
    try:
        assert SecretRef(Place.KEYRING, "office").resolve(Path("/")).reveal() == CANARY
        with pytest.raises(CredentialMissing, match="not there") as caught:
            SecretRef(Place.KEYRING, "other").resolve(Path("/"))
        assert caught.value.hint == "keyring set messagehub other"
        with pytest.raises(CredentialMissing, match="KeyringLocked") as caught:
            SecretRef(Place.KEYRING, "locked").resolve(Path("/"))
        assert CANARY not in str(caught.value)
    finally:
        keyring.set_keyring(before)


def test_a_keyring_that_waits_for_a_person_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())  # type: ignore[no-untyped-call]
    monkeypatch.setattr("hubd.secrets.KEYRING_TIMEOUT", 0.01)
    try:
        for _ in range(5):
            with pytest.raises(CredentialMissing, match="did not answer"):
                SecretRef(Place.KEYRING, "asks a person").resolve(Path("/"))
        assert [thread.name for thread in threading.enumerate()].count("keyring") == 1
    finally:
        Ring.answered.set()
        keyring.set_keyring(before)


@dataclasses.dataclass
class Settings:
    password: Secret


def test_a_secret_never_shows_itself() -> None:
    secret = Secret(CANARY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret} {secret!r} {secret!s:>20}",
        "%s %r" % (secret, secret),  # noqa: UP031 - logging formats in this way
        repr(Settings(secret)),
        repr(dataclasses.asdict(Settings(secret))),
        repr([copy.copy(secret), copy.deepcopy(secret)]),
        repr(HubConfig(providers={"a": SmtpConfig(host="x", password=SecretRef(Place.FILE, "x"))})),
    ]
    for attempt in (
        lambda: json.dumps({"password": secret}),
        lambda: json.dumps(secret.__dict__),
        lambda: msgspec.json.encode(secret),
        lambda: pickle.dumps(secret),
        lambda: secret + "",  # type: ignore[operator]
    ):
        with pytest.raises((TypeError, AttributeError)) as caught:
            attempt()
        shown.append(f"{caught.value!r} {caught.value}")
    assert all(CANARY not in text for text in shown)
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY)
    assert secret != Secret("other")
    assert len({secret, Secret(CANARY)}) == 1


_STARVED = """
import os, resource, sys
from pathlib import Path
import hubd.providers.smtp.transport
from hubd.providers.smtp.login import SmtpSettings, tls_context
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
ca_file = Path(sys.argv[2]) if len(sys.argv) > 2 else None
try:
    context = tls_context(SmtpSettings(host="mail.acme.example", ca_file=ca_file))
    print("trusts", context.cert_store_stats()["x509_ca"])
except Exception as error:
    print(type(error).__name__, error)
for descriptor in taken:
    os.close(descriptor)
print("then", tls_context(SmtpSettings(host="mail.acme.example")).cert_store_stats()["x509_ca"])
"""


def test_certificates_that_cannot_be_read_for_want_of_descriptors_are_missed(tmp_path: Path) -> None:
    """Without a word from OpenSSL every certificate would look forged, and the provider would be stopped."""
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(authority)
    environ = {**os.environ, "SSL_CERT_FILE": str(authority), "SSL_CERT_DIR": str(tmp_path / "none")}
    for more in ([], [str(authority)]):
        done = subprocess.run(
            [sys.executable, "-c", _STARVED, "x", *more],
            capture_output=True, text=True, cwd=ROOT, env=environ, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        first, then = done.stdout.splitlines()
        assert "Too many open files" in first
        assert then == "then 1"


async def test_a_server_that_quotes_the_password_does_not_get_it_into_a_traceback() -> None:
    login = base64.b64encode(f"\0me\0{CANARY}".encode())
    script = {
        "ehlo": [Say(b"250-script\r\n250 AUTH PLAIN\r\n")],
        "auth": [Say(b"535 5.7.8 " + CANARY.encode() + b" is wrong, " + login + b" too\r\n")],
    }
    with trio.fail_after(60):
        async with open_bridge() as bridge, serve_script(script) as server:
            settings = SmtpSettings(
                host="127.0.0.1", port=server.port, security="none", username="me", password=CANARY
            )
            sock = await connect("127.0.0.1", server.port, 60)
            with pytest.raises(LoginRefused) as caught:
                await log_in(bridge, sock, settings, None, "me.example")
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.answer) + repr(settings)
    assert "535" in told
    assert CANARY not in told
    assert login.decode() not in told
