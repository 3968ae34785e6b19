"""The page of hubview as text: its types, its format, its vendored files, and its views without a browser."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubctl.csv_out import guarded
from tests.node_packages import page_modules

ROOT = Path(__file__).resolve().parent.parent.parent
HUBVIEW = ROOT / "hubview"
PAGE = HUBVIEW / "page"
VENDOR = PAGE / "vendor"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=HUBVIEW, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_views_show_what_they_should_without_a_browser() -> None:
    run("node", "--test", *sorted((ROOT / "tests" / "page").glob("*.test.mjs")))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    [
        '"""',
        "\\",
        "\r\n",
        "a\nb",
        "\x00\x7f",
        "'",
        '"',
        "\ttab",
        "\nfirst line empty",
        "#",
        'a "b"\n"',
        '""\n""""x',
        '\\"\n',
        "{{ x }}",
    ]
)
SPECS = st.fixed_dictionaries(
    {"name": TEXTS, "text": TEXTS, "lists": st.lists(TEXTS, min_size=1), "rate": st.lists(TEXTS, min_size=1)},
    optional={
        "headers": st.dictionaries(TEXTS, TEXTS, min_size=1),
        "schedule": st.fixed_dictionaries({"window": TEXTS}),
    },
)


@settings(max_examples=5, deadline=None)  # each starts a program, for many of them
@given(st.lists(SPECS, min_size=30, max_size=60))
def test_a_campaign_shown_as_a_file_is_that_campaign(specs: list[dict[str, object]]) -> None:
    script = (
        f"import {{ toToml }} from {json.dumps((PAGE / 'toml.js').as_uri())};"
        "let text = ''; for await (const part of process.stdin) text += part;"
        "console.log(JSON.stringify(JSON.parse(text).map(toToml)));"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps(specs),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert [tomllib.loads(text) for text in json.loads(done.stdout)] == specs


@settings(max_examples=3, deadline=None)  # each starts a program, for many of them
@given(st.lists(st.lists(TEXTS | st.text("=+-@'\t\r\"a,", max_size=4), min_size=1), min_size=50, max_size=80))
def test_rows_that_the_page_saves_are_guarded_as_those_of_hubctl(rows: list[list[str]]) -> None:
    script = (
        f"import {{ csv }} from {json.dumps((PAGE / 'saving.js').as_uri())};"
        "let text = ''; for await (const part of process.stdin) text += part;"
        "process.stdout.write(csv(JSON.parse(text)));"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps(rows).encode(),
        capture_output=True,
        timeout=120,
        check=True,
    )
    wanted = "".join(
        '"' + '","'.join(guarded(cell).replace('"', '""') for cell in row) + '"\r\n' for row in rows
    )
    assert done.stdout.decode("utf-8-sig") == wanted


def test_the_types_fit() -> None:
    run(page_modules() / ".bin" / "tsc", "-p", HUBVIEW)


def test_the_page_is_formatted() -> None:
    prettier = page_modules() / ".bin" / "prettier"
    options = ("--config", "package.json", "--ignore-path", ".prettierignore", "--check")
    run(prettier, *options, "page/**/*.js", "page/index.html", ROOT / "tests" / "page" / "*.mjs")


@pytest.mark.parametrize("path", [path for path in VENDOR.rglob("*") if path.is_file()], ids=str)
def test_a_vendored_file_is_the_one_that_was_published(path: Path) -> None:
    assert path.read_bytes() == (page_modules() / path.relative_to(VENDOR)).read_bytes()


def test_each_vendored_package_has_its_licence() -> None:
    for folder in VENDOR.iterdir():
        assert "Copyright" in (folder / "LICENSE").read_text()


def own_files(*suffixes: str) -> list[Path]:
    return [path for path in PAGE.rglob("*") if path.suffix in suffixes and VENDOR not in path.parents]


def test_every_module_of_the_page_says_what_it_is() -> None:
    for path in own_files(".js"):
        assert path.read_text().startswith("/**"), path


def test_nothing_on_the_page_animates() -> None:
    """A value that changes four times a second must not move: without a GPU it takes a whole core."""
    words = re.compile(r"\b(transition|animation|@keyframes)\b(?!s? in this file)")
    for path in own_files(".css", ".js", ".html"):
        assert not [line for line in path.read_text().splitlines() if words.search(line)], path


def test_nothing_is_inline_that_the_policy_forbids() -> None:
    """Neither style attributes, nor HTML from text, nor code from text."""
    forbidden = re.compile(
        r"\sstyle=|innerHTML|outerHTML|insertAdjacentHTML|unsafeHTML|\beval\(|new Function|srcdoc"
    )
    for path in own_files(".js", ".html"):
        assert not [line for line in path.read_text().splitlines() if forbidden.search(line)], path


def test_the_page_names_no_address_elsewhere() -> None:
    for path in own_files(".js", ".css", ".html"):
        found = set(re.findall(r"https?://([\w.-]+)", path.read_text()))
        assert found <= {"acme.example", "www.w3.org"}, path


def test_each_class_that_a_view_uses_is_in_the_style_sheet() -> None:
    sheet = (PAGE / "hub.css").read_text()
    known = set(re.findall(r"\.([A-Za-z_][\w-]*)", sheet))
    used = set()
    for path in own_files(".js", ".html"):
        for words in re.findall(r'class="([^"$]*)"', path.read_text()):
            used |= {word for word in words.split() if word}
    assert used - known <= {"page", "fill"}
