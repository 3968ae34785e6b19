"""A database on a disk that fails."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from hubd.bridge import Bridge
from hubd.errors import StoreUnusable
from hubd.store.database import Database, open_database
from hubd.store.disk_space import DiskSpaceLimits

FULL = sqlite3.SQLITE_FULL
PEOPLE = ("ann", "bob", "cyd", "dan", "eve")


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
