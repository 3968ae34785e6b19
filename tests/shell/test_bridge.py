"""The bridge and the traps beside it: what asyncio libraries do when Trio calls them, and what we rely on.

Some tests here pin what the libraries do wrong. When one of them fails after an upgrade, a rule of ours may
have become unnecessary.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
import trio

from hubd.bridge import Bridge
from hubd.store import connection as connection_module
from hubd.store.connection import Connection, connect, open_plain

ROOT = Path(__file__).resolve().parents[2]
BOUND = 60.0  #: seconds for what must end


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


class Signal:
    """An event that the thread of the bridge's loop sets and Trio waits for."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def set(self) -> None:
        self._token.run_sync_soon(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


async def cancelled_at(begun: Signal, task: Callable[[], Awaitable[object]]) -> None:
    """Start `task`, cancel it when it says that it has begun, and wait for its end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
        await begun.wait()
        nursery.cancel_scope.cancel()


def from_thread(event: threading.Event) -> asyncio.Future[bool]:
    """Wait for an event of another thread, in asyncio's flavour."""
    return asyncio.get_running_loop().run_in_executor(None, event.wait, BOUND)


# --- finish and ask -----------------------------------------------------------------------------


async def test_what_is_to_finish_ends_although_its_caller_is_cancelled(
    bridge: Bridge, connection: aiosqlite.Connection
) -> None:
    """A unit of work in a real database: committed, and no transaction left open."""
    begun, go_on = Signal(), threading.Event()

    async def unit() -> None:
        await connection.execute("BEGIN IMMEDIATE")
        await connection.execute("INSERT INTO t VALUES (1)")
        begun.set()
        await from_thread(go_on)
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
    begun = Signal()
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
    begun = Signal()

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
    begun, runs, go_on = Signal(), threading.Event(), threading.Event()

    def slowly(n: int) -> int:
        runs.set()
        go_on.wait(BOUND)
        return n

    await bridge.finish(lambda: connection.create_function("slowly", 1, slowly))

    async def insert() -> None:
        statement = asyncio.ensure_future(connection.execute("INSERT INTO t VALUES (slowly(7))"))
        await from_thread(runs)
        begun.set()
        await statement

    await cancelled_at(begun, lambda: bridge.ask(insert))
    assert not go_on.is_set()  # the caller is gone, the statement is not
    go_on.set()
    assert await numbers(bridge, connection) == [7]


async def test_a_result_that_was_there_before_the_cancellation_is_not_lost(bridge: Bridge) -> None:
    """What was opened by then is returned to the caller, who can close it."""
    ended, got = Signal(), []

    async def answer() -> str:
        ended.set()
        return "opened"

    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            got.append(await bridge.ask(answer))

        nursery.start_soon(ask)
        await ended.wait()
        nursery.cancel_scope.cancel()
    assert got == ["opened"]


@pytest.mark.parametrize("way", ["ask", "finish"])
async def test_an_error_arrives_as_it_was_raised(
    bridge: Bridge, connection: aiosqlite.Connection, way: str
) -> None:
    """Not wrapped in a group, so that `except sqlite3.Error` works."""
    with pytest.raises(sqlite3.OperationalError, match="no such table") as caught:
        await getattr(bridge, way)(lambda: connection.execute_fetchall("SELECT * FROM missing"))
    assert type(caught.value) is sqlite3.OperationalError


# --- a unit of work ---------------------------------------------------------------------------------


def test_a_file_that_cannot_be_opened_leaves_no_thread_that_answers_to_a_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop may end at once; a thread that answers to it later would end with an error of its own."""
    made: list[Connection] = []

    class Noted(Connection):
        def stop(self) -> Any:
            made.append(self)
            return super().stop()

    monkeypatch.setattr(connection_module, "Connection", Noted)
    with pytest.raises(sqlite3.OperationalError):
        asyncio.run(connect(tmp_path / "missing.db", writer=False))
    (connection,) = made
    assert isinstance(connection.stopping, asyncio.Future)
    assert connection.stopping.done()


async def test_a_unit_of_work_waits_in_the_queue_of_aiosqlites_own_thread(
    bridge: Bridge, tmp_path: Path
) -> None:
    """It uses protected names of aiosqlite: an upgrade that changes them is noticed here."""
    with sqlite3.connect(tmp_path / "t.db") as made:
        made.execute("CREATE TABLE t (n INTEGER)")
    made.close()
    connection = await bridge.finish(lambda: connect(tmp_path / "t.db", writer=True))
    try:
        assert await connection.unit(bridge, lambda db: db.execute("SELECT 7").fetchone()[0]) == 7
        assert await connection.unit(bridge, lambda _: threading.current_thread()) is connection._thread
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await connection.unit(bridge, lambda db: db.execute("SELECT * FROM missing"))
    finally:
        await bridge.finish(connection.close)
    with pytest.raises(ValueError, match="closed"):
        await connection.unit(bridge, lambda db: db.execute("SELECT 1"))


async def test_a_unit_of_work_ends_before_its_cancelled_caller_does(bridge: Bridge, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as made:
        made.execute("CREATE TABLE t (n INTEGER)")
    made.close()
    connection = await bridge.finish(lambda: connect(tmp_path / "t.db", writer=True))
    begun, go_on = Signal(), threading.Event()

    def work(db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        begun.set()
        go_on.wait(BOUND)
        db.execute("INSERT INTO t VALUES (1)")
        db.execute("COMMIT")

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.unit, bridge, work)
            await begun.wait()
            nursery.cancel_scope.cancel()
            go_on.set()
    finally:
        await bridge.finish(connection.close)
    plain = open_plain(tmp_path / "t.db", writer=False)
    assert plain.execute("SELECT n FROM t").fetchall()[0][0] == 1
    plain.close()


# --- the end of the process -----------------------------------------

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


def test_a_connection_left_unclosed_does_not_keep_the_process_from_ending() -> None:
    """Its thread is made by the thread of the loop, which is a daemon thread, and so is the new one then."""
    with run(UNCLOSED) as process:
        assert first_line(process) == "main has ended"
        assert process.wait(BOUND) == 0


def test_a_closed_connection_lets_the_process_end() -> None:
    with run(CLOSED) as process:
        assert first_line(process) == "main has ended"
        assert process.wait(BOUND) == 0
