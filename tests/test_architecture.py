"""The architecture rules, executable: which package may import which, and what a package may not contain."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Room -> what of ours it may import. A room is the longest prefix of a module's name that is listed here.
MAY_IMPORT = {
    "hubd": set(),
    "hubd.errors": set(),
    "hubd.files": set(),
    "hubd.toml_text": set(),
    "hubd.failpoints": set(),
    "hubd.bridge": {"hubd.late_errors"},
    "hubd.late_errors": set(),
    "hubd.core": {"hubd.core", "hubd.errors"},
    "hubd.ownership": set(),
    "hubd.store": {"hubd.store", "hubd.core", "hubd.bridge", "hubd.errors", "hubd.failpoints", "hubd.files"},
    "hubd.transports": {"hubd.transports", "hubd.core", "hubd.errors", "hubd.failpoints"},
    "hubd.providers": {
        "hubd.providers",
        "hubd.providers.kind",
        "hubd.providers.questions",
        "hubd.providers.settings",
        "hubd.transports",
        "hubd.inbound.source",
        "hubd.config.ca_files",
        "hubd.config.hosts",
        "hubd.config.oauth2",
        "hubd.config.rates",
        "hubd.config.secret_refs",
        "hubd.core",
        "hubd.bridge",
        "hubd.errors",
        "hubd.failpoints",
        "hubd.files",
        "hubd.ownership",
        "hubd.secrets",
    },
    "hubd.providers.kind": {
        "hubd.providers.settings",
        "hubd.engine.ports",
        "hubd.inbound.source",
        "hubd.transports",
        "hubd.core",
        "hubd.bridge",
        "hubd.secrets",
    },
    "hubd.providers.questions": set(),
    "hubd.providers.registry": {"hubd.providers.kind", "hubd.providers.questions"},
    "hubd.providers.settings": {"hubd.config.rates"},
    "hubd.inbound": {"hubd.inbound", "hubd.inbound.source", "hubd.core", "hubd.errors"},
    "hubd.inbound.source": {"hubd.core"},
    "hubd.engine": {"hubd.engine", "hubd.engine.ports", "hubd.core", "hubd.errors", "hubd.failpoints"},
    "hubd.engine.ports": {"hubd.engine", "hubd.core"},
    "hubd.wire": {"hubd.wire", "hubd.errors", "hubd"},
    "hubd.client": {"hubd.client", "hubd.wire", "hubd.errors", "hubd.ownership", "hubd"},
    "hubd.config": set(),
    "hubd.config.file": {
        "hubd.config.hosts",
        "hubd.config.layers",
        "hubd.config.listener",
        "hubd.config.mailboxes",
        "hubd.config.notify",
        "hubd.config.sinks",
        "hubd.config.retention",
        "hubd.config.secret_refs",
        "hubd.core",
        "hubd.errors",
        "hubd.places",
        "hubd.providers.registry",
        "hubd.providers.settings",
        "hubd.secrets",
    },
    "hubd.config.layers": {"hubd.core", "hubd.errors", "hubd.ownership", "hubd.toml_text"},
    "hubd.config.hosts": {"hubd.errors"},
    "hubd.config.oauth2": {"hubd.config.hosts", "hubd.config.secret_refs", "hubd.core", "hubd.secrets"},
    "hubd.config.secret_refs": {"hubd.core", "hubd.errors", "hubd.secrets"},
    "hubd.config.show": {
        "hubd.config.file",
        "hubd.config.layers",
        "hubd.config.rates",
        "hubd.core",
        "hubd.providers.registry",
        "hubd.secrets",
    },
    "hubd.config.reference": {
        "hubd.config.file",
        "hubd.config.listener",
        "hubd.config.mailboxes",
        "hubd.config.sinks",
        "hubd.config.oauth2",
        "hubd.config.notify",
        "hubd.config.rates",
        "hubd.core",
        "hubd.providers.registry",
        "hubd.secrets",
        "hubd.config.retention",
    },
    "hubd.config.reload": {
        "hubd.config.file",
        "hubd.config.notify",
        "hubd.config.retention",
        "hubd.config.show",
        "hubd.errors",
        "hubd.journal",
        "hubd.wire",
    },
    "hubd.config.ca_files": {"hubd.core", "hubd.ownership"},
    "hubd.config.mailboxes": {
        "hubd.config.ca_files",
        "hubd.config.hosts",
        "hubd.config.oauth2",
        "hubd.config.secret_refs",
        "hubd.core",
        "hubd.secrets",
    },
    "hubd.config.listener": {"hubd.config.hosts", "hubd.core", "hubd.errors"},
    "hubd.config.rates": {"hubd.core", "hubd.errors"},
    "hubd.config.notify": {"hubd.core", "hubd.errors"},
    "hubd.config.retention": {"hubd.core", "hubd.errors"},
    "hubd.reports": {"hubd.reports", "hubd.core", "hubd.errors"},
    "hubd.config.sinks": {
        "hubd.config.hosts",
        "hubd.config.secret_refs",
        "hubd.core",
        "hubd.errors",
        "hubd.secrets",
    },
    "hubd.sinks": {
        "hubd.sinks",
        "hubd.store",
        "hubd.transports",
        "hubd.config.sinks",
        "hubd.core",
        "hubd.errors",
        "hubd.failpoints",
        "hubd.files",
    },
    "hubd.lock": {"hubd.errors"},
    "hubd.activation": {"hubd.errors"},
    "hubd.journal": set(),
    "hubd.notify": set(),
    "hubd.places": set(),
    "hubd.secrets": {"hubd.errors", "hubd.files", "hubd.ownership"},
    "hubd.signals": {"hubd.notify"},
    "hubd.listening": {
        "hubd.config.file",
        "hubd.core",
        "hubd.inbound",
        "hubd.providers.registry",
        "hubd.secret_keys",
    },
    "hubd.secret_keys": {"hubd.config.file", "hubd.errors", "hubd.secrets"},
    "hubd.mailboxes": {
        "hubd.config.file",
        "hubd.config.mailboxes",
        "hubd.errors",
        "hubd.inbound",
        "hubd.secret_keys",
        "hubd.transports",
    },
    "hubd.provider_specs": {
        "hubd.bridge",
        "hubd.config.file",
        "hubd.core",
        "hubd.engine",
        "hubd.engine.ports",
        "hubd.errors",
        "hubd.inbound.source",
        "hubd.providers.kind",
        "hubd.providers.registry",
        "hubd.secret_keys",
        "hubd.secrets",
    },
    "hubd.inbound_specs": {
        "hubd.bridge",
        "hubd.config.file",
        "hubd.inbound",
        "hubd.mailboxes",
        "hubd.provider_specs",
    },
    "hubd.control.hub": {
        "hubd.control",
        "hubd.engine",
        "hubd.inbound",
        "hubd.sinks",
        "hubd.store",
        "hubd.wire",
    },
    "hubd.control": {
        "hubd.control",
        "hubd.control.hub",
        "hubd.engine",
        "hubd.engine.ports",
        "hubd.core",
        "hubd.wire",
        "hubd.errors",
        "hubd.failpoints",
        "hubd.files",
        "hubd.lock",
        "hubd.ownership",
        "hubd",
    },
    "hubd.state_dir": {"hubd.errors", "hubd.ownership"},
    "hubd.upkeep": {
        "hubd.config.reload",
        "hubd.control",
        "hubd.errors",
        "hubd.providers.registry",
        "hubd.store",
    },
    "hubd.mailing": {
        "hubd.config.reload",
        "hubd.core",
        "hubd.engine",
        "hubd.reports",
        "hubd.store",
    },
    "hubd.daemon": {"hubd"},
    "hubd.__main__": {"hubd"},
    "hubctl": {
        "hubctl",
        "hubd",
        "hubd.client",
        "hubd.wire",
        "hubd.errors",
        "hubd.files",
        "hubd.ownership",
        "hubd.providers.questions",
        "hubd.providers.registry",
        "hubd.toml_text",
    },
    "hubview": {
        "hubview",
        "hubctl",
        "hubd",
        "hubd.client",
        "hubd.errors",
        "hubd.files",
        "hubd.providers.questions",
        "hubd.providers.registry",
        "hubd.wire",
    },
}
#: Rooms that may import anything below them.
ROOTS = {"hubd.daemon", "hubd.__main__"}

#: Libraries that only one room may touch.
ONLY_IN = {
    "asyncio": {"hubd.bridge", "hubd.late_errors", "hubd.providers"},
    "aiosqlite": {"hubd.store"},
    "sqlite3": {"hubd.store"},
    "aiosmtplib": {"hubd.providers"},
    "twilio": {"hubd.providers"},
    "botocore": {"hubd.providers"},
    "trio_websocket": {"hubd.control"},
    "wsproto": {"hubd.control", "hubd.client"},
    "click": {"hubctl", "hubview", "hubd.__main__"},
    "rich": {"hubctl"},
    "h11": {"hubd.transports", "hubd.inbound"},
    "prometheus_client": {"hubd.control"},
    "keyring": {"hubd.secrets", "hubctl"},
    "tomlkit": {"hubctl"},
    "imapclient": {"hubd.inbound"},
    "webview": {"hubview"},
}
#: What opens, checks, copies or closes the file. Units of work have `hubd.store.transaction` instead.
KNOW_SQLITE = {
    f"hubd.store.{module}"
    for module in (
        *(
            "backup",
            "batch",
            "compaction",
            "connection",
            "database",
            "file_checks",
            "free_pages",
            "integrity",
        ),
        *("opening", "readers", "restore_backup", "writer"),
    )
}
#: What the functional core may import besides the standard library and itself.
CORE_LIBRARIES = {
    "flufl",
    "jinja2",
    "markupsafe",
    "msgspec",
    "email_validator",
    "cronsim",
    "phonenumbers",
    "hubd",
}
#: Parts of the standard library that are I/O, clocks, randomness or logging.
NOT_IN_CORE = {
    "asyncio",
    "concurrent",
    "ctypes",
    "fileinput",
    "getpass",
    "glob",
    "http",
    "imaplib",
    "logging",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "platform",
    "random",
    "sched",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "smtplib",
    "socket",
    "socketserver",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "uuid",
}
#: What asks a clock or a random generator without an import that would show it: `datetime.now()`,
#: `make_msgid()`.
NOT_CALLED_IN_CORE = {
    "now",
    "today",
    "utcnow",
    "localtime",
    "formatdate",
    "make_msgid",
    "open",
    "print",
    "input",
}
#: How a text begins that is a statement of SQL and no English. Only the store has those.
SQL_SHAPES = (
    r"select\s+(distinct\s+)?(\*|\w+\(|[\w.]+(\s+as\s+\w+)?\s*,\s*[\w.]+\s.*\sfrom\s)",
    r"select\s.*\sfrom\s+\w+\s+(where\s+[\w.]+\s*[=<>]|join\s|order\s+by\s)",
    r"insert\s+(or\s+\w+\s+)?into\s+[\w.]+\s*(\(|values\b|select\b)",
    r"update\s+\w+\s+set\s+\w+\s*=",
    r"delete\s+from\s+[\w.]+\s*($|;|where\s+[\w.]+\s*[=<>])",
    r"(create|drop|alter)\s+(temp\s+|unique\s+)?(table|index|view|trigger)\s+(if\s+|\w+\s*($|;|\(|on\s))",
    r"pragma\s+\w+\s*($|;|=|\()",
    r"begin\s+(immediate|exclusive|deferred)\b",
    r"(?-i:COMMIT|ROLLBACK|VACUUM)\s*;?$",
)
SQL = re.compile(rf"\s*({'|'.join(SQL_SHAPES)})", re.DOTALL | re.IGNORECASE)
#: What is of one kind of provider.
PROVIDER = re.compile(r"hubd\.providers\.(?!kind$|questions$|registry$|settings$)(\w+)")
#: Folders beside the kinds that are no kind, and the kinds that share them.
SHARED_BY = {"aws": {"ses", "sns"}}
#: Names of modules that say nothing about what is in them.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "base", "common", "types", "misc"}


def modules() -> Iterator[tuple[str, Path]]:
    for package in ("hubd", "hubctl", "hubview"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@cache
def imports(path: Path) -> list[tuple[str, int]]:
    """What a module imports, each with its line."""
    return list(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, int]]:
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


# One test asks each question of all modules: a test for each of them would cost more than its question.


def test_arrows_only_go_down() -> None:
    assert not [
        f"{path}:{line}: {here} may not import {target}"
        for here, path in ((room(module), path) for module, path in ALL)
        if here not in ROOTS
        for target, line in imports(path)
        if target.split(".")[0] in {"hubd", "hubctl", "hubview"} and room(target) not in MAY_IMPORT[here]
    ]


def test_a_kind_of_provider_knows_no_other() -> None:
    of_kinds = [(found[1], name, path) for name, path in ALL if (found := PROVIDER.match(name))]
    assert len(of_kinds) > 10
    wrong = []
    for kind, module, path in of_kinds:
        for target, line in imports(path):
            there = PROVIDER.match(target)
            known = there is None or there[1] == kind or kind in SHARED_BY.get(there[1], set())
            if not known or (module.endswith(".questions") and not is_light(target)):
                wrong.append(f"{path}:{line}: {module} may not import {target}")
    assert not wrong


def is_light(target: str) -> bool:
    """Whether the questions of a kind may import it: `hubctl` imports them, and starts in no time."""
    if target.split(".")[0] in {"hubd", "hubctl", "hubview"}:
        return target.endswith(".questions")
    return target.split(".")[0] in sys.stdlib_module_names


def test_nobody_else_knows_a_kind_of_provider() -> None:
    assert not [
        f"{path}:{line}: {target}"
        for module, path in ALL
        if not PROVIDER.match(module)
        for target, line in imports(path)
        if PROVIDER.match(target)
    ]


def test_a_foreign_library_has_one_room() -> None:
    wrong = []
    for module, path in ALL:
        for target, line in imports(path):
            rooms = ONLY_IN.get(target.split(".")[0])
            if rooms is not None and room(module) not in rooms:
                wrong.append(f"{path}:{line}: {target} belongs in {rooms}")
            if target == "sqlite3" and module not in KNOW_SQLITE:
                wrong.append(f"{path}:{line}: take a Transaction")
    assert not wrong


def test_the_core_is_pure() -> None:
    core = [path for module, path in ALL if room(module) == "hubd.core"]
    assert len(core) > 10
    wrong = []
    for path in core:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            waits = isinstance(node, ast.AsyncFunctionDef | ast.Await)
            if problem := "async in the core" if waits else impure(node):
                wrong.append(f"{path}:{node.lineno}: {problem}")  # type: ignore[attr-defined]
        for target, line in imports(path):
            top = target.split(".")[0]
            if top not in CORE_LIBRARIES and top not in sys.stdlib_module_names:
                wrong.append(f"{path}:{line}: {target}")
    assert not wrong


def impure(node: ast.AST) -> str:
    """What makes this piece of code more than a function of its arguments; "" for nothing."""
    targets: list[str] = []
    if isinstance(node, ast.Import):
        targets = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        targets = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    for target in targets:
        parts = target.split(".")
        if any(".".join(parts[:depth]) in NOT_IN_CORE for depth in range(1, len(parts) + 1)):
            return f"{target} is not pure"
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in NOT_CALLED_IN_CORE:
            return f"{name}() is not pure"
    return ""


@pytest.mark.parametrize(
    ("code", "pure"),
    [
        ("import pathlib", False),
        ("from pathlib import PurePath", False),
        ("import urllib.request", False),
        ("from urllib import request", False),
        ("from urllib.request import urlopen", False),
        ("from urllib.parse import quote", True),
        ("import uuid", False),
        ("from datetime import datetime, UTC", True),
        ("import datetime as dt\ndt.datetime.now(dt.UTC)", False),
        ("from datetime import date\ndate.today()", False),
        ("datetime.fromtimestamp(now, UTC)", True),
        ("open('x')", False),
        ("field.now", True),
    ],
)
def test_the_check_of_the_core_sees_what_it_is_for(code: str, pure: bool) -> None:
    assert all(not impure(node) for node in ast.walk(ast.parse(code))) is pure


def texts(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


def test_only_the_store_has_sql() -> None:
    elsewhere = [path for module, path in ALL if room(module) != "hubd.store"]
    assert not [
        f"{path}:{line}: {text}" for path in elsewhere for text, line in texts(path) if SQL.match(text)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM event",
        "select count(*) from delivery",
        "\nSELECT id, state FROM delivery WHERE id = ?",
        "SELECT coalesce(max(id), 0) FROM delivery WHERE id = ?",
        "INSERT INTO list (name) VALUES (?)",
        "insert or ignore into list values (1)",
        "UPDATE hub SET clean = 1",
        "DELETE FROM event",
        "delete from event where seq < 5",
        "CREATE TABLE x (id INTEGER)",
        "PRAGMA user_version",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "BEGIN IMMEDIATE",
        "COMMIT",
    ],
)
def test_the_check_for_sql_sees_statements(text: str) -> None:
    assert SQL.match(text)


@pytest.mark.parametrize(
    "text",
    [
        "select",
        "Select a campaign from the list, or give its name",
        "select one from the list where it stands",
        "update the set of lists",
        "Update set for this version",
        "delete from the list whoever asked for it",
        "Create table and index pages of the manual",
        "insert into your campaign file",
        "begin immediately",
        "commit this to memory",
        "pragma and practice",
    ],
)
def test_the_check_for_sql_leaves_prose_alone(text: str) -> None:
    assert not SQL.match(text)


def test_the_check_for_sql_knows_the_stores_own() -> None:
    """If it found little there, it would find nothing elsewhere."""
    found = [text for module, path in ALL if room(module) == "hubd.store" for text, _ in texts(path)]
    assert sum(bool(SQL.match(text)) for text in found) > 80


def test_no_module_has_an_empty_name() -> None:
    for module, path in ALL:
        assert module.rpartition(".")[2].strip("_") not in EMPTY_NAMES, path


def test_every_module_says_what_it_is() -> None:
    for _, path in ALL:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"


def test_who_inherits_from_a_typed_dict_elsewhere_finds_its_types() -> None:
    """From Python 3.14 on, annotations that are kept as text are looked up where the heir is declared."""
    trees = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in ALL}
    kept_as_text = {
        module
        for module, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    }
    classes = {
        (module, node.name): [base.id for base in node.bases if isinstance(base, ast.Name)]
        for module, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    typed = {key for key, bases in classes.items() if "TypedDict" in bases}
    assert typed
    heirs = 0
    for module, tree in trees.items():
        imported = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for (where, name), bases in classes.items():
            for base in bases if where == module else ():
                origin = imported.get(base)
                if origin in typed:
                    heirs += 1
                    assert origin[0] not in kept_as_text, f"{module}.{name} inherits from {base}"
    assert heirs


def test_importing_the_package_imports_nothing_else() -> None:
    assert not [target for target, _ in imports(ROOT / "hubd" / "__init__.py")]
