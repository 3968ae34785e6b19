"""The pages say what the code does: keys that are described are read, commands that are shown exist."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_origin, get_type_hints

import click
import pytest

from docs.reference_pages import PAGES, write
from hubctl.cli import COMMANDS, hubctl
from hubd.config.file import (
    HubConfig,
    load_config,
)
from hubd.config.listener import ListenerConfig
from hubd.config.mailboxes import MailboxConfig
from hubd.config.notify import NotifySettings
from hubd.config.oauth2 import OAuth2Config
from hubd.config.reference import declared
from hubd.config.retention import RetentionSettings
from hubd.config.sinks import SINK_TABLES
from hubd.control.methods import METHODS
from hubd.core.inbox import BounceRules
from hubd.core.model import Channel
from hubd.core.spec import CampaignSpec, Retry, Schedule, Trigger
from hubd.core.spec_reading import parse_spec
from hubd.core.template_spec import TemplateSpec
from hubd.errors import BadInput
from hubd.providers.registry import KINDS, kind_of
from hubd.wire.events import EVENTS

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN += sorted((ROOT / "docs" / "decisions").glob("*.md"))
NO_KEY_TAKES_THIS = "2026-12-01T09:00:00.5"  #: a date and time without an offset
#: Each table of a kind of provider, with what stands before its keys.
SECTIONS = [
    (f'[providers.a]\ntype = "{name}"' + (f"\n[providers.a.{inner}]" if inner else ""), table)
    for name in KINDS
    for inner, table in {"": kind_of(name).settings, **kind_of(name).tables}.items()
]
SECTIONS += [
    ("[mailboxes.a]", MailboxConfig),
    ("[mailboxes.a.oauth2]", OAuth2Config),
    ("[listener]", ListenerConfig),
    ("[bounces]", BounceRules),
]
SECTIONS += [(f'[sinks.a]\ntype = "{name}"', table) for name, table in SINK_TABLES.items()]
TABLES = (
    *(HubConfig, NotifySettings, RetentionSettings, *(table for _, table in SECTIONS)),
    *(CampaignSpec, Retry, Schedule, Trigger, TemplateSpec),
)
#: What is in the types and is no key with a value of its own.
INSIDE = {
    *("providers", "mailboxes", "listener", "bounces", "sinks", "notify", "retention", "keys"),
    *("folder", "layers", "retry", "schedule", "trigger"),
}


def faults(error: BadInput) -> set[str]:
    """The keys that are at fault, as dotted paths; of a list the list."""
    listed = error.data["errors"]
    assert isinstance(listed, list)
    assert not [each for each in listed if "unknown key" in each["problem"]]
    return {str(each["path"]).partition("[")[0] for each in listed}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_every_field_that_is_read_from_a_file_has_a_description(table: type) -> None:
    fields = [field.name for field in dataclasses.fields(table)] if dataclasses.is_dataclass(table) else []
    names = {*fields, *getattr(table, "__struct_fields__", ())}
    keys = names - INSIDE if table is not MailboxConfig else names
    assert {key for key, *_ in declared(table)} == {name.rstrip("_") for name in keys}
    hints = get_type_hints(table, include_extras=True)
    assert all(get_origin(hints[name]) is Annotated for name in keys)


@pytest.mark.parametrize(
    ("head", "table"),
    [("[hub]", HubConfig), ("[notify]", NotifySettings), ("[retention]", RetentionSettings), *SECTIONS],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_every_key_of_hubd_toml_that_is_described_is_read(head: str, table: type, tmp_path: Path) -> None:
    keys = {key for key, *_ in declared(table)} - {"type"}
    if table in [kind_of(name).settings for name in KINDS if Channel.EMAIL not in kind_of(name).channels]:
        keys.remove("domain_rates")  # refused with a reason: texts go to no domain
    path = tmp_path / "hubd.toml"
    path.write_text("\n".join([head, *(f"{key} = {NO_KEY_TAKES_THIS}" for key in keys)]))
    with pytest.raises(BadInput) as caught:
        load_config(path)
    assert {each.rpartition(".")[2] for each in faults(caught.value)} >= keys


def test_every_key_of_a_campaign_file_that_is_described_is_read() -> None:
    wrong = dt.datetime(2026, 12, 1)
    top = {key for key, *_ in declared(CampaignSpec)}
    inner = {"retry": declared(Retry), "schedule": declared(Schedule), "trigger": declared(Trigger)}
    spec: dict[str, object] = dict.fromkeys(top, wrong)
    spec |= {name: {key: wrong for key, *_ in keys} for name, keys in inner.items()}
    with pytest.raises(BadInput) as caught:
        parse_spec(spec)
    assert faults(caught.value) >= {
        *top,
        *(f"{name}.{key}" for name, keys in inner.items() for key, *_ in keys),
    }


def test_every_command_method_and_event_is_on_its_page(tmp_path: Path) -> None:
    write(tmp_path)
    pages = {name: (tmp_path / f"{name}.md").read_text() for name in PAGES}
    assert all(f"\n## hubctl {name}\n" in pages["commands"] for name in COMMANDS)
    assert all(f"\n## {name}\n" in pages["methods"] for name in METHODS)
    assert all(f"\n## {name}\n" in pages["events"] for name in EVENTS)


def test_a_page_that_says_the_same_is_not_written_again(tmp_path: Path) -> None:
    write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def shown(page: Path) -> Iterator[list[str]]:
    """The arguments of hubctl in the shell blocks of a page, up to a pipe or a redirection."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        for line in re.findall(r"(?:^ *|&& )(?:sudo |\.venv/bin/)*hubctl (.*)", block, re.MULTILINE):
            words = shlex.shlex(line, posix=True, punctuation_chars="<>|&;")
            words.whitespace_split = True
            yield list(itertools.takewhile(lambda word: word[0] not in "<>|&;", words))


SHOWN = [(page.name, arguments) for page in WRITTEN for arguments in shown(page)]


@pytest.mark.parametrize(("page", "given"), SHOWN)
def test_every_command_that_a_page_shows_takes_these_options(page: str, given: list[str]) -> None:
    arguments = list(given)
    context = click.Context(hubctl, info_name="hubctl")
    found: click.Command = hubctl
    while isinstance(found, click.Group) and (arguments or not found.invoke_without_command):
        name = arguments.pop(0)
        inner = found.get_command(context, name)
        assert inner is not None, f"{page}: there is no command {name}"
        found, context = inner, click.Context(inner, info_name=name, parent=context, **inner.context_settings)
    found.make_parser(context).parse_args(arguments)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_every_command_that_a_sentence_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"`hubctl ([a-z]+)", text)) <= COMMANDS.keys()


def test_the_pages_show_commands() -> None:
    """Otherwise the two above would find nothing wrong."""
    assert len(SHOWN) > 30


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    for name in re.findall(r"`([\w./*-]+\.py)`", page.read_text(encoding="utf-8")):
        folders = (ROOT, ROOT / "hubd", ROOT / "tests", ROOT / "tests" / "whole", ROOT / "hubd" / "engine")
        assert any(list(folder.glob(name)) for folder in folders), f"{page}: there is no {name}"


def test_the_line_that_sends_a_message_is_where_the_readme_says() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    ((call, name),) = re.findall(
        r"line that sends a message is\s+`([\w.]+)\(\.\.\.\)`\s+in\s+`([\w./]+)`", text
    )
    assert (ROOT / name).read_text(encoding="utf-8").count(f"{call}(") == 1
