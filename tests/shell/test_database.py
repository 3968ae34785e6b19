"""The database file and its group commit: what may be opened, what is durable, who fails with whom."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubd.bridge import Bridge
from hubd.core.model import DeliveryState
from hubd.errors import Conflict, StoreUnavailable, StoreUnusable
from hubd.store.connection import connect
from hubd.store.database import Database, Unit, open_database
from hubd.store.file_checks import APPLICATION_ID
from hubd.store.opening import migrations
from hubd.store.transaction import Transaction

SUPPRESS = "INSERT INTO suppression VALUES ('email', ?, 'asked', 'test', 0)"


def add(key: str) -> Callable[[Unit], str]:
    """A unit of work that adds a row whose key may exist once."""

    def work(unit: Unit) -> str:
        unit.db.execute(SUPPRESS, (key,))
        return key

    return work


def stored(db: Transaction) -> list[str]:
    return [key for (key,) in db.execute("SELECT address_key FROM suppression ORDER BY address_key")]


async def on_writer(bridge: Bridge, database: Database, sql: str) -> None:
    """What happens to the writer's connection from outside, such as a disk that is full or has room again."""
    await database._writer._connection.unit(bridge, lambda db: db.execute(sql).fetchall())


def contents(directory: Path) -> dict[str, bytes]:
    """Every file with its bytes, but the -shm: that is memory that readers share, and no data."""
    files = [entry for entry in directory.iterdir() if entry.is_file() and not entry.name.endswith("-shm")]
    return {entry.name: entry.read_bytes() for entry in files}


def cut_short(path: Path) -> None:
    """A third of the file, and a log as an unclean end leaves one."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    log = path.with_name(path.name + "-wal")
    log.touch(0o600)
    log.write_bytes(b"x")


def let_others_read(path: Path) -> None:
    path.chmod(0o640)


async def refused(path: Path, bridge: Bridge) -> StoreUnusable:
    """Opening must be refused with every file left as it is."""
    before = contents(path.parent)
    with pytest.raises(StoreUnusable) as caught:
        async with open_database(path, bridge):
            raise AssertionError("it was opened")
    assert contents(path.parent) == before
    assert "Traceback" not in str(caught.value)
    return caught.value


async def closed_database(path: Path, bridge: Bridge) -> None:
    async with open_database(path, bridge):
        pass


# --- the private hook ---------------------------------------------------------------------------


async def test_a_unit_is_one_hop_to_the_connections_own_thread(bridge: Bridge, database_path: Path) -> None:
    """Everything rests on aiosqlite running a function of ours in its thread."""
    await closed_database(database_path, bridge)
    connection = await bridge.finish(lambda: connect(database_path, writer=True))
    try:
        hops: list[object] = []
        put = connection._tx.put_nowait

        def counted(_: object, item: Any) -> None:
            hops.append(item)
            put(item)

        connection._tx = type("Counting", (), {"put_nowait": counted})()

        def work(db: Transaction) -> tuple[int, int]:
            db.execute("BEGIN IMMEDIATE")
            db.execute("COMMIT")
            return threading.get_ident(), db.execute("SELECT 7").fetchone()[0]

        thread, seven = await connection.unit(bridge, work)
        assert (seven, len(hops)) == (7, 1)
        assert thread == connection._thread.ident != threading.get_ident()
    finally:
        await bridge.finish(connection.close)


# --- opening ------------------------------------------------------------------------------------


async def test_a_new_file_is_private_and_has_all_settings(database: Database) -> None:
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700
    for suffix in ("-wal", "-shm"):
        companion = database.path.with_name(database.path.name + suffix)
        assert stat.S_IMODE(companion.stat().st_mode) == 0o600
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "cell_size_check": 1,
        "temp_store": 2,
        "wal_autocheckpoint": 0,
        "application_id": APPLICATION_ID,
        "user_version": migrations()[-1][0],
    }

    def settings(unit: Unit) -> dict[str, object]:
        return {name: unit.db.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}

    assert await database.write(settings) == wanted
    assert (database.epoch, len(database.install_key)) == (1, 32)


async def test_every_table_is_strict(database: Database) -> None:
    listed = await database.read(lambda db: db.execute("PRAGMA table_list").fetchall())
    ours = [row for row in listed if row["schema"] == "main" and not row["name"].startswith("sqlite_")]
    assert ours
    assert all(row["strict"] for row in ours)


async def test_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


async def test_what_was_written_is_there_at_the_next_open(bridge: Bridge, database_path: Path) -> None:
    async with open_database(database_path, bridge) as first:
        await first.write(add("a@example.com"))
        key = first.install_key
    assert not database_path.with_name("hub.db-wal").exists()
    async with open_database(database_path, bridge) as second:
        assert await second.read(stored) == ["a@example.com"]
        assert (second.epoch, second.install_key) == (2, key)


async def test_a_kill_loses_nothing_that_was_acknowledged(
    bridge: Bridge, database_path: Path, tmp_path: Path
) -> None:
    """The files as they lie while the daemon runs are what a kill leaves behind."""
    killed = tmp_path / "killed"
    async with open_database(database_path, bridge) as database:
        await database.write(add("a@example.com"))
        shutil.copytree(database_path.parent, killed)
    (killed / "hub.db-shm").unlink()
    async with open_database(killed / "hub.db", bridge) as again:
        assert await again.read(stored) == ["a@example.com"]
        assert again.epoch == 2


async def test_an_empty_file_is_not_a_new_installation(bridge: Bridge, tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.touch(0o600)
    assert "empty" in str(await refused(path, bridge))


async def test_a_text_file_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    for text in ("short", "not a database " * 1000):
        path.write_text(text)
        path.chmod(0o600)
        assert "not a database" in str(await refused(path, bridge))


async def test_the_database_of_another_program_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE bookmarks (url TEXT)")
    foreign.close()
    path.chmod(0o600)
    assert "another program" in str(await refused(path, bridge))


async def test_a_newer_version_is_refused(bridge: Bridge, database_path: Path) -> None:
    await closed_database(database_path, bridge)
    newer = sqlite3.connect(database_path)
    newer.execute("PRAGMA user_version = 999")
    newer.close()
    error = await refused(database_path, bridge)
    assert "newer version" in str(error)
    assert "999" in str(error)


async def test_damage_after_an_unclean_end_is_found_and_nothing_is_touched(
    bridge: Bridge, database_path: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    async with open_database(database_path, bridge) as database:
        for page in range(40):
            await database.write(
                lambda unit, page=page: [add(f"{page}-{n}@example.com")(unit) for n in range(100)]
            )
        await on_writer(bridge, database, "PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copytree(database_path.parent, killed)
    damaged = killed / "hub.db"
    content = bytearray(damaged.read_bytes())
    for start in range(4096 * 20, len(content), 4096):
        content[start : start + 200] = os.urandom(200)
    damaged.write_bytes(content)
    assert "damaged" in str(await refused(damaged, bridge))


def rot(path: Path) -> None:
    """Other bytes in many pages of a file that was closed in order."""
    content = bytearray(path.read_bytes())
    for start in range(4096 * 40, len(content), 4096):
        content[start : start + 200] = bytes(range(200))
    path.write_bytes(content)


def forget_in_the_index(path: Path) -> None:
    """A row that is in its table and not in its index, in a file that was not closed in order."""
    index = "FROM sqlite_schema WHERE name = 'membership_contact'"
    with closing(sqlite3.connect(path)) as db:
        (row,) = db.execute(f"SELECT * {index}")
        db.executescript(f"PRAGMA writable_schema = ON; DELETE {index};")
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "INSERT INTO list VALUES (1, 'customers', 0);"
            "INSERT INTO contact (id, phone, created_at, updated_at) VALUES (1, '+14155550100', 0, 0);"
            "INSERT INTO membership VALUES (1, 1, 1); UPDATE hub SET clean = 0;"
            "PRAGMA writable_schema = ON;"
        )
        db.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)
        db.commit()


async def test_damage_that_came_after_an_orderly_end_is_found_and_nothing_is_touched(
    bridge: Bridge, database_path: Path
) -> None:
    async with open_database(database_path, bridge) as database:
        await database.write(lambda unit: [add(f"{n}@example.com")(unit) for n in range(4000)])
    rot(database_path)
    assert sorted(contents(database_path.parent)) == ["hub.anchor", "hub.db"]
    assert "damaged" in str(await refused(database_path, bridge))


async def test_an_index_that_disagrees_with_its_table_is_found_after_an_unclean_end(
    bridge: Bridge, database_path: Path
) -> None:
    await closed_database(database_path, bridge)
    forget_in_the_index(database_path)
    assert "damaged" in str(await refused(database_path, bridge))


async def test_half_a_file_is_refused(bridge: Bridge, database_path: Path) -> None:
    await closed_database(database_path, bridge)
    cut_short(database_path)
    assert "damaged" in str(await refused(database_path, bridge))


async def test_a_log_without_its_database_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    (tmp_path / "hub.db-wal").write_bytes(b"left behind")
    assert "missing" in str(await refused(tmp_path / "hub.db", bridge))
    assert not (tmp_path / "hub.db").exists()


async def test_a_symbolic_link_is_refused(bridge: Bridge, database_path: Path, tmp_path: Path) -> None:
    await closed_database(database_path, bridge)
    link = tmp_path / "link.db"
    link.symlink_to(database_path)
    error = await refused(link, bridge)
    assert error.exit_status == 77


async def test_a_file_that_others_can_read_is_refused(bridge: Bridge, database_path: Path) -> None:
    await closed_database(database_path, bridge)
    let_others_read(database_path)
    error = await refused(database_path, bridge)
    assert (error.exit_status, "chmod 600" in error.hint) == (77, True)


async def test_a_directory_that_everybody_can_write_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o1777)
    error = await refused(open_to_all / "hub.db", bridge)
    assert error.exit_status == 77


async def test_a_directory_that_cannot_be_made_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusable, match="cannot be created") as caught:
        async with open_database(tmp_path / "file" / "hub.db", bridge):
            pass
    assert caught.value.exit_status == 73


async def test_a_creation_that_was_interrupted_is_begun_anew(bridge: Bridge, database_path: Path) -> None:
    database_path.parent.mkdir(mode=0o700)
    database_path.with_name("hub.db.new").write_bytes(b"half of a database")
    async with open_database(database_path, bridge) as database:
        assert database.epoch == 1
    assert sorted(contents(database_path.parent)) == ["hub.anchor", "hub.db"]


# --- group commit -------------------------------------------------------------------------------


async def gather(database: Database, works: Sequence[Callable[[Unit], object]]) -> list[object]:
    """Queue all at once, so that they share a batch; each one's value or exception, in order."""
    results: list[object] = [None] * len(works)

    async def run(index: int) -> None:
        try:
            results[index] = await database.write(works[index])
        except Exception as error:
            results[index] = error

    async with trio.open_nursery() as nursery:
        for index in range(len(works)):
            nursery.start_soon(run, index)
    return results


async def test_one_bad_unit_among_good_ones_fails_alone(database: Database) -> None:
    await database.write(add("taken@example.com"))
    works = [add(f"{n}@example.com") for n in range(50)]
    works[20] = add("taken@example.com")
    results = await gather(database, works)
    assert isinstance(results[20], sqlite3.IntegrityError)
    assert [r for r in results if isinstance(r, str)] == [f"{n}@example.com" for n in range(50) if n != 20]
    assert len(await database.read(stored)) == 50


async def test_a_unit_that_raises_leaves_nothing_behind(database: Database) -> None:
    def half(unit: Unit) -> None:
        add("half@example.com")(unit)
        unit.event("half", None, {})
        raise Conflict("no further")

    for others in (0, 3):
        works: list[Callable[[Unit], object]] = [half, *(add(f"{others}{n}@x.com") for n in range(others))]
        results = await gather(database, works)
        assert isinstance(results[0], Conflict)
        assert all(isinstance(result, str) for result in results[1:])
    assert "half@example.com" not in await database.read(stored)
    assert database.head_seq == 0


async def test_units_run_in_the_order_in_which_they_were_queued(database: Database) -> None:
    ran: list[int] = []
    queued: list[int] = []

    async def one(n: int) -> None:
        queued.append(n)
        await database.write(lambda unit: ran.append(n))

    async with trio.open_nursery() as nursery:
        for n in range(30):
            nursery.start_soon(one, n)
    assert sorted(ran) == list(range(30))
    assert ran == queued


async def test_nobody_is_woken_before_the_commit(database: Database) -> None:
    """Every writer looks from another connection the moment it wakes: its row must be there."""

    async def write_and_look(n: int) -> None:
        key = await database.write(add(f"{n}@example.com"))
        assert key in await database.read(stored)

    async with trio.open_nursery() as nursery:
        for n in range(40):
            nursery.start_soon(write_and_look, n)


async def test_what_is_queued_a_moment_later_is_in_the_same_batch(database: Database) -> None:
    """The answers to messages that were sent together come one after another."""
    units: list[Unit] = []

    async def queue(later: int) -> None:
        for _ in range(later):
            await trio.lowlevel.checkpoint()
        await database.write(units.append)

    async with trio.open_nursery() as nursery:
        for later in range(10):
            nursery.start_soon(queue, later)
    assert len(units) == 10
    assert all(unit is units[0] for unit in units)


async def test_nothing_is_written_once_damage_was_found_while_a_batch_gathered(
    bridge: Bridge, tmp_path: Path
) -> None:
    """A reader finds it, while the writer waits for whoever is about to queue something."""
    path = tmp_path / "state" / "hub.db"

    async def find_damage(database: Database) -> None:
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        database._writer.lose(sqlite3.DatabaseError("damaged"))

    async def write_meanwhile() -> None:
        async with open_database(path, bridge) as database, trio.open_nursery() as nursery:
            nursery.start_soon(find_damage, database)
            with pytest.raises(StoreUnavailable):
                await database.write(add("a@example.com"))

    with pytest.raises(StoreUnusable):  # the daemon ends, and its next start looks at the file
        await write_meanwhile()
    async with open_database(path, bridge) as database:
        assert await database.read(stored) == []


async def test_a_batch_is_bounded(bridge: Bridge, tmp_path: Path) -> None:
    async with open_database(tmp_path / "state" / "hub.db", bridge, max_batch=4) as database:
        units: list[Unit] = []
        await gather(database, [units.append for _ in range(10)])
        assert max(sum(1 for unit in units if unit is batch) for batch in units) <= 4


async def test_a_full_disk_fails_the_batch_and_heals_by_itself(bridge: Bridge, database: Database) -> None:
    await database.write(add("before@example.com"))
    await on_writer(bridge, database, "PRAGMA max_page_count = 1")  # as small as it is: no page more

    def large(unit: Unit) -> None:
        unit.db.execute("INSERT INTO probe (filler) VALUES (zeroblob(1000000))")

    results = await gather(database, [add("lost@example.com"), large, add("late@example.com")])
    assert all(isinstance(result, StoreUnavailable) for result in results)
    assert "full" in database.trouble
    with pytest.raises(StoreUnavailable, match="full"):  # at once: nothing may be sent now
        await database.write(add("refused@example.com"))
    assert await database.read(stored) == ["before@example.com"]

    await on_writer(bridge, database, "PRAGMA max_page_count = 1000000")
    with trio.fail_after(10):
        await database.wait_healthy()
    assert database.trouble == ""
    await database.write(add("after@example.com"))
    assert await database.read(stored) == ["after@example.com", "before@example.com"]


async def test_a_disk_that_stays_full_stays_in_trouble(bridge: Bridge, database: Database) -> None:
    await on_writer(bridge, database, "PRAGMA max_page_count = 1")
    with pytest.raises(StoreUnavailable):
        await database.write(lambda unit: unit.db.execute("INSERT INTO probe VALUES (1, zeroblob(900000))"))
    with trio.move_on_after(0.2) as waited:  # several probes long
        await database.wait_healthy()
    assert waited.cancelled_caught
    assert database.trouble


async def test_a_cancelled_task_still_learns_that_its_unit_ended(database: Database) -> None:
    with trio.CancelScope() as scope:
        key = None

        async def cancel_once_queued() -> None:
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_once_queued)
            key = await database.write(add("kept@example.com"))
    assert key == "kept@example.com"
    assert await database.read(stored) == ["kept@example.com"]


async def test_a_task_cancelled_before_it_queued_writes_nothing(database: Database) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await database.write(add("never@example.com"))
    assert await database.read(stored) == []


async def test_cancelling_everything_ends_in_an_orderly_close(bridge: Bridge, database_path: Path) -> None:
    with trio.fail_after(10), trio.CancelScope() as scope:
        async with open_database(database_path, bridge) as database, trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(database.write, add(f"{n}@example.com"))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    async with open_database(database_path, bridge) as again:
        assert len(await again.read(stored)) in (0, 20)


async def test_what_cannot_be_bound_fails_alone(database: Database) -> None:
    too_large: Any = 2**70
    results = await gather(
        database, [add("lone \ud800 surrogate"), add("good@example.com"), lambda unit: add(too_large)(unit)]
    )
    assert isinstance(results[0], UnicodeEncodeError)
    assert results[1] == "good@example.com"
    assert isinstance(results[2], OverflowError)


# --- readers, counters, events ------------------------------------------------------------------


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises((sqlite3.OperationalError, StoreUnavailable)):
        await database.read(lambda db: db.execute(SUPPRESS, ("a@example.com",)))
    assert await database.read(stored) == []


async def test_many_readers_at_once_share_few_connections(database: Database) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(database.read, stored)
    assert len(database._readers._idle) <= 4


async def _campaign(database: Database) -> int:
    def work(unit: Unit) -> int:
        content = unit.db.execute(
            "INSERT INTO content (hash, spec, created_at) VALUES ('h', '{}', 0) RETURNING id"
        ).fetchone()
        made: int = unit.db.execute(
            "INSERT INTO campaign (name, channel, provider, state, spec, content_id, doubt_policy,"
            " created_at, updated_at) VALUES ('x', 'email', 'outbox', 'draft', '{}', ?, 'hold', 0, 0)"
            " RETURNING id",
            tuple(content),
        ).fetchone()[0]
        return made

    return await database.write(work)


async def test_counters_that_do_not_add_up_fail_the_unit_alone(database: Database) -> None:
    campaign_id = await _campaign(database)

    def good(unit: Unit) -> None:
        unit.moved(campaign_id, None, DeliveryState.PENDING, 3)

    def bad(unit: Unit) -> None:
        unit.moved(campaign_id, DeliveryState.SENT, DeliveryState.DELIVERED, 9)

    results = await gather(database, [good, bad, good])
    assert results[0] is results[2] is None
    assert isinstance(results[1], sqlite3.IntegrityError)
    row = await database.read(
        lambda db: db.execute("SELECT n_total, n_pending FROM campaign_count").fetchone()
    )
    assert tuple(row) == (6, 6)


async def test_waiting_for_events_ends_with_the_commit_of_one(database: Database) -> None:
    assert database.head_seq == 0
    seen: list[int] = []

    async def watch() -> None:
        seen.append(await database.wait_events(0))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            await database.write(add("a@example.com"))  # no event: nobody is woken
            assert seen == []
            seq = await database.write(lambda unit: unit.event("daemon.started", None, {}))
    assert seen == [seq] == [database.head_seq]


async def test_the_log_is_checkpointed_while_the_daemon_runs(bridge: Bridge, database: Database) -> None:
    for page in range(18):
        await database.write(lambda unit, page=page: [add(f"{page}-{n}@x.com")(unit) for n in range(500)])
    with sqlite3.connect(f"file:{database.path}?mode=ro&immutable=1", uri=True) as main_file:
        assert len(stored(main_file)) > 0
    main_file.close()
