"""A backup of a database in use: whole, checked, and only under its name when it is."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hubd import failpoints
from hubd.bridge import Bridge
from hubd.core.ledger import Entry
from hubd.errors import BadInput, Conflict, HubError, StoreError
from hubd.store import backup as backup_module
from hubd.store.backup import Backups
from hubd.store.database import Database, open_database
from hubd.store.watermark import watermark_of
from tests.shell.conftest import Store, close_entry, open_entry


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def rows(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        return [tuple(row) for row in db.execute(statement)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


async def test_it_is_the_whole_database_private_and_marked(store: Store, place: Path) -> None:
    campaign = await store.running("ann", "bob", "cid")
    made = await Backups(store.db, clock=lambda: 1234.5).make(str(place / "hub.db"))
    copy = place / "hub.db"
    assert names(place) == ["hub.db"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert (made.path, made.size, made.taken_at) == (str(copy), copy.stat().st_size, 1234.5)
    assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert rows(copy, "SELECT copied_at FROM hub") == [(1234.5,)]
    assert rows(copy, "SELECT count(*) FROM delivery") == [(3,)]
    own = await store.db.read(lambda db: db.execute("SELECT copied_at FROM hub").fetchone()[0])
    assert own is None, "only the copy is marked"
    await store.check_counters(campaign)


async def test_what_is_written_meanwhile_neither_waits_nor_gets_in(
    store: Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer commits between two steps of the copy; the copy is of the moment at which it began."""
    campaign = await store.running(*(f"p{n}" for n in range(200)))
    waiting = await store.ids(campaign)
    before = await store.db.read(watermark_of)
    looks = 0

    def send() -> None:
        nonlocal looks
        looks += 1
        if waiting:
            delivery = waiting.pop()
            entries: list[Entry] = [open_entry(delivery), close_entry(delivery)]
            trio.from_thread.run(store.ledger.record, entries)

    monkeypatch.setattr(backup_module, "STEP", 1)
    monkeypatch.setattr(trio.from_thread, "check_cancelled", send)
    await Backups(store.db).make(str(place / "copy.db"))
    assert looks > 10
    assert len(waiting) < 200
    assert rows(
        place / "copy.db", "SELECT (SELECT coalesce(sum(attempts), 0) FROM opened), epoch FROM hub"
    ) == [(before.opened, before.epoch)]
    assert rows(place / "copy.db", "SELECT n_pending, n_sent FROM campaign_count") == [(200, 0)]
    counts = (await store.campaigns.by_id(campaign.id)).counts
    assert (counts.pending, counts.sent) == (len(waiting), 200 - len(waiting))
    await store.check_counters(campaign)


async def test_a_copy_can_be_opened_like_any_database(
    store: Store, place: Path, bridge: Bridge, tmp_path: Path
) -> None:
    await store.running("ann")
    await Backups(store.db).make(str(place / "copy.db"))
    (tmp_path / "new").mkdir(mode=0o700)
    shutil.move(place / "copy.db", tmp_path / "new" / "hub.db")
    async with open_database(tmp_path / "new" / "hub.db", bridge) as again:
        campaign = await Store(again).campaigns.get("spring-sale")
        assert campaign.counts.pending == 1
        assert again.install_key == store.db.install_key


def link_away(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, link_away], ids=["file", "directory", "link"])
async def test_nothing_is_overwritten(database: Database, place: Path, make: Callable[[Path], None]) -> None:
    make(place / "taken.db")
    with pytest.raises(BadInput, match="already exists"):
        await Backups(database).make(str(place / "taken.db"))
    assert names(place) == ["taken.db"]


@pytest.mark.parametrize(
    "path",
    [
        *("hub.db", "./x", "", "/", "/tmp/../tmp/x.db"),
        *("/nowhere/at/all/x.db", "/dev/null/x.db", "/tmp/a\0b", f"/tmp/{'n' * 300}"),
    ],
)
async def test_a_place_that_will_not_do_is_refused(database: Database, path: str) -> None:
    with pytest.raises((BadInput, StoreError)) as refused:
        await Backups(database).make(path)
    assert refused.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "hub.db-wal",
        "hub.db-shm",
        "hub.db-journal",
        "hub.db.new",
        "hub.ballast",
        "hub.anchor",
        "hubd.lock",
        "control.sock",
    ],
)
async def test_the_daemons_own_names_are_refused(database: Database, name: str) -> None:
    with pytest.raises(BadInput):
        await Backups(database).make(str(database.path.parent / name))
    around = database.path.parent.parent / "state" / "." / name
    with pytest.raises(BadInput):
        await Backups(database).make(str(around))


async def test_another_name_in_the_state_directory_will_do(database: Database) -> None:
    await Backups(database).make(str(database.path.parent / "monday.db"))
    assert "monday.db" in names(database.path.parent)


async def test_what_a_killed_backup_left_is_removed_by_the_next(database: Database, place: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        (place / f".copy.db.unfinished{suffix}").write_bytes(b"half of a backup")
    await Backups(database).make(str(place / "copy.db"))
    assert names(place) == ["copy.db"]


async def test_it_has_its_name_only_when_it_is_whole(
    database: Database, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def look(point: str) -> None:
        if point == "in_backup":
            seen.append(names(place))
            assert rows(place / ".copy.db.unfinished", "PRAGMA integrity_check") == [("ok",)]

    monkeypatch.setattr(failpoints, "_armed", look)
    await Backups(database).make(str(place / "copy.db"))
    assert seen == [[".copy.db.unfinished"]]


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A disk on which a small file still fits and a large one does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_is_full_leaves_nothing_and_the_database_as_it_was(
    store: Store, place: Path
) -> None:
    campaign = await store.running(*(f"p{n}" for n in range(50)))
    await Backups(store.db).make(str(place / "before.db"))
    with no_file_larger_than(60_000), pytest.raises(StoreError) as failed:
        await Backups(store.db).make(str(place / "copy.db"))
    assert failed.value.code == "backup_failed"
    assert names(place) == ["before.db"]
    assert store.db.trouble == ""
    await store.check_counters(campaign)


async def test_a_directory_that_may_not_be_written_is_told(database: Database, place: Path) -> None:
    (place / ".copy.db.unfinished").mkdir()
    with pytest.raises(HubError, match="failed") as failed:
        await Backups(database).make(str(place / "copy.db"))
    assert "user" in failed.value.hint


async def test_one_at_a_time(database: Database, place: Path) -> None:
    backups = Backups(database)
    results: list[object] = []

    async def make(name: str) -> None:
        try:
            results.append(await backups.make(str(place / name)))
        except Conflict as error:
            results.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make, "a.db")
        nursery.start_soon(make, "b.db")
    assert sorted(isinstance(result, Conflict) for result in results) == [False, True]
    await backups.make(str(place / "c.db"))


async def test_a_backup_that_is_not_wanted_any_more_ends_at_once_and_leaves_nothing(
    store: Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.running(*(f"p{n}" for n in range(50)))
    monkeypatch.setattr(backup_module, "STEP", 1)
    with trio.CancelScope() as scope:
        check = trio.from_thread.check_cancelled

        def cancel_and_look() -> None:
            trio.from_thread.run_sync(scope.cancel)
            check()

        monkeypatch.setattr(trio.from_thread, "check_cancelled", cancel_and_look)
        await Backups(store.db).make(str(place / "copy.db"))
    assert scope.cancelled_caught
    assert names(place) == []
    monkeypatch.undo()
    await Backups(store.db).make(str(place / "copy.db"))


async def test_a_log_of_another_life_beside_a_backup_is_refused(
    bridge: Bridge, database_path: Path, place: Path, tmp_path: Path
) -> None:
    """All three files are replaced together; whoever forgets is told, and nothing is mixed."""
    killed = tmp_path / "killed"
    async with open_database(database_path, bridge) as database:
        store = Store(database)
        await store.running("ann", "bob")
        await Backups(database).make(str(place / "copy.db"))
        await store.ledger.record([open_entry(1), close_entry(1)])
        shutil.copytree(database_path.parent, killed)
    shutil.copy(place / "copy.db", killed / "hub.db")
    before = {entry.name: entry.read_bytes() for entry in killed.iterdir() if not entry.name.endswith("-shm")}
    with pytest.raises(StoreError, match="do not belong together") as refused:
        async with open_database(killed / "hub.db", bridge):
            pass
    assert "hub.db-wal" in refused.value.hint
    after = {entry.name: entry.read_bytes() for entry in killed.iterdir() if not entry.name.endswith("-shm")}
    assert after == before
    (killed / "hub.db-wal").unlink()
    (killed / "hub.db-shm").unlink()
    async with open_database(killed / "hub.db", bridge) as again:
        assert (await Store(again).campaigns.get("spring-sale")).counts.pending == 2
