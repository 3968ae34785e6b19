"""What the page of hubview saves: the CSV of hubctl, complete, under a name that any system takes."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.errors import BadInput, HubError
from hubd.wire.places import place_at
from hubview.saving import BOM, MAX_NAME, Saving, file_name
from tests.apps.conftest import Hub


def test_recipients_contacts_and_figures_are_saved_as_hubctl_prints_them(hub: Hub) -> None:
    hub.ok(
        "import", hub.file("a.csv", 'email,first_name\na@x.example,"=1+1"\nb@x.example,Bo\n'), "--list", "all"
    )
    hub.ok("suppress", "add", "b@x.example")
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    saving, kept = Saving(place_at(hub.socket)), dict[str, bytes]()

    def keep(name: str, file: IO[bytes]) -> str:
        with file:
            file.seek(0)
            kept[name] = file.read()
        return f"/saved/{name}"

    for wanted, name, command in (
        ({"kind": "contacts", "list": "all"}, "all.csv", ["contacts", "export", "--list", "all"]),
        (
            {"kind": "recipients", "campaign": "spring", "states": []},
            "spring-recipients.csv",
            ["deliveries", "spring", "--output", "csv"],
        ),
        (
            {"kind": "report", "since": "7 days", "until": "", "label": ""},
            "report-all-7-days.csv",
            ["report", "--since", "7 days", "--output", "csv"],
        ),
        (
            {"kind": "report", "since": "2026-10-01", "until": "2026-10-31", "label": ""},
            "report-all-2026-10-01.csv",
            ["report", "--since", "2026-10-01", "--until", "2026-10-31", "--output", "csv"],
        ),
    ):
        assert saving.save(keep, wanted) == {"path": f"/saved/{name}", "name": name}
        assert kept[name].replace(b"\r\n", b"\n") == BOM + hub.run(*command).stdout.encode()
    assert b'"\'=1+1"' in kept["all.csv"], "no spreadsheet runs it"
    saving.save(
        keep, {"kind": "recipients", "campaign": "spring", "states": ["failed", "skipped", "in_doubt"]}
    )
    rows = list(csv.DictReader(io.StringIO(kept["spring-not-delivered.csv"].decode("utf-8-sig"))))
    assert [(row["recipient"], row["state"], row["reason"]) for row in rows] == [
        ("b@x.example", "skipped", "suppressed")
    ]


def test_a_file_is_there_when_it_is_complete_and_not_before(hub: Hub, tmp_path: Path) -> None:
    saving = Saving(place_at(hub.socket))
    asked: list[str] = []

    def choose(name: str) -> Path | None:
        asked.append(name)
        return tmp_path / "chosen.csv"

    def keep(name: str, file: IO[bytes]) -> str:
        raise AssertionError(name)

    saving.choose = choose
    with pytest.raises(HubError, match="no campaign"):
        saving.save(keep, {"kind": "recipients", "campaign": "nope", "states": []})
    assert list(tmp_path.iterdir()) == []
    text = {"kind": "text", "name": "spring.toml", "text": 'name = "spring"\n'}
    assert saving.save(keep, text) == {"saved": str(tmp_path / "chosen.csv")}
    assert (tmp_path / "chosen.csv").read_text() == 'name = "spring"\n'
    assert asked == ["nope-recipients.csv", "spring.toml"]
    saving.choose = lambda _name: None
    assert saving.save(keep, text) == {"saved": None}
    saving.choose = lambda name: tmp_path / "missing" / name
    with pytest.raises(HubError, match="cannot be written"):
        saving.save(keep, text)


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        [],
        {},
        {"kind": "rm"},
        {"kind": "contacts"},
        {"kind": "recipients", "campaign": "x", "states": [1]},
    ],
)
def test_what_the_page_may_not_save_is_refused(wanted: object, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        Saving(place_at(tmp_path / "no.sock")).save(lambda _name, _file: "", wanted)


@given(st.text(max_size=300))
def test_any_text_becomes_the_name_of_a_file_in_the_folder_that_was_chosen(text: str) -> None:
    name = file_name(text)
    assert 0 < len(name) <= MAX_NAME
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert not name.startswith((".", "-"))
    assert Path("folder", name).parent == Path("folder")
