"""What leaves a connection: signs of life, and what becomes of who does not take what it is sent."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from hubd.client import open_client
from hubd.control import session_writer
from hubd.wire import MAX_BATCH
from tests.shell.open_hub import Served
from tests.shell.raw_client import HELLO, frame, head, open_raw

# In the tests with `autojump_clock` time passes only while everybody waits, and nothing in them is asked of
# the database, whose thread nobody would wait for.


async def test_a_client_that_answers_pings_stays(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_raw(served.path) as raw:
        await trio.sleep(10 * session_writer.PING_SECONDS)
        assert "result" in await raw.ask("provider.list")


async def test_a_subscriber_that_answers_no_ping_is_closed_with_4008(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_writer, "PING_SECONDS", 0.05)
    monkeypatch.setattr(session_writer, "CLOSE_SECONDS", 0.05)
    before = trio.lowlevel.current_statistics().tasks_living
    async with await trio.open_unix_socket(served.path) as mute:
        await mute.send_all(head())
        said = await mute.receive_some()
        await mute.send_all(frame(json.dumps(HELLO).encode()))
        await mute.send_all(frame(b'{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":[["*"]]}'))
        with trio.fail_after(20):
            while chunk := await mute.receive_some():
                said += chunk
    assert said.count(b"\x89\x04") == session_writer.MISSED  # pings with four bytes
    assert b"\x88" in said
    assert (4008).to_bytes(2, "big") in said
    with trio.fail_after(20):
        while trio.lowlevel.current_statistics().tasks_living > before:  # also with nothing to be written
            await trio.lowlevel.checkpoint()


async def test_a_client_that_only_calls_now_and_then_need_not_read_in_between(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_client(served.path) as hub:
        await trio.sleep(100 * session_writer.PING_SECONDS)
        assert await hub.call("provider.list")


async def test_a_client_that_reads_too_late_is_told_4008(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_raw(served.path) as raw:
        monkeypatch.setattr(session_writer, "SEND_SECONDS", 0.0)  # now everybody is late
        assert "result" in await raw.ask("hub.status")
        assert await raw.closed() == 4008


async def test_a_ping_after_the_close_is_no_incident(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with await trio.open_unix_socket(served.path) as stream:
        await stream.send_all(head())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        await stream.send_all(b"\x82\x80\x00\x00\x00\x00")  # a binary frame: closed with 1003
        with trio.fail_after(20):
            assert b"\x88" in await stream.receive_some()
            await stream.send_all(b"\x89\x80\x00\x00\x00\x00")
            while await stream.receive_some():
                pass
    assert "incident" not in caplog.text
    async with open_client(served.path) as hub:
        assert await hub.call("hub.status")


async def test_a_client_that_never_reads_is_cut_off_and_hurts_nobody(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_writer, "SEND_SECONDS", 0.1)
    monkeypatch.setattr(session_writer, "CLOSE_SECONDS", 0.1)
    async with await trio.open_unix_socket(served.path) as deaf:
        await deaf.send_all(head())
        assert (await deaf.receive_some()).startswith(b"HTTP/1.1 101 ")
        ask = b"[" + b"1," * (MAX_BATCH - 1) + b"1]"  # short, and its answer is long
        hello = json.dumps(HELLO).encode()

        async def talk() -> None:
            await deaf.send_all(frame(hello))
            while True:
                await deaf.send_all(frame(ask))

        with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
            await talk()
        monkeypatch.undo()  # others have the time that they always have
        async with open_client(served.path) as other:
            assert await other.call("hub.status")
