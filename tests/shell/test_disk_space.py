"""Little room on the disk, and the reserve file that outcomes are written into then."""

from __future__ import annotations

import shutil
import stat
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hubd.bridge import Bridge
from hubd.client import open_client
from hubd.core.model import CampaignState, Channel, DeliveryState
from hubd.errors import StoreUnavailable
from hubd.store import disk_space, writer
from hubd.store.disk_space import DEFAULT_LIMITS, MIB, DiskSpaceLimits, needed
from hubd.store.transaction import Transaction
from tests.shell.broken_disk import BrokenDisk
from tests.shell.conftest import Store, close_entry, open_entry
from tests.shell.failing_database import FULL, PEOPLE, opened, until
from tests.shell.open_hub import open_hub
from tests.shell.test_database import add, stored

pytestmark = pytest.mark.slow


# --- room -------------------------------------------------------------------------------------------------


def reserve_of(database: Path) -> Path:
    """The file that keeps room for what has to be written when the disk is full."""
    return database.with_name("hub.ballast")


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
        assert refused.why == "no_disk_space"
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
    reserve = reserve_of(database_path)
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
    reserve = reserve_of(database_path)
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
    reserve = reserve_of(database_path)
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
        assert not reserve_of(database_path).exists()


async def test_a_reserve_that_cannot_be_made_harms_nobody(bridge: Bridge, database_path: Path) -> None:
    reserve = reserve_of(database_path)
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
    reserve = reserve_of(database_path)
    reserve.write_bytes(bytes(MIB))
    disk.fails = lambda op: FULL if op.kind == "write" and reserve.exists() else 0
    async with opened(database_path, bridge) as db:
        assert await db.read(stored) == []
