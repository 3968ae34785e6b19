"""Reading the configuration again: whole or not at all, and an event says which."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from hubd.config.file import HubConfig, load_config, missing_secrets
from hubd.config.reload import Reloader
from hubd.config.show import Option
from hubd.core.model import Channel, InDoubt
from hubd.engine.provider import ProviderSpec
from hubd.engine.providers import Providers
from hubd.errors import BadConfig, CredentialMissing, HubError, ProviderUnavailable, StoreUnavailable
from tests.fakes import FakeTransport

CANARY = "s3cr3t-canary-7f"
SMTP = '[providers.office]\ntype = "smtp"\nhost = "mail.acme.example"\n'


@dataclass
class Desk:
    """A reloader on a file, what it had applied, and what it told."""

    path: Path
    reload: Reloader
    applied: list[HubConfig] = field(default_factory=list)
    told: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    fails: Exception | None = None
    mute: bool = False

    def values(self) -> dict[str, object]:
        return {each["key"]: each["value"] for each in self.reload.show()["settings"]}


def desk(tmp_path: Path, text: str = "", **options: str) -> Desk:
    path = tmp_path / "hubd.toml"
    path.write_text(text)
    found: list[Desk] = []

    async def apply(config: HubConfig) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        if found[0].fails is not None:
            raise found[0].fails
        found[0].applied.append(config)
        return [f"providers.{name}" for name in config.providers if name != "outbox"]

    async def tell(event: str, campaign: int | None, data: Mapping[str, object]) -> object:
        await trio.lowlevel.checkpoint()
        assert campaign is None
        if found[0].mute:
            raise StoreUnavailable("the disk is full")
        found[0].told.append((event, data))
        return None

    reload = Reloader(
        load_config(path),
        find=lambda: path if path.exists() else None,
        expected=path,
        options={f"hub.{key}": Option(flag=f"--{key}", value=value) for key, value in options.items()},
        apply=apply,
        add=tell,
    )
    found.append(Desk(path, reload))
    return found[0]


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """The root logger's level is the process'; each test puts it back."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


async def test_a_good_file_is_taken_over_and_told(tmp_path: Path) -> None:
    here = desk(tmp_path)
    here.path.write_text('[hub]\nlog_level = "error"\n' + SMTP)
    assert await here.reload() == ["hub.log_level", "providers.office"]
    assert logging.getLogger().level == logging.ERROR
    assert here.told == [
        ("config.reloaded", {"applied": ["hub.log_level", "providers.office"], "needs_restart": []})
    ]
    assert here.values()["hub.log_level"] == "error"
    assert here.values()["providers.office.host"] == "mail.acme.example"


@pytest.mark.parametrize(
    "text",
    [
        f'[hub]\nlog_level = "error"\n[providers.a]\npassword = "{CANARY}"\n',
        f'[hub]\nlog_level = "{CANARY}"\n' + SMTP,
        f'[hub]\nlog_level = "error"\ntcp = "{CANARY}"\n',
        f'[hub]\nlog_level = "error"\n[providers.office]\nrate = "{CANARY}"\n',
        '[hub\nlog_level = "error"\n',
        "\x00",
    ],
)  # fmt: skip
async def test_bad_input_78_a_bad_file_changes_nothing_and_says_where(tmp_path: Path, text: str) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    here = desk(tmp_path, '[hub]\nlog_level = "debug"\n' + SMTP)
    before = here.reload.show()
    here.path.write_text(text)
    with pytest.raises(BadConfig) as caught:
        await here.reload()
    assert here.applied == []
    assert logging.getLogger().level == logging.DEBUG
    assert here.reload.show() == before
    ((event, data),) = here.told
    assert event == "config.reload_failed"
    assert data["problem"] == str(caught.value)
    assert data["errors"] == caught.value.data["errors"] != []
    assert CANARY not in repr(data) + str(caught.value)


@pytest.mark.parametrize(
    ("fails", "raised"),
    [
        (CredentialMissing("secret file /x: No such file"), CredentialMissing),
        (OSError(errno.EMFILE, "Too many open files"), ProviderUnavailable),
        (RuntimeError(CANARY), RuntimeError),
    ],
)
async def test_what_cannot_be_taken_over_leaves_even_the_log_level(
    tmp_path: Path, fails: Exception, raised: type[Exception]
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    here = desk(tmp_path, '[hub]\nlog_level = "debug"\n')
    before = here.reload.show()
    here.path.write_text('[hub]\nlog_level = "error"\ntcp = "127.0.0.1:0"\n' + SMTP)
    here.fails = fails
    with pytest.raises(raised):
        await here.reload()
    assert logging.getLogger().level == logging.DEBUG
    assert here.reload.show() == before
    assert [event for event, _ in here.told] == ["config.reload_failed"]
    assert CANARY not in repr(here.told)
    here.fails = None
    assert await here.reload() == ["hub.log_level", "providers.office"]


async def test_a_key_that_is_read_once_waits_for_a_restart_and_is_named_until_then(tmp_path: Path) -> None:
    here = desk(tmp_path, '[hub]\ntcp = "127.0.0.1:1"\n')
    here.path.write_text('[hub]\ntcp = "127.0.0.1:2"\n')
    for _ in range(2):
        assert await here.reload() == []
        assert here.reload.show()["needs_restart"] == ["hub.tcp"]
        assert here.values()["hub.tcp"] == "127.0.0.1:1", "what is in effect"
        assert here.told[-1] == ("config.reloaded", {"applied": [], "needs_restart": ["hub.tcp"]})
    here.path.write_text('[hub]\ntcp = "127.0.0.1:1"\n')
    await here.reload()
    assert here.reload.show()["needs_restart"] == []


async def test_what_the_command_line_decides_no_file_changes(tmp_path: Path) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    here = desk(tmp_path, log_level="debug", tcp="127.0.0.1:5")
    here.path.write_text('[hub]\nlog_level = "error"\ntcp = "127.0.0.1:6"\n')
    assert await here.reload() == []
    assert logging.getLogger().level == logging.DEBUG
    shown = {each["key"]: (each["value"], each["source"]) for each in here.reload.show()["settings"]}
    assert shown["hub.log_level"] == ("debug", "--log_level")
    assert shown["hub.tcp"] == ("127.0.0.1:5", "--tcp")
    assert here.reload.show()["needs_restart"] == []


async def test_a_file_that_is_gone_keeps_what_it_said(tmp_path: Path) -> None:
    here = desk(tmp_path, SMTP)
    here.path.unlink()
    with pytest.raises(BadConfig, match="there is no configuration file"):
        await here.reload()
    assert here.values()["providers.office.host"] == "mail.acme.example"
    assert here.reload.show()["file"] == str(here.path)


async def test_a_full_disk_keeps_nobody_from_reloading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = desk(tmp_path)
    here.mute = True
    here.path.write_text(SMTP)
    assert await here.reload() == ["providers.office"]
    assert "could not be recorded" in caplog.text


async def test_two_at_once_go_one_after_the_other(tmp_path: Path) -> None:
    here = desk(tmp_path, SMTP)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(here.reload)
    assert [event for event, _ in here.told] == ["config.reloaded"] * 5
    assert len(here.applied) == 5


# -- every kind of key, down to the providers that run -----------------------------------------------------


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[tuple[Reloader, Providers, list[HubError]]]:
    """Real providers behind a reloader; each that is opened while there is an error in the list fails."""
    errors: list[HubError] = []

    def specs(config: HubConfig) -> dict[str, ProviderSpec]:
        async def opened() -> FakeTransport:
            await trio.lowlevel.checkpoint()
            if errors:
                raise errors[0]
            return FakeTransport()

        return {
            name: ProviderSpec(
                name=name,
                kind=each.type,
                channels=frozenset({Channel.SMS if each.type == "twilio" else Channel.EMAIL}),
                connections=2,
                in_doubt=InDoubt.RETRY,
                rate=each.rate,
                warmup=each.warmup,
                sender_rates=each.sender_rates,
                domain_rates=each.domain_rates,
                open=opened,
                settings=(type(each), *[getattr(each, key, None) for key in SETTINGS]),
            )
            for name, each in config.providers.items()
        }

    async def tell(event: str, campaign: int | None, data: Mapping[str, object]) -> None:
        await trio.lowlevel.checkpoint()

    providers = Providers(specs(load_config(path)), lambda: 0.5)
    reload = Reloader(
        load_config(path),
        find=lambda: path,
        expected=path,
        options={},
        apply=lambda config: providers.reconfigure(specs(config)),
        add=tell,
    )
    yield reload, providers, errors
    await providers.aclose()


SETTINGS = ("host", "port", "security", "username", "password", "connections", "ca_file", "from_", "base_url",
            "account_sid", "auth_token", "messaging_service_sid", "concurrency")  # fmt: skip
LOGIN = 'username = "u"\npassword = { file = "p" }\n'
TEXT = '[providers.text]\ntype = "twilio"\naccount_sid = "AC1"\nauth_token = { file = "t" }\nfrom = "ACME"\n'


@pytest.mark.parametrize(
    ("before", "after", "applied"),
    [
        (SMTP, SMTP + "port = 25\n", "providers.office"),
        (SMTP, SMTP.replace("mail.", "mx."), "providers.office"),
        (SMTP, SMTP + 'security = "tls"\n', "providers.office"),
        (SMTP, SMTP + LOGIN, "providers.office"),
        (SMTP + LOGIN, SMTP + LOGIN.replace("file", "env"), "providers.office"),
        (SMTP, SMTP + "connections = 3\n", "providers.office"),
        (SMTP, SMTP + 'ca_file = "hubd.toml"\n', "providers.office"),
        (SMTP, SMTP + 'rate = "5/s"\n', "providers.office.rate"),
        (SMTP, SMTP + 'warmup = { start = "5/day", double_every = "1 day" }\n', "providers.office.warmup"),
        (SMTP, SMTP + 'sender_rates = { "*" = "5/s" }\n', "providers.office.sender_rates"),
        (SMTP, SMTP + 'domain_rates = { "*" = "5/s" }\n', "providers.office.domain_rates"),
        (TEXT, TEXT.replace("AC1", "AC2"), "providers.text"),
        (TEXT, TEXT.replace('{ file = "t" }', '{ file = "u" }'), "providers.text"),
        (TEXT, TEXT.replace("ACME", "EMCA"), "providers.text"),
        (TEXT, TEXT.replace('from = "ACME"', 'messaging_service_sid = "MG1"'), "providers.text"),
        (TEXT, TEXT + "concurrency = 2\n", "providers.text"),
        (TEXT, TEXT + 'base_url = "http://127.0.0.1:1"\n', "providers.text"),
        (SMTP, SMTP + TEXT, "providers.text"),
        (SMTP + TEXT, SMTP, "providers.text (removed)"),
        (SMTP, SMTP + '[providers.outbox]\ntype = "outbox"\nrate = "1/s"\n', "providers.outbox.rate"),
        (SMTP, SMTP + "# a remark\n", ""),
    ],
)
async def test_every_kind_of_key_takes_effect_at_once_or_not_at_all(
    tmp_path: Path, before: str, after: str, applied: str
) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text(before)
    async with running(path) as (reload, providers, errors):
        for view in providers.views():
            await providers.get(view.name).open()
        specs = {view.name: providers.get(view.name).spec for view in providers.views()}
        shown = reload.show()
        path.write_text(after + "[hub]\ntcp = 5\n")
        with pytest.raises(BadConfig):
            await reload()
        path.write_text(after)
        errors.append(CredentialMissing("secret file p: No such file"))
        in_use = applied in {f"providers.{name}" for name in specs}
        if in_use:
            with pytest.raises(CredentialMissing):
                await reload()
            assert {view.name: providers.get(view.name).spec for view in providers.views()} == specs
            assert reload.show() == shown
        errors.clear()
        assert await reload() == ([applied] if applied else [])
        assert reload.show()["needs_restart"] == []


# -- the viewers' token -------------------------------------------------------------------------------------

TOKEN = "0123456789abcdef" * 2


async def test_the_viewers_token_is_read_again_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = desk(tmp_path)
    assert await here.reload.viewer_token() == ""
    here.path.write_text('[hub]\nviewer_token = { file = "viewer.token" }\n')
    assert await here.reload() == ["hub.viewer_token"]
    file = tmp_path / "viewer.token"
    for _ in range(3):
        assert await here.reload.viewer_token() == ""
    assert len([each for each in caplog.messages if "no viewer can use the token" in each]) == 1
    for token, good in ((TOKEN, True), ("short", False), (TOKEN[::-1] + "\n", True), (TOKEN + " x", False)):
        file.touch(mode=0o600)
        file.write_text(token)
        assert await here.reload.viewer_token() == (token.strip() if good else "")
        assert token.strip() not in caplog.text
    file.write_text(TOKEN)
    file.chmod(0o644)
    assert await here.reload.viewer_token() == ""
    assert "can be read by others" in caplog.text
    assert here.values()["hub.viewer_token"] == {"file": "viewer.token"}


def test_a_token_that_could_be_guessed_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text('[hub]\nviewer_token = { file = "viewer.token" }\n')
    (missing,) = missing_secrets(load_config(path))
    assert "viewer.token" in str(missing)
    (tmp_path / "viewer.token").touch(mode=0o600)
    (tmp_path / "viewer.token").write_text("guessable")
    (weak,) = missing_secrets(load_config(path))
    assert "openssl rand" in weak.hint
    assert "guessable" not in str(weak)
