"""How much memory one connection and all connections may hold, and the order of waiting."""

from __future__ import annotations

import json
import tracemalloc

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hubd.control.memory import (
    CONNECTION_BYTES,
    EXPECTED_BYTES,
    POOL_BYTES,
    AnswerSizes,
    ConnectionMemory,
    Pool,
    weight,
)


async def test_who_holds_more_than_its_share_waits_until_it_has_given_back() -> None:
    pool = Pool()
    memory = ConnectionMemory(pool)
    await memory.take(CONNECTION_BYTES)
    memory.add(1)
    assert pool.used == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory.take, 10)
        await wait_all_tasks_blocked()
        assert memory.held == CONNECTION_BYTES + 1
        memory.release(CONNECTION_BYTES)
    assert memory.held == 11
    assert pool.used == 0


async def test_a_full_pool_takes_nobodys_share() -> None:
    pool = Pool()
    greedy, modest = ConnectionMemory(pool), ConnectionMemory(pool)
    await greedy.take(CONNECTION_BYTES + POOL_BYTES)
    await modest.take(CONNECTION_BYTES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(modest.take, 1)
        await wait_all_tasks_blocked()
        assert modest.held == CONNECTION_BYTES
        greedy.release(1)
    assert modest.held == CONNECTION_BYTES + 1


async def test_those_who_wait_for_the_pool_get_it_in_turn_and_nobody_starves() -> None:
    """One that needs all of it gets it before those that came later and need little."""
    pool, order = Pool(), []
    first = ConnectionMemory(pool)
    await first.take(CONNECTION_BYTES + 10)

    async def ask(name: str, size: int) -> None:
        memory = ConnectionMemory(pool)
        await memory.take(CONNECTION_BYTES + size)
        order.append(name)
        memory.release(memory.held)

    async with trio.open_nursery() as nursery:
        for name, size in (("large", POOL_BYTES), ("small", 1), ("larger than the pool", 2 * POOL_BYTES)):
            nursery.start_soon(ask, name, size)
            await wait_all_tasks_blocked()
        assert order == []
        first.release(10)
    assert order == ["large", "small", "larger than the pool"]
    assert pool.used == 0


async def test_who_gives_back_while_it_waits_for_the_pool_needs_less_of_it() -> None:
    pool = Pool()
    greedy, waiting = ConnectionMemory(pool), ConnectionMemory(pool)
    await greedy.take(CONNECTION_BYTES + POOL_BYTES)
    await waiting.take(CONNECTION_BYTES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.take, CONNECTION_BYTES)
        await wait_all_tasks_blocked()
        waiting.release(CONNECTION_BYTES)
    assert waiting.held == CONNECTION_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * 50_000 + "[]]",
        "[" + "{}," * 50_000 + "{}]",
        '["' + '","'.join(f"value {n}" for n in range(20_000)) + '"]',
        json.dumps(["x" * 500_000]),
        json.dumps(["\U0001f600" + "x" * 100_000], ensure_ascii=False),
    ],
    ids=["arrays", "objects", "texts", "a long text", "a wide text"],
)
def test_the_weight_of_a_message_is_about_what_it_takes_when_it_is_parsed(text: str) -> None:
    tracemalloc.start()
    kept = json.loads(text)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept
    assert taken / 2 < weight(text) < 4 * taken


def test_an_answer_is_expected_to_be_as_long_as_the_last_one() -> None:
    sizes = AnswerSizes()
    assert sizes.expected(["a", "b"], 10**6) == 2 * EXPECTED_BYTES
    sizes.note("a", 100_000)
    sizes.note("b", 1)
    assert sizes.expected(["a", "b"], 10**6) == 100_000 + EXPECTED_BYTES
    assert sizes.expected(["a"] * 50, 200_000) == 300_000, "a batch is sent before it is as long as that"
