"""The database file gets shorter again: free pages are given back in pieces, and nothing else waits."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from hubd import failpoints
from hubd.bridge import Bridge
from hubd.store import free_pages, writer
from hubd.store.database import Database, Unit, open_database
from tests.shell.broken_disk import BrokenDisk, Op, after_kill, after_power_loss, broken_disk
from tests.shell.made_database import make_database
from tests.shell.test_database import add, stored

#: Rows of two kilobytes.
FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
INSERT INTO content (hash, spec, created_at) SELECT i, hex(zeroblob(1000)), 0 FROM n"""
FORGET = "DELETE FROM content WHERE id % 10 < 7"
ALL, LEFT = 400, 120


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "IDLE_CHECKPOINT", 0.01)
    monkeypatch.setattr(free_pages, "LEAST_KEPT", 8)
    monkeypatch.setattr(free_pages, "PIECE", 8)


def make_cut_off(path: Path) -> None:
    """Make a database as it is once it was written anew."""
    make_database(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = INCREMENTAL; VACUUM")


@pytest.fixture
async def database(bridge: Bridge, database_path: Path) -> AsyncIterator[Database]:
    make_cut_off(database_path)
    async with open_database(database_path, bridge) as database:
        yield database


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[BrokenDisk]:
    with broken_disk(tmp_path) as disk:
        yield disk


async def fill(db: Database) -> int:
    """Put in what is removed later; the size of the file with it."""
    await db.write(lambda unit: unit.db.execute(FILL))
    await db._writer.empty_log()
    return db.path.stat().st_size


async def forget(db: Database) -> None:
    await db.write(lambda unit: unit.db.execute(FORGET))


def sizes(path: Path) -> tuple[int, int]:
    """Bytes of the file and of its log."""
    return path.stat().st_size, path.with_name(path.name + "-wal").stat().st_size


async def shrunk(path: Path, size: int) -> None:
    """Wait until the file is shorter and the log is empty."""
    with trio.fail_after(60):
        while sizes(path)[0] >= size or sizes(path)[1]:  # noqa: ASYNC110 - nobody tells of it
            await trio.sleep(0.01)


def kept(path: Path) -> int:
    """How many rows a sound file has."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        count: int = db.execute("SELECT count(*) FROM content").fetchone()[0]
        return count


async def test_the_file_is_shorter_once_what_it_held_was_removed(database: Database) -> None:
    size = await fill(database)
    await forget(database)
    await shrunk(database.path, size * 2 // 3)
    await database.write(add("ann@example.com"))
    assert await database.read(stored) == ["ann@example.com"]
    assert kept(database.path) == LEFT


async def test_what_is_written_meanwhile_waits_for_one_piece_at_most(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = trio.lowlevel.current_trio_token()
    begun, asked = trio.Event(), threading.Event()
    pieces = 0

    def look(point: str) -> None:
        nonlocal pieces
        if point == "in_giving_back":
            pieces += 1
            if pieces == 1:
                token.run_sync_soon(begun.set)
                assert asked.wait(60)

    def work(unit: Unit) -> int:
        return pieces

    async def ask() -> None:
        assert await database.write(work) == 1

    size = await fill(database)
    await forget(database)
    monkeypatch.setattr(failpoints, "_armed", look)
    with trio.fail_after(60):
        await begun.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        asked.set()
    await shrunk(database.path, size * 2 // 3)  # it goes on afterwards
    assert pieces > 2


async def test_a_file_that_cannot_be_cut_off_is_left_as_it_is(bridge: Bridge, database_path: Path) -> None:
    make_database(database_path)
    async with open_database(database_path, bridge) as database:
        size = await fill(database)
        await forget(database)
        await database.write(add("ann@example.com"))
        await database._writer.empty_log()
        assert database.path.stat().st_size >= size
    assert kept(database_path) == LEFT


async def shorter(path: Path, bridge: Bridge, disk: BrokenDisk) -> tuple[dict[str, bytes], list[Op]]:
    """How a file was before pages were given back, and what was asked of the disk for that."""
    make_cut_off(path)
    async with open_database(path, bridge) as db:
        size = await fill(db)
    before = {str(path): await trio.Path(path).read_bytes()}
    disk.log.clear()
    async with open_database(path, bridge) as db:
        await forget(db)
        await shrunk(path, size * 2 // 3)
        return before, list(disk.log)


async def test_a_kill_or_a_power_cut_while_pages_are_given_back_loses_nothing(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk
) -> None:
    before, ops = await shorter(tmp_path / "live" / "hub.db", bridge, disk)
    rng = random.Random(4)
    for trial in range(12):
        folder = tmp_path / f"cut{trial}"
        folder.mkdir(mode=0o700)
        done = ops[: rng.randrange(len(ops) // 4, len(ops))]
        left = after_kill(before, done) if trial % 2 else after_power_loss(before, done, rng)
        for file, content in left.items():
            place = folder / Path(file).name
            place.touch(0o600)
            place.write_bytes(content)
        async with open_database(folder / "hub.db", bridge):  # checks all of it
            pass
        assert kept(folder / "hub.db") in (LEFT, ALL)
