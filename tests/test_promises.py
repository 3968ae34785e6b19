"""The READMEs name tests in tables: each is there, and each bad input has one that bears its number."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PROMISES = TESTS / "README.md"
SENDING = TESTS / "whole" / "README.md"
NUMBERS = (*range(1, 35), *range(72, 79))  #: of the bad inputs that are done to the control plane

_NAMED = re.compile(r"`((?:[\w/]+\.py::)?test_\w+)(?:\[([^`]*)\])?`")
_DEFINED = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
_NUMBERED = re.compile(r"test_bad_input_(\d\d)_\w+")


@cache
def functions(path: Path) -> frozenset[str]:
    """The tests that a file defines."""
    return frozenset(_DEFINED.findall(path.read_text(encoding="utf-8")))


@cache
def words(path: Path) -> frozenset[str]:
    """All literal texts of a file; the id of a parameter is one of them."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = (node.value for node in nodes if isinstance(node, ast.Constant))
    return frozenset(value for value in found if isinstance(value, str))


@cache
def homes() -> dict[str, list[Path]]:
    """Where each test is defined."""
    found: dict[str, list[Path]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name in functions(path):
            found.setdefault(name, []).append(path)
    return found


def section(path: Path, heading: str) -> str:
    """The text below one heading, up to the next one of the same level."""
    [text] = re.findall(
        rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", path.read_text(encoding="utf-8"), re.M | re.S
    )
    assert isinstance(text, str)
    return text


def rows(text: str) -> Iterator[list[str]]:
    """The rows of the tables that name tests, as cells."""
    for line in text.splitlines():
        if line.startswith("|") and _NAMED.search(line):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def named(text: str) -> list[tuple[str, str]]:
    """The tests that a text names, with the ids of their parameters."""
    return [(name, number) for name, number in _NAMED.findall(text)]


def is_there(name: str, number: str = "") -> bool:
    """Whether there is a test of this name (with its file, or anywhere) and, with its file, of this id."""
    where, _, function = name.rpartition("::")
    if not where:
        return function in homes()
    path = TESTS / where
    return path.is_file() and function in functions(path) and (not number or number in words(path))


@pytest.mark.parametrize("path", [PROMISES, SENDING], ids=lambda path: str(path.relative_to(TESTS)))
def test_every_test_that_a_readme_names_is_there(path: Path) -> None:
    found = named(path.read_text(encoding="utf-8"))
    assert len(found) > 15
    assert [each for each in found if not is_there(*each)] == []


@pytest.mark.parametrize(
    ("heading", "number"), [("What the control plane promises", 23), ("Robustness", 116)]
)
def test_every_promise_is_shown_by_a_test_with_its_file(heading: str, number: int) -> None:
    promises = list(rows(section(PROMISES, heading)))
    assert len(promises) == number
    for promise, shown in promises:
        assert all("::" in name for name, _ in named(shown)), promise
        assert named(shown), promise


def test_every_bad_input_has_a_test_that_bears_its_number() -> None:
    table = {
        int(cells[0]): cells for cells in rows(PROMISES.read_text(encoding="utf-8")) if cells[0].isdecimal()
    }
    assert sorted(table) == list(NUMBERS)
    for number, (_, comes, gets, shown) in table.items():
        assert comes, number
        assert gets, number
        borne = [match[1] for name, _ in named(shown) if (match := _NUMBERED.search(name))]
        borne += [each[:2] for name, each in named(shown) if name.endswith("::test_bad_input")]
        assert f"{number:02}" in borne, f"no test of bad input {number} has its number"
        assert set(borne) == {f"{number:02}"}, f"another's test stands at bad input {number}"


def test_every_test_with_the_number_of_a_bad_input_is_in_the_table() -> None:
    told = {name.rpartition("::")[2] for name, _ in named(PROMISES.read_text(encoding="utf-8"))}
    assert [name for name in homes() if _NUMBERED.fullmatch(name) and name not in told] == []


@pytest.mark.parametrize(
    ("name", "number", "there"),
    [
        ("test_promises.py::test_every_test_that_a_readme_names_is_there", "", True),
        ("test_every_test_that_a_readme_names_is_there", "", True),
        ("test_promises.py::test_that_nobody_wrote", "", False),
        ("test_that_nobody_wrote", "", False),
        ("test_gone.py::test_every_test_that_a_readme_names_is_there", "", False),
        ("shell/test_bad_input.py::test_bad_input", "13 nesting", True),
        ("shell/test_bad_input.py::test_bad_input", "13 knitting", False),
    ],
)
def test_this_check_sees_what_is_missing(name: str, number: str, there: bool) -> None:
    assert is_there(name, number) is there
