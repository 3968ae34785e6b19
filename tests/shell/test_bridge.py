"""The bridge and the traps beside it: what the asyncio libraries do inside Trio, and what we rely on.

Some tests here pin what the libraries do wrong. When one of them fails after an upgrade, a rule of ours may
have become unnecessary.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiosqlite
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hubd.bridge import Bridge
from hubd.core.model import Signal
from hubd.transports.pipeline import Conversation, Lost
from hubd.transports.replies import ReplyParser

ROOT = Path(__file__).resolve().parents[2]
BOUND = 60.0  #: seconds for what must end
HANGS = 1.0  #: seconds for what must not


@pytest.fixture
async def connection(bridge: Bridge, tmp_path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """A bare aiosqlite connection with a table, closed in the end."""

    async def opened() -> aiosqlite.Connection:
        connection = await aiosqlite.connect(tmp_path / "t.db", isolation_level=None)
        await connection.execute("CREATE TABLE t (n INTEGER)")
        return connection

    connection = await bridge.finish(opened)
    try:
        yield connection
    finally:
        await bridge.finish(connection.close)


async def numbers(bridge: Bridge, connection: aiosqlite.Connection) -> list[int]:
    rows = await bridge.finish(lambda: connection.execute_fetchall("SELECT n FROM t ORDER BY n"))
    return [n for (n,) in rows]


async def cancelled_at(begun: trio.Event, task: Callable[[], object]) -> None:
    """Start `task`, cancel it when it says that it has begun, and wait for its end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        await begun.wait()
        nursery.cancel_scope.cancel()


# --- finish and ask -----------------------------------------------------------------------------


async def test_what_is_to_finish_ends_although_its_caller_is_cancelled(
    bridge: Bridge, connection: aiosqlite.Connection
) -> None:
    """A unit of work in a real database: committed, and no transaction left open."""
    begun, go_on = trio.Event(), asyncio.Event()

    async def unit() -> None:
        await connection.execute("BEGIN IMMEDIATE")
        await connection.execute("INSERT INTO t VALUES (1)")
        begun.set()
        await go_on.wait()
        await connection.execute("INSERT INTO t VALUES (2)")
        await connection.execute("COMMIT")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bridge.finish, unit)
        await begun.wait()
        nursery.cancel_scope.cancel()
        go_on.set()
    assert not connection.in_transaction
    assert await numbers(bridge, connection) == [1, 2]


async def test_what_is_asked_ends_when_its_caller_is_cancelled(bridge: Bridge) -> None:
    begun = trio.Event()
    told: list[str] = []

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    await cancelled_at(begun, lambda: bridge.ask(wait))
    assert told == ["cancelled"]


async def test_a_cancelled_unit_of_work_would_leave_its_transaction_open(
    bridge: Bridge, connection: aiosqlite.Connection
) -> None:
    """Why a unit of work is never asked."""
    begun = trio.Event()

    async def unit() -> None:
        await connection.execute("BEGIN IMMEDIATE")
        begun.set()
        await asyncio.Event().wait()
        await connection.execute("COMMIT")

    await cancelled_at(begun, lambda: bridge.ask(unit))
    assert connection.in_transaction
    await bridge.finish(connection.rollback)


async def test_a_cancelled_statement_runs_on_and_takes_effect(
    bridge: Bridge, connection: aiosqlite.Connection
) -> None:
    """Why the end of a cancelled call says nothing about the database."""
    begun, runs, go_on = trio.Event(), threading.Event(), threading.Event()

    def slowly(n: int) -> int:
        runs.set()
        go_on.wait(BOUND)
        return n

    await bridge.finish(lambda: connection.create_function("slowly", 1, slowly))

    async def insert() -> None:
        statement = asyncio.ensure_future(connection.execute("INSERT INTO t VALUES (slowly(7))"))
        await asyncio.get_running_loop().run_in_executor(None, runs.wait)
        begun.set()
        await statement

    await cancelled_at(begun, lambda: bridge.ask(insert))
    assert not go_on.is_set()  # the caller is gone, the statement is not
    go_on.set()
    assert await numbers(bridge, connection) == [7]


@pytest.mark.parametrize("way", ["ask", "finish"])
async def test_an_error_arrives_as_it_was_raised(
    bridge: Bridge, connection: aiosqlite.Connection, way: str
) -> None:
    """Not wrapped in a group, so that `except sqlite3.Error` works."""
    with pytest.raises(sqlite3.OperationalError, match="no such table") as caught:
        await getattr(bridge, way)(lambda: connection.execute_fetchall("SELECT * FROM missing"))
    assert type(caught.value) is sqlite3.OperationalError


# --- what ends the process, and what keeps it from ending -----------------------------------------

PREAMBLE = """
import trio, aiosqlite
from hubd.bridge import open_bridge

async def opened():
    return await aiosqlite.connect(":memory:")
"""
UNCLOSED = """
async def main():
    global kept
    async with open_bridge() as bridge:
        kept = await bridge.finish(opened)

trio.run(main)
print("main has ended", flush=True)
"""
CLOSED = """
async def main():
    global kept
    async with open_bridge() as bridge:
        kept = await bridge.finish(opened)
        await bridge.finish(kept.close)

trio.run(main)
print("main has ended", flush=True)
"""


def run(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_an_unclosed_connection_keeps_the_process_from_ending() -> None:
    """Why every connection is closed in a `finally`."""
    with run(UNCLOSED) as process:
        try:
            assert first_line(process) == "main has ended"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(HANGS)
        finally:
            process.kill()


def test_a_closed_connection_lets_the_process_end() -> None:
    with run(CLOSED) as process:
        assert first_line(process) == "main has ended"
        assert process.wait(BOUND) == 0


# --- our own callbacks ----------------------------------------------------------------------------


class DeadEnd(asyncio.Transport):
    """A transport to nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return False

    def write(self, data: object) -> None: ...

    def abort(self) -> None:
        self.aborted += 1


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("data"), st.one_of(st.binary(max_size=40), st.just(b"250 ok\r\n"))),
        st.tuples(st.just("data"), st.binary(max_size=5).map(lambda junk: b"2" + junk + b"\r\n")),
        st.tuples(st.just("write"), st.integers(0, 3)),
        st.tuples(st.just("lost"), st.sampled_from([None, OSError(32, "Broken pipe"), ValueError("odd")])),
        st.tuples(st.sampled_from(["eof", "pause", "resume", "abort"]), st.none()),
    ),
    max_size=12,
)


@given(happenings)
def test_no_callback_of_a_conversation_lets_an_exception_out(walk: list[tuple[str, object]]) -> None:
    """Whatever comes, in whatever order: the worst that happens is that the conversation is over."""
    transport = DeadEnd()
    conversation = Conversation(transport)
    for what, value in walk:
        match what, value:
            case "data", bytes():
                conversation.data_received(value)
            case "write", int():
                conversation.write(b"", replies=value)
            case "lost", _:
                conversation.connection_lost(value)  # type: ignore[arg-type]
            case "eof", _:
                assert conversation.eof_received() is False
            case "pause", _:
                conversation.pause_writing()
            case "resume", _:
                conversation.resume_writing()
            case "abort", _:
                conversation.abort()
    assert transport.aborted <= 1
    assert isinstance(conversation.loss, Lost)


async def test_a_bug_in_reading_replies_ends_the_conversation_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(self: ReplyParser, data: bytes) -> None:
        raise RecursionError("250 ann@example.com")

    transport = DeadEnd()
    conversation = Conversation(transport)
    conversation.write(b"NOOP\r\n", replies=1)
    monkeypatch.setattr(ReplyParser, "feed", broken)
    conversation.data_received(b"250 ok\r\n")
    with pytest.raises(Lost) as caught:
        await conversation.reply(BOUND)
    assert (caught.value.signal, transport.aborted) == (Signal.GARBAGE, 1)
    assert "RecursionError" in str(caught.value)
    assert "ann@" not in str(caught.value)
