"""Errors that no caller waits for: each is a line in the log, and everything else continues.

Each test makes a library raise in one of its callbacks, futures or threads, and then uses the same bridge, or
the same daemon, for something real.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiosqlite
import h11
import pytest
import trio
from aiosmtplib.protocol import SMTPProtocol
from trio_websocket._impl import WebSocketConnection

from hubd.bridge import Bridge
from hubd.late_errors import log_late_error, watch_for_late_errors
from hubd.providers.twilio.transport import TwilioSettings, open_twilio
from tests.shell.open_hub import open_hub
from tests.shell.raw_client import Raw, open_raw
from tests.shell.scripted_smtp import Say, serve_script
from tests.shell.smtp_peers import open_connection, rendered, send
from tests.shell.twilio_double import ACCOUNT, SENDER, TOKEN, TwilioDouble

CANARY = "s3cr3t for ann@example.com"
BOUND = 60.0


class Bug(Exception):
    """What the tests make a library raise; its words are not for the log."""


def fail(*_: object, **__: object) -> Any:
    raise Bug(CANARY)


async def works(bridge: Bridge) -> None:
    """The loop still runs tasks, timers and callbacks."""

    async def task() -> str:
        await asyncio.sleep(0.001)
        return "done"

    with trio.fail_after(BOUND):
        assert await bridge.ask(task) == "done"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The late errors in the log: one line each, and nothing of what they said."""
    found = [record for record in caplog.records if record.name == "hubd.late_errors"]
    assert CANARY not in caplog.text
    assert "ann@example.com" not in caplog.text
    assert all(record.levelno == logging.ERROR and record.exc_info is None for record in found)
    return [record.getMessage() for record in found]


def one_line(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = lines(caplog)
    assert "Bug, raised in fail (test_late_errors.py, line" in line


# --- asyncio --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule",
    [
        lambda loop: loop.call_soon(fail, CANARY),
        lambda loop: loop.call_later(0.001, fail, CANARY),
        lambda loop: loop.call_at(loop.time(), fail, CANARY),
        lambda loop: loop.call_soon_threadsafe(fail, CANARY),
    ],
    ids=["call_soon", "call_later", "call_at", "call_soon_threadsafe"],
)
async def test_an_error_in_a_scheduled_callback_is_logged(
    bridge: Bridge, caplog: pytest.LogCaptureFixture, schedule: Callable[[asyncio.AbstractEventLoop], object]
) -> None:
    async def begin() -> None:
        schedule(asyncio.get_running_loop())

    await bridge.ask(begin)
    with trio.fail_after(BOUND):
        while not lines(caplog):
            await trio.lowlevel.checkpoint()
    await works(bridge)
    one_line(caplog)


async def test_an_error_in_a_done_callback_is_logged(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    async def begin() -> None:
        future = asyncio.get_running_loop().create_future()
        future.add_done_callback(fail)
        future.set_result(None)
        await asyncio.sleep(0)

    await bridge.ask(begin)
    await works(bridge)
    one_line(caplog)


@pytest.mark.parametrize("way", ["future", "task"])
async def test_an_error_that_nobody_retrieves_is_logged(
    bridge: Bridge, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    async def failing() -> None:
        fail()

    async def begin() -> None:
        loop = asyncio.get_running_loop()
        if way == "future":
            try:
                fail()
            except Bug as error:
                loop.create_future().set_exception(error)
                error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        else:
            task = loop.create_task(failing())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            del task

    await bridge.ask(begin)
    gc.collect()
    await works(bridge)
    one_line(caplog)


async def test_an_executor_that_fails_after_its_caller_was_cancelled_is_no_end(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """As a resolver does that answers after its login was given up. Nobody is told of it."""
    runs, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        runs.set()
        go_on.wait(BOUND)
        ended.set()
        fail()

    async def begin() -> None:
        await asyncio.get_running_loop().run_in_executor(None, slow)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bridge.ask, begin)
        assert await trio.to_thread.run_sync(runs.wait, BOUND)
        nursery.cancel_scope.cancel()
    go_on.set()
    assert await trio.to_thread.run_sync(ended.wait, BOUND)
    gc.collect()
    await works(bridge)
    assert lines(caplog) == []


CALLBACKS = ("connection_made", "data_received", "eof_received", "connection_lost", "pause_writing")


@pytest.mark.parametrize("callback", CALLBACKS)
async def test_an_error_in_a_callback_of_a_protocol_is_logged(
    bridge: Bridge, caplog: pytest.LogCaptureFixture, callback: str
) -> None:
    ours, theirs = socket.socketpair()
    protocol = type("Faulty", (asyncio.Protocol,), {callback: fail})

    async def connect() -> asyncio.BaseTransport:
        transport, _ = await asyncio.get_running_loop().create_connection(protocol, sock=ours)
        transport.set_write_buffer_limits(high=0)
        return transport

    with theirs:
        transport = await bridge.ask(connect)
        if callback == "data_received":
            theirs.send(b"x")
        elif callback == "pause_writing":
            bridge.loop.call_soon_threadsafe(transport.write, b"x" * 10_000_000)  # type: ignore[attr-defined]
        elif callback in ("eof_received", "connection_lost"):
            theirs.close()
        with trio.fail_after(BOUND):
            while not lines(caplog):
                await trio.lowlevel.checkpoint()
        bridge.loop.call_soon_threadsafe(transport.abort)  # type: ignore[attr-defined]
        await works(bridge)
    one_line(caplog)


async def test_an_error_in_a_reader_of_a_descriptor_is_logged(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = socket.socketpair()

    async def begin() -> None:
        loop = asyncio.get_running_loop()

        def read() -> None:
            loop.remove_reader(ours)
            fail()

        loop.add_reader(ours, read)

    with ours, theirs:
        await bridge.ask(begin)
        theirs.send(b"x")
        with trio.fail_after(BOUND):
            while not lines(caplog):
                await trio.lowlevel.checkpoint()
    await works(bridge)
    one_line(caplog)


async def test_a_remark_of_asyncio_is_logged_without_what_it_quotes(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    async def begin() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": f"Something happened: {CANARY}"})

    await bridge.ask(begin)
    await works(bridge)
    assert lines(caplog) == ["asyncio: Something happened"]


# --- the libraries --------------------------------------------------------------------------------


@pytest.mark.parametrize("callback", ["connection_made", "data_received", "connection_lost", "eof_received"])
async def test_an_error_in_a_callback_of_aiosmtplib_ends_one_login_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, callback: str
) -> None:
    ends = callback in ("connection_lost", "eof_received")
    script = {"ehlo": [Say(b"250 script\r\n", then="close")]} if ends else {}
    async with serve_script(script) as server, open_connection(server, reply=2) as (transport, connection):
        with monkeypatch.context() as broken:
            broken.setattr(SMTPProtocol, callback, fail)
            with trio.fail_after(BOUND):
                await transport.probe()
        assert len(lines(caplog)) <= 1
        assert (await send(connection, rendered())).code == 250


async def test_a_statement_of_aiosqlite_that_fails_after_its_caller_was_cancelled_is_no_end(
    bridge: Bridge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        runs.set()
        go_on.wait(BOUND)
        return int(fail())

    async def opened() -> aiosqlite.Connection:
        return await aiosqlite.connect(tmp_path / "t.db")

    connection = await bridge.finish(opened)
    try:
        await bridge.finish(lambda: connection.create_function("slow", 0, slow))

        async def ask() -> None:
            await connection.execute("SELECT slow()")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bridge.ask, ask)
            assert await trio.to_thread.run_sync(runs.wait, BOUND)
            nursery.cancel_scope.cancel()
        go_on.set()
        assert list(await bridge.finish(lambda: connection.execute_fetchall("SELECT 1"))) == [(1,)]
    finally:
        await bridge.finish(connection.close)
    await works(bridge)
    lines(caplog)


@pytest.mark.parametrize(
    ("event", "provoke"),
    [
        ("message", lambda raw: raw.say("{}")),
        ("ping", lambda raw: raw.socket.ping()),
        ("pong", lambda raw: raw.socket.pong()),
        ("close_connection", lambda raw: raw.socket.aclose()),
    ],
    ids=["message", "ping", "pong", "close"],
)
async def test_an_error_in_the_reader_of_trio_websocket_ends_one_connection_and_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    event: str,
    provoke: Callable[[Raw], Awaitable[None]],
) -> None:
    armed: list[str] = []
    name = f"_handle_{event}_event"
    handle = getattr(WebSocketConnection, name)

    async def faulty(self: WebSocketConnection, event: object) -> None:
        if self.is_server and armed:
            armed.clear()
            fail()
        await handle(self, event)

    monkeypatch.setattr(WebSocketConnection, name, faulty)
    async with open_hub(tmp_path) as served, open_raw(served.path) as other:
        async with open_raw(served.path) as raw, trio.open_nursery() as nursery:
            armed.append(event)
            nursery.start_soon(provoke, raw)
            await raw.closed()
            nursery.cancel_scope.cancel()
        assert not armed
        assert "result" in await other.ask("campaign.list")
    assert caplog.text.count("incident") == 1


@pytest.mark.parametrize("place", ["send", "next_event"])
async def test_an_error_in_h11_is_the_callers_and_the_transport_goes_on(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with TwilioDouble() as double:
        settings = TwilioSettings(
            account_sid=ACCOUNT, auth_token=TOKEN, from_=SENDER, base_url=double.base_url
        )
        transport = open_twilio("sms", settings)
        try:
            with monkeypatch.context() as broken:
                broken.setattr(h11.Connection, place, fail)
                try:
                    answer = await transport.probe()
                except Bug:
                    pass  # before the request: the caller's, who contains it
                else:
                    assert answer.signal.value == "garbage"
            assert (await transport.probe()).code == 200
        finally:
            await transport.aclose()


# --- threads and finalizers -----------------------------------------------------------------------


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    watch_for_late_errors()


@pytest.mark.usefixtures("watched")
def test_an_error_that_ends_a_thread_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    thread = threading.Thread(target=fail, name="keyring")
    thread.start()
    thread.join()
    one_line(caplog)


@pytest.mark.usefixtures("watched")
def test_an_error_in_a_finalizer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Held:
        __del__ = fail

    Held()
    gc.collect()
    one_line(caplog)


def test_an_error_without_a_traceback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    log_late_error(Bug(CANARY), "asyncio")
    assert lines(caplog) == ["late error in asyncio: Bug"]
