"""Changing a person's hubd.toml: one section more or less, and nothing else touched."""

from __future__ import annotations

import os
import stat
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from hubctl.exits import Refused
from hubctl.provider_file import (
    ConfigFile,
    open_own,
    put_back,
    replace_text,
    with_provider,
    without_provider,
)
from hubctl.provider_secret import keep, ours

OFFICE = {
    "type": "smtp",
    "host": "mail.acme.example",
    "port": 587,
    "rate": ["5/s", "1000/day"],
    "password": {"file": "office.pass"},
}


def test_a_section_goes_to_the_end_and_comes_out_again() -> None:
    text = "# mine\n\n[hub] # the hub\nlog_level = 'info'\n"
    new = with_provider(text, "office", OFFICE)
    assert new == (
        text + '\n[providers.office]\ntype = "smtp"\nhost = "mail.acme.example"\nport = 587\n'
        'rate = ["5/s", "1000/day"]\npassword = {file = "office.pass"}\n'
    )
    assert without_provider(new, "office") == text


@pytest.mark.parametrize(
    ("text", "name", "left"),
    [
        # What stands above the next section belongs to it; what stands under the last key does not.
        (
            '[providers.a]\ntype = "outbox"\n# rate = "1/s"\n\n# the office\n'
            '[providers.b]\ntype = "outbox"\n',
            "a",
            '\n# the office\n[providers.b]\ntype = "outbox"\n',
        ),
        (
            '[providers.a]\ntype = "outbox"\n# the office\n[providers.b]\ntype = "outbox"\n',
            "a",
            '# the office\n[providers.b]\ntype = "outbox"\n',
        ),
        (
            '# top\n[providers.b]\ntype = "outbox"\n\n[providers.a]\ntype = "outbox"\n\n# the end\n',
            "a",
            '# top\n[providers.b]\ntype = "outbox"\n\n# the end\n',
        ),
        (
            '[providers.a]\ntype = "outbox"\n[providers.a.domain_rates]\n"x.example" = "1/s"\n'
            '[hub]\nlog_level = "info"\n[providers.a.sender_rates]\n"*" = "1/s"\n',
            "a",
            '[hub]\nlog_level = "info"\n',
        ),
        (
            '[providers.ab]\ntype = "outbox"\n[providers.a]\ntype = "outbox"\n',
            "a",
            '[providers.ab]\ntype = "outbox"\n',
        ),
        ("[ providers . 'a.b' ]\ntype = 'outbox'\n", "a.b", ""),
        ('[providers.a]\r\ntype = "outbox"\r\n[hub]\r\n', "a", "[hub]\r\n"),
        ('\ufeff[hub]\n[providers.a]\ntype = "outbox"\n', "a", "\ufeff[hub]\n"),
        (
            '[providers]\na = { type = "outbox" } # x\nb = { type = "outbox" }\n',
            "a",
            '[providers]\nb = { type = "outbox" }\n',
        ),
        ('providers.a.type = "outbox"\n[hub]\n', "a", "[hub]\n"),
        ('providers = { a = { type = "outbox" } }\n', "a", "providers = {  }\n"),
    ],
)  # fmt: skip
def test_what_is_cut_out_and_what_stays(text: str, name: str, left: str) -> None:
    assert without_provider(text, name) == left


def test_a_file_of_another_style_gets_its_own_line_ends() -> None:
    new = with_provider("\ufeff[hub]\r\n", "a", {"type": "outbox"})
    assert new == '\ufeff[hub]\r\n\r\n[providers.a]\r\ntype = "outbox"\r\n'
    assert with_provider("[hub]", "a", {"type": "outbox"}) == '[hub]\n\n[providers.a]\ntype = "outbox"\n'
    assert with_provider("", "a", {"type": "outbox"}) == '[providers.a]\ntype = "outbox"\n'


@pytest.mark.parametrize("text", ["providers = { b = { type = 'outbox' } }\n", "providers = {}\n"])
def test_what_has_no_room_for_a_section_is_left_to_an_editor(text: str) -> None:
    with pytest.raises(Refused, match=r"the section \[providers.a\] cannot be added"):
        with_provider(text, "a", {"type": "outbox"})


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
providers = st.fixed_dictionaries(
    {"type": st.just("smtp"), "host": texts},
    optional={
        "port": st.integers(1, 65535),
        "rate": st.lists(texts, max_size=2),
        "password": st.fixed_dictionaries({"file": texts}),
    },
)
comments = st.lists(
    st.text(st.characters(categories=["L", "P", "Zs"]), max_size=12).map(lambda text: f"# {text}\n")
    | st.sampled_from(["\n", "\r\n", "# [providers.x]\n", "[hub]\n", '[providers.x]\ntype = "outbox"\n',
                       "rate = [\n  '1/s',\n]\n",
                       "[providers.x.domain_rates]\n", '"*" = """\n[providers.y]\n"""\n']),
    max_size=8,
).map("".join)  # fmt: skip


@settings_of_hypothesis(deadline=None)
@given(comments, names, providers)
def test_any_file_gets_any_provider_and_loses_it_and_says_the_same(
    text: str, name: str, provider: dict[str, Any]
) -> None:
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    if name in before.get("providers", {}):
        return
    new = with_provider(text, name, provider)
    assert new.startswith(text), "nothing of what was there has changed"
    assert tomllib.loads(new)["providers"][name] == provider
    gone = without_provider(new, name)
    assert tomllib.loads(gone).get("providers", {}) == before.get("providers", {})
    said = [line for line in text.splitlines() if line.strip()]
    assert [line for line in gone.splitlines() if line.strip()] == said, "and nothing is lost"
    for other in before.get("providers", {}):
        with suppress(Refused):
            left = tomllib.loads(without_provider(new, other))["providers"]
            assert left == {
                key: each for key, each in tomllib.loads(new)["providers"].items() if key != other
            }


# -- the file ----------------------------------------------------------------------------------------------


def test_the_file_is_replaced_at_once_with_the_permissions_it_had(tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    path.write_text("[hub]\n")
    path.chmod(0o640)
    before = open_own(path)
    inode = path.stat().st_ino
    after = replace_text(before, '[hub]\nlog_level = "info"\n')
    assert path.stat().st_ino != inode, "another file in its place, never half of one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    put_back(before, after)
    assert path.read_text() == "[hub]\n"
    assert [each.name for each in tmp_path.iterdir()] == ["hubd.toml"]


def test_what_somebody_else_wrote_in_the_meantime_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "hubd.toml"
    absent = open_own(path)
    path.write_text("[hub]\n")
    with pytest.raises(Refused, match="was just changed by another program"):
        replace_text(absent, "")
    before = open_own(path)
    path.write_text('[hub]\nlog_level = "info"\n')
    with pytest.raises(Refused, match="was just changed by another program"):
        replace_text(before, "")
    assert path.read_text() == '[hub]\nlog_level = "info"\n'
    assert [each.name for each in tmp_path.iterdir()] == ["hubd.toml"]


def test_a_new_file_is_private_and_goes_again_when_it_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "messagehub" / "hubd.toml"
    before = open_own(path)
    assert before == ConfigFile(path=path, text="", mode=None)
    after = replace_text(before, "[hub]\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    put_back(before, after)
    assert not path.exists()


def test_what_is_no_file_or_no_toml_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Refused, match="not a regular file"):
        open_own(tmp_path / "fifo")
    with pytest.raises(Refused, match="not a regular file"):
        open_own(tmp_path)
    for data in (b"[hub", b"\xff", b"#" * (1024 * 1024 + 1), b"a = " + b"[" * 20_000, b"providers = 1"):
        (tmp_path / "bad.toml").write_bytes(data)
        with pytest.raises(Refused, match="it already contains an error"):
            open_own(tmp_path / "bad.toml")


def test_only_a_secret_that_was_made_here_is_ours(tmp_path: Path) -> None:
    kept = keep("s", "office", tmp_path, kind="file")
    assert ours(kept.reference, "office", tmp_path) == kept
    second = keep("t", "office", tmp_path, kind="file")
    assert ours(second.reference, "office", tmp_path) == second
    assert ours({"keyring": "office"}, "office", tmp_path) is not None
    for reference in (
        None, "x", {}, {"file": "/etc/office.pass"}, {"file": "../office.pass"}, {"file": "office.passwd"},
        {"file": "offices.pass"}, {"file": "office-x.pass"}, {"keyring": "home"}, {"env": "office"},
        {"credential": "office"}, {"file": 5},
    ):  # fmt: skip
        assert ours(reference, "office", tmp_path) is None, reference
