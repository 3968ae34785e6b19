"""Promise: a large file with every kind of flaw is imported in bounded memory, and the sums add up."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.whole.conftest import ROOT, TIMEOUT, Hub

MIB = 1024 * 1024
MOST = 160 * MIB  #: of either process, beyond what it had when it was small
HEADER = "E-Mail;Mobil;Name;Ort;Geburtstag;;Ort;Status\n"
SUMS = ("imported", "updated", "unchanged", "duplicates", "invalid")


def rows(count: int, *, city: str = "Köln") -> Iterator[tuple[str, str]]:
    """Rows of a file, each with what becomes of it when the list is new."""
    for n in range(count):
        email, phone = f"p{n}@example.com", f"+4915{n:09}"
        match n % 25:
            case 0:
                yield f"{email};0151 12;Zoë {n};{city}\n", "imported"  # no phone number
            case 1:
                yield f"p{n}@;{phone};X;{city}\n", "imported"  # no email address
            case 2:
                yield f"nobody {n};12;;\n", "invalid"
            case 3:
                yield f"P{n - 3}@EXAMPLE.com;;again;\n", "duplicates"
            case 4:
                yield f'{email};;"Ann ""the\n{n}th""";{city}\n', "imported"  # a cell of two lines
            case 5:
                yield f"\ufeff\u200b {email}\u00a0;;Bo;{city};31.02.1990\n", "imported"  # no such day
            case 6:
                yield f"{email};{4915112345678 + n}.0;;\n", "imported"  # a number that was a float
            case 7:
                yield f"{email};4.4E+11;=1+1;@SUM(A1)\n", "imported"
            case 8:
                yield f"{email};;;;;;;unsubscribed\n", "invalid"
            case 9:
                yield f"{email};;;;;;;;;;too;many\n", "invalid"
            case 10:
                yield f"{email};;a\0b\n", "invalid"
            case 11:
                yield (
                    f"{email};;{'x' * 70_000 if n % 5_000 == 11 else 'x' * 7_000 * (n % 500 == 11)}\n",
                    ("invalid" if n % 5_000 == 11 else "imported"),
                )
            case 12:
                yield ";;;;;;;\n", ""  # no row at all
            case 13:
                yield f'{email};;"a" b\n', "invalid"  # text after a closing quote
            case 14:
                yield f"{email}\n", "imported"  # the rest is missing
            case _:
                yield f"{email};{phone};Ann {n};{city};1990-05-17;;Ulm;subscribed\n", "imported"


def write(path: Path, count: int, **more: str) -> Counter[str]:
    """Write the file; how many rows there are of each kind."""
    kinds: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        for line, kind in rows(count, **more):
            file.write(line)
            kinds[kind] += 1
    del kinds[""]
    return kinds


def peak_of(process: int) -> int:
    """The most memory that a process has had resident so far, in bytes."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) * 1024 if found is not None else 0


def import_file(hub: Hub, path: Path) -> tuple[dict[str, int], int]:
    """Import it into a list; the counts, and the most memory that hubctl had."""
    arguments = ("--socket", str(hub.state / "control.sock"), "import", str(path), "--list", "all", "--json")
    out = path.with_suffix(".json")
    with out.open("w") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "hubctl", *arguments, "--region", "DE"],
            stdout=stdout, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
    peak, end = 0, time.monotonic() + 5 * TIMEOUT
    while process.poll() is None:
        assert time.monotonic() < end, "the import hangs"
        with suppress(OSError):
            peak = max(peak, peak_of(process.pid))
        time.sleep(0.02)  # another process: there is no event to wait on
    assert process.returncode == 9, hub.log()
    found: dict[str, int] = json.loads(out.read_text())
    return found, peak


@pytest.mark.parametrize(
    "count", [20_000, pytest.param(1_000_000, marks=pytest.mark.soak, id="a million rows")]
)
def test_a_file_with_every_kind_of_flaw_adds_up_in_bounded_memory(hub: Hub, count: int) -> None:
    hub.boot()
    assert hub.daemon is not None
    small = hub.folder / "small.csv"
    small.write_text("email\nnobody@\n")
    _, before = import_file(hub, small)
    at_rest = peak_of(hub.daemon.pid)
    file = hub.folder / "people.csv"
    kinds = write(file, count)
    found, peak = import_file(hub, file)
    assert found["rows"] == sum(found[each] for each in SUMS) == kinds.total()
    assert {each: found[each] for each in SUMS if found[each]} == kinds
    again = write(file, count, city="Bonn")
    assert again == kinds
    found, more = import_file(hub, file)
    assert found["rows"] == sum(found[each] for each in SUMS) == kinds.total()
    assert (found["imported"], found["duplicates"], found["invalid"]) == (
        0,
        kinds["duplicates"],
        kinds["invalid"],
    )
    assert found["updated"] > 0 < found["unchanged"]
    assert max(peak, more) - before < MOST
    assert peak_of(hub.daemon.pid) - at_rest < MOST
    assert hub.json("lists")["lists"][0]["contacts"] == kinds["imported"]
