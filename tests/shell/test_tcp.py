"""The TCP listener: only for clients with a ticket, from a page of this machine or from no page at all."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubd.client import open_client
from hubd.control import connection_limits, gate
from hubd.control.gate import MAX_VIEWER_MESSAGE, serve_control
from hubd.control.listener import open_loopback
from hubd.control.tickets import RECONNECT_SECONDS
from hubd.errors import BadInput, Conflict, HubError
from hubd.places import endpoint_path, loopback
from tests.shell.open_hub import Served, open_hub
from tests.shell.raw_client import HELLO, answer_to, frame, head, open_raw

PAGE = "http://127.0.0.1:8080"
OTHER = "http://127.0.0.1:8081"


class Tcp:
    """A hub that also listens on TCP."""

    def __init__(self, served: Served, path: Path, port: int, token: str) -> None:
        self.served = served
        self.path = path
        self.port = port
        self.token = token  #: of the endpoint file: for programs, and good for ever

    async def ticket(self, **params: object) -> str:
        async with open_client(self.path) as hub:
            answer: dict[str, Any] = await hub.call("auth.ticket", **({"origin": PAGE} | params))
        assert answer["url"] == f"ws://127.0.0.1:{self.port}/rpc"
        return str(answer["ticket"])

    def head(self, **changes: str | None) -> bytes:
        headers: dict[str, Any] = {"Host": f"127.0.0.1:{self.port}"} | changes
        return head(**headers)


@asynccontextmanager
async def serve(served: Served, tmp_path: Path, **endpoints: Any) -> AsyncIterator[Path]:
    """The same hub once more, behind other doors."""
    async with trio.open_nursery() as nursery:
        path = tmp_path / "t" / "control.sock"
        await nursery.start(partial(serve_control, **endpoints), path, served.hub)
        yield path
        nursery.cancel_scope.cancel()


@pytest.fixture
async def tcp(tmp_path: Path) -> AsyncIterator[Tcp]:
    endpoint = tmp_path / "endpoint.json"
    async with (
        open_hub(tmp_path) as served,
        serve(served, tmp_path, tcp=("127.0.0.1", 0), endpoint=endpoint) as path,
    ):
        record = json.loads(endpoint.read_text())
        port = int(record["url"].removesuffix("/rpc").rpartition(":")[2])
        yield Tcp(served, path, port, record["token"])


async def status(tcp: Tcp, data: bytes) -> int:
    said = await answer_to(tcp.port, data)
    return int(said.split(b" ")[1])


async def test_a_page_with_a_ticket_is_let_in_and_only_the_protocol_is_echoed(tcp: Tcp) -> None:
    async with open_raw(tcp.port, origin=PAGE, bearer=await tcp.ticket()) as raw:
        assert raw.socket.subprotocol == "hub.jsonrpc.v1"
        assert raw.hello["role"] == "viewer"
        assert raw.hello["limits"]["message_bytes"] == MAX_VIEWER_MESSAGE
        assert "result" in await raw.ask("hub.status")
        assert (await raw.ask("hub.reload"))["error"]["code"] == -32002


async def test_a_ticket_may_be_for_an_operator(tcp: Tcp) -> None:
    async with open_raw(tcp.port, origin=PAGE, bearer=await tcp.ticket(role="operator")) as raw:
        assert raw.hello["role"] == "operator"
        assert "result" in await raw.ask("hub.reload")


async def test_a_program_with_a_ticket_brings_it_in_a_header(tcp: Tcp) -> None:
    async with open_raw(tcp.port, header=await tcp.ticket(origin=None)) as raw:
        assert "result" in await raw.ask("hub.status")


async def test_a_ticket_of_a_page_is_not_for_a_program_nor_the_reverse(tcp: Tcp) -> None:
    page, program = await tcp.ticket(), await tcp.ticket(origin=None)
    assert await status(tcp, tcp.head(Authorization=f"Bearer {page}")) == 401
    assert await status(tcp, tcp.head(Authorization=f"Bearer {program}", Origin=PAGE)) == 401


async def test_a_ticket_that_was_used_or_shown_from_elsewhere_is_refused_with_401(tcp: Tcp) -> None:
    ticket = await tcp.ticket()
    async with open_raw(tcp.port, origin=PAGE, bearer=ticket):
        pass
    used = tcp.head(Origin=PAGE, Sec_WebSocket_Protocol=f"hub.jsonrpc.v1, hub.bearer.{ticket}")
    assert await status(tcp, used) == 401
    other = f"hub.jsonrpc.v1, hub.bearer.{await tcp.ticket()}"
    assert await status(tcp, tcp.head(Origin=OTHER, Sec_WebSocket_Protocol=other)) == 401


@pytest.mark.parametrize("lives", [5, 60])
async def test_a_ticket_that_is_too_old_is_refused_with_401(
    tcp: Tcp, mock_clock: trio.testing.MockClock, lives: int
) -> None:
    """It is good until then; the clock stands still unless it is set."""
    for age, expected in ((lives - 0.1, 101), (lives, 401)):
        bearer = f"hub.jsonrpc.v1, hub.bearer.{await tcp.ticket(ttl=lives)}"
        mock_clock.jump(age)
        assert await status(tcp, tcp.head(Origin=PAGE, Sec_WebSocket_Protocol=bearer)) == expected


@pytest.mark.parametrize("name", [b"Host: ", b"Authorization: ", b"Sec-WebSocket-Protocol: ", b"Origin: "])
async def test_every_octet_in_a_header_leaves_the_daemon_alive(
    tcp: Tcp, name: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those headers that are read otherwise on TCP, each with a good token beside it."""
    monkeypatch.setattr(gate, "GUESS_SECONDS", 0.0)
    good = tcp.head(Authorization=f"Bearer {tcp.token}")
    if name not in good:
        good = good.replace(b"\r\n\r\n", b"\r\n" + name + PAGE.encode() + b"\r\n\r\n")
    begin = good.index(name) + len(name)
    for at in (begin, good.index(b"\r\n", begin)):
        answers = [await answer_to(tcp.port, good[:at] + bytes([octet]) + good[at:]) for octet in range(256)]
        assert all(said.startswith(b"HTTP/1.1 ") for said in answers)
        assert all(said.startswith(b"HTTP/1.1 4") for said in answers[127:])
    async with open_raw(tcp.port, header=tcp.token) as raw:
        assert "result" in await raw.ask("hub.status")
    assert "incident" not in caplog.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "file://", "", "http://127.0.0.1:1.evil"])
async def test_an_origin_that_is_not_this_machines_is_refused_with_403(tcp: Tcp, origin: str) -> None:
    with_ticket = f"hub.jsonrpc.v1, hub.bearer.{await tcp.ticket()}"
    assert await status(tcp, tcp.head(Origin=origin, Sec_WebSocket_Protocol=with_ticket)) == 403


async def test_two_origins_are_refused(tcp: Tcp) -> None:
    twice = tcp.head(Origin=PAGE).replace(b"Origin: ", f"Origin: {OTHER}\r\nOrigin: ".encode())
    assert await status(tcp, twice) == 403


@pytest.mark.parametrize(
    "host", ["rebind.evil:{port}", "127.0.0.1", "127.0.0.1:1", "hubd.sock", "0.0.0.0:{port}"]
)
async def test_a_host_that_is_not_this_listener_is_refused_with_403(tcp: Tcp, host: str) -> None:
    token = f"Bearer {await tcp.ticket(origin=None)}"
    assert await status(tcp, tcp.head(Host=host.format(port=tcp.port), Authorization=token)) == 403


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"])
async def test_the_names_of_this_machine_are_good_hosts(tcp: Tcp, host: str) -> None:
    token = f"Bearer {await tcp.ticket(origin=None)}"
    assert await status(tcp, tcp.head(Host=host.format(port=tcp.port), Authorization=token)) == 101


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer a b"},
        {"Authorization": "Bearer " + "x" * 500},
        {"Authorization": "Bearer x", "Sec_WebSocket_Protocol": "hub.jsonrpc.v1, hub.bearer.x"},
        {"Sec_WebSocket_Protocol": "hub.jsonrpc.v1, hub.bearer."},
        {"Sec_WebSocket_Protocol": "hub.jsonrpc.v1, hub.bearer.x, hub.bearer.y"},
    ],
)
async def test_without_one_good_token_nobody_gets_in(tcp: Tcp, changes: dict[str, str | None]) -> None:
    said = await answer_to(tcp.port, tcp.head(**changes))
    assert said.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"\r\nWWW-Authenticate: Bearer\r\n" in said
    assert b"Access-Control" not in said


async def test_a_connection_comes_back_by_its_session_token(tcp: Tcp) -> None:
    async with open_raw(tcp.port, origin=PAGE, bearer=await tcp.ticket()) as raw:
        token = raw.hello["session_token"]
    async with open_raw(tcp.port, origin=PAGE, bearer=token) as raw:
        assert raw.hello["session_token"] not in (None, token)
        assert raw.hello["role"] == "viewer"
        late = tcp.head(Origin=PAGE, Sec_WebSocket_Protocol=f"hub.jsonrpc.v1, hub.bearer.{token}")
        assert await status(tcp, late) == 401


async def test_of_two_connections_by_one_session_token_the_second_is_closed_with_4001(tcp: Tcp) -> None:
    async with open_raw(tcp.port, origin=PAGE, bearer=await tcp.ticket()) as raw:
        token = raw.hello["session_token"]
    async with (
        open_raw(tcp.port, origin=PAGE, bearer=token, greet=False) as first,
        open_raw(tcp.port, origin=PAGE, bearer=token, greet=False) as second,
    ):
        await first.say(HELLO)
        assert "result" in await first.hear()
        await second.say(HELLO)
        assert (await second.hear())["error"]["code"] == -32001
        assert await second.closed() == 4001
        assert "result" in await first.ask("hub.status")


async def test_who_came_by_a_ticket_gets_no_ticket(tcp: Tcp) -> None:
    async with open_raw(tcp.port, origin=PAGE, bearer=await tcp.ticket(role="operator")) as raw:
        refused = await raw.ask("auth.ticket", origin=PAGE)
        assert refused["error"]["data"]["code"] == "forbidden"


async def test_who_reads_the_endpoint_file_gets_tickets_as_over_a_unix_socket(tcp: Tcp) -> None:
    async with open_raw(tcp.port, header=tcp.token) as raw:
        issued = (await raw.ask("auth.ticket", origin=PAGE, role="operator"))["result"]
    async with open_raw(tcp.port, origin=PAGE, bearer=issued["ticket"]) as raw:
        assert raw.hello["role"] == "operator"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "file://", PAGE + "/", "http://127.0.0.1:8080/x", "http://10.0.0.1"],
)
async def test_a_ticket_is_for_a_page_of_this_machine(tcp: Tcp, origin: str) -> None:
    async with open_client(tcp.path) as hub:
        with pytest.raises(BadInput, match="origin"):
            await hub.call("auth.ticket", origin=origin)


async def test_without_a_tcp_listener_there_are_no_tickets(tmp_path: Path) -> None:
    async with (
        open_hub(tmp_path) as served,
        serve(served, tmp_path) as path,
        open_client(path) as hub,
    ):
        with pytest.raises(HubError) as caught:
            await hub.call("auth.ticket", origin=PAGE)
        assert caught.value.code == "no_tcp_listener"
        assert "--tcp" in caught.value.hint


async def test_an_operator_has_the_daemon_listen_when_a_page_needs_it(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, serve(served, tmp_path) as path, open_client(path) as hub:
        issued = [await hub.call("auth.ticket", origin=PAGE, listen=True) for _ in range(2)]
        urls = {each["url"] for each in issued}
        assert len(urls) == 1, "the same listener serves all pages"
        port = int(urls.pop().removesuffix("/rpc").rpartition(":")[2])
        async with open_raw(port, origin=PAGE, bearer=issued[1]["ticket"]) as raw:
            assert raw.hello["role"] == "viewer"
        assert (await hub.call("auth.ticket", origin=PAGE))["url"] == issued[0]["url"]
    with pytest.raises(OSError, match=r"refused|all attempts"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_the_port_of_a_page_is_closed_when_no_page_can_come_back(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """A reload, or a page that was cut off, finds the port; minutes after the last one there is none."""

    async def ticket() -> tuple[int, str]:
        async with open_client(path) as hub:  # a new one each time: the jumps are days to one that is idle
            issued = await hub.call("auth.ticket", origin=PAGE, listen=True)
        return int(issued["url"].removesuffix("/rpc").rpartition(":")[2]), issued["ticket"]

    async def closed(port: int) -> None:
        """Jump until nobody can connect: the daemon may not have seen yet that the last page has gone."""
        with suppress(OSError):
            while True:
                mock_clock.jump(RECONNECT_SECONDS)
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()

    async with open_hub(tmp_path) as served, serve(served, tmp_path) as path:
        port, first = await ticket()
        async with open_raw(port, origin=PAGE, bearer=first) as raw:
            mock_clock.jump(86_400)
            token = raw.hello["session_token"]
        mock_clock.jump(RECONNECT_SECONDS - 1)
        async with open_raw(port, origin=PAGE, bearer=token):
            assert (await ticket())[0] == port, "another page uses the same port"
        await closed(port)
        other, unused = await ticket()
        mock_clock.jump(59)
        async with open_raw(other, origin=PAGE, bearer=unused) as raw:
            assert raw.hello["role"] == "viewer"
        await closed(other)
        async with open_client(path) as hub:
            with pytest.raises(HubError) as caught:
                await hub.call("auth.ticket", origin=PAGE)
        assert caught.value.code == "no_tcp_listener"


async def test_a_configured_port_stays_when_no_page_is_there(
    tcp: Tcp, mock_clock: trio.testing.MockClock
) -> None:
    async with open_client(tcp.path) as hub:
        issued = await hub.call("auth.ticket", origin=PAGE, listen=True)
        async with open_raw(tcp.port, origin=PAGE, bearer=issued["ticket"]):
            pass
        mock_clock.jump(10 * RECONNECT_SECONDS)
        await trio.testing.wait_all_tasks_blocked(0.01)
        again = await hub.call("auth.ticket", origin=PAGE)
        assert again["url"] == issued["url"]
        async with open_raw(tcp.port, origin=PAGE, bearer=again["ticket"]) as raw:
            assert raw.hello["role"] == "viewer"


async def test_a_viewer_cannot_have_the_daemon_listen(tmp_path: Path) -> None:
    observe = tmp_path / "t" / "observe.sock"
    async with (
        open_hub(tmp_path) as served,
        serve(served, tmp_path, observe=observe),
        open_client(observe) as hub,
    ):
        with pytest.raises(HubError, match="only operators may have the daemon listen") as caught:
            await hub.call("auth.ticket", origin=PAGE, listen=True)
        assert caught.value.code == "forbidden"


async def test_a_unix_client_needs_no_session_token(tcp: Tcp) -> None:
    async with open_raw(tcp.path) as raw:
        assert "session_token" not in raw.hello


async def test_wrong_tokens_are_answered_slowly_and_told_of_once(
    tcp: Tcp, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """The clock only moves when everybody waits, so the delay is seen without waiting for it."""
    wrong = tcp.head(Authorization="Bearer wrong")
    began = trio.current_time()
    answers = [await answer_to(tcp.port, wrong) for _ in range(12)]
    assert all(said.startswith(b"HTTP/1.1 401 ") for said in answers)
    assert trio.current_time() - began >= 8 * gate.GUESS_SECONDS
    assert caplog.text.count("wrong or missing tokens") == 1
    assert "Bearer wrong" not in caplog.text


async def test_the_oldest_silent_connection_is_closed_for_a_newcomer(
    tcp: Tcp, caplog: pytest.LogCaptureFixture
) -> None:
    """However many there are, a prober and a program with a token are heard, and so are the last ones."""
    silent = [
        await trio.open_tcp_stream("127.0.0.1", tcp.port)
        for _ in range(5 * connection_limits.MAX_AWAITING_REQUEST)
    ]
    for stream in silent[: -connection_limits.MAX_AWAITING_REQUEST]:
        assert (await until_end(stream)).startswith(b"HTTP/1.1 408 ")
    ask = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{tcp.port}\r\n\r\n".encode()
    assert (await answer_to(tcp.port, ask)).startswith(b"HTTP/1.1 200 ")
    async with open_raw(tcp.port, header=tcp.token) as raw, open_client(tcp.path) as hub:
        assert "result" in await raw.ask("hub.status")
        assert await hub.call("hub.status")
        await silent[-1].send_all(tcp.head(Authorization=f"Bearer {await tcp.ticket(origin=None)}"))
        with trio.fail_after(20):
            assert (await silent[-1].receive_some()).startswith(b"HTTP/1.1 101 ")
    assert caplog.text.count("have sent no request") == 1
    for stream in silent:
        await trio.aclose_forcefully(stream)


async def test_those_who_are_refused_slowly_keep_nobody_from_asking_whether_it_is_well(tcp: Tcp) -> None:
    """Wrong tokens are answered after a while, and that keeps no place at the door."""
    wrong = tcp.head(Authorization="Bearer wrong")
    ask = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{tcp.port}\r\n\r\n".encode()
    streams = []
    for data in [wrong, ask] * 5 * connection_limits.MAX_AWAITING_REQUEST:
        streams.append(await trio.open_tcp_stream("127.0.0.1", tcp.port))
        await streams[-1].send_all(data)
    assert (await answer_to(tcp.port, ask)).startswith(b"HTTP/1.1 200 ")
    for stream in streams:
        await trio.aclose_forcefully(stream)


async def until_end(stream: trio.SocketStream) -> bytes:
    said = b""
    with trio.fail_after(20):
        while chunk := await stream.receive_some():
            said += chunk
    return said


# -- where it listens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8765", ("127.0.0.1", 8765)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_a_loopback_address_is_read(text: str, expected: tuple[str, int]) -> None:
    assert loopback(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1", "localhost:1", "0.0.0.0:1", "::1:1", ":1", "127.0.0.1:x", "127.0.0.1:65536", "[::1]:٣"],
)
def test_any_other_address_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^the (address|port) must be .*[a-z]$"):
        loopback(text)


@pytest.mark.parametrize(
    ("flag", "environ", "platform", "expected"),
    [
        ("/tmp/e.json", {}, "linux", "/tmp/e.json"),
        (None, {"LOCALAPPDATA": "/users/ann"}, "linux", None),
        (
            None,
            {"LOCALAPPDATA": "/users/ann", "ProgramData": "/all"},
            "win32",
            "/users/ann/MessageHub/endpoint.json",
        ),
        (None, {"ProgramData": "/all"}, "win32", "/all/MessageHub/endpoint.json"),
        (None, {}, "win32", None),
    ],
)
def test_where_the_endpoint_file_is(
    flag: str | None, environ: dict[str, str], platform: str, expected: str | None
) -> None:
    assert endpoint_path(flag, environ, platform) == (Path(expected) if expected else None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "localhost", ""])
async def test_an_address_that_others_reach_is_refused(host: str) -> None:
    with pytest.raises(BadInput, match="reached from elsewhere"):
        await open_loopback(host, 0)


async def test_a_port_that_is_taken_is_told(tcp: Tcp) -> None:
    with pytest.raises(Conflict, match="another program"):
        await open_loopback("127.0.0.1", tcp.port)


async def test_the_listener_may_be_of_ip_version_6(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served, serve(served, tmp_path, tcp=("::1", 0)) as path:
        async with open_client(path) as hub:
            answer = await hub.call("auth.ticket")
        port = int(answer["url"].removeprefix("ws://[::1]:").removesuffix("/rpc"))
        async with await trio.open_tcp_stream("::1", port) as stream:
            await stream.send_all(head(Host=f"[::1]:{port}", Authorization=f"Bearer {answer['ticket']}"))
            with trio.fail_after(10):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")


async def test_the_endpoint_file_lets_programs_of_this_user_in(tmp_path: Path) -> None:
    """What stands for the socket where there are no unix sockets."""
    path = tmp_path / "e" / "endpoint.json"
    async with (
        open_hub(tmp_path) as served,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(partial(serve_control, tcp=("127.0.0.1", 0), endpoint=path), None, served.hub)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        record = json.loads(path.read_text())
        port = int(record["url"].removesuffix("/rpc").rpartition(":")[2])
        for _ in range(2):
            async with open_raw(port, header=record["token"]) as raw:
                assert raw.hello["role"] == "operator"
                assert "session_token" not in raw.hello
                assert "result" in await raw.ask("hub.reload")
        host, token = f"127.0.0.1:{port}", f"Bearer {record['token']}"
        from_page = await answer_to(port, head(Host=host, Authorization=token, Origin=PAGE))
        assert from_page.startswith(b"HTTP/1.1 401 ")
        nursery.cancel_scope.cancel()
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


async def test_an_endpoint_file_of_another_daemon_is_left(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.json"
    async with open_hub(tmp_path) as served, trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, tcp=("127.0.0.1", 0), endpoint=path), None, served.hub)
        path.unlink()
        path.write_text("another")
        nursery.cancel_scope.cancel()
    assert path.read_text() == "another"


async def test_with_nothing_to_listen_on_it_does_not_begin(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as served:
        with pytest.raises(BadInput, match="no socket to listen on"):
            await serve_control(None, served.hub)


async def test_on_tcp_who_answers_no_ping_is_closed(tcp: Tcp, autojump_clock: trio.testing.MockClock) -> None:
    """Nothing in it is asked of the database, whose thread nobody would wait for on this clock."""
    async with await trio.open_tcp_stream("127.0.0.1", tcp.port) as mute:
        await mute.send_all(tcp.head(Authorization=f"Bearer {tcp.token}"))
        assert (await mute.receive_some()).startswith(b"HTTP/1.1 101 ")
        await mute.send_all(frame(json.dumps(HELLO).encode()))
        said = b""
        while chunk := await mute.receive_some():
            said += chunk
    assert (4008).to_bytes(2, "big") in said
