"""What the client tells of what goes over the wire: everything but the secrets."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.client import open_client
from hubd.client.frames import MASK, masked, tell
from tests.shell.open_hub import open_hub

SECRETS = [
    "password",
    "Password",
    "token",
    "auth_token",
    "session_token",
    "ticket",
    "api_key",
    "smtp-password",
]
HARMLESS = ["idempotency_key", "tokens", "email", "ticket_url", "mistaken", "broken", "nottoken"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("name", SECRETS)
def test_a_member_that_holds_a_secret_is_masked(name: str) -> None:
    assert masked({"a": [{name: "hunter2", "b": 1}]}) == {"a": [{name: MASK, "b": 1}]}
    assert masked({name: {"credential": "x"}}) == {name: MASK}
    assert masked({name: None}) == {name: None}, "there is none"


@pytest.mark.parametrize("name", HARMLESS)
def test_a_member_that_only_looks_like_it_is_not(name: str) -> None:
    assert masked({name: "x"}) == {name: "x"}


@given(value=json_values, name=st.sampled_from(SECRETS))
def test_no_secret_is_told_wherever_it_stands(value: object, name: str) -> None:
    told = json.dumps(masked([value, {"deep": [{name: "h u n t e r 2"}, value]}]))
    assert "h u n t e r 2" not in told


def test_what_is_told_is_one_line_that_no_terminal_acts_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "hubd.client.frames"):
        tell("->", {"a": "\x1b[2J\n\u2028é"})
    assert caplog.messages == ['-> {"a": "\\u001b[2J\\n\\u2028\\u00e9"}']


async def test_a_program_sees_the_frames_in_the_log_when_it_asks_for_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        assert "hubd.client.frames" not in [each.name for each in caplog.records]
        with caplog.at_level(logging.DEBUG, "hubd.client.frames"):
            await hub.call("auth.ticket", origin=None)
    told = [each.getMessage() for each in caplog.records if each.name == "hubd.client.frames"]
    assert json.loads(told[0].removeprefix("-> "))["method"] == "auth.ticket"
    assert json.loads(told[1].removeprefix("<- "))["result"]["ticket"] == MASK
