"""A hub that a test holds in its hand: real store, real engine, a provider that answers when it is told to.

`LiveHub` runs the engine in a thread of its own. Its clock stands still but for `pass_time`, and each call
returns when the engine has come to rest: every task waits for the provider, for the clock or for a command,
and no thread of the database is at work. So a clock of the test's own is sound here, although aiosqlite is
involved: it never moves while a statement is running.

What is outside stays when the hub is killed: the provider's end (`model_wire`), the auditor (`model_records`)
and the promises that the two are held against (`model_promises`).
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import trio
import trio.testing

from hubd.bridge import Bridge, open_bridge
from hubd.core.model import InDoubt
from hubd.core.outcome import RetryPolicy
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.provider import ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.supervisor import Supervisor, open_supervisor
from hubd.store.database import Database, open_database
from hubd.store.doubts import Doubts
from hubd.store.transaction import Transaction
from hubd.store.usage import Usage
from tests.shell.conftest import Store
from tests.shell.model_wire import CONNECTIONS, Reply, Wire, Witness

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Real seconds after which a hub that does not come to rest has hung. Nothing is measured against it.
HUNG = 60.0


class WatchedBridge(Bridge):
    """Knows whether a call is under way, and holds `files` while one is at work on the database."""

    def __init__(self, bridge: Bridge, files: threading.RLock) -> None:
        super().__init__(bridge.loop)
        self.calls = 0
        self._files = files

    async def ask(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        with self._counted():
            return await super().ask(fn, *args)

    async def finish(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        with self._counted():
            return await super().finish(fn, *args)

    async def hand_over(self, enqueue: Callable[[Callable[[], None]], object], work: Callable[[], T]) -> T:
        with self._counted():
            return await super().hand_over(enqueue, partial(self._alone, work))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1

    def _alone(self, work: Callable[[], T]) -> T:
        with self._files:
            return work()


class LiveHub:
    """One life of a hub: from `LiveHub(...)` to `end`. Use it from one thread, which is not the hub's."""

    store: Store
    supervisor: Supervisor

    def __init__(self, directory: Path, witness: Witness, reaper: Reaper, *, born: float) -> None:
        self.directory = directory
        self.files = threading.RLock()  # held while the database is being changed
        self.now_is = born
        self.wire = Wire(witness, now=self.now)
        self._born = born
        self._clock = trio.testing.MockClock(rate=0.0)
        self._ready: Future[None] = Future()
        self._commands, self._inbox = trio.open_memory_channel[
            tuple[Callable[[], Awaitable[Any]], Future[Any]]
        ](float("inf"))
        self._token: trio.lowlevel.TrioToken
        self._bridge: WatchedBridge
        reaper.hub = self
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self._ready.result(HUNG)
        self.settle()

    def now(self) -> float:
        """Seconds since the epoch, in the hub's thread."""
        self.now_is = self._born + trio.current_time()
        return self.now_is

    # -- from the test's thread --------------------------------------------------------------------

    def begin(self, command: Callable[[], Awaitable[T]]) -> Future[T]:
        """Give a command and let the hub come to rest: the answer, which may not be there yet."""
        answer = self._submit(command)
        self.settle()
        return answer

    def settle(self) -> None:
        """Return when the hub is at rest."""
        self._submit(self._rest).result(HUNG)

    def answer(self, reply: Reply) -> bool:
        """The provider answers one message, if one waits."""
        return self.begin(partial(_at_once, self.wire.answer, reply)).result(HUNG)

    def pass_time(self, seconds: float) -> None:
        """Let the clock run. The hub comes to rest at each thing that falls due, or at 40 of many."""
        self._submit(partial(self._pass, seconds)).result(HUNG)

    def end(self) -> None:
        """Close in order, giving no grace to what is on the wire."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._commands.close)
        self._thread.join(HUNG)
        assert not self._thread.is_alive(), "the hub hangs at its end"

    def _submit(self, command: Callable[[], Awaitable[T]]) -> Future[T]:
        answer: Future[T] = Future()
        self._token.run_sync_soon(self._commands.send_nowait, (command, answer))
        return answer

    # -- the hub's thread --------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            trio.run(self._run, clock=self._clock)
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with open_bridge() as opened:
            self._bridge = bridge = WatchedBridge(opened, self.files)
            async with open_database(self.directory / "hub.db", bridge, clock=self.now) as database:
                self.store = store = Store(database)
                await store.ledger.recover()
                assert await database.read(_count_open) == 0, "an attempt of an earlier life is open"
                await store.campaigns.clean_up()
                async with self._engine(store, database) as self.supervisor:
                    await self.supervisor.recover()
                    self._ready.set_result(None)
                    async with trio.open_nursery() as nursery, self._inbox:
                        async for command, answer in self._inbox:
                            nursery.start_soon(_carry_out, command, answer)
                        nursery.cancel_scope.cancel()
                    self._clock.rate = 1000.0  # nobody moves it any more

    def _engine(self, store: Store, database: Database) -> Any:
        async def opened() -> Wire:
            return self.wire

        spec = ProviderSpec(
            name="post",
            kind="post",
            channels=self.wire.channels,
            connections=CONNECTIONS,
            in_doubt=InDoubt.HOLD,
            open=opened,
        )
        return open_supervisor(
            campaigns=store.campaigns,
            ledger=store.ledger,
            health=database,
            doubts=Doubts(database),
            limits=LimiterRegistry(Usage(database), self.now),
            plans=TemplateCache(store.campaigns, database.install_key, database.named_after),
            providers=Providers({"post": spec}, _random),
            now=self.now,
            random=_random,
            retry_policy=RetryPolicy(),
            grace=0.0,
        )

    async def _rest(self) -> None:
        threads = trio.to_thread.current_default_thread_limiter()
        while True:
            await trio.testing.wait_all_tasks_blocked(0.0005 if self._at_work(threads) else 0.0)
            if not self._at_work(threads):
                return

    def _at_work(self, threads: trio.CapacityLimiter) -> bool:
        return self._bridge.calls > 0 or threads.borrowed_tokens > 0

    async def _pass(self, seconds: float) -> None:
        until = trio.current_time() + seconds
        while (left := until - trio.current_time()) > 0:
            next_deadline = trio.lowlevel.current_statistics().seconds_to_next_deadline
            self._clock.jump(min(left, max(next_deadline, seconds / 40)))
            await self._rest()
        self.now()


async def _carry_out(command: Callable[[], Awaitable[T]], answer: Future[T]) -> None:
    try:
        result = await command()
    except trio.Cancelled:
        answer.cancel()
        raise
    except Exception as error:
        answer.set_exception(error)
    else:
        answer.set_result(result)


async def _at_once(work: Callable[[Any], T], value: Any) -> T:
    await trio.lowlevel.checkpoint()
    return work(value)


def _count_open(db: Transaction) -> int:
    count: int = db.execute("SELECT count(*) FROM attempt WHERE outcome IS NULL").fetchone()[0]
    return count


def _random() -> float:
    return 0.5


class Reaper:
    """Ends the hub at a named point, as `kill -9` would: what is in the files then is all that is left."""

    def __init__(self, root: Path) -> None:
        self.hub: LiveHub | None = None
        self.remains: Path | None = None  #: a copy of the files at the moment of the kill
        self._root = root
        self._kills = 0
        self._point = ""
        self._left = 0
        self._taken = 0

    def aim(self, point: str, times: int, taken: int) -> None:
        """Kill when the point is reached for the n-th time from now; for `taken` see `Wire.die`."""
        self._point, self._left, self._taken = point, times, taken

    def spare(self) -> None:
        """Kill no more."""
        self._point = ""

    def reach(self, point: str) -> None:
        """The effect for `failpoints.arm`; called in the hub's thread and in those of the database."""
        if point != self._point or self.hub is None or self.remains is not None:
            return
        self._left -= 1
        if self._left <= 0:
            self._point = ""
            self.kill(self._taken)

    def kill(self, taken: int) -> None:
        """Keep the files as they are now. What the old hub does from here on happens to nobody."""
        hub = self.hub
        assert hub is not None
        with hub.files:
            hub.wire.die(taken)
            self._kills += 1
            remains = self._root / f"life{self._kills}"
            remains.mkdir(mode=0o700)
            for file in sorted(hub.directory.iterdir()):
                if not file.name.endswith("-shm"):
                    shutil.copy(file, remains / file.name)
            self.remains = remains
