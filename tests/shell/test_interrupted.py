"""Ends between any two writes: of a checkpoint, a start, a stop, a migration. The next start finds it all.

What the main file says alone is of several moments then, and its first page counts pages that are not there.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hubd.bridge import Bridge
from hubd.core.intake import ContactRow
from hubd.errors import StoreUnusable
from hubd.store import opening, writer
from hubd.store.backup import Backups
from hubd.store.database import Database, open_database
from hubd.store.disk_space import DiskSpaceLimits
from hubd.store.opening import migrations, prepare
from hubd.store.transaction import Transaction
from hubd.store.unit import Unit
from hubd.store.watermark import watermark_path
from tests.shell.broken_disk import BrokenDisk, after_kill, after_power_loss
from tests.shell.conftest import Store

pytestmark = pytest.mark.slow

PAGE = 150  #: contacts in one page of an import
FULL = sqlite3.SQLITE_FULL

#: A migration that moves and fills pages of the whole file.
NEXT_MIGRATION = (
    migrations()[-1][0] + 1,
    """
CREATE TABLE copied AS SELECT * FROM contact;
INSERT INTO copied SELECT * FROM contact;
ALTER TABLE hub ADD COLUMN added_later INTEGER NOT NULL DEFAULT 7;
DROP INDEX IF EXISTS copied_by_email;
CREATE INDEX copied_by_email ON copied (email);""",
)


@asynccontextmanager
async def opened(path: Path, bridge: Bridge) -> AsyncIterator[Database]:
    async with open_database(path, bridge, probe_interval=0.01, limits=DiskSpaceLimits(min_free=0)) as db:
        yield db


def rows(page: int) -> list[ContactRow]:
    names = [f"p{page}.{n}" for n in range(PAGE)]
    return [
        ContactRow(line=n, email=f"{name}@x.com", email_key=f"{name}@x.com", phone=None, fields={"a": name})
        for n, name in enumerate(names)
    ]


async def take_in(db: Database, pages: range, told: Callable[[str], None] = lambda what: None) -> None:
    """Import pages; tells the number of contacts that are durable."""
    for page in pages:
        await Store(db).contacts.import_rows("all", rows(page), import_id=str(page))
        told(str((page + 1) * PAGE))


@dataclass
class Recorded:
    """The files of a database, and what was asked of the disk after that."""

    disk: BrokenDisk
    folder: Path
    before: dict[str, bytes] = field(default_factory=dict)
    watermark: bytes | None = None

    def begin(self) -> None:
        """From here on everything is recorded."""
        self.before = {str(path): path.read_bytes() for path in self.folder.glob("hub.db*")}
        watermark = watermark_path(self.folder / "hub.db")
        self.watermark = watermark.read_bytes() if watermark.exists() else None
        self.disk.log.clear()

    def ends(self) -> list[tuple[str, int]]:
        """Each operation after which something may end: all of a checkpoint, and some of the log's writes."""
        ops = list(enumerate(self.disk.log, 1))
        chosen = {n for n, op in ops if op.file.endswith(("hub.db", "-journal")) or op.kind == "truncate"}
        chosen |= {n for n, op in ops if op.file.endswith("-wal") and n % 7 == 0} | {0, len(ops)}
        return [(str(n), n) for n in sorted(chosen)]

    def put(self, folder: Path, files: dict[str, bytes]) -> Path:
        folder.mkdir(mode=0o700)
        for file, content in files.items():
            place = folder / Path(file).name
            place.touch(0o600)
            place.write_bytes(content)
        if self.watermark is not None:
            place = watermark_path(folder / "hub.db")
            place.touch(0o600)
            place.write_bytes(self.watermark)
        return folder / "hub.db"


async def check_each_end(recorded: Recorded, bridge: Bridge, folder: Path, least: int = 0) -> int:
    """After a kill, and after a power cut, at each operation the database is accepted and has everything.

    `least` is how many contacts there were before. Returns how often the main file could not be read alone.
    """
    ops, unreadable = list(recorded.disk.log), 0
    rng = random.Random(4)
    for name, n in recorded.ends():
        done = [op for op in ops[:n] if op.kind != "note"]
        told = max([least, *(int(op.file) for op in ops[:n] if op.kind == "note")])
        ends: dict[str, Any] = {"killed": after_kill, "unpowered": partial(after_power_loss, rng=rng)}
        for how, end in ends.items():
            path = recorded.put(folder / f"{how}{name}", dict(end(recorded.before, done)))
            unreadable += not readable_alone(path)
            async with opened(path, bridge) as db:
                assert await db.read(count_contacts) >= told
            shutil.rmtree(path.parent)
    return unreadable


def count_contacts(db: Transaction) -> int:
    number: int = db.execute("SELECT count(*) FROM contact").fetchone()[0]
    return number


def readable_alone(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
            return bool(db.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # SQLite quotes the file in its messages
        return False


# --- every end is found whole -----------------------------------------------------------------------------


async def test_an_end_at_any_write_while_a_database_is_made_is_begun_anew(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk
) -> None:
    """It is made under another name, so that what is half made is never taken for a database."""
    made = tmp_path / "live" / "hub.db"
    prepare(made)
    recorded, ops = Recorded(disk, made.parent), list(disk.log)
    assert {Path(op.file).name for op in ops} <= {
        f"hub.db.new{suffix}" for suffix in ("", "-wal", "-journal")
    }
    for n in range(0, len(ops) + 1, 5):
        path = recorded.put(tmp_path / f"killed{n}", dict(after_kill({}, ops[:n])))
        path.with_name("hub.db.new-shm").write_bytes(b"left behind")
        async with opened(path, bridge) as db:
            assert await db.read(count_contacts) == 0
        assert sorted(left.name for left in path.parent.iterdir()) == ["hub.anchor", "hub.db"]


async def test_an_end_at_any_write_of_an_import_with_its_checkpoints_loses_nothing(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the start to the stop, while the file grows."""
    monkeypatch.setattr(writer, "CHECKPOINT_CHANGES", 400)
    path = tmp_path / "live" / "hub.db"
    async with opened(path, bridge) as db:
        await take_in(db, range(1))
    recorded = Recorded(disk, path.parent)
    recorded.begin()
    async with opened(path, bridge) as db:
        await take_in(db, range(1, 4), disk.note)
    assert await check_each_end(recorded, bridge, tmp_path, PAGE)


@pytest.mark.parametrize("copied", [False, True], ids=["in place", "restored backup"])
async def test_an_end_at_any_write_of_a_migration_loses_nothing(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    """A backup that is migrated is no stranger to the log of its own migration."""
    path = tmp_path / "live" / "hub.db"
    async with opened(path, bridge) as db:
        await take_in(db, range(2))
        if copied:
            await Backups(db).make(str(tmp_path / "backup.db"))
            await take_in(db, range(2, 4))
    if copied:
        (tmp_path / "backup.db").replace(path)
    known = [*migrations(), NEXT_MIGRATION]
    monkeypatch.setattr(opening, "migrations", lambda: known)
    recorded = Recorded(disk, path.parent)
    recorded.begin()
    async with opened(path, bridge):
        pass
    assert await check_each_end(recorded, bridge, tmp_path, 2 * PAGE)


def open_fifty(unit: Unit) -> None:
    """As if so many attempts had been opened."""
    unit.attempts += 50


async def test_an_end_at_any_write_of_a_start_on_an_older_copy_loses_nothing(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk
) -> None:
    """A copy that was closed in order, put back with `cp`: the watermark says that there was more."""
    path = tmp_path / "live" / "hub.db"
    async with opened(path, bridge) as db:
        await take_in(db, range(1))
    older = path.read_bytes()
    async with opened(path, bridge) as db:
        await db.write(open_fifty)
    path.write_bytes(older)
    recorded = Recorded(disk, path.parent)
    recorded.begin()
    async with opened(path, bridge):
        pass
    await check_each_end(recorded, bridge, tmp_path, PAGE)


async def test_an_end_at_any_write_of_the_start_on_a_repaired_file_loses_nothing(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk
) -> None:
    """What `.recover` and `VACUUM INTO` make has a rollback journal; hubd gives it a write-ahead log."""
    path = tmp_path / "live" / "hub.db"
    async with opened(path, bridge) as db:
        await take_in(db, range(1))
    repaired = tmp_path / "repaired.db"
    with closing(sqlite3.connect(path)) as db_file:
        db_file.execute("VACUUM INTO ?", (str(repaired),))
    repaired.chmod(0o600)
    repaired.replace(path)
    assert journal_mode(path) == "delete"
    recorded = Recorded(disk, path.parent)
    recorded.begin()
    async with opened(path, bridge):
        pass
    assert journal_mode(path) == "wal"
    await check_each_end(recorded, bridge, tmp_path, PAGE)


def journal_mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        mode: str = db.execute("PRAGMA journal_mode").fetchone()[0]
        return mode


# --- room -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [FULL, sqlite3.SQLITE_IOERR_WRITE], ids=["full disk", "quota"])
async def test_a_stop_that_cannot_make_the_file_longer_leaves_a_database_that_starts(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk, code: int
) -> None:
    path = tmp_path / "live" / "hub.db"
    async with opened(path, bridge) as db:
        await take_in(db, range(1))
    size = path.stat().st_size
    async with opened(path, bridge) as db:
        await take_in(db, range(1, 4))
        disk.fails = partial(no_longer_than, path, size, code)
    assert path.with_name("hub.db-wal").stat().st_size > 0
    assert not readable_alone(path)
    files = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.suffix != ".db-shm"}
    with pytest.raises(StoreUnusable) as still_full:
        async with opened(path, bridge):
            raise AssertionError("nothing may be sent before the main file is up to date")
    assert "damaged" not in str(still_full.value)
    assert "another program" not in str(still_full.value)
    assert still_full.value.exit_status in (74, 75)
    assert "nothing is lost" in still_full.value.hint
    assert files.keys() <= {each.name for each in path.parent.iterdir()}
    disk.fails = lambda op: 0
    async with opened(path, bridge) as db:
        assert await db.read(count_contacts) == 4 * PAGE


def no_longer_than(path: Path, size: int, code: int, op: object) -> int:
    """The main file cannot grow; everything else is written."""
    kind, file, at = (getattr(op, name) for name in ("kind", "file", "at"))
    return code if kind == "write" and file == str(path) and at >= size else 0


# --- what is damaged is refused, and what is not ours -----------------------------------------------------


async def interrupted(folder: Path, bridge: Bridge, disk: BrokenDisk) -> Path:
    """A database whose last checkpoint could not make the file longer: main file and log need each other."""
    path = folder / "hub.db"
    async with opened(path, bridge) as db:
        await take_in(db, range(1))
    size = path.stat().st_size
    async with opened(path, bridge) as db:
        await take_in(db, range(1, 4))
        disk.fails = partial(no_longer_than, path, size, FULL)
    disk.fails = lambda op: 0
    assert not readable_alone(path)
    return path


async def test_damage_beside_an_interrupted_checkpoint_is_still_damage(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk
) -> None:
    """Without its log the file lacks pages; with a page of noise that the log does not have it is rotten."""
    path = await interrupted(tmp_path / "a", bridge, disk)
    for spoil in (without_log, noise_in_the_file):
        folder = tmp_path / spoil.__name__
        shutil.copytree(path.parent, folder)
        spoil(folder / "hub.db")
        with pytest.raises(StoreUnusable, match="damaged") as refused:
            prepare(folder / "hub.db")
        assert refused.value.exit_status == 78
        assert_says_how_to_look(refused.value)


def without_log(path: Path) -> None:
    path.with_name("hub.db-wal").unlink()


def noise_in_the_file(path: Path) -> None:
    logged = logged_pages(path.with_name("hub.db-wal"))
    page = next(n for n in range(2, path.stat().st_size // 4096) if n not in logged)
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(random.Random(page).randbytes(4096))


def logged_pages(log: Path) -> set[int]:
    content = log.read_bytes()
    return {int.from_bytes(content[at : at + 4], "big") for at in range(32, len(content), 4096 + 24)}


def assert_says_how_to_look(refused: StoreUnusable) -> None:
    """First a copy, then a look, then a repair, and a backup last; nothing is thrown away."""
    steps = [
        "keep all files",
        "copy hub.db, hub.db-wal and hub.anchor",
        "integrity_check",
        ".recover",
        "backup",
    ]
    places = [refused.hint.find(step) for step in steps]
    assert places == sorted(places)
    assert -1 not in places


async def test_a_torn_first_page_is_no_damage_while_the_log_has_it(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk
) -> None:
    """The power went while a checkpoint wrote the header."""
    path = await interrupted(tmp_path / "a", bridge, disk)
    assert 1 in logged_pages(path.with_name("hub.db-wal"))
    with path.open("r+b") as file:
        file.write(bytes(512))
    prepare(path)
    async with opened(path, bridge) as db:
        assert await db.read(count_contacts) == 4 * PAGE


async def test_a_newer_version_that_only_the_log_knows_of_is_refused(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "live" / "hub.db"
    async with opened(path, bridge) as db:
        await take_in(db, range(1))
    known = migrations()
    recorded = Recorded(disk, path.parent)
    recorded.begin()
    with monkeypatch.context() as newer:
        newer.setattr(opening, "migrations", lambda: [*known, NEXT_MIGRATION])
        async with opened(path, bridge):
            pass
    first = next(n for n, op in enumerate(disk.log) if op.file == str(path) and op.kind == "write")
    for n in (first, first + 1):  # before and after the first page is written to the main file
        left = recorded.put(tmp_path / f"left{n}", dict(after_kill(recorded.before, list(disk.log)[:n])))
        with pytest.raises(StoreUnusable, match="newer version"):
            prepare(left)


async def test_a_log_that_belongs_to_another_file_is_refused_also_when_its_checkpoint_was_interrupted(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk
) -> None:
    path = await interrupted(tmp_path / "a", bridge, disk)
    other = tmp_path / "b" / "hub.db"
    async with opened(other, bridge) as db:
        await take_in(db, range(1))
        await Backups(db).make(str(tmp_path / "backup.db"))
    for file in (other, tmp_path / "backup.db"):
        folder = tmp_path / f"mixed with {file.stem}"
        shutil.copytree(path.parent, folder)
        shutil.copy(file, folder / "hub.db")
        with pytest.raises(StoreUnusable) as refused:
            prepare(folder / "hub.db")
        assert "do not belong together" in str(refused.value)
        assert refused.value.exit_status == 78


async def test_a_companion_that_cannot_be_used_is_named(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk
) -> None:
    path = await interrupted(tmp_path / "a", bridge, disk)
    for name in ("hub.db-wal", "hub.db-shm", "hub.db-journal"):
        folder = tmp_path / name
        shutil.copytree(path.parent, folder)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(path)
        with pytest.raises(StoreUnusable, match=f"{name} is not a regular file") as refused:
            prepare(folder / "hub.db")
        assert refused.value.exit_status == 77
