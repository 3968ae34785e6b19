"""The server of hubview's page: who gets what, and what becomes of a preview and of a dropped file."""

from __future__ import annotations

import http.client
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubd.errors import BadInput, HubError
from hubd.wire.places import place_at
from hubview.daemon import Daemon
from hubview.instance import only_instance
from hubview.requests import PageRequests
from hubview.server import KEY_HEADER, MAX_BODY, MAX_PREVIEWS, PageServer, serve_page
from hubview.settings import LARGEST, SMALLEST, Settings, checked_choices, settings_path
from hubview.table import MAX_ROWS, Table
from hubview.window import load_webview


@contextmanager
def serving() -> Iterator[PageServer]:
    """The server as hubview runs it, for a daemon that does not run."""
    daemon = Daemon(place_at("/nowhere/control.sock", chosen="--socket"))
    with serve_page(PageRequests(daemon, Settings(None))) as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with serving() as served:
        yield served


def ask(
    server: PageServer, method: str, path: str, body: Any = None, **headers: str | None
) -> tuple[int, dict[str, str], bytes]:
    """One request with the headers of the page, but for those that are given; None leaves one out."""
    sent = {"Origin": server.origin, KEY_HEADER: server.key, "Content-Type": "application/json", **headers}
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if method == "POST" else None
    connection = http.client.HTTPConnection(server.authority, timeout=30)
    try:
        connection.request(
            method, path, data, {name: value for name, value in sent.items() if value is not None}
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_the_page_comes_with_a_strict_policy_and_has_nothing_inline(server: PageServer) -> None:
    status, headers, body = ask(server, "GET", "/")
    policy = headers["Content-Security-Policy"]
    assert status == 200
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    text = body.decode()
    assert "<style" not in text
    assert " style=" not in text
    assert "<script>" not in text


def test_all_files_of_the_page_are_there_and_nothing_else_is(server: PageServer) -> None:
    assert ask(server, "GET", "/views/home.js")[1]["Content-Type"].startswith("text/javascript")
    assert ask(server, "GET", "/hub.css")[0] == 200
    for path in ("/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/views", "/views/", "/package.json"):
        assert ask(server, "GET", path)[0] == 404, path


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1", ""])
def test_a_name_that_was_rebound_to_this_address_gets_nothing(
    server: PageServer, method: str, host: str
) -> None:
    assert ask(server, method, "/", Host=host)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {KEY_HEADER: None},
        {KEY_HEADER: ""},
        {KEY_HEADER: "wrong"},
        {KEY_HEADER: "\xe9"},
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
    ],
)
def test_without_the_key_or_from_another_page_nothing_is_answered(
    server: PageServer, headers: dict[str, str | None]
) -> None:
    status, _, body = ask(server, "POST", "/ticket", **headers)
    assert status == 403
    assert b"{" not in body


def test_the_key_is_in_the_fragment_which_is_never_sent(server: PageServer) -> None:
    address = server.address("/campaigns/x")
    assert address == f"{server.origin}/#key={server.key}&at=/campaigns/x"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"", {"Content-Length": str(MAX_BODY + 1)}, 413),
        (b"", {"Content-Length": "-1"}, 413),
        (b"", {"Content-Length": "x"}, 413),
    ],
)
def test_a_body_that_is_not_what_it_should_be_is_refused(
    server: PageServer, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert ask(server, "POST", "/ticket", body, **headers)[0] == status


def answer(server: PageServer, path: str, body: Any = None) -> dict[str, Any]:
    status, _, text = ask(server, "POST", path, body)
    assert status == 200
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_daemon_that_does_not_run_is_told_with_the_next_step(server: PageServer) -> None:
    error = answer(server, "/ticket")["error"]
    assert error["code"] == "socket_missing"
    assert error["hint"].startswith("start it with: hubd --socket /nowhere/control.sock")
    assert error["can_start"] is False
    assert answer(server, "/start")["error"]["code"] == "no_start"
    assert answer(server, "/nonsense")["error"]["code"] == "method_not_found"


@pytest.mark.parametrize(
    ("account", "problem"),
    [
        (None, "texts by name"),
        ({"name": 5}, "texts by name"),
        ({"name": "x", "config": "/etc/passwd"}, "has no config"),
        ({"name": "  "}, "give it a name"),
        ({"name": "x", "type": "--help"}, "--help"),
    ],
)
def test_an_account_that_is_none_is_refused(server: PageServer, account: Any, problem: str) -> None:
    error = answer(server, "/provider/add", account)["error"]
    assert problem in error["message"]


def test_a_preview_has_no_rights_whatever_is_in_it(server: PageServer) -> None:
    path = answer(server, "/preview", {"html": "<script>alert(1)</script>"})["path"]
    status, headers, body = ask(server, "GET", path, **{KEY_HEADER: None})
    policy = headers["Content-Security-Policy"].split("; ")
    assert status == 200
    assert body == b"<script>alert(1)</script>"
    assert "sandbox" in policy, "a sandbox that allows nothing, not even scripts"
    assert "default-src 'none'" in policy
    assert not [each for each in policy if each.startswith(("script-src", "connect-src"))]
    assert answer(server, "/preview", {"html": 1})["error"]["code"] == "bad_input"


def test_few_previews_are_kept(server: PageServer) -> None:
    paths = [answer(server, "/preview", {"html": str(n)})["path"] for n in range(MAX_PREVIEWS + 1)]
    assert [ask(server, "GET", path)[0] for path in paths] == [404] + MAX_PREVIEWS * [200]
    assert len(set(paths)) == len(paths)


def test_a_file_is_read_by_the_reader_of_hubctl_import(server: PageServer) -> None:
    content = "E-Mail;Ort\nann@example.com;Köln\n;;;;\nx;y;z\n".encode("utf-16")
    status, _, text = ask(
        server, "POST", "/table?kunden%20neu.csv", content, **{"Content-Type": "application/octet-stream"}
    )
    table = json.loads(text)
    assert status == 200
    assert (table["name"], table["columns"], table["delimiter"]) == ("kunden neu.csv", ["E-Mail", "Ort"], ";")
    rows = answer(server, "/table/rows", 0)
    assert rows["rows"] == [{"line": 2, "cells": ["ann@example.com", "Köln"]}]
    assert [bad["line"] for bad in rows["bad"]] == [4]
    assert rows["next"] is None


def test_a_file_that_is_no_csv_says_what_it_is(server: PageServer) -> None:
    _, _, text = ask(
        server,
        "POST",
        "/table?people.xlsx",
        b"PK\x03\x04rest",
        **{"Content-Type": "application/octet-stream"},
    )
    assert "spreadsheet" in json.loads(text)["error"]["message"]


@given(st.lists(st.text("ab,\n\"'é", max_size=12), max_size=30), st.integers(1, 60))
def test_page_by_page_each_row_comes_once_and_in_order(cells: list[str], repeat: int) -> None:
    lines = [f'"{cell.replace(chr(34), chr(34) * 2)}",x' for cell in cells] * repeat
    table = Table(("a,b\n" + "".join(f"{line}\n" for line in lines)).encode(), "f.csv")
    for _ in range(2):
        found: list[list[str]] = []
        position: int | None = 0
        while position is not None:
            page = table.page(position)
            assert len(page["rows"]) <= MAX_ROWS
            found += [row["cells"] for row in page["rows"]]
            position = page["next"]
        assert [cell for cell, _ in found] == cells * repeat


def test_a_page_of_a_file_that_was_not_asked_for_in_order_is_refused() -> None:
    table = Table(b"a\n1\n", "f.csv")
    with pytest.raises(BadInput, match="position"):
        table.page(7)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_in_the_file_of_settings_the_window_can_be_used(
    tmp_path_factory: Any, value: Any
) -> None:
    path = tmp_path_factory.mktemp("settings") / "hubview.json"
    path.write_text(json.dumps({"width": value, "height": 5, "choices": value}))
    width, height = Settings(path).size
    assert SMALLEST[0] <= width <= LARGEST[0]
    assert SMALLEST[1] <= height <= LARGEST[1]
    assert checked_choices(Settings(path).choices) == Settings(path).choices


def test_what_was_chosen_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "new" / "hubview.json"
    first = Settings(path)
    first.keep_size(1000, 700)
    first.keep_choices({"theme": "dark", "bad": 5})
    assert Settings(path).size == (1000, 700)
    assert Settings(path).choices == {"theme": "dark"}
    assert path.stat().st_mode & 0o077 == 0


def test_settings_lie_in_the_folder_of_states() -> None:
    assert settings_path({"XDG_STATE_HOME": "/s"}) == Path("/s/messagehub/hubview.json")
    assert settings_path({"XDG_STATE_HOME": "relative", "HOME": "/h"}) == Path(
        "/h/.local/state/messagehub/hubview.json"
    )
    assert settings_path({}) is None


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a socket."""
    with tempfile.TemporaryDirectory(prefix="hub-") as folder:
        yield Path(folder)


def test_a_second_start_shows_the_first_window(short: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(short)}
    place, other = place_at("/a/control.sock"), place_at("/b/control.sock")
    shown: list[str] = []
    with only_instance(place, "/", environ) as first:
        assert first is not None
        first.show = shown.append
        first.listen()
        with only_instance(place, "/campaigns/x", environ) as second:
            assert second is None
        with only_instance(other, "/", environ) as another:
            assert another is not None, "a window for another daemon is its own"
    assert shown == ["/campaigns/x"]
    with only_instance(place, "/", environ) as again:
        assert again is not None
    assert not list((short / "messagehub").glob("*.sock"))


def test_where_no_socket_can_be_each_start_has_its_window(tmp_path: Path) -> None:
    """A path of a socket has at most 107 bytes."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    for _ in range(2):
        with only_instance(place_at("/a/control.sock"), "/", {"XDG_RUNTIME_DIR": str(long)}) as first:
            assert first is not None


def test_without_a_display_a_window_is_refused_with_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(HubError, match="no display") as caught:
        load_webview()
    assert "hubview --browser" in caught.value.hint


def test_without_a_toolkit_the_message_has_the_line_that_installs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The virtual environment of the tests has neither; whether the system has one does not matter."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setitem(__import__("sys").modules, "gi", None)
    with pytest.raises(HubError, match="neither GTK with WebKit nor Qt") as caught:
        load_webview()
    assert "apt install python3-gi gir1.2-webkit2-4.1" in caught.value.hint
    assert "messagehubd[qt]" in caught.value.hint
    assert os.environ["WEBKIT_DISABLE_DMABUF_RENDERER"] == "1"
