"""`hubctl daemon restore`, the part that moves files: checked first, all or nothing, the old one kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hubd.bridge import Bridge
from hubd.errors import StoreUnusable
from hubd.store.after_restore import open_restores
from hubd.store.backup import Backups
from hubd.store.database import open_database
from hubd.store.opening import prepare
from hubd.store.restore_backup import SUFFIXES, put_back
from tests.shell.conftest import Store


@pytest.fixture
async def backup(bridge: Bridge, database_path: Path, tmp_path: Path) -> Path:
    """A backup, and in its place a database that has come further."""
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        await store.running("ann", "bob", name="spring")
        made = await Backups(database).make(str(tmp_path / "monday.db"))
        await store.draft(name="made-since")
    return Path(made.path)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def size(path: Path) -> int:
    return path.stat().st_size


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def test_the_backup_is_the_database_then_and_the_old_one_is_kept(
    bridge: Bridge, database_path: Path, backup: Path
) -> None:
    before = contents(database_path.parent)
    done = put_back(backup, database_path)
    assert done.size == size(backup)
    assert done.taken_at is not None
    assert done.moved_to is not None
    assert (done.moved_to / "hub.db").read_bytes() == before["hub.db"]
    assert database_path.with_name("hub.anchor").read_bytes() == before["hub.anchor"]
    assert (mode(database_path), mode(done.moved_to)) == (0o600, 0o700)
    async with open_database(database_path, bridge) as database:
        restores = await open_restores(database)
        assert restores.found is not None
        assert await restores.finish()
        assert [each.name for each in await Store(database).campaigns.list()] == ["spring"]


async def test_a_dry_run_checks_everything_and_changes_nothing(database_path: Path, backup: Path) -> None:
    before = contents(database_path.parent)
    plan = put_back(backup, database_path, dry_run=True)
    assert plan.moved_to is not None
    assert contents(database_path.parent) == before


async def test_on_a_machine_without_a_database_it_becomes_the_first(
    bridge: Bridge, tmp_path: Path, backup: Path
) -> None:
    (tmp_path / "new").mkdir(mode=0o700)
    done = put_back(backup, tmp_path / "new" / "hub.db")
    assert done.moved_to is None
    async with open_database(tmp_path / "new" / "hub.db", bridge) as database:
        assert (await open_restores(database)).found is not None


async def test_two_restores_within_a_second_keep_both_databases(database_path: Path, backup: Path) -> None:
    folders = [put_back(backup, database_path, clock=lambda: 0.0).moved_to for _ in range(3)]
    assert [folder.name for folder in folders if folder] == [
        "replaced-19700101T000000Z",
        "replaced-19700101T000000Z-2",
        "replaced-19700101T000000Z-3",
    ]


@pytest.mark.parametrize("moved", range(1, len(SUFFIXES) + 1))
async def test_a_restore_that_was_cut_off_starts_no_daemon_and_is_completed_by_another(
    bridge: Bridge, database_path: Path, backup: Path, moved: int
) -> None:
    """Its first steps, as a kill leaves them: so many of the old files are moved, and the copy lies there."""
    for suffix in SUFFIXES[1:]:
        database_path.with_name(f"hub.db{suffix}").write_bytes(b"of the old database")
    away = database_path.with_name("replaced-before")
    away.mkdir()
    for suffix in SUFFIXES[:moved]:
        database_path.with_name(f"hub.db{suffix}").rename(away / f"hub.db{suffix}")
    shutil.copy(backup, database_path.with_name("hub.db.restoring"))
    with pytest.raises(StoreUnusable, match=r"hub\.db is missing"):
        prepare(database_path)
    put_back(backup, database_path)
    assert not database_path.with_name("hub.db.restoring").exists()
    async with open_database(database_path, bridge) as database:
        assert (await open_restores(database)).found is not None


def spoiled(backup: Path) -> Path:
    data = bytearray(backup.read_bytes())
    data[4096 * 3 : 4096 * 4] = os.urandom(4096)
    backup.write_bytes(data)
    return backup


def cut_short(backup: Path) -> Path:
    backup.write_bytes(backup.read_bytes()[:5000])
    return backup


def emptied(backup: Path) -> Path:
    backup.write_bytes(b"")
    return backup


def of_another_program(backup: Path) -> Path:
    backup.write_text("name,email\n" * 500)
    return backup


def with_a_log(backup: Path) -> Path:
    backup.with_name("monday.db-wal").write_bytes(b"changes")
    return backup


def a_folder(backup: Path) -> Path:
    return backup.parent


def not_there(backup: Path) -> Path:
    return backup.with_name("tuesday.db")


def the_database(backup: Path) -> Path:
    return backup.parent / "state" / "hub.db"


@pytest.mark.parametrize(
    "spoil",
    [spoiled, cut_short, emptied, of_another_program, with_a_log, a_folder, not_there, the_database],
)
async def test_what_is_no_good_backup_is_refused_and_nothing_changes(
    database_path: Path, backup: Path, spoil: Callable[[Path], Path]
) -> None:
    file = spoil(backup)
    before = contents(database_path.parent)
    with pytest.raises(StoreUnusable) as caught:
        put_back(file, database_path)
    assert str(file) in str(caught.value)
    assert caught.value.hint
    assert "hub.db.restoring" not in str(caught.value)
    assert contents(database_path.parent) == before
