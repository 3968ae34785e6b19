"""A circuit breaker, and connections that it lets send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
import trio.testing

from hubd.core.model import Answer, Channel, InDoubt, Signal, Stage
from hubd.core.outcome import RetryPolicy
from hubd.engine.breaker import CircuitBreaker, Lease
from hubd.engine.health import HealthChange, HealthReporter, Tell
from hubd.engine.plan import TemplateCache
from hubd.engine.pool import WorkerPool
from hubd.engine.ports import RunContext, Transport
from hubd.engine.provider import ProviderSpec
from tests.fakes import FakeStore, FakeTransport

START = 1_800_000_000.0
HOUR = 3600.0
BUSY = Answer(stage=Stage.MAIL, code=454, text="too busy")
LOST = Answer(stage=Stage.DOT, signal=Signal.DROPPED, text="connection closed")
WRONG_PASSWORD = Answer(stage=Stage.AUTH, code=535, enhanced="5.7.8", text="authentication failed")


def wall() -> float:
    """Epoch seconds that go with the mock clock, which a test starts at a time of its own."""
    return START + trio.current_time()


@dataclass(slots=True)
class Told:
    """What a provider said about itself."""

    changes: list[HealthChange] = field(default_factory=list)

    def __call__(self, change: HealthChange) -> None:
        self.changes.append(change)

    @property
    def states(self) -> list[str]:
        return [change.after for change in self.changes]


class Driver:
    """Takes leases as `WorkerPool` does: when the breaker says so, and at the moment that it names."""

    def __init__(self, breaker: CircuitBreaker, transport: Transport) -> None:
        self.breaker = breaker
        self._transport = transport
        self._changed = trio.Event()
        breaker.changed = self._wake

    def _wake(self) -> None:
        self.breaker.report()
        self._changed.set()
        self._changed = trio.Event()

    async def begin(self) -> Lease:
        """Wait for a lease."""
        while not self.breaker.may_begin():
            with trio.move_on_at(self.breaker.opens_at()):
                await self._changed.wait()
        lease = self.breaker.begin(self._transport.connection(), self._transport)
        self.breaker.report()
        return lease

    async def use(self, news: Callable[[Lease], None]) -> float:
        """Take a lease, give the news, end it. Returns when it was taken."""
        lease = await self.begin()
        at = trio.current_time()
        news(lease)
        self.breaker.end(lease)
        return at

    async def prove(self) -> None:
        """One message goes through."""
        await self.use(self.breaker.answered)


def make_breaker(transport: FakeTransport, tell: Tell) -> CircuitBreaker:
    return CircuitBreaker(transport, lambda: 0.5, HealthReporter(transport.name, tell), wall)


def drive(connections: int = 4, *, talks_first: bool = True) -> tuple[Driver, CircuitBreaker, Told]:
    told = Told()
    transport = FakeTransport(connections=connections, talks_first=talks_first)
    breaker = make_breaker(transport, told)
    return Driver(breaker, transport), breaker, told


@dataclass(slots=True)
class Crew:
    """Workers that send one message after another, each in `latency` seconds; `news` hears of each."""

    driver: Driver
    news: Callable[[Lease], None]
    latency: float = 0.1
    begun: list[float] = field(default_factory=list)
    most_out: int = 0
    out: int = 0

    async def work(self) -> None:
        breaker = self.driver.breaker
        while True:
            lease = await self.driver.begin()
            another = True
            while another and not breaker.in_trouble(lease):
                another = breaker.may_go_on(lease)  # a worker takes the next one before it sends this one
                self.begun.append(trio.current_time())
                self.out += 1
                self.most_out = max(self.most_out, self.out)
                await trio.sleep(self.latency)
                self.out -= 1
                self.news(lease)
            breaker.end(lease)


@asynccontextmanager
async def crew(
    driver: Driver, news: Callable[[Lease], None], *, workers: int = 8, latency: float = 0.1
) -> AsyncIterator[Crew]:
    here = Crew(driver=driver, news=news, latency=latency)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(here.work)
        yield here
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running_pool(told: Told) -> AsyncIterator[WorkerPool]:
    """A worker pool that no campaign sends through."""
    store, transport = FakeStore(), FakeTransport()
    pool = WorkerPool(transport, make_breaker(transport, told))
    context = RunContext(
        campaigns=store,
        ledger=store,
        health=store,
        plans=TemplateCache(store, b"key"),
        now=wall,
        steady=wall,
        random=lambda: 0.5,
        retry_policy=lambda campaign: RetryPolicy(),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, context)
        yield pool
        nursery.cancel_scope.cancel()


def make_spec(transport: FakeTransport, *, settings: object = None, delay: float = 0.0) -> ProviderSpec:
    async def opened() -> FakeTransport:
        await trio.sleep(delay)
        return transport

    return ProviderSpec(
        name="fake", kind="fake", channels=frozenset(Channel), connections=transport.connections,
        in_doubt=InDoubt.HOLD, open=opened, settings=settings,
    )  # fmt: skip
