"""A kind of provider is one folder and one line: a made-up one is configured, asked for, and sent through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hubctl.app import App
from hubctl.exits import Refused
from hubctl.provider_questions import Given, ask
from hubd.client import open_client
from hubd.config.file import HubConfig, load_config
from hubd.config.reference import sections
from hubd.core.model import Channel
from hubd.provider_specs import provider_specs
from hubd.providers import registry
from hubd.providers.questions import Questions
from tests.shell.open_hub import PERSONAL, open_hub
from tests.shell.raw_http import Peer, answer, serve_http
from tests.shell.test_methods import import_people, until

ROOT = Path(__file__).resolve().parent.parent.parent
UNKNOWN = answer("404 Not Found", b'{"word": "NoSuchRoof", "text": "nobody lives there"}')


@pytest.fixture
def _pigeons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.KINDS, "pigeon", "tests.shell.pigeon")


async def loft(peer: Peer) -> None:
    """Takes each letter with an answer that names nothing, but for the third roof."""
    while True:
        seen = await peer.request()
        await peer.say(UNKNOWN if seen.headers.get("x-roof", "").startswith("p2@") else answer("202 OK", b""))


def written(folder: Path, url: str, more: str = "") -> HubConfig:
    """The configuration with a loft."""
    for name, text in (
        ("w", "pheep"),
        (
            "hubd.toml",
            f'[providers.loft]\ntype = "pigeon"\nloft_url = "{url}"\nwhistle = {{ file = "w" }}\n{more}',
        ),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return load_config(folder / "hubd.toml")


@pytest.mark.usefixtures("_pigeons")
async def test_rates_are_those_of_the_account_unless_there_are_some_in_the_configuration(
    tmp_path: Path,
) -> None:
    told = "3/day"

    async def told_loft(peer: Peer) -> None:
        while True:
            seen = await peer.request()
            body = b'{"rate": "%s"}' % told.encode() if seen.line.startswith("GET") else b""
            await peer.say(answer("202 OK", body))

    async with (
        serve_http(told_loft) as server,
        open_hub(tmp_path) as served,
        open_client(served.path) as hub,
    ):
        supervisor = served.hub.supervisor
        config = written(tmp_path, server.url)
        await supervisor.reconfigure(await provider_specs(config, tmp_path, served.bridge))
        await import_people(hub, 5)
        await hub.call("campaign.apply", spec=PERSONAL | {"provider": "loft"})
        await hub.call("campaign.start", name="spring")
        # the question, and as many letters as the account may send a day
        await server.until(lambda: len(server.requests) >= 4)
        (loft,) = [each for each in (await hub.call("provider.list"))["providers"] if each["name"] == "loft"]
        assert loft["rate"] == ["3/day"]
        told = "4/day"
        tested = await hub.call("provider.test", name="loft")
        assert tested["account"]["rate"] == ["4/day"]
        assert tested["account"]["lines"] == ["The loft lets 4/day fly."]
        await server.until(lambda: len(server.requests) >= 6)
        view = (await hub.call("campaign.get", name="spring"))["campaign"]
        assert (view["state"], view["counts"]["pending"]) == ("running", 1)
        config = written(tmp_path, server.url, "pigeons = 1\n")
        await supervisor.reconfigure(await provider_specs(config, tmp_path, served.bridge))
        (loft,) = [each for each in (await hub.call("provider.list"))["providers"] if each["name"] == "loft"]
        assert loft["rate"] == ["4/day"], "what it said last, while nobody has asked again"
        config = written(tmp_path, server.url, 'rate = "1000/day"\n')
        await supervisor.reconfigure(await provider_specs(config, tmp_path, served.bridge))
        await until(hub, "spring", "completed")
        told = ""
        tested = await hub.call("provider.test", name="loft")
        assert tested["account"] is None, "what it said another time is no answer to this question"


@pytest.mark.usefixtures("_pigeons")
async def test_the_rate_of_the_account_applies_once_that_of_the_configuration_is_removed(
    tmp_path: Path,
) -> None:
    async def told_loft(peer: Peer) -> None:
        while True:
            seen = await peer.request()
            await peer.say(answer("202 OK", b'{"rate": "3/day"}' if seen.line.startswith("GET") else b""))

    async with (
        serve_http(told_loft) as server,
        open_hub(tmp_path) as served,
        open_client(served.path) as hub,
    ):
        supervisor = served.hub.supervisor
        config = written(tmp_path, server.url, 'rate = "2/day"\n')
        await supervisor.reconfigure(await provider_specs(config, tmp_path, served.bridge))
        await import_people(hub, 9)
        await hub.call("campaign.apply", spec=PERSONAL | {"provider": "loft"})
        await hub.call("campaign.start", name="spring")
        await server.until(lambda: len(server.requests) >= 2)
        config = written(tmp_path, server.url)
        changes = await supervisor.reconfigure(await provider_specs(config, tmp_path, served.bridge))
        assert changes == ["providers.loft.rate"]
        (loft,) = [each for each in (await hub.call("provider.list"))["providers"] if each["name"] == "loft"]
        assert loft["rate"] == ["3/day"]
        await server.until(lambda: len(server.requests) >= 4)  # the question, and one letter more
        await hub.call("campaign.pause", name="spring")
        view = (await hub.call("campaign.get", name="spring"))["campaign"]
        assert view["counts"]["sent"] == 3


@pytest.mark.usefixtures("_pigeons")
async def test_a_campaign_goes_through_a_kind_that_is_one_folder_and_one_line(tmp_path: Path) -> None:
    async with (
        serve_http(loft) as server,
        open_hub(tmp_path) as served,
        open_client(served.path) as hub,
    ):
        config = written(tmp_path, server.url)
        specs = await provider_specs(config, tmp_path, served.bridge)
        assert "providers.loft" in await served.hub.supervisor.reconfigure(specs)
        assert (await hub.call("provider.test", name="loft"))["ok"]
        await import_people(hub, 5)
        await hub.call("campaign.apply", spec=PERSONAL | {"provider": "loft"})
        await hub.call("campaign.start", name="spring")
        view = await until(hub, "spring", "completed")
        assert (view["counts"]["sent"], view["counts"]["failed"]) == (4, 1)
        (failed,) = (await hub.call("delivery.list", campaign="spring", state="failed"))["deliveries"]
        life = await hub.call("delivery.get", id=failed["id"])
        assert life["delivery"]["detail"] == "No pigeon knows this roof."
        assert life["attempts"][0]["provider_reply"] == "NoSuchRoof: nobody lives there"
        assert {seen.headers["x-whistle"] for seen in server.requests if seen.body} == {"pheep"}


@pytest.mark.usefixtures("_pigeons")
def test_its_keys_are_in_the_reference_and_its_questions_are_asked() -> None:
    (section,) = [each for each in sections() if '"pigeon"' in each.title]
    assert [key.name for key in section.keys] == ["type", "loft_url", "whistle", "pigeons"]
    options = {"name": "loft", "loft_url": "http://loft"}
    with pytest.raises(Refused, match=r"not given: --password-stdin, and"):  # what it is, its option says
        ask(App(), Given(options), taken=[])
    with pytest.raises(Refused, match=r"--loft-url does not apply to smtp"):
        ask(App(), Given({**options, "type": "smtp"}), taken=[])
    with pytest.raises(Refused, match=r"--host does not apply to pigeon"):
        ask(App(), Given({**options, "type": "pigeon", "host": "x"}), taken=[])


@pytest.mark.parametrize("name", registry.KINDS)
def test_each_kind_is_what_its_line_says(name: str) -> None:
    kind, questions = registry.kind_of(name), registry.questions_of(name)
    assert kind.settings.__dataclass_fields__["type"].default == name
    assert questions.type == name
    assert kind.channels <= frozenset(Channel)
    assert options_of(questions) >= {questions.chosen_by, *questions.implied_by} - {""}


def options_of(questions: Questions) -> set[str]:
    return {option.name for option in questions.options}


def test_no_kind_is_imported_before_somebody_needs_it() -> None:
    program = (
        "import sys; import hubd.providers.registry, hubd.config.file, hubd.provider_specs;"
        "kinds = [m for m in sys.modules if m.startswith(tuple(hubd.providers.registry.KINDS.values()))];"
        "assert kinds == [], kinds;"
        "hubd.config.file.load_config(None); assert 'hubd.providers.outbox.kind' in sys.modules;"
        "list(hubd.providers.registry.all_questions());"
        "heavy = [m for m in sys.modules if m.endswith('.transport')]; assert heavy == [], heavy;"
        "assert 'aiosmtplib' not in sys.modules and 'twilio' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
