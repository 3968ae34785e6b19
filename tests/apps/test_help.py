"""`hubctl help`: what holds for every command, and the help of each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hubctl.app import App
from hubctl.commands.help import TOPICS, help_
from hubctl.exits import Exit
from hubctl.output import FORMATS


def helped(*arguments: str) -> Result:
    return CliRunner().invoke(help_, list(arguments), obj=App(), standalone_mode=False)


def test_every_exit_code_is_explained() -> None:
    lines = helped("exit-codes").output.splitlines()
    told = [line.split()[0] for line in lines if line.startswith("  ")]
    assert told == [str(int(code)) for code in Exit]


def test_every_format_is_explained() -> None:
    told = helped("formatting").output
    assert all(f"--output {name}" in told for name in FORMATS)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_fits_on_a_small_terminal(topic: str) -> None:
    lines = helped(topic).output.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines == [line.rstrip() for line in lines]


def test_the_topics_are_listed() -> None:
    told = helped().output
    assert all(f"hubctl help {topic}" in told for topic in TOPICS)
    listed: dict[str, Any] = json.loads(helped("--json").output)
    assert [each["topic"] for each in listed["topics"]] == list(TOPICS)


def test_what_is_neither_topic_nor_command_is_refused() -> None:
    done = helped("nonsense")
    assert "no command and no topic 'nonsense'" in str(done.exception)
