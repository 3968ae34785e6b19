"""Nothing that came from outside is acted on by a terminal, and data in files stay what they are."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from hubctl.app import encode
from hubctl.layout import harmless
from hubd.journal import ForPeople
from tests import launcher
from tests.apps.conftest import ROOT, TIMEOUT, Hub

#: C0, ESC with a sequence, DEL, C1, bidi marks, and characters that are not seen.
EVIL = "a\x1b]0;title\x07\x1b[2J\x08\x7f\x9b31m\u202eb\u2066c\u200fd\u061ce\ufefff"
ACTED_ON = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def with_evil_contact(hub: Hub) -> None:
    hub.ok("import", hub.file("all.csv", f'email,first_name\nann@example.com,"{EVIL}"\n'), "--list", "all")


def test_what_was_imported_is_what_is_tested(hub: Hub) -> None:
    with_evil_contact(hub)
    stored = hub.json("contacts", "show", "ann@example.com")["contact"]["fields"]["first_name"]
    assert len(ACTED_ON.findall(stored)) > 5


@pytest.mark.parametrize(
    "command",
    [
        ("contacts", "list"),
        ("contacts", "show", "ann@example.com"),
        ("contacts", "export"),
        ("contacts", "list", "--output", "csv"),
        ("contacts", "list", "--output", "tsv"),
        ("contacts", "list", "--fields", "fields.first_name"),
        ("contacts", "list", "--json"),
        ("contacts", "list", "--output", "ndjson"),
        ("contacts", "remove", EVIL.replace("\0", ""), "--yes"),
        ("contacts", "show", EVIL, "--json"),
        ("status", EVIL),
        (EVIL,),
        ("import", f"/nonexistent/{EVIL}", "--list", "all"),
        ("--socket", f"/nonexistent/{EVIL}", "list"),
        ("--context", EVIL, "list"),
        ("suppress", "add", EVIL),
        ("rpc", "call", "contacts.list"),
    ],
)
def test_a_terminal_acts_on_nothing(hub: Hub, on_terminal: Any, command: tuple[str, ...]) -> None:
    with_evil_contact(hub)
    environ = {**hub.environ, "NO_COLOR": "1"}
    seen = on_terminal(hub.command(*command), environ).rest()
    assert seen
    assert ACTED_ON.findall(seen.replace("\r\n", "\n")) == []


def test_the_preview_and_the_story_of_a_message(hub: Hub, on_terminal: Any) -> None:
    with_evil_contact(hub)
    hub.campaign("spring", subject="Hello", text="Hi {{ first_name }}")
    for command in (
        ("preview", "spring", "--to", "ann@example.com"),
        ("start", "spring", "--wait", "--yes"),
        ("message", "1"),
        ("log", "spring"),
        ("events",),
        ("deliveries", "spring"),
    ):
        seen = on_terminal(hub.command(*command), {**hub.environ, "NO_COLOR": "1"}).rest()
        assert seen
        left = COLOURS.sub("", seen.replace("\r", ""))
        assert ACTED_ON.findall(left) == [], command


def test_what_is_exported_to_a_file_comes_back_as_it_was(hub: Hub) -> None:
    with_evil_contact(hub)
    exported = hub.ok("contacts", "export")
    stored = hub.json("contacts", "show", "ann@example.com")["contact"]["fields"]["first_name"]
    assert stored in exported
    hub.ok("contacts", "remove", "ann@example.com", "--yes")
    hub.ok("import", hub.file("again.csv", exported), "--list", "all")
    assert hub.json("contacts", "show", "ann@example.com")["contact"]["fields"]["first_name"] == stored


def test_json_escapes_what_is_not_seen_and_means_the_same() -> None:
    text = EVIL + "\u00ad\U000e0041\u2028"
    encoded = encode({"x": text})
    assert encoded.isprintable()
    assert json.loads(encoded) == {"x": text}


def test_colours_and_tabs_of_our_own_stay() -> None:
    assert harmless("\x1b[31merror:\x1b[0m a\tb\n\x1b[2Jc\u202e") == (
        "\x1b[31merror:\x1b[0m a\tb\n\\x1b[2Jc\\u202e"
    )


def test_the_daemons_log_for_people_shows_controls_escaped() -> None:
    record = logging.LogRecord("hubd", logging.INFO, "", 0, "550 %s", (EVIL,), None)
    assert ACTED_ON.findall(ForPeople(coloured=False).format(record)) == []


def test_what_the_daemon_says_of_its_configuration(place: Path) -> None:
    file = place / "hubd.toml"
    file.write_text('[hub]\n"\\u001b[2J\\u202e" = 1\n', encoding="utf-8")
    command = [sys.executable, "-m", "hubd", "--check", "--config", str(file)]
    done = launcher.run(command, timeout=TIMEOUT, cwd=ROOT)
    assert done.returncode == 78
    assert ACTED_ON.findall(done.stderr) == []


def test_the_output_of_a_pipe_has_no_controls_in_a_table(hub: Hub, place: Path) -> None:
    with_evil_contact(hub)
    assert ACTED_ON.findall(hub.ok("contacts", "list")) == []
