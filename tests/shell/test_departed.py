"""Clients that have left: their requests that only read are dropped, and their commands are finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import trio
import trio.testing

from tests.shell.open_hub import open_hub
from tests.shell.raw_client import HELLO, frame, head, open_raw

RELOAD: dict[str, Any] = {"jsonrpc": "2.0", "id": "reload", "method": "hub.reload"}
LISTS: dict[str, Any] = {"jsonrpc": "2.0", "id": "lists", "method": "contacts.lists"}


class Steps:
    """What the daemon is asked for, step by step: each call of a method waits until it is let go."""

    def __init__(self) -> None:
        self._asked, self._next = trio.open_memory_channel[tuple[str, trio.Event]](99)

    async def reload(self) -> list[str]:
        await self._wait("reload")
        return []

    async def lists(self) -> list[object]:
        await self._wait("lists")
        return []

    async def _wait(self, name: str) -> None:
        go_on = trio.Event()
        await self._asked.send((name, go_on))
        await go_on.wait()

    async def next(self, name: str) -> trio.Event:
        """Until the next one is asked for, which has this name; set the event to let it go."""
        with trio.fail_after(20):
            asked, go_on = await self._next.receive()
        assert asked == name
        return go_on


async def test_what_reads_in_a_batch_is_not_begun_when_its_client_has_left(tmp_path: Path) -> None:
    steps = Steps()
    async with open_hub(tmp_path, reload=steps.reload, contacts=steps) as served:
        async with open_raw(served.path) as raw:
            await raw.say([RELOAD, *[LISTS] * 48, RELOAD])
            begun = await steps.next("reload")
        begun.set()
        (await steps.next("reload")).set()


async def test_what_reads_in_a_batch_is_dropped_when_its_client_leaves(tmp_path: Path) -> None:
    steps = Steps()
    async with open_hub(tmp_path, reload=steps.reload, contacts=steps) as served:
        async with open_raw(served.path) as raw:
            notification = {key: value for key, value in LISTS.items() if key != "id"}
            await raw.say([LISTS, RELOAD])
            await raw.say([notification, RELOAD])
            for _ in range(2):
                await steps.next("lists")
        for _ in range(2):
            (await steps.next("reload")).set()


async def test_a_client_that_leaves_while_nothing_is_read_from_it_is_noticed(tmp_path: Path) -> None:
    """Nothing is read before the batch with the greeting is answered."""
    steps = Steps()
    async with open_hub(tmp_path, reload=steps.reload, contacts=steps) as served:
        async with await trio.open_unix_socket(served.path) as stream:
            await stream.send_all(head())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
            await stream.send_all(frame(dumped([HELLO, *[LISTS] * 48, RELOAD])))
            await stream.send_all(frame(dumped(LISTS)) * 32)
            begun = await steps.next("lists")
        begun.set()
        async with open_raw(served.path) as other:
            await other.say(RELOAD)
            for _ in range(2):
                (await steps.next("reload")).set()
            assert "result" in await other.hear()


async def test_a_command_beside_a_greeting_is_finished_when_its_client_goes_away(tmp_path: Path) -> None:
    steps = Steps()
    async with open_hub(tmp_path, reload=steps.reload, contacts=steps) as served:
        async with open_raw(served.path) as raw:
            await raw.ask("events.subscribe", topics=["*"])
            await raw.say([HELLO, RELOAD, RELOAD])
            begun = await steps.next("reload")
        await served.events.add("provider.state", None, {"n": 1})  # cannot be sent: the connection ends
        await trio.testing.wait_all_tasks_blocked(0.1)
        begun.set()
        (await steps.next("reload")).set()


def dumped(message: object) -> bytes:
    return json.dumps(message).encode()
