"""A disk that does not give a page while a database is checked: that is no damage."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from hubd.bridge import Bridge
from hubd.errors import StoreUnusable
from hubd.store.database import open_database
from hubd.store.disk_space import DiskSpaceLimits
from hubd.store.opening import prepare
from tests.shell.broken_disk import BrokenDisk
from tests.shell.test_interrupted import take_in


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_NOMEM], ids=["disk", "memory"])
@pytest.mark.parametrize("ended", ["in order", "killed"])
async def test_a_page_that_cannot_be_read_once_is_no_damage(
    bridge: Bridge, tmp_path: Path, disk: BrokenDisk, ended: str, code: int
) -> None:
    path, killed = tmp_path / "live" / "hub.db", tmp_path / "killed" / "hub.db"
    async with open_database(path, bridge, limits=DiskSpaceLimits(min_free=0)) as db:
        await take_in(db, range(2))
        shutil.copytree(path.parent, killed.parent)
    path = path if ended == "in order" else killed
    nth, failed, accepted = 0, True, 0
    refusals: list[StoreUnusable] = []
    while failed:
        nth += 1
        reached = disk.fail_nth("read", nth, code)
        try:
            prepare(path)
            accepted += 1
        except StoreUnusable as refused:
            refusals.append(refused)
        failed = reached()
        disk.fails = lambda op: 0
    assert nth > 10
    assert not [str(each) for each in refusals if "damaged" in str(each)]
    assert {each.exit_status for each in refusals} <= {74, 75}
    assert accepted > 1, "an error that has passed keeps nobody from starting"
