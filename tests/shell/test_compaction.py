"""A database whose file is mostly empty is written anew at the start, or used as it is."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from hubd import failpoints
from hubd.bridge import Bridge
from hubd.store import compaction
from hubd.store.compaction import copy_of
from hubd.store.database import Database, open_database
from hubd.store.disk_space import DiskSpaceLimits
from hubd.store.free_pages import INCREMENTAL
from tests.shell.made_database import make_database
from tests.shell.test_database import add, stored
from tests.shell.test_free_pages import make_cut_off

FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO content (hash, spec, created_at) SELECT i, hex(zeroblob(300)), 0 FROM n"""
#: Frees no page, and leaves each half empty.
EMPTY = "UPDATE content SET spec = '' WHERE id % 10 < 8"
FREE = "DELETE FROM content WHERE id > 300"
REMEMBER = "INSERT INTO thinning (campaign_id, what, after) VALUES (1, 'content', 1)"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "LEAST", 300_000)


def bytes_of(path: Path) -> int:
    return path.stat().st_size


async def fill(path: Path, bridge: Bridge, *statements: str, again: bool = False) -> int:
    """Make a database and do this to it; its size. `again`: it was written anew before."""
    make_database(path)
    if again:
        make_cut_off(path)
    async with open_database(path, bridge) as db:
        for statement in (FILL, *statements):
            await db.write(lambda unit, statement=statement: unit.db.execute(statement))
        await db.write(add("ann@example.com"))
    return bytes_of(path)


async def contents(db: Database) -> list[object]:
    def work(reader: sqlite3.Connection) -> list[object]:
        rows = [tuple(row) for row in reader.execute("SELECT * FROM content")]
        return [rows, stored(reader), reader.execute("PRAGMA auto_vacuum").fetchone()[0]]

    return await db.read(work)  # type: ignore[arg-type]


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("statements", [(FREE,), (EMPTY, REMEMBER)])
async def test_what_is_empty_is_given_back_at_the_start_and_nothing_else_changes(
    bridge: Bridge, database_path: Path, statements: tuple[str, ...], again: bool
) -> None:
    size = await fill(database_path, bridge, *statements, again=again)
    with closing(sqlite3.connect(database_path)) as db:
        before = [tuple(row) for row in db.execute("SELECT * FROM content")]
    async with open_database(database_path, bridge) as database:
        assert bytes_of(database_path) < size * 2 // 3
        assert await contents(database) == [before, ["ann@example.com"], INCREMENTAL]
        restored = "SELECT restored_at FROM hub"
        assert await database.read(lambda db: db.execute(restored).fetchone()[0]) is None
        await database.write(add("bob@example.com"))
        assert not copy_of(database_path).exists()
    shorter = bytes_of(database_path)
    async with open_database(database_path, bridge) as database:
        assert await database.read(stored) == ["ann@example.com", "bob@example.com"]
        assert bytes_of(database_path) == shorter


async def test_a_file_that_is_little_empty_or_has_no_room_beside_it_is_used_as_it_is(
    bridge: Bridge, database_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = await fill(database_path, bridge, EMPTY)  # nothing says that rows lost their words
    async with open_database(database_path, bridge):
        assert bytes_of(database_path) == size
    caplog.set_level(logging.INFO)
    await fill_again(database_path, bridge)
    with monkeypatch.context() as patch:
        patch.setattr(compaction, "SHARE", 1)
        async with open_database(database_path, bridge):
            assert bytes_of(database_path) == size
    async with open_database(database_path, bridge, limits=DiskSpaceLimits(min_free=2**60, max_share=1.0)):
        assert bytes_of(database_path) == size
    assert "the database is not compacted: only " in caplog.text


async def test_the_path_may_be_relative_and_an_end_does_not_wait_for_it(
    bridge: Bridge, database_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = await fill(database_path, bridge, FREE)
    async with open_database(database_path, bridge, ending=lambda: True) as database:
        assert await database.read(stored) == ["ann@example.com"]
        assert bytes_of(database_path) == size
    monkeypatch.chdir(database_path.parent)
    async with open_database(Path(database_path.name), bridge):
        assert bytes_of(database_path) < size * 2 // 3


async def fill_again(path: Path, bridge: Bridge) -> None:
    async with open_database(path, bridge) as db:
        await db.write(lambda unit: unit.db.execute(REMEMBER))


async def test_what_goes_wrong_leaves_the_file_as_it_was(
    bridge: Bridge, database_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = await fill(database_path, bridge, FREE)

    def fail(point: str) -> None:
        if point == "in_compaction":
            raise OSError("the disk has gone")

    monkeypatch.setattr(failpoints, "_armed", fail)
    copy = copy_of(database_path)
    await trio.Path(copy).write_text("left by a run that was killed")
    async with open_database(database_path, bridge) as database:
        assert await database.read(stored) == ["ann@example.com"]
        assert bytes_of(database_path) == size
        assert not copy.exists()
    assert "could not be compacted and is used as it is: the disk has gone" in caplog.text


async def test_a_file_that_was_not_closed_in_order_is_left_alone(bridge: Bridge, database_path: Path) -> None:
    size = await fill(database_path, bridge, FREE)
    log = database_path.with_name("hub.db-wal")
    async with open_database(database_path, bridge, limits=DiskSpaceLimits(min_free=0)) as database:
        await database.write(add("bob@example.com"))
        unclean = {path: await trio.Path(path).read_bytes() for path in (database_path, log)}
    assert size > bytes_of(database_path), "it was compacted by then"
    for path, content in unclean.items():
        await trio.Path(path).write_bytes(content)
    before = bytes_of(database_path)
    async with open_database(database_path, bridge) as database:
        assert await database.read(stored) == ["ann@example.com", "bob@example.com"]
        assert bytes_of(database_path) == before
