"""Group commit: many units of work, one transaction, one thread hop, one fsync.

Tasks queue a unit of work and sleep. The writer task drains what is queued, runs it all inside one
transaction in the connection's own thread, and wakes the sleepers after COMMIT has returned. While one batch
is being written the next one gathers. It begins when nobody else is about to queue something, which takes
some tens of microseconds to know.

What holds, always:

- no task is woken before COMMIT returned, and a batch that fails leaves no effect of any of its units;
- a unit that raises (a constraint, an illegal transition) fails alone: the batch is rolled back and run again
  with each unit in its own savepoint;
- units run in the order they were queued; a unit may be run twice, so its only effects are on the database;
- counters change in the transaction that changes the rows they count;
- a bulk unit that finds no space fails alone: the reserve is for outcomes and changes of state;
- any other error of the disk fails the whole batch and every later unit at once with `StoreUnavailable`,
  until a probe, written every few seconds, succeeds again;
- after a failed fsync, or damage, nothing is written any more: the database is lost to this process, and
  the next one looks at what is really on the disk;
- a queued unit always ends, whatever is cancelled meanwhile.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

import msgspec
import outcome
import trio

from hubd.bridge import Bridge
from hubd.errors import StoreUnavailable
from hubd.store.batch import Committed, checkpoint, empty_log, probe, run_batch
from hubd.store.connection import DISK_ERRORS, Connection, TakenOver, lacks_disk_space, trouble_of
from hubd.store.disk_space import FREE_DISK_SPACE, DiskSpace
from hubd.store.free_pages import give_back
from hubd.store.steady import SteadyClock
from hubd.store.unit import Work

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_BATCH = 256  #: units in one transaction; bounds how long the first one waits for the last
#: Passes of Trio's scheduler in which nothing more is queued before a batch begins. With 16 connections, 3
#: are worth a sixth of the rate, and more are worth nothing.
QUIET_PASSES = 3
CHECKPOINT_CHANGES = 8_000  #: changed rows between checkpoints: about 2,000 pages of write-ahead log
IDLE_CHECKPOINT = 2.0  #: seconds of quiet after which what is left in the log is checkpointed too
LOG_LIMIT = 64 * 2**20  #: bytes of log from which readers are asked to make way, so that it can begin anew
MAKE_WAY = 0.1  #: seconds that writing waits for the readers then
MAKE_WAY_EVERY = 5.0  #: seconds between such requests: a long reader must not slow the writer down


class _Item(msgspec.Struct, eq=False):
    work: Work[Any]
    bulk: bool
    task: trio.lowlevel.Task  #: waits for the end of the unit, whatever is cancelled
    ended: bool = False

    def end(self, result: outcome.Outcome[Any]) -> None:
        self.ended = True
        trio.lowlevel.reschedule(self.task, result)


class Writer:
    """The only task that changes the database. Started by `open_database`.

    `readers_away(seconds)` is a block in which no reader looks, if they all end within that time.
    """

    def __init__(
        self,
        connection: Connection,
        bridge: Bridge,
        *,
        clock: SteadyClock,
        probe_interval: float,
        epoch: int,
        head_seq: int,
        disk_space: DiskSpace,
        readers_away: Callable[[float], AbstractAsyncContextManager[bool]],
        max_batch: int = MAX_BATCH,
    ) -> None:
        self.trouble = ""
        self.head_seq = head_seq
        self.taken_over = False  #: another process writes to the file now
        self.lost = trio.Event()  #: set when nothing can be written any more until the file is opened anew
        self._connection = connection
        self._bridge = bridge
        self._clock = clock
        self._probe_interval = probe_interval
        self._epoch = epoch
        self._disk_space = disk_space
        self._readers_away = readers_away
        self._max_batch = max_batch
        self._queue: deque[_Item] = deque()
        self._wake = trio.Event()
        self._news = trio.Event()
        self._healthy = trio.Event()
        self._healthy.set()
        self._emptied: trio.Event | None = None
        self._closing = False
        self._changes = self._checkpointed = 0
        self._made_way_at = float("-inf")
        self._shrinks = False  #: free pages were being given back when something had to be written

    # -- for other tasks ---------------------------------------------------------------------------

    async def submit(self, work: Work[T], *, bulk: bool = False) -> T:
        """Queue a unit of work and wait until it is committed. Raises what it raised, or StoreUnavailable.

        A `bulk` unit does not get the reserved space.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.trouble or self._closing:
            raise self._unavailable()
        self._queue.append(_Item(work, bulk, trio.lowlevel.current_task()))
        self._wake.set()
        result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return result

    async def wait_events(self, after_seq: int) -> int:
        """Return the newest committed seq as soon as it is greater than `after_seq`."""
        while self.head_seq <= after_seq:
            await self._news.wait()
        return self.head_seq

    async def wait_healthy(self) -> None:
        """Return when writing works (at once if it does now). Raises `StoreUnavailable` if it never will."""
        await trio.lowlevel.checkpoint()
        while self.trouble:
            if self.lost.is_set():
                raise self._unavailable()
            await self._healthy.wait()

    @property
    def changes(self) -> int:
        """How many rows were changed since the file was opened; grows with every commit that changed one."""
        return self._changes

    async def empty_log(self) -> None:
        """Truncate the write-ahead log, if no reader needs it."""
        if not self._disk_space.log_size() or self.trouble or self._closing:
            return
        if self._emptied is None:
            self._emptied = trio.Event()
            self._wake.set()
        await self._emptied.wait()

    def lose(self, error: Exception) -> None:
        """Nothing that is written from now on could be trusted: write no more."""
        if not self.lost.is_set():
            log.critical("this process can no longer use the database: %s", trouble_of(error)[0])
        self.taken_over = isinstance(error, TakenOver)
        self._stumble(trouble_of(error)[0])
        self._end_here()

    def close(self) -> None:
        """No more units are taken; `run` returns when those that are queued have ended."""
        self._closing = True
        self._wake.set()

    # -- the task ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until `close`. Not to be cancelled: the units' waiters are shielded and wait for it."""
        with trio.CancelScope(shield=True):
            try:
                while await self._wait_for_work():
                    if self._emptied is not None:
                        await self._empty_log()
                    if self._queue and not self.trouble:
                        await self._gather()
                    if self.trouble:  # perhaps a reader has found damage meanwhile
                        self._fail_queued()
                    elif self._queue:
                        await self._write_batch()
            except BaseException:
                self._closing = True
                self._stumble("the writer failed; see the log")
                self._end_here()
                raise
            finally:
                self._fail_queued()

    async def _wait_for_work(self) -> bool:
        """False when closing and nothing is queued. Probes, or tidies the file, while nothing is to do."""
        while not self._queue and self._emptied is None:
            if self._closing:
                return False
            self._wake = trio.Event()
            with trio.move_on_after(self._idle_timeout()) as quiet:
                await self._wake.wait()
            if quiet.cancelled_caught:
                await (self._probe() if self.trouble else self._rest())
        return True

    def _idle_timeout(self) -> float:
        if self.trouble:
            return float("inf") if self.lost.is_set() else self._probe_interval
        if self._changes != self._checkpointed or self._shrinks:
            return IDLE_CHECKPOINT
        return self._probe_interval if self._disk_space.wants_reserve else float("inf")

    async def _gather(self) -> None:
        """Wait until whoever is about to queue something has done so: a batch has a price of its own, and the
        answers to messages that were sent together come together.
        """
        known, passes = len(self._queue), 0
        while passes < QUIET_PASSES and known < self._max_batch:
            await trio.lowlevel.checkpoint()
            passes = passes + 1 if len(self._queue) == known else 0
            known = len(self._queue)

    async def _write_batch(self) -> None:
        items = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
        try:
            items, committed = await self._commit(items)
        except DISK_ERRORS as error:
            self._fail(error)
            for item in items:
                if not item.ended:
                    item.end(outcome.Error(_because(error, self._unavailable())))
            self._fail_queued()
            return
        self._changes = committed.changes
        for index, item in enumerate(items):
            raised = committed.errors.get(index)
            item.end(outcome.Value(committed.values[index]) if raised is None else outcome.Error(raised))
        if committed.last_seq > self.head_seq:
            self.head_seq = committed.last_seq
            self._news.set()
            self._news = trio.Event()
        if self._changes - self._checkpointed >= CHECKPOINT_CHANGES:
            await self._checkpoint()

    async def _commit(self, items: list[_Item]) -> tuple[list[_Item], Committed]:
        """Run a batch: what of it was run, and what came of that.

        On a full disk once more without what is bulk; then with the room that was kept back.
        """
        batch = partial(run_batch, [item.work for item in items], self._clock.moment(), self._epoch)
        try:
            return items, await self._hop(batch)
        except DISK_ERRORS as error:
            if not lacks_disk_space(error):
                raise
            if any(item.bulk for item in items):
                return await self._commit_without_bulk(items, error)
            if not await self._disk_space.free_reserve():
                raise
            log.error("%s: results are written to the reserved disk space", trouble_of(error)[0])
        return items, await self._hop(batch)

    async def _commit_without_bulk(
        self, items: list[_Item], error: Exception
    ) -> tuple[list[_Item], Committed]:
        text = trouble_of(error)[0]
        self._disk_space.note_full(text)
        for item in items:
            if item.bulk:
                refused = StoreUnavailable(f"the database cannot be written: {text}", hint=FREE_DISK_SPACE)
                item.end(outcome.Error(_because(error, refused)))
        left = [item for item in items if not item.bulk]
        if left:
            return await self._commit(left)
        return [], Committed(values=[], errors={}, last_seq=0, changes=self._changes)

    async def _hop(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._connection.unit(self._bridge, work)

    # -- the log -----------------------------------------------------------------------------------

    async def _rest(self) -> None:
        """Nothing was written for a while: copy the log into the file, give back what is free, empty the log.

        What was removed from the file is still in the log.
        """
        await self._checkpoint()
        try:
            if not self.trouble:
                await self._give_back()
                async with self._readers_away(MAKE_WAY):
                    await self._hop(empty_log)
        except DISK_ERRORS as error:
            self._shrinks = False
            if not lacks_disk_space(error):  # it takes a little room itself: some other time
                self._fail(error)

    async def _give_back(self) -> None:
        """Give free pages back, piece by piece, until something is to be written."""
        while not (self._queue or self._emptied or self._closing):
            # A reader that takes long keeps the log from beginning anew: it must not grow without end.
            fits = self._disk_space.log_size() <= LOG_LIMIT
            self._shrinks = fits and bool(await self._hop(partial(give_back, self._epoch)))
            if not self._shrinks:
                break
            await trio.lowlevel.checkpoint()  # whoever has something to write comes first

    async def _checkpoint(self) -> None:
        self._checkpointed = self._changes
        try:
            # PASSIVE never waits for a reader. What a reader holds back is copied by a later one.
            await self._hop(partial(checkpoint, "PASSIVE"))
            if self._disk_space.log_size() > LOG_LIMIT:
                await self._begin_log_anew()
        except DISK_ERRORS as error:
            self._fail(error)
        else:
            await self._disk_space.keep_reserve()

    async def _begin_log_anew(self) -> None:
        """Readers that overlap without end would let the log grow without end: ask for one moment alone."""
        if trio.current_time() < self._made_way_at + MAKE_WAY_EVERY:
            return
        self._made_way_at = trio.current_time()
        async with self._readers_away(MAKE_WAY):
            await self._hop(empty_log)

    async def _empty_log(self) -> None:
        try:
            if not self.trouble:
                async with self._readers_away(MAKE_WAY):
                    await self._hop(empty_log)
        except DISK_ERRORS as error:
            self._fail(error)
        finally:
            self._end_emptying()

    # -- trouble -----------------------------------------------------------------------------------

    async def _probe(self) -> None:
        try:
            # On a small disk the log may be what fills it. That this fails, too, is no news.
            await self._hop(partial(empty_log, level=logging.DEBUG))
            await self._hop(probe)
        except DISK_ERRORS as error:
            self._fail(error)
        else:
            log.warning("the database can be written again")
            self.trouble = ""
            self._healthy.set()

    def _fail(self, error: Exception) -> None:
        """Take note of an error of the disk, or of one that nobody foresaw."""
        text, final = trouble_of(error)
        if final:
            self.lose(error)
        else:
            self._stumble(text)

    def _stumble(self, text: str) -> None:
        if self.lost.is_set():
            return
        if text != self.trouble:
            log.error("the database cannot be written: %s", text)
        self.trouble = text
        if self._healthy.is_set():
            self._healthy = trio.Event()

    def _end_here(self) -> None:
        """Nobody waits for better times any more: there are none for this process."""
        self.lost.set()
        self._healthy.set()

    def _fail_queued(self) -> None:
        while self._queue:
            self._queue.popleft().end(outcome.Error(self._unavailable()))
        self._end_emptying()

    def _end_emptying(self) -> None:
        if self._emptied is not None:
            self._emptied.set()
            self._emptied = None

    def _unavailable(self) -> StoreUnavailable:
        if not self.trouble:
            return StoreUnavailable("the database is closing", hint="the daemon is stopping")
        hint = "sending continues automatically once the cause is gone"
        if self.lost.is_set():
            hint = "hubd ends now, and recovers the database when it is started again"
        return StoreUnavailable(f"the database cannot be written: {self.trouble}", hint=hint)


def _because(cause: Exception, error: StoreUnavailable) -> StoreUnavailable:
    error.__cause__ = cause
    return error
