"""Disks that fail: full, in error, powered off in the middle. What was acknowledged is there afterwards."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hubd.bridge import Bridge
from hubd.client import open_client
from hubd.core.model import Campaign, CampaignState, Channel, DeliveryState
from hubd.errors import StoreUnavailable, StoreUnusable
from hubd.store import connection, database, disk_space, writer
from hubd.store.database import Database, open_database
from hubd.store.disk_space import DEFAULT_LIMITS, MIB, DiskSpaceLimits, needed
from hubd.store.transaction import Transaction
from tests.shell.broken_disk import BrokenDisk, Op, after_power_loss, broken_disk
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.open_hub import open_hub
from tests.shell.test_database import add, stored

pytestmark = pytest.mark.slow

FULL = sqlite3.SQLITE_FULL
PEOPLE = ("ann", "bob", "cyd", "dan", "eve")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[BrokenDisk]:
    with broken_disk(tmp_path) as disk:
        yield disk
        disk.fails = lambda op: 0
        while database._left_open:
            database._left_open.pop().close()


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another task does in its own time; there is no event to wait on."""
    while not true():  # noqa: ASYNC110 - see above
        await trio.sleep(0.005)


@asynccontextmanager
async def opened(
    path: Path, bridge: Bridge, limits: DiskSpaceLimits | None = None
) -> AsyncIterator[Database]:
    async with open_database(
        path, bridge, probe_interval=0.01, limits=limits or DiskSpaceLimits(min_free=0)
    ) as db:
        yield db


@asynccontextmanager
async def lost(path: Path, bridge: Bridge) -> AsyncIterator[Database]:
    """A database that must be found lost by the end of the block."""
    with pytest.raises(StoreUnusable, match="given up") as caught:
        async with opened(path, bridge) as db:
            yield db
    assert caught.value.exit_status == 74


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


# --- room -------------------------------------------------------------------------------------------------


@given(
    total=st.integers(0, 2**50),
    log_size=st.integers(0, 2**40),
    short=st.booleans(),
    more=st.integers(0, 2**40),
)
def test_what_sending_needs_grows_with_the_log_and_fits_the_file_system(
    total: int, log_size: int, short: bool, more: int
) -> None:
    need = needed(DEFAULT_LIMITS, total=total, log_size=log_size, short=short)
    assert need >= 2 * log_size
    assert need <= 1.25 * max(64 * MIB, 2 * log_size)
    assert need <= 1.25 * max(total / 20, 2 * log_size)
    assert need <= needed(DEFAULT_LIMITS, total=total, log_size=log_size + more, short=True)


def test_a_disk_of_usual_size_needs_64_mib_and_a_tiny_one_a_twentieth() -> None:
    assert needed(DEFAULT_LIMITS, total=500_000 * MIB, log_size=0, short=False) == 64 * MIB
    assert needed(DEFAULT_LIMITS, total=500_000 * MIB, log_size=0, short=True) == 80 * MIB
    assert needed(DEFAULT_LIMITS, total=20 * MIB, log_size=0, short=False) == MIB


class FileSystem:
    """Says how much room there is; everything else of the disk is real."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 1000 * MIB
        self.asked = 0
        monkeypatch.setattr(shutil, "disk_usage", self._usage)
        monkeypatch.setattr(disk_space, "LOOK_EVERY", 0.0)

    async def looked(self, times: int) -> None:
        before = self.asked
        with trio.fail_after(10):
            await until(lambda: self.asked >= before + times)

    def _usage(self, folder: Path) -> Usage:
        self.asked += 1
        return Usage(10_000 * MIB, 0, self.free)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def file_system(monkeypatch: pytest.MonkeyPatch) -> FileSystem:
    return FileSystem(monkeypatch)


async def test_with_little_room_nothing_new_begins_and_outcomes_are_written(
    bridge: Bridge, database_path: Path, file_system: FileSystem
) -> None:
    async with opened(database_path, bridge, DEFAULT_LIMITS) as db:
        with trio.fail_after(5):
            await db.wait_for_disk_space()
        db.check_disk_space()
        assert (db.trouble, db.low_disk_space) == ("", False)
        file_system.free = 63 * MIB
        assert db.low_disk_space
        assert "only 63.0 MiB are left" in db.trouble
        await db.write(add("outcome@example.com"))
        await db.wait_healthy()
        with pytest.raises(StoreUnavailable, match=r"only 63\.0 MiB"):
            db.check_disk_space()
        file_system.free = 70 * MIB  # enough to go on, too little to begin again
        waited = trio.Event()

        async def wait() -> None:
            await db.wait_for_disk_space()
            waited.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await file_system.looked(20)
            assert not waited.is_set()
            file_system.free = 90 * MIB
            with trio.fail_after(10):
                await waited.wait()
        assert db.trouble == ""


async def test_no_message_begins_once_a_shortage_was_reported_and_outcomes_are_written(
    bridge: Bridge, database_path: Path, file_system: FileSystem
) -> None:
    """Decided where the attempt is opened: a worker may have looked long before."""
    async with opened(database_path, bridge, DEFAULT_LIMITS) as db:
        store = Store(db)
        campaign = await store.running(*PEOPLE)
        first, second, *_ = await store.ids(campaign)
        assert await store.ledger.record([open_entry(first)]) == [None]
        file_system.free = 10 * MIB
        assert "10.0 MiB are left" in db.trouble
        closed, refused = await store.ledger.record([close_entry(first), open_entry(second)])
        assert closed is None
        assert refused is not None
        assert refused.why == "no_room"
        assert (await store.states(campaign))[:2] == [DeliveryState.SENT, DeliveryState.PENDING]
        await store.check_counters(campaign)
        file_system.free = 1000 * MIB
        assert db.trouble == ""
        assert await store.ledger.record([open_entry(second)]) == [None]


async def test_with_little_room_what_is_bulk_is_refused_and_changes_of_state_are_written(
    bridge: Bridge, database_path: Path, file_system: FileSystem
) -> None:
    async with opened(database_path, bridge, DEFAULT_LIMITS) as db:
        store = Store(db)
        campaign = await store.running(*PEOPLE)
        suppress_ann = partial(
            store.contacts.suppress, Channel.EMAIL, "ann@example.com", "manual", "operator"
        )
        file_system.free = 10 * MIB
        for bulk in (
            partial(store.people, "new"),
            partial(store.draft, name="other"),
            partial(store.campaigns.clone, campaign.name, "copy"),
            partial(store.campaigns.freeze_page, campaign.id),
            partial(store.campaigns.put_blob_part, "0" * 64, 0, b"x", 1),
            partial(store.campaigns.delete, campaign.name),
            partial(suppress_ann, bulk=True),
            partial(store.ledger.add_transactional, campaign.id, "a@example.com", "a@example.com", {}, 1),
            partial(store.ledger.requeue, campaign.id, "all"),
            partial(store.ledger.resolve_doubt, campaign.id, "sent"),
        ):
            with pytest.raises(StoreUnavailable, match="MiB are left") as refused:
                await bulk()
            assert "free space" in refused.value.hint
        paused = await store.move(campaign, CampaignState.PAUSED)
        assert paused.state is CampaignState.PAUSED
        await store.campaigns.set_rate(campaign.id, ("1/s",))
        await store.ledger.abandon(campaign.id)


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "once"}])
async def test_with_little_room_a_single_opt_out_and_a_removal_are_written(
    tmp_path: Path, file_system: FileSystem, key: dict[str, str]
) -> None:
    async with open_hub(tmp_path) as served, open_client(served.path) as hub:
        rows = [{"line": 2, "values": {"email": "ann@example.com"}}]
        await hub.call("contacts.import", list="all", rows=rows, import_id="one")
        file_system.free = 10 * MIB
        assert served.database.low_disk_space
        ann = {"channel": "email", "address": "ann@example.com"}
        with pytest.raises(StoreUnavailable, match="MiB are left"):
            await hub.call("suppression.add", **ann, imported=True)
        assert await hub.call("suppression.add", **ann, **key) == {"changed": True}
        listed = await hub.call("suppression.list")
        assert [each["address"] for each in listed["suppressions"]] == ["ann@example.com"]
        assert await hub.call("suppression.remove", **ann, **key) == {"changed": True}
        removed = {"changed": True, "cancelled": 0}
        assert await hub.call("contacts.remove", key="ann@example.com", **key) == removed


async def test_on_a_full_disk_a_single_opt_out_is_written_into_the_room_that_is_kept_back(
    bridge: Bridge, database_path: Path, disk: BrokenDisk
) -> None:
    reserve = database_path.with_name("hub.ballast")
    async with opened(database_path, bridge, RESERVE_BYTES) as db:
        disk.fails = lambda op: FULL if op.kind == "write" and reserve.exists() else 0
        suppress_ann = partial(
            Store(db).contacts.suppress, Channel.EMAIL, "ann@example.com", "manual", "operator"
        )
        with pytest.raises(StoreUnavailable, match="disk is full"):
            await suppress_ann(bulk=True)
        assert reserve.exists()
        assert await suppress_ann()


async def test_the_room_for_an_audience_is_looked_for_before_it_is_frozen(
    bridge: Bridge, database_path: Path, file_system: FileSystem
) -> None:
    async with opened(database_path, bridge, DEFAULT_LIMITS) as db:
        store = Store(db)
        await store.people(*(f"p{n}" for n in range(3000)))
        campaign = await store.draft()
        size = await store.campaigns.audience_size(campaign.id)
        await db._writer.empty_log()
        before = await db.read(size_of_file)
        file_system.free = 64 * MIB + size // 2
        assert db.trouble == ""
        with pytest.raises(StoreUnavailable, match="and this needs"):
            db.check_disk_space(size)
        file_system.free = 70 * MIB
        db.check_disk_space(size)
        campaign = await store.move(campaign, CampaignState.RUNNING)
        await store.freeze(campaign, 1000)
        assert await db.read(size_of_file) - before <= size
        assert await store.campaigns.audience_size(campaign.id) == 0


def size_of_file(db: Transaction) -> int:
    size: int = db.execute(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    ).fetchone()[0]
    return size


async def test_the_log_gives_its_room_back_before_anybody_waits(
    bridge: Bridge, database_path: Path, file_system: FileSystem
) -> None:
    """On a small disk the log is what takes the room, and what is in it can be copied into the file."""
    async with opened(database_path, bridge, DiskSpaceLimits(min_free=1)) as db:
        await db.write(lambda unit: [add(f"{n}@example.com")(unit) for n in range(2000)])
        log_file = db.path.with_name("hub.db-wal")
        assert log_file.stat().st_size > 50_000
        file_system.free = log_file.stat().st_size
        assert db.low_disk_space
        with trio.fail_after(10):
            await db.wait_for_disk_space()
        assert log_file.stat().st_size == 0


async def test_the_file_system_is_asked_once_a_second_at_most(
    bridge: Bridge, database_path: Path, file_system: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "LOOK_EVERY", 3600.0)
    async with opened(database_path, bridge, DEFAULT_LIMITS) as db:
        before = file_system.asked
        for _ in range(1000):
            await db.wait_for_disk_space()
        assert file_system.asked - before <= 1


# --- the reserve file ---------------------------------------------------------------------------------------

RESERVE_BYTES = DiskSpaceLimits(min_free=0, reserve=MIB)


async def test_a_full_disk_takes_the_reserve_and_nobody_notices(
    bridge: Bridge, database_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(writer, "IDLE_CHECKPOINT", 0.01)
    reserve = database_path.with_name("hub.ballast")
    async with opened(database_path, bridge, RESERVE_BYTES) as db:
        about = reserve.stat()
        assert (about.st_size, stat.S_IMODE(about.st_mode)) == (MIB, 0o600)
        assert about.st_blocks * 512 >= MIB
        disk.fails = lambda op: FULL if op.kind == "write" and reserve.exists() else 0
        await db.write(add("outcome@example.com"))
        assert db.trouble == ""
        assert not reserve.exists()
        disk.fails = lambda op: 0
        with trio.fail_after(10):
            await until(reserve.exists)  # made again, now that there is room
    assert sorted(entry.name for entry in database_path.parent.iterdir()) == ["hub.anchor", "hub.db"]
    async with opened(database_path, bridge, RESERVE_BYTES) as again:
        assert await again.read(stored) == ["outcome@example.com"]


async def test_what_is_bulk_leaves_the_reserve_to_a_pause_on_a_full_disk(
    bridge: Bridge, database_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota: the file system says that there is room, and a write of any size fails."""
    monkeypatch.setattr(disk_space, "FULL_FOR", 0.5)
    reserve = database_path.with_name("hub.ballast")
    async with opened(database_path, bridge, RESERVE_BYTES) as db:
        store = Store(db)
        campaign = await store.running(*PEOPLE)
        disk.fails = lambda op: FULL if op.kind == "write" and reserve.exists() else 0
        results: list[object] = []

        async def bulk() -> None:
            with pytest.raises(StoreUnavailable, match="disk is full") as refused:
                await store.people(*(f"p{n}" for n in range(500)), list_name="new")
            results.append(refused.value.hint)

        await bulk()
        assert results == ["free space on the disk, then try again"]
        assert reserve.exists()
        assert "disk is full" in db.trouble
        assert db._writer.trouble == ""
        await bulk()  # at once, from what is known
        await store.move(campaign, CampaignState.PAUSED)
        assert not reserve.exists()
        disk.fails = lambda op: 0
        with trio.fail_after(10):
            await until(lambda: not db.trouble)
        await store.people("late")


async def test_without_more_room_than_the_reserve_the_second_refusal_is_trouble(
    bridge: Bridge, database_path: Path, disk: BrokenDisk
) -> None:
    async with opened(database_path, bridge, RESERVE_BYTES) as db:
        disk.fails = lambda op: FULL if op.kind == "write" else 0
        with pytest.raises(StoreUnavailable, match="full"):
            await db.write(add("lost@example.com"))
        assert not database_path.with_name("hub.ballast").exists()


async def test_a_reserve_that_cannot_be_made_harms_nobody(bridge: Bridge, database_path: Path) -> None:
    reserve = database_path.with_name("hub.ballast")
    database_path.parent.mkdir(mode=0o700)
    (reserve / "in the way").mkdir(parents=True)
    async with opened(database_path, bridge, RESERVE_BYTES) as db:
        await db.write(add("a@example.com"))
    assert (reserve / "in the way").exists()


async def test_the_reserve_of_a_run_that_was_killed_is_room_to_start_on_a_full_disk(
    bridge: Bridge, database_path: Path, disk: BrokenDisk
) -> None:
    async with opened(database_path, bridge):
        pass
    reserve = database_path.with_name("hub.ballast")
    reserve.write_bytes(bytes(MIB))
    disk.fails = lambda op: FULL if op.kind == "write" and reserve.exists() else 0
    async with opened(database_path, bridge) as db:
        assert await db.read(stored) == []


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
