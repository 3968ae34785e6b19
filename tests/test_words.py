"""Names that the code no longer uses: none is an identifier, a module or a name in the documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

_FORMER = """
    NEEDS_ROOM PATIENCE SETTLED acceptance_taken_back adding_single check_settled make_room wait_for_room
    Anchor Books Bulletin Clockwork Crowd Door Due Herald House Inquest Inquirer Inquiry Knock Lane
    LanePool LimitBook Lump Mark Outlet OutboxLane Parcel Patience PlanShelf Ready Room RoomLimits
    Ruling Rulings SmtpLane Standing Streak Surroundings Tally Tempo Turnstile TwilioLane Berth
    add_single anchor anchor_path arrived at_the_door ballast berth bulletin check_room clockwork crowd
    dice door doors forgive hasten hasten_all herald house inquest inquire inquires inquiry knock
    lacks_room lane lanes lanes_allowed lump lumps mark_of no_room no_room_known octets outlet parcel
    parcels patience put_away ruling settled shelf short_of_room single singles standing streak sweep
    take_back tally tempo wait_room wake_single weigh
"""
#: Names of the former dialect, as they stood in code. docs/glossary.md has the words used instead.
FORMER = frozenset(_FORMER.split())
_FORMER_MODULES = """
    anchor bulletin crowd fitness inquest needs outlet room rows shelf streak tally tempo twilio_inquiry
"""
#: Modules that have other names now.
FORMER_MODULES = frozenset(_FORMER_MODULES.split())
#: Names that stay because programs read them: keys of results, and an argument of the cost of a text.
KEPT = {
    "hubd/wire/message_results.py": {"single"},
    "hubd/wire/provider_results.py": {"lanes", "lanes_allowed"},
    "hubd/core/sms.py": {"single"},
}
#: In documents a former name stands in backticks or as a path; words such as "door" are also plain English.
_WRITTEN_AS_NAMES = "|".join(sorted(name for name in FORMER if name[0].isupper() or "_" in name))
DOCUMENTS = re.compile(
    rf"`[^`\n]*\b(?:{_WRITTEN_AS_NAMES})\b[^`\n]*`"
    rf"|\b(?:control|core|engine|store|transports)/(?:{'|'.join(sorted(FORMER_MODULES))})\.py"
)


def sources() -> list[Path]:
    return sorted(path for package in ("hubd", "hubctl") for path in (ROOT / package).rglob("*.py"))


def documents() -> list[Path]:
    """Those that are written by hand: the reference is made of what programs read."""
    pages = [page for page in (ROOT / "docs").rglob("*.md") if "reference" not in page.parts]
    return sorted([ROOT / "README.md", *pages])


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The identifiers of a module with their lines."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, line
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name, line
            case ast.keyword(arg=str(name)):
                yield name, line
            case ast.alias(name=name, asname=other):
                yield name.rpartition(".")[2], line
                yield other or "", line


def former(path: Path) -> list[str]:
    kept = KEPT.get(path.relative_to(ROOT).as_posix(), set())
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [f"{path}:{line}: {name}" for name, line in names(tree) if name.strip("_") in FORMER - kept]


def test_no_identifier_is_a_name_of_the_former_dialect() -> None:
    assert [found for path in sources() for found in former(path)] == []


def test_no_module_has_a_former_name() -> None:
    assert [path for path in sources() if path.stem in FORMER_MODULES] == []


def test_the_documents_use_the_present_names() -> None:
    found = [
        f"{path}:{number}: {hit[0]}"
        for path in documents()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for hit in DOCUMENTS.finditer(line)
        if path.name != "glossary.md"
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("class Parcel: ...", ["Parcel"]),
        ("def _inquiry(lane): ...", ["_inquiry", "lane"]),
        ("from hubd.store import room as r", ["r", "room"]),
        ("self._ballast = knock(tally=1)", ["_ballast", "knock", "tally"]),
        ("room = 'a lane'  # a parcel", ["room"]),
    ],
)
def test_the_check_sees_names_and_leaves_text_alone(code: str, expected: list[str]) -> None:
    found = {name for name, _ in names(ast.parse(code))}
    assert set(expected) <= found
    assert not found & {"parcel", "a lane"}
