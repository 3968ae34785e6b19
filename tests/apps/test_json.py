"""What `--json` promises: for each command a file in golden/ with the shape of its answer.

A change that only adds something is written down with `HUBCTL_GOLDEN=write` in the environment of this
test; one that takes something away or changes its kind breaks the scripts of our users.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubd.client import connect
from tests.apps.conftest import TIMEOUT, Hub, new_hub
from tests.apps.shapes import merge, shape
from tests.apps.test_command_line import ALL

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("HUBCTL_GOLDEN") == "write"
#: Commands whose `--json` is shown elsewhere.
ELSEWHERE = {"help", "inbox show", "inbox reply", "inbox decide"}  #: the last: shell/test_inbox_commands
CSV = "email,first_name,city\nann@example.com,Ann,Ulm\nbo@example.com,,Bonn\nANN@example.com,A,\nbroken,X,\n"


MAILBOX = """
[mailboxes.bounces]
host = "127.0.0.1"
port = 1
security = "none"
username = "bounces"
password = { env = "NO_SUCH_VARIABLE" }
"""


class Told:
    """What each command said, by its name."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.answers: dict[str, list[dict[str, Any]]] = {}

    def run(self, name: str, *arguments: str, code: int = 0, lines: bool = False) -> list[dict[str, Any]]:
        """Run a command with --json and keep what it said."""
        done = self.hub.run(*name.split(), *arguments, "--json")
        assert done.returncode == code, (name, arguments, done.returncode, done.stdout, done.stderr)
        said = done.stdout.splitlines() if lines else [done.stdout]
        found = [json.loads(each) for each in said]
        assert found, name
        self.answers.setdefault(name, []).extend(found)
        return found

    def several(self, name: str, *arguments: str, code: int = 0) -> None:
        """Run a command on several campaigns; all such answers have one shape."""
        done = self.hub.run(name, *arguments, "--json")
        assert done.returncode == code, (name, arguments, done.returncode, done.stdout, done.stderr)
        found = json.loads(done.stdout)
        assert found.pop("schema") == f"hubctl.{name}/1"
        self.answers.setdefault("several", []).append(found)

    def failed(self, *arguments: str) -> None:
        """Run a command that fails, and keep its error."""
        done = self.hub.run(*arguments, "--json")
        assert done.stdout == "", (arguments, done.stdout)
        self.answers.setdefault("error", []).append(json.loads(done.stderr))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Every command once or more, on one hub, from an import to the shutdown."""
    with new_hub() as hub:
        told = Told(hub)
        _people(told)
        _campaigns(told)
        _messages(told)
        _daemon(told)
        yield told.answers


def _rehearsals(told: Told) -> None:
    """What would happen, and that nothing has."""

    def events() -> object:
        with connect(told.hub.socket) as client:
            return client.call("events.list")

    for name, *arguments in (
        ("apply", f"{told.hub.folder}/spring.toml"),
        ("test", "spring", "--to", "me@example.com"),
        ("start", "spring", "--accept-risk", "missing-fields"),
        ("rate", "spring", "20/s"),
        ("clone", "spring", "summer"),
        ("delete", "spring"),
        ("send", "--provider", "outbox", "--to", "ann@example.com", "--template", "spring"),
        ("contacts remove", "ann@example.com"),
        ("suppress add", "ann@example.com"),
        ("suppress remove", "ann@example.com"),
        ("provider enable", "outbox"),
        ("provider disable", "outbox"),
        ("daemon shutdown",),
        ("daemon backup", f"{told.hub.folder}/never.db"),
    ):
        before = events()
        told.run(name, *arguments, "--dry-run")
        assert events() == before, name
    path = told.hub.file("s.csv", "address\nx@example.com\nnonsense\n")
    told.run("suppress import", path, "--dry-run", code=9)


def _people(told: Told) -> None:
    path = told.hub.file("people.csv", CSV)
    told.run("import", path, "--list", "all", code=9)
    told.run("import", path, "--list", "all", "--dry-run", code=9)
    told.run(
        "import", told.hub.file("skip.csv", "email,x\nann@example.com,1\n"), "--list", "all", "--skip", "x"
    )
    told.run("lists")
    told.run("contacts list")
    told.run("contacts show", "ann@example.com")
    told.run("contacts export", lines=True)
    told.run("import", path, "--list", "all", "--replace", "--yes", code=9)
    told.run("contacts add", "cat@example.com", "--list", "some", "--set", "city=Ulm", "--dry-run")
    told.run("contacts add", "cat@example.com", "--list", "some", "--set", "city=Ulm")
    told.run("contacts remove", "cat@example.com", "--list", "some", "--dry-run")
    told.run("contacts remove", "cat@example.com", "--list", "some", "--yes")
    told.run("lists rename", "some", "few", "--dry-run")
    told.run("lists rename", "some", "few")
    told.run("lists delete", "few", "--dry-run")
    told.run("lists delete", "few", "--yes")
    told.run("contacts remove", "cat@example.com", "--yes")
    told.run("suppress add", "bo@example.com", "--reason", "asked")
    told.run("suppress add", "+12025550123")
    told.run("suppress list", lines=True)
    told.run("suppress import", told.hub.file("s.csv", "address\nx@example.com\nnonsense\n"), code=9)
    told.run("suppress remove", "bo@example.com", "--yes")


def _campaigns(told: Told) -> None:
    hub = told.hub
    hub.campaign("spring", subject="Hi", text="{{ first_name }}", html="<p>{{ first_name }}</p>")
    template = told.hub.file("note.toml", 'name = "note"\nchannel = "sms"\ntext = "Hi"\n')
    told.run("template apply", template, "--dry-run")
    told.run("template apply", template)
    told.run("template list")
    told.run("template show", "note@1")
    told.run("template history", "note")
    told.run("template delete", "note", "--dry-run")
    told.run("template delete", "note", "--yes")
    told.run("apply", f"{hub.folder}/spring.toml")
    told.run("check", "spring", code=1)
    told.run("preview", "spring", "--to", "ann@example.com")
    told.run("new", f"{hub.folder}/autumn", "--dry-run")
    told.run("new", f"{hub.folder}/autumn")
    text = 'name = "text"\nchannel = "sms"\nlists = ["all"]\nkind = "transactional"\ntext = "Hi"\n'
    told.run("apply", hub.file("text.toml", text))
    told.run("check", "text", code=1)
    _rehearsals(told)
    told.run("test", "spring", "--to", "ann@example.com")
    told.failed("start", "spring")
    told.run("start", "spring", "--dry-run", "--accept-risk", "missing-fields")
    told.run("start", "spring", "--accept-risk", "missing-fields")
    told.run("wait", "spring", "--timeout", f"{TIMEOUT}s")
    hub.contacts(50, into="many")
    hub.campaign("slow", lists=["many"], rate="10/minute", where="email != ''")
    told.run("check", "slow")
    told.run("start", "slow", "--dry-run")
    told.run("start", "slow", "--limit", "40")
    told.run("watch", "spring", lines=True)
    told.run("status")
    told.run("status", "slow")
    told.run("status", "slow", "--check")
    told.run("status", "spring", "--check", code=10)
    for step in ("pause", "resume", "stop"):
        told.run(step, "slow", "--dry-run")
    told.run("pause", "slow")
    told.run("resume", "slow")
    told.run("rate", "slow", "20/s", "100/minute")
    told.run("rate", "slow", "none")
    told.run("stop", "slow")
    told.run("clone", "slow", "again")
    told.run("start", "again", "--at", "2999-01-01T00:00:00Z")
    told.several("pause", "slow", "spring", "nobody", code=1)
    told.several("stop", "slow", "nobody", code=9)
    told.run("list")
    told.run("show", "spring")
    told.run("show", "again")
    told.run("archive", "slow", "--dry-run")
    told.run("archive", "slow")
    told.run("list", "--all")
    told.run("delete", "slow", "--yes")
    told.failed("status", "nobody")
    told.failed("pause", "spring")
    told.failed("start")


def _messages(told: Told) -> None:
    deliveries = told.run("deliveries", "spring")[0]["deliveries"]
    for each in deliveries:
        told.run("message", str(each["id"]))
    words = ("--sender", "a@acme.example", "--subject", "Hi", "--text", "Hello")
    told.run("send", "--provider", "outbox", "--to", "me@example.com", *words)
    told.run("send", "--provider", "outbox", "--to", "me@example.com", *words, "--wait")
    told.run("sends")
    told.run("credits grant", "team", "5", "--dry-run")
    told.run("credits grant", "team", "5", "--note", "March")
    told.run("credits")
    told.run("credits history", "team")
    told.run("report", "--by", "day")
    told.run("notifications", "--unread", "--mark-read", "--dry-run")
    told.run("notifications", "--unread", "--mark-read")
    told.run("failures", "spring")
    told.run("retry", "spring", "--class", "permanent", "--dry-run")
    told.run("retry", "spring", "--class", "permanent")
    told.run("log", "spring", lines=True)
    told.run("events", lines=True)
    told.run("contacts remove", "bo@example.com", "--yes")
    told.run("contacts forget", "bo@example.com", "--dry-run")
    told.run("contacts forget", "bo@example.com", "--yes")


def _daemon(told: Told) -> None:
    told.run("doctor")  # before there is a mailbox that cannot be read
    told.run("provider list")
    office = ("office", "--type", "smtp", "--host", "127.0.0.1", "--port", "1", "--security", "none")
    told.run("provider add", *office, "--dry-run")
    told.run("provider add", *office, "--no-test")
    told.run("provider set", "office", "--rate", "5/s", "--dry-run")
    told.run("provider set", "office", "--rate", "5/s")
    told.run("provider test", "office", code=1)
    told.run("provider set", "office", "--port", "2525", "--dry-run")
    told.run("provider set", "office", "--port", "2525")
    told.run("provider remove", "office", "--dry-run")
    told.run("provider remove", "office", "--yes")
    with (told.hub.folder / "hubd.toml").open("a", encoding="utf-8") as file:
        file.write(MAILBOX)
    with (told.hub.folder / "hubd.toml").open("a", encoding="utf-8") as file:
        file.write('[sinks.figures]\ntype = "csv"\ndirectory = "figures"\n')
    told.hub.ok("daemon", "reload")
    told.run("sink list")
    told.run("sink test", "figures")
    told.run("sink resume", "figures", "--dry-run")
    told.run("sink resume", "figures")
    told.run("mailbox test", "bounces", code=1)
    told.run("mailbox list")
    told.run("inbox")
    told.run("config show")
    told.run("config reference")
    told.run("metrics")
    told.run("service print")
    told.run("service print", "--windows")
    told.run("service install", "--root", f"{told.hub.folder}/root", "--hubd", "/usr/bin/hubd", "--dry-run")
    told.run("service install", "--root", f"{told.hub.folder}/root", "--hubd", "/usr/bin/hubd", "--yes")
    told.run("service uninstall", "--root", f"{told.hub.folder}/root", "--dry-run")
    told.hub.file("root/etc/systemd/system/hubd.socket", "[Socket]\n")
    told.run("service uninstall", "--root", f"{told.hub.folder}/root", "--yes")
    told.run("provider test", "outbox")
    told.run("provider disable", "outbox")
    told.run("provider enable", "outbox")
    told.run("daemon status")
    told.run("daemon reload")
    told.run("daemon backup", f"{told.hub.folder}/backup.db")
    told.run("rpc call", "hub.status")
    told.run("rpc discover")
    told.run("completion", "bash")
    restore = ("restore", f"{told.hub.folder}/backup.db", "--state-dir", f"{told.hub.folder}/state")
    told.failed("daemon", *restore, "--yes")
    told.run("daemon shutdown", "--yes")
    assert told.hub.process is not None
    told.hub.process.wait(TIMEOUT)
    told.run(f"daemon {restore[0]}", *restore[1:], "--dry-run")
    told.run(f"daemon {restore[0]}", *restore[1:], "--yes")
    told.run("demo", "--recipients", "5", "--clean")


NAMES = sorted({*ALL, "error"} - ELSEWHERE)


@pytest.mark.parametrize("name", [*NAMES, "several"])
def test_the_json_of_a_command_has_the_shape_that_was_promised(
    told: dict[str, list[dict[str, Any]]], name: str
) -> None:
    assert name in told, f"nothing here runs `hubctl {name} --json`"
    file = GOLDEN / f"{name.replace(' ', '.')}.json"
    found = shape(told[name][0])
    for answer in told[name][1:]:
        found = merge(found, shape(answer))
    if WRITE:
        promised = merge(json.loads(file.read_text()), found) if file.exists() else found
        file.write_text(json.dumps(promised, indent=2) + "\n")
    promised = json.loads(file.read_text())
    assert merge(promised, found) == promised, f"hubctl {name} --json is not what {file} says"


@pytest.mark.parametrize("name", NAMES)
def test_the_first_key_is_the_schema(told: dict[str, list[dict[str, Any]]], name: str) -> None:
    for answer in told[name]:
        assert next(iter(answer)) == "schema"
        assert answer["schema"] == f"hubctl.{name.replace(' ', '.')}/1"


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} <= {
        name.replace(" ", ".") for name in (*ALL, "error", "several")
    }
