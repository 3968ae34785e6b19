"""What an import says of its rows: the sums add up, by kind too, in bounded memory."""

from __future__ import annotations

import csv
import random
import tracemalloc

from hubctl.import_report import KEPT_KINDS, KEPT_PROBLEMS, OTHER_KINDS, Report
from tests.apps.conftest import Hub

COUNTS = ("imported", "updated", "unchanged", "duplicates", "invalid")
#: Cells of each column of a file: good ones, and every kind of flaw.
CELLS = {
    "E-Mail": ["p{n}@example.com"] * 9 + ["", "x", "a@b", "P{m}@EXAMPLE.com", "\u200bq{n}@example.com\u00a0"],
    "Handy": ["", "", "+4915123{n:06}", "0151 23{n:06}", "15123{n:06}.0", "4.9E+11", "n/a", "030 901820"],
    "TIMEZONE": ["", "Europe/Berlin", "-", "US/Eastern"],
    "Geburtstag": ["", "0/0/00", "1980-02-29"],
    "UNSUB_TIME": [""] * 12 + ["2024-01-01"],
    "Notiz": ["", '"a ""b"" c"', '"two\nlines"', "a\0b", "'=1+1", '"open" quote'],
    "": ["", "x"],
    "Notiz ": ["", "again"],
}


def flawed_file(rows: int) -> str:
    chance = random.Random(7)
    lines = [";".join(CELLS)]
    for number in range(rows):
        picked = [chance.choice(cells).format(n=number, m=number // 2) for cells in CELLS.values()]
        end = chance.choice(["", "", "", ";", ";;", ";one;too many"])
        line = ";".join(picked)
        lines.append((line.rstrip(";") if chance.random() < 0.3 else line) + end)
    return "\n".join(lines) + "\n"


def test_the_sums_of_a_file_with_every_kind_of_flaw_add_up(hub: Hub) -> None:
    path = hub.file("flaws.csv", flawed_file(6_000))
    rejects = hub.folder / "rejects.csv"
    arguments = ("import", path, "--list", "all", "--region", "DE")
    trial = hub.json(*arguments, "--dry-run", code=9)
    found = hub.json(*arguments, "--rejects", str(rejects), code=9)
    assert found["rows"] == sum(found[name] for name in COUNTS) > 5_000
    assert min(found["imported"], found["duplicates"], found["invalid"]) > 50
    refused = [kind for kind in found["problems"] if kind["refused"]]
    others = [kind for kind in found["problems"] if not kind["refused"]]
    assert sum(kind["rows"] for kind in refused) == found["invalid"] == len(found["errors"])
    assert sum(kind["rows"] for kind in others) == len(found["warnings"])
    with rejects.open(encoding="utf-8-sig", newline="") as stream:
        assert len(list(csv.reader(stream))) == 1 + found["invalid"]
    (listed,) = hub.json("lists")["lists"]
    assert listed["contacts"] == found["imported"]
    assert {name: trial[name] for name in ("rows", "invalid")} == {
        name: found[name] for name in ("rows", "invalid")
    }
    again = hub.json(*arguments, code=9)
    assert again["imported"] == 0
    assert again["rows"] == sum(again[name] for name in COUNTS) == found["rows"]


def test_a_report_of_many_problems_takes_bounded_memory() -> None:
    report = Report()
    tracemalloc.start()
    for page in range(200):
        faults = [
            {"line": page * 1_000 + each, "field": "phone", "problem": f"kind {page * 1_000 + each}"}
            for each in range(1_000)
        ]
        counts = {"imported": 0, "updated": 0, "unchanged": 0, "duplicates": 0}
        report.add_page({"rows": 1_000, **counts, "errors": faults, "warnings": faults})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000
    told = report.as_json()
    assert (told["rows"], told["invalid"]) == (200_000, 200_000)
    assert len(told["errors"]) == len(told["warnings"]) == KEPT_PROBLEMS
    assert sum(kind["rows"] for kind in told["problems"]) == 400_000
    assert len(told["problems"]) <= KEPT_KINDS + 2
    assert {kind["problem"] for kind in told["problems"]} >= {OTHER_KINDS}


def test_a_row_with_the_same_problem_in_two_cells_is_counted_once() -> None:
    """Such as a landline in each of two columns with phone numbers."""
    report = Report()
    faults = [{"line": line, "field": "phone", "problem": "a landline"} for line in (2, 2, 4, 5, 5)]
    counts = {"imported": 3, "updated": 0, "unchanged": 0, "duplicates": 0}
    report.add_page({"rows": 3, **counts, "errors": [], "warnings": faults})
    assert report.error_lines("people.csv") == ["people.csv:2: phone: a landline (3 rows: 2, 4, 5)"]
