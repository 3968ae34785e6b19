"""`hubctl preview --html` and `--open`: the message as a browser shows it, and no file of anybody's lost."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from hubctl.browser_page import MARK, browser_page, open_page, write_page
from hubctl.exits import Refused
from tests.apps.conftest import Hub

SOURCE = """\
Content-Type: multipart/related; boundary=b

--b
Content-Type: text/html

x
--b
Content-Type: image/png
Content-Transfer-Encoding: base64
Content-ID: <1f@acme.example>

iVBORw==
--b--
"""


def test_the_pictures_of_the_message_are_in_the_page() -> None:
    page = browser_page('<img src="cid:1f@acme.example"><td background=cid:other>', SOURCE)
    assert page == f'{MARK}<img src="data:image/png;base64,iVBORw=="><td background=cid:other>'


def test_a_page_runs_no_scripts_and_keeps_its_doctype_first() -> None:
    page = browser_page('<!doctype html><html><head lang="de"><title>x</title>', "\n\n")
    assert page.startswith(f'{MARK}<!doctype html><html><head lang="de"><meta http-equiv="Content-Security')


def test_only_what_was_written_here_is_ever_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mail.html"
    write_page(path, browser_page("<p>ä</p>", ""))
    write_page(path, browser_page("<p>ö</p>", ""))
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert "ö" in path.read_text("utf-8-sig")
    path.write_text("<p>mine</p>")
    with pytest.raises(Refused, match="not written by hubctl preview"):
        write_page(path, browser_page("x", ""))
    assert path.read_text() == "<p>mine</p>"
    with pytest.raises(Refused, match="cannot be written"):
        write_page(tmp_path / "none" / "x.html", "x")


def test_without_a_browser_the_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def opened(url: str) -> bool:
        shown.append(url)
        return len(shown) == 1

    monkeypatch.setattr(webbrowser, "open", opened)
    assert open_page("spring", "page").as_uri() == shown[0]
    with pytest.raises(Refused, match="no browser") as caught:
        open_page("spring", "page")
    assert "open this file yourself" in caught.value.hint


def test_a_preview_shows_what_a_reader_sees_and_writes_the_page(hub: Hub) -> None:
    hub.contacts(1)
    hub.campaign("spring", html="<p>Hi</p>", reply_to="help@acme.example")
    shown = hub.run("preview", "spring")
    for line in ("From: ", "To: ", "Reply-To: help@acme.example", "Subject: "):
        assert f"\n{line}" in f"\n{shown.stdout}"
    assert "--open" in shown.stderr
    path = Path(hub.folder) / "page.html"
    assert hub.ok("preview", "spring", "--html", str(path)) == f"written: {path}\n"
    assert "<p>Hi</p>" in path.read_text("utf-8-sig")
    assert hub.ok("preview", "--html", "spring") == hub.ok("preview", "spring", "--html")
    assert hub.run("preview", "--html").returncode == 2
    sent = hub.run("test", "spring", "--to", "me@example.com", "--as", "nobody@example.com")
    assert sent.returncode == 3
