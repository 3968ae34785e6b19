"""Keys from the standard chain of AWS: what botocore finds, renewed in time, and what is missing."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from hubd.errors import CredentialMissing
from hubd.providers.aws.credentials import TRY_AGAIN, ChainKeys, GivenKeys
from hubd.providers.aws.signing import Keys
from tests.shell.aws_double import AwsDouble
from tests.shell.aws_services import BOUND, email, send, ses, verdict


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any keys."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


class Issued:
    """A program that issues keys which expire, as `credential_process` of a profile has it."""

    def __init__(self, home: Path) -> None:
        self._file = home / "issued.json"
        (home / "config").write_text(f"[default]\ncredential_process = /bin/cat {self._file}\n")

    def issue(self, name: str, minutes: int) -> None:
        expires = datetime.now(UTC) + timedelta(minutes=minutes)
        issued = {"Version": 1, "AccessKeyId": name, "SecretAccessKey": "s", "SessionToken": f"token-{name}"}
        self._file.write_text(json.dumps({**issued, "Expiration": expires.isoformat()}))

    def fail(self) -> None:
        self._file.unlink()


def chain(clock: list[float] | None = None) -> ChainKeys:
    return ChainKeys(lambda: clock[0] if clock else 0.0)


async def test_keys_of_a_profile_are_found_and_sign(home: Path) -> None:
    with AwsDouble() as double:
        double.book.keys["AKIAPROFILE"] = ("profile-secret", "")
        (home / "credentials").write_text(
            "[default]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = profile-secret\n"
        )
        keys = chain()
        assert keys.due
        assert (await send(ses(double, keys), email())).code == 200
        assert not keys.due
        assert len(double.accepted) == 1


async def test_keys_are_renewed_in_the_last_ten_minutes(home: Path) -> None:
    clock = [0.0]
    issued = Issued(home)
    issued.issue("ASIA1", 60)
    keys = chain(clock)
    first = await keys.keys()
    assert first == Keys(access_key_id="ASIA1", secret_access_key="s", session_token="token-ASIA1")
    issued.issue("ASIA2", 9)
    assert await keys.keys() is first, "they hold for an hour"

    late = chain(clock)
    assert (await late.keys()).access_key_id == "ASIA2"
    assert late.due
    issued.issue("ASIA3", 60)
    assert (await late.keys()).access_key_id == "ASIA3"
    assert not late.due


async def test_a_renewal_that_fails_leaves_keys_that_are_still_good(home: Path) -> None:
    clock = [0.0]
    issued = Issued(home)
    issued.issue("ASIA1", 9)
    keys = chain(clock)
    before = await keys.keys()
    issued.fail()
    assert await keys.keys() == before
    assert not keys.due, "it is not tried with every message"
    clock[0] += TRY_AGAIN
    issued.issue("ASIA2", 60)
    assert keys.due
    assert (await keys.keys()).access_key_id == "ASIA2"


async def test_keys_that_expired_early_are_looked_for_anew_and_the_message_is_sent_once(home: Path) -> None:
    with AwsDouble() as double:
        double.book.keys |= {name: ("s", f"token-{name}") for name in ("ASIA1", "ASIA2")}
        issued = Issued(home)
        issued.issue("ASIA1", 60)
        keys = chain()
        await keys.keys()
        double.book.expired.add("ASIA1")
        issued.issue("ASIA2", 60)
        assert (await send(ses(double, keys), email())).code == 200
        assert len(double.accepted) == 1
        double.book.expired.add("ASIA2")
        answer = await send(ses(double, keys), email())
        assert answer.vendor == "ExpiredTokenException"
        assert len(double.accepted) == 1


async def test_a_machine_without_keys_says_what_to_do(home: Path) -> None:
    with AwsDouble() as double:
        transport = ses(double, chain())
        said = verdict(transport, await send(transport, email()))
        assert said.reason == "bad_credentials"
        assert "aws configure" in said.detail
        assert double.connections_made == 0


async def test_a_chain_that_fails_says_so_in_one_line(home: Path) -> None:
    issued = Issued(home)
    issued.issue("ASIA1", 60)
    issued.fail()
    keys = chain()
    with trio.fail_after(BOUND), pytest.raises(CredentialMissing) as caught:
        await keys.keys()
    assert "CredentialRetrievalError" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_without_botocore_the_message_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(CredentialMissing) as caught:
        await chain().keys()
    assert "pip install 'messagehubd[aws]'" in caught.value.hint


async def test_a_secret_that_is_replaced_after_it_was_refused_twice_is_used() -> None:
    """Somebody whose key was refused several times puts it right, and the next request finds it."""
    secrets = ["wrong"]

    async def read() -> str:
        await trio.lowlevel.checkpoint()
        return secrets[-1]

    source = GivenKeys("AKIA", read)
    refused = await source.keys()
    assert await source.renewed(refused) is None
    assert await source.renewed(refused) is None
    secrets.append("right")
    renewed = await source.renewed(refused)
    assert renewed is not None
    assert renewed.secret_access_key == "right"
