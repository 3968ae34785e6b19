"""An engine with a store in memory and a scripted provider, for tests on the mock clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
import trio.testing

from hubd.core.model import Answer, Campaign, Channel, Content, RenderedMessage, Signal, Stage
from hubd.core.outcome import RetryPolicy
from hubd.engine.limits import LimiterRegistry
from hubd.engine.plan import TemplateCache
from hubd.engine.provider import ProviderSpec
from hubd.engine.providers import Providers
from hubd.engine.supervisor import Supervisor, open_supervisor
from tests.fakes import FakeStore, FakeTransport

EMAIL = Content(
    channel=Channel.EMAIL, sender="Acme <news@acme.example>", subject="Hello", text="Hi {{ email }}"
)
START = 1_800_000_000.0


@dataclass(slots=True)
class World:
    store: FakeStore
    transport: FakeTransport
    supervisor: Supervisor

    def now(self) -> float:
        return START + trio.current_time()

    async def ended(self, campaign: Campaign) -> Campaign:
        """Wait until the campaign runs no more."""
        await self.supervisor.ended(campaign.id)
        return await self.store.by_id(campaign.id)


@asynccontextmanager
async def world(
    store: FakeStore,
    transport: FakeTransport,
    rate: tuple[str, ...] = (),
    sender_rates: Mapping[str, tuple[str, ...]] | None = None,
    catch_up: Callable[[str], Awaitable[None]] | None = None,
) -> AsyncIterator[World]:
    async def opened() -> FakeTransport:
        return transport

    spec = ProviderSpec(
        name="fake", kind="fake", channels=transport.channels, connections=transport.connections,
        in_doubt=transport.in_doubt, rate=rate, sender_rates=sender_rates or {}, open=opened,
    )  # fmt: skip
    providers = Providers({"fake": spec}, lambda: 0.5)
    if catch_up is not None:
        providers.catch_up = catch_up
    began = trio.current_time()
    async with open_supervisor(
        campaigns=store, ledger=store, health=store, plans=TemplateCache(store, b"key"), doubts=store,
        providers=providers,
        limits=LimiterRegistry(store, lambda: START + trio.current_time() - began),
        now=lambda: START + trio.current_time() - began, random=lambda: 0.5, retry_policy=RetryPolicy(),
    ) as supervisor:  # fmt: skip
        await supervisor.recover()
        yield World(store=store, transport=transport, supervisor=supervisor)


def scripted(*answers: Answer) -> Callable[[RenderedMessage], Answer]:
    """The n-th try of each recipient gets the n-th answer; the last one is repeated."""
    tries: Counter[int] = Counter()

    def answer(rendered: RenderedMessage) -> Answer:
        tries[rendered.delivery_id] += 1
        return answers[min(tries[rendered.delivery_id], len(answers)) - 1]

    return answer


REFUSED_FOR_NOW = Answer(stage=Stage.DOT, code=451, enhanced="4.3.0", text="try later")
REFUSED = Answer(stage=Stage.DOT, code=554, enhanced="5.7.1", text="no")
LOST = Answer(stage=Stage.DOT, signal=Signal.DROPPED, text="connection closed")
