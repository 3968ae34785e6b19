"""The protocol by hand: rpc call and rpc discover."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubctl import render_methods
from tests.apps.conftest import QUIET_ENV, ROOT, TIMEOUT, Hub
from tests.apps.test_command_line import run


def test_any_method_is_called_by_name_with_an_object(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    found = json.loads(hub.ok("rpc", "call", "campaign.get", '{"name": "spring"}'))
    assert found["campaign"]["name"] == "spring"
    assert json.loads(hub.ok("rpc", "call", "hub.status"))["version"]
    told = hub.json("rpc", "call", "campaign.start", '{"name": "spring", "dry_run": true}')
    assert (told["schema"], told["method"]) == ("hubctl.rpc.call/1", "campaign.start")
    assert told["result"]["would"]["recipients"] == 1
    piped = hub.run("rpc", "call", "campaign.get", "-", stdin='{"name": "spring"}')
    assert json.loads(piped.stdout) == found


def test_an_error_of_the_daemon_ends_as_it_does_elsewhere(hub: Hub) -> None:
    assert hub.run("rpc", "call", "campaign.get", '{"name": "nobody"}').returncode == 3
    assert hub.run("rpc", "call", "campaign.get", '{"nam": "x"}').returncode == 1
    done = hub.run("rpc", "call", "campaign.gett")
    assert done.returncode == 3
    assert "did you mean campaign.get?" in done.stderr
    told = json.loads(hub.run("rpc", "call", "no.such", "--json").stderr)["error"]
    assert told["code"] == "method_not_found"


@pytest.mark.parametrize(
    "text",
    [
        "[1",
        "{",
        "[]",
        "7",
        "nonsense",
        '{"a": }',
        '{"a": NaN}',
        '{"a": 1e999}',
        "[" * 100_000,
        "9" * 5000,
    ],
)
def test_what_is_no_object_is_a_usage_error_before_any_daemon_is_asked(text: str) -> None:
    done = run("rpc", "call", "hub.status", text)
    assert done.exit_code == 2, done.output
    assert "JSON: " in done.stderr


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("cat /dev/zero", "JSON: more than 1,048,576 bytes"),
        (r"printf '{\"a\": \"\377\"}'", "JSON: it is not UTF-8 text"),
    ],
)
def test_no_more_is_read_from_standard_input_than_a_message_may_have(source: str, told: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{source} | (ulimit -v 400000; {sys.executable} -m hubctl rpc call hub.status -)"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=QUIET_ENV,
        timeout=TIMEOUT,
    )
    assert done.returncode == 2, done.stderr
    assert told in done.stderr


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_as_parameters_is_an_object_or_a_usage_error(text: str) -> None:
    done = run("rpc", "call", "hub.status", "--", text)
    try:
        wanted = 6 if isinstance(found := json.loads(text), dict) else 2
        json.dumps(found, allow_nan=False)
    except ValueError:
        wanted = 2
    assert done.exit_code == wanted


def test_discover_lists_every_method_with_its_parameters(hub: Hub) -> None:
    document = hub.json("rpc", "discover")
    assert document["openrpc"]
    methods = {each["name"] for each in document["methods"]}
    assert {"hub.hello", "campaign.clone", "campaign.archive", "events.subscribe"} <= methods
    table = hub.ok("rpc", "discover")
    assert all(name in table for name in methods)
    assert (
        "Copy a campaign into a new draft. (name new [idempotency_key] [dry_run] [changes] [timezone])"
        in table
    )
    assert json.loads(hub.ok("rpc", "call", "rpc.discover"))["methods"] == document["methods"]
    hub.environ["HUBCTL_FORCE_TTY"] = "80"
    narrow = hub.ok("rpc", "discover", "--color", "never").splitlines()
    assert all(len(line) <= 80 for line in narrow)


def test_discover_shows_one_method_with_types_and_an_example_that_runs(hub: Hub) -> None:
    told = hub.ok("rpc", "discover", "campaign.list")
    assert "`all` includes campaigns that have ended" in told
    assert re.search(r"\n  all +true or false, else false\n", told)
    assert "who may  viewers, too; it changes nothing" in told
    assert "changed: true or false" in hub.ok("rpc", "discover", "campaign.start")
    typed = re.search(r"\n  hubctl (rpc call campaign.list.*)\n", told)
    assert typed
    assert "campaigns" in json.loads(hub.ok(*shlex.split(typed[1])))
    done = hub.run("rpc", "discover", "campaign.strat")
    assert done.returncode == 3
    assert "did you mean campaign.start?" in done.stderr


def test_the_document_of_one_method_has_what_it_refers_to_and_nothing_else(hub: Hub) -> None:
    whole = json.loads(hub.ok("rpc", "call", "rpc.discover"))
    text = hub.ok("rpc", "discover", "provider.test", "--json")
    one = json.loads(text)
    assert [each["name"] for each in one["methods"]] == ["provider.test"]
    assert set(one) == {"schema", *whole}
    refers = {tuple(found) for found in re.findall(r"#/components/(\w+)/(\w+)", text)}
    there = {(group, name) for group, named in one["components"].items() for name in named}
    assert refers == there
    assert len(text) < len(json.dumps(whole)) / 10


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    plain = st.sampled_from([{"type": name} for name in ("string", "integer", "null", "strange")] + [{}])
    named = st.sampled_from([{"$ref": "#/components/schemas/Own"}, {"$ref": "#/components/schemas/None"}])
    return st.recursive(
        plain | named | st.just({"enum": ["a", 1]}),
        lambda inner: st.one_of(
            inner.map(lambda each: {"type": "array", "items": each}),
            st.lists(inner, max_size=3).map(lambda each: {"anyOf": each}),
            st.dictionaries(st.text("ab", min_size=1), inner, max_size=3).map(
                lambda each: {"type": "object", "properties": each}
            ),
        ),
    )


@given(schemas())
def test_any_schema_has_words_also_one_that_refers_to_itself(schema: dict[str, Any]) -> None:
    components = {
        "schemas": {"Own": {"type": "object", "properties": {"own": {"$ref": "#/components/schemas/Own"}}}}
    }
    assert render_methods.kind(schema, components)
    assert set(render_methods.referred(schema, components)["schemas"]) <= {"Own"}
