"""`show --toml` prints a file that makes the same campaign; `clone` changes keys as a file would."""

from __future__ import annotations

import json
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hubctl.campaign_file import read_campaign
from hubctl.campaign_toml import campaign_toml
from hubd.core.spec import spec_from_json, spec_json
from hubd.core.spec_reading import parse_spec
from tests.apps.conftest import Hub

texts = st.text(
    st.sampled_from("\"\\'\n\r\t {}=#[]\x1b\u2028é€😀ab") | st.characters(exclude_categories=["Cs"]),
    max_size=40,
)
names = st.text(st.sampled_from("abc \"'=.\\é-#"), min_size=1, max_size=8)
values = st.recursive(
    texts.filter(bool) | st.booleans() | st.integers(-9, 9) | st.lists(texts, min_size=1, max_size=3),
    lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(names, values, max_size=5))
def test_any_value_reads_back(spec: dict[str, Any]) -> None:
    assert tomllib.loads(campaign_toml(spec)) == spec


lines = texts.filter(lambda text: bool(text.strip()) and "\x00" not in text)
words = st.text(st.sampled_from("\"\\'{}=#[]éab "), min_size=1, max_size=20).filter(str.strip)
campaigns = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True),
        "channel": st.just("email"),
        "sender": st.sampled_from(["Acme <news@acme.example>", '"A \\"B\\" C" <a@b.example>']),
    },
    optional={
        "lists": st.lists(st.sampled_from(["all", "Köln 2026", "a@b"]), unique=True),
        "labels": st.lists(st.sampled_from(["portfolio", "Q4"]), unique=True),
        "kind": st.sampled_from(["marketing", "transactional"]),
        "reply_to": st.just("help@acme.example"),
        "unsubscribe": st.just("https://acme.example/u/{{ contact_id }}"),
        "postal_address": lines,
        "headers": st.just({"X-PM-Message-Stream": 'a "broadcast"', "X-Id": "{{ contact_id }}"}),
        "list_id": st.just("news.acme.example"),
        "in_doubt": st.sampled_from(["retry", "hold"]),
        "rate": st.sampled_from(["50/s", ["1/s", "9/day"]]),
        "retry": st.just({"give_up_after": "2 days"}),
        "schedule": st.fixed_dictionaries(
            {},
            optional={
                "at": st.sampled_from(["2026-12-01T09:00:00+01:00", "2026-12-01 09:00Z"]),
                "window": st.just("08:00-21:00"),
                "timezone": st.just("Europe/Berlin"),
            },
        ),
    },
)
bodies = st.just({"template": "welcome@3"}) | st.fixed_dictionaries(
    {"subject": words, "text": lines}, optional={"html": lines}
)


@given(campaigns, bodies)
def test_the_file_of_a_campaign_makes_the_same_campaign(raw: dict[str, Any], body: dict[str, str]) -> None:
    spec = parse_spec({**raw, **body})
    stored = json.loads(spec_json(spec))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.toml"
        path.write_bytes(campaign_toml(stored).encode())
        assert parse_spec(read_campaign(path).spec) == spec
    assert parse_spec(msgspec.to_builtins(spec)) == spec  # what a copy is made of
    assert spec_from_json(spec_json(spec)) == spec


def test_bodies_are_readable(tmp_path: Path) -> None:
    found = campaign_toml({"name": "x", "rate": [], "text": 'Hi "you",\n\nbye\n', "schedule": {"at": None}})
    assert found == 'name = "x"\ntext = """\nHi "you",\n\nbye\n"""\n'


def test_show_and_apply_and_clone(hub: Hub) -> None:
    hub.contacts(2)
    hub.file("flyer.pdf", b"%PDF")
    hub.campaign("spring", attachments=["flyer.pdf"], text='Hi \\ """\n{{ first_name }}\n', labels=["a"])
    shown = hub.ok("show", "spring", "--toml")
    assert '#   "flyer.pdf", 4 bytes, SHA-256 ' in shown
    again = hub.json("apply", hub.file("again.toml", shown))["applied"][0]
    assert (again["created"], again["changed"]) == (False, [])
    assert hub.run("show", "spring", "--toml", "--json").returncode == 2

    hub.file("new.html", "<p>Hello</p>")
    patch = hub.file(
        "patch.toml", 'subject = "Winter"\nhtml_file = "new.html"\n[schedule]\nwindow = "08:00-21:00"\n'
    )
    sets = ["--set", "labels=b", "--set", 'lists=["all"]', "--set", "schedule.timezone=Europe/Berlin"]
    made = hub.json("clone", "spring", "winter", "--toml", patch, *sets, "--set", "text=")
    assert made["campaign"]["labels"] == ["b"]
    spec = hub.json("show", "winter")["spec"]
    assert (spec["subject"], spec["text"], spec["html"]) == ("Winter", "", "<p>Hello</p>")
    assert (spec["schedule"]["window"], spec["schedule"]["timezone"]) == ("08:00-21:00", "Europe/Berlin")
    assert spec["attachments"][0]["name"] == "flyer.pdf"
    preview = hub.json("preview", "winter")
    assert (preview["subject"], preview["text"]) == ("Winter", "Hello\n")  # made from the HTML
    assert "Hello" in preview["html"]

    bad = hub.file("bad.toml", 'rate = "5/s"\nsubjct = "x"\n')
    done = hub.run("clone", "spring", "third", "--toml", bad)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {bad}:2: subjct: unknown key; did you mean subject?")
    for wrong, problem, code in (
        ("subject", "is not KEY=VALUE", 2),
        ("lists=[", "is a list such as", 2),
        ("html_file=missing.html", "does not exist", 1),
        ("name=x", "is the name of the copy", 1),
        ("schedule.at=2026-03-29 02:30 Europe/Berlin", "skips 02:30", 1),
    ):
        done = hub.run("clone", "spring", "third", "--set", wrong)
        assert (done.returncode, problem in done.stderr) == (code, True), done.stderr
    assert hub.run("show", "third").returncode == 3
