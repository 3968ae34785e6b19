"""Files that are no healthy database of ours: refused with a reason, and left exactly as they are."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubd.bridge import Bridge, open_bridge
from hubd.errors import StoreUnusable
from hubd.store.after_restore import open_restores
from hubd.store.database import open_database
from hubd.store.opening import prepare
from hubd.store.watermark import WatermarkFile, watermark_of, watermark_path
from tests.shell.conftest import Store, close_entry, open_entry


def contents(directory: Path) -> dict[str, bytes]:
    """Every file with its bytes, but the -shm: that is memory that readers share, and no data."""
    files = [entry for entry in directory.iterdir() if entry.is_file() and not entry.name.endswith("-shm")]
    return {entry.name: entry.read_bytes() for entry in files}


def refused(path: Path) -> StoreUnusable:
    """It must be refused, with every file as it was, and in words for people."""
    before = contents(path.parent)
    with pytest.raises(StoreUnusable) as caught:
        prepare(path)
    assert contents(path.parent) == before
    assert caught.value.hint
    return caught.value


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lives of one hub: `state` was closed in order, `killed` is the next life, cut off while it sent."""
    root = tmp_path_factory.mktemp("made")
    trio.run(_live_twice, root)
    return root


async def _live_twice(root: Path) -> None:
    path = root / "state" / "hub.db"
    async with open_bridge() as bridge:
        async with open_database(path, bridge) as database:
            store = Store(database)
            for delivery in (await store.ids(await store.running(*(f"p{n}" for n in range(30)))))[:9]:
                await store.ledger.record([open_entry(delivery), close_entry(delivery)])
        shutil.copytree(root / "state", root / "next")
        async with open_database(root / "next" / "hub.db", bridge) as database:
            await Store(database).ledger.record([open_entry(10)])
            WatermarkFile(database.path).write(await database.read(watermark_of))
            shutil.copytree(root / "next", root / "killed")
    (root / "killed" / "hub.db-shm").unlink()


@pytest.fixture
def hub(made: Path, tmp_path: Path) -> Path:
    """A database that has sent something and was closed in order."""
    shutil.copytree(made / "state", tmp_path / "state")
    return tmp_path / "state" / "hub.db"


@pytest.fixture
def killed(made: Path, tmp_path: Path) -> Path:
    """The same in its next life, killed while it sent: with its log."""
    shutil.copytree(made / "killed", tmp_path / "killed")
    return tmp_path / "killed" / "hub.db"


# --- lost, torn, rotten -------------------------------------------------------------------------


def test_an_empty_file_is_a_lost_database(hub: Path) -> None:
    hub.write_bytes(b"")
    assert "empty file" in str(refused(hub))


def test_a_missing_file_beside_its_watermark_is_a_lost_database_and_no_new_one(hub: Path) -> None:
    hub.unlink()
    assert "hub.anchor exists" in str(refused(hub))
    assert not hub.exists()
    watermark_path(hub).unlink()
    prepare(hub)


def test_a_file_that_was_cut_off_anywhere_is_refused(hub: Path) -> None:
    """Each page boundary, and between them at odd places."""
    whole = hub.read_bytes()
    rng = random.Random(5)
    lengths = {0, 1, 15, 16, 99, 100, 4095, len(whole) - 1, *range(4096, len(whole), 4096)}
    for length in sorted(lengths | {rng.randrange(len(whole)) for _ in range(60)}):
        hub.write_bytes(whole[:length])
        refused(hub)
    hub.write_bytes(whole)
    prepare(hub)


def test_a_page_of_noise_or_of_nothing_anywhere_is_refused(hub: Path) -> None:
    whole = hub.read_bytes()
    used = used_pages(hub)
    noise = random.Random(6)
    for page in used:
        for other in (noise.randbytes(4096), bytes(4096)):
            start = (page - 1) * 4096
            hub.write_bytes(whole[:start] + other + whole[start + 4096 :])
            refused(hub)


def used_pages(path: Path) -> list[int]:
    """The pages that hold something: a free one may hold anything."""
    with closing(sqlite3.connect(path)) as db:
        pages: int = db.execute("PRAGMA page_count").fetchone()[0]
        free: int = db.execute("PRAGMA freelist_count").fetchone()[0]
    assert free == 0
    return list(range(1, pages + 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(at=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_is_in_what_somebody_wrote(
    made: Path, hub: Path, at: int, bit: int
) -> None:
    """SQLite keeps no checksums: a bit of a text or a number can change unseen. Nothing worse happens."""
    flipped = bytearray((made / "state" / "hub.db").read_bytes())
    flipped[at % len(flipped)] ^= 1 << bit
    hub.write_bytes(flipped)
    with suppress(StoreUnusable):
        prepare(hub)
    assert hub.read_bytes() == flipped


def test_a_flipped_bit_in_the_words_of_the_schema_is_told_in_ours(made: Path, hub: Path) -> None:
    """SQLite quotes what it cannot read, and that need not be text any more."""
    whole = (made / "state" / "hub.db").read_bytes()
    for at in range(100, 3 * 4096, 37):
        flipped = bytearray(whole)
        flipped[at] ^= 0x80
        hub.write_bytes(flipped)
        with suppress(StoreUnusable):
            prepare(hub)


# --- whose it is --------------------------------------------------------------------------------


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    path.chmod(0o600)
    assert "another program" in str(refused(path))


def test_a_newer_version_is_refused(hub: Path) -> None:
    with closing(sqlite3.connect(hub)) as db:
        db.execute("PRAGMA user_version = 999")
    assert "newer version" in str(refused(hub))


def readable(path: Path) -> None:
    path.chmod(0o640)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("companion", ["hub.db", "hub.anchor"])
@pytest.mark.parametrize("spoil", [readable, linked, a_pipe])
def test_a_file_that_is_not_private_or_not_one_is_refused(
    hub: Path, companion: str, spoil: Callable[[Path], None]
) -> None:
    spoil(hub.with_name(companion))
    assert refused(hub).exit_status == 77


def test_a_file_of_another_user_is_refused(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: hub.stat().st_uid + 1)
    assert "another user" in str(refused(hub))


# --- a log that is another file's ---------------------------------------------------------------


def test_an_older_copy_beside_the_log_of_a_later_life_is_refused(hub: Path, killed: Path) -> None:
    """The copy was closed in order, so nothing of its own can be in a log in which something was sent."""
    shutil.copy(killed.with_name("hub.db-wal"), hub.with_name("hub.db-wal"))
    assert "do not belong together" in str(refused(hub))


def test_the_log_of_another_database_is_refused(hub: Path, killed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "hub.db"
    prepare(other)
    shutil.copy(killed.with_name("hub.db-wal"), other.with_name("hub.db-wal"))
    refused(other)


async def test_a_kill_is_no_such_thing(killed: Path, bridge: Bridge) -> None:
    prepare(killed)
    async with open_database(killed, bridge) as database:
        assert (await open_restores(database)).found is None


async def test_a_kill_right_after_a_boot_is_no_such_thing(hub: Path, bridge: Bridge, tmp_path: Path) -> None:
    for life in range(3):
        again = tmp_path / f"life{life}"
        async with open_database(hub, bridge):
            shutil.copytree(hub.parent, again)
        (again / "hub.db-shm").unlink(missing_ok=True)
        prepare(again / "hub.db")
        hub = again / "hub.db"


async def test_a_torn_log_is_held_and_not_sent_again(killed: Path, bridge: Bridge) -> None:
    """SQLite takes a log up to the first frame that does not fit, and says nothing."""
    log = killed.with_name("hub.db-wal")
    os.truncate(log, log.stat().st_size // 2)
    async with open_database(killed, bridge) as database:
        restores = await open_restores(database)
        assert await restores.finish()
        assert restores.found is not None
        assert "later changes" in restores.found.why
        (campaign,) = await Store(database).campaigns.list()
        assert (campaign.counts.sent, campaign.counts.in_doubt) == (9, 21)
        assert campaign.counts.finished == campaign.counts.total
