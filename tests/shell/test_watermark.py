"""The watermark: how a database that lost committed history is told from one that did not."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hubd.bridge import Bridge
from hubd.errors import StoreUnusable
from hubd.store.after_restore import open_restores
from hubd.store.database import Database, open_database
from hubd.store.opening import FIRST_ROW, migrations
from hubd.store.watermark import Watermark, WatermarkFile, missing_history, watermark_of, watermark_path
from tests.shell.conftest import Store, open_entry

WATERMARK = Watermark(instance_id="one", epoch=3, opened=100, audit_seq=7, audit_hash="ab")


def judged(
    watermark: Watermark, recorded: Watermark | None, *, anchored: bool = True, copy: bool = False
) -> str:
    link = None if recorded is None or recorded.audit_seq > watermark.audit_seq else recorded.audit_hash
    return missing_history(watermark, recorded, link=link, anchored=anchored, copy=copy)


# --- what it is judged by -----------------------------------------------------------------------


def test_a_database_that_is_where_its_watermark_is_or_ahead_of_it_lost_nothing() -> None:
    assert judged(WATERMARK, WATERMARK) == ""
    assert judged(replace(WATERMARK, opened=101), WATERMARK) == ""
    assert judged(replace(WATERMARK, epoch=9, opened=300, audit_seq=9, audit_hash="cd"), WATERMARK) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epoch": 2}, "later changes are missing"),
        ({"opened": 99}, "later changes are missing"),
        ({"epoch": 4, "opened": 99}, "later changes are missing"),
        ({"audit_seq": 6}, "later changes are missing"),
        ({"instance_id": "two"}, "belongs to another database"),
    ],
)
def test_a_database_that_is_behind_its_watermark_lost_something(change: dict[str, object], says: str) -> None:
    assert says in judged(replace(WATERMARK, **change), WATERMARK)  # type: ignore[arg-type]


def test_another_link_in_the_audit_trail_is_another_history() -> None:
    assert "later changes" in missing_history(WATERMARK, WATERMARK, link="cd", anchored=True, copy=False)


def test_a_backup_is_one_whatever_its_watermark_says() -> None:
    assert "backup" in judged(WATERMARK, WATERMARK, copy=True)
    assert "backup" in judged(WATERMARK, None, anchored=False, copy=True)


def test_a_database_that_never_had_a_watermark_needs_none() -> None:
    assert judged(WATERMARK, None, anchored=False) == ""
    assert "missing" in judged(WATERMARK, None)


WATERMARKS = st.builds(
    Watermark,
    instance_id=st.text(max_size=16),
    epoch=st.integers(0, 2**40),
    opened=st.integers(0, 2**60),
    audit_seq=st.integers(0, 2**40),
    audit_hash=st.text("0123456789abcdef", max_size=64),
)


@given(watermark=WATERMARKS, steps=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)))
def test_no_way_forward_from_a_watermark_looks_like_a_loss(
    watermark: Watermark, steps: tuple[int, int, int]
) -> None:
    later = replace(
        watermark,
        epoch=watermark.epoch + steps[0],
        opened=watermark.opened + steps[1],
        audit_seq=watermark.audit_seq + steps[2],
    )
    assert judged(later, watermark) == ""


# --- the file -----------------------------------------------------------------------------------


def written(tmp_path: Path) -> WatermarkFile:
    watermark_file = WatermarkFile(tmp_path / "hub.db")
    watermark_file.write(WATERMARK)
    return watermark_file


@given(watermark=WATERMARKS)
def test_what_was_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, watermark: Watermark
) -> None:
    watermark_file = WatermarkFile(tmp_path_factory.mktemp("anchor") / "hub.db")
    watermark_file.write(watermark)
    assert watermark_file.read() == watermark


def test_it_is_private_and_leaves_no_other_file(tmp_path: Path) -> None:
    watermark_file = written(tmp_path)
    watermark_file.write(replace(WATERMARK, opened=101))
    assert [entry.name for entry in tmp_path.iterdir()] == ["hub.anchor"]
    assert stat.S_IMODE(watermark_file.path.stat().st_mode) == 0o600
    found = watermark_file.read()
    assert found is not None
    assert found.opened == 101


def test_one_that_was_cut_or_changed_anywhere_is_not_believed(tmp_path: Path) -> None:
    watermark_file = written(tmp_path)
    whole = watermark_file.path.read_bytes()
    for length in range(len(whole) - 2):
        watermark_file.path.write_bytes(whole[:length])
        assert watermark_file.read() is None
    for at in range(len(whole)):
        changed = bytes(byte ^ 1 if index == at else byte for index, byte in enumerate(whole))
        watermark_file.path.write_bytes(changed)
        assert watermark_file.read() in (None, WATERMARK), changed  # white space may differ


def test_a_write_that_was_cut_off_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "hub.anchor.new").write_bytes(b"half of")
    assert written(tmp_path).read() == WATERMARK


def test_one_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert WatermarkFile(tmp_path / "hub.db").read() is None


# --- a database and its watermark ------------------------------------------------------------------


def opened(watermark_file: WatermarkFile) -> int:
    watermark = watermark_file.read()
    assert watermark is not None
    return watermark.opened


async def until(ready: Callable[[], bool]) -> None:
    """The file is written in a thread of the daemon's own; there is no event to wait on."""
    with trio.fail_after(60):
        while True:
            if ready():
                return
            await trio.sleep(0.01)


def current(path: Path) -> Watermark:
    with closing(sqlite3.connect(path)) as db:
        return watermark_of(db)


async def found_restored(path: Path, bridge: Bridge) -> str:
    """Open the database: why it was found to be a restored one, or ""."""
    async with open_database(path, bridge) as database:
        restores = await open_restores(database)
        await restores.finish()
        restored = restores.found
    return restored.why if restored is not None and restored.epoch == database.epoch else ""


async def test_it_is_written_before_anything_can_be_sent_and_at_the_end(
    bridge: Bridge, database_path: Path
) -> None:
    watermark_file = WatermarkFile(database_path)
    for epoch in (1, 2):
        async with open_database(database_path, bridge):
            watermark = watermark_file.read()
            assert watermark is not None
            assert watermark.epoch == epoch
        assert watermark_file.read() == current(database_path)


async def test_it_follows_what_is_opened_while_the_daemon_runs(store: Store) -> None:
    campaign = await store.running("ann", "bob")
    for delivery in await store.ids(campaign):
        await store.ledger.record([open_entry(delivery)])
    watermark_file = WatermarkFile(store.db.path)
    await until(lambda: opened(watermark_file) == 2)
    assert watermark_file.read() == await store.db.read(watermark_of)


async def test_a_kill_at_any_moment_is_no_loss(bridge: Bridge, database_path: Path, tmp_path: Path) -> None:
    """The database is ahead of its watermark then, as after each commit."""
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        (delivery,) = await store.ids(await store.running("ann"))
        before = tmp_path / "anchor"
        shutil.copy(watermark_path(database_path), before)
        await store.ledger.record([open_entry(delivery)])
        killed = tmp_path / "killed"
        shutil.copytree(database_path.parent, killed)
        shutil.copy(before, killed / "hub.anchor")
    assert await found_restored(killed / "hub.db", bridge) == ""


async def test_an_older_copy_put_back_is_found(bridge: Bridge, database_path: Path, tmp_path: Path) -> None:
    async with open_database(database_path, bridge):
        pass
    shutil.copy(database_path, tmp_path / "older")
    async with open_database(database_path, bridge):
        pass
    shutil.copy(tmp_path / "older", database_path)
    assert "later changes" in await found_restored(database_path, bridge)
    assert await found_restored(database_path, bridge) == "", "once is enough"


async def test_a_lost_log_is_found(bridge: Bridge, database_path: Path, tmp_path: Path) -> None:
    """What was committed since the last checkpoint is gone, and the file is healthy in itself."""
    killed = tmp_path / "killed"
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        (delivery,) = await store.ids(await store.running("ann"))
        await store.ledger.record([open_entry(delivery)])
        WatermarkFile(database_path).write(await database.read(watermark_of))
        shutil.copytree(database_path.parent, killed)
    (killed / "hub.db-wal").unlink()
    (killed / "hub.db-shm").unlink()
    assert "later changes" in await found_restored(killed / "hub.db", bridge)


async def test_a_copy_elsewhere_without_its_watermark_is_found(
    bridge: Bridge, database_path: Path, tmp_path: Path
) -> None:
    async with open_database(database_path, bridge):
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        copy = tmp_path / "elsewhere" / "hub.db"
        shutil.copy(database_path, copy)  # without its log, too
    assert "missing" in await found_restored(copy, bridge)


async def test_a_whole_directory_that_was_moved_is_no_loss(
    bridge: Bridge, database_path: Path, tmp_path: Path
) -> None:
    async with open_database(database_path, bridge):
        pass
    database_path.parent.rename(tmp_path / "moved")
    assert await found_restored(tmp_path / "moved" / "hub.db", bridge) == ""


async def test_another_database_in_this_ones_place_is_found(
    bridge: Bridge, database_path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "hub.db"
    for path in (database_path, other):
        async with open_database(path, bridge):
            pass
    shutil.copy(other, database_path)
    assert "another" in await found_restored(database_path, bridge)


async def test_an_upgrade_from_before_there_were_anchors_is_silent(bridge: Bridge, tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"PRAGMA application_id = 1296594274; {migrations()[0][1]} PRAGMA user_version = 1;")
        db.execute(FIRST_ROW, (b"k" * 32, "one", 0.0))
        db.execute("UPDATE hub SET epoch = 41")
        db.commit()
        db.execute("PRAGMA journal_mode = WAL")
    assert await found_restored(path, bridge) == ""
    watermark = WatermarkFile(path).read()
    assert watermark is not None
    assert watermark.epoch == 42
    watermark_path(path).unlink()
    assert "missing" in await found_restored(path, bridge)


async def test_a_new_epoch_is_beyond_every_epoch_that_a_client_was_told(
    bridge: Bridge, database_path: Path, tmp_path: Path
) -> None:
    async with open_database(database_path, bridge):
        pass
    shutil.copy(database_path, tmp_path / "older")
    for _ in range(5):
        async with open_database(database_path, bridge) as last:
            pass
    shutil.copy(tmp_path / "older", database_path)
    async with open_database(database_path, bridge) as restored:
        assert restored.epoch > last.epoch


async def test_a_link_in_its_place_is_refused(bridge: Bridge, database_path: Path, tmp_path: Path) -> None:
    async with open_database(database_path, bridge):
        pass
    watermark_file = watermark_path(database_path)
    watermark_file.rename(tmp_path / "elsewhere")
    watermark_file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnusable, match="not a regular file"):
        async with open_database(database_path, bridge):
            pass


async def test_a_disk_that_takes_no_watermark_keeps_the_daemon_from_starting(
    bridge: Bridge, database_path: Path
) -> None:
    database_path.parent.mkdir(mode=0o700)
    (database_path.parent / "hub.anchor.new").mkdir()
    with pytest.raises(StoreUnusable, match=r"hub\.anchor cannot be written"):
        async with open_database(database_path, bridge):
            pass


async def test_a_watermark_that_cannot_be_written_for_a_while_catches_up(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = watermark_path(database.path).with_name("hub.anchor.new")
    blocked.mkdir()
    store, watermark_file = Store(database), WatermarkFile(database.path)
    (delivery,) = await store.ids(await store.running("ann"))
    await store.ledger.record([open_entry(delivery)])
    await until(lambda: "hub.anchor cannot be written" in caplog.text)
    assert opened(watermark_file) == 0
    blocked.rmdir()
    await until(lambda: opened(watermark_file) == 1)
