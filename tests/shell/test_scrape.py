"""`GET /metrics`: the figures for a monitoring system that shows a token, and nothing for anybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hubd.client import open_client
from hubd.control.exposition import CONTENT_TYPE
from hubd.control.gate import serve_control
from hubd.errors import StoreUnavailable
from tests.shell.open_hub import Served
from tests.shell.raw_client import answer_to, open_raw
from tests.shell.test_health import asked, port_of

TOKEN = "0123456789abcdef" * 2
NOTHING = (
    b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nWWW-Authenticate: Bearer\r\n"
    b"Cache-Control: no-store\r\nContent-Length: 0\r\n\r\n"
)


def scrape(port: int, line: str = "GET /metrics HTTP/1.1", **headers: str) -> bytes:
    return asked(port, line, **headers)


def by(token: str) -> str:
    return f"Bearer {token}"


@asynccontextmanager
async def with_token(served: Served, folder: Path, token: str = TOKEN) -> AsyncIterator[int]:
    """The port of a hub whose configuration has a token for viewers."""

    async def viewer_token() -> str:
        return token

    hub = replace(served.hub, viewer_token=viewer_token)
    async with trio.open_nursery() as nursery:
        path = folder / "t" / "c.sock"
        await nursery.start(partial(serve_control, tcp=("127.0.0.1", 0)), path, hub)
        yield await port_of(path)
        nursery.cancel_scope.cancel()


async def test_who_shows_the_token_gets_what_prometheus_can_read(served: Served, tmp_path: Path) -> None:
    async with with_token(served, tmp_path) as port:
        for _ in range(2):  # the token is not used up
            head, _, body = (await answer_to(port, scrape(port, Authorization=by(TOKEN)))).partition(
                b"\r\n\r\n"
            )
            assert head.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
            assert f"Content-Type: {CONTENT_TYPE}\r\n".encode() in head
            assert head.endswith(b"Content-Length: %d" % len(body))
            families = {family.name for family in text_string_to_metric_families(body.decode())}
            assert {"messagehub_build", "messagehub_campaigns", "messagehub_provider_state"} <= families


async def test_a_ticket_is_good_for_one_request(served: Served) -> None:
    port = await port_of(served.path)
    async with open_client(served.path) as hub:
        ticket = (await hub.call("auth.ticket", role="viewer"))["ticket"]
    assert (await answer_to(port, scrape(port, Authorization=by(ticket)))).startswith(b"HTTP/1.1 200 ")
    assert await answer_to(port, scrape(port, Authorization=by(ticket))) == NOTHING


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": by("x" * 32)},
        {"Authorization": by("")},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}, Bearer {TOKEN}"},
        {"Sec-WebSocket-Protocol": f"hub.bearer.{TOKEN}"},
    ],
)
async def test_without_a_good_token_nothing_is_said(
    served: Served, tmp_path: Path, headers: dict[str, str]
) -> None:
    async with with_token(served, tmp_path) as port:
        assert await answer_to(port, scrape(port, **headers)) == NOTHING


async def test_without_a_token_in_the_configuration_no_token_is_good(served: Served, tmp_path: Path) -> None:
    async with with_token(served, tmp_path, token="") as port:
        for token in ("", TOKEN):
            assert await answer_to(port, scrape(port, Authorization=by(token))) == NOTHING


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "rebind.example:80"}, 403),
        ({"Origin": "http://127.0.0.1:8080"}, 403),
        ({"Referer": "http://evil.example/"}, 403),
    ],
)
async def test_no_page_reads_the_figures_although_it_knows_the_token(
    served: Served, tmp_path: Path, headers: dict[str, str], expected: int
) -> None:
    async with with_token(served, tmp_path) as port:
        said = await answer_to(port, scrape(port, Authorization=by(TOKEN), **headers))
        assert int(said.split(b" ")[1]) == expected
        assert b"messagehub_" not in said


@pytest.mark.parametrize("line", [f"GET /metrics?token={TOKEN} HTTP/1.1", "POST /metrics HTTP/1.1"])
async def test_only_this_path_is_answered(served: Served, tmp_path: Path, line: str) -> None:
    async with with_token(served, tmp_path) as port:
        said = await answer_to(port, scrape(port, line, Authorization=by(TOKEN)))
        assert said.startswith(b"HTTP/1.1 404 ")


async def test_the_unix_socket_has_no_such_path(served: Served) -> None:
    said = await answer_to(served.path, b"GET /metrics HTTP/1.1\r\nHost: hubd.sock\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 404 ")


async def test_while_the_database_cannot_be_read_it_is_503_without_a_word(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Unreadable:
        async def list(self, *, queues: bool = False, archived: bool = False) -> list[object]:
            raise StoreUnavailable("the disk is failing")

    sick = replace(served, hub=replace(served.hub, campaigns=Unreadable()))  # type: ignore[arg-type]
    async with with_token(sick, tmp_path) as port:
        said = await answer_to(port, scrape(port, Authorization=by(TOKEN)))
        assert said.startswith(b"HTTP/1.1 503 ")
        assert said.endswith(b"Content-Length: 0\r\n\r\n")
    assert "metrics could not be collected: the disk is failing" in caplog.text


async def test_the_token_lets_programs_in_as_viewers(served: Served, tmp_path: Path) -> None:
    async with with_token(served, tmp_path) as port:
        handshake = {
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "hub.jsonrpc.v1",
        }  # fmt: skip
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(asked(port, "GET /rpc HTTP/1.1", Authorization=by(TOKEN), **handshake))
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        bad = asked(port, "GET /rpc HTTP/1.1", Authorization=by("x" * 32), **handshake)
        assert b"unknown token" in await answer_to(port, bad)


async def test_the_token_gets_no_tickets_that_would_outlive_it(served: Served, tmp_path: Path) -> None:
    async with with_token(served, tmp_path) as port, open_raw(port, header=TOKEN) as raw:
        assert raw.hello["role"] == "viewer"
        error = (await raw.ask("auth.ticket", role="viewer"))["error"]
        assert error["data"]["code"] == "forbidden"
