"""A password that is replaced: read by the next login and by a reload, which says so and never shows it."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import pytest
import trio

from hubd import secret_keys
from hubd.bridge import Bridge
from hubd.config.file import load_config
from hubd.config.reload import Reloader
from hubd.core.model import Channel
from hubd.core.verdict import Action, judge
from hubd.engine.providers import Providers
from hubd.errors import CredentialMissing
from hubd.provider_specs import provider_specs
from tests.shell.smtp_peers import Mailbox, aiosmtpd_server, rendered, send

OLD, NEW = "s3cret", "s3cr3t-canary-new"
KEY = "providers.office.password"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with aiosmtpd_server(auth=True, auth_needs_tls=False) as box:
        yield box


@dataclass
class Office:
    """A provider `office` on a real server, and what reloads reported."""

    folder: Path
    reload: Reloader
    providers: Providers
    told: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def write(self, password: str, mode: int = 0o600) -> None:
        path = self.folder / "office.pass"
        path.write_text(password)
        path.chmod(mode)


@asynccontextmanager
async def open_office(
    folder: Path, bridge: Bridge, box: Mailbox, where: str = '{ file = "office.pass" }'
) -> AsyncIterator[Office]:
    path = folder / "hubd.toml"
    path.write_text(
        f'[providers.office]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {box.port}\nsecurity = "none"\n'
        f'username = "anna"\npassword = {where}\n'
    )
    config = load_config(path)
    specs = partial(provider_specs, state_dir=folder, bridge=bridge)
    providers = Providers(await specs(config, ask_keyring=False), lambda: 0.5)
    told: list[tuple[str, Mapping[str, Any]]] = []

    async def add(event: str, campaign: int | None, data: Mapping[str, object]) -> None:
        await trio.lowlevel.checkpoint()
        told.append((event, data))

    async def apply(config: Any) -> list[str]:
        return await providers.reconfigure(await specs(config))

    reload = Reloader(config, find=lambda: path, expected=path, options={}, apply=apply, add=add)
    try:
        with trio.fail_after(60):
            yield Office(folder, reload, providers, told)
    finally:
        await providers.aclose()


@pytest.fixture
async def office(tmp_path: Path, bridge: Bridge, box: Mailbox) -> AsyncIterator[Office]:
    (tmp_path / "office.pass").touch(mode=0o600)
    (tmp_path / "office.pass").write_text(OLD)
    async with open_office(tmp_path, bridge, box) as office:
        yield office


async def test_a_replaced_password_is_used_by_the_next_login_and_open_connections_go_on(
    office: Office, box: Mailbox
) -> None:
    pool = await office.providers.get("office").open()
    first, second = pool.transport.connection(), pool.transport.connection()
    assert (await send(first, rendered(1))).code == 250  # type: ignore[arg-type]
    office.write(NEW)
    box.password = NEW.encode()
    assert (await send(second, rendered(2))).code == 250  # type: ignore[arg-type]
    assert (await send(first, rendered(3))).code == 250  # type: ignore[arg-type]
    assert len(box.logins) == 2


@pytest.mark.parametrize("opened", [False, True])
async def test_a_reload_names_the_key_of_a_replaced_secret_and_never_the_secret(
    office: Office, box: Mailbox, caplog: pytest.LogCaptureFixture, opened: bool
) -> None:
    caplog.set_level(logging.INFO)
    provider = office.providers.get("office")
    if opened:
        await provider.open()
    assert await office.reload() == []
    office.write(NEW)
    box.password = NEW.encode()
    changed = [f"{KEY} (file office.pass)"]
    assert await office.reload() == changed
    assert office.told[-1] == ("config.reloaded", {"applied": changed, "needs_restart": []})
    assert changed[0] in caplog.text
    assert await office.reload() == []
    assert (await provider.probe()).code == 235
    shown = caplog.text + repr(office.told) + repr(office.reload.show()) + repr(provider.spec)
    assert NEW not in shown
    assert OLD not in shown


async def test_a_reload_with_a_new_password_ends_the_stop_that_the_old_one_caused(
    office: Office, box: Mailbox
) -> None:
    box.password = NEW.encode()
    provider = office.providers.get("office")
    assert (await provider.probe()).code == 535
    pool = await provider.open()
    pool.breaker.stop("The provider does not accept the user name or the password.")
    office.write(NEW)
    assert await office.reload() == [f"{KEY} (file office.pass)"]
    assert provider.view().state == "ready"
    assert (await provider.probe()).code == 235


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda office: office.write(""), "it is empty"),
        (lambda office: office.write(NEW, 0o644), "can be read by others"),
        (lambda office: office.write(f"{NEW}\n{NEW}"), "more than one line"),
        (lambda office: (office.folder / "office.pass").unlink(), "No such file"),
    ],
    ids=["empty", "open to others", "two lines", "gone"],
)
async def test_a_secret_that_cannot_be_read_any_more_fails_the_reload_with_its_key(
    office: Office, opened: bool, spoil: Any, problem: str
) -> None:
    provider = office.providers.get("office")
    if opened:
        await provider.open()
    before = provider.spec
    spoil(office)
    for _ in range(2):
        with pytest.raises(CredentialMissing, match=problem) as caught:
            await office.reload()
        assert str(caught.value).startswith(f"{KEY}: ")
        event, data = office.told[-1]
        assert event == "config.reload_failed"
        (fault,) = data["errors"]
        assert (fault["path"], fault["line"]) == (KEY, 7)
        assert fault["file"] == str(office.folder / "hubd.toml")
        assert NEW not in repr(data) + str(caught.value)
        assert provider.spec is before
    office.write(OLD)
    assert await office.reload() == []


async def test_a_secret_that_was_never_there_holds_up_no_reload_until_it_comes(
    tmp_path: Path, bridge: Bridge, box: Mailbox
) -> None:
    async with open_office(tmp_path, bridge, box) as office:
        assert await office.reload() == []
        with pytest.raises(CredentialMissing, match=KEY):
            await office.providers.get("office").open()
        assert office.providers.get("office").view().state == "stopped"
        office.write(OLD)
        assert await office.reload() == [f"{KEY} (file office.pass)"]
        assert office.providers.get("office").view().state == "ready"
        assert (await office.providers.get("office").probe()).code == 235


async def test_a_login_without_its_secret_stops_the_provider_and_says_what_to_do(
    office: Office, box: Mailbox
) -> None:
    pool = await office.providers.get("office").open()
    (office.folder / "office.pass").unlink()
    answer = await pool.transport.connection().prepare(rendered())
    assert answer is not None
    verdict = judge(answer, Channel.EMAIL)
    assert verdict.action is Action.PROVIDER_STOP
    assert verdict.detail.startswith(f"{KEY}: secret file {office.folder / 'office.pass'}: No such file")
    assert "Create it: install -m 600" in verdict.detail
    assert box.logins == []


@pytest.mark.parametrize("place", ["credential", "env", "keyring"])
async def test_a_secret_in_another_place_is_read_again_too(
    tmp_path: Path, bridge: Bridge, box: Mailbox, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def put(secret: str) -> None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        monkeypatch.setenv("OFFICE_PASS", secret)
        (tmp_path / "OFFICE_PASS").write_text(secret)
        ring.entry = secret

    ring, before = _Ring(), keyring.get_keyring()
    keyring.set_keyring(ring)
    try:
        put(OLD)
        async with open_office(tmp_path, bridge, box, f'{{ {place} = "OFFICE_PASS" }}') as office:
            assert await office.reload() == []
            assert (await office.providers.get("office").probe()).code == 235
            put(NEW)
            box.password = NEW.encode()
            assert (await office.providers.get("office").probe()).code == 235
            assert await office.reload() == [f"{KEY} ({place} OFFICE_PASS)"]
    finally:
        keyring.set_keyring(before)


async def test_a_provider_whose_secret_is_not_read_in_time_is_not_opened(
    tmp_path: Path, bridge: Bridge, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for it can be cancelled meanwhile, such as a start by a pause."""
    ring, before = _Ring(), keyring.get_keyring()
    keyring.set_keyring(ring)
    try:
        ring.entry = OLD
        async with open_office(tmp_path, bridge, box, '{ keyring = "OFFICE_PASS" }') as office:
            ring.answers.clear()
            provider = office.providers.get("office")
            with pytest.raises(trio.TooSlowError), trio.fail_after(0.5):
                await provider.open()
            monkeypatch.setattr(secret_keys, "READ_SECONDS", 0.5)
            with pytest.raises(CredentialMissing, match=r"could not be read within 0\.5 s"):
                await provider.open()
            ring.answers.set()
            monkeypatch.undo()
            assert (await provider.probe()).code == 235
    finally:
        ring.answers.set()
        keyring.set_keyring(before)


async def test_a_secret_that_is_not_read_in_time_is_an_answer_and_holds_up_no_other(
    tmp_path: Path, bridge: Bridge, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many logins wait for a secret that hangs; another provider reads its own meanwhile."""
    monkeypatch.setattr(secret_keys, "READ_SECONDS", 2.0)
    ring, before = _Ring(), keyring.get_keyring()
    keyring.set_keyring(ring)
    try:
        ring.entry = OLD
        async with open_office(tmp_path, bridge, box, '{ keyring = "OFFICE_PASS" }') as office:
            transport = (await office.providers.get("office").open()).transport
            ring.answers.clear()
            answers = []

            async def log_in() -> None:
                answers.append(await transport.connection().prepare(rendered()))

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(log_in)
                await trio.to_thread.run_sync(ring.asked.wait)
                other = tmp_path / "other"
                other.mkdir()
                (other / "office.pass").touch(mode=0o600)
                (other / "office.pass").write_text(OLD)
                async with open_office(other, bridge, box) as second:
                    assert (await second.providers.get("office").probe()).code == 235
        assert len(answers) == 20
        for answer in answers:
            assert answer is not None
            verdict = judge(answer, Channel.EMAIL)
            assert verdict.action is Action.PROVIDER_STOP
            assert "could not be read within 2 s" in verdict.detail
    finally:
        ring.answers.set()
        keyring.set_keyring(before)


class _Ring(keyring.backend.KeyringBackend):
    """A keyring with one entry, which it gives while it answers."""

    priority = 1.0
    entry = ""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answers, self.asked = threading.Event(), threading.Event()
        self.answers.set()

    def get_password(self, service: str, username: str) -> str | None:
        if not self.answers.is_set():
            self.asked.set()
            self.answers.wait(60)
        return self.entry

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError
