"""The clock for ages continues across restarts of the daemon, whatever the wall clock says."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio

from hubd.bridge import Bridge
from hubd.core.decide import Request
from hubd.store.commands import Commands
from hubd.store.database import open_database
from hubd.store.housekeeping import tidy

WALL = 1_790_000_000.0
YEAR = 365.25 * 86_400


class Wall:
    """A wall clock that can be set."""

    def __init__(self, at: float) -> None:
        self.ahead = at - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.mark.parametrize("years", [-56.0, -1.0, -0.0001, 1.0, 73.0])
async def test_it_goes_on_where_it_was_when_the_wall_clock_was_set(
    bridge: Bridge, database_path: Path, years: float
) -> None:
    clock = Wall(WALL)
    async with open_database(database_path, bridge, clock=clock) as database:
        began, at = time.monotonic(), database.steady()
        assert WALL <= at <= WALL + 60
        clock.ahead += years * YEAR
        assert at <= database.steady() <= at + time.monotonic() - began + 0.01
    for ahead in (0.0, -years * YEAR, 0.0):
        clock.ahead += ahead
        async with open_database(database_path, bridge, clock=clock) as database:
            assert at <= database.steady() <= at + time.monotonic() - began + 0.01


@pytest.mark.parametrize("years", [-56.0, 73.0])
async def test_a_clock_that_is_years_wrong_makes_no_kept_answer_old(
    bridge: Bridge, database_path: Path, years: float
) -> None:
    """A repeated request must find the first one, or its message would go out twice."""
    clock = Wall(WALL)
    async with open_database(database_path, bridge, clock=clock) as database:
        commands = Commands(database)
        await commands.begin(Request(method="hub.backup", actor="test", key="before"))
        clock.ahead += years * YEAR
        await commands.begin(Request(method="hub.backup", actor="test", key="while"))
    async with open_database(database_path, bridge, clock=clock) as database:
        assert (await tidy(database, now=database.steady())).requests == 0
    clock.ahead -= years * YEAR
    async with open_database(database_path, bridge, clock=clock) as database:
        assert (await tidy(database, now=database.steady())).requests == 0
        for key in ("before", "while"):
            assert await Commands(database).first("hub.backup", key) is not None


async def test_it_begins_after_all_that_an_earlier_version_has_noted(
    bridge: Bridge, database_path: Path
) -> None:
    async with open_database(database_path, bridge, clock=Wall(WALL)) as database:
        await database.write(lambda unit: unit.spent(["campaign/1"], WALL, 5))
    with closing(sqlite3.connect(database_path, isolation_level=None)) as plain:
        plain.execute("DELETE FROM steady")
    async with open_database(database_path, bridge, clock=Wall(0.0)) as database:
        assert WALL <= database.steady() < WALL + 60


async def test_what_a_killed_daemon_wrote_last_is_where_it_goes_on(
    bridge: Bridge, database_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the file and its log, as a kill leaves them."""
    monkeypatch.setattr("hubd.store.steady.SAVE_EVERY", 0.0)
    clock = Wall(WALL)
    copy = tmp_path / "copy" / "hub.db"
    copy.parent.mkdir(mode=0o700)
    async with open_database(database_path, bridge, clock=clock) as database:
        monkeypatch.setattr("hubd.store.steady._boot_id", lambda: "another boot")
        await database.write(lambda unit: unit.event("x", None, {}))
        at = database.steady()
        for name in database_path.parent.glob(f"{database_path.name}*"):
            shutil.copy(name, copy.parent / name.name.replace(database_path.name, copy.name))
    clock.ahead -= YEAR
    async with open_database(copy, bridge, clock=clock) as database:
        assert at - 1 < database.steady() < at + 60


async def test_time_that_the_daemon_was_off_counts_also_where_the_service_hides_the_kernels_boot_id(
    bridge: Bridge, database_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock was set back meanwhile: only the time since the machine started can tell."""
    monkeypatch.setattr("hubd.store.steady._BOOT_ID", database_path.parent / "hidden")
    monkeypatch.setenv("HUBD_BOOT_ID", "0c0ffee00c0ffee00c0ffee00c0ffee0")
    clock = Wall(WALL)
    async with open_database(database_path, bridge, clock=clock) as database:
        at = database.steady()
    await trio.sleep(0.2)
    clock.ahead -= YEAR
    async with open_database(database_path, bridge, clock=clock) as database:
        assert database.steady() - at >= 0.2
