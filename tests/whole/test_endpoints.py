"""The endpoints of a real hubd: foreign clients, a protocol tester, a thousand connections, and
clients that never read.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import trio

from hubd.client import open_client
from hubd.control.connection_limits import MAX_CONNECTIONS, MAX_TIMES_FREE
from hubd.wire import MAX_BATCH
from tests import launcher
from tests.node_packages import node_modules
from tests.shell.raw_client import HELLO, frame, head, open_raw
from tests.whole.conftest import ROOT, TIMEOUT, Hub, Witness, sink_config, until
from tests.whole.world import ClockedHub, finish

NODE = Path(__file__).with_name("node")
PAGE = "http://127.0.0.1:8080"
MESSAGES = 200
RATE = 100  #: messages a second, far below what there is time for
GIGABYTE = (2**30).to_bytes(8, "big")


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have more descriptors than a process is usually given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def run_node(script: str, *arguments: str) -> dict[str, Any]:
    node = shutil.which("node")
    assert node is not None, "node is missing: tests/run installs the package nodejs"
    done = subprocess.run(
        [node, str(NODE / script), *arguments],
        env={**os.environ, "NODE_PATH": str(node_modules())},
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def ticket(hub: Hub, **params: object) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with open_client(hub.state / "control.sock") as client:
            return await client.call("auth.ticket", **params)

    return trio.run(ask)


# -- foreign clients ---------------------------------------------------------------------------------------


def test_a_page_comes_by_a_ticket_and_comes_back_by_its_session_token(hub: Hub) -> None:
    hub.boot("--tcp", "127.0.0.1:0")
    issued = ticket(hub, origin=PAGE)
    seen = run_node("page.js", issued["url"], issued["ticket"], PAGE)
    assert seen == {
        "elsewhere": 401,
        "evil": 403,
        "protocol": "hub.jsonrpc.v1",
        "role": "viewer",
        "forbidden": -32002,
        "reused": 401,
        "renewed": True,
        "resumed": True,
    }
    assert issued["ticket"] not in hub.log()
    assert "Traceback" not in hub.log()
    assert hub.end() == 0


def test_a_json_rpc_library_that_knows_nothing_of_us_is_served(hub: Hub) -> None:
    hub.boot()
    assert run_node("rpc.js", str(hub.state / "control.sock")) == {
        "role": "operator",
        "id": "a string",
        "positional": "campaign_not_found",
        "unknown": -32601,
        "invalid": -32602,
        "batch": [["one", "ok"], ["two", -32601]],
    }


# -- the websocket protocol, case by case ------------------------------------------------------------------


async def test_every_case_of_the_autobahn_suite_on_framing_text_and_closing_is_passed(hub: Hub) -> None:
    """Where a case wants its text back, which is no request, it gets an error of JSON-RPC and no more."""
    hub.boot("--tcp", "127.0.0.1:0")
    reports = hub.folder / "reports"
    tester = str(Path(sys.executable).with_name("kosoku"))
    chosen = [option for n in range(2, 8) for option in ("-i", f"{n}.*")]
    async with open_client(hub.state / "control.sock") as client, translator(client) as port:
        command = [tester, "-p", "6", *chosen, "-o", str(reports), f"127.0.0.1:{port}"]
        with trio.fail_after(TIMEOUT):
            await trio.run_process(command, capture_stdout=True, check=False)
        assert await client.call("hub.status")
    judged = [json.loads(path.read_text()) for path in sorted(reports.glob("*_case_*.json"))]
    assert len(judged) > 200
    for case in judged:
        echoes = any(event[0] == "message" for events in case["expected"].values() for event in events)
        if not echoes:
            assert case["behavior"] in ("OK", "NON-STRICT", "INFORMATIONAL"), case["id"]
            assert case["behaviorClose"] in ("OK", "INFORMATIONAL"), case["id"]
        for kind, text, *_ in case["received"]:
            assert kind != "message" or text.startswith('{"jsonrpc":"2.0","id":null,"error"'), case["id"]
    assert "Traceback" not in hub.log()


@asynccontextmanager
async def translator(client: Any) -> AsyncIterator[int]:
    """A port where a websocket client without ticket and subprotocol gets in; its frames pass as they are."""

    async def pass_on(client_side: trio.SocketStream) -> None:
        asked, rest = await until_empty_line(client_side)
        (key,) = [line[19:].strip() for line in asked if line.lower().startswith(b"sec-websocket-key: ")]
        issued = await client.call("auth.ticket", role="operator")
        to = int(issued["url"].removesuffix("/rpc").rpartition(":")[2])
        token = f"Bearer {issued['ticket']}"
        async with await trio.open_tcp_stream("127.0.0.1", to) as daemon_side:
            await daemon_side.send_all(
                head(Host=f"127.0.0.1:{to}", Authorization=token, Sec_WebSocket_Key=key.decode())
            )
            answered, more = await until_empty_line(daemon_side)
            kept = [line for line in answered if not line.lower().startswith(b"sec-websocket-protocol")]
            await client_side.send_all(b"\r\n".join([*kept, b"", b""]) + more)
            async with trio.open_nursery() as both:
                both.start_soon(pump, client_side, daemon_side, rest)
                both.start_soon(pump, daemon_side, client_side)

    async def pump(source: trio.SocketStream, target: trio.SocketStream, first: bytes = b"") -> None:
        try:
            data: bytes | bytearray = first or await source.receive_some()
            while data:
                await target.send_all(data)
                data = await source.receive_some()
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(source)
            await trio.aclose_forcefully(target)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, pass_on, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def until_empty_line(stream: trio.SocketStream) -> tuple[list[bytes], bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = await stream.receive_some()
        assert chunk, "it hung up in the handshake"
        data += chunk
    lines, _, rest = data.partition(b"\r\n\r\n")
    return lines.split(b"\r\n"), rest


# -- a campaign that goes on whatever happens at the door --------------------------------------------------


def rss(hub: Hub) -> int:
    """Bytes of memory that the daemon has."""
    assert hub.daemon is not None
    return int(psutil.Process(hub.daemon.pid).memory_info().rss)


async def pace(witness: Witness, messages: int) -> float:
    """Wait until so many more were accepted; how many a second that was."""
    first, begun = len(witness.lines()), trio.current_time()
    with trio.fail_after(TIMEOUT + 20 * messages / RATE):
        while (now := len(witness.lines())) < first + messages:  # noqa: ASYNC110 - another process
            await trio.sleep(0.02)
    return (now - first) / (trio.current_time() - begun)


def all_sent_once(hub: Hub, witness: Witness, messages: int) -> None:
    counts = hub.campaign("spring")["counts"]
    assert counts["sent"] == counts["total"] == messages
    assert Counter(witness.accepted().values()) == {1: messages}


async def test_bad_input_28_a_thousand_connections_leave_a_campaign_and_its_operator_alone(
    hub: Hub, witness: Witness, many_files: None
) -> None:
    """Its rate with them is what it was without, and the operator's subscription misses nothing.

    They are of one user, who gets three places for each that stays free.
    """
    hub.config = sink_config(witness.port)
    hub.boot("--tcp", "127.0.0.1:0")
    hub.contacts(3 * MESSAGES)
    hub.apply("spring", rate=f"{RATE}/s")
    path = hub.state / "control.sock"
    assert hub.daemon is not None
    process = psutil.Process(hub.daemon.pid)
    before = len(process.net_connections("unix"))
    answers: Counter[str] = Counter()
    let_go, all_in = trio.Event(), trio.Event()

    async def enter() -> None:
        try:
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(head())
                said = await stream.receive_some()
                count(said[9:12].decode() or "closed")
                if said.startswith(b"HTTP/1.1 101 "):
                    await stream.send_all(frame(json.dumps(HELLO).encode()))
                await let_go.wait()
        except OSError:
            count("refused")  # by the kernel: its line is full
        except trio.BrokenResourceError:
            count("closed")

    def count(answer: str) -> None:
        answers[answer] += 1
        if answers.total() == 1000:
            all_in.set()

    async with open_client(path) as operator, trio.open_nursery() as clients:
        subscription = operator.subscribe(["*"], gauge_hz=0)
        await anext(subscription)
        await operator.call("campaign.start", name="spring")
        alone = await pace(witness, MESSAGES)
        for _ in range(1000):
            clients.start_soon(enter)
        crowded = await pace(witness, MESSAGES)
        with trio.fail_after(TIMEOUT):
            await all_in.wait()
        assert crowded > alone / 3, (crowded, alone)
        assert answers["101"] == MAX_CONNECTIONS * MAX_TIMES_FREE // (MAX_TIMES_FREE + 1) - 1, answers
        assert answers["503"] > 0, answers
        assert set(answers) <= {"101", "408", "503", "closed", "refused"}, answers
        await completed(subscription)  # while those who were let in are still there
        let_go.set()
    with trio.fail_after(TIMEOUT):
        while len(process.net_connections("unix")) > before:  # noqa: ASYNC110 - another process
            await trio.sleep(0.01)
    all_sent_once(hub, witness, 3 * MESSAGES)
    assert "Traceback" not in hub.log()
    assert hub.log().count("further connections are refused") == 1


async def completed(subscription: Any) -> None:
    """Follow the events, all of them and none twice, until the campaign has completed."""
    with trio.fail_after(TIMEOUT):
        seq = subscription.cursor["seq"]
        async for event in subscription:
            assert event["seq"] == seq + 1
            seq = event["seq"]
            if event["type"] == "campaign.state" and event["data"]["to"] == "completed":
                return


class Deaf:
    """A client that asks, follows everything, and never reads; cut off, it comes back and does so again."""

    def __init__(self, path: Path) -> None:
        self.cut_off = 0
        self._path = path

    async def run(self) -> None:
        """What it asks for is short, and the answers are a hundred times longer."""
        follow = frame(b'{"jsonrpc":"2.0","id":1,"method":"events.subscribe","params":[["*"],null,true,20]}')
        ask = frame(b"[" + b"1," * (MAX_BATCH - 1) + b"1]")
        while True:
            with suppress(trio.BrokenResourceError):
                async with await trio.open_unix_socket(self._path) as stream:
                    await stream.send_all(head())
                    if not (await stream.receive_some()).startswith(b"HTTP/1.1 101 "):
                        continue  # a busy machine: the hurried deadline of the handshake has passed
                    await stream.send_all(frame(json.dumps(HELLO).encode()) + follow * 10 + ask * 100_000)
                    await trio.sleep_forever()
            self.cut_off += 1


@pytest.mark.parametrize(
    ("hurry", "minutes"),
    [
        pytest.param(30, 3, id="three minutes, thirty times faster"),
        pytest.param(1, 10, marks=pytest.mark.soak, id="ten minutes"),
    ],
)
async def test_bad_input_27_those_who_never_read_for_minutes_take_no_memory_and_nobodys_time(
    hub: Hub, witness: Witness, hurry: int, minutes: int
) -> None:
    """A campaign goes on beside them, and the daemon's memory stays what it was.

    All clocks of the daemon go `hurry` times faster, so its deadlines pass as often as in that many minutes.
    """
    half = minutes * 60 * RATE // hurry // 2
    messages = 2 * half + half // 5 + MESSAGES
    hurried = ClockedHub(hub.folder, sink_config(witness.port), processes=hub.processes, hurry=hurry)
    hurried.boot()
    hurried.contacts(messages)
    hurried.apply("spring", rate=f"{60 * RATE // hurry}/minute")
    path = hurried.state / "control.sock"
    await trio.to_thread.run_sync(hurried.hubctl, "start", "spring")
    alone = await pace(witness, MESSAGES)
    deaf, before = [Deaf(path) for _ in range(3)], rss(hurried)
    async with trio.open_nursery() as nursery:
        for each in deaf:
            nursery.start_soon(each.run)
        first = await peak(hurried, partial(pace, witness, half))
        beside = await peak(hurried, partial(pace, witness, half))
        nursery.cancel_scope.cancel()
    assert min(each.cut_off for each in deaf) > 0, "they were there for longer than anybody is waited for"
    # Waited for, they would take nearly all of it. They come and are cut off thirty times as often as in
    # earnest, which by itself takes three quarters of the rate on a slow processor.
    assert min(first.rate, beside.rate) > alone / 10, (first, beside, alone)
    assert first.memory - before < 60_000_000, f"{(first.memory - before) / 1e6:.0f} MB"
    assert beside.memory - first.memory < 20_000_000, "it does not go on growing"
    await trio.to_thread.run_sync(hurried.hubctl, "rate", "spring", "none")
    await trio.to_thread.run_sync(finish, hurried, "spring")
    all_sent_once(hurried, witness, messages)
    assert "Traceback" not in hurried.log()


class Peak(NamedTuple):
    """What was measured over a while."""

    rate: float
    memory: int


async def peak(hub: Hub, work: Callable[[], Awaitable[float]]) -> Peak:
    """The rate that `work` tells, and the most memory that the daemon had meanwhile."""
    most = 0

    async def measure() -> None:
        nonlocal most
        while True:
            most = max(most, rss(hub))
            await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(measure)
        rate = await work()
        nursery.cancel_scope.cancel()
    return Peak(rate, most)


async def test_bad_input_01_frames_over_the_limit_take_no_memory(hub: Hub) -> None:
    """Each says that a gigabyte will come, and sends what is taken of it."""
    hub.boot()
    path = hub.state / "control.sock"
    async with open_client(path) as operator:
        await operator.call("hub.status")
    before = rss(hub)
    sent: list[int] = []

    async def pour() -> None:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(head())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
            await stream.send_all(frame(json.dumps(HELLO).encode()) + b"\x81\xff" + GIGABYTE + bytes(4))
            sent.append(0)
            number = len(sent) - 1
            with suppress(trio.BrokenResourceError):
                while sent[number] < 2**30:
                    await stream.send_all(b" " * 65_536)
                    sent[number] += 65_536

    async def pour_all() -> float:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(pour)
        return 0.0

    with trio.fail_after(TIMEOUT):
        most = (await peak(hub, pour_all)).memory
    assert len(sent) == 20
    assert max(sent) < 16 * 2**20, "they were cut off early"
    assert most - before < 100_000_000, f"{(most - before) / 1e6:.0f} MB"
    async with open_client(path) as operator:
        assert await operator.call("hub.status")


def test_an_address_that_others_reach_is_refused_at_start(hub: Hub) -> None:
    for address in ("0.0.0.0:0", "localhost:0", "192.168.0.1:80", "127.0.0.1", "127.0.0.1:99999", ":8080"):
        done = launcher.run(
            [sys.executable, "-m", "hubd", "--state-dir", str(hub.state), "--tcp", address],
            timeout=TIMEOUT,
            cwd=ROOT,
        )
        assert done.returncode == 64, address
        assert "--tcp" in done.stderr
        assert "Traceback" not in done.stderr
    assert not hub.state.exists()


def test_a_viewers_socket_and_an_endpoint_file_come_and_go_with_the_daemon(hub: Hub) -> None:
    observe, endpoint = hub.folder / "observe.sock", hub.folder / "endpoint.json"
    hub.boot("--observe", str(observe), "--endpoint", str(endpoint))
    until(endpoint.exists, "the endpoint file")
    record = json.loads(endpoint.read_text())

    async def look() -> list[str]:
        async with (
            open_client(observe) as viewer,
            open_raw(
                int(record["url"].rpartition(":")[2].removesuffix("/rpc")), header=record["token"]
            ) as other,
        ):
            return [viewer.hello["role"], other.hello["role"]]

    assert trio.run(look) == ["viewer", "operator"]
    assert record["token"] not in hub.log()
    assert hub.end() == 0
    assert not observe.exists()
    assert not endpoint.exists()
