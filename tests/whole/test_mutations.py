"""Would the tests notice? Each safeguard is switched off in a copy of the tree; its tests have to fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.whole.conftest import ROOT
from tests.whole.mutations import MUTATIONS, Mutation, Stale, texts_of

HERE = Path(__file__).resolve().parent
LONGEST = 300.0  #: seconds; a test that hangs has not noticed anything
FAILED = 1  #: pytest's exit status when tests ran and some failed: not a typing error, not a missing test


def copy_of_the_tree(place: Path) -> Path:
    tree = place / "tree"
    tree.mkdir()
    for name in ("hubd", "hubctl", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def run(tree: Path, nodes: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *nodes],
        cwd=tree, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False,
    )  # fmt: skip


def test_the_text_of_a_mutation_is_in_the_program_once() -> None:
    program = texts_of(ROOT)
    for mutation in MUTATIONS:
        changed = mutation.changed(program)
        assert changed
        for path, text in changed.items():
            if path.suffix == ".py":
                compile(text, f"{path}, {mutation.name}", "exec")


def test_a_mutation_whose_text_has_gone_says_so(tmp_path: Path) -> None:
    (tmp_path / "hubd").mkdir()
    (tmp_path / "hubd" / "a.py").write_text("x = 1\nx = 1\n")
    for old in ("y = 1", "x = 1"):
        with pytest.raises(Stale, match="not once"):
            Mutation(name="any", changes=((old, ""),), caught_by=()).apply(tmp_path)


def test_the_readme_has_every_mutation_and_the_test_that_catches_it() -> None:
    readme = (HERE / "README.md").read_text()
    for mutation in MUTATIONS:
        (line,) = (line for line in readme.splitlines() if line.startswith(f"| {mutation.name} |"))
        for node in mutation.caught_by:
            assert f"`{node.rsplit('::', 1)[1]}`" in line


@pytest.mark.soak
def test_without_a_mutation_the_named_tests_pass(tmp_path: Path) -> None:
    nodes = sorted({node for mutation in MUTATIONS for node in mutation.caught_by})
    done = run(copy_of_the_tree(tmp_path), nodes)
    assert done.returncode == 0, done.stdout


@pytest.mark.soak
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_is_caught_by_each_of_its_tests(mutation: Mutation, tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    mutation.apply(tree)
    for node in mutation.caught_by:
        done = run(tree, [node])
        assert done.returncode == FAILED, f"{node} does not notice:\n{done.stdout}"
