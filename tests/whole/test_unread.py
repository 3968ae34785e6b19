"""Clients that do not read, that never finish a message, or that say nothing, at a real hubd.

What they ask is not worked on and not kept for them, so the daemon's memory stays what it was, and whoever
reads is answered.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
import trio

from hubd.client import open_client
from tests.shell.raw_client import HELLO, frame, head
from tests.whole.conftest import TIMEOUT, Hub

MIB = 2**20
VIEWERS = 8
SILENT = 200
TURNS = 10  #: in which the operator pauses the campaign and resumes it
EMOJI = "\U0001f600".encode()  #: four bytes, one character that takes eighty in a list of its own


@pytest.fixture
def observed(hub: Hub) -> Hub:
    """A daemon with a socket for viewers and a campaign that runs, slowly."""
    hub.boot("--observe", str(hub.folder / "observe.sock"), "--tcp", "127.0.0.1:0")
    hub.contacts(100)
    hub.apply("spring", provider="outbox", rate="1/minute")
    hub.hubctl("start", "spring")
    return hub


@asynccontextmanager
async def greeted(path: Path) -> AsyncIterator[trio.SocketStream]:
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(head())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        await stream.send_all(frame(json.dumps(HELLO).encode()))
        assert b"server_version" in await stream.receive_some()
        yield stream


def batch(method: str, params: object = None) -> bytes:
    asked = {"jsonrpc": "2.0", "id": "\xe9" * 100, "method": method, "params": params or {}}
    return frame(json.dumps([asked] * 50, ensure_ascii=False).encode())


def one(params: bytes) -> bytes:
    return frame(b'{"jsonrpc":"2.0","id":1,"method":"hub.status","params":' + params + b"}")


def fragment(data: bytes, *, first: bool = False) -> bytes:
    return bytes([0x01 if first else 0x00, 0x80 | len(data)]) + bytes(4) + data


FOLLOW = frame(
    b'{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":[["campaigns"],{"epoch":1,"seq":0}]}'
)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(b"", batch("rpc.discover"), id="batches of large answers"),
        pytest.param(b"", frame(b'{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}'), id="large answers"),
        pytest.param(b"", batch("no.such"), id="batches of errors with long ids"),
        pytest.param(b"", one(b"[" + b"[]," * 80_000 + b"[]]"), id="messages that are large when parsed"),
        pytest.param(FOLLOW * 64, b"", id="subscriptions"),
        pytest.param(fragment(b"", first=True), fragment(b"") * 5_000, id="fragments that are empty"),
        pytest.param(fragment(b"", first=True), fragment(EMOJI) * 5_000, id="fragments of one character"),
        pytest.param(b"\x01\xfe\xff\xff" + bytes(4), EMOJI, id="a frame in single characters"),
        pytest.param(fragment(b"", first=True), b"\x89\x80\x00\x00\x00\x00" * 5_000, id="pings in between"),
    ],
)
async def test_viewers_that_do_not_read_take_no_memory_and_an_operator_is_answered(
    observed: Hub, first: bytes, then: bytes
) -> None:
    """They ask as much as is taken, and come back twice when they are cut off."""
    begun = 0
    async with open_client(observed.state / "control.sock") as operator, trio.open_nursery() as nursery:
        for _ in range(100):  # events to be followed
            await operator.call("campaign.rate", name="spring", rate=["1/minute"])
        before = peak = rss(observed)

        async def view() -> None:
            nonlocal begun
            for _ in range(3):
                with suppress(trio.BrokenResourceError):
                    async with greeted(observed.folder / "observe.sock") as stream:
                        await stream.send_all(first)
                        begun += 1
                        while then:
                            await stream.send_all(then)
                            await trio.lowlevel.checkpoint()
                        await trio.sleep_forever()

        for _ in range(VIEWERS):
            nursery.start_soon(view)
        turns = 0
        with trio.fail_after(TIMEOUT):
            while turns < TURNS or begun < VIEWERS:
                assert (await operator.call("campaign.pause", name="spring"))["changed"]
                assert (await operator.call("campaign.resume", name="spring"))["changed"]
                turns += 1
                peak = max(peak, rss(observed))
        nursery.cancel_scope.cancel()
    assert peak - before < 80 * MIB, f"{(peak - before) / MIB:.0f} MiB"
    assert "Traceback" not in observed.log()


async def test_silent_connections_keep_nobody_out_and_are_told_of_without_a_flood(observed: Hub) -> None:
    """On each way in; the daemon is well and says so, also with a campaign that runs."""
    port = tcp_port(observed)
    silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(SILENT)]
    for name in ("control.sock", "observe.sock"):
        path = (observed.state if name == "control.sock" else observed.folder) / name
        silent += [await trio.open_unix_socket(path) for _ in range(SILENT)]
    for stream in silent[::2]:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(b"GET /rpc HTTP/1.1\r\n")  # no more does come
    assert await trio.to_thread.run_sync(healthz, port) == 200
    status = await trio.to_thread.run_sync(observed.json, "daemon", "status")
    assert status["trouble"] == ""
    async with open_client(observed.folder / "observe.sock") as viewer:
        assert await viewer.call("hub.status")
    assert await trio.to_thread.run_sync(healthz, port) == 200
    assert 1 <= observed.log().count("have sent no request") < 5, "told of, and not of each"
    assert observed.log().count("was refused") < 20
    for stream in silent:
        await trio.aclose_forcefully(stream)


def tcp_port(hub: Hub) -> int:
    found = re.search(r"ws://127\.0\.0\.1:(\d+)", hub.log())
    assert found is not None
    return int(found[1])


def healthz(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", "/healthz")
    return connection.getresponse().status


def rss(hub: Hub) -> int:
    assert hub.daemon is not None
    return int(psutil.Process(hub.daemon.pid).memory_info().rss)
