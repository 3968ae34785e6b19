"""The client: where it looks, one error per cause, and several tasks on one connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import pytest
import trio
import wsproto
from wsproto.events import AcceptConnection, Request

from hubd.client import (
    KEPT_EVENTS,
    Client,
    Connection,
    Events,
    Place,
    Subscription,
    connect,
    connection,
    follow,
    open_client,
)
from hubd.client.reach import Reached
from hubd.errors import BadInput, HubError, NotFound, ResumeGap, Unreachable, VersionSkew
from tests.shell.open_hub import Served, open_hub

T = TypeVar("T")

HANGS_UP = b"nothing: it closes the connection, as one that stops does"


# -- what it costs ------------------------------------------------------------------------------------------


def test_importing_it_is_light() -> None:
    heavy = "{'sqlite3', 'jinja2', 'asyncio', 'aiosqlite', 'hubd.control', 'hubd.core', 'hubd.wire.params'}"
    code = "import sys; before = set(sys.modules); import hubd.client"
    code += f"; print(sorted((set(sys.modules) - before) & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- why it cannot connect ---------------------------------------------------------------------------------


async def why_not(path: Path, timeout: float = 10) -> HubError:
    with pytest.raises(HubError) as caught:
        async with open_client(path, timeout=timeout):
            pass
    assert caught.value.hint
    return caught.value


async def test_no_socket(tmp_path: Path) -> None:
    error = await why_not(tmp_path / "none.sock")
    assert (type(error), error.code) == (Unreachable, "socket_missing")


async def test_a_stale_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(os.fspath(tmp_path / "c.sock"))
    assert (await why_not(tmp_path / "c.sock")).code == "refused"


_ASK = """
import os, sys, trio
from hubd.client import open_client
from hubd.errors import HubError
if os.getuid() == 0:  # root may open everything
    os.setuid(65534)

async def ask() -> None:
    async with open_client(sys.argv[1]):
        pass

try:
    trio.run(ask)
except HubError as error:
    print(type(error).__name__, error.code, bool(error.hint))
"""


async def test_no_permission(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(os.fspath(tmp_path / "c.sock"))
        closed.listen()
        (tmp_path / "c.sock").chmod(0)
        command = [sys.executable, "-c", _ASK, os.fspath(tmp_path / "c.sock")]
        done = await trio.run_process(command, capture_stdout=True)
    assert done.stdout == b"Unreachable permission_denied True\n"


async def test_a_path_too_long(tmp_path: Path) -> None:
    assert isinstance(await why_not(tmp_path / ("x" * 120)), BadInput)


async def answering(path: Path, said: bytes, *, task_status: trio.TaskStatus[None]) -> None:
    """A program at the socket that says the same to everybody, and then nothing."""
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(os.fspath(path))
        sock.listen()
        task_status.started()
        connection, _ = await sock.accept()
        async with trio.SocketStream(connection) as stream:
            await stream.receive_some()
            if said == HANGS_UP:
                return
            await stream.send_all(said)
            if said:
                await stream.send_eof()
                return
            await trio.sleep_forever()


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        (b"220 mail.example ESMTP\r\n", Unreachable, "not_hubd"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", Unreachable, "not_hubd"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", Unreachable, "permission_denied"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno", Unreachable, "busy"),
        (
            b"HTTP/1.1 400 No\r\nContent-Length: 33\r\n\r\nthis daemon speaks hub.jsonrpc.v2",
            VersionSkew,
            "protocol_unsupported",
        ),
        (b"", Unreachable, "timeout"),
        (HANGS_UP, Unreachable, "disconnected"),
    ],
)
async def test_what_answers_is_not_as_it_should_be(
    tmp_path: Path, said: bytes, kind: type[HubError], code: str
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(answering, tmp_path / "c.sock", said)
        error = await why_not(tmp_path / "c.sock", timeout=10 if said else 0.05)
        assert (type(error), error.code) == (kind, code)
        nursery.cancel_scope.cancel()


# -- calls -------------------------------------------------------------------------------------------------


async def test_errors_arrive_as_their_classes(served: Served) -> None:
    async with open_client(served.path, client=("test", "1")) as hub:
        assert hub.hello["protocol"] == 1
        with pytest.raises(NotFound) as caught:
            await hub.call("campaign.get", name="nope")
        assert caught.value.code == "campaign_not_found"
        with pytest.raises(BadInput) as wrong:
            await hub.call("campaign.get", nam="nope")
        assert wrong.value.data["errors"]


@pytest.mark.parametrize("letter", ["x", "é"])
async def test_a_request_that_is_too_large_is_refused_before_it_ends_the_connection(
    served: Served, letter: str
) -> None:
    async with open_client(served.path) as hub:
        limit = hub.hello["limits"]["message_bytes"]
        with pytest.raises(BadInput, match=f"hubd takes {limit:,} at most"):
            await hub.call("campaign.apply", spec={"text": letter * limit})
        assert (await hub.call("hub.status"))["version"] == "0.0.1"


async def test_many_tasks_share_a_connection(served: Served) -> None:
    async with open_client(served.path) as hub:
        names: list[str] = []

        async def ask(name: str) -> None:
            with pytest.raises(NotFound):
                await hub.call("campaign.get", name=name)
            names.append(name)

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(ask, f"n{number}")
        assert len(names) == 30


async def test_a_call_and_a_subscription_coexist(served: Served) -> None:
    async with open_client(served.path) as hub:
        subscription = hub.subscribe(["*"])
        await anext(subscription)
        for number in range(20):
            await served.events.add("provider.state", None, {"n": number})
            await hub.call("hub.status")
        seen = [(await anext(subscription))["data"]["n"] for _ in range(20)]
        assert seen == list(range(20))


async def test_a_call_that_is_given_up_harms_nobody(served: Served) -> None:
    async with open_client(served.path) as hub:
        subscription = hub.subscribe(["*"])
        await anext(subscription)
        with trio.move_on_after(0.01):
            await anext(subscription)
        await served.events.add("provider.state", None, {"n": 1})
        assert (await anext(subscription))["data"]["n"] == 1
        assert await hub.call("hub.status")


async def test_the_connection_ends_under_a_call(tmp_path: Path) -> None:
    begun = trio.Event()

    async def never() -> list[str]:
        begun.set()
        await trio.sleep_forever()
        return []

    async def call(hub: Client) -> None:
        with pytest.raises(HubError) as caught:
            await hub.call("hub.reload")
        assert caught.value.code == "shutting_down"

    async with (
        open_hub(tmp_path, reload=never) as served,
        open_client(served.path) as hub,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(call, hub)
        await begun.wait()
        served.serving.cancel()


async def test_after_the_end_every_call_says_so(served: Served) -> None:
    async with open_client(served.path) as hub:
        await hub.aclose()
        with pytest.raises(Unreachable):
            await hub.call("hub.status")
        with pytest.raises(Unreachable):
            await anext(hub.subscribe(["*"]))


# -- what is kept for a reader that is elsewhere -----------------------------------------------------------


def event(kind: str, seq: int, name: str = "x") -> dict[str, object]:
    return {"type": kind, "epoch": 1, "seq": seq, "data": {"campaign": {"name": name}}}


async def lone_subscription() -> Subscription:
    left, _ = trio.testing.memory_stream_pair()
    reached = Reached(stream=left, place=Place(path=Path("nowhere")), where="nowhere")
    subscription = Subscription(Client(reached), {})
    subscription.id = "s1"
    return subscription


async def test_figures_of_a_campaign_replace_each_other() -> None:
    subscription = await lone_subscription()
    for seq in (1, 1, 1):
        subscription.put(event("campaign.progress", seq))
    subscription.put(event("campaign.progress", 1, "y"))
    subscription.put(event("campaign.state", 2))
    seen = [(await anext(subscription))["type"] for _ in range(3)]
    assert seen == ["campaign.progress", "campaign.progress", "campaign.state"]


async def test_too_many_events_are_a_gap_and_never_a_silent_one() -> None:
    subscription = await lone_subscription()
    for seq in range(KEPT_EVENTS + 1):
        subscription.put(event("delivery.failed", seq + 1))
    for _ in range(KEPT_EVENTS):
        await anext(subscription)
    with pytest.raises(ResumeGap) as caught:
        await anext(subscription)
    assert caught.value.data["after"] == {"epoch": 1, "seq": KEPT_EVENTS}


# -- over restarts of the daemon ---------------------------------------------------------------------------


async def test_following_goes_on_after_the_daemon_came_back(tmp_path: Path) -> None:
    told: list[str | None] = []
    seen: list[int] = []
    lost, add = trio.Event(), trio.Event()

    def tell(error: HubError | None) -> None:
        told.append(None if error is None else error.code)
        if error is not None:
            lost.set()

    async def read(path: Path, *, task_status: trio.TaskStatus[None]) -> None:
        async with follow(["*"], socket=path, tell=tell) as events:
            assert (await anext(events))["type"] == "snapshot"
            task_status.started()
            async for event in events:
                seen.append(event["data"]["n"])
                if event["data"]["n"] == 20:
                    add.set()
                if event["data"]["n"] == 39:
                    return

    async with trio.open_nursery() as nursery:
        async with open_hub(tmp_path) as served:
            await nursery.start(read, served.path)
            for number in range(20):
                await served.events.add("test", None, {"n": number})
        await lost.wait()
        async with open_hub(tmp_path) as served:
            await served.events.add("test", None, {"n": 20})  # before it is back, or after
            await add.wait()
            for number in range(21, 40):
                await served.events.add("test", None, {"n": number})
            while len(seen) < 40:
                await trio.lowlevel.checkpoint()
    assert seen == list(range(40))
    assert told[0] in ("shutting_down", "disconnected")
    assert told[-1] is None


async def test_following_says_when_there_is_a_gap_and_goes_on_when_told(served: Served) -> None:
    for number in range(10):
        await served.events.add("test", None, {"n": number})
    cursor = {"epoch": served.database.epoch, "seq": 2}
    await served.events.prune(keep=4)
    async with follow(["*"], socket=served.path, after=cursor) as events:
        with pytest.raises(ResumeGap) as gap:
            await anext(events)
        assert gap.value.data["oldest_seq"] == 7
        events.restart()
        assert await anext(events) | {"campaigns": []} == {
            "type": "snapshot",
            "epoch": served.database.epoch,
            "seq": 10,
            "campaigns": [],
        }
        await served.events.add("test", None, {"n": 10})
        assert (await anext(events))["data"]["n"] == 10


async def test_following_what_was_never_there_raises_at_once(tmp_path: Path, served: Served) -> None:
    async with follow(["*"], socket=tmp_path / "none.sock") as events:
        with pytest.raises(Unreachable):
            await anext(events)
    async with follow(["campaign:nope"], socket=served.path) as events:
        with pytest.raises(NotFound):
            await anext(events)


async def test_following_subscribes_again_when_too_much_came_while_nobody_read(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubd.client.subscription.KEPT_EVENTS", 3)
    async with follow(["*"], socket=served.path) as events:
        await anext(events)
        for number in range(50):
            await served.events.add("test", None, {"n": number})
        assert [(await anext(events))["data"]["n"] for _ in range(50)] == list(range(50))


# -- for programs that are not asynchronous ----------------------------------------------------------------


async def in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work)


async def test_blocking_calls_and_errors(served: Served) -> None:
    def work() -> None:
        with connect(served.path, client=("test", "1")) as hub:
            assert hub.hello["protocol"] == 1
            assert hub.call("hub.status")["campaigns"] == []
            with pytest.raises(NotFound):
                hub.call("campaign.get", name="nope")
        with pytest.raises(Unreachable):
            hub.call("hub.status")

    await in_thread(work)


async def test_blocking_connect_says_why_not(tmp_path: Path) -> None:
    def work() -> None:
        with pytest.raises(Unreachable) as caught, connect(tmp_path / "none.sock"):
            pass
        assert caught.value.code == "socket_missing"

    await in_thread(work)


async def test_blocking_events_and_threads(served: Served) -> None:
    def work() -> list[int]:
        with connect(served.path) as hub, hub.events("*") as events:
            assert next(events)["type"] == "snapshot"
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda _: hub.call("hub.status"), range(20)))
            trio.from_thread.run(add)
            return [next(events)["data"]["n"] for _ in range(3)]

    async def add() -> None:
        for number in range(3):
            await served.events.add("test", None, {"n": number})

    assert await in_thread(work) == [0, 1, 2]


async def test_a_blocking_call_connects_again_after_a_restart(tmp_path: Path) -> None:
    ready, again = trio.Event(), trio.Event()

    def work() -> None:
        with connect(tmp_path / "s" / "control.sock") as hub:
            first = hub.hello["epoch"]
            trio.from_thread.run_sync(ready.set)
            trio.from_thread.run(again.wait)
            assert hub.call("hub.status")["trouble"] == ""
            assert hub.hello["epoch"] == first + 1

    async with trio.open_nursery() as nursery:
        async with open_hub(tmp_path):
            nursery.start_soon(in_thread, work)
            await ready.wait()
        async with open_hub(tmp_path):
            again.set()
            await until_idle(nursery)


async def until_idle(nursery: trio.Nursery) -> None:
    while nursery.child_tasks:
        await trio.lowlevel.checkpoint()


async def test_a_blocking_call_waits_no_longer_than_it_was_told(tmp_path: Path) -> None:
    async def never() -> list[str]:
        await trio.sleep_forever()
        return []

    def work(path: Path) -> None:
        with connect(path) as hub:
            with pytest.raises(Unreachable) as caught:
                hub.call("hub.reload", wait=0.01)
            assert caught.value.code == "timeout"
            assert hub.call("hub.status")

    async with open_hub(tmp_path, reload=never) as served:
        await in_thread(partial(work, served.path))


async def test_closing_wakes_a_thread_that_waits_for_an_event(served: Served) -> None:
    def work() -> None:
        waits = threading.Event()

        def read() -> str:
            next(events)
            waits.set()
            try:
                next(events)
            except Unreachable as error:
                return error.code
            return ""

        with ThreadPoolExecutor(1) as pool:
            with connect(served.path) as hub:
                events = hub.events()
                reader = pool.submit(read)
                waits.wait()
            assert reader.result() == "closed"

    await in_thread(work)


async def test_an_interrupt_between_two_events_loses_none(served: Served) -> None:
    """Ctrl-C while an event is on its way: the loop that is begun anew gets it."""

    def work() -> list[int]:
        with connect(served.path) as hub, hub.events() as events:
            next(events)
            seen: list[int] = []
            trio.from_thread.run(add)
            while len(seen) < 20:
                try:
                    seen.append(interrupted(events)["data"]["n"])
                except KeyboardInterrupt:
                    seen.append(next(events)["data"]["n"])
            return seen

    def interrupted(events: Events) -> dict[str, Any]:
        """As if the key had been pressed after the thread was asked, and before its answer was taken."""
        asked: list[SimpleQueue[Any]] = []

        class Queue(SimpleQueue[Any]):
            def get(self, block: bool = True, timeout: float | None = None) -> Any:
                if self in asked:
                    return super().get(block, timeout)
                asked.append(self)
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hubd.client.blocking.queue.SimpleQueue", Queue)
            return next(events)

    async def add() -> None:
        for number in range(20):
            await served.events.add("test", None, {"n": number})

    assert await in_thread(work) == list(range(20))


async def test_an_interrupt_just_after_the_answer_was_taken_ends_the_call(served: Served) -> None:
    """Ctrl-C once the answer has left the queue, and before the call has returned it."""

    class Queue(SimpleQueue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            super().get(block, timeout)
            raise KeyboardInterrupt

    def work() -> object:
        with connect(served.path) as hub:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("hubd.client.blocking.queue.SimpleQueue", Queue)
                with pytest.raises(KeyboardInterrupt):
                    hub.call("hub.status")
            return hub.call("hub.status")["states"]

    assert await in_thread(work) == {}


def test_a_connection_is_not_carried_over_a_fork(tmp_path: Path) -> None:
    connection = Connection(tmp_path / "c.sock", client=("test", ""), timeout=1)
    connection._token, connection._pid = object(), os.getpid() + 1  # type: ignore[assignment]  # as in a child
    with pytest.raises(Unreachable) as caught:
        connection.call("hub.status")
    assert "fork" in caught.value.hint
    connection.close()


# -- a daemon that never ends a message --------------------------------------------------------------------


async def stranger(said: bytes) -> tuple[Client, trio.abc.Stream]:
    """A client after its handshake, at a program that says this."""
    ours, theirs = trio.testing.memory_stream_pair()
    client = Client(Reached(stream=ours, place=Place(path=Path("nowhere")), where="nowhere"))
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        server.receive_data(bytes(await theirs.receive_some()))
        (request,) = server.events()
        assert isinstance(request, Request)
        await theirs.send_all(server.send(AcceptConnection(subprotocol="hub.jsonrpc.v1")))
    await theirs.send_all(said)
    await theirs.aclose()
    return client, theirs


async def test_fragments_without_end_take_no_memory() -> None:
    client, _ = await stranger(b"\x01\x00" + b"\x00\x00" * 40_000 + b"\x00\x01x" * 10_000)
    tracemalloc.start()
    with pytest.raises(Unreachable):
        await client.until(lambda: False)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 300_000


async def test_a_message_that_is_larger_than_any_answer_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "MAX_ANSWER", 1_000)
    client, _ = await stranger((b"\x01\x7d" + b"x" * 125) + (b"\x00\x7d" + b"x" * 125) * 10)
    with pytest.raises(HubError) as caught:
        await client.until(lambda: False)
    assert caught.value.code == "not_hubd"
