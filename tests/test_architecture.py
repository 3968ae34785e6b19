"""The rules of the house, executable: who may import whom, and what a room may not hold."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Room -> what of ours it may import. A room is the longest prefix of a module's name that is listed here.
MAY_IMPORT = {
    "hubd": set(),
    "hubd.errors": set(),
    "hubd.bridge": set(),
    "hubd.core": {"hubd.core", "hubd.errors"},
    "hubd.store": {"hubd.store", "hubd.core", "hubd.bridge", "hubd.errors"},
    "hubd.transports": {"hubd.transports", "hubd.core", "hubd.bridge", "hubd.errors"},
    "hubd.engine": {"hubd.engine", "hubd.core", "hubd.errors"},
    "hubd.wire": {"hubd.wire", "hubd.errors", "hubd"},
    "hubd.client": {"hubd.client", "hubd.wire", "hubd.errors", "hubd"},
    "hubd.config": {"hubd.core", "hubd.errors", "hubd.places", "hubd.secrets"},
    "hubd.lock": {"hubd.errors"},
    "hubd.places": set(),
    "hubd.secrets": {"hubd.errors"},
    "hubd.control": {"hubd.control", "hubd.engine", "hubd.core", "hubd.wire", "hubd.errors", "hubd"},
    "hubd.daemon": {"hubd"},
    "hubd.__main__": {"hubd"},
    "hubctl": {"hubctl", "hubd.client", "hubd.wire", "hubd.errors"},
}
#: Rooms that may import anything below them.
ROOTS = {"hubd.daemon", "hubd.__main__"}

#: Libraries that only one room may touch.
ONLY_IN = {
    "trio_asyncio": {"hubd.bridge"},
    "aiosqlite": {"hubd.store"},
    "sqlite3": {"hubd.store"},
    "aiosmtplib": {"hubd.transports"},
    "twilio": {"hubd.transports"},
    "trio_websocket": {"hubd.control"},
    "wsproto": {"hubd.control", "hubd.client"},
    "click": {"hubctl", "hubd.__main__"},
    "rich": {"hubctl"},
}
#: What the functional core may import besides the standard library and itself.
CORE_LIBRARIES = {"jinja2", "markupsafe", "msgspec", "email_validator", "phonenumbers", "hubd"}
#: Parts of the standard library that are I/O, clocks, randomness or logging.
NOT_IN_CORE = {
    "asyncio",
    "logging",
    "os",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
    "time",
}
#: Names of modules that say nothing about what is in them.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "base", "common", "types", "misc"}


def modules() -> Iterator[tuple[str, Path]]:
    for package in ("hubd", "hubctl", "hubview"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide where a name comes from"
            module = node.module or ""
            for alias in node.names:
                deeper = ROOT.joinpath(*module.split("."), alias.name)
                is_module = deeper.is_dir() or deeper.with_suffix(".py").exists()
                yield (f"{module}.{alias.name}" if is_module else module), node.lineno


def room(module: str) -> str:
    while module and module not in MAY_IMPORT:
        module = module.rpartition(".")[0]
    return module


ALL = list(modules())


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_arrows_only_go_down(module: str, path: Path) -> None:
    here = room(module)
    for target, line in imports(path):
        if target.split(".")[0] not in {"hubd", "hubctl", "hubview"} or here in ROOTS:
            continue
        there = room(target)
        assert there in MAY_IMPORT[here] or (
            there == "hubd" and target == "hubd" and "hubd" in MAY_IMPORT[here]
        ), f"{path}:{line}: {here} may not import {target}"


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_a_foreign_library_has_one_room(module: str, path: Path) -> None:
    for target, line in imports(path):
        rooms = ONLY_IN.get(target.split(".")[0])
        assert rooms is None or room(module) in rooms, f"{path}:{line}: {target} belongs in {rooms}"


@pytest.mark.parametrize(("module", "path"), [m for m in ALL if room(m[0]) == "hubd.core"])
def test_the_core_is_pure(module: str, path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), (
            f"{path}:{node.lineno}: async in the core"
        )
    for target, line in imports(path):
        top = target.split(".")[0]
        assert top not in NOT_IN_CORE, f"{path}:{line}: {target} is not pure"
        assert top in CORE_LIBRARIES or top in sys.stdlib_module_names, f"{path}:{line}: {target}"


def test_no_module_has_an_empty_name() -> None:
    for module, path in ALL:
        assert module.rpartition(".")[2].strip("_") not in EMPTY_NAMES, path


def test_every_module_says_what_it_is() -> None:
    for _, path in ALL:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"


def test_importing_the_package_imports_nothing_else() -> None:
    assert not [target for target, _ in imports(ROOT / "hubd" / "__init__.py")]
