"""The protocol by hand: rpc call and rpc discover."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apps.conftest import Hub
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


@pytest.mark.parametrize("text", ["[1", "{", "[]", "7", "nonsense", '{"a": }', "[" * 100_000, "9" * 5000])
def test_what_is_no_object_is_a_usage_error_before_any_daemon_is_asked(text: str) -> None:
    done = run("rpc", "call", "hub.status", text)
    assert done.exit_code == 2, done.output
    assert "JSON: " in done.stderr


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_as_parameters_is_an_object_or_a_usage_error(text: str) -> None:
    done = run("rpc", "call", "hub.status", "--", text)
    try:
        wanted = 6 if isinstance(json.loads(text), dict) else 2
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
    one = hub.ok("rpc", "discover", "campaign.clone").splitlines()
    assert len(one) == 2
    assert "name new [idempotency_key]" in one[1]
    assert hub.run("rpc", "discover", "no.such").returncode == 3
    assert json.loads(hub.ok("rpc", "call", "rpc.discover"))["methods"] == document["methods"]
