"""Clients that do anything and leave in any way: when they have gone, nothing is left of them."""

from __future__ import annotations

import gc
import json
import os
import random
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hubd.control import gate, session, session_writer
from hubd.control.calls import TURNS
from hubd.control.memory import ConnectionMemory, Pool
from hubd.control.subscription import Subscription
from tests.shell.open_hub import PLAIN, Served, open_hub
from tests.shell.raw_client import HELLO, connect, head, open_raw

pytestmark = pytest.mark.slow

CLIENTS, STEPS = 16, 10
TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
ORIGIN = "http://127.0.0.1:8080"
SHORT = 0.2  #: seconds

ASKED: list[tuple[str, dict[str, Any]]] = [
    ("hub.status", {}),
    ("hub.metrics", {}),
    ("hub.check", {}),
    ("hub.reload", {}),
    ("hub.cancel", {"id": 1}),
    ("hub.hello", HELLO["params"]),
    ("rpc.discover", {}),
    ("campaign.list", {}),
    ("campaign.get", {"name": "spring"}),
    ("campaign.check", {"name": "spring"}),
    ("campaign.apply", {"spec": PLAIN}),
    ("contacts.lists", {}),
    ("contacts.list", {"list": "customers"}),
    ("events.list", {"campaign": "spring"}),
    ("events.subscribe", {"topics": ["campaigns", "daemon"], "gauge_hz": 5}),
    ("events.subscribe", {"topics": ["campaign:spring"]}),
    ("events.unsubscribe", {"subscription": "s1"}),
    ("no.such", {"text": "x" * 5_000}),
]


class Client:
    """One connection, and what it does is up to `rng`."""

    def __init__(self, rng: random.Random, stream: trio.SocketStream, served: Served) -> None:
        self._rng = rng
        self._stream = stream
        self._served = served

    async def run(self, opening: bytes) -> None:
        """Everything from the head on; each step is given up after a while, and what follows is sent."""
        steps = [self._ask, self._batch, self._fragments, self._empty_frames, self._noise, self._read]
        try:
            if self._rng.random() < 0.1:
                await self._stream.send_all(opening[: self._rng.randrange(len(opening))])
                if self._rng.random() < 0.5:
                    return
            await self._stream.send_all(opening)
            if self._rng.random() < 0.9:
                await self._stream.receive_some()
            if self._rng.random() < 0.9:
                await self._send(TEXT, dumped(HELLO))
            for _ in range(self._rng.randrange(STEPS)):
                with trio.move_on_after(SHORT):
                    await self._rng.choice(steps)()
                if self._rng.random() < 0.2:
                    await self._served.events.add("provider.state", None, {"n": 1})
            with trio.move_on_after(10 * SHORT):
                await self._leave()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the daemon closed it
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _send(self, kind: int, payload: bytes = b"", *, last: bool = True) -> None:
        size = len(payload)
        length = bytes([0x80 | (size if size < 126 else 126 if size < 2**16 else 127)])
        if size > 125:
            length += size.to_bytes(2 if size < 2**16 else 8, "big")
        await self._stream.send_all(bytes([kind | (0x80 if last else 0)]) + length + bytes(4) + payload)

    def _request(self) -> dict[str, Any]:
        method, params = self._rng.choice(ASKED)
        request = {"jsonrpc": "2.0", "method": method, "params": params}
        return request | ({"id": self._rng.randrange(4)} if self._rng.random() < 0.8 else {})

    async def _ask(self) -> None:
        for _ in range(self._rng.choice((1, 3, 40))):
            await self._send(TEXT, dumped(self._request()))

    async def _batch(self) -> None:
        for _ in range(self._rng.choice((1, 4, 40))):
            members = [self._request() for _ in range(self._rng.choice((1, 5, 50, 51)))]
            await self._send(TEXT, dumped(members + self._rng.choice(([], [1], ["x" * 100_000]))))

    async def _fragments(self) -> None:
        message = dumped([self._request() for _ in range(20)])
        size = self._rng.choice((1, 7, 4_096))
        pieces = [message[at : at + size] for at in range(0, len(message), size)]
        for number, piece in enumerate(pieces, 1):
            if self._rng.random() < 0.001:
                return  # in the middle
            await self._send(TEXT if number == 1 else 0, piece, last=number == len(pieces))

    async def _empty_frames(self) -> None:
        await self._send(TEXT, last=False)
        for _ in range(self._rng.choice((1, 100, 20_000))):
            await self._send(0, last=False)
        if self._rng.random() < 0.5:
            await self._send(0)

    async def _noise(self) -> None:
        match self._rng.randrange(7):
            case 0:
                await self._send(BINARY, b"x")
            case 1:
                await self._send(TEXT, b"\xff\xfe")
            case 2:
                await self._send(TEXT, self._rng.choice((b"{", b"[]", b"[" * 5_000, b"1")))
            case 3:
                await self._send(TEXT, dumped("x" * self._rng.choice((70_000, 250_000, 1_000_000))))
            case 4:
                for _ in range(200):
                    await self._send(PING, b"?")
            case 5:
                await self._stream.send_all(self._rng.randbytes(50))
            case _:
                await self._stream.send_all(b"\x81\xff" + (2**20 - 1).to_bytes(8, "big") + bytes(50_000))

    async def _read(self) -> None:
        for _ in range(self._rng.choice((1, 20))):
            await self._stream.receive_some(self._rng.choice((1, 1_000, 100_000)))
            await trio.sleep(self._rng.choice((0, 0.01)))

    async def _leave(self) -> None:
        """The stream is closed after this."""
        match self._rng.randrange(5):
            case 0:
                await self._send(CLOSE, (1000).to_bytes(2, "big"))
                while await self._stream.receive_some():
                    pass
            case 1:
                await self._stream.send_eof()
                await self._read()
            case 2:  # a reset, on TCP
                self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case 3:
                await self._send(TEXT, dumped([self._request() for _ in range(50)]))
            case _:  # not before the daemon closes, for want of answers to its pings
                while await self._stream.receive_some():
                    pass


def dumped(message: object) -> bytes:
    return json.dumps(message).encode()


class Left:
    """What there is more of than at first."""

    def __init__(self, served: Served, memories: list[ConnectionMemory]) -> None:
        gc.collect()
        self._gate = next(
            each for each in gc.get_objects() if isinstance(each, gate.Gate) and each._hub is served.hub
        )
        self._memories = memories
        self._before = self._counted()

    def more(self) -> Counter[str]:
        """By name, with how many there are too many."""
        gc.collect()
        more = self._counted() - self._before
        context, limits = self._gate.context, self._gate._limits
        more.update(
            {
                "bytes of connections": sum(abs(memory.held) for memory in self._memories),
                "bytes of pools": sum(abs(pool.used) for pool in context.pools.values()),
                "turns": sum(TURNS - turns.value for turns in context.turns.values()),
                "commands": len(context.dispatcher._under_way),
                "places": sum(limits._inside.values()) + sum(limits._users.values()) + limits._leaving,
                "places of those without a request": len(limits._awaiting_request),
            }
        )
        return +more

    def _counted(self) -> Counter[str]:
        kept = (session.Session, session_writer.SessionWriter, Subscription, Pool)
        return (
            Counter(task.name for task in tasks())
            + Counter(sockets())
            + Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, kept))
        )


def tasks() -> Iterator[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    found = [root] if root is not None else []
    while found:
        task = found.pop()
        yield task
        found += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def sockets() -> list[str]:
    """Those of this process. Other descriptors, of the database, are opened when needed and stay."""
    every = Path("/proc/self/fd")
    return ["socket" for fd in os.listdir(every) if (every / fd).is_socket()]


@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(8, 100))]
)
async def test_nothing_is_left_of_clients_that_do_anything(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other seed has limits that are reached."""
    memories: list[ConnectionMemory] = []

    def remembered(pool: Pool) -> ConnectionMemory:
        memories.append(ConnectionMemory(pool))
        return memories[-1]

    monkeypatch.setattr(session, "ConnectionMemory", remembered)
    if seed % 2:
        monkeypatch.setattr(session_writer, "SEND_SECONDS", SHORT)
        monkeypatch.setattr(session_writer, "CLOSE_SECONDS", SHORT)
        monkeypatch.setattr(session_writer, "PING_SECONDS", SHORT)
        monkeypatch.setattr(session, "HELLO_SECONDS", SHORT)
    rng = random.Random(seed)
    async with open_hub(tmp_path) as served:
        left = Left(served, memories)
        openings: list[tuple[Path | int, bytes]] = []
        async with open_raw(served.path) as operator:
            await operator.ask("campaign.apply", spec=PLAIN)
            for number in range(CLIENTS):
                role = rng.choice(("viewer", "operator"))
                issued = (await operator.ask("auth.ticket", origin=ORIGIN, role=role))["result"]
                port = int(issued["url"].removesuffix("/rpc").rpartition(":")[2])
                offered = f"hub.jsonrpc.v1, hub.bearer.{issued['ticket']}"
                by_ticket = head(Host=f"127.0.0.1:{port}", Origin=ORIGIN, Sec_WebSocket_Protocol=offered)
                openings.append((port, by_ticket) if number % 2 else (served.path, head()))
        async with trio.open_nursery() as nursery:
            for where, opening in openings:
                client = Client(random.Random(rng.random()), await connect(where), served)
                nursery.start_soon(client.run, opening)
        await until_nothing(left)
        assert len(memories) > CLIENTS / 2, "many came in"
        async with open_raw(served.path) as raw:
            assert "result" in await raw.ask("hub.status")


async def until_nothing(left: Left) -> None:
    with trio.move_on_after(60):
        while left.more():
            await trio.testing.wait_all_tasks_blocked(0.05)
    assert not left.more()
