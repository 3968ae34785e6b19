"""Without a terminal: no question, no colour, no bar; and stdout holds data only."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, Hub

PLAIN = [
    (),
    ("status",),
    ("status", "spring"),
    ("list",),
    ("show", "spring"),
    ("preview", "spring"),
    ("deliveries", "spring"),
    ("failures", "spring"),
    ("log",),
    ("events",),
    ("watch", "spring"),
    ("watch",),
    ("wait", "spring"),
    ("contacts", "list"),
    ("contacts", "export"),
    ("lists",),
    ("suppress", "list"),
    ("provider", "list"),
    ("daemon", "status"),
    ("doctor",),
    ("rpc", "discover"),
    ("completion", "bash"),
    ("clone", "spring", "summer"),
    ("check", "summer"),
    ("start", "summer", "--follow"),
    ("archive", "summer"),
    ("import", "HERE/many.csv", "--list", "many"),
    ("apply", "HERE/autumn.toml"),
    ("test", "summer", "--to", "me@example.com"),
    (
        "send",
        "--provider",
        "outbox",
        "--to",
        "me@example.com",
        "--sender",
        "a@b.example",
        "--subject",
        "x",
        "--text",
        "x",
    ),
    ("suppress", "add", "x@example.com"),
    ("provider", "test", "outbox"),
    ("config", "show"),
    ("metrics",),
    ("service", "print", "hubd.service"),
    ("daemon", "shutdown"),
    ("--help",),
    ("start", "--help"),
    ("delete", "spring"),
    ("status", "nobody"),
    ("nonsense",),
]
#: What fails, and how: dangerous things need an answer, and there is nobody to give it.
REFUSED = {
    ("delete", "spring"): {2},
    ("daemon", "shutdown"): {2},
    ("status", "nobody"): {3},
    ("nonsense",): {2},
}


def test_nothing_is_asked_coloured_or_drawn_without_a_terminal(hub: Hub) -> None:
    hub.contacts(20)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    hub.file("many.csv", "email\n" + "".join(f"m{n}@example.com\n" for n in range(5_000)))
    spring = (hub.folder / "spring.toml").read_text()
    hub.file("autumn.toml", spring.replace('"spring"', '"autumn"'))
    hub.environ |= {"COLORTERM": "truecolor", "FORCE_COLOR": "1"}
    for arguments in PLAIN:
        done = hub.run(*(each.replace("HERE", str(hub.folder)) for each in arguments))
        told = done.stdout + done.stderr
        assert "\x1b" not in told, arguments
        assert "\r" not in told, arguments
        assert "[y/N]" not in told, arguments
        assert "━" not in told, arguments
        assert "Traceback" not in told, arguments
        assert done.returncode in REFUSED.get(arguments, {0}), (arguments, told)
        if done.returncode:
            assert done.stdout == "", arguments
    assert hub.json("status", "spring")["campaign"]["state"] == "completed", "nothing dangerous was done"


def test_colours_are_there_when_they_are_asked_for(hub: Hub) -> None:
    hub.campaign("spring")
    assert "\x1b[2mdraft" in hub.ok("list", "--color", "always")
    assert "\x1b" not in hub.ok("list", "--color", "never")


@pytest.mark.parametrize("arguments", [("status",), ("list",), ("deliveries", "spring"), ("log", "spring")])
def test_with_json_stdout_is_json_and_nothing_else(hub: Hub, arguments: tuple[str, ...]) -> None:
    hub.contacts(2)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    done = hub.run(*arguments, "--json", "-v")
    text = done.stdout
    for one in text.splitlines() if arguments[0] == "log" else [text]:
        json.loads(one)
    assert "talks to hubd" in done.stderr, "remarks go to stderr"
    assert hub.run(*arguments, "--json", "-q").stderr == ""


#: What would make a short command slow, and has no business in one.
HEAVY = {
    *(
        "rich",
        "tomlkit",
        "tomllib",
        "msgspec",
        "jinja2",
        "keyring",
        "phonenumbers",
        "email_validator",
    ),
    *("sqlite3", "aiosqlite", "aiosmtplib", "asyncio", "trio_websocket", "twilio"),
    *("hubd.core", "hubd.store", "hubd.engine", "hubd.control", "hubd.transports", "hubd.config"),
}
PROGRAM = """
import atexit, os, sys
def tell():
    heavy = set(os.environ["HEAVY"].split())
    found = sorted(name for name in sys.modules if name in heavy)
    print("loaded:", *found, file=sys.stderr)
atexit.register(tell)
from hubctl.cli import hubctl
hubctl.main()
"""


@pytest.mark.parametrize("arguments", [("status",), (), ("list",), ("status", "spring"), ("pause", "spring")])
def test_short_commands_load_nothing_heavy(hub: Hub, arguments: tuple[str, ...]) -> None:
    hub.contacts(100)
    hub.campaign("spring", rate="1/s")
    hub.ok("start", "spring")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--socket", str(hub.socket), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**hub.environ, "HEAVY": " ".join(HEAVY)},
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("help exit-codes <&-", 0),
        ("help exit-codes 2>&-", 0),
        ("help exit-codes >&-", 1),
        ("help --fields topic >&-", 1),
        ("start x --socket /nonexistent/s <&-", 6),
        ("rpc call hub.status - --socket /nonexistent/s <&-", 2),
    ],
)
def test_a_closed_stream_is_a_sentence_and_no_traceback(command: str, status: int) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m hubctl {command}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=QUIET_ENV,
        timeout=TIMEOUT,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
