"""What the daemon does by itself beside sending, each in a task that goes on for as long as it runs."""

from __future__ import annotations

import logging
from pathlib import Path

import trio

from hubd.config.reload import Reloader
from hubd.control.endpoints import LOOK_EVERY
from hubd.errors import StoreError, StoreUnavailable
from hubd.providers.registry import KINDS, kind_of
from hubd.store.database import Database
from hubd.store.erasures import done, waiting
from hubd.store.housekeeping import tidy
from hubd.store.retention import Retention, thin
from hubd.store.rollup import count_pending

log = logging.getLogger(__name__)

HOUR = 3600.0
AGAIN = 60.0  #: seconds until what failed is tried again, and between two looks for what nobody tells of


async def keep_up(database: Database, reload: Reloader, state_dir: Path) -> None:
    """All of it, until cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_figures, database)
        nursery.start_soon(tidy_hourly, database, reload)
        nursery.start_soon(erase_files, database, state_dir)
        nursery.start_soon(look_at_database, database)


async def look_at_database(database: Database) -> None:
    """Notice that the disk is in trouble, or that hub.db was moved, also while nothing is sent.

    Whoever looks makes it say so in the log.
    """
    while True:
        _ = database.trouble
        await trio.sleep(LOOK_EVERY)


async def count_figures(database: Database) -> None:
    """Count for the reports what an older version has sent, once."""
    while True:
        try:
            counted = await count_pending(database)
        except StoreUnavailable as error:
            log.debug("counting the figures of an earlier version waits: %s", error)
            await trio.sleep(AGAIN)
            continue
        if counted:
            log.info("the figures of %d campaigns of an earlier version were counted", counted)
        return


async def erase_files(database: Database, state_dir: Path) -> None:
    """Remove from the files of outboxes what was erased or deleted in the database."""
    seen = -1
    while True:
        try:
            while found := await waiting(database):
                ranges: dict[str, list[tuple[int, int]]] = {}
                for each in found:
                    ranges.setdefault(each.campaign, []).append((each.first, each.last))
                for campaign, some in ranges.items():
                    for kind in map(kind_of, KINDS):
                        if kind.erase is not None:
                            folder = state_dir / kind.folder
                            await trio.to_thread.run_sync(kind.erase, folder, campaign, some)
                await done(database, [each.id for each in found])
        except (OSError, StoreError) as error:
            log.warning("files of the outbox that were erased are still there: %s", error)
            await trio.sleep(AGAIN)
        await trio.sleep(1)
        with trio.move_on_after(AGAIN):  # what retention erases is no event
            seen = await database.wait_events(seen)


def retention_of(reload: Reloader) -> Retention:
    """How long history is to be kept now."""
    kept = {key: reload.retention.seconds(key) for key in ("deliveries", "content", "events")}
    return Retention(**kept)


async def tidy_hourly(database: Database, reload: Reloader) -> None:
    """Remove what is older than it is to be kept: each hour, and when a reload may have said otherwise."""
    while True:
        reloaded = reload.next
        try:
            await tidy(database, now=database.steady())
            await thin(database, retention_of(reload), database.steady())
        except StoreUnavailable as error:
            log.info("removing old history waits: %s", error)
        with trio.move_on_after(HOUR):
            await reloaded.wait()
