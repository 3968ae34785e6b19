"""Names that the code no longer uses, and turns of phrase that no native speaker of English would write.

The names occur neither in the code nor in the documents, and the phrases in no message and no document.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
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

#: Translated idioms. Each was in a message, a help text or a page before.
PHRASES = re.compile(
    r"""\bis\ it\ to\ be\b | \blets?\ us\ in\b | \babout\ no\ message\b | \bwithout\ trouble\b | \banew\b
    | \blistener\ does\ not\ listen\b | \bbegun\ of\ it\b | \bof\ it\ (?:has|have)\ begun\b
    | \b(?:to|for)\ who\ (?:is|was)\b | \bany\ more(?=[.,;:)]|$) | \bmany\ they\ are\b | \bis\ there\ again\b
    | \bgo(?:es)?\ on\ (?:with|then)\b | \bnothing\ of\ this\ is\b | \bthat\ is\ none\b | \bset\ it\ right\b
    | \bimported\ nevertheless\b | \bno\ (?:part|text|answer)\ of\ (?:it|IMAP|hubd's)\b""",
    re.VERBOSE | re.IGNORECASE,
)


def sources() -> list[Path]:
    return sorted(path for package in ("hubd", "hubctl") for path in (ROOT / package).rglob("*.py"))


def documents() -> list[Path]:
    """Those that are written by hand: the reference is made of what programs read."""
    pages = [page for page in (ROOT / "docs").rglob("*.md") if "reference" not in page.parts]
    return sorted([ROOT / "README.md", *pages])


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """The sentences of a file for people, with their lines: all of a document, the strings of a program."""
    if path.suffix != ".py":
        yield from enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        return
    tree = parsed(path)
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.lineno, node.value


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
    return [
        f"{path}:{line}: {name}" for name, line in names(parsed(path)) if name.strip("_") in FORMER - kept
    ]


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


def test_no_message_has_a_translated_idiom() -> None:
    window = ROOT / "hubview"
    pages = [path for path in (window / "page").rglob("*.js") if "vendor" not in path.parts]
    paths = [*sources(), *sorted(window.glob("*.py")), *sorted(pages), *documents(), ROOT / "CHANGELOG.md"]
    found = [
        f"{path}:{line}: {hit[0]}"
        for path in paths
        for line, text in messages(path)
        for hit in PHRASES.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "a comma after the @; is it to be a dot?",
        "It lets us in",
        "2 of them about no message of yours",
        "it goes to who is added to customers",
        "the socket is there again",
        "it is not kept any more, so",
    ],
)
def test_a_translated_idiom_is_found(text: str) -> None:
    assert PHRASES.search(text)


def test_a_docstring_is_no_message(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('"""Written anew."""\n\nNAME = "set it right"\n', encoding="utf-8")
    assert list(messages(path)) == [(3, "set it right")]


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
