"""`--output` and `--fields` on every command that reads, before or after its name."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubctl.output import FORMATS, flat
from tests.apps.conftest import Hub, new_hub
from tests.apps.test_command_line import ALL, run

READS = {
    "": "campaigns",
    "status": "campaigns",
    "status spring": "",
    "list": "campaigns",
    "show spring": "",
    "check spring": "",
    "preview spring": "",
    "deliveries spring": "deliveries",
    "sends": "messages",
    "message 1": "",
    "failures spring": "groups",
    "contacts list": "contacts",
    "contacts show p0@example.com": "",
    "lists": "lists",
    "suppress list": "",
    "provider list": "providers",
    "config show": "settings",
    "daemon status": "",
    "doctor": "checks",
    "metrics": "",
    "rpc discover": "methods",
    "service print": "files",
    "wait spring": "",
}
STREAMS = ("log", "log spring", "events", "watch spring", "contacts export")


@pytest.fixture(scope="module")
def hub() -> object:
    """One campaign that is done, one address that is suppressed."""
    with new_hub() as hub:
        hub.contacts(2)
        hub.campaign("spring")
        hub.ok("start", "spring", "--wait")
        hub.ok("suppress", "add", "x@example.com")
        yield hub


@pytest.mark.parametrize("command", READS)
def test_every_format_of_what_is_read(hub: Hub, command: str) -> None:
    words = command.split()
    code = 1 if command == "check spring" else 0  # what has been completed is not ready to start
    told = {output: hub.ok("--output", output, *words, code=code) for output in FORMATS}
    assert "{" not in told["table"][:1]
    whole = json.loads(told["json"])
    assert next(iter(whole)) == "schema"
    lines = [json.loads(line) for line in told["ndjson"].splitlines()]
    rows = list(csv.reader(io.StringIO(told["csv"], newline="")))
    tabbed = [line.split("\t") for line in told["tsv"].splitlines()]
    assert len({len(row) for row in tabbed}) == 1, "as many cells as names"
    assert tabbed[0] == rows[0]
    assert len(tabbed) == len(rows)
    if key := READS[command]:
        assert len(whole[key]) == len(lines) == len(rows) - 1
    if command != "daemon status":  # it has a clock
        assert json.loads(hub.ok(*words, "--output", "json", code=code)).keys() == whole.keys()


@pytest.mark.parametrize("command", STREAMS)
def test_every_format_of_what_streams(hub: Hub, command: str) -> None:
    words = command.split()
    for output in ("json", "ndjson"):
        for line in hub.ok(*words, "--output", output).splitlines():
            assert next(iter(json.loads(line))) == "schema"
    tabbed = [line.split("\t") for line in hub.ok(*words, "--output", "tsv").splitlines()]
    assert len(tabbed) > 1
    assert len({len(row) for row in tabbed}) == 1
    assert "," in hub.ok(*words, "--output", "csv").splitlines()[0]


@pytest.mark.parametrize(
    ("command", "fields", "line"),
    [
        ("status", "name,state", "spring\tcompleted"),
        ("status spring", "state,counts.sent", "completed\t2"),
        ("status spring", "campaign.name", "spring"),
        ("show spring", "name,spec.channel", "spring\temail"),
        ("wait spring", "state", "completed"),
        ("provider list", "name,state", "outbox\tready"),
        ("deliveries spring", "state,recipient", "sent\tp0@example.com"),
        ("message 1", "state,attempts", None),
        ("config show", "key,value", "hub.log_level\tinfo"),
        ("doctor", "check,ok", "writing\ttrue"),
        ("log", "type,campaign", "contacts.imported\t"),
        ("events spring", "type,data.to", "campaign.applied\t"),
        ("watch spring", "name,state", "spring\tcompleted"),
        ("contacts show p0@example.com", "email", "p0@example.com"),
        ("contacts export", "email,fields.first_name", "p0@example.com\tZoë 0"),
    ],
)
def test_fields_are_picked(hub: Hub, command: str, fields: str, line: str | None) -> None:
    words = command.split()
    tabbed = hub.ok(*words, "--output", "tsv", "--fields", fields).splitlines()
    assert tabbed[0] == fields.replace(",", "\t")
    assert line is None or tabbed[1] == line
    last = fields.split(",")[0].partition(".")[0].upper()
    assert last in hub.ok(*words, "--fields", fields).upper() or words[0] in (
        "log",
        "events",
        "watch",
        "contacts",
    )
    assert hub.ok("--fields", fields, "--output", "tsv", *words).splitlines()[:2] == tabbed[:2]


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "status spring",
        "show spring",
        "provider list",
        "failures spring",
        "log",
        "watch spring",
        "doctor",
    ],
)
def test_a_field_that_is_not_there_is_a_usage_error_with_the_nearest(hub: Hub, command: str) -> None:
    for output in ("table", "json", "tsv"):
        done = hub.run(*command.split(), "--fields", "naem", "--output", output)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert "--fields: there is no field 'naem'" in done.stderr


def test_what_was_done_is_not_called_a_usage_error_afterwards(hub: Hub) -> None:
    done = hub.run("rate", "spring", "20/s", "--fields", "state,nonsense", "--output", "tsv")
    assert (done.returncode, done.stdout) == (0, "state\tnonsense\ncompleted\t\n")
    assert "there is no field 'nonsense'" in done.stderr


def test_an_unknown_format_or_an_empty_field_is_a_usage_error() -> None:
    assert run("status", "--output", "xml").exit_code == 2
    for fields in ("", "a,,b"):
        done = run("status", "--fields", fields)
        assert done.exit_code == 2
        assert "there is no field ''" in done.stderr


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_command_takes_them(name: str) -> None:
    options = [option for param in ALL[name].params for option in param.opts]
    assert options.count("--output") == 1
    assert options.count("--fields") == 1


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES))
def test_a_flat_row_has_every_value_under_its_whole_name(values: dict[str, object]) -> None:
    from hubctl.output import dig

    found = flat(values)
    assert all(dig(values, name) == value for name, value in found.items())
    assert all(value == {} or not isinstance(value, dict) for value in found.values())
