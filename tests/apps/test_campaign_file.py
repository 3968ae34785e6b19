"""Reading a campaign file: everything it names is read here, and every fault has its line."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubctl.campaign_file import ATTACHMENTS_LIMIT, CampaignFile, line_of, read_campaign, template_guess
from hubctl.exits import Refused


def write(folder: Path, text: str, name: str = "c.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(Refused) as caught:
        read_campaign(write(folder, text))
    return "\n".join([str(caught.value), *caught.value.details]).replace(f"{folder}/", "")


def refused(path: Path) -> Refused | None:
    """Why a file is refused, if it is."""
    try:
        read_campaign(path)
    except Refused as error:
        return error
    return None


def good(folder: Path, text: str) -> CampaignFile:
    return read_campaign(write(folder, text))


def test_texts_and_attachments_are_read_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/body.txt").write_bytes("\ufeffHi\r\nthere\n".encode())
    (tmp_path / "flyer.pdf").write_bytes(b"%PDF")
    found = good(tmp_path, 'text_file = "parts/body.txt"\nattachments = ["flyer.pdf"]\n')
    assert found.spec["text"] == "Hi\nthere\n"
    digest = hashlib.sha256(b"%PDF").hexdigest()
    assert found.spec["attachments"] == [
        {"name": "flyer.pdf", "type": "application/pdf", "sha256": digest, "size": 4}
    ]
    assert found.enclosures[0].content == b"%PDF"


@pytest.mark.parametrize("at", ["2026-12-01T09:00:00+01:00", "2026-12-01T09:00:00", "09:00:00", "2026-12-01"])
def test_dates_and_times_become_text(tmp_path: Path, at: str) -> None:
    assert good(tmp_path, f"[schedule]\nat = {at}\n").spec["schedule"]["at"] == at


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/passwd", "is an absolute path"),
        ("../secret.txt", "leaves the campaign file's folder"),
        ("sub/../../secret.txt", "leaves the campaign file's folder"),
        ("link.txt", "is a link that leaves"),
        ("folder", "is a directory, not a file"),
        ("pipe", "is a pipe, not a file"),
        ("missing.txt", "does not exist"),
        ("a\\nb", "control characters"),
        ("x" * 300, "cannot be read"),
        ("loop", "cannot be read"),
    ],
)
def test_a_path_that_is_no_file_of_the_folder_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    folder = tmp_path / "campaign"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    for key, value in (("text_file", f'"{name}"'), ("attachments", f'["{name}"]'), ("inline", f'["{name}"]')):
        told = refusal(folder, f"{key} = {value}\n")
        assert told.startswith(f"c.toml:1: {key}: ")
        assert problem in told


def test_pictures_are_read_like_attachments_and_uploaded_with_them(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"logo")
    (tmp_path / "flyer.pdf").write_bytes(b"flyer")
    found = good(tmp_path, 'inline = ["logo.png"]\nattachments = ["flyer.pdf"]\n')
    assert [each["name"] for each in found.spec["inline"]] == ["logo.png"]
    assert [each["name"] for each in found.spec["attachments"]] == ["flyer.pdf"]
    assert {each.content for each in found.enclosures} == {b"logo", b"flyer"}
    assert "inline: must be a list of file names" in refusal(tmp_path, 'inline = "logo.png"\n')


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "v2.txt").write_text("two")
    (tmp_path / "body.txt").symlink_to("v2.txt")
    assert good(tmp_path, 'text_file = "body.txt"\n').spec["text"] == "two"


def test_sizes_are_capped_before_anything_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.bin").open("wb") as file:
        file.truncate(ATTACHMENTS_LIMIT)
    (tmp_path / "b.bin").write_bytes(b"x")
    (tmp_path / "empty").touch()
    told = refusal(tmp_path, 'attachments = ["a.bin", "b.bin", "empty"]\n')
    assert "b.bin has 1 bytes; at most 0 are allowed here" in told
    assert "empty is empty" in told
    told = refusal(tmp_path, 'attachments = ["a.bin"]\ninline = ["b.bin"]\n')
    assert told.startswith("c.toml:2: inline: b.bin has 1 bytes; at most 0"), "they have one limit together"
    (tmp_path / "long.txt").write_bytes(b"x" * (512 * 1024 + 1))
    assert "at most 524,288 are allowed here" in refusal(tmp_path, 'text_file = "long.txt"\n')


def test_text_twice_and_text_of_another_encoding_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("ü".encode("latin-1"))
    assert "not UTF-8" in refusal(tmp_path, 'text_file = "latin.txt"\n')
    assert "text is also given" in refusal(tmp_path, 'text = "x"\ntext_file = "latin.txt"\n')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('name = "x\n', "c.toml:1: this is not TOML"),
        ("a = 1\nb =\n", "c.toml:2: this is not TOML"),
        ("a = 1\na = 2\n", "c.toml:2: this is not TOML"),
        ("[[x", "c.toml:1: this is not TOML"),
        ("x = " + "[" * 5000, "c.toml"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    assert refusal(tmp_path, text).startswith(told)


@pytest.mark.parametrize(
    ("line", "guess"),
    [
        ("name = spring", "texts need quotes"),
        ("rate = 20/s", "texts need quotes"),
        ("sender = Acme <a@acme.example>", "texts need quotes"),
        ("name: spring", "like this: name ="),
        ("first name = 1", "like this: name ="),
        ('text = "Hi', 'between """ and """'),
        ('text = "Say "hi" now"', "a quote inside a text"),
        ("name = \u201cspring\u201d", "straight quotes"),
        ('text = "C:\\d"', "write each backslash twice"),
        ("tracked = True", "lower case: true"),
        ("name =", "a value is missing"),
        ("x = 1", "the same key occurs twice"),
        ('text = """Hi', "begins on line 2 is never closed"),
        ("lists = ['a' 'b']", "a list ends with ]"),
        ("[retry] give_up_after = '1h'", "on its own line"),
    ],
)
def test_a_line_that_is_not_toml_is_shown_with_what_is_probably_meant(
    tmp_path: Path, line: str, guess: str
) -> None:
    with pytest.raises(Refused) as caught:
        read_campaign(write(tmp_path, f"x = 0\n{line}\n"))
    assert str(caught.value).startswith(f"{tmp_path}/c.toml:2: this is not TOML: ")
    assert caught.value.details == [line]
    assert guess in caught.value.hint


@given(st.text(alphabet=st.sampled_from("a=\"'[]{}\n\r\\#,. 1\u201c\u2028\x0b"), max_size=30))
def test_whatever_is_not_toml_is_refused_with_a_line_of_the_file(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "c.toml"
        path.write_bytes(text.encode())
        error = refused(path)
    if error is not None and "not TOML" in str(error):
        assert all(line in text for line in error.details)


def test_a_very_long_line_is_not_shown_whole(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        read_campaign(write(tmp_path, "x = " + "y" * 5000))
    assert len(caught.value.details[0]) == 71


def test_a_field_with_a_space_in_its_name_gets_a_guess() -> None:
    faults = ["line 1: expected token 'end of print statement', got 'name'"]
    assert "cannot contain spaces" in template_guess(faults)
    assert "two braces" in template_guess(["x", "unexpected '}'"])
    assert template_guess(["something else"]) == ""


def test_a_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.toml", Path("/dev/zero")):
        with pytest.raises(Refused):
            read_campaign(path)


SOURCE = '''\
name = "x"  # [retry]
text = """
[retry]
give_up = "in the text"
"""
schedule = { at = 2026-12-01T09:00:00Z }
"sender" = "a"
lists = [
  "one",
]
rate.limit = 1

[retry]
  give_up = "24h"
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("name", 1),
        ("text", 2),
        ("schedule.at", 6),
        ("sender", 7),
        ("lists[0]", 8),
        ("rate.limit", 11),
        ("retry", 13),
        ("retry.give_up", 14),
        ("retry.other", 13),
        ("nowhere", 0),
        ("", 0),
    ],
)
def test_the_line_of_a_key_is_found(key: str, line: int) -> None:
    assert line_of(SOURCE, key) == line


def test_a_fault_in_a_text_is_told_at_the_key_that_names_its_file() -> None:
    assert line_of('name = "x"\nhtml_file = "body.html"\n', "html") == 2


def test_a_text_that_is_the_name_of_a_file_here_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "our mail.html").write_text("<p>x</p>")
    assert "c.toml:1: html: is the name of a file in this folder; write it as html_file" in refusal(
        tmp_path, 'html = "our mail.html"\n'
    )
    assert good(tmp_path, 'text = "our mail.htm"\n').spec["text"] == "our mail.htm"


@pytest.mark.parametrize(
    ("source", "key", "place"),
    [
        ('html_file = "mail.html"\n', "html line 7", "mail.html:7: html"),
        ('\ntext = """\nHi\nthere"""\n', "text line 2", "c.toml:4: text"),
        ("\ntext = '''Hi\nthere'''\n", "text line 2", "c.toml:3: text"),
        ('\ntext = "Hi\\nthere"\n', "text line 2", "c.toml:2: text"),
        ('subject = "Hi"\n', "subject line 1", "c.toml:1: subject"),
        ('subject = "Hi"\n', "html line 9", "c.toml: html"),
        ('[schedule]\nwindow = "x"\n', "schedule.window", "c.toml:2: schedule.window"),
    ],
)
def test_the_line_of_a_text_is_that_of_its_file(tmp_path: Path, source: str, key: str, place: str) -> None:
    (tmp_path / "mail.html").write_text("<p>\n")
    assert good(tmp_path, source).place(key).replace(f"{tmp_path}/", "") == place
