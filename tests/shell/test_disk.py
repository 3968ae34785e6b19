"""Disks that fail: full, in error, powered off in the middle. What was acknowledged is there afterwards."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from hubd.bridge import Bridge
from hubd.core.model import Campaign, DeliveryState
from hubd.errors import StoreUnavailable, StoreUnusable
from hubd.store import connection, writer
from hubd.store.database import Database
from hubd.store.transaction import Transaction
from tests.shell.broken_disk import BrokenDisk, Op, after_power_loss
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.failing_database import FULL, PEOPLE, lost, opened
from tests.shell.test_database import add, stored

pytestmark = pytest.mark.slow


# --- errors that pass, and errors that do not -------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "says"),
    [
        ("write", FULL, "full"),
        ("write", sqlite3.SQLITE_IOERR_WRITE, "SQLITE_IOERR_WRITE"),
        ("write", sqlite3.SQLITE_READONLY, "read-only"),
        ("write", sqlite3.SQLITE_IOERR_NOMEM, "out of memory"),
        ("sync", FULL, "full"),
    ],
)
async def test_trouble_that_may_pass_stops_writing_keeps_reading_and_heals_by_itself(
    bridge: Bridge, database_path: Path, disk: BrokenDisk, kind: str, code: int, says: str
) -> None:
    async with opened(database_path, bridge) as db:
        await db.write(add("before@example.com"))
        disk.fails = lambda op: code if op.kind == kind else 0
        with pytest.raises(StoreUnavailable, match=says):
            await db.write(add("lost@example.com"))
        with pytest.raises(StoreUnavailable, match=says):
            await db.write(add("refused@example.com"))
        assert says in db.trouble
        assert await db.read(stored) == ["before@example.com"]
        disk.fails = lambda op: 0
        with trio.fail_after(10):
            await db.wait_healthy()
        await db.write(add("after@example.com"))
        assert (db.trouble, await db.read(stored)) == ("", ["after@example.com", "before@example.com"])


@pytest.mark.parametrize(
    ("kind", "code", "says"),
    [
        ("sync", sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"),
        ("sync", sqlite3.SQLITE_IOERR_DIR_FSYNC, "SQLITE_IOERR_DIR_FSYNC"),
        ("write", sqlite3.SQLITE_CORRUPT, "damaged"),
        ("write", sqlite3.SQLITE_NOTADB, "no longer a database"),
    ],
)
async def test_after_a_failed_fsync_nothing_is_written_any_more(
    bridge: Bridge, database_path: Path, disk: BrokenDisk, kind: str, code: int, says: str
) -> None:
    """Once only: the next fsync would succeed, and say nothing about the pages that were dropped."""
    async with lost(database_path, bridge) as db:
        await db.write(add("before@example.com"))
        disk.fail_nth(kind, 1, code)
        with pytest.raises(StoreUnavailable, match=says):
            await db.write(add("uncertain@example.com"))
        with trio.fail_after(10):
            await db.wait_lost()
        done = list(disk.log)
        with pytest.raises(StoreUnavailable) as caught:
            await db.write(add("never@example.com"))
        assert "hubd ends" in caught.value.hint
        for wait in (db.wait_healthy, db.wait_for_disk_space):
            with pytest.raises(StoreUnavailable, match=says):
                await wait()
    assert disk.log == done  # the log is not copied into the file, not cut off and not removed
    async with opened(database_path, bridge) as again:
        assert "before@example.com" in await again.read(stored)
        assert "never@example.com" not in await again.read(stored)


async def test_a_failed_fsync_of_a_checkpoint_is_no_small_matter(
    bridge: Bridge, database_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "IDLE_CHECKPOINT", 0.01)
    async with lost(database_path, bridge) as db:
        disk.fail_nth("sync", 1, sqlite3.SQLITE_IOERR_FSYNC, file="hub.db")  # of the file, not of the log
        await db.write(add("kept@example.com"))
        with trio.fail_after(10):
            await db.wait_lost()
        done = list(disk.log)
    assert disk.log == done
    async with opened(database_path, bridge) as again:
        assert await again.read(stored) == ["kept@example.com"]


async def test_a_failed_fsync_at_the_orderly_end_is_told(
    bridge: Bridge, database_path: Path, disk: BrokenDisk
) -> None:
    async with lost(database_path, bridge) as db:
        await db.write(add("kept@example.com"))
        disk.fail_nth("sync", 1, sqlite3.SQLITE_IOERR_FSYNC, file="hub.db")
    async with opened(database_path, bridge) as again:
        assert await again.read(stored) == ["kept@example.com"]


async def test_files_that_may_not_grow_any_more_are_a_full_disk(bridge: Bridge, database_path: Path) -> None:
    """The system's own refusal and not ours: EFBIG, as a quota gives EDQUOT."""
    async with opened(database_path, bridge) as db:
        await db.write(add("before@example.com"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (db.path.with_name("hub.db-wal").stat().st_size, hard))
        try:
            with pytest.raises(StoreUnavailable):
                await db.write(add("lost@example.com"))
            assert await db.read(stored) == ["before@example.com"]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with trio.fail_after(10):
            await db.wait_healthy()
        await db.write(add("after@example.com"))


# --- an error at every n-th call --------------------------------------------------------------------------


async def persist(store: Store, entries: Sequence[object]) -> None:
    """Write an outcome as the engine does: again and again until it is written or never will be."""
    while True:
        try:
            refusals = await store.ledger.record(entries)  # type: ignore[arg-type]
        except StoreUnavailable:
            await store.db.wait_healthy()
        else:
            assert refusals == [None] * len(entries)
            return


async def send(store: Store, ids: Sequence[int], note: Callable[[str], None]) -> None:
    """What a worker does with the ledger: close one and open the next in one item. Notes what it was told."""
    await persist(store, [open_entry(ids[0])])
    note(f"open {ids[0]}")
    for this, following in zip(ids, [*ids[1:], None], strict=True):
        opening = [] if following is None else [open_entry(following)]
        await persist(store, [close_entry(this), *opening])
        note(f"sent {this}")
        if following is not None:
            note(f"open {following}")


class Prepared(NamedTuple):
    """A database with a running campaign, closed in order."""

    folder: Path
    campaign: Campaign
    ids: list[int]


async def prepared(folder: Path, bridge: Bridge) -> Prepared:
    async with opened(folder / "hub.db", bridge) as db:
        store = Store(db)
        campaign = await store.running(*PEOPLE)
        return Prepared(folder, campaign, await store.ids(campaign))


async def work(store: Store, ids: list[int], note: Callable[[str], None]) -> None:
    """Two workers, with checkpoints of both kinds between what they do."""
    half = len(ids) // 2
    await send(store, ids[: half - 1], note)
    await store.db._writer.empty_log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, store, ids[half - 1 : half + 1], note)
        nursery.start_soon(send, store, ids[half + 1 :], note)
    await store.db._writer.empty_log()


async def check(path: Path, bridge: Bridge, ready: Prepared, notes: Sequence[str]) -> None:
    """The next start finds everything that was acknowledged, and nothing half done."""
    async with opened(path, bridge) as db:  # reads every page and compares every index
        store = Store(db)
        rows = {row.id: row for row in await store.ledger.deliveries(ready.campaign.id)}
        sent = {number for number, row in rows.items() if row.state is DeliveryState.SENT}
        begun = {number for number, row in rows.items() if row.state is not DeliveryState.PENDING}
        assert {int(note.split()[1]) for note in notes if note.startswith("sent")} <= sent
        assert {int(note.split()[1]) for note in notes if note.startswith("open")} <= begun
        recovered = await store.ledger.recover()
        assert recovered.total <= 2  # of two workers
        assert recovered.total == len(begun - sent)
        await store.check_counters(ready.campaign)


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("write", (sqlite3.SQLITE_IOERR_WRITE, FULL)),
        ("sync", (sqlite3.SQLITE_IOERR_FSYNC,)),
        ("truncate", (sqlite3.SQLITE_IOERR_TRUNCATE,)),
    ],
)
async def test_an_error_at_each_call_in_turn_loses_nothing_that_was_acknowledged(
    bridge: Bridge,
    tmp_path: Path,
    disk: BrokenDisk,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    codes: Sequence[int],
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_CHANGES", 12)
    ready = await prepared(tmp_path / "ready", bridge)
    failed = True
    nth = 0
    while failed:
        nth += 1
        folder = tmp_path / f"trial{nth}"
        shutil.copytree(ready.folder, folder)
        notes: list[str] = []
        was_lost = False
        with suppress(StoreUnusable), trio.fail_after(30):
            async with opened(folder / "hub.db", bridge) as db:
                reached = disk.fail_nth(kind, nth, codes[nth % len(codes)])
                with suppress(StoreUnavailable, ExceptionGroup):  # which may only be for good; see below
                    await work(Store(db), ready.ids, notes.append)
                failed = reached()
                disk.fails = lambda op: 0
                was_lost = db._writer.lost.is_set()
        if kind == "sync":
            assert was_lost is failed
        else:
            assert not was_lost
            assert len([note for note in notes if note.startswith("sent")]) == len(PEOPLE)
        await check(folder / "hub.db", bridge, ready, notes)
        shutil.rmtree(folder)
    assert nth > 1


@pytest.mark.parametrize("kind", ["write", "sync"])
async def test_an_error_at_each_call_while_opening_leaves_a_database_that_opens_the_next_time(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk, kind: str
) -> None:
    """Making a new one included: what was half made is begun anew."""
    failed, nth = True, 0
    while failed:
        nth += 7
        path = tmp_path / f"trial{nth}" / "hub.db"
        reached = disk.fail_nth(kind, nth, sqlite3.SQLITE_IOERR_WRITE)
        with suppress(StoreUnusable):
            async with opened(path, bridge):
                pass
        failed = reached()
        disk.fails = lambda op: 0
        async with opened(path, bridge) as db:
            await db.write(add("a@example.com"))
    assert nth > 7


# --- the power goes ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class History:
    """What was asked of the disk while a campaign was sent, and how the files were before."""

    ready: Prepared
    before: Mapping[str, bytes]
    ops: Sequence[Op]

    def cut(self, at: int, rng: random.Random, folder: Path) -> list[str]:
        """Make the files in `folder` as a power cut after so many operations leaves them; what was told."""
        folder.mkdir(mode=0o700)
        ops = [op for op in self.ops[:at] if op.kind != "note"]
        for file, content in after_power_loss(self.before, ops, rng).items():
            place = folder / Path(file).name
            place.touch(0o600)
            place.write_bytes(content)
        return [op.file for op in self.ops[:at] if op.kind == "note"]


async def history(folder: Path, bridge: Bridge, disk: BrokenDisk) -> History:
    ready = await prepared(folder, bridge)
    before = {str(folder / "hub.db"): (folder / "hub.db").read_bytes()}
    disk.log.clear()
    async with opened(folder / "hub.db", bridge) as db:
        await work(Store(db), ready.ids, disk.note)
        ops = list(disk.log)
    return History(ready, before, ops)


async def test_a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_CHANGES", 12)
    told = await history(tmp_path / "live", bridge, disk)
    rng = random.Random(8)
    for trial in range(60):
        folder = tmp_path / f"cut{trial}"
        notes = told.cut(rng.randrange(len(told.ops) + 1), rng, folder)
        await check(folder / "hub.db", bridge, told.ready, notes)


async def test_that_test_would_notice_a_commit_that_is_not_synced(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With synchronous = NORMAL the same cuts lose what was acknowledged: FULL is there for a reason."""
    normal = [text.replace("= FULL", "= NORMAL") for text in connection.WRITER_SETTINGS]
    assert tuple(normal) != connection.WRITER_SETTINGS
    monkeypatch.setattr(connection, "WRITER_SETTINGS", tuple(normal))
    told = await history(tmp_path / "live", bridge, disk)
    rng = random.Random(8)
    losses = 0
    for trial in range(60):
        folder = tmp_path / f"cut{trial}"
        notes = told.cut(rng.randrange(len(told.ops) + 1), rng, folder)
        try:
            await check(folder / "hub.db", bridge, told.ready, notes)
        except* (AssertionError, StoreUnusable):
            losses += 1
    assert losses


# --- readers ----------------------------------------------------------------------------------------------


async def test_a_reader_that_fails_once_is_replaced_and_nobody_notices(
    bridge: Bridge, database_path: Path, disk: BrokenDisk
) -> None:
    async with opened(database_path, bridge):
        pass
    async with opened(database_path, bridge) as db:
        disk.fail_nth("read", 1, sqlite3.SQLITE_IOERR_READ)
        assert await db.read(stored) == []
        assert db.trouble == ""


async def test_a_disk_that_cannot_be_read_for_a_while_is_no_damage(
    bridge: Bridge, database_path: Path, disk: BrokenDisk
) -> None:
    async with opened(database_path, bridge):
        pass
    async with opened(database_path, bridge) as db:
        disk.fails = lambda op: sqlite3.SQLITE_IOERR_READ if op.kind == "read" else 0
        with pytest.raises(StoreUnavailable, match=r"cannot be read: .* \(SQLITE_IOERR_READ\)"):
            await db.read(stored)
        assert not db._writer.lost.is_set()
        disk.fails = lambda op: 0
        assert await db.read(stored) == []


async def test_damage_that_a_reader_finds_ends_all_writing(
    bridge: Bridge, database_path: Path, disk: BrokenDisk
) -> None:
    async with opened(database_path, bridge):
        pass
    async with lost(database_path, bridge) as db:
        disk.fails = lambda op: sqlite3.SQLITE_CORRUPT if op.kind == "read" else 0
        with pytest.raises(StoreUnavailable, match="damaged"):
            await db.read(stored)
        disk.fails = lambda op: 0
        with pytest.raises(StoreUnavailable, match="damaged"):
            await db.write(add("never@example.com"))


async def test_readers_that_overlap_without_end_do_not_let_the_log_grow_without_end(
    bridge: Bridge, database_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment somebody reads, so that no moment comes by itself at which the log can begin anew."""
    limit = 400_000
    monkeypatch.setattr(writer, "LOG_LIMIT", limit)
    monkeypatch.setattr(writer, "MAKE_WAY_EVERY", 0.0)
    monkeypatch.setattr(writer, "MAKE_WAY", 10.0)
    monkeypatch.setattr(writer, "CHECKPOINT_CHANGES", 200)
    async with opened(database_path, bridge) as db, trio.open_nursery() as nursery:
        relay = Relay()
        for _ in range(2):
            nursery.start_soon(relay.run, db)
        sizes = []
        for page in range(30):
            await db.write(lambda unit, page=page: [add(f"{page}-{n}@x.com")(unit) for n in range(300)])
            sizes.append(db.path.with_name("hub.db-wal").stat().st_size)
        nursery.cancel_scope.cancel()
    assert max(sizes) < 2 * limit
    assert relay.rounds > 2


class Relay:
    """Readers each of which ends only when the next has begun, or is kept from it."""

    def __init__(self) -> None:
        self.rounds = 0
        self._begun = threading.Event()

    async def run(self, db: Database) -> None:
        while True:
            await db.read(self._read)

    def _read(self, db: Transaction) -> None:
        stored(db)
        self.rounds += 1
        self._begun.set()
        following = self._begun = threading.Event()
        following.wait(0.05)
