"""The handshake: hostile heads, too many connections, the socket file. The daemon outlives all of it."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio import testing

from hubd.client import open_client
from hubd.control import connection_limits, gate
from hubd.control.connection_limits import ConnectionLimits
from hubd.control.head import END, MAX_HEAD, Handshake, Refusal, judge, response
from hubd.control.listener import MAX_PATH, open_listener
from hubd.control.roles import Role
from hubd.errors import BadInput, Conflict, Unreachable
from tests.shell.open_hub import Served, open_hub
from tests.shell.raw_client import answer_to, head


def status(data: bytes) -> int:
    judged = judge(data)
    return judged.status if isinstance(judged, Refusal) else 101


async def alive(served: Served) -> None:
    async with open_client(served.path) as hub:
        await hub.call("hub.status")


async def may_enter(served: Served) -> bool:
    try:
        await alive(served)
    except Unreachable as error:
        return error.code != "busy"
    return True


# -- the head, judged --------------------------------------------------------------------------------------


def test_a_client_of_ours_passes() -> None:
    assert judge(head()) == Handshake()
    several = head(Connection="keep-alive, Upgrade", Sec_WebSocket_Protocol="x, hub.jsonrpc.v1")
    assert judge(several) == Handshake()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "file://"}, 403),
        ({"Origin": ""}, 403),
        ({"Referer": "https://evil.example/"}, 403),
        ({"Host": "rebind.evil:80"}, 403),
        ({"Host": "localhost"}, 403),
        ({"Host": "HUBD.SOCK"}, 403),
        ({"Host": None}, 403),
        ({"Host": ""}, 403),
        ({"Upgrade": None}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "close"}, 426),
        ({"Sec_WebSocket_Version": "12"}, 426),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "\t"}, 400),
        ({"Sec_WebSocket_Key": "short=="}, 400),
        ({"Sec_WebSocket_Protocol": None}, 400),
        ({"Sec_WebSocket_Protocol": "hub.jsonrpc.v2"}, 400),
        ({"Content_Length": "5"}, 400),
        ({"Transfer_Encoding": "chunked"}, 400),
        ({"X": "a\x00b"}, 400),
        ({"X": "a\x7fb"}, 400),
        ({"X": "a\nb"}, 400),
        ({"X": "a\r b"}, 400),
        ({"X y": "z"}, 400),
        ({"X": " " * 7_000 + "\x01"}, 400),  # a pattern that can match blanks in two ways takes minutes here
    ],
)
def test_heads_that_are_refused(changes: dict[str, Any], expected: int) -> None:
    assert status(head(**changes)) == expected


def test_the_same_header_twice_is_refused() -> None:
    twice = head().replace(b"Host: hubd.sock", b"Host: hubd.sock\r\nHost: hubd.sock")
    assert status(twice) == 403
    assert status(head().replace(END, b"\r\nSec-WebSocket-Key: x" + END)) == 400


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/1.1", 404),
        (b"GET /rpc?x HTTP/1.1", 404),
        (b"GET http://hubd.sock/rpc HTTP/1.1", 404),
        (b"POST /rpc HTTP/1.1", 404),
        (b"GET /rpc HTTP/1.0", 400),
        (b"GET /rpc", 400),
        (b"EHLO mail.example", 400),
        (b"", 400),
    ],
)
def test_request_lines_that_are_refused(line: bytes, expected: int) -> None:
    assert status(head().replace(b"GET /rpc HTTP/1.1", line)) == expected


def test_a_refusal_is_a_whole_response() -> None:
    said = response(Refusal(426, "speak websocket"))
    first, _, body = said.partition(END)
    assert first.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"Content-Length: 16" in first
    assert body == b"speak websocket\n"


def handshake(data: bytes) -> Handshake:
    judged = judge(data, 8000)
    assert isinstance(judged, Handshake), judged
    return judged


def test_on_tcp_the_token_comes_as_a_subprotocol_or_as_a_header() -> None:
    here = {"Host": "127.0.0.1:8000", "Origin": "http://localhost:3000"}
    asked = "hub.jsonrpc.v1, hub.bearer.aB-_9"
    assert handshake(head(**here, Sec_WebSocket_Protocol=asked)) == Handshake(
        origin=here["Origin"], bearer="aB-_9"
    )
    assert handshake(head(Host="[::1]:8000", Authorization="bearer aB-_9")) == Handshake(bearer="aB-_9")


@given(st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=60))
def test_any_line_in_a_head_is_judged(text: str) -> None:
    for port in (None, 8000):
        judged = judge(head().replace(END, b"\r\n" + text.encode("latin-1") + END), port)
        assert isinstance(judged, Handshake | Refusal)
        if isinstance(judged, Refusal):
            assert response(judged).startswith(b"HTTP/1.1 4")


# -- connection limits -------------------------------------------------------------------------------------


def test_viewers_leave_room_for_operators() -> None:
    counts = ConnectionLimits()
    with ExitStack() as stack:
        for _ in range(connection_limits.MAX_VIEWERS):
            assert stack.enter_context(counts.inside(Role.VIEWER)) is None
        with counts.inside(Role.VIEWER) as refusal:
            assert refusal is not None
        for _ in range(connection_limits.MAX_CONNECTIONS - connection_limits.MAX_VIEWERS):
            assert stack.enter_context(counts.inside(Role.OPERATOR)) is None
        with counts.inside(Role.OPERATOR) as refusal:
            assert refusal is not None
            assert refusal.status == 503
    with counts.inside(Role.VIEWER) as refusal:
        assert refusal is None


def test_those_who_leave_in_peace_are_counted() -> None:
    counts = ConnectionLimits()
    with ExitStack() as stack:
        polite = [stack.enter_context(counts.leaving()) for _ in range(connection_limits.MAX_LEAVING + 5)]
    assert polite.count(False) == 5
    with counts.leaving() as politely:
        assert politely


# -- at the real socket ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        b"GET ",
        b"Host: ",
        b"Upgrade: ",
        b"Connection: ",
        b"Sec-WebSocket-Key: ",
        b"Sec-WebSocket-Version: ",
        b"Sec-WebSocket-Protocol: ",
        b"Sec-WebSocket-Extensions: ",
        b"Origin: ",
        b"Referer: ",
        b"X-",
    ],
)
async def test_every_octet_in_a_header_leaves_the_daemon_alive(
    served: Served, name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the value and after it, and none of them gets as far as to a library that trips over it."""
    good = head(Sec_WebSocket_Extensions="permessage-deflate", X_Y="z")
    if name not in good:
        good = good.replace(END, b"\r\n" + name + b"http://127.0.0.1" + END)
    begin = good.index(name) + len(name)
    for at in (begin, good.index(b"\r\n", begin)):
        answers = [
            await answer_to(served.path, good[:at] + bytes([octet]) + good[at:]) for octet in range(256)
        ]
        assert all(said.startswith(b"HTTP/1.1 ") for said in answers)
        assert all(said.startswith(b"HTTP/1.1 4") for said in answers[127:])
    await alive(served)
    assert "incident" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: hubd.sock\r\n\r\n", b"HTTP/1.1 404 "),
        (b"GET /rpc HTTP/1.1\r\nHost: hubd.sock\r\n\r\n", b"HTTP/1.1 426 "),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HTTP/1.1 400 "),
        (b"GET /rpc HTTP/1.1\r\nX: " + b"a" * 20_000, b"HTTP/1.1 431 "),
        (b"GET /rpc HTTP/1.1\r\n" + b"X: y\r\n" * 5_000, b"HTTP/1.1 431 "),
    ],
)
async def test_foreign_protocols_are_answered_and_closed(
    served: Served, data: bytes, expected: bytes
) -> None:
    said = await answer_to(served.path, data)
    assert said.startswith(expected)
    await alive(served)


async def test_a_head_that_ends_too_early(served: Served) -> None:
    assert (await answer_to(served.path, b"GET /rpc HT", end=True)).startswith(b"HTTP/1.1 400 ")
    assert (await answer_to(served.path, b"", end=True)).startswith(b"HTTP/1.1 400 ")
    await alive(served)


async def test_a_slow_head_is_cut_at_the_deadline(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "HEAD_SECONDS", 0.05)
    assert (await answer_to(served.path, b"GET /rpc HTTP/1.1\r\nHost:")).startswith(b"HTTP/1.1 408 ")
    monkeypatch.undo()  # others have the time that they always have
    await alive(served)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: hubd.sock\r\n\r\n", id="a plain GET"),
        pytest.param(b"GET /rpc HTTP/1.1\r\nHost:", id="a head that never ends"),
        pytest.param(b"", id="silence"),
        pytest.param(b"GET /rpc HTTP/1.1\r\nX: " + b"a" * 20_000, id="a head of 20 KB"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(head(Origin="null"), id="a page"),
    ],
)
async def test_nothing_is_left_of_who_was_not_let_in(
    served: Served, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are closed within a limit, by us: these clients wait for the end, and then no task is there."""
    await alive(served)
    await testing.wait_all_tasks_blocked()
    before = trio.lowlevel.current_statistics().tasks_living
    monkeypatch.setattr(gate, "HEAD_SECONDS", 0.05)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(answer_to, served.path, data)
    with trio.fail_after(20):
        while trio.lowlevel.current_statistics().tasks_living > before:
            await trio.lowlevel.checkpoint()


async def test_a_head_in_single_bytes_is_read(served: Served) -> None:
    async with await trio.open_unix_socket(served.path) as stream:
        for octet in head():
            await stream.send_all(bytes([octet]))
        with trio.fail_after(10):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")


async def test_a_client_that_does_not_wait_for_the_answer_is_refused(served: Served) -> None:
    """RFC 6455 4.1 forbids it, and the websocket library would leave such frames unread."""
    ping = b"\x89\x80\x00\x00\x00\x00"
    assert (await answer_to(served.path, head() + ping)).startswith(b"HTTP/1.1 400 ")


async def test_clients_above_the_limit_are_sent_away_and_those_inside_stay(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "MAX_CONNECTIONS", 2)
    async with open_client(served.path) as first:
        async with open_client(served.path):
            with pytest.raises(Unreachable) as caught:
                async with open_client(served.path):
                    pass
            assert caught.value.code == "busy"
            assert await first.call("hub.status")
        with trio.fail_after(10):
            while not await may_enter(served):  # until the daemon has seen the second leave
                await trio.lowlevel.checkpoint()


# -- the socket file ---------------------------------------------------------------------------------------


async def test_mode_of_the_socket_and_its_directory(served: Served) -> None:
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(served.path.parent.stat().st_mode) == 0o700


async def test_the_socket_is_removed_at_the_end(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served:
        assert served.path.exists()
    assert not served.path.exists()


async def test_a_socket_that_is_not_ours_is_left(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with open_listener(path):
        path.unlink()
        path.write_text("another")
    assert path.read_text() == "another"


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(os.fspath(path))
    with open_listener(path) as listener:
        async with await trio.open_unix_socket(path), await listener.accept():
            pass


async def test_a_socket_in_use_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with open_listener(path) as listener:
        with pytest.raises(Conflict) as caught, open_listener(path):
            pass
        assert caught.value.code == "socket_in_use"
        async with await trio.open_unix_socket(path), await listener.accept():
            pass


async def test_a_socket_of_a_program_without_our_lock_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(path))
        other.listen(1)
        with pytest.raises(Conflict) as caught, open_listener(path):
            pass
    assert caught.value.code == "socket_in_use"
    assert path.exists()


async def test_what_is_no_socket_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    path.write_text("precious")
    with pytest.raises(Conflict) as caught, open_listener(path):
        pass
    assert caught.value.code == "socket_path_taken"
    assert path.read_text() == "precious"


async def test_a_path_too_long_is_told(tmp_path: Path) -> None:
    path = tmp_path / ("x" * MAX_PATH)
    with pytest.raises(BadInput, match="bytes"), open_listener(path):
        pass


async def test_a_directory_open_to_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(BadInput, match="everybody"), open_listener(tmp_path / "open" / "c.sock"):
        pass


def test_head_limit_is_what_it_says() -> None:
    assert status(head(X="a" * MAX_HEAD)) == 431
