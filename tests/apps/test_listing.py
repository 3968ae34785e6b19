"""Rows for people and for programs: --output and --fields."""

from __future__ import annotations

import csv
import io
import json
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from hubctl.app import App, encode
from hubctl.listing import Listing
from hubctl.output import FORMATS
from tests.apps.conftest import Hub
from tests.apps.test_command_line import run

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3),
    st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=2),
)
ROWS = st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), max_size=5)


@pytest.fixture(scope="module")
def printed() -> Callable[..., str]:
    """What a listing prints for pages of rows."""

    def print_(pages: list[list[dict[str, Any]]], output: str, fields: str | None = None) -> str:
        def work() -> None:
            listing: Listing[dict[str, Any]] = Listing(
                app=App(name="x", quiet=True),
                key="rows",
                columns=("a", "b"),
                table=lambda rows: "A B\n" + "\n".join("row" for _ in rows),
                empty="none",
                output=output,
                fields=fields,
            )
            for page in pages:
                listing.rows(page)
            listing.end()

        with CliRunner().isolation() as (out, *_):
            work()
            sys.stdout.flush()
            return out.getvalue().decode()

    return print_


@given(ROWS, ROWS)
def test_json_is_one_object_and_ndjson_one_a_line_over_any_pages(
    printed: Callable[..., str], one: list[dict[str, Any]], two: list[dict[str, Any]]
) -> None:
    whole = json.loads(printed([one, two], "json"))
    assert next(iter(whole)) == "schema"
    assert whole["rows"] == one + two
    lines = [json.loads(line) for line in printed([one, two], "ndjson").splitlines()]
    assert lines == [{"schema": "hubctl.x/1", **row} for row in one + two]
    picked = [json.loads(line) for line in printed([one, two], "ndjson", "b").splitlines()]
    assert picked == [{"b": row["b"]} for row in one + two]


@given(st.text())
def test_a_json_line_is_one_line_for_every_reader_and_acts_on_no_terminal(text: str) -> None:
    line = encode({"a": text})
    assert len(line.splitlines()) == 1
    assert not any(unicodedata.category(char) == "Cc" and char != "\x7f" for char in line)
    line.encode()
    assert json.loads(line) == {"a": text}


@given(ROWS)
def test_tsv_has_one_line_for_each_row_and_as_many_cells_as_fields(
    printed: Callable[..., str], rows: list[dict[str, Any]]
) -> None:
    lines = printed([rows], "tsv").split("\n")
    assert lines[0] == "a\tb"
    assert lines.pop() == ""
    assert len(lines) == 1 + len(rows)
    assert all(line.count("\t") == 1 for line in lines)


@given(ROWS)
def test_csv_reads_back(printed: Callable[..., str], rows: list[dict[str, Any]]) -> None:
    table = list(csv.reader(io.StringIO(printed([rows], "csv"), newline="")))
    assert table[0] == ["a", "b"]
    assert len(table) == 1 + len(rows)


def test_a_heading_is_printed_once(printed: Callable[..., str]) -> None:
    row = {"a": 1, "b": 2}
    assert printed([[row], [], [row, row]], "table") == "A B\nrow\nrow\nrow\n"
    assert printed([], "tsv") == "a\tb\n"
    assert json.loads(printed([], "json"))["rows"] == []


def test_fields_are_picked_in_order_and_dug_out(hub: Hub) -> None:
    hub.contacts(2)
    hub.campaign("spring")
    hub.ok("start", "spring", "--wait")
    assert hub.ok("list", "--output", "tsv", "--fields", "counts.sent,name") == (
        "counts.sent\tname\n2\tspring\n"
    )
    assert hub.ok("list", "--fields", "name,state") == "NAME    STATE\nspring  completed\n"
    rows = hub.ok("deliveries", "spring", "--output", "ndjson", "--fields", "recipient,state").splitlines()
    assert json.loads(rows[0]) == {"recipient": "p0@example.com", "state": "sent"}
    assert hub.json("lists", "--fields", "contacts")["lists"] == [{"contacts": 2}]
    first = hub.ok("contacts", "list", "--output", "tsv", "--fields", "email,fields.first_name")
    assert first.splitlines()[1] == "p0@example.com\tZoë 0"


@pytest.mark.parametrize("field", ["stat", "", "state,", "counts..x.y,nope"])
def test_a_field_that_is_not_there_is_a_usage_error_before_any_daemon_is_asked(field: str) -> None:
    done = run("deliveries", "x", "--fields", field, "--socket", "/nonexistent")
    assert done.exit_code == 2
    assert "--fields: there is no field" in done.stderr


def test_every_listing_takes_every_format(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring")
    hub.ok("suppress", "add", "x@example.com")
    for command in (
        ("list",),
        ("deliveries", "spring"),
        ("sends",),
        ("contacts", "list"),
        ("lists",),
        ("suppress", "list"),
    ):
        for output in FORMATS:
            assert "\x1b" not in hub.ok(*command, "--output", output), (command, output)


def test_the_formats_are_in_the_help() -> None:
    assert "table, json, ndjson, tsv, csv" in " ".join(run("help", "options").output.split())
