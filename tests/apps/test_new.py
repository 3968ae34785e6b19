"""`hubctl new`: a file that explains every key, is good once it is filled in, and overwrites nothing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubctl.campaign_file import FILE_KEYS
from hubctl.new_file import NAME, TEMPLATE, name_from, new_campaign
from hubd.core.spec import CampaignSpec, Retry, Schedule
from hubd.core.spec_reading import campaign_name, parse_reference, parse_spec
from hubd.errors import BadInput
from tests.apps.test_command_line import run

BLANKS = {
    "lists": ["customers"],
    "sender": "Acme <news@acme.example>",
    "subject": "Hello",
    "text": "Hi",
    "unsubscribe": "https://acme.example/u/{{ contact_id }}",
    "postal_address": "1 Main St",
}
KINDS = [("email", ""), ("sms", ""), ("email", "welcome@3"), ("sms", "welcome")]
#: Keys in comments that stand for another one, or need a file that is there.
_INSTEAD = {*FILE_KEYS, "attachments", "inline", "every", "cron", "until", "catch_up", "[trigger]"}
_COMMENTED = re.compile(r"^# ((?:[a-z_]+ = |\[).*)$", re.MULTILINE)


def filled(text: str) -> dict[str, Any]:
    raw = tomllib.loads(text)
    empty = {key for key, value in raw.items() if value in ("", "\n", [""])}
    return {**raw, **{key: BLANKS[key] for key in empty}}


@pytest.mark.parametrize(("channel", "template"), KINDS)
def test_the_file_is_good_once_its_blanks_are_filled(channel: str, template: str) -> None:
    text = new_campaign("spring-sale", channel, template)
    spec = parse_spec(filled(text))
    assert (spec.name, spec.channel, spec.template) == ("spring-sale", channel, template)
    with pytest.raises(BadInput) as caught:
        parse_spec(tomllib.loads(text))
    assert "lists[0]" in str(caught.value.data["errors"])


@pytest.mark.parametrize(("channel", "template"), KINDS)
def test_every_key_in_a_comment_can_be_used_as_it_stands(channel: str, template: str) -> None:
    text = new_campaign("spring-sale", channel, template)
    lines = [line for line in _COMMENTED.findall(text) if line.partition(" ")[0] not in _INSTEAD]
    assert len(lines) > 6
    used = re.sub(_COMMENTED, lambda found: found[1] if found[1] in lines else found[0], text)
    spec = parse_spec(filled(used))
    assert spec.schedule.window == "08:00-21:00"
    assert spec.retry.give_up_after == "24h"


def test_the_file_for_an_email_explains_every_key() -> None:
    text = new_campaign("spring-sale", "email", "") + new_campaign("spring-sale", "email", "welcome")
    keys = set(re.findall(r"^(?:# )?([a-z_]+) = ", text, re.MULTILINE)) | set(
        re.findall(r"^(?:# )?\[([a-z]+)\]", text, re.MULTILINE)
    )
    described = {*CampaignSpec.__struct_fields__, *Retry.__struct_fields__, *Schedule.__struct_fields__}
    assert keys | {"html"} == described | FILE_KEYS.keys()


def test_a_file_is_written_once_and_never_over_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "spring.toml"
    assert run("new", "spring", "--dry-run").exit_code == 0
    assert not path.exists()
    done = run("new", "spring.toml")
    assert (done.exit_code, done.stdout) == (0, "written: spring.toml\n")
    assert "hubctl apply spring.toml" in done.stderr
    path.write_text("mine")
    for options in ((), ("--dry-run",)):
        refused = run("new", "spring", *options)
        assert refused.exit_code == 5
        assert "exists already" in refused.stderr
    assert path.read_text() == "mine"
    (tmp_path / "below").mkdir()
    assert run("new", "below/autumn", "--channel", "sms").exit_code == 0
    assert 'channel = "sms"' in (tmp_path / "below" / "autumn.toml").read_text()
    assert "cannot be written" in run("new", "nowhere/autumn").stderr


def test_a_name_that_no_campaign_can_have_gets_one_that_it_can() -> None:
    refused = run("new", "Spring Sale!")
    assert refused.exit_code == 1
    assert "try: hubctl new spring-sale" in refused.stderr
    assert run("new", "spring", "--template", "a b").exit_code == 1


@given(st.text(max_size=70) | st.from_regex(NAME, fullmatch=True))
def test_names_are_what_the_daemon_takes(text: str) -> None:
    try:
        campaign_name(text)
    except BadInput:
        assert not NAME.fullmatch(text)
    else:
        assert NAME.fullmatch(text)
        assert TEMPLATE.fullmatch(text)
        assert parse_reference(text)
    near = name_from(text)
    assert not near or NAME.fullmatch(near)
